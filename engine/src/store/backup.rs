//! A copy of the journal and its evidence, taken while a daemon writes or without one.
//!
//! ```text
//! slate ──▶ database, one snapshot ──▶ .NAME.partial: what the slate had goes into the copy ──▶ its blobs ──▶ checked,
//!                                                                                     synced ──▶ renamed to NAME
//! ```
//!
//! Owns the order of these. Never writes into the directory that it copies, and never waits for its daemon or lets that
//! wait. Keeps true: what was acknowledged before the copy began is in it, since the slate is read before the database:
//! what leaves the slate in between is in the snapshot. What has the name NAME is whole.

use super::chain::Salts;
use super::evidence::{Mention, Named, words};
use super::item::Item;
use super::journal::{chainer, database};
use super::lock::DirLock;
use super::read::{self, Readers};
use super::retention::referred;
use super::rows::Rows;
use super::slate::{Found, Slate};
use super::vault::DirVault;
use quell_model::{BlobHash, Hash, StoreError};
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What was copied.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct BackedUp {
    /// Streams.
    pub streams: u64,
    /// Their records.
    pub records: u64,
    /// Blobs of the vault that they refer to.
    pub blobs: u64,
    /// Bytes of the copy.
    pub bytes: u64,
    /// What could not be copied as it should be: it does not hold in the original either.
    pub findings: Vec<String>,
}

/// Why there is no copy. Then nothing is left under its name.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The name is no place for a copy.
    #[error("`{}` {why}", .dir.display())]
    Place {
        /// The name.
        dir: PathBuf,
        /// Why not.
        why: String,
    },
    /// What is to be copied cannot be read.
    #[error("the journal in `{}` cannot be copied", .dir.display())]
    Source {
        /// The data directory.
        dir: PathBuf,
        /// Why not.
        #[source]
        source: StoreError,
    },
    /// The copy cannot be written.
    #[error("the copy cannot be written")]
    Target(#[source] StoreError),
}

/// Copies the journal in `from`, and the blobs that it refers to, into the new directory `to`.
///
/// # Errors
/// See [`BackupError`].
pub fn back_up(from: &Path, to: &Path) -> Result<BackedUp, BackupError> {
    let source = |source| BackupError::Source { dir: from.to_owned(), source };
    let partial = partial_of(to)?;
    let (readers, id) = read::open_to_read(from).map_err(source)?;
    let look = || Slate::look(&from.join("slate"), id, 0).map_err(source);
    let found = look()?;
    if let Some(what) = found.iter().find_map(|(_, bytes)| Item::too_new(bytes)) {
        return Err(source(StoreError::Newer(format!("a newer quell wrote the journal: its slate has {what}"))));
    }
    #[cfg(test)]
    super::by_hand::looked_at_the_slate();
    let place = Place::make(partial)?;
    let (mut done, gap) = fill(&place.dir, &readers, found, &DirVault::new(from)).map_err(|failed| match failed {
        Failed::Source(error) => source(error),
        Failed::Target(error) => BackupError::Target(error),
    })?;
    // What was written while the slate was read is no loss: it is there by now, and came after the copy began.
    if let Some(missing) = gap {
        let applied = readers.with(|db| Ok(super::rows::stand(db)?.applied)).map_err(source)?;
        if applied < missing && !look()?.iter().any(|(ticket, _)| *ticket == missing) {
            done.findings
                .push("writes are neither in the database nor on the slate: what came after is missing".into());
        }
    }
    place.becomes(to)?;
    Ok(done)
}

/// Where a copy grows: beside its name, so that it only needs the name in the end.
fn partial_of(to: &Path) -> Result<PathBuf, BackupError> {
    let refused = |why: &str| Err(BackupError::Place { dir: to.to_owned(), why: why.to_owned() });
    let Some(name) = to.file_name() else { return refused("is no name for a new directory") };
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !parent.is_dir() {
        return refused("has no directory above it");
    }
    match std::fs::read_dir(to).map(|mut entries| entries.next().is_some()) {
        Ok(true) => return refused("is not empty"),
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return refused(&format!("is no directory: {e}")),
        Ok(false) | Err(_) => {}
    }
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".partial");
    Ok(parent.join(hidden))
}

