//! The only place that builds a status and its conditions. Pure.
//!
//! Inputs: the execution as it is, what happened, the time. Output: the whole new status, without conditions where
//! these stay as they are; [`patch`](super::patch) turns it into the merge patch that changes just what differs.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

use std::time::Duration;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::{SignedDuration, Timestamp},
};
use serde_json::Value;

use super::{
    decide::{Ending, Halt, Refusal, Report},
    execution::Execution,
};
use crate::{
    crd::{DryRunResult, Phase, ResourceRef, RunnerExecutionStatus, conditions},
    message::{self, cut},
    reason::Reason,
    runners::{Observation, Output},
};

/// An output's limit in bytes of JSON: etcd and every watcher carry it along.
const MAX_OUTPUT: usize = 16 * 1024;
/// The limit of a dry run's rendered object in bytes of JSON.
const MAX_RENDERED: usize = 256 * 1024;

/// The status once the child is recorded.
pub fn started(
    execution: &Execution,
    child: ResourceRef,
    timeout: Option<Duration>,
    now: Timestamp,
) -> RunnerExecutionStatus {
    let now = whole_second(now);
    let deadline = timeout.and_then(|t| now.checked_add(SignedDuration::try_from(t).ok()?).ok());
    let message = format!("Started {} {}.", child.kind, child.name);
    let mut status = RunnerExecutionStatus {
        start_time: Some(Time(now)),
        deadline: deadline.map(Time),
        resources: vec![child],
        ..execution.status.clone()
    };
    set(&mut status, execution, Phase::Running, Reason::Running, &message, now);
    status
}

/// The status once it is decided to stop the work.
pub fn halting(
    execution: &Execution,
    halt: Halt,
    why: Option<&str>,
    now: Timestamp,
) -> RunnerExecutionStatus {
    let mut status = execution.status.clone();
    let message = match halt {
        Halt::Cancelled => "Cancelled; waiting until the work has stopped.".to_owned(),
        Halt::TimedOut => "The timeout ran out; waiting until the work has stopped.".to_owned(),
        Halt::CannotStart(_) => why.unwrap_or("The work cannot start.").to_owned(),
    };
    set(&mut status, execution, Phase::Cancelling, halt_reason(halt), &message, now);
    status
}

/// The reason word of a halt.
pub const fn halt_reason(halt: Halt) -> Reason {
    match halt {
        Halt::Cancelled => Reason::Cancelled,
        Halt::TimedOut => Reason::TimedOut,
        Halt::CannotStart(reason) => reason,
    }
}

/// The halt that a status tells of.
pub fn recorded_halt(status: &RunnerExecutionStatus) -> Option<Halt> {
    if status.phase != Some(Phase::Cancelling) {
        return None;
    }
    Some(match status.reason {
        Some(Reason::TimedOut) => Halt::TimedOut,
        Some(Reason::Cancelled) | None => Halt::Cancelled,
        Some(reason) => Halt::CannotStart(reason),
    })
}

/// The status of an execution that has not finished and has something to tell.
pub fn reported(execution: &Execution, report: &Report, now: Timestamp) -> RunnerExecutionStatus {
    let mut status = execution.status.clone();
    let phase = status.phase.unwrap_or(Phase::Pending);
    match report {
        Report::Suspended => set(
            &mut status,
            execution,
            Phase::Suspended,
            Reason::Suspended,
            "Held back by spec.suspend; set it to false to start.",
            now,
        ),
        Report::NameInUse => set(
            &mut status,
            execution,
            Phase::Pending,
            Reason::NameInUse,
            &format!(
                "An object named {} is still being deleted; the start waits for it.",
                execution.child_name()
            ),
            now,
        ),
        Report::Refused(refusal) => {
            let phase = match phase {
                Phase::Suspended => Phase::Pending,
                Phase::Pending
                | Phase::Running
                | Phase::Cancelling
                | Phase::Succeeded
                | Phase::Failed
                | Phase::Cancelled => phase,
            };
            // While it is being stopped, the reason says why, and must not be lost.
            let reason = recorded_halt(&status).map_or(refusal.reason, halt_reason);
            set(&mut status, execution, phase, reason, &refusal.message, now);
        }
        Report::Progress(Observation::Waiting { reason, message, .. }) => {
            set(&mut status, execution, Phase::Running, *reason, message, now);
        }
        Report::Progress(Observation::Underway { progress }) => {
            status.progress = progress.as_deref().map(|p| cut(p, 32));
            let child =
                status.resources.first().map(|c| format!("{} {}", c.kind, c.name)).unwrap_or_default();
            set(&mut status, execution, Phase::Running, Reason::Running, &format!("Started {child}."), now);
        }
        Report::Progress(Observation::Succeeded { .. } | Observation::Failed { .. }) => {}
        Report::Observed => status.observed_generation = execution.metadata.generation,
    }
    status
}

