//! A server on this machine's loopback, which the pods share: it answers as its path says, and keeps what it was asked.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Result;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri},
    response::Response,
};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};

/// One request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: String,
}

/// A server that runs until it is dropped.
pub struct Server {
    address: SocketAddr,
    asked: Log,
    task: JoinHandle<()>,
}

type Log = Arc<Mutex<Vec<Asked>>>;

impl Server {
    pub async fn start() -> Result<Self> {
        let asked = Log::default();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&asked));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, asked, task })
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What was asked of a path.
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.path == path).cloned().collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    State(log): State<Log>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = String::from_utf8_lossy(&body).into_owned();
    let path = uri.path().to_owned();
    let times = {
        let mut log = log.lock().unwrap();
        let query = uri.query().unwrap_or_default().to_owned();
        log.push(Asked { method, path: path.clone(), query, headers, body: body.clone() });
        log.iter().filter(|asked| asked.path == path).count()
    };
    match path.as_str() {
        "/things" => with(201, json!({"id": 7, "name": body}).to_string()),
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
