//! Rows 75 to 86: what is changed later, and who may.

use anyhow::{Result, ensure};
use futures::FutureExt;
use kube::api::{Patch, PatchParams};
use runner_controller::{
    crd::{Phase, RunnerExecution},
    reason::Reason,
};
use serde_json::{Value, json};

use crate::{
    common::{Env, execution},
    etcd,
    row::{Expected, Input, Row, each, endless, field, not_applicable, plain, row, story, whole, workflow},
};

/// An execution whose metadata holds this as well.
fn marked(what: &str, key: &str, value: Value) -> Input {
    let mut object = plain();
    object["metadata"][key] = value;
    whole(what.into(), object)
}

pub(crate) fn rows() -> Vec<Row> {
    let mut done = plain();
    done["status"] = json!({"phase": "Succeeded", "reason": "Succeeded", "conditions": [
        {"type": "Finished", "status": "True", "reason": "Succeeded", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    let reserved =
        json!({"core.projectvoltron.dev/execution-uid": "u", "core.projectvoltron.dev/released": "true"});
    let own_label = json!({"entrypoint": "main", "templates": [{"name": "main", "suspend": {}}],
        "workflowMetadata": {"labels": {"core.projectvoltron.dev/released": "true"}}});
    vec![
        story(75, "a field changed after the start", |env| frozen(env).boxed()),
        story(76, "an optional field added or removed after the start", |env| frozen_optionals(env).boxed()),
        row(
            77,
            "a status in the created object",
            [whole("status Succeeded".into(), done).is(Expected::Starts)],
        ),
        story(78, "a status written by a user", |env| status_by_a_user(env).boxed()),
        story(79, "applied a hundred times, then by force", |env| applied_again(env).boxed()),
        story(80, "a finalizer of somebody else's", |env| foreign_finalizer(env).boxed())
            .differs("deleting stops the work; the object then waits for whoever set the finalizer"),
        not_applicable(81, "our finalizer removed", "there is no finalizer of ours"),
        story(82, "cancel taken back", |env| cancel_taken_back(env).boxed()),
        not_applicable(83, "retry of what succeeded", "there is no retry: another execution is created"),
        row(
            84,
            "times to live out of range",
            each("/ttlSecondsAfterFinished", [json!(-1), json!(i64::MAX), json!(2_147_483_648_i64)])
                .map(|input| input.is(Expected::Refused("spec.ttlSecondsAfterFinished"))),
        )
        .and(|env| expires_at_once(env).boxed()),
        row(
            85,
            "reserved labels, and an annotation that is too long",
            [
                marked("labels", "labels", reserved.clone()).is(Expected::Starts),
                marked("annotations", "annotations", reserved).is(Expected::Starts),
                marked("long", "annotations", json!({"a": "x".repeat(262_145)}))
                    .is(Expected::Refused("annotations")),
                workflow(own_label).is(Expected::Failed(&[Reason::InvalidArgs], "workflowMetadata")),
                field("/managedBy", json!("no-domain")).is(Expected::Refused("spec.managedBy")),
            ],
        ),
        story(86, "an object that cannot be read from etcd", |env| etcd::unreadable(env).boxed()),
    ]
}

async fn running(env: &Env) -> Result<RunnerExecution> {
    env.until("a", "running", |rex| rex.status.as_ref().is_some_and(|s| s.phase == Some(Phase::Running)))
        .await
}

async fn start(env: &Env) -> Result<RunnerExecution> {
    env.run("a", "job", endless(), |spec| spec["context"]["timeout"] = json!("1h")).await?;
    running(env).await
}

async fn refuses(env: &Env, change: Value, words: &str) -> Result<()> {
    let patch = json!({ "spec": change }).to_string();
    let told = env.kubectl_refuses(&["patch", "rex", "a", "--type=merge", "-p", &patch]).await?;
    ensure!(told.contains(words), "{patch}: {told}");
    Ok(())
}

const FROZEN: &str = "spec is frozen once the execution is accepted";

async fn frozen(env: &Env) -> Result<()> {
    start(env).await?;
    for change in [
        json!({"args": {"image": "other:1"}}),
        json!({"runner": "argo-workflow"}),
        json!({"context": {"timeout": "2h"}}),
        json!({"context": {"dryRun": true}}),
        json!({"context": {"platform": {"serviceAccountName": "default"}}}),
    ] {
        refuses(env, change, FROZEN).await?;
    }
    env.kubectl(&["patch", "rex", "a", "--type=merge", "-p", r#"{"spec":{"ttlSecondsAfterFinished":1000}}"#])
        .await?;
    env.until("a", "observed", |rex| {
        rex.status.as_ref().unwrap().observed_generation == rex.metadata.generation
    })
    .await
    .map(drop)
}

async fn frozen_optionals(env: &Env) -> Result<()> {
    start(env).await?;
    for change in [
        json!({"args": null}),
        json!({"context": {"timeout": null}}),
        json!({"context": {"name": "other"}}),
        json!({"context": {"platform": {"namespace": env.namespace}}}),
        json!({"managedBy": "a.example/b"}),
        json!({"argsFrom": [{"secretKeyRef": {"name": "a", "key": "b"}}]}),
    ] {
        refuses(env, change, FROZEN).await?;
    }
    Ok(())
}

async fn status_by_a_user(env: &Env) -> Result<()> {
    env.run("a", "job", endless(), |spec| spec["suspend"] = json!(true)).await?;
    let role = "--clusterrole=runner-controller-executor";
    env.kubectl(&["create", "rolebinding", "user", role, "--user=user"]).await?;
    let may = env.kubectl(&["auth", "can-i", "create", "rex", "--as=user"]).await?;
    ensure!(may.trim() == "yes", "the user may not even create executions");
    let patch = r#"{"status":{"phase":"Succeeded"}}"#;
    let told = env
        .kubectl_refuses(&[
            "patch",
            "rex",
            "a",
            "--subresource=status",
            "--type=merge",
            "-p",
            patch,
            "--as=user",
        ])
        .await?;
    ensure!(told.contains("forbidden") || told.contains("Forbidden"), "{told}");
    Ok(())
}

async fn applied_again(env: &Env) -> Result<()> {
    let manifest = execution("a", "job", endless(), |_| ());
    env.apply(&manifest.to_string()).await?;
    let first = running(env).await?;
    let by = PatchParams::apply("somebody").force();
    for _ in 0..100 {
        env.executions().patch("a", &by, &Patch::Apply(&manifest)).await?;
    }
    for _ in 0..3 {
        env.apply(&manifest.to_string()).await?;
    }
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), manifest.to_string())?;
    env.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &file.path().to_string_lossy()])
        .await?;
    let last = env.executions().get("a").await?;
    ensure!(last.metadata.generation == Some(1), "its generation is {:?}", last.metadata.generation);
    ensure!(last.status.unwrap().resources == first.status.unwrap().resources, "another child is recorded");
    Ok(())
}

async fn foreign_finalizer(env: &Env) -> Result<()> {
    start(env).await?;
    let hold = |finalizers: Value| json!({"metadata": {"finalizers": finalizers}}).to_string();
    env.kubectl(&["patch", "rex", "a", "--type=merge", "-p", &hold(json!(["example.org/hold"]))]).await?;
    env.kubectl(&["delete", "rex", "a", "--wait=false"]).await?;
    env.ends("a", Phase::Cancelled, Reason::Cancelled).await?;
    env.kubectl(&["patch", "rex", "a", "--type=merge", "-p", &hold(Value::Null)]).await?;
    env.gone("rex", "a").await?;
    env.gone("job", "a").await
}

async fn cancel_taken_back(env: &Env) -> Result<()> {
    start(env).await?;
    env.kubectl(&["patch", "rex", "a", "--type=merge", "-p", r#"{"spec":{"cancel":true}}"#]).await?;
    refuses(env, json!({"cancel": false}), "cancel cannot be taken back").await?;
    env.ends("a", Phase::Cancelled, Reason::Cancelled).await?;
    refuses(env, json!({"cancel": false}), "cancel cannot be taken back").await
}

async fn expires_at_once(env: &Env) -> Result<()> {
    env.run("a", "job", json!({}), |spec| spec["ttlSecondsAfterFinished"] = json!(0)).await?;
    env.gone("rex", "a").await
}
