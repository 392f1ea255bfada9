//! The engine's pen: records are written down at once and go into the journal together, in order, or wait until it takes
//! them.
//!
//! Owns what is written down and not in the journal yet, and what the journal refused (a full slate behind a full disk).
//! Freeze and kill act all the same; what waits is counted in `status`, and what finds no room even here is counted as
//! lost and told: nothing is lost in silence.
//! Keeps true: between two calls of [`Ink::commit`] nothing happens to the world. Who acts, answers or hands work over
//! commits first. What belongs together (a run's record of a lease, and the system's) is one append; what no append holds is in
//! several, in order, and not lost. And nobody reads by it what is not to be read yet: it gives no journal, only [`Readable`] streams.

use super::unread::{NotYet, Readable};
use crate::clock::Countdown;
use crate::store::{Committed, Draft, Journal, SOON};
use quell_model::record::NewRecord;
use quell_model::{Appended, Batch, Durability, Seq, StoreError, StreamId};
use std::collections::VecDeque;
use std::time::Duration;

/// Records that may wait, and their bytes.
const MOST_WAITING: usize = 50_000;
const MOST_BYTES: usize = if cfg!(test) { 4 << 20 } else { 64 << 20 };
/// A draft that has grown so large goes into the journal by itself: no single append may outgrow the slate.
const LARGE: usize = 256 << 10;

/// At the end what waits is brought into the journal as long as it takes some of it in each so long.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries at the end.
const PAUSE: Duration = Duration::from_millis(2);

/// Told once, on the journal's own thread.
type Done = Box<dyn FnOnce(Result<Appended, StoreError>) + Send>;

/// The journal, and what waits for it.
pub(super) struct Ink {
    journal: Journal,
    draft: Draft,
    /// What is being written belongs together: so many hold it.
    held: u32,
    waiting: VecDeque<Draft>,
    /// Who waits for the disk since the writer was last woken, and a stream that was written to.
    barrier: Option<(StreamId, Vec<Done>)>,
    records: usize,
    bytes: usize,
    lost: u64,
    /// Of the lost, how many no record tells of yet.
    untold: u64,
    /// So long a read may wait for the writer; none: not at all.
    patience: Option<Countdown>,
    /// A record is on its way that takes streams away.
    prunes: bool,
}

impl Ink {
    pub(super) fn new(journal: Journal) -> Self {
        let (draft, waiting) = (Draft::default(), VecDeque::new());
        let (records, bytes, lost, untold) = (0, 0, 0, 0);
        Self {
            journal,
            draft,
            held: 0,
            waiting,
            barrier: None,
            records,
            bytes,
            lost,
            untold,
            patience: None,
            prunes: false,
        }
    }

    /// From here to [`Ink::hurry`] somebody waits for an answer: a read may take as long as a disk that works takes, all reads
    /// together.
    pub(super) fn be_patient(&mut self) {
        self.patience = Some(Countdown::of(SOON));
    }

    /// No read waits for the writer any more.
    pub(super) fn hurry(&mut self) {
        self.patience = None;
    }

    /// A stream, if all that was written of it can be read now.
    pub(super) fn readable(&mut self, stream: &StreamId) -> Result<Readable, NotYet> {
        self.commit();
        self.retry();
        let patience = self.patience.map(Countdown::left).unwrap_or_default();
        if self.prunes {
            // What can be read until then may be on its way out, and nobody may go on from it.
            if !self.waiting.is_empty() || !self.journal.can_read(&StreamId::system(), patience) {
                return Err(NotYet(StreamId::system()));
            }
            self.prunes = false;
        }
        if self.waiting.is_empty() && self.journal.can_read(stream, patience) {
            Ok(Readable::new(self.journal.clone(), stream.clone()))
        } else {
            Err(NotYet(stream.clone()))
        }
    }

    /// A record that was written takes streams away: nothing is read before they are gone.
    pub(super) fn has_pruned(&mut self) {
        self.prunes = true;
    }

