//! Runs that a step of another run starts.
//!
//! ```text
//! parent: SubRunStarted ─▶ child: RunStarted … RunFinished ─▶ parent: StepFinished
//!         UndoIntended ──▶        UndoBegan  … RunFinished ─▶         UndoFinished
//! ```
//!
//! Owns the way between the two streams. Each arrow can be gone again after a crash: what the parent wrote says what is to
//! come, and the child's stream whether it has. Keeps true: a part starts one run, whose id is made of the parent's and the
//! part's; it may go no further than its parent, and what it touches counts for that one too while that is open; a detached
//! one is a run by itself, which neither a cancel nor an undo of its parent reaches.

use super::conclude::Ending;
use super::machine::Run;
use super::scope::RunScope;
use super::shell::{Core, Live};
use super::start::checked_inputs;
use super::take_back::Whose;
use super::unread::{Later, NotYet, Unread};
use quell_model::playbook::SubPlaybook;
use quell_model::record::{
    Moments, NewRecord, ParentRun, Part, RunStarted, RunState, SubRunStarted, UndoFinished, UndoIntended,
};
use quell_model::{Body, Json, Kind, Name, Outcome, Plan, RunId, StreamId};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

/// So deep may runs lie below the first.
pub(crate) const DEEPEST: u32 = 5;

/// How a run has ended that another follows.
#[derive(Clone, Debug)]
pub(super) struct SubEnd {
    state: RunState,
    outputs: Json,
    summary: String,
    /// How well what it did is proved.
    proved: Outcome,
    /// It is stuck, and nobody knows whether anything of it stands.
    unknown: bool,
}

