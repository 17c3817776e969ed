//! One request, from its arrival to its reply, with what befalls it.
//!
//! Inputs: the request, its fault. Output: an [`Outcome`] for the connection. I/O: the API server, the kill
//! hook, waiting. An exchange runs in a task of its own: a mutating request that was let through is carried
//! through even if the client is gone, as it would be by an API server that has received it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, header, request::Parts};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::oneshot;

use crate::call::{Call, Verb};
use crate::engine::Reply;
use crate::kill::KillOrder;
use crate::plan::{Action, Answer, Point, Signal, Until};
use crate::proxy::Shared;
use crate::reply::{self, Body};
use crate::run::{Run, locked};
use crate::stream::{Cut, Stream};

/// What the connection does for a request.
pub(crate) enum Outcome {
    /// Sends a reply; then kills, if asked.
    Reply(Response<Body>, Option<Box<KillOrder>>),
    /// Closes, by RST if so.
    Close { reset: bool },
}

const CLOSE: Outcome = Outcome::Close { reset: false };

/// A request under way.
pub(crate) struct Exchange {
    pub(crate) shared: Arc<Shared>,
    pub(crate) run: Arc<Run>,
    pub(crate) seq: u64,
    pub(crate) call: Call,
    pub(crate) head: Parts,
    pub(crate) body: Bytes,
    pub(crate) action: Option<Action>,
    pub(crate) client: Option<oneshot::Sender<Outcome>>,
}

impl Exchange {
    /// Carries the request through.
    pub(crate) async fn carry(mut self) {
        if let Some(outcome) = self.before().await {
            return self.finish(outcome);
        }
        let outcome = match self.forward().await {
            Some(response) => self.after(response).await,
            None => CLOSE,
        };
        self.finish(outcome);
    }

    /// Tells the client, or rather its connection; only the first time counts.
    fn finish(&mut self, outcome: Outcome) {
        let code = match &outcome {
            Outcome::Reply(response, _) => Some(response.status().as_u16()),
            Outcome::Close { .. } => None,
        };
        if let Some(client) = self.client.take() {
            // The record comes first, so that who has the reply finds it in the trace.
            self.run.done(self.seq, code.filter(|_| !client.is_closed()));
            drop(client.send(outcome));
        }
    }

    /// What happens before the API server gets the request; an outcome means that it never does.
    async fn before(&mut self) -> Option<Outcome> {
        match self.action.clone()? {
            Action::Kill { signal, point: Point::BeforeApply } => {
                self.kill(signal).await;
                (signal == Signal::Kill).then_some(CLOSE)
            }
            Action::Close { applied: false, reset } => Some(Outcome::Close { reset }),
            Action::Delay { until, point: Point::BeforeApply } => self.wait(&until).await,
            Action::Answer(answer) if !answer.applied => Some(self.answer(&answer)),
            Action::Hang { applied: false } => Some(self.hang().await),
            Action::Zombie { until } => {
                self.finish(CLOSE);
                self.wait(&until).await
            }
            Action::Stale { back } => self.stale(back),
            Action::StreamError { code } => Some(stream_error(code)),
            Action::Kill { .. }
            | Action::Close { .. }
            | Action::Delay { .. }
            | Action::Answer(_)
            | Action::Hang { .. }
            | Action::Truncate { .. }
            | Action::Slow { .. }
            | Action::CutStream { .. } => None,
        }
    }

    /// Asks the API server. None: it did not answer, or nobody is there any more to be told what was read.
    async fn forward(&mut self) -> Option<Response<Incoming>> {
        self.run.note(self.seq, |record| record.forwarded = true);
        let sent = self.shared.upstream.send(&self.head, self.body.clone());
        let answered = match self.client.as_mut().filter(|_| !self.call.key.verb.is_mutating()) {
            Some(client) => tokio::select! {
                answered = sent => answered,
                () = client.closed() => Err("the client has gone".into()),
            },
            None => sent.await,
        };
        let upstream = answered.as_ref().map(|response| response.status().as_u16());
        let (code, error) = match upstream {
            Ok(code) => (Some(code), None),
            Err(error) => (None, Some(error.to_string())),
        };
        self.run.note(self.seq, |record| (record.upstream, record.error) = (code, error));
        answered.ok()
    }

