//! Taking up what stood in the journal when an engine starts.
//!
//! Owns the fold of open streams into live state. Does nothing to the world: the machines' `TakeUp` commands ask it,
//! once the engine is driven.

use super::machine::Run;
use super::shell::{Core, Live, run_started};
use super::source::Sources;
use super::unread::{NotYet, Unread};
use crate::escalation::schedule::zone;
use crate::incident::Incidents;
use crate::store::Journal;
use crate::trigger::{Answer, Seen};
use quell_model::guard::{Act, KEEP};
use quell_model::playbook::Playbook;
use quell_model::record::{
    EngineStarted, NewRecord, Part, RunState, StepFailed, StepIntended, TimerSet, TriggerDecision, UndoFailed,
};
use quell_model::{
    Body, Detection, Hash, IncidentId, Json, Kind, Mode, Name, Record, RunId, Stamp, StoreError, StreamId,
};
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Incidents that are looked at together.
const PAGE: usize = 500;
/// Of so many runs that have ended, the latest, every act is counted again: limits that name an action count acts.
const LATEST: usize = 1000;
/// Different (playbook, place, image) of which one run is read; there are more only where nothing was limited.
const MOST_KINDS: usize = 5000;

/// Of the rows that were written last: between a promise and the end of the engine that gave it lie a few runs' beginnings.
const LAST_ROWS: usize = 4096;

/// Reads a pinned definition's text again.
pub type ReadDefinition = Arc<dyn Fn(&Path, &str) -> Option<Playbook> + Send + Sync>;

/// Pinned texts with their files.
type Pinned = HashMap<Hash, (String, String)>;

/// Pinned texts that are read again, each once: thousands of open runs have few.
struct Texts {
    pinned: Pinned,
    read: ReadDefinition,
    made: HashMap<Hash, Result<Arc<Playbook>, String>>,
}

impl Texts {
    fn playbook(&mut self, hash: Hash) -> Result<Arc<Playbook>, String> {
        self.made.entry(hash).or_insert_with(|| read_again(&self.pinned, &self.read, hash)).clone()
    }
}

/// What was taken up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Runs that go on.
    pub runs: Vec<RunId>,
    /// Runs that a detection was answered with, and that the engine ended before it began.
    pub begun: Vec<RunId>,
    /// Runs that cannot go on, and why.
    pub broken: Vec<(RunId, String)>,
    /// Incidents that are open.
    pub incidents: usize,
    /// Every action is paused.
    pub paused: bool,
}

/// A detection that was answered with runs which have no stream.
struct Promise {
    incident: IncidentId,
    detection: Detection,
    runs: Vec<RunId>,
}

/// What stands in an incident, and only half of it: the engine ended between two streams.
#[derive(Default)]
struct Halves {
    promised: Vec<Promise>,
    /// Runs that a moment of an incident was answered with, and that have no stream: with why.
    unbegun: Vec<(RunId, String)>,
    /// Runs that incidents know of.
    joined: HashSet<RunId>,
    /// Incidents that were looked at.
    looked: HashSet<StreamId>,
}

impl Halves {
    /// Looks whether what an incident's record speaks of is there.
    fn note(&mut self, incident: &StreamId, record: &Record, journal: &Journal) {
        let is_missing = |run: &RunId| !journal.has(&StreamId::run(run));
        match &record.body {
            Body::IncidentJoined(joined) => self.joined.extend(joined.run.clone()),
            Body::DetectionAccepted(accepted) => {
                let started = accepted.decided.iter().filter(|one| one.decision == TriggerDecision::Started);
                let runs: Vec<RunId> = started.filter_map(|one| one.run.clone()).filter(is_missing).collect();
                if let (Some(incident), false) = (incident.as_incident(), runs.is_empty()) {
                    self.promised.push(Promise { incident, detection: accepted.detection.clone(), runs });
                }
            }
            // One append with its runs, but where that was too large.
            Body::MomentDecided(come) => {
                let started = come.decided.iter().filter(|one| one.decision == TriggerDecision::Started);
                let why = format!(
                    "`{}` of `{incident}` was answered with it, and the engine ended before it began: start it by hand",
                    come.moment
                );
                let runs = started.filter_map(|one| one.run.clone()).filter(is_missing);
                self.unbegun.extend(runs.map(|run| (run, why.clone())));
            }
            _ => {}
        }
    }
}

