//! The scenarios: what is run, what a person does meanwhile, and how it must end. Plain data.

use runner_controller::{crd::Phase, reason::Reason};
use serde_json::{Value, json};

use crate::common::kubelet::Pods;

/// What is run and how it ends.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) runner: &'static str,
    pub(crate) args: fn() -> Value,
    /// What becomes of the pods, where the child has any that run.
    pub(crate) pods: Pods,
    pub(crate) story: Story,
    pub(crate) end: (Phase, Reason),
}

/// What a person does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Story {
    Nothing,
    Timeout,
    CancelOnceRunning,
    DryRun,
    ReleaseOnceSuspended,
}

/// What is known of a scenario before its story is told.
const fn work(name: &'static str, runner: &'static str, args: fn() -> Value, pods: Pods) -> Scenario {
    let end = (Phase::Succeeded, Reason::Succeeded);
    Scenario { name, runner, args, pods, story: Story::Nothing, end }
}

impl Scenario {
    const fn fails(self, reason: Reason) -> Self {
        Self { end: (Phase::Failed, reason), ..self }
    }

    const fn times_out(self) -> Self {
        Self { story: Story::Timeout, end: (Phase::Failed, Reason::TimedOut), ..self }
    }

    const fn cancelled(self) -> Self {
        Self { story: Story::CancelOnceRunning, end: (Phase::Cancelled, Reason::Cancelled), ..self }
    }

    const fn dry_run(self) -> Self {
        Self { story: Story::DryRun, end: (Phase::Succeeded, Reason::DryRunSucceeded), ..self }
    }

    const fn suspended(self) -> Self {
        Self { story: Story::ReleaseOnceSuspended, ..self }
    }

    /// Whether the pods' [output](crate::common::kubelet::output) must be in the status at the end.
    pub(crate) fn tells_output(&self) -> bool {
        self.pods == Pods::TellSuccess && self.story == Story::Nothing
    }

    /// Of how many runners that are the same to the controller this is one, and which: a bounded run shares out the
    /// points of such scenarios among them.
    pub(crate) fn share(&self) -> (usize, usize) {
        let alike = [HELM, TERRAFORM, HTTP];
        alike.iter().position(|it| *it == self.runner).map_or((1, 0), |which| (alike.len(), which))
    }
}

const JOB: &str = "job";
const ARGO: &str = "argo-workflow";
const HELM: &str = "helm";
const TERRAFORM: &str = "terraform";
const HTTP: &str = "http";

/// All of them.
pub(crate) const ALL: &[Scenario] = &[
    work("job succeeds", JOB, job, Pods::Succeed),
    work("job fails", JOB, job, Pods::Fail).fails(Reason::ContainerFailed),
    work("job times out", JOB, job, Pods::Stay).times_out(),
    work("job cancelled", JOB, job, Pods::Stay).cancelled(),
    work("job dry run", JOB, job, Pods::Stay).dry_run(),
    work("job suspended", JOB, job, Pods::Succeed).suspended(),
    work("workflow succeeds", ARGO, pause, Pods::Stay),
    work("workflow fails", ARGO, fail, Pods::Stay).fails(Reason::WorkflowFailed),
    work("workflow times out", ARGO, endless, Pods::Stay).times_out(),
    work("workflow cancelled", ARGO, endless, Pods::Stay).cancelled(),
    work("workflow dry run", ARGO, pause, Pods::Stay).dry_run(),
    work("workflow suspended", ARGO, pause, Pods::Stay).suspended(),
    work("helm installs", HELM, release, Pods::TellSuccess),
    work("helm fails", HELM, release, Pods::TellFailure(Reason::HelmFailed)).fails(Reason::HelmFailed),
    work("helm times out", HELM, release, Pods::Stay).times_out(),
    work("helm cancelled", HELM, release, Pods::Stay).cancelled(),
    work("helm dry run", HELM, release, Pods::TellSuccess).dry_run(),
    work("terraform applies", TERRAFORM, module, Pods::TellSuccess),
    work("terraform fails", TERRAFORM, module, Pods::TellFailure(Reason::StateInUse))
        .fails(Reason::StateInUse),
    work("terraform times out", TERRAFORM, module, Pods::Stay).times_out(),
    work("terraform cancelled", TERRAFORM, module, Pods::Stay).cancelled(),
    work("terraform dry run", TERRAFORM, module, Pods::TellSuccess).dry_run(),
    work("http succeeds", HTTP, request, Pods::TellSuccess),
    work("http fails", HTTP, request, Pods::TellFailure(Reason::RequestFailed)).fails(Reason::RequestFailed),
    work("http times out", HTTP, request, Pods::Stay).times_out(),
    work("http cancelled", HTTP, request, Pods::Stay).cancelled(),
    work("http dry run", HTTP, request, Pods::TellSuccess).dry_run(),
];

fn job() -> Value {
    json!({"image": "busybox:1"})
}

fn release() -> Value {
    json!({"chart": {"from": {"configMapKeyRef": {"name": "charts", "key": "chart.tgz"}}}})
}

fn module() -> Value {
    json!({"module": {"name": "db", "files": {"main.tf": ""}}})
}

fn request() -> Value {
    json!({"url": "http://127.0.0.1:9/"})
}

fn workflow(template: Value, deadline: Option<u32>) -> Value {
    let mut spec = json!({"entrypoint": "main", "templates": [{"name": "main"}]});
    spec["templates"][0]["suspend"] = template;
    if let Some(seconds) = deadline {
        spec["activeDeadlineSeconds"] = json!(seconds);
    }
    json!({ "workflow": spec })
}

fn pause() -> Value {
    workflow(json!({"duration": "1"}), None)
}

fn fail() -> Value {
    workflow(json!({}), Some(1))
}

fn endless() -> Value {
    workflow(json!({}), None)
}
