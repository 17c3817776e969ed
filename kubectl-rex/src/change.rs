//! `kubectl rex cancel` and `approve`: one patch each, and what it does from now on.

use runner_controller::{
    client::Outcome,
    crd::{Phase, RunnerExecution},
    progress,
    submit::{Exit, Failure},
};

use crate::{cli::Scope, terminal};

/// Asks for the executions to be stopped.
pub(crate) async fn cancel(scope: &Scope, names: &[String]) -> Result<(), Failure> {
    let executions = scope.open().await?.executions();
    for name in names {
        let execution = executions.get(name).await?;
        unless_finished(&execution, name)?;
        executions.cancel(&execution).await?;
        terminal::print(&format!("{name}: cancelling\n"));
    }
    Ok(())
}

/// Lets the executions start.
pub(crate) async fn approve(scope: &Scope, names: &[String]) -> Result<(), Failure> {
    let executions = scope.open().await?.executions();
    for name in names {
        let execution = executions.get(name).await?;
        unless_finished(&execution, name)?;
        if !execution.spec.suspend {
            let phase = progress::phase(&execution);
            return Err(refused(format!("{name} is not held back by spec.suspend; it is {phase:?}")));
        }
        executions.approve(&execution).await?;
        terminal::print(&format!("{name}: approved\n"));
    }
    Ok(())
}

fn unless_finished(execution: &RunnerExecution, name: &str) -> Result<(), Failure> {
    match Outcome::of(execution) {
        None => Ok(()),
        Some(outcome) => {
            let phase = execution.status.as_ref().and_then(|s| s.phase).unwrap_or(Phase::Failed);
            Err(refused(format!("{name} has finished already: {phase:?} ({})", outcome.reason)))
        }
    }
}

fn refused(words: String) -> Failure {
    Failure { exit: Exit::Failed, words }
}
