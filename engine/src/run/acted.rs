//! What an act came to: its own word against the world's.
//!
//! Owns which outcome follows from the two, and what is said of it. Never acts. Keeps true: `verified` is what the world said, an
//! end that nobody saw is no success unless the world says so, and what is too large to be kept is left out of the output and said.

use super::conclude::Ending;
use super::job::Acted;
use super::shell::Core;
use quell_model::record::Part;
use quell_model::{ActionError, Json, Outcome, RunId, Truth};

impl<W: Send + 'static> Core<W> {
    pub(super) fn acted(&mut self, id: &RunId, part: &Part, acted: Acted) {
        let Acted { mut run, truth, beside, started, verified } = acted;
        let beside = beside.map(|beside| format!("; {beside}")).unwrap_or_default();
        // It was done, and how it went is known: only what it gave is not kept.
        let cut = run.as_mut().and_then(|run| run.as_mut().ok()).and_then(|output| {
            let why = self.definitions.apart.objection(output)?;
            *output = Json::Null;
            Some(format!("; what it gave {why}, and is left out"))
        });
        let cut = cut.unwrap_or_default();
        let ended = |outcome, output, proof: &str| Ending::acted(outcome, output, proof, started, verified);
        let ending = match (run, truth) {
            (None, truth) => return self.taken_up(id, part, (truth, &beside), verified),
            (Some(Ok(output)), Ok(Truth::Holds)) => {
                ended(Outcome::Verified, output, &format!("the world was asked afterwards, and it is so{beside}{cut}"))
            }
            (Some(Ok(output)), Ok(Truth::CannotAsk)) => {
                ended(Outcome::Done, output, &format!("the world could not be asked{cut}"))
            }
            (Some(Ok(output)), Ok(Truth::Unproved(why))) => {
                ended(Outcome::Done, output, &format!("the world was asked, and not all of it was seen: {why}{cut}"))
            }
            (Some(Ok(output)), Err(error)) => {
                ended(Outcome::Done, output, &format!("the world could not be asked: {error}{cut}"))
            }
            (Some(_), Ok(Truth::HoldsNot(why))) => return self.attempt_failed(id, part, &ActionError::retry(why)),
            (Some(Err(ActionError::Unknown { .. })), Ok(Truth::Holds)) => {
                let output = self.unseen(id, part);
                let proof = format!("its end was not seen, but the world was asked, and it is so{beside}");
                ended(Outcome::Verified, output, &proof)
            }
            (Some(Err(ActionError::Unknown { .. })), Ok(Truth::Unproved(why))) => {
                let output = self.unseen(id, part);
                ended(Outcome::Done, output, &format!("its end was not seen, but the world was asked: {why}"))
            }
            (Some(Err(ActionError::Unknown { why })), _) => {
                let error = if self.at_most_once(id, part) {
                    ActionError::give_up(format!("outcome unknown: {why}"))
                } else {
                    ActionError::retry(why)
                };
                return self.attempt_ended(id, part, &error, true);
            }
            (Some(Err(error)), _) => return self.attempt_failed(id, part, &error),
        };
        self.end(id, part, ending);
    }

    /// Its work panicked: an act may have happened, anything else has not.
    pub(super) fn died(&mut self, id: &RunId, part: &Part, why: &str) {
        let now = self.parts.clock.now();
        let why = format!("its code panicked, which is a mistake in quell: {why}");
        if self.runs.get(id).is_some_and(|live| live.run.is_taken_back(part)) {
            return self.undo_failed(id, part, &ActionError::Unknown { why }, true);
        }
        if self.runs.get(id).is_some_and(|live| live.run.intent(part).is_some()) {
            let unknown = ActionError::Unknown { why };
            let (run, truth) = (Some(Err(unknown.clone())), Err(unknown));
            let acted = Acted { run, truth, beside: None, started: now, verified: now };
            return self.acted(id, part, acted);
        }
        self.attempt_failed(id, part, &ActionError::give_up(why));
    }
}