impl<W: Send + 'static> Core<W> {
    /// Takes up the journal, then writes that this engine has started, then drives what was open.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn recover(&mut self, read: ReadDefinition) -> Result<RecoveryReport, StoreError> {
        self.reread = Some(Arc::clone(&read));
        let mut report = RecoveryReport::default();
        self.ink.commit();
        let journal = self.parts.journal.clone();
        let mut definitions =
            Texts { pinned: self.recover_system(&journal)?, read: Arc::clone(&read), made: HashMap::new() };
        let now = self.parts.clock.now();
        let open: BTreeSet<StreamId> = journal.open_streams()?.into_iter().collect();
        self.recover_counts(&journal, &open, now)?;
        for stream in &open {
            let Some(id) = stream.as_run() else { continue };
            let records = journal.read(stream, 1)?;
            if let Some(started) = records.first().and_then(|first| run_started(&first.body)) {
                self.remember_acts(&id, &started.playbook.clone(), &records, now);
            }
            match self.recover_run(&records, &mut definitions) {
                Ok(()) => report.runs.push(id),
                Err(why) => {
                    // Nobody goes on with what it began.
                    self.memory.run_ended(&id);
                    report.broken.push((id, why));
                }
            }
        }
        self.recover_ladders(&open, now)?;
        self.broken = report.broken.iter().cloned().collect();
        // A run comes before those that it has started: it may have to end them.
        report.runs.sort_unstable_by_key(|run| {
            let parent = self.runs.get(run).and_then(|live| live.run.started.parent.as_ref());
            (parent.map_or(0, |parent| parent.depth), run.clone())
        });
        self.count_below();
        let quiet = self.definitions.incidents.quiet;
        let (mut before, mut halves) = (None, Halves::default());
        self.sources = Sources::recover(&journal)?;
        loop {
            let page = journal.incidents(before, PAGE)?;
            before = page.last().map(|last| last.number);
            for listed in page {
                // What the lists do not know yet is recent.
                if listed.line.as_ref().is_some_and(|line| self.age(line.last) > quiet) {
                    continue;
                }
                halves.looked.insert(listed.stream.clone());
                let sources = &mut self.sources;
                let mut note = |record: &Record| {
                    sources.note(record);
                    halves.note(&listed.stream, record, &journal);
                };
                let incident = match &listed.line {
                    Some(line) => Some(Incidents::read_late(&journal, &listed.stream, line, &mut note)?),
                    None => Incidents::read(&journal, &listed.stream, &mut note)?,
                };
                if let Some(mut incident) = incident {
                    // After a reboot its moment may lie far ahead of the boot clock, which would never call it quiet.
                    incident.last = self.aged(incident.last, now);
                    incident.written = self.aged(incident.written, now);
                    self.incidents.insert(incident);
                    report.incidents += 1;
                }
            }
            if before.is_none() {
                break;
            }
        }
        last_words(&journal, &mut halves, &mut self.sources);
        report.paused = self.paused;
        self.note_texts();
        let started = EngineStarted {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot: self.parts.boot.clone(),
            pid: std::process::id(),
            mode: self.definitions.ceiling,
            tzdb: Some(zone::version().to_owned()),
        };
        self.took_up = Some(now);
        for promise in halves.promised {
            self.lay_promised(promise, &mut report);
        }
        report.broken.extend(halves.unbegun);
        // A start that is written has judged what was promised before it: so it comes after, in one append with that or in a later one.
        self.write_system(vec![NewRecord::new(now, started)]);
        for run in &report.runs {
            if let Some(incident) = self.runs.get(run).and_then(|live| live.run.started.incident.clone())
                && !halves.joined.contains(run)
                && self.incidents.get_mut(&incident).is_some()
            {
                self.join_incident(&incident, run, now);
            }
            self.drive(run);
        }
        self.leases_after_boot();
        // From here on this engine's own moments are of this boot; before, none meant that all were of another.
        self.boot_from = self.boot_from.or(Some(now));
        self.leases.hold_again();
        self.leases_hold();
        report.begun.iter().for_each(|run| self.drive(run));
        self.set_schedules();
        self.ladders_leave(now);
        self.questions_recovered(now);
        self.ladders_rise_again();
        self.ladders_go_on(now);
        self.ink.ring();
        self.set_sleeper();
        self.say();
        Ok(report)
    }

    /// Writes down that what a detection was answered with begins, and nothing else: its runs have the ids that were promised.
    fn lay_promised(&mut self, promise: Promise, report: &mut RecoveryReport) {
        let Promise { incident, detection, mut runs } = promise;
        let now = self.parts.clock.now();
        let seen = Seen::new(&detection);
        for playbook in self.definitions.playbooks.clone() {
            let most = self.most_on(&playbook, &detection);
            let answer =
                self.triggers.answer(&playbook, &seen, self.definitions.ground(), &self.expressions, most, now);
            let Answer::Start { per, stricter } = answer else { continue };
            let due = self.due(&playbook, &detection, per, stricter);
            // A playbook that has come since, or that another run answered for then, was not promised.
            let Some(at) = runs.iter().position(|run| *run == due.run) else { continue };
            runs.swap_remove(at);
            let views = seen.views().clone();
            report.begun.push(self.lay_run(due, &detection.event.head, views, Some(incident.clone()), now));
        }
        let why = "a detection was answered with it, and the engine ended before it began; no playbook answers so now";
        report.broken.extend(runs.into_iter().map(|run| (run, why.to_owned())));
    }

    /// From the few records of the system's stream that matter now: the stream itself grows with every loss and with
    /// every detection beside the incidents.
    fn recover_system(&mut self, journal: &Journal) -> Result<Pinned, StoreError> {
        let now = self.parts.clock.now();
        self.system_seq = journal.last(&StreamId::system());
        let definitions = pinned(journal.latest(&[Kind::DefinitionPinned], usize::MAX)?);
        self.pinned.extend(definitions.keys());
        for record in journal.latest(&[Kind::EngineStarted], LATEST)? {
            // Of what was before an engine of another boot, only the wall clock tells the age.
            if let Body::EngineStarted(started) = &record.body {
                let same = started.boot == self.parts.boot;
                self.boot_from = if same { self.boot_from.or(Some(record.at)) } else { None };
            }
        }
        for record in journal.latest(&[Kind::LeaseGranted, Kind::LeaseChanged], usize::MAX)? {
            // By the clocks of this boot: on those of an earlier one it may lie days ahead.
            let at = self.aged(record.at, now);
            self.leases.take_in(&Record { at, ..record });
        }
        for record in journal.latest(&[Kind::PersonActed], usize::MAX)? {
            self.leases.uninstalled(&record);
        }
        for record in journal.latest(&[Kind::PauseChanged], 1)? {
            if let Body::PauseChanged(changed) = &record.body {
                self.paused = changed.paused;
            }
        }
        self.recover_breakers(journal)?;
        self.recover_texts(journal)?;
        self.recover_modes(journal)?;
        self.recover_schedules(journal)?;
        self.recover_remembered(journal)?;
        self.recover_silences(journal)?;
        Ok(definitions)
    }

    /// How long ago a journaled moment is: by the boot clock where it lies in this boot, which a step of the wall clock does
    /// not change; else by the wall clock.
    pub(super) fn age(&self, then: Stamp) -> Duration {
        let now = self.parts.clock.now();
        if self.is_of_this_boot(then, now) {
            now.since(then)
        } else {
            Duration::try_from(now.wall.duration_since(then.wall)).unwrap_or_default()
        }
    }

    pub(super) fn is_of_this_boot(&self, then: Stamp, now: Stamp) -> bool {
        // The boot clock alone does not tell: an earlier boot's has shown the same.
        let is_it = |from: Stamp| (from.boot_ns..=now.boot_ns).contains(&then.boot_ns) && then.wall >= from.wall;
        self.boot_from.is_some_and(is_it)
    }

    /// A journaled moment on the clocks of this boot. What happened before the boot has the wall clock alone: a reboot brings
    /// nothing nearer, and what is limited by the hour is so across it.
    pub(super) fn aged(&self, then: Stamp, now: Stamp) -> Stamp {
        if self.is_of_this_boot(then, now) {
            return then;
        }
        let age = u64::try_from(self.age(then).as_nanos()).unwrap_or(u64::MAX);
        Stamp { wall: then.wall, boot_ns: now.boot_ns.saturating_sub(age) }
    }

    /// What limits and the breaker count: from a line a run, and of the runs themselves the latest, and one of each
    /// kind. A flood of the same costs no more than its lines.
    fn recover_counts(&mut self, journal: &Journal, open: &BTreeSet<StreamId>, now: Stamp) -> Result<(), StoreError> {
        let rates = self.definitions.playbooks.iter().filter_map(|playbook| playbook.limits.runs);
        let back = rates.map(|rate| rate.per).max().unwrap_or_default().max(self.looks_back());
        let since = now.wall.checked_sub(jiff::SignedDuration::try_from(back).unwrap_or(jiff::SignedDuration::MAX));
        let (mut kinds, mut streams) = (HashSet::new(), Vec::new());
        let playbooks = self.definitions.playbooks.clone();
        let mut by_incidents = Vec::new();
        journal.counted(since.unwrap_or(jiff::Timestamp::MIN), &mut |run| {
            let loaded = playbooks.iter().find(|playbook| playbook.name == run.playbook);
            if let Some(playbook) = loaded.filter(|_| run.counts) {
                self.triggers.counted(playbook, &run.place, Mode::Enforce, self.aged(run.began, now));
            }
            if let Some(playbook) = loaded.filter(|_| run.by_incident) {
                by_incidents.push((Arc::clone(playbook), self.aged(run.began, now)));
            }
            let playbook = run.playbook.clone();
            let is_new = kinds.len() < MOST_KINDS && kinds.insert((run.playbook, run.place, run.image));
            if (is_new || streams.len() < LATEST) && !open.contains(&run.stream) {
                streams.push((run.stream, playbook));
            }
        })?;
        for (playbook, began) in by_incidents.into_iter().rev() {
            self.triggers.incidents.counted(&playbook, Mode::Enforce, began);
        }
        for (stream, playbook) in streams.iter().rev() {
            if let Some(id) = stream.as_run() {
                let all = [Kind::RunStarted, Kind::StepIntended, Kind::StepFinished, Kind::RunReopened];
                let records = match journal.read_kinds(stream, 1, &all) {
                    // What it did counts also where nobody can read any more what it was about.
                    Err(StoreError::Corrupt(why)) => {
                        tracing::error!(run = %id, why, "whom a run concerned cannot be read, and is not counted");
                        journal.read_kinds(stream, 1, &all[1..])?
                    }
                    read => read?,
                };
                self.remember_acts(&id, playbook, &records, now);
                self.memory.run_ended(&id);
            }
        }
        Ok(())
    }

    /// What the runs touched that open ones have started counts for these as well.
    fn count_below(&mut self) {
        let have = self.runs.values().filter(|live| live.run.subs().next().is_some());
        let have: Vec<Run> = have.map(|live| live.run.clone()).collect();
        for run in &have {
            // The reads above have waited for what an earlier engine left, and this one has written nothing yet.
            if let Err(NotYet(stream)) = self.touches_still(run) {
                tracing::error!(%stream, "what a run has touched is not known");
            }
        }
    }

    /// How far back the guard counts acts.
    fn looks_back(&self) -> Duration {
        let guard = self.guard();
        guard.limits.looks_back().max(guard.per_playbook.looks_back()).max(KEEP)
    }

    fn remember_acts(&mut self, id: &RunId, playbook: &Name, records: &[Record], now: Stamp) {
        // An attempt that is intended anew after a crash is one act, as of then.
        let mut acts: Vec<(&StepIntended, Stamp)> = Vec::new();
        let mut latest: HashMap<(&Part, u32), usize> = HashMap::new();
        let mut event = &Json::Null;
        // The last intent of each part, and when it ended.
        let mut parts: HashMap<&Part, (&StepIntended, Option<Stamp>)> = HashMap::new();
        for record in records {
            if let Body::StepIntended(intent) = &record.body {
                parts.insert(&intent.part, (intent, None));
            }
            match &record.body {
                Body::StepFinished(finished) => {
                    if let Some((_, ended)) = parts.get_mut(&finished.part) {
                        *ended = Some(record.at);
                    }
                }
                Body::RunReopened(_) => latest.clear(),
                Body::RunStarted(started) => event = &started.event,
                Body::StepIntended(intent) => match latest.entry((&intent.part, intent.attempt)) {
                    Entry::Occupied(at) => acts[*at.get()] = (intent, record.at),
                    Entry::Vacant(new) => {
                        new.insert(acts.len());
                        acts.push((intent, record.at));
                    }
                },
                _ => {}
            }
        }
        let back = self.looks_back();
        for (intent, at) in acts.into_iter().filter(|(_, at)| self.age(*at) <= back).collect::<Vec<_>>() {
            let (at, playbook) = (self.aged(at, now), playbook.clone());
            self.memory.add(Act::of(at, intent.action.clone(), id.clone(), playbook, (&intent.plan, event)));
        }
        for (part, (intent, ended)) in parts {
            self.memory.begins(id, part, &intent.plan);
            if let Some(ended) = ended.map(|ended| self.aged(ended, now)) {
                self.memory.ends(id, part, ended);
            }
        }
    }

    /// Brings a run that has ended back, to take something back.
    pub(super) fn open_again(&mut self, id: &RunId) -> Result<(), Unread> {
        if self.runs.contains_key(id) {
            return Ok(());
        }
        let mut run = self.fold_ended(id)?;
        drop(run.take_turned());
        let moments = run.started.moments;
        self.asked.count(run.started.untrusted, 0, run.asks());
        self.runs
            .insert(id.clone(), Live { run, under_way: HashMap::new(), moments, only_planned: false, protected: 0 });
        Ok(())
    }

    /// A run that has ended, out of its records.
    pub(super) fn fold_ended(&mut self, id: &RunId) -> Result<Run, Unread> {
        let records = self.ink.readable(&StreamId::run(id))?.records()?;
        if records.iter().any(|record| record.salt.is_empty()) {
            return Err(Unread::Never(format!(
                "records of run `{id}` were redacted: nothing follows from them any more"
            )));
        }
        let started = records.first().and_then(|first| run_started(&first.body));
        let playbook = started.map(|started| self.definition(started.definition)).transpose()?;
        let now = self.parts.clock.now();
        let of = |_| playbook.ok_or_else(|| "its stream does not begin with its start".to_owned());
        folded(&records, now, |then| self.aged(then, now), of).map_err(Unread::Never)
    }

    /// A playbook as it was when a run began with it.
    pub(super) fn definition(&mut self, hash: Hash) -> Result<Arc<Playbook>, Unread> {
        if let Some(loaded) = self.definitions.playbooks.iter().find(|playbook| playbook.hash == hash) {
            return Ok(Arc::clone(loaded));
        }
        let never = || Unread::Never("this engine has not looked at its journal".to_owned());
        let read = self.reread.clone().ok_or_else(never)?;
        let records = self.ink.readable(&StreamId::system())?.latest(&[Kind::DefinitionPinned])?;
        read_again(&pinned(records), &read, hash).map_err(Unread::Never)
    }

    fn recover_run(&mut self, records: &[Record], definitions: &mut Texts) -> Result<(), String> {
        let now = self.parts.clock.now();
        let run = folded(records, now, |then| self.aged(then, now), |hash| definitions.playbook(hash))?;
        let (id, moments) = (run.started.run.clone(), run.started.moments);
        // One that is only taken back answers no attack.
        if run.started.by.is_none() && run.started.parent.is_none() && run.state() != RunState::Undoing {
            if records.iter().any(|record| matches!(record.body, Body::RunReopened(_))) {
                self.triggers.reopened(&run.started);
            } else {
                self.triggers.started(&run.playbook, &run.started, run.began);
            }
        }
        let acted = records.iter().any(|record| matches!(record.body, Body::StepIntended(_)));
        self.asked.count(run.started.untrusted, 0, run.asks());
        self.runs
            .insert(id.clone(), Live { run, under_way: HashMap::new(), moments, only_planned: !acted, protected: 0 });
        self.awaits(&id);
        Ok(())
    }
}

