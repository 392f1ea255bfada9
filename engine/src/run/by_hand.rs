//! What people do to runs by hand: try one again after a fix, leave a step out, ask which do not move.
//!
//! Owns the answers, and their records. Keeps true: what a run did and what its steps gave stays as it is; whoever asks for what
//! cannot be done hears why in a sentence.

use super::answers::{self, NotMoving, RunAgain, RunSkipped};
use super::attempt::ASKING;
use super::conclude::Ending;
use super::machine::Run;
use super::request::Refusal;
use super::shell::{Core, Live};
use quell_model::mistake::nearest;
use quell_model::record::{NewRecord, Part, PersonActed, RunReopened, RunState, StepSkipped};
use quell_model::{Json, Name, RunId, Stamp, StepId, StreamId};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};

impl<W: Send + 'static> Core<W> {
    /// A person wants a run that has ended to go on.
    pub(super) fn retry(&mut self, id: &RunId, from: Option<StepId>, by: &Name, why: String) -> Result<Json, Refusal> {
        if let Some(live) = self.runs.get(id) {
            return Err(Refusal::NotNow(match live.run.state() {
                RunState::Undoing => format!("run `{id}` is being taken back"),
                _ => format!("run `{id}` has not ended: only what has ended is tried again"),
            }));
        }
        if !self.ink.has(&StreamId::run(id)) {
            return Err(Refusal::NotFound { kind: "run", id: id.to_string() });
        }
        if let Some(why) = self.broken.get(id) {
            return Err(Refusal::NotNow(format!("run `{id}` has not ended, and cannot go on: {why}")));
        }
        if self.paused {
            let why = "every action is paused, and it would be refused again: `quell resume` first";
            return Err(Refusal::NotNow(why.to_owned()));
        }
        let run = self.fold_ended(id)?;
        if let Some(why) = not_again(&run) {
            return Err(Refusal::NotNow(why));
        }
        if let Some(from) = &from {
            is_step(&run, from)?;
        }
        let again = run.again(from.as_ref());
        if again.is_empty() {
            return Err(Refusal::NotNow(format!("nothing that run `{id}` is to do ended badly or was left undone")));
        }
        let lost = match self.lost_above(&run)? {
            None => self.stands_below(&run, &again)?,
            lost => lost,
        };
        if let Some(lost) = lost {
            return Err(Refusal::NotNow(lost));
        }
        self.touches_still(&run)?;
        if run.started.by.is_none() && run.started.parent.is_none() {
            self.triggers.reopened(&run.started);
        }
        let (moments, only_planned) = (run.started.moments, !run.has_acted());
        self.runs.insert(id.clone(), Live { run, under_way: HashMap::new(), moments, only_planned, protected: 0 });
        let parts = again.iter().map(ToString::to_string).collect();
        let now = self.parts.clock.now();
        self.record(id, vec![NewRecord::new(now, RunReopened { by: by.clone(), why, from, again })]);
        self.drive(id);
        Ok(answers::json(RunAgain { id: id.clone(), again: parts }))
    }

    /// A person leaves out a step that has not ended: for what needs it, it is met. One that may have acted is told so.
    pub(super) fn skip(&mut self, id: &RunId, step: &StepId, by: &Name, why: &str) -> Result<Json, Refusal> {
        let Some(live) = self.runs.get(id) else {
            let known = self.ink.has(&StreamId::run(id));
            return Err(if known {
                Refusal::NotNow(format!("run `{id}` has ended: `quell run retry {id}` opens it again"))
            } else {
                Refusal::NotFound { kind: "run", id: id.to_string() }
            });
        };
        is_step(&live.run, step)?;
        let is_at_it = || {
            let at_it = live.under_way.keys().any(|part| part.step == *step);
            at_it.then(|| format!("`{step}` is at work: it has ended in a moment, or `quell run cancel` ends the run"))
        };
        if let Some(why) = live.run.cannot_skip(step).or_else(is_at_it) {
            return Err(Refusal::NotNow(why));
        }
        let unknown: Vec<Part> = live.run.unknown(step).collect();
        let told = if why.is_empty() { String::new() } else { format!(": {why}") };
        let acted = PersonActed { by: by.clone(), what: "skip".into(), detail: json!({ "step": step, "why": why }) };
        let (now, why) = (self.parts.clock.now(), format!("skipped by {by}{told}"));
        self.ink.hold();
        if unknown.is_empty() {
            // An attempt that is to be tried again may have done a part of it.
            self.leases_of_left(id, step);
            let skipped = StepSkipped { step: step.clone(), why };
            self.record(id, vec![NewRecord::new(now, acted), NewRecord::new(now, skipped)]);
        } else {
            self.record(id, vec![NewRecord::new(now, acted)]);
            self.skip_unknown(id, step, &unknown, &why);
        }
        self.ink.let_go();
        self.drive(id);
        Ok(answers::json(RunSkipped { id: id.clone(), skipped: step.clone() }))
    }

    /// What may have acted is told as that, and for what needs it, it is met all the same.
    fn skip_unknown(&mut self, id: &RunId, step: &StepId, parts: &[Part], why: &str) {
        parts.iter().for_each(|part| self.left_unknown(id, part, why));
        self.leases_of_left(id, step);
        let whole = Part { step: step.clone(), item: None };
        if !parts.contains(&whole) {
            let proof = format!("outcome unknown of {} of its items: {why}", parts.len());
            self.end(id, &whole, Ending { unknown: true, ..Ending::failed(proof) });
        }
    }

    /// Open runs of which nothing moves, each with why; there should be none.
    pub(super) fn not_moving(&self) -> Json {
        let now = self.parts.clock.now();
        let mut still: BTreeMap<&RunId, String> = self.broken.iter().map(|(id, why)| (id, why.clone())).collect();
        for (id, live) in &self.runs {
            let late = live.under_way.iter().find(|(_, at)| now.since(at.deadline) > LATE && at.deadline < now);
            let why = if let Some(why) = self.waits_to_read(id, now) {
                why
            } else if let Some((part, at)) = late {
                format!("`{part}` is at its attempt {} and should have ended by {}", at.attempt, at.deadline.wall)
            } else if live.under_way.is_empty() && !self.waits(live, now) {
                "nothing of it is at work and it waits for nothing, which is a mistake in quell".to_owned()
            } else {
                continue;
            };
            still.insert(id, why);
        }
        // Those above wait for it as well.
        let mut below: Vec<&RunId> = still.keys().copied().collect();
        while let Some(id) = below.pop() {
            let parent = self.runs.get(id).and_then(|live| live.run.started.parent.as_ref());
            let Some(parent) = parent.filter(|parent| !parent.detached && self.runs.contains_key(&parent.run)) else {
                continue;
            };
            if !still.contains_key(&parent.run) {
                let why = format!("`{}` waits for run `{id}`, which does not move", parent.part);
                still.insert(&parent.run, why);
                below.push(&parent.run);
            }
        }
        let view = |(id, why): (&RunId, String)| NotMoving { id: id.clone(), why };
        answers::json(still.into_iter().map(view).collect::<Vec<_>>())
    }

    /// Whether a run waits for a moment, a person, the end of a pause, the journal or a run that it has started.
    fn waits(&self, live: &Live, now: Stamp) -> bool {
        let run = &live.run;
        let is_held = |part: Part| run.takes_back(&part) && self.undo_waits(run, &part);
        run.next_wait(now).is_some()
            || run.asks() > 0
            || self.unread.of_run(&run.started.run).is_some()
            || self.paused && run.standing().any(is_held)
            || run.subs().any(|sub| !sub.detached && self.runs.contains_key(&sub.run))
    }
}

