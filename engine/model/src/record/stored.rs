//! Values that are too large for their record: they lie beside it in the store, once each, and the record refers to them by
//! their sum.
//!
//! ```text
//! StepFinished.output { "state": "up", "files": [ten thousand] } ─▶ { "state": "up", "files": { "$stored": { hash, bytes, is } } }
//!                                                                   + Content { hash, the list's JSON }
//! ```
//!
//! Owns which places of which bodies may refer, and how. Never reads or writes the store. Keeps true: what stands in such a place
//! and looks like a reference is one: a value that only looks like it is put aside whatever its size, so that nobody's output refers
//! to another's.

use crate::Json;
use crate::action::Plan;
use crate::hash::Hash;
use crate::time::Stamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

use super::Body;

/// The one key of a value that refers.
pub const STORED: &str = "$stored";

/// So many bytes a reference has at most.
const REFERENCE: usize = 160;

/// What a value is that lies apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StoredAs {
    /// A list.
    List,
    /// A map.
    Map,
    /// A text.
    Text,
    /// A number, a truth or nothing.
    Other,
}

/// A reference to a value that lies apart.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// The sum of its JSON.
    pub hash: Hash,
    /// Bytes of its JSON.
    pub bytes: u64,
    /// What it is.
    pub is: StoredAs,
    /// Of a list, how many items; of a map, how many keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<u64>,
}

impl Stored {
    /// The reference that this value is, if it is one. Meant for places where references may stand.
    #[must_use]
    pub fn of(value: &Json) -> Option<Self> {
        let map = value.as_object().filter(|map| map.len() == 1)?;
        Self::deserialize(map.get(STORED)?).ok()
    }

    /// As it stands in a record.
    #[must_use]
    pub fn to_json(&self) -> Json {
        serde_json::json!({ STORED: self })
    }
}

/// `list of 10000, 1.2 MB, ba7816bf8f01`
impl std::fmt::Display for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.is, self.items) {
            (StoredAs::List, Some(items)) => write!(f, "list of {items}, ")?,
            (StoredAs::Map, Some(items)) => write!(f, "map of {items}, ")?,
            (StoredAs::Text, _) => f.write_str("text, ")?,
            _ => {}
        }
        write!(f, "{} bytes, {}", self.bytes, self.hash.short(12))
    }
}

/// A value that lies apart, on its way into the store.
#[derive(Clone, PartialEq, Debug)]
pub struct Content {
    /// How records refer to it.
    pub stored: Stored,
    /// What it is.
    pub value: Arc<Json>,
    /// Its JSON.
    pub text: Arc<[u8]>,
}

impl Content {
    fn of(value: Json) -> Self {
        let text = serde_json::to_vec(&value).expect("a JSON value has JSON");
        let (is, items) = match &value {
            Json::Array(list) => (StoredAs::List, Some(list.len() as u64)),
            Json::Object(map) => (StoredAs::Map, Some(map.len() as u64)),
            Json::String(_) => (StoredAs::Text, None),
            _ => (StoredAs::Other, None),
        };
        let stored = Stored { hash: Hash::of(&text), bytes: text.len() as u64, is, items };
        Self { stored, value: Arc::new(value), text: text.into() }
    }
}

/// A record before it has a number.
#[derive(Clone, PartialEq, Debug)]
pub struct NewRecord {
    /// When it happened.
    pub at: Stamp,
    /// What it says.
    pub body: Body,
    /// What it refers to: written with it, or not at all.
    pub contents: Vec<Content>,
}

impl NewRecord {
    /// This, now.
    pub fn new(at: Stamp, body: impl Into<Body>) -> Self {
        Self { at, body: body.into(), contents: Vec::new() }
    }

    /// Puts aside what has more than `inline` bytes as JSON, of what a step was given, planned or gave.
    #[must_use]
    pub fn with_large_apart(mut self, inline: usize) -> Self {
        let contents = &mut self.contents;
        self.body.visit_places(&mut |place| put_apart(place, inline, contents));
        self
    }
}

impl Body {
    /// What this refers to.
    #[must_use]
    pub fn stored(&self) -> Vec<Stored> {
        let mut all = Vec::new();
        for place in self.places() {
            let within = place.as_object().into_iter().flat_map(|map| map.values());
            match Stored::of(place) {
                Some(stored) => all.push(stored),
                None => all.extend(within.filter_map(Stored::of)),
            }
        }
        all
    }

