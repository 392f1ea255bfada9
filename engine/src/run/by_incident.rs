//! From a moment of an incident to a run.
//!
//! ```text
//! the moment's record ─┐
//! MomentDecided        │
//! RunStarted …         ├─ one append: after SIGKILL all of it is there, or nothing
//! IncidentJoined …    ─┘
//! ```
//!
//! Owns which runs a moment starts, and that they are written down with it, as is why others were not; and the one way of a record
//! into an incident. Keeps true: the run's id is made of the playbook, the incident and the record of the moment, so that a moment
//! starts one run; a moment whose record is there has started its runs (but where no append held them: then the next start tells); and
//! what is live says what its records say.

use super::machine::Run;
use super::shell::Core;
use super::start::default_inputs;
use super::unread::Unread;
use crate::incident::{self, Incident};
use crate::playbook::expression::Scope;
use crate::trigger;
use quell_model::playbook::{IncidentMoment, Playbook};
use quell_model::record::{
    Decided, IncidentCame, IncidentJoined, MomentDecided, Moments, NewRecord, RunStarted, TriggerDecision,
};
use quell_model::{Body, Detection, IncidentId, Json, Kind, Level, Mode, RunId, Stamp, StreamId};
use serde_json::json;
use std::sync::Arc;

/// Who starts the runs of incidents, where a person's name would stand.
pub(super) const BY: &str = "incident";

/// What a moment leads to.
#[derive(Default)]
pub(super) struct Answers {
    /// Runs that it is to start, each with its playbook.
    starts: Vec<(Arc<Playbook>, RunStarted)>,
    /// What every playbook decided that waits for moments; none: none does.
    decided: Option<NewRecord>,
}

impl<W: Send + 'static> Core<W> {
    /// Whether a playbook waits for this.
    pub(super) fn is_awaited(&self, moment: IncidentMoment) -> bool {
        self.definitions.playbooks.iter().any(|playbook| trigger::incident::due(playbook, moment))
    }

    /// What a moment of this incident leads to, which began with this detection; none: it is not known. Writes nothing and looks
    /// nothing up: it may stand between records that belong together.
    pub(super) fn answers_to(
        &self,
        id: &IncidentId,
        came: &IncidentCame,
        began: Option<&Detection>,
        now: Stamp,
    ) -> Answers {
        let began = began.filter(|_| self.is_awaited(came.moment)).map(|began| Began {
            detection: began,
            views: (began.event.for_playbooks(), began.for_playbooks()),
            incident: incident_for_expressions(id, Some(came)),
        });
        let (mut starts, mut decided) = (Vec::new(), Vec::new());
        for playbook in self.definitions.playbooks.iter().filter(|playbook| !playbook.on.incident.is_empty()) {
            let (decision, why, run) = match self.decides_on(playbook, (id, came), began.as_ref(), now) {
                Ok(started) => {
                    let (run, mut why) = (started.run.clone(), format!("{}: {}", started.mode, started.mode_because));
                    if started.untrusted && started.mode == Mode::Enforce {
                        why.push_str("; anybody can write where its event comes from, so that it asks before it acts");
                    }
                    if self.paused {
                        why.push_str("; every action is paused");
                    }
                    starts.push((Arc::clone(playbook), started));
                    (TriggerDecision::Started, why, Some(run))
                }
                Err((decision, why)) => (decision, why, None),
            };
            decided.push(Decided { playbook: playbook.name.clone(), decision, why, run });
        }
        let come = MomentDecided { moment: came.moment, record: came.record, decided };
        Answers { starts, decided: (!come.decided.is_empty()).then(|| NewRecord::new(now, come)) }
    }

    /// The run that a playbook starts at a moment, or why it starts none.
    fn decides_on(
        &self,
        playbook: &Playbook,
        (id, came): (&IncidentId, &IncidentCame),
        began: Option<&Began<'_>>,
        now: Stamp,
    ) -> Result<RunStarted, (TriggerDecision, String)> {
        let moment = came.moment;
        if !trigger::incident::due(playbook, moment) {
            let waits: Vec<String> = playbook.on.incident.iter().map(|moment| format!("`{moment}`")).collect();
            let why = format!("it waits for {}, not for `{moment}`", waits.join(" and "));
            return Err((TriggerDecision::NotMine, why));
        }
        let Some(Began { detection: began, views: (event, detection), incident }) = began else {
            let why = "no detection is kept that the incident began with: it would have no event";
            return Err((TriggerDecision::Held, why.to_owned()));
        };
        let ground = self.definitions.ground();
        let scope = Scope {
            event,
            detection,
            incident,
            vars: ground.vars,
            people: Some(ground.people),
            ..Scope::empty(now.wall)
        };
        let condition = playbook.on.condition.as_ref();
        let mut stricter = None;
        match condition.map_or(Ok(true), |condition| self.expressions.truth(&condition.text, &scope)) {
            Ok(true) => {}
            Ok(false) => {
                return Err((TriggerDecision::IfFalse, "its trigger's `if` is false for this moment".to_owned()));
            }
            Err(error) => stricter = Some(format!("its trigger's `if` could not be evaluated: {error}")),
        }
        if moment == IncidentMoment::Opened && trigger::age(began, now) > playbook.on.max_age {
            stricter.get_or_insert_with(|| format!("the event is older than {:?}", playbook.on.max_age));
        }
        let stricter =
            stricter.or_else(|| self.triggers.incidents.is_at_limit(playbook, now)).filter(|_| !began.backfill);
        let (mut mode, mut because) = self.mode_of_playbook(playbook);
        if let Some(why) = stricter.filter(|_| mode == Mode::Enforce) {
            tracing::warn!(playbook = %playbook.name, incident = %id, why, "a run that an incident starts asks first");
            (mode, because) = (Mode::Approve, why);
        }
        if began.backfill && mode > Mode::Observe {
            (mode, because) = (Mode::Observe, trigger::BACKFILL.to_owned());
        }
        let run = trigger::incident::run_of(&playbook.name, id, came.record);
        Ok(RunStarted {
            incident: Some(id.clone()),
            event: event.clone(),
            detection: detection.clone(),
            inputs: default_inputs(playbook),
            untrusted: self.definitions.is_untrusted(began),
            backfill: began.backfill,
            by: Some(BY.into()),
            came: Some(Box::new(came.clone())),
            moments: Moments { decided: Some(now), ..Moments::default() },
            ..self.start_of(playbook, run, (mode, because), format!("{id} {moment}"))
        })
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
        answers.starts.iter().for_each(|(playbook, _)| self.pin(playbook, now));
        self.ink.hold();
        self.write_to(incident, records);
        self.write_to(incident, answers.decided.as_slice());
        let mut begun = Vec::new();
        for (playbook, started) in answers.starts {
            let run = self.lay(&playbook, started, now);
            let joined =
                IncidentJoined { detection: None, run: Some(run.clone()), level: Level::Informational, count: 0 };
            self.write_to(incident, &[NewRecord::new(now, joined)]);
            begun.push(run);
        }
        self.ink.let_go();
        begun
    }

    /// Changes an incident; the one that is live, if it is, with it.
    pub(super) fn amend<T>(
        &mut self,
        mut incident: Incident,
        write: impl FnOnce(&mut Self, &mut Incident) -> T,
    ) -> (Incident, T) {
        let written = write(self, &mut incident);
        if let Some(live) = self.incidents.get_mut(&incident.id) {
            live.clone_from(&incident);
        }
        (incident, written)
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

/// What an incident began with, as expressions see it.
struct Began<'a> {
    detection: &'a Detection,
    /// `event` and `detection`.
    views: (Json, Json),
    incident: Json,
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
