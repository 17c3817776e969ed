//! The original's architecture, end to end on the real cluster: Action, execution, Workflow, and all gone again.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a test does I/O")]

use std::{process::Stdio, time::Duration};

use anyhow::{Result, ensure};
use devcluster::Level;
use serde_json::{Value, json};
use testhouse::House;
use tokio::process::{Child, Command};

/// A cluster with the Engine's CRD and rights.
async fn open(namespace: &str) -> Result<House> {
    let house = House::open(Level::Argo, namespace).await?;
    house.apply(include_str!("../config/crd.yaml")).await?;
    house.apply(include_str!("../config/rbac.yaml")).await?;
    let crd = "crd/actions.core.projectvoltron.dev";
    house.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", crd], None).await?;
    Ok(house)
}

/// The Engine as a process, with its own rights.
async fn start_engine(house: &House) -> Result<Child> {
    let kubeconfig = house.access("engine", "engine-system").await?;
    Ok(Command::new(env!("CARGO_BIN_EXE_engine"))
        .args(["run", "--namespace", &house.namespace])
        .env("KUBECONFIG", kubeconfig)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?)
}

async fn create(house: &House, name: &str, rendered: Value) -> Result<()> {
    let action = json!({
        "apiVersion": "core.projectvoltron.dev/v1alpha1", "kind": "Action",
        "metadata": {"name": name, "namespace": house.namespace},
        "spec": {"serviceAccountName": "deployer", "rendered": rendered},
    });
    house.apply(&action.to_string()).await
}

async fn patch(house: &House, name: &str, spec: Value) -> Result<()> {
    let patch = json!({ "spec": spec }).to_string();
    let args = ["patch", "action", name, "-n", &house.namespace, "--type=merge", "-p", &patch];
    house.kubectl(&args, None).await.map(drop)
}

async fn until(house: &House, name: &str, phase: &str) -> Result<Value> {
    let condition = format!("--for=jsonpath={{.status.phase}}={phase}");
    let object = format!("action/{name}");
    house.kubectl(&["wait", &condition, "--timeout=80s", &object, "-n", &house.namespace], None).await?;
    house.get("action", name).await
}

fn workflow(duration: Option<&str>) -> Value {
    let step = duration.map_or_else(|| json!({}), |duration| json!({"duration": duration}));
    let workflow = json!({"entrypoint": "main", "templates": [{"name": "main", "suspend": step}]});
    json!({"runner": "argo-workflow", "args": {"workflow": workflow}})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_action_is_run_told_of_and_deleted_with_everything() -> Result<()> {
    let house = open("engine").await?;
    let _controller = house.start_controller(Duration::from_secs(5)).await?;
    let _engine = start_engine(&house).await?;
    create(&house, "a", workflow(Some("2"))).await?;
    until(&house, "a", "ReadyToRun").await?;
    let nothing = ["get", "rex,workflows", "-n", &house.namespace, "-o", "name"];
    ensure!(house.kubectl(&nothing, None).await?.is_empty(), "it was run without approval");

    patch(&house, "a", json!({"run": true})).await?;
    let running = until(&house, "a", "Running").await?;
    let rex = house.get("rex", "a").await?;
    ensure!(running["status"]["executionUid"] == rex["metadata"]["uid"], "{}", running["status"]);
    let done = until(&house, "a", "Succeeded").await?;
    ensure!(done["status"]["reason"] == "Succeeded", "{}", done["status"]);
    let rex = house.get("rex", "a").await?;
    ensure!(done["status"]["message"] == rex["status"]["message"], "{} {}", done["status"], rex["status"]);
    ensure!(rex["metadata"]["ownerReferences"][0]["kind"] == "Action", "{}", rex["metadata"]);

    house.kubectl(&["delete", "action", "a", "-n", &house.namespace], None).await?;
    for kind in ["rex", "workflow"] {
        let object = format!("{kind}/a");
        house
            .kubectl(&["wait", "--for=delete", "--timeout=80s", &object, "-n", &house.namespace], None)
            .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_and_failure_reach_the_action_also_after_a_restart_of_the_engine() -> Result<()> {
    let house = open("cancel").await?;
    let _controller = house.start_controller(Duration::from_secs(5)).await?;
    let mut engine = start_engine(&house).await?;
    create(&house, "a", workflow(None)).await?;
    patch(&house, "a", json!({"run": true})).await?;
    until(&house, "a", "Running").await?;
    engine.kill().await?;
    patch(&house, "a", json!({"cancel": true})).await?;
    let _engine = start_engine(&house).await?;
    until(&house, "a", "Cancelled").await?;

    create(&house, "bad", json!({"runner": "argo-workflow", "args": {}})).await?;
    patch(&house, "bad", json!({"run": true})).await?;
    let failed = until(&house, "bad", "Failed").await?;
    ensure!(failed["status"]["reason"] == "InvalidArgs", "{}", failed["status"]);
    let frozen = json!({"rendered": {"runner": "job"}});
    let refused = patch(&house, "bad", frozen).await.map_err(|error| error.to_string());
    ensure!(refused.as_ref().is_err_and(|words| words.contains("spec.rendered is frozen")), "{refused:?}");
    Ok(())
}
