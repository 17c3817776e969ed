//! Bulky executions that are refused yield to those that start. Pure, apart from its lock.
//!
//! Each write of a status makes the API server read, check, compare and store the whole object: for one of a megabyte,
//! or with thousands of fields, that takes a processor of it for up to a second, and meanwhile everybody else waits.
//! Nobody waits for the word that such an object is refused. So it is written when nothing has been started for a
//! while, at the latest after [`PATIENCE`], and one at a time.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::memory::later;

/// An execution of that [bulk](super::execution::Execution::bulk) or more makes the API server work for a tenth of a second
/// or more at each write.
const BULKY: usize = 256 * 1024;
/// How long nothing must have been started.
const CALM: Duration = Duration::from_secs(2);
/// How long the word is put off at most.
const PATIENCE: Duration = Duration::from_secs(30);
/// How soon it is looked again whether another such write is done.
const ANOTHER_ONE: Duration = Duration::from_millis(200);

/// Who goes first.
#[derive(Debug)]
pub struct Courtesy {
    last_start: Mutex<Option<Timestamp>>,
    one: Semaphore,
}

/// Whether a refusal may be written.
#[derive(Debug)]
pub enum Leave<'a> {
    /// Now; what it holds is to be kept until that is done.
    Now(Option<SemaphorePermit<'a>>),
    /// Not now; ask again after that.
    Later(Duration),
}

impl Default for Courtesy {
    fn default() -> Self {
        Self { last_start: Mutex::default(), one: Semaphore::new(1) }
    }
}

impl Courtesy {
    /// A child is being created, recorded or released.
    pub fn starting(&self, now: Timestamp) {
        *self.last_start.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Whether a bulky execution may be told that it is refused, which it could have been since then.
    pub fn leave(&self, since: Timestamp, now: Timestamp) -> Leave<'_> {
        let last_start = *self.last_start.lock().unwrap_or_else(PoisonError::into_inner);
        let calm = last_start.map_or(now, |start| later(start, CALM)).min(later(since, PATIENCE));
        let wait = calm.duration_since(now);
        if wait > SignedDuration::ZERO {
            return Leave::Later(wait.unsigned_abs());
        }
        self.one.try_acquire().map_or(Leave::Later(ANOTHER_ONE), |one| Leave::Now(Some(one)))
    }
}

/// Whether an execution of that bulk yields.
pub const fn is_bulky(bulk: usize) -> bool {
    bulk >= BULKY
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::jiff::Timestamp;

    use super::{Courtesy, Leave};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn may(courtesy: &Courtesy, since: i64, now: i64) -> bool {
        matches!(courtesy.leave(at(since), at(now)), Leave::Now(_))
    }

    #[test]
    fn a_bulky_refusal_yields_while_others_start_but_not_for_ever() {
        let courtesy = Courtesy::default();
        assert!(may(&courtesy, 0, 0), "nothing starts");
        for now in 0..30 {
            courtesy.starting(at(now));
            assert!(!may(&courtesy, 0, now), "{now}");
        }
        courtesy.starting(at(30));
        assert!(may(&courtesy, 0, 30), "it was put off long enough");
        assert!(!may(&courtesy, 20, 31));
        assert!(may(&courtesy, 20, 32), "it is calm again");
    }

    #[test]
    fn bulky_refusals_are_written_one_at_a_time() {
        let courtesy = Courtesy::default();
        let first = courtesy.leave(at(0), at(0));
        assert!(matches!(first, Leave::Now(_)));
        assert!(matches!(courtesy.leave(at(0), at(0)), Leave::Later(wait) if wait < Duration::from_secs(1)));
        drop(first);
        assert!(may(&courtesy, 0, 0));
    }
}
