//! `/proc/PID/stat` and `/proc/PID/status`, read without trusting what a process calls itself.
//!
//! A process' name may hold spaces, parentheses and line breaks: `stat` is read from its last `)` on, `status` by lines
//! after the first (the kernel escapes line breaks there).

use crate::world::HostWorld;
use quell_model::ProcessId;
use quell_model::process::TICK_NS;
use rustix::fs::{Mode, OFlags};
use rustix::io::retry_on_intr;
use std::io;

/// PF_KTHREAD of include/linux/sched.h.
const PF_KTHREAD: u64 = 0x0020_0000;

/// SIGSTOP, 19 on every architecture that quell runs on, in the signal sets of `status`.
const SIGSTOP_BIT: u64 = 1 << 18;

/// What `stat` says of a process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stat {
    pub(crate) pid: u32,
    pub(crate) name: String,
    pub(crate) state: char,
    pub(crate) parent: u32,
    pub(crate) group: u32,
    pub(crate) session: u32,
    pub(crate) kernel_thread: bool,
    pub(crate) threads: u32,
    pub(crate) start_ticks: u64,
    /// Where it ran last.
    pub(crate) processor: Option<usize>,
}

/// Longer than any `stat`: 52 numbers and a name.
const LONGEST: usize = 2048;

impl Stat {
    /// Of the process with this number now; `None` when there is none.
    pub(crate) fn read(world: &HostWorld, pid: u32) -> io::Result<Option<Self>> {
        let path = world.of(pid, "stat");
        let mut bytes = [0; LONGEST];
        // One read: the kernel makes the text whole at the first, and a second costs as much.
        let read = || -> rustix::io::Result<usize> {
            let file = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            rustix::io::read(&file, &mut bytes)
        };
        let Some(length) = there(retry_on_intr(read).map_err(io::Error::from))? else { return Ok(None) };
        Ok(bytes.get(..length).and_then(Self::parse))
    }

    /// Of one text; `None` when it is no such text.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let open = bytes.iter().position(|&b| b == b'(')?;
        let close = bytes.iter().rposition(|&b| b == b')')?;
        let pid = std::str::from_utf8(bytes.get(..open)?).ok()?.trim().parse().ok()?;
        let name = String::from_utf8_lossy(bytes.get(open + 1..close)?).into_owned();
        let rest: Vec<&str> = std::str::from_utf8(bytes.get(close + 1..)?).ok()?.split_ascii_whitespace().collect();
        // proc(5) counts from 1 and `state` is its field 3: here 0.
        let number = |field: usize| rest.get(field - 3).and_then(|text| text.parse::<i64>().ok());
        let small = |field: usize| number(field).and_then(|n| u32::try_from(n).ok());
        Some(Self {
            pid,
            name,
            state: rest.first()?.chars().next()?,
            parent: small(4)?,
            group: small(5).unwrap_or(0),
            session: small(6).unwrap_or(0),
            kernel_thread: rest.get(6)?.parse::<u64>().ok()? & PF_KTHREAD != 0,
            threads: small(20).unwrap_or(1),
            start_ticks: rest.get(19)?.parse().ok()?,
            processor: rest.get(36).and_then(|text| text.parse().ok()),
        })
    }

    /// Its identity as far as /proc knows it: the start to a tick, no exec id.
    pub(crate) fn id(&self, world: &HostWorld) -> ProcessId {
        ProcessId {
            boot: world.boot.clone(),
            pid: self.pid,
            start_ns: self.start_ticks.saturating_mul(TICK_NS),
            exec_id: 0,
        }
    }

    /// Whether this is the process that `id` names.
    pub(crate) fn is(&self, id: &ProcessId, world: &HostWorld) -> bool {
        self.pid == id.pid && self.start_ticks == id.start_ticks() && world.boot == id.boot
    }

    /// Whether all of it has ended: a zombie, and not a leader that left other threads running.
    pub(crate) fn is_dead(&self) -> bool {
        self.has_ended() && self.threads <= 1
    }

    /// Whether this one thread has: of a process, its leader.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    /// For people: `python3 (4242)`.
    pub(crate) fn label(&self) -> String {
        format!("{} ({})", crate::text::plain(&self.name), self.pid)
    }
}

