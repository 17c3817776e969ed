//! Why a Job has no pods: told by nothing but its events.
//!
//! Input: the events about the Job. Output: what the API server said to the Job controller, and what to do. Pure.

use crate::message::{self, cut};
use k8s_openapi::{api::core::v1::Event, apimachinery::pkg::apis::meta::v1::Time};
use serde_json::Value;

use crate::{
    reason::Reason,
    runners::pods::{Trouble, quoted},
};

/// What keeps the Job controller from creating pods; none if no event says so, or if it could since.
///
/// The cause is that of the latest refusal, the time that of the first: each try is an event of its own, because
/// the message holds the pod's name, which is made up anew every time.
pub(super) fn trouble(child: &Value, events: &[Event]) -> Option<Trouble> {
    let uid = child.pointer("/metadata/uid").and_then(Value::as_str);
    // A former Job of the same name has left its events behind.
    let ours = |event: &&Event| match (event.involved_object.uid.as_deref(), uid) {
        (Some(theirs), Some(uid)) => theirs == uid,
        (None, _) | (_, None) => true,
    };
    let of = |reason: &'static str| {
        events.iter().filter(ours).filter(move |event| event.reason.as_deref() == Some(reason))
    };
    let created = of("SuccessfulCreate").filter_map(last).max();
    let refused: Vec<&Event> =
        of("FailedCreate").filter(|event| created.is_none() || last(event) > created).collect();
    let latest = refused.iter().max_by_key(|event| (last(event), event.metadata.name.as_deref()))?;
    let since = refused.iter().filter_map(|event| first(event)).min();
    let said = latest.message.as_deref().unwrap_or_default();
    let (reason, advice) = cause(said);
    let name = child.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let said =
        said.trim_start_matches("(combined from similar events): ").trim_start_matches("Error creating: ");
    let message = format!("no pod can be created for Job {name}{}; {advice}", quoted(Some(said)));
    Some(Trouble { reason, message: cut(&message, message::MAX), since })
}

/// What the API server's words mean, and what to do about it. They are stable: each is a format string of an
/// admission plugin (serviceaccount, resourcequota, podsecurity, webhook, policy).
fn cause(said: &str) -> (Reason, &'static str) {
    const CAUSES: [(&str, Reason, &str); 6] = [
        (
            "error looking up service account",
            Reason::ServiceAccountNotFound,
            "create the ServiceAccount, or name another in spec.context.platform.serviceAccountName",
        ),
        (
            "exceeded quota",
            Reason::QuotaExceeded,
            "wait until others have ended, ask for less resources, or have the namespace's quota raised",
        ),
        (
            "failed quota",
            Reason::PodCreationFailed,
            "write the resources that the quota asks for in each container's `resources`",
        ),
        (
            "violates PodSecurity",
            Reason::PodCreationFailed,
            "set the securityContext that the namespace's Pod Security level asks for",
        ),
        (
            "admission webhook",
            Reason::PodCreationFailed,
            "a policy of the cluster refuses the pod: do what it says",
        ),
        (
            "ValidatingAdmissionPolicy",
            Reason::PodCreationFailed,
            "a policy of the cluster refuses the pod: do what it says",
        ),
    ];
    let known = CAUSES.into_iter().find(|(words, _, _)| said.contains(words));
    known.map_or(
        (Reason::PodCreationFailed, "change the pod so that it is accepted"),
        |(_, reason, advice)| (reason, advice),
    )
}

/// When the event was seen last.
fn last(event: &Event) -> Option<Time> {
    let of_series = || event.series.as_ref()?.last_observed_time.as_ref().map(|time| Time(time.0));
    event.last_timestamp.clone().or_else(of_series).or_else(|| first(event))
}

/// When the event was seen first.
fn first(event: &Event) -> Option<Time> {
    event
        .first_timestamp
        .clone()
        .or_else(|| event.event_time.as_ref().map(|time| Time(time.0)))
        .or_else(|| event.metadata.creation_timestamp.clone())
}
