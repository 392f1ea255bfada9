//! Reading: streams as they stand, and whether their chains hold.
//!
//! Owns the SQL that reads, and the readers' connections. Never writes. Keeps true: a reader sees everything that was
//! taken in before it asked, also what the database still refuses.

use super::chain::{SALT, body_sum, hex, link};
use super::contents::Refers;
use super::item::{body_of, ends, kind_of};
use super::journal::database;
use super::prune::Proofs;
use super::redact::Redactions;
use super::rows::{Row, Tail, told, understood};
use super::seal::Seals;
use quell_model::record::RECORD_VERSION;
use quell_model::{Hash, Kind, Record, Seq, Stamp, StoreError, StreamId};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Connections that are kept for the next reader; more are opened when more read at once.
const KEPT: usize = 4;

const COLUMNS: &str = "id, stream, seq, before, v, at_wall, at_boot, kind, prev, salt, body";

/// Connections that can only read.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Mutex::new(Vec::new()) }
    }

    fn open(&self) -> Result<Connection, rusqlite::Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let usable = |db: Connection| {
            db.busy_timeout(Duration::from_secs(5))?;
            db.query_row("SELECT count(*) FROM journal", [], |_| Ok(()))?;
            Ok(db)
        };
        // A log that cannot be opened in a directory that cannot be written: then nobody writes, and the database is
        // read as it lies there.
        Connection::open_with_flags(&self.path, flags).and_then(usable).or_else(|first| {
            if first.sqlite_error_code() != Some(rusqlite::ErrorCode::CannotOpen) {
                return Err(first);
            }
            let path = self.path.display().to_string().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
            Connection::open_with_flags(format!("file:{path}?immutable=1"), flags).and_then(usable)
        })
    }

    /// Lends a connection with one snapshot of everything: also what asks a thousand times takes the file's lock once.
    pub(super) fn with<T>(&self, ask: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>) -> Result<T, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let db = idle.map_or_else(|| self.open(), Ok).map_err(|e| told(&e))?;
        let snapshot = db.unchecked_transaction();
        let answer = snapshot.and_then(|snapshot| ask(&snapshot)).map_err(|e| told(&e));
        let mut kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if answer.is_ok() && kept.len() < KEPT {
            kept.push(db);
        }
        answer
    }
}

/// There was a journal, and what is left of it is its slate.
pub(super) fn gone(dir: &Path) -> StoreError {
    let (database, slate) = (database(dir), dir.join("slate"));
    let what = format!("`{}` is gone or empty, and its slate `{}` is not", database.display(), slate.display());
    StoreError::Corrupt(format!("{what}; hint: put the database back, or move the slate away"))
}

/// A journal that is there, for those who only read, and its id.
pub(super) fn open_to_read(dir: &Path) -> Result<(Readers, [u8; 16]), StoreError> {
    let path = database(dir);
    let unread = |why: String| StoreError::Unreadable(format!("`{}`: {why}", path.display()));
    // Not opened for that: with its end SQLite's locks of this process would go.
    let is_there = match std::fs::metadata(&path) {
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => false,
        Err(e) => return Err(unread(e.to_string())),
        // A first start that was killed at once left it empty.
        Ok(data) => !data.is_file() || data.len() > 0,
    };
    if !is_there {
        let is_gone = dir.join("slate").exists();
        return Err(if is_gone { gone(dir) } else { StoreError::Absent(dir.display().to_string()) });
    }
    let readers = Readers::new(&path);
    let is_understood = readers.with(|db| Ok(understood(db))).map_err(|error| match error {
        StoreError::Unwritable(why) => unread(why),
        error => error,
    })?;
    is_understood?;
    let id = readers.with(|db| db.query_row("SELECT id FROM journal", [], |row| row.get(0)))?;
    Ok((readers, id))
}

/// A row as the database has it, not yet understood.
struct Raw {
    id: i64,
    stream_no: i64,
    seq: i64,
    before: i64,
    v: i64,
    at_wall: String,
    at_boot: i64,
    kind: String,
    prev: [u8; 32],
    salt: [u8; SALT],
    redacted: Option<[u8; 32]>,
    body: String,
}

