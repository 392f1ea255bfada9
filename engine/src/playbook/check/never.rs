//! What is written and can never be so: a step that waits for a failure which cannot come, a wait for something about
//! nothing, a mode that goes no further than the playbook's.
//!
//! Warns and never forbids: what is left of such a playbook does what it says.

use crate::load::playbook::Draft;
use crate::load::reader::Reader;
use crate::load::yaml::Place;
use crate::playbook::graph::Graph;
use quell_model::StepId;
use quell_model::playbook::{OnFailure, Step, StepKind, Wait, When};
use std::collections::{BTreeSet, HashMap};

pub(super) fn check(reader: &mut Reader<'_>, draft: &Draft<'_>, graph: Option<&Graph>) {
    let bad = graph.map(|graph| can_end_badly(draft, graph));
    for (step, places) in &draft.steps {
        if let (When::Failure, Some(at)) = (step.when, places.when) {
            if step.needs.is_empty() {
                let what = format!("step `{}` runs after a failure, and needs no step: it never runs", step.id);
                reader.warning(at, what, "`needs: [...]`, the steps whose failure it is for");
            } else if bad.as_ref().is_some_and(|bad| !step.needs.iter().any(|need| bad.contains(need))) {
                let what = format!("no step that `{}` needs can end badly: it never runs", step.id);
                reader.warning(at, what, "needs without `on_failure: continue`, which makes a failure count as met");
            }
        }
        if let (Some(mode), Some(at)) = (step.mode, places.mode)
            && draft.mode < mode
        {
            let what =
                format!("step `{}` is to {mode}, and its playbook only to {}: the stricter holds", step.id, draft.mode);
            reader.warning(at, what, format!("`mode: {mode}` on the playbook, or no `mode` here"));
        }
        if let (StepKind::Wait(Wait::Until(wanted)), Some(at)) = (&step.kind, places.until)
            && !wanted.anywhere
            && draft.on.detections.is_none()
        {
            about_nothing(reader, draft, &step.id, at);
        }
        if matches!(step.kind, StepKind::Escalate(_)) && draft.on.schedule.is_some() {
            let what = format!("a run that `schedule` starts belongs to no incident: `{}` fails in it", step.id);
            reader.warning(places.id, what, "`on` with `detections` or an `incident`");
        }
    }
}

/// A detection is waited for on the run's entity, which only an event brings.
fn about_nothing(reader: &mut Reader<'_>, draft: &Draft<'_>, id: &StepId, at: Place) {
    let expected = "`anywhere: true` beside `until`, with an `if` that says what is meant";
    if draft.on.schedule.is_some() {
        let what = format!("a run that `schedule` starts is about no entity: `{id}` waits for nothing, and fails");
        return reader.warning(at, what, expected);
    }
    let what = format!("`{id}` fails in a run that is started without an event, which is about no entity");
    reader.remark(at, what, expected);
}

/// The steps that a dependent could see end badly: those whose own failure counts, and those that one before them blocks.
fn can_end_badly<'d>(draft: &'d Draft<'_>, graph: &'d Graph) -> BTreeSet<&'d StepId> {
    let steps: HashMap<&StepId, &Step> = draft.steps.iter().map(|(step, _)| (&step.id, step)).collect();
    let mut bad: BTreeSet<&StepId> = BTreeSet::new();
    // What a step needs comes before it.
    for step in graph.order().filter_map(|id| steps.get(id)) {
        let is_blocked = step.when == When::Success && step.needs.iter().any(|need| bad.contains(need));
        if is_blocked || can_fail(step) {
            bad.insert(&step.id);
        }
    }
    bad
}

/// Whether a step's own failure counts as one for those that need it. A plain wait has nothing that could fail.
fn can_fail(step: &Step) -> bool {
    let only_waits = matches!(step.kind, StepKind::Wait(Wait::For(_)));
    let only_waits = only_waits && step.condition.is_none() && step.for_each.is_none();
    step.on_failure != OnFailure::Continue && !only_waits
}
