//! Tests of the runner as a whole.
#![allow(clippy::needless_pass_by_value, reason = "a json! literal reads better without a reference")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::ArgoWorkflow;
use crate::runners::{Rejection, Rendered, Run, Runner};

mod any_json;
mod examples;
mod outcome;
mod render;
mod service_account;
mod validation;

const ACCOUNT: &str = "runs-as";

fn render(args: &Value) -> Result<Rendered, Rejection> {
    ArgoWorkflow.render(&Run { service_account: ACCOUNT, ..Run::example(args) })
}

/// The problems with a WorkflowSpec, as `path: sentence`.
fn problems(spec: &Value) -> Vec<String> {
    match render(&serde_json::json!({ "workflow": spec })) {
        Ok(_) => Vec::new(),
        Err(rejection) => rejection.problems.iter().map(ToString::to_string).collect(),
    }
}

/// Argo's own source, where Go has it; the tests that need it say so and pass otherwise.
fn argo_source() -> Option<PathBuf> {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("devcluster/servers/argo");
    let listed = Command::new("go")
        .args(["list", "-m", "-f", "{{.Dir}}", "github.com/argoproj/argo-workflows/v3"])
        .env("GOFLAGS", "-mod=mod")
        .env("GOPROXY", "off")
        .current_dir(module)
        .output();
    let dir = listed
        .ok()
        .filter(|output| output.status.success())
        .map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let found = dir.filter(|dir| dir.join("examples").is_dir());
    if found.is_none() {
        println!(
            "SKIPPED: Argo's source is not in Go's module cache; run `go mod download` in devcluster/servers/argo"
        );
    }
    found
}
