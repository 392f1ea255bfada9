//! The breakers of playbooks: seen, opened and closed by hand.

use super::given::{Given, bounded};
use super::page::Page;
use super::problem::{Absent, NotNow, Problem, TooLong, Unreadable, Wrong};
use super::{App, Caller};
use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use quell_engine::run::Request;
use quell_engine::run::answers::{BreakerSwitched, BreakerView};
use quell_model::Name;
use serde::Deserialize;
use utoipa::ToSchema;

/// List the breakers
///
/// Of every playbook that is loaded, and of those that are gone and whose breaker is open. All of them on one page.
#[utoipa::path(
    get, path = "/breakers", tag = "breakers", extensions(("x-permission" = json!("read"))),
    responses((status = 200, description = "The breakers", body = Page<BreakerView>)),
)]
pub(super) async fn list(State(app): State<App>) -> Result<Json<Page<BreakerView>>, Problem> {
    Ok(Json(Page::whole(app.ask(Request::Breakers).await?)))
}

/// Why a breaker is switched.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SwitchWhy {
    /// For whoever looks next; not empty.
    #[serde(default)]
    #[schema(required, min_length = 1, examples("it was the build farm"))]
    why: String,
}

/// Open the breaker of a playbook
///
/// It asks before everything that it would do, until somebody closes it. 409: a person has opened it already.
#[utoipa::path(
    post, path = "/breakers/{id}/open", tag = "breakers", extensions(("x-permission" = json!("mode"))),
    params(("id" = Name, Path, description = "The playbook")),
    request_body = SwitchWhy,
    responses(
        (status = 200, description = "It is open", body = BreakerSwitched),
        Unreadable, Absent, NotNow, TooLong, Wrong
    ),
)]
pub(super) async fn open(
    Path(id): Path<Name>,
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    State(app): State<App>,
    Given(why): Given<SwitchWhy>,
) -> Result<Json<BreakerSwitched>, Problem> {
    switch(true, id, by, app, why).await
}

/// Close the breaker of a playbook
///
/// It acts again as its mode allows: what it has acted on so far does not open it a second time. 409: it is closed.
#[utoipa::path(
    post, path = "/breakers/{id}/close", tag = "breakers", extensions(("x-permission" = json!("mode"))),
    params(("id" = Name, Path, description = "The playbook")),
    request_body = SwitchWhy,
    responses(
        (status = 200, description = "It is closed", body = BreakerSwitched),
        Unreadable, Absent, NotNow, TooLong, Wrong
    ),
)]
pub(super) async fn close(
    Path(id): Path<Name>,
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    State(app): State<App>,
    Given(why): Given<SwitchWhy>,
) -> Result<Json<BreakerSwitched>, Problem> {
    switch(false, id, by, app, why).await
}

async fn switch(
    open: bool,
    playbook: Name,
    by: Name,
    app: App,
    SwitchWhy { why }: SwitchWhy,
) -> Result<Json<BreakerSwitched>, Problem> {
    if why.trim().is_empty() {
        let what = "a breaker is not switched without a reason";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, what).hint("`why` says it, for whoever looks next"));
    }
    Ok(Json(app.ask(Request::Breaker { playbook, open, by, why: bounded(why)? }).await?))
}
