//! The child that joins a cgroup, calls, and is called.
//!
//! ```text
//! child: joins, calls ──▶ first: what came of the calls, its port        parent: sends to that port, then a byte
//!        reads its port ──▶ second: whether anything has come
//! ```
//!
//! Keeps true: after the fork the child makes system calls alone, and holds nothing of its parent's (locks, sockets); it is dead and
//! reaped when its value is dropped, and dies with its parent.

use std::ffi::CString;
use std::io;
use std::mem::size_of;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// What it is to do.
pub(super) struct Task {
    /// Whom it calls by UDP, one a family at most: that sends nothing.
    pub(super) calls: Vec<SocketAddr>,
    /// Whether whomever it may not call is sent a byte too: that has a hook of its own, and another behind it.
    pub(super) sends: bool,
    /// Where it sends an echo request past the hooks of calls, once a call was refused.
    pub(super) echo: Option<Ipv4Addr>,
    /// Whom it calls by TCP: a listener of the same network namespace.
    pub(super) listener: Option<SocketAddr>,
}

/// What came of it. Of the calls a bit each, the first the lowest.
#[derive(Debug)]
pub(super) struct First {
    /// There is a socket of that family.
    pub(super) called: u8,
    pub(super) call_refused: u8,
    pub(super) send_refused: u8,
    /// The echo request was given to the kernel, whatever became of it.
    pub(super) echoed: bool,
    pub(super) connected: bool,
    /// Where it waits for a packet, on 127.0.0.1.
    pub(super) port: Option<u16>,
}

pub(super) struct Child {
    pid: libc::pid_t,
    ours: OwnedFd,
    bound: Duration,
}

/// What a child says at once.
type Told = [u8; 8];

/// An address as the kernel takes it, and how long it is.
struct Raw(libc::sockaddr_in6, libc::socklen_t, libc::c_int);

impl Raw {
    fn of(address: SocketAddr) -> Self {
        // SAFETY: all of it are numbers, of which 0 is one.
        let mut raw: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
        match address {
            SocketAddr::V6(six) => {
                raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                raw.sin6_port = six.port().to_be();
                raw.sin6_addr.s6_addr = six.ip().octets();
                Self(raw, size_of::<libc::sockaddr_in6>() as libc::socklen_t, libc::AF_INET6)
            }
            SocketAddr::V4(four) => {
                let short = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: four.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(four.ip().octets()) },
                    sin_zero: [0; 8],
                };
                // SAFETY: the shorter one fits into the longer, and both are numbers.
                unsafe { std::ptr::from_mut(&mut raw).cast::<libc::sockaddr_in>().write(short) };
                Self(raw, size_of::<libc::sockaddr_in>() as libc::socklen_t, libc::AF_INET)
            }
        }
    }

    fn ptr(&self) -> *const libc::sockaddr {
        std::ptr::from_ref(&self.0).cast()
    }
}

impl Child {
    /// Forks it: it is in the network namespace of the calling thread.
    pub(super) fn start(group: &Path, task: &Task, bound: Duration) -> Result<Self, String> {
        let failed = |what: &str, e: io::Error| format!("no child can be tried ({what}): {e}");
        let procs = CString::new(group.join("cgroup.procs").as_os_str().as_bytes())
            .map_err(|e| failed("the cgroup's path", e.into()))?;
        let calls: Vec<Raw> = task.calls.iter().copied().map(Raw::of).collect();
        let echo = task.echo.map(|to| Raw::of(SocketAddr::new(to.into(), 0)));
        let what = What { calls: &calls, sends: task.sends, echo, listener: task.listener.map(Raw::of) };
        let mut pair: [RawFd; 2] = [0; 2];
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        // SAFETY: two descriptors are written to the array, and are nobody else's.
        let (ours, theirs) = unsafe {
            if libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()) != 0 {
                return Err(failed("a socket", io::Error::last_os_error()));
            }
            (OwnedFd::from_raw_fd(pair[0]), OwnedFd::from_raw_fd(pair[1]))
        };
        let parent = std::process::id();
        // SAFETY: the child makes system calls alone, on memory that was made before the fork, and never returns.
        match unsafe { libc::fork() } {
            -1 => Err(failed("fork", io::Error::last_os_error())),
            // SAFETY: as above: this is the child.
            0 => unsafe { live(&procs, &what, theirs.as_raw_fd(), parent) },
            pid => Ok(Self { pid, ours, bound }),
        }
    }

    fn read(&self) -> Result<Told, String> {
        let late = || "the child that joined the cgroup did not answer".to_owned();
        let mut poll = libc::pollfd { fd: self.ours.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let mut told = Told::default();
        let bound = i32::try_from(self.bound.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: one descriptor is waited for, and no more bytes are written to than there are.
        let read = unsafe {
            if libc::poll(&raw mut poll, 1, bound) != 1 {
                return Err(late());
            }
            libc::read(self.ours.as_raw_fd(), told.as_mut_ptr().cast(), told.len())
        };
        if usize::try_from(read) == Ok(told.len()) { Ok(told) } else { Err(late()) }
    }

    /// What came of its calls.
    pub(super) fn first(&mut self) -> Result<First, String> {
        let told = self.read()?;
        match told[0] {
            NOT_IN => return Err("no child may join the cgroup".to_owned()),
            NO_SOCKET => return Err("a child that joined the cgroup has no socket to try it with".to_owned()),
            _ => {}
        }
        let port = u16::from_ne_bytes([told[6], told[7]]);
        Ok(First {
            called: told[1],
            call_refused: told[2],
            send_refused: told[3],
            connected: told[4] == 1,
            echoed: told[5] == 1,
            port: (port != 0).then_some(port),
        })
    }

    /// Whether anything has come to its port.
    pub(super) fn second(&mut self) -> Result<bool, String> {
        // SAFETY: one byte is read from.
        unsafe { libc::write(self.ours.as_raw_fd(), [0_u8].as_ptr().cast(), 1) };
        Ok(self.read()?[0] == 1)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: it is a child of ours that nobody has waited for.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), 0);
        }
    }
}

