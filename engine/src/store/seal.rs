//! Seals: which heads the streams had, written into the system's stream.
//!
//! Each stream is a chain of its own, so a stream that is taken out whole, or cut at its end with its line put back, still looks
//! right. Owns which heads are to be sealed next, and what a check finds against those that are. Keeps true: what is sealed survives a
//! power cut, whatever of the seal does; of a stream that a record prunes, nothing is missed; what came after the last seal is not
//! tied, and the check says until when all is.

use super::item::body_of;
use super::journal::Journal;
use super::read;
use super::rows::Row;
use quell_model::record::{HeadsSealed, SealedHead};
use quell_model::{Body, Hash, Kind, Seq, Stamp, StoreError, StreamId};
use rusqlite::{Connection, params};
use std::collections::HashMap;

/// Heads that one record has at the most: some 20 kB.
const MOST: usize = 200;

/// The last seal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seal {
    /// Its number in the system's stream.
    pub record: Seq,
    /// When.
    pub at: Stamp,
    /// Its chained sum: whoever keeps it elsewhere can prove later that all before it is as it was.
    pub hash: Hash,
    /// The row up to which everything is sealed.
    pub upto: u64,
}

impl Journal {
    /// The heads of streams that went on after a row, the earliest first, as the medium has them; none: all are sealed. They may
    /// be more than one seal takes: ask again after its `upto`. It waits for a sync as long as one takes; what is not synced by then is
    /// for the next time: a seal may be on the slate and outlive what it seals.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn heads(&self, after: u64) -> Result<Option<HeadsSealed>, StoreError> {
        let rows = self.0.readers.with(|db| {
            let mut ask = db.prepare_cached(
                "SELECT name, seq, hash, last FROM streams WHERE last > ?1 AND name <> ?2 ORDER BY last LIMIT ?3",
            )?;
            let row = |row: &rusqlite::Row<'_>| {
                let stream = StreamId::from(row.get::<_, String>(0)?);
                let (last, hash) = (row.get::<_, i64>(1)?.cast_unsigned(), Hash(row.get(2)?));
                Ok((SealedHead { stream, last, hash }, row.get::<_, i64>(3)?.cast_unsigned()))
            };
            let after = i64::try_from(after).unwrap_or(i64::MAX);
            ask.query_map(params![after, StreamId::system().as_str(), MOST as i64], row)?.collect::<Result<Vec<_>, _>>()
        })?;
        let Some((_, last)) = rows.last() else { return Ok(None) };
        let safe = self.wait_safe(last.cast_signed()).cast_unsigned();
        let rows: Vec<_> = rows.into_iter().take_while(|(_, row)| *row <= safe).collect();
        let upto = rows.last().map(|(_, row)| *row);
        Ok(upto.map(|upto| HeadsSealed { upto, heads: rows.into_iter().map(|(head, _)| head).collect() }))
    }

    /// Whether these are as many heads as one seal takes, so that more may wait.
    #[must_use]
    pub fn is_full(heads: &HeadsSealed) -> bool {
        heads.heads.len() >= MOST
    }

    /// The last seal; none: nothing is sealed.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn last_seal(&self) -> Result<Option<Seal>, StoreError> {
        let system = StreamId::system();
        self.wait_visible(Some(&system));
        let ids = self.0.readers.with(|db| super::lists::latest(db, Kind::HeadsSealed, 1))?;
        let rows = read::rows(&self.0.readers, &system, &ids)?;
        let seal = |row: &Row| {
            let upto = sealed(row)?.upto;
            Some(Seal { record: row.seq, at: row.at, hash: row.sum(), upto })
        };
        Ok(rows.last().and_then(seal))
    }
}

/// What a record seals, if it is one that does.
fn sealed(row: &Row) -> Option<Box<HeadsSealed>> {
    if row.kind != Kind::HeadsSealed || row.stream != StreamId::system() {
        return None;
    }
    match body_of(row.kind, &row.body) {
        Ok(Body::HeadsSealed(sealed)) => Some(sealed),
        _ => None,
    }
}

/// The last sealed head of each stream, against what is there.
#[derive(Default)]
pub(super) struct Seals {
    heads: HashMap<StreamId, SealedHead>,
}

impl Seals {
    /// Of all seals in a journal of any schema. What cannot be read is told by the walk over the rows.
    pub(super) fn of(db: &Connection) -> Result<Self, rusqlite::Error> {
        let mut heads = HashMap::new();
        let mut ask = db.prepare("SELECT body FROM records WHERE kind = ?1 ORDER BY id")?;
        let mut rows = ask.query([Kind::HeadsSealed.to_string()])?;
        while let Some(row) = rows.next()? {
            if let Ok(Body::HeadsSealed(sealed)) = body_of(Kind::HeadsSealed, &row.get::<_, String>(0)?) {
                heads.extend(sealed.heads.into_iter().map(|head| (head.stream.clone(), head)));
            }
        }
        Ok(Self { heads })
    }

    /// What does not hold of a record that the walk passes.
    pub(super) fn pass(&self, stream: &StreamId, seq: Seq, sum: Hash) -> Option<String> {
        let head = self.heads.get(stream).filter(|head| head.last == seq && head.hash != sum)?;
        Some(format!("`{stream}`: record {} is not the one that was sealed", head.last))
    }

    /// After the walk: what does not hold of streams that end too early, or are gone. `last` is the number that a stream ends with,
    /// also one that was pruned.
    pub(super) fn ends(&self, last: impl Fn(&StreamId) -> Option<Seq>) -> Vec<String> {
        let mut findings: Vec<String> = self
            .heads
            .values()
            .filter_map(|head| match last(&head.stream) {
                None => Some(format!("`{}`: {} records were sealed, and the stream is gone", head.stream, head.last)),
                Some(last) if last < head.last => {
                    Some(format!("`{}`: ends with record {last}, and {} were sealed", head.stream, head.last))
                }
                Some(_) => None,
            })
            .collect();
        findings.sort_unstable();
        findings
    }
}
