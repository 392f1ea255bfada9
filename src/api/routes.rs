//! The routes, and their description: one cannot be had without the other.
//!
//! Keeps true: every route is entered by [`routes!`], which takes its path, its method and its words from the same place as
//! the document that `GET /v1/openapi.json` answers; and every request passes `access` before its handler.

use super::problem::{not_so, nowhere, one_shape};
use super::{
    App, VERSION, access, breakers, document, incidents, link, metrics, playbooks, runs, silences, stream, system,
};
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use std::sync::Arc;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

fn all() -> OpenApiRouter<App> {
    let routes = OpenApiRouter::new()
        .routes(routes!(document::serve))
        .routes(routes!(system::status))
        .routes(routes!(system::pause))
        .routes(routes!(system::resume))
        .routes(routes!(system::reload))
        .routes(routes!(stream::follow))
        .routes(routes!(playbooks::list))
        .routes(routes!(playbooks::mode, playbooks::set_mode))
        .routes(routes!(breakers::list))
        .routes(routes!(breakers::open))
        .routes(routes!(breakers::close))
        .routes(routes!(silences::list, silences::add))
        .routes(routes!(silences::end))
        .routes(routes!(runs::list, runs::start))
        .routes(routes!(runs::show))
        .routes(routes!(runs::definition))
        .routes(routes!(runs::output))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::retry))
        .routes(routes!(runs::skip))
        .routes(routes!(runs::undo))
        .routes(routes!(runs::keep))
        .routes(routes!(runs::answer))
        .routes(routes!(incidents::list))
        .routes(routes!(incidents::show))
        .routes(routes!(incidents::explain))
        .routes(routes!(incidents::events))
        .routes(routes!(incidents::note))
        .routes(routes!(incidents::ack))
        .routes(routes!(incidents::unack))
        .routes(routes!(incidents::escalate))
        .routes(routes!(incidents::resolve))
        .routes(routes!(incidents::reopen))
        .routes(routes!(incidents::undo))
        .routes(routes!(incidents::keep))
        .routes(routes!(incidents::false_positive))
        .routes(routes!(incidents::exception));
    OpenApiRouter::with_openapi(document::head()).nest(VERSION, routes).routes(routes!(metrics::metrics))
}

/// Every route.
pub(crate) fn router(app: App) -> Router {
    let (router, _) = all().split_for_parts();
    let (gate, meters) = (Arc::clone(&app.desk), Arc::clone(&app.desk));
    router
        .fallback(nowhere)
        .method_not_allowed_fallback(not_so)
        .layer(map_response(one_shape))
        .layer(from_fn(move |request, next| access::check(Arc::clone(&gate.access().borrow()), request, next)))
        .layer(from_fn_with_state(meters, metrics::counted))
        .with_state(app)
}

/// The same for TCP, and what people come to there without a token.
pub(crate) fn open(app: App) -> Router {
    let routes = router(app.clone()).merge(link::router(app.clone()));
    #[cfg(feature = "slack")]
    let routes = routes.merge(super::slack::router(&app));
    routes
}

/// What the routes say of themselves.
pub(super) fn described() -> OpenApi {
    all().into_openapi()
}
