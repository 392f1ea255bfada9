//! What acts in the kernel and may outlive quell: one directory of the BPF file system, with the pause flag that all of
//! it obeys.
//!
//! ```text
//! /sys/fs/bpf/quell/   owner → whose daemon pinned this (pin/owner.rs)     pause   hand_*   block_*
//! ```
//!
//! Keeps true: one daemon at a time works here (a lock on the directory), and nobody takes away what another data
//! directory owns while that exists; whoever takes pins away pauses first, because a hook acts on for some milliseconds
//! after its pin is gone. Mounts the BPF file system at its usual place when nobody has.

mod flag;
mod owner;

use aya::{Btf, EbpfLoader};
use owner::Owner;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where `quell up` pins.
pub const DIR: &str = "/sys/fs/bpf/quell";

/// Where the kernel's documentation wants the file system.
const BPFFS: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC` (include/uapi/linux/magic.h).
const BPFFS_MAGIC: i64 = 0xcafe_4a11;
/// The flag; `PAUSE` in bpf/pause.h.
const PAUSE: &str = "pause";
/// A symbolic link whose text says whose it is; see [`Owner`].
const OWNER: &str = "owner";
/// The directory may be taken away between its opening and its lock so often.
const TRIES: u32 = 8;

/// A child that a killed predecessor had just forked holds the lock until it executes its program.
const LINGER: Duration = Duration::from_millis(500);

/// Nothing can be pinned, paused or taken away.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// Something could not be read, made or removed.
    #[error("`{}` could not be {verb}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// What was tried.
        verb: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The flag could not be read or set.
    #[error("what is pinned in `{}` cannot be paused: {why}", dir.display())]
    Pause {
        /// Where.
        dir: PathBuf,
        /// What the kernel said.
        why: String,
    },
    /// A program or a map could not be pinned.
    #[error("`{}` cannot be pinned: {why}", path.display())]
    Refused {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        why: String,
    },
    /// The directory is of another file system.
    #[error("`{}` is on no BPF file system; hint: `mount -t bpf bpf /sys/fs/bpf`", dir.display())]
    NotBpf {
        /// Where.
        dir: PathBuf,
    },
    /// Another daemon works there, or what it pinned is in force.
    #[error("`{}` belongs to the quell of `{}`{}", dir.display(), owner.display(), if *runs { ", which runs" } else { "" })]
    Taken {
        /// Where.
        dir: PathBuf,
        /// Its data directory; empty when it has not said yet.
        owner: PathBuf,
        /// Whether its daemon lives.
        runs: bool,
    },
}

fn failed(path: &Path, verb: &'static str) -> impl FnOnce(io::Error) -> PinError {
    let path = path.to_owned();
    move |source| PinError::Io { path, verb, source }
}

/// The right to pin in a directory, for one daemon at a time; it ends with this value, what was pinned does not.
#[derive(Debug)]
pub struct Pins {
    dir: PathBuf,
    /// The directory, locked.
    _lock: Lock,
}

/// A directory that is locked. Let go of by word: a child that is between fork and exec holds the descriptor too.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = flock(&self.0, FlockOperation::Unlock) {
            tracing::debug!(%error, "the lock of the pins goes with its last descriptor");
        }
    }
}

impl Pins {
    /// Takes the directory for the daemon whose data is in `owner`. What this daemon's predecessor pinned stays as it
    /// is, unless it obeys a flag that this build cannot set: then it goes, since nobody could hold it. What belongs to a
    /// data directory that is gone is paused and taken away.
    ///
    /// # Errors
    /// [`PinError::Taken`] when it is another's; else when the file system refuses.
    pub fn claim(dir: &Path, owner: &Path) -> Result<Self, PinError> {
        prepare(dir)?;
        let owner = Owner::of(owner);
        let begun = Instant::now();
        let lock = loop {
            if let Some(lock) = lock(dir)? {
                break lock;
            }
            let holder = owner_of(dir);
            if holder.as_ref().is_none_or(|holder| !owner.is(holder)) || begun.elapsed() > LINGER {
                let owner = holder.map(|holder| holder.path).unwrap_or_default();
                return Err(PinError::Taken { dir: dir.to_owned(), owner, runs: true });
            }
            std::thread::sleep(LINGER / 20);
        };
        match owner_of(dir) {
            Some(known) if owner.is(&known) => {
                // It may have been moved, or be in another container by now.
                if known != owner {
                    name(dir, &owner)?;
                }
                if flag::is_foreign(dir)? {
                    empty(dir)?;
                    name(dir, &owner)?;
                }
            }
            Some(other) if other.stands() => {
                return Err(PinError::Taken { dir: dir.to_owned(), owner: other.path, runs: false });
            }
            _ => {
                empty(dir)?;
                name(dir, &owner)?;
            }
        }
        Ok(Self { dir: dir.to_owned(), _lock: lock })
    }

    /// Where.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The place of one pin.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Takes away what was pinned under names that begin so. Nobody pauses for it: the caller's programs are meant to be
    /// replaced, or have nothing left to do.
    ///
    /// # Errors
    /// The first that could not be removed, once all were tried.
    pub(crate) fn clear(&self, prefix: &str) -> Result<(), PinError> {
        let begins = |pin: &PathBuf| pin.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
        let mut done = Ok(());
        for pin in pins(&self.dir)?.into_iter().filter(begins) {
            done = done.and(fs::remove_file(&pin).map_err(failed(&pin, "removed")));
        }
        done
    }

    /// Gives a pin another name, and takes away what had that; nothing where there is no such pin.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), PinError> {
        let (from, to) = (self.path(from), self.path(to));
        match fs::rename(&from, &to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&from, "renamed")(error)),
            _ => Ok(()),
        }
    }

    /// Whether the flag is set; false before anything obeys it.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        flag::is_set(&self.dir)
    }

    /// Sets or lifts the flag, where anything obeys it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn pause(&self, paused: bool) -> Result<(), PinError> {
        if flag::is_there(&self.dir) { flag::set(&self.dir, paused) } else { Ok(()) }
    }

    /// The daemon ends: the directory goes when nothing in it acts any more.
    ///
    /// # Errors
    /// When something could not be removed.
    pub fn give_back(&self) -> Result<(), PinError> {
        let acts = |pin: &PathBuf| !pin.ends_with(PAUSE) && !pin.ends_with(OWNER);
        if pins(&self.dir)?.iter().any(acts) {
            return Ok(());
        }
        empty(&self.dir)?;
        fs::remove_dir(&self.dir).map_err(failed(&self.dir, "removed"))
    }
}

/// A loader for an object that has `PAUSE`, and keeps these maps under these names: with pins they are theirs, made with the first
/// object that is loaded.
pub(crate) fn loader<'a>(btf: &'a Btf, pins: Option<&Pins>, kept: &[(&'a str, &str)]) -> EbpfLoader<'a> {
    let mut loader = EbpfLoader::new();
    loader.btf(Some(btf));
    if let Some(pins) = pins {
        for &(map, name) in kept.iter().chain(&[("PAUSE", PAUSE)]) {
            loader.map_pin_path(map, pins.path(name));
        }
    }
    loader
}

/// Whether what is pinned there is that of the daemon whose data is in `owner`.
#[must_use]
pub fn belongs(dir: &Path, owner: &Path) -> bool {
    owner_of(dir).is_some_and(|known| Owner::of(owner).is(&known))
}

/// Writes down whose it is; there is no moment in which it is nobody's.
fn name(dir: &Path, owner: &Owner) -> Result<(), PinError> {
    let (link, fresh) = (dir.join(OWNER), dir.join("owner_new"));
    if fresh.symlink_metadata().is_ok() {
        fs::remove_file(&fresh).map_err(failed(&fresh, "removed"))?;
    }
    symlink(owner.text(), &fresh).map_err(failed(&fresh, "made"))?;
    fs::rename(&fresh, &link).map_err(failed(&link, "made"))
}

/// Whom the directory belongs to.
fn owner_of(dir: &Path) -> Option<Owner> {
    fs::read_link(dir.join(OWNER)).ok().map(|text| Owner::read(&text))
}

/// Makes the directory, and mounts the file system below it where it is the usual one and missing.
fn prepare(dir: &Path) -> Result<(), PinError> {
    if dir.starts_with(BPFFS) && !is_bpf(Path::new(BPFFS)) {
        mount(Path::new(BPFFS)).map_err(failed(Path::new(BPFFS), "mounted"))?;
    }
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(failed(dir, "made"))?;
    // Where anybody may make directories, somebody else may have made this one.
    let found = fs::symlink_metadata(dir).map_err(failed(dir, "read"))?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o022 != 0 {
        let others = io::Error::other("it is not a directory that only its owner may write to, or another user's");
        return Err(failed(dir, "trusted")(others));
    }
    if is_bpf(dir) { Ok(()) } else { Err(PinError::NotBpf { dir: dir.to_owned() }) }
}

fn is_bpf(dir: &Path) -> bool {
    rustix::fs::statfs(dir).is_ok_and(|stat| stat.f_type == BPFFS_MAGIC)
}

/// Mounts a BPF file system.
#[allow(unsafe_code, reason = "mount(2) by libc")]
fn mount(at: &Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let at = std::ffi::CString::new(at.as_os_str().as_bytes())?;
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // SAFETY: four strings that end in NUL and live through the call.
    let done =
        unsafe { libc::mount(c"bpf".as_ptr(), at.as_ptr(), c"bpf".as_ptr(), flags, c"mode=0700".as_ptr().cast()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The directory, locked; `None` when another process has it.
fn lock(dir: &Path) -> Result<Option<Lock>, PinError> {
    for _ in 0..TRIES {
        let file = File::open(dir).map_err(failed(dir, "opened"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(failed(dir, "locked")(error.into())),
        }
        let lock = Lock(file);
        // Somebody may have taken it away before the lock; then this is the lock of nothing.
        let held = lock.0.metadata().map_err(failed(dir, "read"))?;
        if fs::metadata(dir).is_ok_and(|now| now.ino() == held.ino() && now.dev() == held.dev()) {
            return Ok(Some(lock));
        }
        prepare(dir)?;
    }
    Ok(None)
}

/// All that is in the directory; none where it is not.
fn pins(dir: &Path) -> Result<Vec<PathBuf>, PinError> {
    match fs::read_dir(dir) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(dir, "read")(error)),
    }
}

/// Pauses where it can, then takes away all that acts, then the flag and the owner's name. Gives what acted.
fn empty(dir: &Path) -> Result<Vec<PathBuf>, PinError> {
    let flag = dir.join(PAUSE);
    if flag::is_foreign(dir)? {
        let dir = dir.display();
        tracing::warn!(%dir, "what another quell pinned obeys a flag of another shape: it is taken away without a pause");
    } else if flag::is_there(dir) {
        flag::set(dir, true)?;
    }
    let (mut last, acted): (Vec<PathBuf>, Vec<PathBuf>) =
        pins(dir)?.into_iter().partition(|pin| *pin == flag || pin.ends_with(OWNER));
    last.sort_by_key(|pin| *pin != flag);
    for pin in acted.iter().chain(&last) {
        fs::remove_file(pin).map_err(failed(pin, "removed"))?;
    }
    Ok(acted)
}

/// Takes all of it out of the kernel, the pause flag first, and removes the directory; gives what was pinned. Nothing
/// there, or another's, is no error: the list is empty then.
///
/// # Errors
/// When the flag cannot be set or a pin cannot be removed; then the rest is left too.
pub fn remove(dir: &Path, owner: &Path) -> Result<Vec<PathBuf>, PinError> {
    let owner = Owner::of(owner);
    let is_anothers = |other: Owner| !owner.is(&other) && other.stands();
    if !is_bpf(dir) || owner_of(dir).is_some_and(&is_anothers) {
        return Ok(Vec::new());
    }
    let begun = Instant::now();
    let _lock = loop {
        if let Some(lock) = lock(dir)? {
            break lock;
        }
        // A child of a killed daemon, between its fork and its exec, holds the lock for a moment.
        if begun.elapsed() > LINGER {
            return Ok(Vec::new());
        }
        std::thread::sleep(LINGER / 20);
    };
    // Once more: it may have become another's before the lock.
    if owner_of(dir).is_some_and(&is_anothers) {
        return Ok(Vec::new());
    }
    let mut gone = empty(dir)?;
    fs::remove_dir(dir).map_err(failed(dir, "removed"))?;
    gone.push(dir.to_owned());
    Ok(gone)
}

/// Sets or lifts the pause of all that the daemon of `owner` pinned there, whether it lives or not. False when it has
/// pinned nothing there.
///
/// # Errors
/// When the kernel refuses.
pub fn pause(dir: &Path, owner: &Path, paused: bool) -> Result<bool, PinError> {
    if !belongs(dir, owner) || !flag::is_there(dir) {
        return Ok(false);
    }
    flag::set(dir, paused).map(|()| true)
}
