//! The real Argo: what going through the controller adds to a Workflow's time, against creating it directly.
//!
//! Both take turns, one at a time. The Workflow ends without a pod (its only step is skipped), so that what is
//! measured is the control plane, Argo and the controller.

use anyhow::{Context, Result, ensure};
use kube::{
    Api, Client,
    api::PostParams,
    core::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::wait::await_condition,
};
use runner_controller::crd::RunnerExecution;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::Sizes;
use crate::{
    peers::Peer,
    results::Outcome,
    rig::{NAMESPACE, Rig, Storage},
    world::Bench,
};

pub(super) async fn run(bench: &Bench, sizes: &Sizes, peer: Peer) -> Result<Vec<Outcome>> {
    let storage = Storage { fsync: bench.fsync, audit: false, argo: true };
    let rig = Rig::up(&bench.dir.join("run-argo"), storage).await?;
    let client = rig.client().await?;
    let ours = peer.start(&rig, &bench.programs, bench.tuning)?;
    let workflows = ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Workflow"));
    let executions = ApiResource::erase::<RunnerExecution>(&());
    let workflow = workflow(&rig.admin.account);
    let execution = json!({
        "runner": "argo-workflow",
        "context": {"platform": {"serviceAccountName": rig.admin.account}},
        "args": {"workflow": workflow},
    });
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    // The first of each pays for what is made once.
    for number in 0..=sizes.argo_workflows {
        let object = |of: &str, kind: &ApiResource, spec: &Value| {
            DynamicObject::new(&format!("{of}-{number}"), kind).data(json!({"spec": spec}))
        };
        let directly = until_success(&client, &workflows, object("direct", &workflows, &workflow));
        let direct_ms = timeout(sizes.limit(), directly).await??;
        let as_execution = until_success(&client, &executions, object("through", &executions, &execution));
        let through_ms = timeout(sizes.limit(), as_execution).await??;
        if number > 0 {
            direct.push(direct_ms);
            through.push(through_ms);
        }
    }
    ours.stop().await?;
    rig.down().await?;
    let mut outcome = Outcome::new("argo", format!("{} workflows each", sizes.argo_workflows), peer);
    let added = through.iter().zip(&direct).map(|(through, direct)| through - direct).collect();
    for (name, times) in [("direct", direct), ("through", through), ("added", added)] {
        outcome.set_percentiles(name, times);
    }
    Ok(vec![outcome])
}

/// A Workflow whose only step is skipped.
fn workflow(account: &str) -> Value {
    json!({
        "serviceAccountName": account,
        "entrypoint": "main",
        "templates": [
            {"name": "main", "steps": [[{"name": "never", "template": "never", "when": "1 == 2"}]]},
            {"name": "never", "container": {"image": "never"}},
        ],
    })
}

/// Creates an object and waits for its end, which must be a success; tells how long that took, in ms.
async fn until_success(client: &Client, kind: &ApiResource, object: DynamicObject) -> Result<f64> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, kind);
    let name = object.metadata.name.clone().unwrap_or_default();
    let start = Instant::now();
    api.create(&PostParams::default(), &object).await?;
    // Argo's word for it, and ours.
    let has_ended = |object: Option<&DynamicObject>| {
        let ends = ["/status/finishedAt", "/status/completionTime"];
        object.is_some_and(|it| ends.iter().any(|end| it.data.pointer(end).is_some_and(Value::is_string)))
    };
    let ended = await_condition(api, &name, has_ended).await?.with_context(|| format!("{name} is gone"))?;
    let phase = ended.data.pointer("/status/phase").and_then(Value::as_str);
    ensure!(phase == Some("Succeeded"), "{name}: {phase:?}");
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}
