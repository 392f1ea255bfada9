//! What people answer in a case: read from its file, and given while it is played.
//!
//! Keeps true: an answer that no question takes makes the case fail, so that none is there for nothing.

use super::read::{Against, known_step, step_of};
use super::stage::Stage;
use crate::load::reader::{Fields, Reader, one_of};
use crate::load::yaml::{Entry, Node, Place, Value};
use crate::run::AnswerGiven;
use quell_model::playbook::{Playbook, Step, StepKind};
use quell_model::record::Part;
use quell_model::{Mode, Name, People, RunId, Stamp};
use std::time::Duration;

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Given {
    /// `step`, or `step[3]`.
    pub(super) part: String,
    pub(super) choice: Name,
    /// Who; none: whoever is asked.
    pub(super) by: Option<Name>,
    via: Name,
    /// So long after it was asked.
    after: Duration,
    why: String,
    /// Line and column of it.
    pub(super) at: (u32, u32),
}

/// The approvers that a playbook names, as often as it does.
pub(super) fn asked_for(playbook: &Playbook) -> impl Iterator<Item = &Name> {
    playbook.steps.iter().flat_map(|step| {
        let approve = step.approve.as_ref().and_then(|approve| approve.by.as_ref());
        let confirm = step.confirm.as_ref().and_then(|confirm| confirm.by.as_ref());
        let ask = if let StepKind::Ask(ask) = &step.kind { ask.by.as_ref() } else { None };
        [approve, confirm, ask].into_iter().flatten()
    })
}

/// Once people are known, only those count whom somebody has named.
pub(super) fn asks(reader: &mut Reader<'_>, fields: &Fields<'_>, playbook: &Playbook, people: &People) {
    let Some(entry) = fields.entry("people").filter(|_| !people.is_empty()) else { return };
    let by = asked_for(playbook);
    let mut missing: Vec<&str> = by.filter(|name| !people.approvers.contains_key(*name)).map(Name::as_str).collect();
    missing.sort_unstable();
    missing.dedup();
    for name in missing {
        let what =
            format!("the playbook asks the approvers `{name}`, and there are none of that name among these people");
        let mistake =
            reader.source.error(entry.at, what).expected(format!("`approvers: {{ {name}: {{ people: [...] }} }}`"));
        reader.note_near(mistake, name, people.approvers.keys().map(Name::as_str));
    }
}

/// Reads `answers`.
pub(super) fn read(reader: &mut Reader<'_>, node: &Node, against: &Against<'_>, mode: Option<Mode>) -> Vec<Given> {
    let mut all = Vec::new();
    for entry in reader.map(node, "`answers`").unwrap_or_default() {
        known(reader, entry, against, mode);
        let one = std::slice::from_ref(&entry.value);
        let items = if let Value::List(list) = &entry.value.value { list.as_slice() } else { one };
        all.extend(items.iter().filter_map(|item| given(reader, item, &entry.key, against)));
    }
    all
}

fn given(reader: &mut Reader<'_>, node: &Node, part: &str, against: &Against<'_>) -> Option<Given> {
    let at = (node.at.line, node.at.column);
    let mut given = Given {
        part: part.to_owned(),
        choice: "".into(),
        by: None,
        via: "socket".into(),
        after: Duration::ZERO,
        why: String::new(),
        at,
    };
    if let Value::Text(_) = node.value {
        given.choice = reader.text(node, "an answer")?.into();
        somebody(reader, node.at, part, against);
        return Some(given);
    }
    let fields = reader.fields(node, "an answer", &["choice", "by", "via", "after", "why"], &[])?;
    match fields.get("choice") {
        Some(node) => given.choice = reader.text(node, "`choice`")?.into(),
        None => {
            reader.error(fields.at, "the answer says nothing", "`choice: approve`");
            return None;
        }
    }
    match fields.get("by") {
        Some(node) => given.by = Some(by(reader, node, against)?),
        None => somebody(reader, fields.at, part, against),
    }
    if let Some(node) = fields.get("via") {
        given.via = reader.text(node, "`via`")?.into();
    }
    if let Some(node) = fields.get("after") {
        given.after = reader.duration(node, "`after`")?;
    }
    if let Some(node) = fields.get("why") {
        given.why = reader.text(node, "`why`")?.to_owned();
    }
    Some(given)
}

