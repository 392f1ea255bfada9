//! What a record said goes, and the record stays: its number, its moments, its kind, and the salted sum by which the chain goes on.
//!
//! ```text
//! redaction ──▶ StreamRedacted ──▶ writer: that record in, body and salt out   (one transaction) ──▶ wiped: the file is written anew
//! ```
//!
//! Owns that effect, what stands there instead, and the proof. Never decides which record. Keeps true: only what is over and holds no
//! containment is redacted; every record that has no body of its own is named by one that says who, when and why; what lay apart for
//! it alone is gone with it, and what lists show is derived anew.

use super::chain::{SALT, body_sum};
use super::contents;
use super::item::body_of;
use super::journal::{Journal, database};
use super::lists;
use super::lock::DirLock;
use super::read;
use super::rows::{Row, Rows, told};
use super::slate::{self, Slate};
use quell_model::record::StreamRedacted;
use quell_model::{Body, Hash, Json, Kind, Name, Seq, StoreError, StreamId};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BTreeSet, HashMap};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// Runs lie no deeper below one another.
const MOST_DEEP: usize = 32;

/// What stands where something was.
const REDACTED: &str = "redacted";

/// Names by which a stream is read: they are quell's own, or of a definition, and a run without them is none.
const KEPT: &[&str] = &["run", "incident", "part", "step", "playbook", "action", "question"];

/// Why a record is not redacted.
#[derive(Debug, thiserror::Error)]
pub enum RedactError {
    /// There is no such record.
    #[error("there is no record {seq} in `{stream}`")]
    None {
        /// Where.
        stream: StreamId,
        /// Which.
        seq: Seq,
    },
    /// Its stream is still worked with.
    #[error("`{0}` is not over, or a containment rests on it that stands")]
    Open(StreamId),
    /// Only what people's attacks left can be redacted.
    #[error("`{0}` is no run and no incident")]
    Other(StreamId),
    /// What it says cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A row whose body is gone, and what a record says of it.
#[derive(Default)]
pub(super) struct Redactions {
    said: HashMap<(StreamId, Seq), (Hash, Hash)>,
    found: Vec<(StreamId, Seq, Hash, Hash)>,
}

impl Redactions {
    /// A record that the walk passes.
    pub(super) fn take_in(&mut self, row: &Row) {
        if let Some(said) = named(row) {
            self.said.insert((said.stream, said.seq), (said.sum, said.instead));
        }
        if let Some(sum) = row.redacted {
            self.found.push((row.stream.clone(), row.seq, sum, Hash::of(row.body.as_bytes())));
        }
    }

