//! What the runs of an incident contained, kept.

use super::super::access::Via;
use super::super::caller::PeerProcess;
use super::super::given::Given;
use super::super::problem::{Absent, NotNow, Problem, TooLong, Unreadable, Wrong};
use super::super::runs::duration;
use super::super::{App, Caller};
use axum::extract::{ConnectInfo, Path, State};
use axum::{Extension, Json};
use quell_engine::run::Request;
use quell_engine::run::answers::IncidentKept;
use quell_model::IncidentId;
use serde::Deserialize;
use utoipa::ToSchema;

/// How long what was contained is to stand.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct KeepIncident {
    /// From now, as `90s`, `30m`, `8h` or `2d`; none: without an end.
    #[serde(default, rename = "for")]
    #[schema(examples("8h"))]
    lasts: Option<String>,
}

/// Let what the runs of an incident contained stand
///
/// 409: nothing of them stands, or not all of it can be kept now. 403: it would answer a `confirm` from where the suspect stands, and
/// nothing is kept.
#[utoipa::path(
    post, path = "/incidents/{id}/keep", tag = "incidents", extensions(("x-permission" = json!("undo"))),
    params(("id" = IncidentId, Path, description = "The incident's id, as the list has it")),
    request_body = KeepIncident,
    responses(
        (status = 200, description = "It stands", body = IncidentKept),
        Unreadable, Absent, NotNow, TooLong, Wrong
    ),
)]
pub(in crate::api) async fn keep(
    Path(incident): Path<IncidentId>,
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    Extension(via): Extension<Via>,
    Extension(peer): Extension<PeerProcess>,
    State(app): State<App>,
    Given(KeepIncident { lasts }): Given<KeepIncident>,
) -> Result<Json<IncidentKept>, Problem> {
    let lasts = lasts.as_deref().map(duration).transpose()?;
    Ok(Json(app.ask(Request::KeepIncident { incident, lasts, by, way: app.way(via, peer).await? }).await?))
}
