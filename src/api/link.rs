//! What the link of a message leads to: a page that says how it stands now, and one form that answers it.
//!
//! ```text
//! GET  /answer/{mark} ─▶ whose is it, how does it stand ─▶ a page               (never does anything: scanners of mails follow links)
//! POST /answer/{mark} ─▶ a form of such a page? ─▶ answers::press ─▶ a page     (once)
//! ```
//!
//! Owns the two routes, which want no token: the mark in the link says to whom it was sent. Decides nothing: `answers` and the engine
//! do. Keeps true: whoever has no mark of this installation's own learns nothing; no mark stands in a log; a page loads nothing, runs
//! nothing, and is kept and framed by nobody.

mod page;

use super::App;
use super::answers::{self, Outcome, Pressing};
use super::metrics;
use super::problem::Problem;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use page::{Board, Doing, Note};
use quell_actions::notify::mark::{Mark, VIA};
use quell_engine::clock::SystemClock;
use quell_engine::report::{self, LadderTold};
use quell_engine::run::answers::NoticeNow;
use quell_engine::run::{Refusal, Request};
use quell_model::notice::{Act, State as Stands};
use quell_model::{Clock, Hash, Name, Person};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::time::timeout;

/// How it stands is asked so long once an answer was given: what came of it is shown without that rather than not at all.
const AFTER: Duration = Duration::from_secs(5);
/// A form has three fields, and the longest of them is [`LONGEST_WHY`].
const LARGEST_BODY: usize = 16 << 10;
/// Of somebody's words, in characters: what an incident's reasons are bounded by.
const LONGEST_WHY: usize = 1_000;

const ACT: &str = "act";
const WHY: &str = "why";
const TOKEN: &str = "token";

/// The two routes. On the socket nobody needs them.
pub(super) fn router(app: App) -> Router {
    let meters = Arc::clone(&app.desk);
    Router::new()
        .route("/answer/{mark}", get(look).post(answer).fallback(wrong_method))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(from_fn_with_state(meters, metrics::counted))
        .with_state(app)
}

/// A link, and whoever has it.
struct Link {
    mark: Mark,
    /// The sum of the link.
    sum: Hash,
    /// Who; none: a link that names nobody, by which everybody may look.
    person: Option<(Name, Person)>,
}

/// The same, and how it stands what it is about.
struct Looked {
    link: Link,
    now: NoticeNow,
    told: Option<LadderTold>,
}

/// A page that answers at once.
type Refused = Box<Response>;

async fn look(State(app): State<App>, uri: Uri) -> Response {
    let looked = async {
        let link = whose(&app, mark_of(&uri))?;
        let now = stands(&app, &link).await?;
        let told = told(&app, &link).await?;
        Ok::<_, Refused>(Looked { link, now, told })
    };
    match looked.await {
        Ok(looked) => looked.page(&app),
        Err(refused) => *refused,
    }
}

async fn answer(State(app): State<App>, request: HttpRequest) -> Response {
    match answered(&app, request).await {
        Ok(response) => response,
        Err(refused) => *refused,
    }
}

/// The mark has no letter that a path escapes.
fn mark_of(uri: &Uri) -> &str {
    uri.path().rsplit('/').next().unwrap_or_default()
}

async fn wrong_method() -> Response {
    let mut response =
        shown(StatusCode::METHOD_NOT_ALLOWED, &page::bare(&Note::bad("A link is opened, and its form is sent", "")));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
    response
}

/// Whose link it is.
fn whose(app: &App, text: &str) -> Result<Link, Refused> {
    let Some(mark) = app.desk.marks.open(text) else {
        let note = Note::bad(
            "This is no link of quell's",
            "It may have been cut or changed on its way: open it from the message itself.",
        );
        return Err(refused(StatusCode::NOT_FOUND, &note));
    };
    let person = match &mark.person {
        None => None,
        Some(name) => match app.desk.access().borrow().of_name(name) {
            Some(person) => Some((name.clone(), person)),
            None => {
                let what = format!("This link was sent to {}, who is not among the people any more", name.as_str());
                return Err(refused(StatusCode::FORBIDDEN, &Note::bad(&what, "")));
            }
        },
    };
    Ok(Link { sum: Mark::sum(text), mark, person })
}

