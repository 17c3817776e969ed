//! A server on this machine's loopback, which the pods share: it answers as its path says, and keeps what it was asked.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri},
    response::Response,
};
use serde_json::json;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// How long is waited for a request.
const PATIENCE: Duration = Duration::from_secs(90);

/// One request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: String,
}

/// A server that runs until it is dropped. What is below `/gate/` it answers only while its gate is open: whoever
/// asks for that before is in the middle of its work.
pub struct Server {
    address: SocketAddr,
    desk: Desk,
    task: JoinHandle<()>,
}

/// What the server's answers depend on.
#[derive(Clone)]
struct Desk {
    asked: watch::Sender<Vec<Asked>>,
    open: watch::Sender<bool>,
    files: watch::Sender<BTreeMap<String, Vec<u8>>>,
}

impl Server {
    pub async fn start() -> Result<Self> {
        let desk = Desk {
            asked: watch::Sender::new(Vec::new()),
            open: watch::Sender::new(false),
            files: watch::Sender::new(BTreeMap::new()),
        };
        let router = Router::new().fallback(answer).with_state(desk.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, desk, task })
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What was asked of a path.
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        self.desk.asked.borrow().iter().filter(|asked| asked.path == path).cloned().collect()
    }

    /// Waits until each of these paths has been asked for that often.
    pub async fn until_asked(&self, paths: &[&str], times: usize) -> Result<()> {
        let mut asked = self.desk.asked.subscribe();
        let count = |all: &[Asked], path: &str| all.iter().filter(|asked| asked.path == path).count();
        let came = asked.wait_for(|all| paths.iter().all(|path| count(all, path) >= times));
        tokio::time::timeout(PATIENCE, came).await.context("it was never asked for")??;
        Ok(())
    }

    /// Serves a file at that path from now on.
    pub fn serve(&self, path: &str, content: Vec<u8>) {
        self.desk.files.send_modify(|files| drop(files.insert(path.to_owned(), content)));
    }

    /// Opens the gate, or shuts it.
    pub fn set_gate(&self, open: bool) {
        self.desk.open.send_replace(open);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    State(desk): State<Desk>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = String::from_utf8_lossy(&body).into_owned();
    let path = uri.path().to_owned();
    let query = uri.query().unwrap_or_default().to_owned();
    let mut times = 0;
    desk.asked.send_modify(|log| {
        log.push(Asked { method, path: path.clone(), query: query.clone(), headers, body: body.clone() });
        times = log.iter().filter(|asked| asked.path == path).count();
    });
    let file = desk.files.borrow().get(&path).cloned();
    if let Some(file) = file {
        return Response::new(Body::from(file));
    }
    match path.as_str() {
        "/things" => with(201, json!({"id": 7, "name": body}).to_string()),
        gate if gate.starts_with("/gate/") => {
            let open = desk.open.subscribe().wait_for(|open| *open).await.is_ok();
            with(if open { 200 } else { 503 }, json!({"ok": open}).to_string())
        }
        "/moved" => {
            let mut response = with(307, String::new());
            let elsewhere = HeaderValue::from_str(&format!("/things?{query}"));
            response.headers_mut().insert("location", elsewhere.unwrap());
            response
        }
        "/slow" => {
            tokio::time::sleep(Duration::from_mins(10)).await;
            with(200, String::new())
        }
        "/huge" => with(200, "x".repeat(2 * 1024 * 1024)),
        "/large" => with(200, json!({"text": "y".repeat(20_000)}).to_string()),
        "/broken" => with(500, "it is broken".to_owned()),
        "/recovers" if times < 3 => with(503, String::new()),
        "/busy" if times == 1 => {
            let mut response = with(429, String::new());
            response.headers_mut().insert("retry-after", HeaderValue::from_static("3"));
            response
        }
        "/work" => {
            let mut response = with(202, String::new());
            response.headers_mut().insert("location", HeaderValue::from_static("/work/1"));
            response
        }
        "/work/1" => {
            let state = if times < 3 { "working" } else { "done" };
            with(200, json!({"state": state, "result": 42}).to_string())
        }
        "/endless" => with(200, json!({"state": "working"}).to_string()),
        "/echo" => with(400, body),
        _ => with(200, json!({"ok": true}).to_string()),
    }
}

fn with(status: u16, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}
