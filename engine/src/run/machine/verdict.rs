//! How a run has ended that nothing takes back: the pure part.
//!
//! Owns the sentence that people read of it. Keeps true: what is allowed to go wrong makes no run fail.

use super::{Phase, Run};
use crate::playbook::reads::depends_only_on;
use quell_model::playbook::{OnFailure, Step, StepKind};
use quell_model::record::RunState;
use quell_model::{Mode, Outcome};
use std::collections::BTreeMap;

/// What is the same for a detection that is the very same: of other steps what they gave out of these.
const SETTLED: [&str; 4] = ["event", "detection", "vars", "steps"];

impl Run {
    pub(super) fn verdict(&self) -> (RunState, String) {
        if self.cancelled {
            return (RunState::Cancelled, "cancelled by a person".to_owned());
        }
        let bad = |outcome| matches!(outcome, Outcome::Failed | Outcome::Refused | Outcome::Denied | Outcome::Blocked);
        let first = self.playbook.steps.iter().filter(|step| step.on_failure != OnFailure::Continue).find_map(|step| {
            let (outcome, _, why) = self.result(&step.id)?;
            bad(outcome).then(|| format!("`{}` {outcome}: {why}", step.id))
        });
        match first {
            Some(summary) => (RunState::Failed, summary),
            None if self.is_all_undone() => (RunState::Undone, self.outcomes()),
            None => (RunState::Succeeded, self.outcomes()),
        }
    }

    /// Whether it did no more than plan, of those that have not acted: it may not do more, or it was left at a plan and ended well.
    /// One that was refused or failed is no answer to what comes later, nor is one that only told.
    #[must_use]
    pub fn only_planned(&self) -> bool {
        if self.started.mode == Mode::Observe {
            return true;
        }
        let ends = || {
            self.parts().filter_map(|(_, progress)| match progress.phase {
                Phase::Ended(outcome) => Some(outcome),
                _ => None,
            })
        };
        !self.cancelled && ends().any(|outcome| outcome == Outcome::Planned) && ends().all(Outcome::is_met)
    }

    /// How many of its parts were refused, where none did anything but tell or reckon, and all that it reckoned comes out so again.
    #[must_use]
    pub fn only_refused(&self) -> Option<usize> {
        let mut refused = 0;
        for (part, progress) in self.parts() {
            let Phase::Ended(outcome) = progress.phase else { return None };
            let step = self.playbook.step(&part.step)?;
            match (outcome, &step.kind) {
                (Outcome::Blocked, _) => {}
                _ if !self.is_decided_again(step) => return None,
                (Outcome::Refused, _) => refused += 1,
                (Outcome::Skipped, _) | (Outcome::Done, StepKind::Tell(_)) => {}
                (Outcome::Done | Outcome::Already, StepKind::Escalate(_)) => {}
                (Outcome::Done, StepKind::Script(script)) if depends_only_on(&script.text, &SETTLED) => {}
                _ => return None,
            }
        }
        (!self.cancelled && refused > 0).then_some(refused)
    }

    /// Whether what it begins by is the same again: no person left it out, and it reads nothing else.
    fn is_decided_again(&self, step: &Step) -> bool {
        let is_left_out = self.steps.get(&step.id).is_some_and(|state| state.whole.left_out);
        let mut decides = step.condition.iter().chain(step.for_each.iter().map(|each| &each.list));
        !is_left_out && decides.all(|one| depends_only_on(&one.text, &SETTLED))
    }

    /// How many steps ended how: `2 verified, 1 done`.
    fn outcomes(&self) -> String {
        let mut counts: BTreeMap<Outcome, usize> = BTreeMap::new();
        let now = |step: &Step| {
            if self.steps[&step.id].whole.undone { Some(Outcome::Undone) } else { self.outcome(&step.id) }
        };
        for outcome in self.playbook.steps.iter().filter_map(now) {
            *counts.entry(outcome).or_default() += 1;
        }
        counts.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect::<Vec<_>>().join(", ")
    }
}
