//! `kubectl rex run`: what `runner-controller submit` does, and without `--wait` only its beginning.

use kube::ResourceExt;
use runner_controller::{
    client::{Created, Executions},
    input::Given,
    submit::{Exit, Failure, Screen, create_and_follow, source},
};

use crate::{
    cli::{Run, Scope},
    terminal,
};

pub(crate) async fn run(scope: &Scope, options: Run) -> Result<Exit, Failure> {
    let bad_input = |words: String| Failure { exit: Exit::BadInput, words };
    let named = source::Named { file: Some(options.filename), ..source::Named::default() };
    let input = source::read(named).map_err(bad_input)?;
    let mut screen = Screen::new();
    for warning in &input.warnings {
        screen.say(&format!("warning: {warning}"));
    }
    let opened = scope.open().await?;
    let given = Given {
        runner: options.runner.as_deref(),
        namespace: scope.namespace.as_deref(),
        default_namespace: &opened.namespace,
    };
    let wanted = input.into_execution(&given).map_err(|mismatch| bad_input(mismatch.to_string()))?;
    let executions = Executions::new(opened.client, &wanted.namespace().unwrap_or_default());
    if options.wait {
        return create_and_follow(executions, &wanted, options.on_interrupt, &mut screen).await;
    }
    let name = wanted.name_any();
    let what = match executions.create(&wanted).await? {
        Created::New(_) => "created",
        Created::Adopted(_) => "exists already and is the same run",
    };
    terminal::print(&format!("runnerexecution.core.projectvoltron.dev/{name} {what}\n"));
    Ok(Exit::Succeeded)
}
