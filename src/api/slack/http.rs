//! `POST /slack/interactive` and `POST /slack/commands`: what Slack sends over HTTP.
//!
//! Owns the two routes. They stand beside the API: their requests have Slack's signature and no token. Keeps true: whatever is not
//! Slack's, or was sent before, has no effect; where Slack is not configured there is nothing here; the answer waits for nothing.

use super::super::App;
use super::super::metrics::counted;
use super::super::problem::{Problem, not_so, nowhere, one_shape};
use super::door::Door;
use super::errand::Errands;
use super::payload::{self, Errand};
use super::verify::{NotSlacks, Seen, verify};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use quell_engine::clock::SystemClock;
use quell_model::Clock;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// A body is not longer, in bytes: a message of Slack's is not, with all its blocks.
const LONGEST: usize = 256 << 10;
/// That somebody comes who is not Slack is told once in so many seconds.
const SELDOM: u64 = 60;

/// What the two routes know.
#[derive(Clone)]
struct Front {
    door: watch::Receiver<Option<Arc<Door>>>,
    errands: Errands,
    memory: Arc<Mutex<Memory>>,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct Memory {
    seen: Seen,
    /// When it was told last that somebody came who is not Slack.
    told: Option<u64>,
}

impl Front {
    /// As it is configured now and later; what is to be done goes to `errands`.
    fn new(door: watch::Receiver<Option<Arc<Door>>>, errands: Errands) -> Self {
        Self::by(door, errands, Arc::new(SystemClock))
    }

    fn by(door: watch::Receiver<Option<Arc<Door>>>, errands: Errands, clock: Arc<dyn Clock>) -> Self {
        Self { door, errands, memory: Arc::default(), clock }
    }

    /// A body that is Slack's; none: it came before.
    async fn take(&self, request: Request) -> Result<Option<Bytes>, Response> {
        let door = self.door.borrow().clone().filter(|door| !door.secrets.is_empty());
        let Some(door) = door else { return Err(nowhere(request.uri().clone()).await.into_response()) };
        if request.method() != Method::POST {
            return Err(not_so(request.method().clone(), request.uri().clone()).await.into_response());
        }
        let headers = request.headers().clone();
        let body = Bytes::from_request(request, &()).await.map_err(IntoResponse::into_response)?;
        let now = u64::try_from(self.clock.now().wall.as_second()).unwrap_or_default();
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        match signature(&headers).and_then(|of| verify(&door.secrets, of, &body, now).map(|()| of.1)) {
            Ok(signature) => Ok(memory.seen.is_new(signature, now).then_some(body)),
            Err(why) => {
                if memory.told.is_none_or(|told| now.saturating_sub(told) >= SELDOM) {
                    memory.told = Some(now);
                    let hint = "`channels.slack.signing_secret` of escalation.yaml is the app's";
                    tracing::warn!(%why, hint, "a request to where Slack's are taken was refused");
                }
                Err(Problem::new(StatusCode::UNAUTHORIZED, why.to_string()).into_response())
            }
        }
    }

    fn give(&self, errand: Errand) -> Response {
        if self.errands.give(errand) {
            return StatusCode::OK.into_response();
        }
        let what = "more is to be done already than can be kept: nothing was done";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, what).into_response()
    }
}

/// When it was signed, and how.
fn signature(headers: &HeaderMap) -> Result<(&str, &str), NotSlacks> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).ok_or(NotSlacks::Unsigned);
    Ok((text("x-slack-request-timestamp")?, text("x-slack-signature")?))
}

/// The two routes, counted as those of the API are.
pub(crate) fn router(app: &App) -> Router {
    let front = Front::new(app.desk.slack(), app.errands.clone());
    routes(front).layer(from_fn_with_state(Arc::clone(&app.desk), counted))
}

fn routes(front: Front) -> Router {
    Router::new()
        .route("/slack/interactive", any(interactive))
        .route("/slack/commands", any(commands))
        .layer(DefaultBodyLimit::max(LONGEST))
        .layer(map_response(one_shape))
        .with_state(front)
}

async fn interactive(State(front): State<Front>, request: Request) -> Result<Response, Response> {
    let Some(body) = front.take(request).await? else { return Ok(StatusCode::OK.into_response()) };
    let form = payload::form(&body);
    let payload = form.get("payload").map(String::as_str).unwrap_or_default();
    match payload::click(payload) {
        Ok(Some(errand)) => Ok(front.give(errand)),
        // A link was opened, or another part of the app was used.
        Ok(None) => Ok(StatusCode::OK.into_response()),
        Err(error) => Err(unreadable(&error)),
    }
}

async fn commands(State(front): State<Front>, request: Request) -> Result<Response, Response> {
    let Some(body) = front.take(request).await? else { return Ok(StatusCode::OK.into_response()) };
    let form = payload::form(&body);
    if form.contains_key("ssl_check") {
        return Ok(StatusCode::OK.into_response());
    }
    match payload::command(|key| form.get(key).cloned()) {
        Ok(errand) => Ok(front.give(errand)),
        Err(error) => Err(unreadable(&error)),
    }
}

fn unreadable(error: &payload::Unreadable) -> Response {
    Problem::new(StatusCode::BAD_REQUEST, error.to_string()).into_response()
}
