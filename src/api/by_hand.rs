//! What people do to runs by hand: see which need them, try one again, leave a step out.

use super::caller::Caller;
use super::problem::Problem;
use super::routes::{Answer, App, body, list};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use quell_engine::report::{RunsWanted, run_page_of};
use quell_engine::run::Request;
use quell_model::{RunId, StepId};
use serde::Deserialize;

/// Which runs are listed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    #[serde(default)]
    failed: bool,
    #[serde(default)]
    stuck: bool,
    #[serde(default)]
    since: Option<Timestamp>,
}

/// A run that does not move, and why.
#[derive(Deserialize)]
struct Still {
    id: RunId,
    why: String,
}

pub(super) async fn runs(
    asked: Result<Query<Listed>, QueryRejection>,
    State(app): State<App>,
) -> Result<Response, Problem> {
    let Query(Listed { failed, stuck, since }) =
        asked.map_err(|e| Problem::new(StatusCode::BAD_REQUEST, e.body_text()))?;
    let stuck = if stuck {
        let still = app.desk.ask(&app.engine, Request::Stuck).await?;
        let still: Vec<Still> = serde_json::from_value(still).unwrap_or_default();
        Some(still.into_iter().map(|one| (one.id, one.why)).collect())
    } else {
        None
    };
    let wanted = RunsWanted { failed, since, stuck };
    list(app, move |journal, before| run_page_of(journal, before, &wanted)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Retry {
    #[serde(default)]
    from: Option<StepId>,
    #[serde(default)]
    why: String,
}

pub(super) async fn retry(
    Path(id): Path<String>,
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    State(app): State<App>,
    text: String,
) -> Answer {
    let Retry { from, why } = body(&text)?;
    Ok(Json(app.desk.ask(&app.engine, Request::Retry { run: id.into(), from, by, why }).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Skip {
    step: StepId,
    #[serde(default)]
    why: String,
}

pub(super) async fn skip(
    Path(id): Path<String>,
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    State(app): State<App>,
    text: String,
) -> Answer {
    let Skip { step, why } = body(&text)?;
    Ok(Json(app.desk.ask(&app.engine, Request::Skip { run: id.into(), step, by, why }).await?))
}
