//! Probes and metrics over HTTP: `/healthz`, `/readyz`, `/metrics`. No other endpoint, no authentication needed:
//! nothing served here names an object.

use std::net::SocketAddr;

use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;

/// Serves until stopped. `ready` turns true once the executions are known.
pub async fn serve(
    address: SocketAddr,
    metrics: Metrics,
    ready: watch::Receiver<bool>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let app = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(readiness))
        .route(
            "/metrics",
            get(|State((_, metrics)): State<(watch::Receiver<bool>, Metrics)>| async move { metrics.text() }),
        )
        .with_state((ready, metrics));
    let listener = tokio::net::TcpListener::bind(address).await?;
    tracing::info!(address = %listener.local_addr()?, "serving probes and metrics");
    axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn readiness(State((ready, _)): State<(watch::Receiver<bool>, Metrics)>) -> (StatusCode, &'static str) {
    if *ready.borrow() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the executions are not yet known")
    }
}
