//! How far a release is: how many of the workloads it consists of are ready. What is ready is what helm's own waiting
//! takes for it. I/O: asks helm for the release's manifest, once; reads these workloads, as the run's ServiceAccount.

use std::{convert::Infallible, time::Duration};

use kube::{
    Api,
    api::DynamicObject,
    core::{ApiResource, GroupVersionKind},
};
use serde_json::Value;

use super::{Helm, lock::Mark, words};

/// The pause between two looks, and so between two patches at least.
const PAUSE: Duration = Duration::from_secs(1);

/// A workload.
struct Workload {
    kind: ApiResource,
    name: String,
}

/// Tells the progress while it is not dropped.
pub(super) async fn tell(helm: &Helm<'_>, mark: &Mark) -> Infallible {
    let mut workloads = Vec::new();
    let mut told = String::new();
    loop {
        tokio::time::sleep(PAUSE).await;
        if workloads.is_empty() {
            workloads = of_release(helm, mark).await;
            continue;
        }
        let mut ready = 0;
        for workload in &workloads {
            ready += usize::from(is_ready(helm, workload).await);
        }
        let now = format!("{ready}/{}", workloads.len());
        if now != told {
            helm.pod.progress(&now).await;
            told = now;
        }
    }
}

/// Tells that all is ready, which helm has found.
pub(super) async fn tell_the_end(helm: &Helm<'_>, mark: &Mark) {
    let all = of_release(helm, mark).await.len();
    if all > 0 {
        helm.pod.progress(&format!("{all}/{all}")).await;
    }
}

/// The workloads of the revision that is being made; none as long as it is not known.
async fn of_release(helm: &Helm<'_>, mark: &Mark) -> Vec<Workload> {
    let revision = mark.revision().to_string();
    match helm.call(&["get", "manifest", &helm.release, "--revision", &revision]).await {
        Ok(told) if told.ok => words::documents(&told.stdout).iter().filter_map(workload).collect(),
        Ok(_) | Err(_) => Vec::new(),
    }
}

fn workload(object: &Value) -> Option<Workload> {
    let kind = object.get("kind")?.as_str()?;
    let group = match kind {
        "Deployment" | "StatefulSet" | "DaemonSet" => "apps",
        "Job" => "batch",
        "Pod" => "",
        _ => return None,
    };
    let name = object.pointer("/metadata/name")?.as_str()?.to_owned();
    Some(Workload { kind: ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind)), name })
}

async fn is_ready(helm: &Helm<'_>, workload: &Workload) -> bool {
    let api: Api<DynamicObject> =
        Api::namespaced_with(helm.pod.client(), &helm.pod.namespace, &workload.kind);
    let Ok(object) = api.get(&workload.name).await else { return false };
    let seen = object.data.pointer("/status/observedGeneration").and_then(Value::as_i64);
    let current = seen.is_none_or(|seen| Some(seen) >= object.metadata.generation);
    current && shows_readiness(&workload.kind.kind, &object.data)
}

fn shows_readiness(kind: &str, object: &Value) -> bool {
    let count = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
    let at_least = |pointer: &str, wanted: i64| count(pointer).unwrap_or(0) >= wanted;
    let wanted = count("/spec/replicas").unwrap_or(1);
    let holds = |type_: &str| {
        let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
        conditions
            .into_iter()
            .flatten()
            .any(|it| it.get("type") == Some(&type_.into()) && it.get("status") == Some(&"True".into()))
    };
    match kind {
        "Deployment" => {
            at_least("/status/updatedReplicas", wanted) && at_least("/status/availableReplicas", wanted)
        }
        "StatefulSet" => {
            at_least("/status/updatedReplicas", wanted) && at_least("/status/readyReplicas", wanted)
        }
        "DaemonSet" => count("/status/desiredNumberScheduled").is_some_and(|wanted| {
            at_least("/status/updatedNumberScheduled", wanted) && at_least("/status/numberAvailable", wanted)
        }),
        "Job" => holds("Complete"),
        _ => holds("Ready"),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::shows_readiness;

    #[rstest]
    #[case("Deployment", json!({"spec": {"replicas": 2}, "status": {"updatedReplicas": 2, "availableReplicas": 2}}), true)]
    #[case("Deployment", json!({"spec": {"replicas": 2}, "status": {"updatedReplicas": 2, "availableReplicas": 1}}), false)]
    #[case("Deployment", json!({"spec": {}, "status": {}}), false)]
    #[case("StatefulSet", json!({"spec": {"replicas": 0}, "status": {}}), true)]
    #[case("DaemonSet", json!({"status": {"desiredNumberScheduled": 1, "updatedNumberScheduled": 1, "numberAvailable": 1}}), true)]
    #[case("DaemonSet", json!({}), false)]
    #[case("Job", json!({"status": {"conditions": [{"type": "Complete", "status": "True"}]}}), true)]
    #[case("Pod", json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}), false)]
    fn readiness_is_what_the_status_shows(#[case] kind: &str, #[case] object: Value, #[case] ready: bool) {
        assert_eq!(shows_readiness(kind, &object), ready);
    }
}
