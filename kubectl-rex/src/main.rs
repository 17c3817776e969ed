//! `kubectl rex`: executions for people who work in a terminal.
//!
//! | command | file | I/O |
//! |---|---|---|
//! | run | [`run`] | creates, and follows with the same code as `runner-controller submit` |
//! | list, list --watch | [`list`], [`table`] | lists and watches; the table is pure |
//! | describe | [`describe`] | reads; what is shown is made by pure functions |
//! | logs | [`logs`] | reads pods and their logs |
//! | cancel, approve | [`change`] | one patch |
//! | outputs | [`outputs`] | one read; the forms are pure |
//! | Tab | [`complete`] | reads names; kubectl runs `kubectl_complete-rex` for it |
//!
//! The binary is found by kubectl as a plugin, since it is named `kubectl-rex`.

use std::process::ExitCode;

use clap::CommandFactory;
use runner_controller::submit::{Exit, Failure, exit};

mod change;
mod cli;
mod complete;
mod describe;
mod list;
mod logs;
mod outputs;
mod run;
mod scope;
mod table;
mod terminal;

use cli::{Cli, Command};

#[tokio::main]
async fn main() -> ExitCode {
    let cli: Cli = match exit::command_line() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match execute(cli).await {
        Ok(exit) => exit.into(),
        Err(Failure { exit, words }) => {
            terminal::complain(&words);
            exit.into()
        }
    }
}

async fn execute(cli: Cli) -> Result<Exit, Failure> {
    let scope = cli.scope;
    match cli.command {
        Command::Run(options) => return run::run(&scope, options).await,
        Command::List(options) => list::list(&scope, options).await?,
        Command::Describe { name } => describe::describe(&scope, &name).await?,
        Command::Logs(options) => logs::logs(&scope, &options).await?,
        Command::Cancel { names } => change::cancel(&scope, &names).await?,
        Command::Approve { names } => change::approve(&scope, &names).await?,
        Command::Outputs { name, output } => outputs::outputs(&scope, &name, output).await?,
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "kubectl-rex", &mut script);
            terminal::print(&String::from_utf8_lossy(&script));
        }
        Command::Complete { words } => terminal::print(&complete::offered(words)),
    }
    Ok(Exit::Succeeded)
}
