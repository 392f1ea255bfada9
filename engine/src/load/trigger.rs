//! The `on:` of a playbook file.
//!
//! Owns its keys and their defaults: one run for each `event.subject`, fifteen minutes of age.

use super::found::{self, Found, Stands};
use super::reader::{Fields, Reader};
use super::yaml::{Node, Place, Value};
use crate::trigger::schedule::{Calendar, WrongSchedule};
use quell_model::playbook::{DetectionFilter, Expression, IncidentMoment, Schedule, Trigger};
use quell_model::{Level, Name};
use std::time::Duration;

/// The oldest detection that a playbook acts on by itself.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(15 * 60);
/// One open run for each of this.
pub(crate) const RUN_PER: &str = "event.subject";

pub(crate) const KEYS: &[&str] = &["detections", "if", "run_per", "max_age", "schedule", "incident", "manual"];
/// The words of `incident`.
pub(crate) const MOMENTS: &[(&str, IncidentMoment)] = &[
    ("opened", IncidentMoment::Opened),
    ("acknowledged", IncidentMoment::Acknowledged),
    ("resolved", IncidentMoment::Resolved),
];
/// The keys of `schedule`.
pub(crate) const SCHEDULE: &[&str] = &["cron", "time_zone"];

/// What a detection must be.
const FILTER: &[&str] = &["rules", "tags", "level"];

/// The words of levels.
pub(crate) const LEVELS: &[(&str, Level)] = &[
    ("informational", Level::Informational),
    ("low", Level::Low),
    ("medium", Level::Medium),
    ("high", Level::High),
    ("critical", Level::Critical),
];

/// Where the names of a trigger stand.
#[derive(Clone, Debug, Default)]
pub(crate) struct TriggerPlaces {
    /// Rules.
    pub(crate) rules: Vec<(Name, Place)>,
    /// Tags.
    pub(crate) tags: Vec<(Name, Place)>,
    /// The least level.
    pub(crate) level: Option<(Level, Place)>,
}

/// What no `on:` means: started by hand only.
pub(crate) fn by_hand() -> Trigger {
    Trigger {
        detections: None,
        condition: None,
        run_per: Expression { text: RUN_PER.to_owned(), span: quell_model::Span::default() },
        max_age: MAX_AGE,
        schedule: None,
        incident: Vec::new(),
    }
}

/// Reads `on:`.
pub(crate) fn read(reader: &mut Reader<'_>, node: &Node, out: &mut Vec<Found>) -> (Trigger, TriggerPlaces) {
    let mut trigger = by_hand();
    let mut places = TriggerPlaces::default();
    let Some(fields) = keys(reader, node) else { return (trigger, places) };
    if let Some(node) = fields.get("detections") {
        trigger.detections = Some(detections(reader, node, &mut places));
    }
    if let Some(node) = fields.get("if") {
        trigger.condition = found::condition(reader, node, Stands::Trigger, out);
    }
    if let Some(node) = fields.get("run_per")
        && let Some(expression) = found::whole(reader, node, "`run_per`", Stands::Trigger, out)
    {
        trigger.run_per = expression;
    }
    if let Some(node) = fields.get("max_age") {
        trigger.max_age = reader.duration(node, "`max_age`").unwrap_or(MAX_AGE);
    }
    if let Some(node) = fields.get("schedule") {
        trigger.schedule = schedule(reader, node);
    }
    if let Some(node) = fields.get("incident") {
        trigger.incident = moments(reader, node);
    }
    if let Some(node) = fields.get("manual") {
        let manual = reader.bool(node, "`manual`");
        if manual == Some(false) {
            reader.error(
                node.at,
                "`manual: false` cannot hold: any playbook can be started by hand",
                "`manual: true`, or nothing",
            );
        }
    }
    if trigger.detections.is_none() {
        let has_incident = fields.get("incident").is_some();
        let deciding: &[&str] = match (has_incident, trigger.schedule.is_some()) {
            // Each moment has a run of its own.
            (true, _) => &["run_per"],
            (false, true) => &["if", "run_per"],
            (false, false) => &["if", "run_per", "max_age"],
        };
        for entry in fields.present(deciding) {
            let what = format!("`{}` without `detections` has nothing to decide on", entry.key);
            reader.warning(entry.at, what, "`detections` beside it");
        }
    }
    (trigger, places)
}

/// The keys of `on`. Those of `detections` that stand beside it are told where they belong.
fn keys<'n>(reader: &mut Reader<'_>, node: &'n Node) -> Option<Fields<'n>> {
    let Value::Map(entries) = &node.value else {
        let expected = "a map, like `on: { detections: { rules: [NAME] } }`";
        reader.error(node.at, format!("`on` is {}", node.kind()), expected);
        return None;
    };
    for entry in entries.iter().filter(|entry| FILTER.contains(&entry.key.as_str())) {
        let key = &entry.key;
        reader.error(entry.at, format!("`{key}` stands right in `on`"), format!("`detections: {{ {key}: … }}`"));
    }
    let known: Vec<&str> = KEYS.iter().chain(FILTER).copied().collect();
    if entries.iter().all(|entry| known.contains(&entry.key.as_str())) {
        return reader.fields(node, "`on`", &known, &[]);
    }
    reader.fields(node, "`on`", KEYS, &[])
}

