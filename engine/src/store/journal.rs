//! The handle that everybody has.
//!
//! Owns opening and closing. Never blocks a caller on a disk, but for `open`, `close` and the readers.

use super::Health;
use super::chain::Salts;
use super::committed::Committed;
use super::draft::Draft;
use super::follow::Head;
use super::front::{Counter, Seen};
use super::item::{Done, Item};
use super::lists::{self, Counted, IncidentLine, Listed, RunLine};
use super::lock::DirLock;
use super::past::Past;
use super::read::{self, Readers};
use super::rows::{self, Row, Rows, Stand};
use super::slate::Slate;
use super::writer::{Chainer, Shelf, Writer};
use jiff::Timestamp;
use quell_model::{
    Appended, Batch, Body, Durability, IncidentId, Kind, Name, Record, RunId, Seq, Store, StoreError, StreamId,
};
use rusqlite::Connection;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

/// A commit takes a millisecond, on a bad day some hundred: what has not come after this long hangs.
pub(crate) const SOON: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 1 });

/// A journal in a directory; clones are the same journal.
#[derive(Clone)]
pub struct Journal(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) counter: Arc<Counter>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) head: Arc<Head>,
    pub(super) readers: Readers,
    writer: Mutex<Option<JoinHandle<()>>>,
    writer_id: Option<ThreadId>,
    recovery: Vec<String>,
    /// In a simulation: the writer without its thread.
    #[cfg(test)]
    pub(super) hand: Option<super::by_hand::Hand>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("health", &self.health()).finish_non_exhaustive()
    }
}

