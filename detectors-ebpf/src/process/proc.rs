//! What /proc says of one process: the fallback for what was not seen, and who holds which end.
//!
//! Every answer may be about another process by the time it is read: callers compare the start ticks.

use super::ask::{look, read_memory};
use super::sockets::Sockets;
use super::{Confinement, Image, Process};
use crate::cgroup::Cgroups;
use crate::record::{Stdio, StdioKind};
use crate::users::Users;
use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

/// The parts of /proc/PID/stat that name a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) comm: String,
    pub(crate) ppid: u32,
    /// Field 22.
    pub(crate) start_ticks: u64,
}

/// Reads it; `None` when there is no such process.
pub(crate) fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name may hold anything, also `) R 1`: what counts is the last parenthesis.
fn parse_stat(text: &str) -> Option<Stat> {
    let (open, close) = (text.find('(')?, text.rfind(')')?);
    let mut rest = text.get(close + 1..)?.split_ascii_whitespace();
    let ppid = rest.nth(1)?.parse().ok()?;
    let start_ticks = rest.nth(17)?.parse().ok()?;
    Some(Stat { comm: text.get(open + 1..close)?.to_owned(), ppid, start_ticks })
}

/// Fills in all that /proc tells about a process which is there now.
pub(crate) fn fill(process: &mut Process, users: &Users, cgroups: &Cgroups, patience: Duration) {
    let pid = process.key.pid;
    if let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) {
        take_status(process, &status);
    }
    process.user = users.name(process.ids.uid);
    let ns = |name: &str| {
        let link = fs::read_link(format!("/proc/{pid}/ns/{name}")).ok()?;
        link.to_str()?.split_once('[')?.1.strip_suffix(']')?.parse().ok()
    };
    process.namespaces.pid = ns("pid").unwrap_or(0);
    process.namespaces.net = ns("net").unwrap_or(0);
    process.namespaces.mnt = ns("mnt").unwrap_or(0);
    let number = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).ok()?.trim().parse().ok();
    process.login_uid = number("loginuid").unwrap_or(super::NO_LOGIN);
    process.session = number("sessionid").unwrap_or(super::NO_LOGIN);
    process.image = Arc::new(image(pid, patience));
    process.stdio = stdio(pid).into();
    if let Some((id, group)) = cgroups.of_process(pid) {
        process.cgroup_id = id;
        process.cgroup = group;
    }
}

fn take_status(process: &mut Process, status: &str) {
    for line in status.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let mut words = value.split_ascii_whitespace();
        let mut number = || words.next().and_then(|w| w.parse::<u32>().ok()).unwrap_or(0);
        let bits = || u64::from_str_radix(value.trim(), 16).unwrap_or(0);
        match name {
            "Uid" => (process.ids.uid, process.ids.euid) = (number(), number()),
            "Gid" => (process.ids.gid, process.ids.egid) = (number(), number()),
            "CapEff" => process.ids.cap_effective = bits(),
            "CapPrm" => process.ids.cap_permitted = bits(),
            "NoNewPrivs" => process.confinement.no_new_privs = number() == 1,
            "Seccomp" => {
                process.confinement =
                    Confinement { seccomp: u8::try_from(number()).unwrap_or(0), ..process.confinement };
            }
            "NSpid" => process.ns_pid = value.split_ascii_whitespace().last().and_then(|w| w.parse().ok()).unwrap_or(0),
            _ => {}
        }
    }
}

/// The image that runs now; empty for kernel threads.
fn image(pid: u32, patience: Duration) -> Image {
    let mut image = Image::default();
    // Kernel threads have no link; of some processes not even root may read it. What else there is holds all the same.
    if let Ok(link) = fs::read_link(format!("/proc/{pid}/exe")) {
        let text = link.to_string_lossy();
        let (path, gone) = text.strip_suffix(" (deleted)").map_or((&*text, false), |path| (path, true));
        image.memfd = gone && path.starts_with("/memfd:");
        image.deleted = gone && !image.memfd;
        image.path = path.to_owned();
        image.file = path.to_owned();
    }
    if let Some(file) = look(format!("/proc/{pid}/exe")) {
        image.inode = file.inode;
        image.device = file.device;
        image.owner = file.owner;
    }
    image.cwd = fs::read_link(format!("/proc/{pid}/cwd")).map(|p| p.to_string_lossy().into_owned()).unwrap_or_default();
    let raw = read_memory(format!("/proc/{pid}/cmdline"), patience);
    // The same bound as at an exec.
    let kept = raw.len().min(ARGS_MAX);
    image.args_cut = kept < raw.len();
    image.set_args(&raw[..kept]);
    image
}

/// `ARGS_MAX` of bpf/record.h.
const ARGS_MAX: usize = 8192;

