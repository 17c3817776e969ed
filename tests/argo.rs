//! The argo-workflow runner with the real Argo, on workflows that need no pods.
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
use devcluster::{Level, Server};
use runner_controller::{
    crd::{Phase, RunnerExecution},
    reason::Reason,
};
use serde_json::{Value, json};

const RUNNER: &str = "argo-workflow";

/// A workflow of one step that waits so long, or until it is resumed.
fn pause(duration: Option<&str>) -> Value {
    json!({"workflow": {
        "entrypoint": "main",
        "templates": [{"name": "main", "suspend": duration.map_or_else(|| json!({}), |d| json!({"duration": d}))}],
    }})
}

async fn running(env: &Env, name: &str) -> Result<RunnerExecution> {
    env.until(name, "running", |rex| rex.status.as_ref().is_some_and(|s| s.phase == Some(Phase::Running)))
        .await
}

/// Waits until Argo has taken the workflow up.
async fn taken_up(env: &Env, name: &str) -> Result<()> {
    env.comes_to(&format!("workflow/{name}"), "jsonpath={.status.phase}=Running").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_succeeds_and_gives_back_progress_and_outputs() -> Result<()> {
    let env = Env::new(Level::Argo).await?;
    let args = json!({"workflow": {
        "entrypoint": "main",
        "arguments": {"parameters": [{"name": "whom", "value": "world"}]},
        "templates": [
            {"name": "main", "steps": [[{"name": "ask", "template": "ask"}]]},
            {
                "name": "ask",
                "suspend": {"duration": "1"},
                "inputs": {"parameters": [{"name": "answer", "default": "yes"}]},
                "outputs": {"parameters": [{"name": "answer", "globalName": "answer", "valueFrom": {"supplied": {}, "default": "yes"}}]},
            },
        ],
    }});
    env.run("a", RUNNER, args, |_| ()).await?;
    let end = env.ends("a", Phase::Succeeded, Reason::Succeeded).await?;
    let status = end.status.unwrap();
    ensure!(
        status.resources[0].kind == "Workflow" && status.resources[0].name == "a",
        "{:?}",
        status.resources
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_execution_costs_four_writes_and_one_read() -> Result<()> {
    let env = Env::new(Level::Argo).await?;
    env.run("a", RUNNER, pause(Some("1")), |_| ()).await?;
    env.ends("a", Phase::Succeeded, Reason::Succeeded).await?;
    let expected = [
        "create workflows ",
        "get workflows ",
        "patch runnerexecutions status",
        "patch runnerexecutions status",
        "patch workflows ",
    ];
    // The API server logs a request once it has answered it; the watch may be faster.
    let logged = async {
        while requests(&env).await?.len() < expected.len() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(10), logged).await.ok().transpose()?;
    let requests = requests(&env).await?;
    ensure!(requests == expected, "{requests:#?}");
    Ok(())
}

/// What the controller asked for in the namespace, without watches and events, sorted.
async fn requests(env: &Env) -> Result<Vec<String>> {
    let audit = common::audit(env.cluster).await?;
    let mut requests: Vec<String> = audit
        .iter()
        .filter(|e| e["user"]["username"] == "system:serviceaccount:runner-system:runner-controller")
        .filter(|e| e["objectRef"]["namespace"] == env.namespace.as_str())
        .map(|e| {
            format!(
                "{} {} {}",
                e["verb"].as_str().unwrap_or_default(),
                e["objectRef"]["resource"].as_str().unwrap_or_default(),
                e["objectRef"]["subresource"].as_str().unwrap_or_default()
            )
        })
        .filter(|request| {
            !request.starts_with("watch") && !request.starts_with("list") && !request.contains("events")
        })
        .collect();
    requests.sort();
    Ok(requests)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_workflow_fails_by_the_path_before_anything_is_made() -> Result<()> {
    let env = Env::new(Level::Argo).await?;
    let args = json!({"workflow": {"entrypoint": "mian", "templates": [{"name": "main", "suspend": {}}]}});
    env.run("a", RUNNER, args, |_| ()).await?;
    let end = env.ends("a", Phase::Failed, Reason::InvalidArgs).await?;
    ensure!(message(&end).contains("spec.args.workflow.entrypoint"), "{}", message(&end));
    ensure!(!env.exists("workflow", "a").await?, "a Workflow was made");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_argo_can_see_is_told_in_argo_s_words() -> Result<()> {
    let env = Env::new(Level::Argo).await?;
    let args = json!({"workflow": {"workflowTemplateRef": {"name": "missing"}}});
    env.run("a", RUNNER, args, |_| ()).await?;
    let end = env.until("a", "finished", |rex| common::has_condition(rex, "Finished", "True")).await?;
    let status = end.status.clone().unwrap();
    ensure!(status.phase == Some(Phase::Failed), "{status:#?}");
    ensure!(message(&end).contains("missing"), "{}", message(&end));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_workflow_has_really_stopped() -> Result<()> {
    let env = Env::new(Level::Argo).await?;
    env.run("a", RUNNER, pause(None), |_| ()).await?;
    taken_up(&env, "a").await?;
    env.kubectl(&["patch", "rex", "a", "--type=merge", "-p", r#"{"spec":{"cancel":true}}"#]).await?;
    env.ends("a", Phase::Cancelled, Reason::Cancelled).await?;
    let workflow = env.get("workflow", "a").await?;
    ensure!(
        workflow["spec"]["shutdown"] == "Stop" && workflow["status"]["phase"] == "Failed",
        "{}",
        workflow["status"]
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_that_takes_too_long_is_terminated() -> Result<()> {
    let env = Env::new(Level::Argo).await?;
    env.run("a", RUNNER, pause(None), |spec| spec["context"]["timeout"] = json!("3s")).await?;
    env.ends("a", Phase::Failed, Reason::TimedOut).await?;
    let workflow = env.get("workflow", "a").await?;
    ensure!(
        workflow["spec"]["shutdown"] == "Terminate" && workflow["status"]["finishedAt"].is_string(),
        "{}",
        workflow["status"]
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_account_is_always_the_context_s() -> Result<()> {
    let env = Env::new(Level::Argo).await?;
    let mut args = pause(Some("1"));
    args["workflow"]["serviceAccountName"] = json!("admin");
    args["workflow"]["templates"][0]["serviceAccountName"] = json!("admin");
    env.run("a", RUNNER, args, |_| ()).await?;
    env.ends("a", Phase::Succeeded, Reason::Succeeded).await?;
    let spec = env.get("workflow", "a").await?["spec"].clone();
    ensure!(spec["serviceAccountName"] == "deployer" && !spec.to_string().contains("admin"), "{spec}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_makes_nothing() -> Result<()> {
    let env = Env::new(Level::Argo).await?;
    env.run("a", RUNNER, pause(None), |spec| spec["context"]["dryRun"] = json!(true)).await?;
    let end = env.ends("a", Phase::Succeeded, Reason::DryRunSucceeded).await?;
    let rendered = end.status.unwrap().dry_run.unwrap().rendered.unwrap();
    ensure!(
        rendered["kind"] == "Workflow" && rendered["spec"]["serviceAccountName"] == "deployer",
        "{rendered}"
    );
    ensure!(!env.exists("workflow", "a").await?, "a Workflow was made");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_workflow_of_the_name_is_an_error() -> Result<()> {
    let env = Env::new(Level::Argo).await?;
    let foreign = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": "a"}, "spec": pause(None)["workflow"]});
    env.apply(&foreign.to_string()).await?;
    env.run("a", RUNNER, pause(Some("1")), |_| ()).await?;
    env.ends("a", Phase::Failed, Reason::AlreadyExists).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_that_its_author_wants_suspended_stays_so_until_he_resumes_it() -> Result<()> {
    let env = Env::new(Level::Argo).await?;
    let mut args = pause(Some("1"));
    args["workflow"]["suspend"] = json!(true);
    env.run("a", RUNNER, args, |_| ()).await?;
    running(&env, "a").await?;
    ensure!(env.get("workflow", "a").await?["spec"]["suspend"] == true, "it was released");
    env.kubectl(&["patch", "workflow", "a", "--type=merge", "-p", r#"{"spec":{"suspend":false}}"#]).await?;
    env.ends("a", Phase::Succeeded, Reason::Succeeded).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_with_a_time_to_live_vanishes_only_after_its_result_is_recorded() -> Result<()> {
    let mut env = Env::new(Level::Argo).await?;
    let mut args = pause(Some("1"));
    args["workflow"]["ttlStrategy"] = json!({"secondsAfterCompletion": 0});
    env.run("a", RUNNER, args, |_| ()).await?;
    running(&env, "a").await?;
    env.released("workflow", "a").await?;
    // It ends while nobody looks, and would be gone with its result.
    env.stop_controller();
    env.comes_to("workflow/a", "jsonpath={.status.phase}=Succeeded").await?;
    env.start_controller(|_| ()).await?;
    env.ends("a", Phase::Succeeded, Reason::Succeeded).await?;
    env.gone("workflow", "a").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_that_is_deleted_by_hand_is_lost() -> Result<()> {
    let env = Env::new(Level::Argo).await?;
    env.run("a", RUNNER, pause(None), |_| ()).await?;
    taken_up(&env, "a").await?;
    env.kubectl(&["delete", "workflow", "a"]).await?;
    env.ends("a", Phase::Failed, Reason::ResourceLost).await?;
    ensure!(!env.exists("workflow", "a").await?, "it was made again");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_restarted_in_mid_run_sees_it_through() -> Result<()> {
    let mut env = Env::new(Level::Argo).await?;
    env.run("a", RUNNER, pause(Some("4")), |_| ()).await?;
    running(&env, "a").await?;
    env.stop_controller();
    tokio::time::sleep(Duration::from_secs(1)).await;
    env.start_controller(|_| ()).await?;
    env.ends("a", Phase::Succeeded, Reason::Succeeded).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_whose_kind_is_installed_late_starts_by_itself() -> Result<()> {
    // A cluster of its own, since Argo must be missing at first.
    let cluster =
        devcluster::Cluster::ensure(&devcluster::Options::new(common::folder("late"), Level::ControlPlane))
            .await?;
    let cluster: &'static devcluster::Cluster = Box::leak(Box::new(cluster));
    common::install(cluster).await?;
    common::kubectl(cluster, &["delete", "crd", "workflows.argoproj.io", "--ignore-not-found"], None).await?;
    let mut env = Env::without_controller(cluster).await?;
    env.start_controller(|_| ()).await?;
    env.run("a", RUNNER, pause(None), |_| ()).await?;
    env.until("a", "reported", |rex| {
        rex.status.as_ref().is_some_and(|s| s.reason == Some(Reason::RunnerUnavailable))
    })
    .await?;
    // The other runner is not disturbed.
    env.run("job", "job", json!({"image": "busybox:1"}), |_| ()).await?;
    running(&env, "job").await?;
    let crd = common::kubectl(
        common::cluster(Level::Argo).await?,
        &["get", "crd", "workflows.argoproj.io", "-o", "json"],
        None,
    )
    .await?;
    let mut crd: Value = serde_json::from_str(&crd)?;
    crd["metadata"] = json!({"name": "workflows.argoproj.io", "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"}});
    crd["status"] = json!(null);
    common::kubectl(cluster, &["apply", "--server-side", "-f", "-"], Some(&crd.to_string())).await?;
    running(&env, "a").await?;
    common::kubectl(cluster, &["delete", "crd", "workflows.argoproj.io"], None).await?;
    env.ends("a", Phase::Failed, Reason::ResourceLost).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn argo_s_own_absence_only_delays_an_execution() -> Result<()> {
    let cluster =
        devcluster::Cluster::ensure(&devcluster::Options::new(common::folder("absent"), Level::Argo)).await?;
    let cluster: &'static devcluster::Cluster = Box::leak(Box::new(cluster));
    common::install(cluster).await?;
    let mut env = Env::without_controller(cluster).await?;
    env.start_controller(|_| ()).await?;
    cluster.stop_server(Server::WorkflowController).await?;
    env.run("slow", RUNNER, pause(Some("1")), |_| ()).await?;
    running(&env, "slow").await?;
    cluster.start_server(Server::WorkflowController).await?;
    env.ends("slow", Phase::Succeeded, Reason::Succeeded).await?;
    Ok(())
}
