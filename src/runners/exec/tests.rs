//! Jobs of this project's own pods: from arguments, and back from what the pod reported.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Exec, Needs, Pods, Tool, told};
use crate::{
    crd::OutputRef,
    reason::Reason,
    runners::{Observation, Output, Rejection, Run, Runner},
};

struct Any;

impl Tool for Any {
    const NAME: &'static str = "any";
    const REHEARSES: bool = true;

    fn check(&self, _: &Value) -> Result<Needs, Rejection> {
        Ok(Needs { mounts: vec![("/var/run/runner/auth", json!({"secret": {"secretName": "s"}}))] })
    }
}

fn job(report: &Value) -> Value {
    let annotations = json!({"core.projectvoltron.dev/result": report.to_string(), "core.projectvoltron.dev/progress": "3/7"});
    json!({"metadata": {"annotations": annotations}})
}

fn done() -> Observation {
    Observation::Succeeded { progress: Some("1/1".into()), output: None, message: String::new() }
}

#[test]
fn the_pod_runs_the_tool_as_the_service_account_and_reads_its_arguments_from_the_input_file() {
    let args = json!({"password": "sesame"});
    let defaults = json!({"hostNetwork": true, "serviceAccountName": "other"});
    let pods = Pods { image: "localhost/runner:1".into(), defaults, log: Some("debug".into()) };
    let exec = Exec::new(Any, &pods);
    let rendered = exec.render(&Run::example(&args)).unwrap();
    let spec = Value::Object(rendered.spec.clone());
    let pod = &spec["template"]["spec"];
    assert_eq!((&spec["backoffLimit"], &pod["restartPolicy"]), (&json!(0), &json!("Never")));
    assert_eq!((&pod["serviceAccountName"], &pod["hostNetwork"]), (&json!("deployer"), &json!(true)));
    let container = &pod["containers"][0];
    assert_eq!(
        (&container["image"], &container["args"]),
        (&json!("localhost/runner:1"), &json!(["exec", "any"]))
    );
    let mounted: Vec<&Value> =
        container["volumeMounts"].as_array().unwrap().iter().map(|it| &it["mountPath"]).collect();
    assert_eq!(mounted, ["/tmp", "/var/run/runner/auth", "/var/run/runner/input"]);
    let env = container["env"].as_array().unwrap();
    assert!(env.contains(&json!({"name": "RUST_LOG", "value": "debug"})));
    assert_eq!(rendered.input, Some(args));
    assert!(!spec.to_string().contains("sesame"));
    assert_eq!(rendered.held_back, None);
}

#[test]
fn of_a_rehearsal_nothing_is_left() {
    let args = json!({});
    let run = Run { dry_run: true, ..Run::example(&args) };
    let rendered = Exec::new(Any, &Pods::default()).render(&run).unwrap();
    assert_eq!(rendered.held_back, Some(json!({"spec": {"ttlSecondsAfterFinished": 0}})));
}

#[test]
fn without_an_operators_defaults_the_pod_is_whole_as_well() {
    let args = json!({});
    let rendered = Exec::new(Any, &Pods::default()).render(&Run::example(&args)).unwrap();
    let pod = &rendered.spec["template"]["spec"];
    assert_eq!(
        (&pod["containers"][0]["name"], &pod["securityContext"]["runAsNonRoot"]),
        (&json!("main"), &json!(true))
    );
}

#[test]
fn what_the_pod_reports_is_told() {
    let inline = job(&json!({"outcome": "succeeded", "message": "Done.", "output": {"a": 1}}));
    let expected = Observation::Succeeded {
        progress: Some("3/7".into()),
        output: Some(Output::Inline(json!({"a": 1}))),
        message: "Done.".into(),
    };
    assert_eq!(told(done(), &inline), expected);
    let reference = OutputRef { name: "s".into(), digest: "sha256:0".into() };
    let elsewhere = job(&json!({"outcome": "succeeded", "outputRef": reference}));
    let Observation::Succeeded { output, .. } = told(done(), &elsewhere) else { panic!("not succeeded") };
    assert_eq!(output, Some(Output::Secret(reference)));
}

#[test]
fn the_pods_own_words_tell_a_failure_better_than_its_exit_code() {
    let failed =
        || Observation::Failed { reason: Reason::ContainerFailed, message: "code 1".into(), progress: None };
    let reported = job(&json!({"outcome": "failed", "reason": "RequestFailed", "message": "404"}));
    let expected = Observation::Failed {
        reason: Reason::RequestFailed,
        message: "404".into(),
        progress: Some("3/7".into()),
    };
    assert_eq!(told(failed(), &reported), expected);
    let Observation::Failed { reason, .. } = told(failed(), &json!({})) else { panic!("not failed") };
    assert_eq!(reason, Reason::ContainerFailed);
}

proptest! {
    #[test]
    fn whatever_is_reported_the_job_has_the_last_word(succeeded in any::<bool>(), report in "\\PC{0,40}", reports_success in any::<bool>()) {
        let outcome = if reports_success { "succeeded" } else { "failed" };
        let report = json!({"outcome": outcome, "reason": "JobFailed", "message": report});
        let of_job = if succeeded { done() } else {
            Observation::Failed { reason: Reason::JobFailed, message: String::new(), progress: None }
        };
        let told_success = matches!(told(of_job, &job(&report)), Observation::Succeeded { .. });
        prop_assert_eq!(told_success, succeeded);
    }
}
