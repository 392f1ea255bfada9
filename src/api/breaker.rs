//! The breakers of playbooks: seen, opened and closed by hand.

use super::caller::Caller;
use super::problem::Problem;
use super::routes::{Answer, App, body};
use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use quell_engine::run::Request;
use quell_model::Name;
use serde::Deserialize;

pub(super) async fn all(State(app): State<App>) -> Answer {
    Ok(Json(app.desk.ask(&app.engine, Request::Breakers).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Why {
    #[serde(default)]
    why: String,
}

/// Opens or closes one.
pub(super) async fn switch(
    open: bool,
    Path(id): Path<String>,
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    State(app): State<App>,
    text: String,
) -> Answer {
    let Why { why } = body(&text)?;
    if why.trim().is_empty() {
        let what = "a breaker is not switched without a reason";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, what).hint("`why` says it, for whoever looks next"));
    }
    let request = Request::Breaker { playbook: Name::from(id.as_str()), open, by, why };
    Ok(Json(app.desk.ask(&app.engine, request).await?))
}
