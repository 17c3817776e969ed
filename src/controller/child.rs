//! A child as it is written and as it is watched: how an execution's mark gets onto it and is read from it. Pure.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use kube::{
    Resource,
    core::{ApiResource, DynamicResourceScope},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    decide::Child,
    execution::Execution,
    key::Key,
    received::{SlimMeta, version_of},
};
use crate::{
    crd::{EXECUTION_UID_LABEL, GROUP},
    message::cut,
    runners::{Glance, Glimpse, Registry, Rendered, Runner, Stop, args::merge, report},
};

/// Names the runner; it tells runners apart that share a kind.
pub const RUNNER_LABEL: &str = "core.projectvoltron.dev/runner";
/// Set in one patch with the release, so that a watch of metadata shows it.
const RELEASED_LABEL: &str = "core.projectvoltron.dev/released";
/// When it was last asked to begin or to stop.
const ASKED_AT_ANNOTATION: &str = "core.projectvoltron.dev/asked-at";
/// Set in one patch with the request to stop; tells how hard.
const STOPPED_LABEL: &str = "core.projectvoltron.dev/stopped";
/// The generation of the execution that the child was rendered from.
const GENERATION_ANNOTATION: &str = "core.projectvoltron.dev/generation";
/// The merge patch that is held back until the result is recorded.
const HELD_BACK_ANNOTATION: &str = "core.projectvoltron.dev/held-back";

/// The whole manifest of an execution's child: suspended, owned by the execution, and marked.
pub fn manifest(execution: &Execution, runner: &dyn Runner, rendered: Rendered) -> Value {
    let kind = runner.child();
    let Rendered { mut spec, mut labels, mut annotations, held_back, keep_suspended, input: _ } = rendered;
    spec.insert("suspend".into(), Value::Bool(true));
    labels.insert(EXECUTION_UID_LABEL.into(), execution.uid().into());
    labels.insert(RUNNER_LABEL.into(), runner.name().into());
    if keep_suspended {
        // As if released already: whoever asked for the suspension is to end it.
        labels.insert(RELEASED_LABEL.into(), "true".into());
    }
    annotations.insert(GENERATION_ANNOTATION.into(), execution.metadata.generation.unwrap_or(0).to_string());
    if let Some(patch) = held_back {
        annotations.insert(HELD_BACK_ANNOTATION.into(), patch.to_string());
    }
    json!({
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": execution.child_name(),
            "namespace": execution.namespace(),
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [owner(execution.name(), execution.uid())],
        },
        "spec": spec,
    })
}

/// The execution of that name, as the owner of what is made for it.
pub fn owner(name: &str, uid: &str) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1alpha1"),
        "kind": "RunnerExecution",
        "name": name,
        "uid": uid,
        "controller": true,
        // Asking for it would need a right on the execution that the ServiceAccount need not have.
        "blockOwnerDeletion": false,
    })
}

/// The patch that releases a child.
pub fn release_patch(uid: &str, now: Timestamp) -> Value {
    let mut patch = mark(uid, RELEASED_LABEL, "true", now);
    merge(&mut patch, json!({ "spec": { "suspend": false } }));
    patch
}

/// The patch that stops a child, from the runner's own.
pub fn stop_patch(uid: &str, how: Stop, mut patch: Value, now: Timestamp) -> Value {
    merge(&mut patch, mark(uid, STOPPED_LABEL, word(how), now));
    patch
}

const fn word(how: Stop) -> &'static str {
    match how {
        Stop::Cancel => "cancel",
        Stop::Terminate => "terminate",
    }
}

/// By its time one that is repeated is a change, of which a controller hears that missed the first.
fn mark(uid: &str, label: &str, value: &str, now: Timestamp) -> Value {
    json!({ "metadata": {
        "uid": uid,
        "labels": { label: value },
        "annotations": { ASKED_AT_ANNOTATION: now.to_string() },
    } })
}

/// The patch that applies what was held back of this child, read from its annotation.
pub fn restore_patch(uid: &str, child: &Value) -> Value {
    let held_back = child
        .pointer("/metadata/annotations")
        .and_then(|a| a.get(HELD_BACK_ANNOTATION))
        .and_then(Value::as_str);
    let mut patch = held_back
        .and_then(|text| serde_json::from_str(text).ok())
        .filter(Value::is_object)
        .unwrap_or_else(|| json!({}));
    let mark = json!({ "metadata": { "uid": uid, "annotations": { HELD_BACK_ANNOTATION: null } } });
    merge(&mut patch, mark);
    patch
}

/// An object as it is watched, or comes back from a write: with METADATA, the API server sends nothing but metadata.
#[derive(Clone, Debug, Deserialize)]
pub struct Watched<const METADATA: bool> {
    #[serde(default, deserialize_with = "slim")]
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    status: Value,
}

/// The metadata that is used here, without managed fields.
fn slim<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let mut meta = SlimMeta::<BTreeMap<String, String>>::deserialize(deserializer)?;
    let (labels, annotations) = (meta.labels.take(), meta.annotations.take());
    Ok(ObjectMeta { labels, annotations, ..meta.into() })
}

