//! From JSON arguments to a type, or to words that name the field and repeat no value. Pure.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::runners::{Problem, Rejection};

/// Where the arguments are.
pub(in crate::runners) const ROOT: &str = "spec.args";

/// Reads arguments, and checks them if they are of the right form: everything that is wrong is told, by field and
/// without values.
pub(in crate::runners) fn read<T: DeserializeOwned>(
    args: &Value,
    check: impl FnOnce(&T, &mut Vec<Problem>),
) -> Result<T, Rejection> {
    let args = typed(args)?;
    let mut problems = Vec::new();
    check(&args, &mut problems);
    Rejection::unless_empty(problems)?;
    Ok(args)
}

fn typed<T: DeserializeOwned>(args: &Value) -> Result<T, Rejection> {
    if !args.is_object() {
        return Err(Rejection::new(ROOT, "must be an object"));
    }
    serde_path_to_error::deserialize(args).map_err(|error| {
        let path = match error.path().to_string() {
            path if path == "." => ROOT.to_owned(),
            path => format!("{ROOT}.{path}"),
        };
        Rejection::new(path, without_values(&error.inner().to_string()))
    })
}

/// serde's words without the values that they repeat.
fn without_values(words: &str) -> String {
    if let Some(field) = words.strip_prefix("missing field ") {
        return format!("lacks the field {field}");
    }
    if words.starts_with("unknown field ") {
        return match words.rsplit_once("expected ") {
            Some((_, known)) => format!("is not known here; write {known}"),
            None => "is not known here".to_owned(),
        };
    }
    match words.rsplit_once("expected ") {
        Some((_, expected)) => format!("must be {expected}"),
        None => "has another form than it must have".to_owned(),
    }
}

/// A problem with a field of the arguments.
pub(in crate::runners) fn problem(field: &str, what: impl Into<String>) -> Problem {
    Problem { path: format!("{ROOT}.{field}"), what: what.into() }
}
