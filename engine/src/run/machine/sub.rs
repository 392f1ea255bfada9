//! Runs that a step starts: the pure part.
//!
//! Owns which run each part has started, and how well a run has proved what it did. Keeps true: a part has one run, and what
//! that run did is to be taken back until it is known that nothing of it stands.

use super::{Phase, Progress, Run, back::Back};
use quell_model::playbook::StepKind;
use quell_model::record::{Part, SubRunStarted};
use quell_model::{Outcome, RunId};

impl Progress {
    /// The part has ended: what its run did stands.
    pub(super) fn sub_ended(&mut self, before: &Phase) {
        if *before == Phase::Sub && self.sub.as_ref().is_some_and(|sub| !sub.detached) {
            self.back = Some(Back::Stands);
        }
    }
}

impl Run {
    pub(super) fn sub_started(&mut self, sub: &SubRunStarted) {
        if let Some(progress) = self.progress_mut(&sub.part) {
            progress.attempts = 1;
            progress.sub = Some(Box::new(sub.clone()));
            progress.phase = Phase::Sub;
            // Of an earlier one nothing stood any more.
            progress.back = None;
        }
    }

    /// The run that a part has started.
    #[must_use]
    pub fn sub(&self, part: &Part) -> Option<&SubRunStarted> {
        self.progress(part)?.sub.as_deref()
    }

    /// All that its parts have started, the latest of each.
    pub fn subs(&self) -> impl Iterator<Item = &SubRunStarted> {
        self.parts().filter_map(|(_, progress)| progress.sub.as_deref())
    }

    /// Whether taking back this part takes back what that run does.
    #[must_use]
    pub fn reaches(&self, part: &Part, run: &RunId) -> bool {
        let progress = self.progress(part);
        let stands = progress.and_then(|progress| progress.back.as_ref()).is_some_and(Back::stands);
        stands && self.sub(part).is_some_and(|sub| sub.run == *run)
    }

    /// Whether all that it did is being taken back, and where that is asked for, because a person wants it.
    #[must_use]
    pub fn undoes_all(&self, for_person: bool) -> bool {
        self.undo.as_ref().is_some_and(|undo| undo.is_whole_for(for_person))
    }

    /// How well what it did is proved, if it has succeeded: no better than the weakest of its acts.
    #[must_use]
    pub fn proved(&self) -> Outcome {
        let is_sub =
            |part: &Part| self.playbook.step(&part.step).is_some_and(|step| matches!(step.kind, StepKind::Playbook(_)));
        let ends = self.parts().filter_map(|(part, progress)| match progress.phase {
            Phase::Ended(outcome @ (Outcome::Planned | Outcome::Already)) => Some(outcome),
            Phase::Ended(outcome) if !progress.acted.is_empty() || is_sub(&part) => Some(outcome),
            _ => None,
        });
        let ends: Vec<Outcome> = ends.collect();
        let weakest = [Outcome::Planned, Outcome::Done, Outcome::Verified, Outcome::Already];
        weakest.into_iter().find(|outcome| ends.contains(outcome)).unwrap_or(Outcome::Done)
    }
}
