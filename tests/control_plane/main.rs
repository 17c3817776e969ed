//! The lifecycle on a real API server, with the real Job controller and garbage collector, and without pods.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may panic and print"
)]
#![allow(unreachable_pub, reason = "a test has no public surface")]

#[path = "../common/mod.rs"]
mod common;

mod contract;
mod controllers;
mod lifecycle;
mod refusals;

use anyhow::Result;
use common::Env;
use runner_controller::crd::{Phase, RunnerExecution};
use serde_json::{Value, json};

/// A job that never ends by itself here, since no node runs it.
fn endless() -> Value {
    json!({"image": "busybox:1", "command": ["sleep", "1000"]})
}

fn phase(rex: &RunnerExecution) -> Option<Phase> {
    rex.status.as_ref().and_then(|s| s.phase)
}

/// The requests to create a Job in the test's namespace, as the API server's audit log tells them.
async fn job_creations(env: &Env) -> Result<Vec<Value>> {
    let mut events = common::audit(env.cluster).await?;
    events.retain(|e| {
        e["verb"] == "create"
            && e["objectRef"]["resource"] == "jobs"
            && e["objectRef"]["namespace"] == env.namespace.as_str()
    });
    Ok(events)
}

async fn running(env: &Env, name: &str) -> Result<RunnerExecution> {
    env.until(name, "running", |rex| phase(rex) == Some(Phase::Running)).await
}
