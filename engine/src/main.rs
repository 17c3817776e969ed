//! An Engine in the small, on nothing but the library: the original's architecture, from an Action to its outcome.
//!
//! ```text
//!  Action ──rendered, approved──▶ RunnerExecution ──runner-controller──▶ Workflow, Job
//!    ▲                                  │
//!    └──────────── status ◀─────────────┘      the Action owns it all
//! ```
//!
//! [`action`]: the object. [`decide`]: what to do next, pure. [`run`]: the loop, all I/O.
#![allow(clippy::print_stdout, reason = "a command line prints its result")]

use std::error::Error;

use clap::{Parser, Subcommand};
use kube::CustomResourceExt;
use runner_controller::{client::connect, logging};

mod action;
mod decide;
mod run;

/// Runs Actions as executions of runner-controller.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the Engine until SIGTERM.
    Run {
        /// Serve only this namespace, instead of all.
        #[arg(long, env = "ENGINE_NAMESPACE")]
        namespace: Option<String>,
    },
    /// Print the CustomResourceDefinition as YAML.
    Crd,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match Cli::parse().command {
        Command::Run { namespace } => {
            logging::init();
            run::run(connect(None).await?.client, namespace.as_deref()).await;
        }
        Command::Crd => print!("{}", serde_yaml::to_string(&action::Action::crd())?),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt;

    #[test]
    fn the_crd_that_is_installed_is_the_one_of_the_types() {
        let generated = serde_yaml::to_string(&super::action::Action::crd()).unwrap();
        let installed = include_str!("../config/crd.yaml");
        assert!(installed.ends_with(&generated), "run: cargo run -p engine -- crd > engine/config/crd.yaml");
    }
}
