//! Questions about files and memory that may be anybody's, asked so that nobody can hold the sensor's thread.
//!
//! A FUSE or network file system may never answer a stat, and the arguments of a process are its own memory, whose pages
//! may come from such a file too. [`look`] asks the kernel alone; [`read_memory`] waits for a bounded time, on a thread
//! that is left behind when the answer does not come.

use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, statx};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// What the kernel knows of a file by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) kind: FileType,
    pub(crate) inode: u64,
    /// 12 bits of major, 20 of minor, as the kernel packs them.
    pub(crate) device: u32,
    /// The same, of the device that the file stands for.
    pub(crate) rdev: u32,
    pub(crate) owner: u32,
}

/// Looks at a file, through the last link too, without waiting for a server (AT_STATX_DONT_SYNC).
pub(crate) fn look(path: impl AsRef<Path>) -> Option<Look> {
    let found = statx(CWD, path.as_ref(), AtFlags::STATX_DONT_SYNC, StatxFlags::BASIC_STATS).ok()?;
    let packed = |major: u32, minor: u32| (major << 20) | (minor & 0xf_ffff);
    Some(Look {
        kind: FileType::from_raw_mode(u32::from(found.stx_mode)),
        inode: found.stx_ino,
        device: packed(found.stx_dev_major, found.stx_dev_minor),
        rdev: packed(found.stx_rdev_major, found.stx_rdev_minor),
        owner: found.stx_uid,
    })
}

/// At the start: longer than any honest page fault, also on a busy machine.
pub(crate) const PATIENT: Duration = Duration::from_secs(1);
/// While events wait.
pub(crate) const BRIEF: Duration = Duration::from_millis(50);
/// At most so many readers are left behind; then nobody is asked any more until one comes back.
const LEFT_BEHIND: usize = 8;

/// Reads a file of /proc that is a process's own memory; empty when it does not answer in time.
pub(crate) fn read_memory(path: String, patience: Duration) -> Vec<u8> {
    static READING: AtomicUsize = AtomicUsize::new(0);
    if READING.fetch_add(1, Ordering::Relaxed) >= LEFT_BEHIND {
        READING.fetch_sub(1, Ordering::Relaxed);
        return Vec::new();
    }
    let (send, receive) = mpsc::sync_channel(1);
    let spawned = std::thread::Builder::new().name("quell-ask".to_owned()).spawn(move || {
        let bytes = fs::read(path).unwrap_or_default();
        READING.fetch_sub(1, Ordering::Relaxed);
        // Nobody waits any more when the answer comes too late.
        drop(send.try_send(bytes));
    });
    if spawned.is_err() {
        READING.fetch_sub(1, Ordering::Relaxed);
        return Vec::new();
    }
    receive.recv_timeout(patience).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_never_answers_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("f");
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        assert_eq!(read_memory(fifo.to_str().unwrap().to_owned(), BRIEF), b"");
        // Opening it for writing lets the reader that was left behind go.
        drop(fs::OpenOptions::new().write(true).open(&fifo).unwrap());
    }

    #[test]
    fn a_device_is_told_by_its_numbers() {
        let null = look("/dev/null").unwrap();
        assert_eq!((null.kind, null.rdev), (FileType::CharacterDevice, (1 << 20) + 3));
        assert!(look("/nowhere").is_none());
    }
}
