//! Scripts: the kernel's exec meets their interpreters, so their opening for an exec is refused by fanotify.
//!
//! ```text
//! exec of a marked script ─▶ the kernel waits ─▶ this thread looks the entry up ─▶ EPERM, or it goes on
//! ```
//!
//! Marks stand on single inodes, never on mounts: when this thread does not answer, what waits is an exec of a marked file
//! and nothing else. Keeps true: with this process the group ends, and with the group every mark and every wait; what
//! cannot be told is let go on.

#![allow(unsafe_code, reason = "fanotify by libc")]

use super::words::{Fate, Firing};
use rustix::event::{PollFd, PollFlags, poll};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::thread::JoinHandle;

/// What the thread asks about an exec: whose entry it meets, once it is counted.
pub(super) trait Judge: Send + 'static {
    /// Whether the exec of this image by this process is refused: the entry's number, and that its budget is used up.
    fn judge(&self, image: BorrowedFd<'_>, pid: u32) -> Option<(u64, bool)>;

    /// Brings a line into the ledger.
    fn note(&self, line: &Firing);
}

/// The group of marks, and its thread.
pub(super) struct Scripts {
    group: OwnedFd,
    /// Tells the thread to end.
    end: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Scripts {
    /// Opens the group and starts its thread, which ends with the group.
    pub(super) fn start(judge: impl Judge) -> io::Result<Self> {
        let flags = libc::FAN_CLASS_CONTENT | libc::FAN_CLOEXEC | libc::FAN_UNLIMITED_MARKS;
        let modes = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_LARGEFILE;
        // SAFETY: two words; gives a descriptor that nobody else has.
        let group = unsafe { libc::fanotify_init(flags, modes.cast_unsigned()) };
        if group < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it was just opened and is owned by nobody else.
        let group = unsafe { OwnedFd::from_raw_fd(group) };
        let end = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC)?;
        let (events, told) = (File::from(group.try_clone()?), end.try_clone()?);
        let named = std::thread::Builder::new().name("quell-scripts".into());
        let thread = named.spawn(move || answer(events, &told, &judge))?;
        Ok(Self { group, end, thread: Some(thread) })
    }

    /// Marks an open file.
    pub(super) fn mark(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.change(libc::FAN_MARK_ADD, file)
    }

    fn change(&self, flags: libc::c_uint, file: BorrowedFd<'_>) -> io::Result<()> {
        // The descriptor names the inode: no path can be changed meanwhile.
        let path = format!("/proc/self/fd/{}\0", file.as_raw_fd());
        let group = self.group.as_raw_fd();
        // SAFETY: the group is open, and the path ends in NUL and lives through the call.
        let done = unsafe {
            libc::fanotify_mark(group, flags, libc::FAN_OPEN_EXEC_PERM, libc::AT_FDCWD, path.as_ptr().cast())
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Takes every mark away: for when no entry stands.
    pub(super) fn clear(&self) {
        // SAFETY: the group is open; FAN_MARK_FLUSH looks at no path.
        let done = unsafe {
            libc::fanotify_mark(self.group.as_raw_fd(), libc::FAN_MARK_FLUSH, 0, libc::AT_FDCWD, std::ptr::null())
        };
        if done != 0 {
            tracing::debug!(error = %io::Error::last_os_error(), "marks on scripts stay");
        }
    }
}

impl Drop for Scripts {
    fn drop(&mut self) {
        if rustix::io::write(&self.end, &1u64.to_ne_bytes()).is_ok()
            && let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the scripts had died");
        }
    }
}

/// Whether a file begins as a script does.
pub(super) fn is_script(file: BorrowedFd<'_>) -> bool {
    let mut start = [0; 2];
    rustix::io::pread(file, &mut start, 0).is_ok_and(|n| n == 2) && start == *b"#!"
}

/// `struct fanotify_event_metadata`; its first word is its length.
const EVENT: usize = 24;

fn answer(mut events: File, end: &OwnedFd, judge: &impl Judge) {
    let mut buffer = [0u8; EVENT * 64];
    loop {
        let mut both = [PollFd::new(&events, PollFlags::IN), PollFd::new(end, PollFlags::IN)];
        match poll(&mut both, None) {
            Ok(_) if !both[1].revents().is_empty() => return,
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => {
                tracing::error!(%error, "scripts are no longer kept from starting");
                return;
            }
        }
        let got = match events.read(&mut buffer) {
            Ok(0) => return,
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                tracing::error!(%error, "scripts are no longer kept from starting");
                return;
            }
        };
        for event in buffer[..got].chunks_exact(EVENT) {
            let word = |at: usize| i32::from_ne_bytes(event[at..at + 4].try_into().expect("four bytes"));
            let (file, pid) = (word(16), word(20));
            if file < 0 {
                continue;
            }
            // SAFETY: the kernel opened it for this event, and nobody else has it.
            let file = unsafe { OwnedFd::from_raw_fd(file) };
            let met = judge.judge(file.as_fd(), pid.cast_unsigned());
            let denied = matches!(met, Some((_, false)));
            // Before the answer: it is written down also when this process dies of the next instruction.
            if let Some((id, spent)) = met {
                let fate = if spent { Fate::Spent } else { Fate::Denied };
                judge.note(&line(id, pid.cast_unsigned(), file.as_fd(), fate));
            }
            let verdict = if denied { libc::FAN_DENY } else { libc::FAN_ALLOW };
            let mut reply = [0u8; 8];
            reply[..4].copy_from_slice(&file.as_raw_fd().to_ne_bytes());
            reply[4..].copy_from_slice(&verdict.to_ne_bytes());
            if let Err(error) = events.write_all(&reply) {
                tracing::debug!(%error, "an exec was not waited for");
            }
        }
    }
}

fn line(id: u64, pid: u32, file: BorrowedFd<'_>, fate: Fate) -> Firing {
    let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let number = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse().ok()).unwrap_or(0)
    };
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let ticks = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19)?.parse::<u64>().ok());
    Firing {
        id,
        boot_ns: super::now(),
        pid,
        start_ns: ticks.unwrap_or(0) * quell_model::TICK_NS,
        parent: number("PPid:"),
        uid: number("Uid:"),
        cgroup: 0,
        asked: path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default(),
        fate,
    }
}
