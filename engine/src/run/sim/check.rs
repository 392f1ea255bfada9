//! What must hold, whatever a seed did.
//!
//! Owns the invariants; each is a sentence that names what broke it. Judges the journal's records against the world's list
//! of what was done, and never the engine by its own words.

use super::stage::Stage;
use super::world::{self, Call, State, thing};
use crate::run::leases::Leases;
use crate::run::machine::APPROVE;
use crate::run::question::UNDO;
use crate::run::recovery::refolded;
use quell_model::playbook::{Playbook, Step};
use quell_model::record::{Part, QuestionKind, RunStarted, RunState, SubRunStarted};
use quell_model::{Body, Kind, Mode, Name, Outcome, Plan, Record, RunId, Seq, StepId, StreamId, TargetFacts};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) type Streams = BTreeMap<StreamId, Vec<Record>>;

/// Everything, once nothing is open any more; gives the records that were looked at.
pub(super) fn at_the_end(stage: &mut Stage, playbooks: &[Arc<Playbook>]) -> Result<Streams, String> {
    live_is_refolded(stage)?;
    let streams = stage.records();
    let life = stage.life.as_ref().expect("reading the records has started one");
    let broken = life.journal.verify().map_err(|error| error.to_string())?;
    if !broken.is_empty() {
        return Err(format!("the journal does not verify: {broken:?}"));
    }
    if life.core.ink.waiting() > 0 || life.core.ink.lost() > 0 {
        let (waiting, lost) = (life.core.ink.waiting(), life.core.ink.lost());
        return Err(format!("{waiting} records wait for a journal that takes them, {lost} were lost"));
    }
    let open = life.journal.open_streams().map_err(|error| error.to_string())?;
    if let Some(open) = open.iter().find(|stream| stream.as_run().is_some()) {
        return Err(format!("`{open}` has not ended, and nobody is at it"));
    }
    for report in &stage.reports {
        // A run of which only the promise is there may have been answered by another meanwhile.
        let is_real = |why: &str| !why.contains("no playbook answers so now");
        if let Some((run, why)) = report.broken.iter().find(|(_, why)| is_real(why)) {
            return Err(format!("a start could not take up run {run}: {why}"));
        }
    }
    let state = stage.world.state();
    for (stream, records) in streams.iter().filter(|(stream, _)| stream.as_run().is_some()) {
        let story = Story::of(stream, records, playbooks)?;
        story.needs_come_first()?;
        story.ends_once()?;
        story.attempts_are_bounded()?;
        story.consent_comes_first()?;
        story.waits_are_kept()?;
        story.subs_are_followed(&streams)?;
        story.told_is_so(&state)?;
    }
    for call in &state.calls {
        intended(call, &streams)?;
    }
    for (thing, now) in state.astray() {
        let calls: Vec<&Call> = state.calls.iter().filter(|call| call.thing == *thing).collect();
        // Of what came while the journal was in trouble, and was forgotten with the engine, nobody knows how it was before; and what
        // several hold, each gives back as it found it.
        if calls.iter().any(|call| call.untold || call.key != calls[0].key) {
            continue;
        }
        let story = calls.first().map(|call| tail(&call.key, &streams)).unwrap_or_default();
        return Err(format!("nobody holds `{thing}`, and it is not as it was, but {now:?}: {calls:?}\n{story}"));
    }
    // A person may want it once more.
    let reopened = |key: &str| {
        let stream = StreamId::run(&key.split('/').next().unwrap_or_default().into());
        let again = |record: &Record| matches!(record.body, Body::RunReopened(_));
        streams.get(&stream).is_some_and(|records| records.iter().any(again))
    };
    if let Some((key, times)) = state.sent.iter().find(|(key, times)| **times > 1 && !reopened(key)) {
        return Err(format!("`{key}` was sent {times} times, and may be once at most"));
    }
    drop(state);
    standing_is_known(stage, &streams)?;
    Ok(streams)
}

