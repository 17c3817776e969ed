//! What is wrong with a pod, in words: why it cannot go on, or why it failed.
//!
//! Input: the pods of one child, as the API server has them. Output: a [`Reason`] and a message that names the
//! pod and the container and says what to look at. Pure, no I/O, no clock: for every runner whose work is pods.

use std::cmp::Reverse;

use crate::message::{self, cut};
use k8s_openapi::{
    api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod, PodCondition},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};

use crate::reason::Reason;

/// The longest part of a message that is not ours: what a kubelet or a container said. Leaves room for the advice.
const MAX_QUOTE: usize = 560;

/// Why a pod cannot go on, unless something changes in the cluster.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trouble {
    /// What it waits for.
    pub(crate) reason: Reason,
    /// The pod, the cause, and what to do.
    pub(crate) message: String,
    /// Since when.
    pub(crate) since: Option<Time>,
}

/// Why a pod failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// In one word.
    pub(crate) reason: Reason,
    /// The pod, the container, the cause, and what to look at.
    pub(crate) message: String,
}

/// What keeps *all* unfinished pods from going on; none if one of them can, or if there is no such pod.
///
/// Of several, the one that has waited longest speaks (by name where that is equal), so that the answer does
/// not depend on the order of the list.
pub(crate) fn trouble(pods: &[Pod]) -> Option<Trouble> {
    let mut found: Vec<(Trouble, &str)> = Vec::new();
    for pod in pods.iter().filter(|pod| is_active(pod)) {
        found.push((trouble_of(pod)?, name(pod)));
    }
    found
        .into_iter()
        .min_by_key(|(trouble, name)| {
            let since = trouble.since.as_ref().map(|time| time.0);
            (since.is_none(), since, *name)
        })
        .map(|(trouble, _)| trouble)
}

/// What held a pod up when its time ran out, whatever is being done about the pod since.
pub(crate) fn last_trouble(pods: &[Pod]) -> Option<Trouble> {
    let stuck = pods.iter().filter(|pod| !matches!(phase(pod), "Succeeded")).filter_map(trouble_of);
    stuck.max_by(|one, other| (&one.since, &one.message).cmp(&(&other.since, &other.message)))
}

/// Why the work failed, told by the pod that failed last; none if no pod tells.
///
/// A pod that somebody is deleting speaks only if no other does: once a Job has failed, its controller deletes
/// the pods that still run, and their exit code 143 is an effect and no cause. Ties go to the greater name.
pub(crate) fn failure(pods: &[Pod]) -> Option<Failure> {
    pods.iter()
        .filter_map(|pod| Some((failure_of(pod)?, pod)))
        .max_by_key(|(_, pod)| (Reverse(pod.metadata.deletion_timestamp.is_some()), ended_at(pod), name(pod)))
        .map(|(failure, _)| failure)
}

/// Whether the pod has not ended and is not about to.
fn is_active(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase(pod), "Succeeded" | "Failed")
}

/// What keeps one pod from going on.
fn trouble_of(pod: &Pod) -> Option<Trouble> {
    if let Some(unscheduled) = condition(pod, "PodScheduled").filter(|it| it.status == "False") {
        return unschedulable(pod, unscheduled);
    }
    if works(pod) {
        return None;
    }
    let (container, reason, why, said) = containers(pod).find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let why = waiting.reason.as_deref().unwrap_or_default();
        Some((container, waiting_reason(why)?, why, waiting.message.as_deref()))
    })?;
    let quote = quoted(said);
    let (pod_name, container) = (name(pod), &container.name);
    let message = if reason == Reason::ImagePullFailed {
        format!(
            "pod {pod_name}: the image of container {container} cannot be pulled ({why}){quote}; check the image's \
             name, and that the node may pull it (registry, imagePullSecrets)"
        )
    } else {
        format!(
            "pod {pod_name}: container {container} cannot be created ({why}){quote}; check its command and the \
             ConfigMaps, Secrets and volumes it names; see: kubectl describe pod -n {} {pod_name}",
            namespace(pod)
        )
    };
    Some(Trouble { reason, message: cut(&message, message::MAX), since: stands_since(pod) })
}

