//! The one writer: chains what comes off the queue and commits it in groups.
//!
//! Owns the database's connection, the tails of the streams, the directory's lock, and the thread. Never gives numbers:
//! the counter has. Keeps true: a record is chained once, in the order of its numbers, and keeps its salt however often
//! its commit is tried.

#[cfg(test)]
mod by_hand;

use super::chain::{Salts, Sum};
use super::follow::Head;
use super::front::{Counter, Order, wants_sync};
use super::item::{Done, Item};
use super::lock::DirLock;
use super::rows::{Row, Rows, Tail};
use crate::clock::{Countdown, SystemClock};
use quell_model::{Appended, Clock, StoreError, StreamId};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The most bytes that go into one transaction while all is well: some milliseconds.
const MOST_GROUP: usize = 4 << 20;
/// Tries before those who wait are told that it does not work: with SQLite's own patience about a second for a lock.
const TRIES: u32 = 3;
/// At the end so many parts of the room that pruning left are given back, some seconds; what is left of it, later.
const MOST_GIVEN: u32 = 500;
/// Between two tries, doubling.
const PAUSES: std::ops::Range<Duration> = Duration::from_millis(50)..Duration::from_secs(1);

/// What the writer holds while the database refuses, for readers.
#[derive(Default)]
pub(super) struct Shelf(Mutex<Vec<Row>>);

impl Shelf {
    fn rows(&self) -> MutexGuard<'_, Vec<Row>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts rows on show.
    pub(super) fn show(&self, rows: &[Row]) {
        self.rows().extend_from_slice(rows);
    }

    fn clear(&self) {
        *self.rows() = Vec::new();
    }

    /// The streams that have rows here, with their numbers.
    pub(super) fn streams(&self) -> impl Iterator<Item = (i64, StreamId)> {
        let streams: BTreeMap<i64, StreamId> =
            self.rows().iter().map(|row| (row.stream_no, row.stream.clone())).collect();
        streams.into_iter()
    }

    /// What the rows here say of their streams' ends, in their order.
    pub(super) fn ends(&self) -> Result<Vec<(StreamId, bool)>, StoreError> {
        let told = |row: &Row| row.ends().transpose().map(|ends| Ok((row.stream.clone(), ends?)));
        self.rows().iter().filter_map(told).collect()
    }

    /// Those of one stream, or all.
    pub(super) fn of(&self, stream: Option<&StreamId>) -> Vec<Row> {
        self.rows().iter().filter(|row| stream.is_none_or(|stream| row.stream == *stream)).cloned().collect()
    }
}

/// What has been chained and is to be committed together.
#[derive(Default)]
struct Group {
    rows: Vec<Row>,
    items: Vec<Item>,
}

/// The chain's growing end, over all streams but the runs that have ended.
pub(super) struct Chainer {
    tails: HashMap<StreamId, Tail>,
    next_row: i64,
    next_stream: i64,
    salts: Salts,
}

impl Chainer {
    /// Goes on from where the database stands.
    pub(super) fn new(tails: HashMap<StreamId, Tail>, next_row: i64, next_stream: i64, salts: Salts) -> Self {
        Self { tails, next_row, next_stream, salts }
    }

    /// Chains what the slate held under a ticket, if it follows on what is there; else says why not.
    pub(super) fn take_up(&mut self, ticket: u64, bytes: &[u8], into: &mut Vec<Row>) -> Result<Item, String> {
        let mut item = Item::decode(ticket, bytes).ok_or_else(|| format!("entry {ticket} cannot be read"))?;
        self.fits(&item)?;
        self.chain(&mut item, into).map_err(|e| e.to_string())?;
        Ok(item)
    }

    /// Whether its parts follow on what is there.
    fn fits(&self, item: &Item) -> Result<(), String> {
        for (at, part) in item.parts.iter().enumerate() {
            let earlier = item.parts[..at].iter().rev().find(|earlier| earlier.stream == part.stream);
            let found = earlier
                .map_or_else(|| self.tails.get(&part.stream).map_or(0, |tail| tail.seq), |earlier| earlier.last());
            if found + 1 != part.first {
                let stream = &part.stream;
                return Err(format!(
                    "`{stream}`: record {} has nothing to follow on (the last is {found})",
                    part.first
                ));
            }
        }
        Ok(())
    }

