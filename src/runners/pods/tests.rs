use rstest::rstest;
use serde_json::{Value, json};

use super::*;

/// A pod `p` of namespace `ns`, scheduled at 10:00, with that status over it.
fn pod(status: Value) -> Pod {
    let mut whole = json!({
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T10:00:00Z"}],
    });
    crate::runners::args::merge(&mut whole, status);
    serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns"}, "status": whole})).unwrap()
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({"containerStatuses": [container("main", json!({"waiting": {"reason": reason, "message": message}}))]})
}

fn container(name: &str, state: Value) -> Value {
    let mut container = json!({"name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0});
    container["state"] = state;
    container
}

fn ended(exit_code: i32, reason: &str, at: &str) -> Value {
    json!({"terminated": {"exitCode": exit_code, "reason": reason, "finishedAt": format!("2026-01-01T{at}Z")}})
}

fn named(mut pod: Pod, name: &str) -> Pod {
    pod.metadata.name = Some(name.to_owned());
    pod
}

/// Deletion asked for at 10:05:00, with 30 s of grace.
fn deleted(mut pod: Pod) -> Pod {
    pod.metadata.deletion_timestamp = Some(Time("2026-01-01T10:05:30Z".parse().unwrap()));
    pod.metadata.deletion_grace_period_seconds = Some(30);
    pod
}

fn since(trouble: &Trouble) -> String {
    trouble.since.as_ref().map(|time| time.0.to_string()).unwrap_or_default()
}

#[rstest]
#[case("ErrImagePull", Some(Reason::ImagePullFailed))]
#[case("ImagePullBackOff", Some(Reason::ImagePullFailed))]
#[case("InvalidImageName", Some(Reason::ImagePullFailed))]
#[case("ErrImageNeverPull", Some(Reason::ImagePullFailed))]
#[case("CreateContainerConfigError", Some(Reason::ContainerConfigError))]
#[case("CreateContainerError", Some(Reason::ContainerConfigError))]
#[case("RunContainerError", Some(Reason::ContainerConfigError))]
#[case("ContainerCreating", None)]
#[case("PodInitializing", None)]
#[case("CrashLoopBackOff", None)]
#[case("SomethingNew", None)]
fn a_waiting_container_is_trouble_only_where_it_does_not_pass_by_itself(
    #[case] word: &str,
    #[case] reason: Option<Reason>,
) {
    let found = trouble(&[pod(waiting(word, "configmap \"settings\" not found"))]);
    assert_eq!(found.as_ref().map(|it| it.reason), reason);
    if let Some(found) = found {
        for part in ["pod p", "container main", word, "configmap \"settings\" not found"] {
            assert!(found.message.contains(part), "{part} is missing in: {}", found.message);
        }
        assert_eq!(since(&found), "2026-01-01T10:00:00Z");
    }
}

#[test]
fn an_init_container_that_cannot_be_pulled_is_named() {
    let state = json!({"waiting": {"reason": "ErrImagePull"}});
    let found = trouble(&[pod(json!({
        "initContainerStatuses": [container("fetch", state)],
        "containerStatuses": [container("main", json!({"waiting": {"reason": "PodInitializing"}}))],
    }))])
    .unwrap();
    assert!(found.message.contains("container fetch"), "{}", found.message);
}

#[test]
fn the_grace_begins_when_the_init_container_before_it_has_ended() {
    let found = trouble(&[pod(json!({
        "initContainerStatuses": [container("fetch", ended(0, "Completed", "11:30:00"))],
        "containerStatuses": [container("main", json!({"waiting": {"reason": "ErrImagePull"}}))],
    }))])
    .unwrap();
    assert_eq!(since(&found), "2026-01-01T11:30:00Z");
}

#[test]
fn work_that_runs_is_not_given_up_for_a_helper_that_does_not() {
    let found = trouble(&[pod(json!({
        "phase": "Running",
        "containerStatuses": [
            container("main", json!({"running": {"startedAt": "2026-01-01T10:00:05Z"}})),
            container("helper", json!({"waiting": {"reason": "ImagePullBackOff"}})),
        ],
    }))]);
    assert_eq!(found, None);
}

#[rstest]
#[case("Unschedulable", true)]
#[case("SchedulingGated", false)]
fn a_pod_without_a_node_is_trouble_unless_somebody_holds_it(#[case] reason: &str, #[case] expected: bool) {
    let scheduled = json!({"type": "PodScheduled", "status": "False", "reason": reason,
        "message": "0/3 nodes are available", "lastTransitionTime": "2026-01-01T10:01:00Z"});
    let found = trouble(&[pod(json!({"conditions": [scheduled]}))]);
    assert_eq!(found.is_some(), expected);
    if let Some(found) = found {
        assert_eq!((found.reason, since(&found).as_str()), (Reason::Unschedulable, "2026-01-01T10:01:00Z"));
        assert!(found.message.contains("0/3 nodes are available"));
    }
}

#[test]
fn one_pod_that_can_go_on_is_enough() {
    let stuck = named(pod(waiting("ErrImagePull", "")), "a");
    let starting = named(pod(waiting("ContainerCreating", "")), "b");
    let finished = named(pod(json!({"phase": "Failed"})), "c");
    assert_eq!(trouble(&[stuck.clone(), starting]), None);
    assert!(trouble(&[stuck, finished]).is_some(), "a pod that has ended does not go on");
    assert_eq!(trouble(&[]), None);
}

#[test]
fn of_several_stuck_pods_the_same_one_speaks_in_any_order() {
    let (a, b) = (named(pod(waiting("ErrImagePull", "")), "a"), named(pod(waiting("ErrImagePull", "")), "b"));
    let one = trouble(&[a.clone(), b.clone()]);
    assert_eq!(one, trouble(&[b, a]));
    assert!(one.unwrap().message.contains("pod a"));
}

#[rstest]
#[case(3, "Error", Reason::ContainerFailed, "exited with code 3")]
#[case(137, "OOMKilled", Reason::OOMKilled, "more memory than its limit")]
#[case(0, "OOMKilled", Reason::OOMKilled, "more memory than its limit")]
#[case(128, "StartError", Reason::ContainerConfigError, "could not be started")]
#[case(137, "ContainerStatusUnknown", Reason::PodLost, "lost sight")]
fn a_container_that_ended_badly_says_how(
    #[case] code: i32,
    #[case] word: &str,
    #[case] reason: Reason,
    #[case] part: &str,
) {
    let found = failure(&[pod(json!({
        "phase": "Failed", "containerStatuses": [container("main", ended(code, word, "10:03:00"))],
    }))])
    .unwrap();
    assert_eq!(found.reason, reason);
    assert!(found.message.contains(part) && found.message.contains("pod p"), "{}", found.message);
}

#[test]
fn the_last_line_of_the_termination_message_is_told_and_where_the_log_is() {
    let mut state = ended(3, "Error", "10:03:00");
    state["terminated"]["message"] = json!("first\nrelease \u{1b}[31mnot found\n\n");
    let pod = pod(json!({"phase": "Failed", "containerStatuses": [container("main", state)]}));
    assert_eq!(
        failure(&[pod]).unwrap().message,
        "container main of pod p exited with code 3: release [31mnot found; see: kubectl logs -n ns p -c main"
    );
}

#[test]
fn the_container_that_failed_first_is_the_cause() {
    let found = failure(&[pod(json!({
        "phase": "Failed",
        "initContainerStatuses": [container("proxy", ended(143, "Error", "10:04:00"))],
        "containerStatuses": [container("main", ended(2, "Error", "10:03:00"))],
    }))]);
    assert!(found.unwrap().message.contains("container main of pod p exited with code 2"));
}

#[test]
fn a_failed_init_container_is_named() {
    let found = failure(&[pod(json!({
        "phase": "Failed",
        "initContainerStatuses": [container("fetch", ended(1, "Error", "10:03:00"))],
        "containerStatuses": [container("main", json!({"waiting": {"reason": "PodInitializing"}}))],
    }))]);
    assert!(found.unwrap().message.contains("container fetch of pod p exited with code 1"));
}

#[test]
fn a_sidecar_killed_at_the_end_of_a_pod_that_succeeded_is_no_failure() {
    let pod = pod(json!({
        "phase": "Succeeded",
        "initContainerStatuses": [container("proxy", ended(137, "Error", "10:04:00"))],
        "containerStatuses": [container("main", ended(0, "Completed", "10:03:00"))],
    }));
    assert_eq!(failure(&[deleted(pod.clone())]), None);
    assert_eq!(failure(&[pod]), None);
}

#[rstest]
#[case(json!({"reason": "Evicted", "message": "The node was low on resource: memory."}), "(Evicted): The node was low")]
#[case(json!({"reason": "Terminated", "message": "Pod was terminated in response to imminent node shutdown."}), "node shutdown")]
#[case(json!({"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
    "message": "default-scheduler: preempting to accommodate a higher priority pod"}]}), "(PreemptionByScheduler)")]
