//! What became of Workflows that Argo recorded (see tests/fixtures/argo/README.md), and of made-up ones for what
//! those do not show.

use rstest::rstest;
use serde_json::{Value, json};

use super::ArgoWorkflow;
use crate::{
    reason::Reason,
    runners::{Evidence, Observation, Output, Runner as _},
};

fn recorded(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/argo/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn interpret(child: Value) -> Observation {
    ArgoWorkflow.interpret(&Evidence { child, ..Evidence::default() })
}

#[rstest]
#[case::steps("steps-failed", "step `fail` failed: failed with exit code 1")]
#[case::retries("dag-failed-after-retries", "step `C(1)` failed: failed with exit code 2")]
#[case::nested(
    "nested-dag-failed",
    "step `dag1-step5-tofail` failed: Error (exit code 1); see `kubectl logs fail-two-nested-dag-suspend-"
)]
#[case::alone(
    "failed-with-exit-handler",
    "step `exit-handlers-n7s4n` failed: main: Error (exit code 1); see `kubectl logs exit-handlers-n7s4n -n argo -c main`"
)]
#[case::exit_only(
    "exit-handler-failed",
    "step `retry-workflow-with-failed-exit-handler.onExit` failed: Error (exit code 1); see `kubectl logs retry-workflow-with-failed-exit-handler-"
)]
fn a_failed_workflow_is_explained_by_the_step_that_failed(#[case] name: &str, #[case] expected: &str) {
    let Observation::Failed { reason, message, .. } = interpret(recorded(name)) else { panic!("not failed") };
    assert_eq!(reason, Reason::WorkflowFailed);
    assert!(message.starts_with(expected), "{message}");
}

#[rstest]
#[case::lock("waits-for-a-lock")]
#[case::person("waits-for-a-person")]
#[case::container("container-creating")]
fn a_workflow_that_goes_on_by_itself_is_under_way(#[case] name: &str) {
    assert_eq!(interpret(recorded(name)), Observation::Underway { progress: None });
}

#[rstest]
#[case::before_any_status(json!({"spec": {"suspend": false}}), true)]
#[case::its_cache_went_back(json!({"spec": {"suspend": false}, "status": {"phase": "Running", "progress": "0/0"}}), true)]
#[case::by_the_user_suspended(json!({"spec": {"suspend": true}, "status": {"phase": "Running"}}), false)]
#[case::held_back_by_argo(json!({"spec": {}, "status": {"phase": "Pending"}}), false)]
#[case::taken_up(json!({"spec": {}, "status": {"phase": "Running", "nodes": {"a": {"phase": "Running"}}}}), false)]
#[case::nodes_elsewhere(json!({"spec": {}, "status": {"phase": "Running", "compressedNodes": "H4s"}}), false)]
fn a_released_workflow_without_any_step_has_not_been_heard_of(#[case] child: Value, #[case] expected: bool) {
    assert_eq!(ArgoWorkflow.is_unheard(&Evidence { child, ..Evidence::default() }), expected);
}

#[test]
fn a_succeeded_workflow_gives_back_its_global_outputs() {
    let mut child = recorded("succeeded");
    let without =
        Observation::Succeeded { progress: Some("3/3".to_owned()), output: None, message: String::new() };
    assert_eq!(interpret(child.clone()), without);
    child["status"]["outputs"] = json!({"artifacts": [{"name": "a"}], "parameters": [
        {"name": "url", "value": "https://jira"}, {"name": "count", "value": 3}, {"name": "none"}, {"value": "nameless"}]});
    let Observation::Succeeded { output, .. } = interpret(child) else { panic!("not succeeded") };
    assert_eq!(output, Some(Output::Inline(json!({"url": "https://jira", "count": "3"}))));
}

/// A Workflow of one `steps` template, with the nodes that matter.
fn workflow(phase: &str, nodes: Value) -> Value {
    json!({
        "metadata": {"name": "w", "namespace": "n", "annotations": {"workflows.argoproj.io/pod-name-format": "v2"}},
        "status": {"phase": phase, "progress": "0/1", "nodes": nodes},
    })
}

fn pending(message: &str) -> Value {
    json!({"id": "w-1", "name": "w[0].pull", "displayName": "pull", "type": "Pod", "phase": "Pending", "boundaryID": "w",
           "templateName": "run", "message": message, "startedAt": "2026-01-02T03:04:05Z"})
}

#[rstest]
#[case("ImagePullBackOff: Back-off pulling image \"nope\"", Reason::ImagePullFailed)]
#[case("ErrImagePull: not found", Reason::ImagePullFailed)]
#[case("InvalidImageName", Reason::ImagePullFailed)]
#[case("CreateContainerConfigError: configmap \"x\" not found", Reason::ContainerConfigError)]
#[case("Unschedulable: 0/1 nodes are available: 1 Insufficient cpu.", Reason::Unschedulable)]
fn a_pod_that_cannot_start_is_waited_for(#[case] said: &str, #[case] expected: Reason) {
    let Observation::Waiting { reason, message, since } =
        interpret(workflow("Running", json!({"w-1": pending(said)})))
    else {
        panic!("not waiting")
    };
    assert_eq!(reason, expected);
    assert!(
        message.starts_with(&format!("step `pull` (pod w-run-1608787337 -n n) cannot start: {said}; ")),
        "{message}"
    );
    assert_eq!(since.unwrap().0.to_string(), "2026-01-02T03:04:05Z");
}

