use k8s_openapi::api::core::v1::{Event, Pod};
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    reason::Reason,
    runners::{Evidence, Glance, Glimpse, Observation, Runner, Stop, job::Job},
};

/// The record of that name.
pub(super) fn recorded(name: &str) -> Evidence {
    let path = format!("{}/tests/fixtures/job/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut record: Value = serde_json::from_str(&text).unwrap();
    Evidence {
        child: record["child"].take(),
        pods: serde_json::from_value::<Vec<Pod>>(record["pods"].take()).unwrap(),
        events: serde_json::from_value::<Vec<Event>>(record["events"].take()).unwrap(),
    }
}

fn glance(status: &Value) -> Glance {
    Job::default().glance(&Glimpse { labels: &std::collections::BTreeMap::new(), status })
}

const SUCCEEDED: Glance = Glance::Ended { succeeded: true };
const FAILED: Glance = Glance::Ended { succeeded: false };

#[rstest]
#[case("suspended", Glance::Underway)]
#[case("unschedulable", Glance::Doubtful)]
#[case("no-service-account", Glance::Doubtful)]
#[case("quota-exceeded", Glance::Doubtful)]
#[case("running", Glance::Underway)]
#[case("deleted-terminating", Glance::Underway)]
#[case("stopping-pod-terminating", Glance::Underway)]
#[case("stopped", FAILED)]
#[case("stopped-never-started", FAILED)]
#[case("stopped-pending", FAILED)]
#[case("exit-code", FAILED)]
#[case("succeeded", SUCCEEDED)]
fn a_glance_at_a_recorded_job(#[case] name: &str, #[case] expected: Glance) {
    assert_eq!(glance(&recorded(name).child["status"]), expected);
}

#[rstest]
#[case(json!(null), Glance::Underway)]
#[case(json!({}), Glance::Underway)]
#[case(json!({"active": 2}), Glance::Doubtful)]
#[case(json!({"active": 2, "ready": 1}), Glance::Underway)]
#[case(json!({"startTime": "2026-01-01T10:00:00Z"}), Glance::Doubtful)]
#[case(json!({"startTime": "2026-01-01T10:00:00Z", "failed": 1}), Glance::Underway)]
#[case(json!({"startTime": "2026-01-01T10:00:00Z", "uncountedTerminatedPods": {"failed": ["u"]}}), Glance::Underway)]
#[case(json!({"conditions": [{"type": "Failed", "status": "False"}, {"type": "Complete", "status": "Unknown"}]}),
    Glance::Underway)]
#[case(json!({"active": 1, "conditions": [{"type": "FailureTarget", "status": "True"}]}), Glance::Underway)]
#[case(json!({"conditions": [{"type": "SuccessCriteriaMet", "status": "True"}]}), Glance::Underway)]
#[case(json!({"conditions": [{"type": "Suspended", "status": "True"}, {"type": "Complete", "status": "True"}]}),
    SUCCEEDED)]
#[case(json!({"conditions": [{"type": "Complete", "status": "True"}, {"type": "Failed", "status": "True"}]}), FAILED)]
fn a_glance_at_a_status(#[case] status: Value, #[case] expected: Glance) {
    assert_eq!(glance(&status), expected);
}

#[rstest]
#[case(
    "unschedulable",
    Reason::Unschedulable,
    "no node can take it: no nodes available",
    "2026-11-24T16:08:14Z"
)]
#[case(
    "no-service-account",
    Reason::ServiceAccountNotFound,
    "serviceaccount \"missing\" not found",
    "2026-11-24T16:08:39Z"
)]
#[case(
    "quota-exceeded",
    Reason::QuotaExceeded,
    "exceeded quota: q, requested: pods=1",
    "2026-11-24T16:12:53Z"
)]
#[case(
    "quota-needs-limits",
    Reason::PodCreationFailed,
    "must specify limits.cpu for: main",
    "2026-11-24T16:13:01Z"
)]
#[case(
    "pod-security",
    Reason::PodCreationFailed,
    "violates PodSecurity \"restricted:latest\"",
    "2026-11-24T16:13:07Z"
)]
#[case("policy-denied", Reason::PodCreationFailed, "pods need an owner label", "2026-11-24T16:15:34Z")]
fn a_recorded_job_that_waits(
    #[case] name: &str,
    #[case] expected: Reason,
    #[case] part: &str,
    #[case] from: &str,
) {
    let Observation::Waiting { reason, message, since } = Job::default().interpret(&recorded(name)) else {
        panic!("{name} does not wait")
    };
    assert_eq!((reason, since.unwrap().0.to_string().as_str()), (expected, from));
    assert!(message.contains(part) && message.len() <= 1024, "{message}");
}

