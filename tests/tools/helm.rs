//! The runner `helm`, by the helm program itself, on a chart with a hook, a test and a Deployment.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use runner_controller::{
    crd::{Phase, RunnerExecution},
    reason::Reason,
};
use serde_json::{Value, json};

use crate::{
    canaries::seen_nowhere,
    common::message,
    processes,
    server::Server,
    stage::{FIXTURES, Stage, packed},
};

async fn stage() -> Result<Stage> {
    Stage::set().await?.for_every_tool().await
}

pub(crate) fn args(command: &str, over: Value) -> Value {
    let mut args = json!({"command": command, "name": "web"});
    if matches!(command, "install" | "upgrade") {
        args["chart"] = json!({"from": {"configMapKeyRef": {"name": "charts", "key": "demo.tgz"}}});
    }
    runner_controller::runners::args::merge(&mut args, over);
    args
}

async fn succeeds(stage: &Stage, name: &str, args: Value) -> Result<RunnerExecution> {
    stage.run(name, "helm", args, |_| ()).await?;
    stage.ends(name, Phase::Succeeded, Reason::Succeeded).await
}

async fn fails(stage: &Stage, name: &str, args: Value, reason: Reason, words: &[&str]) -> Result<()> {
    stage.run(name, "helm", args, |_| ()).await?;
    let end = stage.ends(name, Phase::Failed, reason).await?;
    let told = message(&end);
    ensure!(words.iter().all(|word| told.contains(word)), "{name}: {told}");
    Ok(())
}

async fn greeting(stage: &Stage) -> Result<Value> {
    Ok(stage.get("configmap", "web-demo").await?["data"]["greeting"].clone())
}

