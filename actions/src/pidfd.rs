//! A process held by a file descriptor: the number can no longer come to mean another.
//!
//! Owns pidfd_open(2) (5.3), pidfd_send_signal(2) (5.1) and poll(2) on them, through rustix: no unsafe code. Never
//! compares identities; [`crate::process::identity`] does.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How often an answer that may be a passing one is asked for again.
const TRIES: usize = 3;

/// One process.
#[derive(Debug)]
pub(crate) struct Pidfd(OwnedFd);

impl Pidfd {
    /// Opens the process that has this number now; `None` when there is none.
    ///
    /// While a thread other than the leader execs, the number is between two tasks and the kernel answers EINVAL
    /// (before 6.9) or ENOENT; the same answers mean a thread's id. Asked again, then taken as "no process".
    pub(crate) fn open(pid: u32) -> io::Result<Option<Self>> {
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        for _ in 0..TRIES {
            match pidfd_open(pid, PidfdFlags::empty()) {
                Ok(fd) => return Ok(Some(Self(fd))),
                Err(Errno::SRCH) => return Ok(None),
                Err(Errno::INVAL | Errno::NOENT) => std::thread::yield_now(),
                Err(other) => return Err(other.into()),
            }
        }
        Ok(None)
    }

    /// Sends a signal; false when the process is gone.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<bool> {
        match pidfd_send_signal(&self.0, signal) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(other) => Err(other.into()),
        }
    }

    /// Whether all its threads have ended; a zombie has.
    pub(crate) fn has_exited(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1..))
    }
}

/// For so long a death elsewhere is looked for without sleeping: a sleep costs more than most deaths take.
const LOOKED_FOR: Duration = Duration::from_micros(80);

/// Looks again and again for the exit of one process that ran on another processor than this thread, at most for
/// [`LOOKED_FOR`]. On its own processor it could not die meanwhile: this thread goes before all others.
pub(crate) fn look_for_exit(one: &Pidfd, processor: Option<usize>) {
    if processor.is_none_or(|processor| processor == rustix::thread::sched_getcpu()) {
        return;
    }
    let begun = Instant::now();
    while !one.has_exited() && begun.elapsed() < LOOKED_FOR {
        std::hint::spin_loop();
    }
}

/// Waits in poll(2) until all have exited or `bound` is over; says whether all have.
pub(crate) fn wait_for_exits<'a>(all: impl Iterator<Item = &'a Pidfd>, bound: Duration) -> bool {
    let mut left: Vec<&Pidfd> = all.collect();
    let end = Instant::now() + bound;
    while !left.is_empty() {
        let rest = end.saturating_duration_since(Instant::now());
        let mut fds: Vec<PollFd<'_>> =
            left.iter().map(|fd| PollFd::from_borrowed_fd(fd.0.as_fd(), PollFlags::IN)).collect();
        let rest = Timespec { tv_sec: 0, tv_nsec: i64::try_from(rest.as_nanos().min(999_999_999)).unwrap_or(0) };
        if let Err(error) = poll(&mut fds, Some(&rest))
            && error != Errno::INTR
        {
            return false;
        }
        let still = fds.iter().map(|fd| !fd.revents().contains(PollFlags::IN)).collect::<Vec<_>>();
        let mut still = still.into_iter();
        left.retain(|_| still.next().unwrap_or(true));
        if !left.is_empty() && Instant::now() >= end {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_child_is_held_and_its_end_is_seen() {
        let mut child = Command::new("sleep").arg("300").spawn().unwrap();
        let fd = Pidfd::open(child.id()).unwrap().unwrap();
        assert!(!fd.has_exited());
        assert!(!wait_for_exits([&fd].into_iter(), Duration::from_millis(1)));
        assert!(fd.signal(Signal::KILL).unwrap());
        assert!(wait_for_exits([&fd].into_iter(), Duration::from_secs(30)));
        assert!(fd.signal(Signal::KILL).unwrap(), "a zombie still takes a signal");
        child.wait().unwrap();
        assert!(fd.has_exited());
        assert!(!fd.signal(Signal::KILL).unwrap(), "once reaped it is gone, whoever has its number");
    }

    #[test]
    fn what_is_no_process_is_none() {
        for pid in [0, u32::MAX, i32::MAX as u32] {
            assert!(Pidfd::open(pid).unwrap().is_none());
        }
    }
}
