//! What the runners have in common that work in a pod of this project: helm, terraform, http.
//!
//! Their child is a Job of one pod, which runs `runner-controller exec TOOL` as the run's ServiceAccount. Its
//! arguments come by the [input file](super::input), never by the Job; what becomes of them comes back by the Job's
//! annotations ([`super::report`]). How a Job is stopped, and what keeps its pod from starting, is told in
//! [`super::job`]. Input: arguments. Output: the Job's spec, and what became of it. Pure.

use kube::core::ApiResource;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Evidence, Glance, Glimpse, Observation, Output, Rejection, Rendered, Run, Runner, Stop, View,
    args::merge,
    input,
    job::Job,
    report::{self, Report},
};
use crate::{crd::SecretKeyRef, names::is_key};

pub(super) mod read;

/// As whom the pod runs: nobody in particular.
const USER: i64 = 65_532;

/// What is particular to one tool.
pub(super) trait Tool: Send + Sync + 'static {
    /// The runner's name, and the word after `exec`.
    const NAME: &'static str;
    /// See [`Runner::rehearses`].
    const REHEARSES: bool;

    /// Says what is wrong with the arguments, or what else the pod needs for them.
    fn check(&self, args: &Value) -> Result<Needs, Rejection>;
}

/// What a pod needs besides the input file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Needs {
    /// Folders and what is in them: volumes without a name.
    pub(super) mounts: Vec<(&'static str, Value)>,
}

/// A key of a ConfigMap or a Secret of the execution's namespace.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// Of a ConfigMap.
    ConfigMapKeyRef(SecretKeyRef),
    /// Of a Secret.
    SecretKeyRef(SecretKeyRef),
}

impl Source {
    /// Whether its names can be nothing but names.
    pub(super) fn is_plain(&self) -> bool {
        let (Self::ConfigMapKeyRef(key) | Self::SecretKeyRef(key)) = self;
        [&key.name, &key.key].into_iter().all(|text| is_key(text, 253))
    }

    /// Whether nobody is to see what is there.
    pub(super) const fn is_secret(&self) -> bool {
        matches!(self, Self::SecretKeyRef(_))
    }

    /// The volume with that key in a file.
    pub(super) fn volume(&self, path: &str) -> Value {
        json!({"projected": {"sources": [self.projection(path)]}})
    }

    /// The same as a part of a volume.
    pub(super) fn projection(&self, path: &str) -> Value {
        let (kind, key) = match self {
            Self::ConfigMapKeyRef(key) => ("configMap", key),
            Self::SecretKeyRef(key) => ("secret", key),
        };
        json!({ kind: {"name": key.name, "items": [{"key": key.key, "path": path}]} })
    }
}

/// A runner whose child is a Job with a pod of this project.
#[derive(Clone, Debug)]
pub(super) struct Exec<T> {
    tool: T,
    pods: Pods,
    job: Job,
}

/// How the pods of this project are made.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Pods {
    /// The image with this program and with the tools, as nodes know it.
    pub(super) image: String,
    /// A pod spec whose fields are defaults, as for [`Job::new`].
    pub(super) defaults: Value,
    /// What they log, in the form of `RUST_LOG`; as much as is usual if absent.
    pub(super) log: Option<String>,
}

impl<T: Tool> Exec<T> {
    /// For a tool that is in the pods' image.
    pub(super) fn new(tool: T, pods: &Pods) -> Self {
        Self { tool, pods: pods.clone(), job: Job::default() }
    }

    fn pod(&self, run: &Run<'_>, needs: Needs) -> Value {
        let mut pod = json!({
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        });
        if self.pods.defaults.is_object() {
            merge(&mut pod, self.pods.defaults.clone());
        }
        let Value::Object(pod) = &mut pod else { return pod };
        pod.insert("serviceAccountName".into(), run.service_account.into());
        pod.insert("restartPolicy".into(), "Never".into());
        let mut container = self.container(run);
        let temporary = ("/tmp", json!({"emptyDir": {}}));
        for (index, (path, mut volume)) in std::iter::once(temporary).chain(needs.mounts).enumerate() {
            let name = format!("exec-{index}");
            let read_only = volume.get("emptyDir").is_none();
            input::push(
                &mut container,
                "volumeMounts",
                json!({"name": name, "mountPath": path, "readOnly": read_only}),
            );
            merge(&mut volume, json!({ "name": name }));
            input::push(pod, "volumes", volume);
        }
        pod.insert("containers".into(), json!([container]));
        input::mount(pod, run.input_secret);
        Value::Object(std::mem::take(pod))
    }

