//! From its start to its end: started, held back, cancelled, late, lost, deleted, expired.

use anyhow::{Result, ensure};
use devcluster::Level;
use runner_controller::{crd::Phase, reason::Reason};
use serde_json::json;

use crate::{
    common::{Env, has_condition},
    endless, job_creations, phase, running,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_started_job_is_recorded_owned_marked_and_made_by_the_service_account() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    env.run("a", "job", endless(), |_| ()).await?;
    let rex = running(&env, "a").await?;
    let job = env.get("job", "a").await?;
    let recorded = &rex.status.as_ref().unwrap().resources[0];
    ensure!(job["metadata"]["uid"] == recorded.uid.as_str(), "another uid is recorded");
    ensure!(
        job["metadata"]["ownerReferences"][0]["uid"] == rex.metadata.uid.as_deref().unwrap(),
        "not owned"
    );
    ensure!(job["spec"]["template"]["spec"]["serviceAccountName"] == "deployer", "runs as somebody else");
    let user = format!("system:serviceaccount:{}:deployer", env.namespace);
    let creates = job_creations(&env).await?;
    ensure!(
        creates.len() == 1 && creates[0]["impersonatedUser"]["username"] == user.as_str(),
        "made by {creates:#?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_is_stopped_and_kept() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    env.run("a", "job", endless(), |_| ()).await?;
    running(&env, "a").await?;
    env.kubectl(&["patch", "rex", "a", "--type=merge", "-p", r#"{"spec":{"cancel":true}}"#]).await?;
    env.ends("a", Phase::Cancelled, Reason::Cancelled).await?;
    let job = env.get("job", "a").await?;
    ensure!(job["status"]["active"].as_i64().unwrap_or(0) == 0, "pods are still active: {}", job["status"]);
    let words = env
        .kubectl_refuses(&["patch", "rex", "a", "--type=merge", "-p", r#"{"spec":{"cancel":false}}"#])
        .await?;
    ensure!(words.contains("cancel cannot be taken back"), "{words}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_takes_too_long_is_stopped_at_its_deadline() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    env.run("a", "job", endless(), |spec| spec["context"]["timeout"] = json!("2s")).await?;
    let end = env.ends("a", Phase::Failed, Reason::TimedOut).await?;
    let status = end.status.unwrap();
    ensure!(status.completion_time.unwrap().0 >= status.deadline.unwrap().0, "it ended before its deadline");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_execution_makes_nothing_until_it_is_released() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    env.run("a", "job", endless(), |spec| spec["suspend"] = json!(true)).await?;
    let rex = env.until("a", "suspended", |rex| phase(rex) == Some(Phase::Suspended)).await?;
    ensure!(has_condition(&rex, "Reconciling", "True") && !env.exists("job", "a").await?, "it was started");
    env.kubectl(&["patch", "rex", "a", "--type=merge", "-p", r#"{"spec":{"suspend":false}}"#]).await?;
    running(&env, "a").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_before_the_start_makes_nothing() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    env.run("a", "job", endless(), |spec| spec["suspend"] = json!(true)).await?;
    env.until("a", "suspended", |rex| phase(rex) == Some(Phase::Suspended)).await?;
    env.kubectl(&["patch", "rex", "a", "--type=merge", "-p", r#"{"spec":{"cancel":true}}"#]).await?;
    env.ends("a", Phase::Cancelled, Reason::Cancelled).await?;
    ensure!(!env.exists("job", "a").await?, "a Job was made");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_deleted_by_hand_is_lost_and_not_made_again() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    env.run("a", "job", endless(), |_| ()).await?;
    running(&env, "a").await?;
    env.kubectl(&["delete", "job", "a"]).await?;
    env.ends("a", Phase::Failed, Reason::ResourceLost).await?;
    ensure!(!env.exists("job", "a").await?, "the Job was made again");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_running_execution_takes_its_job_with_it() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    env.run("a", "job", endless(), |_| ()).await?;
    running(&env, "a").await?;
    env.kubectl(&["delete", "rex", "a"]).await?;
    env.gone("job", "a").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_execution_goes_after_its_time_to_live_and_takes_its_job_with_it() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    env.run("a", "job", endless(), |spec| {
        spec["ttlSecondsAfterFinished"] = json!(2);
        spec["context"]["timeout"] = json!("1s");
    })
    .await?;
    env.ends("a", Phase::Failed, Reason::TimedOut).await?;
    env.gone("rex", "a").await?;
    env.gone("job", "a").await
}