/// How it stands what a link is about.
async fn stands(app: &App, link: &Link) -> Result<NoticeNow, Refused> {
    let ladder = link.mark.ladder.clone();
    let request = Request::Notice { ladder: ladder.clone(), link: Some(link.sum) };
    match app.desk.ask(&app.engine, request).await {
        Err(Refusal::NotFound { .. }) => {}
        now => return now.map_err(|_| not_now()),
    }
    // It is closed, or pruned.
    let last = app.clone().view(move |journal| report::last_notice(journal, &ladder)).await.map_err(|_| not_now())?;
    last.map(|notice| NoticeNow { notice, used: BTreeSet::new() }).ok_or_else(not_kept)
}

/// Who was told of it so far.
async fn told(app: &App, link: &Link) -> Result<Option<LadderTold>, Refused> {
    let ladder = link.mark.ladder.clone();
    app.clone().view(move |journal| report::ladder(journal, &ladder)).await.map_err(|_| not_now())
}

fn not_kept() -> Refused {
    refused(StatusCode::GONE, &Note::bad("What this message was about is over, and is not kept any more", ""))
}

fn not_now() -> Refused {
    let note = Note::bad(
        "quell cannot say now how it stands",
        "Try again in a moment. `quell status` on its host says what is wrong.",
    );
    refused(StatusCode::SERVICE_UNAVAILABLE, &note)
}

impl Looked {
    /// As it stands, with the form where this link can still answer.
    fn page(&self, app: &App) -> Response {
        let (status, note) = self.barred().map_or((StatusCode::OK, None), |(status, note)| (status, Some(note)));
        self.board(app, note.is_none(), status, note)
    }

    /// Why this link answers nothing any more.
    fn barred(&self) -> Option<(StatusCode, Note)> {
        let notice = &self.now.notice;
        if notice.state == Stands::Over {
            return Some((StatusCode::GONE, Note::calm("This is over", "There is nothing to answer any more.")));
        }
        if notice.generation != self.link.mark.generation {
            let what = "This link is of an earlier message: it has been asked anew since";
            return Some((
                StatusCode::CONFLICT,
                Note::calm(what, "Below is how it stands now. Answer by the latest message."),
            ));
        }
        if !self.now.used.is_empty() && self.left().is_empty() {
            let what = "This link has been used, and works once";
            return Some((StatusCode::CONFLICT, Note::calm(what, "Below is how it stands now.")));
        }
        None
    }

    /// What this link has not been used for yet.
    fn left(&self) -> Vec<Act> {
        let acts = self.now.notice.acts().into_iter();
        acts.filter(|act| !self.now.used.contains(&act.word())).collect()
    }

    fn board(&self, app: &App, has_form: bool, status: StatusCode, note: Option<Note>) -> Response {
        let acts = match &self.link.person {
            Some((name, _)) if has_form => self.left().into_iter().map(|act| self.doing(app, name, act)).collect(),
            _ => Vec::new(),
        };
        let board = Board {
            notice: &self.now.notice,
            told: self.told.as_ref(),
            person: self.link.person.as_ref(),
            acts,
            token: token(&self.link.sum),
            now: SystemClock.now().wall,
            note,
        };
        shown(status, &board.html())
    }

    fn doing(&self, app: &App, name: &Name, act: Act) -> Doing {
        let (_, why_not, _) = answers::may(app, name, &act).err().map(Problem::parts).unwrap_or_default();
        Doing { act, why_not: (!why_not.is_empty()).then_some(why_not) }
    }
}