/// What an engine promised last before it ended, however long that is ago: the incident may have become quiet meanwhile. What
/// was promised before the latest start was judged by that.
fn last_words(journal: &Journal, halves: &mut Halves, sources: &mut Sources) {
    let head = *journal.head().borrow();
    let mut wanted = |stream: &StreamId, kind| match kind {
        Kind::EngineStarted => true,
        Kind::DetectionAccepted | Kind::MomentDecided => {
            stream.as_incident().is_some() && !halves.looked.contains(stream)
        }
        _ => false,
    };
    let read = journal.after(head.saturating_sub(LAST_ROWS as i64), LAST_ROWS, &mut wanted);
    // A start that knows less is better than none.
    let read = read.inspect_err(|error| tracing::error!(%error, "what was promised last is not known"));
    let records = read.map(|stretch| stretch.records).unwrap_or_default();
    let begin = records.iter().rposition(|followed| followed.record.body.kind() == Kind::EngineStarted);
    for followed in records.iter().skip(begin.map_or(0, |at| at + 1)) {
        sources.note(&followed.record);
        halves.note(&followed.stream, &followed.record, journal);
    }
}

/// The pinned texts, each with the file that it was read from.
fn pinned(records: Vec<Record>) -> Pinned {
    let text = |record: Record| match record.body {
        Body::DefinitionPinned(pinned) => Some((pinned.hash, (pinned.file, pinned.text))),
        _ => None,
    };
    records.into_iter().filter_map(text).collect()
}

