//! JSON ⇄ the script engine's values. JSON's `null` is Rhai's `()`.
//!
//! Only what an expression names is converted: [`Wanted`] holds the paths.

use super::compiled::Segment;
use super::moment::{Moment, Span};
use super::names::{Names, Then};
use crate::playbook::expression::ExpressionError;
use quell_model::{Json, fields};
use rhai::{Dynamic, Map};
use std::collections::BTreeMap;

/// Which parts of a value an expression reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// All of it.
    whole: bool,
    /// Or these.
    parts: BTreeMap<String, Wanted>,
}

/// Names that values have as properties of their own.
const OWN_PROPERTIES: &[&str] = &["len", "is_empty", "chars", "bytes", "tag"];

impl Wanted {
    /// What the names read, by variable.
    pub(crate) fn of(names: &Names<'_>) -> BTreeMap<String, Self> {
        let mut roots: BTreeMap<String, Self> = BTreeMap::new();
        for used in &names.uses {
            let mut at = roots.entry(used.root().to_owned()).or_default();
            let mut whole = true;
            for part in &used.parts[1..] {
                if OWN_PROPERTIES.contains(&part.name) {
                    break;
                }
                at = at.parts.entry(part.name.to_owned()).or_default();
            }
            whole &= used.then == Then::Nothing || matches!(used.then, Then::Call(_) | Then::Index);
            at.whole |= whole;
        }
        roots
    }

    /// Wants what another wants, too.
    pub(crate) fn add(&mut self, other: &Self) {
        self.whole |= other.whole;
        for (name, wanted) in &other.parts {
            self.parts.entry(name.clone()).or_default().add(wanted);
        }
    }

    /// Wants what stands at the end of a path, too.
    pub(crate) fn add_path(&mut self, path: &[Segment]) {
        match path.split_first() {
            Some((first, rest)) => self.parts.entry(first.name().to_owned()).or_default().add_path(rest),
            None => self.whole = true,
        }
    }

    /// Whether all of it is wanted.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// The names of the parts that are wanted.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &str> {
        self.parts.keys().map(String::as_str)
    }

    /// What is wanted of a part; none: nothing.
    pub(crate) fn part(&self, name: &str) -> Option<&Self> {
        const WHOLE: &Wanted = &Wanted { whole: true, parts: BTreeMap::new() };
        if self.whole { Some(WHOLE) } else { self.parts.get(name) }
    }

    /// The wanted parts of `json`, which stands at `path` (`event.process`).
    pub(crate) fn pick(&self, json: &Json, path: &mut Vec<String>) -> Dynamic {
        self.pick_in(json, path, false)
    }

    /// The same, of what may stand in something that is wanted as a whole. Parts that are named are there all the same.
    fn pick_in(&self, json: &Json, path: &mut Vec<String>, whole: bool) -> Dynamic {
        let Json::Object(object) = json else { return to_dynamic(json) };
        let whole = whole || self.whole;
        let mut map = Map::new();
        if whole {
            let unnamed = object.iter().filter(|(name, _)| !self.parts.contains_key(*name));
            map.extend(unnamed.map(|(name, value)| (name.as_str().into(), to_dynamic(value))));
        }
        for (name, wanted) in &self.parts {
            path.push(name.clone());
            match object.get(name) {
                Some(value) => {
                    map.insert(name.as_str().into(), wanted.pick_in(value, path, whole));
                }
                None if may_be_absent(path) => {
                    map.insert(name.as_str().into(), Dynamic::UNIT);
                }
                None => {}
            }
            path.pop();
        }
        map.into()
    }
}

/// Whether a missing part at this path reads as `()`, and not as a mistake.
pub(crate) fn may_be_absent<S: AsRef<str>>(path: &[S]) -> bool {
    match path.first().map(AsRef::as_ref) {
        Some("event") => {
            let rest: Vec<&str> = path[1..].iter().map(AsRef::as_ref).collect();
            fields::is_known_anywhere(&rest.join("."))
        }
        Some("seen") if path.get(1).is_some_and(|part| part.as_ref() == "event") => may_be_absent(&path[1..]),
        Some("steps") if path.get(2).is_some_and(|part| part.as_ref() == "seen") => may_be_absent(&path[2..]),
        Some("steps") => path.len() <= 3,
        Some("detection" | "incident" | "run" | "seen") => path.len() <= 2,
        _ => false,
    }
}

/// Whether a path ends in what values have by themselves, so that walking JSON does not find it.
pub(crate) fn is_own_property(name: &str) -> bool {
    OWN_PROPERTIES.contains(&name)
}

/// A JSON value for a script.
pub(crate) fn to_dynamic(json: &Json) -> Dynamic {
    match json {
        Json::Null => Dynamic::UNIT,
        Json::Bool(b) => (*b).into(),
        Json::Number(n) => match n.as_i64() {
            Some(int) => int.into(),
            None => n.as_f64().map_or(Dynamic::UNIT, Dynamic::from_float),
        },
        Json::String(s) => s.as_str().into(),
        Json::Array(list) => Dynamic::from_array(list.iter().map(to_dynamic).collect()),
        Json::Object(map) => {
            let map: Map = map.iter().map(|(key, value)| (key.as_str().into(), to_dynamic(value))).collect();
            map.into()
        }
    }
}

/// How deep a value may nest: it is written into the journal, inside of a record, and no JSON is read again that is deeper
/// than 128 (serde_json's bound).
pub(crate) const DEEPEST: usize = 64;

/// What a script gave, as JSON.
pub(crate) fn to_json(value: Dynamic) -> Result<Json, ExpressionError> {
    below(value, 0)
}

/// The same, of a value that stands so deep in another.
fn below(value: Dynamic, depth: usize) -> Result<Json, ExpressionError> {
    if depth > DEEPEST {
        return Err(ExpressionError::new(format!("a value nests deeper than {DEEPEST}")));
    }
    if value.is_unit() {
        return Ok(Json::Null);
    }
    if let Ok(b) = value.as_bool() {
        return Ok(Json::Bool(b));
    }
    if let Ok(n) = value.as_int() {
        return Ok(Json::from(n));
    }
    if let Ok(n) = value.as_float() {
        return serde_json::Number::from_f64(n)
            .map(Json::Number)
            .ok_or_else(|| ExpressionError::new(format!("the number `{n}` has no written form")));
    }
    if let Ok(c) = value.as_char() {
        return Ok(Json::String(c.to_string()));
    }
    if let Some(moment) = value.read_lock::<Moment>() {
        return Ok(Json::String(moment.to_string()));
    }
    if let Some(span) = value.read_lock::<Span>() {
        return Ok(Json::String(span.to_string()));
    }
    if value.is_string() {
        return Ok(Json::String(value.into_string().unwrap_or_default()));
    }
    if value.is_array() {
        let list = value.into_array().unwrap_or_default();
        return list.into_iter().map(|item| below(item, depth + 1)).collect::<Result<_, _>>().map(Json::Array);
    }
    let name = value.type_name();
    match value.try_cast::<Map>() {
        Some(map) => {
            let pairs = map.into_iter().map(|(key, value)| Ok((key.to_string(), below(value, depth + 1)?)));
            pairs.collect::<Result<_, ExpressionError>>().map(Json::Object)
        }
        None => Err(ExpressionError::new(format!("it gives a `{name}`, which is no data"))),
    }
}