/// Whether a container of the work itself runs: nobody may end that for the sake of another one that does not.
fn works(pod: &Pod) -> bool {
    let own = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    own.filter_map(|container| container.state.as_ref()).any(|state| state.running.is_some())
}

/// A pod that has no node. One that is held by a scheduling gate waits for whoever set the gate: not our trouble.
fn unschedulable(pod: &Pod, condition: &PodCondition) -> Option<Trouble> {
    if condition.reason.as_deref() != Some("Unschedulable") {
        return None;
    }
    let message = format!(
        "pod {}: no node can take it{}; check its resource requests, node selectors and tolerations, and the nodes",
        name(pod),
        quoted(condition.message.as_deref())
    );
    let since = condition.last_transition_time.clone().or_else(|| stands_since(pod));
    Some(Trouble { reason: Reason::Unschedulable, message: cut(&message, message::MAX), since })
}

/// What a kubelet's word for a waiting container means; none for those that pass by themselves
/// (`ContainerCreating`, `PodInitializing`) and for `CrashLoopBackOff`, where the Job's backoffLimit decides.
fn waiting_reason(word: &str) -> Option<Reason> {
    match word {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => Some(Reason::ImagePullFailed),
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Some(Reason::ContainerConfigError)
        }
        _ => None,
    }
}

/// Since when a pod stands still: since it got its node, or since the last container before the stuck one moved.
/// Without the latter, an init container that worked for an hour would use up the grace of what comes after it.
fn stands_since(pod: &Pod) -> Option<Time> {
    let status = pod.status.as_ref();
    let scheduled = condition(pod, "PodScheduled")
        .and_then(|it| it.last_transition_time.clone())
        .or_else(|| status.and_then(|status| status.start_time.clone()))
        .or_else(|| pod.metadata.creation_timestamp.clone());
    let moved = containers(pod).flat_map(moments).max();
    scheduled.into_iter().chain(moved).max()
}

/// When a container started or ended.
fn moments(container: &ContainerStatus) -> impl Iterator<Item = Time> + '_ {
    [&container.state, &container.last_state].into_iter().flatten().flat_map(|state| {
        let running = state.running.as_ref().and_then(|it| it.started_at.clone());
        let terminated = state.terminated.as_ref().and_then(|it| it.finished_at.clone());
        running.into_iter().chain(terminated)
    })
}

/// Why one pod failed; none if it did not, or not yet.
fn failure_of(pod: &Pod) -> Option<Failure> {
    let failed = first_failed(pod);
    // A sidecar that is killed at the end of a pod that succeeded is no failure.
    if phase(pod) == "Succeeded" || phase(pod) != "Failed" && (failed.is_none() || is_active(pod)) {
        return None;
    }
    let failure = lost(pod, failed).or_else(|| failed.map(|(container, end)| exited(pod, container, end)));
    Some(failure.unwrap_or_else(|| Failure {
        reason: Reason::JobFailed,
        message: format!(
            "pod {0} failed, and nothing in it says why; see: kubectl describe pod -n {1} {0}",
            name(pod),
            namespace(pod)
        ),
    }))
    .map(|failure| Failure { message: cut(&failure.message, message::MAX), ..failure })
}

/// The container that failed first: what else ended later, ended because of it. Init containers come first.
fn first_failed(pod: &Pod) -> Option<(&ContainerStatus, &ContainerStateTerminated)> {
    containers(pod)
        .filter_map(|container| Some((container, container.state.as_ref()?.terminated.as_ref()?)))
        .filter(|(_, end)| end.exit_code != 0 || end.reason.as_deref() == Some("OOMKilled"))
        .min_by_key(|(_, end)| {
            let at = end.finished_at.as_ref().map(|time| time.0);
            (at.is_none(), at)
        })
}