/// A moment of incidents, or a list of them.
fn moments(reader: &mut Reader<'_>, node: &Node) -> Vec<IncidentMoment> {
    let one = std::slice::from_ref(node);
    let items = if let Value::List(list) = &node.value { list.as_slice() } else { one };
    if items.is_empty() {
        reader.error(node.at, "`incident` names no moment", "`opened`, `acknowledged` or `resolved`");
    }
    let mut all = Vec::new();
    for item in items {
        let Some(moment) = reader.word(item, "moment of an incident", MOMENTS) else { continue };
        if all.contains(&moment) {
            reader.warning(item.at, format!("`{moment}` stands there already"), "each moment once");
        } else {
            all.push(moment);
        }
    }
    all
}

fn schedule(reader: &mut Reader<'_>, node: &Node) -> Option<Schedule> {
    let fields = reader.fields(node, "`schedule`", SCHEDULE, &[])?;
    let cron = match fields.get("cron") {
        Some(node) => (reader.text(node, "`cron`")?.to_owned(), node.at),
        None => {
            reader.error(fields.at, "a `schedule` without `cron` has no moments", "`cron: \"0 6 * * mon\"`");
            return None;
        }
    };
    let zone = match fields.get("time_zone") {
        Some(node) => (reader.text(node, "`time_zone`")?.to_owned(), node.at),
        None => ("UTC".to_owned(), fields.at),
    };
    let schedule = Schedule { cron: cron.0, time_zone: zone.0 };
    let found = Calendar::of(&schedule);
    // Of both that are wrong both are told.
    let cron_is_wrong = matches!(found, Err(WrongSchedule::Cron(_)));
    if cron_is_wrong && !Calendar::is_zone(&schedule.time_zone) {
        no_zone(reader, zone.1, &schedule.time_zone);
    }
    match found {
        Ok(_) => return Some(schedule),
        Err(WrongSchedule::Cron(why)) => reader.error(
            cron.1,
            format!("`{}` is no schedule: {why}", schedule.cron),
            "minute, hour, day of the month, month, day of the week: \"0 6 * * mon\"",
        ),
        Err(WrongSchedule::Never) => {
            reader.error(cron.1, format!("`{}` never comes", schedule.cron), "a day that some month has");
        }
        Err(WrongSchedule::Zone) => no_zone(reader, zone.1, &schedule.time_zone),
    }
    None
}

fn no_zone(reader: &mut Reader<'_>, at: Place, name: &str) {
    let mistake = reader.source.error(at, format!("there is no time zone `{name}`"));
    let all = Calendar::zones();
    reader.note_near(mistake.expected("a name like `Europe/Berlin`"), name, all.iter().map(String::as_str));
}

fn detections(reader: &mut Reader<'_>, node: &Node, places: &mut TriggerPlaces) -> DetectionFilter {
    let Some(fields) = reader.fields(node, "`detections`", FILTER, &[]) else {
        return DetectionFilter { rules: Vec::new(), tags: Vec::new(), level: Level::Informational };
    };
    if fields.present(FILTER).is_empty() {
        reader.warning(node.at, "every detection of any level starts this playbook", "`rules`, `tags` or a `level`");
    }
    filter(reader, &fields, places)
}

/// A list of nothing would ask for nothing, and so let everything in.
fn some(reader: &mut Reader<'_>, node: &Node, key: &str) {
    if matches!(&node.value, Value::List(list) if list.is_empty()) {
        reader.error(node.at, format!("`{key}` names none"), format!("at least one, or no `{key}`: any will do then"));
    }
}

/// Which detections are wanted.
pub(crate) fn filter(reader: &mut Reader<'_>, fields: &Fields<'_>, places: &mut TriggerPlaces) -> DetectionFilter {
    let names = |texts: Vec<(&str, Place)>| -> Vec<(Name, Place)> {
        texts.into_iter().map(|(text, at)| (Name::from(text), at)).collect()
    };
    if let Some(node) = fields.get("rules") {
        some(reader, node, "rules");
        places.rules = names(reader.texts(node, "`rules`"));
    }
    if let Some(node) = fields.get("tags") {
        some(reader, node, "tags");
        places.tags = names(reader.texts(node, "`tags`"));
    }
    let level = fields.get("level").and_then(|node| Some((reader.word(node, "level", LEVELS)?, node.at)));
    places.level = level;
    DetectionFilter {
        rules: places.rules.iter().map(|(name, _)| name.clone()).collect(),
        tags: places.tags.iter().map(|(name, _)| name.clone()).collect(),
        level: level.map(|(level, _)| level).unwrap_or_default(),
    }
}
