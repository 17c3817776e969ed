//! What is made of arguments that can be run, and what is said of those that are no WorkflowSpec at all.

use std::collections::BTreeMap;

use rstest::rstest;
use serde_json::{Value, json};

use super::{ACCOUNT, ArgoWorkflow, render};
use crate::runners::{Glance, Glimpse, Runner as _, Stop, View};

fn spec(extra: Value) -> Value {
    let mut spec =
        json!({"entrypoint": "main", "templates": [{"name": "main", "container": {"image": "x"}}]});
    spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    json!({ "workflow": spec })
}

#[test]
fn the_spec_is_the_childs_under_the_runs_service_account() {
    let rendered =
        render(&spec(json!({"podGC": {"strategy": "OnPodSuccess"}, "hostNetwork": true}))).unwrap();
    let expected = json!({"entrypoint": "main", "templates": [{"name": "main", "container": {"image": "x"}}],
                          "podGC": {"strategy": "OnPodSuccess"}, "hostNetwork": true, "serviceAccountName": ACCOUNT});
    assert_eq!(Value::Object(rendered.spec), expected);
    assert_eq!((rendered.held_back, rendered.keep_suspended), (None, false));
}

#[test]
fn a_time_to_live_is_held_back() {
    let rendered = render(&spec(json!({"ttlStrategy": {"secondsAfterCompletion": 0}}))).unwrap();
    assert!(!rendered.spec.contains_key("ttlStrategy"));
    assert_eq!(rendered.held_back, Some(json!({"spec": {"ttlStrategy": {"secondsAfterCompletion": 0}}})));
}

#[rstest]
#[case(json!(true), true)]
#[case(json!(false), false)]
#[case(json!(null), false)]
fn a_users_own_suspend_is_kept_but_never_rendered(#[case] suspend: Value, #[case] kept: bool) {
    let rendered = render(&spec(json!({ "suspend": suspend }))).unwrap();
    assert!(!rendered.spec.contains_key("suspend"));
    assert_eq!(rendered.keep_suspended, kept);
}

#[rstest]
#[case(json!(null), "spec.args.workflow: write the WorkflowSpec there")]
#[case(json!("x"), "spec.args: this must be an object with the field `workflow`")]
#[case(json!({}), "spec.args.workflow: write the WorkflowSpec there")]
#[case(json!({"workflow": null}), "spec.args.workflow: write the WorkflowSpec there")]
#[case(json!({"workflow": []}), "spec.args.workflow: this must be an object")]
#[case(json!({"worklfow": {}}), "spec.args.worklfow: this runner takes only `workflow`: remove it; did you mean `workflow`?")]
#[case(json!({"workflow": {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "spec": {}}}),
       "spec.args.workflow: this is a whole manifest (apiVersion, kind, spec): write only what stands under its `spec`")]
fn arguments_that_are_no_workflow_are_explained(#[case] args: Value, #[case] expected: &str) {
    let said = render(&args).unwrap_err().to_string();
    assert!(said.contains(expected), "{said}");
}

#[test]
fn every_argument_beside_the_workflow_is_named() {
    let mut args = spec(json!({}));
    args["timeout"] = json!("SECRET");
    args["image"] = json!("SECRET");
    let problems = render(&args).unwrap_err().problems;
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["spec.args.image", "spec.args.timeout"]);
    assert!(problems.iter().all(|problem| !problem.what.contains("SECRET")));
}

#[rstest]
#[case(&[], Glance::Underway)]
#[case(&[("phase", "Running"), ("completed", "false")], Glance::Underway)]
#[case(&[("phase", "Pending"), ("completed", "false")], Glance::Doubtful)]
#[case(&[("phase", "Succeeded"), ("completed", "true")], Glance::Ended { succeeded: true })]
#[case(&[("phase", "Failed"), ("completed", "true")], Glance::Ended { succeeded: false })]
#[case(&[("phase", "Error"), ("completed", "true")], Glance::Ended { succeeded: false })]
#[case(&[("phase", "Failed"), ("completed", "false")], Glance::Underway)]
#[case(&[("phase", "Succeeded")], Glance::Underway)]
#[case(&[("phase", "SomethingNew"), ("completed", "true")], Glance::Underway)]
fn only_both_labels_together_tell_an_end(#[case] labels: &[(&str, &str)], #[case] expected: Glance) {
    let labels: BTreeMap<String, String> = labels
        .iter()
        .map(|(key, value)| (format!("workflows.argoproj.io/{key}"), (*value).to_owned()))
        .collect();
    assert_eq!(ArgoWorkflow.glance(&Glimpse { labels: &labels, status: &Value::Null }), expected);
}

#[test]
fn a_stop_is_argos_own_shutdown_and_wakes_a_suspended_workflow() {
    assert_eq!(ArgoWorkflow.stop(Stop::Cancel), json!({"spec": {"shutdown": "Stop", "suspend": false}}));
    assert_eq!(
        ArgoWorkflow.stop(Stop::Terminate),
        json!({"spec": {"shutdown": "Terminate", "suspend": false}})
    );
}

#[test]
fn the_child_is_a_workflow_known_by_its_labels() {
    let child = ArgoWorkflow.child();
    assert_eq!(
        (child.api_version.as_str(), child.kind.as_str(), child.plural.as_str()),
        ("argoproj.io/v1alpha1", "Workflow", "workflows")
    );
    assert_eq!(
        (ArgoWorkflow.name(), ArgoWorkflow.view(), ArgoWorkflow.wants_pods()),
        ("argo-workflow", View::Metadata, false)
    );
}