fn raw(row: &rusqlite::Row<'_>) -> Result<Raw, rusqlite::Error> {
    // A sum in the salt's place: what was salted is gone.
    let redacted: Option<[u8; 32]> = row.get_ref(9)?.as_blob()?.try_into().ok();
    Ok(Raw {
        id: row.get(0)?,
        stream_no: row.get(1)?,
        seq: row.get(2)?,
        before: row.get(3)?,
        v: row.get(4)?,
        at_wall: row.get(5)?,
        at_boot: row.get(6)?,
        kind: row.get(7)?,
        prev: row.get(8)?,
        salt: if redacted.is_some() { [0; SALT] } else { row.get(9)? },
        redacted,
        body: row.get(10)?,
    })
}

impl Raw {
    fn understand(self, stream: &StreamId) -> Result<Row, StoreError> {
        let corrupt = |what: String| StoreError::Corrupt(format!("`{stream}`, record {}: {what}", self.seq));
        let wall = self.at_wall.parse().map_err(|e| corrupt(format!("`{}` is no time: {e}", self.at_wall)))?;
        let kind = kind_of(&self.kind).ok_or_else(|| corrupt(format!("kind `{}` is not known here", self.kind)))?;
        let v = u16::try_from(self.v).ok().filter(|v| *v <= RECORD_VERSION);
        let v = v.ok_or_else(|| corrupt(format!("version {} is not known here", self.v)))?;
        Ok(Row {
            id: self.id,
            stream: stream.clone(),
            stream_no: self.stream_no,
            seq: self.seq.cast_unsigned(),
            before: self.before,
            v,
            at: Stamp { wall, boot_ns: self.at_boot.cast_unsigned() },
            kind,
            prev: Hash(self.prev),
            salt: self.salt,
            body: self.body,
            redacted: self.redacted.map(Hash),
            contents: Vec::new(),
        })
    }
}

impl Row {
    /// The record that it holds.
    pub(super) fn record(&self) -> Result<Record, StoreError> {
        let body = body_of(self.kind, &self.body)
            .map_err(|e| StoreError::Corrupt(format!("`{}`, record {}: {e}", self.stream, self.seq)))?;
        let salt = if self.redacted.is_some() { String::new() } else { hex(&self.salt) };
        Ok(Record { v: self.v, seq: self.seq, prev: self.prev, at: self.at, salt, body })
    }

    /// Whether its stream is over after it; `None`: it changes nothing.
    pub(super) fn ends(&self) -> Result<Option<bool>, StoreError> {
        let may = matches!(
            self.kind,
            Kind::RunFinished
                | Kind::UndoBegan
                | Kind::RunReopened
                | Kind::IncidentChanged
                | Kind::LadderStarted
                | Kind::LadderClosed
        );
        if may { Ok(ends(&self.record()?.body)) } else { Ok(None) }
    }

    pub(super) fn sum(&self) -> Hash {
        link(self.prev, self.v, (self.seq, self.at), self.kind, self.body_sum())
    }

    /// The salted sum of the body, also of one that is gone.
    pub(super) fn body_sum(&self) -> Hash {
        self.redacted.unwrap_or_else(|| body_sum(&self.salt, &self.body))
    }
}

/// Rows that are fetched at once: a reader of a long stream holds so many bodies, and no connection in between.
const CHUNK: usize = 256;

/// Gives the rows of a stream from a number on that are of these kinds, in order, as the database has them; then the
/// stream's last number.
pub(super) fn visit(
    readers: &Readers,
    stream: &StreamId,
    from: Seq,
    kinds: &[Kind],
    each: &mut dyn FnMut(Row) -> Result<(), StoreError>,
) -> Result<Seq, StoreError> {
    let found = readers.with(|db| walk_back(db, stream, from, kinds))?;
    let (ids, last) = found.map_err(StoreError::Corrupt)?;
    for some in ids.chunks(CHUNK) {
        let raws = readers.with(|db| {
            let mut ask = db.prepare_cached(&format!("SELECT {COLUMNS} FROM records WHERE id = ?1"))?;
            some.iter().map(|id| ask.query_row([id], raw)).collect::<Result<Vec<_>, _>>()
        })?;
        raws.into_iter().try_for_each(|raw| each(raw.understand(stream)?))?;
    }
    Ok(last)
}

/// The first row of a stream that is of this kind: the bodies of the others are not read.
pub(super) fn first(readers: &Readers, stream: &StreamId, kind: Kind) -> Result<Option<Row>, StoreError> {
    let found = readers.with(|db| walk_back(db, stream, 1, &[kind]))?;
    let (ids, _) = found.map_err(StoreError::Corrupt)?;
    Ok(rows(readers, stream, ids.get(..1).unwrap_or_default())?.pop())
}

