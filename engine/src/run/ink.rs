//! The engine's pen: every record goes into the journal in order, or waits until the journal takes it.
//!
//! Owns what the journal refused (a full slate behind a full disk). Freeze and kill act all the same; what waits is
//! counted in `status`, and what finds no room even here is counted as lost and told: nothing is lost in silence.

use crate::store::Journal;
use quell_model::record::NewRecord;
use quell_model::{Appended, Batch, Durability, Seq, StoreError, StreamId};
use std::collections::VecDeque;

/// Records that may wait: at a kilobyte each some 50 MB.
const MOST_WAITING: usize = 50_000;

/// The journal, and what waits for it.
pub(super) struct Ink {
    journal: Journal,
    waiting: VecDeque<Batch>,
    records: usize,
    lost: u64,
}

impl Ink {
    pub(super) fn new(journal: Journal) -> Self {
        Self { journal, waiting: VecDeque::new(), records: 0, lost: 0 }
    }

    pub(super) fn journal(&self) -> &Journal {
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

    /// Writes: when it returns, the records survive SIGKILL, or they wait here.
    pub(super) fn write(&mut self, stream: StreamId, expected: Seq, records: Vec<NewRecord>) {
        let batch = Batch { stream, expected, records, durability: Durability::Written };
        if self.waiting.is_empty() {
            match self.journal.written(batch.clone()) {
                Ok(_) => return,
                Err(error) => {
                    tracing::error!(%error, stream = %batch.stream, "the journal takes nothing; records wait in memory")
                }
            }
        }
        if self.records + batch.records.len() > MOST_WAITING {
            self.lost += batch.records.len() as u64;
            return;
        }
        self.records += batch.records.len();
        self.waiting.push_back(batch);
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

    /// Tries what waits again, in order.
    pub(super) fn flush(&mut self) {
        while let Some(batch) = self.waiting.front() {
            match self.journal.written(batch.clone()) {
                Ok(_) => {}
                Err(StoreError::Unwritable(_) | StoreError::Closed) => return,
                // Records before these were lost: these cannot be chained any more, and that is told.
                Err(error) => {
                    tracing::error!(%error, stream = %batch.stream, "records are lost");
                    self.lost += batch.records.len() as u64;
                }
            }
            if let Some(batch) = self.waiting.pop_front() {
                self.records -= batch.records.len();
            }
        }
    }
}