    /// Tells once what is in the journal of a stream can be read; false: what was written waits here, and nobody will be told.
    pub(super) fn when_readable(&mut self, stream: &StreamId, told: Box<dyn FnOnce() + Send>) -> bool {
        let is_there = self.waiting.is_empty();
        if is_there {
            self.journal.when_readable(stream, told);
        }
        is_there
    }

    /// The last number given in a stream, also of what waits here; 0 for one that does not exist. Waits for nothing.
    pub(super) fn last(&self, stream: &StreamId) -> Seq {
        let written = self.draft.last(stream);
        let waits = || self.waiting.iter().rev().find_map(|draft| draft.last(stream));
        written.or_else(waits).unwrap_or_else(|| self.journal.last(stream))
    }

    /// Whether a stream exists. Waits for nothing.
    pub(super) fn has(&self, stream: &StreamId) -> bool {
        self.journal.has(stream) || self.last(stream) > 0
    }

    /// Whether the journal has taken all that was written, or it is lost.
    pub(super) fn is_empty(&self) -> bool {
        self.draft.is_empty() && self.waiting.is_empty()
    }

    /// Records that wait for the journal.
    pub(super) fn waiting(&self) -> usize {
        self.records
    }

    /// Records that found no room.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// How many were lost since this was last asked; none while others still wait.
    pub(super) fn newly_lost(&mut self) -> Option<u64> {
        let told = if self.waiting.is_empty() { std::mem::take(&mut self.untold) } else { 0 };
        (told > 0).then_some(told)
    }

    /// Writes down; [`Ink::commit`] brings it into the journal.
    pub(super) fn write(&mut self, stream: StreamId, expected: Seq, records: &[NewRecord]) {
        let mut added = self.draft.add(stream.clone(), expected, records);
        if added.is_err() && !self.draft.is_empty() {
            // Beside what is there it finds no room, and alone it may.
            if self.held > 0 {
                tracing::warn!(%stream, "what belongs together is too large for one append: it is written in two");
            }
            self.commit();
            added = self.draft.add(stream, expected, records);
        }
        if let Err(error) = added {
            self.lose(records.len(), &error);
        }
        self.commit_large();
    }

    fn commit_large(&mut self) {
        if self.draft.bytes() > LARGE && self.held == 0 {
            self.commit();
        }
    }

    /// What is written from here to [`Ink::let_go`] goes into the journal as a whole, as far as one append holds it.
    pub(super) fn hold(&mut self) {
        self.held += 1;
    }

    /// What was written since [`Ink::hold`] may go, once all who hold it have said so.
    pub(super) fn let_go(&mut self) {
        self.held = self.held.saturating_sub(1);
        self.commit_large();
    }

    fn lose(&mut self, records: usize, why: &dyn std::fmt::Display) {
        if self.untold == 0 {
            tracing::error!(%why, "records are lost; `quell status` counts them");
        }
        self.lost += records as u64;
        self.untold += records as u64;
    }

    /// When it returns, what was written survives SIGKILL, or it waits here. The writer sleeps on until
    /// [`Ink::ring`]: the act comes first.
    pub(super) fn commit(&mut self) {
        if self.draft.is_empty() {
            return;
        }
        let draft = std::mem::take(&mut self.draft);
        if !self.waiting.is_empty() {
            self.keep(draft);
            return self.retry();
        }
        if let Err((draft, error)) = self.put(draft) {
            tracing::error!(%error, "the journal takes nothing; records wait in memory");
            self.keep(draft);
        }
    }

    /// Into the journal. Where records were lost, those after them follow on what is there: one record that found no room
    /// does not take the rest of its stream with it.
    fn put(&self, draft: Draft) -> Result<(), (Draft, StoreError)> {
        match self.journal.put(draft) {
            Err((mut draft, StoreError::Conflict { .. })) if self.lost > 0 => {
                draft.close_gaps(|stream| self.journal.last(stream));
                self.journal.put(draft)
            }
            done => done,
        }
    }

    /// Brings everything into the journal and wakes its writer.
    pub(super) fn ring(&mut self) {
        self.commit();
        self.wake_writer();
    }

