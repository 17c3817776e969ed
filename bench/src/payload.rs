//! The bodies of all requests, the same for every peer that is ours: what is sent and stored must not differ.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::target::Target;

/// The collection of executions.
pub fn executions(target: &Target) -> String {
    format!("/apis/core.projectvoltron.dev/v1alpha1/namespaces/{}/runnerexecutions", target.namespace)
}

/// The collection of Workflows.
pub fn workflows(target: &Target) -> String {
    format!("/apis/argoproj.io/v1alpha1/namespaces/{}/workflows", target.namespace)
}

/// The collection of Jobs.
pub fn jobs(target: &Target) -> String {
    format!("/apis/batch/v1/namespaces/{}/jobs", target.namespace)
}

/// The collection of pods.
pub fn pods(target: &Target) -> String {
    format!("/api/v1/namespaces/{}/pods", target.namespace)
}

/// The name of the execution of that number.
pub fn name(number: usize) -> String {
    format!("x{number:06}")
}

/// The number in an execution's name.
pub fn number(name: &str) -> Option<usize> {
    name.strip_prefix('x')?.get(..6)?.parse().ok()
}

/// An execution whose arguments take about so many bytes.
pub fn execution(target: &Target, number: usize, args_bytes: usize) -> Bytes {
    let filler = "x".repeat(args_bytes.saturating_sub(260));
    let object = json!({
        "apiVersion": "core.projectvoltron.dev/v1alpha1", "kind": "RunnerExecution",
        "metadata": {"name": name(number)},
        "spec": {
            "runner": "argo-workflow",
            "context": {"platform": {"serviceAccountName": target.account}},
            "args": {"workflow": {
                "entrypoint": "main",
                "arguments": {"parameters": [{"name": "text", "value": filler}]},
                "templates": [{"name": "main", "container": {
                    "image": "busybox", "command": ["sh", "-c"], "args": ["echo {{workflow.parameters.text}}"],
                }}],
            }},
        },
    });
    object.to_string().into()
}

/// A one-pod Job for the Job controller.
pub fn job(number: usize, args_bytes: usize) -> Bytes {
    let filler = "x".repeat(args_bytes.saturating_sub(260));
    let object = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name(number)},
        "spec": {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [{
            "name": "main", "image": "busybox", "command": ["sh", "-c"], "args": [format!("echo {filler}")],
        }]}}},
    });
    object.to_string().into()
}

/// What a peer must know of an execution to serve it.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The version to write on.
    pub version: String,
    /// `spec.args.workflow`.
    pub workflow: Value,
}

/// The suspended child of an execution.
pub fn child(target: &Target, execution: &Known) -> Bytes {
    let mut spec = execution.workflow.clone();
    if let Some(spec) = spec.as_object_mut() {
        spec.insert("suspend".into(), true.into());
        spec.insert("serviceAccountName".into(), target.account.as_str().into());
    }
    let object = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow",
        "metadata": {
            "name": execution.name, "namespace": target.namespace,
            "labels": {
                "core.projectvoltron.dev/execution-uid": execution.uid,
                "core.projectvoltron.dev/runner": "argo-workflow",
            },
            "annotations": {"core.projectvoltron.dev/generation": "1"},
            "ownerReferences": [{
                "apiVersion": "core.projectvoltron.dev/v1alpha1", "kind": "RunnerExecution",
                "name": execution.name, "uid": execution.uid, "controller": true, "blockOwnerDeletion": false,
            }],
        },
        "spec": spec,
    });
    object.to_string().into()
}

/// The patch that releases a child.
pub fn release(uid: &str) -> Bytes {
    let patch = json!({
        "metadata": {"uid": uid, "labels": {"core.projectvoltron.dev/released": "true"}},
        "spec": {"suspend": false},
    });
    patch.to_string().into()
}

