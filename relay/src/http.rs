//! The HTTP endpoint of the metrics address: `/metrics`, `/healthz`, `/readyz`.

use crate::readiness::{Phase, Readiness};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;
use tokio::net::TcpListener;

/// What the endpoint shows.
#[derive(Clone)]
pub(crate) struct Shown {
    /// Renders the metrics.
    pub(crate) metrics: PrometheusHandle,
    /// Whether new calls are taken.
    pub(crate) readiness: Arc<Readiness>,
}

/// Serves until the listener fails.
pub(crate) async fn serve(listener: TcpListener, shown: Shown) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(shown);
    axum::serve(listener, router).await
}

async fn metrics(State(shown): State<Shown>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], shown.metrics.render())
}

async fn ready(State(shown): State<Shown>) -> impl IntoResponse {
    let phase = shown.readiness.phase();
    let status = match phase {
        Phase::Ready => StatusCode::OK,
        Phase::Starting | Phase::Draining | Phase::Stopping => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, format!("{}\n", phase.as_str()))
}
