//! One process as the sensor knows it, and the image it runs.
//!
//! Owns what was seen at fork and exec; holds no open file and asks nobody. An [`Image`] is shared by all forks of it.

mod ask;
mod images;
mod living;
mod proc;
mod scan;
mod sockets;
mod table;

pub(crate) use proc::Fds;
pub(crate) use scan::scan;
pub(crate) use sockets::Sockets;
pub(crate) use table::Table;

use crate::cgroup::Cgroup;
use crate::record::{
    Exec, Head, IMAGE_ARGS_CUT, IMAGE_DELETED, IMAGE_MEMFD, IMAGE_NO_NEW_PRIVS, IMAGE_TMPFS, IMAGE_UPPER, Stdio,
};
use quell_model::Token;
use quell_model::process::TICK_NS;
use std::sync::{Arc, OnceLock};

/// Names a process within this boot: pid and start in clock ticks, as /proc and pidfds can be compared with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Key {
    /// Start in ticks of 10 ms since boot; first, so that the order of keys is that of their births.
    pub(crate) ticks: u64,
    /// In the initial pid namespace.
    pub(crate) pid: u32,
}

impl Key {
    /// From a start in nanoseconds.
    #[must_use]
    pub(crate) fn new(pid: u32, start_ns: u64) -> Self {
        Self { pid, ticks: start_ns / TICK_NS }
    }
}

/// What was executed, and how it was asked to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Image {
    /// As the process's own mount namespace shows it; `/memfd:name` for what never had a place; empty when not known.
    pub(crate) path: String,
    /// The name that was passed: a script's path where the image is its interpreter.
    pub(crate) file: String,
    /// The working directory at the exec.
    pub(crate) cwd: String,
    /// The arguments joined by spaces; bytes that are no UTF-8 are replaced.
    pub(crate) command_line: String,
    /// Where each argument ends in `command_line`.
    ends: Vec<u32>,
    /// The command line went beyond the bound; what is kept is its beginning.
    pub(crate) args_cut: bool,
    /// The inode of the file.
    pub(crate) inode: u64,
    /// Its device: 12 bits of major, 20 of minor.
    pub(crate) device: u32,
    /// The file's owner.
    pub(crate) owner: u32,
    /// Made by memfd_create.
    pub(crate) memfd: bool,
    /// The file had been unlinked by the time of the exec.
    pub(crate) deleted: bool,
    /// The file is on a tmpfs.
    pub(crate) tmpfs: bool,
    /// On an overlay, and not as the lower layers have it: changed or added after the container was made.
    pub(crate) upper: Option<bool>,
    sum: Sum,
}

/// A sum over what an image tells, made when it is first asked for; no part of what the image is.
#[derive(Clone, Debug, Default)]
struct Sum(OnceLock<Token>);

impl PartialEq for Sum {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Image {
    /// Each argument.
    pub(crate) fn args(&self) -> impl Iterator<Item = &str> {
        let mut from = 0;
        self.ends.iter().map(move |end| {
            let arg = self.command_line.get(from..*end as usize).unwrap_or_default();
            from = *end as usize + 1;
            arg
        })
    }

    /// The last component of the path.
    #[must_use]
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// On /dev/shm, whatever mount that is.
    #[must_use]
    pub(crate) fn in_shm(&self) -> bool {
        self.path.starts_with("/dev/shm/") || self.path.starts_with("/run/shm/")
    }

    /// Stands for all that an event tells of it. An image that is shared does not change any more.
    #[must_use]
    pub(crate) fn token(&self) -> Token {
        *self.sum.0.get_or_init(|| {
            let flags = [self.args_cut, self.memfd, self.deleted, self.upper.is_some(), self.upper == Some(true)];
            let flags = flags.into_iter().fold(0, |bits, flag| bits << 1 | u64::from(flag));
            let numbers = [self.inode, self.device.into(), flags].into_iter();
            let token =
                [&self.path, &self.cwd, &self.command_line].into_iter().fold(Token::new(1), |t, s| t.with_text(s));
            numbers.chain(self.ends.iter().map(|end| (*end).into())).fold(token, Token::with)
        })
    }

