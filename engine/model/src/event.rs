//! An observed fact, normalised: borrowed on the sensor's thread, owned everywhere else.
//!
//! Owns the trait through which rules and playbooks read any event, and the owned form, which is one line of a
//! recording (versioned). Never parses foreign records: adapters do.

use crate::process::ProcessId;
use crate::time::Stamp;
use crate::told::Teller;
use crate::{Json, event_id::EventId, fields, ids::Name};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use utoipa::ToSchema;

/// What kind of fact an event is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A process was born by fork: it keeps its parent's image. No rule category of Sigma's.
    ProcessFork,
    /// A process executed an image.
    ProcessCreation,
    /// A process ended.
    ProcessTermination,
    /// A connection out, in, or a listener.
    NetworkConnection,
    /// A file was written, removed, renamed, changed, or (where watched) read.
    FileEvent,
    /// Ids or capabilities of a process changed.
    Credentials,
    /// A process was traced or written into by another.
    ProcessAccess,
    /// Events were lost: of which class, how many, whose.
    Loss,
    /// A foreign record (CloudTrail, Kubernetes audit, auditd …) under its own field names.
    Record,
}

impl Class {
    /// All classes.
    pub const ALL: [Self; 9] = [
        Self::ProcessFork,
        Self::ProcessCreation,
        Self::ProcessTermination,
        Self::NetworkConnection,
        Self::FileEvent,
        Self::Credentials,
        Self::ProcessAccess,
        Self::Loss,
        Self::Record,
    ];

    /// The word in recordings and on terminals.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProcessFork => "process_fork",
            Self::ProcessCreation => "process_creation",
            Self::ProcessTermination => "process_termination",
            Self::NetworkConnection => "network_connection",
            Self::FileEvent => "file_event",
            Self::Credentials => "credentials",
            Self::ProcessAccess => "process_access",
            Self::Loss => "loss",
            Self::Record => "record",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Sigma's logsource: which rules can match an event. A rule's absent part matches any.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct LogSource {
    /// `process_creation`, `network_connection`, `file_event` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Name>,
    /// `linux`, `aws`, `azure`, `kubernetes` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<Name>,
    /// `auditd`, `cloudtrail`, `audit` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Name>,
}

/// What every event has.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct EventHead {
    /// Names the event for good.
    pub id: EventId,
    /// Its kind.
    pub class: Class,
    /// Who saw it: `sensor`, `scan`, the name of a source.
    pub source: Name,
    /// The machine, cluster or account where it happened.
    pub node: Name,
    /// When it happened.
    pub at: Stamp,
    /// When quell saw it.
    pub seen: Stamp,
}

/// One field's value, borrowed where it can be.
#[derive(Clone, PartialEq, Debug)]
pub enum Field<'a> {
    /// Known, and absent.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Text; what is no UTF-8 was replaced.
    Str(Cow<'a, str>),
    /// Several.
    List(Vec<Field<'a>>),
    /// Named parts, in order.
    Map(Vec<(Cow<'a, str>, Field<'a>)>),
}

impl<'a> Field<'a> {
    /// Text, borrowed.
    #[must_use]
    pub fn text(text: &'a str) -> Self {
        Self::Str(Cow::Borrowed(text))
    }

    /// The value of `Some`, or `Null`.
    pub fn or_null<T>(value: Option<T>, make: impl FnOnce(T) -> Self) -> Self {
        value.map_or(Self::Null, make)
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(b) => Json::Bool(*b),
            Self::Int(n) => Json::from(*n),
            Self::Str(s) => Json::String(s.clone().into_owned()),
            Self::List(l) => Json::Array(l.iter().map(Self::to_json).collect()),
            Self::Map(m) => Json::Object(m.iter().map(|(k, v)| (k.clone().into_owned(), v.to_json())).collect()),
        }
    }

    /// A borrowed view of JSON; a number that is no i64 becomes its text.
    #[must_use]
    pub fn from_json(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(b) => Self::Bool(*b),
            Json::Number(n) => n.as_i64().map_or_else(|| Self::Str(Cow::Owned(n.to_string())), Self::Int),
            Json::String(s) => Self::text(s),
            Json::Array(l) => Self::List(l.iter().map(Self::from_json).collect()),
            Json::Object(m) => {
                Self::Map(m.iter().map(|(k, v)| (Cow::Borrowed(k.as_str()), Self::from_json(v))).collect())
            }
        }
    }

    /// The value without borrows.
    #[must_use]
    pub fn into_owned(self) -> Field<'static> {
        match self {
            Self::Null => Field::Null,
            Self::Bool(b) => Field::Bool(b),
            Self::Int(n) => Field::Int(n),
            Self::Str(s) => Field::Str(Cow::Owned(s.into_owned())),
            Self::List(l) => Field::List(l.into_iter().map(Field::into_owned).collect()),
            Self::Map(m) => {
                Field::Map(m.into_iter().map(|(k, v)| (Cow::Owned(k.into_owned()), v.into_owned())).collect())
            }
        }
    }
}

