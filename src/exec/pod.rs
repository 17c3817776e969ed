//! The pod that this is: whose it is, and how it tells the controller and people of its work.
//!
//! Everything is written as the run's ServiceAccount, with rights that it needs for the run anyway: `patch` on Jobs,
//! `create` and `get` on Secrets.

use std::time::Duration;

use k8s_openapi::{
    ByteString,
    api::{
        batch::v1::Job,
        core::v1::{self as core, Secret},
    },
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Map, Value, json};

use super::Failure;
use crate::{
    controller::child::owner,
    crd::{EXECUTION_UID_LABEL, OutputRef},
    message::{self, cut},
    reason::Reason,
    runners::report::{PROGRESS, RESULT, Report},
};

/// Where the kubelet looks for a container's last words.
const TERMINATION_LOG: &str = "/dev/termination-log";
/// How often the outcome is told to an API server that does not take it.
const TRIES: u32 = 8;
/// How long it may take to remove the input.
const TIDYING: Duration = Duration::from_secs(5);
/// How long the API server may take to answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take to tell the progress.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause before the second try; doubled for each further one.
const PAUSE: Duration = Duration::from_millis(500);

/// The pod that this is.
pub struct Pod {
    client: Client,
    /// Its namespace.
    pub namespace: String,
    /// The execution it works for: name and uid.
    execution: (String, String),
    /// The Job it belongs to: name and uid.
    job: (String, String),
    /// Its own name.
    pub name: String,
    /// The Secret with its input.
    input: String,
    /// Some arguments come from Secrets: nothing that others said may be repeated.
    pub secret_args: bool,
}

