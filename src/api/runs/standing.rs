//! What stands of what a run did: taken back, or kept.

use super::super::access::Via;
use super::super::caller::PeerProcess;
use super::super::given::{Given, bounded};
use super::super::problem::{Absent, NotNow, Problem, TooLong, Unreadable, Wrong};
use super::super::{App, Caller};
use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use quell_engine::load::units;
use quell_engine::run::Request;
use quell_engine::run::answers::{RunKept, RunUndoing};
use quell_model::{RunId, StepId};
use serde::Deserialize;
use std::time::Duration;
use utoipa::ToSchema;

/// What is to be taken back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Undo {
    /// Only this step; none: all of the run.
    #[serde(default)]
    step: Option<StepId>,
    /// For the timeline.
    #[serde(default)]
    #[schema(examples("a drill of ours"))]
    why: String,
}

/// Take back what a run did
///
/// In the reverse order of its steps, each proved. The run says how it ends. 403: it would answer a `confirm` from where the suspect stands.
#[utoipa::path(
    post, path = "/runs/{id}/undo", tag = "runs", extensions(("x-permission" = json!("undo"))),
    params(("id" = RunId, Path, description = "The run's id, as the list has it")),
    request_body = Undo,
    responses(
        (status = 200, description = "It is being taken back", body = RunUndoing),
        Unreadable, Absent, NotNow, TooLong, Wrong
    ),
)]
pub(in crate::api) async fn undo(
    Path(run): Path<RunId>,
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    Extension(via): Extension<Via>,
    Extension(peer): Extension<PeerProcess>,
    State(app): State<App>,
    Given(Undo { step, why }): Given<Undo>,
) -> Result<Json<RunUndoing>, Problem> {
    Ok(Json(app.ask(Request::Undo { run, step, by, way: app.way(via, peer).await?, why: bounded(why)? }).await?))
}

/// What is to stand for longer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Keep {
    /// Only what this step contained; none: all of the run.
    #[serde(default)]
    step: Option<StepId>,
    /// From now, as `90s`, `30m`, `8h` or `2d`; none: without an end.
    #[serde(default, rename = "for")]
    #[schema(examples("8h"))]
    lasts: Option<String>,
}

/// Let what a run contained stand
#[utoipa::path(
    post, path = "/runs/{id}/keep", tag = "runs", extensions(("x-permission" = json!("undo"))),
    params(("id" = RunId, Path, description = "The run's id, as the list has it")),
    request_body = Keep,
    responses(
        (status = 200, description = "It stands", body = RunKept),
        Unreadable, Absent, NotNow, TooLong, Wrong
    ),
)]
pub(in crate::api) async fn keep(
    Path(run): Path<RunId>,
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    Extension(via): Extension<Via>,
    Extension(peer): Extension<PeerProcess>,
    State(app): State<App>,
    Given(Keep { step, lasts }): Given<Keep>,
) -> Result<Json<RunKept>, Problem> {
    let lasts = lasts.as_deref().map(duration).transpose()?;
    Ok(Json(app.ask(Request::Keep { run, step, lasts, by, way: app.way(via, peer).await? }).await?))
}

pub(in crate::api) fn duration(text: &str) -> Result<Duration, Problem> {
    units::duration(text).filter(|lasts| !lasts.is_zero()).ok_or_else(|| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("`for` is `{text}`")).hint("a duration, like `8h`")
    })
}