/// Which side it was.
enum Failed {
    Source(StoreError),
    Target(StoreError),
}

/// A directory that goes again unless it becomes what it was made for.
struct Place {
    dir: PathBuf,
    /// Two copies under one name do not mix.
    _lock: DirLock,
    whole: bool,
}

impl Place {
    fn make(dir: PathBuf) -> Result<Self, BackupError> {
        let told = |e: std::io::Error| BackupError::Target(StoreError::Unwritable(format!("`{}`: {e}", dir.display())));
        let stale = match DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => false,
            Err(e) if e.kind() == ErrorKind::AlreadyExists && is_ours(&dir).map_err(told)? => true,
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                let why = "is there, and not what a killed copy leaves: take it away".to_owned();
                return Err(BackupError::Place { dir: dir.clone(), why });
            }
            Err(e) => return Err(told(e)),
        };
        let lock = DirLock::take(&dir).map_err(|error| match error {
            StoreError::Taken { .. } => {
                BackupError::Place { dir: dir.clone(), why: "is being written by another".into() }
            }
            error => BackupError::Target(error),
        })?;
        let place = Self { dir: dir.clone(), _lock: lock, whole: false };
        if stale {
            clear(&dir).map_err(told)?;
        }
        Ok(place)
    }

    fn becomes(mut self, to: &Path) -> Result<(), BackupError> {
        let named = std::fs::rename(&self.dir, to);
        named.map_err(|e| BackupError::Place { dir: to.to_owned(), why: format!("cannot get its name: {e}") })?;
        self.whole = true;
        let parent = self.dir.parent().expect("it lies beside its name");
        File::open(parent).and_then(|dir| dir.sync_all()).map_err(|e| {
            BackupError::Target(StoreError::Unwritable(format!("`{}` cannot be synced: {e}", parent.display())))
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.whole {
            return;
        }
        let gone = clear(&self.dir).and_then(|()| std::fs::remove_file(self.dir.join("lock")));
        if let Err(error) = gone.and_then(|()| std::fs::remove_dir(&self.dir)) {
            tracing::warn!(%error, dir = %self.dir.display(), "what was copied so far stays");
        }
    }
}

/// Whether it is what a killed copy of this user's left behind: who may write above it may have put anything there.
fn is_ours(dir: &Path) -> std::io::Result<bool> {
    let data = std::fs::symlink_metadata(dir)?;
    if !data.is_dir() || data.uid() != rustix::process::geteuid().as_raw() || data.mode() & 0o077 != 0 {
        return Ok(false);
    }
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        if name != "lock" && name != "vault" && !name.as_encoded_bytes().starts_with(b"journal.db") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes away what a copy consists of, and nothing else.
fn clear(dir: &Path) -> std::io::Result<()> {
    let absent = |e: std::io::Error| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) };
    for file in ["journal.db", "journal.db-wal", "journal.db-shm", "journal.db-journal"] {
        std::fs::remove_file(dir.join(file)).or_else(absent)?;
    }
    std::fs::remove_dir_all(dir.join("vault")).or_else(absent)
}

