//! An event told in parts: for what keeps many of them and can afford neither JSON nor a copy while it listens.
//!
//! Owns the shapes of the parts, the trait of a listener, and the listener that makes an [`OwnedEvent`] of them again.
//! What several events share (an image, a parent, a cgroup) is told under a token, and only to who does not know it yet.
//! Keeps true: gathering what an event tells gives what the event is.

use crate::event::{EVENT_VERSION, Entity, Event, Field, OwnedEvent};
use crate::ids::Name;
use crate::process::ProcessId;
use crate::time::Stamp;
use crate::{Json, event::EventHead};
use jiff::Timestamp;
use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;

/// One value, as an event has it at hand.
#[derive(Clone, PartialEq, Debug)]
pub enum Told<'a> {
    /// Known, and absent.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number that is no i64.
    Big(u64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(Cow<'a, str>),
    /// A process: its identity's text.
    Process(ProcessId),
    /// A moment on the boot clock: the wall clock's text for it, by the event's own two times.
    Moment(u64),
    /// Several.
    List(Vec<Told<'a>>),
    /// Named parts, in order.
    Map(Vec<(Cow<'a, str>, Told<'a>)>),
}

impl<'a> Told<'a> {
    /// Text, borrowed.
    #[must_use]
    pub fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// JSON, borrowed.
    #[must_use]
    pub fn from_json(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(b) => Self::Bool(*b),
            Json::Number(n) => match (n.as_i64(), n.as_u64()) {
                (Some(n), _) => Self::Int(n),
                (None, Some(n)) => Self::Big(n),
                (None, None) => n.as_f64().map_or(Self::Null, Self::Float),
            },
            Json::String(s) => Self::text(s),
            Json::Array(list) => Self::List(list.iter().map(Self::from_json).collect()),
            Json::Object(map) => {
                Self::Map(map.iter().map(|(k, v)| (Cow::Borrowed(k.as_str()), Self::from_json(v))).collect())
            }
        }
    }

    /// As JSON, in an event that happened at `at`.
    #[must_use]
    pub fn to_json(&self, at: Stamp) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(b) => Json::Bool(*b),
            Self::Int(n) => Json::from(*n),
            Self::Big(n) => Json::from(*n),
            Self::Float(n) => Json::from(*n),
            Self::Text(s) => Json::String(s.clone().into_owned()),
            Self::Process(id) => Json::String(id.to_string()),
            Self::Moment(boot_ns) => Json::String(moment(at, *boot_ns).to_string()),
            Self::List(list) => Json::Array(list.iter().map(|one| one.to_json(at)).collect()),
            Self::Map(map) => Json::Object(map.iter().map(|(k, v)| (k.clone().into_owned(), v.to_json(at))).collect()),
        }
    }
}

impl<'a> From<Field<'a>> for Told<'a> {
    fn from(field: Field<'a>) -> Self {
        match field {
            Field::Null => Self::Null,
            Field::Bool(b) => Self::Bool(b),
            Field::Int(n) => Self::Int(n),
            Field::Str(s) => Self::Text(s),
            Field::List(list) => Self::List(list.into_iter().map(Into::into).collect()),
            Field::Map(map) => Self::Map(map.into_iter().map(|(k, v)| (k, v.into())).collect()),
        }
    }
}

