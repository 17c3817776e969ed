//! The `RunnerExecution` object: its types, its validation and its columns. No logic, no I/O.
//!
//! Doc comments on fields are user documentation: they become `kubectl explain`. What a person must know about
//! the implementation stands in `//` comments instead. Everything the API server can check is checked there
//! (lengths, patterns, CEL); [`crate::controller`] checks again, since objects may be stored past the schema.
#![allow(unreachable_pub, reason = "the KubeSchema derive repeats the types within functions")]

use std::collections::BTreeMap;

use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        CustomResourceDefinition, JSON, JSONSchemaProps,
    },
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use kube::{CustomResource, CustomResourceExt, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::reason::{self, Reason};

/// The API group.
pub const GROUP: &str = "core.projectvoltron.dev";
/// `spec.managedBy` of this controller: the same as leaving it out.
pub const MANAGED_BY: &str = "core.projectvoltron.dev/runner-controller";
/// The label by which what a runner made names the execution's uid.
pub const EXECUTION_UID_LABEL: &str = "core.projectvoltron.dev/execution-uid";

/// The condition types of an execution. Conditions are the contract; phase and columns are for people.
pub mod conditions {
    /// The execution is understood and will be, or was, run.
    pub const ACCEPTED: &str = "Accepted";
    /// Unknown while under way, then True or False for good.
    pub const SUCCEEDED: &str = "Succeeded";
    /// True at the end, for either outcome.
    pub const FINISHED: &str = "Finished";
    /// kstatus: True while under way.
    pub const RECONCILING: &str = "Reconciling";
    /// kstatus: True when failed or cancelled.
    pub const STALLED: &str = "Stalled";
}

/// Runs one action: an Argo Workflow, a Job, or whatever the named runner makes of `args`. It is started exactly
/// once; what became of it is in `status`. `kubectl wait --for=condition=Finished` returns for either outcome.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "core.projectvoltron.dev",
    version = "v1alpha1",
    kind = "RunnerExecution",
    plural = "runnerexecutions",
    shortname = "rex",
    shortname = "rexec",
    category = "runners",
    namespaced,
    status = "RunnerExecutionStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "One execution of one runner: it runs an action once and tells what became of it.",
    selectable = ".spec.runner",
    selectable = ".status.phase",
    printcolumn(name = "Runner", type_ = "string", json_path = ".spec.runner"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.progress"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
    printcolumn(name = "Started", type_ = "date", json_path = ".status.startTime", priority = 1),
    printcolumn(name = "Finished", type_ = "date", json_path = ".status.completionTime", priority = 1),
    printcolumn(name = "Resource", type_ = "string", json_path = ".status.resources[0].name", priority = 1),
    validation = Rule::new("has(self.spec.context.name) || size(self.metadata.name) <= 63")
        .message("metadata.name is longer than 63 characters: set spec.context.name to a shorter name for what the runner creates"),
    // Only facts about metadata.name are visible to CEL, so metadata.namespace is compared by the controller.
    validation = Rule::new(
        "!has(oldSelf.status) || !has(oldSelf.status.conditions) \
         || oldSelf.status.conditions.all(c, c.type != 'Accepted' || c.status == 'Unknown') \
         || (self.spec.runner == oldSelf.spec.runner && self.spec.context == oldSelf.spec.context \
             && has(self.spec.args) == has(oldSelf.spec.args) \
             && (!has(self.spec.args) || self.spec.args == oldSelf.spec.args) \
             && has(self.spec.argsFrom) == has(oldSelf.spec.argsFrom) \
             && (!has(self.spec.argsFrom) || self.spec.argsFrom == oldSelf.spec.argsFrom) \
             && has(self.spec.managedBy) == has(oldSelf.spec.managedBy) \
             && (!has(self.spec.managedBy) || self.spec.managedBy == oldSelf.spec.managedBy))"
    ).message("spec is frozen once the execution is accepted: only suspend, cancel and ttlSecondsAfterFinished can change; to run something else, create another RunnerExecution")
)]
#[serde(rename_all = "camelCase")]
pub struct RunnerExecutionSpec {
    /// Which runner does the work: `argo-workflow`, `job`, `helm`, `http`,
    /// `terraform`, or one that somebody else's controller serves.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub runner: String,

    /// Where and as whom it runs, under which name, and for how long.
    pub context: Context,

