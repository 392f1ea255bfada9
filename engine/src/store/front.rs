//! Where callers and the writer meet: the numbers of every stream, the slate, and the queue to the writer.
//!
//! Owns the order: whoever comes in first gets the lower numbers, on the slate as in the queue. Never touches a disk,
//! so that nobody who holds it keeps the containment lane waiting for one.
//! Keeps true: a record on the slate has every earlier record of its stream on the slate before it, or in the journal.

use super::figures::{Figures, Room};
use super::item::{Done, Item};
use super::past::Past;
use super::rows::Tail;
use super::slate::{Asker, Slate};
use super::{Health, StoreError};
use crate::clock::Countdown;
use crate::spread::Spread;
use quell_model::{Appended, Durability, Seq, StreamId};
use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// So many bytes may wait in memory for a disk that refuses: an engine that cannot write for hours still runs, and what
/// comes beyond is refused with a reason.
pub(super) const MOST_HELD: usize = 64 << 20;

/// A commit takes a millisecond, on a bad day some hundred; a disk that is slow, or that refuses, still answers. What has not
/// come back after this long hangs.
const HANGS: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 5 });

/// So many items are accounted for under one lock: who cannot wait waits for no more than some microseconds.
const LOCKED_FOR: usize = 32;

/// Room for so many new streams from the start: a table that grows takes a millisecond, and may do so in the hands of
/// one who cannot wait.
const NEW_STREAMS: usize = 16 << 10;

/// Told once, wherever that comes to be so: readers can see what was asked for.
pub(super) type Seen = Box<dyn FnOnce() + Send>;

/// Where a stream stands.
#[derive(Clone, Copy, Default, Debug)]
struct Head {
    /// The last number given.
    seq: Seq,
    /// The last number in the database.
    committed: Seq,
    /// The last number that readers can see: committed, or among what the writer shows of what it holds.
    visible: Seq,
    /// The last number that is in memory only.
    late: Seq,
    /// It had ended, and was written to again.
    revived: bool,
}

/// What the writer is handed.
pub(super) enum Order {
    /// To be journaled.
    Append(Item),
    /// Was not taken: only to be told.
    Tell(Done, StoreError),
}

/// What is behind the lock.
struct Front {
    /// Of every stream but the runs that have ended.
    heads: HashMap<StreamId, Head>,
    past: Past,
    /// For the writer: streams that come back out of the past.
    revived: Vec<(StreamId, Tail)>,
    slate: Option<Slate>,
    queue: VecDeque<Order>,
    /// Bytes that are not in the database.
    bytes: usize,
    /// Records that are not in the database.
    records: usize,
    /// Items in memory only.
    late: usize,
    /// Items that were ever taken in, of these the first so many are in the database, and readers can see so many.
    taken: u64,
    committed: u64,
    visible: u64,
    closing: bool,
    /// The writer waits for work, and nobody has woken it.
    asleep: bool,
    /// The writer is at work, or woken for it: until when it may be silent.
    busy: Option<Countdown>,
    /// Why the database refuses, while it does.
    trouble: Option<StoreError>,
    /// Items that were not taken, for want of room.
    refused: u64,
    /// Transactions that the database refused.
    commits_refused: u64,
    /// How long the medium took.
    synced: Spread,
    /// The rows up to this one survive a power cut.
    safe: i64,
    /// Who is to be told once readers can see a stream up to a number.
    watched: Vec<(StreamId, Seq, Seen)>,
}

/// The meeting place.
pub(super) struct Counter {
    front: Mutex<Front>,
    /// The writer waits for work.
    work: Condvar,
    /// Readers wait for the writer.
    moved: Condvar,
}

/// What the writer found when it looked.
pub(super) struct Taken {
    pub(super) orders: VecDeque<Order>,
    /// Streams that these go on in, and that the writer has let go.
    pub(super) revived: Vec<(StreamId, Tail)>,
    /// Nobody will bring more.
    pub(super) closing: bool,
}

