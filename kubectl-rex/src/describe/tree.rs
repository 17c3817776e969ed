//! What an execution made, and what that made in turn, by the owner references. Pure.

use std::collections::BTreeSet;

use kube::{ResourceExt, core::DynamicObject};
use runner_controller::progress::plain;
use serde_json::Value;

use super::Known;

/// How many levels are shown; owner references may form a ring.
const DEPTH: usize = 8;

/// Everything that the execution made, directly or not.
pub(crate) fn members(known: &Known) -> Vec<&DynamicObject> {
    let mut owners: BTreeSet<String> = known.execution.uid().into_iter().collect();
    let mut found = Vec::new();
    for _ in 0..DEPTH {
        let next: Vec<&DynamicObject> = known
            .objects
            .iter()
            .filter(|object| object.uid().is_some_and(|uid| !owners.contains(&uid)))
            .filter(|object| object.owner_references().iter().any(|owner| owners.contains(&owner.uid)))
            .collect();
        if next.is_empty() {
            break;
        }
        owners.extend(next.iter().filter_map(|object| object.uid()));
        found.extend(next);
    }
    found
}

/// The tree as lines, the execution first.
pub(super) fn lines(known: &Known) -> Vec<String> {
    let members = members(known);
    let phase = runner_controller::progress::phase(&known.execution);
    let mut lines = vec![format!("RunnerExecution/{}  {phase:?}", known.execution.name_any())];
    let uid = known.execution.uid().unwrap_or_default();
    grow(&members, &uid, "", DEPTH, &mut lines);
    for gone in gone(known, &members) {
        lines.push(format!("└─ {gone}  gone"));
    }
    lines
}

/// What is recorded as made and is not there any more.
fn gone(known: &Known, members: &[&DynamicObject]) -> Vec<String> {
    let is_there = |uid: &str| members.iter().any(|object| object.uid().as_deref() == Some(uid));
    let recorded = known.execution.status.iter().flat_map(|status| &status.resources);
    recorded.filter(|made| !is_there(&made.uid)).map(|made| format!("{}/{}", made.kind, made.name)).collect()
}

fn grow(members: &[&DynamicObject], owner: &str, indent: &str, depth: usize, lines: &mut Vec<String>) {
    let mut children: Vec<&&DynamicObject> = members
        .iter()
        .filter(|object| object.owner_references().iter().any(|reference| reference.uid == owner))
        .collect();
    children.sort_by_key(|object| (object.creation_timestamp().map(|time| time.0), object.name_any()));
    let last = children.len().saturating_sub(1);
    for (index, child) in children.into_iter().enumerate() {
        let (branch, below) = if index == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        lines.push(format!("{indent}{branch}{}", told(child)));
        if let Some(depth) = depth.checked_sub(1) {
            grow(members, &child.uid().unwrap_or_default(), &format!("{indent}{below}"), depth, lines);
        }
    }
}

/// An object in one line: what it is, how it is, and what is wrong with it.
fn told(object: &DynamicObject) -> String {
    let kind = object.types.as_ref().map_or("", |types| types.kind.as_str());
    let name = object.name_any();
    let state = match kind {
        "Pod" => pod(&object.data),
        "Job" => job(&object.data),
        _ => phase(&object.data),
    };
    let leaving = if object.metadata.deletion_timestamp.is_some() { "  being deleted" } else { "" };
    plain_end(&format!("{kind}/{name}  {state}{leaving}"))
}

fn plain_end(line: &str) -> String {
    line.trim_end().to_owned()
}

/// The phase, and the progress and message that Argo writes beside it.
fn phase(data: &Value) -> String {
    let text = |field: &str| data.pointer(&format!("/status/{field}")).and_then(Value::as_str).map(plain);
    let message = text("message").map(|message| format!("  {message}")).unwrap_or_default();
    let progress = text("progress").map(|progress| format!(" {progress}")).unwrap_or_default();
    format!("{}{progress}{message}", text("phase").unwrap_or_default())
}

/// The condition that holds, as `kubectl get jobs` tells it.
fn job(data: &Value) -> String {
    let conditions = data.pointer("/status/conditions").and_then(Value::as_array);
    let holds = |type_: &str| {
        conditions.into_iter().flatten().find(|condition| {
            condition.get("type").and_then(Value::as_str) == Some(type_)
                && condition.get("status").and_then(Value::as_str) == Some("True")
        })
    };
    for (type_, word) in [("Failed", "Failed"), ("Complete", "Complete"), ("Suspended", "Suspended")] {
        if let Some(condition) = holds(type_) {
            let message = condition.get("message").and_then(Value::as_str).unwrap_or_default();
            let shown = if type_ == "Failed" { format!("  {}", plain(message)) } else { String::new() };
            return format!("{word}{shown}");
        }
    }
    let active = data.pointer("/status/active").and_then(Value::as_i64).unwrap_or(0);
    if active > 0 { "Running".to_owned() } else { "Pending".to_owned() }
}

/// The phase, and of each container what keeps it from running or what it ended with.
fn pod(data: &Value) -> String {
    let phase = data.pointer("/status/phase").and_then(Value::as_str).unwrap_or("Pending");
    let containers = ["initContainerStatuses", "containerStatuses"].into_iter().flat_map(|field| {
        data.pointer(&format!("/status/{field}")).and_then(Value::as_array).into_iter().flatten()
    });
    let mut notes: Vec<String> = containers.filter_map(container).collect();
    if notes.is_empty()
        && let Some(why) =
            data.pointer("/status/conditions").and_then(Value::as_array).and_then(|conditions| {
                conditions.iter().find(|condition| {
                    condition.get("type").and_then(Value::as_str) == Some("PodScheduled")
                        && condition.get("status").and_then(Value::as_str) == Some("False")
                })
            })
    {
        notes.push(plain(why.get("message").and_then(Value::as_str).unwrap_or_default()));
    }
    if notes.is_empty() { phase.to_owned() } else { format!("{phase}  {}", notes.join("; ")) }
}

fn container(status: &Value) -> Option<String> {
    let name = status.get("name").and_then(Value::as_str).unwrap_or_default();
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).map(plain);
    if let Some(waiting) = status.pointer("/state/waiting") {
        let reason = text(waiting, "reason").unwrap_or_default();
        let message = text(waiting, "message").map(|message| format!(": {message}")).unwrap_or_default();
        let calm = matches!(reason.as_str(), "" | "ContainerCreating" | "PodInitializing");
        return (!calm).then(|| format!("{name} {reason}{message}"));
    }
    let ended = status.pointer("/state/terminated")?;
    let code = ended.get("exitCode").and_then(Value::as_i64).unwrap_or(0);
    let reason = text(ended, "reason").unwrap_or_default();
    (code != 0).then(|| format!("{name} exited with code {code} ({reason})"))
}
