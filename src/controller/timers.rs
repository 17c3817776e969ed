//! When an execution gets its next pass though nothing changes: one time for each, set by its last pass.
//!
//! kube-runtime would keep each time that a pass asked for until it comes. Every execution would get a pass for nothing
//! some time after its end, and one that ended within a second would be kept in the queue until its deadline. Here a
//! pass replaces what the one before it asked for. No I/O.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{self, Poll},
    time::Duration,
};

use futures::Stream;
use kube::runtime::reflector::ObjectRef;
use tokio_util::time::{DelayQueue, delay_queue::Key};

use super::execution::Execution;

/// A pass too many does no harm, and the queue takes no more than two years.
const LONGEST: Duration = Duration::from_hours(24);

/// The next pass of each execution that waits for a time.
#[derive(Debug, Default)]
pub struct Timers {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    queue: DelayQueue<Timer>,
    /// By uid of the execution.
    keys: HashMap<String, Key>,
}

#[derive(Debug)]
struct Timer {
    uid: String,
    execution: ObjectRef<Execution>,
}

impl Timers {
    /// The next pass comes after that time at the latest, or only when something changes; whatever was set before is
    /// void.
    pub fn set(&self, execution: &Execution, wait: Option<Duration>) {
        let mut waiting = self.waiting();
        waiting.clear(execution.uid());
        if let Some(wait) = wait {
            let uid = execution.uid().to_owned();
            let timer = Timer {
                uid: uid.clone(),
                execution: ObjectRef::new(execution.name()).within(execution.namespace()),
            };
            let key = waiting.queue.insert(timer, wait.min(LONGEST));
            waiting.keys.insert(uid, key);
        }
    }

    /// Lets go of an execution that is gone.
    pub fn forget(&self, uid: &str) {
        self.waiting().clear(uid);
    }

    /// The executions whose time has come. It never ends; what comes out is set no more.
    pub fn due(self: Arc<Self>) -> impl Stream<Item = ObjectRef<Execution>> + Send {
        futures::stream::poll_fn(move |cx| self.waiting().poll_due(cx).map(Some))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn clear(&mut self, uid: &str) {
        if let Some(key) = self.keys.remove(uid) {
            self.queue.try_remove(&key);
        }
    }

    fn poll_due(&mut self, cx: &mut task::Context<'_>) -> Poll<ObjectRef<Execution>> {
        match self.queue.poll_expired(cx) {
            Poll::Ready(Some(expired)) => {
                let timer = expired.into_inner();
                self.keys.remove(&timer.uid);
                Poll::Ready(timer.execution)
            }
            // An empty queue wakes its reader too once something is set.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
impl Timers {
    /// Whether a time is set for it.
    pub fn is_set(&self, uid: &str) -> bool {
        self.waiting().keys.contains_key(uid)
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, sync::Arc, time::Duration};

    use futures::{StreamExt, poll};
    use serde_json::json;

    use super::{Execution, Timers};

    const SOON: Duration = Duration::from_millis(5);
    const LATER: Duration = Duration::from_millis(50);

    fn execution(name: &str) -> Execution {
        let object = json!({"metadata": {"name": name, "namespace": "n", "uid": name}, "spec": {}});
        serde_json::from_str(&object.to_string()).unwrap()
    }

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
                timers.set(&execution(name), wait);
            }
        }
        timers.forget("gone");
        let due = pin!(Arc::clone(&timers).due());
        let names: Vec<String> = due.take(2).map(|execution| execution.name).collect().await;
        assert_eq!(names, ["sooner", "later"]);
        let waiting = timers.waiting();
        assert!(
            waiting.queue.is_empty() && waiting.keys.is_empty(),
            "nothing is kept of what came: {waiting:?}"
        );
    }

    #[tokio::test]
    async fn what_is_set_while_its_reader_waits_comes_too() {
        let timers = Arc::new(Timers::default());
        let mut due = pin!(Arc::clone(&timers).due());
        assert!(poll!(due.next()).is_pending());
        let (first, ()) = tokio::join!(due.next(), async { timers.set(&execution("a"), Some(SOON)) });
        assert_eq!(first.unwrap().name, "a");
    }
}
