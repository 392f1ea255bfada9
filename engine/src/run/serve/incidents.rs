//! What people make of incidents: looked after, ended, known as no attack, opened again.
//!
//! Owns the answers, of an incident that is live or only in the journal. What is so already is refused with a sentence, or, where it
//! does no harm, said. Keeps true: no incident is resolved as a false positive while something of it could not be begun to be taken back.

use super::super::answers::{self, IncidentAcknowledged, IsFalsePositive, OfIncident};
use super::super::by_incident::Answers;
use super::super::request::{Refusal, Way};
use super::super::shell::Core;
use super::super::unread::Unread;
use crate::escalation::ladder::Answered;
use crate::incident::{Incident, Standing};
use quell_model::playbook::IncidentMoment;
use quell_model::record::{
    AcknowledgementChanged, ExceptionDrafted, IncidentCame, IncidentChanged, IncidentState, LadderChange, NewRecord,
    Verdict,
};
use quell_model::{Body, IncidentId, Json, Name, Stamp, StreamId};

impl<W: Send + 'static> Core<W> {
    /// Somebody looks after an incident, or no longer. Who says it twice hears so, and it is written once.
    pub(super) fn acknowledge(
        &mut self,
        id: &IncidentId,
        changed: AcknowledgementChanged,
        generation: Option<u32>,
    ) -> Result<Json, Refusal> {
        let before = self.live_or_journaled(id)?;
        if before.standing.is_resolved() {
            let what = format!("incident `{id}` is resolved: `quell incident reopen {id}` opens it again");
            return Err(Refusal::NotNow(what));
        }
        let now = self.parts.clock.now();
        // The ladder hears it in the same append.
        self.ink.hold();
        let counts = self.tell_ladder(id, &changed, generation, now);
        let changes = before.standing.acknowledged.is_some() != changed.acknowledged && counts == Some(true);
        let after = if changes {
            let moment = changed.acknowledged.then_some(IncidentMoment::Acknowledged);
            let (by, why) = (changed.by.clone(), changed.why.clone());
            self.moves(before, vec![changed.into()], moment, (by, why))
        } else {
            Ok(before)
        };
        self.ink.let_go();
        let after = after?;
        if counts.is_none() {
            let what = format!("incident `{id}` has been raised anew since that was asked: look at it as it is now");
            return Err(Refusal::NotNow(what));
        }
        let Standing { state, acknowledged, .. } = after.standing;
        Ok(answers::json(IncidentAcknowledged {
            id: id.clone(),
            state,
            changed: changes,
            acknowledged,
            waits_for_others: counts == Some(false),
        }))
    }

    /// What an answer means to the ladder: true: it holds; false: others have to say so too; none: it is too late.
    fn tell_ladder(
        &mut self,
        id: &IncidentId,
        changed: &AcknowledgementChanged,
        generation: Option<u32>,
        now: Stamp,
    ) -> Option<bool> {
        let AcknowledgementChanged { acknowledged, by, via, why } = changed;
        if !acknowledged {
            let why = format!("{by} does not look after it any longer");
            self.ladder_changes(id, LadderChange::Unacknowledged, (by.clone(), via.clone()), why, now);
            return Some(true);
        }
        match self.ladder_answered(id, (by, via), generation, why, now) {
            Some(Answered::Stale) => None,
            Some(Answered::Counts) => Some(false),
            Some(Answered::Acknowledged | Answered::Again | Answered::Over) | None => Some(true),
        }
    }

    /// Somebody hands an incident on: whoever is next is told at once.
    pub(super) fn escalate(&mut self, id: &IncidentId, why: String, (by, via): (Name, Name)) -> Result<Json, Refusal> {
        let before = self.live_or_journaled(id)?;
        if before.standing.is_resolved() {
            let what = format!("incident `{id}` is resolved: `quell incident reopen {id}` opens it again");
            return Err(Refusal::NotNow(what));
        }
        let now = self.parts.clock.now();
        self.ink.hold();
        let because = format!("{by} hands it on: {why}");
        let has = self.ladder_changes(id, LadderChange::Escalated, (by.clone(), via.clone()), because, now);
        let after = match before.standing.acknowledged.is_some() && has {
            true => {
                let changed = AcknowledgementChanged { acknowledged: false, by: by.clone(), via, why: why.clone() };
                self.moves(before, vec![changed.into()], None, (by, why))
            }
            false => Ok(before),
        };
        self.ink.let_go();
        after?;
        if !has {
            return Err(Refusal::NotNow(format!("nobody is being told of incident `{id}`, so that nobody is next")));
        }
        Ok(answers::json(OfIncident { id: id.clone() }))
    }

    /// Somebody ends an incident.
    pub(super) fn resolve(&mut self, id: &IncidentId, why: String, by: Name) -> Result<Json, Refusal> {
        let before = self.live_or_journaled(id)?;
        if before.standing.is_resolved() {
            return Err(Refusal::NotNow(format!("incident `{id}` is resolved already")));
        }
        self.triggers.incident_closed(id);
        let changed = IncidentChanged::to(IncidentState::Resolved, by.clone(), why.clone());
        self.resolves(before, vec![changed.into()], (by, why))?;
        Ok(answers::json(OfIncident { id: id.clone() }))
    }

    /// Writes that an incident is over, and that nobody is to be told of it any more.
    fn resolves(&mut self, incident: Incident, bodies: Vec<Body>, (by, why): (Name, String)) -> Result<(), Refusal> {
        let (id, now) = (incident.id.clone(), self.parts.clock.now());
        self.ink.hold();
        let moved = self.moves(incident, bodies, Some(IncidentMoment::Resolved), (by.clone(), why.clone()));
        if moved.is_ok() {
            self.ladder_ends(&id, format!("{by} has resolved it: {why}"), now);
        }
        self.ink.let_go();
        moved.map(drop)
    }

    /// Somebody says that an incident was no attack. The taking back is written down before the end: whoever dies between the two
    /// leaves it open, and it can be said again.
    pub(super) fn false_positive(
        &mut self,
        id: &IncidentId,
        reason: String,
        (by, way): (Name, &Way),
        exception: Option<Box<ExceptionDrafted>>,
    ) -> Result<Json, Refusal> {
        let standing = self.live_or_journaled(id)?.standing;
        if let Some(known) = standing.false_positive {
            let what = format!(
                "incident `{id}` is resolved as a false positive already, by {} at {:.0}",
                known.by, known.at.wall
            );
            return Err(Refusal::NotNow(what));
        }
        if standing.is_resolved() {
            let what = format!("incident `{id}` is resolved already: `quell incident reopen {id}` opens it again");
            return Err(Refusal::NotNow(what));
        }
        let runs = self.undo_runs_of(id, (&by, way), &format!("a false positive: {reason}"))?;
        let refused = runs.iter().filter_map(|run| Some(format!("run `{}`: {}", run.id, run.error.as_ref()?)));
        let refused: Vec<String> = refused.collect();
        if !refused.is_empty() {
            let rest = if refused.len() < runs.len() { "; what its other runs did is being taken back" } else { "" };
            let what = format!(
                "incident `{id}` is not resolved, not all of it can be taken back now: {}{rest}",
                refused.join("; ")
            );
            return Err(Refusal::NotNow(what));
        }
        // The taking back may have told it something.
        let before = self.live_or_journaled(id)?;
        self.triggers.incident_closed(id);
        let changed = IncidentChanged {
            verdict: Some(Verdict::FalsePositive),
            ..IncidentChanged::to(IncidentState::Resolved, by.clone(), reason.clone())
        };
        let bodies = std::iter::once(changed.into()).chain(exception.map(Body::ExceptionDrafted)).collect();
        self.resolves(before, bodies, (by, reason))?;
        Ok(answers::json(IsFalsePositive { id: id.clone(), runs }))
    }

    /// Somebody opens it again.
    pub(super) fn reopen(&mut self, id: &IncidentId, why: String, by: Name) -> Result<Json, Refusal> {
        if !self.live_or_journaled(id)?.standing.is_resolved() {
            return Err(Refusal::NotNow(format!("incident `{id}` is open already")));
        }
        let (began, now) = (self.beginning(id)?, self.parts.clock.now());
        self.ink.hold();
        let because = format!("{by} has opened it again: {why}");
        let changed = self.change(id, IncidentChanged::to(IncidentState::Open, by, why).into());
        if let (Ok(_), Some(began)) = (&changed, began) {
            self.ladder_begins(id, &began, because, now);
        }
        self.ink.let_go();
        changed
    }

    /// Writes what a person made of an incident, and starts what waits for that moment of it, whose record is the first.
    fn moves(
        &mut self,
        incident: Incident,
        bodies: Vec<Body>,
        moment: Option<IncidentMoment>,
        (by, why): (Name, String),
    ) -> Result<Incident, Refusal> {
        let now = self.parts.clock.now();
        let mut answers = Answers::default();
        if let Some(moment) = moment {
            let (record, level) = (incident.seq + 1, incident.level);
            let came = IncidentCame { moment, record, level, by: Some(by), why };
            let mut began = None;
            if self.is_awaited(moment) {
                began = self.beginning(&incident.id)?;
            }
            answers = self.answers_to(&incident.id, &came, began.as_ref(), now);
        }
        let records: Vec<NewRecord> = bodies.into_iter().map(|body| NewRecord::new(now, body)).collect();
        let (incident, begun) = self.amend(incident, |core, incident| core.come(incident, &records, answers, now));
        begun.iter().for_each(|run| self.drive(run));
        Ok(incident)
    }

    pub(super) fn live_or_journaled(&mut self, id: &IncidentId) -> Result<Incident, Refusal> {
        if let Some(live) = self.incidents.get_mut(id) {
            return Ok(live.clone());
        }
        let found = self.ink.readable(&StreamId::incident(id))?.incident().map_err(Unread::from)?;
        found.ok_or_else(|| Refusal::NotFound { kind: "incident", id: id.to_string() })
    }

    pub(in crate::run) fn change(&mut self, id: &IncidentId, body: Body) -> Result<Json, Refusal> {
        let (incident, now) = (self.live_or_journaled(id)?, self.parts.clock.now());
        self.amend(incident, |core, incident| core.write_to(incident, &[NewRecord::new(now, body)]));
        Ok(answers::json(OfIncident { id: id.clone() }))
    }
}
