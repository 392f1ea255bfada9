//! Where an fd leads, and addresses as packets bear them.

use super::{u16_at, u32_at, u64_at};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(super) const LEN: usize = 56;

/// What an fd is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum StdioKind {
    #[default]
    None,
    File,
    Pipe,
    Char,
    Socket,
    Other,
}

/// Where one of fds 0-2 leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Stdio {
    pub(crate) kind: StdioKind,
    pub(crate) family: u8,
    pub(crate) protocol: u8,
    pub(crate) local_port: u16,
    pub(crate) peer_port: u16,
    /// Major and minor as the kernel packs them: 12 and 20 bits.
    pub(crate) rdev: u32,
    pub(crate) inode: u64,
    pub(crate) local: [u8; 16],
    pub(crate) peer: [u8; 16],
}

impl Stdio {
    pub(super) fn read(bytes: &[u8], at: usize) -> Self {
        let Some(b) = bytes.get(at..at + LEN) else { return Self::default() };
        Self {
            kind: match b[0] {
                1 => StdioKind::File,
                2 => StdioKind::Pipe,
                3 => StdioKind::Char,
                4 => StdioKind::Socket,
                5 => StdioKind::Other,
                _ => StdioKind::None,
            },
            family: b[1],
            protocol: b[2],
            local_port: u16_at(b, 4),
            peer_port: u16_at(b, 6),
            rdev: u32_at(b, 8),
            inode: u64_at(b, 16),
            local: b[24..40].try_into().unwrap_or_default(),
            peer: b[40..56].try_into().unwrap_or_default(),
        }
    }
}

impl Stdio {
    /// The other end of an internet socket that has one.
    #[must_use]
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        let inet = matches!(i32::from(self.family), libc::AF_INET | libc::AF_INET6);
        (self.kind == StdioKind::Socket && inet && self.peer_port != 0)
            .then(|| SocketAddr::new(address(self.family, &self.peer), self.peer_port))
    }

    /// The same fd with the ends of its internet socket.
    #[must_use]
    pub(crate) fn with_ends(mut self, local: SocketAddr, peer: Option<SocketAddr>, protocol: u8) -> Self {
        let family = if local.is_ipv4() && peer.is_none_or(|p| p.is_ipv4()) { libc::AF_INET } else { libc::AF_INET6 };
        let raw = |ip: IpAddr| match ip {
            IpAddr::V4(v4) if family == libc::AF_INET => {
                let mut out = [0; 16];
                out[..4].copy_from_slice(&v4.octets());
                out
            }
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        self.family = u8::try_from(family).unwrap_or(0);
        self.protocol = protocol;
        self.local_port = local.port();
        self.local = raw(local.ip());
        if let Some(peer) = peer {
            self.peer_port = peer.port();
            self.peer = raw(peer.ip());
        }
        self
    }

    /// The inode of a UNIX socket's other end.
    #[must_use]
    pub(crate) fn unix_peer(&self) -> Option<u64> {
        let unix = self.kind == StdioKind::Socket && i32::from(self.family) == libc::AF_UNIX;
        let inode = self.peer[..8].try_into().map_or(0, u64::from_ne_bytes);
        (unix && inode != 0).then_some(inode)
    }

    /// The number N of the terminal /dev/pts/N. (Unix98 pty slaves have major 136 and up, Documentation/admin-guide/devices.txt.)
    #[must_use]
    pub(crate) fn pts(&self) -> Option<u32> {
        let (major, minor) = (self.rdev >> 20, self.rdev & 0xf_ffff);
        (self.kind == StdioKind::Char && (136..144).contains(&major)).then(|| (major - 136) * 256 + minor)
    }

    /// The word in `process.stdio.kinds`.
    #[must_use]
    pub(crate) fn word(&self) -> &'static str {
        match self.kind {
            StdioKind::None => "none",
            StdioKind::File => "file",
            StdioKind::Pipe => "pipe",
            StdioKind::Char if self.pts().is_some() => "pty",
            StdioKind::Char if self.rdev == (1 << 20) + 3 => "null",
            StdioKind::Char => "char",
            StdioKind::Socket => "socket",
            StdioKind::Other => "other",
        }
    }
}

/// An address as it stands in a packet; an IPv4 one mapped into IPv6 is IPv4.
#[must_use]
pub(crate) fn address(family: u8, raw: &[u8; 16]) -> IpAddr {
    if i32::from(family) == libc::AF_INET {
        IpAddr::V4(Ipv4Addr::new(raw[0], raw[1], raw[2], raw[3]))
    } else {
        IpAddr::V6(Ipv6Addr::from(*raw)).to_canonical()
    }
}