/// Live runs and leases are what their records make of them.
pub(super) fn live_is_refolded(stage: &Stage) -> Result<(), String> {
    let Some(life) = &stage.life else { return Ok(()) };
    // What waits for the journal is not in it yet.
    if crate::store::by_hand::hangs() || life.core.ink.waiting() > 0 || life.core.ink.lost() > 0 {
        return Ok(());
    }
    for (id, live) in &life.core.runs {
        let records = life.journal.read(&StreamId::run(id), 1).map_err(|error| error.to_string())?;
        let mut folded = refolded(&life.core, &records, &live.run.playbook)?;
        // What began to wait, and does no longer, is the ladders' to take from a live one.
        drop(folded.take_turned());
        if format!("{folded:?}") != format!("{:?}", live.run) {
            return Err(format!("run {id} is not what its records make of it:\n{folded:?}\n{:?}", live.run));
        }
    }
    let mut leases = Leases::default();
    let system = life.journal.read_kinds(&StreamId::system(), 1, &[Kind::LeaseGranted, Kind::LeaseChanged]);
    for record in system.map_err(|error| error.to_string())? {
        leases.take_in(&record);
    }
    if leases.places() != life.core.leases.places() {
        let (folded, live) = (leases.places(), life.core.leases.places());
        return Err(format!("the leases are not what their records make of them:\n{folded:?}\n{live:?}"));
    }
    Ok(())
}

/// Whether a plan touches an identity: every event here is one of a host, and no capture finds anything owned.
fn is_planted(plan: &Plan) -> bool {
    plan.targets.iter().any(|target| matches!(target.facts, TargetFacts::Identity { .. }))
}

/// A run as its records tell it.
struct Story<'a> {
    id: RunId,
    records: &'a [Record],
    playbook: Arc<Playbook>,
}

impl<'a> Story<'a> {
    fn of(stream: &StreamId, records: &'a [Record], playbooks: &[Arc<Playbook>]) -> Result<Self, String> {
        let started: Option<&RunStarted> =
            records.first().and_then(|first| crate::run::shell::run_started(&first.body));
        let started = started.ok_or_else(|| format!("`{stream}` does not begin with its start"))?;
        let playbook = playbooks.iter().find(|playbook| playbook.hash == started.definition);
        let playbook = playbook.ok_or_else(|| format!("`{stream}` is of no playbook that there is"))?;
        Ok(Self { id: started.run.clone(), records, playbook: Arc::clone(playbook) })
    }

    fn step(&self, part: &Part) -> Result<&Step, String> {
        self.playbook.step(&part.step).ok_or_else(|| format!("run {} has no step {}", self.id, part.step))
    }

    /// Order law: what says that a step has begun comes after what says that its needs have ended.
    fn needs_come_first(&self) -> Result<(), String> {
        let (mut ended, mut undone) = (BTreeSet::new(), BTreeSet::new());
        for record in self.records {
            if let Body::UndoFinished(finished) = &record.body {
                undone.insert(finished.part.step.clone());
            }
            let begun = match &record.body {
                Body::StepIntended(intent) => Some(&intent.part),
                Body::StepPlanned(planned) => Some(&planned.part),
                Body::StepProgressed(mark) => Some(&mark.part),
                Body::TimerSet(timer) => Some(&timer.part),
                Body::SubRunStarted(sub) => Some(&sub.part),
                Body::StepFailed(failed) => Some(&failed.part),
                Body::StepFinished(finished) if finished.outcome != Outcome::Cancelled => Some(&finished.part),
                _ => None,
            };
            if let Some(part) = begun {
                for need in &self.step(part)?.needs {
                    if !ended.contains(need) {
                        let (id, seq) = (&self.id, record.seq);
                        return Err(format!(
                            "run {id}: `{part}` began (record {seq}) before its need `{need}` had ended\n{}",
                            lines(self.records)
                        ));
                    }
                }
            }
            match &record.body {
                Body::StepFinished(finished) if finished.part.item.is_none() => {
                    ended.extend([finished.part.step.clone()]);
                }
                Body::StepSkipped(skipped) => ended.extend([skipped.step.clone()]),
                Body::StepBlocked(blocked) => ended.extend([blocked.step.clone()]),
                // What is done again waits for its needs again.
                Body::RunReopened(reopened) => ended.retain(|step| reopened.again.iter().all(|p| p.step != *step)),
                _ => {}
            }
        }
        // What was to be done again, and was taken back before that, has ended so.
        let is_over = |step: &StepId| ended.contains(step) || undone.contains(step);
        let left = self.playbook.steps.iter().find(|step| !is_over(&step.id));
        left.map_or(Ok(()), |step| {
            Err(format!("run {} ended, and its step `{}` never did\n{}", self.id, step.id, lines(self.records)))
        })
    }

