//! Answers from messages: a button, or a link.
//!
//! Owns whether an answer still means what stands now. What is to be done then is the request's own. Keeps true: what was asked
//! anew, or has changed since the message was written, is not answered by it, and is told so; a link does each thing once.

use super::super::answers::IncidentAcknowledged;
use super::super::ladder::Change;
use super::super::request::{Pressed, Refusal, Request, Turned};
use super::super::shell::Core;
use crate::escalation::outbox::Outbox;
use quell_model::notice::Act;
use quell_model::record::{IncidentState, LadderChange};
use quell_model::{Body, Hash, IncidentId, Json, Kind, LadderId, Name, OfLadder, StreamId};

impl<W: Send + 'static> Core<W> {
    /// Does what somebody wants who answers a message.
    pub(super) fn press(&mut self, pressed: Pressed) -> Result<Json, Refusal> {
        let Pressed { ladder, generation, link, by, via, wants } = pressed;
        let now = self.parts.clock.now();
        let ladder = self.meant(ladder, generation);
        if !is_about(&wants, &ladder.of()) {
            return Err(Refusal::Wrong(format!("what is wanted is not about `{ladder}`")));
        }
        let Some(outbox) = self.ladders.all.get(&ladder).filter(|outbox| !outbox.is_over()) else {
            return self.press_of_nothing(&ladder.of(), wants);
        };
        let act = act_of(&wants);
        let used = link.map(|link| act.as_ref().map_or(link, |act| use_of(&link, act)));
        let is_again = match (&link, &act) {
            (Some(link), Some(act)) => is_used_for(outbox, link, act),
            (link, _) => link.is_some_and(|link| outbox.is_used(&link)),
        };
        // Whoever says twice that they look after it does so once.
        if is_again && act != Some(Act::Acknowledge) {
            let link = link.map(|link| link.short(12));
            tracing::info!(%ladder, %by, link, "a link was used again for what it does once");
            return Err(Refusal::NotNow("this link was used for that already, and does it once".to_owned()));
        }
        if generation != outbox.generation() {
            let anew = outbox.anew().to_owned();
            // A number that no message ever had is nobody's answer.
            if generation < outbox.generation() {
                let change = Change::by((&by, &via), LadderChange::AnsweredTooLate, String::new());
                self.change_ladder(&ladder, change.of_generation(generation), now);
            }
            let what = match ladder.of() {
                OfLadder::Incident(id) => {
                    format!("incident `{id}` has been raised anew since that was asked ({anew})")
                }
                OfLadder::Question(_) => "what is asked has changed since".to_owned(),
            };
            return Err(Refusal::NotNow(format!("{what}: look at it as it is now")));
        }
        let answer = self.answer_to(wants)?;
        let is_left = self.ladders.all.get(&ladder).is_some_and(|outbox| !outbox.is_over());
        if let (Some(used), true) = (used, is_left && !is_again && is_theirs(&answer, act.as_ref(), &by)) {
            let change = Change::by((&by, &via), LadderChange::Used, String::new());
            self.change_ladder(&ladder, change.of_generation(generation).by_link(used), now);
        }
        Ok(answer)
    }

    /// Whether a link of this ladder was used for what is wanted, and does nothing more for it.
    #[cfg(test)]
    pub(in crate::run) fn is_used_up(&self, ladder: &LadderId, link: &Hash, wants: &Request) -> bool {
        let outbox = self.ladders.all.get(ladder).filter(|outbox| !outbox.is_over());
        let act = act_of(wants).filter(|act| *act != Act::Acknowledge);
        outbox.zip(act).is_some_and(|(outbox, act)| is_used_for(outbox, link, &act))
    }

    /// Which ladder is meant by `RUN/STEP`: one of the step's that has this generation, if any has.
    fn meant(&self, ladder: LadderId, generation: u32) -> LadderId {
        let from = LadderId::from(format!("{ladder}/"));
        let of_step =
            self.ladders.all.range::<LadderId, _>(&from..).take_while(|(id, _)| id.as_str().starts_with(from.as_str()));
        let open: Vec<_> = of_step.filter(|(_, outbox)| !outbox.is_over()).collect();
        let same = open.iter().find(|(_, outbox)| outbox.generation() == generation);
        same.or(open.first()).map_or(ladder, |(id, _)| (*id).clone())
    }

    /// Somebody answered who may not. It is in the journal once for each thing that they wanted, of a ladder that
    /// tells somebody.
    pub(super) fn turned_away(&mut self, turned: Turned) -> Result<Json, Refusal> {
        let Turned { ladder, generation, by, via, act, why } = turned;
        let change = Change::by((&by, &via), LadderChange::TurnedAway, format!("{by} wanted `{act}`: {why}"));
        if self.ladders.all.get(&ladder).is_some_and(|outbox| !outbox.is_over()) {
            let change = change.of_generation(generation).wanting(act);
            self.change_ladder(&ladder, change, self.parts.clock.now());
        }
        Ok(Json::Null)
    }

    /// By whom an incident was resolved last, as far as the journal shows it now: who comes second learns who came first.
    fn resolved_by(&mut self, id: &IncidentId) -> String {
        let Ok(readable) = self.ink.readable(&StreamId::incident(id)) else { return String::new() };
        let records = readable.kinds(&[Kind::IncidentChanged]).unwrap_or_default();
        let by = records.iter().rev().find_map(|record| match &record.body {
            Body::IncidentChanged(changed) if changed.state == IncidentState::Resolved => Some(&changed.by),
            _ => None,
        });
        by.map(|by| format!(" already, by {by}")).unwrap_or_default()
    }

    /// Nobody is told of it any more. What the answer came to late for says so itself.
    fn press_of_nothing(&mut self, of: &OfLadder, wants: Request) -> Result<Json, Refusal> {
        match of {
            OfLadder::Question(_) => self.answer_to(wants),
            OfLadder::Incident(id) if !self.ink.has(&StreamId::incident(id)) => {
                Err(Refusal::NotFound { kind: "incident", id: id.to_string() })
            }
            OfLadder::Incident(_) if matches!(wants, Request::Reopen { .. }) => self.answer_to(wants),
            OfLadder::Incident(id) => {
                let incident = self.live_or_journaled(id)?;
                let is_over = match incident.standing.is_resolved() {
                    true => format!("is resolved{}", self.resolved_by(id)),
                    false => "tells nobody any more".to_owned(),
                };
                Err(Refusal::NotNow(format!("incident `{id}` {is_over}: `quell incident show {id}`")))
            }
        }
    }
}

