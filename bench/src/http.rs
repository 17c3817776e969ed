//! A bare client: one request, one answer, kept connections, no retries, no types. And raw watch lines.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio::time::Instant;

use crate::target::Target;

const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// What a request answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Objects as they are.
    Whole,
    /// Their metadata only.
    Metadata,
}

/// A client of one identity.
#[derive(Clone)]
pub struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: Arc<str>,
    authorization: HeaderValue,
    agent: HeaderValue,
    impersonated: HeaderValue,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// Its verb.
    pub method: Method,
    /// Its path and query.
    pub path: &'a str,
    /// Its body, JSON; of a PATCH, a merge patch.
    pub body: Bytes,
    /// What to answer with.
    pub answer: Answer,
    /// As the ServiceAccount of the run.
    pub impersonate: bool,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub code: u16,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// The body, if the answer says yes.
    pub fn good(self, what: &str) -> Result<Bytes> {
        if !(200..300).contains(&self.code) {
            let text = String::from_utf8_lossy(&self.body);
            bail!("{what}: {} {}", self.code, text.chars().take(400).collect::<String>());
        }
        Ok(self.body)
    }
}

impl Http {
    /// A client with connections of its own.
    pub fn new(target: &Target, agent: &str, http2: bool) -> Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(target.ca.as_bytes()) {
            roots.add(certificate.context("the CA is no PEM")?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_only();
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let connector = if http2 {
            builder.enable_http2().wrap_connector(tcp)
        } else {
            builder.enable_http1().wrap_connector(tcp)
        };
        let client =
            Client::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_mins(5)).build(connector);
        Ok(Self {
            client,
            base: target.url.trim_end_matches('/').into(),
            authorization: HeaderValue::from_str(&format!("Bearer {}", target.token))?,
            agent: HeaderValue::from_str(agent)?,
            impersonated: HeaderValue::from_str(&target.impersonated())?,
        })
    }

    fn request(&self, call: &Call<'_>) -> Result<Request<Full<Bytes>>> {
        let accept = match call.answer {
            Answer::Whole => "application/json",
            Answer::Metadata => METADATA,
        };
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(format!("{}{}", self.base, call.path))
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::USER_AGENT, &self.agent)
            .header(header::ACCEPT, accept);
        if call.impersonate {
            request = request.header("impersonate-user", &self.impersonated);
        }
        if !call.body.is_empty() {
            let kind = if call.method == Method::PATCH {
                "application/merge-patch+json"
            } else {
                "application/json"
            };
            request = request.header(header::CONTENT_TYPE, kind);
        }
        Ok(request.body(Full::new(call.body.clone()))?)
    }

    /// One request and its whole answer.
    pub async fn send(&self, call: Call<'_>) -> Result<Reply> {
        let answer = self.client.request(self.request(&call)?).await?;
        let code = answer.status().as_u16();
        Ok(Reply { code, body: answer.into_body().collect().await?.to_bytes() })
    }

    /// GETs a whole object or list.
    pub async fn get(&self, path: &str) -> Result<Bytes> {
        let call =
            Call { method: Method::GET, path, body: Bytes::new(), answer: Answer::Whole, impersonate: false };
        self.send(call).await?.good(path)
    }

    /// POSTs an object.
    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Result<Bytes> {
        self.write(Method::POST, path, body.into()).await
    }

    /// Merge-patches an object.
    pub async fn patch(&self, path: &str, body: impl Into<Bytes>) -> Result<Bytes> {
        self.write(Method::PATCH, path, body.into()).await
    }

    /// PUTs an object.
    pub async fn put(&self, path: &str, body: impl Into<Bytes>) -> Result<Bytes> {
        self.write(Method::PUT, path, body.into()).await
    }

    /// DELETEs an object.
    pub async fn delete(&self, path: &str) -> Result<Bytes> {
        self.write(Method::DELETE, path, Bytes::new()).await
    }

    async fn write(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes> {
        let what = format!("{method} {path}");
        self.send(Call { method, path, body, answer: Answer::Metadata, impersonate: false })
            .await?
            .good(&what)
    }

    /// Watches from now on, or with everything there is first. One line an event.
    pub async fn watch(&self, path: &str, query: &str, answer: Answer) -> Result<Lines> {
        let separator = if query.is_empty() { "" } else { "&" };
        let path = format!("{path}?watch=true&allowWatchBookmarks=true{separator}{query}");
        let call = Call { method: Method::GET, path: &path, body: Bytes::new(), answer, impersonate: false };
        let reply = self.client.request(self.request(&call)?).await?;
        let code = reply.status().as_u16();
        let mut lines = Lines { body: reply.into_body(), buffer: BytesMut::new(), searched: 0 };
        if code != 200 {
            let line = lines.next().await.map(|(_, line)| line).unwrap_or_default();
            bail!("watch {path}: {code} {}", String::from_utf8_lossy(&line));
        }
        Ok(lines)
    }
}

/// The lines of a watch, each with the time at which its last byte was there.
pub struct Lines {
    body: Incoming,
    buffer: BytesMut,
    searched: usize,
}

impl Lines {
    /// The next line; `None` at the end of the watch.
    pub async fn next(&mut self) -> Option<(Instant, Bytes)> {
        loop {
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(end) = memchr::memchr(b'\n', unsearched) {
                let line = self.buffer.split_to(self.searched + end + 1).freeze();
                self.searched = 0;
                return Some((Instant::now(), line));
            }
            self.searched = self.buffer.len();
            let Some(Ok(frame)) = self.body.frame().await else {
                let rest = self.buffer.split().freeze();
                self.searched = 0;
                return (!rest.is_empty()).then(|| (Instant::now(), rest));
            };
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }
}
