//! The shell: one pass over one execution. It looks at what is known, asks [`decide`] for one step, has it carried
//! out, and goes on until there is nothing to do but wait. I/O happens in [`super::step`] only.
//!
//! A pass decides on cached state. That is safe, since every write names what it is for: status patches the
//! version that was decided on, patches and deletions of a child its uid. A pass on a stale cache is refused by
//! the API server and looks again.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use k8s_openapi::jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    Others,
    admit::{self, Plan},
    api::Api,
    cache::{Children, Executions},
    child::Entry,
    courtesy::Courtesy,
    decide::{Refusal, Seen, Stage, State, decide},
    error::Error,
    events::Events,
    execution::Execution,
    key::Key,
    memory::{Memory, later},
    metrics::{Metrics, ResultLabel},
    others, status,
    timers::Timers,
};
use crate::runners::Registry;

/// More steps than any way through the protocol has; what is left is done in the next pass.
const MAX_STEPS: usize = 24;
/// How long a recorded child may be missing in the watch before the API server is asked for it.
const WATCH_LAG: Duration = Duration::from_secs(2);
/// How soon what was interrupted is taken up again.
const SOON: Duration = Duration::from_secs(1);

/// What every pass works with.
pub struct Context {
    /// The API server.
    pub api: Api,
    /// The runners that are served here.
    pub registry: Registry,
    /// The executions, as watched.
    pub executions: Arc<Executions>,
    /// The children, as watched.
    pub children: Children,
    /// What is remembered between passes.
    pub memory: Arc<Memory>,
    /// When executions get their next pass though nothing changes.
    pub timers: Arc<Timers>,
    /// Who goes first.
    pub courtesy: Courtesy,
    /// Where events go.
    pub events: Events,
    /// What is counted.
    pub metrics: Metrics,
    /// How long a child may wait for something of the cluster's.
    pub start_grace: Duration,
    /// What is done about executions of runners that are not served here.
    pub others: Others,
    /// No further step is begun once this is cancelled.
    pub stop: CancellationToken,
}

/// How long to wait for a change before the next pass; without a time, for as long as it takes.
pub(super) type Wait = Option<Duration>;

/// One pass over an execution. The next one comes when something changes, or by [`Timers`].
pub async fn reconcile(execution: Arc<Execution>, cx: &Context) {
    // At the level of the gravest event within it, so that no filter takes an event's names away. Not `name`: in JSON that
    // is the span's own.
    let span = tracing::warn_span!(
        "reconcile",
        namespace = execution.namespace(),
        execution = execution.name(),
        uid = execution.uid(),
        runner = execution.runner()
    );
    let (key, started) = (execution.key(), std::time::Instant::now());
    cx.metrics.active.inc();
    // A panic that left this function would end the controller for everybody.
    let result = AssertUnwindSafe(pass(execution, cx))
        .catch_unwind()
        .instrument(span.clone())
        .await
        .unwrap_or(Err(Error::Panic));
    cx.metrics.active.dec();
    cx.metrics.reconcile_seconds.observe(started.elapsed().as_secs_f64());
    let label = result.as_ref().map_or_else(Error::label, |_| "success");
    cx.metrics.reconciles.get_or_create(&ResultLabel { result: label }).inc();
    let wait = result.unwrap_or_else(|error| Some(span.in_scope(|| retry(key, &error, cx))));
    cx.timers.set(key, wait);
}

/// How long until the next try after an error.
fn retry(key: Key, error: &Error, cx: &Context) -> Duration {
    let jitter = jitter();
    let (failures, delay) = cx.memory.failed(key, error.failing(), jitter);
    let delay = error.retry_in(delay, jitter);
    tracing::warn!(failures, retry_in = ?delay, %error, "will try again");
    delay
}

/// A number within 0 and 1 that spreads retries.
pub(super) fn jitter() -> f64 {
    f64::from(Timestamp::now().subsec_nanosecond().unsigned_abs() % 1000) / 1000.0
}

async fn pass(execution: Arc<Execution>, cx: &Context) -> Result<Wait, Error> {
    if execution.is_managed_elsewhere() {
        return Ok(None);
    }
    match whose(&execution, cx) {
        Whose::Ours => {}
        Whose::Anothers => return others::attend(&execution, cx).await,
        Whose::Ignored => return Ok(None),
    }
    let mut pass = Pass::new(cx.memory.latest(execution), cx);
    let mut seen = match pass.glimpse(Timestamp::now()) {
        Glimpsed::Seen(seen) => seen,
        Glimpsed::NotYet(wait) => return Ok(Some(wait)),
    };
    for _ in 0..MAX_STEPS {
        if cx.stop.is_cancelled() {
            return Ok(Some(SOON));
        }
        let step = decide(&pass.state(), &seen, Timestamp::now());
        match pass.take(step, seen).await? {
            Next::Again(now_seen) => seen = now_seen,
            Next::Rest(wait) => return Ok(wait),
        }
    }
    Ok(Some(SOON))
}

/// For whom it is to act.
enum Whose {
    /// For this controller.
    Ours,
    /// For the controller of another runner, which has taken it up.
    Anothers,
    /// For somebody who is of no interest here.
    Ignored,
}