/// The status with the outcome.
pub fn finished(
    execution: &Execution,
    ending: Ending,
    rendered: Option<Value>,
    now: Timestamp,
) -> RunnerExecutionStatus {
    let now = whole_second(now);
    let mut status = execution.status.clone();
    status.completion_time = Some(Time(now));
    let kept = status.message.clone();
    let child = status
        .resources
        .first()
        .map_or_else(|| execution.child_name().to_owned(), |c| format!("{} {}", c.kind, c.name));
    let (phase, reason, message) = match ending {
        // A dry run that took a child: what the child tells is what it would do.
        Ending::Observed(Observation::Succeeded { output, message, .. })
            if execution.spec.as_ref().is_ok_and(|spec| spec.context.dry_run) =>
        {
            let plan = match output {
                Some(Output::Inline(plan)) => Some(plan),
                Some(Output::Secret(_)) | None => None,
            };
            let (rendered, told) = shown(execution, plan, "It can be done");
            status.dry_run = rendered.map(|rendered| DryRunResult { rendered: Some(rendered) });
            (Phase::Succeeded, Reason::DryRunSucceeded, format!("{message} {told}").trim().to_owned())
        }
        Ending::Observed(Observation::Succeeded { progress, output, message }) => {
            status.progress = progress.map(|p| cut(&p, 32)).or(status.progress);
            let left_out = give_back(&mut status, output);
            let message = if left_out {
                let limit = MAX_OUTPUT / 1024;
                format!("{message} Its output is larger than {limit} KiB; read it from {child}.")
            } else {
                message
            };
            (Phase::Succeeded, Reason::Succeeded, or_else(message.trim(), "The work succeeded."))
        }
        Ending::Observed(Observation::Failed { reason, message, progress }) => {
            status.progress = progress.map(|p| cut(&p, 32)).or(status.progress);
            (Phase::Failed, reason, message)
        }
        Ending::Observed(Observation::Underway { .. } | Observation::Waiting { .. }) | Ending::Lost => (
            Phase::Failed,
            Reason::ResourceLost,
            format!(
                "{child} disappeared before its result was known; it is not started again. Find out who deleted it, then create another RunnerExecution."
            ),
        ),
        Ending::Glimpsed { succeeded: true } => (
            Phase::Succeeded,
            Reason::Succeeded,
            format!("{child} succeeded, but was deleted before its message and outputs could be read."),
        ),
        Ending::Glimpsed { succeeded: false } => (
            Phase::Failed,
            Reason::ResourceLost,
            format!("{child} failed, and was deleted before its message could be read."),
        ),
        Ending::DryRunSucceeded => {
            let (rendered, message) = shown(execution, rendered, "The API server would accept it");
            status.dry_run = rendered.map(|r| DryRunResult { rendered: Some(r) });
            status.start_time = Some(Time(now));
            (Phase::Succeeded, Reason::DryRunSucceeded, message)
        }
        Ending::Halted(Halt::Cancelled) => (
            Phase::Cancelled,
            Reason::Cancelled,
            if status.resources.is_empty() {
                "Cancelled before it was started.".into()
            } else {
                format!("Cancelled; {child} has stopped.")
            },
        ),
        Ending::Halted(Halt::TimedOut) => (
            Phase::Failed,
            Reason::TimedOut,
            format!("It took longer than spec.context.timeout; {child} was stopped."),
        ),
        Ending::Halted(Halt::CannotStart(reason)) => {
            (Phase::Failed, reason, kept.unwrap_or_else(|| "The work could not start.".into()))
        }
        Ending::NameTaken => (
            Phase::Failed,
            Reason::AlreadyExists,
            format!(
                "{} exists already and is not of this execution; choose another spec.context.name, or delete it.",
                execution.child_name()
            ),
        ),
        Ending::Refused(Refusal { reason, message, .. }) => (Phase::Failed, reason, message),
    };
    set(&mut status, execution, phase, reason, &message, now);
    status
}

