//! Executions that the controller of another runner has taken up: what this one does for them all the same.
//!
//! Their status is never touched, since two that report on the same execution would overwrite each other's words for
//! ever. But their controller may be gone for good, and then nobody would keep the promises that the object makes
//! whoever serves it. So once it is late, a finished execution is deleted after its `ttlSecondsAfterFinished`, which any
//! two may do; and a cancel or a deadline that nobody heeds is told by an event, with what a person can do. [`care`] is
//! pure; [`attend`] carries it out.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::{
    error::Error,
    execution::Execution,
    memory::later,
    reconcile::{Context, Wait},
};
use crate::{crd::Phase, reason::Reason};

/// How late another controller may be before it is missed.
const PATIENCE: Duration = Duration::from_secs(30);
/// How soon the same is told again.
const REMINDER: Duration = Duration::from_hours(1);

/// What is to be done for an execution of somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Care {
    /// Delete it: its time to live is over.
    Expire,
    /// Tell that nobody heeds it.
    Tell(Unheeded),
}

/// What nobody heeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unheeded {
    Cancel,
    Deadline,
}

/// What is to be done, and when; `noticed` is since when it has been known here.
fn care(execution: &Execution, noticed: Timestamp) -> Option<(Timestamp, Care)> {
    if execution.is_finished() {
        return Some((later(execution.expires()?, PATIENCE), Care::Expire));
    }
    let is_stopping = execution.status.phase == Some(Phase::Cancelling);
    let is_leaving = execution.metadata.deletion_timestamp.is_some();
    if is_stopping || is_leaving {
        return None;
    }
    if execution.spec.as_ref().is_ok_and(|spec| spec.cancel) {
        return Some((later(noticed, PATIENCE), Care::Tell(Unheeded::Cancel)));
    }
    Some((later(execution.deadline()?, PATIENCE), Care::Tell(Unheeded::Deadline)))
}

/// What the event says.
fn words(execution: &Execution, unheeded: Unheeded) -> String {
    let what = match unheeded {
        Unheeded::Cancel => "spec.cancel is set",
        Unheeded::Deadline => "The deadline has passed",
    };
    let runner = execution.runner();
    format!(
        "{what}, but the controller of the runner {runner}, which has taken this up, does not stop it. Start that controller again, or delete this execution: what it made is deleted with it."
    )
}

/// Does what is due, and comes back for what will be.
pub(super) async fn attend(execution: &Execution, cx: &Context) -> Result<Wait, Error> {
    let now = Timestamp::now();
    let cancel = execution.spec.as_ref().is_ok_and(|spec| spec.cancel);
    let noticed = if cancel { cx.memory.missing_since(execution.key(), now) } else { now };
    let Some((due, care)) = care(execution, noticed) else { return Ok(None) };
    let due = cx.memory.retry_planned(execution.key(), execution.version(), now).unwrap_or(due);
    if let Ok(wait) = Duration::try_from(due.duration_since(now))
        && !wait.is_zero()
    {
        return Ok(Some(wait));
    }
    match care {
        Care::Expire => match cx.api.delete_execution(execution).await {
            Ok(()) => tracing::info!("deleted: its ttlSecondsAfterFinished has passed"),
            // It has changed meanwhile: the watch brings it again.
            Err(error) if error.code() == Some(409) => {}
            Err(source) => return Err(Error::Call { doing: "delete the expired execution", source }),
        },
        Care::Tell(unheeded) => {
            cx.events.remark(execution, Reason::RunnerNotFound, &words(execution, unheeded), now);
            cx.memory.retry_at(execution.key(), execution.version(), later(now, REMINDER));
            return Ok(Some(REMINDER));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::{Care, Unheeded, care, words};
    use crate::controller::execution::Execution;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn execution(change: &Value, status: &Value) -> Execution {
        let mut object = json!({
            "metadata": {"name": "a"},
            "spec": {"runner": "script", "context": {"platform": {"serviceAccountName": "s"}}},
            "status": {"phase": "Running"},
        });
        for (part, fields) in [("spec", change), ("status", status)] {
            for (name, value) in fields.as_object().unwrap() {
                object[part][name] = value.clone();
            }
        }
        serde_json::from_str(&object.to_string()).unwrap()
    }

    #[rstest]
    #[case::under_way(json!({}), json!({}), None)]
    #[case::to_be_cancelled(json!({"cancel": true}), json!({}), Some((1030, Care::Tell(Unheeded::Cancel))))]
    #[case::being_cancelled(json!({"cancel": true}), json!({"phase": "Cancelling"}), None)]
    #[case::late(
        json!({}), json!({"deadline": "1970-01-01T00:01:00Z"}), Some((90, Care::Tell(Unheeded::Deadline)))
    )]
    #[case::being_stopped(
        json!({}), json!({"phase": "Cancelling", "deadline": "1970-01-01T00:01:00Z"}), None
    )]
    #[case::to_be_kept(json!({}), json!({"phase": "Failed", "completionTime": "1970-01-01T00:01:00Z"}), None)]
    #[case::to_be_deleted(
        json!({"ttlSecondsAfterFinished": 5, "cancel": true}),
        json!({"phase": "Succeeded", "completionTime": "1970-01-01T00:01:00Z"}),
        Some((95, Care::Expire))
    )]
    fn what_its_own_controller_leaves_undone_is_made_up_for(
        #[case] spec: Value,
        #[case] status: Value,
        #[case] expected: Option<(i64, Care)>,
    ) {
        let expected = expected.map(|(second, care)| (at(second), care));
        assert_eq!(care(&execution(&spec, &status), at(1000)), expected);
    }

    #[test]
    fn the_event_says_what_a_person_can_do() {
        let words = words(&execution(&json!({}), &json!({})), Unheeded::Cancel);
        assert!(words.contains("the runner script") && words.contains("delete this execution"), "{words}");
    }
}
