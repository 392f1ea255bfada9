//! The shell: does what the machines say, on one thread, and journals what happened.
//!
//! Owns every open run, the live incidents, the triggers and the guard's memory. It never blocks: records go into the
//! journal's slate, contain verbs are polled once, everything else is done beside and answers through the inbox.

#[cfg(test)]
pub(in crate::run) mod simulated;
pub(crate) mod stepwise;

use super::definitions::Definitions;
use super::ink::Ink;
use super::job::{Answer, Input};
use super::leases::Leases;
use super::losses::{Losses, Told};
use super::machine::{Command, Run};
use super::measure::Tally;
use super::purpose::Purpose;
use super::recovery::ReadDefinition;
use super::request::{EngineHandle, INBOX};
use super::take_back::Whose;
use super::timers::Timers;
use super::unread::{Later, Waiters};
use super::workers::Workers;
use crate::incident::{self, Incident, Incidents, Keep};
use crate::playbook::expression::Expressions;
use crate::store::Journal;
use crate::trigger::Triggers;
use quell_model::guard::{Guard, Memory};
use quell_model::record::{DetectionHeld, LossSeen, Moments, NewRecord, Part, RunState};
use quell_model::{Body, BootId, Clock, Crew, Hash, IncidentId, Json, Name, RunId, Stamp, Stop, StreamId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// So long a turn takes in what came from elsewhere.
pub(super) const INBOX_TURN: Duration = Duration::from_millis(20);

/// What an engine is built from.
pub struct Parts<W> {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The one log.
    pub journal: Journal,
    /// Where evidence goes.
    pub vault: Arc<dyn quell_model::store::Vault>,
    /// What it can touch.
    pub crew: Crew<W>,
    /// Where work goes that takes a while.
    pub runtime: tokio::runtime::Handle,
    /// Wakes the thread that turns the engine.
    pub wake: Arc<dyn Fn() + Send + Sync>,
    /// This machine.
    pub node: Name,
    /// This boot.
    pub boot: BootId,
}

/// A run with what the shell knows beside its records.
pub(super) struct Live {
    pub(super) run: Run,
    /// Parts that somebody is at, with the attempt's state.
    pub(super) under_way: HashMap<Part, UnderWay>,
    pub(super) moments: Moments,
    /// Nothing of it acted.
    pub(super) only_planned: bool,
    /// So many of its parts were refused because of whom they named.
    pub(super) protected: usize,
}

/// An attempt between its phases.
pub(super) struct UnderWay {
    pub(super) attempt: u32,
    /// When the first attempt of its part began: what the step's `deadline` counts from.
    pub(super) began: Stamp,
    pub(super) item: Json,
    pub(super) input: Json,
    pub(super) deadline: Stamp,
    pub(super) stop: Stop,
    pub(super) admitted: Option<quell_model::Admitted>,
    /// Of a taking back: what is taken back, under which key, the latest first.
    pub(super) back: Vec<(quell_model::action::IdempotencyKey, quell_model::Admitted)>,
    /// Whether it is new.
    pub(super) purpose: Purpose,
}

/// The engine, on its own thread.
pub struct Core<W> {
    pub(super) parts: Parts<W>,
    pub(super) definitions: Definitions,
    pub(super) expressions: Arc<Expressions>,
    pub(super) outputs: super::scope::Outputs,
    pub(super) secret_inputs: super::secrets::SecretInputs,
    pub(super) contents: super::contents::Contents,
    pub(super) handle: EngineHandle,
    inbox: mpsc::Receiver<Input>,
    pub(super) runs: BTreeMap<RunId, Live>,
    /// Runs that could not be taken up, and why.
    pub(super) broken: BTreeMap<RunId, String>,
    pub(super) triggers: Triggers,
    pub(super) incidents: Incidents,
    pub(super) memory: Memory,
    pub(super) paused: bool,
    pub(super) pinned: HashSet<Hash>,
    pub(super) ink: Ink,
    pub(super) system_seq: u64,
    /// Since when engines of this boot have written the journal, without one of another boot in between.
    pub(super) boot_from: Option<Stamp>,
    /// When this engine has taken up what stood in the journal.
    pub(super) took_up: Option<Stamp>,
    pub(super) counted: Counted,
    pub(super) tally: Tally,
    /// What the log is to say once nothing is to be done at once.
    pub(super) said: Vec<Said>,
    pub(super) leases: Leases,
    /// Since when each text of a playbook is known.
    pub(super) texts: super::warm_up::Texts,
    pub(super) words: super::promote::Words,
    /// What was last said of each playbook's breaker.
    pub(super) breakers: BTreeMap<Name, quell_model::record::BreakerChanged>,
    pub(super) remembered: super::remembered::Remembered,
    pub(super) awaiting: super::wait::Awaiting,
    pub(super) asked: super::question::Waiting,
    pub(super) ladders: super::ladder::Ladders,
    pub(super) silences: crate::escalation::silence::Silences,
    pub(super) bundles: crate::escalation::bundle::Bundles,
    /// How runs have ended that others follow, until those take it in.
    pub(super) ends: HashMap<RunId, super::sub::SubEnd>,
    /// Runs that have something to take in.
    pub(super) followed: Vec<RunId>,
    /// A run is being driven.
    is_driving: bool,
    /// Reads the pinned text of a run that is opened again.
    pub(super) reread: Option<ReadDefinition>,
    losses: Losses,
    pub(super) sources: super::source::Sources,
    pub(super) workers: Workers,
    pub(super) timers: Timers,
    /// Who waits for the journal.
    pub(super) unread: Waiters,
    swept: Stamp,
}

/// A line of the log about a run.
#[derive(Debug)]
pub(super) enum Said {
    Started(RunId, Name, quell_model::Mode),
    Finished(RunId, Name, RunState),
}

/// What `status` counts since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    pub(super) detections: u64,
    pub(super) runs: u64,
    pub(super) lost: u64,
    /// Actions that the pause refused since it began.
    pub(super) refused_by_pause: u64,
}

