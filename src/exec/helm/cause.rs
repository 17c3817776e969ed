//! Why what helm waited for did not become ready: helm names the resource, its pods tell the cause.
//! I/O: reads these, as the run's ServiceAccount; where it may not, nothing is added.

use k8s_openapi::api::core::v1 as core;
use kube::{
    Api,
    api::{DynamicObject, ListParams},
    core::{ApiResource, GroupVersionKind},
};

use crate::{exec::pod::Pod, runners::pods};

/// How many resources are explained.
const MOST: usize = 3;

/// What is added to helm's words; nothing if there is nothing to add.
pub(super) async fn of_unready(told: &str, pod: &Pod) -> String {
    let mut causes = String::new();
    for (kind, name) in unready(told).into_iter().take(MOST) {
        if let Some(cause) = cause(kind, name, pod).await {
            causes.push_str("; ");
            causes.push_str(&cause);
        }
    }
    causes
}

/// The resources that helm names as not ready, as kind and name.
fn unready(told: &str) -> Vec<(&str, &str)> {
    told.split("resource ")
        .skip(1)
        .filter_map(|rest| {
            let (reference, _) = rest.split_once(" not ready")?;
            let mut parts = reference.split('/');
            let (kind, _, name) = (parts.next()?, parts.next()?, parts.next()?);
            Some((kind, name))
        })
        .collect()
}

async fn cause(kind: &str, name: &str, pod: &Pod) -> Option<String> {
    let group = match kind {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" => "apps",
        "Job" => "batch",
        _ => return None,
    };
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
    let api: Api<DynamicObject> = Api::namespaced_with(pod.client(), &pod.namespace, &resource);
    let object = api.get(name).await.ok()?;
    let labels = object.data.pointer("/spec/selector/matchLabels")?.as_object()?;
    let selector: Vec<String> =
        labels.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
    let pods: Api<core::Pod> = Api::namespaced(pod.client(), &pod.namespace);
    let found = pods.list(&ListParams::default().labels(&selector.join(",")).limit(50)).await.ok()?.items;
    // Pods of an earlier revision may well run.
    let trouble = pods::last_trouble(&found).map(|trouble| trouble.message);
    trouble.or_else(|| pods::failure(&found).map(|failure| failure.message))
}

#[cfg(test)]
mod tests {
    use super::unready;

    #[test]
    fn helm_names_what_is_not_ready() {
        let told = "INSTALLATION FAILED: resource Deployment/team-a/never not ready. status: InProgress, message: \
                    Available: 0/1 resource Job/team-a/b not ready. status: InProgress context deadline exceeded";
        assert_eq!(unready(told), [("Deployment", "never"), ("Job", "b")]);
        assert!(unready("another error").is_empty());
    }
}
