//! What stands of what runs did: taken back, or kept.

use super::caller::Caller;
use super::problem::Problem;
use super::routes::{Answer, App, body};
use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use quell_engine::load::units;
use quell_engine::run::Request;
use quell_model::StepId;
use serde::Deserialize;
use std::time::Duration;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Undo {
    #[serde(default)]
    step: Option<StepId>,
    #[serde(default)]
    why: String,
}

pub(super) async fn undo(
    Path(id): Path<String>,
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    State(app): State<App>,
    text: String,
) -> Answer {
    let Undo { step, why } = body(&text)?;
    Ok(Json(app.desk.ask(&app.engine, Request::Undo { run: id.into(), step, by, why }).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keep {
    #[serde(default)]
    step: Option<StepId>,
    /// `8h`; none: without an end.
    #[serde(default, rename = "for")]
    lasts: Option<String>,
}

pub(super) async fn keep(
    Path(id): Path<String>,
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    State(app): State<App>,
    text: String,
) -> Answer {
    let Keep { step, lasts } = body(&text)?;
    let lasts = lasts.as_deref().map(duration).transpose()?;
    Ok(Json(app.desk.ask(&app.engine, Request::Keep { run: id.into(), step, lasts, by }).await?))
}

fn duration(text: &str) -> Result<Duration, Problem> {
    units::duration(text).filter(|lasts| !lasts.is_zero()).ok_or_else(|| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("`for` is `{text}`")).hint("a duration, like `8h`")
    })
}
