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
use super::item::{body_of, body_text};
use super::journal::{Journal, database};
use super::lists;
use super::lock::DirLock;
use super::read;
use super::rows::{Row, Rows, told};
use super::slate::{self, Slate};
use quell_model::record::StreamRedacted;
use quell_model::{Body, Hash, Json, Kind, Name, Seq, StoreError, StreamId};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// Runs lie no deeper below one another.
pub(super) const MOST_DEEP: usize = 32;

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
/// whatever may be any text becomes one, and a map of anything is empty, so that nothing has to be known of the kinds.
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
                continue;
            }
            // Of a map of anything the keys go too.
            if takes_any_key(kind, &whole, &path) {
                let mut tried = whole.clone();
                each(&mut tried, &path, &mut |place| {
                    if let Json::Object(map) = place {
                        map.clear();
                    }
                });
                if is_read(&tried) {
                    whole = tried;
                }
            }
            next.extend(keys(&whole, &path));
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

/// Whether what is read there keeps a key of any name: then its keys came from outside, as its values did.
fn takes_any_key(kind: Kind, whole: &Json, path: &[String]) -> bool {
    const ANY: &str = "any name";
    let (mut tried, mut maps, mut kept) = (whole.clone(), 0, 0);
    each(&mut tried, path, &mut |place| {
        if let Json::Object(map) = place {
            map.insert(ANY.to_owned(), REDACTED.into());
            maps += 1;
        }
    });
    let written = body_of(kind, &tried.to_string()).ok().and_then(|body| body_text(&body).ok());
    let Some(mut again) = written.and_then(|text| serde_json::from_str(&text).ok()) else { return false };
    each(&mut again, path, &mut |place| kept += usize::from(place.get(ANY).is_some()));
    maps > 0 && kept == maps
}

/// Takes away what these rows name.
pub(super) fn take_in(db: &Connection, rows: &[Row]) -> Result<(), rusqlite::Error> {
    let mut streams: BTreeMap<StreamId, BTreeMap<Seq, Box<StreamRedacted>>> = BTreeMap::new();
    for said in rows.iter().filter_map(named) {
        streams.entry(said.stream.clone()).or_default().insert(said.seq, said);
    }
    for (stream, all) in streams {
        let Some(no) = number(db, &stream)? else { continue };
        let mut due = Vec::new();
        read::each_of(db, &stream, &mut |row| {
            if let Some(said) = all.get(&row.seq).filter(|_| row.redacted.is_none())
                && let Ok(text) = instead(row.kind, &row.body)
                && body_sum(&row.salt, &row.body) == said.sum
                && Hash::of(text.as_bytes()) == said.instead
            {
                due.push((row.id, said.sum, text));
            }
            Ok(())
        })?;
        if due.is_empty() {
            continue;
        }
        for (id, sum, text) in due {
            db.prepare_cached("UPDATE records SET salt = ?2, body = ?3 WHERE id = ?1")?
                .execute(params![id, sum.0, text])?;
            contents::let_go(db, id)?;
        }
        for derived in [
            "DELETE FROM runs WHERE stream = ?1",
            "DELETE FROM incidents WHERE stream = ?1",
            "DELETE FROM members WHERE incident = ?1",
        ] {
            db.prepare_cached(derived)?.execute([no])?;
        }
        read::each_of(db, &stream, &mut |row| lists::take(db, row))?;
    }
    Ok(())
}

/// The number of a stream that is over.
fn number(db: &Connection, stream: &StreamId) -> Result<Option<i64>, rusqlite::Error> {
    let mut ask = db.prepare_cached("SELECT id FROM streams WHERE name = ?1 AND over = 1 AND pruned = 0")?;
    ask.query_row([stream.as_str()], |row| row.get::<_, i64>(0)).optional()
}

impl Journal {
    /// What says that these records of a stream are redacted, to be appended to the system's stream; less those that are already.
    ///
    /// # Errors
    /// See [`RedactError`]: all of them can be, or none is.
    pub fn redactions(
        &self,
        stream: &StreamId,
        records: &BTreeSet<Seq>,
        (by, reason): (Name, String),
    ) -> Result<Vec<StreamRedacted>, RedactError> {
        if stream.as_run().is_none() && stream.as_incident().is_none() && stream.as_ladder().is_none() {
            return Err(RedactError::Other(stream.clone()));
        }
        let none = |seq| RedactError::None { stream: stream.clone(), seq };
        let (last, is_pruned) = (self.last(stream), self.pruned(stream)?.is_some());
        if let Some(seq) = records.iter().find(|seq| **seq == 0 || **seq > last || is_pruned) {
            return Err(none(*seq));
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
        let (mut found, mut said, mut wrong) = (BTreeSet::new(), Vec::new(), None);
        self.0.readers.with(|db| {
            if number(db, stream)?.is_none() {
                return Ok(());
            }
            read::each_of(db, stream, &mut |row| {
                if !records.contains(&row.seq) || !found.insert(row.seq) || row.redacted.is_some() {
                    return Ok(());
                }
                match instead(row.kind, &row.body) {
                    Ok(text) => said.push((row.seq, body_sum(&row.salt, &row.body), Hash::of(text.as_bytes()))),
                    Err(why) => wrong = Some(format!("`{stream}`, record {}: {why}", row.seq)),
                }
                Ok(())
            })
        })?;
        if let Some(seq) = records.difference(&found).next() {
            return Err(none(*seq));
        }
        if let Some(wrong) = wrong {
            return Err(StoreError::Corrupt(wrong).into());
        }
        let of = |(seq, sum, instead)| {
            let (by, reason, stream) = (by.clone(), reason.clone(), stream.clone());
            StreamRedacted { by, reason, stream, seq, sum, instead }
        };
        Ok(said.into_iter().map(of).collect())
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