/// These rows, which are all of one stream.
pub(super) fn rows(readers: &Readers, stream: &StreamId, ids: &[i64]) -> Result<Vec<Row>, StoreError> {
    let raws = readers.with(|db| {
        let mut ask = db.prepare_cached(&format!("SELECT {COLUMNS} FROM records WHERE id = ?1"))?;
        ids.iter().map(|id| ask.query_row([id], raw)).collect::<Result<Vec<_>, _>>()
    })?;
    raws.into_iter().map(|raw| raw.understand(stream)).collect()
}

/// So many rows after one, of whatever streams, in their order, as the database has them.
pub(super) fn after(readers: &Readers, row: i64, most: usize) -> Result<Vec<Row>, StoreError> {
    let part = Part { after: row, upto: i64::MAX, kind: None, most };
    let raws = readers.with(|db| part.read(db, COLUMNS, raw))?;
    raws.into_iter().map(|(stream, raw)| raw.understand(&stream)).collect()
}

/// A part of the journal, in the order of its rows.
pub(super) struct Part {
    /// It begins after this row.
    pub(super) after: i64,
    /// It ends with this one.
    pub(super) upto: i64,
    /// Only rows of this kind.
    pub(super) kind: Option<Kind>,
    /// So many rows.
    pub(super) most: usize,
}

