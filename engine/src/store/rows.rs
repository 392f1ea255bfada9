//! The database: its migrations, and the one transaction that appends.
//!
//! Owns the SQL that writes. Never decides an order or a number. Keeps true: a group is in the database whole, with the
//! slate's watermark beside it, or not at all.

use super::chain::SALT;
use super::contents::{self, Packed};
use super::item::{Item, OURS, beyond};
use super::past::Past;
use super::slate::Found;
use super::{lists, prune, read, redact};
use quell_model::{Hash, Kind, Seq, Stamp, StoreError, StreamId};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};
use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Each brings the schema from its place in this list to the next; never changed, only joined by others.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_journal.sql"),
    include_str!("migrations/0002_lists.sql"),
    include_str!("migrations/0003_start.sql"),
    include_str!("migrations/0004_answered.sql"),
    include_str!("migrations/0005_prune.sql"),
    include_str!("migrations/0006_contents.sql"),
];

/// The schema from which on the lists are kept: what was written under an earlier one is taken in once.
pub(super) const LISTED: usize = 2;
/// The schema from which on every kind of [`lists::MARKS`] is marked.
pub(super) const MARKED: usize = 3;
/// The schema from which on every kind that a record has is noted.
pub(super) const NOTED: usize = 5;

/// `QUEL`: tells `file` and us whose database it is.
pub(super) const APPLICATION: i32 = 0x5155_454c;

/// How long a statement waits for another process's lock before the writer takes stock.
const LOCK_PATIENCE: Duration = Duration::from_millis(200);

/// The same while it is opened.
const OPEN_PATIENCE: Duration = Duration::from_secs(5);

/// Pages of the log before it is copied into the database, within a commit: 8 MiB.
const CHECKPOINT_PAGES: i32 = 2000;

/// A record as it goes into the database.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) stream: StreamId,
    pub(super) stream_no: i64,
    pub(super) seq: Seq,
    /// The row of the stream's record before it; 0: none.
    pub(super) before: i64,
    pub(super) v: u16,
    pub(super) at: Stamp,
    pub(super) kind: Kind,
    pub(super) prev: Hash,
    pub(super) salt: [u8; SALT],
    pub(super) body: String,
    /// The salted sum of the body that was there, of a row that was redacted. Its column has this in the salt's place.
    pub(super) redacted: Option<Hash>,
    /// What the body refers to, on its way into the database; of a row that is read from there, nothing.
    pub(super) contents: Vec<Packed>,
}

/// Where a stream stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tail {
    pub(super) no: i64,
    pub(super) seq: Seq,
    pub(super) hash: Hash,
    /// The row of its last record.
    pub(super) last: i64,
    pub(super) over: bool,
}

/// The database, open for writing.
pub(super) struct Rows {
    pub(super) db: Connection,
    /// Synced by hand: commits are cheap, and those who wait for the medium share one sync.
    pub(super) log: File,
    /// Random, given when it was made.
    pub(super) id: [u8; 16],
    /// The kinds and versions that are noted.
    kinds: HashSet<(Kind, u16)>,
    /// Pruning has left room in the file.
    room: bool,
}

/// What went wrong, in the journal's words.
pub(super) fn told(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt(error.to_string()),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::Unwritable("another process holds the database".into())
        }
        Some(ErrorCode::DiskFull) => StoreError::Unwritable("the disk is full".into()),
        _ => StoreError::Unwritable(error.to_string()),
    }
}

/// Refuses a file that is no database of ours, before SQLite looks at it: it would set about repairing.
pub(super) fn inspect(path: &Path) -> Result<(), StoreError> {
    let corrupt = |why: String| StoreError::Corrupt(format!("`{}` {why}", path.display()));
    let mut head = [0; 100];
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(StoreError::Unwritable(format!("`{}`: {e}", path.display()))),
    };
    let length = file.metadata().map_or(0, |data| data.len());
    if length == 0 {
        return Ok(());
    }
    if file.read_exact(&mut head).is_err() || !head.starts_with(b"SQLite format 3\0") {
        return Err(corrupt("does not begin as a database does".into()));
    }
    let application = i32::from_be_bytes([head[68], head[69], head[70], head[71]]);
    if application != APPLICATION && application != 0 {
        return Err(corrupt("is the database of another program".into()));
    }
    Ok(())
}

