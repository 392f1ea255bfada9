//! What happens, as it happens: the journal as server-sent events.
//!
//! ```text
//! journal's writer ── commit ──▶ head ──▶ Feed (one a client): look, queue ──▶ hyper asks for the next when there is room
//! ```
//!
//! Owns the events' names and how a stream begins and ends. Keeps true: nothing is told before it is committed; `id` is the
//! journal's row, so that whoever was cut off goes on after it without a gap, or is told of one. A reader is asked for
//! nothing and holds up nobody: what it has not read yet stays in the journal, and of that a client has [`report::Follower`]'s
//! one look in memory. One that takes nothing is ended by `connections`. Whoever may not read any more is told nothing more.

use super::App;
use super::access::{Access, Pass};
use super::problem::{Problem, TooMany, Unreadable};
use axum::Extension;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::Stream;
use quell_engine::report::{Follower, Happening, Interest};
use quell_engine::store::{Journal, Missing};
use quell_model::{IncidentId, Kind, RunId, StreamId};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinError;
use utoipa::{IntoParams, ToSchema};

/// Who follows at once: each has a connection, and reads every row that is committed.
const CLIENTS: usize = 32;
/// A line that says nothing, so that both sides see that the other is there.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A burst of commits is looked at together.
const TOGETHER: Duration = Duration::from_millis(20);
/// After so long a browser tries again.
const RETRY: Duration = Duration::from_secs(3);
/// Streams that a gap names.
const NAMED: usize = 20;

/// Room for those who follow.
#[derive(Clone)]
pub(crate) struct Seats {
    free: Arc<Semaphore>,
    end: watch::Receiver<bool>,
}

impl Seats {
    /// All free; `end`: the daemon is on its way out, and every stream ends.
    pub(crate) fn new(end: watch::Receiver<bool>) -> Self {
        Self { free: Arc::new(Semaphore::new(CLIENTS)), end }
    }
}

/// What is to be told.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wish {
    /// Only of this run.
    #[serde(default)]
    #[param(required = false)]
    run: Option<RunId>,
    /// Only of this incident and its runs.
    #[serde(default)]
    #[param(required = false)]
    incident: Option<IncidentId>,
    /// Only these kinds of records, with commas between.
    #[serde(default)]
    #[param(required = false, example = "RunStarted,RunFinished,QuestionAsked")]
    kind: Option<String>,
    /// Go on after this row: what `Last-Event-ID` says, for those who cannot send it. 0: from the beginning.
    #[serde(default)]
    #[param(required = false, minimum = 0, example = 1204)]
    after: Option<i64>,
}

/// `begin`: the first event. What happens after this row is told.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Begin {
    /// The row.
    #[schema(examples(1204))]
    row: i64,
}

/// `gap`: not everything that happened after the row that was asked for can be told.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Gap {
    /// The row that was asked for.
    #[schema(examples(7))]
    after: i64,
    /// Why, for people.
    #[schema(examples("it was pruned for its age"))]
    pub(crate) why: String,
    /// Streams of which something is missing; the first 20.
    streams: Vec<StreamId>,
    /// How many more there are; of what was pruned long after, at the most.
    more: u64,
}

/// `end`: the last event.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct End {
    /// Why.
    pub(crate) why: EndReason,
    /// For people.
    pub(crate) text: String,
}

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EndReason {
    /// What let the reader in is gone or another: its token, its role, its person. It may ask again, and go on after its last row.
    Revoked,
    /// The daemon ends.
    Ending,
    /// The journal cannot be read.
    Broken,
}