    /// What happens after the API server has answered.
    async fn after(&mut self, response: Response<Incoming>) -> Outcome {
        let action = self.action.clone();
        let is_stream = self.call.key.verb == Verb::Watch && response.status().is_success();
        let is_plain = matches!(
            action,
            None | Some(
                Action::Kill { point: Point::BeforeApply | Point::AfterReply, .. }
                    | Action::Delay { point: Point::BeforeApply, .. }
                    | Action::CutStream { .. }
                    | Action::Stale { .. }
                    | Action::Zombie { .. }
            )
        );
        if is_plain && !is_stream && !self.keeps_reply() {
            let response = response.map(|body| body.map_err(Into::into).boxed_unsync());
            return Outcome::Reply(response, self.kill_after_reply());
        }
        if is_stream {
            return self.after_stream(response).await;
        }
        let (head, body) = response.into_parts();
        let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes) else { return CLOSE };
        if self.keeps_reply() && head.status.is_success() {
            let kept = Reply { headers: head.headers.clone(), body: body.clone() };
            locked(&self.run.engine).keep_reply(self.sameness(), kept);
        }
        let whole = Response::from_parts(head, body);
        match action {
            Some(Action::Truncate { bytes, clean }) => Outcome::Reply(truncate(whole, bytes, clean), None),
            Some(Action::Slow { bytes, every_ms }) => {
                let every = Duration::from_millis(every_ms);
                Outcome::Reply(whole.map(|body| reply::slow(body, bytes, every)), None)
            }
            action => {
                let response = whole.map(reply::full);
                self.settled(action, response).await
            }
        }
    }

    /// The faults that are the same for a stream, which has begun, and for a reply, which is complete.
    async fn settled(&mut self, action: Option<Action>, response: Response<Body>) -> Outcome {
        match action {
            Some(Action::Kill { signal, point: Point::AfterApply }) => {
                self.kill(signal).await;
                if signal == Signal::Kill { CLOSE } else { Outcome::Reply(response, None) }
            }
            Some(Action::Close { reset, .. }) => Outcome::Close { reset },
            Some(Action::Delay { until, point: Point::AfterApply | Point::AfterReply }) => {
                self.wait(&until).await.unwrap_or(Outcome::Reply(response, None))
            }
            Some(Action::Answer(answer)) => self.answer(&answer),
            Some(Action::Hang { .. }) => self.hang().await,
            _ => Outcome::Reply(response, self.kill_after_reply()),
        }
    }

    async fn after_stream(&mut self, response: Response<Incoming>) -> Outcome {
        let cut = match self.action {
            Some(Action::CutStream { after_ms, clean }) => {
                Some(Cut { after: Duration::from_millis(after_ms), clean })
            }
            _ => None,
        };
        let stream = Stream {
            shared: Arc::clone(&self.shared),
            run: Arc::clone(&self.run),
            seq: self.seq,
            call: self.call.clone(),
            cut,
        };
        let limit = match self.action {
            Some(Action::Truncate { bytes, .. }) => Some(bytes),
            _ => None,
        };
        let response = stream.relay(response, limit);
        self.settled(self.action.clone(), response).await
    }

    fn answer(&self, answer: &Answer) -> Outcome {
        Outcome::Reply(reply::answer(answer, self.call.key.verb), None)
    }

    /// Some outcome if the run has ended meanwhile.
    async fn wait(&self, until: &Until) -> Option<Outcome> {
        self.run.wait(until).await.is_err().then_some(CLOSE)
    }

    async fn hang(&mut self) -> Outcome {
        if let Some(client) = self.client.as_mut() {
            tokio::select! {
                () = client.closed() => {}
                () = self.run.ended.cancelled() => {}
            }
        }
        CLOSE
    }

    fn order(&self, signal: Signal) -> KillOrder {
        KillOrder { signal, seq: self.seq, call: self.call.clone() }
    }

    async fn kill(&self, signal: Signal) {
        self.shared.kill(self.order(signal)).await;
    }

    fn kill_after_reply(&self) -> Option<Box<KillOrder>> {
        match self.action {
            Some(Action::Kill { signal, point: Point::AfterReply }) => Some(Box::new(self.order(signal))),
            _ => None,
        }
    }

    /// What makes two requests the same, so that one's reply can stand for the other's.
    fn sameness(&self) -> String {
        let accept = self.head.headers.get(header::ACCEPT);
        format!("{} {accept:?} {}", self.call.impersonate, self.head.uri)
    }

    fn keeps_reply(&self) -> bool {
        matches!(self.call.key.verb, Verb::Get | Verb::List) && locked(&self.run.engine).wants_replies()
    }

    fn stale(&self, back: usize) -> Option<Outcome> {
        let Reply { headers, body } = locked(&self.run.engine).older_reply(&self.sameness(), back)?;
        let mut response = Response::new(reply::full(body));
        *response.headers_mut() = headers;
        Some(Outcome::Reply(response, None))
    }
}

fn truncate(whole: Response<Bytes>, bytes: usize, clean: bool) -> Response<Body> {
    if !clean {
        return whole.map(|body| reply::truncated(&body, bytes));
    }
    let mut response = whole.map(|body| reply::full(body.slice(..bytes.min(body.len()))));
    // hyper counts anew.
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response
}

fn stream_error(code: u16) -> Outcome {
    let (pieces, body) = reply::channel();
    tokio::spawn(async move { pieces.send(reply::error_event(code)).await });
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Outcome::Reply(response, None)
}
