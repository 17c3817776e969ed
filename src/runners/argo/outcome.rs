//! What became of a Workflow.
//!
//! In: the Workflow as JSON, of any shape. Out: an [`Observation`]. Pure.

use crate::message::{self, cut};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use serde_json::{Map, Value};

use super::{
    super::{Observation, Output},
    document::{Echo, get, items, text},
    nodes::{Node, Nodes},
};
use crate::reason::Reason;

/// How much of that another program's message may take.
const LONGEST_QUOTE: usize = 600;

/// Reads a whole Workflow.
pub(super) fn interpret(workflow: &Value) -> Observation {
    let status = get(workflow, "status").unwrap_or(&Value::Null);
    let nodes = Nodes::of(workflow);
    let progress = text(status, "progress").map(|progress| Echo(progress).to_string());
    match text(status, "phase") {
        Some("Succeeded") => Observation::Succeeded {
            progress,
            output: output(status).map(Output::Inline),
            message: cut(text(status, "message").unwrap_or_default(), message::MAX),
        },
        Some("Failed") => failed(Reason::WorkflowFailed, workflow, nodes, progress),
        Some("Error") => failed(Reason::WorkflowError, workflow, nodes, progress),
        // None yet, Pending, Running, or one that only a newer Argo knows.
        _ => waiting(workflow, nodes).unwrap_or(Observation::Underway { progress }),
    }
}

/// Whether Argo may begin with the Workflow and has not: no step is there yet, and Argo does not hold it back either.
pub(super) fn is_untouched(workflow: &Value) -> bool {
    let nodes = Nodes::of(workflow);
    let suspended = workflow.pointer("/spec/suspend") == Some(&Value::Bool(true));
    let phase = workflow.pointer("/status").and_then(|status| text(status, "phase"));
    !suspended
        && matches!(phase, None | Some("Running"))
        && nodes.iter().next().is_none()
        && !nodes.are_elsewhere()
}

/// The Workflow's global output parameters: every output that some template gave a `globalName`.
fn output(status: &Value) -> Option<Value> {
    let outputs = get(status, "outputs").unwrap_or(&Value::Null);
    let parameters: Map<String, Value> = items(outputs, "parameters")
        .iter()
        .filter_map(|parameter| {
            let value = get(parameter, "value")?;
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Some((text(parameter, "name")?.to_owned(), Value::String(value)))
        })
        .collect();
    (!parameters.is_empty()).then_some(Value::Object(parameters))
}

fn failed(reason: Reason, workflow: &Value, nodes: Nodes<'_>, progress: Option<String>) -> Observation {
    let said = workflow.pointer("/status").and_then(|status| text(status, "message"));
    let message = match nodes.cause() {
        Some(cause) => blame(cause, said, workflow, nodes),
        None if nodes.are_elsewhere() => format!(
            "{}. Argo keeps the list of steps compressed or in its database: `argo get {}{}` shows it",
            cut(said.unwrap_or("a step failed"), LONGEST_QUOTE),
            Echo(nodes.name()),
            namespace(workflow),
        ),
        None => {
            said.unwrap_or("Argo gives no reason: look into the log of its workflow-controller").to_owned()
        }
    };
    Observation::Failed { reason, message: cut(&message, message::MAX), progress }
}

/// Names the step that failed, why, and where to look.
fn blame(cause: Node<'_>, said: Option<&str>, workflow: &Value, nodes: Nodes<'_>) -> String {
    let why = cause.message().or(said).unwrap_or("Argo gives no reason");
    let memory = if why.contains("OOMKilled") { "; it needs a higher memory limit" } else { "" };
    let look = match nodes.pod(cause) {
        Some(pod) => format!("; see `kubectl logs {}{} -c main`", Echo(&pod), namespace(workflow)),
        None => String::new(),
    };
    format!("step `{}` failed: {}{memory}{look}", Echo(cause.display_name()), cut(why, LONGEST_QUOTE))
}

fn namespace(workflow: &Value) -> String {
    let name =
        workflow.pointer("/metadata/namespace").and_then(Value::as_str).filter(|name| !name.is_empty());
    name.map_or_else(String::new, |name| format!(" -n {}", Echo(name)))
}

/// Whether the Workflow stands still for want of something in the cluster. While any of its steps works, it does
/// not: that step may make room for the one that waits, and must not be killed for it.
fn waiting(workflow: &Value, nodes: Nodes<'_>) -> Option<Observation> {
    if nodes.iter().any(Node::is_working) {
        return None;
    }
    let (node, (reason, advice)) = nodes
        .iter()
        .filter(|node| node.phase() == "Pending" && node.kind() == "Pod")
        .filter_map(|node| Some((node, obstacle(node.message()?)?)))
        .min_by_key(|(node, _)| node.started_at().unwrap_or("~"))?;
    let why = cut(node.message().unwrap_or_default(), LONGEST_QUOTE);
    let pod = match nodes.pod(node) {
        Some(pod) => format!(" (pod {}{})", Echo(&pod), namespace(workflow)),
        None => String::new(),
    };
    let message = format!("step `{}`{pod} cannot start: {why}; {advice}", Echo(node.display_name()));
    Some(Observation::Waiting {
        reason,
        message: cut(&message, message::MAX),
        since: time(node.started_at()),
    })
}

/// What a pod waits for, by the word with which Argo's message begins. Anything else, such as
/// `ContainerCreating`, passes by itself.
fn obstacle(message: &str) -> Option<(Reason, &'static str)> {
    match message.split(':').next().unwrap_or_default().trim() {
        "ImagePullBackOff"
        | "ErrImagePull"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => Some((
            Reason::ImagePullFailed,
            "check the image's name, and that imagePullSecrets let it be pulled",
        )),
        "CreateContainerConfigError" | "CreateContainerError" => Some((
            Reason::ContainerConfigError,
            "check that every ConfigMap, Secret and volume of the step exists, with the keys it uses",
        )),
        "Unschedulable" => Some((
            Reason::Unschedulable,
            "make room in the cluster, or change the step's requests, nodeSelector or tolerations",
        )),
        _ => None,
    }
}

fn time(text: Option<&str>) -> Option<Time> {
    text?.parse::<Timestamp>().ok().map(Time)
}
