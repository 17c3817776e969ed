//! The fields of the texts: their types, the checks that can tell the place, and which there are. Pure.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Map, Number, Value};

use crate::{
    crd::{Context, GROUP, Platform},
    duration, message,
};

/// `context`, with its name, which the original demands.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContextText {
    #[serde(deserialize_with = "name")]
    name: String,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    timeout: Timeout,
    platform: Platform,
}

impl From<ContextText> for Context {
    fn from(text: ContextText) -> Self {
        Self {
            name: Some(text.name),
            dry_run: text.dry_run,
            timeout: text.timeout.0,
            platform: text.platform,
        }
    }
}

/// `spec.context` of a manifest, where the name has a default.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ManifestContext {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    timeout: Timeout,
    platform: Platform,
}

impl From<ManifestContext> for Context {
    fn from(text: ManifestContext) -> Self {
        Self { name: text.name, dry_run: text.dry_run, timeout: text.timeout.0, platform: text.platform }
    }
}

/// `metadata` of a manifest, as far as it is used.
#[derive(Deserialize)]
pub(super) struct Metadata {
    #[serde(deserialize_with = "name")]
    pub(super) name: String,
    #[serde(default)]
    pub(super) namespace: Option<String>,
    #[serde(default)]
    pub(super) labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) annotations: Option<BTreeMap<String, String>>,
}

/// A text with a check. A visitor, since only what a visitor refuses has its own place in YAML.
struct Checked<F> {
    expecting: &'static str,
    check: F,
}

impl<F: FnOnce(&str) -> Result<(), String>> Visitor<'_> for Checked<F> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        (self.check)(text).map_err(E::custom)?;
        Ok(text.to_owned())
    }
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_str(Checked { expecting: "a name", check: check_name })
}

fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inner = name.chars().all(|c| plain(c) || c == '-' || c == '.');
    if !inner || !name.starts_with(plain) || !name.ends_with(plain) {
        return Err(
            "must be a name of lower-case letters, digits, - and ., with a letter or digit at both ends"
                .into(),
        );
    }
    if name.len() > 63 { Err("must have at most 63 letters".into()) } else { Ok(()) }
}

pub(super) fn api_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let ours = format!("{GROUP}/v1alpha1");
    let check = |text: &str| if text == ours { Ok(()) } else { Err(format!("must be {ours}")) };
    deserializer.deserialize_str(Checked { expecting: "the version of RunnerExecution", check })
}

/// The kind of a manifest, which can be one only.
pub(super) struct ExecutionKind;

impl<'de> Deserialize<'de> for ExecutionKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let check = |text: &str| match text {
            "RunnerExecution" => Ok(()),
            _ => {
                Err("must be RunnerExecution, or the file the original's, with context and args and no kind"
                    .into())
            }
        };
        deserializer.deserialize_str(Checked { expecting: "RunnerExecution", check }).map(|_| Self)
    }
}

/// A Go duration. `0` may stand there as a number, too.
#[derive(Default)]
struct Timeout(Option<String>);

impl<'de> Deserialize<'de> for Timeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimeoutVisitor)
    }
}

struct TimeoutVisitor;

impl Visitor<'_> for TimeoutVisitor {
    type Value = Timeout;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Go duration such as 30s, 10m or 1h30m, or 0 for no timeout")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Timeout, E> {
        duration::parse(text).map_err(E::custom)?;
        Ok(Timeout(Some(text.to_owned())))
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<Timeout, E> {
        let zero = (number == 0).then(|| Timeout(Some("0".to_owned())));
        zero.ok_or_else(|| E::custom(duration::InvalidDuration::Syntax))
    }
    fn visit_unit<E: Error>(self) -> Result<Timeout, E> {
        Ok(Timeout(None))
    }
    fn visit_none<E: Error>(self) -> Result<Timeout, E> {
        Ok(Timeout(None))
    }
}

/// The runner's arguments: an object, or nothing.
#[derive(Default)]
pub(super) struct Arguments(pub(super) Value);

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ArgumentsVisitor)
    }
}

struct ArgumentsVisitor;

impl<'de> Visitor<'de> for ArgumentsVisitor {
    type Value = Arguments;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object such as {image: busybox:1}, or nothing")
    }
    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Arguments, A::Error> {
        // By way of YAML's own value, which refuses a key that stands twice.
        let value = serde_yaml::Value::deserialize(MapAccessDeserializer::new(fields))?;
        json(value).map(Arguments).map_err(A::Error::custom)
    }
    fn visit_unit<E: Error>(self) -> Result<Arguments, E> {
        Ok(Arguments(Value::Null))
    }
    fn visit_none<E: Error>(self) -> Result<Arguments, E> {
        Ok(Arguments(Value::Null))
    }
}