#[rstest]
#[case(
    "exit-code",
    Reason::ContainerFailed,
    "exited with code 3: release not found; see: kubectl logs -n team-a exit3-"
)]
#[case("oom-killed", Reason::OOMKilled, "resources.limits.memory")]
#[case("deleted", Reason::PodLost, "somebody deleted it while it ran")]
#[case("force-deleted", Reason::JobFailed, "no pod is left that tells why")]
#[case("pod-failure-policy", Reason::ContainerFailed, "matching FailJob rule at index 0")]
#[case("deadline", Reason::JobFailed, "activeDeadlineSeconds of 1 s")]
#[case("stopped", Reason::JobFailed, "the Job was stopped")]
#[case("stopped-never-started", Reason::JobFailed, "the Job was stopped")]
fn a_recorded_job_that_failed(#[case] name: &str, #[case] expected: Reason, #[case] part: &str) {
    let Observation::Failed { reason, message, progress } = Job::default().interpret(&recorded(name)) else {
        panic!("{name} did not fail")
    };
    assert_eq!((reason, progress.as_deref()), (expected, Some("0/1")));
    assert!(message.contains(part), "{message}");
}

#[rstest]
#[case("suspended")]
#[case("running")]
#[case("deleted-terminating")]
#[case("stopping-pod-terminating")]
fn a_recorded_job_that_goes_on(#[case] name: &str) {
    let expected = Observation::Underway { progress: Some("0/1".to_owned()) };
    assert_eq!(Job::default().interpret(&recorded(name)), expected);
}

#[test]
fn a_recorded_job_that_succeeded() {
    let expected =
        Observation::Succeeded { progress: Some("1/1".into()), output: None, message: String::new() };
    assert_eq!(Job::default().interpret(&recorded("succeeded")), expected);
}

#[test]
fn events_of_a_former_job_and_from_before_the_last_pod_do_not_count() {
    let mut former = recorded("no-service-account");
    former.child["metadata"]["uid"] = json!("another");
    assert!(matches!(Job::default().interpret(&former), Observation::Underway { .. }));

    let mut recovered = recorded("no-service-account");
    let mut created = recovered.events[0].clone();
    created.reason = Some("SuccessfulCreate".to_owned());
    created.last_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time("2026-11-24T17:00:00Z".parse().unwrap()));
    recovered.events.push(created);
    assert!(matches!(Job::default().interpret(&recovered), Observation::Underway { .. }));
}

#[rstest]
#[case("Suspended")]
#[case("FailureTarget")]
#[case("SuccessCriteriaMet")]
fn a_job_that_is_held_or_about_to_end_does_not_wait_for_the_cluster(#[case] type_: &str) {
    for name in ["unschedulable", "quota-exceeded"] {
        let mut evidence = recorded(name);
        evidence.child["status"]["conditions"] = json!([{"type": type_, "status": "True"}]);
        assert!(matches!(Job::default().interpret(&evidence), Observation::Underway { .. }), "{name}");
    }
}

#[test]
fn the_answer_does_not_depend_on_the_order_of_pods_and_events() {
    for name in ["quota-exceeded", "pod-security", "policy-denied", "exit-code"] {
        let (one, mut other) = (recorded(name), recorded(name));
        other.pods.reverse();
        other.events.reverse();
        assert_eq!(Job::default().interpret(&one), Job::default().interpret(&other));
    }
}

#[rstest]
#[case(json!({"completions": 7, "parallelism": 2}), json!({"succeeded": 3}), Some("3/7"))]
#[case(json!({"parallelism": 2}), json!({"succeeded": 3}), None)]
#[case(json!({}), json!({}), Some("0/1"))]
fn progress_counts_completions(#[case] spec: Value, #[case] status: Value, #[case] expected: Option<&str>) {
    let evidence = Evidence { child: json!({"spec": spec, "status": status}), ..Evidence::default() };
    let expected = Observation::Underway { progress: expected.map(str::to_owned) };
    assert_eq!(Job::default().interpret(&evidence), expected);
}

#[test]
fn failed_indexes_and_the_number_of_failed_pods_are_told() {
    let mut evidence = recorded("exit-code");
    evidence.child["status"]["failed"] = json!(3);
    evidence.child["status"]["failedIndexes"] = json!("1,4-5");
    let Observation::Failed { message, .. } = Job::default().interpret(&evidence) else { panic!() };
    assert!(message.ends_with("(3 pods failed, this one last); failed indexes: 1,4-5"), "{message}");
}

#[test]
fn a_deadline_that_ran_out_on_a_stuck_pod_says_what_held_it_up() {
    let mut evidence = recorded("unschedulable");
    evidence.child = recorded("deadline").child;
    let Observation::Failed { reason, message, .. } = Job::default().interpret(&evidence) else { panic!() };
    assert_eq!(reason, Reason::Unschedulable);
    assert!(message.starts_with("the Job's activeDeadlineSeconds of 1 s ran out; pod unsched-"), "{message}");
}

#[test]
fn stopping_resumes_the_job_and_lets_its_time_be_over() {
    for why in [Stop::Cancel, Stop::Terminate] {
        assert_eq!(Job::default().stop(why), json!({"spec": {"suspend": false, "activeDeadlineSeconds": 0}}));
    }
}
