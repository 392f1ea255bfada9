//! What people ask for, done on the engine's thread.
//!
//! Owns the answers to requests; every one that changes something is journaled with who asked.

mod incidents;
mod look;
mod press;
mod standing;

use super::answers::{self, EngineStatus, Held, ModeNow, OfIncident, OfRun, Paused, ReflexWritten};
use super::definitions::Definitions;
use super::request::{Refusal, Request};
use super::shell::{Core, run_started};
use crate::incident::Incident;
use quell_model::record::{
    AcknowledgementChanged, LossSeen, NewRecord, NoteAdded, PauseChanged, PersonActed, RecorderPinned, ReflexFired,
    RunState, StreamPruned,
};
use quell_model::{Body, IncidentId, Json, Kind, Name, RunId, StreamId};
use std::collections::HashSet;
use std::sync::Arc;

/// The way of whoever did something to a ladder, where what they asked does not say it.
const UNKNOWN: &str = "engine";
/// Why what goes by the journal is refused while that hangs or is behind.
pub(super) const TAKES_NOTHING: &str = "the journal takes nothing now";

impl<W: Send + 'static> Core<W> {
    pub(super) fn serve(&mut self, request: Request) -> Result<Json, Refusal> {
        self.ink.be_patient();
        let answer = self.answer_to(request);
        self.ink.hurry();
        answer
    }

    fn answer_to(&mut self, request: Request) -> Result<Json, Refusal> {
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
            Request::Cancel { run, by } => self.moves_run(&run, (&by, &UNKNOWN.into()), |core| core.cancel(&run, &by)),
            Request::Retry { run, from, by, why } => {
                self.moves_run(&run, (&by, &UNKNOWN.into()), |core| core.retry(&run, from, &by, why))
            }
            Request::Skip { run, step, by, why } => {
                self.moves_run(&run, (&by, &UNKNOWN.into()), |core| core.skip(&run, &step, &by, &why))
            }
            Request::Stuck => Ok(self.not_moving()),
            Request::Breakers => Ok(self.all_breakers()),
            Request::Breaker { playbook, open, by, why } => self.switch_breaker(&playbook, open, by, why),
            Request::ModeStands(playbook) => self.mode_stands(&playbook),
            Request::SetMode { playbook, to, definition, by, why } => {
                self.set_mode(&playbook, (to, definition), by, why)
            }
            Request::Undo { run, step, by, way, why } => {
                self.moves_run(&run, (&by, &way.via), |core| core.undo(&run, step, (&by, &way), why))
            }
            Request::UndoIncident { incident, by, way, why } => {
                let undone = self.undo_incident(&incident, (&by, &way), &why)?;
                self.ladder_touched(&incident, (&by, &way.via), self.parts.clock.now());
                Ok(undone)
            }
            Request::Keep { run, step, lasts, by, way } => {
                self.moves_run(&run, (&by, &way.via), |core| core.keep(&run, step, lasts, (&by, &way)))
            }
            Request::KeepIncident { incident, lasts, by, way } => {
                let kept = self.keep_incident(&incident, lasts, (&by, &way))?;
                self.ladder_touched(&incident, (&by, &way.via), self.parts.clock.now());
                Ok(kept)
            }
            Request::Answer(given) => {
                self.moves_run(&given.run, (&given.by, &given.via), |core| core.answer_given(&given))
            }
            Request::Pause { paused, by } => Ok(self.pause(paused, by)),
            Request::Reflex { fired } => self.reflex(fired),
            Request::Note { incident, text, by } => {
                self.ladder_touched(&incident, (&by, &UNKNOWN.into()), self.parts.clock.now());
                self.change(&incident, NoteAdded { by, text }.into())
            }
            Request::Acknowledge { incident, acknowledged, why, by, via, generation } => {
                self.acknowledge(&incident, AcknowledgementChanged { acknowledged, by, via, why }, generation)
            }
            Request::Press(pressed) => self.press(*pressed),
            Request::IfMay { may, wants } => may.ask().and_then(|()| self.answer_to(*wants)),
            Request::TurnedAway(turned) => self.turned_away(*turned),
            Request::Notice { ladder, link } => self.notice_now(&ladder, link.as_ref()),
            Request::Escalate { incident, why, by, via } => self.escalate(&incident, why, (by, via)),
            Request::Silence { wanted, by, via } => self.silence(*wanted, (by, via)),
            Request::EndSilence { silence, by, via } => self.end_silence(&silence, (by, via)),
            Request::Silences => Ok(answers::json(self.all_silences())),
            Request::Resolve { incident, why, by, via } => self.resolve(&incident, why, (by, via)),
            Request::FalsePositive { incident, reason, by, way, exception } => {
                self.false_positive(&incident, reason, (by, &way), exception)
            }
            Request::Reopen { incident, why, by, via } => self.reopen(&incident, why, (by, via)),
            Request::Pinned { incident, pinned, last } => self.pinned(&incident, *pinned, last),
            Request::Seal(heads) => {
                if self.ink.waiting() > 0 {
                    return Err(Refusal::NotNow(TAKES_NOTHING.to_owned()));
                }
                self.write_system(vec![NewRecord::new(self.parts.clock.now(), Body::HeadsSealed(heads))]);
                self.ink.commit();
                Ok(Json::Null)
            }
            Request::Prune(pruned) => self.prune(*pruned),
        }
    }

    /// Somebody does something about a run: an incident that somebody looks after has been moved by it.
    fn moves_run(
        &mut self,
        run: &RunId,
        whose: (&Name, &Name),
        act: impl FnOnce(&mut Self) -> Result<Json, Refusal>,
    ) -> Result<Json, Refusal> {
        // Where nobody looks after anything, nothing is read for it.
        let incident = if self.is_any_acknowledged() { self.incident_of(run).ok().flatten() } else { None };
        let done = act(self)?;
        if let Some(incident) = incident {
            self.ladder_touched(&incident, whose, self.parts.clock.now());
        }
        Ok(done)
    }

    /// What was over when somebody looked may be worked with by now: it stays.
    fn prune(&mut self, mut pruned: StreamPruned) -> Result<Json, Refusal> {
        if self.ink.waiting() > 0 {
            return Err(Refusal::NotNow(TAKES_NOTHING.to_owned()));
        }
        let standing: Vec<RunId> = self.leases.standing().map(|(run, _)| run.clone()).collect();
        let told = standing.iter().filter_map(|run| self.leases.incident_of(run));
        let of_live = self.runs.values().filter_map(|live| live.run.started.incident.clone());
        let told: HashSet<IncidentId> = told.chain(of_live).collect();
        pruned.streams.retain(|one| match (one.stream.owner().as_run(), one.stream.owner().as_incident()) {
            (Some(run), _) => !self.runs.contains_key(&run) && !standing.contains(&run),
            (_, Some(incident)) => {
                let is_told = told.contains(&incident) || self.is_telling(&incident);
                !is_told && self.incidents.get_mut(&incident).is_none()
            }
            _ => false,
        });
        if pruned.streams.is_empty() && pruned.blobs.is_empty() {
            return Ok(answers::json(pruned));
        }
        self.write_system(vec![NewRecord::new(self.parts.clock.now(), pruned.clone())]);
        self.ink.has_pruned();
        self.ink.ring();
        Ok(answers::json(pruned))
    }

    /// Works by these from now on. For whoever turns it, who swaps the rules in the same moment.
    pub fn reload(&mut self, definitions: Definitions) {
        let post = definitions.post.clone().after(&self.definitions.post);
        self.definitions = Definitions { post, ..definitions };
        // Which may be by another account.
        self.ladders.not_before.clear();
        self.outputs.reload(&self.definitions.playbooks);
        self.triggers.forget_planned();
        self.note_texts();
        self.set_schedules();
    }

    fn status(&self) -> Json {
        let now = self.parts.clock.now();
        let held = self.definitions.playbooks.iter().filter_map(|playbook| {
            let at_limit = || {
                let why = "it has started in as many places as `limits.runs` allows: in others it asks first";
                self.triggers.is_at_limit(playbook, now).then(|| why.to_owned())
            };
            let why = self
                .breaker_says(&playbook.name, now)
                .or_else(at_limit)
                .or_else(|| self.triggers.incidents.is_at_limit(playbook, now))
                .or_else(|| self.warm_up_says(playbook))?;
            Some(Held { id: playbook.name.clone(), why })
        });
        let mode = |playbook: &Arc<quell_model::playbook::Playbook>| {
            let (mode, because) = self.mode_of_playbook(playbook);
            ModeNow { id: playbook.name.clone(), mode, because }
        };
        let (standing, standing_due) = self.leases.count();
        answers::json(EngineStatus {
            held: held.collect(),
            by_hand: self.said_by_hand(),
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
            leases: self.leases_listed(),
            silences: self.all_silences(),
            exhausted: self.exhausted(),
            records_waiting: self.ink.waiting() as u64,
            records_lost: self.ink.lost(),
        })
    }

    fn cancel(&mut self, run: &RunId, by: &Name) -> Result<Json, Refusal> {
        let Some(live) = self.runs.get(run) else {
            let known = self.ink.has(&StreamId::run(run));
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
        // What is being taken back is not what is cancelled.
        if let Some(live) = self.runs.get(run) {
            let forward = live.under_way.iter().filter(|(part, _)| !live.run.takes_back(part));
            forward.for_each(|(_, under_way)| under_way.stop.raise());
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
            self.leases.hold_at_once();
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
            return Err(Refusal::NotNow(TAKES_NOTHING.to_owned()));
        }
        let now = self.parts.clock.now();
        let written = fired.len() as u64;
        let mut told: Vec<(Incident, Vec<NewRecord>)> = Vec::new();
        for one in &fired {
            let id = one.run.as_ref().map(|run| self.incident_of(run)).transpose()?.flatten();
            let Some(id) = id else { continue };
            let record = NewRecord::new(now, one.clone());
            if let Some((_, records)) = told.iter_mut().find(|(incident, _)| incident.id == id) {
                records.push(record);
                continue;
            }
            match self.live_or_journaled(&id) {
                Ok(incident) => told.push((incident, vec![record])),
                // It may have been pruned; the system's stream has it all the same.
                Err(Refusal::NotFound { .. }) => {}
                Err(not_now) => return Err(not_now),
            }
        }
        self.ink.hold();
        self.write_system(fired.into_iter().map(|fired| NewRecord::new(now, fired)).collect());
        for (incident, records) in told {
            self.amend(incident, |core, incident| core.write_to(incident, &records));
        }
        self.ink.let_go();
        self.ink.commit();
        Ok(answers::json(ReflexWritten { written, waiting: self.ink.waiting() as u64 }))
    }

    /// What a run is part of, whether it goes on, something of it stands or it has ended.
    fn incident_of(&mut self, run: &RunId) -> Result<Option<IncidentId>, Refusal> {
        if let Some(live) = self.runs.get(run) {
            return Ok(live.run.started.incident.clone());
        }
        if let Some(incident) = self.leases.incident_of(run) {
            return Ok(Some(incident));
        }
        let read = self.ink.readable(&StreamId::run(run))?.kinds(&[Kind::RunStarted]);
        let records = read.inspect_err(|error| tracing::warn!(%run, %error, "of which incident it is is not known"));
        let first = records.unwrap_or_default().into_iter().next();
        Ok(first.and_then(|first| run_started(&first.body)?.incident.clone()))
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
}