/// The status of the last revision, as helm keeps it.
async fn status(stage: &Stage) -> Result<String> {
    let last = ["get", "secrets", "-l", "owner=helm,name=web", "--sort-by=.metadata.creationTimestamp"];
    let told = stage
        .kubectl(&[&last[..], &["-o", "jsonpath={.items[-1:].metadata.labels.status}"]].concat())
        .await?;
    Ok(told)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_lives_from_install_to_uninstall() -> Result<()> {
    let stage = stage().await?;
    let template = "address: {{ include \"demo.fullname\" . }}.{{ .Release.Namespace }}\ngreeting: {{ .Values.greeting }}\n";
    let output = json!({"helmRelease": {"fileName": "helm-release"}, "additional": {"goTemplate": template}});
    let end = succeeds(&stage, "one", args("install", json!({ "output": output }))).await?;
    let output = end.status.and_then(|status| status.output).context("no output")?;
    let release = &output["helm-release"];
    ensure!(release["name"] == "web" && release["chart"]["version"] == "1.0.0", "{output}");
    ensure!(
        output["additional"]
            == json!({"address": format!("web-demo.{}", stage.namespace), "greeting": "hello"}),
        "{output}"
    );
    let ready = stage.get("deployment", "web-demo").await?["status"]["readyReplicas"].clone();
    ensure!(ready == 1, "it was not waited for: {ready}");

    let values = json!({"values": {"greeting": "hi"}});
    succeeds(&stage, "two", args("upgrade", values)).await?;
    ensure!(greeting(&stage).await? == "hi", "it is not upgraded");
    succeeds(&stage, "three", args("test", json!({}))).await?;

    let never = json!({"values": {"greeting": "bye", "image": "localhost/missing:1"}, "timeout": "10s"});
    let words = ["Deployment", "web-demo", "not ready", "localhost/missing:1"];
    fails(&stage, "four", args("upgrade", never), Reason::HelmFailed, &words).await?;
    succeeds(&stage, "five", args("rollback", json!({"revision": 2}))).await?;
    ensure!(greeting(&stage).await? == "hi", "it is not rolled back");

    succeeds(&stage, "six", args("uninstall", json!({}))).await?;
    ensure!(!stage.exists("deployment", "web-demo").await?, "it is still there");
    fails(&stage, "seven", args("upgrade", json!({})), Reason::HelmFailed, &["web", "no deployed releases"])
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_may_come_from_a_repository() -> Result<()> {
    let (stage, server) = (stage().await?, Server::start().await?);
    let entry = json!({"apiVersion": "v2", "name": "demo", "version": "1.0.0", "urls": ["demo-1.0.0.tgz"]});
    let index = json!({"apiVersion": "v1", "entries": {"demo": [entry]}});
    server.serve("/charts/index.yaml", index.to_string().into_bytes());
    server.serve("/charts/demo-1.0.0.tgz", packed(FIXTURES, "demo")?);
    let repo = server.url("/charts");
    let chart = json!({"repo": repo, "name": "demo", "version": "^1.0.0"});
    let output = json!({"additional": {"goTemplate": "name: {{ include \"demo.fullname\" . }}"}});
    let end = succeeds(&stage, "one", json!({"name": "web", "chart": chart, "output": output})).await?;
    let output = end.status.and_then(|status| status.output).context("no output")?;
    let chart = json!({"name": "demo", "version": "1.0.0", "repo": repo});
    ensure!(
        output["helm-release"]["chart"] == chart && output["additional"]["name"] == "web-demo",
        "{output}"
    );
    let none = json!({"repo": server.url("/nothing"), "name": "demo"});
    fails(&stage, "two", json!({"name": "other", "chart": none}), Reason::HelmFailed, &["/nothing"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_the_objects_and_leaves_nothing_behind() -> Result<()> {
    let stage = stage().await?;
    let hidden = "--from-literal=values=greeting: open sesame";
    stage.kubectl(&["create", "secret", "generic", "hidden", hidden]).await?;
    let before = stage.content().await?;
    let dry = |spec: &mut Value| spec["context"]["dryRun"] = json!(true);
    let values_from = json!({"valuesFrom": [{"secretKeyRef": {"name": "hidden", "key": "values"}}]});
    stage.run("a", "helm", args("install", values_from), dry).await?;
    let end = stage.ends("a", Phase::Succeeded, Reason::DryRunSucceeded).await?;
    let shown = end.status.and_then(|status| status.dry_run?.rendered).context("nothing is shown")?;
    let kinds: BTreeSet<&str> = shown["objects"]
        .as_array()
        .context("no objects")?
        .iter()
        .filter_map(|it| it["kind"].as_str())
        .collect();
    ensure!(kinds == BTreeSet::from(["ConfigMap", "Deployment"]), "{kinds:?}");
    let shown = shown.to_string();
    ensure!(shown.contains("•••") && !shown.contains("sesame"), "{shown}");
    stage.gone("job", "a").await?;
    stage.kubectl(&["wait", "--for=delete", "--timeout=60s", "pods", "-l", "job-name=a"]).await?;
    ensure!(stage.content().await? == before, "left behind: {:?}", stage.content().await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_can_be_taken_up_again() -> Result<()> {
    let stage = stage().await?;
    succeeds(&stage, "one", args("install", json!({}))).await?;
    let never = json!({"values": {"greeting": "bye", "image": "localhost/missing:1"}});
    stage.run("two", "helm", args("upgrade", never), |_| ()).await?;
    stage.until_status("pending-upgrade").await?;
    stage.kubectl(&["patch", "rex", "two", "--type=merge", "-p", r#"{"spec":{"cancel":true}}"#]).await?;
    stage.ends("two", Phase::Cancelled, Reason::Cancelled).await?;
    ensure!(status(&stage).await? == "failed", "helm could not tidy up: {}", status(&stage).await?);
    succeeds(&stage, "three", args("upgrade", json!({"values": {"greeting": "hi"}}))).await?;
    ensure!(greeting(&stage).await? == "hi", "it is not upgraded");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_opened_once_its_pod_is_gone_and_never_if_it_is_somebody_elses() -> Result<()> {
    let stage = stage().await?;
    succeeds(&stage, "one", args("install", json!({}))).await?;
    let never = json!({"values": {"image": "localhost/missing:1"}});
    stage.run("two", "helm", args("upgrade", never), |_| ()).await?;
    stage.until_status("pending-upgrade").await?;
    fails(
        &stage,
        "three",
        args("upgrade", json!({})),
        Reason::ReleaseInUse,
        &["pending-upgrade", "pod two-"],
    )
    .await?;
    // Not even helm itself may tidy up.
    stage.kubectl(&["exec", "job/two", "--", "sh", "-c", "kill -9 $(pidof helm)"]).await?;
    stage
        .until("two", "failed", |rex| rex.status.as_ref().is_some_and(|it| it.phase == Some(Phase::Failed)))
        .await?;
    ensure!(status(&stage).await? == "pending-upgrade", "the lock is gone");
    succeeds(&stage, "four", args("upgrade", json!({"values": {"greeting": "hi"}}))).await?;
    ensure!(greeting(&stage).await? == "hi", "it is not upgraded");

    let secret =
        stage.kubectl(&["get", "secrets", "-l", "owner=helm,name=web,status=deployed", "-o", "name"]).await?;
    let foreign = ["status=pending-upgrade", "runner-revision-", "--overwrite"];
    stage.kubectl(&[&["label", secret.trim()][..], &foreign].concat()).await?;
    fails(&stage, "five", args("upgrade", json!({})), Reason::ReleaseInUse, &["somebody else"]).await?;
    ensure!(status(&stage).await? == "pending-upgrade", "somebody else's lock was touched");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_of_a_rollback_is_opened_once_its_pod_is_gone_and_never_if_it_is_somebody_elses()
-> Result<()> {
    let (stage, server) = (stage().await?, Server::start().await?);
    server.set_gate(true);
    let gated = json!({"values": {"gate": server.url("/gate/hook")}});
    succeeds(&stage, "one", args("install", gated)).await?;
    succeeds(&stage, "two", args("upgrade", json!({"values": {"greeting": "hi"}, "resetValues": true})))
        .await?;
    server.set_gate(false);
    stage.run("three", "helm", args("rollback", json!({"revision": 1})), |_| ()).await?;
    server.until_asked(&["/gate/hook"], 2).await?;
    let secret = "secret/sh.helm.release.v1.web.v3";
    stage.comes_to(secret, "jsonpath={.metadata.labels.runner-revision}=3").await?;
    processes::kill(&stage.uid("three").await?);
    stage.ends("three", Phase::Failed, Reason::ContainerFailed).await?;
    ensure!(status(&stage).await? == "pending-rollback", "helm could tidy up: {}", status(&stage).await?);

    let pod = stage.kubectl(&["get", secret, "-o", "jsonpath={.metadata.labels.runner-pod}"]).await?;
    stage.kubectl(&["label", secret, "runner-pod-"]).await?;
    let words = ["pending-rollback", "somebody else"];
    fails(&stage, "four", args("upgrade", json!({})), Reason::ReleaseInUse, &words).await?;
    stage.kubectl(&["label", secret, &format!("runner-pod={pod}")]).await?;
    succeeds(&stage, "five", args("upgrade", json!({"values": {"greeting": "bye"}, "resetValues": true})))
        .await?;
    ensure!(greeting(&stage).await? == "bye", "it is not upgraded");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_rights_are_told_by_verb_and_kind() -> Result<()> {
    let stage = stage().await?;
    stage.kubectl(&["delete", "role", "granted"]).await?;
    stage.grant("{apiGroups: [''], resources: [secrets, pods], verbs: ['*']}").await?;
    fails(
        &stage,
        "a",
        args("install", json!({})),
        Reason::Forbidden,
        &[r#"cannot get resource "configmaps""#],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_secret_is_known_to_helm_alone() -> Result<()> {
    let stage = stage().await?;
    let [from_args, from_values, in_hook] = ["canaryInArgs", "canaryInValues", "99canaryInHook"];
    let secret = json!({"values": {"greeting": from_args, "hookExitCode": in_hook}});
    stage.kubectl(&["create", "secret", "generic", "args", &format!("--from-literal=args={secret}")]).await?;
    let values = format!("--from-literal=values=password: {from_values}");
    stage.kubectl(&["create", "secret", "generic", "values", &values]).await?;
    let from = json!([{"secretKeyRef": {"name": "values", "key": "values"}}]);
    stage
        .run("a", "helm", args("install", json!({"valuesFrom": from, "timeout": "20s"})), |spec| {
            spec["argsFrom"] = json!([{"secretKeyRef": {"name": "args", "key": "args"}}]);
        })
        .await?;
    stage.ends("a", Phase::Failed, Reason::HelmFailed).await?;
    let mut seen = stage.kubectl(&["get", "rex,events", "-o", "json"]).await?;
    seen += &stage.kubectl(&["get", "job", "a", "-o", "json"]).await?;
    seen += &stage.kubectl(&["get", "pods", "-l", "job-name=a", "-o", "json"]).await?;
    seen += &stage.kubectl(&["logs", "job/a"]).await?;
    seen_nowhere(&[from_args, from_values, in_hook], &seen)
}