/// The wall clock's time at a moment of the boot clock, by the distance of the two in `at`.
fn moment(at: Stamp, boot_ns: u64) -> Timestamp {
    let offset = at.wall.as_nanosecond() - i128::from(at.boot_ns);
    Timestamp::from_nanosecond(offset + i128::from(boot_ns)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Who listens to an event.
pub trait Teller {
    /// A Sigma field.
    fn sigma(&mut self, name: &str, value: Told<'_>);
    /// A field under quell's own name; dots lead into groups.
    fn own(&mut self, path: &str, value: Told<'_>);
    /// A group or field under quell's own name, which is taken as it stands.
    fn whole(&mut self, name: &str, value: Told<'_>);
    /// What an incident about it is about.
    fn entity(&mut self, kind: &str, id: &str, node: &str);
    /// Fields that other events may share. Equal tokens stand for equal fields; `tell` is asked where it is not known.
    fn shared(&mut self, token: Token, tell: &mut dyn FnMut(&mut dyn Teller));
}

/// A sum over all that a shared part depends on. Not to be foreseen from outside: each process has a seed of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token(pub u64);

fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    (wide as u64) ^ ((wide >> 64) as u64)
}

impl Token {
    /// The beginning; `kind` tells apart what is shared.
    #[must_use]
    pub fn new(kind: u64) -> Self {
        static SEED: OnceLock<u64> = OnceLock::new();
        let seed = SEED.get_or_init(|| RandomState::new().build_hasher().finish() | 1);
        Self(fold(kind ^ 0x9e37_79b9_7f4a_7c15, *seed))
    }

    /// With a number.
    #[must_use]
    pub fn with(self, number: u64) -> Self {
        Self(fold(self.0.rotate_left(23) ^ number, 0xd6e8_feb8_6659_fd93).wrapping_add(number))
    }

    /// With a text.
    #[must_use]
    pub fn with_text(self, text: &str) -> Self {
        self.with_bytes(text.as_bytes())
    }

    /// With some bytes.
    #[must_use]
    pub fn with_bytes(mut self, bytes: &[u8]) -> Self {
        let (chunks, rest) = bytes.as_chunks::<8>();
        for chunk in chunks {
            self = self.with(u64::from_le_bytes(*chunk));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.with(u64::from_le_bytes(last)).with(bytes.len() as u64)
    }
}

/// Puts a value at `a.b.c`, making the groups on the way.
pub fn put(map: &mut serde_json::Map<String, Json>, path: &str, value: Json) {
    match path.split_once('.') {
        None => {
            map.insert(path.to_owned(), value);
        }
        Some((group, rest)) => {
            let inner = map.entry(group).or_insert_with(|| Json::Object(serde_json::Map::new()));
            if let Json::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

/// A listener that makes an event of what it hears.
#[derive(Debug)]
pub struct Gather {
    at: Stamp,
    sigma: serde_json::Map<String, Json>,
    own: serde_json::Map<String, Json>,
    entity: Option<Entity>,
}

impl Gather {
    /// For an event that happened then.
    #[must_use]
    pub fn new(at: Stamp) -> Self {
        Self { at, sigma: serde_json::Map::new(), own: serde_json::Map::new(), entity: None }
    }

    /// The event.
    #[must_use]
    pub fn into_event(
        self,
        head: EventHead,
        logsource: crate::event::LogSource,
        subject: crate::event::Subject,
    ) -> OwnedEvent {
        let node = || Entity { kind: "node".into(), id: head.node.clone(), node: head.node.clone() };
        let entity = self.entity.unwrap_or_else(node);
        OwnedEvent { v: EVENT_VERSION, head, logsource, sigma: self.sigma, own: self.own, subject, entity }
    }

    /// What an event tells, as an event.
    #[must_use]
    pub fn of(event: &dyn Event) -> OwnedEvent {
        let head = event.head().clone();
        let mut gather = Self::new(head.at);
        event.tell(&mut gather);
        gather.into_event(head, event.logsource().clone(), event.subject())
    }
}

impl Teller for Gather {
    fn sigma(&mut self, name: &str, value: Told<'_>) {
        self.sigma.insert(name.to_owned(), value.to_json(self.at));
    }

    fn own(&mut self, path: &str, value: Told<'_>) {
        put(&mut self.own, path, value.to_json(self.at));
    }

    fn whole(&mut self, name: &str, value: Told<'_>) {
        self.own.insert(name.to_owned(), value.to_json(self.at));
    }

    fn entity(&mut self, kind: &str, id: &str, node: &str) {
        self.entity = Some(Entity { kind: Name::from(kind), id: Name::from(id), node: Name::from(node) });
    }

    fn shared(&mut self, _: Token, tell: &mut dyn FnMut(&mut dyn Teller)) {
        tell(self);
    }
}

impl OwnedEvent {
    /// Every field as it stands.
    pub(crate) fn tell_all(&self, to: &mut dyn Teller) {
        for (name, value) in &self.sigma {
            to.sigma(name, Told::from_json(value));
        }
        for (name, value) in &self.own {
            to.whole(name, Told::from_json(value));
        }
        to.entity(self.entity.kind.as_str(), self.entity.id.as_str(), self.entity.node.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Class, LogSource, Subject};
    use serde_json::json;

    #[test]
    fn what_an_owned_event_tells_is_what_it_is() {
        let at = Stamp { wall: Timestamp::from_nanosecond(1_700_000_000_123_456_789).unwrap(), boot_ns: 5 };
        let map = |json: Json| json.as_object().unwrap().clone();
        let event = OwnedEvent {
            v: EVENT_VERSION,
            head: EventHead {
                id: "e".into(),
                class: Class::Record,
                source: "s".into(),
                node: "n".into(),
                at,
                seen: at,
            },
            logsource: LogSource::default(),
            sigma: map(json!({ "a.b": 1.5, "big": u64::MAX, "list": [null, { "x": "y" }] })),
            own: map(json!({ "cloud": { "region": "eu" }, "odd.name": true })),
            subject: Subject::Unknown,
            entity: Entity { kind: "principal".into(), id: "p".into(), node: "a".into() },
        };
        assert_eq!(Gather::of(&event), event);
    }

    #[test]
    fn a_moment_is_reckoned_by_the_event_s_own_times() {
        let at = Stamp { wall: Timestamp::from_second(1000).unwrap(), boot_ns: 10_000_000_000 };
        assert_eq!(Told::Moment(7_000_000_000).to_json(at), json!("1970-01-01T00:16:37Z"));
        assert_eq!(
            Told::Moment(u64::MAX).to_json(at),
            json!(Timestamp::from_nanosecond(990_000_000_000 + i128::from(u64::MAX)).unwrap().to_string())
        );
    }

    #[test]
    fn tokens_differ_where_what_they_are_of_differs() {
        let token = |text: &str| Token::new(1).with_text(text);
        let all = ["", "a", "b", "aaaaaaaa", "aaaaaaaaa", "aaaaaaaa\0", "baaaaaaa", "\0"].map(token);
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| other != one), "{at}");
        }
        assert_ne!(Token::new(1), Token::new(2));
        assert_ne!(Token::new(1).with(1).with(2), Token::new(1).with(2).with(1));
    }
}
