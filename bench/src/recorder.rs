//! What happened to each execution, and when, by watch lines and the monotonic clock.
//!
//! The recorder has a thread of its own, so that a busy generator or actor does not make lines look late. It is
//! present in every run, so its cost to the API server is the same for all peers.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use crate::{
    http::{Answer, Http, Lines},
    line::{Line, Object},
    payload,
    target::Target,
};

/// What is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Executions, and their Workflows.
    Executions,
    /// Jobs, and their pods.
    Jobs,
}

/// What happened to one execution, or Job.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// The execution was there.
    pub created: Option<Instant>,
    /// Its child was there.
    pub child: Option<Instant>,
    /// Its child was released.
    pub released: Option<Instant>,
    /// Its status told of the child.
    pub running: Option<Instant>,
    /// Whoever works on its child had begun.
    pub taken_up: Option<Instant>,
    /// Its child had ended.
    pub done: Option<Instant>,
    /// Its status told the outcome.
    pub finished: Option<Instant>,
    /// How many children were made.
    pub children: u32,
    /// How often it was changed.
    pub changes: u32,
    /// How often its child was changed.
    pub child_changes: u32,
    /// The outcome is success.
    pub succeeded: bool,
}

/// How many have come how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "as in Marks")]
pub struct Counts {
    pub created: usize,
    pub child: usize,
    pub running: usize,
    pub taken_up: usize,
    pub done: usize,
    pub finished: usize,
}

#[derive(Default)]
struct Table {
    marks: Vec<Marks>,
    counts: Counts,
    breaks: u32,
    error: Option<String>,
}

/// A child that is to be worked on: its name.
pub type Released = String;

/// The recorder.
#[derive(Clone)]
pub struct Recorder {
    table: Arc<Mutex<Table>>,
    subject: Subject,
}

