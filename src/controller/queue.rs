//! Which executions get a pass next, and how the passes go side by side: each execution in one at a time, and so many
//! executions at once as is allowed. Knows nothing of what a pass does.
//!
//! kube-runtime's `Controller` would do the same over its own store, whose keys alone took a quarter of what the
//! controller keeps of an execution, and would take up last what came first: what else that cost is told in
//! `docs/benchmarks`.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::key::Key;

/// After so many passes over what has begun comes one over what is new, if there is any: else it might never start.
const BEGUN_IN_A_ROW: u32 = 3;

/// In which of two rows an execution waits; in each the first to come is the first to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// What has begun: its end is told, and its user's wish heeded, however many others are yet to start.
    Begun,
    /// All others.
    New,
}

/// The executions that are to get a pass.
#[derive(Debug, Default)]
pub struct Queue {
    inner: Mutex<Inner>,
    added: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    begun: VecDeque<Key>,
    new: VecDeque<Key>,
    begun_in_a_row: u32,
    /// Of those that wait or are in a pass. Who waits may stand in the other row too, since it was moved.
    standing: HashMap<Key, Standing>,
}

/// How it stands with an execution that waits or is in a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Waiting(Row),
    AtWork,
    /// In a pass that may have overlooked what came since: it gets another one.
    AtWorkAndWanted,
}

impl Queue {
    /// It is to get a pass that begins from now on. One that waits already is enough.
    pub fn add(&self, key: Key, row: Row) {
        let mut inner = self.inner();
        match (inner.standing.get(&key), row) {
            (None, _) | (Some(Standing::Waiting(Row::New)), Row::Begun) => inner.wait(key, row),
            (Some(Standing::AtWork), _) => {
                inner.standing.insert(key, Standing::AtWorkAndWanted);
            }
            (Some(Standing::Waiting(_) | Standing::AtWorkAndWanted), _) => {}
        }
        self.added.notify_one();
    }

    /// Has the executions worked on until stopped; then the passes under way are finished and none is begun.
    pub async fn work<Pass: Future<Output = ()>>(
        &self,
        at_once: usize,
        stop: &CancellationToken,
        pass: impl Fn(Key) -> Pass,
    ) {
        let mut passes = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(key) = passes.next() => self.done(key),
                key = self.next(), if passes.len() < at_once => passes.push(pass(key).map(move |()| key)),
            }
        }
        while passes.next().await.is_some() {}
    }

    async fn next(&self) -> Key {
        loop {
            if let Some(key) = self.inner().begin() {
                return key;
            }
            self.added.notified().await;
        }
    }

    fn done(&self, key: Key) {
        let mut inner = self.inner();
        if inner.standing.remove(&key) == Some(Standing::AtWorkAndWanted) {
            inner.wait(key, Row::Begun);
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn row(&mut self, row: Row) -> &mut VecDeque<Key> {
        match row {
            Row::Begun => &mut self.begun,
            Row::New => &mut self.new,
        }
    }

    fn wait(&mut self, key: Key, row: Row) {
        self.standing.insert(key, Standing::Waiting(row));
        self.row(row).push_back(key);
    }

    fn begin(&mut self) -> Option<Key> {
        let rows = if self.begun_in_a_row < BEGUN_IN_A_ROW {
            [Row::Begun, Row::New]
        } else {
            [Row::New, Row::Begun]
        };
        let (key, row) = rows.into_iter().find_map(|row| Some((self.first(row)?, row)))?;
        self.begun_in_a_row = match row {
            Row::Begun => self.begun_in_a_row.saturating_add(1),
            Row::New => 0,
        };
        self.standing.insert(key, Standing::AtWork);
        Some(key)
    }

    /// Takes the first of that row who still waits there.
    fn first(&mut self, row: Row) -> Option<Key> {
        loop {
            let key = self.row(row).pop_front()?;
            if self.standing.get(&key) == Some(&Standing::Waiting(row)) {
                return Some(key);
            }
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