/// What it is to do, as the kernel takes it.
struct What<'a> {
    calls: &'a [Raw],
    sends: bool,
    echo: Option<Raw>,
    listener: Option<Raw>,
}

/// An echo request (RFC 792) with its sum, which the kernel leaves to who sends it.
const ECHO: [u8; 8] = [8, 0, 0xf7, 0xff, 0, 0, 0, 0];

const NOT_IN: u8 = 2;
const NO_SOCKET: u8 = 3;

/// Where the child has its end of the talk, and nothing behind it.
const TALK: RawFd = 3;

/// The child's life.
unsafe fn live(procs: &CString, what: &What<'_>, theirs: RawFd, parent: u32) -> ! {
    // SAFETY: system calls alone, on what was made before the fork and on the stack.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        // It may have died before that.
        if libc::getppid().cast_unsigned() != parent {
            libc::_exit(1);
        }
        if theirs != TALK && libc::dup2(theirs, TALK) != TALK {
            libc::_exit(1);
        }
        let theirs = TALK;
        // 5.9; a lock that it inherited would outlive the parent.
        libc::syscall(libc::SYS_close_range, TALK + 1, u32::MAX, 0);
        let tell = |told: Told| libc::write(theirs, told.as_ptr().cast(), told.len());
        let file = libc::open(procs.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if file < 0 || libc::write(file, c"0".as_ptr().cast(), 1) != 1 {
            tell([NOT_IN; 8]);
            libc::_exit(1);
        }
        let is_refused = |done: isize| done < 0 && *libc::__errno_location() == libc::EPERM;
        let (mut called, mut call_refused, mut send_refused) = (0_u8, 0_u8, 0_u8);
        for (at, to) in what.calls.iter().enumerate() {
            let bit = 1 << at;
            let socket = libc::socket(to.2, libc::SOCK_DGRAM, 0);
            if socket < 0 {
                continue;
            }
            called |= bit;
            if !is_refused(libc::connect(socket, to.ptr(), to.1) as isize) {
                continue;
            }
            call_refused |= bit;
            if what.sends
                && is_refused(libc::sendto(socket, c"q".as_ptr().cast(), 1, libc::MSG_DONTWAIT, to.ptr(), to.1))
            {
                send_refused |= bit;
            }
        }
        if called == 0 && !what.calls.is_empty() {
            tell([NO_SOCKET; 8]);
            libc::_exit(1);
        }
        let mut echoed = false;
        if let Some(to) = what.echo.as_ref().filter(|_| call_refused != 0) {
            let socket = libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP);
            let sent = libc::sendto(socket, ECHO.as_ptr().cast(), ECHO.len(), libc::MSG_DONTWAIT, to.ptr(), to.1);
            echoed = socket >= 0 && (sent >= 0 || is_refused(sent));
        }
        let connected = what.listener.as_ref().is_some_and(|listener| {
            let socket = libc::socket(listener.2, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0);
            if libc::connect(socket, listener.ptr(), listener.1) == 0 {
                return true;
            }
            if *libc::__errno_location() != libc::EINPROGRESS {
                return false;
            }
            let mut poll = libc::pollfd { fd: socket, events: libc::POLLOUT, revents: 0 };
            libc::poll(&raw mut poll, 1, 200) == 1 && poll.revents & libc::POLLERR == 0
        });
        let waits = libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
        let here = libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: 0,
            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
            sin_zero: [0; 8],
        };
        let mut length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        let mut bound = here;
        let is_bound = libc::bind(waits, (&raw const here).cast(), length) == 0
            && libc::getsockname(waits, (&raw mut bound).cast(), &raw mut length) == 0;
        let port = if is_bound { u16::from_be(bound.sin_port).to_ne_bytes() } else { [0; 2] };
        let (connected, echoed) = (u8::from(connected), u8::from(echoed));
        tell([1, called, call_refused, send_refused, connected, echoed, port[0], port[1]]);
        let mut byte = 0_u8;
        // It ends with the parent, too.
        if libc::read(theirs, (&raw mut byte).cast(), 1) == 1 {
            let got = libc::recv(waits, (&raw mut byte).cast(), 1, libc::MSG_DONTWAIT);
            tell([u8::from(got > 0), 0, 0, 0, 0, 0, 0, 0]);
        }
        libc::_exit(0)
    }
}
