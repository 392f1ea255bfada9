//! A step that hands the incident on: its keys.
//!
//! Owns their reading. Whether there is such a policy, and such a step of it, is the check's to say, which knows the
//! installation.

use super::reader::Reader;
use super::yaml::{Node, Place, Value};
use crate::playbook::template::OPEN;
use quell_model::Name;
use quell_model::playbook::Escalate;

pub(crate) const KEYS: &[&str] = &["policy", "step"];
const EXPECTED: &str = "a policy of escalation.yaml, like `security`, or `{ policy: security, step: 2 }`";

/// Where its parts stand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EscalatePlaces {
    pub(crate) policy: Option<Place>,
    pub(crate) step: Option<Place>,
}

/// Reads `escalate`: a policy, or a map with it, with a step, or with both.
pub(crate) fn read(reader: &mut Reader<'_>, node: &Node, places: &mut EscalatePlaces) -> Option<Escalate> {
    if let Value::Text(_) = node.value {
        return Some(Escalate { policy: Some(policy(reader, node, "`escalate`", places)?), step: None });
    }
    if !matches!(node.value, Value::Map(_)) {
        reader.error(node.at, format!("`escalate` is {}", node.shown()), EXPECTED);
        return None;
    }
    let fields = reader.fields(node, "`escalate`", KEYS, &[])?;
    if fields.present(KEYS).is_empty() {
        reader.error(fields.at, "`escalate` says neither a `policy` nor a `step`", EXPECTED);
        return None;
    }
    let policy = match fields.get("policy") {
        Some(node) => Some(policy(reader, node, "`policy`", places)?),
        None => None,
    };
    let step = match fields.get("step") {
        Some(node) => {
            places.step = Some(node.at);
            Some(reader.count(node, "`step`", 1)?)
        }
        None => None,
    };
    Some(Escalate { policy, step })
}

fn policy(reader: &mut Reader<'_>, node: &Node, what: &str, places: &mut EscalatePlaces) -> Option<Name> {
    let text = reader.text(node, what)?;
    if text.contains(OPEN) {
        reader.error(node.at, format!("{what} is an expression"), "the name of a policy, which a check can look up");
        return None;
    }
    places.policy = Some(node.at);
    Some(text.into())
}
