//! `policies`: who is told in which order, until somebody answers.
//!
//! Owns the keys. Keeps true: a policy has a step, a step has somebody, and every policy a last resort: silence is never
//! the end.

use super::names::Names;
use super::reach::Reach;
use super::{named, wait};
use crate::escalation::policy::{Ack, AtLevel, By, Policy, Step, Target};
use crate::load::reader::{Fields, Reader, one_of};
use crate::load::trigger::LEVELS;
use crate::load::yaml::{Entry, Node, Place, Value};
use quell_model::{Level, Mistake, Name};
use std::collections::BTreeMap;

pub(crate) const POLICY: &[&str] = &["steps", "repeat", "ack_timeout", "last_resort", "severity"];
pub(crate) const STEP: &[&str] = &["notify", "by", "wait", "ack"];
pub(crate) const AT_LEVEL: &[&str] = &["wait"];
/// The words of a target.
pub(crate) const TARGET: &[&str] = &["schedule", "person", "channel"];

/// The steps begin again at most so often.
pub(crate) const MOST_REPEATS: u32 = 100;

/// All of them.
pub(super) fn policies(
    reader: &mut Reader<'_>,
    top: &Fields<'_>,
    names: &Names,
    reach: &mut Reach,
) -> BTreeMap<Name, Policy> {
    let mut all = BTreeMap::new();
    let Some(node) = top.get("policies") else { return all };
    for entry in reader.map(node, "`policies`").unwrap_or_default() {
        named(reader, &entry.key, entry.at, "policy");
        if let Some(found) = policy(reader, entry, names, reach) {
            all.insert(entry.key.as_str().into(), found);
        }
    }
    all
}

fn policy(reader: &mut Reader<'_>, entry: &Entry, names: &Names, reach: &mut Reach) -> Option<Policy> {
    let what = format!("the policy `{}`", entry.key);
    let fields = reader.fields(&entry.value, &what, POLICY, &[])?;
    let steps = steps(reader, &fields, &what, names, reach);
    let repeat = match fields.get("repeat") {
        Some(node) => repeat(reader, node),
        None => Some(0),
    };
    let ack_timeout = match fields.get("ack_timeout") {
        Some(node) => wait(reader, node, "`ack_timeout`").map(Some),
        None => Some(None),
    };
    let last_resort = match fields.entry("last_resort") {
        Some(_) => {
            let node = fields.get("last_resort");
            node.and_then(|node| targets(reader, node, "`last_resort`", &[], names, reach))
        }
        None => {
            let what = format!("{what} has no `last_resort`: when nobody answers it would end in silence");
            reader.error(fields.at, what, "`last_resort: [person: NAME]`, or `[channel: console]`");
            None
        }
    };
    let severity = fields.get("severity").map_or(Some(BTreeMap::new()), |node| severity(reader, node));
    Some(Policy {
        steps: steps?,
        repeat: repeat?,
        ack_timeout: ack_timeout?,
        last_resort: last_resort?,
        severity: severity?,
    })
}

fn repeat(reader: &mut Reader<'_>, node: &Node) -> Option<u32> {
    let repeat = reader.count(node, "`repeat`", 0)?;
    if repeat > MOST_REPEATS {
        reader.error(
            node.at,
            format!("`repeat` is `{repeat}`"),
            format!("{MOST_REPEATS} or less: then comes the last resort"),
        );
        return None;
    }
    Some(repeat)
}

fn steps(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    what: &str,
    names: &Names,
    reach: &mut Reach,
) -> Option<Vec<Step>> {
    const EXPECTED: &str = "at least one, like `{ notify: [schedule: primary], wait: 5m }`";
    let Some(node) = fields.get("steps") else {
        if fields.entry("steps").is_none() {
            reader.error(fields.at, format!("{what} has no `steps`"), EXPECTED);
        }
        return None;
    };
    let items = reader.list(node, &format!("`steps` of {what}"))?;
    if items.is_empty() {
        reader.error(node.at, format!("`steps` of {what} is empty"), EXPECTED);
        return None;
    }
    let mut all = Vec::new();
    for item in items {
        all.push(step(reader, item, names, reach));
    }
    all.into_iter().collect()
}

