//! What to do next with an Action. Pure: its own object and its execution in, one [`Step`] out.

use kube::ResourceExt;
use runner_controller::{
    crd::{Context, OwnerRef, Phase, Platform, RunnerExecution, RunnerExecutionSpec},
    reason::Reason,
};

use crate::action::{Action, ActionPhase, ActionStatus, Rendered};

/// The one thing to do next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Create this execution, or adopt it.
    Create(Box<RunnerExecution>),
    /// Ask for the execution to be stopped.
    Cancel,
    /// Write this status.
    Tell(Box<ActionStatus>),
    /// Nothing until something changes.
    Rest,
}

/// What to do next. The execution is the one that has the Action's name, if there is one.
pub(crate) fn decide(action: &Action, execution: Option<&RunnerExecution>) -> Step {
    let known = action.status.clone().unwrap_or_default();
    if action.metadata.deletion_timestamp.is_some() || known.phase.is_some_and(ActionPhase::is_final) {
        return Step::Rest;
    }
    let own = execution.filter(|execution| is_of(action, execution));
    match (own, &action.spec.rendered) {
        (Some(execution), _) if action.spec.cancel && may_be_cancelled(execution) => Step::Cancel,
        (Some(execution), _) => tell(action, mirrored(execution)),
        // It had one that is gone: it is not run a second time.
        (None, _) if known.execution_uid.is_some() => tell(action, lost(&known)),
        (None, _) if action.spec.cancel => {
            tell(action, words(ActionPhase::Cancelled, "Cancelled before it was run."))
        }
        (None, _) if execution.is_some() => tell(action, name_taken(action)),
        (None, None) => tell(action, words(ActionPhase::BeingRendered, "Waits for spec.rendered.")),
        (None, Some(_)) if !action.spec.run => {
            tell(action, words(ActionPhase::ReadyToRun, "Set spec.run to true to run it."))
        }
        (None, Some(rendered)) => Step::Create(Box::new(execution_of(action, rendered))),
    }
}

/// Whether the execution was created for this very Action.
fn is_of(action: &Action, execution: &RunnerExecution) -> bool {
    let owner = execution.spec.context.platform.owner_ref.as_ref();
    owner.is_some_and(|owner| Some(&owner.uid) == action.metadata.uid.as_ref())
}

fn may_be_cancelled(execution: &RunnerExecution) -> bool {
    let is_final = execution.status.as_ref().and_then(|s| s.phase).is_some_and(Phase::is_final);
    !execution.spec.cancel && !is_final
}

