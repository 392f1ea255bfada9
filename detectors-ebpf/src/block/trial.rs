//! The reflex tries itself: an image of its own is entered and must die of its start, and its sibling must not.
//!
//! Both are in memory alone, made of a few bytes of machine code; nobody else can start them.

use super::KernelReflex;
use quell_model::{Around, Reflex, Spot, Terms};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The reflex's own entries have this number.
pub(super) const OWN: u64 = 0;
/// What a dummy's file is called, which is in memory alone.
pub(crate) const DUMMY: &str = "quell-dummy";
/// What the dummy ends with when it is let.
const LET: i32 = 7;
/// Longer than any machine takes; the entry goes with the trial.
const LASTING_NS: u64 = 30_000_000_000;
/// Longer than a child takes from its fork to its exec.
const BOUND: Duration = Duration::from_secs(5);

/// `exit(7)`.
#[cfg(target_arch = "x86_64")]
const CODE: [u8; 12] = [0xb8, 60, 0, 0, 0, 0xbf, 7, 0, 0, 0, 0x0f, 0x05];
#[cfg(target_arch = "x86_64")]
const MACHINE: u8 = 62;
/// `mov x8, #93; mov x0, #7; svc #0`.
#[cfg(target_arch = "aarch64")]
const CODE: [u8; 12] = [0xa8, 0x0b, 0x80, 0xd2, 0xe0, 0x00, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4];
#[cfg(target_arch = "aarch64")]
const MACHINE: u8 = 183;

/// A program of one segment (elf(5)).
fn program() -> Vec<u8> {
    const AT: u64 = 0x40_0000;
    const HEADS: u16 = 64 + 56;
    let size = u64::from(HEADS) + CODE.len() as u64;
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend([2, 0, MACHINE, 0, 1, 0, 0, 0]);
    for word in [AT + u64::from(HEADS), 64, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend([0; 4]);
    for half in [64u16, 56, 1, 0, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    // PT_LOAD, readable and executable.
    bytes.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [0, AT, AT, size, size, 0x1000] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(CODE);
    bytes
}

fn dummy() -> Result<File, String> {
    let made = rustix::fs::memfd_create(DUMMY, rustix::fs::MemfdFlags::CLOEXEC);
    let mut file = File::from(made.map_err(|e| format!("no file in memory: {e}"))?);
    file.write_all(&program()).map_err(|e| format!("no file in memory: {e}"))?;
    Ok(file)
}

fn start(file: &File) -> io::Result<ExitStatus> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let begun = Instant::now();
    loop {
        let mut command = Command::new(&path);
        let ended = command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        match ended {
            // Another thread's child holds what was open for writing, until its exec.
            Err(error) if error.raw_os_error() == Some(libc::ETXTBSY) && begun.elapsed() < BOUND => {
                std::thread::sleep(Duration::from_millis(1));
            }
            ended => return ended,
        }
    }
}

/// The same file, open for reading alone: what is open for writing cannot be started.
fn sealed(file: File) -> Result<File, String> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let open = File::open(path).map_err(|e| format!("no file in memory: {e}"))?;
    drop(file);
    Ok(open)
}

impl KernelReflex {
    /// Whether the dummy was refused its start, instead of dying of it.
    pub(super) fn trial(&self) -> Result<bool, String> {
        let (struck, sibling) = (sealed(dummy()?)?, sealed(dummy()?)?);
        let spot = Spot { image: self.image(struck.as_fd())?, around: Around::Host };
        let until_ns = super::now() + LASTING_NS;
        let terms =
            Terms { id: OWN, label: DUMMY.into(), owner: String::new(), until_ns, most: 8, within_ns: LASTING_NS };
        self.enter(&spot, &terms, Some(struck.as_fd()))?;
        let ended = start(&struck);
        let removed = self.remove(&spot);
        let refused = |e: &io::Error| e.raw_os_error() == Some(libc::EPERM);
        let denied = match ended {
            Ok(status) if status.signal() == Some(libc::SIGKILL) => false,
            Err(error) if refused(&error) => true,
            Ok(status) => return Err(format!("a blocked dummy ended with `{status}`")),
            Err(error) => return Err(format!("a dummy cannot be started: {error}")),
        };
        removed?;
        let let_live = start(&sibling).and_then(|status| start(&struck).map(|again| [status, again]));
        match let_live {
            Ok([one, again]) if one.code() == Some(LET) && again.code() == Some(LET) => Ok(denied),
            Ok([one, again]) => Err(format!("a dummy that nobody blocked ended with `{one}`, then `{again}`")),
            Err(error) => Err(format!("a dummy that nobody blocked cannot be started: {error}")),
        }
    }
}