/// Follow what happens
///
/// The records of the journal as they are committed, as server-sent events (`text/event-stream`). `event: begin` comes first
/// and says where it begins; then `event: record`, each with the journal's row as its `id` and a `Happening` as its data;
/// `event: gap` where something that was asked for was pruned meanwhile; `event: end` last, with its reason. A comment comes
/// every 15 seconds. With `Last-Event-ID` (or `after`) it goes on after that row; without, it begins now. The connection of a
/// reader that takes nothing for 30 seconds is closed. At most 32 follow at once (429).
#[utoipa::path(
    get, path = "/stream", tag = "stream", extensions(("x-permission" = json!("read"))),
    params(
        Wish,
        ("Last-Event-ID" = Option<i64>, Header, description = "The row of the last event that was read: go on after it"),
    ),
    responses(
        (
            status = 200, description = "Events; their data is a `Begin`, a `Happening`, a `Gap` or an `End`",
            content_type = "text/event-stream", body = String,
            example = "retry: 3000\nid: 1204\nevent: begin\ndata: {\"row\":1204}\n\nid: 1205\nevent: record\ndata: {\"row\":1205,\"stream\":\"run/r-0f1e2d3c4b5a\",\"seq\":7,\"kind\":\"StepFinished\"}\n\n"
        ),
        Unreadable, TooMany
    ),
)]
pub(super) async fn follow(
    Query(wish): Query<Wish>,
    headers: HeaderMap,
    Extension(pass): Extension<Pass>,
    State(app): State<App>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let after = last_event(&headers)?.or(wish.after);
    let interest = wish.read()?;
    let Ok(seat) = Arc::clone(&app.seats.free).try_acquire_owned() else {
        let what = format!("{CLIENTS} clients follow already");
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, what).hint("end one of them, or try again later"));
    };
    let leave = Leave::new(app.seats.end.clone(), app.desk.access(), pass);
    let feed = app.view(move |journal| Feed::begin(journal, interest, after, leave)).await?;
    let feed = Feed { seat: Some(Arc::new(seat)), ..feed };
    let events = futures_util::stream::unfold(feed, |feed| async { feed.next().await });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("alive")))
}

fn last_event(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let row = value.to_str().ok().and_then(|text| text.parse().ok());
    let wrong = || Problem::new(StatusCode::BAD_REQUEST, "`Last-Event-ID` is no row of the journal");
    row.map(Some).ok_or_else(|| wrong().hint("it is the `id` of the last event; without it the stream begins now"))
}

impl Wish {
    fn read(self) -> Result<Interest, Problem> {
        let kind = |name: &str| {
            Kind::ALL.iter().copied().find(|kind| kind.as_str() == name).ok_or_else(|| {
                let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
                Problem::new(StatusCode::BAD_REQUEST, format!("`{name}` is no kind of record"))
                    .hint(format!("one of {}", known.join(", ")))
            })
        };
        let names = self.kind.iter().flat_map(|kinds| kinds.split(',')).map(str::trim).filter(|name| !name.is_empty());
        let kinds = names.map(kind).collect::<Result<_, _>>()?;
        Ok(Interest { run: self.run, incident: self.incident, kinds })
    }
}

/// When a client has to go.
struct Leave {
    end: watch::Receiver<bool>,
    access: watch::Receiver<Arc<Access>>,
    pass: Pass,
}

impl Leave {
    fn new(end: watch::Receiver<bool>, mut access: watch::Receiver<Arc<Access>>, pass: Pass) -> Self {
        // What was changed since the request was let in is seen by the first look.
        access.mark_changed();
        Self { end, access, pass }
    }

    /// Why, if so.
    fn why(&mut self) -> Option<(EndReason, &'static str)> {
        if *self.end.borrow() {
            return Some((EndReason::Ending, "the daemon ends"));
        }
        let is_gone =
            self.access.has_changed().is_ok_and(|has| has) && !self.access.borrow_and_update().still(&self.pass);
        is_gone.then_some((EndReason::Revoked, "what let this reader in is no more, or is another"))
    }
}

/// What one client has not been told yet.
struct Feed {
    /// None while it looks.
    follower: Option<Follower>,
    queue: VecDeque<Event>,
    head: watch::Receiver<i64>,
    leave: Leave,
    is_over: bool,
    /// Given back when the client has gone, and no look of it is under way any more.
    seat: Option<Arc<OwnedSemaphorePermit>>,
}

impl Feed {
    /// Blocks on the database.
    fn begin(
        journal: &Journal,
        interest: Interest,
        after: Option<i64>,
        leave: Leave,
    ) -> Result<Self, quell_model::StoreError> {
        let head = journal.head();
        let now = *head.borrow();
        let row = after.unwrap_or(now).clamp(0, now);
        let mut queue = VecDeque::from([event("begin", &Begin { row }).id(row.to_string()).retry(RETRY)]);
        if let Some(after) = after {
            queue.extend(gap(journal, after, now)?.map(|gap| event("gap", &gap)));
        }
        let follower = Some(Follower::new(journal.clone(), interest, row));
        Ok(Self { follower, queue, head, leave, is_over: false, seat: None })
    }

