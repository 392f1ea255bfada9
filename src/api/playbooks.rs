//! What answers: the playbooks that are loaded.

use super::App;
use super::page::Page;
use super::problem::Problem;
use super::status::PlaybookStatus;
use axum::Json;
use axum::extract::State;
use quell_engine::run::Request;

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