/// Whoever answers, among the people of the file where it has some.
fn by(reader: &mut Reader<'_>, node: &Node, against: &Against<'_>) -> Option<Name> {
    let text = reader.text(node, "`by`")?;
    let people = against.people;
    if !people.is_empty() && !people.people.contains_key(text) {
        let names: Vec<&str> = people.people.keys().map(Name::as_str).collect();
        let mistake = reader.source.error(node.at, format!("there is no person `{text}` in this file"));
        reader.note_near(mistake.expected(one_of(&names)), text, names.iter().copied());
    }
    Some(text.into())
}

/// An answer that says of nobody that it is theirs: fine where nobody is known, or where one person is asked.
fn somebody(reader: &mut Reader<'_>, at: Place, part: &str, against: &Against<'_>) {
    let step = against.playbook.steps.iter().find(|step| step.id.as_str() == step_of(part));
    let asks_one = |step: &Step| matches!(&step.kind, StepKind::Ask(ask) if ask.person.is_some());
    if !against.people.is_empty() && !step.is_some_and(asks_one) {
        let names: Vec<&str> = against.people.people.keys().map(Name::as_str).collect();
        let what = "whose answer is it? Once people are known, only theirs count";
        reader.error(at, what, format!("`{{ choice: …, by: … }}` with {}", one_of(&names)));
    }
}

/// Whether the step can ask at all. In the mode `approve`, and on what is old, every action may.
fn known(reader: &mut Reader<'_>, entry: &Entry, against: &Against<'_>, mode: Option<Mode>) {
    let id = step_of(&entry.key);
    if !known_step(reader, id, entry.at, against) {
        return;
    }
    let Some(step) = against.playbook.steps.iter().find(|step| step.id.as_str() == id) else { return };
    if mode == Some(Mode::Observe) && !matches!(step.kind, StepKind::Ask(_)) {
        reader.error(entry.at, format!("`{id}` asks nobody in observe: it only plans"), "another mode, or no answer");
    } else if !matches!(step.kind, StepKind::Action { .. } | StepKind::Ask(_)) {
        reader.error(entry.at, format!("`{id}` asks nobody"), "a step with `ask`, or with an action");
    }
}

impl Stage {
    /// Gives the answers whose time has come; whether one was given.
    pub(super) fn answer(&mut self, left: &mut Vec<Given>, now: Stamp) -> Result<bool, String> {
        for (run, part, asked, person) in self.core.open() {
            let is_due = |given: &Given| given.is_for(&part) && asked.after(given.after) <= now;
            let Some(at) = left.iter().position(is_due) else { continue };
            let given = left.remove(at);
            self.core.give(&given.to(run, &part, person)).map_err(|why| format!("line {}: {why}", given.at.0))?;
            return Ok(true);
        }
        Ok(false)
    }

    /// When the next answer is due.
    pub(super) fn next_answer(&self, left: &[Given]) -> Option<Stamp> {
        let open = self.core.open();
        let due = open.iter().flat_map(|(_, part, asked, _)| {
            left.iter().filter(|given| given.is_for(part)).map(|given| asked.after(given.after))
        });
        due.min_by_key(|at| at.boot_ns)
    }
}

impl Given {
    fn is_for(&self, part: &Part) -> bool {
        self.part == part.to_string() || self.part == part.step.as_str()
    }

    fn to(&self, run: RunId, part: &Part, asked: Option<Name>) -> AnswerGiven {
        AnswerGiven {
            run,
            step: Some(part.step.clone()),
            // An answer to the step is one to all its items.
            item: if self.part == part.step.as_str() { None } else { part.item },
            choice: self.choice.clone(),
            plan: None,
            by: self.by.clone().or(asked).unwrap_or_else(|| "somebody".into()),
            via: self.via.clone(),
            from: None,
            why: self.why.clone(),
        }
    }
}
