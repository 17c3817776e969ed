//! The shape of Kubernetes' own types: which fields there are, and what goes into them.
//!
//! Input: a value that a person wrote. Output: problems with the field's path. Pure. The shapes come from the
//! JSON schemas that `k8s_openapi` generates from Kubernetes' API, so that they are never typed twice. Reading
//! the value into the Rust type would not do: it skips unknown fields, stops at the first error, knows no path,
//! and repeats the offending value, which may be secret.

use std::{collections::BTreeMap, sync::LazyLock};

use k8s_openapi::api::{
    batch::v1::JobSpec,
    core::v1::{Container, PodSpec},
};
use k8s_openapi::jiff::Timestamp;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};

use crate::runners::{Problem, job::words};

/// What may stand in one place.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    /// An object with these fields.
    Object(Fields),
    /// An object with any keys.
    Map(Box<Self>),
    /// A list.
    List(Box<Self>),
    /// A string.
    Text,
    /// A string that is a time.
    Time,
    /// A whole number, of 32 bits or of 64.
    Whole { wide: bool },
    /// Any number.
    Number,
    /// `true` or `false`.
    Flag,
    /// A whole number or a string, such as a port.
    WholeOrText,
    /// A number or a string, such as `500m`.
    Quantity,
    /// Anything.
    Any,
}

/// The fields of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fields {
    /// By name.
    pub(super) known: BTreeMap<String, Shape>,
    /// Those that must be there.
    pub(super) required: Vec<String>,
}

/// batch/v1 JobSpec.
pub(super) static JOB_SPEC: LazyLock<Fields> = LazyLock::new(fields_of::<JobSpec>);
/// core/v1 Container.
pub(super) static CONTAINER: LazyLock<Fields> = LazyLock::new(fields_of::<Container>);
/// core/v1 PodSpec, of which nothing is required.
pub(super) static POD_DEFAULTS: LazyLock<Fields> =
    LazyLock::new(|| Fields { required: Vec::new(), ..fields_of::<PodSpec>() });

impl Shape {
    /// Adds what is wrong with `value`. Null stands for absent, as it does for the API server.
    pub(super) fn check(&self, value: &Value, path: &str, problems: &mut Vec<Problem>) {
        let fits = match (self, value) {
            (_, Value::Null)
            | (Self::Any, _)
            | (Self::Text | Self::WholeOrText, Value::String(_))
            | (Self::Number | Self::Quantity, Value::Number(_))
            | (Self::Flag, Value::Bool(_)) => true,
            (Self::Quantity, Value::String(text)) => is_quantity(text),
            (Self::Time, Value::String(text)) => text.parse::<Timestamp>().is_ok(),
            (Self::Whole { wide: true }, Value::Number(number)) => number.as_i64().is_some(),
            (Self::Whole { wide: false } | Self::WholeOrText, Value::Number(number)) => {
                number.as_i64().is_some_and(|number| i32::try_from(number).is_ok())
            }
            (Self::Object(fields), Value::Object(object)) => {
                fields.check(object, path, problems);
                true
            }
            (Self::Map(each), Value::Object(object)) => {
                for (key, value) in object {
                    each.check_item(value, &format!("{path}[{}]", words::name(key)), problems);
                }
                true
            }
            (Self::List(each), Value::Array(list)) => {
                for (index, value) in list.iter().enumerate() {
                    each.check_item(value, &format!("{path}[{index}]"), problems);
                }
                true
            }
            (
                _,
                Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_),
            ) => false,
        };
        if !fits {
            problems
                .push(words::problem(path, format!("must be {}, not {}", self.asks(), words::kind(value))));
        }
    }

    /// Like [`Shape::check`], where null stands for nothing.
    fn check_item(&self, value: &Value, path: &str, problems: &mut Vec<Problem>) {
        if value.is_null() && *self != Self::Any {
            problems.push(words::problem(
                path,
                format!("must be {}, not null; leave the entry out", self.asks()),
            ));
        } else {
            self.check(value, path, problems);
        }
    }

    /// What to write here.
    fn asks(&self) -> &'static str {
        match self {
            Self::Object(_) => "an object",
            Self::Map(_) => "an object of names and values",
            Self::List(each) => match &**each {
                Self::Text => "a list of strings, such as [\"a\", \"b\"]",
                Self::Object(fields) if fields.known.contains_key("value") => {
                    "a list of objects with name and value"
                }
                Self::Object(_) => "a list of objects",
                Self::Map(_)
                | Self::List(_)
                | Self::Time
                | Self::Whole { .. }
                | Self::Number
                | Self::Flag
                | Self::WholeOrText
                | Self::Quantity
                | Self::Any => "a list",
            },
            Self::Time => "a time such as 2026-01-31T12:00:00Z",
            Self::Text => "a string (put numbers, true and false in quotes)",
            Self::Whole { wide: true } => "a whole number of 64 bits",
            Self::Whole { wide: false } => "a whole number of 32 bits",
            Self::Number => "a number",
            Self::Flag => "true or false (without quotes)",
            Self::WholeOrText => "a whole number or a string",
            Self::Quantity => "a quantity: a number with a unit, such as 500m or 1Gi",
            Self::Any => "any value",
        }
    }
}