    /// Takes arguments that each end with a NUL.
    pub(crate) fn set_args(&mut self, raw: &[u8]) {
        let raw = raw.strip_suffix(&[0]).unwrap_or(raw);
        self.command_line = String::with_capacity(raw.len());
        self.ends.clear();
        if raw.is_empty() {
            return;
        }
        for (n, arg) in raw.split(|b| *b == 0).enumerate() {
            if n > 0 {
                self.command_line.push(' ');
            }
            self.command_line.push_str(&String::from_utf8_lossy(arg));
            self.ends.push(u32::try_from(self.command_line.len()).unwrap_or(u32::MAX));
        }
    }

    /// Bytes of text.
    fn text_len(&self) -> usize {
        self.path.len() + self.file.len() + self.cwd.len() + self.command_line.len()
    }

    fn of_exec(exec: &Exec<'_>) -> Self {
        let flags = exec.flags();
        let mut image = Self {
            path: exec.image(),
            file: String::from_utf8_lossy(exec.file()).into_owned(),
            cwd: exec.cwd(),
            args_cut: flags & IMAGE_ARGS_CUT != 0,
            inode: exec.inode(),
            device: exec.device(),
            owner: exec.owner(),
            memfd: flags & IMAGE_MEMFD != 0,
            deleted: flags & IMAGE_DELETED != 0,
            tmpfs: flags & IMAGE_TMPFS != 0,
            upper: Some(flags & IMAGE_UPPER != 0),
            ..Self::default()
        };
        image.set_args(exec.args());
        image
    }
}

/// Ids and capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) euid: u32,
    pub(crate) egid: u32,
    pub(crate) cap_effective: u64,
    pub(crate) cap_permitted: u64,
}

/// What holds a process in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Confinement {
    /// 0 none, 1 strict, 2 filter.
    pub(crate) seccomp: u8,
    pub(crate) no_new_privs: bool,
}

/// Inode numbers of namespaces; 0 when not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Namespaces {
    pub(crate) pid: u32,
    pub(crate) net: u32,
    pub(crate) mnt: u32,
}

/// The audit id that means "none".
pub(crate) const NO_LOGIN: u32 = u32::MAX;

/// One process.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) key: Key,
    /// Start in ns since boot; a whole tick where only /proc told it.
    pub(crate) start: u64,
    /// Grows at each exec; 0 when not known.
    pub(crate) exec_id: u64,
    /// The parent at birth.
    pub(crate) parent: Option<Key>,
    pub(crate) image: Arc<Image>,
    pub(crate) ids: Ids,
    pub(crate) user: Arc<str>,
    pub(crate) confinement: Confinement,
    pub(crate) namespaces: Namespaces,
    /// The pid in its own namespace; 0 when not known.
    pub(crate) ns_pid: u32,
    /// Who logged in, by audit; [`NO_LOGIN`] when nobody.
    pub(crate) login_uid: u32,
    /// The login's number, by audit; [`NO_LOGIN`] when none.
    pub(crate) session: u32,
    pub(crate) tty: Arc<str>,
    pub(crate) cgroup_id: u64,
    pub(crate) cgroup: Arc<Cgroup>,
    /// Where fds 0-2 lead; shared by all that inherited them.
    pub(crate) stdio: Arc<[Stdio; 3]>,
    /// The parent's at the time of the exec.
    pub(crate) parent_stdio: Arc<[Stdio; 3]>,
    /// When it ended.
    pub(crate) exited: Option<u64>,
}

impl Process {
    /// Nothing but an identity.
    pub(crate) fn blank(pid: u32, start: u64) -> Self {
        Self {
            key: Key::new(pid, start),
            start,
            exec_id: 0,
            parent: None,
            image: Arc::default(),
            ids: Ids::default(),
            user: Arc::from(""),
            confinement: Confinement::default(),
            namespaces: Namespaces::default(),
            ns_pid: 0,
            login_uid: NO_LOGIN,
            session: NO_LOGIN,
            tty: Arc::from(""),
            cgroup_id: 0,
            cgroup: Arc::default(),
            stdio: Default::default(),
            parent_stdio: Default::default(),
            exited: None,
        }
    }