impl Journal {
    /// Takes a directory (made 0700 where it is missing), brings the database up to date, copies what a killed engine
    /// left on the slate, and starts the writer.
    ///
    /// # Errors
    /// `Taken` when another engine holds it, `Corrupt` when something there cannot be right (then nothing was changed),
    /// `Unwritable` when a first start finds no room.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let (mut inner, writer) = Inner::laid(dir, Salts::open())?;
        let thread = std::thread::Builder::new()
            .name("quell-journal".into())
            .spawn(move || writer.run())
            .map_err(|e| StoreError::Unwritable(format!("no thread for the writer: {e}")))?;
        inner.writer_id = Some(thread.thread().id());
        inner.writer = Mutex::new(Some(thread));
        Ok(Self(Arc::new(inner)))
    }

    /// Looks at a journal without taking it, also beside a living engine: what is in the database, and what lies on the
    /// slate. Nothing can be appended.
    ///
    /// # Errors
    /// `Absent` when there is none, `Unreadable` when it cannot be opened, `Corrupt` when it is no journal.
    pub fn open_read_only(dir: &Path) -> Result<Self, StoreError> {
        let (readers, id) = read::open_to_read(dir)?;
        // The slate before the database: what is copied in between is in both, and then taken from the database.
        let found = Slate::look(&dir.join("slate"), id, 0)?;
        if let Some(what) = found.iter().find_map(|(_, bytes)| Item::too_new(bytes)) {
            return Err(StoreError::Newer(format!("a newer quell wrote the journal: its slate has {what}")));
        }
        let stand = readers.with(|db| {
            let mut stand = rows::stand(db)?;
            rows::complete(db, &mut stand, &found)?;
            Ok(stand)
        })?;
        let (applied, applied_row) = (stand.applied, stand.next_row - 1);
        let mut heads: HashMap<_, _> = stand.tails.iter().map(|(stream, tail)| (stream.clone(), tail.seq)).collect();
        let (mut chainer, past) = chainer(stand, Salts::open())?;
        let (mut held, mut recovery) = (Vec::new(), Vec::from_iter(gap(applied, &found)));
        for (ticket, bytes) in found.into_iter().filter(|(ticket, _)| *ticket > applied) {
            match chainer.take_up(ticket, &bytes, &mut held) {
                Ok(item) => heads.extend(item.appended().last),
                Err(finding) => recovery.push(finding),
            }
        }
        let shelf = Arc::new(Shelf::default());
        shelf.show(&held);
        let counter = Arc::new(Counter::new(heads.into_iter(), past, None));
        let inner = Inner {
            counter,
            shelf,
            head: Arc::new(Head::new(applied_row)),
            readers,
            writer: Mutex::new(None),
            writer_id: None,
            recovery,
            #[cfg(test)]
            hand: None,
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Appends at once, without waiting for anything: when it returns, the records survive SIGKILL. They reach the
    /// database later, in order with what was submitted; also while the disk is full or the database is locked.
    ///
    /// # Errors
    /// `Conflict`; `Unwritable` when there is no room without waiting. Then nothing was taken.
    pub fn written(&self, batch: Batch) -> Result<Appended, StoreError> {
        let (stream, item) = (batch.stream.clone(), Item::new(vec![batch])?);
        self.revive(&stream);
        self.0.counter.written(item)
    }

    /// As [`Journal::written`], for what was written down before, and without waking the writer: that takes a system
    /// call, and a processor from whoever is to be killed next. Whoever puts, rings soon.
    ///
    /// # Errors
    /// As [`Journal::written`], with the draft as it was.
    pub fn put(&self, draft: Draft) -> Result<(), (Draft, StoreError)> {
        let mut item = draft.0;
        loop {
            match self.0.counter.put(item) {
                Err((back, StoreError::Conflict { stream, found: 0, .. })) if self.revive(&stream) => item = back,
                done => return done.map_err(|(item, error)| (Draft(item), error)),
            }
        }
    }

    /// A run that has ended, and is written to again after all: it takes its place. Whether it is such a one.
    fn revive(&self, stream: &StreamId) -> bool {
        if !self.0.counter.is_past(stream) {
            return false;
        }
        let tail = self.0.readers.with(|db| rows::tail(db, stream)).ok().flatten();
        tail.is_some_and(|tail| {
            self.0.counter.revive(stream, tail);
            true
        })
    }

    /// Wakes the writer if it sleeps and there is something for it.
    pub fn ring(&self) {
        self.0.counter.ring_now();
    }

    /// Appends all batches or none, and tells `done` once when they are as durable as they ask. Does not block.
    ///
    /// `done` runs on the writer's thread, so it must be short and must not wait for the journal; after `close` it runs
    /// here. It is told `Held` when the database has refused for about a second: the records keep their numbers and are
    /// written as soon as it can be. `Conflict`, `Unwritable` and `Closed`: nothing was taken.
    pub fn submit(&self, batches: Vec<Batch>, done: Done) {
        for batch in &batches {
            self.revive(&batch.stream);
        }
        self.0.counter.submit(Item::new(batches), done);
    }

    /// Tells once all that was given to the journal until now survives a power cut, or why nobody can say so. Like a submit to the
    /// system's stream: for whoever writes that.
    pub fn when_committed(&self, told: impl FnOnce(Result<Committed, StoreError>) + Send + 'static) {
        let stream = StreamId::system();
        let expected = self.last(&stream);
        let nothing = Batch { stream, expected, records: Vec::new(), durability: Durability::Synced };
        self.submit(vec![nothing], Box::new(move |answer| told(Committed::of(answer))));
    }

    /// The records of a stream from a number on; none for a stream that does not exist.
    ///
    /// # Errors
    /// `Corrupt` when what is there cannot be read, `Unwritable` when the database cannot be opened.
    pub fn read(&self, stream: &StreamId, from: Seq) -> Result<Vec<Record>, StoreError> {
        self.read_kinds(stream, from, Kind::ALL)
    }

    /// Whether what was written of a stream can be read, within so long. A read waits for the writer, and with it for a
    /// disk that hangs: who must not asks first.
    #[must_use]
    pub fn can_read(&self, stream: &StreamId, patience: Duration) -> bool {
        #[cfg(test)]
        if let Some(seen) = self.seen_by_hand(stream) {
            return seen;
        }
        self.0.counter.wait_visible_for(stream, patience)
    }

    /// Tells once what was written of a stream before this call can be read: here if it can be now, else on the writer's thread.
    /// Never waits.
    pub fn when_readable(&self, stream: &StreamId, told: Seen) {
        self.0.counter.when_visible(stream, told);
    }

    /// Those records of a stream that are of these kinds: the others' bodies are not looked at.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn read_kinds(&self, stream: &StreamId, from: Seq, kinds: &[Kind]) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::new();
        self.visit(stream, from, kinds, &mut |record| records.push(record))?;
        Ok(records)
    }

    /// The first record of a stream that is of this kind.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn first(&self, stream: &StreamId, kind: Kind) -> Result<Option<Record>, StoreError> {
        self.wait_visible(Some(stream));
        let held = self.0.shelf.of(Some(stream));
        let row = read::first(&self.0.readers, stream, kind)?;
        row.or_else(|| held.into_iter().find(|row| row.kind == kind)).map(|row| row.record()).transpose()
    }

    /// Gives those records one after the other, in order: a long stream is never in memory as a whole.
    ///
    /// # Errors
    /// As [`Journal::read`]; what was given until then was right.
    pub fn visit(
        &self,
        stream: &StreamId,
        from: Seq,
        kinds: &[Kind],
        each: &mut dyn FnMut(Record),
    ) -> Result<(), StoreError> {
        self.wait_visible(Some(stream));
        let held = self.0.shelf.of(Some(stream));
        let mut give = |row: Row| row.record().map(&mut *each);
        let last = read::visit(&self.0.readers, stream, from, kinds, &mut give)?;
        let beyond = |row: &Row| row.seq >= from && row.seq > last && kinds.contains(&row.kind);
        held.into_iter().filter(beyond).try_for_each(give)
    }

    /// Runs, the latest beginning first: those that began before a number, at most about so many.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn runs(&self, before: Option<i64>, most: usize) -> Result<Vec<Listed<RunLine>>, StoreError> {
        self.listed(before, |stream| stream.as_run().is_some(), |db, before| lists::runs(db, before, most))
    }

    /// Incidents, the latest first: those that were opened before a number, at most about so many.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn incidents(&self, before: Option<i64>, most: usize) -> Result<Vec<Listed<IncidentLine>>, StoreError> {
        self.listed(before, |stream| stream.as_incident().is_some(), |db, before| lists::incidents(db, before, most))
    }

    /// The latest run of a playbook for a value of `run_per`, as the database has it: whoever asks has an attack at hand, and
    /// waits for no writer.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn last_run(&self, playbook: &Name, per: &str) -> Result<Option<RunLine>, StoreError> {
        self.0.readers.with(|db| lists::last_run(db, playbook, per))
    }

    /// The first runs of an incident, at most so many, and how many it has, as the database has them.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn members(&self, incident: &IncidentId, most: usize) -> Result<(Vec<RunId>, u64), StoreError> {
        self.0.readers.with(|db| lists::members(db, &StreamId::incident(incident), most))
    }

    /// The system's records of a kind (a loss, a pause, the breaker, a detection held back) within these moments, in
    /// their order: the latest so many.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn marks(&self, kind: Kind, from: Timestamp, to: Timestamp, most: usize) -> Result<Vec<Record>, StoreError> {
        debug_assert!(lists::MARKS.contains(&kind), "only marks are kept by their time");
        let system = StreamId::system();
        self.wait_visible(Some(&system));
        let held = self.0.shelf.of(Some(&system));
        let mut ids = self.0.readers.with(|db| lists::marks(db, kind, from, to, most))?;
        ids.sort_unstable();
        let mut rows = read::rows(&self.0.readers, &system, &ids)?;
        let is_one = |row: &Row| row.kind == kind && (from..=to).contains(&row.at.wall);
        rows.extend(held.into_iter().filter(|row| !ids.contains(&row.id) && is_one(row)));
        rows.iter().map(Row::record).collect()
    }

    /// The system's records of kinds that are marked, in their order: of each the latest so many. It looks at no others.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn latest(&self, kinds: &[Kind], most: usize) -> Result<Vec<Record>, StoreError> {
        debug_assert!(kinds.iter().all(|kind| lists::MARKS.contains(kind)), "only marks are found by their kind");
        let system = StreamId::system();
        self.wait_visible(Some(&system));
        let held = self.0.shelf.of(Some(&system));
        let mut ids = self.0.readers.with(|db| {
            let of = kinds.iter().map(|kind| lists::latest(db, *kind, most));
            Ok(of.collect::<Result<Vec<_>, _>>()?.concat())
        })?;
        ids.sort_unstable();
        let mut rows = read::rows(&self.0.readers, &system, &ids)?;
        rows.extend(held.into_iter().filter(|row| kinds.contains(&row.kind) && !ids.contains(&row.id)));
        let mut left: HashMap<Kind, usize> = kinds.iter().map(|kind| (*kind, most)).collect();
        let mut is_late =
            |row: &Row| left.get_mut(&row.kind).is_some_and(|left| std::mem::replace(left, left.saturating_sub(1)) > 0);
        let mut late: Vec<Row> = rows.into_iter().rev().filter(|row| is_late(row)).collect();
        late.reverse();
        late.iter().map(Row::record).collect()
    }

    /// The streams that have an intent of this verb, and each such record's number; the latest first.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn intents(&self, action: &str) -> Result<Vec<(StreamId, Seq)>, StoreError> {
        self.wait_visible(None);
        let is_one = |row: &Row| {
            matches!(row.record().map(|record| record.body),
            Ok(Body::StepIntended(intent)) if intent.action.as_str() == action)
        };
        let mut held = self.0.shelf.of(None);
        held.retain(|row| row.kind == Kind::StepIntended && is_one(row));
        let last = held.first().map_or(i64::MAX, |row| row.id);
        let found = self.0.readers.with(|db| read::intents(db, action))?;
        let mut all: Vec<(StreamId, Seq)> = held.into_iter().rev().map(|row| (row.stream, row.seq)).collect();
        for (stream, id) in found.into_iter().filter(|(_, id)| *id < last) {
            let rows = read::rows(&self.0.readers, &stream, &[id])?;
            all.extend(rows.into_iter().filter(is_one).map(|row| (row.stream, row.seq)));
        }
        Ok(all)
    }

    /// Gives the runs that began or ended since a moment, the latest first, as the database has them: it waits for no writer.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn counted(&self, since: Timestamp, each: &mut dyn FnMut(Counted)) -> Result<(), StoreError> {
        self.0.readers.with(|db| lists::counted(db, since, each))
    }

    /// The last number of a stream; 0 for one that does not exist. Waits for nothing, but for a run that has ended: that is
    /// looked for in the database.
    #[must_use]
    pub fn last(&self, stream: &StreamId) -> Seq {
        self.0.counter.last(stream).unwrap_or_else(|| {
            let tail = self.0.readers.with(|db| rows::tail(db, stream));
            tail.ok().flatten().map_or(1, |tail| tail.seq)
        })
    }

    /// Whether a stream exists. Waits for nothing.
    #[must_use]
    pub fn has(&self, stream: &StreamId) -> bool {
        self.0.counter.last(stream) != Some(0)
    }

    /// The streams that may go on, all but the runs that have ended, and their last numbers. Waits for nothing.
    #[must_use]
    pub fn live(&self) -> Vec<(StreamId, Seq)> {
        self.0.counter.streams()
    }

    /// Every stream and its last number, by name.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn streams(&self) -> Result<Vec<(StreamId, Seq)>, StoreError> {
        // What is alive may end meanwhile, and is then in the database: so first these.
        let live = self.0.counter.streams();
        let mut all: BTreeMap<StreamId, Seq> = self.0.readers.with(read::streams)?.into_iter().collect();
        for (stream, seq) in live {
            let last = all.entry(stream).or_default();
            *last = seq.max(*last);
        }
        Ok(all.into_iter().collect())
    }

    /// Runs that have not finished and incidents that are not resolved, by name.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn open_streams(&self) -> Result<Vec<StreamId>, StoreError> {
        self.wait_visible(None);
        let held: BTreeMap<i64, StreamId> = self.0.shelf.streams().collect();
        let held: Vec<StreamId> = held.into_values().collect();
        let (open, ended) = read::open(&self.0.readers, &held)?;
        let begun = open.into_iter().chain(held).map(|stream| (stream, false));
        let mut over: BTreeMap<StreamId, bool> = begun.chain(ended.into_iter().map(|stream| (stream, true))).collect();
        for row in self.0.shelf.ends()? {
            over.insert(row.0, row.1);
        }
        let can_end = |stream: &StreamId| {
            stream.as_run().is_some() || stream.as_incident().is_some() || stream.as_ladder().is_some()
        };
        Ok(over.into_iter().filter(|(stream, over)| !over && can_end(stream)).map(|(stream, _)| stream).collect())
    }

    /// Looks whether every chain holds; gives what does not, for people. Reads everything.
    ///
    /// # Errors
    /// When the database cannot be read at all.
    pub fn verify(&self) -> Result<Vec<String>, StoreError> {
        self.wait_visible(None);
        read::verify(&self.0.readers)
    }

    /// Whether the writer still runs; one that has died writes nothing more, and a new start takes up the slate.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        self.0
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .is_some_and(|writer| !writer.is_finished())
    }

    /// Whether the writer's thread stands still in the disk's hands. Without such a thread nothing does.
    pub(super) fn hangs(&self) -> bool {
        self.0.writer_id.is_some() && self.0.counter.hangs()
    }

    /// How many appends were taken in so far, and of how many of these, the first ones, readers can see all. Waits for nothing.
    pub(crate) fn appends(&self) -> (u64, u64) {
        self.0.counter.appends()
    }

    /// How it does.
    #[must_use]
    pub fn health(&self) -> Health {
        let health = self.0.counter.health();
        let hangs = || self.hangs().then(|| "the disk hangs: what it was given does not come back".to_owned());
        Health { recovery: self.0.recovery.clone(), trouble: health.trouble.or_else(hangs), ..health }
    }

    /// Writes what is waiting and lets the directory go. What the database still refuses stays on the slate, where the
    /// next `open` finds it.
    pub fn close(self) {
        self.0.close();
    }

    /// A page, and what the writer holds beyond the database.
    fn listed<T>(
        &self,
        before: Option<i64>,
        is_one: impl Fn(&StreamId) -> bool,
        ask: impl FnOnce(&Connection, i64) -> Result<lists::Page<T>, rusqlite::Error>,
    ) -> Result<Vec<Listed<T>>, StoreError> {
        self.wait_visible(None);
        let held: BTreeMap<i64, StreamId> = self.0.shelf.streams().filter(|(_, stream)| is_one(stream)).collect();
        let (mut lines, highest) = self.0.readers.with(|db| ask(db, before.unwrap_or(i64::MAX)))?;
        for known in lines.iter_mut().filter(|known| held.contains_key(&known.number)) {
            known.line = None;
        }
        if before.is_none() {
            let new = held.into_iter().filter(|(number, _)| *number > highest).rev();
            lines.splice(0..0, new.map(|(number, stream)| Listed { number, stream, line: None }));
        }
        Ok(lines)
    }

    /// The last row that survives a power cut, after a wait for this one to do so: as long as a disk takes that works.
    pub(super) fn wait_safe(&self, row: i64) -> i64 {
        #[cfg(test)]
        if self.0.hand.is_some() {
            return self.0.counter.wait_safe(row, Duration::ZERO);
        }
        self.0.counter.wait_safe(row, SOON)
    }

    /// The writer's thread cannot wait for itself: it sees what is in the database.
    pub(super) fn wait_visible(&self, stream: Option<&StreamId>) {
        #[cfg(test)]
        self.work_until_seen(stream);
        if Some(std::thread::current().id()) != self.0.writer_id {
            self.0.counter.wait_visible(stream);
        }
    }
}

