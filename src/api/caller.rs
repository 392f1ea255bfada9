//! Who is calling: the kernel tells the uid of the socket's other end, the user table its name.
//!
//! Root is `root (unverified)`: anybody may have become root, so it is nobody's second pair of eyes.

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use quell_model::Name;
use tokio::net::UnixListener;

/// The person behind a request, as the journal will name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller(pub(crate) Name);

impl Caller {
    /// The caller of this uid.
    pub(crate) fn of_uid(uid: u32) -> Self {
        Self::named(uid, &std::fs::read_to_string("/etc/passwd").unwrap_or_default())
    }

    fn named(uid: u32, passwd: &str) -> Self {
        if uid == 0 {
            return Self("root (unverified)".into());
        }
        Self(name_of(uid, passwd).map_or_else(|| format!("uid {uid}").into(), Name::from))
    }
}

/// The user's name in the text of /etc/passwd.
fn name_of(uid: u32, passwd: &str) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

impl Connected<IncomingStream<'_, UnixListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        match stream.io().peer_cred() {
            Ok(peer) => Self::of_uid(peer.uid()),
            Err(_) => Self("unknown".into()),
        }
    }
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
