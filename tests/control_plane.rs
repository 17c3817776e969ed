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
use common::{Env, execution, has_condition, message};
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
    let audit = std::fs::read_to_string(env.cluster.audit_log())?;
    let creates: Vec<Value> = audit
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|e: &Value| {
            e["verb"] == "create"
                && e["objectRef"]["resource"] == "jobs"
                && e["objectRef"]["namespace"] == env.namespace.as_str()
        })
        .collect();
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
async fn an_unknown_runner_is_left_to_others_and_can_still_be_corrected() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    env.run("a", "jobs", endless(), |_| ()).await?;
    let rex = env
        .until("a", "reported", |rex| {
            rex.status.as_ref().is_some_and(|s| s.reason == Some(Reason::RunnerNotFound))
        })
        .await?;
    ensure!(
        has_condition(&rex, "Accepted", "Unknown") && message(&rex).contains("argo-workflow, job"),
        "{}",
        message(&rex)
    );
    env.kubectl(&["patch", "rex", "a", "--type=merge", "-p", r#"{"spec":{"runner":"job"}}"#]).await?;
    running(&env, "a").await?;
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
async fn an_execution_of_the_same_name_waits_for_the_former_one_s_job_to_go() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    env.run("a", "job", endless(), |_| ()).await?;
    let first = running(&env, "a").await?.status.unwrap().resources[0].uid.clone();
    env.kubectl(&["delete", "rex", "a", "--cascade=background"]).await?;
    env.run("a", "job", endless(), |_| ()).await?;
    let second = running(&env, "a").await?.status.unwrap().resources[0].uid.clone();
    ensure!(first != second, "the former Job was taken over");
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
async fn a_service_account_that_does_not_exist_fails_by_its_name() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    env.run("a", "job", endless(), |spec| {
        spec["context"]["platform"]["serviceAccountName"] = json!("nobody");
    })
    .await?;
    let end = env.ends("a", Phase::Failed, Reason::ServiceAccountNotFound).await?;
    ensure!(message(&end).contains("nobody"), "{}", message(&end));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_namespace_is_refused_by_its_field() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    env.run("a", "job", endless(), |spec| spec["context"]["platform"]["namespace"] = json!("kube-system"))
        .await?;
    let end = env.ends("a", Phase::Failed, Reason::InvalidSpec).await?;
    ensure!(message(&end).contains("spec.context.platform.namespace"), "{}", message(&end));
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
async fn a_wrong_owner_fails_before_anything_is_made() -> Result<()> {
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
    let other = "3826a747-cfac-49c7-a81e-1d48cc23096f";
    for (name, kind, owner) in
        [("uid", "ConfigMap", "action"), ("name", "ConfigMap", "missing"), ("kind", "Action", "action")]
    {
        env.run(name, "job", endless(), |spec| {
            spec["context"]["platform"]["ownerRef"] =
                json!({"apiVersion": "v1", "kind": kind, "name": owner, "uid": other});
        })
        .await?;
        env.ends(name, Phase::Failed, Reason::OwnerNotFound).await?;
        ensure!(!env.exists("job", name).await?, "a Job was made");
    }
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
async fn a_finished_execution_goes_after_its_time_to_live() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    env.run("a", "job", json!({"nonsense": true}), |spec| spec["ttlSecondsAfterFinished"] = json!(2)).await?;
    env.ends("a", Phase::Failed, Reason::InvalidArgs).await?;
    env.gone("rex", "a").await
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
async fn bad_fields_are_refused_when_they_are_applied() -> Result<()> {
    let env = Env::without_controller(common::cluster(Level::ControlPlane).await?).await?;
    let long = "a".repeat(64);
    let nested = |path: &'static str, value: Value| (path, value);
    for (path, value) in [
        nested("/context/timeout", json!("5s-3s")),
        nested("/context/timeout", json!("99999999999999999999999999h")),
        nested("/context/timeout", json!("")),
        nested("/context/timeout", json!("-5s")),
        nested("/context/timeout", json!("1d")),
        nested("/context/timeout", json!("100000h")),
        nested("/context/timeout", json!("0.5s")),
        nested("/context/timeout", json!(30)),
        nested("/context/name", json!(long)),
        nested("/context/name", json!("Upper")),
        nested("/context/name", json!("")),
        nested("/context/dryRun", json!("true")),
        nested("/context/platform", json!({})),
        nested("/context/platform/namespace", json!("a\r\nb")),
        nested("/context/platform/serviceAccountName", json!("system:admin")),
        nested("/context/platform/serviceAccountName", json!("../x")),
        nested("/runner", json!("")),
        nested("/runner", json!("../helm")),
        nested("/args", json!([])),
        nested("/args", json!("text")),
        nested("/ttlSecondsAfterFinished", json!(-1)),
        nested("/ttlSecondsAfterFinished", json!(9_223_372_036_854_775_807_i64)),
        nested("/managedBy", json!("no-domain")),
        nested("/unknown", json!(1)),
    ] {
        let object = execution("a", "job", json!({}), |spec| {
            let (parent, field) = path.rsplit_once('/').unwrap();
            spec.pointer_mut(parent).unwrap()[field] = value.clone();
        });
        let words = env.apply_refuses(&object.to_string()).await?;
        let field = path.trim_start_matches('/').replace('/', ".");
        ensure!(words.contains(&field) || words.contains("\\\"unknown\\\""), "{path}={value}: {words}");
    }
    for timeout in ["10m", "1h30m", "0", "0s"] {
        env.run(&format!("ok-{timeout}"), "job", json!({}), |spec| {
            spec["context"]["timeout"] = json!(timeout);
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_name_needs_a_shorter_one_for_the_child() -> Result<()> {
    let env = Env::new(Level::ControlPlane).await?;
    let long = format!("a.{}", "b".repeat(200));
    let words = env.apply_refuses(&execution(&long, "job", endless(), |_| ()).to_string()).await?;
    ensure!(words.contains("spec.context.name"), "{words}");
    env.run(&long, "job", endless(), |spec| spec["context"]["name"] = json!("short")).await?;
    running(&env, &long).await?;
    ensure!(env.exists("job", "short").await?, "the Job has another name");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn deeply_nested_arguments_stop_nobody_else() -> Result<()> {
    let mut env = Env::without_controller(common::cluster(Level::ControlPlane).await?).await?;
    for levels in [123, 124, 125, 126, 200, 9_000] {
        let args = format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        let object = execution(&format!("deep-{levels}"), "job", json!("ARGS"), |_| ())
            .to_string()
            .replace("\"ARGS\"", &args);
        let request = http::Request::post(format!(
            "/apis/core.projectvoltron.dev/v1alpha1/namespaces/{}/runnerexecutions",
            env.namespace
        ))
        .header("content-type", "application/json")
        .body(object.into_bytes())?;
        env.client.request_text(request).await?;
    }
    // Started only now, so that they come by a list, which is where stock clients break.
    env.start_controller(|_| ()).await?;
    env.run("good", "job", endless(), |_| ()).await?;
    running(&env, "good").await?;
    for levels in [123, 9_000] {
        let condition = format!("rex/deep-{levels}");
        env.kubectl(&["wait", "--for=jsonpath={.status.reason}=InvalidArgs", "--timeout=60s", &condition])
            .await?;
    }
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
async fn what_was_stored_past_the_schema_is_refused_by_the_controller_and_disturbs_nobody() -> Result<()> {
    // A cluster of its own, since the CRD is loosened for a while.
    let cluster =
        devcluster::Cluster::ensure(&devcluster::Options::new(common::folder("loose"), Level::ControlPlane))
            .await?;
    let cluster: &'static devcluster::Cluster = Box::leak(Box::new(cluster));
    common::install(cluster).await?;
    let mut env = Env::without_controller(cluster).await?;
    let loose = json!([
        {"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema", "value": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        {"op": "remove", "path": "/spec/versions/0/selectableFields"},
    ]);
    env.kubectl(&[
        "patch",
        "crd",
        "runnerexecutions.core.projectvoltron.dev",
        "--type=json",
        "-p",
        &loose.to_string(),
    ])
    .await?;
    let bad = [
        ("/context/timeout", json!("5s-3s")),
        ("/context/timeout", json!("1h-1m")),
        ("/context/timeout", json!("99999999999999999999999999h")),
        ("/context/timeout", json!("18446744073709551615s1s")),
        ("/context/timeout", json!("")),
        ("/context/timeout", json!("-5s")),
        ("/context/timeout", json!("1d")),
        ("/context/timeout", json!(30)),
        ("/context/timeout", json!("s".repeat(10_000))),
        ("/context/name", json!("ñ")),
        ("/context/name", json!("a".repeat(64))),
        ("/context/dryRun", json!("true")),
        ("/context/platform", json!({})),
        ("/context/platform/namespace", json!("a\r\nImpersonate-Group: system:masters")),
        ("/context/platform/serviceAccountName", json!("a\r\nImpersonate-Group: system:masters")),
        ("/context/platform/serviceAccountName", json!("system:admin")),
        ("/args", json!("text")),
        ("/args", json!([1])),
        ("/runner", json!(7)),
    ];
    for (number, (path, value)) in bad.iter().enumerate() {
        let object = execution(&format!("bad-{number}"), "job", endless(), |spec| {
            let (parent, field) = path.rsplit_once('/').unwrap();
            spec.pointer_mut(parent).unwrap()[field] = value.clone();
        });
        // The API server takes a moment to serve the loosened schema.
        let mut tries = 0;
        while let Err(error) = env.apply(&object.to_string()).await {
            tries += 1;
            ensure!(tries < 100, "{path}: {error}");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
    common::install(cluster).await?;
    env.start_controller(|_| ()).await?;
    env.run("good", "job", endless(), |_| ()).await?;
    running(&env, "good").await?;
    for (number, (path, value)) in bad.iter().enumerate() {
        let rex = format!("rex/bad-{number}");
        if value.is_number() && *path == "/context/timeout" {
            // The API server itself takes no status for it, since the CEL rules of the field cannot be evaluated;
            // what is left is to tell it by an event.
            let field = "--field-selector=reason=InvalidSpec";
            let told = env
                .kubectl(&["get", "events", field, "-o", "jsonpath={.items[*].involvedObject.name}"])
                .await?;
            ensure!(told.contains(&format!("bad-{number}")), "nobody was told of {path}={value}: {told}");
            continue;
        }
        env.kubectl(&["wait", "--for=jsonpath={.status.phase}=Failed", "--timeout=30s", &rex])
            .await
            .map_err(|e| e.context(format!("{path}={value}")))?;
        let reason = env.kubectl(&["get", &rex, "-o", "jsonpath={.status.reason}"]).await?;
        ensure!(matches!(reason.as_str(), "InvalidSpec" | "InvalidArgs"), "{path}={value}: {reason}");
    }
    let jobs = env.kubectl(&["get", "jobs", "-o", "name"]).await?;
    ensure!(jobs.trim() == "job.batch/good", "made: {jobs}");
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
    let audit = std::fs::read_to_string(env.cluster.audit_log())?;
    let created = audit
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|e| {
            e["verb"] == "create"
                && e["objectRef"]["resource"] == "jobs"
                && e["objectRef"]["namespace"] == env.namespace.as_str()
        })
        .filter(|e| e["responseStatus"]["code"] == 201)
        .count();
    ensure!(created == count, "{created} Jobs were made for {count} executions");
    Ok(())
}