    /// After the walk: what does not hold.
    pub(super) fn judge(mut self, is_there: impl Fn(&StreamId) -> bool) -> Vec<String> {
        let mut findings = Vec::new();
        for (stream, seq, sum, instead) in self.found {
            let said = self.said.remove(&(stream.clone(), seq));
            if said != Some((sum, instead)) {
                findings
                    .push(format!("`{stream}`: record {seq} has no body, and no record says that it was redacted so"));
            }
        }
        let mut whole: Vec<_> = self.said.into_keys().filter(|(stream, _)| is_there(stream)).collect();
        whole.sort_unstable();
        findings.extend(
            whole.iter().map(|(stream, seq)| format!("`{stream}`: record {seq} was redacted, and has a body again")),
        );
        findings
    }
}

/// What a record redacts, if it is one that does.
fn named(row: &Row) -> Option<Box<StreamRedacted>> {
    if row.kind != Kind::StreamRedacted || row.stream != StreamId::system() {
        return None;
    }
    match body_of(row.kind, &row.body) {
        Ok(Body::StreamRedacted(redacted)) => Some(redacted),
        _ => None,
    }
}

/// What stands there instead of a body: of the same shape, without any text that is not of quell's own words. From the outside in,
/// whatever may be any text becomes one, so that nothing has to be known of the kinds.
fn instead(kind: Kind, body: &str) -> Result<String, String> {
    let mut whole: Json = serde_json::from_str(body).map_err(|e| e.to_string())?;
    let is_read = |json: &Json| {
        let text = json.to_string();
        body_of(kind, &text).is_ok() && lists::understand(kind, &text)
    };
    if !is_read(&whole) {
        return Err(format!("a body of kind {kind} cannot be read"));
    }
    // All items of a list are of one shape, and are tried together.
    let mut level: BTreeSet<Vec<String>> = keys(&whole, &[]);
    while !level.is_empty() {
        let mut next = BTreeSet::new();
        for path in level {
            let mut tried = whole.clone();
            each(&mut tried, &path, &mut |place| *place = if place.is_null() { Json::Null } else { REDACTED.into() });
            if is_read(&tried) {
                whole = tried;
            } else {
                next.extend(keys(&whole, &path));
            }
        }
        level = next;
    }
    Ok(whole.to_string())
}

/// The places below one, where a list's items are all `*`.
fn keys(whole: &Json, path: &[String]) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    // What came from outside may have fields of these names.
    let foreign = path.first().is_some_and(|first| matches!(first.as_str(), "event" | "detection"));
    let mut whole = whole.clone();
    each(&mut whole, path, &mut |place| {
        let mut add = |key: &str| {
            found.insert([path, &[key.to_owned()]].concat());
        };
        match place {
            Json::Object(map) => {
                map.keys().filter(|key| foreign || !KEPT.contains(&key.as_str())).for_each(|key| add(key))
            }
            Json::Array(_) => add("*"),
            _ => {}
        }
    });
    found
}

fn each(json: &mut Json, path: &[String], change: &mut dyn FnMut(&mut Json)) {
    match (path.split_first(), json) {
        (None, json) => change(json),
        (Some((_, rest)), Json::Array(items)) => items.iter_mut().for_each(|item| each(item, rest, change)),
        (Some((key, rest)), Json::Object(map)) => {
            if let Some(value) = map.get_mut(key) {
                each(value, rest, change);
            }
        }
        _ => {}
    }
}

/// Takes away what these rows name.
pub(super) fn take_in(db: &Connection, rows: &[Row]) -> Result<(), rusqlite::Error> {
    for said in rows.iter().filter_map(named) {
        let Some((no, row)) = find(db, &said.stream, said.seq)? else { continue };
        let sum = body_sum(&row.salt, &row.body);
        let Ok(text) = instead(row.kind, &row.body) else { continue };
        if row.redacted.is_some() || sum != said.sum || Hash::of(text.as_bytes()) != said.instead {
            continue;
        }
        db.prepare_cached("UPDATE records SET salt = ?2, body = ?3 WHERE id = ?1")?
            .execute(params![row.id, sum.0, text])?;
        contents::let_go(db, row.id)?;
        for derived in [
            "DELETE FROM runs WHERE stream = ?1",
            "DELETE FROM incidents WHERE stream = ?1",
            "DELETE FROM members WHERE incident = ?1",
        ] {
            db.prepare_cached(derived)?.execute([no])?;
        }
        read::each_of(db, &said.stream, &mut |row| lists::take(db, row))?;
    }
    Ok(())
}

/// A record of a stream that is over, with the stream's number.
fn find(db: &Connection, stream: &StreamId, seq: Seq) -> Result<Option<(i64, Row)>, rusqlite::Error> {
    let mut ask = db.prepare_cached("SELECT id FROM streams WHERE name = ?1 AND over = 1 AND pruned = 0")?;
    let Some(no) = ask.query_row([stream.as_str()], |row| row.get::<_, i64>(0)).optional()? else { return Ok(None) };
    let mut found = None;
    read::each_of(db, stream, &mut |row| {
        if row.seq == seq {
            found = Some(row.clone());
        }
        Ok(())
    })?;
    Ok(found.map(|row| (no, row)))
}