/// The execution of an Action: the same for the same Action, so that creating it again is harmless.
fn execution_of(action: &Action, rendered: &Rendered) -> RunnerExecution {
    let name = action.name_any();
    let owner_ref = OwnerRef {
        api_version: "core.projectvoltron.dev/v1alpha1".into(),
        kind: "Action".into(),
        name: name.clone(),
        uid: action.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    let context = Context {
        name: Some(name.clone()),
        dry_run: action.spec.dry_run,
        timeout: action.spec.timeout.clone(),
        platform: Platform {
            namespace: action.namespace(),
            service_account_name: action.spec.service_account_name.clone(),
            owner_ref: Some(owner_ref),
        },
    };
    let spec = RunnerExecutionSpec {
        runner: rendered.runner.clone(),
        context,
        args: rendered.args.clone(),
        ..RunnerExecutionSpec::default()
    };
    let mut execution = RunnerExecution::new(&name, spec);
    execution.metadata.namespace = action.namespace();
    execution
}

/// The execution's status as the Action's.
fn mirrored(execution: &RunnerExecution) -> ActionStatus {
    let status = execution.status.clone().unwrap_or_default();
    let phase = match status.phase.unwrap_or(Phase::Pending) {
        Phase::Pending | Phase::Suspended | Phase::Running => ActionPhase::Running,
        Phase::Cancelling => ActionPhase::BeingCancelled,
        Phase::Succeeded => ActionPhase::Succeeded,
        Phase::Failed => ActionPhase::Failed,
        Phase::Cancelled => ActionPhase::Cancelled,
    };
    ActionStatus {
        phase: Some(phase),
        reason: status.reason,
        message: status.message,
        progress: status.progress,
        output: status.output,
        execution_uid: execution.uid(),
        observed_generation: None,
    }
}

fn words(phase: ActionPhase, message: &str) -> ActionStatus {
    ActionStatus { phase: Some(phase), message: Some(message.to_owned()), ..ActionStatus::default() }
}

fn lost(known: &ActionStatus) -> ActionStatus {
    let message = "Its execution was deleted before its outcome was known; it is not run again.";
    ActionStatus {
        reason: Some(Reason::ResourceLost),
        execution_uid: known.execution_uid.clone(),
        ..words(ActionPhase::Failed, message)
    }
}

fn name_taken(action: &Action) -> ActionStatus {
    let message =
        format!("An execution named {} exists already and is not of this Action.", action.name_any());
    ActionStatus { reason: Some(Reason::AlreadyExists), ..words(ActionPhase::Failed, &message) }
}

/// Writes a status where it differs from the one there is.
fn tell(action: &Action, status: ActionStatus) -> Step {
    let new = ActionStatus { observed_generation: action.metadata.generation, ..status };
    if action.status.as_ref() == Some(&new) { Step::Rest } else { Step::Tell(Box::new(new)) }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use runner_controller::crd::RunnerExecution;
    use serde_json::{Value, json};

    use super::{Step, decide};
    use crate::action::{Action, ActionPhase};

    fn action(spec: &Value, status: &Value) -> Action {
        let mut full = json!({"serviceAccountName": "deployer"});
        for (key, value) in spec.as_object().unwrap() {
            full[key] = value.clone();
        }
        serde_json::from_value(json!({
            "apiVersion": "core.projectvoltron.dev/v1alpha1", "kind": "Action",
            "metadata": {"name": "a", "namespace": "team-a", "uid": "1", "generation": 2},
            "spec": full, "status": status,
        }))
        .unwrap()
    }

    fn approved() -> Value {
        json!({"rendered": {"runner": "job", "args": {"image": "busybox:1"}}, "run": true})
    }

    fn created() -> RunnerExecution {
        match decide(&action(&approved(), &json!({})), None) {
            Step::Create(execution) => *execution,
            other @ (Step::Cancel | Step::Tell(_) | Step::Rest) => panic!("{other:?}"),
        }
    }

    fn told(step: Step) -> (Option<ActionPhase>, String) {
        match step {
            Step::Tell(status) => (status.phase, status.message.unwrap_or_default()),
            other @ (Step::Cancel | Step::Create(_) | Step::Rest) => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_is_run_only_once_it_is_rendered_and_approved() {
        let phase = |spec: Value| told(decide(&action(&spec, &json!({})), None)).0;
        assert_eq!(phase(json!({"run": true})), Some(ActionPhase::BeingRendered));
        assert_eq!(phase(json!({"rendered": {"runner": "job"}})), Some(ActionPhase::ReadyToRun));
        let execution = serde_json::to_value(created()).unwrap();
        assert_eq!(execution["metadata"], json!({"name": "a", "namespace": "team-a"}));
        assert_eq!(execution["spec"]["context"]["platform"]["ownerRef"]["uid"], "1");
        assert_eq!(execution["spec"]["args"], json!({"image": "busybox:1"}));
    }

    #[rstest]
    #[case("Pending", ActionPhase::Running)]
    #[case("Running", ActionPhase::Running)]
    #[case("Cancelling", ActionPhase::BeingCancelled)]
    #[case("Succeeded", ActionPhase::Succeeded)]
    #[case("Failed", ActionPhase::Failed)]
    #[case("Cancelled", ActionPhase::Cancelled)]
    fn the_execution_is_mirrored(#[case] phase: &str, #[case] expected: ActionPhase) {
        let mut execution = created();
        execution.status =
            serde_json::from_value(json!({"phase": phase, "reason": "Running", "message": "m"})).unwrap();
        let step = decide(&action(&approved(), &json!({})), Some(&execution));
        assert_eq!(told(step), (Some(expected), "m".to_owned()));
    }

    #[test]
    fn a_cancel_is_passed_on_once_and_before_the_start_it_ends_it() {
        let cancelled = json!({"rendered": {"runner": "job"}, "run": true, "cancel": true});
        let mut execution = created();
        assert_eq!(decide(&action(&cancelled, &json!({})), Some(&execution)), Step::Cancel);
        execution.spec.cancel = true;
        assert!(matches!(decide(&action(&cancelled, &json!({})), Some(&execution)), Step::Tell(_)));
        let step = decide(&action(&cancelled, &json!({})), None);
        assert_eq!(told(step).0, Some(ActionPhase::Cancelled));
    }

    #[test]
    fn what_is_lost_or_anothers_is_never_run_again() {
        let step = decide(&action(&approved(), &json!({"executionUid": "9"})), None);
        assert_eq!(told(step).0, Some(ActionPhase::Failed));
        let mut foreign = created();
        foreign.spec.context.platform.owner_ref = None;
        let step = decide(&action(&approved(), &json!({})), Some(&foreign));
        assert!(told(step).1.contains("is not of this Action"));
        let finished = action(&approved(), &json!({"phase": "Succeeded"}));
        assert_eq!(decide(&finished, None), Step::Rest);
    }

    #[test]
    fn nothing_is_written_twice() {
        let waiting = action(&json!({"run": true}), &json!({}));
        let Step::Tell(status) = decide(&waiting, None) else { panic!("nothing told") };
        let mut told = waiting;
        told.status = Some(*status);
        assert_eq!(decide(&told, None), Step::Rest);
    }
}
