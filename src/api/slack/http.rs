//! `POST /slack/interactive` and `POST /slack/commands`: what Slack sends over HTTP.
//!
//! Owns the two routes. They stand beside the API: their requests have Slack's signature and no token. Keeps true: whatever is not
//! Slack's, or was sent before, has no effect; where Slack is not configured there is nothing here; the answer waits for nothing.

use super::super::App;
use super::super::metrics::counted;
use super::super::problem::{Problem, not_so, nowhere, one_shape};
use super::door::Door;
use super::errand::{Errands, Room};
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
use quell_model::{Clock, Stamp};
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
    /// Since when there is a memory.
    since: Stamp,
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
        let since = clock.now();
        Self { door, errands, memory: Arc::default(), clock, since }
    }

    /// A body that is Slack's, with room for what it asks for; none: it came before. What is refused for want of room is not
    /// remembered: sent again, it is new.
    async fn take(&self, request: Request) -> Result<Option<(Bytes, Room<'_>)>, Response> {
        let door = self.door.borrow().clone().filter(|door| !door.secrets.is_empty());
        let Some(door) = door else { return Err(nowhere(request.uri().clone()).await.into_response()) };
        if request.method() != Method::POST {
            return Err(not_so(request.method().clone(), request.uri().clone()).await.into_response());
        }
        let headers = request.headers().clone();
        let body = Bytes::from_request(request, &()).await.map_err(IntoResponse::into_response)?;
        let at = self.clock.now();
        // The wall clock may have been set since: when there was no memory yet by how it stands now.
        let (now, since) = (seconds(at.wall), seconds(self.since.wall_by(at)));
        // Before the memory is locked: sums of long bodies take a moment.
        let verified = signature(&headers).and_then(|of| verify(&door.secrets, of, &body, (now, since)).map(|()| of.1));
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        match verified {
            Ok(signature) => {
                let Some(room) = self.errands.room() else { return Err(no_room()) };
                let is_new = memory.seen.is_new(signature, now).ok_or_else(no_room)?;
                Ok(is_new.then_some((body, room)))
            }
            Err(NotSlacks::Before) => {
                tracing::warn!(
                    "what somebody wanted by Slack just before this quell began is not done; Slack tells them so"
                );
                Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, NotSlacks::Before.to_string()).into_response())
            }
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
}

/// What was asked for waits its turn, and Slack is answered.
fn given(room: Room<'_>, errand: Errand) -> Response {
    room.send(errand);
    StatusCode::OK.into_response()
}

fn seconds(wall: jiff::Timestamp) -> u64 {
    u64::try_from(wall.as_second()).unwrap_or_default()
}

fn no_room() -> Response {
    let what = "more is to be done already than can be kept: nothing was done";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, what).into_response()
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
    let Some((body, room)) = front.take(request).await? else { return Ok(StatusCode::OK.into_response()) };
    let form = payload::form(&body);
    let payload = form.get("payload").map(String::as_str).unwrap_or_default();
    match payload::click(payload) {
        Ok(Some(errand)) => Ok(given(room, errand)),
        // A link was opened, or another part of the app was used.
        Ok(None) => Ok(StatusCode::OK.into_response()),
        Err(error) => Err(unreadable(&error)),
    }
}

async fn commands(State(front): State<Front>, request: Request) -> Result<Response, Response> {
    let Some((body, room)) = front.take(request).await? else { return Ok(StatusCode::OK.into_response()) };
    let form = payload::form(&body);
    if form.contains_key("ssl_check") {
        return Ok(StatusCode::OK.into_response());
    }
    match payload::command(|key| form.get(key).cloned()) {
        Ok(errand) => Ok(given(room, errand)),
        Err(error) => Err(unreadable(&error)),
    }
}