    /// One sync for all who wait for the disk since the last: it comes after all that was written before it.
    fn wake_writer(&mut self) {
        match self.barrier.take() {
            Some((stream, all)) => {
                let expected = self.journal.last(&stream);
                let barrier = Batch { stream, expected, records: Vec::new(), durability: Durability::Synced };
                let done = move |done: Result<Appended, StoreError>| all.into_iter().for_each(|one| one(done.clone()));
                self.journal.submit(vec![barrier], Box::new(done));
            }
            None => self.journal.ring(),
        }
    }

    fn keep(&mut self, draft: Draft) {
        let (records, bytes) = (draft.records(), draft.bytes());
        if self.records + records > MOST_WAITING || self.bytes + bytes > MOST_BYTES {
            return self.lose(records, &format!("{} records wait already", self.records));
        }
        self.records += records;
        self.bytes += bytes;
        self.waiting.push_back(draft);
    }

    /// Writes, and tells `done` once it survives a power cut too, which [`Ink::ring`] and [`Ink::flush`] set about. An error:
    /// nothing was written, and `done` is not called.
    pub(super) fn synced(
        &mut self,
        stream: StreamId,
        expected: Seq,
        records: &[NewRecord],
        done: Done,
    ) -> Result<(), StoreError> {
        self.commit();
        self.retry();
        if !self.waiting.is_empty() {
            return Err(StoreError::Unwritable(format!("{} records wait already", self.records)));
        }
        let mut draft = Draft::default();
        draft.add(stream.clone(), expected, records)?;
        self.put(draft).map_err(|(_, error)| error)?;
        self.barrier.get_or_insert_with(|| (stream, Vec::new())).1.push(done);
        Ok(())
    }

    /// Whether what is written now gets into the journal at once, and nothing waits before it.
    pub(super) fn takes(&mut self) -> bool {
        self.commit();
        self.retry();
        self.waiting.is_empty() && self.journal.health().trouble.is_none()
    }

    /// Tells once all that was written until now survives a power cut, or why nobody can say so.
    pub(super) fn when_committed(&mut self, told: impl FnOnce(Result<Committed, StoreError>) + Send + 'static) {
        self.commit();
        self.retry();
        if self.waiting.is_empty() {
            self.journal.when_committed(told);
        } else {
            told(Err(StoreError::Unwritable(format!("{} records wait already", self.records))));
        }
    }

    /// Writes at the end of a stream that nobody holds the number of: a run that has ended, an incident that takes nothing more.
    pub(super) fn append(&mut self, stream: StreamId, records: &[NewRecord]) {
        let last = self.last(&stream);
        self.write(stream, last, records);
    }

    /// Brings into the journal what was written, and tries what waits again, in order.
    pub(super) fn flush(&mut self) {
        self.commit();
        self.retry();
        self.wake_writer();
    }

    fn retry(&mut self) {
        while let Some(draft) = self.waiting.pop_front() {
            let (records, bytes) = (draft.records(), draft.bytes());
            match self.put(draft) {
                Ok(()) => {}
                Err((draft, StoreError::Unwritable(_) | StoreError::Closed)) => {
                    self.waiting.push_front(draft);
                    break;
                }
                Err((draft, error)) => self.rest_of(draft, &error),
            }
            self.records -= records;
            self.bytes -= bytes;
        }
    }

    /// What was written down and is not in the journal is gone, as with an engine that was killed.
    #[cfg(test)]
    pub(super) fn forget(&mut self) {
        (self.draft, self.waiting, self.records, self.bytes) = (Draft::default(), VecDeque::new(), 0, 0);
        self.barrier = None;
    }

    /// Nobody writes any more: what waits goes into the journal, or is told as lost.
    fn end(&mut self) {
        self.flush();
        let mut left = Countdown::of(PATIENCE);
        while !self.waiting.is_empty() && !left.left().is_zero() {
            std::thread::park_timeout(PAUSE);
            let before = self.records;
            self.flush();
            if self.records < before {
                left = Countdown::of(PATIENCE);
            }
        }
        if self.records > 0 {
            let why = self.journal.health().trouble.unwrap_or_default();
            tracing::error!(
                records = self.records,
                why,
                "the journal takes nothing: records are lost with this engine"
            );
        }
    }

