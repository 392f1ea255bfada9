//! A child that sleeps in a cgroup with open sockets, and a line from it to this process: what cuts are tried on.
//!
//! Keeps true: the child dies with its value; nobody but this process is called.

#![allow(unsafe_code, reason = "what a child does before its exec: it joins a cgroup and opens sockets there")]

use crate::group::Group;
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::ffi::CString;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Where a child's sockets lie.
const FIRST: i32 = 100;

/// A child that sleeps in a cgroup with sockets that are open there, which this process uses too: a socket stays of the
/// cgroup in which it was born.
pub(crate) struct Born {
    child: Child,
    pidfd: OwnedFd,
    kinds: Vec<(AddressFamily, SocketType)>,
    next: i32,
}

impl Drop for Born {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) const TCP: (AddressFamily, SocketType) = (AddressFamily::INET, SocketType::STREAM);
pub(crate) const UDP: (AddressFamily, SocketType) = (AddressFamily::INET, SocketType::DGRAM);
pub(crate) const TCP6: (AddressFamily, SocketType) = (AddressFamily::INET6, SocketType::STREAM);
/// It is opened with ICMPv6 for its protocol.
pub(crate) const ICMP6: (AddressFamily, SocketType) = (AddressFamily::INET6, SocketType::RAW);
pub(crate) const UDP6: (AddressFamily, SocketType) = (AddressFamily::INET6, SocketType::DGRAM);

impl Born {
    pub(crate) fn new(group: &Group, kinds: &[(AddressFamily, SocketType)]) -> Self {
        Self::start(group, kinds, true, false)
    }

    /// Whose sockets were born before it joined.
    pub(crate) fn brought(group: &Group, kinds: &[(AddressFamily, SocketType)]) -> Self {
        Self::start(group, kinds, false, false)
    }

    /// In a network namespace of its own, whose loopback is up.
    pub(crate) fn apart(group: &Group, kinds: &[(AddressFamily, SocketType)]) -> Self {
        Self::start(group, kinds, true, true)
    }

    fn start(group: &Group, kinds: &[(AddressFamily, SocketType)], joins_first: bool, apart: bool) -> Self {
        let procs = CString::new(group.0.join("cgroup.procs").as_os_str().as_bytes()).unwrap();
        let raw: Vec<(i32, i32)> =
            kinds.iter().map(|(family, kind)| (i32::from(family.as_raw()), kind.as_raw().cast_signed())).collect();
        let join = move || {
            // SAFETY: system calls on a string that lives.
            let joined = unsafe {
                let file = libc::open(procs.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
                file >= 0 && libc::write(file, c"0".as_ptr().cast(), 1) == 1
            };
            if joined { Ok(()) } else { Err(io::Error::last_os_error()) }
        };
        let mut command = Command::new("sleep");
        command.arg("1000").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: system calls alone.
        unsafe {
            command.pre_exec(move || {
                if joins_first {
                    join()?;
                }
                if apart {
                    own_namespace()?;
                }
                for (at, (family, kind)) in (FIRST..).zip(&raw) {
                    let is_icmp = (*family, *kind) == (libc::AF_INET6, libc::SOCK_RAW);
                    let socket = libc::socket(*family, *kind, if is_icmp { libc::IPPROTO_ICMPV6 } else { 0 });
                    if socket < 0 || libc::dup2(socket, at) < 0 {
                        return Err(io::Error::last_os_error());
                    }
                }
                if joins_first { Ok(()) } else { join() }
            });
        }
        let child = command.spawn().unwrap();
        let pid = Pid::from_child(&child);
        Self { pidfd: pidfd_open(pid, PidfdFlags::empty()).unwrap(), child, kinds: kinds.to_vec(), next: 0 }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn next(&mut self, kind: (AddressFamily, SocketType)) -> OwnedFd {
        let at = usize::try_from(self.next).unwrap();
        assert_eq!(self.kinds[at], kind);
        self.next += 1;
        pidfd_getfd(&self.pidfd, FIRST + self.next - 1, PidfdGetfdFlags::empty()).unwrap()
    }

    pub(crate) fn connect(&mut self, to: SocketAddr) -> io::Result<TcpStream> {
        let socket = self.next(if to.is_ipv4() { TCP } else { TCP6 });
        rustix::net::connect(&socket, &to)?;
        Ok(socket.into())
    }

    /// Bound to an address of the loopback's.
    pub(crate) fn udp(&mut self, at: &str) -> UdpSocket {
        let at: SocketAddr = at.parse().unwrap();
        let socket = self.next(if at.is_ipv4() { UDP } else { UDP6 });
        rustix::net::bind(&socket, &at).unwrap();
        socket.into()
    }
}

/// A network namespace of its own for this process; its loopback is up.
fn own_namespace() -> io::Result<()> {
    // SAFETY: system calls alone, on what is on the stack.
    unsafe {
        let mut lo: libc::ifreq = std::mem::zeroed();
        lo.ifr_name[0] = b'l'.cast_signed();
        lo.ifr_name[1] = b'o'.cast_signed();
        lo.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
        if libc::unshare(libc::CLONE_NEWNET) != 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if socket < 0 || libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &raw const lo) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// One connection from a cgroup to a listener outside of it.
pub(crate) struct Line {
    pub(crate) inside: TcpStream,
    pub(crate) outside: TcpStream,
}

impl Line {
    pub(crate) fn new(born: &mut Born, listener: &TcpListener) -> Self {
        let inside = born.connect(listener.local_addr().unwrap()).unwrap();
        let (outside, _) = listener.accept().unwrap();
        let mut line = Self { inside, outside };
        line.talks();
        line
    }

    #[track_caller]
    pub(crate) fn talks(&mut self) {
        self.outside.set_nonblocking(false).unwrap();
        for (from, to) in [(&self.inside, &self.outside), (&self.outside, &self.inside)] {
            let mut byte = [0];
            { from }.write_all(b"x").unwrap();
            { to }.read_exact(&mut byte).unwrap();
        }
    }

    /// Nothing has come to the outer end.
    #[track_caller]
    pub(crate) fn is_silent(&mut self) {
        self.outside.set_nonblocking(true).unwrap();
        let read = self.outside.read(&mut [0; 8]);
        assert_eq!(read.unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}
