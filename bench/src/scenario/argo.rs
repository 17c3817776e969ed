//! The real Argo: what going through the controller adds to a Workflow's time, against creating it directly.
//!
//! Both take turns, one at a time. The Workflow ends without a pod (its only step is skipped), so that what is
//! measured is the control plane, Argo and the controller.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use devcluster::{Cluster, Level, Options};
use k8s_openapi::{
    api::{core::v1::ServiceAccount, rbac::v1::RoleBinding},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::PostParams,
    core::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::wait::{await_condition, conditions::is_crd_established},
};
use runner_controller::crd::{Phase, RunnerExecution};
use serde_json::{Value, json};
use tokio::{
    process::Command,
    time::{Instant, timeout},
};

use super::Sizes;
use crate::{peers::Peer, results::Outcome, world::Bench};

const NAMESPACE: &str = "default";

pub(super) async fn run(bench: &Bench, sizes: &Sizes, peer: Peer) -> Result<Vec<Outcome>> {
    let dir = bench.dir.join("run-argo");
    let mut options = Options::new(&dir, Level::Argo);
    options.audit = false;
    options.etcd_fsync = bench.fsync;
    let cluster = Cluster::ensure(&options).await?;
    let client = cluster.client().await?;
    install(&client).await?;
    let mut ours = Command::new(&bench.programs.ours)
        .args(["run", "--listen", "127.0.0.1:0"])
        .env_clear()
        .env("KUBECONFIG", cluster.kubeconfig())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the controller")?;
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    // The first of each pays for what is made once.
    for number in 0..=sizes.argo_workflows {
        let direct_ms = timeout(sizes.limit(), directly(&client, number)).await??;
        let through_ms = timeout(sizes.limit(), through_us(&client, number)).await??;
        if number > 0 {
            direct.push(direct_ms);
            through.push(through_ms);
        }
    }
    ours.kill().await?;
    Cluster::down(&dir).await?;
    let mut outcome = Outcome::new("argo", format!("{} workflows each", sizes.argo_workflows), peer);
    let added = through.iter().zip(&direct).map(|(through, direct)| through - direct).collect();
    for (name, times) in [("direct", direct), ("through", through), ("added", added)] {
        outcome.set_percentiles(name, times);
    }
    Ok(vec![outcome])
}

/// The kind, and the ServiceAccount of the runs, which may do anything.
async fn install(client: &Client) -> Result<()> {
    let params = PostParams::default();
    let kinds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let kind = kinds.create(&params, &runner_controller::crd::crd()).await?;
    let name = kind.metadata.name.unwrap_or_default();
    timeout(Duration::from_secs(30), await_condition(kinds, &name, is_crd_established())).await??;
    let account = serde_json::from_value(json!({"metadata": {"name": "deployer"}}))?;
    Api::<ServiceAccount>::namespaced(client.clone(), NAMESPACE).create(&params, &account).await?;
    let binding = serde_json::from_value(json!({
        "metadata": {"name": "deployer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "namespace": NAMESPACE, "name": "deployer"}],
    }))?;
    Api::<RoleBinding>::namespaced(client.clone(), NAMESPACE).create(&params, &binding).await?;
    Ok(())
}

/// A Workflow whose only step is skipped.
fn workflow() -> Value {
    json!({
        "serviceAccountName": "deployer",
        "entrypoint": "main",
        "templates": [
            {"name": "main", "steps": [[{"name": "never", "template": "never", "when": "1 == 2"}]]},
            {"name": "never", "container": {"image": "never"}},
        ],
    })
}

async fn directly(client: &Client, number: usize) -> Result<f64> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Workflow"));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &kind);
    let name = format!("direct-{number}");
    let object = DynamicObject::new(&name, &kind).data(json!({"spec": workflow()}));
    let start = Instant::now();
    api.create(&PostParams::default(), &object).await?;
    let has_ended = |object: Option<&DynamicObject>| {
        object.is_some_and(|it| it.data.pointer("/status/finishedAt").is_some_and(Value::is_string))
    };
    let ended = await_condition(api, &name, has_ended).await?.context("the Workflow is gone")?;
    let phase = ended.data.pointer("/status/phase").and_then(Value::as_str);
    ensure!(phase == Some("Succeeded"), "{name}: {phase:?}");
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}

async fn through_us(client: &Client, number: usize) -> Result<f64> {
    let api: Api<RunnerExecution> = Api::namespaced(client.clone(), NAMESPACE);
    let name = format!("through-{number}");
    let execution: RunnerExecution = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "runner": "argo-workflow",
            "context": {"platform": {"serviceAccountName": "deployer"}},
            "args": {"workflow": workflow()},
        },
    }))?;
    let start = Instant::now();
    api.create(&PostParams::default(), &execution).await?;
    let has_ended = |object: Option<&RunnerExecution>| {
        object.is_some_and(|it| it.status.as_ref().is_some_and(|s| s.phase.is_some_and(Phase::is_final)))
    };
    let ended = await_condition(api, &name, has_ended).await?.context("the execution is gone")?;
    let phase = ended.status.and_then(|status| status.phase);
    ensure!(phase == Some(Phase::Succeeded), "{name}: {phase:?}");
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}
