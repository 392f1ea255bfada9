//! `POST /`: what others bring to a webhook of `sources.webhooks`.
//!
//! ```text
//! request ─▶ token ─▶ room ─▶ body ─▶ its weight ─▶ records ─▶ the engine's thread ─▶ committed ─▶ 200
//!              401     429     413     413, 429      aside        503                   503
//! ```
//!
//! Owns the route of each webhook, who may bring, and the bounds. Keeps true: 200 is said with the word that what was brought is kept,
//! and never before; whatever cannot be taken now is to be brought again, and says when; nothing of the body is read before the token, and
//! no event made of it before it has room. One record that cannot be read is put aside and holds up none of the others.

mod room;

pub(crate) use room::Room;

use super::problem::{Problem, one_shape};
use crate::daemon::{Accepted, Answered, Deliveries, NotTaken, SourceMeter, is_truncated};
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use quell_engine::adapt::{self, Format, Unreadable};
use quell_engine::clock::SystemClock;
use quell_engine::load::SecretFrom;
use quell_engine::source::by_our_clocks;
use quell_engine::store::{Aside, Committed, PutAside};
use quell_model::{Class, Clock, Hash, Name, OwnedEvent, Stamp};
use room::Full;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch};
use tokio::time::timeout;

/// A body is not longer, in bytes, packed or not: what an API server brings at most (`--audit-webhook-truncate-max-batch-size`, 10 MiB), and the
/// list around that, which it does not count.
const LONGEST: usize = (10 << 20) + (64 << 10);
/// A body stands in memory so often while it is read, beside its events.
const COPIES: usize = 2;
/// So many unreadable records are put aside in one.
const ASIDE: usize = 256;
/// So much of a refused body is read on, in bytes, and for so long.
const PASSED: usize = 4 * LONGEST;
const PASSING: Duration = Duration::from_secs(5);
/// Deliveries of one webhook at once.
const AT_ONCE: usize = 8;
/// When to come again where others were first, in seconds.
const SOON: u64 = 2;
/// And where the disk or the token cannot be had.
const LATER: u64 = 15;
/// That somebody comes without the token, or with what cannot be taken, is told once in so long.
const SELDOM: Duration = Duration::from_secs(60);
/// What whoever brings too much can do.
const SMALLER: &str = "a smaller --audit-webhook-batch-max-size, or --audit-webhook-truncate-enabled";
/// At most so many unreadable records are named in the log; all are counted and put aside.
const NAMED: u64 = 20;

/// Where the token of each webhook is; none: it has none.
pub(crate) type Keys = BTreeMap<Name, Option<SecretFrom>>;

/// One webhook at work.
pub(crate) struct Front {
    source: Name,
    format: Format,
    keys: watch::Receiver<Arc<Keys>>,
    to_engine: Deliveries,
    meter: Arc<SourceMeter>,
    places: Semaphore,
    room: Arc<Room>,
    /// One writes at a time.
    aside: Arc<Mutex<(Aside, u64)>>,
    told: Mutex<Option<Stamp>>,
}

/// What is answered to a delivery that is kept.
#[derive(Serialize)]
struct Kept {
    accepted: usize,
    repeated: u64,
    unreadable: usize,
}

/// Why a delivery was not taken in, and when it is to be brought again.
struct Refused {
    answer: Answered,
    problem: Problem,
    again: Option<u64>,
}

impl Refused {
    fn wrong(status: StatusCode, what: impl Into<String>) -> Self {
        Self { answer: Answered::Wrong, problem: Problem::new(status, what), again: None }
    }

    fn later(status: StatusCode, what: impl Into<String>, again: u64) -> Self {
        Self { answer: Answered::Later, problem: Problem::new(status, what), again: Some(again) }
    }
}

impl From<Full> for Refused {
    fn from(why: Full) -> Self {
        match why {
            Full::Now => {
                let what =
                    "the deliveries that are under way fill all the memory that this webhook may have: bring it again";
                Self::later(StatusCode::TOO_MANY_REQUESTS, what, SOON)
            }
            Full::Always(most) => {
                let what = format!("the events of the body would fill more than {most} MiB of memory");
                let mut refused = Self::wrong(StatusCode::PAYLOAD_TOO_LARGE, what);
                refused.problem = refused.problem.hint(SMALLER);
                refused
            }
        }
    }
}

impl From<NotTaken> for Refused {
    fn from(why: NotTaken) -> Self {
        let again = if matches!(why, NotTaken::Behind | NotTaken::Ended) { SOON } else { LATER };
        Self::later(StatusCode::SERVICE_UNAVAILABLE, format!("{why}: bring it again"), again)
    }
}

impl Front {
    /// Of a webhook whose events are called `source`.
    pub(crate) fn new(
        (source, format): (Name, Format),
        keys: watch::Receiver<Arc<Keys>>,
        to_engine: Deliveries,
        (meter, room): (Arc<SourceMeter>, Room),
        aside: Aside,
    ) -> Self {
        let (places, room, aside) = (Semaphore::new(AT_ONCE), Arc::new(room), Arc::new(Mutex::new((aside, 0))));
        Self { source, format, keys, to_engine, meter, places, room, aside, told: Mutex::default() }
    }

