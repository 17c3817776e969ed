//! How requests travel: as by kube's own client, but each at once, side by side on one connection where the API server
//! speaks HTTP/2, and not on one that has died.
//!
//! kube's connector offers HTTP/1.1 alone, which takes a connection for each request under way, and a quarter more CPU.
//!
//! kube's connector leaves Nagle's algorithm on: the second part of a request then waits for the acknowledgement of the
//! first, which the kernel may put off by 40 ms. It was the whole difference to a bare client in the slowest hundredth.

use std::time::Duration;

use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt, RustlsTlsError},
};
use tower::{BoxError, ServiceBuilder};

/// After so long without a word the other end is asked whether it is there, and after as long again the connection is
/// given up: one that dies without a word would else be noticed by a watch after five minutes, and by a request never.
/// TCP asks its own other end, which may be a load balancer that has lost the API server; over HTTP/2, where all requests
/// would go on to use that one connection, the API server itself is asked too.
const SILENCE: Duration = Duration::from_secs(15);

/// A client that does not retry by itself. Through a proxy, it is kube's own.
pub(super) fn client(config: Config) -> Result<Client, kube::Error> {
    if config.proxy_url.is_some() {
        return Client::try_from(config);
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(SILENCE));
    tcp.set_keepalive_interval(Some(SILENCE / 3));
    tcp.set_keepalive_retries(Some(3));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(SILENCE * 2));
    let mut connector = TimeoutConnector::new(https(&config, tcp)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    let connections = legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_keep_alive_interval(SILENCE)
        .http2_keep_alive_timeout(SILENCE)
        .build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(connections);
    Ok(Client::new(service, config.default_namespace))
}

/// kube's connector, but with HTTP/2 where the other end has it too.
fn https(config: &Config, tcp: HttpConnector) -> Result<HttpsConnector<HttpConnector>, kube::Error> {
    let mut builder =
        HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config()?).https_or_http();
    if let Some(name) = config.tls_server_name.clone() {
        let name =
            name.try_into().map_err(RustlsTlsError::InvalidServerName).map_err(kube::Error::RustlsTls)?;
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    Ok(builder.enable_all_versions().wrap_connector(tcp))
}
