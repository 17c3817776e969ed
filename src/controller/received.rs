//! How an execution is read that comes from the API server. Pure.
//!
//! Its schema refuses bad objects, but may not have been there when one was stored. So nothing an object holds may
//! break the decoding of others: spec and status stay raw text until each is read for itself, the spec with a bound on
//! its depth, and what is wrong with it becomes a value. Nor need what is known already be read at all.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::Resource;
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::{Map, Value, value::RawValue};

use super::{
    conditions::Conditions,
    execution::{Execution, Unread},
    key::Key,
    shape::Shape,
};
use crate::{
    crd::{ResourceRef, RunnerExecution, RunnerExecutionSpec, RunnerExecutionStatus},
    runners::{Problem, args::MAX_DEPTH},
};

/// As many bytes of text as a value more makes work for the API server: it compares each, and notes who wrote it.
const BULK_OF_A_VALUE: usize = 64;

/// An execution as it came. `Debug` shows no argument.
#[derive(Clone, Deserialize)]
pub struct Received {
    /// Its metadata, without labels, annotations and managed fields.
    #[serde(default, deserialize_with = "slim")]
    pub metadata: ObjectMeta,
    #[serde(default)]
    spec: Option<Box<RawValue>>,
    #[serde(default)]
    status: Option<Box<RawValue>>,
}

/// The part of an object's metadata that is used here; labels and annotations are skipped unless asked for.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SlimMeta<Marks = IgnoredAny> {
    pub(super) name: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) uid: Option<String>,
    pub(super) resource_version: Option<String>,
    pub(super) generation: Option<i64>,
    pub(super) creation_timestamp: Option<Time>,
    pub(super) deletion_timestamp: Option<Time>,
    pub(super) owner_references: Option<Vec<OwnerReference>>,
    pub(super) labels: Option<Marks>,
    pub(super) annotations: Option<Marks>,
}

impl<Marks> From<SlimMeta<Marks>> for ObjectMeta {
    fn from(slim: SlimMeta<Marks>) -> Self {
        Self {
            name: slim.name,
            namespace: slim.namespace,
            uid: slim.uid,
            resource_version: slim.resource_version,
            generation: slim.generation,
            creation_timestamp: slim.creation_timestamp,
            deletion_timestamp: slim.deletion_timestamp,
            owner_references: slim.owner_references,
            ..Self::default()
        }
    }
}

/// The version of an object, as a number: a later one of the same object is larger (KEP-5504).
pub(super) fn version_of(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

impl Received {
    /// By what the controller's tables name it.
    pub fn key(&self) -> Key {
        Key::of(self.metadata.uid.as_deref().unwrap_or_default())
    }
}

fn slim<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    SlimMeta::<IgnoredAny>::deserialize(deserializer).map(ObjectMeta::from)
}

impl<'de> Deserialize<'de> for Execution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Received::deserialize(deserializer).map(Self::from)
    }
}

impl From<Received> for Execution {
    fn from(Received { metadata, spec, status }: Received) -> Self {
        let mut status = status.map(|raw| read_status(raw.get())).unwrap_or_default();
        let text = spec.as_deref().map_or("", RawValue::get);
        let shape = Shape::of(text);
        let mut execution = Self {
            metadata,
            spec: read_spec(text, &shape).map_err(|problem| Box::new(Unread::of(problem, text))),
            conditions: Conditions::of(&std::mem::take(&mut status.conditions)),
            status,
            bulk: text.len() + shape.values * BULK_OF_A_VALUE,
        };
        execution.forget_what_is_done();
        execution
    }
}

/// The status that a text holds, without the fields that are not understood: another version of this controller may have
/// written them, and what the others tell must not get lost, least of all that something was started.
fn read_status(text: &str) -> RunnerExecutionStatus {
    serde_json::from_str(text).unwrap_or_else(|_| {
        let mut fields: BTreeMap<String, &RawValue> = serde_json::from_str(text).unwrap_or_default();
        let resources = fields.remove("resources").map(read_resources).unwrap_or_default();
        let mut understood = Map::new();
        for (field, text) in fields {
            let Ok(value) = serde_json::from_str(text.get()) else { continue };
            let alone = Map::from_iter([(field, value)]);
            if RunnerExecutionStatus::deserialize(&alone).is_ok() {
                understood.extend(alone);
            }
        }
        let status: RunnerExecutionStatus = serde_json::from_value(understood.into()).unwrap_or_default();
        RunnerExecutionStatus { resources, ..status }
    })
}

/// What was made, of which the uid counts most.
fn read_resources(text: &RawValue) -> Vec<ResourceRef> {
    let resources: Vec<Value> = serde_json::from_str(text.get()).unwrap_or_default();
    let read = |resource: &Value| {
        let word = |field| resource.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        ResourceRef {
            api_version: word("apiVersion"),
            kind: word("kind"),
            namespace: word("namespace"),
            name: word("name"),
            uid: word("uid"),
        }
    };
    resources.iter().map(read).collect()
}

/// The spec that a text holds; an empty one stands for none.
fn read_spec(text: &str, shape: &Shape) -> Result<Box<RunnerExecutionSpec>, Problem> {
    let problem = |path: &str, what: String| Problem { path: path.to_owned(), what };
    if text.is_empty() {
        return Err(problem("spec", "is missing".into()));
    }
    if shape.depth > MAX_DEPTH + 1 {
        return Err(problem(
            "spec.args",
            format!("nests more than {MAX_DEPTH} levels deep; flatten it, or pass it as text"),
        ));
    }
    let spec: RunnerExecutionSpec = serde_json::from_str(text).map_err(|_| misread(text))?;
    match spec.args {
        Value::Object(_) | Value::Null => Ok(Box::new(spec)),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(problem("spec.args", "must be an object".into()))
        }
    }
}

/// What is wrong with a spec, and where. To keep track of where costs as much as to read, so this reads it once more.
fn misread(text: &str) -> Problem {
    let mut json = serde_json::Deserializer::from_str(text);
    let Err(error) = serde_path_to_error::deserialize::<_, RunnerExecutionSpec>(&mut json) else {
        return Problem { path: "spec".into(), what: "is not understood".into() };
    };
    // serde's own words repeat values; arguments may be secret, so only what it expected is told.
    let told = error.inner().to_string();
    let until_place = |words: &str| words.split(" at line").next().unwrap_or(words).to_owned();
    let what = if let Some(field) = told.strip_prefix("missing field ") {
        format!("lacks the field {}", until_place(field))
    } else {
        let expected = told.rsplit_once("expected ").map_or("another form", |(_, expected)| expected);
        format!("must be {}", until_place(expected))
    };
    Problem { path: format!("spec.{}", error.path()), what }
}

impl std::fmt::Debug for Received {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ObjectMeta { namespace, name, uid, .. } = &self.metadata;
        write!(f, "Received({namespace:?} {name:?} {uid:?})")
    }
}

impl Resource for Received {
    type DynamicType = ();
    type Scope = <RunnerExecution as Resource>::Scope;

    fn kind(dt: &()) -> Cow<'_, str> {
        RunnerExecution::kind(dt)
    }
    fn group(dt: &()) -> Cow<'_, str> {
        RunnerExecution::group(dt)
    }
    fn version(dt: &()) -> Cow<'_, str> {
        RunnerExecution::version(dt)
    }
    fn plural(dt: &()) -> Cow<'_, str> {
        RunnerExecution::plural(dt)
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
#[path = "received_tests.rs"]
mod tests;