impl Part {
    /// These columns of its rows, with the name of the stream of each.
    pub(super) fn read<T>(
        &self,
        db: &Connection,
        columns: &str,
        take: impl Fn(&rusqlite::Row<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<Vec<(StreamId, T)>, rusqlite::Error> {
        let columns = columns.replace(", ", ", r.");
        let mut ask = db.prepare_cached(&format!(
            "SELECT r.{columns}, s.name AS named FROM records r JOIN streams s ON s.id = r.stream
             WHERE r.id > ?1 AND r.id <= ?2 AND (?3 IS NULL OR r.kind = ?3) ORDER BY r.id LIMIT ?4"
        ))?;
        let named = |row: &rusqlite::Row<'_>| Ok((StreamId::from(row.get::<_, String>("named")?), take(row)?));
        let most = i64::try_from(self.most).unwrap_or(i64::MAX);
        ask.query_map(params![self.after, self.upto, self.kind.map(Kind::as_str), most], named)?.collect()
    }
}

/// The moment of the last record up to a row, if there is one.
pub(super) fn moment_before(db: &Connection, row: i64) -> Result<Option<String>, rusqlite::Error> {
    let mut ask = db.prepare_cached("SELECT at_wall FROM records WHERE id <= ?1 ORDER BY id DESC LIMIT 1")?;
    ask.query_row([row], |row| row.get(0)).optional()
}

/// The rows after one that say that something was pruned, so many at the most; and how many streams the later ones name.
pub(super) fn prunings_after(db: &Connection, row: i64, most: usize) -> Result<(Vec<i64>, u64), rusqlite::Error> {
    let mut ask =
        db.prepare_cached("SELECT DISTINCT pruned FROM streams WHERE pruned > ?1 ORDER BY pruned LIMIT ?2")?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let marks: Vec<i64> = ask.query_map([row, most], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut count = db.prepare_cached("SELECT count(*) FROM streams WHERE pruned > ?1")?;
    let later: i64 = count.query_row([marks.last().copied().unwrap_or(i64::MAX)], |row| row.get(0))?;
    Ok((marks, later.cast_unsigned()))
}

/// Rows with intents of a verb, with their streams, the latest first. The verbs that have an index
/// (`migrations/0003_start.sql`) are found by it, others by a look at every row.
pub(super) fn intents(db: &Connection, action: &str) -> Result<Vec<(StreamId, i64)>, rusqlite::Error> {
    let verb = action.replace('\'', "''");
    // Written out: SQLite takes a partial index only where it sees that the same is asked.
    let mut ask = db.prepare(&format!(
        "SELECT s.name, r.id FROM records r JOIN streams s ON s.id = r.stream
         WHERE r.kind = 'StepIntended' AND instr(r.body, '\"action\":\"{verb}\"') > 0 ORDER BY r.id DESC"
    ))?;
    let rows = ask.query_map([], |row| Ok((StreamId::from(row.get::<_, String>(0)?), row.get::<_, i64>(1)?)))?;
    rows.collect()
}

/// Gives every row that can be understood, in the order of the rows.
pub(super) fn each(
    db: &Connection,
    take: &mut dyn FnMut(&Row) -> Result<(), rusqlite::Error>,
) -> Result<(), rusqlite::Error> {
    let streams = super::rows::tails(db)?;
    let names: HashMap<i64, StreamId> = streams.into_iter().map(|(name, tail)| (tail.no, name)).collect();
    let mut ask = db.prepare(&format!("SELECT {COLUMNS} FROM records ORDER BY id"))?;
    let mut rows = ask.query([])?;
    while let Some(row) = rows.next()? {
        let raw = raw(row)?;
        let named = names.get(&raw.stream_no);
        if let Some(Ok(row)) = named.map(|name| raw.understand(name)) {
            take(&row)?;
        }
    }
    Ok(())
}

/// Gives every row of a stream, in order.
pub(super) fn each_of(
    db: &Connection,
    stream: &StreamId,
    take: &mut dyn FnMut(&Row) -> Result<(), rusqlite::Error>,
) -> Result<(), rusqlite::Error> {
    // A walk that does not hold is told by the check.
    let ids = walk_back(db, stream, 1, Kind::ALL)?.map(|(ids, _)| ids).unwrap_or_default();
    let mut ask = db.prepare_cached(&format!("SELECT {COLUMNS} FROM records WHERE id = ?1"))?;
    for id in ids {
        if let Ok(row) = ask.query_row([id], raw)?.understand(stream) {
            take(&row)?;
        }
    }
    Ok(())
}

/// Gives every body, with its stream's number, in the order of the rows; but not what says what was pruned, which refers
/// to what is no more.
pub(super) fn bodies(db: &Connection, each: &mut dyn FnMut(i64, &str)) -> Result<(), rusqlite::Error> {
    let mut ask = db.prepare("SELECT stream, body FROM records WHERE kind <> 'StreamPruned' ORDER BY id")?;
    let mut rows = ask.query([])?;
    while let Some(row) = rows.next()? {
        each(row.get(0)?, row.get_ref(1)?.as_str()?);
    }
    Ok(())
}

/// Either what was found, or what is wrong with the walk.
type Walked = Result<(Vec<i64>, Seq), String>;

fn walk_back(db: &Connection, stream: &StreamId, from: Seq, kinds: &[Kind]) -> Result<Walked, rusqlite::Error> {
    let mut head = db.prepare_cached("SELECT last, seq FROM streams WHERE name = ?1")?;
    let ends = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
    let Some((mut next, last)) = head.query_row(params![stream.as_str()], ends).optional()? else {
        return Ok(Ok((Vec::new(), 0)));
    };
    let mut look = db.prepare_cached("SELECT seq, before, kind FROM records WHERE id = ?1")?;
    let mut found = Vec::new();
    while next != 0 {
        let step = look.query_row([next], |row| {
            // What is of no known kind is taken along, so that it is told and not passed over.
            let kind = row.get_ref(2)?.as_str().ok().and_then(kind_of);
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, kind.is_none_or(|kind| kinds.contains(&kind))))
        });
        let Some((seq, before, wanted)) = step.optional()? else {
            return Ok(Err(format!("`{stream}`: row {next} is gone")));
        };
        if seq.cast_unsigned() < from {
            break;
        }
        if before >= next {
            return Ok(Err(format!("`{stream}`: row {next} points forward")));
        }
        if wanted {
            found.push(next);
        }
        next = before;
    }
    found.reverse();
    Ok(Ok((found, last.cast_unsigned())))
}

/// Streams that have not ended, as the database has them; and those of `more` that have.
pub(super) fn open(readers: &Readers, more: &[StreamId]) -> Result<(Vec<StreamId>, Vec<StreamId>), StoreError> {
    readers.with(|db| {
        let mut ask = db.prepare_cached("SELECT name FROM streams WHERE over = 0")?;
        let open = ask.query_map([], |row| Ok(StreamId::from(row.get::<_, String>(0)?)))?.collect::<Result<_, _>>()?;
        let mut look = db.prepare_cached("SELECT over FROM streams WHERE name = ?1")?;
        let mut over = Vec::new();
        for stream in more {
            if look.query_row([stream.as_str()], |row| row.get(0)).optional()?.unwrap_or(false) {
                over.push(stream.clone());
            }
        }
        Ok((open, over))
    })
}

/// Every stream and its last number, as the database has them.
pub(super) fn streams(db: &Connection) -> Result<Vec<(StreamId, Seq)>, rusqlite::Error> {
    let mut ask = db.prepare_cached("SELECT name, seq FROM streams")?;
    let rows =
        ask.query_map([], |row| Ok((StreamId::from(row.get::<_, String>(0)?), row.get::<_, i64>(1)?.cast_unsigned())))?;
    rows.collect()
}

/// Looks at every record once, in the order of the rows; gives what does not hold, for people.
pub(super) fn verify(readers: &Readers) -> Result<Vec<String>, StoreError> {
    let mut findings = Vec::new();
    let (streams, told) = readers.with(|db| {
        let streams = super::rows::tails(db)?;
        let names: HashMap<i64, StreamId> = streams.iter().map(|(name, tail)| (tail.no, name.clone())).collect();
        let (proofs, seals) = (Proofs::of(db)?, Seals::of(db)?);
        let (at, refers) = (HashMap::new(), Refers::default());
        let redactions = Redactions::default();
        let mut walk = Walk { names, at, proofs, seals, refers, redactions, findings: Vec::new() };
        let mut ask = db.prepare(&format!("SELECT {COLUMNS} FROM records ORDER BY id"))?;
        let mut rows = ask.query([])?;
        while let Some(row) = rows.next()? {
            walk.step(raw(row)?);
        }
        walk.ends(&streams);
        walk.findings.extend(walk.refers.judge(db)?);
        let check: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        Ok((walk.findings, check))
    })?;
    findings.extend(streams);
    if told != "ok" {
        findings.push(format!("the database: {told}"));
    }
    Ok(findings)
}

/// Where each stream stands on the walk over the rows.
struct Walk {
    names: HashMap<i64, StreamId>,
    at: HashMap<i64, Tail>,
    proofs: Proofs,
    seals: Seals,
    refers: Refers,
    redactions: Redactions,
    findings: Vec<String>,
}

impl Walk {
    fn step(&mut self, raw: Raw) {
        let no = raw.stream_no;
        let Some(name) = self.names.get(&no).cloned() else {
            self.findings.push(format!("row {}: belongs to no stream", raw.id));
            return;
        };
        let row = match raw.understand(&name) {
            Ok(row) => row,
            Err(error) => return self.findings.push(error.to_string()),
        };
        let none = Tail { no, seq: 0, hash: Hash::default(), last: 0, over: false };
        let tail = self.at.entry(no).or_insert(none);
        let (seq, last) = (row.seq, tail.seq);
        if seq != last + 1 {
            self.findings.push(format!("`{name}`: record {seq} comes after record {last}"));
        } else if row.prev != tail.hash {
            let pair = if last == 0 { "the beginning".into() } else { format!("record {last} as it stands") };
            self.findings.push(format!("`{name}`: record {seq} does not follow from {pair}"));
        } else if row.before != tail.last {
            self.findings.push(format!("`{name}`: record {seq} points to another record before it"));
        }
        match row.record() {
            Ok(record) => self.refers.take_in(row.id, &record.body),
            Err(error) => self.findings.push(error.to_string()),
        }
        (tail.seq, tail.hash, tail.last) = (seq, row.sum(), row.id);
        self.findings.extend(self.seals.pass(&name, seq, tail.hash));
        self.proofs.take_in(&row);
        self.redactions.take_in(&row);
    }

