//! Names that a case writes, held against what there is: inputs and outputs of actions, fields that rules read.
//!
//! Keeps true: what nothing could ever give or read is a mistake, and no expectation that merely fails.

use super::read::Against;
use crate::load::reader::{Reader, one_of};
use crate::load::yaml::{Entry, Node};
use crate::playbook::check::inputs as schemas;
use crate::playbook::gives::{self, Gives};
use quell_model::playbook::{Step, StepKind};
use quell_model::{Class, Json, fields};

/// Names under `with` of a step.
pub(super) fn inputs(reader: &mut Reader<'_>, id: &str, parts: &[Entry], against: &Against<'_>) {
    let Some(step) = step(id, against) else { return };
    let StepKind::Action { action, .. } = &step.kind else {
        if let Some(first) = parts.first() {
            reader.error(first.at, format!("`{id}` has no inputs"), "`with` of a step with an action");
        }
        return;
    };
    let Some(spec) = against.known.action(action.as_str()) else { return };
    let schema = (spec.input)().to_value();
    let Some(properties) = schema.get("properties").and_then(Json::as_object) else { return };
    let names: Vec<String> = properties.keys().cloned().collect();
    unknown(reader, parts, &names, |name| format!("`{action}` has no input `{name}`"));
}

/// Names under `output` of a step.
pub(super) fn outputs(reader: &mut Reader<'_>, id: &str, parts: &[Entry], against: &Against<'_>) {
    let Some(step) = step(id, against) else { return };
    let Some(names) = gives::given(step, against) else { return };
    unknown(reader, parts, &names, |name| format!("step `{id}` has no output `{name}`"));
}

impl Gives for Against<'_> {
    fn of_action(&self, action: &str) -> Option<Vec<String>> {
        self.known.of_action(action)
    }

    fn of_playbook(&self, playbook: &str) -> Option<Vec<String>> {
        let other = self.others.iter().find(|other| other.name.as_str() == playbook)?;
        Some(other.outputs.keys().cloned().collect())
    }
}

/// Outputs that the action does not have would make a test of something that cannot happen.
pub(super) fn outputs_of(reader: &mut Reader<'_>, action: &str, parts: &[Entry], against: &Against<'_>) {
    let Some(names) = against.of_action(action) else { return };
    unknown(reader, parts, &names, |name| format!("`{action}` has no output `{name}`"));
    let Some(spec) = against.known.action(action) else { return };
    let schema = (spec.output)().to_value();
    for part in parts {
        if let Some(expected) = schemas::wanted(&schema, &part.key, &part.value.to_json()) {
            let what = format!("`{action}` never gives such a `{}`", part.key);
            reader.error(part.value.at, what, expected);
        }
    }
}

/// Names under `sigma` of an event: those that rules can read of its class. Records have the names that their source gives.
pub(super) fn sigma(reader: &mut Reader<'_>, node: &Node, class: Class) {
    if class == Class::Record {
        return;
    }
    let Some(entries) = reader.map(node, "`sigma`") else { return };
    let names = fields::sigma(class);
    let strange: Vec<&Entry> = entries.iter().filter(|entry| !fields::is_known(class, &entry.key)).collect();
    for entry in strange.into_iter().filter(|entry| !names.contains(&entry.key.as_str())) {
        let what = format!("no rule can read `{}` of an event of class {class}", entry.key);
        let mistake = reader.source.error(entry.at, what).expected(one_of(names));
        reader.note_near(mistake, &entry.key, names.iter().copied());
    }
}

fn step<'a>(id: &str, against: &'a Against<'_>) -> Option<&'a Step> {
    against.playbook.steps.iter().find(|step| step.id.as_str() == id)
}

fn unknown(reader: &mut Reader<'_>, parts: &[Entry], names: &[String], what: impl Fn(&str) -> String) {
    for part in parts.iter().filter(|part| !names.contains(&part.key)) {
        let mistake = reader.source.error(part.at, what(&part.key));
        reader.note_near(mistake.expected(one_of(names)), &part.key, names.iter().map(String::as_str));
    }
}