async fn answered(app: &App, request: HttpRequest) -> Result<Response, Refused> {
    // How it stands is not asked first: whoever is slow to say it, or a disk that hangs, keeps nobody's answer back.
    let link = whose(app, mark_of(request.uri()))?;
    let Some((name, _)) = &link.person else {
        let note =
            Note::bad("This link names nobody, and answers nothing", "Answer by the message that was sent to you.");
        return Err(refused(StatusCode::FORBIDDEN, &note));
    };
    if !is_own(request.headers(), app.desk.public_url().as_deref()) {
        let note = Note::bad(
            "The form came from another page, and nothing was done",
            "Open the link again, and answer there.",
        );
        return Err(refused(StatusCode::FORBIDDEN, &note));
    }
    let body = Bytes::from_request(request, app).await.map_err(|error: BytesRejection| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_long(),
        _ => unreadable(),
    })?;
    let form = Form::read(&body).ok_or_else(unreadable)?;
    if !bool::from(form.token.as_bytes().ct_eq(token(&link.sum).as_bytes())) {
        return Err(unreadable());
    }
    if form.why.chars().count() > LONGEST_WHY {
        return Err(too_long());
    }
    let pressing = Pressing {
        person: name.clone(),
        via: VIA,
        // A link is followed wherever mail is read.
        from: None,
        act: form.act,
        mark: link.mark.clone(),
        link: Some(link.sum),
        why: form.why,
    };
    let outcome = answers::press(app, pressing).await;
    let status = outcome.status;
    let note = came_of_it(outcome);
    if may_be_done(status) {
        // No form: whoever answers again looks first.
        return Ok(shown(status, &page::bare(&note)));
    }
    let after = async { Ok::<_, Refused>((stands(app, &link).await?, told(app, &link).await?)) };
    let (now, told) = match timeout(AFTER, after).await {
        Ok(Ok(after)) => after,
        _ if status == StatusCode::NOT_FOUND => return Err(not_kept()),
        _ => return Ok(shown(status, &page::bare(&note))),
    };
    let after = Looked { link, now, told };
    // What was not done may be tried otherwise by the same link, as long as it works; what was done leaves the rest to be done.
    let has_form = after.barred().is_none();
    let is_over = after.now.notice.state == Stands::Over && status == StatusCode::CONFLICT;
    Ok(after.board(app, has_form, if is_over { StatusCode::GONE } else { status }, Some(note)))
}

fn came_of_it(Outcome { ok, said, hint, .. }: Outcome) -> Note {
    let (said, more) = (page::sentence(&said), hint.unwrap_or_default());
    if ok { Note::good(&said, &more) } else { Note::bad(&said, &more) }
}

/// Whether nobody knows what came of an answer.
fn may_be_done(status: StatusCode) -> bool {
    [StatusCode::GATEWAY_TIMEOUT, StatusCode::SERVICE_UNAVAILABLE, StatusCode::INTERNAL_SERVER_ERROR].contains(&status)
}

fn unreadable() -> Refused {
    let note = Note::bad(
        "This is no form of the page that the link shows, and nothing was done",
        "Open the link again, and answer there.",
    );
    refused(StatusCode::BAD_REQUEST, &note)
}

fn too_long() -> Refused {
    let what = format!("The reason is longer than {LONGEST_WHY} characters, and nothing was done");
    refused(StatusCode::PAYLOAD_TOO_LARGE, &Note::bad(&what, "Go back, and say it in fewer."))
}

/// What a page gives its form, so that only who has opened the link sends it.
fn token(link: &Hash) -> String {
    Hash::of_parts(&[b"form", &link.0]).to_string()
}

/// What was sent.
#[derive(Debug, PartialEq)]
struct Form {
    act: Act,
    why: String,
    token: String,
}

impl Form {
    /// As browsers send forms (`application/x-www-form-urlencoded`); each field once, and no other.
    fn read(body: &[u8]) -> Option<Self> {
        let mut fields = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            if ![ACT, WHY, TOKEN].contains(&&*name) || fields.insert(name, value).is_some() {
                return None;
            }
        }
        let act = Act::of_word(fields.get(ACT)?)?;
        let why = fields.get(WHY).map(|why| why.replace("\r\n", "\n")).unwrap_or_default();
        Some(Self { act, why: why.trim().to_owned(), token: fields.get(TOKEN)?.to_string() })
    }
}

/// Whether a form came from a page of ours, as far as the browser says. The pages send no referrer, so that a browser calls their
/// origin `null`: then, and where it says nothing, the form's token has to do.
fn is_own(headers: &HeaderMap, public_url: Option<&str>) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text(HeaderName::from_static("sec-fetch-site")) {
        return site == "same-origin";
    }
    let authority =
        |url: &str| url.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default().to_owned());
    match text(header::ORIGIN) {
        None | Some("null") => true,
        Some(origin) => {
            let from = authority(origin);
            from.is_some() && (from.as_deref() == text(header::HOST) || from == public_url.and_then(authority))
        }
    }
}

fn refused(status: StatusCode, note: &Note) -> Refused {
    Box::new(shown(status, &page::bare(note)))
}

/// A page that nobody keeps, frames or follows.
fn shown(status: StatusCode, html: &str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
    ];
    let mut response = (status, html.to_owned()).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests;
