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

mod common;

use anyhow::{Result, ensure};
use common::{Env, has_condition, message};
use devcluster::Level;
use runner_controller::{
    crd::{Phase, RunnerExecution},
    reason::Reason,
};
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

#[tokio::test(flavor = "multi_thread")]
async fn a_right_owner_is_set_and_takes_everything_with_it() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    env.kubectl(&["create", "configmap", "action"]).await?;
    env.kubectl(&["create", "role", "owner", "--verb=get", "--resource=configmaps"]).await?;
    env.kubectl(&[
        "create",
        "rolebinding",
        "owner",
        "--role=owner",
        &format!("--serviceaccount={}:deployer", env.namespace),
    ])
    .await?;
    let uid = env.get("configmap", "action").await?["metadata"]["uid"].clone();
    env.run("a", "job", endless(), |spec| {
        spec["context"]["platform"]["ownerRef"] = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "action", "uid": uid, "controller": true});
    })
    .await?;
    let rex = running(&env, "a").await?;
    ensure!(rex.metadata.owner_references.unwrap()[0].uid == uid, "the owner was not set");
    env.kubectl(&["delete", "configmap", "action"]).await?;
    env.gone("rex", "a").await?;
    env.gone("job", "a").await
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

#[tokio::test(flavor = "multi_thread")]
async fn what_another_controller_manages_is_left_alone() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    env.run("other", "job", endless(), |spec| spec["managedBy"] = json!("kueue.x-k8s.io/multikueue")).await?;
    env.run("ours", "job", endless(), |_| ()).await?;
    running(&env, "ours").await?;
    let rex = env.executions().get("other").await?;
    ensure!(phase(&rex) == Some(Phase::Pending) && !env.exists("job", "other").await?, "it was touched");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_spec_is_frozen_and_applying_it_again_changes_nothing() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    env.run("a", "job", endless(), |spec| spec["context"]["timeout"] = json!("1s")).await?;
    let end = env.ends("a", Phase::Failed, Reason::TimedOut).await?;
    env.run("a", "job", endless(), |spec| spec["context"]["timeout"] = json!("1s")).await?;
    let after = env.executions().get("a").await?;
    ensure!(after.metadata.resource_version == end.metadata.resource_version, "it was written to");
    for (field, change) in [
        ("args", json!({"args": {"image": "other:1"}})),
        ("args removed", json!({"args": null})),
        ("timeout", json!({"context": {"timeout": null}})),
        ("runner", json!({"runner": "argo-workflow"})),
        ("managedBy", json!({"managedBy": "a.example/b"})),
        ("argsFrom", json!({"argsFrom": [{"secretKeyRef": {"name": "a", "key": "b"}}]})),
    ] {
        let words = env
            .kubectl_refuses(&[
                "patch",
                "rex",
                "a",
                "--type=merge",
                "-p",
                &json!({"spec": change}).to_string(),
            ])
            .await?;
        ensure!(words.contains("spec is frozen once the execution is accepted"), "{field}: {words}");
    }
    env.kubectl(&["patch", "rex", "a", "--type=merge", "-p", r#"{"spec":{"ttlSecondsAfterFinished":1000}}"#])
        .await?;
    env.until("a", "observed", |rex| {
        rex.status.as_ref().unwrap().observed_generation == rex.metadata.generation
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_from_a_secret_are_merged_and_never_shown() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    env.kubectl(&["create", "role", "secrets", "--verb=get", "--resource=secrets"]).await?;
    env.kubectl(&[
        "create",
        "rolebinding",
        "secrets",
        "--role=secrets",
        &format!("--serviceaccount={}:deployer", env.namespace),
    ])
    .await?;
    env.kubectl(&[
        "create",
        "secret",
        "generic",
        "more",
        "--from-literal=args=env: [{name: PASSWORD, value: open-sesame}]",
    ])
    .await?;
    env.kubectl(&["create", "secret", "generic", "bad", "--from-literal=args=image: {open-sesame: 1}"])
        .await?;
    let from = |name: &str| json!([{"secretKeyRef": {"name": name, "key": "args"}}]);
    env.run("a", "job", endless(), |spec| spec["argsFrom"] = from("more")).await?;
    running(&env, "a").await?;
    let job = env.get("job", "a").await?;
    ensure!(
        job["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] == "open-sesame",
        "not merged"
    );
    env.run("dry", "job", endless(), |spec| {
        spec["argsFrom"] = from("more");
        spec["context"]["dryRun"] = json!(true);
    })
    .await?;
    env.ends("dry", Phase::Succeeded, Reason::DryRunSucceeded).await?;
    env.run("bad", "job", endless(), |spec| spec["argsFrom"] = from("bad")).await?;
    env.ends("bad", Phase::Failed, Reason::InvalidArgs).await?;
    env.run("missing", "job", endless(), |spec| spec["argsFrom"] = from("missing")).await?;
    let end = env.ends("missing", Phase::Failed, Reason::SecretNotFound).await?;
    ensure!(message(&end).contains("spec.argsFrom[0].secretKeyRef"), "{}", message(&end));
    let shown = env.kubectl(&["get", "rex,events", "-o", "yaml"]).await?;
    ensure!(!shown.contains("open-sesame"), "the secret is shown");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_wait_returns_for_either_outcome_and_describe_tells_in_order() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    env.run("good", "job", endless(), |spec| spec["context"]["dryRun"] = json!(true)).await?;
    env.run("bad", "job", endless(), |spec| spec["context"]["timeout"] = json!("1s")).await?;
    for name in ["good", "bad"] {
        env.kubectl(&["wait", "--for=condition=Finished", "--timeout=60s", &format!("rex/{name}")]).await?;
    }
    env.kubectl(&["wait", "--for=jsonpath={.metadata.name}=bad", "--timeout=5s", "rex/bad"]).await?;
    let in_order = |text: &str| {
        let at: Vec<_> =
            ["Accepted", "Running", "TimedOut"].iter().map(|word| text.find(&format!("  {word} "))).collect();
        at.iter().all(Option::is_some) && at.is_sorted()
    };
    let mut text = String::new();
    for _ in 0..50 {
        text = env.kubectl(&["describe", "rex", "bad"]).await?;
        let events = text.split("Events:").nth(1).unwrap_or_default();
        if in_order(events) {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    anyhow::bail!("the events are not told in order: {text}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_controller_goes_on_where_it_was_without_a_write() -> Result<()> {
    let mut env = Env::new(Level::ControlPlane).await?;
    env.run("a", "job", endless(), |_| ()).await?;
    running(&env, "a").await?;
    env.released("job", "a").await?;
    env.stop_controller();
    let before = (
        env.executions().get("a").await?.metadata.resource_version,
        env.get("job", "a").await?["metadata"]["generation"].clone(),
    );
    env.start_controller(|_| ()).await?;
    // A second execution that gets through proves that the new controller has passed over the first.
    env.run("b", "job", endless(), |spec| spec["context"]["timeout"] = json!("1s")).await?;
    env.ends("b", Phase::Failed, Reason::TimedOut).await?;
    let after = (
        env.executions().get("a").await?.metadata.resource_version,
        env.get("job", "a").await?["metadata"]["generation"].clone(),
    );
    ensure!(before == after, "it was written to: {before:?} {after:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timeout_runs_on_while_no_controller_does() -> Result<()> {
    let timeout = std::time::Duration::from_secs(8);
    let mut env = Env::new(Level::ControlPlane).await?;
    env.run("a", "job", endless(), |spec| spec["context"]["timeout"] = json!("8s")).await?;
    running(&env, "a").await?;
    env.released("job", "a").await?;
    env.stop_controller();
    // The time itself is what is waited for.
    tokio::time::sleep(timeout).await;
    ensure!(phase(&env.executions().get("a").await?) == Some(Phase::Running), "somebody stopped it");
    env.start_controller(|_| ()).await?;
    let end = env.ends("a", Phase::Failed, Reason::TimedOut).await?.status.unwrap();
    let late = end.completion_time.unwrap().0.duration_since(end.deadline.unwrap().0);
    ensure!(
        late < k8s_openapi::jiff::SignedDuration::try_from(timeout)?,
        "it ended {late:?} after its deadline"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_is_ready_once_it_knows_the_executions_and_stops_gracefully() -> Result<()> {
    let env = Env::without_controller(common::cluster(Level::ControlPlane).await?).await?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let listen = format!("127.0.0.1:{port}");
    let mut process = tokio::process::Command::new(env!("CARGO_BIN_EXE_runner-controller"))
        .args(["run", "--namespace", &env.namespace, "--listen", &listen])
        .env("KUBECONFIG", env.cluster.kubeconfig())
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let get = async |path: &str| -> Result<(u16, String)> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(&listen).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok((answer.split(' ').nth(1).unwrap_or_default().parse()?, answer))
    };
    tokio::time::timeout(std::time::Duration::from_mins(1), async {
        while !matches!(get("/readyz").await, Ok((200, _))) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await?;
    ensure!(get("/healthz").await?.0 == 200, "not healthy");
    ensure!(
        get("/metrics").await?.1.contains("runner_controller_reconcile_total")
            || get("/metrics").await?.1.contains("# EOF"),
        "no metrics"
    );
    let pid = process.id().unwrap().to_string();
    ensure!(
        tokio::process::Command::new("kill").args(["-TERM", &pid]).status().await?.success(),
        "no signal"
    );
    let status = tokio::time::timeout(std::time::Duration::from_secs(10), process.wait()).await??;
    ensure!(status.success(), "it ended with {status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_controllers_at_once_start_everything_once() -> Result<()> {
    let mut env = Env::new(Level::ControlPlane).await?;
    for _ in 0..2 {
        env.start_another_controller().await?;
    }
    let count = 30;
    for number in 0..count {
        env.run(&format!("a{number}"), "job", endless(), |spec| spec["context"]["timeout"] = json!("5s"))
            .await?;
    }
    for number in 0..count {
        env.ends(&format!("a{number}"), Phase::Failed, Reason::TimedOut).await?;
    }
    let created = job_creations(&env).await?.iter().filter(|e| e["responseStatus"]["code"] == 201).count();
    ensure!(created == count, "{created} Jobs were made for {count} executions");
    Ok(())
}
