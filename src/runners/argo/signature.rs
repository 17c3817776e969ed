//! What a template asks of whoever calls it, and what it gives to those beside the call.
//!
//! In: a template as it is written. Out: its names. Pure. Taken once for each template, since thousands of calls may
//! run the same one, and one template may have thousands of inputs.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    document::{get, items, text},
    variables::names,
};

/// The names of one kind, parameters or artifacts.
#[derive(Debug)]
pub(super) struct Ports<'a> {
    /// Inputs that have no value of their own.
    pub(super) needed: Vec<&'a str>,
    /// All inputs.
    pub(super) inputs: BTreeSet<&'a str>,
    pub(super) outputs: BTreeSet<&'a str>,
}

#[derive(Debug)]
pub(super) struct Signature<'a> {
    /// For messages; an inline template has none.
    pub(super) name: &'a str,
    pub(super) parameters: Ports<'a>,
    pub(super) artifacts: Ports<'a>,
}

impl<'a> Signature<'a> {
    pub(super) fn of(template: &'a Value) -> Self {
        let ports = |key: &'static str, is_needed: fn(&Value) -> bool| {
            let [inputs, outputs] =
                ["inputs", "outputs"].map(|side| get(template, side).unwrap_or(&Value::Null));
            let needed = items(inputs, key).iter().filter(|input| is_needed(input));
            Ports {
                needed: needed.filter_map(|input| text(input, "name")).collect(),
                inputs: names(inputs, key).collect(),
                outputs: names(outputs, key).collect(),
            }
        };
        Self {
            name: text(template, "name").unwrap_or("(inline)"),
            parameters: ports("parameters", needs_parameter),
            artifacts: ports("artifacts", needs_artifact),
        }
    }
}

/// An input parameter without a value of its own.
fn needs_parameter(input: &Value) -> bool {
    ["value", "default", "valueFrom"].iter().all(|key| get(input, key).is_none())
}

/// An input artifact without a place of its own. Whatever else stands in it may be one.
fn needs_artifact(input: &Value) -> bool {
    const NO_PLACE: [&str; 7] = ["name", "path", "mode", "recurseMode", "optional", "archive", "description"];
    let optional = get(input, "optional").is_some_and(|value| value.as_bool() != Some(false));
    let fields = input.as_object().into_iter().flatten();
    !optional && fields.filter(|(_, value)| !value.is_null()).all(|(key, _)| NO_PLACE.contains(&key.as_str()))
}
