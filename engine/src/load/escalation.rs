//! escalation.yaml → [`People`]: who is who, which roles they have, who may approve what.
//!
//! Owns the keys of people and approvers, for test files of playbooks too. What else the format has (channels, schedules,
//! routes) is not read yet, and is said so with its place. Keeps true: an identity is one person's; approvers can reach
//! their quorum; a file with an error gives nobody, and the former people hold.

use super::config::{Permission, Roles};
use super::files;
use super::reader::{Fields, Reader, one_of};
use super::yaml::{self, Entry, Node, Place, Source, Value};
use crate::playbook::has_errors;
use crate::trigger::schedule::Calendar;
use quell_model::people::{Approvers, People, Person, System};
use quell_model::{Mistake, MistakeLevel, Name};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub(crate) const KEYS: &[&str] = &["people", "approvers", "policies", "channels", "schedules", "routes"];
pub(crate) const PERSON: &[&str] = &["name", "email", "time_zone", "roles", "identities", "wake"];
pub(crate) const APPROVERS: &[&str] = &["people", "quorum", "not_requester", "policy"];
/// Keys of the format that this version does not read.
const UNREAD: &[&str] = &["channels", "schedules", "routes"];
/// Names in the journal that are nobody's.
const RESERVED: &[&str] = &["quell", "root", "unknown", "token"];

/// Reads the file at `file`, if others cannot write it.
#[must_use]
pub fn escalation_file(file: &Path, roles: &Roles) -> (Option<People>, Vec<Mistake>) {
    match files::read(file) {
        Ok(text) => escalation(file, &text, roles),
        Err(mistake) => (None, vec![*mistake]),
    }
}

/// Reads the text of an escalation.yaml. None when a mistake is an error.
#[must_use]
pub fn escalation(file: &Path, text: &str, roles: &Roles) -> (Option<People>, Vec<Mistake>) {
    let source = Source::new(file, text);
    let node = match yaml::parse(&source) {
        Ok(node) => node,
        Err(mistake) => return (None, vec![*mistake]),
    };
    let mut reader = Reader::of(&source, &node);
    let mut people = People::default();
    if node.value == Value::Null {
        nobody(&mut reader, node.at);
    } else if let Some(top) = reader.fields(&node, "escalation.yaml", KEYS, &[]) {
        unread(&mut reader, &top);
        let policies = policies(&mut reader, &top);
        people = who(&mut reader, &top, roles, Some(&policies));
        people.policies = policies;
        if people.is_empty() && !reader.has_errors() {
            nobody(&mut reader, top.at);
        }
    }
    let mistakes = reader.finish();
    ((!has_errors(&mistakes)).then_some(people), mistakes)
}

fn nobody(reader: &mut Reader<'_>, at: Place) {
    let what = "the file names nobody: whoever may use the socket may do and answer everything";
    reader.warning(at, what, "`people`, with at least one");
}

fn unread(reader: &mut Reader<'_>, top: &Fields<'_>) {
    for entry in top.present(UNREAD) {
        let what = format!("`{}` is not read by this version", entry.key);
        reader.warning(
            entry.at,
            what,
            "nothing yet: quell tells nobody by itself, and `quell run list` shows what waits",
        );
    }
}

/// Names of policies: approvers may name them. What they say is not read yet.
fn policies(reader: &mut Reader<'_>, top: &Fields<'_>) -> BTreeSet<Name> {
    let Some(entry) = top.entry("policies").filter(|entry| entry.value.value != Value::Null) else {
        return BTreeSet::new();
    };
    let what = "`policies` are known by their names only: what they say is not read by this version";
    reader.warning(entry.at, what, "nothing yet: quell tells nobody by itself");
    let all = reader.map(&entry.value, "`policies`").unwrap_or_default();
    all.iter().map(|policy| Name::from(policy.key.as_str())).collect()
}

