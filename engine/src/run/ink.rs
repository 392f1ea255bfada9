//! The engine's pen: records are written down at once and go into the journal together, in order, or wait until it takes
//! them.
//!
//! Owns what is written down and not in the journal yet, and what the journal refused (a full slate behind a full disk).
//! Freeze and kill act all the same; what waits is counted in `status`, and what finds no room even here is counted as
//! lost and told: nothing is lost in silence.
//! Keeps true: between two calls of [`Ink::commit`] nothing happens to the world. Who acts, answers or hands work over
//! commits first.

use crate::clock::Countdown;
use crate::store::{Draft, Journal};
use quell_model::record::NewRecord;
use quell_model::{Appended, Batch, Durability, Seq, StoreError, StreamId};
use std::collections::VecDeque;
use std::time::Duration;

/// Records that may wait: at a kilobyte each some 50 MB.
const MOST_WAITING: usize = 50_000;
/// A draft that has grown so large goes into the journal by itself: no single append may outgrow the slate.
const LARGE: usize = 256 << 10;

/// At the end what waits is brought into the journal as long as it takes some of it in each so long.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries at the end.
const PAUSE: Duration = Duration::from_millis(2);

/// The journal, and what waits for it.
pub(super) struct Ink {
    journal: Journal,
    draft: Draft,
    waiting: VecDeque<Draft>,
    records: usize,
    lost: u64,
}

impl Ink {
    pub(super) fn new(journal: Journal) -> Self {
        Self { journal, draft: Draft::default(), waiting: VecDeque::new(), records: 0, lost: 0 }
    }

    /// The journal, with all that was written.
    pub(super) fn journal(&mut self) -> &Journal {
        self.commit();
        &self.journal
    }

    /// Records that wait for the journal.
    pub(super) fn waiting(&self) -> usize {
        self.records
    }

    /// Records that found no room.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Writes down; [`Ink::commit`] brings it into the journal.
    pub(super) fn write(&mut self, stream: StreamId, expected: Seq, records: &[NewRecord]) {
        if let Err(error) = self.draft.add(stream.clone(), expected, records) {
            tracing::error!(%error, %stream, "records are lost");
            self.lost += records.len() as u64;
        }
        if self.draft.bytes() > LARGE {
            self.commit();
        }
    }

    /// When it returns, what was written survives SIGKILL, or it waits here. The writer sleeps on until
    /// [`Ink::ring`]: the act comes first.
    pub(super) fn commit(&mut self) {
        if self.draft.is_empty() {
            return;
        }
        let draft = std::mem::take(&mut self.draft);
        if !self.waiting.is_empty() {
            return self.keep(draft);
        }
        if let Err((draft, error)) = self.journal.put(draft) {
            tracing::error!(%error, "the journal takes nothing; records wait in memory");
            self.keep(draft);
        }
    }

    /// Brings everything into the journal and wakes its writer.
    pub(super) fn ring(&mut self) {
        self.commit();
        self.journal.ring();
    }

    fn keep(&mut self, draft: Draft) {
        let records = draft.records();
        if self.records + records > MOST_WAITING {
            self.lost += records as u64;
            return;
        }
        self.records += records;
        self.waiting.push_back(draft);
    }

    /// Writes, and tells `done` once it survives a power cut too. An error: nothing was written, and `done` is not
    /// called.
    pub(super) fn synced(
        &mut self,
        stream: StreamId,
        expected: Seq,
        records: Vec<NewRecord>,
        done: Box<dyn FnOnce(Result<Appended, StoreError>) + Send>,
    ) -> Result<(), StoreError> {
        self.flush();
        if !self.waiting.is_empty() {
            return Err(StoreError::Unwritable(format!("{} records wait already", self.records)));
        }
        let last = expected + records.len() as u64;
        self.journal.written(Batch { stream: stream.clone(), expected, records, durability: Durability::Written })?;
        // Nothing more to write: it is done when all before it is on the disk.
        let barrier = Batch { stream, expected: last, records: Vec::new(), durability: Durability::Synced };
        self.journal.submit(vec![barrier], done);
        Ok(())
    }

    /// Brings into the journal what was written, and tries what waits again, in order.
    pub(super) fn flush(&mut self) {
        self.commit();
        while let Some(draft) = self.waiting.pop_front() {
            let records = draft.records();
            match self.journal.put(draft) {
                Ok(()) => {}
                Err((draft, StoreError::Unwritable(_) | StoreError::Closed)) => {
                    self.waiting.push_front(draft);
                    break;
                }
                Err((draft, error)) => self.rest_of(draft, &error),
            }
            self.records -= records;
        }
        self.journal.ring();
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
            let records = part.records() as u64;
            if alone || self.journal.put(part).is_err() {
                tracing::error!(%error, records, "records are lost");
                self.lost += records;
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
    use crate::store::tests::bodies::{at, note};

    #[test]
    fn what_waited_behind_a_held_database_is_in_the_journal_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let holder = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
        holder.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut ink = Ink::new(journal.clone());
        let (text, mut count) = ("x".repeat(100_000), 0);
        while ink.waiting() < 20 {
            ink.write("system".into(), count, &[NewRecord::new(at(count), note(&text))]);
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
