//! A watch stream on its way to the client, line by line.
//!
//! Inputs: the API server's stream, the run's plan, which may change meanwhile. Output: a body whose lines are
//! flushed one by one. I/O: reading the stream, waiting, the kill hook.

use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Response, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;

use crate::call::Call;
use crate::kill::KillOrder;
use crate::plan::{EventAction, Signal};
use crate::proxy::Shared;
use crate::reply::{self, Body, Gone, Pieces};
use crate::run::{Run, action, locked};
use crate::trace::EventRecord;

/// When the stream ends by itself.
pub(crate) struct Cut {
    pub(crate) after: Duration,
    pub(crate) clean: bool,
}

/// A watch that has begun.
pub(crate) struct Stream {
    pub(crate) shared: Arc<Shared>,
    pub(crate) run: Arc<Run>,
    /// Of the request.
    pub(crate) seq: u64,
    pub(crate) call: Call,
    pub(crate) cut: Option<Cut>,
}

/// How a stream ends.
#[derive(Clone, Copy)]
enum End {
    /// As the API server ends one.
    Clean,
    /// By the connection closing in the midst of it.
    Abort,
}

impl Stream {
    /// Begins to pass the stream on; at most so many bytes of it, if there is a limit.
    pub(crate) fn relay(self, response: Response<Incoming>, limit: Option<usize>) -> Response<Body> {
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_json = kind.is_some_and(|kind| kind.starts_with("application/json"));
        let (pieces, body) = reply::channel();
        let (head, upstream) = response.into_parts();
        tokio::spawn(async move {
            let end = self.pass(Lines::new(upstream, is_json), &pieces, limit).await;
            if matches!(end, End::Abort) {
                pieces.abort().await;
            }
        });
        Response::from_parts(head, body)
    }

    async fn pass(&self, mut lines: Lines, pieces: &Pieces, mut limit: Option<usize>) -> End {
        let cut = async {
            match &self.cut {
                Some(cut) => tokio::time::sleep(cut.after).await,
                None => std::future::pending().await,
            }
        };
        let mut cut = std::pin::pin!(cut);
        let mut number = 0;
        loop {
            let line = tokio::select! {
                line = lines.next() => line,
                () = pieces.gone() => return End::Abort,
                () = self.run.ended.cancelled() => return End::Abort,
                () = &mut cut => return self.cut_end(),
            };
            let mut line = match line {
                Some(Ok(line)) => line,
                Some(Err(_)) => return End::Abort,
                None => return End::Clean,
            };
            if let Some(left) = limit.as_mut() {
                line.truncate(*left);
                *left -= line.len();
            }
            number += 1;
            let event = async {
                if lines.readable {
                    self.event(number, line, pieces).await
                } else {
                    sent(pieces.send(line).await)
                }
            };
            let passed = tokio::select! {
                passed = event => passed,
                () = pieces.gone() => Break(End::Abort),
                () = &mut cut => Break(self.cut_end()),
            };
            match passed {
                Break(end) => return end,
                Continue(()) if limit == Some(0) => return End::Abort,
                Continue(()) => {}
            }
        }
    }

    fn cut_end(&self) -> End {
        if self.cut.as_ref().is_some_and(|cut| cut.clean) { End::Clean } else { End::Abort }
    }

    async fn event(&self, number: u32, line: Bytes, pieces: &Pieces) -> ControlFlow<End> {
        let event = self.run.event(&self.call, self.read(number, &line), &line);
        match action(&event) {
            None => sent(pieces.send(line).await),
            Some(EventAction::Drop) => Continue(()),
            Some(EventAction::Hold { until }) => match self.run.wait(&until).await {
                Ok(()) => sent(pieces.send(line).await),
                Err(_) => Break(End::Abort),
            },
            Some(EventAction::Duplicate { times }) => {
                for _ in 0..times {
                    sent(pieces.send(line.clone()).await)?;
                }
                sent(pieces.send(line).await)
            }
            Some(EventAction::Replay { back, instead }) => {
                let older = locked(&self.run.engine).older_event(&self.call, &event, back);
                if !instead || older.is_none() {
                    sent(pieces.send(line).await)?;
                }
                match older {
                    Some(older) => sent(pieces.send(older).await),
                    None => Continue(()),
                }
            }
            Some(EventAction::Error { code }) => {
                sent(pieces.send(reply::error_event(code)).await)?;
                Break(End::Clean)
            }
            Some(EventAction::Cut { clean }) => Break(if clean { End::Clean } else { End::Abort }),
            Some(EventAction::Kill { signal, delivered }) => {
                if delivered {
                    sent(pieces.send(line.clone()).await)?;
                    // Lets the connection's task write it.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                self.shared.kill(KillOrder { signal, seq: self.seq, call: self.call.clone() }).await;
                match (signal, delivered) {
                    (Signal::Kill, _) => Break(End::Abort),
                    (Signal::Term, true) => Continue(()),
                    (Signal::Term, false) => sent(pieces.send(line).await),
                }
            }
        }
    }

    fn read(&self, n: u32, line: &Bytes) -> EventRecord {
        let Event { event, object } = serde_json::from_slice(line).unwrap_or_default();
        let Metadata { name, namespace, resource_version } = object.metadata;
        let kind = object.kind;
        EventRecord {
            watch: self.seq,
            n,
            event,
            kind,
            namespace,
            name,
            resource_version,
            ..EventRecord::default()
        }
    }
}

fn sent(sent: Result<(), Gone>) -> ControlFlow<End> {
    match sent {
        Ok(()) => Continue(()),
        Err(Gone) => Break(End::Abort),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Event {
    #[serde(rename = "type")]
    event: String,
    object: Object,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    kind: String,
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: String,
    namespace: String,
    resource_version: String,
}

/// A body's lines, each with its newline; or its pieces as they come, where it has none.
struct Lines {
    body: Incoming,
    readable: bool,
    buffer: BytesMut,
    /// So much of the buffer is known to hold no newline.
    searched: usize,
}

impl Lines {
    fn new(body: Incoming, readable: bool) -> Self {
        Self { body, readable, buffer: BytesMut::new(), searched: 0 }
    }

    /// The next line. Nothing is lost if this is dropped while it waits.
    async fn next(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            if let Some(line) = self.take() {
                return Some(Ok(line));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Some(Err(error)),
                None if self.buffer.is_empty() => return None,
                None => return Some(Ok(std::mem::take(&mut self.buffer).freeze())),
            }
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        if !self.readable {
            return (!self.buffer.is_empty()).then(|| self.buffer.split().freeze());
        }
        let unsearched = self.buffer.get(self.searched..)?;
        let Some(at) = unsearched.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.searched + at + 1).freeze();
        self.searched = 0;
        Some(line)
    }
}
