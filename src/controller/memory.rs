//! What the controller remembers of an execution between two passes. Nothing of it is needed for correctness:
//! after a restart it is empty.
//!
//! It saves requests (a pass on a cache that has not yet seen our own last write would only be refused), spaces
//! retries, and bounds how long a refusal is put up with.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tokio::sync::SemaphorePermit;

use super::{
    child::Entry,
    decide::Refusal,
    execution::Execution,
    looks::{Looks, Turns, Waiting},
};
use crate::runners::Glance;

/// How long a start may be refused for something that may be just about to be created.
const REFUSAL_GRACE: Duration = Duration::from_secs(30);
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_mins(1);

/// By uid of the execution.
#[derive(Debug, Default)]
pub struct Memory {
    remembered: Mutex<HashMap<String, Remembered>>,
    turns: Turns,
}

#[derive(Debug, Default)]
struct Remembered {
    /// The execution as our own last write left it, until a watch shows that or a later version.
    written: Option<Arc<Execution>>,
    /// The child as our own last write left it, until its watch shows that or a later version.
    written_child: Option<Box<Entry>>,
    failures: u32,
    last_failure: Option<Failing>,
    /// Not before then, unless the execution has another version than this.
    retry: Option<(Timestamp, u64)>,
    first_refusal: Option<Timestamp>,
    put_off: Option<Box<PutOff>>,
    looks: Looks,
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

impl Remembered {
    /// The first answer begins the row anew. An API server that has just come up refuses for a moment what it will allow,
    /// since it has not read all rights and kinds yet: that must not be waited out for as long as the outage took.
    fn failures_before(&self, failing: Failing) -> u32 {
        match (self.last_failure, failing) {
            (Some(Failing::Unanswered), Failing::Answered) => 0,
            (Some(Failing::Unanswered | Failing::Answered) | None, _) => self.failures,
        }
    }
}

impl Memory {
    fn with<T>(&self, uid: &str, f: impl FnOnce(&mut Remembered) -> T) -> T {
        let mut all = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(remembered) = all.get_mut(uid) {
            f(remembered)
        } else {
            f(all.entry(uid.to_owned()).or_default())
        }
    }

    /// The newer of what was seen and what we wrote.
    pub fn latest(&self, seen: Arc<Execution>) -> Arc<Execution> {
        let mut all = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(remembered) = all.get_mut(seen.uid()) else { return seen };
        match &remembered.written {
            Some(written) if written.version() > seen.version() => Arc::clone(written),
            Some(_) | None => {
                shown(&mut all, &seen);
                seen
            }
        }
    }

    /// Whether this is the execution just as our own last write left it: the pass that wrote it went on with it, so
    /// that there is nothing to do. From then on it need not be remembered.
    pub fn is_echo(&self, seen: &Execution) -> bool {
        let mut all = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(remembered) = all.get_mut(seen.uid()) else { return false };
        let is_echo = remembered.written.as_ref().is_some_and(|it| it.version() == seen.version());
        if is_echo {
            shown(&mut all, seen);
        }
        is_echo
    }

    /// Remembers our own write.
    pub fn wrote(&self, execution: &Arc<Execution>) {
        self.with(execution.uid(), |r| r.written = Some(Arc::clone(execution)));
    }

    /// The newer of what its watch shows of a child and what we wrote: otherwise a release would be repeated
    /// while the watch lags.
    pub fn latest_child(&self, uid: &str, seen: Entry) -> Entry {
        let mut all = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(remembered) = all.get_mut(uid) else { return seen };
        match &remembered.written_child {
            Some(written) if written.uid == seen.uid && written.version > seen.version => {
                Entry::clone(written)
            }
            Some(_) | None => {
                remembered.written_child = None;
                seen
            }
        }
    }

    /// Whether a change of a child gives a pass something to do; `before` is what was kept of it until then.
    ///
    /// The echo of our own write does not, since the pass that wrote went on with it. Its version alone does not tell:
    /// what others changed just before is in that version too, and not in the answer to our write. Nor does what is
    /// not kept of a child, and most changes of a Workflow at work are of that sort.
    pub fn is_news_of_child(&self, before: Option<&Entry>, seen: &Entry) -> bool {
        let mut all = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let written = all.get_mut(&seen.execution_uid).and_then(|remembered| {
            remembered
                .written_child
                .take_if(|written| written.uid != seen.uid || written.version <= seen.version)
        });
        match written.as_deref().or(before) {
            Some(known) => !known.is_same_but_for_version(seen),
            None => true,
        }
    }

    /// Remembers our own write of a child.
    pub fn wrote_child(&self, uid: &str, child: &Entry) {
        self.with(uid, |r| r.written_child = Some(Box::new(child.clone())));
    }

    /// Forgets everything of an execution but our own last write.
    pub fn settle(&self, uid: &str) {
        let mut all = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(remembered) = all.get_mut(uid) {
            match remembered.written.take() {
                Some(written) => *remembered = Remembered { written: Some(written), ..Remembered::default() },
                None => {
                    all.remove(uid);
                }
            }
        }
    }

    /// Forgets an execution that is gone.
    pub fn forget(&self, uid: &str) {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    /// Forgets all executions but these: of some that went while no watch ran, nothing was heard.
    pub fn keep_only(&self, uids: &HashSet<&str>) {
        let mut all = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|uid, _| uids.contains(uid.as_str()));
    }

