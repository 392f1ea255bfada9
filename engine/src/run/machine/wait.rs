//! Steps that wait: the pure part.
//!
//! Owns until when a part waits, and which detections its run knows already. Keeps true: a wait ends once, at its moment or
//! before it, and a detection ends no wait that began after it came.

use super::{Phase, Run};
use quell_model::playbook::{StepKind, Wait, WaitUntil};
use quell_model::record::{Part, TimerSet};
use quell_model::{Json, Stamp};

/// What a timer is for that a step set by waiting.
pub const WAIT: &str = "wait";

impl Phase {
    /// The moment that it waits for by itself.
    pub(super) fn waits_until(&self) -> Option<Stamp> {
        match self {
            Self::Waiting(at) | Self::Sleeping(at) => Some(*at),
            Self::Idle | Self::Acting(_) | Self::Sub | Self::Asking(_) | Self::Answered(..) | Self::Ended(_) => None,
        }
    }
}

impl Run {
    pub(super) fn timer_set(&mut self, timer: &TimerSet) {
        if let Some(progress) = self.progress_mut(&timer.part).filter(|_| timer.what.as_str() == WAIT) {
            progress.attempts = 1;
            progress.phase = Phase::Sleeping(timer.until);
        }
    }

    /// What a part waits for.
    #[must_use]
    pub fn waits_for(&self, part: &Part) -> Option<&Wait> {
        let Phase::Sleeping(_) = self.progress(part)?.phase else { return None };
        // What was left out waits for nothing any more, nor does any item of it.
        if matches!(self.steps.get(&part.step)?.whole.phase, Phase::Ended(_)) {
            return None;
        }
        match &self.playbook.step(&part.step)?.kind {
            StepKind::Wait(wait) => Some(wait),
            _ => None,
        }
    }

    /// The detection that a part waits for at this moment, and until when.
    #[must_use]
    pub fn awaits(&self, part: &Part, now: Stamp) -> Option<&WaitUntil> {
        let until = self.progress(part)?.phase.waits_until()?;
        match self.waits_for(part)? {
            Wait::Until(wanted) if now < until => Some(wanted),
            Wait::Until(_) | Wait::For(_) => None,
        }
    }

    /// The parts that wait for a detection.
    pub fn awaiting(&self) -> impl Iterator<Item = (Part, &WaitUntil)> {
        self.parts().filter_map(|(part, _)| match self.waits_for(&part)? {
            Wait::Until(wanted) => Some((part, &**wanted)),
            Wait::For(_) => None,
        })
    }

    /// Whether a detection of this id began the run, or has ended a wait of it: a source may tell it again.
    #[must_use]
    pub fn has_seen(&self, id: &Json) -> bool {
        let seen = self.parts().filter_map(|(_, progress)| progress.output.pointer("/seen/id"));
        seen.chain(self.started.detection.get("id")).any(|seen| seen == id)
    }
}
