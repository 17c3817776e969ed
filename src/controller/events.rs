//! Kubernetes Events, one for each change of a condition that people follow, with the same reason word.
//!
//! They are written in the background from bounded queues, so that they never delay or fail an execution. Under load
//! the queues fill and events are dropped and counted: the status is the truth, events only tell of it. What failed is
//! told first.

use std::time::Duration;

use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use kube::Resource;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{api::Api, execution::Execution, metrics::Metrics};
use crate::{
    crd::{RunnerExecution, RunnerExecutionStatus, conditions},
    reason::Reason,
};

/// So many wait at most, of either sort: what is told much later helps nobody.
const QUEUE: usize = 128;
/// So many events a second in the long run: the API server needs as much for one as for a write of a run, and a run has
/// three of them. With 20 a second a backlog was worked off at 0.84 of a bare client's rate instead of 0.91.
const PER_SECOND: u32 = 5;
/// After a quiet time so many at once: all of ten executions that are applied together.
const BURST: u32 = 30;

/// An event, and its namespace.
type Told = (String, Event);

/// Where events are handed in.
#[derive(Clone)]
pub struct Events {
    failures: mpsc::Sender<Told>,
    others: mpsc::Sender<Told>,
    metrics: Metrics,
}

impl Events {
    /// The hand-in, and the task that writes until it is dropped.
    pub fn new(api: Api, metrics: Metrics) -> (Self, impl Future<Output = ()>) {
        let (failures, failures_told) = mpsc::channel(QUEUE);
        let (others, others_told) = mpsc::channel(QUEUE);
        let dropped = metrics.clone();
        let write = async move |(namespace, event): Told| {
            if let Err(error) = api.create_event(&namespace, &event).await {
                tracing::debug!(%error, namespace, "event not written");
                dropped.events_dropped.inc();
            }
        };
        (Self { failures, others, metrics }, paced(failures_told, others_told, write))
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
            self.hand_in(execution, calm, &after.reason, &after.message, now);
        }
    }

    /// Tells of something that the status does not say.
    pub fn remark(&self, execution: &Execution, reason: Reason, message: &str, now: Timestamp) {
        self.hand_in(execution, reason.is_calm(), reason.as_str(), message, now);
    }

    fn hand_in(&self, execution: &Execution, calm: bool, reason: &str, message: &str, now: Timestamp) {
        let queue = if calm { &self.others } else { &self.failures };
        match queue.try_reserve() {
            Ok(place) => {
                let event = event(execution, calm, reason, message, now);
                place.send((execution.namespace().to_owned(), event));
            }
            Err(_) => {
                self.metrics.events_dropped.inc();
            }
        }
    }
}

/// Hands on what comes, of the first sort before the second, at no higher rate than is allowed.
async fn paced<T>(mut first: mpsc::Receiver<T>, mut second: mpsc::Receiver<T>, hand_on: impl AsyncFn(T)) {
    let each = Duration::from_secs(1) / PER_SECOND;
    let rested = || Instant::now().checked_sub(each * BURST).unwrap_or_else(Instant::now);
    let mut turn = rested();
    loop {
        let next = tokio::select! {
            biased;
            Some(next) = first.recv() => next,
            Some(next) = second.recv() => next,
            else => return,
        };
        hand_on(next).await;
        turn = turn.max(rested()) + each;
        sleep_until(turn).await;
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
            api_version: Some(RunnerExecution::api_version(&()).into_owned()),
            kind: Some(RunnerExecution::kind(&()).into_owned()),
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::{BURST, Duration, Instant, PER_SECOND, mpsc, paced};

    #[tokio::test(start_paused = true)]
    async fn failures_are_told_first_and_all_at_a_bounded_rate() {
        let (start, told) = (Instant::now(), RefCell::new(Vec::new()));
        let (failures, failures_told) = mpsc::channel(100);
        let (others, others_told) = mpsc::channel(100);
        for _ in 0..100 {
            others.try_send("other").unwrap();
        }
        let hand_on = async |it| {
            told.borrow_mut().push((it, start.elapsed().as_secs()));
            if told.borrow().len() == 50 {
                failures.try_send("failure").unwrap();
            }
        };
        drop(others);
        tokio::select! {
            () = paced(failures_told, others_told, hand_on) => {}
            () = tokio::time::sleep(Duration::from_mins(1)) => {}
        }
        let told = told.into_inner();
        assert_eq!(told.iter().position(|(it, _)| *it == "failure"), Some(50));
        let within = |second: u64| told.iter().filter(|(_, at)| *at <= second).count();
        assert!((BURST..=BURST + PER_SECOND + 1).contains(&u32::try_from(within(0)).unwrap()), "{told:?}");
        assert!(within(9) <= (BURST + 10 * PER_SECOND + 1) as usize, "{told:?}");
        assert_eq!(told.len(), 101, "all in the end");
    }
}
