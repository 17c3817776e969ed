//! What became of an execution, as a type. Pure.

use std::time::Duration;

use serde_json::Value;

use crate::{
    crd::{Phase, RunnerExecution},
    reason::Reason,
};

/// How an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// With success.
    Succeeded,
    /// Without success, for any reason but the two below.
    Failed,
    /// It was stopped because somebody asked for that.
    Cancelled,
    /// It was stopped because `spec.context.timeout` ran out.
    TimedOut,
}

/// What became of an execution, for good.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// How it ended.
    pub verdict: Verdict,
    /// Why, in one word.
    pub reason: Reason,
    /// What happened and what to do next.
    pub message: String,
    /// What the work gave back.
    pub output: Option<Value>,
    /// From the start to the end; `None` if it never started.
    pub took: Option<Duration>,
}

impl Outcome {
    /// The outcome of an execution; `None` while it goes on.
    pub fn of(execution: &RunnerExecution) -> Option<Self> {
        let status = execution.status.as_ref()?;
        let phase = status.phase?;
        let reason = status.reason.unwrap_or(match phase {
            Phase::Succeeded => Reason::Succeeded,
            Phase::Cancelled => Reason::Cancelled,
            Phase::Failed | Phase::Pending | Phase::Suspended | Phase::Running | Phase::Cancelling => {
                Reason::InternalError
            }
        });
        let verdict = match phase {
            Phase::Succeeded => Verdict::Succeeded,
            Phase::Failed if reason == Reason::TimedOut => Verdict::TimedOut,
            Phase::Failed => Verdict::Failed,
            Phase::Cancelled => Verdict::Cancelled,
            Phase::Pending | Phase::Suspended | Phase::Running | Phase::Cancelling => return None,
        };
        let took = match (&status.start_time, &status.completion_time) {
            (Some(start), Some(end)) => end.0.duration_since(start.0).try_into().ok(),
            (Some(_), None) | (None, Some(_) | None) => None,
        };
        let message = status.message.clone().unwrap_or_default();
        Some(Self { verdict, reason, message, output: status.output.clone(), took })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::{Outcome, Verdict};
    use crate::crd::RunnerExecution;

    fn execution(status: &serde_json::Value) -> RunnerExecution {
        let spec = json!({"runner": "job", "context": {"platform": {"serviceAccountName": "a"}}});
        serde_json::from_value(json!({
            "apiVersion": "core.projectvoltron.dev/v1alpha1", "kind": "RunnerExecution",
            "metadata": {"name": "a"}, "spec": spec, "status": status,
        }))
        .unwrap()
    }

    #[rstest]
    #[case("Succeeded", "Succeeded", Verdict::Succeeded)]
    #[case("Succeeded", "DryRunSucceeded", Verdict::Succeeded)]
    #[case("Failed", "ContainerFailed", Verdict::Failed)]
    #[case("Failed", "TimedOut", Verdict::TimedOut)]
    #[case("Cancelled", "Cancelled", Verdict::Cancelled)]
    fn a_finished_execution_has_its_verdict(
        #[case] phase: &str,
        #[case] reason: &str,
        #[case] verdict: Verdict,
    ) {
        let outcome = Outcome::of(&execution(&json!({
            "phase": phase, "reason": reason, "message": "m", "output": {"a": 1},
            "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:01:05Z",
        })))
        .unwrap();
        assert_eq!((outcome.verdict, outcome.message.as_str()), (verdict, "m"));
        assert_eq!((outcome.output, outcome.took.unwrap().as_secs()), (Some(json!({"a": 1})), 65));
    }

    #[rstest]
    fn one_that_goes_on_has_none(
        #[values("Pending", "Suspended", "Running", "Cancelling")] phase: &str,
        #[values("TimedOut", "Running")] reason: &str,
    ) {
        assert_eq!(Outcome::of(&execution(&json!({"phase": phase, "reason": reason}))), None);
        assert_eq!(Outcome::of(&execution(&json!({}))), None);
    }
}