impl Inner {
    /// Everything but the writer's thread.
    pub(super) fn laid(dir: &Path, salts: std::io::Result<Salts>) -> Result<(Self, Writer), StoreError> {
        let lock = DirLock::take(dir)?;
        let slate = dir.join("slate");
        let empty = std::fs::metadata(database(dir)).map_or(true, |data| data.len() == 0);
        if empty && slate.exists() {
            return Err(read::gone(dir));
        }
        let rows = Rows::open(&database(dir))?;
        let mut stand = rows.stand()?;
        let (slate, found) = Slate::open(&slate, rows.id, stand.applied)?;
        if let Some(what) = found.iter().find_map(|(_, bytes)| Item::too_new(bytes)) {
            rows.leave()?;
            return Err(StoreError::Newer(format!("a newer quell wrote the journal: its slate has {what}")));
        }
        let gap = gap(stand.applied, &found);
        rows.complete(&mut stand, &found)?;
        super::slate::sweep(&dir.join("slate"), stand.applied);
        super::DirVault::new(dir).sweep();
        let heads: Vec<_> = stand.tails.iter().map(|(stream, tail)| (stream.clone(), tail.seq)).collect();
        let (chainer, past) = chainer(stand, salts)?;
        let counter = Arc::new(Counter::new(heads.into_iter(), past, Some(slate)));
        let shelf = Arc::new(Shelf::default());
        let mut writer = Writer::new(Arc::clone(&counter), Arc::clone(&shelf), rows, chainer, lock);
        let mut recovery = writer.recover(found);
        recovery.splice(0..0, gap);
        let inner = Self {
            counter,
            shelf,
            head: writer.head(),
            readers: Readers::new(&database(dir)),
            writer_id: None,
            writer: Mutex::new(None),
            recovery,
            #[cfg(test)]
            hand: None,
        };
        Ok((inner, writer))
    }