/// Sets the output; tells whether it was too large.
fn give_back(status: &mut RunnerExecutionStatus, output: Option<Output>) -> bool {
    match output {
        Some(Output::Inline(value)) if value.to_string().len() > MAX_OUTPUT => return true,
        Some(Output::Inline(value)) => status.output = Some(value),
        Some(Output::Secret(reference)) => status.output_ref = Some(reference),
        None => {}
    }
    false
}

/// What a dry run shows, and how it says so.
fn shown(execution: &Execution, rendered: Option<Value>, accepted: &str) -> (Option<Value>, String) {
    if execution.has_secret_args() {
        return (
            None,
            format!("{accepted}; what would be made is not shown, since arguments come from a Secret."),
        );
    }
    match rendered {
        Some(rendered) if rendered.to_string().len() <= MAX_RENDERED => {
            (Some(rendered), format!("{accepted}; see status.dryRun.rendered."))
        }
        Some(_) | None => (None, format!("{accepted}; what would be made is too large to be shown.")),
    }
}

fn or_else(text: &str, default: &str) -> String {
    if text.is_empty() { default.to_owned() } else { text.to_owned() }
}

/// Sets phase, reason, message and every condition in one go, so that they can never disagree.
fn set(
    status: &mut RunnerExecutionStatus,
    execution: &Execution,
    phase: Phase,
    reason: Reason,
    message: &str,
    now: Timestamp,
) {
    let generation = execution.metadata.generation;
    let message = cut(message, message::MAX);
    let (accepted, accepted_reason) = acceptance(execution, phase, reason);
    let succeeded = match phase {
        Phase::Succeeded => "True",
        Phase::Failed | Phase::Cancelled => "False",
        Phase::Pending | Phase::Suspended | Phase::Running | Phase::Cancelling => "Unknown",
    };
    let truth = |holds: bool| if holds { "True" } else { "False" };
    let failed = matches!(phase, Phase::Failed | Phase::Cancelled);
    let wanted = [
        (conditions::ACCEPTED, accepted, accepted_reason),
        (conditions::SUCCEEDED, succeeded, reason),
        (conditions::FINISHED, truth(phase.is_final()), reason),
        (conditions::RECONCILING, truth(!phase.is_final()), reason),
        (conditions::STALLED, truth(failed), reason),
    ];
    status.conditions = wanted
        .into_iter()
        .map(|(type_, value, reason)| {
            // The default in the CRD has a constant for a time: that is not when anything changed.
            let before = execution
                .conditions
                .get(type_)
                .filter(|before| before.status == value && before.since != Timestamp::UNIX_EPOCH);
            Condition {
                type_: type_.to_owned(),
                status: value.to_owned(),
                reason: reason.as_str().to_owned(),
                message: if type_ == conditions::ACCEPTED && accepted == "True" {
                    String::new()
                } else {
                    message.clone()
                },
                observed_generation: generation,
                last_transition_time: Time(before.map_or_else(|| whole_second(now), |before| before.since)),
            }
        })
        .collect();
    status.observed_generation = generation;
    status.phase = Some(phase);
    status.reason = Some(reason);
    status.message = Some(message);
}

/// The Accepted condition: whether the spec is one that can be run.
fn acceptance(execution: &Execution, phase: Phase, reason: Reason) -> (&'static str, Reason) {
    match (phase, reason) {
        _ if execution.conditions.is_true(conditions::ACCEPTED) => ("True", Reason::Accepted),
        (Phase::Failed, Reason::InvalidSpec | Reason::InvalidArgs | Reason::InternalError)
        | (Phase::Cancelled, _) => ("False", reason),
        (_, Reason::RunnerNotFound | Reason::RunnerUnavailable | Reason::Retrying) => ("Unknown", reason),
        _ => ("True", Reason::Accepted),
    }
}

/// Times in a status have whole seconds, like every metav1.Time.
fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
