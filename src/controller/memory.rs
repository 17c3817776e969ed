//! What the controller remembers of an execution between two passes. Nothing of it is needed for correctness:
//! after a restart it is empty.
//!
//! It saves requests (a pass on a cache that has not yet seen our own last write would only be refused), spaces
//! retries, and bounds how long a refusal is put up with.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tokio::sync::SemaphorePermit;

use super::{
    child::Entry,
    decide::Refusal,
    execution::Execution,
    key::Key,
    looks::{Looks, Turns, Waiting},
};
use crate::runners::Glance;

/// How long a start may be refused for something that may be just about to be created.
const REFUSAL_GRACE: Duration = Duration::from_secs(30);
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_mins(1);

/// What is remembered of each execution.
#[derive(Debug, Default)]
pub struct Memory {
    remembered: Mutex<HashMap<Key, Remembered>>,
    turns: Turns,
}

#[derive(Debug, Default)]
struct Remembered {
    looks: Looks,
    /// Of most executions there is nothing of the sort, and it is large.
    passing: Option<Box<Passing>>,
}

/// What soon is over.
#[derive(Debug, Default)]
struct Passing {
    /// The execution as our own last write left it, until a watch shows that or a later version.
    written: Option<Arc<Execution>>,
    /// The child as our own last write left it, until its watch shows that or a later version.
    written_child: Option<Entry>,
    failures: u32,
    last_failure: Option<Failing>,
    /// Not before then, unless the execution has another version than this.
    retry: Option<(Timestamp, u64)>,
    first_refusal: Option<Timestamp>,
    put_off: Option<PutOff>,
    waiting_since: Option<Timestamp>,
    missing_since: Option<Timestamp>,
}

/// How a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// The API server could not answer.
    Unanswered,
    /// It answered otherwise than was hoped.
    Answered,
}

/// A refusal that is to be told later, so that it need not be found out again.
#[derive(Debug)]
struct PutOff {
    refusal: Refusal,
    since: Timestamp,
    /// Of the execution that was refused.
    version: u64,
}

impl Passing {
    /// The first answer begins the row anew. An API server that has just come up refuses for a moment what it will allow,
    /// since it has not read all rights and kinds yet: that must not be waited out for as long as the outage took.
    fn failures_before(&self, failing: Failing) -> u32 {
        match (self.last_failure, failing) {
            (Some(Failing::Unanswered), Failing::Answered) => 0,
            (Some(Failing::Unanswered | Failing::Answered) | None, _) => self.failures,
        }
    }

    fn is_over(&self) -> bool {
        let Self { written, written_child, failures, last_failure, retry, .. } = self;
        let Self { first_refusal, put_off, waiting_since, missing_since, .. } = self;
        let nothing_written = written.is_none() && written_child.is_none();
        let nothing_failed = *failures == 0 && last_failure.is_none() && retry.is_none();
        let nothing_refused = first_refusal.is_none() && put_off.is_none();
        let nothing_awaited = waiting_since.is_none() && missing_since.is_none();
        nothing_written && nothing_failed && nothing_refused && nothing_awaited
    }
}

impl Remembered {
    fn written(&self) -> Option<&Arc<Execution>> {
        self.passing.as_ref()?.written.as_ref()
    }

    /// Our own last write, if it is of that very version.
    fn written_at(&self, version: Option<&str>) -> Option<&Arc<Execution>> {
        self.written().filter(|it| version.is_some() && it.metadata.resource_version.as_deref() == version)
    }

    fn clear<T>(&mut self, f: impl FnOnce(&mut Passing) -> T) -> Option<T> {
        let result = self.passing.as_deref_mut().map(f);
        self.passing.take_if(|passing| passing.is_over());
        result
    }
}

