//! What follows a step: another decision at once, or a rest until something changes or some time has come.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use crate::controller::{
    decide::{Patience, Seen},
    memory::later,
    reconcile::{Next, Pass, jitter},
};

impl Pass<'_> {
    /// Decide again on the child as this pass knows it.
    pub(super) fn again(&self) -> Next {
        Next::Again(
            self.entry.as_ref().map_or(Seen::Unknown, |entry| Seen::Child(entry.seen(&self.execution))),
        )
    }

    /// All is done for now.
    pub(super) fn rest(&self, until: Option<Timestamp>) -> Next {
        let (memory, uid) = (&self.cx.memory, self.execution.uid());
        memory.succeeded(uid);
        let runs = !self.execution.is_finished() && self.execution.recorded_child().is_some();
        if let Some(entry) = self.entry.as_ref().filter(|_| runs) {
            // Plans the first look: it may be that nothing is ever heard of the child.
            memory.look_due(uid, entry.glance, Timestamp::now());
        }
        let look = runs.then(|| memory.next_look(uid)).flatten();
        Next::Rest(until.into_iter().chain(look).min().map(wait_until))
    }

    pub(super) fn retry(&self, patience: Option<Patience>) -> Duration {
        let (_, delay) = self.cx.memory.failed(self.execution.uid(), jitter());
        let left = match patience {
            Some(Patience::Until(end)) => {
                Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO)
            }
            Some(Patience::None | Patience::Endless) | None => delay,
        };
        let wait = delay.min(left).max(Duration::from_millis(10));
        self.cx.memory.retry_at(
            self.execution.uid(),
            self.execution.version(),
            later(Timestamp::now(), wait),
        );
        wait
    }

    pub(super) fn patience_ends(&self) -> Timestamp {
        self.cx.memory.patience_ends(self.execution.uid(), Timestamp::now())
    }
}

/// How long it is until then; never so short that passes follow each other without a rest.
pub(super) fn wait_until(time: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(Timestamp::now()))
        .unwrap_or(Duration::ZERO)
        .max(Duration::from_millis(10))
}