impl<W: Send + 'static> Core<W> {
    /// An engine that has not looked at its journal yet: [`Core::recover`] does.
    #[must_use]
    pub fn new(parts: Parts<W>, definitions: Definitions) -> Self {
        Self::with(parts, definitions, Arc::new(Expressions::new()))
    }

    /// The same, with a sandbox that others use too: making one takes its time.
    pub(super) fn with(parts: Parts<W>, definitions: Definitions, expressions: Arc<Expressions>) -> Self {
        let (sender, inbox) = mpsc::channel(INBOX);
        let handle = EngineHandle { inbox: sender, wake: Arc::clone(&parts.wake) };
        let (swept, ink) = (parts.clock.now(), Ink::new(parts.journal.clone()));
        let outputs = super::scope::Outputs::of(&parts.crew, &definitions.playbooks);
        let secret_inputs = super::secrets::SecretInputs::of(&parts.crew);
        let tally = Tally::new(parts.crew.specs(), swept);
        let contents = super::contents::Contents::new(parts.journal.clone());
        let workers = Workers::new(parts.runtime.clone());
        Self {
            parts,
            definitions,
            outputs,
            secret_inputs,
            contents,
            expressions,
            handle,
            inbox,
            runs: BTreeMap::new(),
            broken: BTreeMap::new(),
            triggers: Triggers::default(),
            incidents: Incidents::default(),
            memory: Memory::default(),
            paused: false,
            pinned: HashSet::new(),
            ink,
            system_seq: 0,
            boot_from: None,
            took_up: None,
            counted: Counted::default(),
            tally,
            said: Vec::new(),
            leases: Leases::default(),
            texts: super::warm_up::Texts::default(),
            words: super::promote::Words::default(),
            breakers: BTreeMap::new(),
            remembered: super::remembered::Remembered::default(),
            awaiting: super::wait::Awaiting::default(),
            asked: super::question::Waiting::default(),
            ladders: super::ladder::Ladders::default(),
            silences: crate::escalation::silence::Silences::default(),
            bundles: crate::escalation::bundle::Bundles::default(),
            ends: HashMap::new(),
            followed: Vec::new(),
            is_driving: false,
            reread: None,
            losses: Losses::default(),
            sources: super::source::Sources::default(),
            workers,
            timers: Timers::default(),
            unread: Waiters::default(),
            swept,
        }
    }

    /// The way to this engine from other threads.
    #[must_use]
    pub fn handle(&self) -> EngineHandle {
        self.handle.clone()
    }

    /// Takes in what came from elsewhere, and moves on what waits for a moment. Never blocks.
    pub fn turn(&mut self) {
        let until = self.parts.clock.now().after(INBOX_TURN);
        self.workers.gather();
        while let Ok(input) = self.inbox.try_recv() {
            match input {
                Input::Answer(run, part, answer) => {
                    self.answer(&run, &part, answer);
                    self.drive_after(&run);
                }
                Input::Request(request, reply) => {
                    let answer = self.serve(request);
                    self.ink.commit();
                    // Whoever asked may have gone: what was asked is done all the same.
                    drop(reply.send(answer));
                }
                Input::Sent(part, together, sent) => self.page_sent(&part, together, sent),
                Input::Tick => {}
            }
            // Thousands of answers at once do not keep what the sensor sees now waiting: the rest has its turn after it.
            if self.parts.clock.now().boot_ns >= until.boot_ns {
                (self.handle.wake)();
                break;
            }
        }
        self.moments();
        self.workers.go();
    }

    /// Moves on what waits for a moment that has come.
    fn moments(&mut self) {
        let now = self.parts.clock.now();
        for told in self.losses.due(now) {
            self.tell_loss(&told);
        }
        self.positions_due(now);
        self.unread_go_on(now);
        self.runs_go_on(now);
        self.leases_hold();
        self.leases_end();
        self.schedules_start();
        self.silences_end(now);
        self.ladders_go_on(now);
        if now.since(self.swept) > std::time::Duration::from_secs(60) {
            self.swept = now;
            for over in self.incidents.sweep(now, self.definitions.incidents.quiet) {
                self.triggers.incident_closed(&over);
            }
        }
        self.ink.flush();
        if let Some(count) = self.ink.newly_lost() {
            let why = "records of the journal itself: it took nothing for so long that they found no room".to_owned();
            let loss = LossSeen { class: None, count, cgroup: None, path: None, since: None, why };
            self.write_system(vec![NewRecord::new(now, loss)]);
            self.ink.flush();
        }
        self.contents.settle(self.ink.is_empty());
        self.set_sleeper();
        self.say();
    }

    /// Tells the log what has happened: it takes a lock and a wake-up, which no act is to wait for.
    pub(super) fn say(&mut self) {
        for said in self.said.drain(..) {
            match said {
                Said::Started(run, playbook, mode) => tracing::info!(%run, %playbook, %mode, "run started"),
                Said::Finished(run, playbook, state) => {
                    tracing::info!(%run, %playbook, state = state.as_str(), "run finished");
                }
            }
        }
    }

    /// Whether no run is open: nothing is under way and nothing waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.runs.is_empty() && self.unread.is_empty()
    }

    /// Detections that an exception held back: the system's stream says so, of a flood how many.
    pub fn held(&mut self, held: impl IntoIterator<Item = (Stamp, DetectionHeld)>) {
        let (now, quiet) = (self.parts.clock.now(), self.definitions.incidents.quiet);
        let mut records = Vec::new();
        for (at, mut held) in held {
            self.tally.held("exception");
            let (count, keep) = self.incidents.beside.count(&held.rule, held.reason.clone(), now, quiet);
            if keep == Keep::Count {
                held.reason += &format!("; {count} times so far");
            }
            if keep != Keep::Nothing {
                records.push(NewRecord::new(at, held));
            }
        }
        self.write_system(records);
        self.ink.commit();
    }

    /// Events were lost: the system's stream says so, and every incident that may have missed something.
    pub fn loss(&mut self, loss: LossSeen, at: Stamp) {
        self.counted.lost += loss.count;
        if let Some(told) = self.losses.add(loss, at) {
            self.tell_loss(&told);
        }
        self.ink.commit();
    }

    fn tell_loss(&mut self, told: &Told) {
        let (at, loss) = told;
        self.write_system(vec![NewRecord::new(*at, loss.clone())]);
        let quiet = self.definitions.incidents.quiet;
        let is_near = |incident: &&mut Incident| !incident.backfill && at.since(incident.last) <= quiet;
        self.incidents.iter_mut().filter(is_near).for_each(|incident| degrade(&mut self.ink, incident, told));
    }

    /// What was lost shortly before an incident that has just opened may have been a part of it.
    pub(super) fn losses_before(&mut self, id: &IncidentId, now: Stamp) {
        let pending = self.losses.all(now);
        pending.iter().for_each(|told| self.tell_loss(told));
        let earlier = self.losses.before(now).into_iter().filter(|told| !pending.contains(told));
        let Some(incident) = self.incidents.get_mut(id) else { return };
        earlier.for_each(|told| degrade(&mut self.ink, incident, &told));
    }

    /// Does all that a run's machine says until it waits or has ended, and then the same with those that follow it.
    pub(super) fn drive(&mut self, id: &RunId) {
        self.drive_with_followers(id, Run::next_of_all);
    }

    /// The same where only records of parts that somebody was at have come since.
    pub(super) fn drive_after(&mut self, id: &RunId) {
        self.drive_with_followers(id, Run::next_after);
    }

    fn drive_with_followers(&mut self, id: &RunId, first: fn(&mut Run, Stamp) -> Vec<Command>) {
        // Within another's turn those that follow wait for its end: no run is driven twice at once.
        let is_first = !std::mem::replace(&mut self.is_driving, true);
        self.drive_on(id, first);
        if is_first {
            while let Some(next) = self.followed.pop() {
                self.drive_on(&next, Run::next_of_all);
            }
            self.is_driving = false;
        }
    }

    fn drive_on(&mut self, id: &RunId, first: fn(&mut Run, Stamp) -> Vec<Command>) {
        let mut next = first;
        loop {
            let now = self.parts.clock.now();
            if let Some(at) = self.followed.iter().position(|one| one == id) {
                self.followed.swap_remove(at);
                next = Run::next_of_all;
            }
            let Some(live) = self.runs.get_mut(id) else { return };
            let said = next(&mut live.run, now);
            next = Run::next_after;
            let Some(live) = self.runs.get(id) else { return };
            let due: Vec<Command> = said.into_iter().filter(|command| !self.is_held(live, command)).collect();
            #[cfg(test)]
            self.holds_all(live, now, &due);
            if due.is_empty() {
                return self.timers.set(id, live.run.next_wait(now), now);
            }
            for command in due {
                self.obey(id, command, now);
            }
        }
    }

    /// What was not said is held, or is a timer's to say.
    #[cfg(test)]
    fn holds_all(&self, live: &Live, now: Stamp, due: &[Command]) {
        for command in live.run.next(now) {
            let said = due.contains(&command) || self.is_held(live, &command);
            assert!(said || live.run.waited(&command), "{command:?} was not said");
        }
    }

    fn obey(&mut self, id: &RunId, command: Command, now: Stamp) {
        match command {
            Command::Start { part, attempt, .. } => self.start_part(id, part, attempt),
            Command::TakeUp { part, .. } => self.take_up(id, part),
            Command::TakeBack { part, attempt } => self.take_back(id, part, attempt),
            Command::Follow { part, .. } => self.follow(id, &part),
            Command::GoOn { part, .. } => self.go_on(id, &part),
            Command::Settle { part, question } => self.settle(id, &part, question),
            Command::Wake { part } => self.wake(id, &part),
            Command::Confirm { part } => self.ask_confirm(id, &part),
            Command::BeginUndo { why } => self.begin_undo(id, None, Whose::quell(false), why),
            Command::Leave { part } => self.leave(id, &part),
            Command::Conclude { step } => self.conclude(id, &step),
            Command::Block { step, by, outcome } => {
                self.leases_of_left(id, &step);
                self.record(id, vec![NewRecord::new(now, quell_model::record::StepBlocked { step, by, outcome })]);
            }
            Command::Skip { step, why } => {
                self.record(id, vec![NewRecord::new(now, quell_model::record::StepSkipped { step, why })])
            }
            Command::Finish { state, summary } => self.finish(id, state, summary),
        }
    }

    /// Somebody is at it, it waits for the journal, or a pause holds it.
    fn is_held(&self, live: &Live, command: &Command) -> bool {
        live.is_at(command)
            || self.waits_for_journal(live, command)
            || match command {
                // What acts is seen to its end first, and what is to be taken back does not begin again before it is.
                Command::TakeBack { part, .. } => {
                    let run = &live.run;
                    self.undo_waits(run, part) || self.is_sub_undoing(run, part) || run.intent(part).is_some()
                }
                Command::Start { part, .. } | Command::GoOn { part, .. } => live.run.begins_after_undo(part),
                Command::Follow { part, run } => self.is_followed(&live.run, run, part),
                _ => false,
            }
    }

    fn waits_for_journal(&self, live: &Live, command: &Command) -> bool {
        match command {
            Command::Start { part, .. } | Command::TakeBack { part, .. } | Command::Follow { part, .. } => {
                self.unread.waits(&live.run.started.run, part, Later::Step)
            }
            _ => false,
        }
    }

    fn answer(&mut self, id: &RunId, part: &Part, answer: Answer) {
        // A run may have been cancelled and ended meanwhile; its intents were answered by the guard then.
        if self.runs.contains_key(id) || matches!(answer, Answer::Stands(_) | Answer::Hold(_)) {
            self.next_phase(id, part, answer);
        }
    }

    /// Writes records of a run and takes them in. What cannot be written stays counted, and the run goes on: the
    /// journal's writer keeps it and says so in `status`.
    pub(super) fn record(&mut self, id: &RunId, records: Vec<NewRecord>) {
        let Some(live) = self.runs.get(id) else { return };
        let apart = |record| self.with_large_apart(Some(&live.run), record);
        let records: Vec<NewRecord> = records.into_iter().map(apart).collect();
        let Some(live) = self.runs.get_mut(id) else { return };
        self.ink.hold();
        self.ink.write(StreamId::run(id), live.run.seq, &records);
        let before = live.run.asks();
        for record in &records {
            live.run.apply(record.at, &record.body);
        }
        let asks = live.run.asks();
        let turned = live.run.take_turned();
        self.asked.count(live.run.started.untrusted, before, asks);
        self.tally.records(&live.run.playbook, live.run.started.by.is_some(), &records);
        if asks > 0 || !turned.is_empty() {
            self.questions_changed(id, turned, &records);
        }
        self.ink.let_go();
    }

    pub(super) fn write_system(&mut self, records: Vec<NewRecord>) {
        self.ink.write(StreamId::system(), self.system_seq, &records);
        self.system_seq += records.len() as u64;
    }

    pub(super) fn guard(&self) -> &Guard {
        &self.definitions.guard
    }

    fn finish(&mut self, id: &RunId, state: RunState, summary: String) {
        self.leases_of_ended(id);
        let now = self.parts.clock.now();
        let Some(live) = self.runs.get(id) else { return };
        let outputs = self.outputs_of(live);
        let finished = quell_model::record::RunFinished { state, outputs, summary };
        self.record(id, vec![NewRecord::new(now, finished.clone())]);
        let Some(live) = self.runs.remove(id) else { return };
        if let Some(incident) = &live.run.started.incident {
            let of = &live.run.started.playbook;
            let what = format!("run {id} of {of} has ended, {}: {}", state.as_str(), finished.summary);
            self.ladder_progresses(incident, &what, now);
        }
        self.sub_finished(&live.run, finished.outputs, finished.summary);
        live.run.subs().for_each(|sub| drop(self.ends.remove(&sub.run)));
        let started = &live.run.started;
        let planned = (live.only_planned && live.run.only_planned()).then(|| started.incident.clone());
        self.tally.finished(&started.playbook, state);
        self.triggers.ended(&started.playbook, &started.per, id, planned);
        let answers = started.by.is_none() && started.parent.is_none() && started.came.is_none();
        if answers && live.only_planned && live.protected > 0 && live.run.only_refused() == Some(live.protected) {
            self.triggers.refused(started, now);
        }
        self.memory.run_ended(id);
        self.awaiting.forget(started);
        self.timers.forget(id);
        self.unread.forget(id);
        self.said.push(Said::Finished(id.clone(), started.playbook.clone(), state));
    }

    fn outputs_of(&self, live: &Live) -> Json {
        if live.run.playbook.outputs.is_empty() {
            return Json::Object(serde_json::Map::new());
        }
        let render = |template: &Json| {
            let (ground, reads) = (self.ground(), self.expressions.template_reads(template));
            let owned = super::scope::RunScope::reading(&live.run, ground, &reads);
            let given = self.expressions.render(template, &owned.scope(&live.run, &Json::Null));
            given.unwrap_or_else(|error| Json::String(format!("error: {error}")))
        };
        let outputs = &live.run.playbook.outputs;
        let given = Json::Object(outputs.iter().map(|(name, template)| (name.clone(), render(template))).collect());
        match self.definitions.apart.objection(&given) {
            None => given,
            Some(why) => {
                outputs.keys().map(|name| (name.clone(), Json::String(format!("error: what it gives {why}")))).collect()
            }
        }
    }
}