impl<W: Send + 'static> Core<W> {
    /// Writes down which run a part is going to start; [`Core::follow`] starts it.
    pub(super) fn start_sub(&mut self, id: &RunId, part: &Part, sub: &SubPlaybook) {
        let now = self.parts.clock.now();
        let Some(live) = self.runs.get(id) else { return };
        let Some(step) = live.run.playbook.step(&part.step).cloned() else { return };
        let (reads, item) = (self.expressions.template_reads(&sub.with), self.contents.item(&live.run, part));
        let item = match item {
            Ok(item) => item,
            Err(error) => return self.end(id, part, Ending::failed(format!("its item cannot be read: {error}"))),
        };
        let owned = RunScope::reading(&live.run, self.ground(), &reads);
        let inputs = match self.expressions.render(&sub.with, &owned.scope(&live.run, &item)) {
            Ok(inputs) => inputs,
            Err(error) => {
                return self.end(id, part, Ending::failed(format!("its inputs could not be evaluated: {error}")));
            }
        };
        if let Some(earlier) = live.run.sub(part).cloned() {
            let stands = self.stands_of(&earlier);
            match self.once_read(id, part, Later::Step, stands) {
                Some(Ok(None)) => {}
                Some(Ok(Some(why)) | Err(why)) => return self.end(id, part, Ending::failed(why)),
                None => return self.begins_later(id, part),
            }
        }
        let Some(live) = self.runs.get(id) else { return };
        if depth_below(&live.run.started) > DEEPEST {
            return self.end(id, part, Ending::failed(format!("runs lie {DEEPEST} deep already, which is the most")));
        }
        let Some(playbook) = self.definitions.playbooks.iter().find(|one| one.name == sub.playbook).cloned() else {
            return self.end(id, part, Ending::failed(format!("there is no playbook `{}` now", sub.playbook)));
        };
        let inputs = match checked_inputs(&playbook, inputs) {
            Ok(inputs) => inputs,
            Err(why) => return self.end(id, part, Ending::failed(why)),
        };
        if let Some(why) = self.definitions.apart.objection(&inputs) {
            return self.end(id, part, Ending::failed(format!("what it gives as inputs {why}")));
        }
        let (own, parents) = (self.mode_of_playbook(&playbook), self.mode_of(id, &step));
        let (mode, mode_because) = if parents.0 <= own.0 { parents } else { own };
        // A part that is done again starts another.
        let of = |number: u64| RunId::of(&[id.as_str().as_bytes(), part.to_string().as_bytes(), &number.to_le_bytes()]);
        let is_free = |run: &RunId| !self.ink.has(&StreamId::run(run)) && !self.runs.contains_key(run);
        let Some(run) = (0..).map(of).find(is_free) else { return };
        self.pin(&playbook, now);
        if let Some(live) = self.runs.get_mut(id) {
            live.under_way.remove(part);
        }
        let started = SubRunStarted {
            part: part.clone(),
            run,
            playbook: playbook.name.clone(),
            definition: playbook.hash,
            mode,
            mode_because,
            inputs,
            detached: sub.detach,
        };
        self.record(id, vec![NewRecord::new(now, started)]);
        // An intent: it is in the journal before what it speaks of.
        self.ink.commit();
    }

    /// A part that was just begun waits for the journal: it begins anew then.
    pub(super) fn begins_later(&mut self, id: &RunId, part: &Part) {
        if let Some(live) = self.runs.get_mut(id) {
            live.under_way.remove(part);
        }
    }

    /// Whether nothing is to be done for a part but to wait for its run.
    pub(super) fn is_followed(&self, parent: &Run, sub: &RunId, part: &Part) -> bool {
        let detached = parent.sub(part).is_some_and(|sub| sub.detached);
        let child = self.runs.get(sub).filter(|_| !detached);
        let ends = parent.is_stopped() || parent.is_wanted_back(part);
        child.is_some_and(|child| !ends || child.run.is_stopped())
    }

    /// Whether the run of a part is being taken back.
    pub(super) fn is_sub_undoing(&self, parent: &Run, part: &Part) -> bool {
        let child = parent.sub(part).and_then(|sub| self.runs.get(&sub.run));
        let person = parent.undone_by_person(part);
        parent.is_taken_back(part) && child.is_some_and(|child| child.run.undoes_all(person))
    }

    /// Starts the run of a part, ends it with its parent, or takes in how it has ended.
    pub(super) fn follow(&mut self, id: &RunId, part: &Part) {
        let Some(live) = self.runs.get(id) else { return };
        let Some(sub) = live.run.sub(part).cloned() else { return };
        let stopped = live.run.is_stopped() || live.run.is_wanted_back(part);
        if self.runs.contains_key(&sub.run) {
            if sub.detached {
                return self.end(id, part, detached(&sub.run));
            }
            self.stop(&sub.run, "quell".into(), json!({ "with": id }));
            return self.drive(&sub.run);
        }
        let end = self.sub_end(&sub.run);
        let Some(end) = self.once_read(id, part, Later::Step, end) else { return };
        match end {
            Ok(Some(_)) if sub.detached => self.end(id, part, detached(&sub.run)),
            Ok(Some(end)) if end.state.is_over() => self.end(id, part, ended(&sub.run, end, stopped)),
            Ok(Some(_)) => self.end(id, part, Ending::failed(format!("its run {} cannot go on", sub.run))),
            Ok(None) if stopped => {
                let proof = "the run was cancelled, or is taken back, before it began".to_owned();
                self.end(id, part, Ending { outcome: Outcome::Cancelled, proof, ..Ending::default() });
            }
            Ok(None) => self.begin_sub(id, &sub),
            Err(why) => self.end(id, part, Ending::failed(format!("its run {} cannot be read: {why}", sub.run))),
        }
    }

    fn begin_sub(&mut self, id: &RunId, sub: &SubRunStarted) {
        let now = self.parts.clock.now();
        let playbook = self.definition(sub.definition);
        let Some(playbook) = self.once_read(id, &sub.part, Later::Step, playbook) else { return };
        let playbook = match playbook {
            Ok(playbook) => playbook,
            Err(why) => return self.end(id, &sub.part, Ending::failed(why)),
        };
        let inputs = match self.contents.whole(&sub.inputs) {
            Ok(inputs) => inputs,
            Err(error) => {
                return self.end(id, &sub.part, Ending::failed(format!("its inputs cannot be read: {error}")));
            }
        };
        let Some(live) = self.runs.get(id) else { return };
        let parent = &live.run.started;
        let started = RunStarted {
            run: sub.run.clone(),
            playbook: sub.playbook.clone(),
            definition: sub.definition,
            mode: sub.mode,
            mode_because: sub.mode_because.clone(),
            inputs,
            moments: Moments { decided: Some(now), ..parent.moments },
            parent: Some(ParentRun {
                run: id.clone(),
                part: sub.part.clone(),
                depth: depth_below(parent),
                detached: sub.detached,
                wanted_by: self.wanted_by(&live.run).into_iter().collect(),
                suspects: self.suspected(&live.run).into_iter().collect(),
            }),
            // It is the step that starts it, and no incident.
            by: parent.by.clone().filter(|_| parent.came.is_none()),
            came: None,
            ..RunStarted::clone(parent)
        };
        self.begin(&playbook, started, now);
        if sub.detached {
            self.end(id, &sub.part, detached(&sub.run));
        }
    }

    /// A run that another follows has ended: that one goes on once this one is left.
    pub(super) fn sub_finished(&mut self, run: &Run, outputs: Json, summary: String) {
        let Some(parent) = run.started.parent.as_ref().filter(|parent| !parent.detached) else { return };
        if self.runs.contains_key(&parent.run) {
            let end =
                SubEnd { state: run.state(), outputs, summary, proved: run.proved(), unknown: run.stuck_is_unknown() };
            self.ends.insert(run.started.run.clone(), end);
            self.followed.push(parent.run.clone());
        }
    }

    /// How a run stands that is not open; none: it never began.
    fn sub_end(&mut self, run: &RunId) -> Result<Option<SubEnd>, Unread> {
        if let Some(end) = self.ends.remove(run) {
            return Ok(Some(end));
        }
        let stream = StreamId::run(run);
        if !self.ink.has(&stream) {
            return Ok(None);
        }
        let last = self.ink.readable(&stream)?.kinds(&[Kind::RunFinished])?;
        let (outputs, summary) = match last.into_iter().next_back().map(|record| record.body) {
            Some(Body::RunFinished(finished)) => {
                let outputs = self.contents.whole(&finished.outputs)?;
                (outputs, finished.summary)
            }
            _ => (Json::Null, String::new()),
        };
        let folded = self.fold_ended(run)?;
        let (proved, unknown) = (folded.proved(), folded.stuck_is_unknown());
        Ok(Some(SubEnd { state: folded.state(), outputs, summary, proved, unknown }))
    }

    /// Takes back what the run of a part did.
    pub(super) fn take_back_sub(&mut self, id: &RunId, part: &Part, attempt: u32) {
        let now = self.parts.clock.now();
        let Some(live) = self.runs.get(id) else { return };
        let Some(sub) = live.run.sub(part).cloned() else { return };
        let person = live.run.undone_by_person(part);
        if !live.run.is_taken_back(part) {
            // How it ended before is no answer to this.
            self.ends.remove(&sub.run);
            let (part, action) = (part.clone(), sub.playbook);
            let intended = UndoIntended { part, attempt, action, plan: Plan::default() };
            self.record(id, vec![NewRecord::new(now, intended)]);
            return self.ink.commit();
        }
        let is_answer = self.ends.contains_key(&sub.run);
        if !self.runs.contains_key(&sub.run) {
            let end = self.sub_end(&sub.run);
            let Some(end) = self.once_read(id, part, Later::Step, end) else { return };
            match end {
                Ok(None) => return self.sub_undone(id, &sub, Outcome::Undone, "it never began".to_owned()),
                Ok(Some(end)) if end.state == RunState::Undone => {
                    return self.sub_undone(id, &sub, Outcome::Undone, format!("run {}: {}", sub.run, end.summary));
                }
                Ok(Some(end)) if is_answer => {
                    let proof = format!("run {}: {}", sub.run, end.summary);
                    return self.sub_ends_back(id, &sub, (Outcome::Stuck, end.unknown), proof);
                }
                Ok(Some(_)) => {}
                Err(why) => return self.sub_stuck(id, &sub, why),
            }
            let opened = self.standing_of(&sub.run, None).and_then(|standing| {
                let is_left = !standing.is_empty();
                if is_left { self.open_again(&sub.run).map(|()| is_left) } else { Ok(is_left) }
            });
            match self.once_read(id, part, Later::Step, opened) {
                Some(Ok(true)) => {}
                Some(Ok(false)) => {
                    let proof = format!("nothing stands that run {} did", sub.run);
                    return self.sub_undone(id, &sub, Outcome::Undone, proof);
                }
                Some(Err(why)) => return self.sub_stuck(id, &sub, why),
                None => return,
            }
        }
        self.begin_undo(&sub.run, None, Whose::quell(person), format!("run {id}, which started it, is taken back"));
        self.drive(&sub.run);
    }

    fn sub_undone(&mut self, id: &RunId, sub: &SubRunStarted, outcome: Outcome, proof: String) {
        self.sub_ends_back(id, sub, (outcome, false), proof);
    }

    /// Nobody can get at what the run of a part did: that one tells nobody by itself.
    fn sub_stuck(&mut self, id: &RunId, sub: &SubRunStarted, why: String) {
        let incident = self.runs.get(id).and_then(|live| live.run.started.incident.clone());
        let heard = self.heard(id, incident.as_ref());
        let Some(Ok(heard)) = self.once_read(id, &sub.part, Later::Step, heard) else { return };
        let again = format!("`quell run undo {id}/{}` tries again", sub.part.step);
        let text = format!("what run {} did could not be taken back, and may stand: {why}; {again}", sub.run);
        self.ink.hold();
        self.sub_undone(id, sub, Outcome::Stuck, why);
        self.trouble(id, heard, text);
        self.ink.let_go();
    }

    fn sub_ends_back(&mut self, id: &RunId, sub: &SubRunStarted, (outcome, unknown): (Outcome, bool), proof: String) {
        let now = self.parts.clock.now();
        let (part, action) = (sub.part.clone(), sub.playbook.clone());
        let (run, output, attempts) = (id.clone(), Json::Null, 1);
        let finished = UndoFinished { run, part, action, outcome, output, proof, attempts, unknown };
        self.record(id, vec![NewRecord::new(now, finished)]);
    }

    /// What stands that a run did, or those that it started.
    pub(super) fn standing_of(&mut self, run: &RunId, only: Option<&Part>) -> Result<Vec<String>, Unread> {
        let mut standing: Vec<String> = self.leases.of(run, only).iter().map(Part::to_string).collect();
        for sub in self.subs_of(run)? {
            if !sub.detached && only.is_none_or(|only| only.covers(&sub.part)) {
                let below = self.standing_of(&sub.run, None)?;
                standing.extend(below.into_iter().map(|part| format!("{}/{part}", sub.run)));
            }
        }
        Ok(standing)
    }

    /// Why a run that steps have started cannot go on by itself, if it cannot: the undo of those above would not reach it.
    pub(super) fn lost_above(&mut self, run: &Run) -> Result<Option<String>, NotYet> {
        let mut below = Arc::clone(&run.started);
        while let Some(parent) = below.parent.as_ref().filter(|parent| !parent.detached) {
            let (id, part) = (&parent.run, &parent.part);
            let above = match self.runs.get(id) {
                Some(live) => live.run.clone(),
                None => match self.fold_ended(id) {
                    Ok(run) => run,
                    Err(Unread::NotYet(not_yet)) => return Err(not_yet),
                    Err(Unread::Never(why)) => {
                        return Ok(Some(format!("run `{id}`, which has started it, cannot be read: {why}")));
                    }
                },
            };
            if !above.reaches(part, &below.run) {
                let run = &below.run;
                return Ok(Some(format!(
                    "`{part}` of run `{id}`, which has started run `{run}`, was taken back or begun again"
                )));
            }
            below = Arc::clone(&above.started);
        }
        Ok(None)
    }

    /// Why these parts of a run cannot begin again, if they cannot: what the runs did that they started would be lost sight of.
    pub(super) fn stands_below(&mut self, run: &Run, again: &[Part]) -> Result<Option<String>, Unread> {
        let is_again = |sub: &&SubRunStarted| again.iter().any(|part| part.covers(&sub.part));
        let earlier: Vec<SubRunStarted> = run.subs().filter(is_again).cloned().collect();
        earlier.iter().find_map(|sub| self.stands_of(sub).transpose()).transpose()
    }

    /// Why a part that has started this run cannot start another yet.
    fn stands_of(&mut self, earlier: &SubRunStarted) -> Result<Option<String>, Unread> {
        let SubRunStarted { part, run, detached: false, .. } = earlier else { return Ok(None) };
        if self.runs.contains_key(run) {
            return Ok(Some(format!("`{part}` has started run `{run}`, which has not ended")));
        }
        let first = self.standing_of(run, None)?.into_iter().next();
        let told = |first| {
            format!("`{first}` of run `{run}`, which `{part}` has started, still stands: `quell run undo {run}` first")
        };
        Ok(first.map(told))
    }

    /// The open runs above one, the nearest first.
    pub(super) fn above<'a>(&'a self, run: &'a Run) -> impl Iterator<Item = &'a Live> {
        let next = |of: &Run| of.started.parent.as_ref().and_then(|parent| self.runs.get(&parent.run));
        std::iter::successors(next(run), move |above| next(&above.run))
    }

    /// Who wanted a run: what wants one wants what its steps start.
    pub(super) fn wanted_by(&self, run: &Run) -> BTreeSet<Name> {
        let above = self.above(run).flat_map(|above| above.run.requesters());
        run.requesters().chain(above).cloned().collect()
    }

    /// Who was asked in a run, or in those above it, whether it was them.
    pub(super) fn suspected(&self, run: &Run) -> BTreeSet<Name> {
        let above = self.above(run).flat_map(|above| above.run.suspects());
        run.suspects().chain(above).cloned().collect()
    }

    /// The named targets of what a run did, and those did that it started.
    fn touched_with_below(&mut self, run: &Run) -> Result<BTreeSet<String>, NotYet> {
        let mut touched: BTreeSet<String> = run.touched().map(str::to_owned).collect();
        let mut below: Vec<RunId> = run.subs().map(|sub| sub.run.clone()).collect();
        while let Some(id) = below.pop() {
            let readable = self.ink.readable(&StreamId::run(&id))?;
            let read = readable.kinds(&[Kind::StepIntended, Kind::SubRunStarted]);
            let records = read.inspect_err(|error| tracing::warn!(%error, "what a run has touched is not known"));
            for record in records.unwrap_or_default() {
                match record.body {
                    Body::SubRunStarted(sub) => below.push(sub.run),
                    Body::StepIntended(intent) => {
                        let named = intent.plan.targets.into_iter().filter(|target| target.named);
                        touched.extend(named.map(|target| target.id));
                    }
                    _ => {}
                }
            }
        }
        Ok(touched)
    }

    /// What a run that goes on again has touched counts for it, and for those above it, where that is limited.
    pub(super) fn touches_still(&mut self, run: &Run) -> Result<(), NotYet> {
        let all = std::iter::once(run).chain(self.above(run).map(|above| &above.run));
        let limited = all.filter(|run| run.playbook.limits.targets.is_some());
        let limited: Vec<RunId> = limited.map(|run| run.started.run.clone()).collect();
        let touched = if limited.is_empty() { BTreeSet::new() } else { self.touched_with_below(run)? };
        for run in limited {
            self.memory.run_touched(&run, touched.iter().map(String::as_str));
        }
        Ok(())
    }

    fn subs_of(&mut self, run: &RunId) -> Result<Vec<SubRunStarted>, Unread> {
        if let Some(live) = self.runs.get(run) {
            return Ok(live.run.subs().cloned().collect());
        }
        let records = self.ink.readable(&StreamId::run(run))?.kinds(&[Kind::SubRunStarted])?;
        let sub = |record: quell_model::Record| match record.body {
            Body::SubRunStarted(sub) => Some(*sub),
            _ => None,
        };
        Ok(records.into_iter().filter_map(sub).collect())
    }
}

/// How deep a run lies that this one starts.
fn depth_below(parent: &RunStarted) -> u32 {
    parent.parent.as_ref().map_or(0, |parent| parent.depth) + 1
}

fn detached(run: &RunId) -> Ending {
    Ending::done(json!({ "run": run }), &format!("run {run} goes on by itself"))
}

fn ended(run: &RunId, end: SubEnd, stopped: bool) -> Ending {
    let proof = format!("run {run} {}: {}", end.state.as_str(), end.summary);
    let outcome = match end.state {
        RunState::Succeeded => end.proved,
        _ if stopped => Outcome::Cancelled,
        _ => Outcome::Failed,
    };
    let output = if end.state == RunState::Succeeded { end.outputs } else { Json::Null };
    Ending { outcome, output, proof, ..Ending::default() }
}
