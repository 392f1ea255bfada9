//! Which probe runs where, and why: the one table. A further probe is a row here and a function in `bpf/`; a further
//! system call of a known shape is a row in [`CALLS`] alone.
//!
//! Owns names and facts; loads nothing. Kernel numbers are the first release that has what the probe needs.

use crate::record::FileOp;
use quell_model::Class;

/// Where a program is hooked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// A tracepoint with typed arguments; also called by the name.
    Tracepoint(&'static str),
    /// Called from [`DISPATCHER`] by tail call, for the rows of [`CALLS`] that name it.
    Calls,
    /// Read once at start.
    TaskIterator,
}

/// What the sensor is without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// No sensor.
    Needed,
    /// A sensor that says what it misses.
    Optional,
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// The program's name in the object.
    pub program: &'static str,
    /// Its hook.
    pub attach: Attach,
    /// The class of its events.
    pub class: Class,
    /// The first kernel that has it.
    pub kernel: &'static str,
    /// Whether the sensor can do without.
    pub need: Need,
    /// What it is for.
    pub why: &'static str,
    /// What holds where it is missing.
    pub without: &'static str,
}

/// The program that the exits of all system calls reach first.
pub(crate) const DISPATCHER: &str = "call_exit";

const SYS_EXIT: &str = "sys_exit";

/// Every probe, in the order in which they are attached.
pub const PROBES: &[Probe] = &[
    Probe {
        program: "process_exec",
        attach: Attach::Tracepoint("sched_process_exec"),
        class: Class::ProcessCreation,
        kernel: "5.8",
        need: Need::Needed,
        why: "images, arguments, where the standard streams lead",
        without: "nothing",
    },
    Probe {
        program: "process_fork",
        attach: Attach::Tracepoint("sched_process_fork"),
        class: Class::ProcessFork,
        kernel: "5.8",
        need: Need::Needed,
        why: "parents by identity, also of processes that never exec",
        without: "nothing",
    },
    Probe {
        program: "process_exit",
        attach: Attach::Tracepoint("sched_process_exit"),
        class: Class::ProcessTermination,
        kernel: "5.8",
        need: Need::Needed,
        why: "ends of processes",
        without: "nothing",
    },
    Probe {
        program: DISPATCHER,
        attach: Attach::Tracepoint(SYS_EXIT),
        class: Class::FileEvent,
        kernel: "5.8",
        need: Need::Optional,
        why: "leads system calls to the probes below",
        without: "no file events, credentials changes, accepted and datagram connections; processes and TCP connects stay",
    },
    Probe {
        program: "net_state",
        attach: Attach::Tracepoint("inet_sock_set_state"),
        class: Class::NetworkConnection,
        kernel: "5.8",
        need: Need::Optional,
        why: "TCP connects and listeners, also those made by io_uring",
        without: "no TCP connects and listeners; what a process's standard streams lead to stays",
    },
    Probe {
        program: "net_accept",
        attach: Attach::Calls,
        class: Class::NetworkConnection,
        kernel: "5.8",
        need: Need::Optional,
        why: "inbound connections, with the process that took them",
        without: "no inbound connections",
    },
    Probe {
        program: "net_ring_accept",
        attach: Attach::Tracepoint("io_uring_complete"),
        class: Class::NetworkConnection,
        kernel: "5.19",
        need: Need::Optional,
        why: "inbound connections that io_uring took",
        without: "no inbound connections by io_uring; those by system calls stay",
    },
    Probe {
        program: "net_connect",
        attach: Attach::Calls,
        class: Class::NetworkConnection,
        kernel: "5.8",
        need: Need::Optional,
        why: "datagram sockets that fix a peer",
        without: "no UDP connects",
    },
    Probe {
        program: "net_sendto",
        attach: Attach::Calls,
        class: Class::NetworkConnection,
        kernel: "5.8",
        need: Need::Optional,
        why: "datagrams to an address, once a minute for each peer",
        without: "no UDP sends",
    },
    Probe {
        program: "net_sendmsg",
        attach: Attach::Calls,
        class: Class::NetworkConnection,
        kernel: "5.8",
        need: Need::Optional,
        why: "the same by sendmsg",
        without: "no UDP sends by sendmsg",
    },
    Probe {
        program: "file_open",
        attach: Attach::Calls,
        class: Class::FileEvent,
        kernel: "5.8",
        need: Need::Optional,
        why: "files opened to write, files created, reads of watched paths",
        without: "no writes, no reads of watched paths",
    },
    Probe {
        program: "file_ring_open",
        attach: Attach::Tracepoint("io_uring_complete"),
        class: Class::FileEvent,
        kernel: "5.19",
        need: Need::Optional,
        why: "files opened by io_uring, which makes no system call for it",
        without: "no files opened by io_uring; those opened by system calls stay",
    },
    Probe {
        program: "file_change",
        attach: Attach::Calls,
        class: Class::FileEvent,
        kernel: "5.8",
        need: Need::Optional,
        why: "files removed, renamed, linked, given other modes and owners",
        without: "no removals, renames, modes and owners",
    },
    Probe {
        program: "credentials_change",
        attach: Attach::Calls,
        class: Class::Credentials,
        kernel: "5.8",
        need: Need::Optional,
        why: "changes of ids and capabilities",
        without: "no changes of credentials between execs",
    },
    Probe {
        program: "process_access",
        attach: Attach::Calls,
        class: Class::ProcessAccess,
        kernel: "5.8",
        need: Need::Optional,
        why: "processes that trace others or reach into their memory",
        without: "no tracing and reaching into memory",
    },
    Probe {
        program: "scan_tasks",
        attach: Attach::TaskIterator,
        class: Class::ProcessCreation,
        kernel: "5.8",
        need: Need::Optional,
        why: "exact start times of the processes that were there before",
        without: "their start times are exact to 10 ms only, from /proc",
    },
];