impl Recorder {
    /// Begins to watch; returns once both watches are established. Children to be worked on go to `released`.
    pub async fn start(
        target: &Target,
        subject: Subject,
        released: mpsc::UnboundedSender<Released>,
    ) -> Result<Self> {
        let recorder = Self { table: Arc::default(), subject };
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let (own, target) = (recorder.clone(), target.clone());
        thread::Builder::new().name("recorder".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            let outcome = runtime.block_on(own.watch(&target, ready, released));
            if let Err(error) = outcome {
                own.with(|table| table.error = Some(format!("{error:#}")));
            }
        })?;
        is_ready.await.context("the recorder could not watch")?;
        Ok(recorder)
    }

    async fn watch(
        &self,
        target: &Target,
        ready: tokio::sync::oneshot::Sender<()>,
        released: mpsc::UnboundedSender<Released>,
    ) -> Result<()> {
        let http = Http::new(target, "bench-recorder", false)?;
        let (parents, children) = match self.subject {
            Subject::Executions => (payload::executions(target), payload::workflows(target)),
            Subject::Jobs => (payload::jobs(target), payload::pods(target)),
        };
        let parent_lines = http.watch(&parents, "", Answer::Whole).await?;
        let child_lines = http.watch(&children, "", Answer::Whole).await?;
        // The harness ends the recorder by dropping the other end of the channel.
        let _ = ready.send(());
        let parents = self.follow(&http, &parents, parent_lines, |time, line| self.parent(time, line));
        let children =
            self.follow(&http, &children, child_lines, |time, line| self.child(time, line, &released));
        tokio::select! {
            outcome = parents => outcome,
            outcome = children => outcome,
            () = released.closed() => Ok(()),
        }
    }

    /// Takes each line; goes on where it was when the API server ends the watch, as it does with slow readers.
    async fn follow(
        &self,
        http: &Http,
        path: &str,
        mut lines: Lines,
        mut take: impl FnMut(Instant, &Line<'_>),
    ) -> Result<()> {
        let mut version = String::new();
        loop {
            while let Some((time, bytes)) = lines.next().await {
                let Some(line) = Line::read(&bytes) else { break };
                match line.kind.as_ref() {
                    "ADDED" | "MODIFIED" | "DELETED" => take(time, &line),
                    "BOOKMARK" => {}
                    other => bail!("the watch says {other}: {}", String::from_utf8_lossy(&bytes)),
                }
                version.clear();
                version.push_str(&line.object.metadata.resource_version);
            }
            self.with(|table| table.breaks += 1);
            lines = http.watch(path, &format!("resourceVersion={version}"), Answer::Whole).await?;
        }
    }

    fn parent(&self, time: Instant, line: &Line<'_>) {
        let Some(number) = payload::number(&line.object.metadata.name) else { return };
        let status = &line.object.status;
        self.with(|table| {
            let (marks, counts) = table.of(number);
            match line.kind.as_ref() {
                "ADDED" => once(&mut marks.created, time, &mut counts.created),
                "MODIFIED" => marks.changes += 1,
                _ => {}
            }
            if status.start_time.is_some() {
                once(&mut marks.running, time, &mut counts.running);
            }
            if status.completion_time.is_some() {
                once(&mut marks.finished, time, &mut counts.finished);
                marks.succeeded = match self.subject {
                    Subject::Executions => line.object.is_succeeded(),
                    Subject::Jobs => true,
                };
            }
        });
    }

    fn child(&self, time: Instant, line: &Line<'_>, released: &mpsc::UnboundedSender<Released>) {
        let name = &line.object.metadata.name;
        let Some(number) = payload::number(name) else { return };
        let to_do = self.with(|table| {
            let (marks, counts) = table.of(number);
            match line.kind.as_ref() {
                "ADDED" => {
                    marks.children += 1;
                    once(&mut marks.child, time, &mut counts.child);
                }
                "MODIFIED" => marks.child_changes += 1,
                _ => {}
            }
            if line.object.status.phase.is_some() {
                once(&mut marks.taken_up, time, &mut counts.taken_up);
            }
            if self.is_done(&line.object) {
                once(&mut marks.done, time, &mut counts.done);
                return false;
            }
            let is_first = marks.released.is_none() && self.is_released(&line.object);
            if is_first {
                marks.released = Some(time);
            }
            is_first
        });
        if to_do {
            // Nobody is there to work on it once the run is over.
            let _ = released.send(name.clone().into_owned());
        }
    }

    fn is_done(&self, child: &Object<'_>) -> bool {
        match self.subject {
            Subject::Executions => child.is_completed_workflow(),
            Subject::Jobs => child.is_succeeded(),
        }
    }

    fn is_released(&self, child: &Object<'_>) -> bool {
        match self.subject {
            Subject::Executions => child.spec.suspend == Some(false),
            Subject::Jobs => true,
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Table) -> T) -> T {
        f(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many have come how far.
    pub fn counts(&self) -> Counts {
        self.with(|table| table.counts)
    }

    /// How often a watch was broken off; times are late then.
    pub fn breaks(&self) -> u32 {
        self.with(|table| table.breaks)
    }

    /// Everything that was seen.
    pub fn marks(&self) -> Vec<Marks> {
        self.with(|table| table.marks.clone())
    }

    /// Whether the outcome of that execution was told.
    pub fn has_finished(&self, number: usize) -> bool {
        self.with(|table| table.marks.get(number).is_some_and(|marks| marks.finished.is_some()))
    }

    /// Waits until the counts are as wanted.
    pub async fn until(&self, what: &str, limit: Duration, is_so: impl Fn(&Counts) -> bool) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let (counts, error) = self.with(|table| (table.counts, table.error.clone()));
            if is_so(&counts) {
                return Ok(());
            }
            if let Some(error) = error {
                bail!("the recorder failed: {error}");
            }
            if Instant::now() > deadline {
                bail!("not {what} after {} s: {counts:?}", limit.as_secs());
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Table {
    fn of(&mut self, number: usize) -> (&mut Marks, &mut Counts) {
        if self.marks.len() <= number {
            self.marks.resize(number + 1, Marks::default());
        }
        // The line before makes room for it.
        #[allow(clippy::indexing_slicing, reason = "the table has just been made long enough")]
        (&mut self.marks[number], &mut self.counts)
    }
}

fn once(mark: &mut Option<Instant>, time: Instant, count: &mut usize) {
    if mark.is_none() {
        *mark = Some(time);
        *count += 1;
    }
}
