//! How a run has ended that nothing takes back: the pure part.
//!
//! Owns the sentence that people read of it. Keeps true: what is allowed to go wrong makes no run fail.

use super::Run;
use quell_model::Outcome;
use quell_model::playbook::{OnFailure, Step};
use quell_model::record::RunState;
use std::collections::BTreeMap;

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
