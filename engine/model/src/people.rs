//! Who is who: the people of escalation.yaml with their identities, their roles, and who may approve what.
//!
//! Owns the mapping from an identity to a person, and the rule of who counts. Never asks a system who somebody is: whoever
//! carries an answer says with which identity it came. Keeps true: an identity belongs to one person at most.

use crate::ids::Name;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What the name of somebody ends with in the journal who is nobody in escalation.yaml: no name there has it.
pub const UNVERIFIED: &str = " (unverified)";

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
    /// The webhook that wakes them.
    pub wake: Option<Name>,
}

impl Person {
    /// Where mail reaches them: their `email`, else who they are in mail.
    #[must_use]
    pub fn mail(&self) -> Option<&str> {
        self.email.as_ref().or_else(|| self.identities.get(&System::Email)).map(String::as_str)
    }
}

/// Who may say yes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Approvers {
    /// Which of the people.
    pub people: BTreeSet<Name>,
    /// So many of them have to, at least 1.
    pub quorum: u32,
    /// Whoever started the run, or had it tried again, does not count.
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
    /// Policies that are defined, and how many steps each has: what approvers and playbooks may name.
    pub policies: BTreeMap<Name, u32>,
    /// Those with a role that may approve: they count where a question names nobody.
    pub deciders: BTreeSet<Name>,
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

    /// Whose identity this is, whatever the system. Nobody's where it is one person's here and another's there: who is meant
    /// is not for an attacker to choose, who may well make a user called `bo@example.org`.
    #[must_use]
    pub fn who_anywhere(&self, identity: &str) -> Option<&Name> {
        let mut found = System::ALL.iter().filter_map(|(_, system)| self.who(*system, identity));
        let first = found.next()?;
        found.all(|other| other == first).then_some(first)
    }

    /// How many people have to say yes.
    #[must_use]
    pub fn quorum(&self, approvers: Option<&Name>) -> u32 {
        let found = approvers.and_then(|name| self.approvers.get(name));
        found.map_or(1, |found| found.quorum.max(1))
    }

    /// Why `by` does not count for a question; none: they do. Where nobody is known, whoever has come so far counts.
    #[must_use]
    pub fn objection(&self, by: &Name, may: &MayAnswer<'_>) -> Option<String> {
        if let Some(person) = may.person.filter(|person| *person != by) {
            return Some(format!("it is {person} who is asked, and nobody else can answer"));
        }
        if self.is_empty() {
            return None;
        }
        if !self.people.contains_key(by) {
            return Some(format!("`{by}` is nobody in escalation.yaml, and only its people count"));
        }
        if may.suspects.contains(&by) {
            return Some(format!("{by} was asked whether it was them, and does not count here"));
        }
        let Some(name) = may.approvers else {
            let counts = may.person.is_some() || self.deciders.contains(by);
            return (!counts).then(|| format!("no role of {by} has `approve`, and the question names no approvers"));
        };
        let Some(approvers) = self.approvers.get(name) else {
            return Some(format!("there are no approvers `{name}` in escalation.yaml"));
        };
        if !approvers.people.contains(by) {
            let all: Vec<&str> = approvers.people.iter().map(Name::as_str).collect();
            return Some(format!("{by} is none of the approvers `{name}`: {}", all.join(", ")));
        }
        (approvers.not_requester && may.requesters.contains(&by))
            .then(|| format!("{by} started the run, or has tried it again, and `{name}` wants somebody else"))
    }
}

/// Whose answer a question takes.
#[derive(Clone, Debug, Default)]
pub struct MayAnswer<'a> {
    /// This person alone.
    pub person: Option<&'a Name>,
    /// These approvers.
    pub approvers: Option<&'a Name>,
    /// Who started the run or those above it, and who had them tried again.
    pub requesters: Vec<&'a Name>,
    /// Who was asked whether it was them.
    pub suspects: Vec<&'a Name>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people() -> People {
        let mut all = People::default();
        for name in ["ana", "bo", "lead"] {
            all.people.insert(name.into(), Person { name: name.to_owned(), ..Person::default() });
        }
        all.people.get_mut("ana").expect("just put there").identities.insert(System::Unix, "ana.s".to_owned());
        all.people.get_mut("bo").expect("just put there").email = Some("bo@example.org".to_owned());
        let people = ["ana", "lead"].map(Name::from).into();
        let security = Approvers { people, quorum: 2, not_requester: true, policy: None };
        all.approvers.insert("security".into(), security);
        all.deciders.insert("lead".into());
        all
    }

    #[test]
    fn an_identity_is_one_persons() {
        let all = people();
        assert_eq!(all.who(System::Unix, "ana.s").map(Name::as_str), Some("ana"));
        assert_eq!(all.who(System::Unix, "ana"), None, "a user of that name is not the person");
        assert_eq!(all.who(System::Email, "bo@example.org").map(Name::as_str), Some("bo"));
    }

    #[test]
    fn an_identity_that_means_two_people_means_nobody() {
        let mut all = people();
        assert_eq!(all.who_anywhere("bo@example.org").map(Name::as_str), Some("bo"));
        assert_eq!(all.who_anywhere("ana.s").map(Name::as_str), Some("ana"));
        assert_eq!(all.who_anywhere("ana"), None);
        let ana = all.people.get_mut("ana").expect("she is there");
        ana.identities.insert(System::Kubernetes, "ana.s".to_owned());
        assert_eq!(all.who_anywhere("ana.s").map(Name::as_str), Some("ana"), "one person in two systems");
        let lead = all.people.get_mut("lead").expect("they are there");
        lead.identities.insert(System::Unix, "bo@example.org".to_owned());
        assert_eq!(all.who_anywhere("bo@example.org"), None);
        assert_eq!(all.who(System::Unix, "bo@example.org").map(Name::as_str), Some("lead"));
    }

    #[test]
    fn who_counts_is_one_rule() {
        let all = people();
        let [ana, bo, root] = ["ana", "bo", "root (unverified)"].map(Name::from);
        let security = Name::from("security");
        let may = MayAnswer { approvers: Some(&security), ..MayAnswer::default() };
        assert_eq!(all.objection(&ana, &may), None);
        assert!(all.objection(&bo, &may).is_some_and(|why| why.contains("none of the approvers")));
        assert!(all.objection(&root, &may).is_some_and(|why| why.contains("nobody in escalation.yaml")));
        assert!(all.objection(&ana, &MayAnswer { requesters: vec![&ana], ..may.clone() }).is_some());
        assert!(all.objection(&ana, &MayAnswer { suspects: vec![&ana], ..may.clone() }).is_some());
        assert!(all.objection(&ana, &MayAnswer { person: Some(&bo), ..MayAnswer::default() }).is_some());
        assert_eq!(all.objection(&"lead".into(), &MayAnswer::default()), None, "nobody is named");
        assert!(all.objection(&bo, &MayAnswer::default()).is_some_and(|why| why.contains("no role of bo")));
        assert_eq!(all.objection(&bo, &MayAnswer { person: Some(&bo), ..MayAnswer::default() }), None, "bo is asked");
        assert_eq!(People::default().objection(&root, &may), None, "without people, whoever has come so far");
        assert_eq!((all.quorum(Some(&security)), all.quorum(None)), (2, 1));
    }
}
