//! One engine a directory.
//!
//! Owns the directory's making and its lock file. Never waits for a lock. The lock is the kernel's (flock): it ends with
//! its holder, however that ends.

use quell_model::StoreError;
use rustix::fs::{FlockOperation, flock};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Held as long as it lives.
#[derive(Debug)]
pub(super) struct DirLock {
    file: File,
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // By word and not only by closing: a child that was forked and has not yet executed holds the file open too.
        if let Err(errno) = flock(&self.file, FlockOperation::Unlock) {
            tracing::warn!(%errno, "the directory's lock was not let go");
        }
    }
}

impl DirLock {
    /// Makes the directory (0700) where it is missing, and takes it.
    pub(super) fn take(dir: &Path) -> Result<Self, StoreError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|e| StoreError::Unwritable(format!("`{}`: {e}", dir.display())))?;
        let path = dir.join("lock");
        let told = |e: std::io::Error| StoreError::Unwritable(format!("`{}`: {e}", path.display()));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .map_err(told)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(StoreError::Taken { dir: dir.display().to_string(), pid });
            }
            Err(errno) => return Err(told(errno.into())),
        }
        // A full disk must not keep the engine from starting: the number is for people only.
        let noted = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(error) = noted {
            tracing::warn!(%error, "the lock file does not tell our pid");
        }
        Ok(Self { file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        let held = DirLock::take(&deep).unwrap();
        match DirLock::take(&deep) {
            Err(StoreError::Taken { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(held);
        DirLock::take(&deep).unwrap();
    }
}