    /// Counts one more failure in a row and tells when to try again; `jitter` is within 0 and 1.
    pub fn failed(&self, uid: &str, failing: Failing, jitter: f64) -> (u32, Duration) {
        self.with(uid, |r| {
            r.failures = r.failures_before(failing).saturating_add(1);
            r.last_failure = Some(failing);
            let exponent = r.failures.saturating_sub(1).min(16);
            let delay = FIRST_RETRY.saturating_mul(1 << exponent).min(LAST_RETRY);
            (r.failures, delay.mul_f64(0.75 + jitter.clamp(0.0, 1.0) / 2.0))
        })
    }

    /// How many failures in a row there were before one of that sort.
    pub fn failures_before(&self, uid: &str, failing: Failing) -> u32 {
        let all = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(uid).map_or(0, |r| r.failures_before(failing))
    }

    /// How the last call in a row of failures failed.
    pub fn last_failure(&self, uid: &str) -> Option<Failing> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).get(uid)?.last_failure
    }

    /// Plans the next try of an execution of that version.
    pub fn retry_at(&self, uid: &str, version: u64, at: Timestamp) {
        self.with(uid, |r| r.retry = Some((at, version)));
    }

    /// When the next try is due, if that is later and nobody changed the execution meanwhile: the watch event of
    /// our own report would otherwise undo the pause.
    pub fn retry_planned(&self, uid: &str, version: u64, now: Timestamp) -> Option<Timestamp> {
        let all = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(uid)?.retry.filter(|(at, of)| *at > now && *of == version).map(|(at, _)| at)
    }

    /// Everything may be tried at once: something came up that many may be waiting for.
    pub fn retry_all(&self) {
        let mut all = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        all.values_mut().for_each(|r| r.retry = None);
    }

    /// A step went through.
    pub fn succeeded(&self, uid: &str) {
        let mut all = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(remembered) = all.get_mut(uid) {
            remembered.failures = 0;
            remembered.first_refusal = None;
        }
    }

    /// Something was refused that may be just about to be allowed: the grace begins, if it has not.
    pub fn refused(&self, uid: &str, now: Timestamp) {
        self.with(uid, |r| {
            r.first_refusal.get_or_insert(now);
        });
    }

    /// A refusal of an execution of that version is not told yet; since when it could have been.
    pub fn put_off(&self, uid: &str, version: u64, refusal: &Refusal, now: Timestamp) -> Timestamp {
        self.with(uid, |r| {
            let since = r.put_off.as_ref().filter(|it| it.version == version).map_or(now, |it| it.since);
            r.put_off = Some(Box::new(PutOff { refusal: refusal.clone(), since, version }));
            since
        })
    }

    /// What was put off of an execution of that version.
    pub fn put_off_refusal(&self, uid: &str, version: u64) -> Option<Refusal> {
        let all = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(uid)?.put_off.as_ref().filter(|it| it.version == version).map(|it| it.refusal.clone())
    }

    /// It is being told.
    pub fn put_off_no_more(&self, uid: &str) {
        let mut all = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(remembered) = all.get_mut(uid) {
            remembered.put_off = None;
        }
    }

    /// Until when such a refusal is put up with.
    pub fn patience_ends(&self, uid: &str, now: Timestamp) -> Timestamp {
        let all = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        later(all.get(uid).and_then(|r| r.first_refusal).unwrap_or(now), REFUSAL_GRACE)
    }

    /// Whether it is time for a closer look at a child.
    pub fn look_due(&self, uid: &str, glance: Glance, now: Timestamp) -> bool {
        self.with(uid, |r| r.looks.is_due(glance, &self.turns, now))
    }

    /// Room for the closer look that is due, while it is held; without any, the look is put off.
    pub fn room_for_look(&self, uid: &str, now: Timestamp) -> Option<SemaphorePermit<'_>> {
        let room = self.turns.room();
        if room.is_none() {
            self.with(uid, |r| r.looks.put_off(now));
        }
        room
    }

    /// A closer look was taken.
    pub fn looked(&self, uid: &str, glance: Glance, waits: Option<Waiting>, now: Timestamp) {
        self.with(uid, |r| {
            r.looks.taken(glance, waits, now);
            if waits.is_none() {
                r.waiting_since = None;
            }
        });
    }

    /// When the next closer look is due.
    pub fn next_look(&self, uid: &str) -> Option<Timestamp> {
        self.with(uid, |r| r.looks.next())
    }

    /// Since when the child has been waiting, by its own word or else by ours.
    pub fn waiting_since(&self, uid: &str, told: Option<Timestamp>, now: Timestamp) -> Timestamp {
        self.with(uid, |r| told.unwrap_or_else(|| *r.waiting_since.get_or_insert(now)))
    }

    /// Since when something has been missing: the recorded child in the watch, or an answer of another controller.
    pub fn missing_since(&self, uid: &str, now: Timestamp) -> Timestamp {
        self.with(uid, |r| *r.missing_since.get_or_insert(now))
    }

    /// The recorded child is there.
    pub fn found(&self, uid: &str) {
        let mut all = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(remembered) = all.get_mut(uid) {
            remembered.missing_since = None;
        }
    }
}

/// The watch shows our own last write, which need not be remembered from then on; nor need anything of what is finished,
/// unless something about it keeps failing.
fn shown(all: &mut HashMap<String, Remembered>, seen: &Execution) {
    let Some(remembered) = all.get_mut(seen.uid()) else { return };
    remembered.written = None;
    if seen.is_finished() && remembered.failures == 0 {
        all.remove(seen.uid());
    }
}

/// That much later, or the end of time.
pub fn later(time: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| time.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
