//! Whether a `podSpecPatch` leaves the pod's ServiceAccount alone.
//!
//! In: the patch's text, and every parameter value that the spec gives. Out: nothing, or the objection. Pure.
//!
//! Argo puts values into the text of the patch, parses it as YAML and merges it over the pod, so a value with a
//! line break or a quote in it can add keys. A patch is accepted as it stands if nothing of that can happen:
//! - it parses, and none of its top-level keys is about the ServiceAccount or replaces the whole pod spec;
//! - each `{{...}}` in it stands within a value, and is a parameter for which the spec holds nothing but values
//!   of plain characters (or one of Argo's own plain variables).
//!
//! Anything else is refused with advice. The patch is never rewritten: Argo reads YAML 1.1 and we do not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    document::{fold, is_same_key},
    variables::split_tags,
};
use crate::yaml;

/// Why a patch is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Objection {
    #[error(
        "the patch must not name a ServiceAccount: remove it, all pods run under the one in \
         spec.context.platform.serviceAccountName"
    )]
    NamesServiceAccount,
    #[error(
        "the patch must be one YAML or JSON object whose top-level keys are fields of a pod spec, \
         without `<<`, `$patch` and `$retainKeys`: otherwise it could change the pod's ServiceAccount"
    )]
    Unreadable,
    #[error("the patch must not be longer than {} KiB: set what it patches in the templates", MAX_PATCH / 1024)]
    TooLong,
    #[error(
        "a {{{{...}}}} in the patch may be filled with text that changes the pod's ServiceAccount: put it within \
         a value, and use only parameters whose values stand in this workflow and consist of letters, digits \
         and ._/:@+%=-, or write the patch without it"
    )]
    Unpredictable,
}

/// What Argo fills in by itself, none of it with characters that mean something to YAML.
const PLAIN_VARIABLES: [&str; 10] = [
    "pod.name",
    "retries",
    "workflow.creationTimestamp",
    "workflow.duration",
    "workflow.name",
    "workflow.namespace",
    "workflow.priority",
    "workflow.serviceAccountName",
    "workflow.status",
    "workflow.uid",
];

/// The longest patch that is read, in bytes: reading YAML takes its time.
const MAX_PATCH: usize = 64 * 1024;

/// Stands for a filled-in value while the patch is parsed.
const FILLED_IN: &str = "filledin";

/// Every value that the spec gives to a parameter of some name, whoever it is passed to.
#[derive(Debug, Default)]
pub(super) struct Literals<'a> {
    by_name: BTreeMap<&'a str, Vec<Literal<'a>>>,
}

#[derive(Clone, Copy, Debug)]
enum Literal<'a> {
    Value(&'a Value),
    /// From a ConfigMap, a person, or whatever else is known only later.
    Elsewhere,
}

/// Refuses a patch unless it provably leaves the ServiceAccount alone, or names the one it must be.
pub(super) fn check(patch: &str, literals: &Literals<'_>, service_account: &str) -> Result<(), Objection> {
    if patch.len() > MAX_PATCH {
        return Err(Objection::TooLong);
    }
    let (texts, tags) = split_tags(patch).ok_or(Objection::Unpredictable)?;
    if !literals.are_plain(&tags) {
        return Err(Objection::Unpredictable);
    }
    let parsed = yaml::read(&texts.join(FILLED_IN)).map_err(|_| Objection::Unreadable)?;
    if parsed.is_null() && tags.is_empty() {
        return Ok(());
    }
    let serde_yaml::Value::Mapping(fields) = parsed else { return Err(Objection::Unreadable) };
    for (key, value) in &fields {
        let key = fold(key.as_str().ok_or(Objection::Unreadable)?);
        match key.as_str() {
            "serviceaccountname" | "serviceaccount" if value.as_str() == Some(service_account) => {}
            "serviceaccountname" | "serviceaccount" => return Err(Objection::NamesServiceAccount),
            key if key.contains(FILLED_IN) && !tags.is_empty() => return Err(Objection::Unpredictable),
            key if key.starts_with("$setelementorder/") || is_field_name(key) => {}
            _ => return Err(Objection::Unreadable),
        }
    }
    Ok(())
}

impl<'a> Literals<'a> {
    /// Reads them from a whole spec.
    pub(super) fn of(spec: &'a Value) -> Self {
        let mut literals = Self::default();
        literals.collect(spec);
        literals
    }