/// A pod that was ended from outside: by its node, by the scheduler, by somebody who deleted it.
fn lost(pod: &Pod, failed: Option<(&ContainerStatus, &ContainerStateTerminated)>) -> Option<Failure> {
    let pod_name = name(pod);
    let status = pod.status.as_ref();
    let outer = status.and_then(|status| status.reason.as_deref()).filter(|reason| !reason.is_empty());
    let said = status.and_then(|status| status.message.as_deref());
    if outer == Some("DeadlineExceeded") {
        let message = format!(
            "pod {pod_name} ran longer than template.spec.activeDeadlineSeconds allows; raise it if needed"
        );
        return Some(Failure { reason: Reason::JobFailed, message });
    }
    let disrupted = condition(pod, "DisruptionTarget").filter(|it| it.status == "True");
    let (why, said) = if let Some(outer) = outer {
        (outer, said)
    } else if let Some(disrupted) = disrupted {
        (disrupted.reason.as_deref().unwrap_or("DisruptionTarget"), disrupted.message.as_deref())
    } else if failed.is_some_and(|(_, end)| end.reason.as_deref() == Some("ContainerStatusUnknown")) {
        ("ContainerStatusUnknown", Some("its node lost sight of the container"))
    } else if failed.is_none_or(|(_, end)| ended_by_deletion(pod, end)) && deletion_asked(pod).is_some() {
        ("Deleted", Some("somebody deleted it while it ran"))
    } else {
        return None;
    };
    let message = format!(
        "pod {pod_name} was ended from outside, not by its own containers ({why}){}; check what it had done, then \
         run it again",
        quoted(said)
    );
    Some(Failure { reason: Reason::PodLost, message })
}

/// Whether a container ended only after somebody had asked for the pod's deletion.
fn ended_by_deletion(pod: &Pod, end: &ContainerStateTerminated) -> bool {
    match (deletion_asked(pod), &end.finished_at) {
        (Some(asked), Some(finished)) => finished.0 >= asked,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

/// When the deletion was asked for: the timestamp is when the grace is over, not when it began.
fn deletion_asked(pod: &Pod) -> Option<Timestamp> {
    let over = pod.metadata.deletion_timestamp.as_ref()?.0;
    let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or_default();
    Some(over.checked_sub(SignedDuration::from_secs(grace)).unwrap_or(over))
}

/// A container that ended badly by itself.
fn exited(pod: &Pod, container: &ContainerStatus, end: &ContainerStateTerminated) -> Failure {
    let (pod_name, ns, container) = (name(pod), namespace(pod), &container.name);
    let said =
        end.message.as_deref().and_then(|text| text.lines().rev().find(|line| !line.trim().is_empty()));
    let quote = quoted(said);
    match end.reason.as_deref() {
        Some("OOMKilled") => Failure {
            reason: Reason::OOMKilled,
            message: format!(
                "container {container} of pod {pod_name} was killed for using more memory than its limit; raise \
                 resources.limits.memory, or let it use less; see: kubectl logs -n {ns} {pod_name} -c {container}"
            ),
        },
        Some(why @ ("StartError" | "ContainerCannotRun")) => Failure {
            reason: Reason::ContainerConfigError,
            message: format!(
                "container {container} of pod {pod_name} could not be started ({why}){quote}; check that its command \
                 exists in the image"
            ),
        },
        Some(_) | None => Failure {
            reason: Reason::ContainerFailed,
            message: format!(
                "container {container} of pod {pod_name} exited with code {}{quote}; see: kubectl logs -n {ns} \
                 {pod_name} -c {container}",
                end.exit_code
            ),
        },
    }
}

/// When the pod came to its end, as far as it tells.
fn ended_at(pod: &Pod) -> Option<Timestamp> {
    let ends = containers(pod).filter_map(|it| it.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref());
    ends.map(|time| time.0).max().or_else(|| pod.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

/// All containers in the order in which they start.
fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| {
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
    })
}

fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

/// The pod's name.
pub(crate) fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// `: what somebody else said`, on one line and bounded; nothing if nothing was said.
pub(crate) fn quoted(said: Option<&str>) -> String {
    let words: Vec<&str> =
        said.unwrap_or_default().split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    if line.is_empty() { line } else { format!(": {}", cut(&line, MAX_QUOTE)) }
}

#[cfg(test)]
mod tests;