    /// What to run, in the runner's own terms. For `argo-workflow`: `workflow`, a WorkflowSpec. For `job`: a
    /// JobSpec, or just `image`, `command`, `args` and `env`; with `input`, what the containers find as `args` in the
    /// file at RUNNER_INPUT_PATH. For `helm`: `command`, `chart` and `values`. For
    /// `http`: `method`, `url` and what to make of the answer. For `terraform`: `command`, `module` and
    /// `variables`.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    #[schemars(schema_with = "any_object")]
    pub args: Value,

    /// Further arguments from Secrets of the same namespace, merged over `args` in this order. They are read as
    /// the ServiceAccount of the run. What the runner makes of them can be read by whoever may read what it makes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub args_from: Vec<ArgsSource>,

    /// True holds the start back until it is set to false: for an approval, or a queue such as Kueue. It has no
    /// effect on what has started already.
    #[serde(default)]
    pub suspend: bool,

    /// True stops the work and keeps the object; it cannot be taken back.
    #[serde(default)]
    #[x_kube(validation = Rule::new("!oldSelf || self").message("cancel cannot be taken back: create another RunnerExecution to run it again"))]
    pub cancel: bool,

    /// Delete the execution, and with it what it made, this many seconds after it finished. Absent: keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub ttl_seconds_after_finished: Option<i32>,

    /// Another controller that is responsible for this execution, as on a Job; this one then leaves it alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9.-]+/[A-Za-z0-9._/-]+$"))]
    pub managed_by: Option<String>,
}

/// The circumstances of a run.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Context {
    /// The name of what the runner creates, such as the Workflow; it must not exist yet. Default: `metadata.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: Option<String>,

    /// True only checks: the arguments, and whether the API server would take what they render to; nothing is created.
    /// `helm` and `terraform`, which alone know what they would do, work out a plan in a pod, and nothing of it is
    /// left. What would be stored, or the plan, is shown in `status.dryRun.rendered`.
    #[serde(default)]
    pub dry_run: bool,

    /// How long the work may take, counted from its start, as a Go duration such as `10m` or `1h30m`; then it is
    /// stopped and the execution fails with TimedOut. Absent or `0`: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    // One sentence for each mistake: a pattern would be reported together with CEL's own conversion errors.
    #[x_kube(validation = Rule::new("self.matches('^(0|([0-9]{1,7}([.][0-9]{1,3})?(ms|s|m|h))+)$')")
        .message("must be a Go duration such as 30s, 10m or 1h30m; write 0 for no timeout"))]
    #[x_kube(validation = Rule::new("!self.matches('^(0|([0-9]{1,5}([.][0-9]{1,3})?(ms|s|m|h))+)$') || duration(self) == duration('0s') || duration(self) >= duration('1s')")
        .message("must be 0 for no timeout, or at least 1s"))]
    #[x_kube(validation = Rule::new("!self.matches('^(0|([0-9]{1,7}([.][0-9]{1,3})?(ms|s|m|h))+)$') || (self.matches('^(0|([0-9]{1,5}([.][0-9]{1,3})?(ms|s|m|h))+)$') && duration(self) <= duration('87600h'))")
        .message("must be at most 87600h, each number with at most five digits; write 0 for no timeout"))]
    pub timeout: Option<String>,

    /// Where and as whom it runs on Kubernetes.
    pub platform: Platform,
}

/// Where and as whom a run takes place.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Platform {
    /// The namespace of everything the runner creates. It must be the execution's own, which is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,

    /// The ServiceAccount of that namespace as which everything is created and run. It needs the right to create,
    /// patch and delete what the runner makes; the controller lends it none.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub service_account_name: String,

    /// The object that this execution belongs to and is deleted with, such as an Action. It must exist, in the
    /// same namespace or cluster-scoped, and the ServiceAccount must be allowed to get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_ref: Option<OwnerRef>,
}

/// An owner, as in `metadata.ownerReferences`.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerRef {
    /// The owner's API group and version, such as `core.projectvoltron.dev/v1alpha1`.
    #[schemars(
        length(min = 1, max = 317),
        regex(pattern = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?v[a-z0-9]+$")
    )]
    pub api_version: String,
    /// The owner's kind, such as `Action`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Z][A-Za-z0-9]*$"))]
    pub kind: String,
    /// The owner's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9_.:]*[A-Za-z0-9])?$"))]
    pub name: String,
    /// The owner's uid.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9-]+$"))]
    pub uid: String,
    /// Whether the owner is the managing controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
    /// Whether the owner, deleted in the foreground, waits for this execution to go first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_owner_deletion: Option<bool>,
}

/// One source of further arguments.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArgsSource {
    /// A key of a Secret that holds a YAML or JSON object.
    pub secret_key_ref: SecretKeyRef,
}

