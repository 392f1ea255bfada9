//! Names that a case writes, held against what there is: inputs and outputs of actions, fields that rules read.
//!
//! Keeps true: what nothing could ever give or read is a mistake, and no expectation that merely fails.

use super::read::Against;
use crate::load::reader::{Reader, one_of};
use crate::load::yaml::{Entry, Node};
use quell_model::playbook::{Step, StepKind, SubPlaybook, Wait};
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
    let names: Vec<&str> = properties.keys().map(String::as_str).collect();
    unknown(reader, parts, &names, |name| format!("`{action}` has no input `{name}`"));
}

/// Names under `output` of a step.
pub(super) fn outputs(reader: &mut Reader<'_>, id: &str, parts: &[Entry], against: &Against<'_>) {
    let Some(step) = step(id, against) else { return };
    let names: &[&str] = match &step.kind {
        _ if step.for_each.is_some() => &["items", "failed"],
        StepKind::Action { action, .. } => return outputs_of(reader, action.as_str(), parts, against),
        StepKind::Tell(_) => &["told"],
        StepKind::Ask(_) => &["answer", "by"],
        StepKind::Wait(Wait::Until(_)) => &["seen"],
        StepKind::Wait(Wait::For(_)) => &[],
        StepKind::Playbook(sub) => return outputs_of_run(reader, id, sub, parts, against),
        // What a script gives it says when it runs.
        StepKind::Script(_) => return,
    };
    unknown(reader, parts, names, |name| format!("step `{id}` has no output `{name}`"));
}

/// What a run gives that a step has started; a detached one its id alone.
fn outputs_of_run(reader: &mut Reader<'_>, id: &str, sub: &SubPlaybook, parts: &[Entry], against: &Against<'_>) {
    let Some(other) = against.others.iter().find(|other| other.name == sub.playbook) else { return };
    let names: Vec<&str> = if sub.detach { vec!["run"] } else { other.outputs.keys().map(String::as_str).collect() };
    unknown(reader, parts, &names, |name| format!("step `{id}` has no output `{name}`"));
}

/// Outputs that the action does not have would make a test of something that cannot happen.
pub(super) fn outputs_of(reader: &mut Reader<'_>, action: &str, parts: &[Entry], against: &Against<'_>) {
    let Some(spec) = against.known.action(action) else { return };
    let schema = (spec.output)().to_value();
    let Some(properties) = schema.get("properties").and_then(Json::as_object) else { return };
    let names: Vec<&str> = properties.keys().map(String::as_str).collect();
    unknown(reader, parts, &names, |name| format!("`{action}` has no output `{name}`"));
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
        reader.note(mistake.nearest(&entry.key, names.iter().copied()));
    }
}

fn step<'a>(id: &str, against: &'a Against<'_>) -> Option<&'a Step> {
    against.playbook.steps.iter().find(|step| step.id.as_str() == id)
}

fn unknown(reader: &mut Reader<'_>, parts: &[Entry], names: &[&str], what: impl Fn(&str) -> String) {
    for part in parts.iter().filter(|part| !names.contains(&part.key.as_str())) {
        let mistake = reader.source.error(part.at, what(&part.key));
        reader.note(mistake.expected(one_of(names)).nearest(&part.key, names.iter().copied()));
    }
}
