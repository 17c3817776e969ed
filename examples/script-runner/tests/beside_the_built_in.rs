//! The example runner on a real cluster beside the controller that comes with the project: each with its own
//! account and rights, each serving its own names only.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a test does I/O")]

use std::{process::Stdio, sync::Arc, time::Duration};

use anyhow::{Result, bail, ensure};
use devcluster::Level;
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Event;
use kube::{
    Api,
    api::{WatchEvent, WatchParams},
};
use runner_controller::{
    client::{Outcome, Verdict},
    conformance::{Subject, check},
    crd::{Phase, RunnerExecution, conditions},
    reason::Reason,
};
use serde_json::json;
use testhouse::{House, PATIENCE};
use tokio::process::{Child, Command};

const BUILT_IN: &str = "system:serviceaccount:runner-system:runner-controller";
const EXAMPLE: &str = "system:serviceaccount:script-runner:script-runner";
const GRACE: Duration = Duration::from_secs(5);

/// A cluster with the example's own account and rights installed, as its author would.
async fn open(namespace: &str) -> Result<House> {
    let house = House::open(Level::Argo, namespace).await?;
    house.apply(include_str!("../config/script-runner.yaml")).await?;
    Ok(house)
}

/// The example's binary, with its own rights.
async fn start_example(house: &House) -> Result<Child> {
    let kubeconfig = house.access("script-runner", "script-runner").await?;
    Ok(Command::new(env!("CARGO_BIN_EXE_script-runner"))
        .args(["--listen", "127.0.0.1:0", "--namespace", &house.namespace])
        .env("KUBECONFIG", kubeconfig)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?)
}

async fn outcome(house: &House, execution: &RunnerExecution) -> Result<Outcome> {
    Ok(tokio::time::timeout(PATIENCE, house.executions().completion(execution)).await??)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_serves_its_own_names_only() -> Result<()> {
    let house = open("each").await?;
    let _built_in = house.start_controller(GRACE).await?;

    // Nobody serves the script yet: the built-in controller says so and leaves it alone.
    let sleep = || json!({"script": "sleep 1000"});
    let early = house.run("early", "script", sleep(), |_| ()).await?;
    house
        .until(&early, |now| {
            now.status.as_ref().is_some_and(|status| status.reason == Some(Reason::RunnerNotFound))
        })
        .await?;

    let _example = start_example(&house).await?;
    house.until_phase(&early, Phase::Running).await?;
    let script = house.run("script", "script", sleep(), |_| ()).await?;
    let job = house.run("job", "job", json!({"image": "busybox:1"}), |_| ()).await?;
    let running = house.until_phase(&script, Phase::Running).await?;
    house.until_phase(&job, Phase::Running).await?;
    let is_accepted = running
        .status
        .iter()
        .flat_map(|status| &status.conditions)
        .any(|condition| condition.type_ == conditions::ACCEPTED && condition.status == "True");
    ensure!(is_accepted, "not accepted: {:?}", running.status);

    for execution in [&early, &script, &job] {
        house.executions().cancel(execution).await?;
        let outcome = outcome(&house, execution).await?;
        ensure!(outcome.verdict == Verdict::Cancelled, "{outcome:?}");
    }
    let writers = house.writers("job").await?;
    ensure!(writers.iter().all(|writer| writer == BUILT_IN), "others wrote: {writers:?}");
    for name in ["early", "script"] {
        let writers = house.writers(name).await?;
        let from_example = writers.iter().skip_while(|writer| *writer != EXAMPLE);
        let others = from_example.filter(|writer| *writer != EXAMPLE).count();
        // One may be refused on its way: it was decided on before the example's was seen.
        ensure!(others <= 1, "the built-in controller went on writing to {name}: {writers:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_controller_leaves_behind_that_is_gone_is_told_of_and_expires() -> Result<()> {
    let house = open("gone").await?;
    let _built_in = house.start_controller(GRACE).await?;
    let mut example = start_example(&house).await?;
    let left = house.run("left", "script", json!({"script": "sleep 1000"}), |_| ()).await?;
    house.until_phase(&left, Phase::Running).await?;
    let refused = house.run("refused", "script", json!({"scirpt": ""}), |_| ()).await?;
    house.until_phase(&refused, Phase::Failed).await?;
    example.kill().await?;

    let namespace = house.namespace.as_str();
    let expire = r#"{"spec":{"ttlSecondsAfterFinished":1}}"#;
    house.kubectl(&["patch", "rex", "refused", "-n", namespace, "--type=merge", "-p", expire], None).await?;
    house.executions().cancel(&left).await?;
    house.kubectl(&["wait", "rex/refused", "-n", namespace, "--for=delete", "--timeout=80s"], None).await?;
    let events: Api<Event> = Api::namespaced(house.client.clone(), namespace);
    let wanted = WatchParams::default().fields("involvedObject.name=left,reason=RunnerNotFound,type=Warning");
    let mut told = std::pin::pin!(events.watch(&wanted, "0").await?);
    // Before the example took it up, the built-in controller may have told by the same word that nobody here serves it.
    let heard = async {
        while let Some(event) = told.try_next().await? {
            if let WatchEvent::Added(Event { message: Some(message), .. }) = event
                && message.starts_with("spec.cancel is set, but the controller of the runner script")
            {
                return Ok(());
            }
        }
        bail!("the watch of events ended")
    };
    tokio::time::timeout(PATIENCE, heard).await??;
    let status = house.executions().get("left").await?.status.unwrap_or_default();
    ensure!(status.phase == Some(Phase::Running), "the status was touched: {status:?}");
    let writers = house.writers("left").await?;
    let after = writers.iter().skip_while(|writer| *writer != EXAMPLE).filter(|writer| *writer != EXAMPLE);
    ensure!(after.count() <= 1, "the built-in controller wrote: {writers:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_the_arguments_is_told_by_its_path() -> Result<()> {
    let house = open("mistake").await?;
    let _example = start_example(&house).await?;
    let bad = house.run("bad", "script", json!({"scirpt": "true"}), |_| ()).await?;
    let outcome = outcome(&house, &bad).await?;
    ensure!(outcome.verdict == Verdict::Failed && outcome.reason == Reason::InvalidArgs, "{outcome:?}");
    ensure!(outcome.message.contains("spec.args.scirpt"), "{outcome:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_holds_to_what_every_runner_has_to() -> Result<()> {
    let house = open("conformance").await?;
    house.let_read_secrets().await?;
    let subject = Subject {
        client: house.client.clone(),
        namespace: house.namespace.clone(),
        service_account: "deployer".into(),
        runner: Arc::new(script_runner::Script::default()),
        endless: json!({"script": "sleep 100000"}),
        refused: json!({"scirpt": "a text that must not be repeated"}),
    };
    let checked = check(&subject).await?;
    ensure!(checked.len() == 8, "{checked:?}");
    Ok(())
}
