//! Both runners with real pods: what a person sees when containers run, fail, or never start.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may panic and print"
)]
#![allow(unreachable_pub, reason = "a test has no public surface")]

mod common;

use std::time::Duration;

use anyhow::{Result, ensure};
use common::{Env, message};
use devcluster::Level;
use runner_controller::{crd::Phase, reason::Reason};
use serde_json::{Value, json};

fn shell(script: &str) -> Value {
    json!({"image": "busybox:1", "command": ["sh", "-c", script]})
}

fn container_workflow(script: &str) -> Value {
    json!({"workflow": {"entrypoint": "main", "templates": [{
        "name": "main",
        "container": {"image": "busybox:1", "command": ["sh", "-c", script]},
        "outputs": {"parameters": [{"name": "result", "globalName": "result", "valueFrom": {"path": "/tmp/result", "default": "none"}}]},
    }]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_succeeds_and_its_log_can_be_read() -> Result<()> {
    let env = Env::new(Level::Pods).await?;
    env.run("a", "job", shell("echo hello"), |_| ()).await?;
    env.ends("a", Phase::Succeeded, Reason::Succeeded).await?;
    ensure!(env.kubectl(&["logs", "job/a"]).await?.trim() == "hello", "another log");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_job_tells_the_pod_and_the_exit_code() -> Result<()> {
    let env = Env::new(Level::Pods).await?;
    env.run("a", "job", shell("exit 3"), |_| ()).await?;
    let end = env.ends("a", Phase::Failed, Reason::ContainerFailed).await?;
    ensure!(message(&end).contains("code 3") && message(&end).contains("kubectl logs"), "{}", message(&end));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_image_is_missing_fails_after_the_grace() -> Result<()> {
    let env = Env::with_options(Level::Pods, |options| options.start_grace = Duration::from_secs(10)).await?;
    env.run("a", "job", json!({"image": "localhost/missing:1"}), |_| ()).await?;
    let end = env.ends("a", Phase::Failed, Reason::ImagePullFailed).await?;
    ensure!(message(&end).contains("localhost/missing:1"), "{}", message(&end));
    ensure!(env.get("job", "a").await?["status"]["active"].is_null(), "its pod is still there");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_no_node_can_take_fails_after_the_grace() -> Result<()> {
    let env = Env::with_options(Level::Pods, |options| options.start_grace = Duration::from_secs(5)).await?;
    let mut args = json!({"template": {"spec": {"nodeSelector": {"no": "such"}}}});
    args["template"]["spec"]["containers"] = json!([{"name": "main", "image": "busybox:1"}]);
    env.run("a", "job", args, |_| ()).await?;
    let end = env.ends("a", Phase::Failed, Reason::Unschedulable).await?;
    ensure!(message(&end).contains("node"), "{}", message(&end));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_pods_may_not_be_made_says_so() -> Result<()> {
    let env = Env::with_options(Level::Pods, |options| options.start_grace = Duration::from_secs(5)).await?;
    env.kubectl(&["label", "namespace", &env.namespace, "pod-security.kubernetes.io/enforce=restricted"])
        .await?;
    env.run("a", "job", shell("true"), |_| ()).await?;
    let end = env.ends("a", Phase::Failed, Reason::PodCreationFailed).await?;
    ensure!(message(&end).contains("violates PodSecurity"), "{}", message(&end));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_job_is_really_stopped_at_its_deadline() -> Result<()> {
    let env = Env::new(Level::Pods).await?;
    env.run("a", "job", shell("trap 'exit 0' TERM; sleep 1000 & wait"), |spec| {
        spec["context"]["timeout"] = json!("4s");
    })
    .await?;
    env.ends("a", Phase::Failed, Reason::TimedOut).await?;
    let pods: Value = serde_json::from_str(&env.kubectl(&["get", "pods", "-o", "json"]).await?)?;
    let running =
        pods["items"].as_array().unwrap().iter().filter(|p| p["status"]["phase"] == "Running").count();
    ensure!(running == 0, "a pod still runs: {pods}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_with_a_container_succeeds_and_gives_back_its_output() -> Result<()> {
    let env = Env::new(Level::Pods).await?;
    env.run("a", "argo-workflow", container_workflow("echo -n 42 > /tmp/result"), |_| ()).await?;
    let end = env.ends("a", Phase::Succeeded, Reason::Succeeded).await?;
    let status = end.status.unwrap();
    ensure!(status.output == Some(json!({"result": "42"})), "{:?}", status.output);
    ensure!(status.progress.as_deref() == Some("1/1"), "{:?}", status.progress);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_workflow_tells_the_step_and_the_exit_code() -> Result<()> {
    let env = Env::new(Level::Pods).await?;
    env.run("a", "argo-workflow", container_workflow("exit 7"), |_| ()).await?;
    let end = env.ends("a", Phase::Failed, Reason::WorkflowFailed).await?;
    ensure!(message(&end).contains('7'), "{}", message(&end));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_whose_image_is_missing_fails_after_the_grace() -> Result<()> {
    let env = Env::with_options(Level::Pods, |options| options.start_grace = Duration::from_secs(5)).await?;
    let mut args = container_workflow("true");
    args["workflow"]["templates"][0]["container"]["image"] = json!("localhost/missing:1");
    args["workflow"]["templates"][0]["container"]["command"] = json!(["true"]);
    env.run("a", "argo-workflow", args, |_| ()).await?;
    let end = env.ends("a", Phase::Failed, Reason::ImagePullFailed).await?;
    ensure!(message(&end).contains("localhost/missing:1"), "{}", message(&end));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_running_execution_ends_its_pods() -> Result<()> {
    let env = Env::new(Level::Pods).await?;
    env.run("a", "job", shell("trap 'exit 0' TERM; sleep 1000 & wait"), |_| ()).await?;
    env.comes_to("job/a", "jsonpath={.status.ready}=1").await?;
    env.kubectl(&["delete", "rex", "a"]).await?;
    env.gone("job", "a").await?;
    env.kubectl(&["wait", "--for=delete", "--timeout=80s", "pods", "--all"]).await?;
    Ok(())
}