/// A key of a Secret in the execution's namespace.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SecretKeyRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// The key within its data.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// What became of the execution. Written by the controller alone.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunnerExecutionStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the execution is, in one word, for people. Programs read the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Why it is there: one word of a closed list.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "reason::known")]
    #[schemars(with = "Option<String>", length(max = 64))]
    pub reason: Option<Reason>,
    /// What happened and what to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub message: Option<String>,
    /// Accepted, Succeeded (Unknown, then True or False for good), Finished (True for either outcome),
    /// Reconciling and Stalled (for kstatus, Flux, Helm and Argo CD).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "condition_list")]
    pub conditions: Vec<Condition>,
    /// When the work was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the outcome was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// When the work will be stopped, if there is a timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
    /// What the runner made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub resources: Vec<ResourceRef>,
    /// Steps done and steps in all, such as `3/7`, where the runner can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub progress: Option<String>,
    /// What the work gave back, for example the Workflow's global output parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub output: Option<Value>,
    /// Where to find what the work gave back, if that is secret or too large for the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_ref: Option<OutputRef>,
    /// The result of a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<DryRunResult>,
}

/// A Secret of the execution's namespace with the outputs, each under a key of its own.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OutputRef {
    /// The Secret's name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// What the outputs were when they were written: `sha256:` and the digest of their JSON.
    #[schemars(length(max = 80))]
    pub digest: String,
}

/// The result of a dry run.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DryRunResult {
    /// What the API server would have stored, or for `helm` and `terraform` the plan. Left out where it would show
    /// arguments from a Secret, or is too large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub rendered: Option<Value>,
}

/// An object that the runner made.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceRef {
    /// Its API group and version.
    #[schemars(length(max = 317))]
    pub api_version: String,
    /// Its kind.
    #[schemars(length(max = 63))]
    pub kind: String,
    /// Its namespace.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its uid: another object of the same name is not meant.
    #[schemars(length(max = 64))]
    pub uid: String,
}

/// Where an execution is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Not started yet.
    Pending,
    /// Held back by `spec.suspend`.
    Suspended,
    /// Started.
    Running,
    /// Being stopped; the reason says why.
    Cancelling,
    /// Done, with success.
    Succeeded,
    /// Done, without success; the reason says why.
    Failed,
    /// Stopped on request.
    Cancelled,
}

impl Phase {
    /// Whether nothing will happen any more.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
            Self::Pending | Self::Suspended | Self::Running | Self::Cancelling => false,
        }
    }
}

fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// metav1.Condition as a list map by type, with bounds on everything, so that CEL rules over it have a cost.
fn condition_list(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 8,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": { "type": "string", "maxLength": 64, "description": "What the condition is about." },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it holds." },
                "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0, "description": "The generation of the spec it speaks of." },
                "lastTransitionTime": { "type": "string", "format": "date-time", "description": "When its status last changed." },
                "reason": { "type": "string", "minLength": 1, "maxLength": 64, "description": "Why, in one word." },
                "message": { "type": "string", "maxLength": 4096, "description": "What happened and what to do next." },
            },
        },
    })
}

/// The CustomResourceDefinition as it is installed.
///
/// On top of what the types say it gives `status` a default, so that an execution reads correctly (Pending,
/// under way) from the very moment it is stored, even when no controller runs; the same device as in the
/// Gateway API.
pub fn crd() -> CustomResourceDefinition {
    let mut crd = RunnerExecution::crd();
    for version in &mut crd.spec.versions {
        let status = version
            .schema
            .as_mut()
            .and_then(|s| s.open_api_v3_schema.as_mut())
            .and_then(|s| s.properties.as_mut())
            .and_then(|p: &mut BTreeMap<String, JSONSchemaProps>| p.get_mut("status"));
        if let Some(status) = status {
            status.default = Some(JSON(initial_status()));
        }
    }
    crd
}

fn initial_status() -> Value {
    let condition = |type_: &str, status: &str| {
        json!({
            "type": type_, "status": status, "reason": Reason::Pending,
            "message": "No controller has looked at this execution yet.",
            // A default must be a constant; this is what the Gateway API writes for "not yet".
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        })
    };
    json!({
        "phase": Phase::Pending,
        "reason": Reason::Pending,
        "conditions": [
            condition(conditions::ACCEPTED, "Unknown"),
            condition(conditions::SUCCEEDED, "Unknown"),
            condition(conditions::FINISHED, "False"),
            condition(conditions::RECONCILING, "True"),
        ],
    })
}
