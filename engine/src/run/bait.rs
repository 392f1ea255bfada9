//! Where a run began, and what its captures found: what the guard's rule about planted identities goes by.
//!
//! Reads the run's own records, and those of the runs that started it while they are open. Keeps true: an output counts
//! only where a verb of the capture lane gave it and its step ended well.

use super::machine::Run;
use super::shell::Core;
use quell_model::guard::Owned;
use quell_model::playbook::StepKind;
use quell_model::record::RunStarted;
use quell_model::{Json, Lane, Outcome, Plan, TargetFacts};
use std::iter;

impl<W: Send + 'static> Core<W> {
    /// What the captures of a run that began on a host or in a pod found to be owned; none: it began elsewhere, or the plan
    /// touches no identity.
    pub(super) fn owned(&self, run: &Run, plan: &Plan) -> Option<Owned> {
        let is_identity = |facts: &TargetFacts| matches!(facts, TargetFacts::Identity { .. });
        if !plan.targets.iter().any(|target| is_identity(&target.facts)) || !began_on_a_host(&run.started) {
            return None;
        }
        let mut owned = Owned::default();
        for run in iter::once(run).chain(self.above(run).map(|above| &above.run)) {
            self.captured(run, &mut owned);
        }
        Some(owned)
    }

    fn captured(&self, run: &Run, owned: &mut Owned) {
        for step in &run.playbook.steps {
            let StepKind::Action { action, .. } = &step.kind else { continue };
            if self.parts.crew.get(action.as_str()).is_none_or(|verb| verb.spec().lane != Lane::Capture) {
                continue;
            }
            let whole = run.result(&step.id).map(|(outcome, output, _)| (Some(outcome), output));
            let items = run.items(&step.id).map(|(_, outcome, output, _)| (outcome, output));
            for (outcome, output) in whole.into_iter().chain(items) {
                // What cannot be read counts for nothing: it is asked about.
                if matches!(outcome, Some(Outcome::Verified | Outcome::Done))
                    && let Ok(output) = self.contents.whole(output)
                {
                    owned.take_in(&output);
                }
            }
        }
    }
}

/// Whether any event of the run is one of a host, where whoever is attacked can write what is found: all but the records of a
/// cloud's or a cluster's own log, which are about a principal.
fn began_on_a_host(started: &RunStarted) -> bool {
    let more = started.detection.get("events").and_then(Json::as_array).into_iter().flatten();
    let is_one = |event: &Json| {
        let subject = event.get("subject").and_then(Json::as_str).unwrap_or_default();
        event.is_object() && !subject.starts_with("principal:")
    };
    iter::once(&started.event).chain(more).any(is_one)
}
