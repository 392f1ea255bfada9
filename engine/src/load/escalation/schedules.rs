//! `schedules`: who is on call when.
//!
//! Owns the keys. Who is on call at a moment is [`escalation::schedule`](crate::escalation::schedule)'s to say. Keeps true:
//! whoever stands in a schedule is a person who can be reached; each override has a length.

use super::names::Names;
use super::reach::Reach;
use super::{named, time_zone, times};
use crate::escalation::schedule::{Every, Handoff, Layer, Override, Schedule, Unit, Window};
use crate::load::reader::{Fields, Reader};
use crate::load::yaml::{Entry, Node, Value};
use jiff::civil::Time;
use quell_model::Name;
use std::collections::BTreeMap;

pub(crate) const SCHEDULE: &[&str] = &["time_zone", "layers", "overrides"];
pub(crate) const LAYER: &[&str] = &["rotation", "every", "handoff", "start", "restrict"];
pub(crate) const HANDOFF: &[&str] = &["day", "at"];
pub(crate) const WINDOW: &[&str] = &["days", "from", "to"];
pub(crate) const OVERRIDE: &[&str] = &["who", "from", "to"];

/// All of them.
pub(super) fn schedules(
    reader: &mut Reader<'_>,
    top: &Fields<'_>,
    names: &Names,
    reach: &mut Reach,
) -> BTreeMap<Name, Schedule> {
    let mut all = BTreeMap::new();
    let Some(node) = top.get("schedules") else { return all };
    for entry in reader.map(node, "`schedules`").unwrap_or_default() {
        named(reader, &entry.key, entry.at, "schedule");
        if let Some(found) = schedule(reader, entry, names, reach) {
            all.insert(entry.key.as_str().into(), found);
        }
    }
    all
}

fn schedule(reader: &mut Reader<'_>, entry: &Entry, names: &Names, reach: &mut Reach) -> Option<Schedule> {
    let what = format!("the schedule `{}`", entry.key);
    let fields = reader.fields(&entry.value, &what, SCHEDULE, &[])?;
    let zone = match fields.entry("time_zone") {
        Some(_) => fields.get("time_zone").and_then(|node| time_zone(reader, node)),
        None => {
            reader.error(
                fields.at,
                format!("{what} has no `time_zone`"),
                "`time_zone: Europe/Berlin`, in which its times are meant",
            );
            None
        }
    };
    let mut layers = Vec::new();
    match fields.entry("layers") {
        Some(_) => {
            for item in list(reader, &fields, "layers", &format!("`layers` of {what}")) {
                layers.push(layer(reader, item, names, reach));
            }
            empty(reader, &fields, "layers", &what, "a layer, with who takes turns in it");
        }
        None => reader.error(
            fields.at,
            format!("{what} has no `layers`: nobody is ever on call by it"),
            "`layers`, with at least one",
        ),
    }
    let mut overrides = Vec::new();
    for item in list(reader, &fields, "overrides", &format!("`overrides` of {what}")) {
        overrides.push(instead(reader, item, names, reach));
    }
    let (layers, overrides) =
        (layers.into_iter().collect::<Option<_>>()?, overrides.into_iter().collect::<Option<_>>()?);
    Some(Schedule { time_zone: zone?.to_owned(), layers, overrides })
}

/// The items of a list; none where there is no such key.
fn list<'n>(reader: &mut Reader<'_>, fields: &Fields<'n>, key: &str, what: &str) -> &'n [Node] {
    fields.get(key).and_then(|node| reader.list(node, what)).unwrap_or_default()
}

/// Notes that a list has nothing in it.
fn empty(reader: &mut Reader<'_>, fields: &Fields<'_>, key: &str, whose: &str, expected: &str) {
    if let Some(node) = fields.get(key)
        && matches!(&node.value, Value::List(list) if list.is_empty())
    {
        reader.error(node.at, format!("`{key}` of {whose} is empty"), expected);
    }
}

fn layer(reader: &mut Reader<'_>, node: &Node, names: &Names, reach: &mut Reach) -> Option<Layer> {
    let fields = reader.fields(node, "a layer", LAYER, &[])?;
    for (key, expected) in [
        ("rotation", "`rotation: [ana, bo]`: who takes turns, in this order"),
        ("every", "`every: 1 week`: how long a turn is"),
        ("start", "`start: 2026-01-05`: the day from which turns are counted"),
    ] {
        if fields.entry(key).is_none() {
            reader.error(fields.at, format!("a layer without `{key}`"), expected);
        }
    }
    let rotation = fields.get("rotation").and_then(|node| rotation(reader, node, names, reach));
    let every = fields.get("every").and_then(|node| times::every(reader, node));
    let handoff = match fields.entry("handoff") {
        Some(_) => fields.get("handoff").and_then(|node| handoff(reader, node, every)),
        None => Some(Handoff { day: None, at: Time::midnight() }),
    };
    let start = fields.get("start").and_then(|node| times::date(reader, node, "`start`"));
    let mut restrict = Vec::new();
    for item in list(reader, &fields, "restrict", "`restrict`") {
        restrict.push(window(reader, item));
    }
    empty(
        reader,
        &fields,
        "restrict",
        "a layer",
        "a window, like `{ days: mon..fri, from: \"09:00\", to: \"17:00\" }`; without `restrict` it is always",
    );
    let restrict = restrict.into_iter().collect::<Option<_>>()?;
    Some(Layer { rotation: rotation?, every: every?, handoff: handoff?, start: start?, restrict })
}