impl<const METADATA: bool> Resource for Watched<METADATA> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn metadata_api() -> bool {
        METADATA
    }
    fn kind(dt: &ApiResource) -> Cow<'_, str> {
        dt.kind.as_str().into()
    }
    fn group(dt: &ApiResource) -> Cow<'_, str> {
        dt.group.as_str().into()
    }
    fn version(dt: &ApiResource) -> Cow<'_, str> {
        dt.version.as_str().into()
    }
    fn plural(dt: &ApiResource) -> Cow<'_, str> {
        dt.plural.as_str().into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// What is kept of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Entry {
    /// The execution that it was made for.
    pub execution: Key,
    /// Its uid.
    pub uid: Box<str>,
    /// The version that was seen.
    pub version: u64,
    /// The generation of the execution that it was rendered from.
    pub generation: i64,
    /// It was released.
    pub released: bool,
    /// How hard it was asked to stop, if it was.
    pub stopped: Option<Stop>,
    /// Settings of it are held back.
    pub held_back: bool,
    /// It is on its way out.
    pub deleting: bool,
    /// What a glimpse of it tells.
    pub glance: Glance,
    /// How far it is, where it tells that by an annotation.
    pub progress: Option<Box<str>>,
}

impl Entry {
    /// Reads an object's marks. `None` if it is no execution's child.
    pub fn read(meta: &ObjectMeta, status: &Value, registry: &Registry) -> Option<Self> {
        let empty = BTreeMap::new();
        let labels = meta.labels.as_ref().unwrap_or(&empty);
        let annotations = meta.annotations.as_ref().unwrap_or(&empty);
        let execution = labels.get(EXECUTION_UID_LABEL)?;
        meta.owner_references
            .iter()
            .flatten()
            .find(|o| o.kind == "RunnerExecution" && o.uid == *execution)?;
        let runner = labels.get(RUNNER_LABEL).and_then(|name| registry.get(name))?;
        Some(Self {
            execution: Key::of(execution),
            uid: meta.uid.as_deref().unwrap_or_default().into(),
            version: version_of(meta),
            generation: annotations.get(GENERATION_ANNOTATION).and_then(|g| g.parse().ok()).unwrap_or(0),
            released: labels.contains_key(RELEASED_LABEL),
            stopped: labels
                .get(STOPPED_LABEL)
                .map(|how| if how == word(Stop::Cancel) { Stop::Cancel } else { Stop::Terminate }),
            held_back: annotations.contains_key(HELD_BACK_ANNOTATION),
            deleting: meta.deletion_timestamp.is_some(),
            glance: runner.glance(&Glimpse { labels, status }),
            progress: annotations.get(report::PROGRESS).map(|told| cut(told, 32).into()),
        })
    }

    /// Reads a whole object.
    pub fn read_whole(object: &Value, registry: &Registry) -> Option<Self> {
        let watched = Watched::<false>::deserialize(object).ok()?;
        Self::read(&watched.metadata, &watched.status, registry)
    }

    /// The same from a watch event.
    pub fn from_watched<const METADATA: bool>(
        watched: &Watched<METADATA>,
        registry: &Registry,
    ) -> Option<Self> {
        Self::read(&watched.metadata, &watched.status, registry)
    }

    /// Whether nothing that is kept differs but the version.
    pub fn is_same_but_for_version(&self, other: &Self) -> bool {
        *self == Self { version: self.version, ..other.clone() }
    }

    /// Whether this is the same child at a later version.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        self.uid == other.uid && self.version > other.version
    }

    /// The child as the decision sees it.
    pub fn seen(&self, execution: &Execution) -> Child {
        Child {
            uid: self.uid.to_string(),
            current: self.generation == execution.metadata.generation.unwrap_or(0),
            released: self.released,
            unheard: false,
            stopped: self.stopped,
            held_back: self.held_back,
            glance: self.glance,
            observation: None,
            look_due: false,
            grace_ends: None,
        }
    }
}

/// The name and uid of the execution that controls an object, if one does.
pub fn controlling_execution(object: &Value) -> Option<(&str, &str)> {
    object
        .pointer("/metadata/ownerReferences")?
        .as_array()?
        .iter()
        .find(|o| {
            o.get("kind").and_then(Value::as_str) == Some("RunnerExecution")
                && o.get("controller").and_then(Value::as_bool) == Some(true)
        })
        .and_then(|o| Some((o.get("name")?.as_str()?, o.get("uid")?.as_str()?)))
}

/// Whether an object is on its way out.
pub fn is_leaving(object: &Value) -> bool {
    serde_json::from_value::<Option<Time>>(
        object.pointer("/metadata/deletionTimestamp").cloned().unwrap_or_default(),
    )
    .is_ok_and(|t| t.is_some())
}

#[cfg(test)]
#[path = "child_tests.rs"]
mod tests;
