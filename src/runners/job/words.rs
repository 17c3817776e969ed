//! Words for problems: names that are safe to repeat, and what was probably meant. Pure.

use serde_json::Value;

use crate::{
    message::{cut, nearest},
    runners::Problem,
};

/// The most problems that are told at once.
pub(super) const MAX_PROBLEMS: usize = 16;
/// The longest name that is repeated.
const MAX_NAME: usize = 80;
/// How many names are offered when none is near.
const MAX_OFFERED: usize = 12;

/// A problem at a path.
pub(super) fn problem(path: &str, what: impl Into<String>) -> Problem {
    Problem { path: path.to_owned(), what: what.into() }
}

/// A name as it may be repeated: on one line, and not endless.
pub(super) fn name(key: &str) -> String {
    let clean: String = key.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    cut(&clean, MAX_NAME)
}

/// What a value is, without the value.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "such a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The nearest of the known names, or all of them if they are few. It is looked for only while it may be told:
/// comparing names takes time, and arguments may hold a hundred thousand of them.
pub(super) fn advice<'a, I: Iterator<Item = &'a str>>(
    key: &str,
    before: usize,
    known: impl FnOnce() -> I,
) -> String {
    if before >= MAX_PROBLEMS {
        return "remove it".to_owned();
    }
    let known: Vec<&str> = known().collect();
    match nearest(key, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.len() <= MAX_OFFERED => format!("write one of: {}", known.join(", ")),
        None => "remove it, or check its spelling and its indentation".to_owned(),
    }
}
