//! Netlink's messages, as the sockets and the devices here are asked for: a header, what is asked, and answers to the last.
//!
//! Speaks with the kernel of the calling thread's network namespace.

use rustix::io;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::os::fd::OwnedFd;

pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
/// NLM_F_REQUEST.
pub(super) const REQUEST: u16 = 1;
/// NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH.
pub(super) const DUMP: u16 = REQUEST | 0x300;
/// NLM_F_REQUEST | NLM_F_ACK.
pub(super) const ASKED: u16 = REQUEST | 4;
pub(super) const HEADER: usize = 16;

/// A socket that has asked.
pub(super) struct Asked(OwnedFd);

/// Asks the subsystem; none: the one of routes and devices.
pub(super) fn ask(of: Option<Protocol>, kind: u16, flags: u16, what: &[u8]) -> io::Result<Asked> {
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, of)?;
    // `struct nlmsghdr`.
    let mut message = Vec::with_capacity(HEADER + what.len());
    message.extend(u32::try_from(HEADER + what.len()).unwrap_or(0).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(what);
    rustix::net::sendto(&socket, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    Ok(Asked(socket))
}

impl Asked {
    /// Hands on each message of the answer, to its last.
    pub(super) fn all(&self, mut hand: impl FnMut(&[u8])) -> io::Result<()> {
        let mut bytes = vec![0; 1 << 16];
        loop {
            let (read, _) = rustix::net::recv(&self.0, &mut bytes[..], RecvFlags::empty())?;
            if read == 0 || !each(&bytes[..read], &mut hand)? {
                return Ok(());
            }
        }
    }

    /// The same of an answer that is one message, or that it was done.
    pub(super) fn one(&self, hand: impl FnMut(&[u8])) -> io::Result<()> {
        let mut bytes = [0; 512];
        let (read, _) = rustix::net::recv(&self.0, &mut bytes[..], RecvFlags::empty())?;
        each(&bytes[..read], hand).map(drop)
    }
}

pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(super) fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Hands on each message of what has come; false once it was the last.
pub(super) fn each(bytes: &[u8], mut hand: impl FnMut(&[u8])) -> io::Result<bool> {
    let mut rest = bytes;
    while rest.len() >= HEADER {
        let length = word(rest, 0).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        let message = rest.get(..length).filter(|message| message.len() >= HEADER).ok_or(io::Errno::PROTO)?;
        match half(message, 4) {
            Some(NLMSG_DONE) => return Ok(false),
            Some(NLMSG_ERROR) => {
                let code = word(message, HEADER).ok_or(io::Errno::PROTO)?.cast_signed();
                return if code == 0 { Ok(false) } else { Err(io::Errno::from_raw_os_error(-code)) };
            }
            _ => hand(&message[HEADER..]),
        }
        // Each begins at a multiple of four bytes.
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(true)
}

/// The attributes of a message, each with its kind.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (length, kind) = (usize::from(half(rest, 0)?), half(rest, 2)?);
        let value = rest.get(4..length)?;
        // Each begins at a multiple of four bytes.
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & KIND, value))
    })
}

/// NLA_TYPE_MASK.
const KIND: u16 = 0x3fff;
