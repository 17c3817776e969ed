//! A stand-in for a kubelet: pods end without having run, where nothing but their end matters.

use std::time::Duration;

use futures::TryStreamExt;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt, watcher},
};
use runner_controller::{
    reason::Reason,
    runners::report::{PROGRESS, RESULT, Report},
};
use serde_json::{Value, json};

/// One after another they would be the slowest part of a test with hundreds of them.
const PODS_AT_ONCE: usize = 16;

/// What becomes of pods.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pods {
    Succeed,
    Fail,
    /// Succeed, and have told so on their Job before, as the pods of this project do.
    TellSuccess,
    /// Fail, and have told why.
    TellFailure(Reason),
    Stay,
}

impl Pods {
    /// What they tell.
    fn report(self) -> Option<Report> {
        match self {
            Self::TellSuccess => {
                Some(Report::Succeeded { message: String::new(), output: Some(output()), output_ref: None })
            }
            Self::TellFailure(reason) => {
                Some(Report::Failed { reason, message: "It did not work.".to_owned() })
            }
            Self::Succeed | Self::Fail | Self::Stay => None,
        }
    }
}

/// What pods give back that [tell of their success](Pods::TellSuccess).
pub fn output() -> Value {
    json!({"told": "by the pod"})
}

/// Marks pods as ended, as a kubelet would, for ever. An API server that is away is waited for.
pub async fn stand_in_for_kubelet(client: Client, namespace: String, pods: Pods) {
    let jobs: Api<Job> = Api::namespaced(client.clone(), &namespace);
    let api: Api<Pod> = Api::namespaced(client, &namespace);
    let (phase, code, reason) = match pods {
        Pods::Succeed | Pods::TellSuccess => ("Succeeded", 0, "Completed"),
        Pods::Fail | Pods::TellFailure(_) => ("Failed", 3, "Error"),
        Pods::Stay => return,
    };
    let ended = json!({"exitCode": code, "reason": reason, "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z"});
    let container = json!({"name": "main", "image": "busybox:1", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": ended}});
    let patch = json!({"status": {"phase": phase, "containerStatuses": [container]}});
    let end = async |pod: Pod| -> Result<(), watcher::Error> {
        if pod.status.as_ref().is_none_or(|s| s.phase.as_deref() != Some("Pending")) {
            return Ok(());
        }
        tell(&jobs, &pod, pods.report()).await.map_err(watcher::Error::WatchFailed)?;
        let patched = api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await;
        patched.map(drop).map_err(watcher::Error::WatchFailed)
    };
    loop {
        let watch = watcher(api.clone(), watcher::Config::default()).applied_objects();
        // Whatever fails, the next list shows it again.
        let _ = watch.try_for_each_concurrent(PODS_AT_ONCE, &end).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What a pod of this project tells of its work: first how far it is, then what came of it.
async fn tell(jobs: &Api<Job>, pod: &Pod, report: Option<Report>) -> Result<(), kube::Error> {
    let Some((job, report)) = pod.labels().get("batch.kubernetes.io/job-name").zip(report) else {
        return Ok(());
    };
    let report = serde_json::to_string(&report).map_err(kube::Error::SerdeError)?;
    for (key, value) in [(PROGRESS, "1/1"), (RESULT, report.as_str())] {
        let patch = json!({"metadata": {"annotations": {key: value}}});
        jobs.patch_metadata(job, &PatchParams::default(), &Patch::Merge(patch)).await?;
    }
    Ok(())
}
