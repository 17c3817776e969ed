//! Kubernetes Events, one for each change of a condition that people follow, with the same reason word.
//!
//! They are written in the background from a bounded queue, so that they never delay or fail an execution. Under
//! load the queue fills and events are dropped and counted: the status is the truth, events only tell of it.

use std::time::Duration;

use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use kube::Resource;
use tokio::sync::mpsc;

use super::{api::Api, execution::Execution, metrics::Metrics};
use crate::{
    crd::{RunnerExecutionStatus, conditions},
    reason::Reason,
};

const QUEUE: usize = 512;
/// At most this many events a second in the long run; the queue is the burst.
const PER_SECOND: u32 = 20;

/// Where events are handed in.
#[derive(Clone)]
pub struct Events {
    queue: mpsc::Sender<(String, Event)>,
    metrics: Metrics,
}

impl Events {
    /// The hand-in, and the task that writes until it is dropped.
    pub fn new(api: Api, metrics: Metrics) -> (Self, impl Future<Output = ()>) {
        let (queue, mut received) = mpsc::channel::<(String, Event)>(QUEUE);
        let dropped = metrics.clone();
        let task = async move {
            while let Some((namespace, event)) = received.recv().await {
                if let Err(error) = api.create_event(&namespace, &event).await {
                    tracing::debug!(%error, namespace, "event not written");
                    dropped.events_dropped.inc();
                }
                tokio::time::sleep(Duration::from_secs(1) / PER_SECOND).await;
            }
        };
        (Self { queue, metrics }, task)
    }

    /// Tells of what changed between the execution's status and the one just written.
    pub fn tell(&self, execution: &Execution, new: &RunnerExecutionStatus, now: Timestamp) {
        for type_ in [conditions::ACCEPTED, conditions::SUCCEEDED] {
            let Some(after) = new.conditions.iter().find(|c| c.type_ == type_) else { continue };
            let reason = Reason::ALL.iter().copied().find(|known| known.as_str() == after.reason);
            let before = execution.conditions.get(type_);
            if before.is_some_and(|before| before.status == after.status && before.reason == reason) {
                continue;
            }
            let calm = reason.is_some_and(Reason::is_calm);
            self.hand_in(execution, event(execution, calm, &after.reason, &after.message, now));
        }
    }

    /// Tells of something that the status does not say.
    pub fn remark(&self, execution: &Execution, reason: Reason, message: &str, now: Timestamp) {
        self.hand_in(execution, event(execution, reason.is_calm(), reason.as_str(), message, now));
    }

    fn hand_in(&self, execution: &Execution, event: Event) {
        if self.queue.try_send((execution.namespace().to_owned(), event)).is_err() {
            self.metrics.events_dropped.inc();
        }
    }
}

fn event(execution: &Execution, calm: bool, reason: &str, message: &str, now: Timestamp) -> Event {
    // `kubectl describe` sorts by whole seconds and keeps the order of names within them, so the name carries
    // the full time.
    static ORDER: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);
    let order = ORDER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let stamp = format!("{:016x}{order:04x}", now.as_nanosecond());
    Event {
        metadata: ObjectMeta {
            name: Some(format!(
                "{}.{stamp}",
                execution.name().get(..200).unwrap_or_else(|| execution.name())
            )),
            namespace: execution.metadata.namespace.clone(),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(Execution::api_version(&()).into_owned()),
            kind: Some(Execution::kind(&()).into_owned()),
            name: execution.metadata.name.clone(),
            namespace: execution.metadata.namespace.clone(),
            uid: execution.metadata.uid.clone(),
            resource_version: execution.metadata.resource_version.clone(),
            field_path: None,
        },
        type_: Some(if calm { "Normal" } else { "Warning" }.into()),
        reason: Some(reason.to_owned()),
        message: Some(if message.is_empty() {
            "The execution can be run.".into()
        } else {
            message.to_owned()
        }),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        source: Some(EventSource { component: Some("runner-controller".into()), host: None }),
        ..Event::default()
    }
}
