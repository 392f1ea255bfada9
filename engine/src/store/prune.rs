//! What was pruned: the records go in the transaction that brings the record which says so.
//!
//! ```text
//! retention ──▶ StreamPruned ──▶ slate, queue ──▶ writer: that record in, those records out   (one transaction)
//! ```
//!
//! Owns that effect, and the proof that is left of it. Never decides what goes. Keeps true: a stream is there whole, or
//! the system's stream names it with its last number and sum; a stream that went on since it was looked at stays.

use super::contents;
use super::item::body_of;
use super::journal::Journal;
use super::read;
use super::rows::{MIGRATIONS, Row};
use quell_model::record::StreamPruned;
use quell_model::{Body, Hash, Kind, Name, Seq, Stamp, StoreError, StreamId};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// Pages that are given back in one transaction: 2 MiB, some milliseconds.
const STEP: u32 = 512;

/// `auto_vacuum` of a database whose file can shrink.
const INCREMENTAL: i64 = 2;

/// The schema from which on anything can be pruned.
const SINCE: usize = 5;
const _: () = assert!(MIGRATIONS.len() >= SINCE, "its migration is in the list");

/// Who pruned a stream, and when.
#[derive(Clone, PartialEq, Debug)]
pub struct PrunedMark {
    /// When.
    pub at: Stamp,
    /// Who.
    pub by: Name,
    /// What had been over for longer than this went.
    pub older_than: Duration,
}

/// What a record names, if it is one that prunes.
pub(super) fn named(row: &Row) -> Option<Box<StreamPruned>> {
    if row.kind != Kind::StreamPruned || row.stream != StreamId::system() {
        return None;
    }
    match body_of(row.kind, &row.body) {
        Ok(Body::StreamPruned(pruned)) => Some(pruned),
        _ => None,
    }
}

