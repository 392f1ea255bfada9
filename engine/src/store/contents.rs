//! Values that lie beside their records, by their sum.
//!
//! ```text
//! record with references ─┬─▶ records: the body, with each value's sum
//!                         ├─▶ contents: each value once, packed          (one transaction)
//!                         └─▶ holds: which row refers to which
//! ```
//!
//! Owns these two tables. Never decides what lies apart: the record that comes says so (`quell_model::record::stored`). Keeps true: a
//! row that refers and what it refers to come and go in one transaction; what is given out has the sum that was asked for.

use super::journal::Journal;
use super::rows::{MIGRATIONS, Row};
use quell_model::record::{Content, Stored, stored};
use quell_model::{Body, Hash, Json, Record, StoreError};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashSet;
use std::sync::Arc;

/// The schema from which on anything lies apart.
const SINCE: usize = 6;
const _: () = assert!(MIGRATIONS.len() >= SINCE, "its migration is in the list");

/// The fastest that still packs: it is done where the engine waits for it.
const LEVEL: i32 = 1;

/// No value that lies apart has more bytes: a damaged length is not believed.
const MOST: u64 = super::item::MOST_BYTES as u64;

/// A value as it lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) hash: Hash,
    /// Of its JSON.
    pub(super) bytes: u64,
    pub(super) packed: Arc<[u8]>,
}

impl Packed {
    pub(super) fn of(content: &Content) -> Result<Self, StoreError> {
        let Stored { hash, bytes, .. } = content.stored;
        let packed = zstd::bulk::compress(&content.text, LEVEL).map_err(|e| StoreError::Unwritable(e.to_string()))?;
        Ok(Self { hash, bytes, packed: packed.into() })
    }

    /// Its JSON's text, if it has the sum that it is kept under.
    pub(super) fn unpacked(&self) -> Result<Vec<u8>, StoreError> {
        let corrupt = |why: &str| StoreError::Corrupt(format!("the stored value {} {why}", self.hash));
        let bytes = usize::try_from(self.bytes.min(MOST)).unwrap_or(usize::MAX);
        let text = zstd::bulk::decompress(&self.packed, bytes).map_err(|_| corrupt("cannot be unpacked"))?;
        if text.len() as u64 != self.bytes || Hash::of(&text) != self.hash {
            return Err(corrupt("is not as it was written"));
        }
        Ok(text)
    }

    fn value(&self) -> Result<Json, StoreError> {
        let read = serde_json::from_slice(&self.unpacked()?);
        read.map_err(|e| StoreError::Corrupt(format!("the stored value {} is no JSON: {e}", self.hash)))
    }
}

/// Brings what these rows refer to.
pub(super) fn take_in(db: &Connection, rows: &[Row]) -> Result<(), rusqlite::Error> {
    for row in rows.iter().filter(|row| !row.contents.is_empty()) {
        let mut put = db.prepare_cached("INSERT OR IGNORE INTO contents (hash, bytes, packed) VALUES (?1, ?2, ?3)")?;
        let mut hold = db
            .prepare_cached("INSERT OR IGNORE INTO holds (row, content) SELECT ?1, id FROM contents WHERE hash = ?2")?;
        for one in &row.contents {
            put.execute(params![one.hash.0, one.bytes.cast_signed(), &*one.packed])?;
            super::prune::stage();
            hold.execute(params![row.id, one.hash.0])?;
        }
    }
    Ok(())
}