impl Rows {
    /// Opens the database, makes it where it is missing, brings it up to date.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        inspect(path)?;
        let unwritable = |e: std::io::Error| StoreError::Unwritable(format!("`{}`: {e}", path.display()));
        // Made here for its permissions, and closed before SQLite opens it: a later close would drop SQLite's locks.
        drop(OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(unwritable)?);
        let mut db =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
                .map_err(|e| told(&e))?;
        // What is refused is left as it lies there, its log too.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(|e| told(&e))?;
        db.busy_timeout(OPEN_PATIENCE).map_err(|e| told(&e))?;
        understood(&db)?;
        prepare(&mut db).map_err(|e| told(&e))?;
        migrate(&mut db)?;
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(|e| told(&e))?;
        let id = db.query_row("SELECT id FROM journal", [], |row| row.get::<_, [u8; 16]>(0)).map_err(|e| told(&e))?;
        db.busy_timeout(LOCK_PATIENCE).map_err(|e| told(&e))?;
        let log = open_log(path)?;
        Ok(Self { db, log, id, kinds: HashSet::new(), room: false })
    }

    /// Its log stays as it is when this is closed.
    pub(super) fn leave(&self) -> Result<(), StoreError> {
        self.db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(drop).map_err(|e| told(&e))
    }

    /// Where the journal stands.
    pub(super) fn stand(&self) -> Result<Stand, StoreError> {
        stand(&self.db).map_err(|e| told(&e))
    }

    /// Adds to a stand the streams that these entries of the slate go on in.
    pub(super) fn complete(&self, stand: &mut Stand, found: &[Found]) -> Result<(), StoreError> {
        complete(&self.db, stand, found).map_err(|e| told(&e))
    }

    /// Appends rows and moves the tails and the watermark with them.
    pub(super) fn commit(
        &mut self,
        rows: &[Row],
        tails: &[(StreamId, Tail)],
        applied: Option<u64>,
    ) -> Result<(), StoreError> {
        self.try_commit(rows, tails, applied).map_err(|e| told(&e))
    }

    fn try_commit(
        &mut self,
        rows: &[Row],
        tails: &[(StreamId, Tail)],
        applied: Option<u64>,
    ) -> Result<(), rusqlite::Error> {
        let change = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        insert(&change, rows)?;
        contents::take_in(&change, rows)?;
        let new: HashSet<_> = rows.iter().map(|row| (row.kind, row.v)).filter(|of| !self.kinds.contains(of)).collect();
        for (kind, v) in &new {
            let mut put = change.prepare_cached("INSERT OR IGNORE INTO kinds (kind, v) VALUES (?1, ?2)")?;
            put.execute(params![kind.as_str(), v])?;
        }
        lists::take_in(&change, rows)?;
        {
            let mut put = change.prepare_cached(
                "INSERT INTO streams (id, name, seq, hash, last, over) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (id) DO UPDATE SET seq = ?3, hash = ?4, last = ?5, over = ?6",
            )?;
            for (stream, tail) in tails {
                put.execute(params![tail.no, stream.as_str(), signed(tail.seq), tail.hash.0, tail.last, tail.over])?;
            }
        }
        let room = prune::take_in(&change, rows)?;
        redact::take_in(&change, rows)?;
        if let Some(ticket) = applied {
            change.prepare_cached("UPDATE journal SET applied = ?1")?.execute([signed(ticket)])?;
        }
        change.commit()?;
        self.kinds.extend(new);
        self.room |= room;
        Ok(())
    }

    /// Gives some of the room that pruning left back to the file system; whether there is more. What cannot be given back
    /// now is used again by what comes.
    pub(super) fn give_back(&mut self) -> bool {
        if self.room {
            self.room = prune::give_back(&self.db)
                .inspect_err(|error| tracing::warn!(%error, "room in the journal's file is not given back"))
                .unwrap_or(false);
        }
        self.room
    }

    /// From now on it is another journal than the one that it was copied from.
    pub(super) fn renew_id(&mut self) -> Result<(), StoreError> {
        self.db.execute("UPDATE journal SET id = randomblob(16)", []).map_err(|e| told(&e))?;
        self.id = self.db.query_row("SELECT id FROM journal", [], |row| row.get(0)).map_err(|e| told(&e))?;
        Ok(())
    }

    /// Waits until what was committed survives a power cut.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.log.sync_data().map_err(|e| StoreError::Unwritable(format!("the journal's log cannot be synced: {e}")))
    }

    /// Copies the log into the database and empties it.
    pub(super) fn checkpoint(&self) {
        if let Err(error) = self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            tracing::warn!(%error, "the journal's log stays beside the database");
        }
    }
}