fn step(reader: &mut Reader<'_>, node: &Node, names: &Names, reach: &mut Reach) -> Option<Step> {
    let fields = reader.fields(node, "a step", STEP, &[])?;
    for (key, expected) in [
        ("notify", "`notify: [schedule: NAME]`: whom it tells"),
        ("wait", "`wait: 5m`: how long it waits for an answer before the next one"),
    ] {
        if fields.entry(key).is_none() {
            reader.error(fields.at, format!("a step without `{key}`"), expected);
        }
    }
    let by = match fields.get("by") {
        Some(node) => ways(reader, node, reach),
        None => Some(Vec::new()),
    };
    let known = by.clone().unwrap_or_default();
    let notify = fields.get("notify").and_then(|node| targets(reader, node, "`notify`", &known, names, reach));
    if let (Some(notify), Some(by), Some(node)) = (&notify, &by, fields.get("by")) {
        reach.check_step(reader, notify, by, node.at);
    }
    let wait = fields.get("wait").and_then(|node| wait(reader, node, "`wait`"));
    let ack = match fields.get("ack") {
        Some(node) => ack(reader, node, notify.as_deref()),
        None => Some(Ack::Any),
    };
    Some(Step { notify: notify?, by: by?, wait: wait?, ack: ack? })
}

fn ways(reader: &mut Reader<'_>, node: &Node, reach: &Reach) -> Option<Vec<By>> {
    let items = reader.list(node, "`by`")?;
    if items.is_empty() {
        reader.error(
            node.at,
            "`by` is empty: no way leads to anybody",
            "at least one; without `by` it is every way that a person has",
        );
        return None;
    }
    let mut all = Vec::new();
    let mut whole = true;
    for item in items {
        let Some(way) = reader.word(item, "way", &By::ALL) else {
            whole = false;
            continue;
        };
        let word = item.shown();
        if all.contains(&way) {
            reader.error(item.at, format!("{word} stands twice in `by`"), "each way once");
            whole = false;
        } else if !reach.has(way) {
            let section = match way {
                By::Slack => "slack",
                By::Email => "email",
                By::Wake => "webhooks",
                By::Console => "console",
            };
            let what = format!("{word} leads nowhere: there is no `channels.{section}`");
            reader.error(item.at, what, format!("`channels.{section}`, or another way"));
            whole = false;
        }
        all.push(way);
    }
    whole.then_some(all)
}

/// Whom something tells, each once.
fn targets(
    reader: &mut Reader<'_>,
    node: &Node,
    what: &str,
    by: &[By],
    names: &Names,
    reach: &mut Reach,
) -> Option<Vec<Target>> {
    let items = reader.list(node, what)?;
    if items.is_empty() {
        reader.error(
            node.at,
            format!("{what} is empty: nobody is told"),
            "at least one, like `schedule: primary` or `person: ana`",
        );
        return None;
    }
    let mut all: Vec<Target> = Vec::new();
    let mut whole = true;
    for item in items {
        let Some(target) = target(reader, item, what, by, names, reach) else {
            whole = false;
            continue;
        };
        if all.contains(&target) {
            reader.error(
                item.at,
                format!("{} stands twice in {what}", written(&target)),
                "each once: one page is one page",
            );
            whole = false;
        }
        all.push(target);
    }
    whole.then_some(all)
}

fn written(target: &Target) -> String {
    match target {
        Target::Schedule(name) => format!("`schedule: {name}`"),
        Target::Person(name) => format!("`person: {name}`"),
        Target::Channel(name) => format!("`channel: {name}`"),
    }
}

fn target(
    reader: &mut Reader<'_>,
    node: &Node,
    what: &str,
    by: &[By],
    names: &Names,
    reach: &mut Reach,
) -> Option<Target> {
    const EXPECTED: &str = "`schedule: NAME`, `person: NAME` or `channel: NAME`";
    if let Value::Text(text) = &node.value {
        // A name alone: where it is one, what is meant is known.
        let kinds = [("schedule", &names.schedules), ("person", &names.people), ("channel", &names.webhooks)];
        let is_channel = matches!(text.as_str(), "slack" | "console");
        let kind = kinds.iter().find(|(_, known)| known.contains(text.as_str())).map(|(kind, _)| *kind);
        let mistake = reader.source.error(node.at, format!("`{text}` does not say what it is")).expected(EXPECTED);
        let nearest = kind.or(is_channel.then_some("channel")).map(|kind| format!("{kind}: {text}"));
        reader.note(Mistake { nearest, ..mistake });
        return None;
    }
    let fields = reader.fields(node, &format!("an item of {what}"), TARGET, &[])?;
    let named = fields.present(TARGET);
    let [entry] = named[..] else {
        let what = if named.is_empty() { "names nobody" } else { "names several" };
        reader.error(fields.at, format!("an item that {what}"), format!("{EXPECTED}, an item each"));
        return None;
    };
    let value = fields.get(&entry.key)?;
    let text = reader.text(value, &format!("`{}`", entry.key))?;
    match entry.key.as_str() {
        "schedule" => names.schedule(reader, text, value.at).map(Target::Schedule),
        "person" => {
            let name = names.person(reader, text, value.at)?;
            if !by.contains(&By::Console) {
                reach.must_have_a_way(reader, &name, value.at);
            }
            Some(Target::Person(name))
        }
        _ => channel(reader, text, value.at, names, reach).map(Target::Channel),
    }
}