/// Says in an incident's stream what was lost, if it may concern it.
fn degrade(ink: &mut Ink, incident: &mut Incident, (at, loss): &Told) {
    if incident.losses < incident::LOSSES_KEPT && incident.places.concerns(loss) {
        let records = vec![NewRecord::new(*at, loss.clone())];
        ink.write(StreamId::incident(&incident.id), incident.seq, &records);
        incident::apply_all(incident, &records);
    }
}

/// What was lost and waits to be told is told at the end, and how far sources were read.
impl<W> Drop for Core<W> {
    fn drop(&mut self) {
        let now = self.parts.clock.now();
        self.write_positions(now);
        self.ink.commit();
        let told = self.losses.all(now);
        if !told.is_empty() {
            let records: Vec<NewRecord> = told.into_iter().map(|(at, loss)| NewRecord::new(at, loss)).collect();
            self.ink.write(StreamId::system(), self.system_seq, &records);
            self.ink.commit();
        }
    }
}

impl Live {
    /// Whether somebody is at what the command asks for.
    fn is_at(&self, command: &Command) -> bool {
        match command {
            Command::Start { part, .. }
            | Command::TakeUp { part, .. }
            | Command::TakeBack { part, .. }
            | Command::GoOn { part, .. }
            | Command::Leave { part } => self.under_way.contains_key(part),
            Command::Finish { .. } => !self.under_way.is_empty(),
            // A plan, a look or a script journals no intent: what runs finishes all the same.
            Command::Block { step, .. } | Command::Conclude { step } => {
                self.under_way.keys().any(|part| part.step == *step)
            }
            _ => false,
        }
    }
}

/// The body of a stream's first record, if it is the kind that is asked for.
pub(super) fn run_started(body: &Body) -> Option<&quell_model::record::RunStarted> {
    match body {
        Body::RunStarted(started) => Some(started),
        _ => None,
    }
}