/// What `status` says of a process, as far as it is asked.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Status {
    pub(crate) uid: u32,
    pub(crate) euid: u32,
    pub(crate) gid: u32,
    pub(crate) tracer: u32,
    pub(crate) seccomp: u32,
    pub(crate) no_new_privs: bool,
    /// SIGSTOP waits for it, or for one of its threads, to come out of the kernel.
    pub(crate) stop_pending: bool,
    pub(crate) caps_effective: String,
    pub(crate) caps_bounding: String,
}

impl Status {
    /// Of the process with this number now; `None` when there is none.
    pub(crate) fn read(world: &HostWorld, pid: u32) -> io::Result<Option<Self>> {
        Ok(there(std::fs::read(world.of(pid, "status")))?.map(|bytes| Self::parse(&String::from_utf8_lossy(&bytes))))
    }

    fn parse(text: &str) -> Self {
        let mut status = Self::default();
        for line in text.lines().skip(1) {
            let Some((key, value)) = line.split_once(':') else { continue };
            let mut numbers = value.split_ascii_whitespace();
            let mut next = || numbers.next().unwrap_or_default();
            match key {
                "Uid" => (status.uid, status.euid) = (next().parse().unwrap_or(0), next().parse().unwrap_or(0)),
                "Gid" => status.gid = next().parse().unwrap_or(0),
                "TracerPid" => status.tracer = next().parse().unwrap_or(0),
                "Seccomp" => status.seccomp = next().parse().unwrap_or(0),
                "NoNewPrivs" => status.no_new_privs = next() == "1",
                "SigPnd" | "ShdPnd" => {
                    status.stop_pending |= u64::from_str_radix(next(), 16).is_ok_and(|set| set & SIGSTOP_BIT != 0);
                }
                "CapEff" => next().clone_into(&mut status.caps_effective),
                "CapBnd" => next().clone_into(&mut status.caps_bounding),
                _ => {}
            }
        }
        status
    }
}

/// A read that found no process is `None`: ENOENT before it, ESRCH while it went.
pub(crate) fn there<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_moves_no_field() {
        for name in ["sh", "a b", ") R 1 2 3 (", "a\nb", "))((", "", "tab\t) Z 1"] {
            let text = format!(
                "42 ({name}) S 7 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 81234 1000 2000 18446744073709551615\n"
            );
            let stat = Stat::parse(text.as_bytes()).unwrap();
            assert_eq!((stat.pid, stat.parent, stat.group, stat.session), (42, 7, 8, 9), "{name}");
            assert_eq!((stat.state, stat.threads, stat.start_ticks), ('S', 3, 81234), "{name}");
            assert_eq!(stat.name, name);
            assert!(!stat.label().contains('\n') && !stat.label().contains('\t'), "{name}");
        }
    }

    #[test]
    fn a_leader_that_left_threads_behind_is_not_dead() {
        let zombie = |threads| format!("42 (x) Z 7 8 9 0 -1 4 1 2 3 4 5 6 7 8 20 0 {threads} 0 81234\n");
        assert!(Stat::parse(zombie(1).as_bytes()).unwrap().is_dead());
        assert!(!Stat::parse(zombie(3).as_bytes()).unwrap().is_dead());
    }

    #[test]
    fn what_is_no_stat_is_none() {
        for text in ["", "42", "42 (x", "42 (x) S", "x (x) S 1 2 3", ") ("] {
            assert_eq!(Stat::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn status_is_read_by_key() {
        let status = Status::parse(
            "Name:\tx\\nUid:\t9\nState:\tS\nTracerPid:\t12\nUid:\t1000\t1001\t1000\t1000\nGid:\t5\t5\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000040100\nNoNewPrivs:\t1\nSeccomp:\t2\nCapEff:\t00ff\nCapBnd:\t01ff\n",
        );
        assert_eq!((status.uid, status.euid, status.gid, status.tracer), (1000, 1001, 5, 12));
        assert!(status.no_new_privs && status.stop_pending && status.seccomp == 2 && status.caps_effective == "00ff");
    }
}
