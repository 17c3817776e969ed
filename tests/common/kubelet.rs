//! A stand-in for a kubelet: pods end without having run, where nothing but their end matters.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;

/// What becomes of pods.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pods {
    Succeed,
    Fail,
    Stay,
}

/// Marks pods as ended, as a kubelet would, for ever. An API server that is away is waited for.
pub async fn stand_in_for_kubelet(client: Client, namespace: String, pods: Pods) {
    let api: Api<Pod> = Api::namespaced(client, &namespace);
    let (phase, code, reason) = match pods {
        Pods::Succeed => ("Succeeded", 0, "Completed"),
        Pods::Fail => ("Failed", 3, "Error"),
        Pods::Stay => return,
    };
    let ended = json!({"exitCode": code, "reason": reason, "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z"});
    let container = json!({"name": "main", "image": "busybox:1", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": ended}});
    let patch = json!({"status": {"phase": phase, "containerStatuses": [container]}});
    loop {
        let watch = watcher(api.clone(), watcher::Config::default()).applied_objects();
        let mut watch = std::pin::pin!(watch);
        while let Some(Ok(pod)) = watch.next().await {
            let pending = pod.status.as_ref().is_some_and(|s| s.phase.as_deref() == Some("Pending"));
            if let Some(name) = pod.metadata.name.filter(|_| pending)
                && api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch)).await.is_err()
            {
                // The next list shows it again.
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