/// YAML as JSON: keys become texts, as in every tool of Kubernetes.
fn json(value: serde_yaml::Value) -> Result<Value, &'static str> {
    Ok(match value {
        serde_yaml::Value::Null => Value::Null,
        serde_yaml::Value::Bool(value) => Value::Bool(value),
        serde_yaml::Value::Number(number) => Value::Number(json_number(&number)?),
        serde_yaml::Value::String(text) => Value::String(text),
        serde_yaml::Value::Sequence(items) => {
            Value::Array(items.into_iter().map(json).collect::<Result<_, _>>()?)
        }
        serde_yaml::Value::Mapping(fields) => {
            let mut object = Map::new();
            for (key, value) in fields {
                if object.insert(json_key(key)?, json(value)?).is_some() {
                    return Err("has a key twice, once as a text and once as a number");
                }
            }
            Value::Object(object)
        }
        serde_yaml::Value::Tagged(_) => return Err("has a tag of its own (!…), which JSON cannot hold"),
    })
}

fn json_key(key: serde_yaml::Value) -> Result<String, &'static str> {
    match key {
        serde_yaml::Value::String(text) => Ok(text),
        serde_yaml::Value::Bool(value) => Ok(value.to_string()),
        serde_yaml::Value::Number(number) => json_number(&number).map(|number| number.to_string()),
        serde_yaml::Value::Null
        | serde_yaml::Value::Sequence(_)
        | serde_yaml::Value::Mapping(_)
        | serde_yaml::Value::Tagged(_) => Err("has a key that is no text"),
    }
}

fn json_number(number: &serde_yaml::Number) -> Result<Number, &'static str> {
    let whole = number.as_i64().map(Number::from).or_else(|| number.as_u64().map(Number::from));
    whole
        .or_else(|| number.as_f64().and_then(Number::from_f64))
        .ok_or("has a number that JSON cannot hold, such as .inf")
}

/// The fields of an object, and the objects within; `None` for one whose fields are free.
pub(super) struct Known {
    name: &'static str,
    within: Option<&'static [Self]>,
}

const fn leaf(name: &'static str) -> Known {
    Known { name, within: None }
}

const fn object(name: &'static str, within: &'static [Known]) -> Known {
    Known { name, within: Some(within) }
}

const OWNER: [Known; 6] = [
    leaf("apiVersion"),
    leaf("kind"),
    leaf("name"),
    leaf("uid"),
    leaf("controller"),
    leaf("blockOwnerDeletion"),
];
const PLATFORM: [Known; 3] = [leaf("namespace"), leaf("serviceAccountName"), object("ownerRef", &OWNER)];
/// Of `context`.
pub(super) const CONTEXT: [Known; 4] =
    [leaf("name"), leaf("dryRun"), leaf("timeout"), object("platform", &PLATFORM)];
/// Of the original's file.
pub(super) const DOCUMENT: [Known; 2] = [object("context", &CONTEXT), leaf("args")];
const SPEC: [Known; 8] = [
    leaf("runner"),
    object("context", &CONTEXT),
    leaf("args"),
    leaf("argsFrom"),
    leaf("suspend"),
    leaf("cancel"),
    leaf("ttlSecondsAfterFinished"),
    leaf("managedBy"),
];
/// Of a manifest.
pub(super) const MANIFEST: [Known; 5] =
    [leaf("apiVersion"), leaf("kind"), leaf("metadata"), object("spec", &SPEC), leaf("status")];

/// A sentence for each field that has no effect.
pub(super) fn unknown(value: &Value, known: &[Known]) -> Vec<String> {
    let mut found = Vec::new();
    look(value, known, "", &mut found);
    found
}

fn look(value: &Value, known: &[Known], path: &str, found: &mut Vec<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        match known.iter().find(|field| field.name == key) {
            Some(Known { within: Some(within), .. }) => look(value, within, &format!("{path}{key}."), found),
            Some(Known { within: None, .. }) => {}
            None => {
                let names = known.iter().map(|field| field.name);
                let meant = message::nearest(key, names)
                    .map_or_else(String::new, |name| format!("; did you mean {name}?"));
                found.push(format!("{path}{} is no field and has no effect{meant}", message::cut(key, 80)));
            }
        }
    }
}
