//! Parts that may have acted, and that nobody is at: the pure part.
//!
//! Owns which they are. Keeps true: none of them ends as one that was never begun.

use super::{Phase, Progress, Run};
use quell_model::StepId;
use quell_model::record::Part;

impl Run {
    /// The parts of a step that may have acted, and wait for a person or for their next attempt.
    pub fn unknown<'a>(&'a self, step: &'a StepId) -> impl Iterator<Item = Part> + 'a {
        let parts = self.parts().filter(move |(part, progress)| part.step == *step && progress.is_unknown());
        parts.map(|(part, _)| part)
    }

    /// How often a part was tried.
    #[must_use]
    pub fn attempts(&self, part: &Part) -> u32 {
        self.progress(part).map_or(0, |progress| progress.attempts)
    }

    /// What was last said of a part.
    #[must_use]
    pub fn why(&self, part: &Part) -> &str {
        self.progress(part).map_or("", |progress| &progress.why)
    }
}

impl Progress {
    /// Nobody is at it, and nobody knows whether it acted: a person is asked about an intent from before a crash, or the end of its
    /// last attempt was not seen.
    pub(super) fn is_unknown(&self) -> bool {
        match self.phase {
            Phase::Asking(_) | Phase::Answered(..) => self.taken_up == Some(true),
            Phase::Waiting(_) => self.open,
            Phase::Idle | Phase::Acting(_) | Phase::Sleeping(_) | Phase::Sub | Phase::Ended(_) => false,
        }
    }
}
