//! The runner `job`: one batch/v1 Job per execution.
//!
//! Input: a JobSpec, or `image`, `command`, `args` and the like of a single container (see `args`). Output: the
//! Job's spec, and what became of the Job, told by its pods (see `outcome`). Pure, no I/O.
//!
//! # How a Job is stopped
//! [`Job::stop`] patches `suspend: false` and `activeDeadlineSeconds: 0`, in one patch. Read in Kubernetes 1.34.4
//! (pkg/controller/job/job_controller.go, pkg/apis/batch/validation/validation.go) and tried on its API server
//! and Job controller; the recorded objects are in tests/fixtures/job:
//! - *Valid*: `validateJobSpec` wants `activeDeadlineSeconds` non-negative, so 0 is allowed; and it is not among
//!   the fields that `ValidateJobSpecUpdate` holds immutable (selector, template, completionMode,
//!   podFailurePolicy, backoffLimitPerIndex, managedBy, successPolicy).
//! - *Never paused*: `pastActiveDeadline` is false for a suspended Job, hence `suspend: false` in the same patch.
//!   A Job that never started is given its startTime in the very pass of `syncJob` that then finds the deadline
//!   passed (0 s ≥ 0 s); pods are only made in the other branch, by `manageJob`. So nothing ever runs: recorded
//!   as `stopped-never-started`. Its condition Suspended stays True for ever, so Failed must be asked first.
//! - *For good*: the condition FailureTarget is stored first, and `syncJob` reads it before anything else. Neither
//!   suspending the Job nor taking the deadline away brings it back (tried).
//! - *The proof*: `deleteActivePods` asks for the deletion of all pods; `enactJobFinished` adds Failed only when
//!   no pod is `terminating` any more, which means that each is gone or its kubelet has reported it as ended.
//!   Recorded as `stopping-pod-terminating`: FailureTarget without Failed for as long as the pod ran. This needs
//!   one of the feature gates JobManagedBy and JobPodReplacementPolicy (`delayTerminalCondition`; both on by
//!   default since 1.32). As anywhere in Kubernetes, somebody who deletes a pod by force defeats it.
//! - A pod may take its `terminationGracePeriodSeconds`; Jobs have no faster way, so both kinds of stop are one.
//! - A Job that had reached its success just before (SuccessCriteriaMet) still ends as Complete.

use k8s_openapi::api::batch::v1 as batch;
use kube::core::ApiResource;
use serde_json::{Value, json};

use crate::runners::{Evidence, Glance, Glimpse, Observation, Rejection, Rendered, Run, Runner, Stop, View};

mod args;
mod creation;
mod outcome;
mod shape;
mod validate;
mod words;

/// Runs a Job.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// Defaults of every pod's spec; the user's own fields win.
    pod_defaults: Value,
}

impl Job {
    /// A runner whose pods have these defaults: a pod spec, or null for none. Anything but an object is no
    /// default; check what an operator wrote with [`Job::check_pod_defaults`] first.
    pub fn new(pod_defaults: Value) -> Self {
        Self { pod_defaults }
    }

    /// Says what is wrong with an operator's defaults, so that it comes out at the start and not as every user's
    /// rejected Job. Paths begin with `podDefaults`.
    pub fn check_pod_defaults(pod_defaults: &Value) -> Result<(), Rejection> {
        args::check_pod_defaults(pod_defaults)
    }
}

impl Runner for Job {
    fn name(&self) -> &'static str {
        "job"
    }

    fn child(&self) -> ApiResource {
        ApiResource::erase::<batch::Job>(&())
    }

    fn view(&self) -> View {
        View::Status
    }

    fn render(&self, run: &Run<'_>) -> Result<Rendered, Rejection> {
        args::render(run, &self.pod_defaults)
    }

    fn glance(&self, child: &Glimpse<'_>) -> Glance {
        outcome::glance(child.status)
    }

    fn wants_pods(&self) -> bool {
        true
    }

    fn interpret(&self, evidence: &Evidence) -> Observation {
        outcome::interpret(evidence)
    }

    fn stop(&self, why: Stop) -> Value {
        match why {
            Stop::Cancel | Stop::Terminate => json!({"spec": {"suspend": false, "activeDeadlineSeconds": 0}}),
        }
    }
}

#[cfg(test)]
mod tests;
