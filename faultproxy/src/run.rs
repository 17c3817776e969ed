//! The shared state of a run: the engine, the trace, the gates. A reset ends a run and begins another.
//!
//! I/O: the clock, and the trace file if there is one.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{LineWriter, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ring::digest::{SHA256, digest};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::call::Call;
use crate::engine::Engine;
use crate::plan::{Action, EventAction, Until};
use crate::trace::{EventRecord, Fault, Line, RequestRecord, Trace};

/// Locks; what panicked while holding the lock has left nothing half done that matters here.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A trace file. Lines are written when a request is done and when an event comes.
pub(crate) type Sink = Arc<Mutex<Option<LineWriter<File>>>>;

/// The run was ended by a reset.
#[derive(Debug)]
pub(crate) struct Ended;

/// A run.
pub(crate) struct Run {
    pub(crate) engine: Mutex<Engine>,
    trace: watch::Sender<Trace>,
    gates: watch::Sender<BTreeSet<String>>,
    pub(crate) ended: CancellationToken,
    began: Instant,
    sink: Sink,
    most: usize,
}

impl Run {
    /// `most` is how many records of each sort are kept at least; twice as many at most.
    pub(crate) fn new(sink: Sink, most: usize) -> Self {
        Self {
            engine: Mutex::default(),
            trace: watch::Sender::default(),
            gates: watch::Sender::default(),
            ended: CancellationToken::new(),
            began: Instant::now(),
            sink,
            most,
        }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Counts and records a request, and decides what befalls it.
    pub(crate) fn begin(&self, call: &Call, body: &Bytes) -> (u64, Option<Action>) {
        let mut record = RequestRecord {
            seq: 0,
            nth: 0,
            at_us: self.now_us(),
            call: call.clone(),
            body: hash(body),
            forwarded: false,
            upstream: None,
            code: None,
            error: None,
            fault: None,
            took_us: None,
        };
        let mut action = None;
        // Within the trace's lock, so that `seq` and `nth` are given in the same order.
        self.trace.send_modify(|trace| {
            let (nth, fault) = locked(&self.engine).request(call);
            action = fault.as_ref().map(|fault| fault.action.clone());
            record.seq = trace.requests.last().map_or(0, |last| last.seq) + 1;
            (record.nth, record.fault) = (nth, fault);
            let seq = record.seq;
            trace.requests.push(record.clone());
            forget(&mut trace.requests, &mut trace.forgotten, self.most);
            debug_assert_eq!(trace.requests.last().map(|last| last.seq), Some(seq));
        });
        (record.seq, action)
    }

    /// Changes the record of a request, if it is still kept.
    pub(crate) fn note(&self, seq: u64, change: impl FnOnce(&mut RequestRecord)) {
        self.trace.send_modify(|trace| {
            if let Some(record) = find(trace, seq) {
                change(record);
            }
        });
    }

    /// Records that a request is done, and what the client was told.
    pub(crate) fn done(&self, seq: u64, code: Option<u16>) {
        let now = self.now_us();
        let mut done = None;
        self.note(seq, |record| {
            if record.took_us.is_none() {
                record.code = code;
                record.took_us = Some(now.saturating_sub(record.at_us));
                done = Some(record.clone());
            }
        });
        if let Some(record) = done {
            self.write(&Line::Request(Box::new(record)));
        }
    }

    /// Counts and records a watch event, and decides what befalls it.
    pub(crate) fn event(&self, watch: &Call, mut event: EventRecord, line: &Bytes) -> EventRecord {
        event.at_us = self.now_us();
        self.trace.send_modify(|trace| {
            locked(&self.engine).event(watch, &mut event, line);
            trace.events.push(event.clone());
            forget(&mut trace.events, &mut trace.forgotten, self.most);
        });
        self.write(&Line::Event(event.clone()));
        event
    }

    fn write(&self, line: &Line) {
        if let Some(file) = locked(&self.sink).as_mut() {
            let written = serde_json::to_string(line).map_err(Into::into);
            if let Err(error) = written.and_then(|text| writeln!(file, "{text}")) {
                tracing::warn!(%error, "cannot write the trace");
            }
        }
    }

    /// The trace so far.
    pub(crate) fn trace(&self) -> Trace {
        self.trace.borrow().clone()
    }

    /// Waits until the trace is as wanted; false if it is not so in time.
    pub(crate) async fn until(&self, limit: Duration, wanted: impl FnMut(&Trace) -> bool) -> bool {
        let mut trace = self.trace.subscribe();
        tokio::time::timeout(limit, trace.wait_for(wanted)).await.is_ok_and(|seen| seen.is_ok())
    }

    /// Opens a gate, for good.
    pub(crate) fn open(&self, gate: &str) {
        self.gates.send_modify(|open| {
            open.insert(gate.to_owned());
        });
    }

    /// Waits as told, or until the run ends.
    pub(crate) async fn wait(&self, until: &Until) -> Result<(), Ended> {
        let enough = async {
            match until {
                Until::Ms(ms) => tokio::time::sleep(Duration::from_millis(*ms)).await,
                Until::Gate(gate) => {
                    let mut gates = self.gates.subscribe();
                    // An error means that there is no sender; but we are it.
                    drop(gates.wait_for(|open| open.contains(gate)).await);
                }
            }
        };
        tokio::select! {
            () = enough => Ok(()),
            () = self.ended.cancelled() => Err(Ended),
        }
    }
}

/// What an event's action is, if anything.
pub(crate) fn action(event: &EventRecord) -> Option<EventAction> {
    event.fault.as_ref().map(|Fault { action, .. }| action.clone())
}

fn find(trace: &mut Trace, seq: u64) -> Option<&mut RequestRecord> {
    let first = trace.requests.first()?.seq;
    let index = usize::try_from(seq.checked_sub(first)?).ok()?;
    trace.requests.get_mut(index)
}

/// Drops the oldest half once there are twice too many, so that it costs little each time.
fn forget<T>(records: &mut Vec<T>, forgotten: &mut u64, most: usize) {
    if records.len() > most.saturating_mul(2) {
        records.drain(..most);
        *forgotten += most as u64;
    }
}

fn hash(body: &Bytes) -> String {
    if body.is_empty() {
        return String::new();
    }
    let start =
        digest(&SHA256, body).as_ref().iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    format!("{start:016x}")
}