/// What of a message's answers this is; none: no message has it.
fn act_of(wants: &Request) -> Option<Act> {
    Some(match wants {
        Request::Acknowledge { .. } => Act::Acknowledge,
        Request::Escalate { .. } => Act::Escalate,
        Request::Resolve { .. } => Act::Resolve,
        Request::FalsePositive { .. } => Act::FalsePositive,
        Request::KeepIncident { .. } => Act::Keep,
        Request::UndoIncident { .. } => Act::Undo,
        Request::Answer(given) => Act::Choose(given.choice.clone()),
        _ => return None,
    })
}

/// The sum by which it is known that a link was used for this: for each answer to an incident apart, for one of a question's in all.
fn use_of(link: &Hash, act: &Act) -> Hash {
    let word = if let Act::Choose(_) = act { "choose".to_owned() } else { act.word() };
    Hash::of_parts(&[&link.0, word.as_bytes()])
}

/// Whether a link was used for this; or at all, where that was written when a link did one thing.
pub(super) fn is_used_for(outbox: &Outbox, link: &Hash, act: &Act) -> bool {
    outbox.is_used(&use_of(link, act)) || outbox.is_used(link)
}

/// Whether what came of it is theirs: an acknowledgement where somebody else looks after it already does nothing.
fn is_theirs(answer: &Json, act: Option<&Act>, by: &Name) -> bool {
    if act != Some(&Act::Acknowledge) {
        return true;
    }
    let answer = serde_json::from_value::<IncidentAcknowledged>(answer.clone());
    answer.is_ok_and(|is| is.waits_for_others || is.acknowledged.is_some_and(|held| held.by == *by))
}

/// Whether a message about this can want that. What takes back or keeps names runs, of which its incident may have many.
fn is_about(wants: &Request, of: &OfLadder) -> bool {
    let incident = match wants {
        Request::Acknowledge { incident, .. }
        | Request::Escalate { incident, .. }
        | Request::Resolve { incident, .. }
        | Request::Reopen { incident, .. }
        | Request::FalsePositive { incident, .. }
        | Request::UndoIncident { incident, .. }
        | Request::KeepIncident { incident, .. }
        | Request::Note { incident, .. } => incident,
        Request::Answer(given) => return *of == OfLadder::Question(given.run.clone()),
        Request::Undo { .. } | Request::Keep { .. } => return matches!(of, OfLadder::Incident(_)),
        _ => return false,
    };
    *of == OfLadder::Incident(incident.clone())
}
