//! A network of the demo's own: a namespace with nothing in it but a loopback that answers to a documentation address.
//!
//! Speaks rtnetlink (rtnetlink(7)) itself: two requests, so that no `ip` command is needed.

use rustix::io;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::thread::UnshareFlags;
use std::net::Ipv4Addr;

/// TEST-NET-3 (RFC 5737): routed nowhere, and looks like an address of the Internet.
pub(super) const ATTACKER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);

/// The loopback is the first device of every namespace.
const LOOPBACK: u32 = 1;

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const NLMSG_ERROR: u16 = 2;
/// NLM_F_REQUEST | NLM_F_ACK.
const ASKED: u16 = 1 | 4;
/// NLM_F_CREATE | NLM_F_EXCL.
const NEW: u16 = 0x400 | 0x200;
const IFF_UP: u32 = 1;
const IFA_LOCAL: u16 = 2;

/// Moves the calling thread into a new namespace and makes [`ATTACKER`] answer there. Call it before any other thread
/// is started.
pub(super) fn enter_own() -> io::Result<()> {
    #[allow(
        deprecated,
        reason = "unsafe for its CLONE_FILES and CLONE_FS alone; a network namespace shares no memory"
    )]
    rustix::thread::unshare(UnshareFlags::NEWNET)?;
    // ifinfomsg: family, pad, type, index, flags, change.
    let mut up = vec![0_u8; 4];
    for word in [LOOPBACK, IFF_UP, IFF_UP] {
        up.extend(word.to_ne_bytes());
    }
    ask(RTM_NEWLINK, ASKED, &up)?;
    // ifaddrmsg: family, prefix length, flags, scope, index; then one attribute.
    let mut address = vec![AddressFamily::INET.as_raw() as u8, 32, 0, 0];
    address.extend(LOOPBACK.to_ne_bytes());
    address.extend(8_u16.to_ne_bytes());
    address.extend(IFA_LOCAL.to_ne_bytes());
    address.extend(ATTACKER.octets());
    ask(RTM_NEWADDR, ASKED | NEW, &address)
}

fn ask(kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // NETLINK_ROUTE is the protocol 0.
        None,
    )?;
    let mut message = Vec::with_capacity(16 + body.len());
    let length = u32::try_from(16 + body.len()).expect("a request of some bytes");
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(1_u32.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    message.extend(body);
    rustix::net::sendto(&socket, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0_u8; 512];
    let (read, _) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::empty())?;
    let (header, rest) = answer[..read].split_at_checked(16).ok_or(io::Errno::PROTO)?;
    if u16::from_ne_bytes([header[4], header[5]]) != NLMSG_ERROR || rest.len() < 4 {
        return Err(io::Errno::PROTO);
    }
    match i32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) {
        0 => Ok(()),
        error => Err(io::Errno::from_raw_os_error(-error)),
    }
}