impl Counter {
    /// With the streams as the database has them; without a slate nothing can be written.
    pub(super) fn new(heads: impl Iterator<Item = (StreamId, Seq)>, past: Past, slate: Option<Slate>) -> Self {
        let mut heads: HashMap<_, _> = heads.map(|(stream, seq)| (stream, Head::at(seq))).collect();
        heads.reserve(NEW_STREAMS);
        Self {
            front: Mutex::new(Front {
                heads,
                past,
                revived: Vec::new(),
                slate,
                queue: VecDeque::new(),
                bytes: 0,
                records: 0,
                late: 0,
                taken: 0,
                committed: 0,
                visible: 0,
                closing: false,
                asleep: false,
                busy: None,
                trouble: None,
                refused: 0,
                commits_refused: 0,
                synced: Spread::default(),
                safe: 0,
                watched: Vec::new(),
            }),
            work: Condvar::new(),
            moved: Condvar::new(),
        }
    }

    fn front(&self) -> MutexGuard<'_, Front> {
        self.front.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Onto the slate, or not at all.
    pub(super) fn written(&self, item: Item) -> Result<Appended, StoreError> {
        let appended = item.appended();
        let mut front = self.front();
        front.take_in(item, Asker::Urgent)?;
        self.ring(front);
        Ok(appended)
    }

    /// Onto the slate, or back; the writer sleeps on.
    pub(super) fn put(&self, item: Item) -> Result<(), (Item, StoreError)> {
        self.front().take_in(item, Asker::Urgent).map_err(|refused| (refused.item, refused.error))
    }

    /// Wakes the writer for what was put.
    pub(super) fn ring_now(&self) {
        self.ring(self.front());
    }

    /// Into the queue; `done` hears of it whatever happens.
    pub(super) fn submit(&self, item: Result<Item, StoreError>, done: Done) {
        let mut front = self.front();
        let order = match item {
            _ if front.closing => Err((StoreError::Closed, done)),
            Err(error) => Err((error, done)),
            Ok(mut item) => {
                item.done = Some(done);
                front.take_in(item, Asker::Patient).map_err(|refused| {
                    let Refused { error, item } = refused;
                    (error, item.done.expect("set just above"))
                })
            }
        };
        match order {
            Ok(()) => {}
            Err((error, done)) if front.closing => {
                drop(front);
                return done(Err(error));
            }
            Err((error, done)) => front.queue.push_back(Order::Tell(done, error)),
        }
        self.ring(front);
    }

    /// Wakes the writer if it sleeps; otherwise it has been woken and comes.
    fn ring(&self, mut front: MutexGuard<'_, Front>) {
        let wanted = front.asleep && !front.queue.is_empty();
        front.asleep &= !wanted;
        if wanted {
            front.busy = Some(Countdown::of(HANGS));
        }
        drop(front);
        if wanted {
            self.work.notify_one();
        }
    }

    /// Recovered records take their place: on the slate already, not yet in the database.
    pub(super) fn recovered(&self, item: &Item) {
        self.front().count(item);
    }

    /// Why the database refuses, while it does.
    pub(super) fn trouble(&self) -> Option<StoreError> {
        self.front().trouble.clone()
    }