    /// No part ends twice, and none begins once its run has ended.
    fn ends_once(&self) -> Result<(), String> {
        let (mut parts, mut over) = (BTreeSet::new(), false);
        for record in self.records {
            match &record.body {
                Body::RunFinished(_) => over = true,
                Body::RunReopened(reopened) => {
                    over = false;
                    parts.retain(|part: &Part| {
                        let is_whole = part.item.is_none() && reopened.again.iter().any(|p| p.step == part.step);
                        !is_whole && !reopened.again.iter().any(|again| again.covers(part))
                    });
                }
                Body::StepIntended(intent) if over => {
                    return Err(format!("run {}: `{}` was intended after the run had ended", self.id, intent.part));
                }
                Body::StepFinished(finished) if over || !parts.insert(finished.part.clone()) => {
                    return Err(format!("run {}: `{}` ended twice, or after its run", self.id, finished.part));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn attempts_are_bounded(&self) -> Result<(), String> {
        for record in self.records {
            if let Body::StepIntended(intent) = &record.body {
                let most = self.step(&intent.part)?.retry.attempts;
                if intent.attempt > most {
                    return Err(format!("run {}: attempt {} of {most} at `{}`", self.id, intent.attempt, intent.part));
                }
            }
        }
        Ok(())
    }

    /// What asks first has a yes to this very plan before its intent; a question is settled once, and by its choices.
    fn consent_comes_first(&self) -> Result<(), String> {
        let (mut open, mut agreed) = (BTreeMap::new(), BTreeSet::new());
        let started = crate::run::shell::run_started(&self.records[0].body);
        let mut requesters: BTreeSet<&Name> = started.iter().filter_map(|started| started.by.as_ref()).collect();
        let has_event = started.is_some_and(|started| started.event.is_object());
        for record in self.records {
            match &record.body {
                Body::QuestionAsked(asked) => {
                    let bait = has_event && asked.plan.as_ref().is_some_and(|plan| is_planted(plan));
                    if bait && asked.question == QuestionKind::Approve && asked.otherwise.as_str() == APPROVE {
                        return Err(format!("run {}: silence about `{}` would be a yes", self.id, asked.part));
                    }
                    let key = (asked.part.clone(), asked.question);
                    if open.insert(key, (asked, BTreeSet::new())).is_some() {
                        return Err(format!("run {}: `{}` asks while it asks", self.id, asked.part));
                    }
                }
                Body::QuestionAnswered(answered) => {
                    let key = (answered.part.clone(), answered.question);
                    let Some((asked, said)) = open.get_mut(&key) else {
                        return Err(format!("run {}: an answer to `{}`, which asks nothing", self.id, answered.part));
                    };
                    if !asked.choices.contains(&answered.choice) {
                        return Err(format!("run {}: `{}` is no answer", self.id, answered.choice));
                    }
                    if let Some(by) = &answered.by {
                        let wrong = by.as_str() == "nobody" || asked.by.is_some() && requesters.contains(by);
                        // Whoever takes something back need not be asked whether it is to stand.
                        let wrong =
                            wrong && !(asked.question == QuestionKind::Confirm && answered.choice.as_str() == UNDO);
                        if wrong || !said.insert(by) {
                            return Err(format!("run {}: {by} does not count at `{}`", self.id, answered.part));
                        }
                    }
                    if answered.settles {
                        let yes = answered.question == QuestionKind::Approve && answered.choice.as_str() == APPROVE;
                        // Nobody's silence is a yes, but where the step says so.
                        let enough = match (&answered.by, &asked.by) {
                            (None, _) => asked.otherwise.as_str() == APPROVE,
                            (Some(_), None) => true,
                            (Some(_), Some(_)) => said.len() >= 2,
                        };
                        agreed.extend((yes && enough).then(|| (answered.part.clone(), asked.sum)));
                        open.remove(&key);
                    }
                }
                // What is done again asks again.
                Body::RunReopened(reopened) => {
                    requesters.insert(&reopened.by);
                    let is_again = |part: &Part| reopened.again.iter().any(|again| again.covers(part));
                    open.retain(|(part, _), _| !is_again(part));
                    agreed.retain(|(part, _): &(Part, _)| !is_again(part));
                }
                Body::StepIntended(intent) => {
                    let step = self.step(&intent.part)?;
                    let asks = (has_event && is_planted(&intent.plan))
                        || step.approve.is_some()
                        || self.playbook.mode == Mode::Approve;
                    if asks && !agreed.contains(&(intent.part.clone(), Some(intent.plan.sum()))) {
                        return Err(format!("run {}: `{}` acted, and nobody had agreed", self.id, intent.part));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A part that has started a run ends as that one has, and what it gave back stands no more.
    fn subs_are_followed(&self, streams: &Streams) -> Result<(), String> {
        let mut subs: BTreeMap<&Part, &SubRunStarted> = BTreeMap::new();
        for record in self.records {
            match &record.body {
                Body::SubRunStarted(sub) if subs.insert(&sub.part, sub).is_some() => {
                    return Err(format!("run {}: `{}` started two runs", self.id, sub.part));
                }
                Body::RunReopened(reopened) => {
                    subs.retain(|part, _| reopened.again.iter().all(|again| !again.covers(part)));
                }
                Body::StepFinished(finished) => {
                    let Some(sub) = subs.get(&finished.part) else { continue };
                    let child = streams.get(&StreamId::run(&sub.run)).map_or(&[][..], Vec::as_slice);
                    let first_end = child.iter().find_map(|record| match &record.body {
                        Body::RunFinished(finished) => Some(finished.state),
                        _ => None,
                    });
                    let is_so = match finished.outcome {
                        Outcome::Cancelled => first_end.is_none_or(|state| state != RunState::Succeeded),
                        outcome if sub.detached => outcome == Outcome::Done && !child.is_empty(),
                        outcome => outcome.is_met() == (first_end == Some(RunState::Succeeded)),
                    };
                    if !is_so {
                        let (part, outcome) = (&finished.part, finished.outcome);
                        return Err(format!("run {}: `{part}` {outcome}, and run {} {first_end:?}", self.id, sub.run));
                    }
                }
                Body::UndoFinished(finished) if finished.outcome == Outcome::Undone => {
                    let Some(sub) = subs.get(&finished.part) else { continue };
                    let child = streams.get(&StreamId::run(&sub.run)).map_or(&[][..], Vec::as_slice);
                    let mut standing: BTreeSet<&Part> = BTreeSet::new();
                    for record in child {
                        match &record.body {
                            Body::LeaseGranted(granted) => drop(standing.insert(&granted.part)),
                            Body::LeaseChanged(changed) if matches!(changed.state.as_str(), "lapsed" | "ended") => {
                                standing.remove(&changed.part);
                            }
                            _ => {}
                        }
                    }
                    if let Some(part) = standing.first() {
                        let (id, sub) = (&self.id, &sub.run);
                        return Err(format!(
                            "run {id}: `{}` is undone, and `{part}` of run {sub} stands",
                            finished.part
                        ));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A wait has its whole time, unless what it waits for came or its run was ended.
    fn waits_are_kept(&self) -> Result<(), String> {
        let mut waits: BTreeMap<&Part, jiff::Timestamp> = BTreeMap::new();
        for record in self.records {
            match &record.body {
                Body::TimerSet(timer) => {
                    let before = waits.insert(&timer.part, timer.until.wall);
                    if before.is_some() {
                        return Err(format!("run {}: `{}` began to wait twice", self.id, timer.part));
                    }
                }
                // What is done again waits again.
                Body::RunReopened(reopened) => {
                    waits.retain(|part, _| reopened.again.iter().all(|again| !again.covers(part)));
                }
                Body::StepFinished(finished) => {
                    let Some(until) = waits.get(&finished.part) else { continue };
                    let seen = finished.output.get("seen").is_some();
                    if !seen && record.at.wall < *until && finished.outcome != Outcome::Cancelled {
                        return Err(format!("run {}: `{}` did not wait its whole time", self.id, finished.part));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What is told as done, the world shows; what is told as proved, it showed at that moment. What is told as undone, it said to
    /// this attempt: when the answer is written down, another run may hold the same again.
    fn told_is_so(&self, state: &State) -> Result<(), String> {
        let mut things: BTreeMap<Part, String> = BTreeMap::new();
        let mut began: BTreeMap<&Part, jiff::Timestamp> = BTreeMap::new();
        // What they did is told by their own runs.
        let mut subs: BTreeSet<&Part> = BTreeSet::new();
        for record in self.records {
            match &record.body {
                Body::StepIntended(intent) => {
                    things.insert(intent.part.clone(), thing(&intent.plan).to_owned());
                }
                Body::SubRunStarted(sub) => drop(subs.insert(&sub.part)),
                Body::StepFinished(finished) => {
                    let Some(thing) = things.get(&finished.part) else {
                        let acts = finished.action.as_ref().is_some_and(|action| world::acts(action.as_str()));
                        let whole = self.step(&finished.part)?.for_each.is_some() && finished.part.item.is_none();
                        let done = matches!(finished.outcome, Outcome::Verified | Outcome::Done);
                        if acts && done && !whole {
                            return Err(format!(
                                "run {}: `{}` is told as {} without an intent",
                                self.id, finished.part, finished.outcome
                            ));
                        }
                        continue;
                    };
                    let shown = match finished.outcome {
                        Outcome::Verified => state.stood_by(thing, finished.moments.verified.unwrap_or(record.at).wall),
                        Outcome::Done => self.claimed(state, &finished.part, false),
                        _ => true,
                    };
                    if !shown {
                        let (part, outcome) = (&finished.part, finished.outcome);
                        return Err(format!(
                            "run {}: `{part}` is told as {outcome}, and the world does not show it",
                            self.id
                        ));
                    }
                }
                Body::UndoIntended(intent) => drop(began.insert(&intent.part, record.at.wall)),
                Body::UndoFinished(finished)
                    if finished.outcome == Outcome::Undone && !subs.contains(&finished.part) =>
                {
                    let (part, key) = (&finished.part, key(&self.id, &finished.part));
                    let of = things.get(part).zip(began.get(part));
                    let said = of.is_some_and(|(thing, began)| {
                        let within = *began..=record.at.wall;
                        state.has_said_gone(&key, thing, &within)
                    });
                    if !said && !self.claimed(state, part, true) {
                        return Err(format!(
                            "run {}: `{part}` is told as undone, and the world did not say so\n{}",
                            self.id,
                            lines(self.records)
                        ));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn claimed(&self, state: &State, part: &Part, undo: bool) -> bool {
        let key = key(&self.id, part);
        state.calls.iter().any(|call| call.key == key && call.undo == undo && call.claimed)
    }
}

fn key(run: &RunId, part: &Part) -> String {
    quell_model::action::IdempotencyKey::of(run, part).0
}

/// Intent before act: the call's intent is in the journal, and was as safe as its lane asks for when the call was made.
fn intended(call: &Call, streams: &Streams) -> Result<(), String> {
    if call.untold {
        return Ok(());
    }
    let run = call.key.split('/').next().unwrap_or_default();
    let stream = StreamId::run(&run.into());
    let is_it = |record: &&Record| match &record.body {
        Body::StepIntended(intent) => {
            !call.undo && intent.attempt == call.attempt && key(&run.into(), &intent.part) == call.key
        }
        Body::UndoIntended(intent) => {
            call.undo && intent.attempt == call.attempt && key(&run.into(), &intent.part) == call.key
        }
        _ => false,
    };
    let of = streams.get(&stream).map_or(&[][..], Vec::as_slice);
    let found: Option<Seq> = of.iter().find(is_it).map(|record| record.seq);
    match found {
        None => Err(format!("the world was touched without an intent in the journal: {call:?}")),
        Some(seq) if seq > call.safe && !call.late => {
            Err(format!("the world was touched before its intent (record {seq}) was safe: {call:?}"))
        }
        Some(_) => Ok(()),
    }
}

/// What stands by the hand of a run, and can be taken back, has a lease: somebody knows of it.
fn standing_is_known(stage: &Stage, streams: &Streams) -> Result<(), String> {
    let (state, life) = (stage.world.state(), stage.life.as_ref().expect("it lives"));
    for (thing, by) in &state.stands {
        let calls: Vec<&Call> = state.calls.iter().filter(|call| call.thing == *thing && call.effect).collect();
        // An undo that lied where nobody could ask was told so, and ended the lease.
        let lied = |call: &Call| call.thing == *thing && call.undo && call.claimed && !call.effect;
        if !world::is_undoable(by) || calls.iter().any(|call| call.untold) || state.calls.iter().any(lied) {
            continue;
        }
        let leased = calls.iter().any(|call| {
            let run: RunId = call.key.split('/').next().unwrap_or_default().into();
            life.core.leases.of(&run, None).iter().any(|part| key(&run, part) == call.key)
        });
        if !leased {
            let stories: Vec<String> = calls.iter().map(|call| tail(&call.key, streams)).collect();
            return Err(format!(
                "`{thing}` stands by `{by}`, and no lease knows of it: {calls:?}\n{}",
                stories.join("\n")
            ));
        }
    }
    Ok(())
}

/// The records of a call's run, for people.
fn tail(key: &str, streams: &Streams) -> String {
    let stream = StreamId::run(&key.split('/').next().unwrap_or_default().into());
    let of = streams.get(&stream).map_or(&[][..], Vec::as_slice);
    lines(of)
}

fn lines(records: &[Record]) -> String {
    records.iter().map(|record| format!("  {} {}", record.seq, line(&record.body))).collect::<Vec<_>>().join("\n")
}

/// A record in a few words.
pub(super) fn line(body: &Body) -> String {
    match body {
        Body::StepIntended(b) => format!("StepIntended {} attempt {}", b.part, b.attempt),
        Body::StepFailed(b) => format!("StepFailed {} attempt {}: {}", b.part, b.attempt, b.error),
        Body::StepFinished(b) => format!("StepFinished {} {}: {}", b.part, b.outcome, b.proof),
        Body::StepBlocked(b) => format!("StepBlocked {} {}", b.step, b.outcome),
        Body::StepSkipped(b) => format!("StepSkipped {}", b.step),
        Body::UndoBegan(b) => format!("UndoBegan {:?} {}", b.only, b.why),
        Body::UndoIntended(b) => format!("UndoIntended {} attempt {}", b.part, b.attempt),
        Body::UndoFailed(b) => format!("UndoFailed {} {}", b.part, b.error),
        Body::UndoFinished(b) => format!("UndoFinished {} {}", b.part, b.outcome),
        Body::LeaseGranted(b) => format!("LeaseGranted {}", b.part),
        Body::LeaseChanged(b) => format!("LeaseChanged {} {}", b.part, b.state),
        Body::QuestionAsked(b) => format!("QuestionAsked {} {:?} within {:?}", b.part, b.question, b.within),
        Body::QuestionAnswered(b) => format!("QuestionAnswered {} {} settles {}", b.part, b.choice, b.settles),
        Body::RunReopened(b) => format!("RunReopened {:?}", b.again),
        Body::RunFinished(b) => format!("RunFinished {} {}", b.state.as_str(), b.summary),
        Body::PersonActed(b) => format!("PersonActed {}", b.what),
        other => other.kind().to_string(),
    }
}
