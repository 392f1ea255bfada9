//! The routes. Reading goes to the journal's views, changing to the engine, under the caller's name.

use super::{Caller, Problem, Status, access, answer, breaker, by_hand, metrics, standing};
use crate::daemon::Desk;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use quell_engine::report::{self, Page, Wanted};
use quell_engine::run::{EngineHandle, Request};
use quell_engine::store::{Journal, print_age};
use quell_model::{Hash, IncidentId, Mode, Name, OwnedEvent, RunId, StoreError, StreamId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// What the routes reach.
#[derive(Clone)]
pub(crate) struct App {
    /// The engine's thread.
    pub(crate) engine: EngineHandle,
    /// The one log.
    pub(crate) journal: Journal,
    /// What the daemon knows of itself.
    pub(crate) desk: Arc<Desk>,
}

pub(super) type Answer<T = Value> = Result<Json<T>, Problem>;

/// Every route.
pub(crate) fn router(app: App) -> Router {
    let resolve = |incident, why, by| Request::Resolve { incident, why, by };
    let reopen = |incident, why, by| Request::Reopen { incident, why, by };
    let undo = |incident, why, by| Request::UndoIncident { incident, by, why };
    let gate = Arc::clone(&app.desk);
    Router::new()
        .route("/status", get(status))
        .route("/playbooks", get(playbooks))
        .route("/pause", post(|from, app| pause(true, from, app)))
        .route("/resume", post(|from, app| pause(false, from, app)))
        .route("/reload", post(reload))
        .route("/runs", get(by_hand::runs).post(start))
        .route("/runs/{id}", get(run))
        .route("/runs/{id}/playbook", get(definition))
        .route("/runs/{id}/cancel", post(cancel))
        .route("/runs/{id}/retry", post(by_hand::retry))
        .route("/runs/{id}/skip", post(by_hand::skip))
        .route("/runs/{id}/undo", post(standing::undo))
        .route("/runs/{id}/keep", post(standing::keep))
        .route("/runs/{id}/answer", post(answer::answer))
        .route("/breakers", get(breaker::all))
        .route("/breakers/{id}/open", post(|id, from, app, text| breaker::switch(true, id, from, app, text)))
        .route("/breakers/{id}/close", post(|id, from, app, text| breaker::switch(false, id, from, app, text)))
        .route("/incidents", get(incidents))
        .route("/incidents/{id}", get(incident))
        .route("/incidents/{id}/explain", get(explain))
        .route("/incidents/{id}/events", get(events))
        .route("/incidents/{id}/note", post(note))
        .route("/incidents/{id}/resolve", post(move |id, from, app, text| by_words(resolve, id, from, app, text)))
        .route("/incidents/{id}/reopen", post(move |id, from, app, text| by_words(reopen, id, from, app, text)))
        .route("/incidents/{id}/undo", post(move |id, from, app, text| by_words(undo, id, from, app, text)))
        .route("/metrics", get(metrics::metrics))
        .fallback(nowhere)
        .method_not_allowed_fallback(not_so)
        .layer(from_fn(move |request, next| access::check(gate.access(), request, next)))
        .layer(from_fn_with_state(Arc::clone(&app.desk), metrics::counted))
        .with_state(app)
}

async fn nowhere(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at `{}`", uri.path()))
}

pub(super) async fn not_so(method: Method, uri: Uri) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("`{}` does not take {method}", uri.path()))
}

async fn status(State(app): State<App>) -> Answer<Status> {
    let engine = app.desk.ask(&app.engine, Request::Status).await?;
    // Beside the runtime: while the database refuses, the journal's readers wait for its writer.
    let status = tokio::task::spawn_blocking(move || app.desk.status(&engine, &app.journal)).await;
    status.map(Json).map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the status could not be made"))
}

async fn playbooks(State(app): State<App>) -> Answer {
    let engine = app.desk.ask(&app.engine, Request::Status).await?;
    Ok(Json(json!(app.desk.playbooks(&engine))))
}

async fn pause(paused: bool, ConnectInfo(Caller(by)): ConnectInfo<Caller>, State(app): State<App>) -> Answer {
    app.desk.pause(&app.engine, paused, by).await.map(Json).map_err(Problem::from)
}

async fn reload(State(app): State<App>) -> Answer {
    match app.desk.reload(&app.engine).await {
        Ok(said) => Ok(Json(json!({ "reloaded": true, "said": said }))),
        Err(why) => Err(Problem::new(StatusCode::CONFLICT, why).hint("the former definitions hold")),
    }
}