    /// What every record tells of its process.
    pub(crate) fn take_head(&mut self, head: &Head) {
        self.start = head.start;
        self.exec_id = head.exec_id;
        self.ids.uid = head.uid;
        self.ids.gid = head.gid;
        self.ids.euid = head.euid;
        self.ids.egid = head.egid;
        if head.mnt_ns != 0 {
            self.namespaces.mnt = head.mnt_ns;
        }
    }

    pub(crate) fn take_exec(&mut self, exec: &Exec<'_>, image: Arc<Image>) {
        self.image = image;
        self.ids.cap_effective = exec.cap_effective();
        self.ids.cap_permitted = exec.cap_permitted();
        self.confinement =
            Confinement { seccomp: exec.seccomp(), no_new_privs: exec.flags() & IMAGE_NO_NEW_PRIVS != 0 };
        self.namespaces.pid = exec.pid_ns();
        self.namespaces.net = exec.net_ns();
        self.ns_pid = exec.ns_pid();
        self.login_uid = exec.login_uid();
        self.session = exec.session();
        if self.tty.as_bytes() != exec.tty() {
            self.tty = String::from_utf8_lossy(exec.tty()).into();
        }
        // Mostly it has what it was born with, and its parent has the same.
        let share =
            |known: &Arc<[Stdio; 3]>, now: [Stdio; 3]| if **known == now { Arc::clone(known) } else { Arc::new(now) };
        self.stdio = share(&self.stdio, [0, 1, 2].map(|fd| exec.own(fd)));
        self.parent_stdio = share(&self.stdio, [0, 1, 2].map(|fd| exec.parent(fd)));
    }

    /// Bytes of text that are kept for a process that has ended; of one that lives 0.
    pub(crate) fn ended_text(&self) -> usize {
        if self.exited.is_some() { self.image.text_len() } else { 0 }
    }

    /// Still there, as far as is known.
    #[must_use]
    pub(crate) fn lives(&self) -> bool {
        self.exited.is_none()
    }

    /// Its image is a command interpreter that people type into.
    #[must_use]
    pub(crate) fn is_shell(&self) -> bool {
        const SHELLS: [&str; 17] = [
            "sh",
            "bash",
            "dash",
            "rbash",
            "zsh",
            "zsh5",
            "ash",
            "ksh",
            "ksh93",
            "mksh",
            "fish",
            "csh",
            "tcsh",
            "pwsh",
            "busybox",
            "static-sh",
            "hush",
        ];
        SHELLS.contains(&self.image.name())
    }

    /// The name of the tty, as ps shows it.
    #[must_use]
    pub(crate) fn tty(&self) -> Option<&str> {
        (!self.tty.is_empty()).then_some(&*self.tty)
    }
}

/// The name under which the kernel knows a thread, for processes of which nothing else is known.
pub(crate) fn comm(head: &Head) -> String {
    let end = head.comm.iter().position(|b| *b == 0).unwrap_or(head.comm.len());
    String::from_utf8_lossy(&head.comm[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_keep_their_bounds_and_hostile_bytes_are_replaced() {
        let mut image = Image::default();
        image.set_args(b"sh\0-c\0echo 'a b'\n\x1b[31m\0\xff\xfe\0\0");
        assert_eq!(image.args().collect::<Vec<_>>(), ["sh", "-c", "echo 'a b'\n\u{1b}[31m", "\u{fffd}\u{fffd}", ""]);
        assert_eq!(image.command_line, "sh -c echo 'a b'\n\u{1b}[31m \u{fffd}\u{fffd} ");
        image.set_args(b"");
        assert_eq!(image.args().count(), 0);
    }
}
