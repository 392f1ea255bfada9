//! How rsigma reads our events: its trait over ours, field by field, without JSON.
//!
//! Owns the translation of values and nothing else. Text stays borrowed wherever the event borrows it. A field that
//! is known and absent counts as absent: `exists: false` and `field: null` match it, nothing else does.
//!
//! A line feed reads as a blank. Sigma's `*` stands for anything, but rsigma's stops at the end of a line, and whoever
//! writes a command could break it there.

use quell_model::{Event, Field};
use rsigma_eval::EventValue;
use std::borrow::Cow;

/// An event as rsigma wants it.
pub(super) struct View<'e>(pub(super) &'e dyn Event);

/// The value in rsigma's form; moves text, and copies it only to take out line feeds.
pub(super) fn value(field: Field<'_>) -> EventValue<'_> {
    match field {
        Field::Null => EventValue::Null,
        Field::Bool(yes) => EventValue::Bool(yes),
        Field::Int(number) => EventValue::Int(number),
        Field::Str(text) => EventValue::Str(one_line(text)),
        Field::List(members) => EventValue::Array(members.into_iter().map(value).collect()),
        Field::Map(parts) => EventValue::Map(parts.into_iter().map(|(name, part)| (name, value(part))).collect()),
    }
}

/// The text without line feeds.
pub(super) fn one_line(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.as_bytes().contains(&b'\n') { Cow::Owned(text.replace('\n', " ")) } else { text }
}

/// How deep keyword rules look into nested records.
const DEPTH: u8 = 32;

/// Every text in a value, nested ones too.
pub(super) fn texts(field: &Field<'_>, visit: &mut dyn FnMut(&str)) {
    fn walk(field: &Field<'_>, depth: u8, visit: &mut dyn FnMut(&str)) {
        match field {
            Field::Str(text) => visit(&one_line(Cow::Borrowed(text))),
            Field::List(members) if depth > 0 => members.iter().for_each(|member| walk(member, depth - 1, visit)),
            Field::Map(parts) if depth > 0 => parts.iter().for_each(|(_, part)| walk(part, depth - 1, visit)),
            _ => {}
        }
    }
    walk(field, DEPTH, visit);
}

/// Whether a text of the event's is asked for.
pub(super) fn any_string(event: &impl rsigma_eval::Event, wanted: &dyn Fn(&str) -> bool) -> bool {
    let mut any = false;
    event.visit_string_values(&mut |text| any = any || wanted(text));
    any
}

/// Every text of the event's.
pub(super) fn all_strings(event: &impl rsigma_eval::Event) -> Vec<Cow<'static, str>> {
    let mut all = Vec::new();
    event.visit_string_values(&mut |text| all.push(Cow::Owned(text.to_owned())));
    all
}

impl rsigma_eval::Event for View<'_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        match self.0.sigma(path)? {
            Field::Null => None,
            field => Some(value(field)),
        }
    }

    fn any_string_value(&self, pred: &dyn Fn(&str) -> bool) -> bool {
        any_string(self, pred)
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        all_strings(self)
    }

    fn visit_string_values(&self, visit: &mut dyn FnMut(&str)) {
        self.0.sigma_fields(&mut |_, field| texts(&field, visit));
    }

    /// Only the id: what correlations keep of an event to name it by.
    fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "id": self.0.head().id })
    }
}
