//! What must hold of every status that can be built, whatever happened before.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::controller::decide::Patience;

fn execution(status: &RunnerExecutionStatus) -> Execution {
    let object = json!({
        "metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7", "generation": 3},
        "spec": {"runner": "job", "context": {"platform": {"serviceAccountName": "s"}}, "args": {"a": 1}},
        "status": status,
    });
    serde_json::from_str(&object.to_string()).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn child() -> ResourceRef {
    ResourceRef { kind: "Job".into(), name: "a".into(), uid: "c".into(), ..ResourceRef::default() }
}

fn refusal() -> impl Strategy<Value = Refusal> {
    (prop::sample::select(Reason::ALL), "\\PC{0,3000}").prop_map(|(reason, message)| Refusal {
        reason,
        message,
        patience: Patience::Endless,
    })
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        ("\\PC{0,2000}", 0..40_000_usize).prop_map(|(message, size)| Ending::Observed(
            Observation::Succeeded {
                progress: Some("1/1".into()),
                output: Some(Output::Inline(json!({"a": "x".repeat(size)}))),
                message,
            }
        )),
        (prop::sample::select(Reason::ALL), "\\PC{0,3000}").prop_map(|(reason, message)| Ending::Observed(
            Observation::Failed { reason, message, progress: None }
        )),
        any::<bool>().prop_map(|succeeded| Ending::Glimpsed { succeeded }),
        prop::sample::select(Reason::ALL).prop_map(|reason| Ending::Halted(Halt::CannotStart(reason))),
        prop_oneof![
            Just(Ending::DryRunSucceeded),
            Just(Ending::Halted(Halt::Cancelled)),
            Just(Ending::Halted(Halt::TimedOut))
        ],
        prop_oneof![Just(Ending::Lost), Just(Ending::NameTaken)],
        refusal().prop_map(Ending::Refused),
    ]
}

/// The condition's status, or nothing.
fn of<'a>(status: &'a RunnerExecutionStatus, type_: &str) -> &'a str {
    status.conditions.iter().find(|c| c.type_ == type_).map_or("", |c| c.status.as_str())
}

/// Phase and conditions never disagree, and nothing is longer than the CRD allows.
fn check(status: &RunnerExecutionStatus) -> Result<(), TestCaseError> {
    let end = status.phase.is_some_and(Phase::is_final);
    prop_assert_eq!(of(status, conditions::FINISHED) == "True", end);
    prop_assert_eq!(of(status, conditions::RECONCILING) == "True", !end);
    prop_assert_eq!(of(status, conditions::SUCCEEDED) == "Unknown", !end);
    prop_assert_eq!(of(status, conditions::SUCCEEDED) == "True", status.phase == Some(Phase::Succeeded));
    prop_assert_eq!(of(status, conditions::STALLED) == "True", end && status.phase != Some(Phase::Succeeded));
    prop_assert_eq!(status.observed_generation, Some(3));
    prop_assert!(status.message.as_ref().is_some_and(|m| m.len() <= message::MAX));
    prop_assert!(status.output.as_ref().is_none_or(|o| o.to_string().len() <= MAX_OUTPUT));
    Ok(())
}

proptest! {
    #[test]
    fn a_status_never_disagrees_with_itself(refusals in prop::collection::vec(refusal(), 0..3), starts: bool, ending in ending()) {
        let mut status = RunnerExecutionStatus::default();
        for refusal in refusals {
            status = reported(&execution(&status), &Report::Refused(refusal), at(1));
            check(&status)?;
        }
        if starts {
            status = started(&execution(&status), child(), Some(Duration::from_secs(5)), at(2));
            check(&status)?;
            prop_assert_eq!(status.deadline.as_ref().map(|d| d.0), Some(at(7)));
        }
        status = finished(&execution(&status), ending, None, at(3));
        check(&status)?;
        prop_assert_eq!(status.completion_time.as_ref().map(|t| t.0), Some(at(3)));
    }
}

/// All that is kept of an execution.
fn kept(execution: &Execution) -> Value {
    let Execution { metadata, spec, status, conditions, bulk } = execution;
    json!([metadata, spec, status, conditions, bulk])
}

proptest! {
    #[test]
    fn what_is_kept_of_an_own_write_is_what_would_be_read_of_it(refusal in refusal(), starts: bool, ending in ending()) {
        let mut status = reported(&execution(&RunnerExecutionStatus::default()), &Report::Refused(refusal), at(1));
        let mut written = execution(&RunnerExecutionStatus::default());
        written.set_status(status.clone());
        prop_assert_eq!(kept(&written), kept(&execution(&status)));
        if starts {
            status = started(&execution(&status), child(), Some(Duration::from_secs(5)), at(2));
            written.set_status(status.clone());
            prop_assert_eq!(kept(&written), kept(&execution(&status)));
        }
        status = finished(&execution(&status), ending, None, at(3));
        written.set_status(status.clone());
        prop_assert_eq!(kept(&written), kept(&execution(&status)));
    }
}

#[test]
fn a_condition_keeps_the_time_of_its_last_change() {
    let before = started(&execution(&RunnerExecutionStatus::default()), child(), None, at(1));
    let after = finished(&execution(&before), Ending::Lost, None, at(9));
    let time =
        |type_: &str| after.conditions.iter().find(|c| c.type_ == type_).unwrap().last_transition_time.0;
    assert_eq!((time(conditions::ACCEPTED), time(conditions::SUCCEEDED)), (at(1), at(9)));
}

#[test]
fn why_it_is_being_stopped_survives_a_refusal_on_the_way() {
    let running = started(&execution(&RunnerExecutionStatus::default()), child(), None, at(1));
    let halting = halting(&execution(&running), Halt::TimedOut, None, at(2));
    let refusal = Refusal { reason: Reason::Forbidden, message: "no".into(), patience: Patience::Endless };
    let reported = reported(&execution(&halting), &Report::Refused(refusal), at(3));
    assert_eq!(recorded_halt(&reported), Some(Halt::TimedOut));
}

#[test]
fn a_dry_run_with_arguments_from_a_secret_shows_nothing_of_them() {
    let mut execution = execution(&RunnerExecutionStatus::default());
    execution.spec.as_mut().unwrap().args_from = vec![crate::crd::ArgsSource::default()];
    let status = finished(&execution, Ending::DryRunSucceeded, Some(json!({"a": "open-sesame"})), at(1));
    assert!(!serde_json::to_string(&status).unwrap().contains("open-sesame"));
}