#[case(json!({"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]}),
    "(EvictionByEvictionAPI)")]
fn a_pod_ended_from_outside_is_lost_whatever_its_containers_said(
    #[case] mut status: Value,
    #[case] part: &str,
) {
    status["phase"] = json!("Failed");
    status["containerStatuses"] = json!([container("main", ended(137, "Error", "10:03:00"))]);
    let found = failure(&[pod(status)]).unwrap();
    assert_eq!(found.reason, Reason::PodLost);
    assert!(found.message.contains(part), "{}", found.message);
}

#[rstest]
#[case("10:05:20", Reason::PodLost)]
#[case("10:04:59", Reason::ContainerFailed)]
fn a_deletion_is_the_cause_only_of_what_ended_after_it(#[case] at: &str, #[case] reason: Reason) {
    let pod =
        pod(json!({"phase": "Failed", "containerStatuses": [container("main", ended(143, "Error", at))]}));
    assert_eq!(failure(&[deleted(pod)]).unwrap().reason, reason);
}

#[test]
fn the_pod_that_failed_last_speaks_but_not_the_victims_of_the_end() {
    let failed = |name: &str, code: i32, at: &str| {
        let states = json!([container("main", ended(code, "Error", at))]);
        named(pod(json!({"phase": "Failed", "containerStatuses": states})), name)
    };
    let (first, second) = (failed("a", 1, "10:01:00"), failed("b", 2, "10:02:00"));
    let victim = deleted(failed("c", 143, "10:05:10"));
    let mut pods = [victim.clone(), second, first];
    for _ in 0..3 {
        pods.rotate_left(1);
        assert!(failure(&pods).unwrap().message.contains("pod b exited with code 2"));
    }
    assert_eq!(failure(&[victim]).unwrap().reason, Reason::PodLost);
}

#[test]
fn a_failed_pod_that_says_nothing_is_still_named() {
    let found = failure(&[pod(json!({"phase": "Failed"}))]).unwrap();
    assert_eq!(found.reason, Reason::JobFailed);
    assert!(found.message.contains("kubectl describe pod -n ns p"));
}

#[test]
fn the_pods_own_deadline_is_named() {
    let pod =
        pod(json!({"phase": "Failed", "reason": "DeadlineExceeded", "message": "Pod was active too long"}));
    assert!(failure(&[pod]).unwrap().message.contains("template.spec.activeDeadlineSeconds"));
}

#[test]
fn messages_keep_their_bound_and_their_advice() {
    let found = trouble(&[pod(waiting("ErrImagePull", &"ü\n".repeat(5000)))]).unwrap();
    assert!(found.message.len() <= message::MAX);
    assert!(found.message.ends_with("(registry, imagePullSecrets)"), "{}", found.message);
}