/// No such argument.
const NONE: u8 = 255;

/// One system call: its handler, and which argument is what.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The number on this architecture.
    pub number: i64,
    /// Its word in events and messages.
    pub name: &'static str,
    /// The program that takes it.
    pub program: &'static str,
    /// What the program notes as having happened.
    pub op: u16,
    /// Arguments: directory and name, second directory and name, value, second value.
    pub args: [u8; 6],
}

const fn call(number: i64, name: &'static str, program: &'static str, op: u16, args: [u8; 6]) -> Call {
    Call { number, name, program, op, args }
}

const fn file(number: i64, name: &'static str, op: FileOp, args: [u8; 6]) -> Call {
    call(number, name, "file_change", op as u16, args)
}

const fn open(number: i64, name: &'static str) -> Call {
    call(number, name, "file_open", 0, [NONE; 6])
}

const N: u8 = NONE;

/// Every system call that is looked at, on any architecture.
const COMMON: &[Call] = &[
    open(libc::SYS_openat, "openat"),
    open(libc::SYS_openat2, "openat2"),
    file(libc::SYS_unlinkat, "unlinkat", FileOp::Unlink, [0, 1, N, N, 2, N]),
    file(libc::SYS_renameat, "renameat", FileOp::Rename, [0, 1, 2, 3, N, N]),
    file(libc::SYS_renameat2, "renameat2", FileOp::Rename, [0, 1, 2, 3, N, N]),
    file(libc::SYS_linkat, "linkat", FileOp::Link, [0, 1, 2, 3, N, N]),
    file(libc::SYS_symlinkat, "symlinkat", FileOp::Symlink, [1, 2, N, 0, N, N]),
    file(libc::SYS_mkdirat, "mkdirat", FileOp::Mkdir, [0, 1, N, N, 2, N]),
    file(libc::SYS_fchmod, "fchmod", FileOp::Chmod, [0, N, N, N, 1, N]),
    file(libc::SYS_fchmodat, "fchmodat", FileOp::Chmod, [0, 1, N, N, 2, N]),
    file(452, "fchmodat2", FileOp::Chmod, [0, 1, N, N, 2, N]), // one number everywhere since 6.6
    file(libc::SYS_fchown, "fchown", FileOp::Chown, [0, N, N, N, 1, 2]),
    file(libc::SYS_fchownat, "fchownat", FileOp::Chown, [0, 1, N, N, 2, 3]),
    call(libc::SYS_accept, "accept", "net_accept", 0, [N; 6]),
    call(libc::SYS_accept4, "accept4", "net_accept", 0, [N; 6]),
    call(libc::SYS_connect, "connect", "net_connect", 0, [N; 6]),
    call(libc::SYS_sendto, "sendto", "net_sendto", 0, [N; 6]),
    call(libc::SYS_sendmsg, "sendmsg", "net_sendmsg", 0, [N; 6]),
    call(libc::SYS_sendmmsg, "sendmmsg", "net_sendmsg", 0, [N; 6]),
    call(libc::SYS_setuid, "setuid", "credentials_change", 1, [N; 6]),
    call(libc::SYS_setgid, "setgid", "credentials_change", 2, [N; 6]),
    call(libc::SYS_setreuid, "setreuid", "credentials_change", 3, [N; 6]),
    call(libc::SYS_setregid, "setregid", "credentials_change", 4, [N; 6]),
    call(libc::SYS_setresuid, "setresuid", "credentials_change", 5, [N; 6]),
    call(libc::SYS_setresgid, "setresgid", "credentials_change", 6, [N; 6]),
    call(libc::SYS_setfsuid, "setfsuid", "credentials_change", 7, [N; 6]),
    call(libc::SYS_setfsgid, "setfsgid", "credentials_change", 8, [N; 6]),
    call(libc::SYS_setgroups, "setgroups", "credentials_change", 9, [N; 6]),
    call(libc::SYS_ptrace, "ptrace", "process_access", 1, [N, N, N, N, 1, 0]),
    call(libc::SYS_process_vm_readv, "process_vm_readv", "process_access", 2, [N, N, N, N, 0, N]),
    call(libc::SYS_process_vm_writev, "process_vm_writev", "process_access", 3, [N, N, N, N, 0, N]),
    call(libc::SYS_capset, "capset", "credentials_change", 10, [N; 6]),
];

