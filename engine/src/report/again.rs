//! Steps that are done again: what a view keeps of the time before.
//!
//! Owns that alone. Keeps true: a step is told as it stands now; how it went before stands in the timeline. What still stands of it
//! is no secret, and what people were asked stays with what they said.

use super::run::{Places, StepView};
use quell_model::record::Part;
use std::collections::HashSet;

/// These have not begun.
pub(super) fn begin(steps: &mut [StepView], again: &[Part], places: &mut Places) {
    for part in again {
        let Some(step) = steps.iter_mut().find(|step| step.id == part.step.as_str()) else { continue };
        let whole = part.item.is_none();
        if let Some(item) = step.items.iter_mut().find(|item| item.id == part.to_string()) {
            begin_one(item);
        }
        let items = std::mem::take(&mut step.items);
        begin_one(step);
        if whole {
            let gone: HashSet<&str> = items.iter().map(|item| item.id.as_str()).collect();
            places.retain(|id, _| !gone.contains(id.as_str()));
        } else {
            step.items = items;
        }
    }
}

fn begin_one(step: &mut StepView) {
    let before = std::mem::take(step);
    let (id, action, lease, questions) = (before.id, before.action, before.lease, before.questions);
    *step = StepView { id, action, lease, questions, again: true, ..StepView::default() };
}
