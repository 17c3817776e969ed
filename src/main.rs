//! The command line: which subcommand, with which settings. Everything else is in the library.
#![allow(clippy::print_stdout, reason = "a command line prints its result")]

use std::{error::Error, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use runner_controller::{
    controller::{self, Options},
    crd, duration,
    exec::{self, Tool},
    logging,
    runners::{Registry, Settings, job::Job},
    submit::{self, Exit},
};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

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
    Crd,
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
    /// Serve only this namespace, instead of all.
    #[arg(long, env = "RUNNER_NAMESPACE")]
    namespace: Option<String>,
    /// How many executions are worked on at the same time.
    #[arg(long, env = "RUNNER_CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// Where probes and metrics are served.
    #[arg(long, env = "RUNNER_LISTEN", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// How long a pod may be unable to start (image, node, quota) before the run fails.
    #[arg(long, env = "RUNNER_START_GRACE", default_value = "2m", value_parser = positive)]
    start_grace: Duration,
    /// How often watches are begun anew, to make up for lost events.
    #[arg(long, env = "RUNNER_RESYNC", default_value = "10m", value_parser = positive)]
    resync: Duration,
    /// A YAML file with a pod spec: defaults for every pod that a runner makes.
    #[arg(long, env = "RUNNER_POD_DEFAULTS")]
    pod_defaults: Option<PathBuf>,
    /// The image with this program that helm, http and terraform pods run, as their nodes know it; without it they are not served.
    #[arg(long, env = "RUNNER_EXEC_IMAGE")]
    exec_image: Option<String>,
}

fn positive(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|e| e.to_string())?.ok_or_else(|| "must be more than 0".to_owned())
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody may be there to read it; the exit code tells as much. Not clap's own, which means cancelled.
            let _ = error.print();
            return if error.use_stderr() { Exit::BadInput.into() } else { ExitCode::SUCCESS };
        }
    };
    let result = match cli.command {
        Command::Run(settings) => run(settings).await,
        Command::Crd => print_crd(),
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

fn print_crd() -> Result<(), Box<dyn Error>> {
    println!("{}", serde_yaml::to_string(&crd::crd())?);
    Ok(())
}

async fn run(settings: Run) -> Result<(), Box<dyn Error>> {
    logging::init();
    let mut config = kube::Config::infer().await?;
    // What to do about a failure is decided per execution; a hidden retry would only delay that.
    config.default_retry = false;
    let client = kube::Client::try_from(config)?;
    let pod_defaults = read_pod_defaults(settings.pod_defaults.as_deref())?;
    Job::check_pod_defaults(&pod_defaults)?;
    let registry = Registry::built_in(&Settings { pod_defaults, exec_image: settings.exec_image });
    let options = Options {
        namespace: settings.namespace,
        concurrency: settings.concurrency,
        listen: Some(settings.listen),
        start_grace: settings.start_grace,
        resync: settings.resync,
    };
    let runners: Vec<_> = registry.names().collect();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), ?runners, ?options, "starting");
    let stop = CancellationToken::new();
    stop_on_signal(stop.clone())?;
    controller::run(client, registry, options, stop).await?;
    tracing::info!("stopped");
    Ok(())
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

/// The first signal asks for a graceful stop; the process ends once the steps in hand are done.
fn stop_on_signal(stop: CancellationToken) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: finishing the steps in hand");
        stop.cancel();
    });
    Ok(())
}
