//! What a case begins with: an event, a recording, or inputs.
//!
//! Owns what an event is completed with where the file leaves it out. Files beside the test are read here only.

use super::case::{Happens, Later, Start};
use super::names;
use super::read::Against;
use crate::adapt;
use crate::load::reader::{Fields, Reader, one_of};
use crate::load::trigger::MOMENTS;
use crate::load::yaml::Node;
use crate::load::yaml::Value;
use crate::trigger::is_called;
use quell_model::playbook::IncidentMoment;
use quell_model::{Class, Json, Name, OwnedEvent, RuleRef, Stamp, fields};
use serde_json::{Map, json};
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

const EVENT: &[&str] =
    &["v", "id", "class", "source", "node", "at", "seen", "logsource", "sigma", "own", "subject", "entity"];
/// Events of one recording.
const MOST_EVENTS: usize = 100_000;
/// What the boot clock shows at first: later than any age that a test may give.
const BOOTED_NS: u64 = 90 * 24 * 3_600 * 1_000_000_000;

/// What the clock shows where nothing else is said.
pub(super) fn first_moment() -> Stamp {
    Stamp { wall: jiff::Timestamp::constant(1_767_225_600, 0), boot_ns: BOOTED_NS }
}

/// A moment as people write it.
pub(super) fn moment(reader: &mut Reader<'_>, node: &Node) -> Option<Stamp> {
    let text = reader.text(node, "`at`")?;
    match text.parse() {
        Ok(wall) => Some(Stamp { wall, ..first_moment() }),
        Err(_) => {
            reader.error(node.at, format!("`at` is {}", node.shown()), "a moment like \"2026-01-01T00:00:00Z\"");
            None
        }
    }
}

/// When the first event was seen.
pub(super) fn seen(start: &Start) -> Option<Stamp> {
    match start {
        Start::Events(events, _) => events.first().map(|event| event.head.seen),
        Start::Inputs(_) => None,
    }
}

pub(super) fn read(reader: &mut Reader<'_>, given: Fields<'_>, now: Stamp, against: &Against<'_>) -> Option<Start> {
    let kinds = given.present(&["event", "recording", "inputs"]);
    let [entry] = kinds.as_slice() else {
        reader.error(given.at, "a case begins with exactly one thing", "one of `event`, `recording` or `inputs`");
        return None;
    };
    let rule = match given.get("rule") {
        Some(node) if entry.key == "event" => rule(reader, node, against),
        Some(node) => {
            reader.error(node.at, "`rule` stands beside `event` only", "a recording goes through the rules themselves");
            None
        }
        None => None,
    };
    match entry.key.as_str() {
        "event" => Some(Start::Events(vec![event(reader, &entry.value, now)?], rule)),
        "recording" => recording(reader, &entry.value),
        _ => {
            for input in reader.map(&entry.value, "`inputs`")? {
                if !against.playbook.inputs.contains_key(&input.key) {
                    let names: Vec<&str> = against.playbook.inputs.keys().map(String::as_str).collect();
                    let mistake = reader.source.error(input.at, format!("`{}` is no input of it", input.key));
                    reader.note_near(mistake.expected(one_of(&names)), &input.key, names.iter().copied());
                }
            }
            Some(Start::Inputs(entry.value.to_json()))
        }
    }
}

/// Reads `then`: what happens after the begin.
pub(super) fn later(reader: &mut Reader<'_>, node: &Node, began: Stamp, against: &Against<'_>) -> Vec<Later> {
    let one = std::slice::from_ref(node);
    let items = if let Value::List(list) = &node.value { list.as_slice() } else { one };
    let mut all: Vec<Later> = Vec::new();
    for item in items {
        let keys = &["after", "event", "rule", "incident", "by"];
        let Some(fields) = reader.fields(item, "what happens later", keys, &[]) else {
            continue;
        };
        let what = fields.present(&["event", "incident"]);
        let (Some(after), [what]) = (fields.get("after"), what.as_slice()) else {
            let wanted = "`after: 5m`, from the case's begin, and one of `event` and `incident`";
            reader.error(fields.at, "it lacks `after` or `event`, or `incident` instead", wanted);
            continue;
        };
        let at = after.at;
        let Some(after) = reader.duration(after, "`after`") else { continue };
        if all.last().is_some_and(|last| last.after > after) {
            reader.error(at, "it happens before what stands before it", "the order in which they happen");
        }
        let what = if what.key == "incident" {
            moves(reader, &fields, &what.value)
        } else {
            alone(reader, &fields, "by", "incident");
            let rule = fields.get("rule").and_then(|node| rule(reader, node, against));
            let event = event(reader, &what.value, began.after(after));
            event.map(|event| Happens::Event(Box::new(event), rule))
        };
        all.extend(what.map(|what| Later { after, what }));
    }
    all
}

/// What a person makes of the latest incident.
fn moves(reader: &mut Reader<'_>, fields: &Fields<'_>, node: &Node) -> Option<Happens> {
    alone(reader, fields, "rule", "event");
    let by = match fields.get("by") {
        Some(by) => reader.text(by, "`by`")?.into(),
        None => "test".into(),
    };
    match reader.word(node, "moment of an incident", MOMENTS)? {
        IncidentMoment::Opened => {
            reader.error(node.at, "an event opens an incident", "`acknowledged` or `resolved`, or an `event`");
            None
        }
        moment => Some(Happens::Moment(moment, by)),
    }
}

/// A key that says nothing without another.
fn alone(reader: &mut Reader<'_>, fields: &Fields<'_>, key: &str, other: &str) {
    if let Some(entry) = fields.entry(key) {
        reader.error(entry.at, format!("`{key}` stands beside `{other}` only"), format!("no `{key}`, or `{other}`"));
    }
}

