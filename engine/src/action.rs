//! The Action: what an Engine renders, a person approves, and a runner carries out. Types only; no logic, no I/O.
#![allow(unreachable_pub, reason = "the KubeSchema derive repeats the types within functions")]

use kube::{CustomResource, KubeSchema};
use runner_controller::reason::Reason;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Runs something once it is rendered and approved. It owns the execution, and so all that the execution makes.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "core.projectvoltron.dev",
    version = "v1alpha1",
    kind = "Action",
    plural = "actions",
    namespaced,
    status = "ActionStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "One action: rendered, approved, run, and told of.",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.progress"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
    validation = Rule::new("size(self.metadata.name) <= 63")
        .message("metadata.name must have at most 63 characters: it also names what is run"),
    validation = Rule::new("!has(oldSelf.spec.run) || !oldSelf.spec.run || !has(oldSelf.spec.rendered) || (has(self.spec.rendered) && self.spec.rendered == oldSelf.spec.rendered)")
        .message("spec.rendered is frozen once it is approved by spec.run"),
)]
#[serde(rename_all = "camelCase")]
pub struct ActionSpec {
    /// What the Engine's renderer made of the action. Absent: not rendered yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendered: Option<Rendered>,
    /// The approval: true lets it run as soon as it is rendered.
    #[serde(default)]
    #[x_kube(validation = Rule::new("!oldSelf || self").message("run cannot be taken back: set cancel"))]
    pub run: bool,
    /// True only checks what would be run.
    #[serde(default)]
    pub dry_run: bool,
    /// True stops it; it cannot be taken back.
    #[serde(default)]
    #[x_kube(validation = Rule::new("!oldSelf || self").message("cancel cannot be taken back: create another Action"))]
    pub cancel: bool,
    /// How long it may take, such as `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub timeout: Option<String>,
    /// The ServiceAccount of the namespace as which everything is created and run. It must be allowed to get
    /// Actions, since it is checked that the Action that is named as owner exists.
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: String,
}

/// What the renderer made of the action.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rendered {
    /// Which runner carries it out.
    #[schemars(length(min = 1, max = 63))]
    pub runner: String,
    /// The runner's arguments.
    #[serde(default)]
    #[schemars(schema_with = "any_object")]
    pub args: Value,
}

/// What became of the Action. Written by the Engine alone.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the Action is, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<ActionPhase>,
    /// Why: the execution's own word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 64))]
    pub reason: Option<Reason>,
    /// What happened and what to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub message: Option<String>,
    /// Steps done and steps in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub progress: Option<String>,
    /// What it gave back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub output: Option<Value>,
    /// The uid of its execution, once there is one: another of the same name is not meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub execution_uid: Option<String>,
}

/// Where an Action is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ActionPhase {
    /// Not rendered yet.
    BeingRendered,
    /// Rendered; waits for the approval.
    ReadyToRun,
    /// Approved, and handed to a runner.
    Running,
    /// Being stopped.
    BeingCancelled,
    /// Done, with success.
    Succeeded,
    /// Done, without success.
    Failed,
    /// Stopped on request.
    Cancelled,
}

impl ActionPhase {
    /// Whether nothing will happen any more.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
            Self::BeingRendered | Self::ReadyToRun | Self::Running | Self::BeingCancelled => false,
        }
    }
}

fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}
