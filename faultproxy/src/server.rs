//! The side towards the controller: plain HTTP/1.1 with keep-alive. I/O: sockets on loopback.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use http::{HeaderValue, Request, Response, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::call::Call;
use crate::exchange::{Exchange, Outcome};
use crate::kill::KillOrder;
use crate::proxy::Shared;
use crate::reply::Body;
use crate::run::locked;

/// The connection is to be closed without a reply.
#[derive(Debug, thiserror::Error)]
#[error("closed on purpose")]
struct Closed;

/// What the requests of one connection share.
struct Connection {
    shared: Arc<Shared>,
    /// Of which controller's life it is: see [`Shared::kill`].
    life: u64,
    reset: AtomicBool,
    /// Kill once the reply has been written.
    then: Mutex<Option<Box<KillOrder>>>,
}

/// Serves connections until dropped.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let life = shared.life.load(Ordering::SeqCst);
                    connections.spawn(connection(stream, Arc::clone(&shared), life));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    // E.g. no file descriptors left: others may end meanwhile.
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(mut stream: TcpStream, shared: Arc<Shared>, life: u64) {
    drop(stream.set_nodelay(true));
    let (reset, then) = Default::default();
    let connection = Arc::new(Connection { shared: Arc::clone(&shared), life, reset, then });
    let service = service_fn(|request| answer(Arc::clone(&connection), request));
    // Its errors are the client's going away and our own closing.
    drop(http1::Builder::new().serve_connection(TokioIo::new(&mut stream), service).await);
    if connection.reset.load(Ordering::SeqCst) {
        drop(stream.set_zero_linger());
    }
    drop(stream);
    let order = locked(&connection.then).take();
    if let Some(order) = order {
        shared.kill(*order).await;
    }
}

async fn answer(connection: Arc<Connection>, request: Request<Incoming>) -> Result<Response<Body>, Closed> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Closed)?.to_bytes();
    let shared = Arc::clone(&connection.shared);
    if connection.life != shared.life.load(Ordering::SeqCst) {
        return Err(Closed);
    }
    let call = Call::parse(&head, &body);
    let run = shared.run();
    let (seq, action) = run.begin(&call, &body);
    let (client, outcome) = oneshot::channel();
    let exchange = Exchange { shared, run, seq, call, head, body, action, client: Some(client) };
    tokio::spawn(exchange.carry());
    match outcome.await {
        Ok(Outcome::Reply(mut response, then)) => {
            if then.is_some() {
                // Then the connection ends when, and only when, the reply has been written.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                *locked(&connection.then) = then;
            }
            Ok(response)
        }
        Ok(Outcome::Close { reset }) => {
            connection.reset.store(reset, Ordering::SeqCst);
            Err(Closed)
        }
        Err(_) => Err(Closed),
    }
}