impl Fields {
    /// Adds what is wrong with the object's fields.
    pub(super) fn check(&self, object: &Map<String, Value>, path: &str, problems: &mut Vec<Problem>) {
        for (key, value) in object {
            match self.known.get(key) {
                Some(shape) => shape.check(value, &format!("{path}.{key}"), problems),
                None => problems.push(self.unknown(key, path, problems.len())),
            }
        }
        for name in &self.required {
            if object.get(name).is_none_or(Value::is_null) {
                problems.push(words::problem(&format!("{path}.{name}"), "is required"));
            }
        }
    }

    /// The problem of a field that is not known here, after so many others.
    pub(super) fn unknown(&self, key: &str, path: &str, before: usize) -> Problem {
        let advice = words::advice(key, before, || self.known.keys().map(String::as_str));
        words::problem(
            &format!("{path}.{}", words::name(key)),
            format!("is not a field that is known here; {advice}"),
        )
    }

    /// Only these of the fields.
    pub(super) fn only(&self, names: &[&str]) -> Self {
        let wanted = |name: &&String| names.contains(&name.as_str());
        Self {
            known: self
                .known
                .iter()
                .filter(|(name, _)| wanted(name))
                .map(|(n, s)| (n.clone(), s.clone()))
                .collect(),
            required: self.required.iter().filter(wanted).cloned().collect(),
        }
    }
}

/// Whether a text is a quantity: a decimal number, then a unit or an exponent. The API server refuses others
/// without saying where they are.
fn is_quantity(text: &str) -> bool {
    const UNITS: [&str; 16] =
        ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let unit = unsigned.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number = unsigned.strip_suffix(unit).unwrap_or_default();
    let exponent = unit.strip_prefix(['e', 'E']).map(|it| it.strip_prefix(['+', '-']).unwrap_or(it));
    number.contains(|c: char| c.is_ascii_digit())
        && number.matches('.').count() <= 1
        && (UNITS.contains(&unit)
            || exponent.is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit())))
}

/// The fields of one of Kubernetes' types.
fn fields_of<T: JsonSchema>() -> Fields {
    let schema = Value::from(SchemaGenerator::default().into_root_schema_for::<T>());
    match shape_of(&schema, schema.get("$defs").unwrap_or(&Value::Null)) {
        Shape::Object(fields) => fields,
        Shape::Map(_)
        | Shape::List(_)
        | Shape::Text
        | Shape::Time
        | Shape::Whole { .. }
        | Shape::Number
        | Shape::Flag
        | Shape::WholeOrText
        | Shape::Quantity
        | Shape::Any => Fields::default(),
    }
}

/// Reads one schema. None of the types used here contains itself.
fn shape_of(schema: &Value, defs: &Value) -> Shape {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|it| it.strip_prefix("#/$defs/"))
    {
        if name.ends_with(".resource.Quantity") {
            return Shape::Quantity;
        }
        return defs.get(name).map_or(Shape::Any, |schema| shape_of(schema, defs));
    }
    if schema.get("x-kubernetes-int-or-string").is_some() {
        return Shape::WholeOrText;
    }
    let inner = |key| Box::new(schema.get(key).map_or(Shape::Any, |schema| shape_of(schema, defs)));
    match schema.get("type").and_then(Value::as_str) {
        Some("string") if schema.get("format").is_some_and(|format| format == "date-time") => Shape::Time,
        Some("string") => Shape::Text,
        Some("boolean") => Shape::Flag,
        Some("number") => Shape::Number,
        Some("integer") => {
            Shape::Whole { wide: schema.get("format").is_some_and(|format| format == "int64") }
        }
        Some("array") => Shape::List(inner("items")),
        Some("object") if schema.get("properties").is_some() => Shape::Object(fields(schema, defs)),
        Some("object") if schema.get("additionalProperties").is_some() => {
            Shape::Map(inner("additionalProperties"))
        }
        Some("object") => Shape::Map(Box::new(Shape::Any)),
        Some(_) | None => Shape::Any,
    }
}

/// Reads an object's schema.
fn fields(schema: &Value, defs: &Value) -> Fields {
    let known = schema.get("properties").and_then(Value::as_object);
    let required = schema.get("required").and_then(Value::as_array);
    Fields {
        known: known.into_iter().flatten().map(|(name, it)| (name.clone(), shape_of(it, defs))).collect(),
        required: required.into_iter().flatten().filter_map(|it| it.as_str().map(str::to_owned)).collect(),
    }
}