fn whose(execution: &Execution, cx: &Context) -> Whose {
    match (cx.registry.get(execution.runner()).is_some(), cx.others) {
        (false, Others::Ignore) => Whose::Ignored,
        (false, Others::Tell) if execution.is_taken_up() => Whose::Anothers,
        (true, _) | (false, Others::Tell) => Whose::Ours,
    }
}

/// What follows a step.
pub(super) enum Next {
    /// Decide again, on this.
    Again(Seen),
    /// Nothing more for now.
    Rest(Wait),
}

enum Glimpsed {
    Seen(Seen),
    NotYet(Duration),
}

/// One pass.
pub(super) struct Pass<'a> {
    pub(super) cx: &'a Context,
    pub(super) execution: Arc<Execution>,
    pub(super) plan: Result<Plan, Refusal>,
    /// The child as this pass knows it.
    pub(super) entry: Option<Entry>,
    /// What a dry run showed.
    pub(super) rendered: Option<serde_json::Value>,
}

impl<'a> Pass<'a> {
    fn new(execution: Arc<Execution>, cx: &'a Context) -> Self {
        let plan = admit::admit(&execution, &cx.registry);
        Self { cx, execution, plan, entry: None, rendered: None }
    }

    /// The execution as the decision sees it.
    fn state(&self) -> State {
        let execution = &self.execution;
        let spec = execution.spec.as_ref().ok();
        let owner = spec.and_then(|s| s.context.platform.owner_ref.as_ref());
        State {
            stage: stage(execution),
            suspend: spec.is_some_and(|s| s.suspend),
            cancel: spec.is_some_and(|s| s.cancel),
            deleting: execution.metadata.deletion_timestamp.is_some(),
            dry_run: spec.is_some_and(|s| s.context.dry_run)
                && !self.plan.as_ref().is_ok_and(|plan| plan.runner.rehearses()),
            owner_missing: owner.is_some_and(|owner| {
                !execution.metadata.owner_references.iter().flatten().any(|o| o.uid == owner.uid)
            }),
            refusal: self.plan.as_ref().err().cloned(),
        }
    }

    /// What the watches show of the child.
    fn glimpse(&mut self, now: Timestamp) -> Glimpsed {
        let execution = Arc::clone(&self.execution);
        let Ok(plan) = &self.plan else { return Glimpsed::Seen(Seen::Unknown) };
        let key = execution.key();
        let entry = self.cx.children.get(&plan.kind, key, execution.namespace(), execution.child_name());
        self.entry = entry.map(|e| self.cx.memory.latest_child(Entry::clone(&e)));
        let state = self.state();
        let changed_mind = state.cancel || state.deleting || state.suspend;
        if state.stage == Stage::New
            && !changed_mind
            && let Some(at) = self.cx.memory.retry_planned(key, execution.version(), now)
        {
            return Glimpsed::NotYet(Duration::try_from(at.duration_since(now)).unwrap_or(SOON));
        }
        if state.stage == Stage::New
            && let Some(refusal) = self.cx.memory.put_off_refusal(key, execution.version())
        {
            return Glimpsed::Seen(Seen::Refused(refusal));
        }
        match (&state.stage, &self.entry) {
            // Creating anew finds out what is there by the way, and without trusting a cache.
            (Stage::New, Some(entry)) if changed_mind => Glimpsed::Seen(Seen::Child(entry.seen(&execution))),
            (Stage::New, _) | (Stage::Finished { .. }, None) => Glimpsed::Seen(Seen::Unknown),
            (Stage::Finished { .. }, Some(entry)) => Glimpsed::Seen(Seen::Child(entry.seen(&execution))),
            (Stage::Started { child, .. }, Some(entry)) if *entry.uid == **child && !entry.deleting => {
                self.cx.memory.found(key);
                let mut seen = entry.seen(&execution);
                let news = entry.progress.is_some()
                    && entry.progress.as_deref() != execution.status.progress.as_deref();
                seen.look_due = self.cx.memory.look_due(key, entry.glance, now) || news;
                Glimpsed::Seen(Seen::Child(seen))
            }
            (Stage::Started { .. }, _) => {
                let missing_until = later(self.cx.memory.missing_since(key, now), WATCH_LAG);
                match Duration::try_from(missing_until.duration_since(now)) {
                    Ok(wait) if !wait.is_zero() => Glimpsed::NotYet(wait),
                    Ok(_) | Err(_) => Glimpsed::Seen(Seen::Unknown),
                }
            }
        }
    }
}

/// How far an execution has come, by the facts of its status.
fn stage(execution: &Execution) -> Stage {
    let child = execution.recorded_child().map(|c| c.uid.clone());
    if execution.is_finished() {
        let outdated = execution.status.observed_generation != execution.metadata.generation;
        return Stage::Finished { child, expires: execution.expires(), outdated };
    }
    match child {
        None => Stage::New,
        Some(child) => Stage::Started {
            child,
            deadline: execution.deadline(),
            halt: status::recorded_halt(&execution.status),
        },
    }
}