    fn collect(&mut self, value: &'a Value) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    match fold(key).as_str() {
                        "outputs" => self.collect_beside_parameters(value),
                        "parameters" => self.collect_parameters(value),
                        _ => self.collect(value),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.collect(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// An output is never handed in under its own name, only as {{steps...}} or {{tasks...}}. The rest is read all
    /// the same: a hook may be called `outputs`.
    fn collect_beside_parameters(&mut self, outputs: &'a Value) {
        let fields = outputs.as_object().into_iter().flatten();
        fields.filter(|(key, _)| !is_same_key(key, "parameters")).for_each(|(_, value)| self.collect(value));
    }

    fn collect_parameters(&mut self, list: &'a Value) {
        for fields in list.as_array().into_iter().flatten().filter_map(Value::as_object) {
            let named = |wanted: &'static str| {
                fields
                    .iter()
                    .filter(move |(key, value)| is_same_key(key, wanted) && !value.is_null())
                    .map(|(_, v)| v)
            };
            for name in named("name").filter_map(Value::as_str) {
                let values = self.by_name.entry(name).or_default();
                values.extend(named("value").chain(named("default")).map(Literal::Value));
                values.extend(named("valueFrom").map(|_| Literal::Elsewhere));
            }
        }
    }

    /// Whether these tags can only become plain characters. Each name is followed once, since it adds nothing new when it
    /// comes again, and without recursion: a spec may chain tens of thousands of them.
    fn are_plain(&self, tags: &[&str]) -> bool {
        let (mut seen, mut open) = (BTreeSet::new(), tags.to_vec());
        while let Some(tag) = open.pop() {
            let tag = tag.trim();
            if PLAIN_VARIABLES.contains(&tag) {
                continue;
            }
            let name =
                tag.strip_prefix("workflow.parameters.").or_else(|| tag.strip_prefix("inputs.parameters."));
            let Some((name, values)) = name.and_then(|name| self.by_name.get_key_value(name)) else {
                return false;
            };
            if !seen.insert(*name) {
                continue;
            }
            if values.is_empty() {
                return false;
            }
            for literal in values {
                let Some(tags) = literal.plain() else { return false };
                open.extend(tags);
            }
        }
        true
    }
}

impl<'a> Literal<'a> {
    /// The tags in it, if all else in it is plain.
    fn plain(self) -> Option<Vec<&'a str>> {
        match self {
            Self::Value(Value::Bool(_) | Value::Number(_)) => Some(Vec::new()),
            Self::Value(Value::String(text)) => split_tags(text)
                .filter(|(texts, _)| {
                    !text.is_empty()
                        && !text.ends_with(':')
                        && texts.iter().all(|text| text.chars().all(is_plain_char))
                })
                .map(|(_, tags)| tags),
            Self::Value(Value::Null | Value::Array(_) | Value::Object(_)) | Self::Elsewhere => None,
        }
    }
}

/// Fields of a pod spec consist of letters. This keeps out `<<`, `$patch`, and names that YAML decodes further:
/// written as `!!binary`, a name of a ServiceAccount field always has a digit.
fn is_field_name(key: &str) -> bool {
    key.bytes().all(|b| b.is_ascii_alphabetic())
}

fn is_plain_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._/:@+%=-".contains(c)
}

#[cfg(test)]
mod tests {
    use super::{Literals, Objection, check};
    use rstest::rstest;
    use serde_json::json;

    #[test]
    fn a_long_chain_of_parameters_is_followed_to_its_end_and_each_of_many_only_once() {
        const LINKS: usize = 100_000;
        let link = |i: usize| json!({"name": format!("p{i}"), "value": format!("{{{{inputs.parameters.p{}}}}}", i + 1)});
        let end = json!({"name": format!("p{LINKS}"), "value": "plain"});
        let chain: Vec<_> = (0..LINKS).map(link).chain([end]).collect();
        let spec = json!({"arguments": {"parameters": chain}});
        let literals = Literals::of(&spec);
        let patch = |tag: &str| format!("a: '{}'", tag.repeat(1000));
        assert_eq!(check(&patch("{{inputs.parameters.p0}}"), &literals, "runs-as"), Ok(()));
        let spec = json!({"arguments": {"parameters": chain[..LINKS]}});
        let broken = Literals::of(&spec);
        assert_eq!(
            check(&patch("{{inputs.parameters.p0}}"), &broken, "runs-as"),
            Err(Objection::Unpredictable)
        );
    }