/// SQLite's integers are signed; numbers of records and tickets never come near the end.
fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("less than 2^63 records")
}

fn insert(change: &Transaction<'_>, rows: &[Row]) -> Result<(), rusqlite::Error> {
    let mut put = change.prepare_cached(
        "INSERT INTO records (id, stream, seq, before, v, at_wall, at_boot, kind, prev, salt, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for row in rows {
        put.execute(params![
            row.id,
            row.stream_no,
            signed(row.seq),
            row.before,
            row.v,
            row.at.wall.to_string(),
            row.at.boot_ns.cast_signed(),
            row.kind.as_str(),
            row.prev.0,
            row.salt,
            row.body,
        ])?;
    }
    Ok(())
}

fn prepare(db: &mut Connection) -> Result<(), rusqlite::Error> {
    // Only while there is nothing in it; another stays as it is.
    if db.pragma_query_value(None, "page_count", |row| row.get::<_, i64>(0))? == 0 {
        db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.set_prepared_statement_cache_capacity(16);
    Ok(())
}

fn migrate(db: &mut Connection) -> Result<(), StoreError> {
    // Without the write lock first: a database that is up to date opens also while somebody else holds it.
    if version(db)? == MIGRATIONS.len() {
        return Ok(());
    }
    let change = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|e| told(&e))?;
    let from = version(&change)?;
    for text in &MIGRATIONS[from..] {
        change.execute_batch(text).map_err(|e| told(&e))?;
    }
    if (1..LISTED).contains(&from) {
        read::each(&change, &mut |row| lists::take(&change, row)).map_err(|e| told(&e))?;
    } else if (1..MARKED).contains(&from) {
        read::each(&change, &mut |row| lists::mark(&change, row)).map_err(|e| told(&e))?;
    }
    change.pragma_update(None, "user_version", MIGRATIONS.len()).map_err(|e| told(&e))?;
    change.pragma_update(None, "application_id", APPLICATION).map_err(|e| told(&e))?;
    change.commit().map_err(|e| told(&e))
}

/// How many migrations it has had; never more than there are.
fn version(db: &Connection) -> Result<usize, StoreError> {
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(|e| told(&e))?;
    let known = MIGRATIONS.len();
    usize::try_from(version).ok().filter(|done| *done <= known).ok_or_else(|| {
        let what = format!("its schema is {version}, and this one, {OURS}, knows up to schema {known}");
        StoreError::Newer(format!("{} wrote the journal: {what}", writer_of(db)))
    })
}

/// An error if a newer quell wrote what this one would not understand.
pub(super) fn understood(db: &Connection) -> Result<(), StoreError> {
    if version(db)? < NOTED {
        return Ok(());
    }
    let ask = || {
        let mut ask = db.prepare("SELECT kind, v FROM kinds")?;
        let noted = ask.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        noted.collect::<Result<Vec<(String, i64)>, rusqlite::Error>>()
    };
    let noted = ask().map_err(|e| told(&e))?;
    match noted.iter().find_map(|(kind, v)| beyond(kind, *v)) {
        Some(what) => Err(StoreError::Newer(format!("{} wrote the journal: it has {what}", writer_of(db)))),
        None => Ok(()),
    }
}