fn read_again(pinned: &Pinned, read: &ReadDefinition, hash: Hash) -> Result<Arc<Playbook>, String> {
    let (file, text) = pinned.get(&hash).ok_or("its playbook's text was not pinned")?;
    let playbook = read(Path::new(file), text).ok_or("its playbook's pinned text is no longer understood")?;
    Ok(Arc::new(playbook))
}

/// The state that a run's records make, by the clocks of this boot.
fn folded(
    records: &[Record],
    now: Stamp,
    aged: impl Fn(Stamp) -> Stamp,
    playbook: impl FnOnce(Hash) -> Result<Arc<Playbook>, String>,
) -> Result<Run, String> {
    let (first, rest) = records.split_first().ok_or("its stream is empty")?;
    let started = run_started(&first.body).ok_or("its stream does not begin with its start")?;
    let mut run = Run::new(playbook(started.definition)?, started.clone(), aged(first.at));
    for record in rest {
        let at = aged(record.at);
        match waiting_from(record, at, now) {
            Some(body) => run.apply(at, &body),
            None => run.apply(at, &record.body),
        }
        if let Body::QuestionAsked(asked) = &record.body
            && at != record.at
        {
            run.question_ends(&asked.part, asked.question, record.at.after(asked.within).on_boot_of(now));
        }
    }
    Ok(run)
}