#[test]
fn a_workflow_does_not_wait_while_another_step_works() {
    let working = |kind, more: Value| {
        let mut node = json!({"type": kind, "phase": "Running"});
        node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        interpret(workflow("Running", json!({"w-1": pending("Unschedulable: no room"), "w-2": node})))
    };
    assert!(matches!(working("Pod", json!({})), Observation::Underway { .. }));
    assert!(matches!(working("Pod", json!({"daemoned": true})), Observation::Waiting { .. }));
    assert!(matches!(working("Suspend", json!({})), Observation::Waiting { .. }));
    assert!(matches!(working("Steps", json!({})), Observation::Waiting { .. }));
}

#[test]
fn a_spec_that_argo_refuses_is_explained_by_argos_own_words() {
    let child = json!({"metadata": {"name": "w"}, "status": {"phase": "Failed", "message": "invalid spec: template name 'x' undefined"}});
    let Observation::Failed { message, .. } = interpret(child) else { panic!("not failed") };
    assert_eq!(message, "invalid spec: template name 'x' undefined");
}

#[test]
fn an_error_of_argos_own_has_its_own_reason() {
    let child = json!({"metadata": {"name": "w"}, "status": {"phase": "Error"}});
    let Observation::Failed { reason, message, .. } = interpret(child) else { panic!("not failed") };
    assert_eq!(reason, Reason::WorkflowError);
    assert!(message.contains("workflow-controller"), "{message}");
}

#[rstest]
#[case("compressedNodes", "H4sIAAAAAAAA")]
#[case("offloadNodeStatusVersion", "fnv:123")]
fn steps_that_argo_keeps_elsewhere_are_pointed_at(#[case] field: &str, #[case] value: &str) {
    let child = json!({"metadata": {"name": "w", "namespace": "n"}, "status": {"phase": "Failed", "message": "child 'w-1' failed", field: value}});
    let Observation::Failed { message, .. } = interpret(child) else { panic!("not failed") };
    assert!(
        message.starts_with("child 'w-1' failed. Argo keeps") && message.contains("`argo get w -n n`"),
        "{message}"
    );
}

#[test]
fn attempts_that_were_made_up_for_are_not_blamed() {
    let node = |kind: &str, phase: &str, name: &str, at: &str, children: &[&str]| json!({"type": kind, "phase": phase, "displayName": name, "name": name, "boundaryID": "w", "finishedAt": at, "children": children, "message": format!("message of {name}")});
    let mut nodes = json!({
        "w-1": node("Retry", "Succeeded", "a", "2026-01-01T00:00:02Z", &["w-2", "w-3"]),
        "w-2": node("Pod", "Failed", "a(0)", "2026-01-01T00:00:01Z", &[]),
        "w-3": node("Pod", "Succeeded", "a(1)", "2026-01-01T00:00:02Z", &[]),
        "w-4": node("Pod", "Failed", "late", "2026-01-01T00:00:09Z", &[]),
        "w-5": node("Pod", "Failed", "early", "2026-01-01T00:00:05Z", &[]),
    });
    nodes["w"] =
        json!({"type": "DAG", "phase": "Failed", "displayName": "w", "name": "w", "children": ["w-1"]});
    let Observation::Failed { message, .. } = interpret(workflow("Failed", nodes)) else {
        panic!("not failed")
    };
    assert!(message.starts_with("step `early` failed: message of early"), "{message}");
}

#[test]
fn nodes_that_go_in_circles_come_to_an_end() {
    let nodes = json!({
        "w": {"type": "Steps", "phase": "Failed", "message": "child 'w-1' failed"},
        "w-1": {"type": "Steps", "phase": "Failed", "message": "child 'w' failed", "boundaryID": "w"},
    });
    assert!(matches!(interpret(workflow("Failed", nodes)), Observation::Failed { .. }));
}

#[test]
fn a_message_is_cut_to_a_kilobyte_between_letters() {
    let nodes = json!({"w": {"type": "Pod", "phase": "Failed", "name": "w", "message": "ä".repeat(5000)}});
    let Observation::Failed { message, .. } = interpret(workflow("Failed", nodes)) else {
        panic!("not failed")
    };
    assert!(
        message.len() <= 1024 && message.contains('…') && message.ends_with("`kubectl logs w -n n -c main`"),
        "{message}"
    );
}

#[test]
fn memory_is_named_where_it_was_the_cause() {
    let nodes =
        json!({"w": {"type": "Pod", "phase": "Failed", "name": "w", "message": "OOMKilled (exit code 137)"}});
    let Observation::Failed { message, .. } = interpret(workflow("Failed", nodes)) else {
        panic!("not failed")
    };
    assert!(message.contains("OOMKilled (exit code 137); it needs a higher memory limit"), "{message}");
}