/// Who did it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A process on a host.
    Process(ProcessId),
    /// A cloud or cluster identity.
    Principal(Name),
    /// A user of a host, where no process is known.
    User(Name),
    /// Not known.
    Unknown,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(id) => write!(f, "process:{id}"),
            Self::Principal(name) => write!(f, "principal:{name}"),
            Self::User(name) => write!(f, "user:{name}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// What an incident is about: the cloud principal, else the pod's owner, else the container, else the login session's
/// leader, else the node and unit (or cgroup path).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, ToSchema)]
pub struct Entity {
    /// `principal`, `owner`, `container`, `session`, `unit`, `cgroup`, `node`.
    pub kind: Name,
    /// Which one; unique together with the node.
    pub id: Name,
    /// The machine, cluster or account.
    pub node: Name,
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} on {}", self.kind, self.id, self.node)
    }
}

/// Any event, read field by field.
pub trait Event {
    /// Id, class, source, node and times.
    fn head(&self) -> &EventHead;
    /// Which rules can match.
    fn logsource(&self) -> &LogSource;
    /// A field under Sigma's name, or under quell's own without the `event.` prefix (`process.stdio.socket`).
    /// `None`: this event has no such field.
    fn sigma(&self, field: &str) -> Option<Field<'_>>;
    /// A field under quell's own name without the `event.` prefix: known but absent is `Some(Null)`, unknown `None`.
    fn own(&self, path: &str) -> Option<Field<'_>>;
    /// Every Sigma field's name and value: for keyword rules and recordings.
    fn sigma_fields(&self, each: &mut dyn FnMut(&str, Field<'_>));
    /// Who did it.
    fn subject(&self) -> Subject;
    /// Who bore the process that did it, where that is known.
    fn parent_id(&self) -> Option<ProcessId> {
        if let Some(Field::Str(text)) = self.own("process.parent.id") { text.parse().ok() } else { None }
    }
    /// What an incident is about.
    fn entity(&self) -> Entity;
    /// The whole event, enriched: what a recording keeps and playbooks read.
    fn to_owned(&self) -> OwnedEvent;
    /// The same in parts, for who keeps many events. What would have to be searched for is told only where it was found.
    fn tell(&self, to: &mut dyn Teller) {
        self.to_owned().tell_all(to);
    }
}

/// The version of the recorded form.
pub const EVENT_VERSION: u16 = 1;

/// An event that stands alone: one line of a recording.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct OwnedEvent {
    /// [`EVENT_VERSION`] when written.
    pub v: u16,
    /// What every event has.
    #[serde(flatten)]
    pub head: EventHead,
    /// Which rules can match.
    pub logsource: LogSource,
    /// Sigma's names, flat (foreign records: dotted access walks the nesting).
    pub sigma: serde_json::Map<String, Json>,
    /// quell's own names, nested, without the `event.` prefix.
    pub own: serde_json::Map<String, Json>,
    /// Who did it.
    pub subject: Subject,
    /// What an incident is about.
    pub entity: Entity,
}

impl OwnedEvent {
    /// What a playbook's `event` is: quell's own names, with id, class, source, node, time, subject and entity.
    #[must_use]
    pub fn for_playbooks(&self) -> Json {
        let mut event = self.own.clone();
        if self.head.class == Class::Record && !event.contains_key("raw") {
            event.insert("raw".into(), Json::Object(self.sigma.clone()));
        }
        event.insert("id".into(), self.head.id.as_str().into());
        event.insert("class".into(), self.head.class.as_str().into());
        event.insert("source".into(), self.head.source.as_str().into());
        event.insert("node".into(), self.head.node.as_str().into());
        event.insert("time".into(), self.head.at.wall.to_string().into());
        event.insert("subject".into(), self.subject.to_string().into());
        event.insert("entity".into(), self.entity.to_string().into());
        for path in fields::known(self.head.class) {
            fields::ensure_known(&mut event, path);
        }
        Json::Object(event)
    }
}

/// Walks `a.b.c` through nested maps; a key that itself contains dots is tried first.
fn walk<'a>(map: &'a serde_json::Map<String, Json>, path: &str) -> Option<&'a Json> {
    if let Some(found) = map.get(path) {
        return Some(found);
    }
    path.match_indices('.').find_map(|(at, _)| match map.get(&path[..at]) {
        Some(Json::Object(inner)) => walk(inner, &path[at + 1..]),
        _ => None,
    })
}

