//! The runner `terraform`, by OpenTofu itself, on modules that need no network.

use anyhow::{Context, Result, ensure};
use runner_controller::{
    crd::{Phase, RunnerExecution},
    reason::Reason,
};
use serde_json::{Value, json};

use crate::{
    canaries::seen_nowhere,
    common::message,
    server::Server,
    stage::{Stage, packed},
};

/// Something that is there or not, in the state alone.
const MODULE: &str = r#"
variable "greeting" { default = "hello" }
resource "terraform_data" "one" { input = var.greeting }
resource "terraform_data" "two" { input = "${terraform_data.one.output}!" }
output "greeting" { value = terraform_data.two.output }
"#;

async fn stage() -> Result<Stage> {
    let stage = Stage::set().await?;
    stage
        .grant("{apiGroups: ['', coordination.k8s.io], resources: [secrets, leases, pods], verbs: ['*']}")
        .await?;
    Ok(stage)
}

fn args(command: &str, text: &str, over: Value) -> Value {
    let mut args = json!({"command": command, "module": {"name": "db", "files": {"main.tf": text}}});
    runner_controller::runners::args::merge(&mut args, over);
    args
}

async fn succeeds(stage: &Stage, name: &str, args: Value) -> Result<RunnerExecution> {
    stage.run(name, "terraform", args, |_| ()).await?;
    stage.ends(name, Phase::Succeeded, Reason::Succeeded).await
}

