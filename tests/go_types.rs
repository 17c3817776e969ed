//! The Go types are those of the schema, compile, and carry executions without loss: checked with the real Go compiler.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test may panic and does I/O"
)]

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, anyhow, ensure};
use runner_controller::{
    crd::{self, RunnerExecution},
    go_types,
};
use serde_json::{Value, json};

fn go(args: &[&str], stdin: &str) -> Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("go");
    let mut command = Command::new(if args[0] == "gofmt" { "gofmt" } else { "go" });
    command.args(if args[0] == "gofmt" { &args[1..] } else { args }).current_dir(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("Go is not installed")?;
    let mut pipe = child.stdin.take().context("no stdin")?;
    let text = stdin.to_owned();
    let writing = std::thread::spawn(move || pipe.write_all(text.as_bytes()));
    let output = child.wait_with_output()?;
    writing.join().map_err(|_| anyhow!("its input could not be written"))??;
    ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn the_go_types_are_those_of_the_schema() -> Result<()> {
    let generated = go(&["gofmt"], &go_types::file(&crd::crd()))?;
    let committed = include_str!("../go/v1alpha1/types.go");
    ensure!(generated == committed, "they are out of date: run make generate");
    Ok(())
}

#[test]
fn executions_go_through_the_go_types_without_loss() -> Result<()> {
    go(&["vet", "./..."], "")?;
    let recorded: Value = serde_json::from_str(include_str!("../kubectl-rex/tests/recorded/namespace.json"))?;
    let items = recorded["items"].as_array().unwrap();
    let mut executions: Vec<Value> =
        items.iter().filter(|item| item["kind"] == "RunnerExecution").cloned().collect();
    executions.push(everything());
    let lines: Vec<String> = executions.iter().map(ToString::to_string).collect();
    let answered = go(&["run", "./roundtrip"], &(lines.join("\n") + "\n"))?;
    let answers: Vec<&str> = answered.lines().collect();
    ensure!(answers.len() == executions.len(), "{} of {} came back", answers.len(), executions.len());
    for (sent, answer) in executions.into_iter().zip(answers) {
        let sent: RunnerExecution = serde_json::from_value(sent)?;
        let answer: RunnerExecution = serde_json::from_str(answer)?;
        // An absent status and an empty one are the same.
        let parts = |it: RunnerExecution| (it.metadata, it.spec, it.status.unwrap_or_default());
        let (sent, answer) = (parts(sent), parts(answer));
        ensure!(sent == answer, "something was lost: {answer:#?} of {sent:#?}");
    }
    Ok(())
}

/// An execution in which every field of the spec is set.
fn everything() -> Value {
    json!({
        "apiVersion": "core.projectvoltron.dev/v1alpha1", "kind": "RunnerExecution",
        "metadata": {"name": "everything", "namespace": "team-a", "labels": {"a": "b"}},
        "spec": {
            "runner": "job", "suspend": true, "cancel": true, "ttlSecondsAfterFinished": 0,
            "managedBy": "example.com/other",
            "args": {"deep": [{"number": 1.5, "none": null, "large": 9_007_199_254_740_993_i64}]},
            "argsFrom": [{"secretKeyRef": {"name": "a", "key": "b"}}],
            "context": {
                "name": "everything", "dryRun": true, "timeout": "1h30m",
                "platform": {
                    "namespace": "team-a", "serviceAccountName": "deployer",
                    "ownerRef": {
                        "apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "1",
                        "controller": false, "blockOwnerDeletion": true,
                    },
                },
            },
        },
    })
}
