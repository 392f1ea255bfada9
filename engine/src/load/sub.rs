//! A step that starts a playbook: its keys.
//!
//! Owns their reading. Whether there is such a playbook, and whether it takes these inputs, is the check's to say, which
//! knows the others.

use super::found::{self, Found, Stands};
use super::reader::{Fields, Reader};
use super::yaml::{Node, Value};
use crate::playbook::template::OPEN;
use quell_model::Json;
use quell_model::playbook::SubPlaybook;
use std::collections::BTreeMap;

/// Reads `playbook` with what stands beside it.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    node: &Node,
    fields: &Fields<'_>,
    stands: Stands,
    out: &mut Vec<Found>,
) -> Option<SubPlaybook> {
    let with = fields.get("with");
    let mut inputs = BTreeMap::new();
    if let Some(with) = with {
        found::in_template(reader, with, stands, out);
        let entries = reader.map(with, "`with`").unwrap_or_default();
        inputs = entries.iter().map(|entry| (entry.key.clone(), entry.at.into())).collect();
    }
    let detach = fields.get("detach").and_then(|node| reader.bool(node, "`detach`")).unwrap_or_default();
    if matches!(&node.value, Value::Text(text) if text.contains(OPEN)) {
        reader.error(node.at, "`playbook` is an expression", "the name of a playbook, which a check can look up");
        return None;
    }
    let playbook = reader.text(node, "`playbook`")?.into();
    let with = with.map_or_else(|| Json::Object(serde_json::Map::new()), Node::to_json);
    Some(SubPlaybook { playbook, with, detach, span: node.at.into(), inputs })
}
