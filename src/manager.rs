//! A controller process around somebody's runners: command line, logs, access to the cluster, signals, lifecycle.
//!
//! The whole main of a runner's binary:
//!
//! ```no_run
//! use runner_controller::{manager::Manager, runners::{Evidence, Glance, Glimpse, Observation, Rejection, Rendered, Run, Runner, Stop, View}};
//! # use kube::core::ApiResource;
//! # struct MyRunner;
//! # impl Runner for MyRunner {
//! #     fn name(&self) -> &'static str { "mine" }
//! #     fn child(&self) -> ApiResource { unimplemented!() }
//! #     fn view(&self) -> View { View::Status }
//! #     fn render(&self, _: &Run<'_>) -> Result<Rendered, Rejection> { unimplemented!() }
//! #     fn glance(&self, _: &Glimpse<'_>) -> Glance { Glance::Underway }
//! #     fn interpret(&self, _: &Evidence) -> Observation { Observation::Underway { progress: None } }
//! #     fn stop(&self, _: Stop) -> serde_json::Value { serde_json::Value::Null }
//! # }
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     Manager::new(MyRunner).run().await
//! }
//! ```

use std::{error::Error, net::SocketAddr, time::Duration};

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    client::connect,
    controller::{self, Options, Others},
    duration, logging,
    runners::{Registry, Runner},
};

/// How a controller process is run: the same flags and environment for every one.
#[derive(clap::Args, Clone, Debug)]
pub struct Settings {
    /// Serve only this namespace, instead of all.
    #[arg(long, env = "RUNNER_NAMESPACE")]
    pub namespace: Option<String>,
    /// How many executions are worked on at the same time.
    #[arg(long, env = "RUNNER_CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: u16,
    /// Where probes and metrics are served.
    #[arg(long, env = "RUNNER_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// How long a pod may be unable to start (image, node, quota) before the run fails.
    #[arg(long, env = "RUNNER_START_GRACE", default_value = "2m", value_parser = positive)]
    pub start_grace: Duration,
    /// How often watches are begun anew, to make up for lost events.
    #[arg(long, env = "RUNNER_RESYNC", default_value = "10m", value_parser = positive)]
    pub resync: Duration,
}

fn positive(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|e| e.to_string())?.ok_or_else(|| "must be more than 0".to_owned())
}

/// Serves executions from a binary of its own.
#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    settings: Settings,
}

/// Some runners, and the controller that serves them.
#[derive(Clone)]
pub struct Manager {
    registry: Registry,
    others: Others,
}

impl Manager {
    /// Serves the executions that name this runner, and leaves all others alone: those are another controller's.
    pub fn new(runner: impl Runner) -> Self {
        Self { registry: Registry::new().with(runner), others: Others::Ignore }
    }

    /// Serves one more runner.
    #[must_use]
    pub fn with(self, runner: impl Runner) -> Self {
        Self { registry: self.registry.with(runner), ..self }
    }

    /// Serves these runners, and does so with others.
    pub fn of(registry: Registry, others: Others) -> Self {
        Self { registry, others }
    }

    /// Runs as this process: reads its command line, logs, and goes on until SIGTERM or Ctrl-C.
    ///
    /// # Errors
    /// If there is no cluster to talk to, or probes and metrics cannot be served.
    pub async fn run(self) -> Result<(), Box<dyn Error>> {
        let CommandLine { settings } = CommandLine::parse();
        self.run_with(settings).await
    }

    /// The same with settings that were read elsewhere.
    ///
    /// # Errors
    /// As [`Manager::run`].
    pub async fn run_with(self, settings: Settings) -> Result<(), Box<dyn Error>> {
        logging::init();
        let client = connect(None).await?.client;
        let options = Options {
            namespace: settings.namespace,
            concurrency: settings.concurrency,
            listen: Some(settings.listen),
            start_grace: settings.start_grace,
            resync: settings.resync,
            others: self.others,
        };
        let runners: Vec<_> = self.registry.names().collect();
        tracing::info!(version = env!("CARGO_PKG_VERSION"), ?runners, ?options, "starting");
        let stop = CancellationToken::new();
        stop_on_signal(stop.clone())?;
        controller::run(client, self.registry, options, stop).await?;
        tracing::info!("stopped");
        Ok(())
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
