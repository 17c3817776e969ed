//! Executions that were recorded with everything about them from a real cluster: see `tests/recorded/README.md`.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::Known;

/// The names of all that are recorded.
pub(crate) const ALL: [&str; 8] = [
    "job-succeeded",
    "job-failed",
    "job-image-missing",
    "workflow-succeeded",
    "workflow-failed",
    "workflow-image-missing",
    "suspended",
    "cancelled",
];

/// A recorded execution and the whole namespace around it.
pub(crate) fn read(name: &str) -> Known {
    let text = include_str!("../../tests/recorded/namespace.json");
    let all: Value = serde_json::from_str(text).unwrap();
    let of = |kind: &str| -> Vec<Value> {
        let items = all["items"].as_array().unwrap();
        items.iter().filter(|item| item["kind"] == kind).cloned().collect()
    };
    let execution = of("RunnerExecution").into_iter().find(|item| item["metadata"]["name"] == name).unwrap();
    let objects = ["RunnerExecution", "Workflow", "Job", "Pod"].into_iter().flat_map(of);
    Known {
        execution: serde_json::from_value(execution).unwrap(),
        objects: objects.map(|object| serde_json::from_value(object).unwrap()).collect(),
        events: of("Event").into_iter().map(|event| serde_json::from_value(event).unwrap()).collect(),
        unread: Vec::new(),
    }
}

/// The moment of the recording, to the tests.
pub(crate) fn now() -> Timestamp {
    include_str!("../../tests/recorded/now.txt").trim().parse().unwrap()
}
