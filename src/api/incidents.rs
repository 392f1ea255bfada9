//! Incidents: listed, shown, explained, changed.

mod false_positive;
mod keep;
mod said;

pub(crate) use false_positive::FalsePositiveResolved;
pub(super) use false_positive::*;
pub(super) use keep::*;

use super::App;
use super::given::Words;
use super::page::{self, Page, Which};
use super::problem::{Absent, NotNow, Problem, Pruned, TooLong, Unreadable, Wrong};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use quell_engine::report::{self, Explanation, IncidentSummary, IncidentView, Wanted};
use quell_engine::run::Request;
use quell_engine::run::answers::{IncidentAcknowledged, IncidentUndoing, OfIncident};
use quell_model::{IncidentId, OwnedEvent, StreamId};
use said::Said;
use serde::Deserialize;
use utoipa::IntoParams;

/// List incidents
///
/// The latest first.
#[utoipa::path(
    get, path = "/incidents", tag = "incidents", extensions(("x-permission" = json!("read"))),
    params(Which),
    responses((status = 200, description = "A page of incidents", body = Page<IncidentSummary>), Unreadable),
)]
pub(super) async fn list(
    Query(which): Query<Which>,
    State(app): State<App>,
) -> Result<Json<Page<IncidentSummary>>, Problem> {
    let (before, long) = which.read()?;
    let page = app.view(move |journal| report::incident_page(journal, before, long)).await?;
    Ok(Json(page.into()))
}

/// What of an incident is to be shown.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wish {
    /// So many of each list at the most: the first half of it, and the last. `more` counts what is left out.
    #[serde(default)]
    #[param(minimum = 1, maximum = 1000, default = 200, required = false)]
    limit: Option<usize>,
    /// Only what was recorded since.
    #[serde(default)]
    #[param(value_type = Option<String>, format = DateTime, required = false, example = "2026-11-28T12:00:00Z")]
    since: Option<jiff::Timestamp>,
}

impl Wish {
    fn read(&self) -> Result<Wanted, Problem> {
        let most = self.limit.unwrap_or(report::SHOWN);
        if most == 0 || most > report::MOST_SHOWN {
            let what = format!("`limit` is a number from 1 to {}", report::MOST_SHOWN);
            return Err(Problem::new(StatusCode::BAD_REQUEST, what).hint("`since` shows a later part"));
        }
        Ok(Wanted { most, since: self.since })
    }
}

/// Show an incident
///
/// Its detections, runs, notes, losses and timeline.
#[utoipa::path(
    get, path = "/incidents/{id}", tag = "incidents", extensions(("x-permission" = json!("read"))),
    params(("id" = IncidentId, Path, description = "The incident's id, as the list has it"), Wish),
    responses((status = 200, description = "The incident", body = IncidentView), Unreadable, Absent, Pruned),
)]
pub(super) async fn show(
    Path(id): Path<IncidentId>,
    Query(wish): Query<Wish>,
    State(app): State<App>,
) -> Result<Json<IncidentView>, Problem> {
    let (of, wanted) = (id.clone(), wish.read()?);
    match app.clone().view(move |journal| report::incident(journal, &of, wanted)).await? {
        Some(found) => Ok(Json(found)),
        None => Err(app.absent("incident", id.as_str()).await),
    }
}

/// Explain an incident
///
/// Which rule fields matched which values, what every playbook decided and why, what held something back, what was lost.
#[utoipa::path(
    get, path = "/incidents/{id}/explain", tag = "incidents", extensions(("x-permission" = json!("read"))),
    params(("id" = IncidentId, Path, description = "The incident's id, as the list has it"), Wish),
    responses((status = 200, description = "Why it went so", body = Explanation), Unreadable, Absent, Pruned),
)]
pub(super) async fn explain(
    Path(id): Path<IncidentId>,
    Query(wish): Query<Wish>,
    State(app): State<App>,
) -> Result<Json<Explanation>, Problem> {
    let (of, wanted) = (id.clone(), wish.read()?);
    match app.clone().view(move |journal| report::explain(journal, &of, wanted)).await? {
        Some(found) => Ok(Json(found)),
        None => Err(app.absent("incident", id.as_str()).await),
    }
}

/// Where a part of the events begins.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct After {
    /// `next` of the page before; without it the first page is answered.
    #[serde(default)]
    #[param(required = false, example = "65536")]
    cursor: Option<String>,
}

/// List the events around an incident
///
/// What the flight recorder keeps of it: its process tree, from ten minutes before, in the order in which it was seen. The
/// events are recorded lines, as `quell watch --json` prints them. 409: nothing is kept of it (yet).
#[utoipa::path(
    get, path = "/incidents/{id}/events", tag = "incidents", extensions(("x-permission" = json!("read"))),
    params(("id" = IncidentId, Path, description = "The incident's id, as the list has it"), After),
    responses((status = 200, description = "A page of events", body = Page<Object>), Unreadable, Absent, NotNow, Pruned),
)]
pub(super) async fn events(
    Path(id): Path<IncidentId>,
    Query(After { cursor }): Query<After>,
    State(app): State<App>,
) -> Result<Json<Page<OwnedEvent>>, Problem> {
    let after = page::cursor(cursor.as_deref())?.unwrap_or(0);
    if !app.journal.has(&StreamId::incident(&id)) {
        return Err(app.absent("incident", id.as_str()).await);
    }
    let (recorder, of) = (app.desk.recorder(), id.clone());
    let read = app.clone().view(move |_| Ok(recorder.map(|recorder| recorder.pinned(&of, after)).transpose())).await?;
    let nothing = || Problem::new(StatusCode::CONFLICT, format!("no events are kept of incident `{id}`"));
    match read {
        Ok(Some(Some(part))) => Ok(Json(Page { items: part.events, next: part.next.map(|next| next.to_string()) })),
        Ok(_) => Err(app.pruned("incident", id.as_str()).await.unwrap_or_else(|| {
            nothing().hint("they are a few seconds after it was opened, unless nothing is recorded")
        })),
        Err(error) => Err(Problem::new(StatusCode::CONFLICT, format!("the events cannot be read: {error}"))),
    }
}