/// A run out of its records, as a start would make it now.
#[cfg(test)]
pub(super) fn refolded<W: Send + 'static>(
    core: &Core<W>,
    records: &[Record],
    playbook: &Arc<Playbook>,
) -> Result<Run, String> {
    let now = core.parts.clock.now();
    folded(records, now, |then| core.aged(then, now), |_| Ok(Arc::clone(playbook)))
}

/// A record that names a later moment, with that moment by the clocks by which the record itself was at `at`: on those of an
/// earlier boot it may lie days ahead.
fn waiting_from(record: &Record, at: Stamp, now: Stamp) -> Option<Body> {
    if at == record.at {
        return None;
    }
    let moved = |then: Stamp| at.after(then.since(record.at));
    match &record.body {
        Body::StepFailed(failed) => {
            Some(StepFailed { again_at: failed.again_at.map(moved), ..StepFailed::clone(failed) }.into())
        }
        // A wait is no longer for the boot: what is left of it is told by the wall clock.
        Body::TimerSet(timer) => Some(TimerSet { until: timer.until.on_boot_of(now), ..TimerSet::clone(timer) }.into()),
        Body::UndoFailed(failed) => {
            Some(UndoFailed { again_at: moved(failed.again_at), ..UndoFailed::clone(failed) }.into())
        }
        _ => None,
    }
}