/// Walks `a.b.c` where a list stands in the way: through each of its members, as Sigma reads nested records.
fn gather<'a>(json: &'a Json, path: &str, depth: u8, found: &mut Vec<&'a Json>) {
    match json {
        Json::Array(list) if depth > 0 => list.iter().for_each(|member| gather(member, path, depth - 1, found)),
        Json::Object(map) if depth > 0 => {
            if let Some(value) = map.get(path) {
                found.push(value);
                return;
            }
            for (at, _) in path.match_indices('.') {
                if let Some(inner) = map.get(&path[..at]) {
                    gather(inner, &path[at + 1..], depth - 1, found);
                    return;
                }
            }
        }
        _ => {}
    }
}

/// How many maps and lists a field's name may lead through.
const DEPTH: u8 = 32;

impl OwnedEvent {
    /// What every event has, under quell's own names.
    fn of_head(&self, path: &str) -> Option<Field<'_>> {
        let text = |text: String| Some(Field::Str(Cow::Owned(text)));
        match path {
            "id" => Some(Field::text(self.head.id.as_str())),
            "class" => Some(Field::text(self.head.class.as_str())),
            "source" => Some(Field::text(self.head.source.as_str())),
            "node" => Some(Field::text(self.head.node.as_str())),
            "time" => text(self.head.at.wall.to_string()),
            "subject" => text(self.subject.to_string()),
            "entity" => text(self.entity.to_string()),
            _ => None,
        }
    }

    /// A foreign record's field behind a list: one value, or all that the list's members have.
    fn behind_list(&self, path: &str) -> Option<Field<'_>> {
        let (at, first) = path.match_indices('.').find_map(|(at, _)| Some((at, self.sigma.get(&path[..at])?)))?;
        let mut found = Vec::new();
        gather(first, &path[at + 1..], DEPTH, &mut found);
        match found.len() {
            0 => None,
            1 => Some(Field::from_json(found[0])),
            _ => Some(Field::List(found.into_iter().map(Field::from_json).collect())),
        }
    }
}

impl Event for OwnedEvent {
    fn head(&self) -> &EventHead {
        &self.head
    }

    fn logsource(&self) -> &LogSource {
        &self.logsource
    }

    fn sigma(&self, field: &str) -> Option<Field<'_>> {
        walk(&self.sigma, field)
            .map(Field::from_json)
            .or_else(|| if self.head.class == Class::Record { self.behind_list(field) } else { None })
            .or_else(|| self.own(field))
    }

    fn own(&self, path: &str) -> Option<Field<'_>> {
        if self.head.class == Class::Record && !self.own.contains_key("raw") {
            // A foreign record is its own raw form, kept once.
            if path == "raw" {
                let parts = self.sigma.iter().map(|(k, v)| (Cow::Borrowed(k.as_str()), Field::from_json(v)));
                return Some(Field::Map(parts.collect()));
            }
            if let Some(found) = path.strip_prefix("raw.").and_then(|rest| walk(&self.sigma, rest)) {
                return Some(Field::from_json(found));
            }
        }
        match walk(&self.own, path) {
            Some(found) => Some(Field::from_json(found)),
            None => self.of_head(path).or_else(|| fields::is_known(self.head.class, path).then_some(Field::Null)),
        }
    }

    fn sigma_fields(&self, each: &mut dyn FnMut(&str, Field<'_>)) {
        for (name, value) in &self.sigma {
            each(name, Field::from_json(value));
        }
    }

    fn subject(&self) -> Subject {
        self.subject.clone()
    }

    fn entity(&self) -> Entity {
        self.entity.clone()
    }

    fn to_owned(&self) -> OwnedEvent {
        self.clone()
    }

    fn tell(&self, to: &mut dyn Teller) {
        self.tell_all(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_every_event_has_can_be_asked_of_one_that_stands_alone() {
        let at = json!({ "wall": "2026-01-01T00:00:00Z", "boot_ns": 0 });
        let event: OwnedEvent = serde_json::from_value(json!({
            "v": 1, "id": "e-1", "class": "record", "source": "log", "node": "n", "at": at, "seen": at, "logsource": {},
            "sigma": { "source": "its own" }, "own": {}, "subject": "unknown",
            "entity": { "kind": "node", "id": "n", "node": "n" },
        }))
        .unwrap();
        let shown = event.for_playbooks();
        for path in ["id", "class", "source", "node", "time", "subject", "entity"] {
            assert_eq!(event.own(path).map(|field| field.to_json()), Some(shown[path].clone()), "{path}");
        }
        assert_eq!(event.own("actor"), Some(Field::Null));
        assert_eq!(event.sigma("source"), Some(Field::text("its own")), "a foreign record's name goes first");
        assert_eq!(event.sigma("node"), Some(Field::text("n")));
    }
}
