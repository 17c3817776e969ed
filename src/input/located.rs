//! Reads YAML or JSON into a type, and tells the place of what is wrong. Pure.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

use super::{
    MAX_BYTES,
    fault::{Fault, Place},
};
use crate::yaml;

/// A text that was read.
pub(super) struct Read<T> {
    /// As its type.
    pub(super) value: T,
    /// As it stands there.
    pub(super) plain: Value,
}

/// Reads the one document of a text.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<Read<T>, Fault> {
    // A byte order mark has no meaning here, and YAML that begins with one confuses the places.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > MAX_BYTES {
        return Err(Fault::too_large());
    }
    let says_nothing = |line: &str| line.is_empty() || line == "---" || line.starts_with('#');
    if text.lines().all(|line| says_nothing(line.trim())) {
        return Err(Fault::whole("is empty"));
    }
    let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
    if let Some(byte) = second_document(text).filter(|_| !is_json) {
        let what = "begins a second document; a file holds one run, submit them one by one";
        return Err(Fault { what: what.to_owned(), place: Some(Place::of_byte(text, byte)) });
    }
    match yaml::read(text) {
        // A fault of the text itself comes out below, with its place.
        Ok(_) | Err(yaml::Unreadable::Syntax) => {}
        Err(too_much @ (yaml::Unreadable::Excess | yaml::Unreadable::Brackets)) => {
            return Err(Fault::whole(too_much.to_string()));
        }
    }
    if is_json {
        return from_json(text);
    }
    let value = serde_yaml::from_str(text).map_err(|error| of_yaml(text, &error))?;
    Ok(Read { value, plain: serde_yaml::from_str(text).unwrap_or_default() })
}

fn from_json<T: DeserializeOwned>(text: &str) -> Result<Read<T>, Fault> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let (path, inner) = (error.path().to_string(), error.inner());
        let what = words(&path, &inner.to_string());
        Fault { what, place: Some(Place::new(text, inner.line(), inner.column())) }
    })?;
    Ok(Read { value, plain: serde_json::from_str(text).unwrap_or_default() })
}

fn of_yaml(text: &str, error: &serde_yaml::Error) -> Fault {
    let place = error.location().map(|at| Place::new(text, at.line(), at.column()));
    let said = error.to_string();
    let at_tab = place.as_ref().is_some_and(|at| {
        text.lines()
            .nth(at.line.saturating_sub(1))
            .is_some_and(|line| line.chars().take(at.column).any(|c| c == '\t'))
    });
    let what = if at_tab && said.contains("cannot start any token") {
        "a tab indents this line; YAML is indented by spaces only".to_owned()
    } else {
        let (path, what) = match said.split_once(": ") {
            Some((path, rest)) if place.is_some() && !path.contains(' ') => (path, rest),
            _ => (".", said.as_str()),
        };
        words(path, what)
    };
    Fault { what, place }
}

/// A parser's words without the place, which is told beside them.
fn words(path: &str, said: &str) -> String {
    let said = said.split(" at line ").next().unwrap_or(said);
    let said = match said.strip_prefix("missing field ") {
        Some(field) => format!("the field {} is missing", field.replace('`', "")),
        None => said.replace('`', ""),
    };
    if path == "." || path.is_empty() { said } else { format!("{path}: {said}") }
}

/// Where a second document begins: the three dashes after something that is no comment.
fn second_document(text: &str) -> Option<usize> {
    let (mut at, mut begun) = (0, false);
    for line in text.split_inclusive('\n') {
        let content = line.trim_end();
        let marks = content == "---" || content.starts_with("--- ");
        if marks && begun {
            return Some(at);
        }
        let directive = content.starts_with('%') && !begun;
        begun |= !content.trim_start().is_empty() && !content.trim_start().starts_with('#') && !directive;
        at += line.len();
    }
    None
}
