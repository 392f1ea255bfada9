//! Silences: of which incidents nobody is paged for a while. Seen, said, and ended before their time.
//!
//! Owns the routes. They want `ack`: whoever may say that they look after an incident, which ends its paging too, may say so of
//! those that are still to come; a silence stops pages alone, ends by itself, and stands in the journal under its owner's name.

use super::access::Via;
use super::given::{Given, bounded};
use super::page::Page;
use super::problem::{Absent, NotNow, Problem, TooLong, Unreadable, Wrong};
use super::{App, Caller};
use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use quell_engine::load::units;
use quell_engine::run::answers::{SilenceGone, SilenceView};
use quell_engine::run::{Request, Silenced};
use quell_model::Name;
use quell_model::record::Covers;
use serde::Deserialize;
use utoipa::ToSchema;

/// List the silences
///
/// Those that stand, by their ends, and what each holds back. All of them on one page.
#[utoipa::path(
    get, path = "/silences", tag = "silences", extensions(("x-permission" = json!("read"))),
    responses((status = 200, description = "The silences", body = Page<SilenceView>)),
)]
pub(super) async fn list(State(app): State<App>) -> Result<Json<Page<SilenceView>>, Problem> {
    Ok(Json(Page::whole(app.ask(Request::Silences).await?)))
}

/// Of which incidents nobody is to be told, for how long, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Silence {
    /// Which: at least one of `match`, `rule`, `entity`, `tag` and `level`; all that are said have to hold.
    covers: Covers,
    /// From now, as `90s`, `30m`, `8h` or `2d`; at most `30d`.
    #[serde(rename = "for")]
    #[schema(examples("2h"))]
    lasts: String,
    /// For whoever finds that nobody was told; not empty.
    #[schema(min_length = 1, max_length = 10_000, examples("the deploy of tonight"))]
    reason: String,
    /// What happens meanwhile was planned: messages and lists call it that.
    #[serde(default)]
    maintenance: bool,
}

/// Silence incidents for a while
///
/// Nobody is paged for what it covers before its end; what is contained, asked or written down is the same. At its end what
/// still burns is told. One by level, by tag or by an expression does not hide what is worse than it says (`level`, else `high`);
/// that of a rule or a tag covers an incident as long as nothing else is detected in it. 409: a hundred stand.
#[utoipa::path(
    post, path = "/silences", tag = "silences", extensions(("x-permission" = json!("ack"))),
    request_body = Silence,
    responses(
        (status = 200, description = "It stands", body = SilenceView),
        Unreadable, NotNow, TooLong, Wrong
    ),
)]
pub(super) async fn add(
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    Extension(Via(via)): Extension<Via>,
    State(app): State<App>,
    Given(Silence { covers, lasts, reason, maintenance }): Given<Silence>,
) -> Result<Json<SilenceView>, Problem> {
    let lasts = units::duration(&lasts).ok_or_else(|| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("`for` is `{lasts}`")).hint("a duration, like `2h`")
    })?;
    let wanted = Box::new(Silenced { covers, lasts, reason: bounded(reason)?, maintenance });
    Ok(Json(app.ask(Request::Silence { wanted, by, via: via.into() }).await?))
}

/// End a silence before its time
///
/// What it held back and still burns is told now, as far as no other silence covers it.
#[utoipa::path(
    delete, path = "/silences/{id}", tag = "silences", extensions(("x-permission" = json!("ack"))),
    params(("id" = Name, Path, description = "The silence's id, as the list has it")),
    responses((status = 200, description = "It stands no longer", body = SilenceGone), Absent, Wrong),
)]
pub(super) async fn end(
    Path(silence): Path<Name>,
    ConnectInfo(Caller(by)): ConnectInfo<Caller>,
    Extension(Via(via)): Extension<Via>,
    State(app): State<App>,
) -> Result<Json<SilenceGone>, Problem> {
    Ok(Json(app.ask(Request::EndSilence { silence, by, via: via.into() }).await?))
}