fn rule(reader: &mut Reader<'_>, node: &Node, against: &Against<'_>) -> Option<RuleRef> {
    let name = reader.text(node, "`rule`")?;
    let rules = against.known.rules.unwrap_or_default();
    let named = Name::from(name);
    let found = rules.iter().find(|rule| is_called(rule, &named)).cloned();
    if found.is_none() {
        let names = rules.iter().map(|rule| rule.name.as_str());
        let mistake = reader.source.error(node.at, format!("no rule that is loaded is called `{name}`"));
        reader.note_near(mistake.expected("a rule beside the playbook, or one that ships"), name, names);
    }
    found
}

fn beside(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<PathBuf> {
    let name = reader.text(node, what)?;
    Some(reader.source.file.parent().map_or_else(|| PathBuf::from(name), |folder| folder.join(name)))
}

fn event(reader: &mut Reader<'_>, node: &Node, now: Stamp) -> Option<OwnedEvent> {
    let written = if matches!(node.value, Value::Text(_)) {
        let file = beside(reader, node, "`event`")?;
        let read = crate::load::text(&file).map_err(|mistake| mistake.what);
        match read.and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string())) {
            Ok(Json::Object(map)) => map,
            Ok(_) => {
                reader.error(node.at, format!("`{}` is no event", file.display()), "one JSON object");
                return None;
            }
            Err(why) => {
                reader.error(
                    node.at,
                    format!("`{}` is no event: {why}", file.display()),
                    "one line of `quell watch --json`",
                );
                return None;
            }
        }
    } else {
        let given = reader.fields(node, "an event", EVENT, &[])?;
        let words: Vec<(&str, Class)> = Class::ALL.into_iter().map(|class| (class.as_str(), class)).collect();
        let Some(class) = given.get("class") else {
            reader.error(
                node.at,
                "the event has no class",
                one_of(&words.iter().map(|(word, _)| *word).collect::<Vec<_>>()),
            );
            return None;
        };
        let class = reader.word(class, "class of event", &words)?;
        if let Some(own) = given.get("own") {
            known_fields(reader, own, class, "");
        }
        if let Some(node) = given.get("sigma") {
            names::sigma(reader, node, class);
        }
        match node.to_json() {
            Json::Object(map) => map,
            _ => return None,
        }
    };
    let completed = completed(written, now);
    serde_json::from_value(Json::Object(completed))
        .map_err(|error| {
            reader.error(node.at, format!("this is no event: {error}"), "the shape of `quell watch --json`")
        })
        .ok()
}

/// quell's own names: one that no event of the class has would be read by nobody.
fn known_fields(reader: &mut Reader<'_>, node: &Node, class: Class, above: &str) {
    if class == Class::Record {
        return;
    }
    let Some(entries) = reader.map(node, "`own`") else { return };
    for entry in entries {
        let path = if above.is_empty() { entry.key.clone() } else { format!("{above}.{}", entry.key) };
        if fields::is_known(class, &path) && !matches!(entry.value.value, Value::Map(_)) {
            continue;
        }
        let leads = fields::known(class).any(|name| name.starts_with(&format!("{path}.")));
        match entry.value.value {
            Value::Map(_) if leads => known_fields(reader, &entry.value, class, &path),
            _ if leads || fields::is_known(class, &path) => {}
            _ => {
                let mistake = reader.source.error(entry.at, format!("an event of class {class} has no field `{path}`"));
                reader.note_near(mistake.expected("a field of docs/reference/events.md"), &path, fields::known(class));
            }
        }
    }
}

/// What is left out: as the sensor of a machine called `test` would say it now.
fn completed(mut event: Map<String, Json>, now: Stamp) -> Map<String, Json> {
    let class = event.get("class").and_then(Json::as_str).unwrap_or_default().to_owned();
    let process = event.get("own").and_then(|own| own.pointer("/process/id")).cloned();
    let subject = process.map_or_else(|| json!("unknown"), |id| json!({ "process": id }));
    let defaults = [
        ("v", json!(quell_model::event::EVENT_VERSION)),
        ("id", json!("test")),
        ("source", json!("sensor")),
        ("node", json!("test")),
        ("at", json!(now)),
        ("seen", json!(now)),
        ("logsource", json!({ "category": class, "product": "linux" })),
        ("sigma", json!({})),
        ("own", json!({})),
        ("subject", subject),
        ("entity", json!({ "kind": "unit", "id": "test.service", "node": "test" })),
    ];
    for (key, value) in defaults {
        event.entry(key).or_insert(value);
    }
    event
}

fn recording(reader: &mut Reader<'_>, node: &Node) -> Option<Start> {
    let path = beside(reader, node, "`recording`")?;
    // A pipe or a device would be read for ever.
    if std::fs::metadata(&path).is_ok_and(|data| !data.is_file()) {
        reader.error(node.at, format!("`{}` is no file", path.display()), "a recording beside this file");
        return None;
    }
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) => {
            reader.error(
                node.at,
                format!("`{}` cannot be opened: {error}", path.display()),
                "a recording beside this file",
            );
            return None;
        }
    };
    let mut events = Vec::new();
    for event in adapt::read(None, &path, BufReader::new(file)) {
        match event {
            Ok(event) => events.push(event),
            Err(unreadable) => {
                reader.note(unreadable.mistake);
                return None;
            }
        }
        if events.len() > MOST_EVENTS {
            reader.error(node.at, format!("the recording has more than {MOST_EVENTS} events"), "a shorter one");
            return None;
        }
    }
    if events.is_empty() {
        reader.error(node.at, format!("`{}` holds no event", path.display()), "at least one");
        return None;
    }
    Some(Start::Events(events, None))
}