async fn fails(stage: &Stage, name: &str, args: Value, reason: Reason, words: &[&str]) -> Result<()> {
    stage.run(name, "terraform", args, |_| ()).await?;
    let told = message(&stage.ends(name, Phase::Failed, reason).await?);
    ensure!(words.iter().all(|word| told.contains(word)), "{name}: {told}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_lives_from_apply_to_destroy() -> Result<()> {
    let stage = stage().await?;
    let template = json!({"goTemplate": "said: {{ .greeting }}"});
    let end = succeeds(&stage, "one", args("apply", MODULE, json!({ "output": template }))).await?;
    let status = end.status.context("no status")?;
    ensure!(status.progress.as_deref() == Some("2/2"), "{:?}", status.progress);
    let output = status.output.context("no output")?;
    ensure!(
        output["outputs"] == json!({"greeting": "hello!"})
            && output["additional"] == json!({"said": "hello!"}),
        "{output}"
    );

    let changed = json!({"variables": {"greeting": "hi"}});
    let end = succeeds(&stage, "plan", args("plan", MODULE, changed.clone())).await?;
    let plan = end.status.and_then(|status| status.output).context("no plan")?;
    ensure!(plan["changes"][0]["actions"] == json!(["update"]), "{plan}");
    let end = succeeds(&stage, "two", args("apply", MODULE, changed)).await?;
    ensure!(
        end.status.and_then(|status| status.output).context("no output")?["outputs"]["greeting"] == "hi!",
        "not changed"
    );

    let broken = r#"
variable "greeting" { default = "hello" }
resource "terraform_data" "one" {
  input = "hi"
  lifecycle {
    precondition {
      condition     = length(var.greeting) > 1000
      error_message = "It is too short."
    }
  }
}
"#;
    fails(
        &stage,
        "three",
        args("apply", broken, json!({})),
        Reason::TerraformFailed,
        &["terraform_data", "one", "It is too short."],
    )
    .await?;
    succeeds(&stage, "four", args("destroy", MODULE, json!({}))).await?;
    let end = succeeds(&stage, "five", args("plan", MODULE, json!({}))).await?;
    let plan = end.status.and_then(|status| status.output).context("no plan")?;
    ensure!(plan["changes"][0]["actions"] == json!(["create"]), "it is still there: {plan}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_may_come_from_an_address() -> Result<()> {
    let (stage, server) = (stage().await?, Server::start().await?);
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("main.tf"), MODULE)?;
    server.serve("/db.tar.gz", packed(&folder.path().display().to_string(), "main.tf")?);
    let source = server.url("/db.tar.gz");
    let args = json!({"module": {"name": "db", "source": source}});
    let end = succeeds(&stage, "one", args).await?;
    let output = end.status.and_then(|status| status.output).context("no output")?;
    ensure!(
        output["terraform-release"] == json!({"name": "db", "source": source})
            && output["outputs"] == json!({"greeting": "hello!"}),
        "{output}"
    );
    let args = json!({"module": {"name": "db", "source": server.url("/nothing.tar.gz")}});
    // It answers, but not with an archive.
    fails(&stage, "two", args, Reason::TerraformFailed, &["nothing.tar.gz"]).await
}

/// A dry run of `apply` shows so many changes, and leaves everything as it was.
async fn rehearses(stage: &Stage, name: &str, changes: usize) -> Result<()> {
    let before = stage.content().await?;
    let dry = |spec: &mut Value| spec["context"]["dryRun"] = json!(true);
    stage
        .run(name, "terraform", args("apply", MODULE, json!({"variables": {"greeting": "hi"}})), dry)
        .await?;
    let end = stage.ends(name, Phase::Succeeded, Reason::DryRunSucceeded).await?;
    let shown = end.status.and_then(|status| status.dry_run?.rendered).context("nothing is shown")?;
    ensure!(shown["changes"].as_array().is_some_and(|all| all.len() == changes), "{shown}");
    stage.gone("job", name).await?;
    stage
        .kubectl(&["wait", "--for=delete", "--timeout=60s", "pods", "-l", &format!("job-name={name}")])
        .await?;
    ensure!(stage.content().await? == before, "left behind: {:?}", stage.content().await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_the_plan_and_leaves_nothing_behind() -> Result<()> {
    let stage = stage().await?;
    rehearses(&stage, "before", 2).await?;
    succeeds(&stage, "one", args("apply", MODULE, json!({}))).await?;
    rehearses(&stage, "after", 2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_comes_back_as_the_original_gave_it() -> Result<()> {
    let stage = stage().await?;
    let greeting = "\"hello\" to ${nobody} at 50%";
    let over = json!({"variables": {"greeting": greeting}, "output": {"tfstate": true}});
    let end = succeeds(&stage, "one", args("apply", MODULE, over)).await?;
    let status = end.status.context("no status")?;
    ensure!(status.output.is_none(), "{:?}", status.output);
    let reference = status.output_ref.context("no outputRef")?;
    let outputs = stage.secret(&reference.name).await?;
    let field = |name: &str| outputs[name].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let tfstate = field("tfstate").context("no tfstate")?;
    let release = json!({"name": "db", "source": null});
    ensure!(field("terraform-release") == Some(release), "{outputs}");
    let file = |name: &str| -> Result<String> {
        let bytes: k8s_openapi::ByteString = serde_json::from_value(tfstate["value"][name].clone())?;
        Ok(String::from_utf8(bytes.0)?)
    };
    let kept: Value = serde_json::from_str(&file("state")?)?;
    ensure!(kept["outputs"]["greeting"]["value"] == format!("{greeting}!"), "{kept}");
    // A module that finds the variables' file knows the same.
    let files = json!({"module": {"files": {"terraform.tfvars": file("variables")?}}});
    let end = succeeds(&stage, "two", args("plan", MODULE, files)).await?;
    ensure!(message(&end).starts_with("0 of 2"), "{}", message(&end));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_opened_once_its_pod_is_gone_and_never_if_it_is_somebody_elses() -> Result<()> {
    let stage = stage().await?;
    let slow = r#"resource "terraform_data" "slow" {
        provisioner "local-exec" { command = "sleep 600" }
    }"#;
    let refused = ["main.tf", "allowLocalExec"];
    fails(&stage, "zero", args("apply", slow, json!({})), Reason::InvalidArgs, &refused).await?;
    stage.run("one", "terraform", args("apply", slow, json!({"allowLocalExec": true})), |_| ()).await?;
    let lease = "lease/lock-tfstate-default-db";
    stage.comes_to(lease, "jsonpath={.spec.holderIdentity}").await?;
    fails(&stage, "two", args("apply", MODULE, json!({})), Reason::StateInUse, &["db", "pod one-"]).await?;
    stage.kubectl(&["exec", "job/one", "--", "sh", "-c", "kill -9 $(pidof tofu)"]).await?;
    stage.ends("one", Phase::Failed, Reason::TerraformFailed).await?;
    succeeds(&stage, "three", args("apply", MODULE, json!({}))).await?;

    let info = json!({"ID": "7", "Who": "alice@laptop"}).to_string();
    let foreign = json!({"metadata": {"annotations": {"app.terraform.io/lock-info": info}}, "spec": {"holderIdentity": "7"}});
    stage.kubectl(&["patch", lease, "--type=merge", "-p", &foreign.to_string()]).await?;
    fails(&stage, "four", args("apply", MODULE, json!({})), Reason::StateInUse, &["somebody else"]).await?;
    let holder = stage.get("lease", "lock-tfstate-default-db").await?["spec"]["holderIdentity"].clone();
    ensure!(holder == "7", "somebody else's lock was touched: {holder}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_gives_its_lock_back() -> Result<()> {
    let stage = stage().await?;
    let slow = r#"resource "terraform_data" "slow" {
        provisioner "local-exec" { command = "exec sleep 600" }
    }"#;
    stage.run("one", "terraform", args("apply", slow, json!({"allowLocalExec": true})), |_| ()).await?;
    let lease = "lease/lock-tfstate-default-db";
    stage.comes_to(lease, "jsonpath={.spec.holderIdentity}").await?;
    stage.kubectl(&["patch", "rex", "one", "--type=merge", "-p", r#"{"spec":{"cancel":true}}"#]).await?;
    stage.ends("one", Phase::Cancelled, Reason::Cancelled).await?;
    succeeds(&stage, "two", args("apply", MODULE, json!({}))).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_rights_are_told_by_verb_and_kind() -> Result<()> {
    let stage = stage().await?;
    stage.kubectl(&["delete", "role", "granted"]).await?;
    stage.grant("{apiGroups: [''], resources: [secrets, pods], verbs: ['*']}").await?;
    fails(&stage, "a", args("apply", MODULE, json!({})), Reason::Forbidden, &["get", "leases"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_secret_stays_in_secrets() -> Result<()> {
    let stage = stage().await?;
    let [variable, output] = ["canaryInAVariable", "canaryInAnOutput"];
    let module = format!(
        "variable \"password\" {{}}\nresource \"terraform_data\" \"a\" {{ input = var.password }}\n\
         output \"key\" {{\n value = \"{output}\"\n sensitive = true\n}}\n"
    );
    let secret = args("apply", &module, json!({"variables": {"password": variable}}));
    stage.kubectl(&["create", "secret", "generic", "args", &format!("--from-literal=args={secret}")]).await?;
    stage
        .run("a", "terraform", json!({}), |spec| {
            spec["argsFrom"] = json!([{"secretKeyRef": {"name": "args", "key": "args"}}]);
        })
        .await?;
    let end = stage.ends("a", Phase::Succeeded, Reason::Succeeded).await?;
    let reference = end.status.and_then(|status| status.output_ref).context("no outputRef")?;
    let outputs = stage.secret(&reference.name).await?["outputs"].clone();
    ensure!(outputs.as_str().is_some_and(|text| text.contains(output)), "{outputs}");
    let mut seen = stage.kubectl(&["get", "rex,events,jobs,pods,configmaps,leases", "-o", "json"]).await?;
    seen += &stage.kubectl(&["logs", "job/a"]).await?;
    seen_nowhere(&[variable, output], &seen)
}
