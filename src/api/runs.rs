//! Runs: listed, shown, started, cancelled.

mod answer;
mod by_hand;
mod standing;
mod value;

pub(super) use answer::*;
pub(super) use by_hand::*;
pub(super) use standing::*;
pub(super) use value::*;

use super::given::Given;
use super::page::{Page, Which};
use super::problem::{Absent, NotNow, Problem, Pruned, TooLong, Unreadable, Wrong};
use super::{App, Caller};
use axum::Json;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::StatusCode;
use quell_engine::report::{self, DefinitionView, RunSummary, RunView, RunsWanted};
use quell_engine::run::answers::{NotMoving, OfRun};
use quell_engine::run::{self, Request};
use quell_model::{Hash, Json as Value, Mode, Name, OwnedEvent, RunId};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

/// Which runs are listed.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Listed {
    /// So many lines at the most.
    #[serde(default)]
    #[param(minimum = 1, maximum = 500, default = 100, required = false)]
    limit: Option<usize>,
    /// `next` of the page before; without it the first page is answered.
    #[serde(default)]
    #[param(required = false, example = "1204")]
    cursor: Option<String>,
    /// Only those that failed.
    #[serde(default)]
    #[param(default = false, required = false)]
    failed: bool,
    /// Only those that do not move, with why as their `summary`: there should be none.
    #[serde(default)]
    #[param(default = false, required = false)]
    stuck: bool,
    /// Only those that had not ended by then.
    #[serde(default)]
    #[param(value_type = Option<String>, format = DateTime, required = false, example = "2026-11-28T12:00:00Z")]
    since: Option<jiff::Timestamp>,
}

/// List runs
///
/// The latest first. Where not all are wanted, a page may have fewer lines than its limit, or none, and a next one all the
/// same.
#[utoipa::path(
    get, path = "/runs", tag = "runs", extensions(("x-permission" = json!("read"))),
    params(Listed),
    responses((status = 200, description = "A page of runs", body = Page<RunSummary>), Unreadable),
)]
pub(super) async fn list(
    Query(Listed { limit, cursor, failed, stuck, since }): Query<Listed>,
    State(app): State<App>,
) -> Result<Json<Page<RunSummary>>, Problem> {
    let (before, long) = Which { limit, cursor }.read()?;
    let stuck = if stuck {
        let still: Vec<NotMoving> = app.ask(Request::Stuck).await?;
        Some(still.into_iter().map(|one| (one.id, one.why)).collect())
    } else {
        None
    };
    let wanted = RunsWanted { failed, since, stuck };
    let page = app.view(move |journal| report::run_page_of(journal, before, long, &wanted)).await?;
    Ok(Json(page.into()))
}

/// Show a run
///
/// Each step with its outcome, proof and times, what it asks people, what stands, and the timeline.
#[utoipa::path(
    get, path = "/runs/{id}", tag = "runs", extensions(("x-permission" = json!("read"))),
    params(("id" = RunId, Path, description = "The run's id, as the list has it")),
    responses((status = 200, description = "The run", body = RunView), Absent, Pruned),
)]
pub(super) async fn show(Path(id): Path<RunId>, State(app): State<App>) -> Result<Json<RunView>, Problem> {
    let of = id.clone();
    match app.clone().view(move |journal| report::run(journal, &of)).await? {
        Some(run) => Ok(Json(run.with_guarantees(&crate::daemon::specs()))),
        None => Err(app.absent("run", id.as_str()).await),
    }
}

/// Show the text that a run goes by
///
/// The playbook as it was when the run began: what the files say now may be another.
#[utoipa::path(
    get, path = "/runs/{id}/playbook", tag = "runs", extensions(("x-permission" = json!("read"))),
    params(("id" = RunId, Path, description = "The run's id, as the list has it")),
    responses((status = 200, description = "The text", body = DefinitionView), Absent),
)]
pub(super) async fn definition(Path(id): Path<RunId>, State(app): State<App>) -> Result<Json<DefinitionView>, Problem> {
    let of = id.clone();
    let found = app.view(move |journal| report::definition(journal, &of)).await?;
    let missing = || Problem::new(StatusCode::NOT_FOUND, format!("no playbook's text is kept of a run `{id}`"));
    found.map(Json).ok_or_else(|| missing().hint("`quell run list` lists the runs"))
}

/// A playbook to start by hand.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Start {
    /// Which, as it is loaded.
    playbook: Name,
    /// The sum of the text that is meant: 409 when another is loaded.
    #[serde(default)]
    hash: Option<Hash>,
    /// `event` in its expressions: one line of a recording. At most 64 deep, and 1,048,576 bytes.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    event: Option<Box<OwnedEvent>>,
    /// Its inputs by name. At most 64 deep, and 1,048,576 bytes.
    #[serde(default)]
    #[schema(value_type = Option<Object>, examples(json!({ "reason": "a drill" })))]
    inputs: Option<Value>,
    /// Stricter than its own; a freer one changes nothing.
    #[serde(default)]
    mode: Option<Mode>,
}

/// Start a playbook by hand
///
/// 422: `inputs` are not those of the playbook, or they or `event` are too long or nest too deep.
#[utoipa::path(
    post, path = "/runs", tag = "runs", extensions(("x-permission" = json!("run"))),
    request_body = Start,
    responses(
        (status = 201, description = "The run that began", body = OfRun),
        Unreadable, Absent, NotNow, TooLong, Wrong
    ),
)]
pub(super) async fn start(
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    State(app): State<App>,
    Given(start): Given<Start>,
) -> Result<(StatusCode, Json<OfRun>), Problem> {
    let Start { playbook, hash, event, inputs, mode } = start;
    if hash.is_some_and(|meant| app.desk.hash_of(&playbook).is_some_and(|loaded| loaded != meant)) {
        let what = format!("the daemon has another text of `{playbook}` than the one that was given");
        return Err(Problem::new(StatusCode::CONFLICT, what).hint("put the file where it is loaded from, and reload"));
    }
    let inputs = inputs.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    if let Some(why) = run::given::refused(event.as_deref(), &inputs) {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why));
    }
    let begun = app.ask(Request::Start { playbook, event, inputs, mode, by }).await?;
    Ok((StatusCode::CREATED, Json(begun)))
}

/// End a run
///
/// What runs finishes, nothing new starts.
#[utoipa::path(
    post, path = "/runs/{id}/cancel", tag = "runs", extensions(("x-permission" = json!("run"))),
    params(("id" = RunId, Path, description = "The run's id, as the list has it")),
    responses((status = 200, description = "Nothing new of it starts", body = OfRun), Absent, NotNow),
)]
pub(super) async fn cancel(
    Path(run): Path<RunId>,
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    State(app): State<App>,
) -> Result<Json<OfRun>, Problem> {
    Ok(Json(app.ask(Request::Cancel { run, by }).await?))
}