/// Reads from the journal beside the runtime: a view of many runs takes a while.
async fn view<T: Send + 'static>(
    app: App,
    read: impl FnOnce(&Journal) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(move || read(&app.journal)).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the view could not be made")),
    }
}

/// Everything of a list, a page after the other: neither side has it in memory as a whole, and a reader who stops
/// reading holds nothing but the connection.
pub(super) async fn list<T: Serialize + Send + 'static>(
    app: App,
    page: impl Fn(&Journal, Option<i64>) -> Result<Page<T>, StoreError> + Clone + Send + 'static,
) -> Result<Response, Problem> {
    let read = page.clone();
    let first = view(app.clone(), move |journal| read(journal, None)).await?;
    // Whether anything was said yet, and whether a line was: a page may have none.
    let pieces = futures_util::stream::unfold(Some((first, false, false)), move |at| {
        let (app, page) = (app.clone(), page.clone());
        async move {
            let (Page { lines, next }, has_begun, mut has_line) = at?;
            let mut piece = if has_begun { String::new() } else { "[".to_owned() };
            for line in &lines {
                piece.push_str(if has_line { "," } else { "" });
                has_line = true;
                piece.push_str(&serde_json::to_string(line).expect("what quell lists has text keys only"));
            }
            let Some(before) = next else {
                piece.push(']');
                return Some((Ok(piece), None));
            };
            match view(app, move |journal| page(journal, Some(before))).await {
                // What was begun cannot be taken back: the array stays open, and its reader notices.
                Err(_) => Some((Err(std::io::Error::other("the journal cannot be read on")), None)),
                Ok(page) => Some((Ok(piece), Some((page, true, has_line)))),
            }
        }
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(pieces)).into_response())
}

async fn run(Path(id): Path<String>, State(app): State<App>) -> Answer<report::RunView> {
    let of = RunId::from(id.as_str());
    match view(app.clone(), move |journal| report::run(journal, &of)).await? {
        Some(run) => Ok(Json(run)),
        None => Err(absent(app, "run", id).await),
    }
}

/// There is no such thing, or there was.
async fn absent(app: App, kind: &'static str, id: String) -> Problem {
    let stream = StreamId::from(format!("{kind}/{id}"));
    match view(app, move |journal| journal.pruned(&stream)).await {
        Ok(None) => Problem::not_found(kind, &id),
        Ok(Some(mark)) => {
            let (age, by, at) = (print_age(mark.older_than), mark.by, mark.at.wall);
            let what = format!("{kind} `{id}` had been over for more than {age} and was pruned by {by} at {at:.0}");
            Problem::new(StatusCode::GONE, what).hint("a backup from before has it: `quell up --data-dir` on that")
        }
        Err(problem) => problem,
    }
}

/// The text that a run goes by: what the files say now may be another.
async fn definition(Path(id): Path<String>, State(app): State<App>) -> Answer<report::DefinitionView> {
    let of = RunId::from(id.as_str());
    let found = view(app, move |journal| report::definition(journal, &of)).await?;
    let missing = || Problem::new(StatusCode::NOT_FOUND, format!("no playbook's text is kept of a run `{id}`"));
    found.map(Json).ok_or_else(|| missing().hint("`quell run list` lists the runs"))
}

async fn incidents(State(app): State<App>) -> Result<Response, Problem> {
    list(app, report::incident_page).await
}

/// What of an incident is to be shown.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    since: Option<jiff::Timestamp>,
}

type Asked = Result<Query<Part>, QueryRejection>;

fn wanted(asked: Asked) -> Result<Wanted, Problem> {
    let Query(Part { limit, since }) = asked.map_err(|e| Problem::new(StatusCode::BAD_REQUEST, e.body_text()))?;
    let most = limit.unwrap_or(report::SHOWN);
    if most == 0 || most > report::MOST_SHOWN {
        let what = format!("`limit` is a number from 1 to {}", report::MOST_SHOWN);
        return Err(Problem::new(StatusCode::BAD_REQUEST, what).hint("`since` shows a later part"));
    }
    Ok(Wanted { most, since })
}

async fn incident(Path(id): Path<String>, asked: Asked, State(app): State<App>) -> Answer<report::IncidentView> {
    let (of, wanted) = (IncidentId::from(id.as_str()), wanted(asked)?);
    match view(app.clone(), move |journal| report::incident(journal, &of, wanted)).await? {
        Some(found) => Ok(Json(found)),
        None => Err(absent(app, "incident", id).await),
    }
}

