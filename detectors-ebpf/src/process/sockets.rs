//! The sockets of a network namespace by inode, as /proc/PID/net shows them.
//!
//! Says where a socket leads; knows nothing of who holds it.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An internet socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    pub(crate) local: SocketAddr,
    /// The other end, where it has one.
    pub(crate) peer: Option<SocketAddr>,
    /// IPPROTO_TCP or IPPROTO_UDP.
    pub(crate) protocol: u8,
}

/// All of one namespace.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    by_inode: HashMap<u64, Socket>,
}

impl Sockets {
    /// Those of the namespace in which the process lives.
    pub(crate) fn of(pid: u32) -> Self {
        let mut all = Self::default();
        let tables = [
            ("tcp", libc::IPPROTO_TCP),
            ("tcp6", libc::IPPROTO_TCP),
            ("udp", libc::IPPROTO_UDP),
            ("udp6", libc::IPPROTO_UDP),
        ];
        for (name, protocol) in tables {
            let text = fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default();
            all.read(&text, u8::try_from(protocol).unwrap_or(0));
        }
        all
    }

    fn read(&mut self, text: &str, protocol: u8) {
        for line in text.lines().skip(1) {
            let mut parts = line.split_ascii_whitespace();
            let (Some(local), Some(peer)) = (parts.nth(1).and_then(endpoint), parts.next().and_then(endpoint)) else {
                continue;
            };
            // After the addresses: state, queues, timer, retransmits, uid, timeout, inode.
            let Some(inode) = parts.nth(6).and_then(|t| t.parse::<u64>().ok()).filter(|n| *n != 0) else { continue };
            let peer = (peer.port() != 0).then_some(peer);
            self.by_inode.insert(inode, Socket { local, peer, protocol });
        }
    }

    /// The socket of this inode.
    pub(crate) fn get(&self, inode: u64) -> Option<Socket> {
        self.by_inode.get(&inode).copied()
    }
}

/// `0100007F:1F90`: words as the machine holds them, then the port.
fn endpoint(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |n: usize| u32::from_str_radix(address.get(n * 8..n * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut raw = [0; 16];
            for n in 0..4 {
                raw[n * 4..n * 4 + 4].copy_from_slice(&word(n)?);
            }
            IpAddr::V6(Ipv6Addr::from(raw)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_of_both_families_are_read_and_listeners_have_no_peer() {
        let mut all = Sockets::default();
        all.read(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 777 1 0 100 0 0 10 0\n\
             \x20  1: 0500000A:D431 0B0C0D0E:01BB 01 00000000:00000000 00:00000000 00000000  1000        0 778 1 0 20 4 30 10 -1\n\
             \x20  2: broken\n",
            6,
        );
        all.read(
            "  sl ...\n   0: 00000000000000000000000001000000:0016 0000000000000000FFFF00000100007F:D431 01 0:0 0:0 0 0 0 779 1\n",
            6,
        );
        assert_eq!(all.get(777).unwrap().peer, None);
        assert_eq!(all.get(778).unwrap().peer, Some("14.13.12.11:443".parse().unwrap()));
        assert_eq!(all.get(779).unwrap().peer, Some("127.0.0.1:54321".parse().unwrap()));
        assert_eq!(all.by_inode.len(), 3);
    }
}
