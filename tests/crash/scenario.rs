//! The scenarios: what is run, what a person does meanwhile, and how it must end. Plain data.

use runner_controller::{crd::Phase, reason::Reason};
use serde_json::{Value, json};

use crate::common::kubelet::Pods;

/// What is run and how it ends.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) runner: &'static str,
    pub(crate) args: fn() -> Value,
    /// What becomes of the pods, where the child has any.
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

const fn scenario(
    name: &'static str,
    runner: &'static str,
    args: fn() -> Value,
    pods: Pods,
    story: Story,
    end: (Phase, Reason),
) -> Scenario {
    Scenario { name, runner, args, pods, story, end }
}

const JOB: &str = "job";
const ARGO: &str = "argo-workflow";
const HTTP: &str = "http";
const HELM: &str = "helm";

/// All of them.
pub(crate) const ALL: &[Scenario] = &[
    scenario("job succeeds", JOB, job, Pods::Succeed, Story::Nothing, (Phase::Succeeded, Reason::Succeeded)),
    scenario("job fails", JOB, job, Pods::Fail, Story::Nothing, (Phase::Failed, Reason::ContainerFailed)),
    scenario("job times out", JOB, job, Pods::Stay, Story::Timeout, (Phase::Failed, Reason::TimedOut)),
    scenario(
        "job cancelled",
        JOB,
        job,
        Pods::Stay,
        Story::CancelOnceRunning,
        (Phase::Cancelled, Reason::Cancelled),
    ),
    scenario("job dry run", JOB, job, Pods::Stay, Story::DryRun, (Phase::Succeeded, Reason::DryRunSucceeded)),
    scenario(
        "job suspended",
        JOB,
        job,
        Pods::Succeed,
        Story::ReleaseOnceSuspended,
        (Phase::Succeeded, Reason::Succeeded),
    ),
    scenario(
        "workflow succeeds",
        ARGO,
        pause,
        Pods::Stay,
        Story::Nothing,
        (Phase::Succeeded, Reason::Succeeded),
    ),
    scenario(
        "workflow fails",
        ARGO,
        fail,
        Pods::Stay,
        Story::Nothing,
        (Phase::Failed, Reason::WorkflowFailed),
    ),
    scenario(
        "workflow times out",
        ARGO,
        endless,
        Pods::Stay,
        Story::Timeout,
        (Phase::Failed, Reason::TimedOut),
    ),
    scenario(
        "workflow cancelled",
        ARGO,
        endless,
        Pods::Stay,
        Story::CancelOnceRunning,
        (Phase::Cancelled, Reason::Cancelled),
    ),
    scenario(
        "workflow dry run",
        ARGO,
        pause,
        Pods::Stay,
        Story::DryRun,
        (Phase::Succeeded, Reason::DryRunSucceeded),
    ),
    scenario(
        "workflow suspended",
        ARGO,
        pause,
        Pods::Stay,
        Story::ReleaseOnceSuspended,
        (Phase::Succeeded, Reason::Succeeded),
    ),
    scenario(
        "http succeeds",
        HTTP,
        request,
        Pods::Succeed,
        Story::Nothing,
        (Phase::Succeeded, Reason::Succeeded),
    ),
    scenario(
        "http cancelled",
        HTTP,
        request,
        Pods::Stay,
        Story::CancelOnceRunning,
        (Phase::Cancelled, Reason::Cancelled),
    ),
    scenario(
        "helm dry run",
        HELM,
        release,
        Pods::Succeed,
        Story::DryRun,
        (Phase::Succeeded, Reason::DryRunSucceeded),
    ),
];

fn job() -> Value {
    json!({"image": "busybox:1"})
}

fn release() -> Value {
    json!({"chart": {"from": {"configMapKeyRef": {"name": "charts", "key": "chart.tgz"}}}})
}

fn request() -> Value {
    json!({"url": "http://127.0.0.1:9/"})
}

fn workflow(template: Value, deadline: Option<u32>) -> Value {
    let mut spec = json!({"entrypoint": "main", "templates": [{"name": "main", "suspend": template}]});
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
