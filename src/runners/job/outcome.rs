//! From a Job to what became of it.
//!
//! Input: a Job as the API server has it, its pods, its events. Output: a [`Glance`] or an [`Observation`]. Pure.
//! Reads leniently: what is missing or of another type counts as absent, and an end is believed only from the
//! conditions Complete and Failed. SuccessCriteriaMet and FailureTarget announce an end while pods still run.

use crate::message::{self, cut};
use serde_json::Value;

use super::creation;
use crate::{
    reason::Reason,
    runners::{
        Evidence, Glance, Observation,
        pods::{self, Failure, quoted},
    },
};

/// Reads a Job's `.status`.
pub(super) fn glance(status: &Value) -> Glance {
    // Before Suspended, which stays True on a Job that was stopped before it started; and Failed first, since a
    // success must never be claimed in doubt.
    if holds(status, "Failed").is_some() {
        return Glance::Ended { succeeded: false };
    }
    if holds(status, "Complete").is_some() {
        return Glance::Ended { succeeded: true };
    }
    if is_held(status) {
        return Glance::Underway;
    }
    let [active, ready, terminating, succeeded, failed] =
        ["active", "ready", "terminating", "succeeded", "failed"].map(|field| count(status, field));
    let pods_stand_still = active > 0 && ready == 0;
    let no_pods_yet = status.get("startTime").is_some_and(Value::is_string)
        && [active, terminating, succeeded, failed].iter().all(|count| *count == 0)
        && !has_uncounted(status);
    if pods_stand_still || no_pods_yet { Glance::Doubtful } else { Glance::Underway }
}

/// Explains a Job.
pub(super) fn interpret(evidence: &Evidence) -> Observation {
    let child = &evidence.child;
    let status = child.get("status").unwrap_or(&Value::Null);
    let progress = progress(child, status);
    match glance(status) {
        Glance::Ended { succeeded: true } => {
            Observation::Succeeded { progress, output: None, message: String::new() }
        }
        Glance::Ended { succeeded: false } => {
            let Failure { reason, message } = failure(evidence, status);
            Observation::Failed { reason, message: cut(&message, message::MAX), progress }
        }
        Glance::Underway | Glance::Doubtful => {
            let trouble = if is_held(status) {
                None
            } else if evidence.pods.is_empty() {
                creation::trouble(child, &evidence.events)
            } else {
                pods::trouble(&evidence.pods)
            };
            match trouble {
                Some(it) => Observation::Waiting { reason: it.reason, message: it.message, since: it.since },
                None => Observation::Underway { progress },
            }
        }
    }
}

/// Why the Job failed: told by its pods, or else by its condition.
fn failure(evidence: &Evidence, status: &Value) -> Failure {
    let condition = holds(status, "Failed").unwrap_or(&Value::Null);
    let (why, said) = (text(condition, "reason").unwrap_or_default(), text(condition, "message"));
    let pods = &evidence.pods;
    match why {
        "DeadlineExceeded" => deadline(evidence),
        "PodFailurePolicy" => match pod_named_in(pods, said).or_else(|| pods::failure(pods)) {
            Some(Failure { reason, message }) => Failure {
                reason,
                message: format!("{message}; the Job's podFailurePolicy ended it{}", quoted(said)),
            },
            None => untold(&evidence.child, why, said),
        },
        _ => match pods::failure(pods) {
            Some(Failure { reason, message }) => {
                Failure { reason, message: format!("{message}{}", others(status)) }
            }
            None => untold(&evidence.child, why, said),
        },
    }
}