/// `people` and `approvers`. Where policies are not known, they are not checked.
pub(crate) fn who(
    reader: &mut Reader<'_>,
    top: &Fields<'_>,
    roles: &Roles,
    policies: Option<&BTreeSet<Name>>,
) -> People {
    let mut people = People::default();
    let mut taken = BTreeMap::new();
    if let Some(node) = top.get("people") {
        for entry in reader.map(node, "`people`").unwrap_or_default() {
            let found = person(reader, entry, roles, &mut taken);
            if roles.may(&found.roles, Permission::Approve) {
                people.deciders.insert(entry.key.as_str().into());
            }
            people.people.insert(entry.key.as_str().into(), found);
        }
    }
    if let Some(node) = top.get("approvers") {
        for entry in reader.map(node, "`approvers`").unwrap_or_default() {
            if let Some(found) = approvers(reader, entry, &people, policies) {
                people.approvers.insert(entry.key.as_str().into(), found);
            }
        }
    }
    people
}

/// Whose an identity is, and on which line.
type Taken = BTreeMap<(System, String), (Name, u32)>;

fn person(reader: &mut Reader<'_>, entry: &Entry, roles: &Roles, taken: &mut Taken) -> Person {
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
    if let Some(wake) = fields.entry("wake") {
        let what = "`wake` is not read by this version";
        reader.warning(wake.at, what, "nothing yet: nobody is woken");
    }
    if let Some(name) = fields.get("name").and_then(|node| reader.text(node, "`name`")) {
        name.clone_into(&mut found.name);
    }
    if let Some(node) = fields.get("email")
        && let Some(text) = email(reader, node)
    {
        take(reader, taken, System::Email, &text, node.at, key);
        found.email = Some(text);
    }
    if let Some(node) = fields.get("time_zone") {
        found.time_zone = time_zone(reader, node);
    }
    if let Some(node) = fields.get("roles") {
        found.roles = own_roles(reader, node, roles);
    }
    if let Some(node) = fields.get("identities") {
        found.identities = identities(reader, node, key, taken);
    }
    found
}

fn email(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let text = reader.text(node, "`email`")?;
    let parts = text.rsplit_once('@').filter(|(name, host)| !name.is_empty() && !host.is_empty());
    if parts.is_none() || text.chars().any(char::is_whitespace) {
        reader.error(node.at, format!("`{text}` is no address"), "an address like `ana@example.org`");
        return None;
    }
    Some(text.to_owned())
}

fn time_zone(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let text = reader.text(node, "`time_zone`")?;
    if !Calendar::is_zone(text) {
        let mistake = reader.source.error(node.at, format!("there is no time zone `{text}`"));
        let all = Calendar::zones();
        reader.note_near(mistake.expected("a name like `Europe/Berlin`"), text, all.iter().map(String::as_str));
        return None;
    }
    Some(text.to_owned())
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
            (System::Email, _) => email(reader, node),
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

fn approvers(
    reader: &mut Reader<'_>,
    entry: &Entry,
    people: &People,
    policies: Option<&BTreeSet<Name>>,
) -> Option<Approvers> {
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
        let mut note = reader.source.warning(entry.at, what);
        note.level = MistakeLevel::Note;
        reader.note(note.expected("one more person, or `not_requester: false`"));
    }
    if let Some(node) = fields.get("policy")
        && let Some(text) = reader.text(node, "`policy`")
    {
        if let Some(policies) = policies.filter(|policies| !policies.contains(text)) {
            let names: Vec<&str> = policies.iter().map(Name::as_str).collect();
            let mistake = reader.source.error(node.at, format!("there is no policy `{text}`"));
            let expected = if names.is_empty() { "one of `policies`".to_owned() } else { one_of(&names) };
            reader.note_near(mistake.expected(expected), text, names.iter().copied());
        }
        found.policy = Some(text.into());
    }
    Some(found)
}

#[cfg(test)]
mod tests;
