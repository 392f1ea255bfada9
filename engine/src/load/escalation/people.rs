//! `people` and `approvers`: who is who, which roles they have, what wakes them, who may approve what.
//!
//! Owns their keys, for test files of playbooks too. Keeps true: an identity is one person's; approvers can reach their
//! quorum.

use super::names::Names;
use super::{email, time_zone};
use crate::load::config::{Permission, Roles};
use crate::load::reader::{Fields, Reader, one_of};
use crate::load::yaml::{Entry, Node, Place, Value};
use quell_model::Name;
use quell_model::people::{Approvers, People, Person, System};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const PERSON: &[&str] = &["name", "email", "time_zone", "roles", "identities", "wake"];
pub(crate) const WAKE: &[&str] = &["webhook"];
pub(crate) const APPROVERS: &[&str] = &["people", "quorum", "not_requester", "policy"];
/// Names in the journal that are nobody's.
const RESERVED: &[&str] = &["quell", "root", "unknown", "token"];

/// `people` and `approvers`. Where the names of policies and webhooks are not known, those are not checked.
pub(crate) fn who(reader: &mut Reader<'_>, top: &Fields<'_>, roles: &Roles, names: Option<&Names>) -> People {
    let mut people = People::default();
    let mut taken = BTreeMap::new();
    if let Some(node) = top.get("people") {
        for entry in reader.map(node, "`people`").unwrap_or_default() {
            let found = person(reader, entry, roles, names, &mut taken);
            if roles.may(&found.roles, Permission::Approve) {
                people.deciders.insert(entry.key.as_str().into());
            }
            people.people.insert(entry.key.as_str().into(), found);
        }
    }
    if let Some(node) = top.get("approvers") {
        for entry in reader.map(node, "`approvers`").unwrap_or_default() {
            if let Some(found) = approvers(reader, entry, &people, names) {
                people.approvers.insert(entry.key.as_str().into(), found);
            }
        }
    }
    people
}

/// Whose an identity is, and on which line.
type Taken = BTreeMap<(System, String), (Name, u32)>;

fn person(reader: &mut Reader<'_>, entry: &Entry, roles: &Roles, names: Option<&Names>, taken: &mut Taken) -> Person {
    let key = entry.key.as_str();
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if key.is_empty() || !key.chars().all(is_word) {
        let what = format!("`{key}` cannot be the name of a person here");
        reader.error(entry.at, what, "a short word that the journal knows them by: letters, digits, `_`, `-` and `.`");
    } else if RESERVED.contains(&key) {
        reader.error(entry.at, format!("`{key}` is nobody's name: the journal means something else by it"), "another");
    }
    let mut found = Person { name: key.to_owned(), ..Person::default() };
    let what = format!("the person `{key}`");
    let Some(fields) = reader.fields(&entry.value, &what, PERSON, &[]) else { return found };
    if let Some(name) = fields.get("name").and_then(|node| reader.text(node, "`name`")) {
        name.clone_into(&mut found.name);
    }
    if let Some(node) = fields.get("email")
        && let Some(text) = email(reader, node, "`email`")
    {
        take(reader, taken, System::Email, text, node.at, key);
        found.email = Some(text.to_owned());
    }
    if let Some(node) = fields.get("time_zone") {
        found.time_zone = time_zone(reader, node).map(str::to_owned);
    }
    if let Some(node) = fields.get("roles") {
        found.roles = own_roles(reader, node, roles);
    }
    if let Some(node) = fields.get("identities") {
        found.identities = identities(reader, node, key, taken);
    }
    if let Some(node) = fields.get("wake") {
        found.wake = wake(reader, node, &what, names);
    }
    found
}

fn wake(reader: &mut Reader<'_>, node: &Node, whose: &str, names: Option<&Names>) -> Option<Name> {
    let fields = reader.fields(node, &format!("`wake` of {whose}"), WAKE, &[])?;
    let Some(node) = fields.get("webhook") else {
        if fields.entry("webhook").is_none() {
            reader.error(
                fields.at,
                format!("`wake` of {whose} names nothing"),
                "`webhook: NAME`, one of `channels.webhooks`",
            );
        }
        return None;
    };
    let text = reader.text(node, "`webhook`")?;
    match names {
        Some(names) => names.webhook(reader, text, node.at),
        None => Some(text.into()),
    }
}