/// Add a line to an incident's timeline
#[utoipa::path(
    post, path = "/incidents/{id}/note", tag = "incidents", extensions(("x-permission" = json!("note"))),
    params(("id" = IncidentId, Path, description = "The incident's id, as the list has it")),
    request_body = Words,
    responses(
        (status = 200, description = "It stands in the timeline", body = OfIncident),
        Unreadable, Absent, TooLong, Wrong
    ),
)]
pub(super) async fn note(said: Said) -> Result<Json<OfIncident>, Problem> {
    if said.is_silent() {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "a note has a text"));
    }
    said.asks(|incident, text, by| Request::Note { incident, text, by }).await
}

/// Say that you look after an incident
///
/// Said of one that somebody looks after already, it changes nothing, and the answer says who does. 409: it is resolved.
#[utoipa::path(
    post, path = "/incidents/{id}/ack", tag = "incidents", extensions(("x-permission" = json!("ack"))),
    params(("id" = IncidentId, Path, description = "The incident's id, as the list has it")),
    request_body(content = Words, description = "Why"),
    responses(
        (status = 200, description = "It is acknowledged", body = IncidentAcknowledged),
        Unreadable, Absent, NotNow, TooLong, Wrong
    ),
)]
pub(super) async fn ack(said: Said) -> Result<Json<IncidentAcknowledged>, Problem> {
    said.acknowledges(true).await
}

/// Say that nobody looks after an incident
///
/// Said of one that nobody looks after, it changes nothing. 409: it is resolved.
#[utoipa::path(
    post, path = "/incidents/{id}/unack", tag = "incidents", extensions(("x-permission" = json!("ack"))),
    params(("id" = IncidentId, Path, description = "The incident's id, as the list has it")),
    request_body(content = Words, description = "Why"),
    responses(
        (status = 200, description = "It is open", body = IncidentAcknowledged),
        Unreadable, Absent, NotNow, TooLong, Wrong
    ),
)]
pub(super) async fn unack(said: Said) -> Result<Json<IncidentAcknowledged>, Problem> {
    said.acknowledges(false).await
}

/// End an incident
///
/// 409: it has ended already.
#[utoipa::path(
    post, path = "/incidents/{id}/resolve", tag = "incidents", extensions(("x-permission" = json!("resolve"))),
    params(("id" = IncidentId, Path, description = "The incident's id, as the list has it")),
    request_body(content = Words, description = "Why"),
    responses(
        (status = 200, description = "It is resolved", body = OfIncident),
        Unreadable, Absent, NotNow, TooLong, Wrong
    ),
)]
pub(super) async fn resolve(said: Said) -> Result<Json<OfIncident>, Problem> {
    said.resolves().await
}

/// Hand an incident on
///
/// Whoever is next by its policy is told at once, whoever looked after it. 409: it is resolved, or nobody is told of it.
#[utoipa::path(
    post, path = "/incidents/{id}/escalate", tag = "incidents", extensions(("x-permission" = json!("ack"))),
    params(("id" = IncidentId, Path, description = "The incident's id, as the list has it")),
    request_body(content = Words, description = "Why"),
    responses(
        (status = 200, description = "The next are told", body = OfIncident),
        Unreadable, Absent, NotNow, TooLong, Wrong
    ),
)]
pub(super) async fn escalate(said: Said) -> Result<Json<OfIncident>, Problem> {
    said.escalates().await
}

/// Open an incident again
///
/// 409: it is open.
#[utoipa::path(
    post, path = "/incidents/{id}/reopen", tag = "incidents", extensions(("x-permission" = json!("resolve"))),
    params(("id" = IncidentId, Path, description = "The incident's id, as the list has it")),
    request_body(content = Words, description = "Why"),
    responses(
        (status = 200, description = "It is open", body = OfIncident),
        Unreadable, Absent, NotNow, TooLong, Wrong
    ),
)]
pub(super) async fn reopen(said: Said) -> Result<Json<OfIncident>, Problem> {
    said.reopens().await
}

/// Take back all that the runs of an incident did
///
/// The latest run first. Runs of which nothing can be taken back say why, each; 409: none can. 403: it would answer a `confirm` from where
/// the suspect stands, and nothing is taken back.
#[utoipa::path(
    post, path = "/incidents/{id}/undo", tag = "incidents", extensions(("x-permission" = json!("undo"))),
    params(("id" = IncidentId, Path, description = "The incident's id, as the list has it")),
    request_body(content = Words, description = "Why"),
    responses(
        (status = 200, description = "It is being taken back", body = IncidentUndoing),
        Unreadable, Absent, NotNow, TooLong, Wrong
    ),
)]
pub(super) async fn undo(said: Said) -> Result<Json<IncidentUndoing>, Problem> {
    said.undoes().await
}