    fn ends(&mut self, streams: &[(StreamId, Tail)]) {
        for (name, tail) in streams {
            if let Some(judged) = self.proofs.judge(tail.no, self.at.contains_key(&tail.no)) {
                self.findings.extend(judged);
                continue;
            }
            match self.at.get(&tail.no) {
                None => self.findings.push(format!("`{name}`: has no records; {} are missing", tail.seq)),
                Some(found) if found.seq != tail.seq => {
                    self.findings.push(format!("`{name}`: ends with record {}, not with {}", found.seq, tail.seq));
                }
                Some(found) if found.hash != tail.hash => {
                    self.findings.push(format!("`{name}`: its last record, {}, is not as it was written", tail.seq));
                }
                Some(_) => {}
            }
        }
        let there: HashSet<&StreamId> =
            streams.iter().filter(|(_, tail)| self.at.contains_key(&tail.no)).map(|(name, _)| name).collect();
        let redactions = std::mem::take(&mut self.redactions);
        self.findings.extend(redactions.judge(|stream| there.contains(stream)));
        let lasts: HashMap<&StreamId, Seq> = streams.iter().map(|(name, tail)| (name, tail.seq)).collect();
        self.findings.extend(self.seals.ends(|stream| lasts.get(stream).copied()));
    }
}
