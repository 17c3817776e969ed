//! Reading a user's JSON: where a value stands, what stands there, and what is wrong with it.
//!
//! In: any JSON. Out: [`Problem`]s with full paths. Pure; never fails on a shape it does not expect, since the
//! shape itself is what the other modules report.

use std::fmt;

use crate::message::nearest;
use serde_json::Value;

use super::super::Problem;

/// How many problems one rejection lists. Beyond that a person reads no further, and a huge document full of
/// errors must not cost a huge answer.
const MOST_PROBLEMS: usize = 100;

/// How much of a user's name is repeated in a message.
const MOST_ECHO: usize = 80;

/// The path of a field, such as `spec.args.workflow.templates[2]`.
#[derive(Clone, Debug)]
pub(super) struct Path(String);

impl Path {
    pub(super) fn root(path: &str) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn field(&self, name: &str) -> Self {
        Self(format!("{}.{}", self.0, Echo(name)))
    }

    pub(super) fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// A name that somebody else chose, cut to a length that fits a message.
pub(super) struct Echo<'a>(pub(super) &'a str);

impl fmt::Display for Echo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.0.floor_char_boundary(MOST_ECHO);
        let shown = self.0.get(..end).unwrap_or_default();
        for (i, part) in shown.split(char::is_control).enumerate() {
            f.write_str(if i > 0 { " " } else { "" })?;
            f.write_str(part)?;
        }
        if end < self.0.len() { f.write_str("…") } else { Ok(()) }
    }
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    problems: Vec<Problem>,
}

impl Findings {
    /// Adds a problem; the sentence is only made if there is room for it.
    pub(super) fn add(&mut self, at: &Path, what: impl FnOnce() -> String) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(Problem { path: at.clone().into_string(), what: what() });
        }
    }

    /// Whether there is no room for another.
    pub(super) const fn is_full(&self) -> bool {
        self.problems.len() >= MOST_PROBLEMS
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// The list in that field. Anything else than a list is a problem and read as an empty one.
    pub(super) fn list<'a>(&mut self, owner: &'a Value, key: &str, at: &Path) -> &'a [Value] {
        match get(owner, key) {
            None => &[],
            Some(Value::Array(items)) => items,
            Some(_) => {
                self.add(&at.field(key), || {
                    "this must be a list: write each entry with a leading `-`".to_owned()
                });
                &[]
            }
        }
    }

    /// Reports field names that differ from a known one only in upper and lower case.
    ///
    /// The API server drops such a field, or Argo takes it for the right one, depending on how Argo was
    /// installed. Other unknown names are left alone: a newer Argo may know them.
    pub(super) fn misspelt_case(&mut self, owner: &Value, known: &[&str], at: &Path) {
        let Value::Object(fields) = owner else { return };
        for key in fields.keys().filter(|key| !known.contains(&key.as_str())) {
            if let Some(right) = known.iter().find(|name| is_same_key(name, key)) {
                self.add(&at.field(key), || format!("field names are case-sensitive: write `{right}`"));
            }
        }
    }
}

/// The field's value, unless it is absent or null: Argo does not tell the two apart.
pub(super) fn get<'a>(owner: &'a Value, key: &str) -> Option<&'a Value> {
    owner.get(key).filter(|value| !value.is_null())
}

/// The field's text, unless it is absent, empty or no text: Argo does not tell absent from empty.
pub(super) fn text<'a>(owner: &'a Value, key: &str) -> Option<&'a str> {
    get(owner, key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// The field's list; empty if it is none. For where a wrong shape was already reported.
pub(super) fn items<'a>(owner: &'a Value, key: &str) -> &'a [Value] {
    get(owner, key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The key as Go's JSON decoder compares it: it ignores case, and knows of two letters outside of ASCII
/// (`ſ` and the Kelvin sign) that are upper or lower case of one within.
pub(super) fn fold(key: &str) -> String {
    folded(key).collect()
}

/// Whether Go's JSON decoder takes the one for the other.
pub(super) fn is_same_key(one: &str, other: &str) -> bool {
    folded(one).eq(folded(other))
}

fn folded(key: &str) -> impl Iterator<Item = char> {
    key.chars().flat_map(char::to_lowercase).map(|c| if c == 'ſ' { 's' } else { c })
}

/// Calls `visit` for every text within a value, with its path. Keys are not texts.
pub(super) fn for_each_text<'a>(value: &'a Value, at: &Path, visit: &mut dyn FnMut(&'a str, &Path)) {
    match value {
        Value::String(text) => visit(text, at),
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                for_each_text(item, &at.index(i), visit);
            }
        }
        Value::Object(fields) => {
            for (key, item) in fields {
                for_each_text(item, &at.field(key), visit);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What to write instead of a name that does not exist: the nearest one there is, or a few of them.
pub(super) fn instead<'a>(name: &str, there_are: impl Iterator<Item = &'a str>) -> String {
    const MOST_LISTED: usize = 5;
    let names: Vec<&str> = there_are.collect();
    if let Some(known) = nearest(name, names.iter().copied()) {
        return format!("did you mean `{}`?", Echo(known));
    }
    if names.is_empty() {
        return "there are none".to_owned();
    }
    let listed: Vec<String> =
        names.iter().take(MOST_LISTED).map(|known| format!("`{}`", Echo(known))).collect();
    let more = if names.len() > MOST_LISTED { " and others" } else { "" };
    format!("there are {}{more}", listed.join(", "))
}

#[cfg(test)]
mod tests {
    use super::{Echo, fold, instead};

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        assert_eq!(instead("pritn", ["print", "other"].into_iter()), "did you mean `print`?");
        assert_eq!(instead("Print", ["print"].into_iter()), "did you mean `print`?");
        assert_eq!(instead("Ab", ["aB", "cd"].into_iter()), "did you mean `aB`?");
        assert_eq!(instead("x", ["y"].into_iter()), "there are `y`");
        assert_eq!(instead("x", ["print", "other"].into_iter()), "there are `print`, `other`");
        assert_eq!(instead("x", std::iter::empty()), "there are none");
    }

    #[test]
    fn keys_fold_as_in_go() {
        for key in ["serviceAccountName", "SERVICEACCOUNTNAME", "ſerviceAccountName"] {
            assert_eq!(fold(key), "serviceaccountname");
        }
        assert_eq!(fold("hoo\u{212a}s"), "hooks");
    }

    #[test]
    fn an_echo_is_short_and_on_one_line() {
        assert_eq!(Echo("a\nb").to_string(), "a b");
        assert!(Echo(&"ä".repeat(1000)).to_string().chars().count() <= 81);
    }
}
