//! An event as correlations count it: long texts are cut, and told apart by a sum of the whole.
//!
//! Owns the shortening. What is grouped by and what is counted is kept for a window's whole time, thousands of values for
//! each of thousands of groups, and whoever is counted says how long they are.

use quell_model::Hash;
use rsigma_eval::{Event, EventValue};
use std::borrow::Cow;

/// Texts of more bytes are cut.
const LONGEST: usize = 256;
/// What is left of them, for people.
const LEFT: usize = 128;

/// See the module.
pub(super) struct Short<'v, V>(pub(super) &'v V);

fn short(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.len() <= LONGEST {
        return text;
    }
    let end = (0..=LEFT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    Cow::Owned(format!("{}… ({} bytes, {})", &text[..end], text.len(), Hash::of(text.as_bytes())))
}

impl<V: Event> Event for Short<'_, V> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        Some(match self.0.get_field(path)? {
            EventValue::Str(text) => EventValue::Str(short(text)),
            other => other,
        })
    }

    fn any_string_value(&self, wanted: &dyn Fn(&str) -> bool) -> bool {
        self.0.any_string_value(wanted)
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        self.0.all_string_values()
    }

    fn to_json(&self) -> serde_json::Value {
        self.0.to_json()
    }
}