impl Pod {
    /// Reads what [`crate::runners::exec`] sets.
    ///
    /// # Errors
    /// In a sentence, if something is missing.
    pub fn from_environment() -> Result<Self, String> {
        let variable = |name: &str| {
            std::env::var(name)
                .map_err(|_| format!("{name} is not set: this is started by the controller's Jobs"))
        };
        let mut config = kube::Config::incluster()
            .map_err(|error| format!("this does not run in a pod of a cluster: {error}"))?;
        // Nothing is watched here, and no request may take for ever.
        config.read_timeout = Some(READ_TIMEOUT);
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config)
            .map_err(|error| format!("there is no way to the API server: {error}"))?;
        Ok(Self {
            client,
            namespace,
            execution: (variable("RUNNER_EXECUTION_NAME")?, variable("RUNNER_EXECUTION_UID")?),
            job: (variable("RUNNER_JOB_NAME")?, variable("RUNNER_JOB_UID")?),
            name: variable("RUNNER_POD_NAME")?,
            input: variable("RUNNER_INPUT_SECRET")?,
            secret_args: variable("RUNNER_ARGS_SECRET")? != "false",
        })
    }

    /// The uid of the execution.
    pub fn execution_uid(&self) -> &str {
        &self.execution.1
    }

    /// For requests as the run's ServiceAccount.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Removes the Secret with the input, which may hold credentials and has been read. Where the ServiceAccount may
    /// not delete it, it goes with the execution.
    pub async fn tidy_up(&self) {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let how = DeleteParams::default();
        match tokio::time::timeout(TIDYING, secrets.delete(&self.input, &how)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::info!(%error, "the input stays until the execution is deleted"),
            Err(_) => tracing::info!("the input stays until the execution is deleted: no answer came"),
        }
    }

    /// Whether another pod of the namespace is there and has not ended.
    ///
    /// # Errors
    /// If it cannot be read, in the words of a failure for that reason.
    pub async fn is_alive(&self, name: &str, reason: Reason) -> Result<bool, Failure> {
        let pods: Api<core::Pod> = Api::namespaced(self.client(), &self.namespace);
        let found = pods.get_opt(name).await.map_err(|error| refused("get pods", reason, &error))?;
        let phase = found.and_then(|pod| pod.status?.phase);
        Ok(phase.is_some_and(|phase| phase != "Succeeded" && phase != "Failed"))
    }

    /// Tells how far the work is. To fail in this is no reason to fail in the work.
    pub async fn progress(&self, told: &str) {
        // Whoever tells it reads what the tool says, which stands still meanwhile.
        match tokio::time::timeout(PROGRESS_TIMEOUT, self.annotate(PROGRESS, told)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the progress cannot be told"),
            Err(_) => tracing::warn!("the progress cannot be told: no answer came"),
        }
    }

    /// Tells what came of the work.
    ///
    /// # Errors
    /// If the API server does not take it, for long, or refuses it.
    pub async fn report(&self, report: &Report) -> Result<(), kube::Error> {
        let text = serde_json::to_string(report).map_err(kube::Error::SerdeError)?;
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match self.annotate(RESULT, &text).await {
                Ok(()) => return Ok(()),
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => tracing::warn!(%error, "the outcome cannot be told yet"),
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
        self.annotate(RESULT, &text).await
    }

    async fn annotate(&self, key: &str, value: &str) -> Result<(), kube::Error> {
        let (name, uid) = &self.job;
        let patch = json!({"metadata": {"uid": uid, "annotations": {key: value}}});
        let jobs: Api<Job> = Api::namespaced(self.client.clone(), &self.namespace);
        jobs.patch_metadata(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
    }

    /// Puts outputs into a Secret of the execution, each under a key of its own: texts as they are, all else as
    /// JSON.
    ///
    /// # Errors
    /// If the API server does not take it.
    pub async fn keep(&self, output: &Map<String, Value>) -> Result<OutputRef, Failure> {
        let (execution, uid) = &self.execution;
        let name = format!("{}-output-{}", self.job.0, uid.split('-').next().unwrap_or_default());
        let data: Map<String, Value> = output
            .iter()
            .map(|(key, value)| {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                (key.clone(), json!(ByteString(text.into_bytes())))
            })
            .collect();
        let secret = json!({
            "metadata": {
                "name": name,
                "labels": { EXECUTION_UID_LABEL: uid },
                "ownerReferences": [owner(execution, uid)],
            },
            "type": "core.projectvoltron.dev/runner-output",
            "data": data,
        });
        let refused = |reason: Reason, what: &str| {
            let message =
                format!("the work is done, but Secret {name} with its output cannot be created: {what}");
            Failure::new(reason, message)
        };
        let secret: Secret =
            serde_json::from_value(secret).map_err(|_| refused(Reason::InternalError, "it is malformed"))?;
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        match secrets.create(&PostParams::default(), &secret).await {
            // Ours, if the reply to an earlier try was lost: one pod works for a Job, once.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let found = secrets.get_opt(&name).await.ok().flatten();
                if found.is_none_or(|found| found.data != secret.data) {
                    return Err(refused(Reason::AlreadyExists, "another one has its name"));
                }
            }
            Err(kube::Error::Api(status)) => {
                // For example since it is larger than a Secret may be.
                let reason = if status.code == 403 { Reason::Forbidden } else { Reason::Rejected };
                return Err(refused(reason, &status.message));
            }
            Err(_) => return Err(refused(Reason::InternalError, "the API server cannot be reached")),
            Ok(_) => {}
        }
        let digest =
            ring::digest::digest(&ring::digest::SHA256, Value::Object(output.clone()).to_string().as_bytes());
        let digest = digest.as_ref().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        Ok(OutputRef { name, digest: format!("sha256:{digest}") })
    }
}

/// Whether it makes no sense to try again.
#[allow(clippy::wildcard_enum_match_arm, reason = "all other errors pass by themselves, or never")]
fn is_final(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => {
            (400..500).contains(&status.code) && !matches!(status.code, 408 | 409 | 429)
        }
        _ => false,
    }
}

/// What it means that something cannot be done: a right that is missing, or else a failure for that reason.
#[allow(clippy::wildcard_enum_match_arm, reason = "all other errors are told in their own words")]
pub(super) fn refused(what: &str, reason: Reason, error: &kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) if status.code == 403 => Failure::new(
            Reason::Forbidden,
            format!("the ServiceAccount may not {what} in this namespace, which it must: {}", status.message),
        ),
        error => Failure::new(reason, format!("cannot {what}: {error}")),
    }
}

/// Leaves a sentence for whoever looks at the pod.
pub fn last_words(message: &str) {
    tracing::info!(message, "the end");
    // Only the kubelet reads it; outside of a pod there is none.
    let _ = std::fs::write(TERMINATION_LOG, cut(message, message::MAX));
}
