//! What follows a step: another decision at once, or a rest until something changes or some time has come.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use crate::controller::{
    decide::{Patience, Seen},
    memory::{Failing, later},
    reconcile::{Next, Pass, jitter},
};

/// Passes never follow each other without a rest.
const SHORTEST_REST: Duration = Duration::from_millis(10);

impl Pass<'_> {
    /// Decide again on the child as this pass knows it.
    pub(super) fn again(&self) -> Next {
        Next::Again(
            self.entry.as_ref().map_or(Seen::Unknown, |entry| Seen::Child(entry.seen(&self.execution))),
        )
    }

    /// All is done for now.
    pub(super) fn rest(&self, until: Option<Timestamp>) -> Next {
        let (memory, key) = (&self.cx.memory, self.execution.key());
        memory.succeeded(key);
        let runs = self.execution.is_under_way();
        if let Some(entry) = self.entry.as_ref().filter(|_| runs) {
            // Plans the first look: it may be that nothing is ever heard of the child.
            memory.look_due(key, entry.glance, Timestamp::now());
        }
        let look = runs.then(|| memory.next_look(key)).flatten();
        Next::Rest(until.into_iter().chain(look).min().map(wait_until))
    }

    pub(super) fn retry(&self, patience: Option<Patience>) -> Duration {
        // A failure that is told goes on with its row: a webhook that never answers is asked ever more rarely too.
        let failing = self.cx.memory.last_failure(self.execution.key()).unwrap_or(Failing::Answered);
        let (_, delay) = self.cx.memory.failed(self.execution.key(), failing, jitter());
        let now = Timestamp::now();
        let wait = pause(delay, patience, now);
        self.cx.memory.retry_at(self.execution.key(), self.execution.version(), later(now, wait));
        wait
    }

    pub(super) fn patience_ends(&self) -> Timestamp {
        self.cx.memory.patience_ends(self.execution.key(), Timestamp::now())
    }
}

/// How long until the next try: as long as its turn among the failures says, but no longer than the patience lasts. What
/// has started is tried without end, also when that is over.
fn pause(delay: Duration, patience: Option<Patience>, now: Timestamp) -> Duration {
    let left = match patience {
        Some(Patience::Until(end)) => {
            Duration::try_from(end.duration_since(now)).ok().filter(|left| !left.is_zero())
        }
        Some(Patience::None | Patience::Endless) | None => None,
    };
    delay.min(left.unwrap_or(delay)).max(SHORTEST_REST)
}

/// How long it is until then.
pub(super) fn wait_until(time: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO).max(SHORTEST_REST)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::jiff::Timestamp;

    use super::{Patience, pause};

    const DELAY: Duration = Duration::from_secs(8);

    #[test]
    fn a_try_comes_when_the_patience_ends_and_after_that_at_the_pace_of_failures() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let until = Some(Patience::Until(at(30)));
        assert_eq!(pause(DELAY, until, at(10)), DELAY);
        assert_eq!(pause(DELAY, until, at(28)), Duration::from_secs(2));
        assert_eq!(pause(DELAY, until, at(30)), DELAY);
        assert_eq!(pause(DELAY, until, at(31)), DELAY);
        assert_eq!(pause(DELAY, Some(Patience::Endless), at(31)), DELAY);
    }
}
