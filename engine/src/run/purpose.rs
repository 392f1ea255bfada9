//! What an attempt that does not act after all is told as.
//!
//! Owns whether an attempt is new or an intent from before a crash, and its end where it is held back. Keeps true: of what may
//! have happened nothing says that it did not, and what surely did not leaves no lease behind.

use super::conclude::Ending;
use super::machine::Run;
use super::shell::Core;
use quell_model::guard::{Admitted, PAUSED};
use quell_model::record::Part;
use quell_model::{RunId, Stamp, StoreError};

/// Whether an attempt is new, or an intent from before a crash; of such a one, whether the world says that it was not done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    First,
    TakenUp {
        not_done: bool,
    },
    /// From before a crash, and so long ago that a person is asked whether it is still wanted.
    Stale {
        not_done: bool,
    },
    /// From before a crash as well, and a person was asked about it since: it is counted, and intended anew.
    Asked {
        not_done: bool,
    },
}

impl Purpose {
    /// It may have been done, and the world does not say.
    pub(super) fn may_have_acted(self) -> bool {
        match self {
            Self::First => false,
            Self::TakenUp { not_done } | Self::Stale { not_done } | Self::Asked { not_done } => !not_done,
        }
    }

    /// The journal holds an intent that has no outcome yet.
    pub(super) fn is_intended(self) -> bool {
        matches!(self, Self::TakenUp { .. } | Self::Stale { .. })
    }

    /// Of what a person was asked about before it is tried: what was intended before a crash says whether it may have acted.
    pub(super) fn of_asked(taken_up: Option<bool>) -> Self {
        taken_up.map_or(Self::First, |may_have_acted| Self::Asked { not_done: !may_have_acted })
    }
}

impl<W: Send + 'static> Core<W> {
    /// A pause came while its intent was on its way to the disk: it has not acted.
    pub(super) fn paused_before(&mut self, id: &RunId, part: &Part) {
        let plan = self.under_way(id, part).and_then(|under_way| under_way.admitted.as_ref()).map(Admitted::plan);
        let target = plan.and_then(|plan| plan.targets.first()).map(|target| target.label.clone()).unwrap_or_default();
        self.counted.refused_by_pause += 1;
        self.untouched(id, part, Ending::refused("pause", &target, PAUSED.to_owned()));
    }

    /// Its intent did not get into the journal: it has not acted.
    pub(super) fn unwritten(&mut self, id: &RunId, part: &Part, error: &StoreError) {
        let why = format!("its intent could not be journaled: {error}");
        self.untouched(id, part, Ending::refused("journal", "", why));
    }

    /// This attempt has not acted; before a crash it may have.
    fn untouched(&mut self, id: &RunId, part: &Part, ending: Ending) {
        let purpose = Purpose::of_asked(self.runs.get(id).and_then(|live| live.run.taken_up(part)));
        self.not_done(id, part, purpose, Ending { untouched: true, ..ending });
    }

    /// Whether the guard counts an intent from before a crash where it looks back now: what is older than its limit's time is a
    /// further act.
    pub(super) fn is_counted(&self, run: &Run, part: &Part, action: &str, now: Stamp) -> bool {
        let intended = run.intended_at(part).unwrap_or(run.began);
        let guard = self.guard();
        let mut rows = guard.limits.that_count(action).chain(guard.per_playbook.that_count(action));
        rows.all(|rate| now.since(intended) <= rate.per)
    }

    /// What did not act after all ends so; where nobody knows whether it had acted before a crash, that is how it ends.
    pub(super) fn not_done(&mut self, id: &RunId, part: &Part, purpose: Purpose, ending: Ending) {
        if !purpose.may_have_acted() {
            return self.end(id, part, ending);
        }
        let proof = format!(
            "outcome unknown: the engine ended before it saw the end, and it is not done again: {}",
            ending.proof
        );
        self.end(id, part, Ending { refusal: ending.refusal, unknown: true, ..Ending::failed(proof) });
    }
}
