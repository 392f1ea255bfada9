//! Whether whoever is told can be reached: which ways a file has, and which of them lead to whom.
//!
//! Goes by what is written, also where it is wrong: a mistake in an address is told once, there. A channel that is off for
//! now counts as one. Keeps true: a step or a last resort by which nobody may come to be told is an error.

use crate::escalation::policy::{By, Target};
use crate::escalation::schedule::Schedule;
use crate::load::reader::{Fields, Reader, few, one_of};
use crate::load::yaml::{Node, Place, Value};
use quell_model::Name;
use std::collections::{BTreeMap, BTreeSet};

/// People who are named in one mistake.
const NAMED: usize = 3;

/// What can be reached by what.
#[derive(Debug)]
pub(super) struct Reach {
    /// The ways to people that are configured, the terminal apart.
    ways: BTreeSet<By>,
    /// The terminal is one of the channels.
    console: bool,
    /// By which of the ways each can be reached.
    people: BTreeMap<Name, BTreeSet<By>>,
    /// Who may come to be on call by each schedule.
    turns: BTreeMap<Name, BTreeSet<Name>>,
    /// That no way leads to anybody was told.
    told: bool,
}

impl Reach {
    /// Of what a file says.
    pub(super) fn of(top: &Fields<'_>) -> Self {
        let channels = top.get("channels");
        let has = |key: &str| channels.is_some_and(|node| is_written(node, key));
        let pairs = [(By::Slack, has("slack")), (By::Email, has("email")), (By::Wake, has("webhooks"))];
        let ways: BTreeSet<By> = pairs.into_iter().filter(|(_, is_there)| *is_there).map(|(way, _)| way).collect();
        let people = match top.get("people").map(|node| &node.value) {
            Some(Value::Map(entries)) => {
                let of = |node: &Node| ways_of(node).intersection(&ways).copied().collect();
                entries.iter().map(|entry| (Name::from(entry.key.as_str()), of(&entry.value))).collect()
            }
            _ => BTreeMap::new(),
        };
        Self { console: has("console") || ways.is_empty(), ways, people, turns: BTreeMap::new(), told: false }
    }

    /// Takes up who stands in the schedules.
    pub(super) fn take_turns(&mut self, schedules: &BTreeMap<Name, Schedule>) {
        let of = |schedule: &Schedule| {
            let layers = schedule.layers.iter().flat_map(|layer| layer.rotation.iter().cloned());
            layers.chain(schedule.overrides.iter().map(|instead| instead.who.clone())).collect()
        };
        self.turns = schedules.iter().map(|(name, schedule)| (name.clone(), of(schedule))).collect();
    }

    /// Whether there is such a channel.
    pub(super) fn has(&self, way: By) -> bool {
        if way == By::Console { self.console } else { self.ways.contains(&way) }
    }

    /// Notes that a person who is to be told can be told by no way at all.
    pub(super) fn must_have_a_way(&mut self, reader: &mut Reader<'_>, name: &Name, at: Place) {
        if self.has_a_way(name) {
            return;
        }
        if self.ways.is_empty() {
            if !std::mem::replace(&mut self.told, true) {
                let what = format!(
                    "nothing leads to `{name}`, nor to anybody: `channels` has neither slack, email nor webhooks"
                );
                reader.error(at, what, "one of them; or `notify: [channel: console]`, the terminal of the daemon");
            }
            return;
        }
        let needs: Vec<&str> = self.ways.iter().map(|way| needed(*way)).collect();
        reader.error(at, format!("`{name}` can be reached by no way"), format!("{} of theirs", one_of(&needs)));
    }

    fn has_a_way(&self, name: &Name) -> bool {
        self.people.get(name).is_none_or(|ways| !ways.is_empty())
    }

    fn reaches(&self, name: &Name, by: &[By]) -> bool {
        let has = |way: &By| *way == By::Console || self.people.get(name).is_none_or(|ways| ways.contains(way));
        // Who has no way at all was told where their name stands.
        by.is_empty() || !self.has_a_way(name) || by.iter().any(has)
    }

    /// Who of a target may come to be told and is not, by these ways; `true`: somebody always is.
    fn missed(&self, target: &Target, by: &[By]) -> (BTreeSet<Name>, bool) {
        let alone = |name: &Name| BTreeSet::from([name.clone()]);
        let meant = match target {
            Target::Channel(_) => return (BTreeSet::new(), true),
            Target::Person(name) => alone(name),
            Target::Schedule(name) => self.turns.get(name).cloned().unwrap_or_default(),
        };
        let missed: BTreeSet<Name> = meant.into_iter().filter(|name| !self.reaches(name, by)).collect();
        let all = missed.is_empty();
        (missed, all)
    }

    /// Notes whom a step's ways do not lead to.
    pub(super) fn check_step(&self, reader: &mut Reader<'_>, notify: &[Target], by: &[By], at: Place) {
        let looks: Vec<(BTreeSet<Name>, bool)> = notify.iter().map(|target| self.missed(target, by)).collect();
        let missed: BTreeSet<&Name> = looks.iter().flat_map(|(missed, _)| missed).collect();
        if missed.is_empty() {
            return;
        }
        let has: BTreeSet<By> = missed.iter().filter_map(|name| self.people.get(*name)).flatten().copied().collect();
        let words: Vec<&str> = has.iter().map(|way| word(*way)).collect();
        let expected = format!("a way of theirs too: {}", one_of(&words));
        let names: Vec<String> = missed.iter().map(|name| format!("`{name}`")).collect();
        let names = few(&names, NAMED);
        if looks.iter().any(|(_, always)| *always) {
            reader.warning(at, format!("`by` does not lead to {names}, who may be on call here"), expected);
        } else {
            reader.error(at, format!("this step may reach nobody: `by` does not lead to {names}"), expected);
        }
    }
}

fn is_written(node: &Node, key: &str) -> bool {
    node.entry(key).is_some_and(|entry| entry.value.value != Value::Null)
}

fn ways_of(person: &Node) -> BTreeSet<By> {
    let has_slack = person.entry("identities").is_some_and(|entry| is_written(&entry.value, "slack"));
    let pairs =
        [(By::Slack, has_slack), (By::Email, is_written(person, "email")), (By::Wake, is_written(person, "wake"))];
    pairs.into_iter().filter(|(_, is_there)| *is_there).map(|(way, _)| way).collect()
}

/// The word for a way.
fn word(way: By) -> &'static str {
    By::ALL.iter().find(|(_, each)| *each == way).map_or("", |(word, _)| *word)
}

/// What a person needs to be reached by it.
fn needed(way: By) -> &'static str {
    match way {
        By::Slack => "`identities.slack`",
        By::Email => "`email`",
        By::Wake => "`wake`",
        By::Console => "",
    }
}