/// A Job that was stopped ([`Runner::stop`](crate::runners::Runner::stop) sets a deadline of 0, which users cannot), or that ran out of the
/// user's own time. Its pods were ended for that, so their exit codes tell nothing, but what held them up does.
fn deadline(evidence: &Evidence) -> Failure {
    match evidence.child.pointer("/spec/activeDeadlineSeconds").and_then(Value::as_i64) {
        Some(0) => Failure { reason: Reason::JobFailed, message: "the Job was stopped".to_owned() },
        seconds => {
            let limit = seconds.map(|seconds| format!(" of {seconds} s")).unwrap_or_default();
            match pods::last_trouble(&evidence.pods) {
                Some(trouble) => Failure {
                    reason: trouble.reason,
                    message: format!("the Job's activeDeadlineSeconds{limit} ran out; {}", trouble.message),
                },
                None => Failure {
                    reason: Reason::JobFailed,
                    message: format!(
                        "the Job ran longer than its activeDeadlineSeconds{limit} and was ended; raise it, or leave it \
                         out for no limit"
                    ),
                },
            }
        }
    }
}

/// The failure of the pod that a podFailurePolicy's message names (`… for pod <namespace>/<name> failed …`).
fn pod_named_in(all: &[k8s_openapi::api::core::v1::Pod], said: Option<&str>) -> Option<Failure> {
    let (_, name) = said?.split_once("pod ")?.1.split_whitespace().next()?.split_once('/')?;
    let pod = all.iter().find(|pod| pods::name(pod) == name)?;
    pods::failure(std::slice::from_ref(pod))
}

/// A failure that no pod explains.
fn untold(child: &Value, why: &str, said: Option<&str>) -> Failure {
    let name = child.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let namespace = child.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
    let why = if why.is_empty() { String::new() } else { format!(" ({})", cut(why, 80)) };
    let restarts =
        child.pointer("/spec/template/spec/restartPolicy").and_then(Value::as_str) == Some("OnFailure");
    let hint = if restarts {
        "with restartPolicy: Never a failed pod stays, and its logs with it"
    } else {
        "it may have been deleted"
    };
    let message = format!(
        "Job {name} failed{why}{}; no pod is left that tells why: {hint}; see: kubectl describe job -n {namespace} \
         {name}",
        quoted(said)
    );
    Failure { reason: Reason::JobFailed, message }
}

/// What a failure of one pod does not tell: how many there were, and which indexes failed.
fn others(status: &Value) -> String {
    let failed = count(status, "failed");
    let pods = if failed > 1 { format!(" ({failed} pods failed, this one last)") } else { String::new() };
    match text(status, "failedIndexes").filter(|indexes| !indexes.is_empty()) {
        Some(indexes) => format!("{pods}; failed indexes: {}", cut(indexes, 80)),
        None => pods,
    }
}

/// Completions done and wanted; none for a work queue, whose size nobody knows.
fn progress(child: &Value, status: &Value) -> Option<String> {
    let wanted = |field| child.pointer(field).and_then(Value::as_u64);
    let all = match (wanted("/spec/completions"), wanted("/spec/parallelism")) {
        (Some(completions), _) => completions,
        (None, Some(_)) => return None,
        (None, None) => 1,
    };
    Some(format!("{}/{all}", count(status, "succeeded")))
}

/// Whether the Job waits for somebody's word, or for the end of its pods: no pod's fault.
fn is_held(status: &Value) -> bool {
    ["Suspended", "FailureTarget", "SuccessCriteriaMet"].iter().any(|type_| holds(status, type_).is_some())
}

/// The condition of that type, if it is True.
fn holds<'a>(status: &'a Value, type_: &str) -> Option<&'a Value> {
    let conditions = status.get("conditions")?.as_array()?;
    conditions.iter().find(|it| text(it, "type") == Some(type_) && text(it, "status") == Some("True"))
}

/// Whether pods have ended that the counters do not show yet.
fn has_uncounted(status: &Value) -> bool {
    let uncounted = status.get("uncountedTerminatedPods").and_then(Value::as_object);
    uncounted.is_some_and(|lists| lists.values().any(|list| list.as_array().is_some_and(|it| !it.is_empty())))
}

fn text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get(field)?.as_str()
}

fn count(status: &Value, field: &str) -> u64 {
    status.get(field).and_then(Value::as_u64).unwrap_or_default()
}
