//! A pause, or its end, while no daemon answers: the flag in the kernel and the journal are written by the client itself.
//!
//! Invariant: what holds things still is done even if the other half cannot be; what lets them go on is done only while
//! the directory's lock is held, so that no daemon believes otherwise.

use quell_engine::clock::SystemClock;
use quell_engine::run::Refusal;
use quell_engine::store::Journal;
use quell_model::record::{NewRecord, PauseChanged};
use quell_model::{Batch, Body, Clock, Durability, Name, StoreError, StreamId};
use serde::Serialize;
use std::path::Path;

/// Not all of it was paused, or went on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PauseError {
    /// The engine did not take it.
    #[error(transparent)]
    Engine(#[from] Refusal),
    /// The engine pauses; what acts in the kernel does not.
    #[error("quell itself is paused, but what stands in the kernel strikes on: {0}")]
    Kernel(String),
    /// The engine acts again; what acts in the kernel does not.
    #[error("quell itself acts again, but what stands in the kernel is still held: {0}")]
    StillHeld(String),
}

/// What was done beside the daemon.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Beside {
    /// As it is now.
    pub(crate) paused: bool,
    /// The flag that a dead daemon left in the kernel says so.
    pub(crate) kernel: bool,
    /// The journal says so: the next `quell up` begins with it.
    pub(crate) journal: bool,
    /// What could not be done, for people.
    pub(crate) left_over: Vec<String>,
    /// The flag in the kernel is there, and could not be set.
    pub(crate) kernel_failed: bool,
}

impl Beside {
    /// Whether it had any effect.
    pub(crate) fn is_done(&self) -> bool {
        self.kernel || self.journal
    }
}

/// Pauses or resumes for the daemon of `dir`, which does not answer.
pub(crate) fn beside(dir: &Path, by: Name, paused: bool) -> Beside {
    let mut done = Beside { paused, ..Beside::default() };
    if paused {
        done.flag(dir);
        done.write(dir, by);
    } else {
        done.resume(dir, by);
    }
    done
}

impl Beside {
    fn flag(&mut self, dir: &Path) {
        match flag(dir, self.paused) {
            Ok(set) => self.kernel = set,
            Err(why) => {
                self.kernel_failed = true;
                self.left_over.push(why);
            }
        }
    }

    fn write(&mut self, dir: &Path, by: Name) {
        if dir.join("journal.db").exists() {
            let written = write(dir, by, self.paused, || {});
            self.say(written);
        }
    }

    /// The flag is lifted once the journal says so, and before anybody else can say otherwise.
    fn resume(&mut self, dir: &Path, by: Name) {
        if dir.join("journal.db").exists() {
            let written = write(dir, by, false, || self.flag(dir));
            self.say(written);
        } else {
            self.flag(dir);
        }
    }

    fn say(&mut self, written: Result<(), StoreError>) {
        match written {
            Ok(()) => self.journal = true,
            Err(e @ StoreError::Taken { .. }) => {
                self.left_over.push(format!("a daemon lives, though it does not answer: {e}"));
            }
            Err(e) => self.left_over.push(format!("the journal: {e}")),
        }
    }
}

/// Makes the journal say so, unless it does already; then does `held` while the directory is still locked.
pub(super) fn write(dir: &Path, by: Name, paused: bool, held: impl FnOnce()) -> Result<(), StoreError> {
    let journal = Journal::open(dir)?;
    let stream = StreamId::system();
    let records = journal.read(&stream, 1)?;
    let said = records.iter().rev().find_map(|record| match &record.body {
        Body::PauseChanged(changed) => Some(changed.paused),
        _ => None,
    });
    let expected = records.last().map_or(0, |record| record.seq);
    let written = if said.unwrap_or(false) == paused {
        Ok(())
    } else {
        let records = vec![NewRecord::new(SystemClock.now(), PauseChanged { paused, by })];
        journal.written(Batch { stream, expected, records, durability: Durability::Synced }).map(drop)
    };
    if written.is_ok() {
        held();
    }
    journal.close();
    written
}

/// Sets the flag of what the daemon of `dir` pinned; false when it pinned nothing.
#[cfg(feature = "ebpf")]
pub(super) fn flag(dir: &Path, paused: bool) -> Result<bool, String> {
    let set = quell_detectors::pin::pause(Path::new(quell_detectors::pin::DIR), dir, paused);
    set.map_err(|e| super::with_source(&e))
}

#[cfg(not(feature = "ebpf"))]
pub(super) fn flag(_: &Path, _: bool) -> Result<bool, String> {
    Ok(false)
}
