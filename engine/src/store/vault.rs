//! Evidence, kept under the sum of its bytes.
//!
//! Owns `vault/` below the data directory. Never changes what is there; what nothing refers to goes when it is told. Keeps true: a name is only ever seen on whole,
//! synced bytes, and bytes are only given out when they still have their name's sum.

use quell_model::store::Vault;
use quell_model::{BlobHash, Hash, StoreError};
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};
use sha2::{Digest, Sha256};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Between the look at a blob and its going nobody finds that it is there already.
static HANDS: Mutex<()> = Mutex::new(());

/// A blob as it lies there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Blob {
    /// Its name.
    pub hash: BlobHash,
    /// How many.
    pub bytes: u64,
    /// When it was last put in.
    pub modified: jiff::Timestamp,
}

/// A vault in a directory of files: `vault/ab/cdef…`, each 0600.
#[derive(Debug)]
pub struct DirVault {
    root: PathBuf,
    /// Tells files apart that are not whole yet.
    next: AtomicU64,
}

impl DirVault {
    /// The vault of a data directory; made when something is first put in.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { root: dir.join("vault"), next: AtomicU64::new(0) }
    }

    /// Where the bytes of a name are, or would be.
    #[must_use]
    pub fn path(&self, hash: &BlobHash) -> PathBuf {
        let name = hash.0.to_string();
        self.root.join(&name[..2]).join(&name[2..])
    }

    /// Everything that is there whole, in no order.
    pub(super) fn all(&self) -> Result<Vec<Blob>, StoreError> {
        let told = |dir: &Path, e: std::io::Error| StoreError::Unwritable(format!("`{}`: {e}", dir.display()));
        let mut blobs = Vec::new();
        for folder in entries(&self.root).map_err(|e| told(&self.root, e))? {
            // A file beside the folders is not ours.
            for file in entries(&folder).map_err(|e| told(&folder, e))? {
                let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
                let hash = name(&folder).zip(name(&file)).and_then(|(two, rest)| format!("{two}{rest}").parse().ok());
                let Some(hash) = hash.map(BlobHash).filter(|hash| self.path(hash) == file) else { continue };
                let data = std::fs::metadata(&file).map_err(|e| told(&file, e))?;
                let modified = data.modified().ok().and_then(|at| jiff::Timestamp::try_from(at).ok());
                blobs.push(Blob { hash, bytes: data.len(), modified: modified.unwrap_or(jiff::Timestamp::MAX) });
            }
        }
        Ok(blobs)
    }

    /// Takes a blob away that has not been put in again since it was looked at; whether it went.
    pub(super) fn discard(&self, blob: &Blob) -> Result<bool, StoreError> {
        let path = self.path(&blob.hash);
        let told = |e: std::io::Error| StoreError::Unwritable(format!("`{}`: {e}", path.display()));
        let _hands = HANDS.lock().unwrap_or_else(PoisonError::into_inner);
        let modified = match std::fs::metadata(&path).and_then(|data| data.modified()) {
            Ok(modified) => jiff::Timestamp::try_from(modified).ok(),
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(told(e)),
        };
        if modified != Some(blob.modified) {
            return Ok(false);
        }
        std::fs::remove_file(&path).map_err(told)?;
        // An empty folder goes with its last blob; another is not empty.
        path.parent().map(std::fs::remove_dir);
        Ok(true)
    }

    /// Takes away what a killed engine left half written. Nobody may be putting anything in.
    pub(super) fn sweep(&self) {
        for half in
            entries(&self.root).unwrap_or_default().iter().flat_map(|folder| entries(folder).unwrap_or_default())
        {
            let is_half = half.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("new-"));
            if is_half && let Err(error) = std::fs::remove_file(&half) {
                tracing::warn!(file = %half.display(), %error, "what was half written stays");
            }
        }
    }

    pub(super) fn keep(&self, bytes: &[u8]) -> Result<BlobHash, StoreError> {
        let hash = BlobHash(Hash::of(bytes));
        let path = self.path(&hash);
        let told = |e: std::io::Error| StoreError::Unwritable(format!("`{}`: {e}", path.display()));
        // What is there and is not this was damaged: it is written anew.
        if std::fs::read(&path).is_ok_and(|there| there == bytes) && touch(&path).map_err(told)? {
            return Ok(hash);
        }
        let dir = path.parent().expect("below the root");
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(told)?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let new = dir.join(format!("new-{}-{number}", std::process::id()));
        let put = || {
            // Nobody takes a damaged one away in between.
            let _hands = HANDS.lock().unwrap_or_else(PoisonError::into_inner);
            std::fs::rename(&new, &path)
        };
        let kept = write_whole(&new, bytes).and_then(|()| put()).and_then(|()| sync(dir));
        if kept.is_err() {
            // What could not be kept whole is not kept at all; if even that fails, its name tells what it is.
            std::fs::remove_file(&new).ok();
        }
        kept.and_then(|()| sync(&self.root)).map_err(told)?;
        Ok(hash)
    }

    /// Whether nothing is there under a name. What cannot be looked at is not missing: who reads it is told why.
    pub(super) fn lacks(&self, hash: &BlobHash) -> bool {
        matches!(self.path(hash).try_exists(), Ok(false))
    }

    /// How many bytes a name has, after comparing their sum, a piece of them at a time; none: it is not there any more. An error says
    /// for people why they are no evidence.
    pub(super) fn examine(&self, hash: &BlobHash) -> Result<Option<u64>, String> {
        let path = self.path(hash);
        let mut sum = Sha256::new();
        match File::open(&path).and_then(|mut file| std::io::copy(&mut file, &mut sum)) {
            Ok(bytes) if sum.finalize().as_slice() == hash.0.0 => Ok(Some(bytes)),
            Ok(_) => Err(altered(&path)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(format!("`{}`: {e}", path.display())),
        }
    }

    /// The bytes of a name, after comparing their sum.
    pub(super) fn fetch(&self, hash: &BlobHash) -> Result<Vec<u8>, StoreError> {
        let path = self.path(hash);
        let bytes = std::fs::read(&path).map_err(|e| match e.kind() {
            ErrorKind::NotFound => StoreError::Corrupt(format!("`{}` is not in the vault", hash.0)),
            _ => StoreError::Unwritable(format!("`{}`: {e}", path.display())),
        })?;
        if Hash::of(&bytes) == hash.0 { Ok(bytes) } else { Err(StoreError::Corrupt(altered(&path))) }
    }
}