/// An attempt is ended at its deadline, and the world is asked once more: past this it hangs.
const LATE: std::time::Duration = ASKING.saturating_mul(3);

fn is_step(run: &Run, step: &StepId) -> Result<(), Refusal> {
    if run.playbook.step(step).is_some() {
        return Ok(());
    }
    let known = run.playbook.steps.iter().map(|step| step.id.as_str());
    let hint = nearest(step.as_str(), known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Err(Refusal::Wrong(format!("`{step}` is no step of `{}`{hint}", run.playbook.name)))
}

/// Why a run that is not at work cannot be tried again, if it cannot.
fn not_again(run: &Run) -> Option<String> {
    let id = &run.started.run;
    match run.state() {
        RunState::Failed | RunState::Cancelled => None,
        RunState::Succeeded => Some(format!("run `{id}` succeeded: nothing of it is to be tried again")),
        RunState::Undone => Some(format!("run `{id}` was taken back: `quell playbook run` starts its playbook anew")),
        RunState::Stuck => Some(format!(
            "something that run `{id}` did could not be taken back: `quell run undo {id}` tries that again"
        )),
        RunState::Running | RunState::Waiting | RunState::Undoing => {
            Some(format!("run `{id}` has not ended, and this engine is not at it"))
        }
    }
}
