//! A part of a stream that is shown elsewhere, without the rest.
//!
//! ```text
//! prev ─▶ record 40 ─▶ record 41 (withheld: the sum of its body) ─▶ record 42 ─▶ sum
//! ```
//!
//! Owns its shape, and the proof that it is whole. Never repairs anything. Keeps true: with the sum before its first record alone it
//! follows that nothing in it was changed, left out or put elsewhere; whose sum after the last one is sealed, pruned or the next
//! record's `prev` also knows where it belongs. A body that is withheld leaves all of that as it is, and cannot be guessed from its sum.

use super::chain::{self, SALT, hex};
use super::journal::Journal;
use super::read;
use super::rows::Row;
use quell_model::{Hash, Kind, Seq, Stamp, StoreError, StreamId};
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Slice {
    /// Of which stream. No sum has it: records of two streams follow from one another only where one was made of the other.
    pub stream: StreamId,
    /// The chained sum of the record before the first; all zeros where that is the stream's first.
    pub prev: Hash,
    /// The records, in order.
    pub records: Vec<Sliced>,
}

/// A record of a slice.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Sliced {
    /// The version of its shape.
    pub v: u16,
    /// Its number in its stream.
    pub seq: Seq,
    /// When it happened.
    pub at: Stamp,
    /// Its kind, which is there also where its body is not.
    pub kind: Kind,
    /// What it says.
    pub body: SlicedBody,
}

/// What a record says, or the proof of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlicedBody {
    /// Its JSON to the byte, and its salt in hex.
    Whole {
        /// 16 bytes that nobody can guess.
        salt: String,
        /// As it stands in the journal.
        text: String,
    },
    /// It is not shown. Whoever gets its salt and its text later can prove by this that they are what stood here.
    Withheld(Hash),
}

/// Why a slice does not hold.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SliceError {
    /// There is nothing to follow from.
    #[error("the slice has no records")]
    Empty,
    /// A number is not the next.
    #[error("record {found} is where record {expected} should be")]
    Number {
        /// What follows on the one before.
        expected: Seq,
        /// What is there.
        found: Seq,
    },
    /// What is before a first record is nothing.
    #[error("record 1 has something before it")]
    Before,
    /// A salt is not what one is.
    #[error("the salt of record {0} is not {SALT} bytes in hex")]
    Salt(Seq),
    /// The last sum is not the one that was to come out.
    #[error("the records up to {last} do not lead to {expected}: one of them, or `prev`, is not as it was written")]
    Sum {
        /// The last record.
        last: Seq,
        /// The sum that is known from elsewhere.
        expected: Hash,
    },
}

impl Slice {
    /// Leaves the body of a record out; whether there is such a record.
    pub fn withhold(&mut self, seq: Seq) -> Result<bool, SliceError> {
        let Some(record) = self.records.iter_mut().find(|record| record.seq == seq) else { return Ok(false) };
        record.body = SlicedBody::Withheld(record.body_sum()?);
        Ok(true)
    }

    /// The chained sum after the last record.
    ///
    /// # Errors
    /// What does not hold of its numbers and salts.
    pub fn sum(&self) -> Result<Hash, SliceError> {
        let first = self.records.first().ok_or(SliceError::Empty)?;
        if first.seq == 0 || first.seq == 1 && self.prev != Hash::default() {
            return Err(SliceError::Before);
        }
        let (mut sum, mut expected) = (self.prev, first.seq);
        for record in &self.records {
            if record.seq != expected {
                return Err(SliceError::Number { expected, found: record.seq });
            }
            sum = chain::link(sum, record.v, (record.seq, record.at), record.kind, record.body_sum()?);
            expected += 1;
        }
        Ok(sum)
    }

    /// Whether it is what stood in the journal: `expected` is the sum of its last record, from a seal, from what says that the stream
    /// was pruned, or from the `prev` of the record after it.
    ///
    /// # Errors
    /// What does not hold.
    pub fn verify(&self, expected: Hash) -> Result<(), SliceError> {
        let last = self.records.last().map_or(0, |record| record.seq);
        if self.sum()? == expected { Ok(()) } else { Err(SliceError::Sum { last, expected }) }
    }
}

impl Sliced {
    fn of(row: Row) -> Self {
        let Row { v, seq, at, kind, salt, body: text, redacted, .. } = row;
        let body = redacted.map_or_else(|| SlicedBody::Whole { salt: hex(&salt), text }, SlicedBody::Withheld);
        Self { v, seq, at, kind, body }
    }

    fn body_sum(&self) -> Result<Hash, SliceError> {
        match &self.body {
            SlicedBody::Withheld(sum) => Ok(*sum),
            SlicedBody::Whole { salt, text } => {
                let salt = chain::unhex(salt).ok_or(SliceError::Salt(self.seq))?;
                Ok(chain::body_sum(&salt, text))
            }
        }
    }
}

impl Journal {
    /// The records of a stream from one number to another, to be shown elsewhere; none: it has none of them.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn slice(&self, stream: &StreamId, from: Seq, to: Seq) -> Result<Option<Slice>, StoreError> {
        self.wait_visible(Some(stream));
        let held = self.0.shelf.of(Some(stream));
        let mut rows = Vec::new();
        let last = read::visit(&self.0.readers, stream, from.max(1), Kind::ALL, &mut |row| {
            rows.extend((row.seq <= to).then_some(row));
            Ok(())
        })?;
        rows.extend(held.into_iter().filter(|row| row.seq >= from && row.seq > last && row.seq <= to));
        let Some(prev) = rows.first().map(|row| row.prev) else { return Ok(None) };
        Ok(Some(Slice { stream: stream.clone(), prev, records: rows.into_iter().map(Sliced::of).collect() }))
    }
}