/// Takes away what these rows name; whether there was anything.
pub(super) fn take_in(db: &Connection, rows: &[Row]) -> Result<bool, rusqlite::Error> {
    let mut went = false;
    for row in rows {
        for one in named(row).map(|pruned| pruned.streams).unwrap_or_default() {
            let mut find = db.prepare_cached(
                "SELECT id, last FROM streams WHERE name = ?1 AND seq = ?2 AND hash = ?3 AND over = 1 AND pruned = 0",
            )?;
            let found = params![one.stream.as_str(), one.last.cast_signed(), one.hash.0];
            let found = find.query_row(found, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            if let Some((no, last)) = found {
                take_away(db, no, last, row.id)?;
                went = true;
            }
        }
    }
    Ok(went)
}

/// The records of a stream, and what was derived from them. Of a run's line stays what tells whether an attack was
/// answered before; it is not listed.
fn take_away(db: &Connection, no: i64, last: i64, by: i64) -> Result<(), rusqlite::Error> {
    let mut look = db.prepare_cached("SELECT before FROM records WHERE id = ?1 AND stream = ?2")?;
    let mut delete = db.prepare_cached("DELETE FROM records WHERE id = ?1")?;
    let mut next = last;
    while next != 0 {
        let Some(before) = look.query_row([next, no], |row| row.get::<_, i64>(0)).optional()? else { break };
        delete.execute([next])?;
        contents::let_go(db, next)?;
        stage();
        next = before;
    }
    db.prepare_cached("UPDATE streams SET last = 0, pruned = ?2 WHERE id = ?1")?.execute([no, by])?;
    stage();
    for derived in [
        "UPDATE runs SET tail = json_set(tail, '$.summary', '') WHERE stream = ?1",
        "DELETE FROM incidents WHERE stream = ?1",
        "DELETE FROM members WHERE incident = ?1",
    ] {
        db.prepare_cached(derived)?.execute([no])?;
        stage();
    }
    Ok(())
}

/// Where a test may let the engine die.
pub(super) fn stage() {
    #[cfg(debug_assertions)]
    super::fault::within();
}

/// Gives a few free pages back; whether there are more.
pub(super) fn give_back(db: &Connection) -> Result<bool, rusqlite::Error> {
    let number = |pragma: &str| db.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    if number("freelist_count")? == 0 || number("auto_vacuum")? != INCREMENTAL {
        return Ok(false);
    }
    let mut step = db.prepare(&format!("PRAGMA incremental_vacuum({STEP})"))?;
    let mut rows = step.query([])?;
    while rows.next()?.is_some() {}
    drop(rows);
    stage();
    Ok(number("freelist_count")? > 0)
}

/// The streams that were pruned, by their number: their name, last number and sum, and the row that says so.
type Claims = HashMap<i64, (StreamId, Seq, Hash, i64)>;

/// What streams claim, against what records say.
#[derive(Default)]
pub(super) struct Proofs {
    claims: Claims,
    said: HashMap<(i64, StreamId), (Seq, Hash)>,
}

impl Proofs {
    /// Of a journal of any schema.
    pub(super) fn of(db: &Connection) -> Result<Self, rusqlite::Error> {
        let schema: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if usize::try_from(schema).is_ok_and(|schema| schema < SINCE) {
            return Ok(Self::default());
        }
        let mut ask = db.prepare("SELECT id, name, seq, hash, pruned FROM streams WHERE pruned <> 0")?;
        let claims = ask.query_map([], |row| {
            let name = StreamId::from(row.get::<_, String>(1)?);
            let claim = (name, row.get::<_, i64>(2)?.cast_unsigned(), Hash(row.get(3)?), row.get(4)?);
            Ok((row.get(0)?, claim))
        })?;
        Ok(Self { claims: claims.collect::<Result<_, _>>()?, said: HashMap::new() })
    }

    /// How many records are gone.
    fn count(&self) -> u64 {
        self.claims.values().map(|(_, last, ..)| last).sum()
    }

    /// A record that the walk passes.
    pub(super) fn take_in(&mut self, row: &Row) {
        for one in named(row).map(|pruned| pruned.streams).unwrap_or_default() {
            self.said.insert((row.id, one.stream), (one.last, one.hash));
        }
    }

    /// After the walk: what does not hold of a stream that says that it was pruned; none: it says no such thing.
    pub(super) fn judge(&self, no: i64, has_records: bool) -> Option<Option<String>> {
        let (name, last, hash, by) = self.claims.get(&no)?;
        if has_records {
            return Some(Some(format!("`{name}`: was pruned, and has records")));
        }
        let holds = self.said.get(&(*by, name.clone())) == Some(&(*last, *hash));
        Some(
            (!holds)
                .then(|| format!("`{name}`: its {last} records are missing, and no record says that they were pruned")),
        )
    }
}

/// The streams that were pruned.
pub(super) fn streams(db: &Connection) -> Result<HashSet<StreamId>, rusqlite::Error> {
    Ok(Proofs::of(db)?.claims.into_values().map(|(name, ..)| name).collect())
}

/// How many records of a journal were pruned.
pub(super) fn count(db: &Connection) -> Result<u64, rusqlite::Error> {
    Ok(Proofs::of(db)?.count())
}

impl Journal {
    /// How many records were pruned; the numbers of their streams go on counting them.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn records_pruned(&self) -> Result<u64, StoreError> {
        self.0.readers.with(count)
    }

    /// Who pruned a stream, and when; none for one that was not.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn pruned(&self, stream: &StreamId) -> Result<Option<PrunedMark>, StoreError> {
        let system = StreamId::system();
        self.wait_visible(Some(&system));
        let row = self.0.readers.with(|db| {
            let mut ask = db.prepare_cached("SELECT pruned FROM streams WHERE name = ?1 AND pruned <> 0")?;
            ask.query_row([stream.as_str()], |row| row.get::<_, i64>(0)).optional()
        })?;
        let rows = read::rows(&self.0.readers, &system, row.as_slice())?;
        let mark = |row: &Row| {
            let pruned = named(row)?;
            Some(PrunedMark { at: row.at, by: pruned.by, older_than: pruned.older_than })
        };
        Ok(rows.first().and_then(mark))
    }
}
