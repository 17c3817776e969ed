//! The `RunnerExecution` as the controller holds it: read leniently, kept small. Pure.
//!
//! The API server's schema refuses bad objects, but may not have been there when one was stored. So nothing an
//! object holds may break the decoding of others: the spec stays raw text until it is read for itself, with a
//! bound on its depth, and what is wrong with it becomes a value.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time},
    jiff::Timestamp,
};
use kube::Resource;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::{Map, Value, value::RawValue};

use super::{conditions::Conditions, key::Key, shape::Shape};
use crate::{
    crd::{
        MANAGED_BY, Phase, ResourceRef, RunnerExecution, RunnerExecutionSpec, RunnerExecutionStatus,
        conditions,
    },
    runners::{Problem, args::MAX_DEPTH},
};

/// As many bytes of text as a value more makes work for the API server: it compares each, and notes who wrote it.
const BULK_OF_A_VALUE: usize = 64;

/// One execution, as last seen. `Debug` shows no argument.
#[derive(Clone)]
pub struct Execution {
    /// Its metadata, without labels, annotations and managed fields.
    pub metadata: ObjectMeta,
    /// Its spec, unless something is wrong with it.
    pub spec: Result<Box<RunnerExecutionSpec>, Box<Unread>>,
    /// Its status without the conditions and without what is unreadable.
    pub status: RunnerExecutionStatus,
    /// What is kept of its conditions.
    pub conditions: Conditions,
    /// How much work each write of it makes, by the size of its spec.
    pub bulk: usize,
}

/// What travels: everything else is skipped without being built.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(default)]
    metadata: SlimMeta,
    #[serde(default, borrow)]
    spec: Option<&'a RawValue>,
    #[serde(default, borrow)]
    status: Option<&'a RawValue>,
}

/// A spec that is not understood as a whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unread {
    /// What is wrong with it.
    pub problem: Problem,
    rudiments: Rudiments,
}

/// What counts even of such a spec: whose it is, and when it may go.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rudiments {
    #[serde(deserialize_with = "if_understood")]
    runner: String,
    #[serde(deserialize_with = "if_understood")]
    managed_by: Option<String>,
    #[serde(deserialize_with = "if_understood")]
    ttl_seconds_after_finished: Option<i32>,
}

/// The part of an object's metadata that is used here; labels and annotations are skipped unless asked for.
#[derive(Clone, Default, Deserialize)]
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

impl<'de> Deserialize<'de> for Execution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Wire::deserialize(deserializer).map(Self::from)
    }
}

impl From<Wire<'_>> for Execution {
    fn from(wire: Wire<'_>) -> Self {
        let mut status = wire.status.map(|raw| read_status(raw.get())).unwrap_or_default();
        let text = wire.spec.map_or("", RawValue::get);
        let shape = Shape::of(text);
        let spec = read_spec(text, &shape);
        let mut execution = Self {
            metadata: wire.metadata.into(),
            spec: spec.map_err(|problem| {
                Box::new(Unread { problem, rudiments: serde_json::from_str(text).unwrap_or_default() })
            }),
            conditions: Conditions::of(&std::mem::take(&mut status.conditions)),
            status,
            bulk: text.len() + shape.values * BULK_OF_A_VALUE,
        };
        if execution.recorded_child().is_some() {
            execution.forget_args();
        }
        if execution.is_finished() {
            execution.forget_content();
        }
        execution
    }
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

/// A value, or nothing where it is of another form.
fn if_understood<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    let text = Box::<RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(text.get()).unwrap_or_default())
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

impl Execution {
    /// Its name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// Its uid.
    pub fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// By what the controller's tables name it.
    pub fn key(&self) -> Key {
        Key::of(self.uid())
    }

    /// The version that was read, as a number: a later one of the same object is larger (KEP-5504).
    pub fn version(&self) -> u64 {
        self.metadata.resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0)
    }

    /// Whether its outcome is recorded, be it in a word of another version's.
    pub fn is_finished(&self) -> bool {
        self.status.phase.map_or_else(|| self.status.completion_time.is_some(), Phase::is_final)
    }

    /// Whether it has begun, as far as is recorded, and not ended.
    pub fn is_under_way(&self) -> bool {
        self.recorded_child().is_some() && !self.is_finished()
    }

    /// Whether a controller has begun with it or accepted it.
    pub fn is_taken_up(&self) -> bool {
        let is_accepted = self.conditions.is_true(conditions::ACCEPTED);
        self.recorded_child().is_some() || self.is_finished() || is_accepted
    }

    /// Whether another controller is responsible for it.
    pub fn is_managed_elsewhere(&self) -> bool {
        let managed_by = match &self.spec {
            Ok(spec) => &spec.managed_by,
            Err(unread) => &unread.rudiments.managed_by,
        };
        managed_by.as_ref().is_some_and(|by| by != MANAGED_BY)
    }

    /// The name of its runner, or nothing.
    pub fn runner(&self) -> &str {
        match &self.spec {
            Ok(spec) => &spec.runner,
            Err(unread) => &unread.rudiments.runner,
        }
    }

    /// The name of what the runner creates.
    pub fn child_name(&self) -> &str {
        self.spec.as_ref().ok().and_then(|s| s.context.name.as_deref()).unwrap_or_else(|| self.name())
    }

    /// Whether some of its arguments come from Secrets, so that what repeats arguments may be told nowhere.
    pub fn has_secret_args(&self) -> bool {
        self.spec.as_ref().is_ok_and(|spec| !spec.args_from.is_empty())
    }

    /// The recorded child.
    pub fn recorded_child(&self) -> Option<&ResourceRef> {
        self.status.resources.first().filter(|r| !r.uid.is_empty())
    }

    /// When its child is to be stopped, once it has begun.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.status.deadline.as_ref().map(|deadline| deadline.0)
    }

    /// When it is to be deleted, once it has finished.
    pub fn expires(&self) -> Option<Timestamp> {
        let ttl = match &self.spec {
            Ok(spec) => spec.ttl_seconds_after_finished,
            Err(unread) => unread.rudiments.ttl_seconds_after_finished,
        }?;
        let end = self.status.completion_time.as_ref()?.0;
        end.checked_add(std::time::Duration::from_secs(u64::try_from(ttl).unwrap_or(0))).ok()
    }

    /// Takes over a status that was written; without conditions, they stayed as they were.
    pub fn set_status(&mut self, mut status: RunnerExecutionStatus) {
        let conditions = std::mem::take(&mut status.conditions);
        if !conditions.is_empty() {
            self.conditions = Conditions::of(&conditions);
        }
        self.status = status;
    }

    /// Drops what is needed only to create the child.
    fn forget_args(&mut self) {
        if let Ok(spec) = &mut self.spec {
            spec.args = Value::Null;
        }
    }

    /// Drops what a finished execution needs no more, since most of what a controller holds is finished.
    fn forget_content(&mut self) {
        self.forget_args();
        if let Ok(spec) = &mut self.spec {
            spec.args_from = Vec::new();
        }
        self.status.output = None;
        self.status.dry_run = None;
        self.status.message = None;
        self.conditions = Conditions::default();
    }
}

impl std::fmt::Debug for Execution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Execution({}/{} {})", self.namespace(), self.name(), self.uid())
    }
}

impl Resource for Execution {
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
#[path = "execution_tests.rs"]
mod tests;
