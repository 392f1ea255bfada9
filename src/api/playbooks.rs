//! What answers: the playbooks that are loaded, how far each may go, and a person's word on it.

use super::given::{Given, bounded};
use super::page::Page;
use super::problem::{Absent, NotNow, Problem, TooLong, Unreadable, Wrong};
use super::status::PlaybookStatus;
use super::{App, Caller};
use axum::Json;
use axum::extract::{ConnectInfo, Path, Query, State};
use jiff::{SignedDuration, Timestamp};
use quell_engine::report::{self, Tried};
use quell_engine::run::Request;
use quell_engine::run::answers::{ModeSet, ModeStands};
use quell_model::{Hash, Mode, Name};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// What is counted where nobody says since when.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// List the playbooks that are loaded
///
/// With how far each may go here, and why. All of them on one page: `next` is null.
#[utoipa::path(
    get, path = "/playbooks", tag = "playbooks", extensions(("x-permission" = json!("read"))),
    responses((status = 200, description = "The playbooks", body = Page<PlaybookStatus>)),
)]
pub(super) async fn list(State(app): State<App>) -> Result<Json<Page<PlaybookStatus>>, Problem> {
    let engine = app.ask(Request::Status).await?;
    Ok(Json(Page::whole(app.desk.playbooks(&engine))))
}

/// How far a playbook may go, and what it did and would have done.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct PlaybookMode {
    /// The playbook.
    pub(crate) id: Name,
    /// How its mode stands.
    pub(crate) stands: ModeStands,
    /// Since when it is counted.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) since: Timestamp,
    /// What its runs did, or would have done.
    pub(crate) tried: Tried,
}

/// Since when.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Since {
    /// Only runs that began since; 7 days if absent.
    #[serde(default)]
    #[param(value_type = Option<String>, format = DateTime, required = false, example = "2026-11-28T12:00:00Z")]
    since: Option<Timestamp>,
}

/// Show how far a playbook may go
///
/// With what makes it so, and what its runs did and would have done: acts, targets, what guards refused, what people were asked.
#[utoipa::path(
    get, path = "/playbooks/{id}/mode", tag = "playbooks", extensions(("x-permission" = json!("read"))),
    params(("id" = Name, Path, description = "The playbook"), Since),
    responses((status = 200, description = "How it stands", body = PlaybookMode), Unreadable, Absent, Wrong),
)]
pub(super) async fn mode(
    Path(id): Path<Name>,
    Query(Since { since }): Query<Since>,
    State(app): State<App>,
) -> Result<Json<PlaybookMode>, Problem> {
    let stands: ModeStands = app.ask(Request::ModeStands(id.clone())).await?;
    let since = since.or_else(|| Timestamp::now().checked_sub(LOOK_BACK).ok()).unwrap_or(Timestamp::MIN);
    let of = (id.clone(), stands.hash);
    let tried = app.view(move |journal| report::tried(journal, (&of.0, &of.1), since)).await?;
    Ok(Json(PlaybookMode { id, stands, since, tried }))
}

/// How far a playbook is to go.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ModeWanted {
    /// So far.
    to: Mode,
    /// The text that is meant, by its sum; 409 where another is loaded by now. Absent: the one that is loaded.
    #[serde(default)]
    hash: Option<Hash>,
    /// For whoever looks next.
    #[serde(default)]
    #[schema(max_length = 10_000, examples("a week of it was right"))]
    why: String,
}

/// Let a playbook go so far
///
/// In the place of its own `mode`: further than that only as long as its text stays the same, and never beyond the configuration;
/// less far whatever its text becomes, and from now on, also in runs that go on and in those that they have started. 409: it is there already, the
/// configuration does not allow it, or its text has changed since you looked.
#[utoipa::path(
    post, path = "/playbooks/{id}/mode", tag = "playbooks", extensions(("x-permission" = json!("mode"))),
    params(("id" = Name, Path, description = "The playbook")),
    request_body = ModeWanted,
    responses((status = 200, description = "It may go so far", body = ModeSet), Unreadable, Absent, NotNow, TooLong, Wrong),
)]
pub(super) async fn set_mode(
    Path(playbook): Path<Name>,
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    State(app): State<App>,
    Given(ModeWanted { to, hash, why }): Given<ModeWanted>,
) -> Result<Json<ModeSet>, Problem> {
    Ok(Json(app.ask(Request::SetMode { playbook, to, definition: hash, by, why: bounded(why)? }).await?))
}