    async fn take(&self, request: Request) -> Result<Response, Refused> {
        if request.method() != Method::POST {
            return Err(Refused::wrong(StatusCode::METHOD_NOT_ALLOWED, "a webhook takes POST"));
        }
        self.check(request.headers()).await?;
        let packed = is_packed(request.headers())?;
        let (head, mut body) = request.into_parts();
        let brought = match self.read_in(&head.headers, packed, &mut body).await {
            Ok(brought) => brought,
            Err(refused) => {
                let_pass(&mut body).await;
                return Err(refused);
            }
        };
        let (body, _place) = brought;
        let (room, aside) = (Arc::clone(&self.room), Arc::clone(&self.aside));
        let (format, source) = (self.format, self.source.clone());
        let read = tokio::task::spawn_blocking(move || read((format, &source), body, &room, &aside)).await;
        let Ok(read) = read else {
            return Err(Refused::later(StatusCode::INTERNAL_SERVER_ERROR, "it could not be read", LATER));
        };
        let Read { events, unreadable, held } = read?;
        (0..unreadable).for_each(|_| self.meter.unreadable());
        let (count, seen) = (events.len(), Seen::of(&events));
        let accepted = self.to_engine.bring(events, held).await?;
        self.meter.took(&seen.classes, (accepted.repeated, seen.truncated), seen.last, SystemClock.now());
        Ok(kept(accepted, count, unreadable))
    }

    /// The body, as it came, the room that it has, and its place among those under way.
    async fn read_in(
        &self,
        headers: &HeaderMap,
        packed: bool,
        body: &mut Body,
    ) -> Result<(Brought, SemaphorePermit<'_>), Refused> {
        let Ok(place) = self.places.try_acquire() else {
            let what = format!("{AT_ONCE} deliveries are under way: bring it again");
            return Err(Refused::later(StatusCode::TOO_MANY_REQUESTS, what, SOON));
        };
        let length = length(headers)?;
        let held = self.room.take((COPIES + 1) * if packed { LONGEST } else { length })?;
        let read = Limited::new(body, length).collect().await.map_err(|error| too_long_or(&*error))?;
        Ok((Brought { bytes: read.to_bytes(), packed, held }, place))
    }

    /// Whether they have the token.
    async fn check(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let key = self.keys.borrow().get(&self.source).cloned();
        let Some(key) = key else {
            return Err(Refused::later(StatusCode::SERVICE_UNAVAILABLE, "this webhook is not known any more", LATER));
        };
        let Some(key) = key else { return Ok(()) };
        // As it is now: a token that was changed holds from then on. A disk may hang.
        let read = tokio::task::spawn_blocking(move || key.read()).await;
        let wanted = match read {
            Ok(Ok(wanted)) => wanted,
            Ok(Err(why)) => {
                self.tell_seldom(&format!("the token cannot be read: {why}"));
                return Err(Refused::later(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the token cannot be read here now",
                    LATER,
                ));
            }
            Err(_) => {
                return Err(Refused::later(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the token cannot be read here now",
                    LATER,
                ));
            }
        };
        // Sums have one length, whatever was given.
        let given = bearer(headers).map(Hash::of);
        if given.is_some_and(|given| bool::from(given.0.ct_eq(&Hash::of(wanted.expose().as_bytes()).0))) {
            return Ok(());
        }
        let what = if given.is_some() { "its token is another" } else { "it has no token" };
        let problem = Problem::new(StatusCode::UNAUTHORIZED, format!("the delivery is refused: {what}"))
            .hint("`Authorization: Bearer TOKEN`; `token` of this webhook in quell.yaml says where it is");
        Err(Refused { answer: Answered::Denied, problem, again: None })
    }

    fn tell_seldom(&self, why: &str) {
        let now = SystemClock.now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| now.since(told) >= SELDOM) {
            *told = Some(now);
            tracing::warn!(source = %self.source, why, "a delivery is not taken");
        }
    }
}