async fn explain(Path(id): Path<String>, asked: Asked, State(app): State<App>) -> Answer<report::Explanation> {
    let (of, wanted) = (IncidentId::from(id.as_str()), wanted(asked)?);
    match view(app.clone(), move |journal| report::explain(journal, &of, wanted)).await? {
        Some(found) => Ok(Json(found)),
        None => Err(absent(app, "incident", id).await),
    }
}

#[derive(Deserialize)]
struct After {
    /// Where the part before it ended.
    #[serde(default)]
    after: u64,
}

/// What is kept of what surrounds an incident, a part at a time.
async fn events(Path(id): Path<String>, Query(After { after }): Query<After>, State(app): State<App>) -> Answer {
    let of = IncidentId::from(id.as_str());
    let stream = StreamId::incident(&of);
    if !app.journal.has(&stream) {
        return Err(Problem::not_found("incident", &id));
    }
    let recorder = app.desk.recorder();
    let read = tokio::task::spawn_blocking(move || recorder.map(|recorder| recorder.pinned(&of, after)).transpose());
    let nothing = || Problem::new(StatusCode::CONFLICT, format!("no events are kept of incident `{id}`"));
    match read.await {
        Ok(Ok(Some(Some(part)))) => Ok(Json(json!({ "events": part.events, "next": part.next }))),
        Ok(Ok(_)) => Err(nothing().hint("they are a few seconds after it was opened, unless nothing is recorded")),
        Ok(Err(error)) => Err(Problem::new(StatusCode::CONFLICT, format!("the events cannot be read: {error}"))),
        Err(_) => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the events could not be read")),
    }
}

/// A note, or a reason, is not longer: it stands in every view of its incident.
const LONGEST_NOTE: usize = 10_000;

/// A text by a person, if it is not too long.
fn words(text: &str) -> Result<String, Problem> {
    let Words { text } = body(text)?;
    let long = text.chars().count();
    if long > LONGEST_NOTE {
        let what = format!("the text has {long} characters; the most is {LONGEST_NOTE}");
        return Err(
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, what).hint("keep the whole of it elsewhere, and say where")
        );
    }
    Ok(text)
}

/// A body that says it itself when it cannot be read.
pub(super) fn body<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Problem> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    serde_json::from_str(text)
        .map_err(|e| Problem::new(StatusCode::BAD_REQUEST, format!("the body cannot be read: {e}")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    playbook: Name,
    /// The sum of the text that the caller means.
    #[serde(default)]
    hash: Option<Hash>,
    #[serde(default)]
    event: Option<Box<OwnedEvent>>,
    #[serde(default)]
    inputs: Option<Value>,
    #[serde(default)]
    mode: Option<Mode>,
}

async fn start(
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    State(app): State<App>,
    text: String,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let Start { playbook, hash, event, inputs, mode } = body(&text)?;
    if hash.is_some_and(|meant| app.desk.hash_of(&playbook).is_some_and(|loaded| loaded != meant)) {
        let what = format!("the daemon has another text of `{playbook}` than the one that was given");
        return Err(Problem::new(StatusCode::CONFLICT, what).hint("put the file where it is loaded from, and reload"));
    }
    let inputs = inputs.unwrap_or_else(|| json!({}));
    let answer = app.desk.ask(&app.engine, Request::Start { playbook, event, inputs, mode, by }).await?;
    Ok((StatusCode::CREATED, Json(answer)))
}

async fn cancel(
    Path(id): Path<String>,
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    State(app): State<App>,
) -> Answer {
    Ok(Json(app.desk.ask(&app.engine, Request::Cancel { run: id.into(), by }).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    #[serde(default)]
    text: String,
}

async fn note(
    Path(id): Path<String>,
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    State(app): State<App>,
    text: String,
) -> Answer {
    let text = words(&text)?;
    if text.trim().is_empty() {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "a note has a text"));
    }
    Ok(Json(app.desk.ask(&app.engine, Request::Note { incident: id.into(), text, by }).await?))
}

/// What a person wants of an incident, and why.
async fn by_words(
    wish: fn(IncidentId, String, Name) -> Request,
    Path(id): Path<String>,
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    State(app): State<App>,
    text: String,
) -> Answer {
    Ok(Json(app.desk.ask(&app.engine, wish(id.into(), words(&text)?, by)).await?))
}
