//! The command line: a proxy for any controller, with a plan from a file and its trace to a file.
#![allow(clippy::print_stderr, reason = "the output of a command for people")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use faultproxy::{FaultProxy, Plan, config};
use tracing_subscriber::EnvFilter;

/// A fault-injecting proxy between a Kubernetes controller and its API server, on loopback only.
/// Runs until interrupted.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The API server, and the credentials lent to requests that bring none.
    #[arg(long, env = "KUBECONFIG")]
    kubeconfig: PathBuf,
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8001")]
    listen: SocketAddr,
    /// What goes wrong, as JSON; nothing unless given.
    #[arg(long)]
    plan: Option<PathBuf>,
    /// Where to write what happens, one JSON line each.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Where to write a kubeconfig that leads through the proxy.
    #[arg(long)]
    write_kubeconfig: Option<PathBuf>,
    /// The process that a plan kills.
    #[arg(long)]
    pid: Option<u32>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("faultproxy: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let plan = arguments.plan.as_deref().map(read).transpose()?;
    let proxy = FaultProxy::start_on(config(&arguments.kubeconfig).await?, arguments.listen).await?;
    if let Some(file) = &arguments.trace {
        proxy.trace_to(file)?;
    }
    if let Some(pid) = arguments.pid {
        proxy.kill_pid(pid);
    }
    proxy.set_plan(plan.unwrap_or_default());
    if let Some(file) = &arguments.write_kubeconfig {
        proxy.write_kubeconfig(file)?;
    }
    eprintln!("faultproxy: listening on http://{}", proxy.address());
    tokio::signal::ctrl_c().await?;
    Ok(())
}

fn read(file: &Path) -> Result<Plan, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("the plan {}: {error}", file.display()))
}
