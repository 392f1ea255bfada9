//! Who may do what: permissions, the roles that hold them, and the tokens of those who come over TCP.
//!
//! Owns the words and what they stand for. Which route wants which permission is the API's to say. Keeps true: every role
//! may read, since who may act must see on what.

use quell_model::{Hash, Name};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

/// The API on TCP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listen {
    /// Where. A port of 0 is one that the system chooses.
    pub address: SocketAddr,
    /// Without it only the loopback is listened at.
    pub tls: Option<Tls>,
    /// Who may come.
    pub tokens: Vec<Token>,
}

/// What a listener proves itself with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    /// The chain in PEM, its own first.
    pub certificate: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
}

/// A caller over TCP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// What the journal knows it by: `token NAME`.
    pub name: Name,
    /// What it may do.
    pub role: Name,
    /// The sum of the token, which itself is nowhere in the configuration.
    pub sha256: Hash,
    /// The person that it speaks for.
    pub person: Option<Name>,
}

/// Something that may be done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Permission {
    /// See everything.
    Read,
    /// Take an incident on.
    Ack,
    /// Write into an incident.
    Note,
    /// Resolve incidents and open them again.
    Resolve,
    /// Start and cancel runs.
    Run,
    /// Take back what runs did, or let it stand.
    Undo,
    /// Say yes where a question names no approvers.
    Approve,
    /// Stop every action, and let them go on.
    Pause,
    /// Change how far quell may go.
    Mode,
    /// Put other definitions in force.
    Config,
}

impl Permission {
    /// All, with their words.
    pub const WORDS: &[(&str, Self)] = &[
        ("read", Self::Read),
        ("ack", Self::Ack),
        ("note", Self::Note),
        ("resolve", Self::Resolve),
        ("run", Self::Run),
        ("undo", Self::Undo),
        ("approve", Self::Approve),
        ("pause", Self::Pause),
        ("mode", Self::Mode),
        ("config", Self::Config),
    ];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        super::word(Self::WORDS, self)
    }
}

/// What each role may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Roles(BTreeMap<Name, BTreeSet<Permission>>);

impl Default for Roles {
    fn default() -> Self {
        use Permission as P;
        let mut roles = Self(BTreeMap::new());
        roles.set("viewer".into(), [P::Read]);
        roles.set("responder".into(), [P::Ack, P::Note, P::Resolve, P::Run, P::Undo]);
        roles.set("approver".into(), [P::Approve]);
        roles.set("admin".into(), [P::Pause, P::Mode, P::Config]);
        roles
    }
}

impl Roles {
    /// Defines a role, in place of its namesake.
    pub fn set(&mut self, role: Name, permissions: impl IntoIterator<Item = Permission>) {
        self.0.insert(role, permissions.into_iter().chain([Permission::Read]).collect());
    }

    /// Whether there is such a role.
    #[must_use]
    pub fn has(&self, role: &str) -> bool {
        self.0.keys().any(|known| known.as_str() == role)
    }

    /// Every role with what it may.
    pub fn all(&self) -> impl Iterator<Item = (&Name, &BTreeSet<Permission>)> {
        self.0.iter()
    }

    /// Their names.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.0.keys().map(Name::as_str).collect()
    }

    /// Whether one of these roles may.
    #[must_use]
    pub fn may<'r>(&self, roles: impl IntoIterator<Item = &'r Name>, permission: Permission) -> bool {
        roles.into_iter().any(|role| self.0.get(role).is_some_and(|may| may.contains(&permission)))
    }

    /// The roles that may, for who lacks them.
    #[must_use]
    pub fn that_may(&self, permission: Permission) -> Vec<&str> {
        let may = self.0.iter().filter(|(_, may)| may.contains(&permission));
        may.map(|(role, _)| role.as_str()).collect()
    }
}
