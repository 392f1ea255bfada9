//! What people do to runs by hand: try one again, leave a step out.

use super::super::given::{Given, bounded};
use super::super::problem::{Absent, NotNow, Problem, TooLong, Unreadable, Wrong};
use super::super::{App, Caller};
use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use quell_engine::run::Request;
use quell_engine::run::answers::{RunAgain, RunSkipped};
use quell_model::{RunId, StepId};
use serde::Deserialize;
use utoipa::ToSchema;

/// What is to be tried again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Retry {
    /// This step and all that comes after it; none: what did not end well.
    #[serde(default)]
    from: Option<StepId>,
    /// For the timeline.
    #[serde(default)]
    #[schema(examples("the disk has room again"))]
    why: String,
}

/// Try a run again
///
/// What it did well is kept. 409: it has not ended, it succeeded, or every action is paused.
#[utoipa::path(
    post, path = "/runs/{id}/retry", tag = "runs", extensions(("x-permission" = json!("run"))),
    params(("id" = RunId, Path, description = "The run's id, as the list has it")),
    request_body = Retry,
    responses(
        (status = 200, description = "It goes on", body = RunAgain),
        Unreadable, Absent, NotNow, TooLong, Wrong
    ),
)]
pub(in crate::api) async fn retry(
    Path(run): Path<RunId>,
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    State(app): State<App>,
    Given(Retry { from, why }): Given<Retry>,
) -> Result<Json<RunAgain>, Problem> {
    Ok(Json(app.ask(Request::Retry { run, from, by, why: bounded(why)? }).await?))
}

/// What is to be left out.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Skip {
    /// A step that has not ended and is not at work.
    step: StepId,
    /// For the timeline.
    #[serde(default)]
    #[schema(examples("the disk is gone, there is nothing to copy"))]
    why: String,
}

/// Leave a step out
///
/// For what needs it, it is met. 409: it has ended, or is at work.
#[utoipa::path(
    post, path = "/runs/{id}/skip", tag = "runs", extensions(("x-permission" = json!("run"))),
    params(("id" = RunId, Path, description = "The run's id, as the list has it")),
    request_body = Skip,
    responses(
        (status = 200, description = "It is left out", body = RunSkipped),
        Unreadable, Absent, NotNow, TooLong, Wrong
    ),
)]
pub(in crate::api) async fn skip(
    Path(run): Path<RunId>,
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    State(app): State<App>,
    Given(Skip { step, why }): Given<Skip>,
) -> Result<Json<RunSkipped>, Problem> {
    Ok(Json(app.ask(Request::Skip { run, step, by, why: bounded(why)? }).await?))
}
