//! Containers that were written for the original runners.

use anyhow::{Result, ensure};
use runner_controller::{crd::Phase, reason::Reason};
use serde_json::{Value, json};

use crate::{server::Server, stage::Stage};

#[tokio::test(flavor = "multi_thread")]
async fn a_container_written_for_the_original_finds_its_input_file() -> Result<()> {
    let stage = Stage::set().await?;
    let input = json!({"release": {"name": "jira", "answer": "no"}});
    let args =
        json!({"image": "busybox:1", "command": ["sh", "-c", r#"cat "$RUNNER_INPUT_PATH""#], "input": input});
    stage.run("action-name", "job", args, |spec| spec["context"]["timeout"] = json!("10m")).await?;
    stage.ends("action-name", Phase::Succeeded, Reason::Succeeded).await?;
    let file: Value = serde_yaml::from_str(&stage.kubectl(&["logs", "job/action-name"]).await?)?;
    let platform = json!({"namespace": stage.namespace, "serviceAccountName": "deployer"});
    let context = json!({"name": "action-name", "dryRun": false, "timeout": "10m", "platform": platform});
    ensure!(file == json!({"context": context, "args": input}), "{file}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_input_is_deleted_with_the_execution() -> Result<()> {
    let stage = Stage::set().await?;
    stage
        .run("a", "job", json!({"image": "busybox:1", "command": ["true"], "input": {"a": "b"}}), |_| ())
        .await?;
    stage.ends("a", Phase::Succeeded, Reason::Succeeded).await?;
    let secrets = stage.names("secrets").await?;
    ensure!(secrets.len() == 1, "{secrets:?}");
    stage.kubectl(&["delete", "rex", "a"]).await?;
    for secret in secrets {
        stage.kubectl(&["wait", "--for=delete", "--timeout=80s", &secret]).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_tools_input_nothing_is_left_once_they_have_ended() -> Result<()> {
    let (stage, server) = (Stage::set().await?, Server::start().await?);
    stage.grant("{apiGroups: [''], resources: [secrets], verbs: [create, get, delete]}").await?;
    stage.run("done", "http", json!({"url": server.url("/x")}), |_| ()).await?;
    stage.run("stopped", "http", json!({"url": server.url("/gate/x"), "timeout": "10m"}), |_| ()).await?;
    stage.ends("done", Phase::Succeeded, Reason::Succeeded).await?;
    server.until_asked(&["/gate/x"], 1).await?;
    let secrets = stage.names("secrets").await?;
    ensure!(secrets.len() == 1, "{secrets:?}");
    stage.kubectl(&["patch", "rex", "stopped", "--type=merge", "-p", r#"{"spec":{"cancel":true}}"#]).await?;
    stage.ends("stopped", Phase::Cancelled, Reason::Cancelled).await?;
    let secrets = stage.names("secrets").await?;
    ensure!(secrets.is_empty(), "{secrets:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_secret_of_that_name_is_not_run_with() -> Result<()> {
    let mut stage = Stage::set().await?;
    stage.stop_controller();
    stage
        .run("a", "job", json!({"image": "busybox:1", "command": ["true"], "input": {"a": "b"}}), |_| ())
        .await?;
    let rex = stage.get("rex", "a").await?;
    let uid = rex["metadata"]["uid"].as_str().unwrap_or_default();
    let name = format!("a-input-{}-1", &uid[..8]);
    stage.kubectl(&["create", "secret", "generic", &name, "--from-literal=input.yaml={}"]).await?;
    stage.start_another_controller().await?;
    stage.ends("a", Phase::Failed, Reason::AlreadyExists).await?;
    ensure!(!stage.exists("job", "a").await?, "a Job was made");
    Ok(())
}
