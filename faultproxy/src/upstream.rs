//! The way to the API server.
//!
//! Input: a kube config. I/O: TLS connections, kept alive. Guarantees: a request is sent as it came, save for
//! hop-by-hop headers and protobuf, and never twice; a client's own `Authorization` is passed on, and where
//! there is none the config's credentials are used.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, header, request::Parts};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use kube::Config;
use kube::client::ConfigExt;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceBuilder, ServiceExt};

type Service = BoxCloneSyncService<Request<Full<Bytes>>, Response<Incoming>, BoxError>;

/// Headers that are about one connection, and not about the request.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Leads to one API server.
pub(crate) struct Upstream {
    base: Uri,
    /// With the credentials of the config.
    own: Service,
    /// Without any.
    bare: Service,
}

impl Upstream {
    pub(crate) fn new(config: Config) -> kube::Result<Self> {
        let mut nobody = config.clone();
        // The API server looks at a certificate before it looks at a token.
        nobody.auth_info = kube::config::AuthInfo::default();
        Ok(Self { own: service(&config)?, bare: service(&nobody)?, base: config.cluster_url })
    }

    /// Sends a request and waits for the head of the reply.
    pub(crate) async fn send(&self, head: &Parts, body: Bytes) -> Result<Response<Incoming>, BoxError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = self.address(&head.uri)?;
        *request.headers_mut() = forwardable(&head.headers);
        request.headers_mut().remove(header::HOST);
        accept_json(request.headers_mut());
        let known = head.headers.contains_key(header::AUTHORIZATION);
        let service = if known { &self.bare } else { &self.own };
        let mut response = service.clone().oneshot(request).await?;
        *response.headers_mut() = forwardable(response.headers());
        Ok(response)
    }

    fn address(&self, uri: &Uri) -> Result<Uri, http::Error> {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let base = self.base.path().trim_end_matches('/');
        let scheme = self.base.scheme_str().unwrap_or("https");
        let authority = self.base.authority().map_or("", |authority| authority.as_str());
        Uri::builder().scheme(scheme).authority(authority).path_and_query(format!("{base}{path}")).build()
    }
}

fn service(config: &Config) -> kube::Result<Service> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(config.connect_timeout);
    let https = config.rustls_https_connector_with_connector(connector)?;
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(https);
    let service = ServiceBuilder::new()
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client);
    Ok(BoxCloneSyncService::new(service.map_err(BoxError::from)))
}

fn forwardable(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers
}

/// Watch events are understood in JSON only. Clients that ask for protobuf offer JSON as well, and go by the
/// type of the reply; one that offers nothing else gets what it asked for, and its events pass unseen.
fn accept_json(headers: &mut HeaderMap) {
    let Some(accept) = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()) else { return };
    let json = |part: &&str| part.trim_start().starts_with("application/json");
    let parts: Vec<&str> = accept.split(',').filter(json).collect();
    if let (false, Ok(value)) = (parts.is_empty(), HeaderValue::from_str(&parts.join(","))) {
        headers.insert(header::ACCEPT, value);
    }
}