fn rotation(reader: &mut Reader<'_>, node: &Node, names: &Names, reach: &mut Reach) -> Option<Vec<Name>> {
    let items = reader.list(node, "`rotation`")?;
    if items.is_empty() {
        reader.error(node.at, "`rotation` is empty: nobody takes turns", "at least one of `people`");
        return None;
    }
    let mut all = Vec::new();
    for item in items {
        all.push(somebody(reader, item, "an item of `rotation`", names, reach));
    }
    all.into_iter().collect()
}

/// A person who can be reached.
fn somebody(reader: &mut Reader<'_>, node: &Node, what: &str, names: &Names, reach: &mut Reach) -> Option<Name> {
    let text = reader.text(node, what)?;
    let name = names.person(reader, text, node.at)?;
    reach.must_have_a_way(reader, &name, node.at);
    Some(name)
}

fn handoff(reader: &mut Reader<'_>, node: &Node, every: Option<Every>) -> Option<Handoff> {
    let fields = reader.fields(node, "`handoff`", HANDOFF, &[])?;
    let at = match fields.entry("at") {
        Some(_) => fields.get("at").and_then(|node| times::time(reader, node, "`at`")),
        None => {
            reader.error(fields.at, "`handoff` without `at`", "`at: \"09:00\"`: when turns change");
            None
        }
    };
    let Some(node) = fields.get("day") else { return Some(Handoff { day: None, at: at? }) };
    let day = times::day(reader, node, "`day`");
    if let Some(every) = every.filter(|every| every.unit != Unit::Week) {
        let unit = times::UNITS.iter().find(|(_, unit)| *unit == every.unit).map_or("", |(word, _)| *word);
        let what = format!("`day` has no meaning where turns are counted by the {unit}");
        reader.error(node.at, what, "no `day`: `start` says with which day they begin; or `every: 1 week`");
    }
    Some(Handoff { day: Some(day?), at: at? })
}

fn window(reader: &mut Reader<'_>, node: &Node) -> Option<Window> {
    let fields = reader.fields(node, "a window", WINDOW, &[])?;
    if fields.present(WINDOW).is_empty() {
        reader.error(
            fields.at,
            "a window that restricts nothing",
            "`{ days: mon..fri, from: \"09:00\", to: \"17:00\" }`",
        );
        return None;
    }
    let days = match fields.entry("days") {
        Some(_) => fields.get("days").and_then(|node| times::days(reader, node)),
        None => Some((0..7).collect()),
    };
    let mut clock = |key: &str, absent: times::Clock| match fields.entry(key) {
        Some(_) => fields.get(key).and_then(|node| times::clock(reader, node, &format!("`{key}`"))),
        None => Some(absent),
    };
    let (from, to) = (clock("from", times::Clock::At(Time::midnight())), clock("to", times::Clock::End));
    if let (Some(times::Clock::End), Some(entry)) = (from, fields.entry("from")) {
        reader.error(entry.value.at, "`from` is `24:00`", "`00:00`, where a day begins");
    }
    if let (Some(times::Clock::At(_)), Some(to)) = (from, to)
        && from == Some(to)
    {
        reader.error(
            fields.at,
            "`from` and `to` are the same: the window has no length",
            "two times; `days` alone for whole days",
        );
    }
    Some(Window { days: days?, from: from?.shows(), to: to?.shows() })
}

fn instead(reader: &mut Reader<'_>, node: &Node, names: &Names, reach: &mut Reach) -> Option<Override> {
    let fields = reader.fields(node, "an override", OVERRIDE, &[])?;
    for (key, expected) in
        [("who", "`who: bo`"), ("from", "`from: 2026-12-24T00:00`"), ("to", "`to: 2026-12-27T00:00`")]
    {
        if fields.entry(key).is_none() {
            reader.error(fields.at, format!("an override without `{key}`"), expected);
        }
    }
    let who = fields.get("who").and_then(|node| somebody(reader, node, "`who`", names, reach));
    let mut moment = |key: &str| fields.get(key).and_then(|node| times::date_time(reader, node, &format!("`{key}`")));
    let (from, to) = (moment("from"), moment("to"));
    if let (Some(from), Some(to), Some(entry)) = (from, to, fields.entry("to"))
        && to <= from
    {
        let what =
            if to == from { "`to` is the same as `from`: the override has no length" } else { "`to` is before `from`" };
        reader.error(entry.value.at, what, "a moment after `from`");
    }
    Some(Override { who: who?, from: from?, to: to? })
}