    /// For the writer: waits for work, at most as long as the pause goes on.
    pub(super) fn take(&self, pause: Option<Countdown>) -> Taken {
        let mut front = self.front();
        front.busy = None;
        while front.queue.is_empty() && !front.closing {
            front.asleep = true;
            match pause.map(Countdown::left) {
                None => front = self.work.wait(front).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => break,
                Some(left) => {
                    front = self.work.wait_timeout(front, left).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
        front.asleep = false;
        front.busy = Some(Countdown::of(HANGS));
        let (orders, revived) = (std::mem::take(&mut front.queue), std::mem::take(&mut front.revived));
        Taken { orders, revived, closing: front.closing }
    }

    /// From the writer: these are in the database. Gives the streams that have passed.
    pub(super) fn committed(&self, items: &[Item]) -> Vec<StreamId> {
        let mut passed = Vec::new();
        for some in items.chunks(LOCKED_FOR) {
            let mut front = self.front();
            for item in some {
                front.committed(item, &mut passed);
            }
        }
        let mut front = self.front();
        front.trouble = None;
        front.busy = Some(Countdown::of(HANGS));
        drop(front);
        self.has_moved();
        passed
    }

    /// Whether a stream has passed.
    pub(super) fn is_past(&self, stream: &StreamId) -> bool {
        self.front().is_past(stream)
    }

    /// A stream that has passed is written to again: it stood there in the database.
    pub(super) fn revive(&self, stream: &StreamId, tail: Tail) {
        let mut front = self.front();
        // Somebody else may have been first, and have gone on.
        if front.is_past(stream) {
            front.past.remove(stream.as_str());
            front.heads.insert(stream.clone(), Head { revived: true, ..Head::at(tail.seq) });
            front.revived.push((stream.clone(), tail));
        }
    }

    /// From the writer: the database refuses.
    pub(super) fn refused(&self, error: &StoreError) {
        let mut front = self.front();
        front.trouble = Some(error.clone());
        front.commits_refused += 1;
    }

    /// From the writer: so long it took until what was committed was on the medium; up to which row, unless that is not known.
    pub(super) fn synced(&self, took: Duration, upto: Option<i64>) {
        let mut front = self.front();
        front.synced.add(took);
        front.safe = front.safe.max(upto.unwrap_or_default());
        drop(front);
        self.moved.notify_all();
    }

    /// Waits so long at the most until a row survives a power cut; the last one that does.
    pub(super) fn wait_safe(&self, row: i64, patience: Duration) -> i64 {
        let (left, mut front) = (Countdown::of(patience), self.front());
        while front.safe < row && !left.left().is_zero() {
            let woken = self.moved.wait_timeout(front, left.left());
            front = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        front.safe
    }

    /// From the writer: these can be read from what it holds.
    pub(super) fn held(&self, items: &[Item]) {
        for some in items.chunks(LOCKED_FOR) {
            let mut front = self.front();
            front.visible += some.len() as u64;
            for part in some.iter().flat_map(Item::filled) {
                let head = front.heads.entry(part.stream.clone()).or_default();
                head.visible = head.visible.max(part.last());
            }
        }
        self.has_moved();
    }

    /// Readers can see more: whoever waits for that is told.
    fn has_moved(&self) {
        self.moved.notify_all();
        let mut front = self.front();
        if front.watched.is_empty() {
            return;
        }
        let watched = std::mem::take(&mut front.watched);
        let (seen, left) = watched.into_iter().partition(|(stream, goal, _)| front.sees(stream, *goal));
        front.watched = left;
        drop(front);
        let seen: Vec<(StreamId, Seq, Seen)> = seen;
        seen.into_iter().for_each(|(.., told)| told());
    }

    /// Nothing more is taken in.
    pub(super) fn close(&self) {
        self.front().closing = true;
        self.work.notify_one();
    }

    /// Waits until readers can see what was taken in before this call; of one stream, or of all.
    pub(super) fn wait_visible(&self, stream: Option<&StreamId>) {
        self.ring_now();
        let mut front = self.front();
        let goal: Vec<(StreamId, Seq)> = match stream {
            Some(stream) => front.heads.get(stream).map(|head| (stream.clone(), head.seq)).into_iter().collect(),
            None if front.records == 0 => Vec::new(),
            None => {
                let behind = front.heads.iter().filter(|(_, head)| head.visible < head.seq);
                behind.map(|(stream, head)| (stream.clone(), head.seq)).collect()
            }
        };
        for (stream, seq) in goal {
            while !front.sees(&stream, seq) {
                front = self.moved.wait(front).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// The same of one stream, so long at the most; whether readers can see all of it.
    pub(super) fn wait_visible_for(&self, stream: &StreamId, patience: Duration) -> bool {
        self.ring_now();
        let (left, mut front) = (Countdown::of(patience), self.front());
        let goal = front.heads.get(stream).map_or(0, |head| head.seq);
        while !front.sees(stream, goal) {
            if left.left().is_zero() {
                return false;
            }
            let woken = self.moved.wait_timeout(front, left.left());
            front = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Tells once readers can see what was taken in of a stream before this call: at once, or from the writer. Never waits.
    pub(super) fn when_visible(&self, stream: &StreamId, told: Seen) {
        let mut front = self.front();
        let goal = front.heads.get(stream).map_or(0, |head| head.seq);
        if front.sees(stream, goal) {
            drop(front);
            return told();
        }
        front.watched.push((stream.clone(), goal, told));
        self.ring(front);
    }

    /// The last number of a stream that is in the database, while the stream goes on.
    #[cfg(test)]
    pub(super) fn committed_of(&self, stream: &StreamId) -> Option<Seq> {
        self.front().heads.get(stream).map(|head| head.committed)
    }

    /// Whether readers can see everything that was taken in; of one stream, or of all.
    #[cfg(test)]
    pub(super) fn all_seen(&self, stream: Option<&StreamId>) -> bool {
        let front = self.front();
        let seen = |head: &Head| head.visible >= head.seq;
        match stream {
            Some(stream) => front.heads.get(stream).is_none_or(seen),
            None => front.heads.values().all(seen),
        }
    }

    /// The last number given in a stream; 0 for one that does not exist, none for one that has passed.
    pub(super) fn last(&self, stream: &StreamId) -> Option<Seq> {
        let front = self.front();
        let seq = front.heads.get(stream).map_or(0, |head| head.seq);
        (seq > 0 || !front.is_past(stream)).then_some(seq)
    }

    /// Every stream that has not passed, and its last number.
    pub(super) fn streams(&self) -> Vec<(StreamId, Seq)> {
        self.front().heads.iter().map(|(stream, head)| (stream.clone(), head.seq)).collect()
    }

    /// Whether the writer has not come back from what it does for longer than any disk takes that still answers.
    pub(super) fn hangs(&self) -> bool {
        self.front().busy.is_some_and(|busy| busy.left().is_zero())
    }

    /// How many appends were taken in, and of how many of these, the first ones, readers can see all.
    pub(super) fn appends(&self) -> (u64, u64) {
        let front = self.front();
        (front.taken, front.visible)
    }

    /// How it goes.
    pub(super) fn health(&self) -> Health {
        let front = self.front();
        Health {
            waiting: front.records,
            waiting_bytes: front.bytes,
            in_memory_only: front.late,
            trouble: front.trouble.as_ref().map(ToString::to_string),
            recovery: Vec::new(),
        }
    }

    /// What was measured.
    pub(super) fn figures(&self) -> Figures {
        let front = self.front();
        let (used, whole) = front.slate.as_ref().map_or((0, 0), Slate::fill);
        Figures {
            slate: Room { used: used as u64, whole: whole as u64 },
            held: Room { used: front.bytes as u64, whole: MOST_HELD as u64 },
            waiting: front.records as u64,
            in_memory_only: front.late as u64,
            takes: front.trouble.is_none(),
            refused: front.refused,
            commits_refused: front.commits_refused,
            synced: front.synced,
        }
    }

    /// From the writer's end: readers need not wait for it any more.
    pub(super) fn gone(&self) {
        let mut front = self.front();
        front.closing = true;
        front.trouble.get_or_insert(StoreError::Closed);
        let left: Vec<Order> = front.queue.drain(..).collect();
        drop(front);
        self.has_moved();
        for order in left {
            match order {
                Order::Append(Item { done: Some(done), .. }) | Order::Tell(done, _) => done(Err(StoreError::Closed)),
                Order::Append(_) => {}
            }
        }
    }
}

/// An item that was not taken.
struct Refused {
    error: StoreError,
    item: Item,
}

impl From<Refused> for StoreError {
    fn from(refused: Refused) -> Self {
        refused.error
    }
}

impl Head {
    /// Everything up to here is in the database.
    fn at(seq: Seq) -> Self {
        Self { seq, committed: seq, visible: seq, ..Self::default() }
    }
}

impl Front {
    /// Whether readers can see a stream up to a number, or nobody brings more.
    fn sees(&self, stream: &StreamId, goal: Seq) -> bool {
        self.closing || self.heads.get(stream).is_none_or(|head| head.visible >= goal)
    }

    fn is_past(&self, stream: &StreamId) -> bool {
        self.past.has(stream.as_str()) && !self.heads.contains_key(stream)
    }

    /// Gives an item its place, or says why not; then nothing has changed.
    fn take_in(&mut self, mut item: Item, asker: Asker) -> Result<(), Refused> {
        if let Some(error) = self.objection(&item, asker) {
            self.refused += u64::from(matches!(error, StoreError::Unwritable(_)));
            return Err(Refused { error, item });
        }
        #[cfg(debug_assertions)]
        super::fault::point(super::fault::Side::Before, &item);
        // What follows an item that is in memory only is in memory only: on the slate it would have a gap before it.
        let slate = self.slate.as_mut().filter(|_| self.late == 0 || asker == Asker::Urgent);
        #[cfg(test)]
        let slate = slate.filter(|_| !super::by_hand::slate_is_full());
        item.ticket = slate.and_then(|slate| slate.write(&item, asker));
        if item.ticket.is_none() {
            if asker == Asker::Urgent {
                self.refused += 1;
                return Err(Refused { error: self.full("its slate is full"), item });
            }
            self.late += 1;
        }
        self.count(&item);
        #[cfg(debug_assertions)]
        super::fault::point(super::fault::Side::After, &item);
        self.queue.push_back(Order::Append(item));
        Ok(())
    }

    fn objection(&self, item: &Item, asker: Asker) -> Option<StoreError> {
        if self.closing {
            return Some(StoreError::Closed);
        }
        if self.slate.is_none() {
            return Some(StoreError::Unwritable("it was opened for reading".into()));
        }
        for (at, part) in item.parts.iter().enumerate() {
            let head = self.heads.get(&part.stream).copied().unwrap_or_default();
            let earlier = item.parts[..at].iter().rev().find(|earlier| earlier.stream == part.stream);
            let found = earlier.map_or(head.seq, |earlier| earlier.last());
            let expected = part.first - 1;
            if found != expected || (found == 0 && earlier.is_none() && self.is_past(&part.stream)) {
                return Some(StoreError::Conflict { stream: part.stream.clone(), expected, found });
            }
            if asker == Asker::Urgent && head.late > head.committed {
                return Some(self.full("what came before in this stream is in memory only"));
            }
        }
        (self.bytes + item.bytes > MOST_HELD).then(|| self.full("too much is waiting already"))
    }

    fn full(&self, why: &str) -> StoreError {
        let because = self.trouble.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
        StoreError::Unwritable(format!("{why}{because}"))
    }

    fn count(&mut self, item: &Item) {
        self.bytes += item.bytes;
        self.taken += 1;
        for part in item.filled() {
            self.records += part.lines.len();
            let head = self.heads.entry(part.stream.clone()).or_default();
            head.seq = part.last();
            if item.ticket.is_none() {
                head.late = part.last();
            }
        }
    }

    fn committed(&mut self, item: &Item, passed: &mut Vec<StreamId>) {
        self.uncount(item);
        self.committed += 1;
        self.visible = self.visible.max(self.committed);
        for part in item.filled() {
            let head = self.heads.entry(part.stream.clone()).or_default();
            head.committed = head.committed.max(part.last());
            head.visible = head.visible.max(head.committed);
            let ends = part.lines.last().is_some_and(|line| line.ends == Some(true));
            if ends && head.seq == head.committed && !head.revived && Past::takes(part.stream.as_str()) {
                self.heads.remove(&part.stream);
                self.past.add(part.stream.as_str());
                passed.push(part.stream.clone());
            }
        }
        if let (Some(ticket), Some(slate)) = (item.ticket, &mut self.slate) {
            slate.applied(ticket);
        }
    }

    fn uncount(&mut self, item: &Item) {
        self.bytes -= item.bytes;
        self.records -= item.parts.iter().map(|part| part.lines.len()).sum::<usize>();
        self.late -= usize::from(item.ticket.is_none());
    }
}

/// Whether somebody waits for the medium.
pub(super) fn wants_sync(item: &Item) -> bool {
    item.durability == Durability::Synced
}
