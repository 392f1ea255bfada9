//! What serde sees of a YAML document: every key and value with its place, nothing lost.
//!
//! Owns the one way by which YAML comes in, for definitions and for rules. Never decides what a document means. Keeps true:
//! nothing nests deeper than [`DEEPEST`], also not by aliases, which the parser's own bound does not count.

use super::yaml::DEEPEST;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

thread_local! {
    /// How many lists and maps of this thread's document are being read.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// One of them; left when it is dropped.
struct Level;

impl Level {
    fn enter<E: Error>() -> Result<Self, E> {
        let depth = DEPTH.get() + 1;
        if depth > DEEPEST {
            return Err(E::custom(format!("it nests deeper than {DEEPEST} levels")));
        }
        DEPTH.set(depth);
        Ok(Self)
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get().saturating_sub(1));
    }
}

/// A value with the places of what is in it.
#[derive(Debug)]
pub(crate) enum Raw {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Spanned<Raw>>),
    /// A map in the order of the file; keys may repeat.
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl Raw {
    /// A scalar's text; none of a list or a map.
    pub(crate) fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Null => Some(Cow::Borrowed("")),
            Self::Bool(b) => Some(Cow::Owned(b.to_string())),
            Self::Int(n) => Some(Cow::Owned(n.to_string())),
            Self::Float(n) => Some(Cow::Owned(n.to_string())),
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::List(_) | Self::Map(_) => None,
        }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_unit<E>(self) -> Result<Raw, E> {
                Ok(Raw::Null)
            }

            fn visit_none<E>(self) -> Result<Raw, E> {
                Ok(Raw::Null)
            }

            fn visit_bool<E>(self, b: bool) -> Result<Raw, E> {
                Ok(Raw::Bool(b))
            }

            fn visit_i64<E>(self, n: i64) -> Result<Raw, E> {
                Ok(Raw::Int(n))
            }

            fn visit_u64<E>(self, n: u64) -> Result<Raw, E> {
                Ok(i64::try_from(n).map_or(Raw::Float(n as f64), Raw::Int))
            }

            fn visit_f64<E>(self, n: f64) -> Result<Raw, E> {
                Ok(Raw::Float(n))
            }

            fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
                Ok(Raw::Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Raw, E> {
                Ok(Raw::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
                let _level = Level::enter()?;
                let mut list = Vec::new();
                while let Some(item) = seq.next_element()? {
                    list.push(item);
                }
                Ok(Raw::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let _level = Level::enter()?;
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Raw::Map(entries))
            }
        }
        from.deserialize_any(Any)
    }
}