impl Memory {
    fn all(&self) -> MutexGuard<'_, HashMap<Key, Remembered>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, key: Key, f: impl FnOnce(&mut Remembered) -> T) -> T {
        f(self.all().entry(key).or_default())
    }

    /// Remembers something that soon is over.
    fn note<T>(&self, key: Key, f: impl FnOnce(&mut Passing) -> T) -> T {
        self.with(key, |r| f(r.passing.get_or_insert_default()))
    }

    fn noted<T>(&self, key: Key, f: impl FnOnce(&Passing) -> T) -> Option<T> {
        self.all().get(&key)?.passing.as_deref().map(f)
    }

    /// Something of it is over.
    fn clear<T>(&self, key: Key, f: impl FnOnce(&mut Passing) -> T) -> Option<T> {
        self.all().get_mut(&key)?.clear(f)
    }

    /// The newer of what was seen and what we wrote.
    pub fn latest(&self, seen: Arc<Execution>) -> Arc<Execution> {
        let mut all = self.all();
        match all.get(&seen.key()).and_then(Remembered::written) {
            Some(written) if written.version() > seen.version() => Arc::clone(written),
            Some(_) | None => {
                shown(&mut all, &seen);
                seen
            }
        }
    }

    /// The execution as our own last write left it, if it is of that very version: what has come of it need not be read.
    pub fn as_written(&self, key: Key, version: Option<&str>) -> Option<Arc<Execution>> {
        self.all().get(&key)?.written_at(version).map(Arc::clone)
    }

    /// Whether this is the execution just as our own last write left it: the pass that wrote it went on with it, so
    /// that there is nothing to do. From then on it need not be remembered.
    pub fn is_echo(&self, seen: &Execution) -> bool {
        let mut all = self.all();
        let version = seen.metadata.resource_version.as_deref();
        let is_echo = all.get(&seen.key()).is_some_and(|it| it.written_at(version).is_some());
        if is_echo {
            shown(&mut all, seen);
        }
        is_echo
    }

    /// Remembers our own write.
    pub fn wrote(&self, execution: &Arc<Execution>) {
        self.note(execution.key(), |p| p.written = Some(Arc::clone(execution)));
    }

    /// The newer of what its watch shows of a child and what we wrote: otherwise a release would be repeated
    /// while the watch lags.
    pub fn latest_child(&self, seen: Entry) -> Entry {
        let newer = self.clear(seen.execution, |p| {
            p.written_child.take_if(|written| !written.is_newer_than(&seen));
            p.written_child.clone()
        });
        newer.flatten().unwrap_or(seen)
    }

    /// Whether a change of a child gives a pass something to do; `before` is what was kept of it until then.
    ///
    /// The echo of our own write does not, since the pass that wrote went on with it. Its version alone does not tell:
    /// what others changed just before is in that version too, and not in the answer to our write. Nor does what is
    /// not kept of a child, and most changes of a Workflow at work are of that sort.
    pub fn is_news_of_child(&self, before: Option<&Entry>, seen: &Entry) -> bool {
        let written =
            self.clear(seen.execution, |p| p.written_child.take_if(|written| !written.is_newer_than(seen)));
        match written.flatten().as_ref().or(before) {
            Some(known) => !known.is_same_but_for_version(seen),
            None => true,
        }
    }

    /// Remembers our own write of a child.
    pub fn wrote_child(&self, key: Key, child: &Entry) {
        self.note(key, |p| p.written_child = Some(child.clone()));
    }

    /// Forgets everything of an execution but our own last write.
    pub fn settle(&self, key: Key) {
        let mut all = self.all();
        let Some(settled) = all.remove(&key) else { return };
        if let Some(written) = settled.written() {
            let passing = Passing { written: Some(Arc::clone(written)), ..Passing::default() };
            all.insert(key, Remembered { passing: Some(Box::new(passing)), ..Remembered::default() });
        }
    }

    /// Forgets an execution that is gone.
    pub fn forget(&self, key: Key) {
        self.all().remove(&key);
    }

    /// Forgets all executions but these: of some that went while no watch ran, nothing was heard.
    pub fn keep_only(&self, is_known: impl Fn(Key) -> bool) {
        self.all().retain(|key, _| is_known(*key));
    }

    /// Counts one more failure in a row and tells when to try again; `jitter` is within 0 and 1.
    pub fn failed(&self, key: Key, failing: Failing, jitter: f64) -> (u32, Duration) {
        self.note(key, |p| {
            p.failures = p.failures_before(failing).saturating_add(1);
            p.last_failure = Some(failing);
            let exponent = p.failures.saturating_sub(1).min(16);
            let delay = FIRST_RETRY.saturating_mul(1 << exponent).min(LAST_RETRY);
            (p.failures, delay.mul_f64(0.75 + jitter.clamp(0.0, 1.0) / 2.0))
        })
    }

    /// How many failures in a row there were before one of that sort.
    pub fn failures_before(&self, key: Key, failing: Failing) -> u32 {
        self.noted(key, |p| p.failures_before(failing)).unwrap_or(0)
    }

    /// How the last call in a row of failures failed.
    pub fn last_failure(&self, key: Key) -> Option<Failing> {
        self.noted(key, |p| p.last_failure)?
    }

    /// Plans the next try of an execution of that version.
    pub fn retry_at(&self, key: Key, version: u64, at: Timestamp) {
        self.note(key, |p| p.retry = Some((at, version)));
    }

    /// When the next try is due, if that is later and nobody changed the execution meanwhile: the watch event of
    /// our own report would otherwise undo the pause.
    pub fn retry_planned(&self, key: Key, version: u64, now: Timestamp) -> Option<Timestamp> {
        let (at, of) = self.noted(key, |p| p.retry)??;
        (at > now && of == version).then_some(at)
    }

    /// Everything may be tried at once: something came up that many may be waiting for.
    pub fn retry_all(&self) {
        for remembered in self.all().values_mut() {
            remembered.clear(|p| p.retry = None);
        }
    }

    /// A step went through.
    pub fn succeeded(&self, key: Key) {
        self.clear(key, |p| {
            p.failures = 0;
            p.last_failure = None;
            p.first_refusal = None;
        });
    }

    /// Something was refused that may be just about to be allowed: the grace begins, if it has not.
    pub fn refused(&self, key: Key, now: Timestamp) {
        self.note(key, |p| {
            p.first_refusal.get_or_insert(now);
        });
    }

    /// A refusal of an execution of that version is not told yet; since when it could have been.
    pub fn put_off(&self, key: Key, version: u64, refusal: &Refusal, now: Timestamp) -> Timestamp {
        self.note(key, |p| {
            let since = p.put_off.as_ref().filter(|it| it.version == version).map_or(now, |it| it.since);
            p.put_off = Some(PutOff { refusal: refusal.clone(), since, version });
            since
        })
    }

    /// What was put off of an execution of that version.
    pub fn put_off_refusal(&self, key: Key, version: u64) -> Option<Refusal> {
        self.noted(key, |p| {
            p.put_off.as_ref().filter(|it| it.version == version).map(|it| it.refusal.clone())
        })?
    }

    /// It is being told.
    pub fn put_off_no_more(&self, key: Key) {
        self.clear(key, |p| p.put_off = None);
    }

    /// Until when such a refusal is put up with.
    pub fn patience_ends(&self, key: Key, now: Timestamp) -> Timestamp {
        let first = self.noted(key, |p| p.first_refusal).flatten();
        later(first.unwrap_or(now), REFUSAL_GRACE)
    }

    /// Whether it is time for a closer look at a child.
    pub fn look_due(&self, key: Key, glance: Glance, now: Timestamp) -> bool {
        self.with(key, |r| r.looks.is_due(glance, &self.turns, now))
    }

    /// Room for the closer look that is due, while it is held; without any, the look is put off.
    pub fn room_for_look(&self, key: Key, now: Timestamp) -> Option<SemaphorePermit<'_>> {
        let room = self.turns.room();
        if room.is_none() {
            self.with(key, |r| r.looks.put_off(now));
        }
        room
    }

    /// A closer look was taken.
    pub fn looked(&self, key: Key, glance: Glance, waits: Option<Waiting>, now: Timestamp) {
        self.with(key, |r| {
            r.looks.taken(glance, waits, now);
            if waits.is_none() {
                r.clear(|p| p.waiting_since = None);
            }
        });
    }

    /// When the next closer look is due.
    pub fn next_look(&self, key: Key) -> Option<Timestamp> {
        self.with(key, |r| r.looks.next())
    }

    /// Since when the child has been waiting, by its own word or else by ours.
    pub fn waiting_since(&self, key: Key, told: Option<Timestamp>, now: Timestamp) -> Timestamp {
        told.unwrap_or_else(|| self.note(key, |p| *p.waiting_since.get_or_insert(now)))
    }

    /// Since when something has been missing: the recorded child in the watch, or an answer of another controller.
    pub fn missing_since(&self, key: Key, now: Timestamp) -> Timestamp {
        self.note(key, |p| *p.missing_since.get_or_insert(now))
    }

    /// The recorded child is there.
    pub fn found(&self, key: Key) {
        self.clear(key, |p| p.missing_since = None);
    }
}

/// The watch shows our own last write, which need not be remembered from then on; nor need anything of what is finished,
/// unless something about it keeps failing.
fn shown(all: &mut HashMap<Key, Remembered>, seen: &Execution) {
    let Some(remembered) = all.get_mut(&seen.key()) else { return };
    remembered.clear(|p| p.written = None);
    if seen.is_finished() && remembered.passing.as_ref().is_none_or(|p| p.failures == 0) {
        all.remove(&seen.key());
    }
}

/// That much later, or the end of time.
pub fn later(time: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| time.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
