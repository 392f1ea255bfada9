//! What others bring, on its way to the engine's thread and back.
//!
//! ```text
//! webhook ──delivery──▶ ┐
//! webhook ──delivery──▶ ├ the engine's thread: a piece of one of them a turn ──▶ detections, journaled
//!         ◀── accepted ─┴───── the journal's thread: committed ◀──┘
//! ```
//!
//! Owns the ways, and the memory of what was brought. Keeps true: a delivery is taken in whole or not begun; it is accepted only with the
//! word that it is committed; an event that is brought again is not put to the rules again, as long as it is remembered. Each webhook has
//! a way, a turn and a memory of its own: whatever is brought to one, another's waits for one piece of it at most. Whoever brings waits a
//! bounded time, and the engine for nobody.

use quell_engine::store::Committed;
use quell_model::{EventId, Hash, OwnedEvent, StoreError};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::timeout;

/// Deliveries of one webhook that may wait for the engine: more only fill memory, and whoever brings them can keep them.
const AHEAD: usize = 4;
/// So long one waits for room.
const ROOM: Duration = Duration::from_secs(5);
/// And for the engine and the disk; whoever has no answer by then brings it again, which is no harm.
const ANSWER: Duration = Duration::from_secs(20);
/// Events that are put to the rules in one turn: what the sensor sees meanwhile waits for them.
const PIECE: usize = 500;
/// Events of a webhook that are remembered: more than an API server holds back (`--audit-webhook-batch-buffer-size`, 10,000) many
/// times over, in some ten megabytes.
const REMEMBERED: usize = if cfg!(test) { 16 } else { 1 << 17 };

/// A delivery was taken in, and is kept.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The proof.
    pub(crate) committed: Committed,
    /// So many of its events had been brought before.
    pub(crate) repeated: u64,
}

/// A delivery is to be brought again.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTaken {
    /// Others wait already.
    #[error("the engine is behind")]
    Behind,
    /// It may be taken in, and nobody can say so.
    #[error("the engine or the disk has not answered in time")]
    Late,
    /// The journal takes nothing now.
    #[error("the journal takes nothing now: {0}")]
    Unwritable(String),
    /// It ends.
    #[error("quell is ending")]
    Ended,
}

type Told = oneshot::Sender<Result<Accepted, NotTaken>>;

struct Delivery {
    events: VecDeque<OwnedEvent>,
    repeated: u64,
    told: Told,
    /// What it fills, whether or not somebody still waits for it.
    room: OwnedSemaphorePermit,
}

/// The way of one webhook to the engine's thread.
#[derive(Clone)]
pub(crate) struct Deliveries {
    way: mpsc::Sender<Delivery>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

/// So many ways, and their end on the engine's thread.
pub(super) fn ways(count: usize, wake: &Arc<dyn Fn() + Send + Sync>) -> (Vec<Deliveries>, Inbox) {
    let (mut ways, mut lanes) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (way, end) = mpsc::channel(AHEAD);
        ways.push(Deliveries { way, wake: Arc::clone(wake) });
        lanes.push(Lane { way: end, at_work: None, known: Known::default() });
    }
    (ways, Inbox { lanes, next: 0, wake: Arc::clone(wake) })
}

impl Deliveries {
    /// Brings events, and waits until they are kept. Whoever stops to wait may find them taken in. `room` is given back once they
    /// fill nothing any more.
    pub(crate) async fn bring(
        &self,
        events: Vec<OwnedEvent>,
        room: OwnedSemaphorePermit,
    ) -> Result<Accepted, NotTaken> {
        let place = match timeout(ROOM, self.way.reserve()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => return Err(NotTaken::Ended),
            Err(_) => return Err(NotTaken::Behind),
        };
        let (told, answer) = oneshot::channel();
        place.send(Delivery { events: events.into(), repeated: 0, told, room });
        (self.wake)();
        match timeout(ANSWER, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(NotTaken::Ended),
            Err(_) => Err(NotTaken::Late),
        }
    }
}

/// The ends of all ways. The engine's thread alone has it.
pub(super) struct Inbox {
    lanes: Vec<Lane>,
    /// Whose turn it is.
    next: usize,
    wake: Arc<dyn Fn() + Send + Sync>,
}

/// The end of one.
struct Lane {
    way: mpsc::Receiver<Delivery>,
    at_work: Option<Delivery>,
    known: Known,
}

/// What is done in one turn.
pub(super) enum Turn {
    /// These are next, and more of the same delivery follow.
    More(Vec<OwnedEvent>),
    /// These are its last: once they are in, [`Last::end`].
    Last(Vec<OwnedEvent>, Last),
}

/// The end of a delivery.
pub(super) struct Last {
    repeated: u64,
    told: Told,
    room: OwnedSemaphorePermit,
}

impl Last {
    /// Whoever brought it learns what the journal says.
    pub(super) fn end(self, committed: Result<Committed, StoreError>) {
        let Self { repeated, told, room } = self;
        let answer = match committed {
            Ok(committed) => Ok(Accepted { committed, repeated }),
            Err(error) => Err(NotTaken::Unwritable(error.to_string())),
        };
        // Whoever has the answer finds the room free.
        drop(room);
        if told.send(answer).is_err() {
            tracing::debug!("whoever brought events has gone; they bring them again");
        }
    }
}

