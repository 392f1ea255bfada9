//! Steps that hand an incident on.
//!
//! Owns the way from a step to the ladder of its run's incident. Never says who is told: the ladder does. Keeps true: an incident has
//! one ladder, which is moved and never doubled; that it is moved and that the step has ended is one append, so that no death
//! comes between them; in observe, and of what a source held before it was first followed, nothing is moved; what is named and is
//! not there any more tells the next ones rather than nobody.

use super::conclude::Ending;
use super::shell::Core;
use super::unread::{Later, Unread};
use crate::escalation::outbox::Outbox;
use crate::incident::Incident;
use crate::run::answers;
use crate::trigger::BACKFILL;
use quell_model::playbook::Escalate;
use quell_model::record::{LadderRouted, LadderStarted, NewRecord, Part, Place};
use quell_model::{Detection, IncidentId, Json, LadderId, Mode, Name, Outcome, RunId, Stamp, StreamId};
use serde_json::json;

impl<W: Send + 'static> Core<W> {
    /// Moves the ladder of a run's incident, and ends the step.
    pub(super) fn escalates(&mut self, id: &RunId, part: &Part, to: &Escalate) {
        let now = self.parts.clock.now();
        let Some(live) = self.runs.get(id) else { return };
        let (started, step) = (live.run.started.clone(), live.run.playbook.step(&part.step).cloned());
        let Some(step) = step else { return };
        let would = json!({ "policy": to.policy, "step": to.step.unwrap_or(1) });
        let planned =
            |because| Ending { outcome: Outcome::Planned, output: would.clone(), proof: because, ..Ending::default() };
        let (mode, because) = self.mode_of(id, &step);
        let Some(incident) = started.incident.clone() else {
            let why = "the run belongs to no incident, so that nobody is told of anything who could be told more";
            return self.end(id, part, Ending::failed(why.to_owned()));
        };
        if started.backfill || mode == Mode::Observe {
            let because = if started.backfill { BACKFILL.to_owned() } else { because };
            return self.end(id, part, planned(because));
        }
        if self.definitions.escalation.is_none() {
            return self.end(id, part, Ending::done(would, "nobody is told of incidents here"));
        }
        let read = self.incident_for(&incident);
        let before = match self.once_read(id, part, Later::Step, read) {
            Some(Ok(Some(before))) => before,
            Some(Ok(None)) => {
                return self.end(
                    id,
                    part,
                    Ending::failed(format!("incident {incident} is not in the journal any more")),
                );
            }
            Some(Err(why)) => {
                return self.end(id, part, Ending::failed(format!("incident {incident} cannot be read: {why}")));
            }
            None => return self.begins_later(id, part),
        };
        if before.standing.is_resolved() {
            let proof = format!("incident {incident} is resolved: nobody is told of it any more");
            return self.end(id, part, Ending { outcome: Outcome::Skipped, proof, ..Ending::default() });
        }
        if before.backfill {
            return self.end(id, part, planned(BACKFILL.to_owned()));
        }
        let ladder = LadderId::incident(&incident);
        let is_new = self.ladders.all.get(&ladder).is_none_or(Outbox::is_over);
        let began = if is_new { self.beginning(&incident) } else { Ok(None) };
        let Some(began) = self.once_read(id, part, Later::Step, began) else { return self.begins_later(id, part) };
        let because = format!("run {id} of {} escalates, in its step `{part}`", started.playbook);
        self.ink.hold();
        if is_new {
            self.begin_ladder(begins(&before, began.ok().flatten().as_ref(), because.clone()), now);
        }
        let mut ending = self.send_up(&ladder, to, &because, now);
        if is_new && ending.outcome == Outcome::Already {
            ending = Ending::done(ending.output, "nobody had been told of it: that begins");
        }
        if ending.outcome == Outcome::Done {
            self.looked_after_no_more(Some(before), because, now);
        }
        self.end(id, part, ending);
        self.ink.let_go();
    }

    pub(super) fn incident_for(&mut self, id: &IncidentId) -> Result<Option<Incident>, Unread> {
        match self.incidents.get_mut(id) {
            Some(live) => Ok(Some(live.clone())),
            None => Ok(self.ink.readable(&StreamId::incident(id))?.incident()?),
        }
    }

    /// Writes where a ladder goes from here; what came of it is how the step ends.
    fn send_up(&mut self, id: &LadderId, to: &Escalate, because: &str, now: Stamp) -> Ending {
        self.route(id, now);
        let escalation = self.told_by();
        let Some(outbox) = self.ladders.all.get(id) else {
            return Ending::failed(format!("incident {id} has no ladder"));
        };
        let (Some(by), Some(ladder)) = (outbox.policy(), outbox.ladder()) else {
            return Ending::failed(format!("the ladder of incident {id} goes by no policy"));
        };
        let wanted = to.policy.as_ref().filter(|name| *name != by);
        let other = wanted.and_then(|name| Some((name, escalation.policies.get(name)?)));
        let lacks = wanted.filter(|_| other.is_none());
        let up_to = match to.step {
            Some(step) => step.saturating_sub(1),
            None if lacks.is_some() => ladder.after(),
            None => 0,
        };
        if other.is_none() && ladder.is_up_to(up_to) {
            let (output, proof) = (moved_to(by, ladder.place()), format!("it goes by `{by}`, and is there already"));
            return Ending { outcome: Outcome::Already, output, proof, ..Ending::default() };
        }
        let (policy, definition) = other.map_or_else(|| (by, ladder.policy()), |(name, policy)| (name, policy));
        let steps = u32::try_from(definition.steps.len()).unwrap_or(u32::MAX);
        let up_to = up_to.min(steps);
        let place = if up_to < steps { Place::Step { round: 0, step: up_to } } else { Place::LastResort };
        let output = moved_to(policy, Some(place));
        let mut proof = match place {
            Place::Step { .. } => format!("it goes up to step {} of `{policy}`", up_to + 1),
            Place::LastResort => format!("`{policy}` has {steps} steps: its last resort is told"),
        };
        if let Some(lacks) = lacks {
            proof = format!("there is no policy `{lacks}` any more: {proof}");
        }
        let (policy, definition) = (policy.clone(), answers::json(definition));
        let routed = LadderRouted { policy, definition, route: because.to_owned(), up_to: Some(up_to) };
        self.write_ladder(id, vec![NewRecord::new(now, routed)]);
        Ending::done(output, &proof)
    }
}

/// What the step gives.
fn moved_to(policy: &Name, place: Option<Place>) -> Json {
    let step = match place {
        None => Some(1),
        Some(Place::Step { step, .. }) => Some(step + 1),
        Some(Place::LastResort) => None,
    };
    json!({ "policy": policy, "step": step })
}

/// What the ladder of an incident begins with that has none.
pub(super) fn begins(incident: &Incident, began: Option<&Detection>, because: String) -> LadderStarted {
    LadderStarted {
        incident: Some(incident.id.clone()),
        question: None,
        title: began
            .map_or_else(|| format!("an incident on {}", incident.entity), |began| began.rule.title.to_string()),
        entity: incident.entity.clone(),
        level: incident.level,
        tags: began.iter().flat_map(|began| &began.rule.tags).map(|tag| Name::from(tag.as_str())).collect(),
        rules: began.iter().map(|began| began.rule.name.clone()).collect(),
        because,
        generation: 0,
        gathers: false,
    }
}