/// A row goes, and with it what nothing else refers to.
pub(super) fn let_go(db: &Connection, row: i64) -> Result<(), rusqlite::Error> {
    let mut ask = db.prepare_cached("DELETE FROM holds WHERE row = ?1 RETURNING content")?;
    let held = ask.query_map([row], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    let mut delete = db
        .prepare_cached("DELETE FROM contents WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM holds WHERE content = ?1)")?;
    for content in held {
        delete.execute([content])?;
        super::prune::stage();
    }
    Ok(())
}

/// Whether a journal of this schema has any.
fn has(db: &Connection) -> Result<bool, rusqlite::Error> {
    let schema: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(usize::try_from(schema).is_ok_and(|schema| schema >= SINCE))
}

fn packed(row: &rusqlite::Row<'_>) -> Result<Packed, rusqlite::Error> {
    let packed: Vec<u8> = row.get(2)?;
    Ok(Packed { hash: Hash(row.get(0)?), bytes: row.get::<_, i64>(1)?.cast_unsigned(), packed: packed.into() })
}

fn find(db: &Connection, hash: &Hash) -> Result<Option<Packed>, rusqlite::Error> {
    if !has(db)? {
        return Ok(None);
    }
    let mut ask = db.prepare_cached("SELECT hash, bytes, packed FROM contents WHERE hash = ?1")?;
    ask.query_row([hash.0], packed).optional()
}

/// A value that a row refers to, if it can be read.
pub(super) fn look(db: &Connection, row: &Row, hash: &Hash) -> Option<Json> {
    let held = row.contents.iter().find(|one| one.hash == *hash).cloned();
    held.or_else(|| find(db, hash).ok().flatten())?.value().ok()
}

/// Gives every text that lies apart, but for what only rows of these streams refer to. One that cannot be read is passed over: the
/// check tells it.
pub(super) fn texts(db: &Connection, but: &HashSet<i64>, each: &mut dyn FnMut(&str)) -> Result<(), rusqlite::Error> {
    if !has(db)? {
        return Ok(());
    }
    let mut holders = db.prepare("SELECT r.stream FROM holds h JOIN records r ON r.id = h.row WHERE h.content = ?1")?;
    let mut ask = db.prepare("SELECT hash, bytes, packed, id FROM contents ORDER BY id")?;
    let mut rows = ask.query([])?;
    while let Some(row) = rows.next()? {
        let streams = holders.query_map([row.get::<_, i64>(3)?], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
        if streams.iter().all(|stream| but.contains(stream)) {
            continue;
        }
        let text = packed(row)?.unpacked().ok().and_then(|text| String::from_utf8(text).ok());
        text.iter().for_each(|text| each(text));
    }
    Ok(())
}

/// Bytes that lie apart for a row, about: what others refer to as well is counted for each.
pub(super) fn bytes_of(db: &Connection, row: i64) -> Result<u64, rusqlite::Error> {
    if !has(db)? {
        return Ok(0);
    }
    let mut ask = db.prepare_cached(
        "SELECT coalesce(sum(length(c.packed)), 0) FROM holds h JOIN contents c ON c.id = h.content WHERE h.row = ?1",
    )?;
    ask.query_row([row], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
}

/// What records refer to, against what lies there.
#[derive(Default)]
pub(super) struct Refers(HashSet<(i64, Hash)>);

impl Refers {
    /// A record that the walk passes.
    pub(super) fn take_in(&mut self, row: i64, body: &Body) {
        self.0.extend(body.stored().into_iter().map(|stored| (row, stored.hash)));
    }

    /// After the walk: what does not hold, for people.
    pub(super) fn judge(mut self, db: &Connection) -> Result<Vec<String>, rusqlite::Error> {
        let mut findings = Vec::new();
        if has(db)? {
            let mut ask = db.prepare("SELECT h.row, c.hash FROM holds h LEFT JOIN contents c ON c.id = h.content")?;
            let mut rows = ask.query([])?;
            while let Some(row) = rows.next()? {
                let (no, hash) = (row.get::<_, i64>(0)?, row.get::<_, Option<[u8; 32]>>(1)?.map(Hash));
                // A row whose value is gone is told below.
                if let Some(hash) = hash.filter(|hash| !self.0.remove(&(no, *hash))) {
                    findings.push(format!("the stored value {hash} is kept for row {no}, which does not refer to it"));
                }
            }
            let mut ask = db.prepare("SELECT hash, bytes, packed, id FROM contents ORDER BY id")?;
            let mut held = db.prepare("SELECT 1 FROM holds WHERE content = ?1")?;
            let mut rows = ask.query([])?;
            while let Some(row) = rows.next()? {
                let one = packed(row)?;
                findings.extend(one.unpacked().err().map(|error| error.to_string()));
                if !held.exists([row.get::<_, i64>(3)?])? {
                    findings.push(format!("the stored value {} is kept, and no record refers to it", one.hash));
                }
            }
        }
        let mut missing: Vec<(i64, Hash)> = self.0.into_iter().collect();
        missing.sort_unstable();
        findings.extend(
            missing.iter().map(|(row, hash)| format!("row {row} refers to the value {hash}, which is missing")),
        );
        Ok(findings)
    }
}

impl Journal {
    /// A value that a record refers to which can be read: it waits for no writer.
    ///
    /// # Errors
    /// `Corrupt` when it is missing or not as it was written, else as [`Journal::read`].
    pub fn content(&self, of: &Stored) -> Result<Json, StoreError> {
        let look = || self.0.readers.with(|db| find(db, &of.hash));
        let mut found = look()?;
        if found.is_none() {
            // The writer shows it or has brought it into the database meanwhile, in this order.
            let held = self.0.shelf.of(None).into_iter().flat_map(|row| row.contents).find(|one| one.hash == of.hash);
            found = held.map_or_else(look, |one| Ok(Some(one)))?;
        }
        let missing = || StoreError::Corrupt(format!("the stored value {} is missing", of.hash));
        found.ok_or_else(missing)?.value()
    }

    /// A record with all that lies apart in its place.
    ///
    /// # Errors
    /// As [`Journal::content`].
    pub fn whole(&self, mut record: Record) -> Result<Record, StoreError> {
        let mut done = Ok(());
        record.body.visit_places(&mut |place| {
            if done.is_ok() {
                done = stored::made_whole(place, &mut |of| self.content(of));
            }
        });
        done.map(|()| record)
    }
}
