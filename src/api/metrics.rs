//! `GET /metrics`, and the count of what the API answers.
//!
//! Owns the route and the count; the figures are made in `telemetry/`.

use super::App;
use super::problem::{Absent, Problem};
use crate::daemon::Desk;
use crate::telemetry;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// What nobody declared a route for.
const NOWHERE: &str = "none";

/// Tell the figures
///
/// In Prometheus' text format. 404: `telemetry: { metrics: true }` is not set.
#[utoipa::path(
    get, path = "/metrics", tag = "system", extensions(("x-permission" = json!("read"))),
    responses(
        (status = 200, description = "The figures", content_type = "text/plain; version=0.0.4", body = String),
        Absent
    ),
)]
pub(super) async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    if !app.desk.tells_metrics() {
        return Err(Problem::new(StatusCode::NOT_FOUND, "this daemon tells no figures")
            .hint("`telemetry: { metrics: true }` in quell.yaml, and a restart"));
    }
    let text = telemetry::scrape(&app.engine, &app.journal, &app.desk).await;
    Ok(([(header::CONTENT_TYPE, telemetry::TEXT)], text).into_response())
}

/// Counts what is answered, by the route as it is declared: what a client makes up is no label.
pub(super) async fn counted(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let answer = next.run(request).await;
    let method = if KNOWN.contains(&method.as_str()) { method.as_str() } else { "other" };
    desk.meters().answered(method, route.as_ref().map_or(NOWHERE, MatchedPath::as_str), answer.status().as_u16());
    answer
}

/// Methods that are told apart.
const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