    /// Gives every line of an item its place.
    fn chain(&mut self, item: &mut Item, into: &mut Vec<Row>) -> std::io::Result<()> {
        for part in item.parts.iter_mut().filter(|part| !part.lines.is_empty()) {
            let tail = self.tails.entry(part.stream.clone()).or_insert_with(|| {
                self.next_stream += 1;
                Tail { no: self.next_stream - 1, seq: 0, hash: quell_model::Hash::default(), last: 0, over: false }
            });
            for (seq, line) in (part.first..).zip(part.lines.iter_mut()) {
                assert_eq!(seq, tail.seq + 1, "the counter gives the numbers without a gap");
                let salt = self.salts.next()?;
                let (prev, before) = (tail.hash, tail.last);
                let sum = Sum { prev, v: line.v, seq, at: line.at, kind: line.kind, salt: &salt, body: &line.body };
                tail.hash = sum.hash();
                tail.seq = seq;
                tail.last = self.next_row;
                tail.over = line.ends.unwrap_or(tail.over);
                into.push(Row {
                    id: self.next_row,
                    stream: part.stream.clone(),
                    stream_no: tail.no,
                    seq,
                    before,
                    v: line.v,
                    at: line.at,
                    kind: line.kind,
                    prev,
                    salt,
                    body: std::mem::take(&mut line.body),
                    redacted: None,
                    contents: std::mem::take(&mut line.contents),
                });
                self.next_row += 1;
            }
        }
        Ok(())
    }

    /// The tails of the streams that these items moved, without repeats.
    pub(super) fn moved(&self, items: &[Item]) -> Vec<(StreamId, Tail)> {
        let mut streams: Vec<&StreamId> = items.iter().flat_map(Item::filled).map(|part| &part.stream).collect();
        streams.sort_unstable();
        streams.dedup();
        let tail = |stream: &StreamId| self.tails.get(stream).map(|tail| (stream.clone(), tail.clone()));
        streams.into_iter().filter_map(tail).collect()
    }
}

/// The thread's own.
pub(super) struct Writer {
    counter: Arc<Counter>,
    shelf: Arc<Shelf>,
    /// For those who follow.
    head: Arc<Head>,
    rows: Rows,
    chainer: Chainer,
    /// Taken off the queue, not yet chained.
    backlog: VecDeque<Order>,
    group: Group,
    tries: u32,
    pause: Option<Countdown>,
    /// So many of the group's items and rows have been shown to readers.
    shown: (usize, usize),
    /// The last: let go when everything else has been.
    _lock: DirLock,
}

impl Writer {
    pub(super) fn new(counter: Arc<Counter>, shelf: Arc<Shelf>, rows: Rows, chainer: Chainer, lock: DirLock) -> Self {
        let head = Arc::new(Head::new(chainer.next_row - 1));
        let (backlog, group) = (VecDeque::new(), Group::default());
        Self { counter, shelf, head, rows, chainer, backlog, group, tries: 0, pause: None, shown: (0, 0), _lock: lock }
    }

    /// Where those who follow see what is committed.
    pub(super) fn head(&self) -> Arc<Head> {
        Arc::clone(&self.head)
    }

    /// What the slate still held goes first, before anything is read; gives what did not fit. A database that refuses
    /// keeps nobody from opening.
    pub(super) fn recover(&mut self, found: Vec<(u64, Vec<u8>)>) -> Vec<String> {
        let mut findings = Vec::new();
        for (ticket, bytes) in found {
            match self.chainer.take_up(ticket, &bytes, &mut self.group.rows) {
                Ok(item) => {
                    self.counter.recovered(&item);
                    self.group.items.push(item);
                }
                Err(finding) => {
                    tracing::error!(finding, "the slate held what does not fit the journal");
                    findings.push(finding);
                }
            }
        }
        if !self.group.items.is_empty() {
            self.commit();
        }
        findings
    }

    /// Until the counter is closed and everything is written, or cannot be.
    pub(super) fn run(mut self) {
        let mut closing = false;
        loop {
            if self.backlog.is_empty() || self.pause.is_some() {
                // Room is given back in small parts, and between them whoever comes is served.
                let more = self.pause.is_none() && self.rows.give_back();
                let taken = self.counter.take(if more { Some(Countdown::of(Duration::ZERO)) } else { self.pause });
                self.backlog.extend(taken.orders);
                self.chainer.tails.extend(taken.revived);
                closing = taken.closing;
            }
            // While the database refuses there is time to chain everything, and those who wait are to be told.
            self.fill(if closing || self.pause.is_some() { usize::MAX } else { MOST_GROUP });
            if !closing && self.pause.is_some_and(|pause| !pause.left().is_zero()) {
                self.show();
                continue;
            }
            if !self.group.items.is_empty() {
                self.commit();
            }
            if closing && self.backlog.is_empty() {
                break;
            }
        }
        if self.group.items.is_empty() {
            for _ in 0..MOST_GIVEN {
                if !self.rows.give_back() {
                    break;
                }
            }
            self.rows.checkpoint();
        } else {
            self.give_up();
        }
    }

