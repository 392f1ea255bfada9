//! From a moment of an incident to a run.
//!
//! ```text
//! the moment's record ─┐
//! RunStarted …         ├─ one append: after SIGKILL all of it is there, or nothing
//! IncidentJoined …    ─┘
//! ```
//!
//! Owns which runs a moment starts, and that they are written down with it. Keeps true: the run's id is made of the playbook, the
//! incident and the record of the moment, so that a moment starts one run; and a moment whose record is there has started its runs.

use super::machine::Run;
use super::shell::Core;
use super::start::default_inputs;
use super::unread::Unread;
use crate::incident::{self, Incident};
use crate::playbook::expression::Scope;
use crate::trigger;
use quell_model::playbook::{IncidentMoment, Playbook};
use quell_model::record::{IncidentCame, IncidentJoined, Moments, NewRecord, RunStarted};
use quell_model::{Body, Detection, IncidentId, Json, Kind, Level, Mode, RunId, Stamp, StreamId};
use serde_json::json;
use std::sync::Arc;

/// Who starts the runs of incidents, where a person's name would stand.
pub(super) const BY: &str = "incident";

/// Runs that a moment is to start, each with its playbook.
pub(super) type Answers = Vec<(Arc<Playbook>, RunStarted)>;

impl<W: Send + 'static> Core<W> {
    /// Whether a playbook waits for this.
    pub(super) fn is_awaited(&self, moment: IncidentMoment) -> bool {
        self.definitions.playbooks.iter().any(|playbook| trigger::incident::due(playbook, moment))
    }

    /// The runs that a moment of this incident is to start, which began with this detection. Writes nothing and looks nothing up:
    /// it may stand between records that belong together.
    pub(super) fn answers_to(&self, id: &IncidentId, came: &IncidentCame, began: &Detection, now: Stamp) -> Answers {
        let moment = came.moment;
        let (event, detection) = (began.event.for_playbooks(), began.for_playbooks());
        let ground = self.definitions.ground();
        let incident = incident_for_expressions(id, Some(came));
        let untrusted = self.definitions.is_untrusted(began);
        let mut answers = Answers::new();
        for playbook in self.definitions.playbooks.iter().filter(|playbook| trigger::incident::due(playbook, moment)) {
            let scope = Scope {
                event: &event,
                detection: &detection,
                incident: &incident,
                vars: ground.vars,
                people: Some(ground.people),
                ..Scope::empty(now.wall)
            };
            let condition = playbook.on.condition.as_ref();
            let mut stricter = None;
            match condition.map_or(Ok(true), |condition| self.expressions.truth(&condition.text, &scope)) {
                Ok(true) => {}
                Ok(false) => {
                    tracing::debug!(playbook = %playbook.name, incident = %id, %moment, "its trigger's `if` is false");
                    continue;
                }
                Err(error) => stricter = Some(format!("its trigger's `if` could not be evaluated: {error}")),
            }
            if moment == IncidentMoment::Opened && trigger::age(began, now) > playbook.on.max_age {
                stricter.get_or_insert_with(|| format!("the event is older than {:?}", playbook.on.max_age));
            }
            let stricter = stricter.or_else(|| self.triggers.incidents.is_at_limit(playbook, now));
            let (mut mode, mut because) = self.mode_of_playbook(playbook);
            if let Some(why) = stricter.filter(|_| mode == Mode::Enforce) {
                tracing::warn!(playbook = %playbook.name, incident = %id, why, "a run that an incident starts asks first");
                (mode, because) = (Mode::Approve, why);
            }
            let run = trigger::incident::run_of(&playbook.name, id, came.record);
            let started = RunStarted {
                incident: Some(id.clone()),
                event: event.clone(),
                detection: detection.clone(),
                inputs: default_inputs(playbook),
                untrusted,
                by: Some(BY.into()),
                came: Some(Box::new(came.clone())),
                moments: Moments { decided: Some(now), ..Moments::default() },
                ..self.start_of(playbook, run, (mode, because), format!("{id} {moment}"))
            };
            answers.push((Arc::clone(playbook), started));
        }
        answers
    }

    /// Writes a moment of an incident down with the runs that it starts, in one append; gives those, which are still to be driven.
    pub(super) fn come(
        &mut self,
        incident: &mut Incident,
        records: &[NewRecord],
        answers: Answers,
        now: Stamp,
    ) -> Vec<RunId> {
        // Their texts do no harm alone.
        answers.iter().for_each(|(playbook, _)| self.pin(playbook, now));
        self.ink.hold();
        self.write_to(incident, records);
        let mut begun = Vec::new();
        for (playbook, started) in answers {
            let run = self.lay(&playbook, started, now);
            let joined =
                IncidentJoined { detection: None, run: Some(run.clone()), level: Level::Informational, count: 0 };
            self.write_to(incident, &[NewRecord::new(now, joined)]);
            begun.push(run);
        }
        self.ink.let_go();
        begun
    }

    /// Writes records of an incident, which takes them up.
    pub(super) fn write_to(&mut self, incident: &mut Incident, records: &[NewRecord]) {
        self.ink.write(StreamId::incident(&incident.id), incident.seq, records);
        incident::apply_all(incident, records);
    }

    /// What an incident began with.
    pub(super) fn beginning(&mut self, id: &IncidentId) -> Result<Option<Detection>, Unread> {
        let first = self.ink.readable(&StreamId::incident(id))?.first(Kind::DetectionAccepted)?;
        Ok(first.and_then(|record| match record.body {
            Body::DetectionAccepted(accepted) => Some(accepted.detection),
            _ => None,
        }))
    }
}

/// `incident` in expressions, of a run.
pub(super) fn incident_of(run: &Run) -> Json {
    let started = &run.started;
    let Some(id) = &started.incident else { return Json::Null };
    if run.playbook.on.incident.is_empty() && started.came.is_none() {
        return json!({ "id": id });
    }
    incident_for_expressions(id, started.came.as_deref())
}

/// The same, of a moment.
pub(crate) fn incident_for_expressions(id: &IncidentId, came: Option<&IncidentCame>) -> Json {
    json!({
        "id": id,
        "moment": came.map(|came| came.moment),
        "level": came.map(|came| came.level),
        "by": came.and_then(|came| came.by.as_ref()),
        "why": came.map(|came| came.why.as_str()),
    })
}
