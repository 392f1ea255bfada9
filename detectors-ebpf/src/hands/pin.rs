//! What stays in the kernel when quell ends: the hooks and the pause flag, pinned in a directory of the BPF file system.
//!
//! Keeps true: whoever takes the pins away pauses first, because a hook acts on for some milliseconds after its pin is
//! gone. Mounts the BPF file system at its usual place when nobody has; removes nothing that these hands did not pin.

use crate::load::chain;
use aya::maps::{Array, Map, MapData};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the kernel's documentation wants it.
const BPFFS: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC` (include/uapi/linux/magic.h).
const BPFFS_MAGIC: i64 = 0xcafe_4a11;
/// The map of flags.
pub(super) const CONTROL: &str = "hand_control";
/// All that is pinned here begins with this.
const PREFIX: &str = "hand_";

/// The pins are not there, or not gone.
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
    /// The pause flag could not be set.
    #[error("the hands pinned in `{}` cannot be paused: {why}", dir.display())]
    Pause {
        /// Where.
        dir: PathBuf,
        /// What the kernel said.
        why: String,
    },
    /// The directory is of another file system.
    #[error("`{}` is on no BPF file system; hint: `mount -t bpf bpf /sys/fs/bpf`", dir.display())]
    NotBpf {
        /// Where.
        dir: PathBuf,
    },
}

fn failed(path: &Path, verb: &'static str) -> impl FnOnce(io::Error) -> PinError {
    let path = path.to_owned();
    move |source| PinError::Io { path, verb, source }
}

/// Makes the directory, and mounts the file system below it where it is the usual one and missing.
pub(super) fn prepare(dir: &Path) -> Result<(), PinError> {
    if dir.starts_with(BPFFS) && !is_bpf(Path::new(BPFFS)) {
        mount(Path::new(BPFFS)).map_err(failed(Path::new(BPFFS), "mounted"))?;
    }
    fs::create_dir_all(dir).map_err(failed(dir, "made"))?;
    if is_bpf(dir) { Ok(()) } else { Err(PinError::NotBpf { dir: dir.to_owned() }) }
}

fn is_bpf(dir: &Path) -> bool {
    rustix::fs::statfs(dir).is_ok_and(|stat| stat.f_type == BPFFS_MAGIC)
}

/// Mounts a BPF file system.
#[allow(unsafe_code, reason = "mount(2) by libc")]
pub(super) fn mount(at: &Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let at = std::ffi::CString::new(at.as_os_str().as_bytes())?;
    // SAFETY: three strings that end in NUL and live through the call; no data.
    let done = unsafe { libc::mount(c"bpf".as_ptr(), at.as_ptr(), c"bpf".as_ptr(), 0, std::ptr::null()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes all of it out of the kernel: the pause flag first, then the hooks, then the flags. Nothing there is no error.
///
/// # Errors
/// When the flag cannot be set or a pin cannot be removed; then the rest is left too.
pub fn remove(dir: &Path) -> Result<(), PinError> {
    let control = dir.join(CONTROL);
    if control.exists() {
        pause(dir, true)?;
    }
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(dir, "read")(error)),
    };
    let ours = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
    let mut pins: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(ours).collect();
    pins.sort_by_key(|pin| *pin == control);
    for pin in pins {
        fs::remove_file(&pin).map_err(failed(&pin, "removed"))?;
    }
    Ok(())
}

/// Sets or lifts the pause of hands that were pinned here, whoever loaded them.
///
/// # Errors
/// When none are pinned here, or the kernel refuses.
pub fn pause(dir: &Path, paused: bool) -> Result<(), PinError> {
    let refused = |why: String| PinError::Pause { dir: dir.to_owned(), why };
    let data = MapData::from_pin(dir.join(CONTROL)).map_err(|e| refused(chain(&e)))?;
    let mut control: Array<_, u64> = Array::try_from(Map::Array(data)).map_err(|e| refused(chain(&e)))?;
    control.set(super::C_PAUSED, u64::from(paused), 0).map_err(|e| refused(chain(&e)))
}
