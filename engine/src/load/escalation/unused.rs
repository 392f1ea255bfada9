//! What nobody uses: policies, schedules and webhooks that lead nowhere. No mistakes, and worth a thought.
//!
//! Goes by what is written. Never says that something is wrong.

use super::names::Names;
use crate::escalation::DEFAULT;
use crate::load::reader::{Fields, Reader};
use crate::load::yaml::{Entry, Node, Value};
use std::collections::BTreeSet;

/// Notes each.
pub(super) fn check(reader: &mut Reader<'_>, top: &Fields<'_>, names: &Names) {
    let routes = top.get("routes").map(items).unwrap_or_default();
    let mut policies: BTreeSet<&str> = routes.iter().filter_map(|route| text(route, "policy")).collect();
    let approvers = top.get("approvers").map(entries).unwrap_or_default();
    policies.extend(approvers.iter().filter_map(|entry| text(&entry.value, "policy")));
    if !routes.iter().any(|route| route.entry("when").is_none()) {
        policies.insert(DEFAULT);
    }
    let mut targets = Vec::new();
    for policy in top.get("policies").map(entries).unwrap_or_default() {
        let steps = policy.value.entry("steps").map(|entry| items(&entry.value)).unwrap_or_default();
        let notify = steps.iter().filter_map(|step| step.entry("notify"));
        let all = notify.chain(policy.value.entry("last_resort"));
        targets.extend(all.flat_map(|entry| items(&entry.value)));
    }
    let told = |key: &str| targets.iter().filter_map(|target| text(target, key)).collect::<BTreeSet<&str>>();
    let (schedules, mut webhooks) = (told("schedule"), told("channel"));
    let people = top.get("people").map(entries).unwrap_or_default();
    let wakes = people.iter().filter_map(|person| person.value.entry("wake"));
    webhooks.extend(wakes.filter_map(|entry| text(&entry.value, "webhook")));
    let own = top.get("channels").and_then(|channels| channels.entry("webhooks"));
    // A file without policies is one of people and channels: what will be said of them is said there.
    let mut note = |all: &[Entry], used: &BTreeSet<&str>, kind: &str, expected: &str| {
        for entry in all.iter().filter(|entry| !used.contains(entry.key.as_str())) {
            reader.remark(entry.at, format!("nothing goes by the {kind} `{}`", entry.key), expected);
        }
    };
    note(
        top.get("policies").map(entries).unwrap_or_default(),
        &policies,
        "policy",
        "a route or approvers with it, or a playbook that escalates to it",
    );
    if !names.policies.is_empty() {
        let expected = "a step that notifies it";
        note(top.get("schedules").map(entries).unwrap_or_default(), &schedules, "schedule", expected);
    }
    let expected = "a person's `wake`, a step that notifies it as a channel, or a playbook that tells it";
    note(own.map(|entry| entries(&entry.value)).unwrap_or_default(), &webhooks, "webhook", expected);
}

fn text<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    match &node.entry(key)?.value.value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

fn items(node: &Node) -> &[Node] {
    match &node.value {
        Value::List(list) => list,
        _ => &[],
    }
}

fn entries(node: &Node) -> &[Entry] {
    match &node.value {
        Value::Map(entries) => entries,
        _ => &[],
    }
}