    #[rstest]
    #[case::nothing("", Ok(()))]
    #[case::yaml("containers:\n- name: main\n  resources: {limits: {cpu: \"1\"}}", Ok(()))]
    #[case::json(r#"{"containers":[{"name":"main","$patch":"delete"}]}"#, Ok(()))]
    #[case::long(&" ".repeat(65_537), Err(Objection::TooLong))]
    #[case::its_own("serviceAccountName: runs-as", Ok(()))]
    #[case::another("serviceAccountName: admin", Err(Objection::NamesServiceAccount))]
    #[case::old_name("serviceAccount: admin", Err(Objection::NamesServiceAccount))]
    #[case::removed("serviceAccountName: null", Err(Objection::NamesServiceAccount))]
    #[case::other_case("SERVICEACCOUNTNAME: admin", Err(Objection::NamesServiceAccount))]
    #[case::folded("ſerviceAccountName: admin", Err(Objection::NamesServiceAccount))]
    #[case::escaped("{\"\\u0073erviceAccountName\": \"admin\"}", Err(Objection::NamesServiceAccount))]
    #[case::merged("x: &x {serviceAccountName: admin}\n<<: *x", Err(Objection::Unreadable))]
    #[case::replaced("$patch: replace", Err(Objection::Unreadable))]
    #[case::kept("$retainKeys: [containers]", Err(Objection::Unreadable))]
    #[case::two_documents("a: 1\n---\nserviceAccountName: admin", Err(Objection::Unreadable))]
    #[case::twice("{\"a\": 1, \"a\": 2}", Err(Objection::Unreadable))]
    #[case::tagged("!x {a: 1}", Err(Objection::Unreadable))]
    #[case::tagged_key("!x serviceAccountName: admin", Err(Objection::NamesServiceAccount))]
    #[case::encoded("!!binary c2VydmljZUFjY291bnROYW1l: admin", Err(Objection::Unreadable))]
    #[case::number("1: 1", Err(Objection::Unreadable))]
    #[case::no_object("[1]", Err(Objection::Unreadable))]
    #[case::broken("{", Err(Objection::Unreadable))]
    #[case::plain_value("a: '{{inputs.parameters.plain}}'", Ok(()))]
    #[case::plain_name("a: '{{ workflow.name }}'", Ok(()))]
    #[case::numeric("a: {{workflow.parameters.number}}", Ok(()))]
    #[case::through("a: {{inputs.parameters.through}}", Ok(()))]
    #[case::in_itself("a: {{inputs.parameters.circle}}", Ok(()))]
    #[case::whole("{{inputs.parameters.plain}}", Err(Objection::Unreadable))]
    #[case::key("{{inputs.parameters.plain}}: admin", Err(Objection::Unpredictable))]
    #[case::part_of_key("{{inputs.parameters.plain}}AccountName: admin", Err(Objection::Unpredictable))]
    #[case::line_break("a: '{{inputs.parameters.lines}}'", Err(Objection::Unpredictable))]
    #[case::quote("a: '{{inputs.parameters.quote}}'", Err(Objection::Unpredictable))]
    #[case::empty("a: {{inputs.parameters.empty}}", Err(Objection::Unpredictable))]
    #[case::later("a: '{{inputs.parameters.later}}'", Err(Objection::Unpredictable))]
    #[case::later_through("a: '{{inputs.parameters.later-through}}'", Err(Objection::Unpredictable))]
    #[case::config_map("a: '{{inputs.parameters.config}}'", Err(Objection::Unpredictable))]
    #[case::by_a_hook_of_an_odd_name("a: '{{inputs.parameters.hooked}}'", Err(Objection::Unpredictable))]
    #[case::odd_case("a: '{{inputs.parameters.odd}}'", Err(Objection::Unpredictable))]
    #[case::unknown("a: '{{inputs.parameters.unknown}}'", Err(Objection::Unpredictable))]
    #[case::item("a: '{{item}}'", Err(Objection::Unpredictable))]
    #[case::expression("a: '{{=workflow.name}}'", Err(Objection::Unpredictable))]
    #[case::nested("a: '{{inputs.parameters.{{workflow.name}}}}'", Err(Objection::Unpredictable))]
    #[case::unclosed("a: '{{'", Err(Objection::Unpredictable))]
    fn a_patch_is_accepted_only_if_it_leaves_the_service_account_alone(
        #[case] patch: &str,
        #[case] expected: Result<(), Objection>,
    ) {
        let spec = json!({"arguments": {"parameters": [
            {"name": "plain", "value": "100Mi"}, {"name": "number", "value": 3},
            {"name": "hooked", "value": "x"}, {"name": "through", "value": "x-{{workflow.parameters.plain}}"},
            {"name": "circle", "value": "{{inputs.parameters.circle}}"},
            {"name": "lines", "value": "x\nserviceAccountName: admin"}, {"name": "quote", "value": "x'"},
            {"name": "empty", "value": ""},
            {"name": "later", "value": "{{steps.a.outputs.result}}"},
            {"name": "later-through", "value": "{{inputs.parameters.later}}"},
            {"name": "config", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "y"}}},
            {"Name": "odd", "VALUE": "x\ny"}]},
            "hooks": {"outputs": {"arguments": {"parameters": [{"name": "hooked", "value": "x\ny"}]}}},
            "templates": [{"inputs": {"parameters": [{"name": "plain", "default": "b"}]},
                           "outputs": {"parameters": [{"name": "plain", "valueFrom": {"path": "/x"}}]}}]});
        assert_eq!(check(patch, &Literals::of(&spec), "runs-as"), expected);
    }
}
