//! Names that stand in one part of the file and are meant in another: people, webhooks, schedules, policies.
//!
//! Gathered before anything is read, also those whose own entry is wrong: a mistake there is told there, and not again
//! wherever the name stands. Keeps true: whoever gets a name of here has one that is defined.

use crate::escalation::DEFAULT;
use crate::load::reader::{Fields, Reader, one_of};
use crate::load::yaml::{Place, Value};
use quell_model::Name;
use std::collections::BTreeSet;

/// More names are not listed in a mistake: whoever looks for one has the file open.
const LISTED: usize = 6;

/// What can be named.
#[derive(Debug)]
pub(crate) struct Names {
    /// Keys of `people`.
    pub(super) people: BTreeSet<Name>,
    /// Keys of `channels.webhooks`.
    pub(super) webhooks: BTreeSet<Name>,
    /// Keys of `schedules`.
    pub(super) schedules: BTreeSet<Name>,
    /// Keys of `policies`.
    pub(super) policies: BTreeSet<Name>,
}

impl Names {
    /// Those of a file.
    pub(super) fn of(top: &Fields<'_>) -> Self {
        let keys = |value: Option<&Value>| match value {
            Some(Value::Map(entries)) => entries.iter().map(|entry| Name::from(entry.key.as_str())).collect(),
            _ => BTreeSet::new(),
        };
        let section = |key: &str| keys(top.get(key).map(|node| &node.value));
        let webhooks = top.get("channels").and_then(|channels| channels.entry("webhooks"));
        Self {
            people: section("people"),
            webhooks: keys(webhooks.map(|entry| &entry.value.value)),
            schedules: section("schedules"),
            policies: section("policies"),
        }
    }

    /// A person of this name.
    pub(super) fn person(&self, reader: &mut Reader<'_>, text: &str, at: Place) -> Option<Name> {
        find(reader, &self.people, text, at, "person", "`people`")
    }

    /// A webhook of this name.
    pub(super) fn webhook(&self, reader: &mut Reader<'_>, text: &str, at: Place) -> Option<Name> {
        find(reader, &self.webhooks, text, at, "webhook", "`channels.webhooks`")
    }

    /// A schedule of this name.
    pub(super) fn schedule(&self, reader: &mut Reader<'_>, text: &str, at: Place) -> Option<Name> {
        find(reader, &self.schedules, text, at, "schedule", "`schedules`")
    }

    /// A policy of this name, or quell's own.
    pub(super) fn policy(&self, reader: &mut Reader<'_>, text: &str, at: Place) -> Option<Name> {
        if text == DEFAULT {
            return Some(text.into());
        }
        find(reader, &self.policies, text, at, "policy", "`policies`")
    }
}

fn find(
    reader: &mut Reader<'_>,
    known: &BTreeSet<Name>,
    text: &str,
    at: Place,
    kind: &str,
    section: &str,
) -> Option<Name> {
    if let Some(name) = known.get(text) {
        return Some(name.clone());
    }
    let names: Vec<&str> = known.iter().map(Name::as_str).collect();
    let expected = match names.len() {
        0 => format!("one of {section}, where none is defined"),
        1..=LISTED => one_of(&names),
        _ => format!("one of {section}"),
    };
    let mistake = reader.source.error(at, format!("there is no {kind} `{text}`"));
    reader.note_near(mistake.expected(expected), text, names.iter().copied());
    None
}
