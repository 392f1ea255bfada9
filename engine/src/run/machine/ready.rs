//! Whether a step may begin: the pure part.
//!
//! Owns what the ends of its needs make of it. Keeps true: what a person left out is met for whatever needs it, however it had to
//! end.

use super::{Command, Run};
use quell_model::playbook::{OnFailure, Step, When};
use quell_model::{Outcome, StepId};

pub(super) enum Readiness {
    NotYet,
    Ready,
    /// `when: failure`, and nothing failed.
    Needless,
    Blocked(StepId),
}

/// Its run ended before it.
pub(super) fn cancelled(step: &Step) -> Command {
    Command::Block { step: step.id.clone(), by: None, outcome: Outcome::Cancelled }
}

impl Run {
    pub(super) fn readiness(&self, step: &Step) -> Readiness {
        let mut worst = None;
        for need in &step.needs {
            let Some(outcome) = self.outcome(need) else {
                return Readiness::NotYet;
            };
            let continues = self.playbook.step(need).is_some_and(|need| need.on_failure == OnFailure::Continue);
            let forgiven = (continues || self.steps[need].whole.left_out)
                && matches!(outcome, Outcome::Failed | Outcome::Refused | Outcome::Denied);
            if !outcome.is_met() && !forgiven {
                worst.get_or_insert_with(|| need.clone());
            }
        }
        match (step.when, worst) {
            (When::Success, Some(by)) => Readiness::Blocked(by),
            (When::Failure, None) => Readiness::Needless,
            _ => Readiness::Ready,
        }
    }

    /// Failed, refused or denied by itself, and not left out by a person.
    pub(super) fn is_bad(&self, step: &Step) -> bool {
        matches!(self.outcome(&step.id), Some(Outcome::Failed | Outcome::Refused | Outcome::Denied))
            && !self.steps[&step.id].whole.left_out
    }
}