impl Journal {
    /// What says that a record is redacted, to be appended to the system's stream; none: it is already.
    ///
    /// # Errors
    /// See [`RedactError`].
    pub fn redaction(
        &self,
        stream: &StreamId,
        seq: Seq,
        (by, reason): (Name, String),
    ) -> Result<Option<StreamRedacted>, RedactError> {
        if stream.as_run().is_none() && stream.as_incident().is_none() {
            return Err(RedactError::Other(stream.clone()));
        }
        let none = || RedactError::None { stream: stream.clone(), seq };
        if seq == 0 || self.last(stream) < seq || self.pruned(stream)?.is_some() {
            return Err(none());
        }
        let (open, leased) = (self.open_streams()?, self.under_lease()?);
        let is_needed = |stream: &StreamId| open.contains(stream) || leased.contains(stream);
        let mut above = Some(stream.clone());
        for _ in 0..=MOST_DEEP {
            let Some(one) = above.take() else { break };
            if is_needed(&one) {
                return Err(RedactError::Open(one));
            }
            above = self.started_by(&one)?;
        }
        let (_, row) = self.0.readers.with(|db| find(db, stream, seq))?.ok_or_else(none)?;
        if row.redacted.is_some() {
            return Ok(None);
        }
        let text = instead(row.kind, &row.body)
            .map_err(|why| StoreError::Corrupt(format!("`{stream}`, record {seq}: {why}")))?;
        let (sum, instead) = (body_sum(&row.salt, &row.body), Hash::of(text.as_bytes()));
        Ok(Some(StreamRedacted { by, reason, stream: stream.clone(), seq, sum, instead }))
    }

    /// The run that has started a run, and takes it back with what it did itself.
    fn started_by(&self, stream: &StreamId) -> Result<Option<StreamId>, StoreError> {
        let began = self.read_kinds(stream, 1, &[Kind::RunStarted])?;
        let parent = began.first().and_then(|first| match &first.body {
            Body::RunStarted(started) => started.parent.as_ref().filter(|parent| !parent.detached),
            _ => None,
        });
        Ok(parent.map(|parent| StreamId::run(&parent.run)))
    }

    /// The records of a stream that were redacted, each with the record that says so.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn redacted(&self, stream: &StreamId) -> Result<Vec<StreamRedacted>, StoreError> {
        let all = self.latest(&[Kind::StreamRedacted], usize::MAX)?;
        let of = all.into_iter().filter_map(|record| match record.body {
            Body::StreamRedacted(redacted) if redacted.stream == *stream => Some(*redacted),
            _ => None,
        });
        Ok(of.collect())
    }
}

/// Writes the files of a journal that nobody has open anew, so that nothing is left in them of what went: neither in room that is free
/// in the database, nor in its log, nor on the slate.
///
/// # Errors
/// `Taken` while somebody has it; `Unwritable` where there is no room for a second copy, or the slate still holds what the database
/// lacks.
pub fn wipe(dir: &Path) -> Result<(), StoreError> {
    let _lock = DirLock::take(dir)?;
    let rows = Rows::open(&database(dir))?;
    let applied = rows.stand()?.applied;
    let path = dir.join("slate");
    if !Slate::look(&path, rows.id, applied)?.is_empty() {
        return Err(StoreError::Unwritable("the slate holds records that the database lacks".to_owned()));
    }
    rows.db.execute_batch("VACUUM").map_err(|e| told(&e))?;
    rows.checkpoint();
    slate::sweep(&path, applied);
    let wiped = || {
        let mut file = OpenOptions::new().write(true).open(&path)?;
        let mut left = file.metadata()?.len();
        let zeros = vec![0; 1 << 20];
        while left > 0 {
            let some = usize::try_from(left).unwrap_or(zeros.len()).min(zeros.len());
            file.write_all(&zeros[..some])?;
            left -= some as u64;
        }
        file.sync_all()?;
        // The next start makes a new one.
        std::fs::remove_file(&path)
    };
    match wiped() {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::Unwritable(format!("`{}`: {e}", path.display())))
        }
        _ => Ok(()),
    }
}

const _: () = assert!(SALT < 32, "a salt is told from a sum by its length");
