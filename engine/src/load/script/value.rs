//! What a script gives, as values of the tree that the reader takes.
//!
//! Owns what has a form there and what has none: a step, a function. Whether a value is right where it stands is the
//! reader's to say.

use super::build::{Build, Fallible, Handle, Site, X};
use super::laid::Laid;
use crate::load::yaml::{DEEPEST, Entry, Node, Place, Value};
use crate::playbook::sandbox;
use rhai::{Dynamic, Map};

/// The key that YAML takes for something else.
const MERGE: &str = "<<";

impl Build {
    /// A value as the reader takes it. `at` is where it stands when nothing is known of it.
    pub(super) fn node(&mut self, value: Dynamic, laid: Option<&Laid>, at: Place, depth: usize) -> Fallible<Node> {
        let at = laid.map_or(at, |laid| laid.at);
        self.took(1, 0)?;
        if depth > DEEPEST {
            return Err(format!("a value nests deeper than {DEEPEST}").into());
        }
        let value = value.flatten();
        let known = if value.is_unit() {
            Some(Value::Null)
        } else if let Ok(b) = value.as_bool() {
            Some(Value::Bool(b))
        } else if let Ok(n) = value.as_int() {
            Some(Value::Int(n))
        } else if let Ok(n) = value.as_float() {
            if !n.is_finite() {
                self.wrong(at, "the number is not finite", "a finite number")?;
            }
            Some(Value::Float(n))
        } else {
            text(&value).map(Value::Text)
        };
        if let Some(known) = known {
            let text = if let Value::Text(text) = &known { text.len() } else { 0 };
            self.took(0, text)?;
            return Ok(Node { value: known, at });
        }
        if let Some(x) = value.read_lock::<X>() {
            let written = x.written();
            self.used(&x);
            self.took(0, written.len())?;
            return Ok(Node { value: Value::Text(written), at: x.at() });
        }
        if value.is_array() {
            let list = value.into_array().unwrap_or_default().into_iter().enumerate();
            let list = list.map(|(n, item)| self.node(item, laid.and_then(|laid| laid.item(n)), at, depth + 1));
            return Ok(Node { value: Value::List(list.collect::<Fallible<_>>()?), at });
        }
        let what = kind(&value);
        if let Some(map) = value.try_cast::<Map>() {
            return Ok(Node { value: Value::Map(self.entries(map, laid, at, depth)?), at });
        }
        self.wrong(
            at,
            format!("{what} stands where a value is meant"),
            "text, a number, true or false, a list or a map",
        )?;
        Ok(Node { value: Value::Null, at })
    }

    /// The entries of a map.
    fn entries(&mut self, map: Map, laid: Option<&Laid>, at: Place, depth: usize) -> Fallible<Vec<Entry>> {
        let entry = |(key, value): (_, Dynamic)| {
            let key = String::from(key);
            self.took(0, key.len())?;
            let (key_at, laid) = laid.and_then(|laid| laid.entry(&key)).unzip();
            if key == MERGE {
                self.wrong(
                    key_at.unwrap_or(at),
                    format!("`{MERGE}` cannot be a key: it is YAML's merge"),
                    "another key",
                )?;
            }
            let value = self.node(value, laid, key_at.unwrap_or(at), depth + 1)?;
            Ok(Entry { at: key_at.unwrap_or(at), key, value, merged: false })
        };
        map.into_iter().map(entry).collect()
    }

    /// The entries of a map that was given to a call; none, with a mistake, of anything else.
    pub(super) fn map(&mut self, value: Dynamic, site: &Site, laid: Option<&Laid>, what: &str) -> Fallible<Vec<Entry>> {
        let value = value.flatten();
        let (at, given) = (laid.map_or(site.at, |laid| laid.at), kind(&value));
        match value.try_cast::<Map>() {
            Some(map) => self.entries(map, laid, at, 0),
            None => {
                self.wrong(at, format!("{what} is {given}"), "a map: #{ … }")?;
                Ok(Vec::new())
            }
        }
    }

    /// A name that was given to a call; none, with a mistake, of what is no text.
    pub(super) fn word(
        &mut self,
        value: Dynamic,
        site: &Site,
        laid: Option<&Laid>,
        what: &str,
    ) -> Fallible<Option<(String, Place)>> {
        let value = value.flatten();
        let at = laid.map_or(site.at, |laid| laid.at);
        match value.is_string().then(|| text(&value)).flatten() {
            Some(word) => {
                self.took(1, word.len())?;
                Ok(Some((word, at)))
            }
            None => {
                self.wrong(at, format!("{what} is {}", kind(&value)), "text (in quotes)")?;
                Ok(None)
            }
        }
    }
}

/// What reads as text: text, a character, a moment, a span.
pub(super) fn text(value: &Dynamic) -> Option<String> {
    (value.is_string() || value.is_char()).then(|| value.to_string()).or_else(|| sandbox::time(value))
}

/// The word for a value's type.
pub(super) fn kind(value: &Dynamic) -> &'static str {
    if value.is::<Handle>() {
        "a step"
    } else if value.is::<X>() {
        "an expression"
    } else if value.is_fnptr() {
        "a function"
    } else {
        sandbox::kind(value)
    }
}
