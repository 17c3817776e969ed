//! `runner-controller submit` on a real cluster with the real Argo: files in, exit codes out.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may panic and print"
)]
#![allow(unreachable_pub, reason = "a test has no public surface")]

#[path = "../common/mod.rs"]
mod common;

mod command;
mod etcd;
mod refusals;

use std::time::Duration;

use anyhow::{Result, ensure};
use command::{Submit, file};
use common::{Env, message};
use devcluster::Level;
use runner_controller::{
    crd::{Phase, RunnerExecution},
    reason::Reason,
};
use serde_json::{Value, json};

/// The original document's example, word for word.
const ORIGINAL: &str = include_str!("../fixtures/submit/original-input.yaml");

/// A run of one step that waits so long, or for ever.
fn pause(name: &str, duration: Option<&str>, timeout: &str) -> String {
    let step = duration.map_or_else(|| json!({}), |duration| json!({"duration": duration}));
    json!({
        "context": {"name": name, "timeout": timeout, "platform": {"serviceAccountName": "deployer"}},
        "args": {"workflow": {"entrypoint": "main", "templates": [{"name": "main", "suspend": step}]}},
    })
    .to_string()
}

fn submit(env: &Env) -> Submit {
    let args = ["--runner", "argo-workflow", "--namespace", &env.namespace];
    Submit::new(env.cluster.kubeconfig()).args(&args)
}

