//! Open runs, and what a changed playbook would no longer understand of them.
//!
//! Pure: what runs have done comes in. Nothing is decided here, since a run keeps the text that it began with; it is told
//! to whoever changes the text, with the place in the new one.

use crate::load::reader::few;
use crate::load::{line_of, name_line};
use quell_model::playbook::{Playbook, Step, StepKind, Wait};
use quell_model::{Json, Mistake, RunId, Span, StepId};
use std::collections::{BTreeMap, BTreeSet};

/// Runs that are named in one mistake; of more, how many.
const NAMED: usize = 3;

/// A run that has not ended.
#[derive(Clone, Debug)]
pub struct OpenRun {
    /// Which.
    pub id: RunId,
    /// The playbook as it was when the run began; none: this version does not understand it.
    pub pinned: Option<Playbook>,
    /// Steps of which something is in the journal.
    pub begun: BTreeSet<StepId>,
    /// What it was given.
    pub inputs: Json,
}

/// What these runs have and the changed playbook lacks: a warning for each difference, with the runs that it is about.
#[must_use]
pub fn running(changed: &Playbook, runs: &[OpenRun]) -> Vec<Mistake> {
    let mut all: BTreeMap<(Span, String), Vec<&RunId>> = BTreeMap::new();
    for run in runs {
        for (span, what) in differences(changed, run) {
            all.entry((span, what)).or_default().push(&run.id);
        }
    }
    let tell = |((span, what), runs): ((Span, String), Vec<&RunId>)| {
        let names: Vec<String> = runs.iter().map(|id| format!("`{id}`")).collect();
        let mut mistake = Mistake::warning(&changed.file, span, format!("{what}: {}", few(&names, NAMED)));
        mistake.line_text = line_of(changed, span);
        mistake.expected("these runs to end by the text that they began with, which they keep")
    };
    all.into_iter().map(tell).collect()
}

fn differences(changed: &Playbook, run: &OpenRun) -> Vec<(Span, String)> {
    let (name, _) = name_line(changed);
    let Some(pinned) = &run.pinned else {
        return vec![(name, "this version does not understand the text that open runs began with".to_owned())];
    };
    let mut all = Vec::new();
    for id in &run.begun {
        let Some(was) = pinned.step(id) else { continue };
        let Some(is) = changed.step(id) else {
            all.push((name, format!("there is no step `{id}` any more, and open runs have begun it")));
            continue;
        };
        if let Some(what) = step(was, is) {
            all.push((is.span, format!("step `{id}` {what} in open runs that have begun it")));
        }
        for need in is.needs.iter().filter(|need| !was.needs.contains(need) && !run.begun.contains(*need)) {
            all.push((is.span, format!("step `{id}` needs `{need}` here, and open runs have begun it without")));
        }
    }
    all.extend(inputs(changed, pinned, &run.inputs).into_iter().map(|what| (key_line(changed, "inputs"), what)));
    all
}

/// What a step was, where what it leaves to later steps is another thing now.
fn step(was: &Step, is: &Step) -> Option<String> {
    let word = |step: &Step| match &step.kind {
        StepKind::Action { action, .. } => format!("`{action}`"),
        StepKind::Script(_) => "a script".to_owned(),
        StepKind::Tell(_) => "a message".to_owned(),
        StepKind::Escalate(_) => "an escalation".to_owned(),
        StepKind::Ask(_) => "a question".to_owned(),
        StepKind::Wait(Wait::For(_)) => "a wait".to_owned(),
        StepKind::Wait(Wait::Until(_)) => "a wait for a detection".to_owned(),
        StepKind::Playbook(sub) => format!("the playbook `{}`", sub.playbook),
    };
    if word(was) != word(is) {
        return Some(format!("is {} here, and was {}", word(is), word(was)));
    }
    if was.for_each.is_some() != is.for_each.is_some() {
        let (is, was) = if is.for_each.is_some() { ("for each item", "once") } else { ("once", "for each item") };
        return Some(format!("is done {is} here, and {was}"));
    }
    match (&was.kind, &is.kind) {
        (StepKind::Script(was), StepKind::Script(is)) if was.text != is.text => {
            Some("has another script here, and gave what its former one gives".to_owned())
        }
        (StepKind::Ask(was), StepKind::Ask(is)) if was.choices != is.choices => {
            Some("has other choices here, and was asked with its former ones".to_owned())
        }
        _ => None,
    }
}

fn inputs(changed: &Playbook, pinned: &Playbook, given: &Json) -> Vec<String> {
    let mut all = Vec::new();
    for (name, spec) in &changed.inputs {
        match given.get(name) {
            None if spec.default.is_none() => {
                all.push(format!("input `{name}` is needed here, and was not given to open runs"));
            }
            Some(value) if !spec.kind.takes(value) => {
                all.push(format!("input `{name}` is of another type here than what was given to open runs"));
            }
            _ => {}
        }
    }
    let gone = pinned.inputs.keys().filter(|name| !changed.inputs.contains_key(*name));
    all.extend(gone.map(|name| format!("there is no input `{name}` any more, and open runs may read it")));
    all
}

/// The line that begins with a key, else the one with the name.
fn key_line(playbook: &Playbook, key: &str) -> Span {
    let begins = |line: &str| line.strip_prefix(key).is_some_and(|rest| rest.starts_with([':', '(', ' ']));
    let found = playbook.text.lines().position(begins).and_then(|at| u32::try_from(at + 1).ok());
    let length = u32::try_from(key.len()).unwrap_or(1);
    found.map_or_else(|| name_line(playbook).0, |line| Span { line, column: 1, length })
}
