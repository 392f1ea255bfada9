//! What an attempt that does not act after all is told as.
//!
//! Owns whether an attempt is new or an intent from before a crash, and its end where it is held back. Keeps true: of what may
//! have happened nothing says that it did not, and what surely did not leaves no lease behind.

use super::conclude::Ending;
use super::judge::At;
use super::shell::Core;
use quell_model::record::{Intended, Part};
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

/// Why nobody knows.
const TAKEN_UP: &str = "the engine ended before it saw the end";

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
    /// Its intent did not get into the journal: it has not acted.
    pub(super) fn unwritten(&mut self, id: &RunId, part: &Part, error: &StoreError) {
        let why = format!("its intent could not be journaled: {error}");
        let purpose = self.under_way(id, part).map_or(Purpose::First, |under_way| under_way.purpose);
        let ending = Ending { untouched: !purpose.is_intended(), ..Ending::refused("journal", "", why) };
        self.not_done(id, part, purpose, ending);
    }

    /// What a question about a part says of the intent that the journal holds, if it holds one.
    pub(super) fn is_intended(&self, id: &RunId, part: &Part, purpose: Purpose, at: At) -> Intended {
        let acted = || self.runs.get(id).is_some_and(|live| live.run.acted(part).is_some());
        match (purpose, at) {
            (purpose, _) if purpose.may_have_acted() => Intended::Unknown,
            (Purpose::First, At::Planned) => Intended::Unknown,
            (Purpose::First | Purpose::Asked { .. }, At::Act) if !acted() => Intended::Untouched,
            _ => Intended::NotDone,
        }
    }

    /// Whether an intent from before a crash is recent enough for all that the guard counts: what is older than a limit's time is a
    /// further act there.
    pub(super) fn is_lately(&self, action: &str, counted: Option<Stamp>, now: Stamp) -> bool {
        let guard = self.guard();
        let rows = guard.limits.that_count(action).chain(guard.per_playbook.that_count(action));
        let within = rows.map(|rate| rate.per).chain([guard.breaker.within]).min();
        counted.zip(within).is_some_and(|(then, within)| now.since(then) <= within)
    }

    /// Nobody waits any longer for a part of which nobody knows whether it acted.
    pub(super) fn leave(&mut self, id: &RunId, part: &Part) {
        let drops = self.runs.get(id).is_some_and(|live| live.run.drops_items(&part.step));
        let stopped = "the run was cancelled, or is taken back";
        self.left_unknown(id, part, if drops { stopped } else { "another item of its list did not end well" });
    }

    /// It ends so.
    pub(super) fn left_unknown(&mut self, id: &RunId, part: &Part, because: &str) {
        let Some(live) = self.runs.get(id) else { return };
        let seen = match live.run.taken_up(part) {
            Some(_) => TAKEN_UP,
            None => live.run.why(part),
        };
        let proof = format!("outcome unknown: {seen}, and it is not done again: {because}");
        self.end(id, part, Ending { unknown: true, ..Ending::failed(proof) });
    }

    /// What did not act after all ends so; where nobody knows whether it had acted before a crash, that is how it ends.
    pub(super) fn not_done(&mut self, id: &RunId, part: &Part, purpose: Purpose, ending: Ending) {
        if !purpose.may_have_acted() {
            return self.end(id, part, ending);
        }
        let proof = format!("outcome unknown: {TAKEN_UP}, and it is not done again: {}", ending.proof);
        self.end(id, part, Ending { refusal: ending.refusal, unknown: true, ..Ending::failed(proof) });
    }
}