async fn running(env: &Env, name: &str) -> Result<RunnerExecution> {
    let is_running =
        |rex: &RunnerExecution| rex.status.as_ref().is_some_and(|s| s.phase == Some(Phase::Running));
    env.until(name, "running", is_running).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_originals_example_file_is_submitted_unchanged() -> Result<()> {
    let mut env = Env::without_controller(common::cluster(Level::Argo).await?).await?;
    prepare_for_the_original(&env).await?;
    env.start_controller(|options| options.namespace = Some("k8s-ns-name".into())).await?;
    // Its names are fixed, and the cluster may have been kept.
    let again = ["delete", "rex", "action-name", "-n", "k8s-ns-name", "--ignore-not-found"];
    common::kubectl(env.cluster, &again, None).await?;
    let folder = tempfile::tempdir()?;
    let kubeconfig = env.cluster.kubeconfig();

    // Its arguments are but a comment: it comes as far as the runner, which says what is missing.
    let path = file(&folder, "input.yaml", ORIGINAL)?;
    let original =
        || Submit::new(&kubeconfig).env("RUNNER_INPUT_PATH", &path).env("RUNNER_NAME", "argo-workflow");
    let ended = original().ends(1).await?;
    ensure!(
        ended.stdout.starts_with("action-name ended") && ended.stdout.contains("Failed (InvalidArgs)"),
        "{ended:?}"
    );
    ensure!(ended.stdout.contains("spec.args.workflow"), "{ended:?}");

    // With arguments it is another run; the name is taken until the first is gone.
    let workflow = "    workflow: {entrypoint: main, templates: [{name: main, suspend: {}}]}\n";
    file(&folder, "input.yaml", format!("{ORIGINAL}{workflow}"))?;
    let taken = original().ends(73).await?;
    ensure!(taken.stderr.contains("is another run: it differs in spec.args."), "{taken:?}");
    common::kubectl(env.cluster, &["delete", "rex", "action-name", "-n", "k8s-ns-name"], None).await?;
    let ended = original().ends(0).await?;
    ensure!(ended.stdout.contains("Succeeded (DryRunSucceeded)"), "{ended:?}");
    let rex =
        common::kubectl(env.cluster, &["get", "rex", "action-name", "-n", "k8s-ns-name", "-o", "json"], None)
            .await?;
    let rex: Value = serde_json::from_str(&rex)?;
    ensure!(
        rex["metadata"]["ownerReferences"][0]["uid"] == "3826a747-cfac-49c7-a81e-1d48cc23096f",
        "not the Action's: {}",
        rex["metadata"]
    );
    ensure!(rex["status"]["dryRun"]["rendered"]["kind"] == "Workflow", "{}", rex["status"]);
    Ok(())
}

/// The namespace, the ServiceAccount and the Action that the original's example names.
async fn prepare_for_the_original(env: &Env) -> Result<()> {
    let crd = include_str!("../fixtures/submit/action-crd.yaml");
    let apply = |text: String| async move {
        common::kubectl(env.cluster, &["apply", "-f", "-"], Some(&text)).await.map(drop)
    };
    apply(crd.to_owned()).await?;
    let established = ["wait", "--for=condition=Established", "crd/actions.core.projectvoltron.dev"];
    common::kubectl(env.cluster, &established, None).await?;
    let rules = json!([
        {"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["create", "patch", "delete"]},
        {"apiGroups": ["core.projectvoltron.dev"], "resources": ["actions"], "verbs": ["get"]},
    ]);
    let named = json!({"name": "sa-name", "namespace": "k8s-ns-name"});
    let items = json!([
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "k8s-ns-name"}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": named, "rules": rules},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": named,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "sa-name"},
            "subjects": [{"kind": "ServiceAccount", "name": "sa-name", "namespace": "k8s-ns-name"}],
        },
    ]);
    apply(json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()).await?;
    let action = json!({
        "apiVersion": "core.projectvoltron.dev/v1alpha1",
        "kind": "Action",
        "metadata": {
            "name": "action-name", "namespace": "k8s-ns-name", "generation": 1,
            "uid": "3826a747-cfac-49c7-a81e-1d48cc23096f", "creationTimestamp": "2026-01-01T00:00:00Z",
        },
    });
    let key = "/registry/core.projectvoltron.dev/actions/k8s-ns-name/action-name";
    etcd::put(env.cluster, key, &action).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_succeeds_and_the_same_run_is_adopted_under_way_and_finished() -> Result<()> {
    let env = Env::new(Level::Argo).await?;
    let text = pause("a", Some("3"), "0");
    let first = submit(&env).stdin(text.clone()).start().await?;
    running(&env, "a").await?;
    let second = submit(&env).stdin(text.clone()).ends(0).await?;
    ensure!(
        second.stderr.contains("a: the same run is under way already and is not started again"),
        "{second:?}"
    );
    let first = first.end().await?;
    ensure!(first.code == 0 && first.stdout.starts_with("a ended after "), "{first:?}");
    ensure!(first.stdout.contains(": Succeeded\n"), "{first:?}");
    ensure!(first.stderr.contains("a Running"), "no progress was told: {first:?}");
    ensure!(!first.stderr.contains('\u{1b}') && !first.stderr.contains('\r'), "no plain lines: {first:?}");
    let third = submit(&env).stdin(text).ends(0).await?;
    ensure!(third.stderr.contains("the same run has finished already"), "{third:?}");
    let workflows = env.kubectl(&["get", "workflows", "-o", "name"]).await?;
    ensure!(workflows.lines().count() == 1, "it was started again: {workflows}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pair_of_files_is_read_and_another_run_of_the_name_is_refused() -> Result<()> {
    let env = Env::new(Level::Argo).await?;
    let folder = tempfile::tempdir()?;
    let context = format!(
        "name: a\ntimeout: 2s\nplatform: {{namespace: {}, serviceAccountName: deployer}}\n",
        env.namespace
    );
    let context = file(&folder, "context.yaml", context)?;
    let args = "workflow: {entrypoint: main, templates: [{name: main, suspend: {duration: '1'}}]}\n";
    let args = file(&folder, "args.yaml", args)?;
    let pair = || {
        Submit::new(env.cluster.kubeconfig())
            .args(&["--runner", "argo-workflow"])
            .env("RUNNER_CONTEXT_PATH", &context)
            .env("RUNNER_ARGS_PATH", &args)
    };
    pair().ends(0).await?;
    file(&folder, "args.yaml", "workflow: {entrypoint: main, templates: [{name: main, suspend: {}}]}\n")?;
    let refused = pair().ends(73).await?;
    let expected = "runner-controller submit: The execution a exists already and is another run: it differs in spec.args. Choose another name, or delete it first\n";
    ensure!(refused.stderr == expected, "{}", refused.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_timeout_cancellation_and_deletion_have_their_own_codes() -> Result<()> {
    let env = Env::new(Level::Argo).await?;
    let failing = json!({
        "context": {"name": "failing", "platform": {"serviceAccountName": "deployer"}},
        "args": {"workflow": {"entrypoint": "absent", "templates": [{"name": "main", "suspend": {}}]}},
    });
    let failed = submit(&env).stdin(failing.to_string()).ends(1).await?;
    ensure!(failed.stdout.contains("failing ended: Failed (InvalidArgs)"), "{failed:?}");
    let timed_out = submit(&env).stdin(pause("slow", None, "2s")).ends(3).await?;
    ensure!(timed_out.stdout.contains(": TimedOut\n"), "{timed_out:?}");

    let cancelled = submit(&env).stdin(pause("cancelled", None, "0")).start().await?;
    running(&env, "cancelled").await?;
    env.kubectl(&["patch", "rex", "cancelled", "--type=merge", "-p", r#"{"spec":{"cancel":true}}"#]).await?;
    let cancelled = cancelled.end().await?;
    ensure!(cancelled.code == 2 && cancelled.stdout.contains(": Cancelled\n"), "{cancelled:?}");

    let deleted = submit(&env).stdin(pause("deleted", None, "0")).start().await?;
    running(&env, "deleted").await?;
    env.kubectl(&["delete", "rex", "deleted"]).await?;
    let deleted = deleted.end().await?;
    ensure!(deleted.code == 4 && deleted.stderr.contains("has been deleted"), "{deleted:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interruption_cancels_or_detaches_as_asked() -> Result<()> {
    let env = Env::new(Level::Argo).await?;
    let started = |name: &'static str, policy: &'static [&'static str]| {
        let submit = submit(&env).args(policy).stdin(pause(name, None, "0"));
        let env = &env;
        async move {
            let process = submit.start().await?;
            running(env, name).await?;
            anyhow::Ok(process)
        }
    };
    let cancelling = started("a", &["--on-interrupt", "cancel"]).await?;
    cancelling.signal("INT").await?;
    let cancelled = cancelling.end().await?;
    ensure!(cancelled.code == 2, "{cancelled:?}");
    env.ends("a", Phase::Cancelled, Reason::Cancelled).await?;

    let detaching = started("b", &["--on-interrupt", "detach"]).await?;
    detaching.signal("INT").await?;
    let detached = detaching.end().await?;
    let expected = format!("b goes on; to see it: kubectl get rex b -n {} --watch", env.namespace);
    ensure!(detached.code == 75 && detached.stderr.contains(&expected), "{detached:?}");

    // Nobody can be asked without a terminal, and a pod that is deleted must not take its run along.
    let asking = started("c", &[]).await?;
    asking.signal("TERM").await?;
    ensure!(asking.end().await?.code == 75, "it did not detach");
    for name in ["b", "c"] {
        let rex = running(&env, name).await?;
        ensure!(!rex.spec.cancel, "{name} was cancelled");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_to_wait_for_an_api_server_that_never_answers() -> Result<()> {
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let folder = tempfile::tempdir()?;
    let kubeconfig = json!({
        "clusters": [{"name": "mute", "cluster": {"server": format!("http://{}", mute.local_addr()?)}}],
        "contexts": [{"name": "mute", "context": {"cluster": "mute", "user": "nobody"}}],
        "current-context": "mute",
        "users": [{"name": "nobody", "user": {}}],
    });
    let submit = Submit::new(file(&folder, "kubeconfig", kubeconfig.to_string())?);
    let submitting = submit.args(&["--runner", "job"]).stdin(refusals::FINE).start().await?;
    let _connection = tokio::time::timeout(Duration::from_secs(30), mute.accept()).await??;
    submitting.signal("INT").await?;
    submitting.signal("TERM").await?;
    let ended = submitting.end().await?;
    let words = ["fine is being created; interrupt again", "fine may have been created"];
    ensure!(ended.code == 75 && words.iter().all(|word| ended.stderr.contains(word)), "{ended:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_the_line_is_drawn_anew_and_ctrl_c_asks() -> Result<()> {
    let env = Env::new(Level::Argo).await?;
    let folder = tempfile::tempdir()?;
    let path = file(&folder, "input.yaml", pause("a", None, "0"))?;
    let args = format!("--runner argo-workflow --namespace {} --file {}", env.namespace, path.display());
    let mut process = Submit::in_terminal(env.cluster.kubeconfig(), &args).start().await?;
    let drawn = process.says("Running\u{1b}[0m").await?;
    ensure!(drawn.contains("\r\u{1b}[2K"), "the line is not drawn anew: {drawn:?}");
    process.types("\u{3}").await?;
    process.says("Cancel a (c), or detach and let it go on (d)? [d]").await?;
    process.types("c\n").await?;
    process.says("a: cancelling; waiting until the work has stopped").await?;
    let ended = process.end().await?;
    ensure!(ended.code == 2 && ended.stdout.contains(": Cancelled\r\n"), "{ended:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warning_does_not_stop_a_run_that_the_original_would_have_run() -> Result<()> {
    let env = Env::new(Level::Argo).await?;
    let text = pause("a", Some("1"), "0").replace("\"timeout\"", "\"timeuot\"");
    let ended = submit(&env).stdin(text).ends(0).await?;
    let expected = "warning: context.timeuot is no field and has no effect; did you mean timeout?\n";
    ensure!(ended.stderr.starts_with(expected), "{ended:?}");
    let rex = env.ends("a", Phase::Succeeded, Reason::Succeeded).await?;
    ensure!(ended.stdout.contains(&message(&rex)), "another message: {ended:?}");
    Ok(())
}