    /// Where references may stand: each such value itself, or a value of the map that it is.
    fn places(&self) -> Vec<&Json> {
        fn of_plan(plan: &Plan) -> [&Json; 2] {
            [&plan.before, &plan.predicted]
        }
        match self {
            Self::RunStarted(body) => vec![&body.inputs],
            Self::SubRunStarted(body) => vec![&body.inputs],
            Self::StepPlanned(body) => [&body.input].into_iter().chain(of_plan(&body.plan)).collect(),
            Self::StepIntended(body) => [&body.input].into_iter().chain(of_plan(&body.plan)).collect(),
            Self::StepProgressed(body) => vec![&body.mark],
            Self::StepFinished(body) => vec![&body.output],
            Self::QuestionAsked(body) => {
                [&body.input].into_iter().chain(body.plan.iter().flat_map(|plan| of_plan(plan))).collect()
            }
            Self::UndoIntended(body) => of_plan(&body.plan).into(),
            Self::UndoFinished(body) => vec![&body.output],
            Self::RunFinished(body) => vec![&body.outputs],
            _ => Vec::new(),
        }
    }

    /// The same, to be changed.
    pub fn visit_places(&mut self, each: &mut dyn FnMut(&mut Json)) {
        fn of_plan(plan: &mut Plan, each: &mut dyn FnMut(&mut Json)) {
            each(&mut plan.before);
            each(&mut plan.predicted);
        }
        match self {
            Self::RunStarted(body) => each(&mut body.inputs),
            Self::SubRunStarted(body) => each(&mut body.inputs),
            Self::StepPlanned(body) => {
                each(&mut body.input);
                of_plan(&mut body.plan, each);
            }
            Self::StepIntended(body) => {
                each(&mut body.input);
                of_plan(&mut body.plan, each);
            }
            Self::StepProgressed(body) => each(&mut body.mark),
            Self::StepFinished(body) => each(&mut body.output),
            Self::QuestionAsked(body) => {
                each(&mut body.input);
                if let Some(plan) = &mut body.plan {
                    of_plan(plan, each);
                }
            }
            Self::UndoIntended(body) => of_plan(&mut body.plan, each),
            Self::UndoFinished(body) => each(&mut body.output),
            Self::RunFinished(body) => each(&mut body.outputs),
            _ => {}
        }
    }
}

/// Gives back what lies apart in a value that stands where references may.
///
/// # Errors
/// The first that `find` has.
pub fn made_whole<E>(place: &mut Json, find: &mut dyn FnMut(&Stored) -> Result<Json, E>) -> Result<(), E> {
    if let Some(stored) = Stored::of(place) {
        *place = find(&stored)?;
        return Ok(());
    }
    // What comes in is a value as it was: nothing in it refers.
    for value in place.as_object_mut().into_iter().flat_map(|map| map.values_mut()) {
        if let Some(stored) = Stored::of(value) {
            *value = find(&stored)?;
        }
    }
    Ok(())
}

/// Whether a value that stands where references may refers to anything.
#[must_use]
pub fn refers(place: &Json) -> bool {
    let within = place.as_object().into_iter().flat_map(|map| map.values());
    Stored::of(place).is_some() || within.into_iter().any(|value| Stored::of(value).is_some())
}

/// Whether a value has more than so many bytes as JSON; it looks at no more of it than it must.
#[must_use]
pub fn is_larger(value: &Json, than: usize) -> bool {
    room_after(value, than).is_none()
}

/// What is left of so many bytes after a value's JSON; none: it has more.
#[must_use]
pub fn room_after(value: &Json, room: usize) -> Option<usize> {
    match value {
        Json::Null | Json::Bool(true) => room.checked_sub(4),
        Json::Bool(false) => room.checked_sub(5),
        Json::Number(number) => room.checked_sub(number.to_string().len()),
        Json::String(text) => room.checked_sub(text_bytes(text, room)),
        Json::Array(list) => {
            let room = room.checked_sub(1 + list.len().max(1))?;
            list.iter().try_fold(room, |room, value| room_after(value, room))
        }
        Json::Object(map) => {
            let room = room.checked_sub(1 + map.len().max(1))?;
            map.iter()
                .try_fold(room, |room, (key, value)| room_after(value, room.checked_sub(text_bytes(key, room) + 1)?))
        }
    }
}

/// Bytes of a text's JSON. What has more than there is room for is not looked at: escapes only add to it.
fn text_bytes(text: &str, room: usize) -> usize {
    if text.len() > room {
        return text.len();
    }
    let more = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 1,
        0..=31 => 5,
        _ => 0,
    };
    2 + text.len() + text.bytes().map(more).sum::<usize>()
}