/// A channel that somebody reads.
fn channel(reader: &mut Reader<'_>, text: &str, at: Place, names: &Names, reach: &Reach) -> Option<Name> {
    let is_there = match text {
        "slack" => reach.has(By::Slack),
        "console" => reach.has(By::Console),
        "email" => {
            let what = "`email` is no channel that somebody reads: a mail goes to a person";
            reader.error(at, what, "`person: NAME` or `schedule: NAME`, with `by: [email]`");
            return None;
        }
        other => names.webhooks.contains(other),
    };
    if is_there {
        return Some(text.into());
    }
    let others = [("slack", By::Slack), ("console", By::Console)];
    let others = others.into_iter().filter(|(_, way)| reach.has(*way)).map(|(word, _)| word);
    let known: Vec<&str> = others.chain(names.webhooks.iter().map(Name::as_str)).collect();
    let mistake = reader.source.error(at, format!("there is no channel `{text}`"));
    let expected = match known.as_slice() {
        [] => "one that `channels` has".to_owned(),
        known => one_of(known),
    };
    reader.note_near(mistake.expected(expected), text, known.iter().copied());
    None
}

fn ack(reader: &mut Reader<'_>, node: &Node, notify: Option<&[Target]>) -> Option<Ack> {
    const EXPECTED: &str = "`any`, `each`, or a number of people";
    let ack = match &node.value {
        Value::Text(text) if text == "any" => Ack::Any,
        Value::Text(text) if text == "each" => Ack::Each,
        Value::Int(count @ 1..) if u32::try_from(*count).is_ok() => Ack::Count(u32::try_from(*count).unwrap_or(1)),
        Value::Text(text) => {
            let mistake = reader.source.error(node.at, format!("`ack` is {}", node.shown()));
            reader.note_near(mistake.expected(EXPECTED), text, ["any", "each"]);
            return None;
        }
        _ => {
            reader.error(node.at, format!("`ack` is {}", node.shown()), EXPECTED);
            return None;
        }
    };
    let Some(notify) = notify else { return Some(ack) };
    let people = notify.iter().filter(|target| !matches!(target, Target::Channel(_))).count();
    let has_channel = people < notify.len();
    match ack {
        Ack::Each if people == 0 => {
            let what = "`each` has no meaning here: nobody knows who reads a channel";
            reader.error(node.at, what, "`any`, or people or schedules in `notify`");
        }
        Ack::Count(count) if !has_channel && count as usize > people => {
            let what = format!("{count} answers of {people} that are told at most: nobody can reach that");
            reader.error(node.at, what, format!("{people} or less, or more in `notify`"));
        }
        _ => return Some(ack),
    }
    None
}

fn severity(reader: &mut Reader<'_>, node: &Node) -> Option<BTreeMap<Level, AtLevel>> {
    let mut all = BTreeMap::new();
    let mut whole = true;
    for entry in reader.map(node, "`severity`")? {
        let Some((_, level)) = LEVELS.iter().find(|(word, _)| *word == entry.key) else {
            let words: Vec<&str> = LEVELS.iter().map(|(word, _)| *word).collect();
            let mistake = reader.source.error(entry.at, format!("`{}` is no level", entry.key));
            reader.note_near(mistake.expected(one_of(&words)), &entry.key, words.iter().copied());
            whole = false;
            continue;
        };
        let what = format!("`severity` at `{}`", entry.key);
        let Some(fields) = reader.fields(&entry.value, &what, AT_LEVEL, &[]) else {
            whole = false;
            continue;
        };
        match fields.entry("wait") {
            Some(_) => match fields.get("wait").and_then(|node| wait(reader, node, "`wait`")) {
                Some(wait) => drop(all.insert(*level, AtLevel { wait: Some(wait) })),
                None => whole = false,
            },
            None => {
                reader.error(fields.at, format!("{what} changes nothing"), "`wait: 1m`, of every step at this level");
                whole = false;
            }
        }
    }
    whole.then_some(all)
}