fn own_roles(reader: &mut Reader<'_>, node: &Node, roles: &Roles) -> BTreeSet<Name> {
    let mut own = BTreeSet::new();
    for (text, at) in reader.texts(node, "`roles`") {
        if roles.has(text) {
            own.insert(text.into());
        } else {
            let names = roles.names();
            let mistake = reader.source.error(at, format!("there is no role `{text}`"));
            let expected = format!("{}; `access.roles` of quell.yaml adds others", one_of(&names));
            reader.note_near(mistake.expected(expected), text, names.iter().copied());
        }
    }
    own
}

fn identities(reader: &mut Reader<'_>, node: &Node, key: &str, taken: &mut Taken) -> BTreeMap<System, String> {
    let words: Vec<&str> = System::ALL.iter().map(|(word, _)| *word).collect();
    let Some(fields) = reader.fields(node, "`identities`", &words, &[]) else { return BTreeMap::new() };
    let mut all = BTreeMap::new();
    for (word, system) in System::ALL {
        let Some(node) = fields.get(word) else { continue };
        let text = match (system, &node.value) {
            (System::Unix, Value::Int(number)) if *number >= 0 => Some(number.to_string()),
            (System::Email, _) => email(reader, node, "`email`").map(str::to_owned),
            _ => reader.text(node, &format!("`{word}`")).map(str::to_owned),
        };
        let Some(text) = text else { continue };
        if text.trim() != text || text.is_empty() {
            reader.error(node.at, format!("`{word}` is no identity"), "who they are there, without blanks around it");
        } else if system == System::Unix && matches!(text.as_str(), "root" | "0") {
            let what = "root is nobody's identity: anybody may have become root";
            reader.error(node.at, what, "their own user");
        } else {
            take(reader, taken, system, &text, node.at, key);
            all.insert(system, text);
        }
    }
    all
}

/// Notes whose an identity is; two people cannot share one.
fn take(reader: &mut Reader<'_>, taken: &mut Taken, system: System, identity: &str, at: Place, key: &str) {
    let word = System::ALL.iter().find(|(_, each)| *each == system).map_or("", |(word, _)| *word);
    match taken.get(&(system, identity.to_owned())) {
        Some((other, line)) if other.as_str() != key => {
            let what = format!("the {word} identity `{identity}` is `{other}`'s already, on line {line}");
            reader.error(at, what, "an identity that is one person's");
        }
        Some(_) => {}
        None => {
            taken.insert((system, identity.to_owned()), (key.into(), at.line));
        }
    }
}

fn approvers(reader: &mut Reader<'_>, entry: &Entry, people: &People, names: Option<&Names>) -> Option<Approvers> {
    let name = entry.key.as_str();
    let what = format!("the approvers `{name}`");
    let fields = reader.fields(&entry.value, &what, APPROVERS, &[])?;
    let Some(node) = fields.get("people") else {
        reader.error(fields.at, format!("{what} are nobody"), "`people: [ana, lead]`");
        return None;
    };
    let mut found = Approvers { people: BTreeSet::new(), quorum: 1, not_requester: true, policy: None };
    let known = || people.people.keys().map(Name::as_str);
    let mut listed = 0;
    for (text, at) in reader.texts(node, "`people`") {
        listed += 1;
        if !people.people.contains_key(text) {
            let mistake = reader.source.error(at, format!("there is no person `{text}`"));
            reader.note_near(mistake.expected("one of `people` above"), text, known());
        } else if !found.people.insert(text.into()) {
            reader.error(at, format!("`{text}` stands twice among {what}"), "each person once: one yes is one yes");
        }
    }
    if matches!(&node.value, Value::List(list) if list.is_empty()) {
        reader.error(node.at, format!("{what} are nobody"), "at least one of `people`");
    }
    if let Some(node) = fields.get("not_requester") {
        found.not_requester = reader.bool(node, "`not_requester`").unwrap_or(true);
    }
    if let Some(node) = fields.get("quorum")
        && let Some(quorum) = reader.count(node, "`quorum`", 1)
    {
        found.quorum = quorum;
        if quorum as usize > listed && listed > 0 {
            let what = format!("{quorum} of {listed} is a quorum that nobody can reach");
            reader.error(node.at, what, format!("{listed} or less, or more people"));
        }
    }
    if found.not_requester && found.quorum as usize == listed {
        let what =
            format!("a run that one of {what} starts can be approved by nobody: all of them have to, and they may not");
        reader.remark(entry.at, what, "one more person, or `not_requester: false`");
    }
    if let Some(node) = fields.get("policy")
        && let Some(text) = reader.text(node, "`policy`")
    {
        found.policy = match names {
            Some(names) => names.policy(reader, text, node.at),
            None => Some(text.into()),
        };
    }
    Some(found)
}
