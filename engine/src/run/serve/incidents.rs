//! What people make of incidents: looked after, ended, opened again.
//!
//! Owns the answers, and the way of a record into an incident, live or only in the journal. What is so already is refused with a
//! sentence, or, where it does no harm, said.

use super::super::answers::{self, IncidentAcknowledged, OfIncident};
use super::super::request::Refusal;
use super::super::shell::Core;
use crate::incident::{Incident, Incidents, Standing};
use quell_model::playbook::IncidentMoment;
use quell_model::record::{AcknowledgementChanged, IncidentCame, IncidentChanged, IncidentState, NewRecord};
use quell_model::{Body, IncidentId, Json, Name, StreamId};

impl<W: Send + 'static> Core<W> {
    /// Somebody looks after an incident, or no longer. Who says it twice hears so, and it is written once.
    pub(super) fn acknowledge(&mut self, id: &IncidentId, changed: AcknowledgementChanged) -> Result<Json, Refusal> {
        let before = self.live_or_journaled(id)?;
        if before.standing.is_resolved() {
            let what = format!("incident `{id}` is resolved: `quell incident reopen {id}` opens it again");
            return Err(Refusal::NotNow(what));
        }
        let changes = before.standing.acknowledged.is_some() != changed.acknowledged;
        let after = if changes {
            let moment = changed.acknowledged.then_some(IncidentMoment::Acknowledged);
            let (by, why) = (changed.by.clone(), changed.why.clone());
            self.moves(before, changed.into(), moment, (by, why))?
        } else {
            before
        };
        let Standing { state, acknowledged } = after.standing;
        Ok(answers::json(IncidentAcknowledged { id: id.clone(), state, changed: changes, acknowledged }))
    }

    /// Somebody ends an incident.
    pub(super) fn resolve(&mut self, id: &IncidentId, why: String, by: Name) -> Result<Json, Refusal> {
        let before = self.live_or_journaled(id)?;
        if before.standing.is_resolved() {
            return Err(Refusal::NotNow(format!("incident `{id}` is resolved already")));
        }
        self.triggers.incident_closed(id);
        let changed = IncidentChanged { state: IncidentState::Resolved, by: by.clone(), why: why.clone() };
        self.moves(before, changed.into(), Some(IncidentMoment::Resolved), (by, why))?;
        Ok(answers::json(OfIncident { id: id.clone() }))
    }

    /// Somebody opens it again.
    pub(super) fn reopen(&mut self, id: &IncidentId, why: String, by: Name) -> Result<Json, Refusal> {
        if !self.live_or_journaled(id)?.standing.is_resolved() {
            return Err(Refusal::NotNow(format!("incident `{id}` is open already")));
        }
        self.change(id, IncidentChanged { state: IncidentState::Open, by, why }.into())
    }

    /// Writes what a person made of an incident, and starts what waits for that moment of it.
    fn moves(
        &mut self,
        mut incident: Incident,
        body: Body,
        moment: Option<IncidentMoment>,
        (by, why): (Name, String),
    ) -> Result<Incident, Refusal> {
        let now = self.parts.clock.now();
        let mut answers = Vec::new();
        if let Some(moment) = moment.filter(|moment| self.is_awaited(*moment)) {
            let (record, level) = (incident.seq + 1, incident.level);
            let came = IncidentCame { moment, record, level, by: Some(by), why };
            self.can_be_read(&StreamId::incident(&incident.id))?;
            let began = self.beginning(&incident.id).map_err(|error| Refusal::NotNow(error.to_string()))?;
            if let Some(began) = began {
                answers = self.answers_to(&incident.id, &came, &began, now);
            }
        }
        let begun = self.come(&mut incident, &[NewRecord::new(now, body)], answers, now);
        if let Some(live) = self.incidents.get_mut(&incident.id) {
            live.clone_from(&incident);
        }
        begun.iter().for_each(|run| self.drive(run));
        Ok(incident)
    }

    pub(super) fn live_or_journaled(&mut self, id: &IncidentId) -> Result<Incident, Refusal> {
        if let Some(live) = self.incidents.get_mut(id) {
            return Ok(live.clone());
        }
        let stream = StreamId::incident(id);
        self.can_be_read(&stream)?;
        let found = Incidents::read(self.ink.journal(), &stream, &mut |_| ());
        let found = found.map_err(|error| Refusal::NotNow(error.to_string()))?;
        found.ok_or_else(|| Refusal::NotFound { kind: "incident", id: id.to_string() })
    }

    pub(in crate::run) fn change(&mut self, id: &IncidentId, body: Body) -> Result<Json, Refusal> {
        let mut incident = self.live_or_journaled(id)?;
        self.write_to(&mut incident, &[NewRecord::new(self.parts.clock.now(), body)]);
        if let Some(live) = self.incidents.get_mut(id) {
            *live = incident;
        }
        Ok(answers::json(OfIncident { id: id.clone() }))
    }
}