/// The patch that records the child.
pub fn running(target: &Target, execution: &Known, child_uid: &str, now: &str) -> Bytes {
    let message = format!("Started Workflow {}.", execution.name);
    let patch = json!({
        "metadata": {"uid": execution.uid, "resourceVersion": execution.version},
        "status": {
            "phase": "Running", "reason": "Running", "message": message, "observedGeneration": 1, "startTime": now,
            "resources": [{
                "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow",
                "namespace": target.namespace, "name": execution.name, "uid": child_uid,
            }],
            "conditions": conditions("Running", &message, now),
        },
    });
    patch.to_string().into()
}

/// The patch with the outcome.
pub fn succeeded(execution: &Known, now: &str) -> Bytes {
    let message = "The work succeeded.";
    let patch = json!({
        "metadata": {"uid": execution.uid, "resourceVersion": execution.version},
        "status": {
            "phase": "Succeeded", "reason": "Succeeded", "message": message, "completionTime": now,
            "progress": "1/1", "output": {"answer": "42"},
            "conditions": conditions("Succeeded", message, now),
        },
    });
    patch.to_string().into()
}

fn conditions(phase: &str, message: &str, now: &str) -> Value {
    let ended = phase == "Succeeded";
    let truth = |holds: bool| if holds { "True" } else { "False" };
    let of = |type_: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": type_, "status": status, "reason": reason, "message": message,
            "observedGeneration": 1, "lastTransitionTime": now,
        })
    };
    json!([
        of("Accepted", "True", "Accepted", ""),
        of("Succeeded", if ended { "True" } else { "Unknown" }, phase, message),
        of("Finished", truth(ended), phase, message),
        of("Reconciling", truth(!ended), phase, message),
        of("Stalled", "False", phase, message),
    ])
}

/// What Argo writes once it works on a Workflow. The step is part of that: a Workflow without any looks as if Argo had
/// not heard of its release, and whoever released it asks again. It tells of no progress: nothing is to be written of a
/// state at rest.
pub fn argo_running(name: &str, now: &str) -> Bytes {
    let step = json!({
        "id": name, "name": name, "displayName": name, "type": "Pod",
        "templateName": "main", "templateScope": format!("local/{name}"),
        "phase": "Running", "startedAt": now,
    });
    let patch = json!({
        "metadata": {"labels": {"workflows.argoproj.io/phase": "Running"}},
        "status": {"phase": "Running", "startedAt": now, "nodes": {name: step}},
    });
    patch.to_string().into()
}

/// What Argo writes at the end, label and status in one update of the main resource: its CRD has no status
/// subresource.
pub fn argo_done(now: &str) -> Bytes {
    let patch = json!({
        "metadata": {"labels": {
            "workflows.argoproj.io/phase": "Succeeded", "workflows.argoproj.io/completed": "true",
        }},
        "status": {
            "phase": "Succeeded", "startedAt": now, "finishedAt": now, "progress": "1/1",
            "conditions": [{"type": "PodRunning", "status": "False"}, {"type": "Completed", "status": "True"}],
            "outputs": {"parameters": [{"name": "answer", "value": "42", "globalName": "answer"}]},
        },
    });
    patch.to_string().into()
}

/// What a kubelet writes when a pod's only container ended well.
pub fn kubelet_done(now: &str) -> Bytes {
    let condition = |type_: &str, status: &str| json!({"type": type_, "status": status, "lastTransitionTime": now, "reason": "PodCompleted"});
    let patch = json!({"status": {
        "phase": "Succeeded", "startTime": now,
        "conditions": [condition("Initialized", "True"), condition("Ready", "False"), condition("ContainersReady", "False")],
        "containerStatuses": [{
            "name": "main", "image": "busybox", "imageID": "", "ready": false, "restartCount": 0, "started": false,
            "state": {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}},
        }],
    }});
    patch.to_string().into()
}

/// The time as Kubernetes writes it.
pub fn now() -> String {
    let now = k8s_openapi::jiff::Timestamp::now();
    k8s_openapi::jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

#[cfg(test)]
mod tests {
    use super::{name, number};

    #[test]
    fn names_hold_numbers() {
        assert_eq!(number(&name(123)), Some(123));
        assert_eq!(number("x000007-abcde"), Some(7));
        assert_eq!(number("other"), None);
    }
}