fn fill(dir: &Path, from: &Readers, found: Vec<Found>, evidence: &DirVault) -> Result<(BackedUp, Option<u64>), Failed> {
    let path = database(dir);
    let told = |e: std::io::Error| Failed::Target(StoreError::Unwritable(format!("`{}`: {e}", path.display())));
    drop(OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(told)?);
    from.with(|db| Ok(copy(db, &path))).map_err(Failed::Source)??;
    let (findings, gap) = take_up(&path, found).map_err(Failed::Target)?;
    let mut done = BackedUp { findings, ..BackedUp::default() };
    let copy = Readers::new(&path);
    // Of the copy: a medium that lies is noticed now, and not when the copy is needed.
    done.findings.extend(read::verify(&copy).map_err(Failed::Target)?);
    let mut wanted = BTreeSet::new();
    copy.with(|db| {
        for (_, last) in read::streams(db)? {
            (done.streams, done.records) = (done.streams + 1, done.records + last);
        }
        done.records -= super::prune::count(db)?;
        referred(db, &HashSet::new(), &mut |hash: Hash| wanted.extend([hash.0]))
    })
    .map_err(Failed::Target)?;
    let mut named = Named::of(&copy, &[]).map_err(Failed::Target)?;
    let vault = DirVault::new(dir);
    DirBuilder::new().mode(0o700).create(dir.join("vault")).map_err(told)?;
    let there: HashMap<BlobHash, u64> =
        evidence.all().map_err(Failed::Source)?.into_iter().map(|blob| (blob.hash, blob.bytes)).collect();
    for hash in wanted.into_iter().map(|sum| BlobHash(Hash(sum))).filter(|hash| there.contains_key(hash)) {
        match evidence.fetch(&hash) {
            Ok(bytes) => {
                vault.keep(&bytes).map_err(Failed::Target)?;
                (done.blobs, done.bytes) = (done.blobs + 1, done.bytes + bytes.len() as u64);
            }
            Err(_) if evidence.lacks(&hash) => {}
            // The others are worth having.
            Err(error) => done.findings.push(named.told_of(&hash, &words(error))),
        }
    }
    done.findings.extend(absent(named, &vault, from).map_err(Failed::Source)?);
    // Who can write and is the last takes the log away.
    drop(copy);
    drop(Rows::open(&path).map_err(Failed::Target)?);
    let database = File::open(&path).map_err(told)?;
    database.sync_all().map_err(told)?;
    done.bytes += database.metadata().map_err(told)?.len();
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(told)?;
    Ok((done, gap))
}

/// What the copy's records name and its vault lacks, for people.
pub(super) fn absent(named: Named, copy: &DirVault, from: &Readers) -> Result<Vec<String>, StoreError> {
    let missing = named.missing(copy);
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let pruned = from.with(super::prune::streams)?;
    let told = |(hash, place): (BlobHash, Mention)| match pruned.contains(&place.stream) {
        false => format!("{place} is not in the vault: {}", hash.0),
        true => format!("{place} was pruned meanwhile, and is not in the copy: take another"),
    };
    Ok(missing.into_iter().map(told).collect())
}

/// One snapshot, page by page. All in one step: after a step that leaves something a writer would make it begin anew.
fn copy(db: &Connection, path: &Path) -> Result<(), Failed> {
    let mut new = Connection::open(path).map_err(|e| Failed::Target(super::rows::told(&e)))?;
    let told = |e: rusqlite::Error| match e.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
            Failed::Source(super::rows::told(&e))
        }
        _ => Failed::Target(super::rows::told(&e)),
    };
    match Backup::new(db, &mut new).and_then(|copy| copy.step(-1)).map_err(told)? {
        StepResult::Done => Ok(()),
        other => Err(Failed::Source(StoreError::Unwritable(format!("another process holds the database ({other:?})")))),
    }
}

/// What the slate had goes into the copy, in its order; gives what does not fit, and the first write that is not there
/// though later ones are. The copy gets an id of its own: it is not what the slate of the original belongs to.
fn take_up(path: &Path, found: Vec<Found>) -> Result<(Vec<String>, Option<u64>), StoreError> {
    let mut rows = Rows::open(path)?;
    let mut stand = rows.stand()?;
    let mut applied = stand.applied;
    rows.complete(&mut stand, &found)?;
    let (mut chainer, _) = chainer(stand, Salts::open())?;
    let (mut group, mut items, mut findings, mut gap) = (Vec::new(), Vec::new(), Vec::new(), None);
    for (ticket, bytes) in found {
        if ticket <= applied {
            continue;
        }
        if ticket != applied + 1 {
            gap = Some(applied + 1);
            break;
        }
        match chainer.take_up(ticket, &bytes, &mut group) {
            Ok(item) => items.push(item),
            Err(finding) => findings.push(finding),
        }
        applied = ticket;
    }
    let moved = chainer.moved(&items);
    rows.commit(&group, &moved, Some(applied))?;
    rows.renew_id()?;
    rows.checkpoint();
    Ok((findings, gap))
}
