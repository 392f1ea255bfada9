//! Following the journal: what was committed, row after row, as it comes.
//!
//! ```text
//! writer ── commit ──▶ Head (the last row) ──▶ whoever follows wakes ──▶ after(row) ──▶ records
//! ```
//!
//! Owns the way from a row to the next ones, and what of it was pruned meanwhile. Keeps true: nothing is shown before its
//! commit; a record is shown once, in the order of the rows; who follows slowly holds up nobody.

use super::Journal;
use super::prune::named;
use super::read;
use super::rows::Row;
use jiff::Timestamp;
use quell_model::{Kind, Record, StoreError, StreamId};
use tokio::sync::watch;

/// Up to where the database has everything.
pub(super) struct Head(watch::Sender<i64>);

impl Head {
    pub(super) fn new(row: i64) -> Self {
        Self(watch::Sender::new(row))
    }

    /// These are in the database.
    pub(super) fn committed(&self, rows: &[Row]) {
        if let Some(last) = rows.last() {
            self.0.send_replace(last.id);
        }
    }
}

/// A record with its place among all.
#[derive(Clone, Debug, PartialEq)]
pub struct Followed {
    /// Its row: rows grow in the order of the commits, and have gaps where something was pruned.
    pub row: i64,
    /// Its stream.
    pub stream: StreamId,
    /// What it says.
    pub record: Record,
}

/// Some rows of the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// The wanted records among them.
    pub records: Vec<Followed>,
    /// Where the next stretch goes on.
    pub upto: i64,
    /// There were no more.
    pub is_last: bool,
}

/// What of the time after a row was pruned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Missing {
    /// Streams of which something is missing, some of them.
    pub streams: Vec<StreamId>,
    /// How many more there are; where a look goes no further, at the most.
    pub more: u64,
}

/// Records about prunings that one look reads: each names hundreds of streams.
const MARKS: usize = 16;

impl Journal {
    /// The row of the last record that is in the database; wakes whoever waits for it at every commit.
    #[must_use]
    pub fn head(&self) -> watch::Receiver<i64> {
        self.0.head.0.subscribe()
    }

    /// Reads on after a row: so many rows at the most, and of those the wanted ones. Looks at the database alone.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn after(
        &self,
        row: i64,
        most: usize,
        wanted: &mut dyn FnMut(&StreamId, Kind) -> bool,
    ) -> Result<Stretch, StoreError> {
        let rows = read::after(&self.0.readers, row, most)?;
        let (upto, is_last) = (rows.last().map_or(row, |row| row.id), rows.len() < most);
        let mut records = Vec::new();
        for row in rows {
            if wanted(&row.stream, row.kind) {
                records.push(Followed { row: row.id, record: row.record()?, stream: row.stream });
            }
        }
        Ok(Stretch { records, upto, is_last })
    }

    /// The streams of which records that came after a row were pruned meanwhile: so many of them at the most, and how many others.
    ///
    /// A stream is pruned as a whole, and the record that says so has the moment of its last record: what ended before the
    /// row's own moment has nothing after it. Behind so many prunings as a look reads, streams are counted without that.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn pruned_after(&self, row: i64, most: usize) -> Result<Missing, StoreError> {
        let (at, (marks, later)) =
            self.0.readers.with(|db| Ok((read::moment_before(db, row)?, read::prunings_after(db, row, MARKS)?)))?;
        let at = at.as_deref().and_then(|text| text.parse().ok()).unwrap_or(Timestamp::MIN);
        let rows = read::rows(&self.0.readers, &StreamId::system(), &marks)?;
        let streams = rows.iter().filter_map(named).flat_map(|pruned| pruned.streams);
        let mut streams: Vec<StreamId> = streams.filter(|one| one.ended >= at).map(|one| one.stream).collect();
        let more = later + streams.len().saturating_sub(most) as u64;
        streams.truncate(most);
        Ok(Missing { streams, more })
    }
}
