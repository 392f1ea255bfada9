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
    AcknowledgementChanged, ExceptionDrafted, IncidentCame, IncidentChanged, IncidentState, LadderChange,
    LadderStarted, NewRecord, Verdict,
};
use quell_model::{Body, IncidentId, Json, Kind, LadderId, Name, Stamp, StreamId};

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
        let AcknowledgementChanged { acknowledged, by, via, why } = changed.clone();
        let counts = if acknowledged { self.would_count(id, &by, generation, now) } else { Some(true) };
        let changes = before.standing.acknowledged.is_some() != acknowledged && counts == Some(true);
        // The ladder hears it in the same append.
        let tell = |core: &mut Self| {
            if acknowledged {
                core.ladder_answered(id, (&by, &via), generation, &why, now);
            } else if changes || core.is_ladder_acknowledged(id) {
                let why = format!("{by} does not look after it any longer");
                core.ladder_changes(id, LadderChange::Unacknowledged, (&by, &via), why, now);
            }
        };
        let after = if changes {
            let moment = acknowledged.then_some(IncidentMoment::Acknowledged);
            let (by, why) = (by.clone(), why.clone());
            self.moves(before, vec![changed.into()], moment, (by, why), tell)?
        } else {
            tell(self);
            before
        };
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

    /// What an answer would mean to the ladder: true: it holds; false: others have to say so too; none: it is too late.
    fn would_count(&mut self, id: &IncidentId, by: &Name, generation: Option<u32>, now: Stamp) -> Option<bool> {
        match self.ladder_would(id, by, generation, now) {
            Some(Answered::Stale) => None,
            Some(Answered::Counts) => Some(false),
            Some(Answered::Again) => Some(self.is_ladder_acknowledged(id)),
            Some(Answered::Acknowledged | Answered::Over) | None => Some(true),
        }
    }

    /// Somebody hands an incident on: whoever is next is told at once.
    pub(super) fn escalate(&mut self, id: &IncidentId, why: String, (by, via): (Name, Name)) -> Result<Json, Refusal> {
        let before = self.live_or_journaled(id)?;
        if before.standing.is_resolved() {
            let what = format!("incident `{id}` is resolved: `quell incident reopen {id}` opens it again");
            return Err(Refusal::NotNow(what));
        }
        if !self.is_telling(id) {
            return Err(Refusal::NotNow(format!("nobody is being told of incident `{id}`, so that nobody is next")));
        }
        let now = self.parts.clock.now();
        let because = format!("{by} hands it on: {why}");
        let tell = |core: &mut Self| {
            core.ladder_changes(id, LadderChange::Escalated, (&by, &via), because, now);
        };
        if before.standing.acknowledged.is_some() {
            let (by, via, why) = (by.clone(), via.clone(), why.clone());
            let changed = AcknowledgementChanged { acknowledged: false, by: by.clone(), via, why: why.clone() };
            self.moves(before, vec![changed.into()], None, (by, why), tell)?;
        } else {
            tell(self);
        }
        Ok(answers::json(OfIncident { id: id.clone() }))
    }

    /// Somebody ends an incident.
    pub(super) fn resolve(&mut self, id: &IncidentId, why: String, (by, via): (Name, Name)) -> Result<Json, Refusal> {
        let before = self.live_or_journaled(id)?;
        if before.standing.is_resolved() {
            return Err(Refusal::NotNow(format!("incident `{id}` is resolved already")));
        }
        self.triggers.incident_closed(id);
        let changed = IncidentChanged::to(IncidentState::Resolved, by.clone(), why.clone()).by_way(via);
        self.resolves(before, vec![changed.into()], (by, why))?;
        Ok(answers::json(OfIncident { id: id.clone() }))
    }

    /// Writes that an incident is over, and that nobody is to be told of it any more.
    fn resolves(&mut self, incident: Incident, bodies: Vec<Body>, (by, why): (Name, String)) -> Result<(), Refusal> {
        let (id, now) = (incident.id.clone(), self.parts.clock.now());
        let told = format!("{by} has resolved it: {why}");
        let tell = |core: &mut Self| core.ladder_ends(&id, told, now);
        self.moves(incident, bodies, Some(IncidentMoment::Resolved), (by, why), tell).map(drop)
    }

    /// Somebody says that an incident was no attack. The taking back is written down before the end: whoever dies between the two
    /// leaves it open, and it can be said again. What is stuck by then opens it again, as what is stuck later does.
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
            ..IncidentChanged::to(IncidentState::Resolved, by.clone(), reason.clone()).by_way(way.via.clone())
        };
        let bodies = std::iter::once(changed.into()).chain(exception.map(Body::ExceptionDrafted)).collect();
        let left = self.left_standing(id)?;
        self.ink.hold();
        let resolved = self.resolves(before, bodies, (by, reason));
        if let (Ok(()), Some(left)) = (&resolved, left) {
            self.opens_for_left(left);
        }
        self.ink.let_go();
        resolved?;
        Ok(answers::json(IsFalsePositive { id: id.clone(), runs }))
    }

    /// Somebody opens it again.
    pub(super) fn reopen(&mut self, id: &IncidentId, why: String, (by, via): (Name, Name)) -> Result<Json, Refusal> {
        if !self.live_or_journaled(id)?.standing.is_resolved() {
            return Err(Refusal::NotNow(format!("incident `{id}` is open already")));
        }
        let (began, now) = (self.beginning(id)?, self.parts.clock.now());
        let level = self.live_or_journaled(id)?.level;
        let told = self.told_before(id)?;
        self.ink.hold();
        let because = format!("{by} has opened it again: {why}");
        let changed = self.change(id, IncidentChanged::to(IncidentState::Open, by, why).by_way(via).into());
        match (began, told) {
            (Some(began), _) => self.ladder_begins(id, &began, level, because, now),
            (None, Some(told)) => self.begin_ladder(LadderStarted { level, because, ..told }, now),
            (None, None) => {}
        }
        self.ink.let_go();
        changed
    }

    /// What an incident's ladder began with, if it had one.
    pub(in crate::run) fn told_before(&mut self, id: &IncidentId) -> Result<Option<LadderStarted>, Unread> {
        let stream = StreamId::ladder(&LadderId::incident(id));
        if !self.ink.has(&stream) {
            return Ok(None);
        }
        let first = self.ink.readable(&stream)?.first(Kind::LadderStarted)?;
        Ok(first.and_then(|record| match record.body {
            Body::LadderStarted(started) => Some(*started),
            _ => None,
        }))
    }

    /// Writes what a person made of an incident with what `tell` writes to its ladder, and starts what waits for that moment of it,
    /// whose record is the first.
    fn moves(
        &mut self,
        incident: Incident,
        bodies: Vec<Body>,
        moment: Option<IncidentMoment>,
        (by, why): (Name, String),
        tell: impl FnOnce(&mut Self),
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
        self.ink.hold();
        tell(self);
        let (incident, begun) = self.amend(incident, |core, incident| core.come(incident, &records, answers, now));
        self.ink.let_go();
        begun.iter().for_each(|run| self.drive(run));
        Ok(incident)
    }

    pub(in crate::run) fn live_or_journaled(&mut self, id: &IncidentId) -> Result<Incident, Refusal> {
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