    fn container(&self, run: &Run<'_>) -> Map<String, Value> {
        let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
        let container = json!({
            "name": "main",
            "image": self.pods.image,
            "imagePullPolicy": "IfNotPresent",
            "args": ["exec", T::NAME],
            "env": [
                {"name": "HOME", "value": "/tmp"},
                {"name": "RUNNER_EXECUTION_NAME", "value": run.execution},
                {"name": "RUNNER_EXECUTION_UID", "value": run.uid},
                {"name": "RUNNER_JOB_NAME", "value": run.name},
                {"name": "RUNNER_JOB_UID", "valueFrom": field("metadata.labels['batch.kubernetes.io/controller-uid']")},
                {"name": "RUNNER_POD_NAME", "valueFrom": field("metadata.name")},
                {"name": "RUNNER_ARGS_SECRET", "value": run.secret_args.to_string()},
                {"name": "RUNNER_INPUT_SECRET", "value": run.input_secret},
            ],
            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
            },
        });
        match container {
            Value::Object(mut container) => {
                if let Some(log) = &self.pods.log {
                    input::push(&mut container, "env", json!({"name": "RUST_LOG", "value": log}));
                }
                container
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Map::new()
            }
        }
    }
}

impl<T: Tool> Runner for Exec<T> {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn child(&self) -> ApiResource {
        self.job.child()
    }

    fn view(&self) -> View {
        self.job.view()
    }

    fn rehearses(&self) -> bool {
        T::REHEARSES
    }

    fn render(&self, run: &Run<'_>) -> Result<Rendered, Rejection> {
        let needs = self.tool.check(run.args)?;
        let spec = json!({
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "template": {"spec": self.pod(run, needs)},
        });
        Ok(Rendered {
            spec: spec.as_object().cloned().unwrap_or_default(),
            // Of a rehearsal nothing is left behind.
            held_back: (T::REHEARSES && run.dry_run).then(|| json!({"spec": {"ttlSecondsAfterFinished": 0}})),
            input: Some(run.args.clone()),
            ..Rendered::default()
        })
    }

    fn glance(&self, child: &Glimpse<'_>) -> Glance {
        self.job.glance(child)
    }

    fn wants_pods(&self) -> bool {
        true
    }

    fn interpret(&self, evidence: &Evidence) -> Observation {
        told(self.job.interpret(evidence), &evidence.child)
    }

    fn stop(&self, why: Stop) -> Value {
        self.job.stop(why)
    }
}

/// What the Job shows, in the words of the pod where it left some. The Job has the last word on the outcome.
fn told(observation: Observation, job: &Value) -> Observation {
    let progress = report::progress(job);
    match (observation, report::read(job)) {
        (Observation::Succeeded { .. }, Some(Report::Succeeded { message, output, output_ref })) => {
            let output = output_ref.map(Output::Secret).or_else(|| output.map(Output::Inline));
            Observation::Succeeded { progress, output, message }
        }
        (Observation::Succeeded { .. }, Some(Report::Failed { .. }) | None) => Observation::Succeeded {
            progress,
            output: None,
            message: "The work succeeded, but its report is missing.".to_owned(),
        },
        (Observation::Failed { .. }, Some(Report::Failed { reason, message }))
        | (Observation::Failed { reason, message, .. }, Some(Report::Succeeded { .. }) | None) => {
            Observation::Failed { reason, message, progress }
        }
        (Observation::Underway { .. }, _) => Observation::Underway { progress },
        (waiting @ Observation::Waiting { .. }, _) => waiting,
    }
}

#[cfg(test)]
mod tests;
