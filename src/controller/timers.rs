//! When an execution gets its next pass though nothing changes: one time for each, set by its last pass.
//!
//! A pass replaces what the one before it asked for: otherwise every execution would get a pass for nothing some time
//! after its end, and one that ended within a second would be kept until its deadline. No I/O.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{self, Poll},
    time::Duration,
};

use futures::Stream;
use tokio_util::time::{DelayQueue, delay_queue};

use super::key::Key;

/// A pass too many does no harm, and the queue takes no more than two years.
const LONGEST: Duration = Duration::from_hours(24);

/// The next pass of each execution that waits for a time.
#[derive(Debug, Default)]
pub struct Timers {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    queue: DelayQueue<Key>,
    places: HashMap<Key, delay_queue::Key>,
}

impl Timers {
    /// The next pass comes after that time at the latest, or only when something changes; whatever was set before is
    /// void.
    pub fn set(&self, execution: Key, wait: Option<Duration>) {
        let mut waiting = self.waiting();
        waiting.clear(execution);
        if let Some(wait) = wait {
            let place = waiting.queue.insert(execution, wait.min(LONGEST));
            waiting.places.insert(execution, place);
        }
    }

    /// Lets go of an execution that is gone.
    pub fn forget(&self, execution: Key) {
        self.waiting().clear(execution);
    }

    /// The executions whose time has come. It never ends; what comes out is set no more.
    pub fn due(self: Arc<Self>) -> impl Stream<Item = Key> + Send {
        futures::stream::poll_fn(move |cx| self.waiting().poll_due(cx).map(Some))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn clear(&mut self, execution: Key) {
        if let Some(place) = self.places.remove(&execution) {
            self.queue.try_remove(&place);
        }
    }

    fn poll_due(&mut self, cx: &mut task::Context<'_>) -> Poll<Key> {
        match self.queue.poll_expired(cx) {
            Poll::Ready(Some(expired)) => {
                let execution = expired.into_inner();
                self.places.remove(&execution);
                Poll::Ready(execution)
            }
            // An empty queue wakes its reader too once something is set.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
impl Timers {
    /// Whether a time is set for it.
    pub fn is_set(&self, execution: Key) -> bool {
        self.waiting().places.contains_key(&execution)
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, sync::Arc, time::Duration};

    use futures::{StreamExt, poll};

    use super::{Key, Timers};

    const SOON: Duration = Duration::from_millis(5);
    const LATER: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn the_last_word_on_an_execution_counts_whether_sooner_later_or_never() {
        let timers = Arc::new(Timers::default());
        for (name, waits) in [
            ("sooner", [Some(Duration::MAX), Some(SOON)]),
            ("later", [Some(SOON), Some(LATER)]),
            ("never", [Some(SOON), None]),
            ("gone", [Some(SOON), Some(SOON)]),
        ] {
            for wait in waits {
                timers.set(Key::of(name), wait);
            }
        }
        timers.forget(Key::of("gone"));
        let due = pin!(Arc::clone(&timers).due());
        let due: Vec<Key> = due.take(2).collect().await;
        assert_eq!(due, [Key::of("sooner"), Key::of("later")]);
        let waiting = timers.waiting();
        assert!(
            waiting.queue.is_empty() && waiting.places.is_empty(),
            "nothing is kept of what came: {waiting:?}"
        );
    }

    #[tokio::test]
    async fn what_is_set_while_its_reader_waits_comes_too() {
        let timers = Arc::new(Timers::default());
        let mut due = pin!(Arc::clone(&timers).due());
        assert!(poll!(due.next()).is_pending());
        let (first, ()) = tokio::join!(due.next(), async { timers.set(Key::of("a"), Some(SOON)) });
        assert_eq!(first, Some(Key::of("a")));
    }
}
