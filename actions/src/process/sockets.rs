//! The sockets of a network namespace as `/proc/PID/net` lists them, by inode.
//!
//! Owns the reading of the lists of [`LISTS`]; never connects to anything. Bounded: [`MOST`] bytes a list.

use super::stat::there;
use crate::world::HostWorld;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A list, and what its sockets are told as. A packet socket is what a sniffer holds.
const LISTS: &[(&str, &str)] = &[
    ("tcp", "tcp"),
    ("tcp6", "tcp"),
    ("udp", "udp"),
    ("udp6", "udp"),
    ("raw", "raw"),
    ("raw6", "raw"),
    ("unix", "unix"),
    ("packet", "packet"),
    ("netlink", "netlink"),
];

/// Of one list: some 100,000 sockets.
pub(super) const MOST: u64 = 16 << 20;

/// One socket that a process has open.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Socket {
    /// The descriptor; the first of several.
    pub fd: u32,
    /// `tcp`, `udp`, `raw`, `unix`, `packet`, `netlink`, or `other`.
    pub protocol: String,
    /// `address:port`, or a unix socket's path.
    pub local: Option<String>,
    /// `address:port` of the other end, where there is one.
    pub peer: Option<String>,
    /// `established`, `listen` … (TCP).
    pub state: Option<String>,
}

/// What a list says of one inode.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Line {
    protocol: &'static str,
    local: Option<String>,
    peer: Option<String>,
    state: Option<&'static str>,
}

/// All sockets that one process can see.
#[derive(Debug, Default)]
pub(crate) struct Sockets(HashMap<u64, Line>);

impl Sockets {
    /// Of the network namespace of this process.
    pub(crate) fn read(world: &HostWorld, pid: u32) -> io::Result<Self> {
        let mut all = Self::default();
        for (name, protocol) in LISTS {
            let Some(file) = there(File::open(world.of(pid, "net").join(name)))? else { continue };
            let mut bytes = Vec::new();
            there(file.take(MOST).read_to_end(&mut bytes))?;
            all.add(protocol, &String::from_utf8_lossy(&bytes));
        }
        Ok(all)
    }

    fn add(&mut self, protocol: &'static str, text: &str) {
        let read = match protocol {
            "unix" => unix_line,
            "packet" | "netlink" => plain_line,
            _ => inet_line,
        };
        self.0.extend(text.lines().skip(1).filter_map(|line| read(protocol, line)));
    }

    /// The socket with this inode, as the process has it at this descriptor.
    pub(crate) fn at(&self, fd: u32, inode: u64) -> Socket {
        let line = self.0.get(&inode);
        Socket {
            fd,
            protocol: line.map_or("other", |line| line.protocol).to_owned(),
            local: line.and_then(|line| line.local.clone()),
            peer: line.and_then(|line| line.peer.clone()),
            state: line.and_then(|line| line.state).map(str::to_owned),
        }
    }
}

/// `sl local rem st tx:rx tr:when retrnsmt uid timeout inode …` (net/ipv4/tcp_ipv4.c `get_tcp4_sock`).
fn inet_line(protocol: &'static str, line: &str) -> Option<(u64, Line)> {
    let parts: Vec<&str> = line.split_ascii_whitespace().collect();
    let (local, peer) = (endpoint(parts.get(1)?)?, endpoint(parts.get(2)?)?);
    let state = (protocol == "tcp").then(|| tcp_state(parts.get(3).copied().unwrap_or_default()));
    let inode = parts.get(9)?.parse().ok()?;
    let peer = (peer.port() != 0).then(|| peer.to_string());
    Some((inode, Line { protocol, local: Some(local.to_string()), peer, state }))
}

/// `Num RefCount Protocol Flags Type St Inode Path`; a path may hold spaces, and an abstract one begins with `@`.
fn unix_line(protocol: &'static str, line: &str) -> Option<(u64, Line)> {
    let mut rest = line.trim_start();
    let mut inode = "";
    for _ in 0..7 {
        (inode, rest) = rest.split_once(' ').map_or((rest, ""), |(word, rest)| (word, rest.trim_start()));
    }
    let local = (!rest.is_empty()).then(|| rest.to_owned());
    Some((inode.parse().ok()?, Line { protocol, local, peer: None, state: None }))
}

/// The inode is the last word (net/packet/af_packet.c, net/netlink/af_netlink.c).
fn plain_line(protocol: &'static str, line: &str) -> Option<(u64, Line)> {
    let inode = line.split_ascii_whitespace().next_back()?.parse().ok()?;
    Some((inode, Line { protocol, local: None, peer: None, state: None }))
}

/// `0100007F:1F90`: words of 32 bits as this machine keeps them, each printed in hex.
pub(super) fn endpoint(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for at in 0..4 {
                bytes[at * 4..at * 4 + 4].copy_from_slice(&word(at)?);
            }
            let ip = Ipv6Addr::from(bytes);
            ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// include/net/tcp_states.h.
fn tcp_state(hex: &str) -> &'static str {
    match hex {
        "01" => "established",
        "02" => "syn_sent",
        "03" => "syn_recv",
        "04" => "fin_wait1",
        "05" => "fin_wait2",
        "06" => "time_wait",
        "07" => "close",
        "08" => "close_wait",
        "09" => "last_ack",
        "0A" => "listen",
        "0B" => "closing",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_of_all_lists_are_read() {
        let mut all = Sockets::default();
        all.add("tcp", "head\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1\n   1: 0100007F:B5D2 0B0C0D0E:01BB 01 0:0 00:0 0 0 0 12 1\n");
        all.add("tcp", "head\n 0: 00000000000000000000000001000000:0050 0000000000000000FFFF00000100007F:0051 01 0:0 00:0 0 0 0 13 1\n");
        all.add("unix", "Num\n0000000000000000: 00000002 00000000 00010000 0001 01 14 /run/a b\n0000000000000000: 00000003 00000000 00000000 0001 03 15\n0000000000000000: 00000002 00000000 00010000 0001 01 17 @abs\n");
        all.add("packet", "sk RefCnt Type Proto Iface R Rmem User Inode\n0 3 3 0003 2 1 0 0 18\n");
        let show = |inode| {
            let one = all.at(3, inode);
            (one.protocol, one.local.unwrap_or_default(), one.peer.unwrap_or_default(), one.state.unwrap_or_default())
        };
        let row = |a: &str, b: &str, c: &str, d: &str| (a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned());
        assert_eq!(show(11), row("tcp", "127.0.0.1:8080", "", "listen"));
        assert_eq!(show(12), row("tcp", "127.0.0.1:46546", "14.13.12.11:443", "established"));
        assert_eq!(show(13), row("tcp", "[::1]:80", "127.0.0.1:81", "established"));
        assert_eq!(show(14), row("unix", "/run/a b", "", ""));
        assert_eq!(show(15), row("unix", "", "", ""));
        assert_eq!(show(17), row("unix", "@abs", "", ""));
        assert_eq!(show(18), row("packet", "", "", ""));
        assert_eq!(show(99), row("other", "", "", ""));
    }
}