    /// The next event, once there is one; none after the last.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        if self.is_over {
            return None;
        }
        loop {
            if let Some((why, text)) = self.leave.why() {
                return Some(self.last(why, text.to_owned()));
            }
            if let Some(event) = self.queue.pop_front() {
                return Some((Ok(event), self));
            }
            self.head.borrow_and_update();
            let Some(mut follower) = self.follower.take() else {
                return Some(self.last(EndReason::Broken, "the journal cannot be followed".to_owned()));
            };
            let looked = beside(self.seat.clone(), move || {
                let looked = follower.look();
                (follower, looked)
            });
            let Ok((follower, looked)) = looked.await else { continue };
            self.follower = Some(follower);
            match looked {
                Err(error) => return Some(self.last(EndReason::Broken, error.to_string())),
                Ok((told, was_all)) => {
                    self.queue.extend(told.iter().map(record));
                    if self.queue.is_empty() && was_all && !self.more_comes().await {
                        return Some(self.last(EndReason::Ending, "the daemon ends".to_owned()));
                    }
                }
            }
        }
    }

    /// Waits for the next commit, or the daemon's end; false: there is nothing more to wait for.
    async fn more_comes(&mut self) -> bool {
        let Self { head, leave: Leave { end, access, .. }, .. } = self;
        let goes_on = tokio::select! {
            changed = head.changed() => changed.is_ok(),
            changed = end.changed() => changed.is_ok(),
            changed = access.changed() => {
                // For the look that comes next.
                access.mark_changed();
                changed.is_ok()
            }
        };
        tokio::time::sleep(TOGETHER).await;
        goes_on
    }

    fn last(mut self, why: EndReason, text: String) -> (Result<Event, Infallible>, Self) {
        self.is_over = true;
        (Ok(event("end", &End { why, text })), self)
    }
}

/// Beside the runtime: while the database refuses, its readers wait for its writer. Whoever goes meanwhile leaves the look behind,
/// which keeps the seat to its end: a disk that hangs holds as many threads as there are seats, however often somebody comes again.
async fn beside<T: Send + 'static>(
    seat: Option<Arc<OwnedSemaphorePermit>>,
    look: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    let looks = move || {
        let looked = look();
        drop(seat);
        looked
    };
    tokio::task::spawn_blocking(looks).await
}

fn event(name: &str, data: &impl Serialize) -> Event {
    let text = serde_json::to_string(data).expect("what is told has text keys only");
    Event::default().event(name).data(text)
}

fn record(happening: &Happening) -> Event {
    event("record", happening).id(happening.row.to_string())
}

