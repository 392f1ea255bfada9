//! From a detection, or a person's wish, to a run.
//!
//! Owns the order of the records: the incident opens, the detection is accepted with what every playbook decided, the
//! run starts, and only then its first step is planned.

use super::machine::Run;
use super::shell::{Core, Live, Said};
use super::wait::Taker;
use crate::incident::{self, Incident, Keep};
use crate::trigger::{Answer, Seen};
use quell_model::playbook::{IncidentMoment, Playbook};
use quell_model::record::source::Position;
use quell_model::record::{
    Decided, DefinitionPinned, DetectionAccepted, DetectionHeld, IncidentCame, IncidentChanged, IncidentJoined,
    IncidentOpened, IncidentState, Moments, NewRecord, RunStarted, RunState, TriggerDecision,
};
use quell_model::{
    Body, Detection, Entity, EventHead, IncidentId, Json, Level, Mode, Name, OwnedEvent, RunId, Stamp, StreamId,
    Subject,
};
use std::collections::HashMap;
use std::sync::Arc;

/// A run that a detection starts.
pub(super) struct Due {
    playbook: Arc<Playbook>,
    pub(super) run: RunId,
    per: String,
    mode: Mode,
    because: String,
    untrusted: bool,
    backfill: bool,
}

impl<W: Send + 'static> Core<W> {
    /// Takes in detections; each starts, joins, or is held back, and that is journaled.
    pub fn detections(&mut self, detections: impl IntoIterator<Item = Detection>) {
        self.take_in(detections, None);
    }

    /// The same, of a line that ends here in its source.
    pub(super) fn take_in(&mut self, detections: impl IntoIterator<Item = Detection>, at: Option<(Name, Position)>) {
        let mut all: Vec<Detection> = detections.into_iter().collect();
        // What a playbook waits for comes first: the others have nothing to contain.
        all.sort_by_cached_key(|detection| !self.is_wanted(detection));
        // A line was read once all of its detections are written.
        let (last, mut at) = (all.len().saturating_sub(1), at);
        for (number, detection) in all.into_iter().enumerate() {
            if number == last {
                self.mark(at.take());
            }
            self.counted.detections += 1;
            self.tally.detection(&detection);
            let now = self.parts.clock.now();
            self.detection(&detection, now);
            // What was done long ago does not say that a containment is still needed.
            if !detection.backfill {
                self.leases_see(&detection, now);
            }
        }
        self.mark(None);
        self.ink.ring();
        self.set_sleeper();
        self.say();
    }

    fn is_wanted(&self, detection: &Detection) -> bool {
        let filters = self.definitions.playbooks.iter().filter_map(|playbook| playbook.on.detections.as_ref());
        filters.into_iter().any(|filter| crate::trigger::wants(filter, &detection.rule))
    }

    fn detection(&mut self, detection: &Detection, now: Stamp) {
        if self.sources.was_accepted(detection) {
            tracing::info!(rule = %detection.rule.name, id = %detection.id, "read again after a crash: it was accepted before it");
            return;
        }
        let mut seen = Seen::new(detection);
        let mut decided = Vec::new();
        let mut due = Vec::new();
        let mut before = 0;
        for playbook in self.definitions.playbooks.clone() {
            let most = self.most_on(&playbook, detection);
            let answer =
                self.triggers.answer(&playbook, &seen, self.definitions.ground(), &self.expressions, most, now);
            let (decision, why, run) = match answer {
                Answer::NotMine(why) => (TriggerDecision::NotMine, why, None),
                Answer::IfFalse => {
                    (TriggerDecision::IfFalse, "its trigger's `if` is false for this event".to_owned(), None)
                }
                Answer::Join(run) => {
                    (TriggerDecision::Joined, "a run for the same value of `run_per` is open".to_owned(), Some(run))
                }
                Answer::JoinRefused(run) => (
                    TriggerDecision::Joined,
                    "a run for the very same was refused just now, by the guard as it is: whom it would act on is protected"
                        .to_owned(),
                    Some(run),
                ),
                Answer::Start { per, stricter } => {
                    let start = self.due(&playbook, detection, per, stricter);
                    let run = start.run.clone();
                    if let Some(earlier) = self.answered_before(&start, detection) {
                        before += 1;
                        (
                            TriggerDecision::Joined,
                            "it answered this process before quell was started again".to_owned(),
                            Some(earlier),
                        )
                    } else if self.ink.has(&StreamId::run(&run)) {
                        (TriggerDecision::Joined, "this very detection started that run before".to_owned(), Some(run))
                    } else {
                        let why = format!("{}: {}", start.mode, start.because);
                        due.push(start);
                        (TriggerDecision::Started, why, Some(run))
                    }
                }
            };
            decided.push(Decided { playbook: playbook.name.clone(), decision, why, run });
        }
        let takers = self.takers(detection, &seen, now);
        decided.extend(takers.iter().map(Taker::decided));
        // Every start would write it anew.
        if before > 0 && decided.iter().filter(|one| one.run.is_some()).count() == before {
            tracing::info!(rule = %detection.rule.name, subject = %detection.subject(), "what runs was answered before this start");
            return;
        }
        self.tally.decided(&decided);
        let answered = decided.iter().any(|one| one.run.is_some());
        let wanted = answered || detection.rule.level >= self.definitions.incidents.min_level;
        // What ends a wait is there with the detection, or neither is.
        self.ink.hold();
        self.join_runs(&seen, &decided, now);
        let (incident, opened) = if wanted {
            let (incident, opened) = self.join_or_open(detection, decided, now);
            (Some(incident), opened)
        } else {
            self.beside_incidents(detection, decided, now);
            (None, Vec::new())
        };
        self.seen_by(&takers, &seen);
        self.ink.let_go();
        let last = due.len().saturating_sub(1);
        for (at, start) in due.into_iter().enumerate() {
            let views = if at == last { seen.take_views() } else { seen.views().clone() };
            self.start_run(start, &detection.event.head, views, incident.clone(), now);
        }
        for taker in takers {
            self.drive(&taker.run);
        }
        // What answers the detection itself comes before what its incident starts.
        opened.iter().for_each(|run| self.drive(run));
    }

    /// The run in which a playbook answered the very process that a start has found, if that went as far as one would now
    /// and did not fail: a process that is held, or was let go, is no new attack.
    fn answered_before(&mut self, due: &Due, detection: &Detection) -> Option<RunId> {
        let is_it = matches!(detection.subject(), Subject::Process(_)) && due.per == detection.subject().to_string();
        if !is_it || !crate::trigger::is_scanned(detection) {
            return None;
        }
        let found = self.parts.journal.last_run(&due.playbook.name, &due.per);
        let line = found.inspect_err(|error| tracing::warn!(%error, "whether it was answered is not known")).ok()??;
        let went_well = line.tail.is_some_and(|tail| tail.state != RunState::Failed);
        (went_well && line.head.mode >= due.mode).then_some(line.head.run)
    }

    pub(super) fn due(
        &self,
        playbook: &Arc<Playbook>,
        detection: &Detection,
        per: String,
        stricter: Option<(Mode, String)>,
    ) -> Due {
        let (mut mode, mut because) = self.mode_of_playbook(playbook);
        if let Some((least, why)) = stricter
            && least < mode
        {
            // Of a backfill there may be thousands.
            if least == Mode::Approve {
                tracing::warn!(playbook = %playbook.name, why, "an attack is not answered at once: its run asks first");
            }
            (mode, because) = (least, why);
        }
        let run = RunId::of(&[playbook.name.as_str().as_bytes(), per.as_bytes(), &detection.id.0]);
        let untrusted = self.definitions.is_untrusted(detection);
        Due { playbook: Arc::clone(playbook), run, per, mode, because, untrusted, backfill: detection.backfill }
    }

    /// The incident that takes the detection, opened or reopened where need be; and the runs that its opening starts, which are
    /// still to be driven.
    fn join_or_open(&mut self, detection: &Detection, decided: Vec<Decided>, now: Stamp) -> (IncidentId, Vec<RunId>) {
        let quiet = self.definitions.incidents.quiet;
        let is_heard = self.definitions.playbooks.iter().any(|playbook| !playbook.on.incident.is_empty());
        let mut records = Vec::new();
        let opens = self.incidents.joinable(detection, now, quiet).is_none();
        if opens {
            let entity = detection.entity();
            let id = self.fresh_incident(entity, detection);
            let level = detection.rule.level;
            let opened = IncidentOpened {
                incident: id.clone(),
                entity: entity.clone(),
                title: detection.rule.title.to_string(),
                level,
                backfill: detection.backfill,
            };
            records.push(NewRecord::new(now, opened));
            let mut incident = Incident::open(id, entity.clone(), level, now);
            incident.backfill = detection.backfill;
            if let Some(old) = self.incidents.insert(incident) {
                self.triggers.incident_closed(&old.id);
            }
        }
        let Some(incident) = self.incidents.joinable(detection, now, quiet) else {
            unreachable!("it was inserted above");
        };
        let reopens = incident.standing.is_resolved();
        if reopens {
            let why = format!("`{}` was seen again", detection.rule.name);
            records.push(NewRecord::new(now, IncidentChanged::to(IncidentState::Open, "quell".into(), why)));
        }
        let key = incident.counted_as(detection);
        let count = incident.counts.get(&key).copied().unwrap_or(0) + 1;
        // A run is promised by the detection that starts it, however often its like came before.
        let starts = decided.iter().any(|one| one.decision == TriggerDecision::Started);
        let (keep, level) = (Incident::keep(count), detection.rule.level);
        let is_kept = starts || keep != Keep::Nothing;
        if starts || keep == Keep::Whole {
            let counted_later = keep != Keep::Whole;
            let accepted = DetectionAccepted { detection: detection.clone(), decided, counted_later };
            records.push(NewRecord::new(now, accepted));
        }
        if keep == Keep::Count {
            let joined = IncidentJoined { detection: Some(detection.id), run: None, level, count };
            records.push(NewRecord::new(now, joined));
        } else if records.is_empty() && now.since(incident.written) > quiet / 2 {
            // A start knows by its records whether an incident still goes on.
            records.push(NewRecord::new(now, IncidentJoined { detection: None, run: None, level, count: 0 }));
        }
        let id = incident.id.clone();
        let mut begun = Vec::new();
        if opens && is_heard {
            begun = self.open_with_runs(&id, detection, &records, now);
        } else {
            self.ink.write(StreamId::incident(&id), incident.seq, &records);
            incident::apply_all(incident, &records);
        }
        if let Some(incident) = self.incidents.get_mut(&id) {
            incident.counts.insert(key, count);
            incident.last = now;
        }
        self.incidents.learn(&id, detection);
        self.ladders.sees(&id, &detection.rule.name);
        if opens || reopens {
            let what = if opens { "opened" } else { "seen again" };
            let most = self.incidents.get_mut(&id).map_or(level, |incident| incident.level.max(level));
            self.ladder_begins(&id, detection, most, format!("an incident of level {most} was {what}"), now);
        } else {
            self.ladder_rises(&id, level, now);
        }
        if is_kept {
            self.write_mark(now);
        }
        if opens && !detection.backfill {
            self.losses_before(&id, now);
        }
        (id, begun)
    }

    /// An incident's first records, with the runs that its opening starts and why it does not start others.
    fn open_with_runs(
        &mut self,
        id: &IncidentId,
        detection: &Detection,
        records: &[NewRecord],
        now: Stamp,
    ) -> Vec<RunId> {
        let level = detection.rule.level;
        let came = IncidentCame { moment: IncidentMoment::Opened, record: 1, level, by: None, why: String::new() };
        let answers = self.answers_to(id, &came, Some(detection), now);
        let Some(incident) = self.incidents.get_mut(id).cloned() else { return Vec::new() };
        self.amend(incident, |core, incident| core.come(incident, records, answers, now)).1
    }

    /// An id that no incident has: a record that is read again long after opens a new one.
    fn fresh_incident(&mut self, entity: &Entity, detection: &Detection) -> IncidentId {
        let id = |number: u64| IncidentId::of(&[entity.to_string().as_bytes(), &detection.id.0, &number.to_le_bytes()]);
        let is_free = |id: &IncidentId| !self.ink.has(&StreamId::incident(id));
        (0..).map(id).find(|id| is_free(id)).expect("an incident's opening is written, so that some number is free")
    }

    /// A detection below the level of incidents: kept in the system's stream, with why nothing came of it. Of a flood of one
    /// rule's on one entity the first few, and then how many.
    fn beside_incidents(&mut self, detection: &Detection, decided: Vec<Decided>, now: Stamp) {
        self.tally.held("below_level");
        let (about, quiet) = (detection.entity().to_string(), self.definitions.incidents.quiet);
        let (count, keep) = self.incidents.beside.count(&detection.rule.name, about, now, quiet);
        let so_far = if keep == Keep::Count { format!("; {count} times so far") } else { String::new() };
        let held = DetectionHeld {
            detection: detection.id,
            rule: detection.rule.name.clone(),
            playbook: None,
            reason: format!(
                "no playbook started, and {} is below the level that opens an incident{so_far}",
                detection.rule.level
            ),
        };
        let held = NewRecord::new(now, held);
        if keep != Keep::Nothing {
            self.write_mark(now);
        }
        match keep {
            Keep::Whole => {
                let accepted = DetectionAccepted { detection: detection.clone(), decided, counted_later: false };
                self.write_system(vec![NewRecord::new(now, accepted), held]);
            }
            Keep::Count => self.write_system(vec![held]),
            Keep::Nothing => {}
        }
    }

    fn start_run(&mut self, due: Due, head: &EventHead, views: (Json, Json), incident: Option<IncidentId>, now: Stamp) {
        let id = self.lay_run(due, head, views, incident, now);
        self.drive(&id);
    }

    /// Writes down that what is due begins: it is still to be driven.
    pub(super) fn lay_run(
        &mut self,
        due: Due,
        head: &EventHead,
        (event, described): (Json, Json),
        incident: Option<IncidentId>,
        now: Stamp,
    ) -> RunId {
        // How long ago it is says nothing of how fast quell is.
        let kernel = (!due.backfill).then_some(head.at);
        let moments = Moments { kernel, seen: Some(head.seen), decided: Some(now), ..Moments::default() };
        let started = RunStarted {
            incident,
            event,
            detection: described,
            inputs: default_inputs(&due.playbook),
            untrusted: due.untrusted,
            backfill: due.backfill,
            moments,
            ..self.start_of(&due.playbook, due.run, (due.mode, due.because), due.per)
        };
        self.lay_in_incident(&due.playbook, started, now)
    }

    /// Starts a playbook by hand; gives the run's id.
    pub(super) fn start_by_hand(
        &mut self,
        playbook: &Arc<Playbook>,
        event: Option<&OwnedEvent>,
        inputs: Json,
        mode: Option<Mode>,
        by: Name,
    ) -> Result<RunId, String> {
        let now = self.parts.clock.now();
        let inputs = checked_inputs(playbook, inputs)?;
        let (own, because) = self.mode_of_playbook(playbook);
        let (mode, because) = match mode {
            Some(asked) if asked < own => (asked, format!("{by} asked for {asked}")),
            _ => (own, because),
        };
        let per = event.map_or_else(|| "by hand".to_owned(), |event| event.subject.to_string());
        // Who starts it twice in one moment wants two.
        let id = |moment: u64| {
            let (name, by, moment) = (playbook.name.as_str().as_bytes(), by.as_str().as_bytes(), moment.to_le_bytes());
            RunId::of(&[name, per.as_bytes(), by, &moment])
        };
        let is_free = |run: &RunId| !self.ink.has(&StreamId::run(run)) && !self.runs.contains_key(run);
        let run = (now.boot_ns..).map(id).find(|run| is_free(run)).ok_or("no id is left for its run")?;
        let moments = Moments {
            kernel: event.map(|e| e.head.at),
            seen: event.map(|e| e.head.seen),
            decided: Some(now),
            ..Moments::default()
        };
        let started = RunStarted {
            event: event.map_or(Json::Null, OwnedEvent::for_playbooks),
            inputs,
            by: Some(by),
            moments,
            ..self.start_of(playbook, run.clone(), (mode, because), per)
        };
        self.begin(playbook, started, now);
        Ok(run)
    }

    /// What every start has; the rest is what began it.
    pub(super) fn start_of(
        &self,
        playbook: &Playbook,
        run: RunId,
        (mode, mode_because): (Mode, String),
        per: String,
    ) -> RunStarted {
        RunStarted {
            run,
            playbook: playbook.name.clone(),
            definition: playbook.hash,
            mode,
            mode_because,
            incident: None,
            per,
            event: Json::Null,
            detection: Json::Null,
            inputs: Json::Null,
            vars: self.definitions.vars.clone(),
            untrusted: false,
            backfill: false,
            by: None,
            parent: None,
            came: None,
            moments: Moments::default(),
        }
    }

    pub(super) fn begin(&mut self, playbook: &Arc<Playbook>, started: RunStarted, now: Stamp) {
        let id = self.lay_in_incident(playbook, started, now);
        self.drive(&id);
    }

    /// Writes down that a run begins, and in its incident that it belongs there: it is still to be driven.
    fn lay_in_incident(&mut self, playbook: &Arc<Playbook>, started: RunStarted, now: Stamp) -> RunId {
        let incident = started.incident.clone();
        let id = self.lay(playbook, started, now);
        if let Some(incident) = incident {
            self.join_incident(&incident, &id, now);
        }
        id
    }

    /// Writes down that a run begins, and keeps it: it is still to be driven.
    pub(super) fn lay(&mut self, playbook: &Arc<Playbook>, started: RunStarted, now: Stamp) -> RunId {
        self.pin(playbook, now);
        self.text_ran(&started);
        let id = started.run.clone();
        self.counted.runs += 1;
        let record = self.with_large_apart(None, NewRecord::new(now, started));
        self.ink.write(StreamId::run(&id), 0, std::slice::from_ref(&record));
        let Body::RunStarted(started) = record.body else { unreachable!("it was made of one just above") };
        self.tally.started(playbook, &started);
        // What a person or another run has started answers no detections.
        if started.by.is_none() && started.parent.is_none() {
            self.triggers.started(playbook, &started, now);
        }
        // What anybody can write does not use up what the others may do.
        if started.came.is_some() && !started.untrusted {
            self.triggers.incidents.counted(playbook, started.mode, now);
        }
        self.said.push(Said::Started(id.clone(), playbook.name.clone(), started.mode));
        let moments = started.moments;
        let run = Run::new(Arc::clone(playbook), *started, now);
        self.runs
            .insert(id.clone(), Live { run, under_way: HashMap::new(), moments, only_planned: true, protected: 0 });
        id
    }

    /// Keeps a playbook's text for the runs that begin with it.
    pub(super) fn pin(&mut self, playbook: &Playbook, now: Stamp) {
        if self.pinned.insert(playbook.hash) {
            let pinned = DefinitionPinned {
                playbook: playbook.name.clone(),
                hash: playbook.hash,
                file: playbook.file.display().to_string(),
                text: playbook.text.to_string(),
            };
            self.write_system(vec![NewRecord::new(now, pinned)]);
        }
    }

    pub(super) fn join_incident(&mut self, incident: &IncidentId, run: &RunId, now: Stamp) {
        let joined = IncidentJoined { detection: None, run: Some(run.clone()), level: Level::Informational, count: 0 };
        self.add_to_incident(incident, NewRecord::new(now, joined));
    }
}

