//! Arguments and children are any JSON: none may make the runner panic.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{ArgoWorkflow, render};
use crate::runners::{Evidence, Glimpse, Runner as _};

/// Words that mean something somewhere in a Workflow, so that random documents get deep into the code.
const WORDS: &[&str] = &[
    "workflow",
    "spec",
    "status",
    "metadata",
    "name",
    "namespace",
    "templates",
    "entrypoint",
    "main",
    "steps",
    "dag",
    "tasks",
    "template",
    "templateRef",
    "inline",
    "arguments",
    "parameters",
    "artifacts",
    "value",
    "valueFrom",
    "inputs",
    "outputs",
    "hooks",
    "exit",
    "onExit",
    "depends",
    "dependencies",
    "target",
    "podSpecPatch",
    "serviceAccountName",
    "artifactGC",
    "ttlStrategy",
    "suspend",
    "shutdown",
    "workflowTemplateRef",
    "workflowMetadata",
    "labels",
    "container",
    "containerSet",
    "containers",
    "resource",
    "image",
    "nodes",
    "phase",
    "Failed",
    "Running",
    "Pending",
    "Succeeded",
    "type",
    "Pod",
    "Steps",
    "DAG",
    "Retry",
    "children",
    "boundaryID",
    "message",
    "child 'main' failed",
    "startedAt",
    "2024-01-01T00:00:00Z",
    "progress",
    "1/2",
    "annotations",
    "workflows.argoproj.io/pod-name-format",
    "v2",
    "v1",
    "main.Succeeded && a || ä.x",
    "a",
    "b",
    "ImagePullBackOff: x",
    "{{inputs.parameters.a}}",
    "{{steps.a.outputs.parameters.b}}",
    "{{tasks.a.outputs.artifacts.b}}",
    "{{workflow.parameters.a}}",
    "{{",
    "}}",
    "{{{{}}",
    "{{=x}}",
    "a: {{inputs.parameters.a}}",
    "ſerviceAccountName",
    "Ünïcödé 🦀",
    "",
    "enum",
    "compressedNodes",
    "globalName",
    "labelsFrom",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![9 => prop::sample::select(WORDS).prop_map(str::to_owned), 1 => any::<String>()]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(7, 120, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((word(), inner), 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// A document that is right but for one place, where anything stands.
fn nearly_right(right: Value) -> impl Strategy<Value = Value> {
    let mut paths = Vec::new();
    pointers(&right, String::new(), &mut paths);
    (prop::sample::select(paths), any_json()).prop_map(move |(path, wrong)| {
        let mut document = right.clone();
        *document.pointer_mut(&path).unwrap() = wrong;
        document
    })
}

fn pointers(value: &Value, at: String, paths: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields
                .iter()
                .for_each(|(key, value)| pointers(value, format!("{at}/{}", key.replace('/', "~1")), paths));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, value)| pointers(value, format!("{at}/{i}"), paths));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    paths.push(at);
}

fn right_spec() -> Value {
    json!({
        "entrypoint": "main", "onExit": "leaf", "hooks": {"exit": {"template": "leaf"}},
        "arguments": {"parameters": [{"name": "a", "value": "1", "enum": ["1"]}]}, "podSpecPatch": "{a: '{{workflow.parameters.a}}'}",
        "workflowMetadata": {"labels": {"a": "b"}}, "ttlStrategy": {"secondsAfterCompletion": 1}, "artifactGC": {"strategy": "Never"},
        "templates": [
            {"name": "main", "steps": [[{"name": "a", "template": "dag"}], [{"name": "b", "inline": {"suspend": {}}}]]},
            {"name": "dag", "dag": {"target": "b", "tasks": [
                {"name": "a", "template": "gives"},
                {"name": "b", "depends": "a.Succeeded", "template": "takes",
                 "arguments": {"parameters": [{"name": "x", "value": "{{tasks.a.outputs.parameters.x}}"}]}}]}},
            {"name": "takes", "inputs": {"parameters": [{"name": "x"}]}, "container": {"image": "{{inputs.parameters.x}}"}},
            {"name": "gives", "outputs": {"parameters": [{"name": "x", "globalName": "x", "valueFrom": {"path": "/x"}}]},
             "script": {"image": "x", "source": "{{workflow.parameters.a}}"}},
            {"name": "leaf", "resource": {"action": "get"}},
        ],
    })
}

fn right_child() -> Value {
    let node = |kind: &str, phase: &str, boundary: &str, children: &[&str]| {
        json!({"type": kind, "phase": phase, "boundaryID": boundary, "children": children, "message": "child 'w-2' failed",
               "name": "w.a", "displayName": "a", "templateName": "t", "startedAt": "2024-01-01T00:00:00Z", "finishedAt": "2024-01-01T00:00:01Z"})
    };
    json!({
        "metadata": {"name": "w", "namespace": "n", "annotations": {"workflows.argoproj.io/pod-name-format": "v2"}},
        "status": {"phase": "Failed", "progress": "1/2", "message": "m", "outputs": {"parameters": [{"name": "a", "value": "b"}]}, "nodes": {
            "w": node("Steps", "Failed", "", &["w-1"]), "w-1": node("StepGroup", "Failed", "w", &["w-2"]),
            "w-2": node("Retry", "Failed", "w", &["w-3", "w"]), "w-3": node("Pod", "Failed", "w", &[]),
        }},
    })
}

#[test]
fn the_documents_that_are_varied_are_right() {
    assert!(
        render(&json!({"workflow": right_spec()})).is_ok(),
        "{:?}",
        render(&json!({"workflow": right_spec()}))
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_arguments_are_rendered_or_refused(args in any_json()) {
        let _ = render(&args);
        let _ = render(&json!({ "workflow": args }));
    }

    #[test]
    fn nearly_right_arguments_are_rendered_or_refused(spec in nearly_right(right_spec())) {
        match render(&json!({ "workflow": spec })) {
            Ok(rendered) => prop_assert_eq!(&rendered.spec["serviceAccountName"], super::ACCOUNT),
            Err(rejection) => prop_assert!(!rejection.problems.is_empty()),
        }
    }

    #[test]
    fn any_child_is_interpreted(child in any_json()) {
        ArgoWorkflow.interpret(&Evidence { child: child.clone(), ..Evidence::default() });
        let child = json!({"metadata": {"name": "a"}, "status": child});
        ArgoWorkflow.interpret(&Evidence { child, ..Evidence::default() });
    }

    #[test]
    fn a_nearly_right_child_is_interpreted(child in nearly_right(right_child())) {
        ArgoWorkflow.interpret(&Evidence { child, ..Evidence::default() });
    }

    #[test]
    fn any_labels_are_glanced_at(labels in prop::collection::btree_map(word(), word(), 0..5), status in any_json()) {
        let labels: BTreeMap<String, String> = labels;
        ArgoWorkflow.glance(&Glimpse { labels: &labels, status: &status });
    }
}

#[test]
fn arguments_as_deep_as_they_may_be_do_not_overflow_the_stack() {
    let mut deep = json!({"container": {"image": "x"}});
    for _ in 0..40 {
        deep = json!({"dag": {"tasks": [{"name": "a", "inline": deep}]}});
    }
    let spec = json!({"entrypoint": "main", "templates": [{"name": "main", "dag": {"tasks": [{"name": "a", "inline": deep}]}}]});
    assert!(render(&json!({ "workflow": spec })).is_ok());
}

#[test]
fn a_huge_workflow_full_of_errors_is_refused() {
    let tasks: Vec<Value> = (0..2000)
        .map(|i| json!({"name": format!("t{i}"), "template": format!("nothing{i}"), "depends": format!("t{} && t{}", i + 1, i + 2)}))
        .collect();
    let spec = json!({"entrypoint": "main", "templates": [{"name": "main", "dag": {"tasks": tasks}}]});
    assert!(render(&json!({ "workflow": spec })).is_err());
}
