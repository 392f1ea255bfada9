//! What a run's records say of its steps: the ground for verdicts and for coverage.
//!
//! Owns that reading alone. Reads the journal's records, never the engine's state.

use crate::run::machine::WAIT;
use quell_model::playbook::{Playbook, StepKind};
use quell_model::record::{QuestionKind, Record, RunState};
use quell_model::{Body, Json, Outcome, StepId};
use serde_json::json;
use std::collections::BTreeMap;

/// A run as its records tell it.
#[derive(Clone, Debug, Default)]
pub(super) struct Story {
    pub(super) steps: BTreeMap<String, StepStory>,
    /// Steps in the order of their ends.
    pub(super) ends: Vec<String>,
    pub(super) told: Vec<String>,
    pub(super) state: Option<RunState>,
    pub(super) outputs: Json,
    pub(super) summary: String,
}

/// A step.
#[derive(Clone, Debug, Default)]
pub(super) struct StepStory {
    pub(super) outcome: Option<Outcome>,
    pub(super) attempts: u32,
    /// Rendered inputs, of each item its own.
    pub(super) inputs: Vec<Json>,
    pub(super) output: Json,
    pub(super) errors: Vec<String>,
    /// Items of its `for_each` that ended.
    pub(super) items: u32,
    /// Those of its list, as expressions see them in `items`; none: it never came to it.
    pub(super) listed: Option<Vec<Json>>,
    /// Those of them that did not end well.
    bad: Vec<Json>,
    /// Its `if` was false.
    pub(super) not_wanted: bool,
    /// An intent of it is in the journal.
    pub(super) intended: bool,
    /// It asked somebody.
    pub(super) asked: bool,
    /// It is one that asks or waits, and has begun to: it need not have ended.
    began: bool,
}

impl StepStory {
    /// Whether it did something, or tried to.
    pub(super) fn ran(&self) -> bool {
        use Outcome::{Already, Done, Failed, Stuck, Undone, Verified};
        matches!(self.outcome, Some(Verified | Done | Already | Failed | Undone | Stuck)) || self.intended || self.began
    }

    /// Whether the run came to it.
    pub(super) fn is_reached(&self) -> bool {
        self.ran() || self.asked || matches!(self.outcome, Some(Outcome::Planned | Outcome::Refused))
    }
}

impl Story {
    pub(super) fn of(records: &[Record], playbook: &Playbook) -> Self {
        let mut story = Self::default();
        let tells = |step: &StepId| playbook.step(step).is_some_and(|step| matches!(step.kind, StepKind::Tell(_)));
        for record in records {
            if let Body::StepFinished(finished) = &record.body
                && let Some(told) = finished.output.get("told").and_then(Json::as_str)
                && tells(&finished.part.step)
            {
                story.told.push(told.to_owned());
            }
            story.take(&record.body);
        }
        story
    }

    /// How the run ended; one that has not, waits.
    pub(super) fn end(&self) -> RunState {
        self.state.unwrap_or(RunState::Waiting)
    }

    fn step(&mut self, id: &str) -> &mut StepStory {
        self.steps.entry(id.to_owned()).or_default()
    }

    fn ended(&mut self, id: &str, outcome: Outcome) {
        self.step(id).outcome = Some(outcome);
        self.ends.push(id.to_owned());
    }

    fn take(&mut self, body: &Body) {
        match body {
            Body::StepPlanned(planned) => self.step(planned.part.step.as_str()).inputs.push(planned.input.clone()),
            Body::StepIntended(intended) => {
                let step = self.step(intended.part.step.as_str());
                step.attempts = step.attempts.max(intended.attempt);
                step.intended = true;
                step.inputs.push(intended.input.clone());
            }
            Body::QuestionAsked(asked) => {
                let step = self.step(asked.part.step.as_str());
                step.asked = true;
                step.began |= asked.question == QuestionKind::Ask;
                if asked.question == QuestionKind::Approve {
                    step.inputs.push(asked.input.clone());
                }
            }
            Body::TimerSet(timer) if timer.what.as_str() == WAIT => self.step(timer.part.step.as_str()).began = true,
            Body::StepFailed(failed) => {
                let step = self.step(failed.part.step.as_str());
                step.attempts = step.attempts.max(failed.attempt);
                step.errors.push(failed.error.clone());
            }
            Body::StepFinished(finished) => {
                let id = finished.part.step.as_str();
                let step = self.step(id);
                step.attempts = step.attempts.max(finished.attempts);
                if finished.outcome == Outcome::Failed {
                    step.errors.push(finished.proof.clone());
                }
                if let Some(item) = finished.part.item {
                    step.items += 1;
                    if let Some(listed) = step.listed.as_mut().and_then(|listed| listed.get_mut(item as usize)) {
                        listed["outcome"] = finished.outcome.as_str().into();
                        listed["output"] = finished.output.clone();
                        listed["why"] = finished.proof.as_str().into();
                        step.bad.extend((!finished.outcome.is_met()).then(|| listed.clone()));
                    }
                    return;
                }
                step.output = match &step.listed {
                    Some(items) => json!({ "items": items, "failed": step.bad }),
                    None => finished.output.clone(),
                };
                self.ended(id, finished.outcome);
            }
            Body::StepSkipped(skipped) => {
                self.step(skipped.step.as_str()).not_wanted = skipped.why.starts_with("`if`");
                self.ended(skipped.step.as_str(), Outcome::Skipped);
            }
            Body::StepProgressed(progressed) if progressed.part.item.is_none() => {
                let item = |item: &Json| json!({ "item": item, "outcome": null, "output": null, "why": "" });
                let items = progressed.mark.get("items").and_then(Json::as_array);
                let step = self.step(progressed.part.step.as_str());
                if step.listed.is_none() {
                    step.listed = items.map(|items| items.iter().map(item).collect());
                }
            }
            Body::StepBlocked(blocked) => self.ended(blocked.step.as_str(), blocked.outcome),
            Body::GuardRefused(refused) => self.step(refused.part.step.as_str()).errors.push(refused.why.clone()),
            Body::UndoFailed(failed) => self.step(failed.part.step.as_str()).errors.push(failed.error.clone()),
            Body::UndoFinished(undone) => {
                let step = self.step(undone.part.step.as_str());
                // A step of which one item is stuck is stuck.
                if undone.part.item.is_none() || step.outcome != Some(Outcome::Stuck) {
                    step.outcome = Some(undone.outcome);
                }
                step.errors.extend((undone.outcome == Outcome::Stuck).then(|| undone.proof.clone()));
            }
            Body::RunFinished(finished) => {
                self.state = Some(finished.state);
                self.outputs = finished.outputs.clone();
                self.summary.clone_from(&finished.summary);
            }
            _ => {}
        }
    }
}
