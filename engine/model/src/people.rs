//! Who is who: the people of escalation.yaml with their identities, their roles, and who may approve what.
//!
//! Owns the mapping from an identity to a person, and the rule of who counts. Never asks a system who somebody is: whoever
//! carries an answer says with which identity it came. Keeps true: an identity belongs to one person at most.

use crate::ids::Name;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A system in which people have names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum System {
    /// A user of this host.
    Unix,
    /// A member's id.
    Slack,
    /// An address.
    Email,
    /// A user of the API server.
    Kubernetes,
    /// An ARN.
    Aws,
    /// An object's id or a principal name.
    Azure,
}

impl System {
    /// All of them, with their words in files.
    pub const ALL: [(&'static str, Self); 6] = [
        ("unix", Self::Unix),
        ("slack", Self::Slack),
        ("email", Self::Email),
        ("kubernetes", Self::Kubernetes),
        ("aws", Self::Aws),
        ("azure", Self::Azure),
    ];
}

/// Somebody.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Person {
    /// As people call them.
    pub name: String,
    /// Where mail reaches them; also an identity.
    pub email: Option<String>,
    /// Their IANA time zone.
    pub time_zone: Option<String>,
    /// What they may do: names of `access.roles`.
    pub roles: BTreeSet<Name>,
    /// Who they are elsewhere.
    pub identities: BTreeMap<System, String>,
}

/// Who may say yes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Approvers {
    /// Which of the people.
    pub people: BTreeSet<Name>,
    /// So many of them have to, at least 1.
    pub quorum: u32,
    /// Whoever started the run does not count.
    pub not_requester: bool,
    /// The policy that carries the question up.
    pub policy: Option<Name>,
}

/// The people of an installation; empty without an escalation.yaml.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct People {
    /// By the name that the journal knows them by.
    pub people: BTreeMap<Name, Person>,
    /// By the name that playbooks use.
    pub approvers: BTreeMap<Name, Approvers>,
    /// Policies that are defined: what `approve` and approvers may name.
    pub policies: BTreeSet<Name>,
}

impl People {
    /// Whether nobody is known: then whoever may use the socket may answer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    /// Whose identity this is.
    #[must_use]
    pub fn who(&self, system: System, identity: &str) -> Option<&Name> {
        let is_theirs = |person: &Person| {
            person.identities.get(&system).is_some_and(|own| own == identity)
                || system == System::Email && person.email.as_deref() == Some(identity)
        };
        self.people.iter().find(|(_, person)| is_theirs(person)).map(|(name, _)| name)
    }
}