impl Inbox {
    /// What is next; none: nothing was brought. `can_take_in` is asked before a delivery is begun, and where it says no that is to
    /// be brought again.
    pub(super) fn turn(&mut self, can_take_in: impl FnOnce() -> bool) -> Option<Turn> {
        let count = self.lanes.len();
        let (at, mut delivery, is_new) = (0..count).find_map(|step| {
            let at = (self.next + step) % count;
            let lane = &mut self.lanes[at];
            let begun = lane.at_work.take().map(|delivery| (at, delivery, false));
            begun.or_else(|| Some((at, lane.way.try_recv().ok()?, true)))
        })?;
        self.next = (at + 1) % count;
        // There may be others: another turn looks.
        (self.wake)();
        if is_new && !can_take_in() {
            let why = NotTaken::Unwritable("what was written before waits for the disk".to_owned());
            drop(delivery.told.send(Err(why)));
            return None;
        }
        let lane = &mut self.lanes[at];
        let mut piece = Vec::with_capacity(delivery.events.len().min(PIECE));
        while piece.len() < PIECE
            && let Some(event) = delivery.events.pop_front()
        {
            if lane.known.is_new(&event.head.id) {
                piece.push(event);
            } else {
                delivery.repeated += 1;
            }
        }
        if delivery.events.is_empty() {
            let Delivery { repeated, told, room, .. } = delivery;
            return Some(Turn::Last(piece, Last { repeated, told, room }));
        }
        lane.at_work = Some(delivery);
        Some(Turn::More(piece))
    }
}

/// The last events that were brought, by what they are: the id of an event is of all that it says.
#[derive(Default)]
struct Known {
    set: HashSet<Hash>,
    order: VecDeque<Hash>,
}

impl Known {
    fn is_new(&mut self, id: &EventId) -> bool {
        let key = Hash::of(id.as_str().as_bytes());
        if !self.set.insert(key) {
            return false;
        }
        if self.order.len() == REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
        self.order.push_back(key);
        true
    }
}

/// An engine of a test, which takes what is brought and keeps it in a journal of its own.
#[cfg(test)]
pub(crate) struct EngineOfATest {
    inbox: Inbox,
    dir: tempfile::TempDir,
}

#[cfg(test)]
fn unwoken() -> Arc<dyn Fn() + Send + Sync> {
    Arc::new(|| {})
}

/// The way to one, which stands still until it is told to run.
#[cfg(test)]
pub(crate) fn deliveries_of_a_test() -> (Deliveries, EngineOfATest) {
    let (mut ways, inbox) = ways(1, &unwoken());
    (ways.remove(0), EngineOfATest { inbox, dir: tempfile::tempdir().expect("there is room for a directory") })
}

#[cfg(test)]
impl EngineOfATest {
    pub(crate) fn run(self) -> RanInATest {
        self.begin(true)
    }

    /// As if the journal took nothing.
    pub(crate) fn refuse(self) -> RanInATest {
        self.begin(false)
    }

    fn begin(mut self, takes: bool) -> RanInATest {
        let end = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let thread = std::thread::spawn(move || {
            let journal = quell_engine::store::Journal::open(self.dir.path()).expect("it is a journal's first");
            let mut all = Vec::new();
            while !ended.load(std::sync::atomic::Ordering::Acquire) {
                match self.inbox.turn(|| takes) {
                    Some(Turn::More(events)) => all.extend(events),
                    Some(Turn::Last(events, last)) => {
                        all.extend(events);
                        journal.when_committed(move |committed| last.end(committed));
                    }
                    None => std::thread::park_timeout(Duration::from_millis(1)),
                }
            }
            journal.close();
            all
        });
        RanInATest { end, thread }
    }
}

/// One that runs.
#[cfg(test)]
pub(crate) struct RanInATest {
    end: Arc<std::sync::atomic::AtomicBool>,
    thread: std::thread::JoinHandle<Vec<OwnedEvent>>,
}