/// Which quell wrote last, as far as a schema of another can be read.
pub(super) fn writer_of(db: &Connection) -> String {
    let ask = "SELECT json_extract(body, '$.version') FROM records
               WHERE id = (SELECT max(row) FROM marks WHERE kind = 'EngineStarted')";
    let version = db.query_row(ask, [], |row| row.get::<_, String>(0));
    version.map_or_else(|_| "a newer quell".to_owned(), |version| format!("a newer quell (the last was {version})"))
}

/// The log beside the database: SQLite made it when it first read; its name is made to last.
fn open_log(path: &Path) -> Result<File, StoreError> {
    let log = log_of(path);
    let unwritable = |e: std::io::Error| StoreError::Unwritable(format!("`{}`: {e}", log.display()));
    let file = File::open(&log).map_err(unwritable)?;
    if let Some(dir) = path.parent() {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(unwritable)?;
    }
    Ok(file)
}

fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Where the journal stands.
pub(super) struct Stand {
    /// The streams that may go on.
    pub(super) tails: HashMap<StreamId, Tail>,
    /// The runs that have ended.
    pub(super) past: Past,
    /// The slate's watermark.
    pub(super) applied: u64,
    pub(super) next_row: i64,
    pub(super) next_stream: i64,
}

/// Reads it: of a run that has ended, its name alone.
pub(super) fn stand(db: &Connection) -> Result<Stand, rusqlite::Error> {
    let (mut tails, mut past) = (HashMap::new(), Past::default());
    let mut ask = db.prepare("SELECT name, id, seq, hash, last, over FROM streams")?;
    let mut rows = ask.query([])?;
    while let Some(row) = rows.next()? {
        let name = row.get_ref(0)?.as_str()?;
        if row.get(5)? && Past::takes(name) {
            past.add(name);
        } else {
            tails.insert(StreamId::from(name), tail_of(row)?);
        }
    }
    let applied = db.query_row("SELECT applied FROM journal", [], |row| row.get::<_, i64>(0))?.cast_unsigned();
    let next_row = db.query_row("SELECT coalesce(max(id), 0) + 1 FROM records", [], |row| row.get(0))?;
    let next_stream = db.query_row("SELECT coalesce(max(id), 0) + 1 FROM streams", [], |row| row.get(0))?;
    Ok(Stand { tails, past, applied, next_row, next_stream })
}

/// See [`Rows::complete`].
pub(super) fn complete(db: &Connection, stand: &mut Stand, found: &[Found]) -> Result<(), rusqlite::Error> {
    for item in found.iter().filter_map(|(ticket, bytes)| Item::decode(*ticket, bytes)) {
        for part in item.parts {
            let is_past = stand.past.has(part.stream.as_str());
            if let Some(tail) = if is_past { tail(db, &part.stream)? } else { None } {
                stand.past.remove(part.stream.as_str());
                stand.tails.insert(part.stream, tail);
            }
        }
    }
    Ok(())
}

fn tail_of(row: &rusqlite::Row<'_>) -> Result<Tail, rusqlite::Error> {
    Ok(Tail {
        no: row.get(1)?,
        seq: row.get::<_, i64>(2)?.cast_unsigned(),
        hash: Hash(row.get(3)?),
        last: row.get(4)?,
        over: row.get(5)?,
    })
}

/// Where one stream stands.
pub(super) fn tail(db: &Connection, stream: &StreamId) -> Result<Option<Tail>, rusqlite::Error> {
    let mut ask = db.prepare_cached("SELECT name, id, seq, hash, last, over FROM streams WHERE name = ?1")?;
    ask.query_row([stream.as_str()], tail_of).optional()
}

/// Every stream.
pub(super) fn tails(db: &Connection) -> Result<Vec<(StreamId, Tail)>, rusqlite::Error> {
    let mut ask = db.prepare("SELECT name, id, seq, hash, last, over FROM streams")?;
    ask.query_map([], |row| Ok((StreamId::from(row.get::<_, String>(0)?), tail_of(row)?)))?.collect()
}
