//! The API's description, as a client's generator reads it: what it says of each route, and whether an answer is so.

use crate::cli::quell;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// See the module.
pub(super) struct Document {
    pub(super) whole: Value,
    /// Its schemas, in which an object has no field that they do not name.
    strict: Value,
}

impl Document {
    /// As the command line prints it.
    pub(super) fn printed() -> Self {
        let whole = quell(&["api", "schema"]).ends(0).json();
        let mut strict = whole["components"].clone();
        tighten(&mut strict);
        Self { whole, strict }
    }

    /// Every route: `GET /v1/runs/{id}`.
    pub(super) fn routes(&self) -> BTreeSet<String> {
        let items = self.whole["paths"].as_object().unwrap().iter();
        items.flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| route(method, path))).collect()
    }

    /// What does not hold of this answer, a line each; `of` is a route.
    pub(super) fn against(&self, of: &str, status: u16, kind: &str, body: &Value) -> Vec<String> {
        let (method, path) = of.split_once(' ').unwrap();
        let operation = &self.whole["paths"][path][method.to_lowercase()];
        let answer = &operation["responses"][status.to_string()];
        if answer.is_null() {
            return vec![format!("{of} does not say that it answers {status}: {body}")];
        }
        let Some(schema) = answer["content"].get(kind).map(|content| content["schema"].clone()) else {
            return vec![format!("{of} does not say that {status} comes as `{kind}`")];
        };
        let mut schema = schema;
        tighten(&mut schema);
        let draft = jsonschema::Draft::Draft202012;
        let mut root = json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "components": self.strict });
        root["allOf"] = json!([schema]);
        let compiled = jsonschema::JSONSchema::options().with_draft(draft).compile(&root);
        let validator = compiled.unwrap_or_else(|e| panic!("{of} {status}: no schema: {e}"));
        let held = validator.validate(body);
        held.err().into_iter().flatten().map(|e| format!("{of} {status} at `{}`: {e}", e.instance_path)).collect()
    }
}

pub(super) fn route(method: &str, path: &str) -> String {
    format!("{} {path}", method.to_uppercase())
}

/// Lets no object have a field that its schema does not name.
fn tighten(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.contains_key("properties") && !map.contains_key("additionalProperties") {
                map.insert("additionalProperties".to_owned(), false.into());
            }
            map.values_mut().for_each(tighten);
        }
        Value::Array(list) => list.iter_mut().for_each(tighten),
        _ => {}
    }
}
