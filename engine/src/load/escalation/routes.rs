//! `routes`: which policy an incident goes by.
//!
//! Owns the keys. Keeps true: a condition is an expression over `incident` that gives true or false; a route that no
//! incident can come to is an error; what takes the incidents that none of them wants is said.

use super::names::Names;
use crate::escalation::DEFAULT;
use crate::escalation::policy::Route;
use crate::load::found::{self, Stands};
use crate::load::reader::{Fields, Reader};
use crate::load::yaml::{Node, Value};
use crate::playbook::check;

pub(crate) const ROUTE: &[&str] = &["when", "policy"];

/// All of them, in the order of the file.
pub(super) fn routes(reader: &mut Reader<'_>, top: &Fields<'_>, names: &Names) -> Vec<Route> {
    let items = match top.get("routes") {
        Some(node) => {
            let items = reader.list(node, "`routes`").unwrap_or_default();
            if matches!(&node.value, Value::List(list) if list.is_empty()) {
                reader.error(node.at, "`routes` is empty", "at least one, like `- { policy: NAME }`, or no `routes`");
            }
            items
        }
        None => &[],
    };
    let mut all = Vec::new();
    let mut last = None;
    for item in items {
        let fields = reader.fields(item, "a route", ROUTE, &[]);
        let Some(fields) = fields else { continue };
        if let Some(line) = last {
            let what = format!("no incident comes to this route: the one on line {line} takes all");
            reader.error(fields.at, what, "its place before that one, or no such route");
        }
        // One whose `when` is misspelt was told, and takes nothing.
        if fields.entry("policy").is_some() && matches!(&item.value, Value::Map(keys) if keys.len() == 1) {
            last = last.or(Some(item.at.line));
        }
        all.extend(route(reader, &fields, names));
    }
    if last.is_none() {
        rest(reader, top, names);
    }
    all
}

fn route(reader: &mut Reader<'_>, fields: &Fields<'_>, names: &Names) -> Option<Route> {
    let when = fields.get("when").map(|node| condition(reader, node));
    let policy = match fields.entry("policy") {
        Some(_) => {
            let node = fields.get("policy")?;
            let text = reader.text(node, "`policy`")?;
            names.policy(reader, text, node.at)
        }
        None => {
            reader.error(fields.at, "a route without `policy`", "`policy: NAME`, one of `policies`");
            None
        }
    };
    let when = match when {
        Some(None) => return None,
        Some(when) => when,
        None => None,
    };
    Some(Route { when, policy: policy? })
}

fn condition(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let mut found = Vec::new();
    let expression = found::whole(reader, node, "`when`", Stands::Route, &mut found)?;
    // What is one whole expression has no second.
    found.iter().all(|found| check::route(reader, found)).then_some(expression.text)
}

/// What holds for incidents that no route wants. Where a file speaks of nobody but people, it is what would hold without it.
fn rest(reader: &mut Reader<'_>, top: &Fields<'_>, names: &Names) {
    let says = top.present(&["routes", "policies", "schedules", "channels"]);
    // A key without a value was told as that.
    let Some(first) = says.first().filter(|entry| entry.value.value != Value::Null) else { return };
    let whose = match names.policies.contains(DEFAULT) {
        true => "the policy `default` of this file",
        false => "quell's own policy, which prints on the terminal of the daemon and tells nobody",
    };
    let expected = "a last route without `when`: `- { policy: NAME }`";
    match top.entry("routes") {
        Some(entry) => {
            let what = format!("an incident that no route wants goes by {whose}");
            reader.warning(entry.at, what, expected);
        }
        None if names.policies.contains(DEFAULT) => {}
        None => {
            let what = format!("without `routes` every incident goes by {whose}");
            reader.warning(first.at, what, "`routes: [{ policy: NAME }]`, or a policy `default`");
        }
    }
}