/// The older calls that newer architectures were never given.
#[cfg(target_arch = "x86_64")]
const OLDER: &[Call] = &[
    open(libc::SYS_open, "open"),
    open(libc::SYS_creat, "creat"),
    file(libc::SYS_unlink, "unlink", FileOp::Unlink, [N, 0, N, N, N, N]),
    file(libc::SYS_rmdir, "rmdir", FileOp::Rmdir, [N, 0, N, N, N, N]),
    file(libc::SYS_mkdir, "mkdir", FileOp::Mkdir, [N, 0, N, N, 1, N]),
    file(libc::SYS_rename, "rename", FileOp::Rename, [N, 0, N, 1, N, N]),
    file(libc::SYS_link, "link", FileOp::Link, [N, 0, N, 1, N, N]),
    file(libc::SYS_symlink, "symlink", FileOp::Symlink, [N, 1, N, 0, N, N]),
    file(libc::SYS_chmod, "chmod", FileOp::Chmod, [N, 0, N, N, 1, N]),
    file(libc::SYS_chown, "chown", FileOp::Chown, [N, 0, N, N, 1, 2]),
    file(libc::SYS_lchown, "lchown", FileOp::Chown, [N, 0, N, N, 1, 2]),
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[Call] = &[];

/// Every system call that is looked at.
pub fn calls() -> impl Iterator<Item = &'static Call> {
    COMMON.iter().chain(OLDER)
}

/// The call that a record's number means.
#[must_use]
pub(crate) fn call_name(program: &str, op: u16) -> &'static str {
    calls().find(|c| c.program == program && c.op == op).map_or("unknown", |c| c.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_call_names_a_probe_and_each_number_once() {
        let mut numbers = HashSet::new();
        for call in calls() {
            let probe = PROBES.iter().find(|p| p.program == call.program);
            assert_eq!(probe.map(|p| p.attach), Some(Attach::Calls), "{}", call.name);
            assert!(numbers.insert(call.number), "{} twice", call.name);
            assert!((0..512).contains(&call.number), "{} beyond the table", call.name);
        }
    }

    #[test]
    fn what_is_needed_says_so_and_the_rest_says_what_is_lost() {
        for probe in PROBES {
            assert!(!probe.why.is_empty() && !probe.without.is_empty(), "{}", probe.program);
        }
        assert_eq!(PROBES.iter().filter(|p| p.need == Need::Needed).count(), 3);
    }
}