fn stdio(pid: u32) -> [Stdio; 3] {
    let mut sockets = None;
    [0, 1, 2].map(|fd| {
        let Some(file) = look(format!("/proc/{pid}/fd/{fd}")) else { return Stdio::default() };
        let kind = file.kind;
        let mut out = Stdio { inode: file.inode, ..Stdio::default() };
        if kind.is_fifo() {
            out.kind = StdioKind::Pipe;
        } else if kind.is_file() {
            out.kind = StdioKind::File;
        } else if kind.is_char_device() {
            out.kind = StdioKind::Char;
            out.rdev = file.rdev;
        } else if kind.is_socket() {
            out.kind = StdioKind::Socket;
            let known = sockets.get_or_insert_with(|| Sockets::of(pid));
            if let Some(socket) = known.get(out.inode) {
                out = out.with_ends(socket.local, socket.peer, socket.protocol);
            }
        } else {
            out.kind = StdioKind::Other;
        }
        out
    })
}

/// The ends that a process holds open.
#[derive(Debug, Default)]
pub(crate) struct Fds {
    /// Inodes of pipes, named ones too, that it can read from.
    pub(crate) reads: HashSet<u64>,
    /// Inodes of pipes that it can write to.
    pub(crate) writes: HashSet<u64>,
    /// Inodes of sockets.
    pub(crate) sockets: HashSet<u64>,
    /// Numbers N of the terminals /dev/pts/N whose masters it holds.
    pub(crate) masters: HashSet<u32>,
}

/// At most so many fds of one process are looked at.
const FDS_MAX: usize = 4096;

impl Fds {
    /// Reads them; empty when the process is gone.
    pub(crate) fn of(pid: u32) -> Self {
        let mut out = Self::default();
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        for entry in entries.take(FDS_MAX) {
            let Ok(link) = fs::read_link(entry.path()) else { continue };
            let text = link.as_os_str().as_bytes();
            if let Some(inode) = inode_in(text, b"socket:[") {
                out.sockets.insert(inode);
            } else if let Some(inode) = inode_in(text, b"pipe:[") {
                out.add_pipe(inode, &entry);
            } else if text.ends_with(b"/ptmx") {
                let info = format!("/proc/{pid}/fdinfo/{}", entry.file_name().to_string_lossy());
                out.masters.extend(tty_index(&fs::read_to_string(info).unwrap_or_default()));
            } else if text.starts_with(b"/") && !text.starts_with(b"/dev/") {
                // A named pipe looks like any file until it is asked.
                if let Some(fifo) = look(entry.path()).filter(|file| file.kind.is_fifo()) {
                    out.add_pipe(fifo.inode, &entry);
                }
            }
        }
        out
    }

    /// The permission bits of the link itself say how the fd was opened.
    fn add_pipe(&mut self, inode: u64, entry: &fs::DirEntry) {
        let Ok(link) = fs::symlink_metadata(entry.path()) else { return };
        if link.mode() & libc::S_IRUSR != 0 {
            self.reads.insert(inode);
        }
        if link.mode() & libc::S_IWUSR != 0 {
            self.writes.insert(inode);
        }
    }
}

fn inode_in(text: &[u8], prefix: &[u8]) -> Option<u64> {
    let number = text.strip_prefix(prefix)?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// `tty-index:` stands in the fdinfo of a pty's master (since 4.14).
fn tty_index(fdinfo: &str) -> Option<u32> {
    fdinfo.lines().find_map(|l| l.strip_prefix("tty-index:")).and_then(|n| n.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_model::process::TICK_NS;

    #[test]
    fn a_hostile_name_does_not_move_the_fields_of_stat() {
        let text = "42 (a) R 1 (x) S 7 42 42 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 2 3\n";
        assert_eq!(parse_stat(text), Some(Stat { comm: "a) R 1 (x".into(), ppid: 7, start_ticks: 987_654 }));
        assert_eq!(parse_stat("42 (a"), None);
    }

    #[test]
    fn this_process_is_described() {
        let pid = std::process::id();
        let ticks = stat(pid).unwrap().start_ticks;
        let mut process = Process::blank(pid, ticks * TICK_NS);
        fill(&mut process, &Users::default(), &Cgroups::default(), crate::process::ask::PATIENT);
        assert!(!process.image.path.is_empty() && !process.image.command_line.is_empty());
        assert_ne!(process.namespaces.net, 0);
    }

    #[test]
    fn a_pipe_is_read_from_one_end_and_written_to_at_the_other() {
        let (read, write) = std::io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&read));
        let inode = fs::metadata(path).unwrap().ino();
        let fds = Fds::of(std::process::id());
        assert!(fds.reads.contains(&inode) && fds.writes.contains(&inode));
        drop(write);
        let fds = Fds::of(std::process::id());
        assert!(fds.reads.contains(&inode) && !fds.writes.contains(&inode));
    }

    #[test]
    fn the_terminal_of_a_master_is_read() {
        assert_eq!(tty_index("pos:\t0\nflags:\t02\ntty-index:\t7\n"), Some(7));
        assert_eq!(tty_index("pos:\t0\n"), None);
    }
}
