//! Replies of the proxy's own, and bodies that misbehave. I/O: none but waiting.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use serde_json::json;
use tokio::sync::mpsc;
use tower::BoxError;

use crate::call::Verb;
use crate::plan::Answer;

/// The body of a reply to the client.
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A whole body.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// A body that is written from elsewhere, and flushed after each piece. It ends well when the sender is
/// dropped; an error closes the connection in the midst of it.
pub(crate) fn channel() -> (Pieces, Body) {
    let (sender, receiver) = mpsc::channel(64);
    (Pieces(sender), Channel(receiver).boxed_unsync())
}

struct Channel(mpsc::Receiver<Result<Bytes, BoxError>>);

impl HttpBody for Channel {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// The writing end of a body. The client is gone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gone;

/// The writing end of a body.
pub(crate) struct Pieces(mpsc::Sender<Result<Bytes, BoxError>>);

impl Pieces {
    /// Hands a piece to the connection.
    pub(crate) async fn send(&self, piece: Bytes) -> Result<(), Gone> {
        self.0.send(Ok(piece)).await.map_err(|_| Gone)
    }

    /// Waits until the client is gone.
    pub(crate) async fn gone(&self) {
        self.0.closed().await;
    }

    /// Closes the connection in the midst of the body, after what was sent has left.
    pub(crate) async fn abort(self) {
        // hyper throws away what it has not yet flushed when it is told of an error.
        tokio::time::sleep(Duration::from_millis(5)).await;
        drop(self.0.send(Err("cut on purpose".into())).await);
    }
}

/// A body's first bytes, and then the end of the connection.
pub(crate) fn truncated(body: &Bytes, bytes: usize) -> Body {
    let (pieces, reply) = channel();
    let start = body.slice(..bytes.min(body.len()));
    tokio::spawn(async move {
        if pieces.send(start).await.is_ok() {
            pieces.abort().await;
        }
    });
    reply
}

/// A body that trickles.
pub(crate) fn slow(body: Bytes, bytes: usize, every: Duration) -> Body {
    let (pieces, reply) = channel();
    tokio::spawn(async move {
        let mut rest = body;
        while !rest.is_empty() {
            let piece = rest.split_to(bytes.clamp(1, rest.len()));
            if pieces.send(piece).await.is_err() {
                return;
            }
            tokio::time::sleep(every).await;
        }
    });
    reply
}

/// A reply that a plan asks for.
pub(crate) fn answer(answer: &Answer, verb: Verb) -> Response<Body> {
    let status =
        || status(answer.code, answer.reason.as_deref().unwrap_or_else(|| reason(answer.code, verb)));
    let mut response = Response::new(full(answer.body.clone().unwrap_or_else(status)));
    *response.status_mut() = StatusCode::from_u16(answer.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut set = |name, value: Option<&str>| {
        if let Some(Ok(value)) = value.map(HeaderValue::from_str) {
            response.headers_mut().insert(name, value);
        }
    };
    set(header::CONTENT_TYPE, Some(answer.content_type.as_deref().unwrap_or("application/json")));
    set(header::RETRY_AFTER, answer.retry_after.as_deref());
    response
}

/// The line of an ERROR event.
pub(crate) fn error_event(code: u16) -> Bytes {
    let status = status(code, reason(code, Verb::Watch));
    format!("{{\"type\":\"ERROR\",\"object\":{status}}}\n").into()
}

fn status(code: u16, reason: &str) -> String {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("{reason}: injected by faultproxy"), "reason": reason, "code": code,
    })
    .to_string()
}

/// The reason that Kubernetes gives with a code.
fn reason(code: u16, verb: Verb) -> &'static str {
    match code {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        405 => "MethodNotAllowed",
        409 if verb == Verb::Create => "AlreadyExists",
        409 => "Conflict",
        410 => "Expired",
        413 => "RequestEntityTooLarge",
        422 => "Invalid",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "Unknown",
    }
}
