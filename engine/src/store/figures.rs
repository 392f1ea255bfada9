//! What the journal measures of itself.
//!
//! Owns the shapes. The figures wait for nothing but the lock that everybody takes for some microseconds; only
//! [`Journal::size`] asks the database, without waiting for the writer.

use super::Journal;
use super::journal::database;
use crate::spread::Spread;
use quell_model::StoreError;
use std::path::Path;

/// Bytes that are used, and that there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Used.
    pub used: u64,
    /// In all.
    pub whole: u64,
}

/// Figures since this journal was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// The slate.
    pub slate: Room,
    /// What is taken and not yet in the database.
    pub held: Room,
    /// Records that are taken and not yet in the database.
    pub waiting: u64,
    /// Of the calls that brought them, how many would be lost if the engine were killed now.
    pub in_memory_only: u64,
    /// The database takes what it is given.
    pub takes: bool,
    /// Calls whose records were not taken, for want of room.
    pub refused: u64,
    /// Transactions that the database refused.
    pub commits_refused: u64,
    /// How long it took until what was committed was on the medium.
    pub synced: Spread,
}

/// What it takes on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// The number of the last record in the database: so many were written since the journal began.
    pub records: u64,
    /// Streams in the database.
    pub streams: u64,
    /// Bytes of the database with its log.
    pub bytes: u64,
}

impl Journal {
    /// How it goes; waits for no disk.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let figures = self.0.counter.figures();
        Figures { takes: figures.takes && !self.hangs(), ..figures }
    }

    /// What it takes in a directory. Asks the database, and not its writer.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn size(&self, dir: &Path) -> Result<Size, StoreError> {
        let (records, streams) = self.0.readers.with(|db| {
            let last = "SELECT coalesce((SELECT max(id) FROM records), 0), (SELECT count(*) FROM streams)";
            db.query_row(last, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
        })?;
        let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |data| data.len());
        let (database, mut log) = (database(dir), database(dir).into_os_string());
        log.push("-wal");
        let bytes = bytes(&database) + bytes(Path::new(&log));
        Ok(Size { records: records.cast_unsigned(), streams: streams.cast_unsigned(), bytes })
    }
}