fn unreadable(error: &payload::Unreadable) -> Response {
    Problem::new(StatusCode::BAD_REQUEST, error.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::super::errand::Waiting;
    use super::super::payload::What;
    use super::super::verify::signed;
    use super::*;
    use axum::body::Body;
    use quell_engine::clock::SimulatedClock;
    use quell_model::Secret;
    use quell_model::notice::Act;
    use tower::ServiceExt;

    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    const CLICK: &str = "payload=%7B%22type%22%3A%22block_actions%22%2C%22user%22%3A%7B%22id%22%3A%22U012%22%7D%2C%22actions\
        %22%3A%5B%7B%22action_id%22%3A%22quell%3Aresolve%22%2C%22value%22%3A%22m%22%7D%5D%7D";

    struct Stage {
        router: Router,
        waiting: Waiting,
        door: watch::Sender<Option<Arc<Door>>>,
        clock: Arc<SimulatedClock>,
    }

    impl Stage {
        fn new() -> Self {
            let secrets = vec![Secret::new(SECRET)];
            let door = Door { secrets, app_token: None, api_url: "https://slack.com/api".to_owned() };
            let door = watch::Sender::new(Some(Arc::new(door)));
            let (errands, waiting) = Errands::new();
            let clock = Arc::new(SimulatedClock::new(SystemClock.now()));
            let router = routes(Front::by(door.subscribe(), errands, Arc::clone(&clock) as _));
            Self { router, waiting, door, clock }
        }

        fn now(&self) -> u64 {
            u64::try_from(self.clock.now().wall.as_second()).unwrap()
        }

        async fn asked(&self, method: &str, path: &str, (at, signature): (&str, &str), body: &str) -> u16 {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header("x-slack-request-timestamp", at)
                .header("x-slack-signature", signature)
                .body(Body::from(body.to_owned()))
                .unwrap();
            self.router.clone().oneshot(request).await.unwrap().status().as_u16()
        }

        async fn signed(&self, path: &str, body: &str) -> u16 {
            let at = self.now().to_string();
            self.asked("POST", path, (&at, &signed(&Secret::new(SECRET), &at, body.as_bytes())), body).await
        }
    }

    #[tokio::test]
    async fn what_is_signed_is_taken_in_once() {
        let mut stage = Stage::new();
        assert_eq!(stage.signed("/slack/interactive", CLICK).await, 200);
        let taken = stage.waiting.next().unwrap();
        assert_eq!((taken.user.as_str(), taken.what), ("U012", What::Click(Act::Resolve, "m".to_owned())));
        assert_eq!(stage.signed("/slack/interactive", CLICK).await, 200, "the same request once more is answered");
        assert_eq!(stage.waiting.next(), None, "and does nothing");
        stage.clock.advance(std::time::Duration::from_secs(1));
        assert_eq!(stage.signed("/slack/interactive", CLICK).await, 200);
        assert!(stage.waiting.next().is_some(), "another click on the same button is another");
        assert_eq!(stage.signed("/slack/commands", "user_id=U012&text=help").await, 200);
        assert_eq!(stage.waiting.next().unwrap().what, What::Command("help".to_owned()));
        for nothing in ["ssl_check=1&token=x", "ssl_check=1"] {
            assert_eq!(stage.signed("/slack/commands", nothing).await, 200, "Slack looks at the certificate");
        }
        assert_eq!(stage.signed("/slack/interactive", "payload=%7B%22type%22%3A%22shortcut%22%7D").await, 200);
        assert_eq!(stage.signed("/slack/interactive", "payload=x").await, 400);
        assert_eq!(stage.signed("/slack/commands", "text=help").await, 400);
        assert_eq!(stage.waiting.next(), None);
    }

    #[tokio::test]
    async fn what_is_not_slacks_is_not_taken_in() {
        let mut stage = Stage::new();
        let (at, path) = (stage.now().to_string(), "/slack/interactive");
        let by = |secret: &str, at: &str, body: &str| signed(&Secret::new(secret), at, body.as_bytes());
        assert_eq!(stage.asked("POST", path, (&at, &by("another", &at, CLICK)), CLICK).await, 401);
        assert_eq!(stage.asked("POST", path, (&at, &by(SECRET, &at, "payload=")), CLICK).await, 401);
        assert_eq!(stage.asked("POST", path, (&at, ""), CLICK).await, 401);
        let old = (stage.now() - 301).to_string();
        assert_eq!(stage.asked("POST", path, (&old, &by(SECRET, &old, CLICK)), CLICK).await, 401);
        assert_eq!(stage.asked("GET", path, (&at, &by(SECRET, &at, "")), "").await, 405);
        let long = "x".repeat(LONGEST + 1);
        assert_eq!(stage.signed(path, &long).await, 413);
        assert_eq!(stage.signed(path, &long[1..]).await, 400, "read, and none of Slack's");
        stage.door.send_replace(None);
        assert_eq!(stage.signed(path, CLICK).await, 404);
        assert_eq!(stage.waiting.next(), None);
    }

    #[tokio::test]
    async fn where_there_is_no_room_it_is_said() {
        let mut stage = Stage::new();
        let mut taken = 0;
        loop {
            match stage.signed("/slack/commands", &format!("user_id=U012&text={taken}")).await {
                200 => taken += 1,
                status => break assert_eq!(status, 503),
            }
        }
        assert_eq!(taken, 256, "the bound");
        assert!(stage.waiting.next().is_some());
        let refused = format!("user_id=U012&text={taken}");
        assert_eq!(stage.signed("/slack/commands", &refused).await, 200, "there is room again");
        let mut last = None;
        while let Some(errand) = stage.waiting.next() {
            last = Some(errand.what);
        }
        assert_eq!(last, Some(What::Command(taken.to_string())), "the same that was refused is done");
    }

    #[tokio::test]
    async fn what_another_process_may_have_taken_is_not_taken_again() {
        let mut stage = Stage::new();
        stage.clock.advance(std::time::Duration::from_secs(100));
        let signed_at = |at: u64| (at.to_string(), signed(&Secret::new(SECRET), &at.to_string(), CLICK.as_bytes()));
        let begun = stage.now() - 100;
        for (at, status) in [(begun - 150, 503), (begun - 3, 503), (begun - 2, 200), (begun, 200)] {
            let (at, signature) = signed_at(at);
            assert_eq!(stage.asked("POST", "/slack/interactive", (&at, &signature), CLICK).await, status, "{at}");
            assert_eq!(stage.waiting.next().is_some(), status == 200, "{at}");
        }
    }

    #[tokio::test]
    async fn a_wall_clock_that_is_set_back_makes_nothing_older_than_the_start() {
        let mut stage = Stage::new();
        stage.clock.advance(std::time::Duration::from_secs(60));
        let Stamp { wall, boot_ns } = stage.clock.now();
        let back = wall - jiff::SignedDuration::from_hours(2);
        stage.clock.set(Stamp { wall: back, boot_ns: boot_ns + 1_000_000_000 });
        assert_eq!(stage.signed("/slack/interactive", CLICK).await, 200);
        assert!(stage.waiting.next().is_some());
        let begun = stage.now() - 61;
        let before = (begun - 3).to_string();
        let signature = signed(&Secret::new(SECRET), &before, CLICK.as_bytes());
        assert_eq!(stage.asked("POST", "/slack/interactive", (&before, &signature), CLICK).await, 503);
    }
}