/// The one answer that lets whoever brought it forget it.
fn kept(Accepted { committed, repeated }: Accepted, count: usize, unreadable: usize) -> Response {
    let _proof: Committed = committed;
    Json(Kept { accepted: count - usize::try_from(repeated).unwrap_or(count).min(count), repeated, unreadable })
        .into_response()
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

fn is_packed(headers: &HeaderMap) -> Result<bool, Refused> {
    match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(false),
        Some(b"gzip") => Ok(true),
        Some(_) => {
            Err(Refused::wrong(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body is packed by something else than gzip"))
        }
    }
}

fn too_long() -> Refused {
    let what = format!("the body is longer than {} MiB", LONGEST >> 20);
    let mut refused = Refused::wrong(StatusCode::PAYLOAD_TOO_LARGE, what);
    refused.problem = refused.problem.hint(SMALLER);
    refused
}

/// How long the body says that it is at most.
fn length(headers: &HeaderMap) -> Result<usize, Refused> {
    let said = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match said.map(usize::try_from) {
        None => Ok(LONGEST),
        Some(Ok(length)) if length <= LONGEST => Ok(length),
        Some(_) => Err(too_long()),
    }
}

fn too_long_or(error: &(dyn std::error::Error + 'static)) -> Refused {
    if error.is::<LengthLimitError>() {
        return too_long();
    }
    Refused::wrong(StatusCode::BAD_REQUEST, "the body broke off")
}

/// Reads on what is refused, and keeps nothing of it: whoever still writes when the connection closes never reads the answer.
async fn let_pass(body: &mut Body) {
    let passing = async {
        let mut left = PASSED;
        while let Some(Ok(frame)) = body.frame().await {
            let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { break };
            left = rest;
        }
    };
    // Whoever brings more than that, or is slower, sees the connection close.
    drop(timeout(PASSING, passing).await);
}

/// What came, and the room that it has.
struct Brought {
    bytes: Bytes,
    packed: bool,
    held: OwnedSemaphorePermit,
}

/// What was in a body.
struct Read {
    events: Vec<OwnedEvent>,
    unreadable: usize,
    held: OwnedSemaphorePermit,
}

/// Reads a body; what cannot be read is put aside. Blocks.
fn read(
    (format, source): (Format, &Name),
    body: Brought,
    room: &Room,
    aside: &Mutex<(Aside, u64)>,
) -> Result<Read, Refused> {
    let Brought { mut bytes, packed, mut held } = body;
    if packed {
        bytes = adapt::unpacked(&bytes, LONGEST).map(Bytes::from).map_err(|error| match error.kind() {
            ErrorKind::FileTooLarge => too_long(),
            _ => Refused::wrong(StatusCode::BAD_REQUEST, format!("the body is no gzip: {error}")),
        })?;
    }
    room.resize(&mut held, COPIES * bytes.len() + adapt::weight(&bytes))?;
    let now = SystemClock.now();
    let (mut events, mut wrong, mut unreadable) = (Vec::new(), Vec::new(), 0);
    for record in adapt::brought(format, source.as_str(), &bytes) {
        match record {
            // The kernel's side counts what it loses; who brings events could make every incident doubtful.
            Ok(event) if event.head.class == Class::Loss => {}
            Ok(mut event) => {
                event.head.source = source.clone();
                by_our_clocks(&mut event.head, now);
                events.push(event);
            }
            Err(one) => {
                unreadable += 1;
                wrong.push(one);
            }
        }
        if wrong.len() == ASIDE {
            put_aside(&std::mem::take(&mut wrong), now, aside)?;
        }
    }
    put_aside(&wrong, now, aside)?;
    Ok(Read { events, unreadable, held })
}

fn put_aside(wrong: &[Unreadable], now: Stamp, aside: &Mutex<(Aside, u64)>) -> Result<(), Refused> {
    let mut aside = aside.lock().unwrap_or_else(PoisonError::into_inner);
    let (aside, named) = &mut *aside;
    let put: Vec<PutAside> = wrong
        .iter()
        .map(|one| PutAside::new(now.wall, one.mistake.place(), one.mistake.what.clone(), &one.raw))
        .collect();
    if let Err(error) = aside.put(&put) {
        // Whoever brought it still has it.
        let what = format!("what cannot be read of it cannot be put aside either: {error}");
        return Err(Refused::later(StatusCode::SERVICE_UNAVAILABLE, what, LATER));
    }
    for one in wrong {
        *named += 1;
        if *named <= NAMED {
            let (place, what, count, aside) = (one.mistake.place(), &one.mistake.what, *named, aside.path().display());
            tracing::warn!(place, count, %aside, "a record cannot be read, and is put aside: {what}");
        }
    }
    Ok(())
}

/// What is measured of events that are on their way.
struct Seen {
    classes: Vec<Class>,
    truncated: u64,
    last: Option<Stamp>,
}

impl Seen {
    fn of(events: &[OwnedEvent]) -> Self {
        let classes = events.iter().map(|event| event.head.class).collect();
        let truncated = events.iter().filter(|event| is_truncated(event)).count() as u64;
        Self { classes, truncated, last: events.last().map(|event| event.head.at) }
    }
}

async fn deliver(State(front): State<Arc<Front>>, request: Request) -> Response {
    match front.take(request).await {
        Ok(answer) => {
            front.meter.answered(Answered::Accepted);
            answer
        }
        Err(Refused { answer, problem, again }) => {
            front.meter.answered(answer);
            if answer != Answered::Later {
                front.tell_seldom(problem.detail());
            }
            let mut response = problem.into_response();
            if let Some(again) = again {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(again));
            }
            response
        }
    }
}

/// The one route.
pub(crate) fn router(front: Arc<Front>) -> Router {
    Router::new().route("/", any(deliver)).fallback(nowhere).layer(map_response(one_shape)).with_state(front)
}

async fn nowhere() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is nothing here")
        .hint("a webhook takes `POST /`: the `server` of its kubeconfig has no path")
}

#[cfg(test)]
mod tests;
