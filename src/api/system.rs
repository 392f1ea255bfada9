//! The daemon itself: how it stands, pausing it, reading its definitions anew.

use super::problem::{NotNow, Problem};
use super::status::Status;
use super::{App, Caller};
use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use quell_engine::run::Request;
use quell_engine::run::answers::Paused;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the daemon stands
///
/// `state` is `armed` once it watches and answers; `blind` where the sensor cannot run or was switched off.
#[utoipa::path(
    get, path = "/status", tag = "system", extensions(("x-permission" = json!("read"))),
    responses((status = 200, description = "How it stands", body = Status)),
)]
pub(super) async fn status(State(app): State<App>) -> Result<Json<Status>, Problem> {
    let engine = app.ask(Request::Status).await?;
    let open = app.desk.open_incidents(&app.journal).await;
    // Beside the runtime: it asks the kernel too.
    let status = tokio::task::spawn_blocking(move || app.desk.status(&engine, &app.journal, open)).await;
    status.map(Json).map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the status could not be made"))
}

/// Stop every action
///
/// At once, in the engine and in the kernel. Detection goes on. 409: the engine is paused, and what acts in the kernel
/// could not be held; or the engine has not answered in time, and is paused as soon as it does.
#[utoipa::path(
    post, path = "/pause", tag = "system", extensions(("x-permission" = json!("pause"))),
    responses((status = 200, description = "It is paused", body = Paused), NotNow),
)]
pub(super) async fn pause(
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    State(app): State<App>,
) -> Result<Json<Paused>, Problem> {
    Ok(Json(app.desk.pause(&app.engine, true, by).await?))
}

/// Let actions go on
///
/// What was refused meanwhile is not done now. 409: the engine acts again, and what acts in the kernel is still held; or the
/// engine has not answered in time, and both go on as soon as it does.
#[utoipa::path(
    post, path = "/resume", tag = "system", extensions(("x-permission" = json!("pause"))),
    responses((status = 200, description = "It goes on", body = Paused), NotNow),
)]
pub(super) async fn resume(
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    State(app): State<App>,
) -> Result<Json<Paused>, Problem> {
    Ok(Json(app.desk.pause(&app.engine, false, by).await?))
}

/// What came of a reload.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Reload {
    /// The files are in force.
    reloaded: bool,
    /// What was changed and needs a restart.
    #[schema(examples(json!(["`recorder` needs a restart"])))]
    said: Vec<String>,
}

/// Read configuration, rules and playbooks anew
///
/// All of it or nothing: with a mistake in a file the former definitions hold (409).
#[utoipa::path(
    post, path = "/reload", tag = "system", extensions(("x-permission" = json!("config"))),
    responses((status = 200, description = "The files are in force", body = Reload), NotNow),
)]
pub(super) async fn reload(State(app): State<App>) -> Result<Json<Reload>, Problem> {
    match app.desk.reload().await {
        Ok(said) => Ok(Json(Reload { reloaded: true, said })),
        Err(why) => Err(Problem::new(StatusCode::CONFLICT, why).hint("the former definitions hold")),
    }
}
