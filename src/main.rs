//! The command line: which subcommand, with which settings. Everything else is in the library.
#![allow(clippy::print_stdout, reason = "a command line prints its result")]

use std::{error::Error, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use runner_controller::{
    controller::{Others, pace},
    crd,
    exec::{self, Tool},
    go_types, logging,
    manager::{self, Manager},
    runners::{Registry, Settings, job::Job},
    submit,
};
use serde_json::Value;

/// Runs actions on Kubernetes, each as one RunnerExecution.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the controller until SIGTERM.
    Run(Run),
    /// Print the CustomResourceDefinition as YAML.
    Crd {
        /// Print the types in Go instead.
        #[arg(long)]
        go: bool,
    },
    /// Do the work of a runner within its pod; started by a Job that the controller made.
    Exec {
        /// What to work with.
        tool: Tool,
    },
    /// Run one execution from the original runners' input file and follow it to its end.
    Submit(submit::Settings),
}

#[derive(clap::Args)]
struct Run {
    #[command(flatten)]
    settings: manager::Settings,
    /// A YAML file with a pod spec: defaults for the pods of job, helm, http and terraform; those of Workflows are Argo's
    /// to set (workflowDefaults).
    #[arg(long, env = "RUNNER_POD_DEFAULTS")]
    pod_defaults: Option<PathBuf>,
    /// The image with this program that helm, http and terraform pods run, as their nodes know it; without it they are not served.
    #[arg(long, env = "RUNNER_EXEC_IMAGE")]
    exec_image: Option<String>,
}

fn main() -> ExitCode {
    match pace::runtime() {
        Ok(runtime) => runtime.block_on(command()),
        Err(error) => {
            eprintln!("runner-controller: it cannot begin: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn command() -> ExitCode {
    let cli: Cli = match submit::exit::command_line() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let result = match cli.command {
        Command::Run(settings) => run(settings).await,
        Command::Crd { go } => print_crd(go),
        Command::Exec { tool } => return exec::run(tool).await,
        Command::Submit(settings) => {
            if logging::is_dev_mode() {
                logging::init();
            }
            return submit::run(settings).await.into();
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("runner-controller: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print_crd(go: bool) -> Result<(), Box<dyn Error>> {
    if go {
        print!("{}", go_types::file(&crd::crd()));
    } else {
        println!("{}", serde_yaml::to_string(&crd::crd())?);
    }
    Ok(())
}

async fn run(run: Run) -> Result<(), Box<dyn Error>> {
    let pod_defaults = read_pod_defaults(run.pod_defaults.as_deref())?;
    Job::check_pod_defaults(&pod_defaults)?;
    // The pods of this project log as much as their controller.
    let exec_log = std::env::var("RUST_LOG").ok();
    let registry = Registry::built_in(&Settings { pod_defaults, exec_image: run.exec_image, exec_log });
    Manager::of(registry, Others::Tell).run_with(run.settings).await
}

fn read_pod_defaults(path: Option<&std::path::Path>) -> Result<Value, Box<dyn Error>> {
    let Some(path) = path else { return Ok(Value::Null) };
    let text = std::fs::read_to_string(path)
        .map_err(|e| format!("cannot read --pod-defaults {}: {e}", path.display()))?;
    match serde_yaml::from_str(&text) {
        Ok(value @ (Value::Object(_) | Value::Null)) => Ok(value),
        Ok(_) => {
            Err(format!("{}: must be a pod spec, an object such as `hostNetwork: true`", path.display())
                .into())
        }
        Err(error) => Err(format!("{}: {error}", path.display()).into()),
    }
}