    /// Chains what is in the backlog, at most so many bytes.
    fn fill(&mut self, most: usize) {
        let mut bytes = 0;
        while bytes < most {
            match self.backlog.pop_front() {
                None => return,
                Some(Order::Tell(done, error)) => done(Err(error)),
                Some(Order::Append(item)) => {
                    bytes += item.bytes;
                    self.add(item);
                }
            }
        }
    }

    fn add(&mut self, mut item: Item) {
        match self.chainer.chain(&mut item, &mut self.group.rows) {
            Ok(()) => self.group.items.push(item),
            Err(error) => panic!("the kernel's source of chance does not answer: {error}"),
        }
    }

    fn commit(&mut self) {
        let applied = self.group.items.iter().filter_map(|item| item.ticket).max();
        let moved = self.chainer.moved(&self.group.items);
        match self.rows.commit(&self.group.rows, &moved, applied) {
            Ok(()) => self.settle(),
            Err(error) => self.refused(&error),
        }
    }

    /// In the database: those who asked for no more are told, then the medium is waited for, then the others.
    fn settle(&mut self) {
        if self.tries > 0 {
            tracing::info!(records = self.group.rows.len(), "the journal is written again");
        }
        (self.tries, self.pause, self.shown) = (0, None, (0, 0));
        for passed in self.counter.committed(&self.group.items) {
            self.chainer.tails.remove(&passed);
        }
        self.shelf.clear();
        let group = std::mem::take(&mut self.group);
        self.head.committed(&group.rows);
        let (patient, others): (Vec<Item>, Vec<Item>) = group.items.into_iter().partition(wants_sync);
        answer(others, Ok);
        // Also for those who did not ask: what was written overlaps with its sync, and is not left to chance for long.
        let begun = SystemClock.now();
        let synced = self.rows.sync();
        // All that was chained was committed.
        let upto = synced.is_ok().then_some(self.chainer.next_row - 1);
        self.counter.synced(SystemClock.now().since(begun), upto);
        if let Err(error) = &synced {
            tracing::error!(%error, "committed records may not outlive a power cut");
        }
        answer(patient, |appended| match &synced {
            Ok(()) => Ok(appended),
            Err(error) => Err(StoreError::Held(error.to_string())),
        });
    }

    fn refused(&mut self, error: &StoreError) {
        let pause = PAUSES.start * 2u32.saturating_pow(self.tries.min(8));
        self.tries += 1;
        self.pause = Some(Countdown::of(pause.min(PAUSES.end)));
        if self.tries == TRIES {
            tracing::error!(%error, records = self.group.rows.len(), "the journal is kept in memory");
        }
        self.counter.refused(error);
        self.show();
    }

    /// After some tries what is held can be read, and nobody waits for it any longer.
    fn show(&mut self) {
        if self.tries < TRIES {
            return;
        }
        let (items, rows) = self.shown;
        self.shelf.show(&self.group.rows[rows..]);
        self.counter.held(&self.group.items[items..]);
        self.shown = (self.group.items.len(), self.group.rows.len());
        let why = self.counter.trouble().unwrap_or(StoreError::Closed).to_string();
        let done: Vec<Done> = self.group.items[items..].iter_mut().filter_map(|item| item.done.take()).collect();
        for done in done {
            done(Err(StoreError::Held(why.clone())));
        }
    }

    /// At the end: what is on the slate is found at the next start, what is in memory only is lost, and told.
    fn give_up(&mut self) {
        let (kept, lost): (Vec<Item>, Vec<Item>) =
            std::mem::take(&mut self.group.items).into_iter().partition(|item| item.ticket.is_some());
        tracing::warn!(calls = kept.len(), "the journal stays on its slate until the next start");
        if !lost.is_empty() {
            tracing::error!(calls = lost.len(), "records that only memory held are lost");
        }
        for mut item in kept.into_iter().chain(lost) {
            if let Some(done) = item.done.take() {
                let closed = StoreError::Closed;
                done(Err(if item.ticket.is_some() { StoreError::Held(closed.to_string()) } else { closed }));
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.counter.gone();
    }
}

fn answer(items: Vec<Item>, word: impl Fn(Appended) -> Result<Appended, StoreError>) {
    for mut item in items {
        if let Some(done) = item.done.take() {
            done(word(item.appended()));
        }
    }
}
