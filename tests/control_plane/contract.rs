//! What the object promises to others: owners, other managers, a frozen spec, Secrets, `kubectl wait`.

use anyhow::{Result, ensure};
use devcluster::Level;
use runner_controller::{crd::Phase, reason::Reason};
use serde_json::json;

use crate::{
    common::{Env, message},
    endless, phase, running,
};

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
