//! `needs`: every one names a step, and together they make a DAG.

use crate::load::playbook::Draft;
use crate::load::reader::Reader;
use crate::playbook::graph::Graph;
use quell_model::StepId;
use std::collections::BTreeSet;

/// Notes what is wrong; the graph, if it is one.
pub(super) fn check(reader: &mut Reader<'_>, draft: &Draft<'_>) -> Option<Graph> {
    for (step, places) in &draft.steps {
        let mut seen = BTreeSet::new();
        for (need, at) in &places.needs {
            if *need == step.id {
                reader.error(*at, format!("step `{need}` needs itself"), "other steps");
            } else if !draft.has(need.as_str()) {
                let mistake = reader.source.error(*at, format!("there is no step `{need}`"));
                let ids = draft.ids.iter().map(String::as_str).filter(|id| *id != step.id.as_str());
                reader.note_near(mistake.expected("the id of a step of this playbook"), need.as_str(), ids);
            } else if !seen.insert(need) {
                reader.warning(*at, format!("step `{}` needs `{need}` twice", step.id), "each once");
            }
        }
    }
    let without_self = |id: &StepId, needs: &[StepId]| needs.iter().filter(|need| *need != id).cloned().collect();
    let steps: Vec<(&StepId, Vec<StepId>)> =
        draft.steps.iter().map(|(step, _)| (&step.id, without_self(&step.id, &step.needs))).collect();
    match Graph::of(steps.iter().map(|(id, needs)| (*id, needs.as_slice()))) {
        Ok(graph) => Some(graph),
        Err(cycles) => {
            for cycle in cycles {
                let first = draft.steps.iter().find(|(step, _)| Some(&step.id) == cycle.0.first());
                let Some((_, places)) = first else { continue };
                let next = cycle.0.get(1);
                let at = places.needs.iter().find(|(need, _)| Some(need) == next).map_or(places.id, |(_, at)| *at);
                reader.error(at, cycle.to_string(), "needs without a circle");
            }
            None
        }
    }
}
