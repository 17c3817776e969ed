//! Which requests and which watch events a rule is about. Plain data and pure matching, no I/O.

use serde::{Deserialize, Serialize};

use crate::call::{Call, Verb};
use crate::trace::EventRecord;

/// Whether a text fits a pattern, in which `*` stands for any text, and all else for itself.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(start) else { return false };
    text.char_indices()
        .map(|(at, _)| at)
        .chain([text.len()])
        .any(|at| text.get(at..).is_some_and(|tail| fits(rest, tail)))
}

fn fits_all<const N: usize>(pairs: [(Option<&String>, &str); N]) -> bool {
    pairs.iter().all(|(pattern, text)| pattern.is_none_or(|pattern| fits(pattern, text)))
}

/// Which requests. All fields that are given must fit; none given fits every request. Texts may hold `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Predicate {
    /// One of these; none given: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verbs: Vec<Verb>,
    /// Whether the verb may change something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mutating: Option<bool>,
    /// The API group; the core's is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The plural; empty for paths that are no resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Empty for the object itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subresource: Option<String>,
    /// Empty for cluster-scoped resources and all namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// See [`Key::name`](crate::Key::name).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether a dry run is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// `User-Agent`; tells controllers apart that share a proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// `Impersonate-User`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonate: Option<String>,
    /// Not these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<Self>,
}

impl Predicate {
    /// Every request.
    pub fn any() -> Self {
        Self::default()
    }

    /// Requests with this verb.
    pub fn verb(verb: Verb) -> Self {
        Self { verbs: vec![verb], ..Self::default() }
    }

    /// Requests that may change something.
    pub fn mutating() -> Self {
        Self { mutating: Some(true), ..Self::default() }
    }

    /// Narrows to a resource, by its plural.
    #[must_use]
    pub fn resource(self, plural: impl Into<String>) -> Self {
        Self { resource: Some(plural.into()), ..self }
    }

    /// Narrows to a subresource; empty for the object itself.
    #[must_use]
    pub fn subresource(self, name: impl Into<String>) -> Self {
        Self { subresource: Some(name.into()), ..self }
    }

    /// Narrows to a namespace.
    #[must_use]
    pub fn namespace(self, namespace: impl Into<String>) -> Self {
        Self { namespace: Some(namespace.into()), ..self }
    }

    /// Narrows to objects of a name.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Whether it is about this request.
    pub fn fits(&self, call: &Call) -> bool {
        let key = &call.key;
        (self.verbs.is_empty() || self.verbs.contains(&key.verb))
            && self.mutating.is_none_or(|mutating| mutating == key.verb.is_mutating())
            && self.dry_run.is_none_or(|dry_run| dry_run == key.dry_run)
            && fits_all([
                (self.group.as_ref(), &key.group),
                (self.resource.as_ref(), &key.resource),
                (self.subresource.as_ref(), &key.subresource),
                (self.namespace.as_ref(), &key.namespace),
                (self.name.as_ref(), &key.name),
                (self.user_agent.as_ref(), &call.user_agent),
                (self.impersonate.as_ref(), &call.impersonate),
            ])
            && !self.except.iter().any(|except| except.fits(call))
    }
}

/// Which watch events. All fields that are given must fit; none given fits every event. Texts may hold `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventPredicate {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK`, `ERROR`; none given: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// The kind of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The object's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The object's name; bookmarks have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The watch that the event comes by, e.g. its resource.
    pub watch: Predicate,
}

impl EventPredicate {
    /// Events of watches of a resource, by its plural.
    pub fn of(plural: impl Into<String>) -> Self {
        Self { watch: Predicate::any().resource(plural), ..Self::default() }
    }

    /// Narrows to a type, e.g. `MODIFIED`.
    #[must_use]
    pub fn event(self, event: impl Into<String>) -> Self {
        Self { types: vec![event.into()], ..self }
    }

    /// Narrows to objects of a name.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Whether it is about this event.
    pub fn fits(&self, watch: &Call, event: &EventRecord) -> bool {
        (self.types.is_empty() || self.types.contains(&event.event))
            && fits_all([
                (self.kind.as_ref(), &event.kind),
                (self.namespace.as_ref(), &event.namespace),
                (self.name.as_ref(), &event.name),
            ])
            && self.watch.fits(watch)
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c*", "abcd", true),
            ("a*d*c", "abcd", false),
            ("", "", true),
            ("", "a", false),
            ("*é*", "aéb", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }
}