/// Puts aside a value, or what is large in the map that it is.
fn put_apart(place: &mut Json, inline: usize, contents: &mut Vec<Content>) {
    let looks_like_it = |value: &Json| value.as_object().is_some_and(|map| map.contains_key(STORED));
    let mut put = |value: &mut Json| {
        let content = Content::of(value.take());
        *value = content.stored.to_json();
        if contents.iter().all(|known| known.stored.hash != content.stored.hash) {
            contents.push(content);
        }
    };
    if looks_like_it(place) {
        return put(place);
    }
    if !is_larger(place, inline) {
        let values = place.as_object_mut().into_iter().flat_map(|map| map.values_mut());
        return values.filter(|value| looks_like_it(value)).for_each(put);
    }
    let is_apart = |value: &Json| looks_like_it(value) || is_larger(value, inline);
    let Some(map) = place.as_object() else { return put(place) };
    // A map of many values that are not large themselves, or of many that are, goes as a whole.
    let room = map.iter().try_fold(inline, |room, (key, value)| {
        let room = room.checked_sub(text_bytes(key, room) + 2)?;
        if is_apart(value) { room.checked_sub(REFERENCE) } else { room_after(value, room) }
    });
    if room.is_none() {
        return put(place);
    }
    place.as_object_mut().into_iter().flat_map(|map| map.values_mut()).filter(|value| is_apart(value)).for_each(put);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RunFinished;
    use crate::record::RunState;
    use proptest::prelude::*;
    use serde_json::json;

    fn finished(outputs: Json) -> NewRecord {
        let body = RunFinished { state: RunState::Succeeded, outputs, summary: String::new() };
        NewRecord::new(Stamp { wall: jiff::Timestamp::UNIX_EPOCH, boot_ns: 1 }, body)
    }

    fn outputs(record: &NewRecord) -> &Json {
        match &record.body {
            Body::RunFinished(finished) => &finished.outputs,
            _ => panic!("it is another"),
        }
    }

    fn back(record: &NewRecord) -> Json {
        let mut value = outputs(record).clone();
        let find = &mut |stored: &Stored| {
            let found = record.contents.iter().find(|content| content.stored == *stored);
            found.map(|content| Json::clone(&content.value)).ok_or("it is missing")
        };
        made_whole(&mut value, find).unwrap();
        value
    }

    #[test]
    fn what_is_small_stays_as_it_is() {
        let value = json!({ "killed": ["a", "b"], "count": 2 });
        let record = finished(value.clone()).with_large_apart(1024);
        assert_eq!((outputs(&record), record.contents.len()), (&value, 0));
        assert_eq!(record.body.stored(), []);
    }

    #[test]
    fn of_a_map_only_what_is_large_goes_and_the_same_goes_once() {
        let list = json!(vec!["x".repeat(20); 100]);
        let value = json!({ "state": "up", "files": list, "again": list });
        let record = finished(value.clone()).with_large_apart(1024);
        assert_eq!(outputs(&record)["state"], "up");
        let stored = Stored::of(&outputs(&record)["files"]).unwrap();
        assert_eq!((stored.is, stored.items, stored.bytes), (StoredAs::List, Some(100), 2301));
        assert_eq!(outputs(&record)["files"], outputs(&record)["again"]);
        assert_eq!((record.contents.len(), record.body.stored()), (1, vec![stored.clone(), stored.clone()]));
        assert_eq!(stored.hash, Hash::of(list.to_string().as_bytes()), "the sum that `sha256sum` prints of its JSON");
        assert_eq!(back(&record), value);
    }

    #[test]
    fn a_map_of_many_small_values_goes_whole() {
        let value: Json =
            (0..200).map(|n| (format!("key{n}"), json!("value"))).collect::<serde_json::Map<_, _>>().into();
        let record = finished(value.clone()).with_large_apart(1024);
        assert_eq!(Stored::of(outputs(&record)).unwrap().items, Some(200));
        assert_eq!(back(&record), value);
    }

    #[test]
    fn what_only_looks_like_a_reference_refers_to_itself_alone() {
        let other = Content::of(json!("somebody else's"));
        let forged = other.stored.to_json();
        for value in [forged.clone(), json!({ "mine": forged }), json!({ STORED: 7, "more": 1 })] {
            let record = finished(value.clone()).with_large_apart(1024);
            let named: Vec<Hash> = record.body.stored().into_iter().map(|stored| stored.hash).collect();
            assert_eq!(named.len(), 1, "{value}");
            assert!(!named.contains(&other.stored.hash), "{value}");
            assert_eq!(back(&record), value);
        }
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<f64>().prop_map(Json::from),
            ".{0,12}".prop_map(Json::from),
            "[\\x00-\\x1f\"]{0,4}".prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
                prop::collection::vec(("[a-z\"$]{0,6}|\\$stored", inner), 0..6)
                    .prop_map(|pairs| Json::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_size_is_that_of_the_json(value in any_json()) {
            let bytes = value.to_string().len();
            prop_assert!(!is_larger(&value, bytes), "{}", bytes);
            prop_assert!(is_larger(&value, bytes - 1), "{}", bytes);
        }

        #[test]
        fn whatever_goes_comes_back_and_what_stays_is_small(value in any_json(), inline in 64..200usize) {
            let record = finished(value.clone()).with_large_apart(inline);
            prop_assert_eq!(&back(&record), &value);
            // What only looks like a reference becomes one where all is small, too.
            let forged = value.to_string().matches(STORED).count();
            prop_assert!(!is_larger(outputs(&record), inline.max(REFERENCE) + REFERENCE * forged), "{}", outputs(&record));
        }
    }
}
