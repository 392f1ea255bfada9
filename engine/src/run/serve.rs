//! What people ask for, done on the engine's thread.
//!
//! Owns the answers to requests; every one that changes something is journaled with who asked.

mod standing;

use super::answers::{self, EngineStatus, Held, ModeNow, OfIncident, OfRun, Paused, ReflexWritten, Reloaded};
use super::request::{Refusal, Request};
use super::shell::Core;
use crate::incident::{self, Incident, Incidents};
use quell_model::record::{
    IncidentChanged, IncidentState, LossSeen, NewRecord, NoteAdded, PauseChanged, PersonActed, RecorderPinned,
    ReflexFired, RunState,
};
use quell_model::{Body, IncidentId, Json, Name, RunId, StreamId};
use std::sync::Arc;

impl<W: Send + 'static> Core<W> {
    pub(super) fn serve(&mut self, request: Request) -> Result<Json, Refusal> {
        match request {
            Request::Status => Ok(self.status()),
            Request::Measure(into) => {
                // Whoever asked may have gone.
                drop(into.send(Box::new(self.measure())));
                Ok(Json::Null)
            }
            Request::Start { playbook, event, inputs, mode, by } => {
                let found = self.definitions.playbooks.iter().find(|p| p.name == playbook).map(Arc::clone);
                let found = found.ok_or_else(|| Refusal::NotFound { kind: "playbook", id: playbook.to_string() })?;
                let run = self.start_by_hand(&found, event.as_deref(), inputs, mode, by).map_err(Refusal::Wrong)?;
                Ok(answers::json(OfRun { id: run }))
            }
            Request::Cancel { run, by } => self.cancel(&run, &by),
            Request::Retry { run, from, by, why } => self.retry(&run, from, &by, why),
            Request::Skip { run, step, by, why } => self.skip(&run, &step, &by, &why),
            Request::Stuck => Ok(self.not_moving()),
            Request::Breakers => Ok(self.all_breakers()),
            Request::Breaker { playbook, open, by, why } => self.switch_breaker(&playbook, open, by, why),
            Request::Undo { run, step, by, why } => self.undo(&run, step, &by, why),
            Request::UndoIncident { incident, by, why } => self.undo_incident(&incident, &by, &why),
            Request::Keep { run, step, lasts, by } => self.keep(&run, step, lasts, &by),
            Request::Answer(given) => self.answer_given(&given),
            Request::Pause { paused, by } => Ok(self.pause(paused, by)),
            Request::Reflex { fired } => self.reflex(fired),
            Request::Note { incident, text, by } => self.change(&incident, NoteAdded { by, text }.into()),
            Request::Resolve { incident, why, by } => self.set_state(&incident, IncidentState::Resolved, why, by),
            Request::Reopen { incident, why, by } => self.set_state(&incident, IncidentState::Open, why, by),
            Request::Pinned { incident, pinned, last } => self.pinned(&incident, *pinned, last),
            Request::Reload(definitions) => {
                self.definitions = *definitions;
                self.outputs.reload(&self.definitions.playbooks);
                self.triggers.forget_planned();
                self.note_texts();
                self.set_schedules();
                let playbooks = self.definitions.playbooks.len() as u64;
                Ok(answers::json(Reloaded { playbooks, mode: self.definitions.ceiling }))
            }
        }
    }

    fn status(&self) -> Json {
        let now = self.parts.clock.now();
        let held = self.definitions.playbooks.iter().filter_map(|playbook| {
            let at_limit = || {
                let why = "it has started in as many places as `limits.runs` allows: in others it asks first";
                self.triggers.is_at_limit(playbook, now).then(|| why.to_owned())
            };
            let why =
                self.breaker_says(&playbook.name, now).or_else(at_limit).or_else(|| self.warm_up_says(playbook))?;
            Some(Held { id: playbook.name.clone(), why })
        });
        let mode = |playbook: &Arc<quell_model::playbook::Playbook>| {
            let (mode, because) = self.mode_of_playbook(playbook);
            ModeNow { id: playbook.name.clone(), mode, because }
        };
        let (standing, standing_due) = self.leases.count();
        answers::json(EngineStatus {
            held: held.collect(),
            modes: self.definitions.playbooks.iter().map(mode).collect(),
            mode: self.definitions.ceiling,
            paused: self.paused,
            runs_open: self.runs.len() as u64,
            runs_started: self.counted.runs,
            detections: self.counted.detections,
            incidents_degraded: self.incidents.degraded() as u64,
            events_lost: self.counted.lost,
            questions: self.open_questions() as u64,
            standing: standing as u64,
            standing_due: standing_due as u64,
            records_waiting: self.ink.waiting() as u64,
            records_lost: self.ink.lost(),
        })
    }

    fn cancel(&mut self, run: &RunId, by: &Name) -> Result<Json, Refusal> {
        let Some(live) = self.runs.get(run) else {
            let known = self.ink.journal().has(&StreamId::run(run));
            return Err(if known {
                Refusal::NotNow(format!("run `{run}` has ended already"))
            } else {
                Refusal::NotFound { kind: "run", id: run.to_string() }
            });
        };
        if live.run.state() == RunState::Undoing {
            return Err(Refusal::NotNow(format!("run `{run}` is being taken back: nothing of it starts any more")));
        }
        self.stop(run, by.clone(), Json::Null);
        self.drive(run);
        Ok(answers::json(OfRun { id: run.clone() }))
    }

    /// Nothing new of a run starts from now on.
    pub(super) fn stop(&mut self, run: &RunId, by: Name, detail: Json) {
        for under_way in self.runs.get(run).into_iter().flat_map(|live| live.under_way.values()) {
            under_way.stop.raise();
        }
        let now = self.parts.clock.now();
        self.record(run, vec![NewRecord::new(now, PersonActed { by, what: "cancel".into(), detail })]);
    }

    fn pause(&mut self, paused: bool, by: Name) -> Json {
        let changed = self.paused != paused;
        if changed {
            self.paused = paused;
            let now = self.parts.clock.now();
            self.write_system(vec![NewRecord::new(now, PauseChanged { paused, by })]);
            // What it held back goes on.
            for run in self.runs.keys().cloned().collect::<Vec<_>>() {
                self.drive(&run);
            }
        }
        let refused_meanwhile = if paused { 0 } else { std::mem::take(&mut self.counted.refused_by_pause) };
        answers::json(Paused { paused, changed, refused_meanwhile })
    }

    /// All of it in one append, also what the incidents say of it: whoever asks keeps the lines until they are written,
    /// and must not find some of them told.
    fn reflex(&mut self, fired: Vec<ReflexFired>) -> Result<Json, Refusal> {
        if self.ink.waiting() > 0 {
            self.ink.flush();
        }
        if self.ink.waiting() > 0 {
            return Err(Refusal::NotNow("the journal takes nothing now".to_owned()));
        }
        let now = self.parts.clock.now();
        let written = fired.len() as u64;
        let mut told: Vec<(Incident, Vec<NewRecord>)> = Vec::new();
        for one in &fired {
            let Some(id) = one.run.as_ref().and_then(|run| self.incident_of(run)) else { continue };
            let record = NewRecord::new(now, one.clone());
            if let Some((_, records)) = told.iter_mut().find(|(incident, _)| incident.id == id) {
                records.push(record);
            } else if let Ok(incident) = self.live_or_journaled(&id) {
                told.push((incident, vec![record]));
            }
        }
        self.write_system(fired.into_iter().map(|fired| NewRecord::new(now, fired)).collect());
        for (mut incident, records) in told {
            let id = incident.id.clone();
            self.ink.write(StreamId::incident(&id), incident.seq, &records);
            incident::apply_all(&mut incident, &records);
            if let Some(live) = self.incidents.get_mut(&id) {
                *live = incident;
            }
        }
        self.ink.commit();
        Ok(answers::json(ReflexWritten { written, waiting: self.ink.waiting() as u64 }))
    }

    /// What a run is part of, whether it goes on or has ended.
    fn incident_of(&mut self, run: &RunId) -> Option<IncidentId> {
        if let Some(live) = self.runs.get(run) {
            return live.run.started.incident.clone();
        }
        let records = self.ink.journal().read(&StreamId::run(run), 1).ok()?;
        match records.first().map(|record| &record.body) {
            Some(Body::RunStarted(started)) => started.incident.clone(),
            _ => None,
        }
    }

    fn set_state(&mut self, id: &IncidentId, state: IncidentState, why: String, by: Name) -> Result<Json, Refusal> {
        let current = self.live_or_journaled(id)?.state;
        if current == state {
            let word = if state == IncidentState::Open { "open" } else { "resolved" };
            return Err(Refusal::NotNow(format!("incident `{id}` is {word} already")));
        }
        if state == IncidentState::Resolved {
            self.triggers.incident_closed(id);
        }
        self.change(id, IncidentChanged { state, by, why }.into())
    }

    fn pinned(&mut self, id: &IncidentId, pinned: RecorderPinned, last: bool) -> Result<Json, Refusal> {
        let count = if last { pinned.lost } else { 0 };
        self.change(id, pinned.into())?;
        if count > 0 {
            let why = "the recorder had to drop them: the rules saw them, what is kept lacks them".to_owned();
            self.change(id, LossSeen { class: None, count, cgroup: None, path: None, since: None, why }.into())?;
        }
        Ok(answers::json(OfIncident { id: id.clone() }))
    }

    fn live_or_journaled(&mut self, id: &IncidentId) -> Result<Incident, Refusal> {
        if let Some(live) = self.incidents.get_mut(id) {
            return Ok(live.clone());
        }
        let found = Incidents::read(self.ink.journal(), &StreamId::incident(id), &mut |_| ());
        let found = found.map_err(|error| Refusal::NotNow(error.to_string()))?;
        found.ok_or_else(|| Refusal::NotFound { kind: "incident", id: id.to_string() })
    }

    pub(super) fn change(&mut self, id: &IncidentId, body: Body) -> Result<Json, Refusal> {
        let mut incident = self.live_or_journaled(id)?;
        let records = vec![NewRecord { at: self.parts.clock.now(), body }];
        self.ink.write(StreamId::incident(id), incident.seq, &records);
        incident::apply_all(&mut incident, &records);
        if let Some(live) = self.incidents.get_mut(id) {
            *live = incident;
        }
        Ok(answers::json(OfIncident { id: id.clone() }))
    }
}