/// What of the time after a row can no longer be told.
fn gap(journal: &Journal, after: i64, now: i64) -> Result<Option<Gap>, quell_model::StoreError> {
    if after > now || after < 0 {
        let why = format!("this journal has no row {after}, its last is {now}: it begins now");
        return Ok(Some(Gap { after, why, streams: Vec::new(), more: 0 }));
    }
    let Missing { streams, more } = journal.pruned_after(after, NAMED)?;
    if streams.is_empty() && more == 0 {
        return Ok(None);
    }
    Ok(Some(Gap { after, why: "it was pruned for its age".to_owned(), streams, more }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_model::record::{NewRecord, PauseChanged};
    use quell_model::{Batch, Durability, Stamp};

    fn pause(journal: &Journal, paused: bool) {
        let stream = StreamId::system();
        let at = Stamp { wall: jiff::Timestamp::UNIX_EPOCH, boot_ns: 1 };
        let records = vec![NewRecord::new(at, PauseChanged { paused, by: "ana".into() })];
        let expected = journal.last(&stream);
        journal.written(Batch { stream, expected, records, durability: Durability::Written }).unwrap();
    }

    /// What a test ends the feed by.
    struct Ways {
        end: watch::Sender<bool>,
        access: watch::Sender<Arc<Access>>,
    }

    fn feed(journal: &Journal, after: Option<i64>) -> (Feed, Ways) {
        let (access, seen) = watch::channel(Access::open());
        let (sender, end) = watch::channel(false);
        let leave = Leave::new(end, seen, Access::open().pass(3000));
        (Feed::begin(journal, Interest::default(), after, leave).unwrap(), Ways { end: sender, access })
    }

    /// As it goes over the wire.
    async fn told(feed: Feed) -> (String, Feed) {
        let wait = tokio::time::timeout(Duration::from_secs(60), feed.next());
        let (event, feed) = wait.await.expect("an event in time").expect("an event");
        (format!("{:?}", event.unwrap()), feed)
    }

    #[tokio::test]
    async fn what_is_committed_is_told_once_and_the_last_word_is_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        pause(&journal, true);
        let (mut feed, ways) = feed(&journal, Some(0));
        let mut said = String::new();
        for expected in ["begin", "PauseChanged", "PauseChanged"] {
            if said.contains("PauseChanged") {
                pause(&journal, false);
            }
            (said, feed) = told(feed).await;
            assert!(said.contains(expected), "{expected}: {said}");
        }
        assert!(said.contains("actions resumed by ana"), "{said}");
        ways.end.send(true).unwrap();
        let (said, feed) = told(feed).await;
        assert!(said.contains("ending"), "{said}");
        assert!(feed.next().await.is_none());
        journal.close();
    }

    #[tokio::test]
    async fn who_may_not_read_any_more_is_told_so_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        pause(&journal, true);
        let (feed, ways) = feed(&journal, Some(0));
        let (_, feed) = told(feed).await;
        ways.access.send(Access::open()).unwrap();
        let (said, feed) = told(feed).await;
        assert!(said.contains("PauseChanged"), "nothing has changed for this reader: {said}");
        pause(&journal, false);
        ways.access.send(Access::closed()).unwrap();
        let (said, feed) = told(feed).await;
        assert!(said.contains("revoked") && !said.contains("PauseChanged"), "{said}");
        assert!(feed.next().await.is_none());
        journal.close();
    }

    #[tokio::test]
    async fn who_waits_for_what_happens_is_ended_without_that() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let (feed, ways) = feed(&journal, None);
        let (_, mut feed) = told(feed).await;
        assert!(feed.leave.why().is_none());
        // Polled in this order: it waits when the word comes.
        let (goes_on, sent) = tokio::join!(feed.more_comes(), async { ways.access.send(Access::closed()) });
        assert!(goes_on && sent.is_ok());
        assert!(told(feed).await.0.contains("revoked"));
        journal.close();
    }

    #[tokio::test]
    async fn who_goes_while_the_disk_hangs_leaves_the_seat_taken_until_the_look_is_over() {
        let seats = Arc::new(Semaphore::new(1));
        let seat = Some(Arc::new(Arc::clone(&seats).try_acquire_owned().unwrap()));
        let (begins, has_begun) = tokio::sync::oneshot::channel();
        let (let_go, held) = std::sync::mpsc::channel::<()>();
        let looks = beside(seat, move || {
            begins.send(()).unwrap();
            assert!(held.recv().is_err());
        });
        // The client has gone, and with it the feed.
        tokio::select! {
            _ = looks => panic!("it hangs"),
            begun = has_begun => begun.unwrap(),
        }
        assert_eq!(seats.available_permits(), 0, "the next one would hold a thread as well");
        drop(let_go);
        let free = tokio::time::timeout(Duration::from_secs(60), seats.acquire()).await;
        assert!(free.is_ok(), "the disk is back");
    }

    #[tokio::test]
    async fn a_row_that_the_journal_does_not_have_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let (feed, _ways) = feed(&journal, Some(99));
        let (_, feed) = told(feed).await;
        let (said, _) = told(feed).await;
        assert!(said.contains("gap") && said.contains("no row 99"), "{said}");
        journal.close();
    }

    #[test]
    fn a_kind_is_one_of_the_journals() {
        let wish = |kind: &str| Wish { run: None, incident: None, kind: Some(kind.to_owned()), after: None }.read();
        assert_eq!(wish("RunStarted, RunFinished").unwrap().kinds, [Kind::RunStarted, Kind::RunFinished]);
        assert!(wish("RunStarted,Runs").is_err());
    }
}