    /// Records before these were lost: some of these cannot be chained any more, and that is told. The others can.
    fn rest_of(&mut self, draft: Draft, error: &StoreError) {
        let parts = draft.split();
        let alone = parts.len() == 1;
        for part in parts {
            let records = part.records();
            if alone || self.put(part).is_err() {
                self.lose(records, error);
            }
        }
    }
}

impl Drop for Ink {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_model::Stamp;
    use quell_model::record::NoteAdded;

    fn note(number: u64) -> Vec<NewRecord> {
        let at = Stamp { wall: jiff::Timestamp::UNIX_EPOCH, boot_ns: number };
        vec![NewRecord::new(at, NoteAdded { by: "ana".into(), text: format!("{number} {}", "x".repeat(300 << 10)) })]
    }

    #[test]
    fn what_finds_no_room_is_counted_and_its_stream_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let mut ink = Ink::new(journal.clone());
        let stream = StreamId::system();
        let other = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut seq = 0;
        while ink.lost() < 3 {
            ink.write(stream.clone(), seq, &note(seq));
            ink.ring();
            seq += 1;
            assert!(seq < 1000, "it is bounded");
        }
        assert_eq!(ink.newly_lost(), None, "not while others wait");
        other.execute_batch("ROLLBACK").unwrap();
        let patience = Countdown::of(Duration::from_secs(60));
        while ink.waiting() > 0 || journal.health().waiting > 0 {
            assert!(!patience.left().is_zero(), "{:?}", journal.health());
            ink.flush();
            std::thread::yield_now();
        }
        assert_eq!((ink.newly_lost(), ink.newly_lost()), (Some(3), None));
        // The writer of the stream counts on; what it writes follows on what is there.
        ink.write(stream.clone(), seq, &note(seq));
        ink.write(stream.clone(), seq + 1, &note(seq + 1));
        ink.ring();
        assert_eq!(ink.lost(), 3);
        let records = journal.read(&stream, 1).unwrap();
        assert_eq!(records.len() as u64, seq + 2 - 3);
        assert_eq!(records.last().unwrap().at.boot_ns, seq + 1);
        assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
    }

    /// A detection that carries many events begins several runs: each has a copy of them.
    #[test]
    fn what_no_append_holds_is_written_in_several_and_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let mut ink = Ink::new(journal.clone());
        let large = |text: &str| {
            let text = text.repeat(11 << 20);
            vec![NewRecord::new(note(1)[0].at, NoteAdded { by: "ana".into(), text })]
        };
        ink.write("incident/a".into(), 0, &note(1));
        ink.hold();
        for (run, text) in [("run/a", "a"), ("run/b", "b"), ("run/c", "c")] {
            ink.write(run.into(), 0, &large(text));
            ink.write("incident/a".into(), ink.last(&"incident/a".into()), &note(2));
        }
        assert_eq!(journal.appends().0, 2, "all that fits is together");
        ink.let_go();
        assert_eq!((ink.lost(), ink.waiting(), journal.appends().0), (0, 0, 3));
        for run in ["run/a", "run/b", "run/c"] {
            assert_eq!(journal.read(&run.into(), 1).unwrap().len(), 1, "{run}");
        }
        assert_eq!(journal.last(&"incident/a".into()), 4);
        assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn what_waited_behind_a_held_database_is_in_the_journal_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let holder = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
        holder.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut ink = Ink::new(journal.clone());
        let mut count = 0;
        while ink.waiting() < 10 {
            ink.write("system".into(), count, &note(count));
            ink.commit();
            count += 1;
        }
        let end = std::thread::spawn(move || drop(ink));
        std::thread::park_timeout(Duration::from_millis(300));
        holder.execute_batch("ROLLBACK").unwrap();
        end.join().unwrap();
        journal.close();
        assert_eq!(Journal::open(dir.path()).unwrap().last(&"system".into()), count);
    }
}