pub(super) fn default_inputs(playbook: &Playbook) -> Json {
    Json::Object(
        playbook.inputs.iter().map(|(name, spec)| (name.clone(), spec.default.clone().unwrap_or(Json::Null))).collect(),
    )
}

/// Given inputs with the defaults of the others; all that is wrong in one sentence.
pub(super) fn checked_inputs(playbook: &Playbook, given: Json) -> Result<Json, String> {
    let Json::Object(mut given) = given else {
        return Err("inputs are a map".to_owned());
    };
    let mut wrong: Vec<String> = given
        .keys()
        .filter(|name| !playbook.inputs.contains_key(*name))
        .map(|name| match quell_model::mistake::nearest(name, playbook.inputs.keys().map(String::as_str)) {
            Some(near) => format!("`{name}` is no input of `{}`; did you mean `{near}`?", playbook.name),
            None => format!("`{name}` is no input of `{}`", playbook.name),
        })
        .collect();
    let mut inputs = serde_json::Map::new();
    for (name, spec) in &playbook.inputs {
        match given.remove(name).or_else(|| spec.default.clone()) {
            None => wrong.push(format!("input `{name}` is missing")),
            Some(value) if !spec.kind.takes(&value) => {
                wrong.push(format!("input `{name}` is no {:?}", spec.kind).to_lowercase())
            }
            Some(value) => drop(inputs.insert(name.clone(), value)),
        }
    }
    if wrong.is_empty() { Ok(Json::Object(inputs)) } else { Err(wrong.join("; ")) }
}
