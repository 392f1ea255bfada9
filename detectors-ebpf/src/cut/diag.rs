//! sock_diag(7): the TCP and UDP sockets of the calling thread's network namespace, and the end of one.
//!
//! Keeps true: a socket is named by its cookie too, so that none is ended that came in its place.
//! `SOCK_DESTROY` takes Linux 4.9 and CONFIG_INET_DIAG_DESTROY, the cgroup of a socket 5.9 (net/ipv4/inet_diag.c).

use super::netlink::{self, ASKED, Asked, DUMP, attributes, word};
use rustix::io;
use rustix::net::AddressFamily;
use rustix::net::netlink::SOCK_DIAG;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;
/// INET_DIAG_CGROUP_ID.
const CGROUP: u16 = 21;
/// `struct inet_diag_sockid`.
const ID: usize = 48;
/// `struct inet_diag_msg`.
const MESSAGE: usize = 72;
/// include/net/tcp_states.h.
const ESTABLISHED: u8 = 1;
const TIME_WAIT: u8 = 6;
const LISTEN: u8 = 10;
const NEW_SYN_RECV: u8 = 12;

const TCP: u8 = 6;
const UDP: u8 = 17;
/// UDP-Lite's are not listed: none was seen in use.
const PROTOCOLS: [u8; 2] = [TCP, UDP];

/// One socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct One {
    family: u8,
    protocol: u8,
    state: u8,
    id: [u8; ID],
    /// 0: nobody has it open.
    pub(super) inode: u64,
    /// The cgroup in which it was born.
    pub(super) cgroup: Option<u64>,
}

impl One {
    fn address(&self, port: usize, at: usize) -> SocketAddr {
        let word = |at: usize| <[u8; 4]>::try_from(&self.id[at..at + 4]).unwrap_or_default();
        let ip = if self.family == family(AddressFamily::INET) {
            IpAddr::V4(Ipv4Addr::from(word(at)))
        } else {
            let octets = <[u8; 16]>::try_from(&self.id[at..at + 16]).unwrap_or_default();
            IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
        };
        SocketAddr::new(ip, u16::from_be_bytes([self.id[port], self.id[port + 1]]))
    }

    pub(super) fn is_udp(&self) -> bool {
        self.protocol == UDP
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.address(0, 4)
    }

    /// The other end, of a socket that has one.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        let peer = self.address(2, 20);
        let has = if self.protocol == TCP { self.state != LISTEN } else { self.state == ESTABLISHED };
        (has && peer.port() != 0).then_some(peer)
    }

    /// For people.
    pub(super) fn told(&self) -> String {
        let protocol = if self.protocol == TCP { "tcp" } else { "udp" };
        match self.peer() {
            Some(peer) => format!("{protocol} {} → {peer}", self.local()),
            None if self.state == LISTEN => format!("{protocol} {} (listening)", self.local()),
            None => format!("{protocol} {}", self.local()),
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "families are small numbers")]
fn family(of: AddressFamily) -> u8 {
    of.as_raw() as u8
}

/// `struct inet_diag_req_v2`.
fn ask(kind: u16, flags: u16, what: (u8, u8), states: u32, id: &[u8; ID]) -> io::Result<Asked> {
    let mut request = vec![what.0, what.1, 0, 0];
    request.extend(states.to_ne_bytes());
    request.extend(id);
    netlink::ask(Some(SOCK_DIAG), kind, flags, &request)
}

fn read(protocol: u8, message: &[u8]) -> Option<One> {
    let (head, rest) = message.split_at_checked(MESSAGE)?;
    let id = head[4..4 + ID].try_into().ok()?;
    let cgroup = attributes(rest).find(|(kind, _)| *kind == CGROUP);
    let cgroup = cgroup.and_then(|(_, value)| Some(u64::from_ne_bytes(value.try_into().ok()?)));
    Some(One { family: head[0], protocol, state: head[1], id, inode: u64::from(word(head, 68)?), cgroup })
}

/// Every TCP and UDP socket of this namespace that somebody may still use.
pub(super) fn all() -> io::Result<Vec<One>> {
    let mut found = Vec::new();
    let states = !(1 << TIME_WAIT | 1 << NEW_SYN_RECV);
    for protocol in PROTOCOLS {
        for of in [AddressFamily::INET, AddressFamily::INET6] {
            ask(BY_FAMILY, DUMP, (family(of), protocol), states, &[0; ID])?
                .all(|message| found.extend(read(protocol, message)))?;
        }
    }
    Ok(found)
}

/// Ends it: who uses it gets ECONNABORTED.
pub(super) fn destroy(one: &One) -> io::Result<()> {
    match ask(DESTROY, ASKED, (one.family, one.protocol), u32::MAX, &one.id)?.one(|_| ()) {
        // It ended by itself.
        Err(io::Errno::NOENT) => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::super::netlink::{HEADER, NLMSG_DONE, NLMSG_ERROR, each};
    use super::*;

    #[test]
    fn messages_are_read_to_their_last() {
        let message = |kind: u16, body: &[u8]| {
            let mut bytes = u32::try_from(HEADER + body.len()).unwrap().to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(body);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let mut told = vec![family(AddressFamily::INET), ESTABLISHED, 0, 0];
        told.extend([0x1f, 0x90, 0x01, 0xbb]);
        told.extend([127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        told.extend([203, 0, 113, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        told.resize(68, 0);
        told.extend(4711_u32.to_ne_bytes());
        told.extend([5, 0, 1, 0, 9, 0, 0, 0]);
        told.extend([12, 0, 21, 0]);
        told.extend(99_u64.to_ne_bytes());
        let mut bytes = message(BY_FAMILY, &told);
        let mut found = Vec::new();
        assert!(each(&bytes, |body| found.extend(read(TCP, body))).unwrap(), "more may come");
        let one = &found[0];
        assert_eq!((one.inode, one.cgroup), (4711, Some(99)));
        assert_eq!(one.told(), "tcp 127.0.0.1:8080 → 203.0.113.5:443");
        bytes.extend(message(NLMSG_DONE, &[0; 4]));
        assert!(!each(&bytes, |_| ()).unwrap());
        assert_eq!(each(&message(NLMSG_ERROR, &(-2_i32).to_ne_bytes()), |_| ()), Err(io::Errno::NOENT));
        assert!(!each(&message(NLMSG_ERROR, &[0; 4]), |_| ()).unwrap(), "that it was done");
        assert_eq!(each(&[9; 16], |_| ()), Err(io::Errno::PROTO), "nonsense");
        assert!(read(TCP, &told[..60]).is_none());
    }

    #[test]
    fn own_sockets_are_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        match all() {
            Ok(all) => assert!(all.iter().any(|one| one.local() == at && one.peer().is_none()), "{at}"),
            Err(error) => eprintln!("NOT TESTED: sock_diag: {error}"),
        }
    }
}
