//! Secrets in the inputs of actions: each where the action's schema takes one, and nothing else in its place.
//!
//! Never repeats what stands where a secret belongs: it may be one that somebody wrote out.

use crate::load::reader::Reader;
use crate::load::yaml::{Node, Value};
use crate::playbook::secret::{self, Takes};
use quell_model::{ActionSpec, Json, Lane, Mistake};

/// What belongs there.
const EXPECTED: &str = "`${{ secrets.NAME }}`, with NAME under `secrets` of quell.yaml";

pub(super) fn check(reader: &mut Reader<'_>, spec: &ActionSpec, with: &Node) {
    let schema = (spec.input)().to_value();
    // What only reads is given none, whatever its input says.
    let known = (spec.lane != Lane::Read).then_some(&schema);
    below(reader, known, &schema, with, &format!("`{}`", spec.name));
}

fn below(reader: &mut Reader<'_>, schema: Option<&Json>, root: &Json, node: &Node, what: &str) {
    let takes = schema.map_or(Takes::No, |schema| secret::takes(schema, root));
    let is_secret = matches!(&node.value, Value::Text(text) if secret::named(text).is_some());
    match (is_secret, takes) {
        (true, Takes::No) => reader.error(node.at, format!("{what} takes no secret"), "what everybody may read"),
        (false, Takes::Only) if node.value != Value::Null => {
            let file = &reader.source.file;
            reader.note(Mistake::error(file, node.at.into(), format!("{what} is a secret")).expected(EXPECTED));
        }
        _ => match &node.value {
            Value::Map(entries) => {
                for entry in entries {
                    let schema = schema.and_then(|schema| secret::below(schema, root, Some(&entry.key)));
                    below(reader, schema, root, &entry.value, &format!("`{}` of {what}", entry.key));
                }
            }
            Value::List(list) => {
                let schema = schema.and_then(|schema| secret::below(schema, root, None));
                list.iter().for_each(|item| below(reader, schema, root, item, &format!("an item of {what}")));
            }
            _ => {}
        },
    }
}