#[cfg(test)]
impl RanInATest {
    /// Ends it; all that it was given.
    pub(crate) fn stop(self) -> Vec<OwnedEvent> {
        self.end.store(true, std::sync::atomic::Ordering::Release);
        self.thread.join().expect("it ends well")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_engine::clock::SystemClock;
    use quell_model::{Class, Clock, Entity, EventHead, LogSource, Subject};

    fn event(id: &str) -> OwnedEvent {
        let at = SystemClock.now();
        let head = EventHead {
            id: id.into(),
            class: Class::Record,
            source: "webhook:a".into(),
            node: "n".into(),
            at,
            seen: at,
        };
        let entity = Entity { kind: "principal".into(), id: "p".into(), node: "n".into() };
        let (sigma, own) = (serde_json::Map::new(), serde_json::Map::new());
        OwnedEvent { v: 1, head, logsource: LogSource::default(), sigma, own, subject: Subject::Unknown, entity }
    }

    fn room() -> OwnedSemaphorePermit {
        Arc::new(tokio::sync::Semaphore::new(1)).try_acquire_owned().unwrap()
    }

    fn ids(events: &[OwnedEvent]) -> Vec<&str> {
        events.iter().map(|event| event.head.id.as_str()).collect()
    }

    /// More than are remembered beside the others.
    const MANY: [&str; 13] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"];

    #[tokio::test]
    async fn what_is_brought_again_is_left_out_and_answered_all_the_same() {
        let (ways, mut inbox) = ways(2, &unwoken());
        let bring = |way: usize, names: &[&str]| {
            let events = names.iter().map(|id| event(id)).collect();
            let way = ways[way].clone();
            tokio::spawn(async move { way.bring(events, room()).await })
        };
        let mut turn = async |names: &[&str]| loop {
            match inbox.turn(|| true) {
                Some(Turn::Last(events, last)) => {
                    assert_eq!(ids(&events), names);
                    break last.end(Err(StoreError::Unwritable("a test".to_owned())));
                }
                Some(Turn::More(_)) => panic!("it is small"),
                None => tokio::task::yield_now().await,
            }
        };
        // Repeated within itself, after another, at another webhook, and once it is forgotten.
        let unwritable =
            |answer: Result<Accepted, NotTaken>| assert!(matches!(answer, Err(NotTaken::Unwritable(_))), "{answer:?}");
        for (way, brought, taken) in [
            (0, &["1", "2", "1"][..], &["1", "2"][..]),
            (0, &["2", "1"], &[]),
            (1, &["1"], &["1"]),
            (0, &["3", "4"], &["3", "4"]),
            (0, &["4", "2"], &[]),
            (0, &[], &[]),
            // Whatever is brought to another, it is remembered.
            (1, &MANY, &MANY),
            (1, &MANY, &[]),
            (0, &["3"], &[]),
            (0, &MANY, &MANY),
            (0, &["1", "m"], &["1"]),
        ] {
            let answer = bring(way, brought);
            turn(taken).await;
            unwritable(answer.await.unwrap());
        }
    }

    #[tokio::test]
    async fn whoever_fills_one_way_holds_up_no_other() {
        let (ways, mut inbox) = ways(2, &unwoken());
        let bring = |way: usize, events: Vec<OwnedEvent>| {
            let way = ways[way].clone();
            tokio::spawn(async move { way.bring(events, room()).await })
        };
        let many = |from: usize| (0..3 * PIECE).map(|id| event(&(from + id).to_string())).collect::<Vec<_>>();
        let flood: Vec<_> = (0..AHEAD).map(|one| bring(0, many(one * 3 * PIECE))).collect();
        while ways[0].way.capacity() > 0 {
            tokio::task::yield_now().await;
        }
        let first = inbox.turn(|| true);
        assert!(matches!(first, Some(Turn::More(_))), "it is begun");
        let one = bring(1, vec![event("x")]);
        while ways[1].way.capacity() == AHEAD {
            tokio::task::yield_now().await;
        }
        // Its turn comes after one piece of the others at most.
        let (mut turns, mut last) = (0, None);
        while last.is_none() {
            turns += 1;
            last = match inbox.turn(|| true) {
                Some(Turn::Last(events, last)) if ids(&events) == ["x"] => Some(last),
                Some(_) => None,
                None => panic!("it is lost"),
            };
        }
        assert!(turns <= 2, "{turns}");
        drop(last);
        assert_eq!(one.await.unwrap().unwrap_err(), NotTaken::Ended);
        flood.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test]
    async fn a_large_delivery_is_taken_in_pieces_and_one_that_cannot_be_written_is_not_begun() {
        let (mut ways, mut inbox) = ways(1, &unwoken());
        let way = ways.remove(0);
        let many: Vec<OwnedEvent> = (0..PIECE + 1).map(|id| event(&id.to_string())).collect();
        let send = |events: Vec<OwnedEvent>| {
            let way = way.clone();
            tokio::spawn(async move { way.bring(events, room()).await })
        };
        let first = send(many.clone());
        let refused = loop {
            match inbox.turn(|| false) {
                None if first.is_finished() => break first.await.unwrap(),
                None => tokio::task::yield_now().await,
                Some(_) => panic!("it was begun"),
            }
        };
        assert!(matches!(refused, Err(NotTaken::Unwritable(_))), "{refused:?}");
        let second = send(many);
        let mut sizes = Vec::new();
        let last = loop {
            match inbox.turn(|| true) {
                Some(Turn::More(events)) => sizes.push(events.len()),
                Some(Turn::Last(events, last)) => {
                    sizes.push(events.len());
                    break last;
                }
                None => tokio::task::yield_now().await,
            }
        };
        assert_eq!(sizes, [PIECE, 1]);
        assert!(!second.is_finished(), "nobody is answered before it is committed");
        drop(last);
        assert_eq!(second.await.unwrap().unwrap_err(), NotTaken::Ended, "an engine that ends says nothing");
        drop(inbox);
        assert_eq!(send(vec![event("x")]).await.unwrap().unwrap_err(), NotTaken::Ended);
    }
}