fn altered(path: &Path) -> String {
    format!("`{}` does not have the bytes that its name says", path.display())
}

/// Whether it is there; then it is wanted again, and no retention counts from when it was first put in.
fn touch(path: &Path) -> std::io::Result<bool> {
    let _hands = HANDS.lock().unwrap_or_else(PoisonError::into_inner);
    if !path.try_exists()? {
        return Ok(false);
    }
    let unset = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let now = Timestamps { last_access: unset(UTIME_OMIT), last_modification: unset(UTIME_NOW) };
    futimens(File::open(path)?, &now)?;
    Ok(true)
}

/// What is in a directory, and nothing where there is none.
fn entries(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(dir) {
        Ok(found) => found.map(|entry| Ok(entry?.path())).collect(),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

#[async_trait::async_trait]
impl Vault for DirVault {
    // Captures are rare, and the capture lane is the only one that waits for them.
    async fn put(&self, bytes: Vec<u8>) -> Result<BlobHash, StoreError> {
        self.keep(&bytes)
    }

    async fn get(&self, hash: &BlobHash) -> Result<Vec<u8>, StoreError> {
        self.fetch(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn bytes_come_back_or_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let vault = DirVault::new(dir.path());
        let hash = vault.put(b"memory".to_vec()).await.unwrap();
        assert_eq!(hash.0, Hash::of(b"memory"));
        assert_eq!(vault.put(b"memory".to_vec()).await.unwrap(), hash);
        assert_eq!(vault.get(&hash).await.unwrap(), b"memory");
        let path = vault.path(&hash);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing half is left");
        std::fs::write(&path, b"changed").unwrap();
        assert!(matches!(vault.get(&hash).await, Err(StoreError::Corrupt(_))));
        assert_eq!(vault.put(b"memory".to_vec()).await.unwrap(), hash);
        assert_eq!(vault.get(&hash).await.unwrap(), b"memory", "what was damaged is written anew");
        let half = path.with_file_name("new-77-1");
        std::fs::write(&half, b"mem").unwrap();
        vault.sweep();
        assert!(!half.exists() && path.exists());
        let never = BlobHash(Hash::of(b"never put"));
        assert!(matches!(vault.get(&never).await, Err(StoreError::Corrupt(_))));
    }
}
