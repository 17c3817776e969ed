//! What cannot be run, and dry runs: nothing is made, and the words help.

use anyhow::{Result, ensure};
use devcluster::Level;
use runner_controller::{crd::Phase, reason::Reason};
use serde_json::{Value, json};

use crate::{
    common::{Env, message},
    endless, job_creations, phase, running,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_what_would_be_stored_and_stores_nothing() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    env.run("a", "job", endless(), |spec| spec["context"]["dryRun"] = json!(true)).await?;
    let end = env.ends("a", Phase::Succeeded, Reason::DryRunSucceeded).await?;
    let rendered = end.status.unwrap().dry_run.unwrap().rendered.unwrap();
    ensure!(
        rendered["spec"]["template"]["spec"]["schedulerName"] == "default-scheduler",
        "not the server's form: {rendered}"
    );
    ensure!(!env.exists("job", "a").await?, "a Job was made");
    // One that was made and removed again would not be seen otherwise.
    let dry = |e: &Value| e["requestURI"].as_str().is_some_and(|uri| uri.contains("dryRun=All"));
    ensure!(job_creations(&env).await?.iter().all(dry), "it was not asked for as a dry run");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_bad_arguments_fails_by_their_path() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    env.run("a", "job", json!({"imag": "busybox:1"}), |spec| spec["context"]["dryRun"] = json!(true)).await?;
    let end = env.ends("a", Phase::Failed, Reason::InvalidArgs).await?;
    ensure!(message(&end).contains("spec.args"), "{}", message(&end));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_server_refuses_for_good_fails_with_its_words() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    let more_than_its_limit = json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}});
    env.run("a", "job", json!({"image": "busybox:1", "resources": more_than_its_limit}), |_| ()).await?;
    let end = env.ends("a", Phase::Failed, Reason::Rejected).await?;
    ensure!(message(&end).contains("less than or equal to cpu limit"), "{}", message(&end));
    ensure!(!env.exists("job", "a").await?, "a Job was made");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_by_a_foreign_object_fails_and_leaves_it_alone() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    env.kubectl(&["create", "job", "a", "--image=busybox:1"]).await?;
    let before = env.get("job", "a").await?["metadata"]["uid"].clone();
    env.run("a", "job", endless(), |_| ()).await?;
    let end = env.ends("a", Phase::Failed, Reason::AlreadyExists).await?;
    ensure!(message(&end).contains("spec.context.name"), "{}", message(&end));
    ensure!(env.get("job", "a").await?["metadata"]["uid"] == before, "it was touched");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_executions_that_want_the_same_job_only_the_first_gets_it() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    env.run("first", "job", endless(), |spec| spec["context"]["name"] = json!("a")).await?;
    running(&env, "first").await?;
    env.run("second", "job", endless(), |spec| spec["context"]["name"] = json!("a")).await?;
    let second = env.until("second", "decided", |rex| phase(rex) != Some(Phase::Pending)).await?;
    let reason = second.status.as_ref().and_then(|s| s.reason);
    ensure!(reason == Some(Reason::AlreadyExists), "{reason:?}: {}", message(&second));
    ensure!(phase(&env.executions().get("first").await?) == Some(Phase::Running), "the first was disturbed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_without_rights_is_told_what_it_lacks() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    env.kubectl(&["create", "serviceaccount", "weak"]).await?;
    env.run("a", "job", endless(), |spec| spec["context"]["platform"]["serviceAccountName"] = json!("weak"))
        .await?;
    let rex = env
        .until("a", "reported", |rex| {
            rex.status.as_ref().is_some_and(|s| s.reason == Some(Reason::Forbidden))
        })
        .await?;
    ensure!(phase(&rex) == Some(Phase::Pending), "it gave up at once");
    let end = env.ends("a", Phase::Failed, Reason::Forbidden).await?;
    ensure!(message(&end).contains("weak may not create jobs.batch"), "{}", message(&end));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_that_is_made_a_moment_later_is_waited_for() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    env.run("a", "job", endless(), |spec| spec["context"]["platform"]["serviceAccountName"] = json!("late"))
        .await?;
    env.until("a", "reported", |rex| {
        rex.status.as_ref().is_some_and(|s| s.reason == Some(Reason::ServiceAccountNotFound))
    })
    .await?;
    env.kubectl(&["create", "serviceaccount", "late"]).await?;
    env.kubectl(&[
        "create",
        "rolebinding",
        "late",
        "--role=deployer",
        &format!("--serviceaccount={}:late", env.namespace),
    ])
    .await?;
    running(&env, "a").await?;
    Ok(())
}
