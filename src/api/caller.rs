//! Who is calling: the kernel tells the uid of the socket's other end, the user table its name. Who that is among the people
//! of escalation.yaml is `access`'s to say.
//!
//! Root is `root (unverified)`: anybody may have become root, so it is nobody's second pair of eyes.

use quell_model::{Name, Stamp};
use std::net::SocketAddr;

/// Root, whoever that is.
pub(super) const ROOT: &str = "root (unverified)";

/// The person behind a request, as the journal will name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller(pub(crate) Name);

impl Caller {
    /// The caller of this uid.
    pub(crate) fn of_uid(uid: u32) -> Self {
        Self::named(uid, &passwd())
    }

    pub(super) fn named(uid: u32, passwd: &str) -> Self {
        if uid == 0 {
            return Self(ROOT.into());
        }
        Self(name_of(uid, passwd).map_or_else(|| format!("uid {uid}").into(), Name::from))
    }
}

/// The user table of this host.
pub(super) fn passwd() -> String {
    std::fs::read_to_string("/etc/passwd").unwrap_or_default()
}

/// The user's name in the text of /etc/passwd.
pub(super) fn name_of(uid: u32, passwd: &str) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

/// The other end of a connection, as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A process of this host, by the socket; none: the kernel did not say whose.
    Uid(Option<u32>),
    /// Somebody over TCP, whose token says who.
    Network,
}

/// What is known of the process at the other end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PeerProcess {
    /// By the socket, and the kernel did not say.
    Unknown,
    /// By the socket: it, when it was connected.
    Connected(Connected),
    /// By TCP: from where to where, and when. It may be one of this host.
    Tcp {
        /// Its end.
        from: SocketAddr,
        /// Ours.
        to: SocketAddr,
        /// When it came.
        at: Stamp,
    },
}

/// A process that was connected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connected {
    /// Its number.
    pub(crate) pid: u32,
    /// Its user.
    pub(crate) uid: u32,
    /// When: whoever began later and has that number is another.
    pub(crate) at: Stamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n# no user\nbroken\nana:x:1000:1000::/home/ana:/bin/sh\n";

    #[test]
    fn a_uid_becomes_a_person_and_root_nobody_in_particular() {
        let name = |uid| Caller::named(uid, PASSWD).0.to_string();
        assert_eq!(name(0), "root (unverified)");
        assert_eq!(name(1000), "ana");
        assert_eq!(name(77), "uid 77");
    }
}