    fn close(&self) {
        self.counter.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(writer) = writer else { return };
        if writer.thread().id() != std::thread::current().id() && writer.join().is_err() {
            tracing::error!("the journal's writer ended with a panic");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

/// Whether records are missing between what the database has and what lies on the slate. Tickets follow one another, so
/// that this is seen even when nothing on the slate follows on what is gone: SQLite drops what it cannot read of its log.
fn gap(applied: u64, found: &[(u64, Vec<u8>)]) -> Option<String> {
    let (first, _) = found.iter().find(|(ticket, _)| *ticket > applied)?;
    let missing = first - applied - 1;
    (missing > 0)
        .then(|| format!("{missing} writes are neither in the database nor on the slate: its log was damaged or cut"))
}

pub(super) fn database(dir: &Path) -> PathBuf {
    dir.join("journal.db")
}

pub(super) fn chainer(stand: Stand, salts: std::io::Result<Salts>) -> Result<(Chainer, Past), StoreError> {
    let salts = salts.map_err(|e| StoreError::Unwritable(format!("`/dev/urandom`: {e}")))?;
    Ok((Chainer::new(stand.tails, stand.next_row, stand.next_stream, salts), stand.past))
}

#[async_trait::async_trait]
impl Store for Journal {
    async fn append(&self, batches: Vec<Batch>) -> Result<Appended, StoreError> {
        let (tell, told) = tokio::sync::oneshot::channel();
        // Whoever no longer waits for the answer does not want it.
        self.submit(batches, Box::new(move |answer| drop(tell.send(answer))));
        told.await.unwrap_or(Err(StoreError::Closed))
    }

    async fn read(&self, stream: &StreamId, from: Seq) -> Result<Vec<Record>, StoreError> {
        Self::read(self, stream, from)
    }

    async fn open_streams(&self) -> Result<Vec<StreamId>, StoreError> {
        Self::open_streams(self)
    }
}
