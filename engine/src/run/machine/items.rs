//! The list of a `for_each`: the pure part.
//!
//! Owns what its record makes of a step, and from when on a step's time counts: its items have one `deadline` between them. Keeps true: a list that lies apart has as many items as its reference says, and each has its
//! state here as one that stands in its record; only the values are elsewhere.

use super::ready::Readiness;
use super::{Phase, Progress, Run, StepState, Turns};
use quell_model::playbook::Step;
use quell_model::record::{Part, QuestionKind, Stored};
use quell_model::{Body, Json, Outcome, Stamp, StepId};
use std::time::Duration;

impl Run {
    pub(super) fn note_items(&mut self, part: &Part, mark: &Json) {
        let (Some(list), None, Some(state)) = (mark.get("items"), part.item, self.steps.get_mut(&part.step)) else {
            return;
        };
        let apart = Stored::of(list);
        let fresh = Progress { known: state.known_before, ..Progress::default() };
        state.items = match (list.as_array(), &apart) {
            (Some(list), _) => Some(list.iter().map(|item| (item.clone(), fresh.clone())).collect()),
            (None, Some(Stored { items: Some(count), .. })) => {
                Some((0..*count).map(|_| (Json::Null, fresh.clone())).collect())
            }
            (None, _) => return,
        };
        (state.apart, state.turns) = (apart.map(Box::new), Turns::default());
        self.index.changed.push(part.clone());
    }

    /// The first attempt of a step, or of the first of its items, has begun.
    pub(super) fn begins(&mut self, at: Stamp, part: &Part) {
        if let Some(state) = self.steps.get_mut(&part.step) {
            state.began.get_or_insert(at);
        }
    }

    /// Items of a list that was found before are to be done again, and what the step needs has not ended well, or not yet.
    pub(super) fn waits_again(&self, step: &Step) -> bool {
        let state = &self.steps[&step.id];
        state.items.is_some() && state.began.is_none() && !matches!(self.readiness(step), Readiness::Ready)
    }

    /// Somebody is asked whether a part of a step may act, or nobody is any more: where several are asked at once, the time counts once.
    pub(super) fn people_think(&mut self, at: Stamp, body: &Body) {
        let step = match body {
            Body::QuestionAsked(asked) => &asked.part.step,
            Body::QuestionAnswered(answered) => &answered.part.step,
            Body::StepFinished(finished) => &finished.part.step,
            Body::StepSkipped(skipped) => &skipped.step,
            Body::StepBlocked(blocked) => &blocked.step,
            _ => return,
        };
        let think = self.waiting_of(step).any(|(_, kind)| *kind == QuestionKind::Approve);
        let Some(state) = self.steps.get_mut(step) else { return };
        match (think, state.thinking) {
            (true, None) => state.thinking = Some(at),
            (false, Some(since)) => {
                let before = state.thought_long();
                state.thought.push((since, at, before));
                state.thinking = None;
            }
            _ => {}
        }
    }

    /// From when on a step's `deadline` counts, and not from before `earliest`: what people were asked since then is none of its time.
    /// Its items have one between them.
    #[must_use]
    pub fn counts_from(&self, step: &StepId, earliest: Option<Stamp>, now: Stamp) -> Option<Stamp> {
        let state = self.steps.get(step)?;
        let from =
            state.began.into_iter().chain(earliest).max_by_key(|at| at.boot_ns).filter(|_| state.began.is_some())?;
        let first = state.thought.partition_point(|(_, until, _)| until.boot_ns <= from.boot_ns);
        let thought = state
            .thought
            .get(first)
            .map(|(since, _, before)| state.thought_long().saturating_sub(*before).saturating_sub(from.since(*since)));
        let thinking = state.thinking.map(|since| now.since(if since.boot_ns > from.boot_ns { since } else { from }));
        Some(from.after(thought.unwrap_or_default() + thinking.unwrap_or_default()))
    }

    /// Where the list of a step lies, if not in its record.
    #[must_use]
    pub fn list_apart(&self, step: &StepId) -> Option<&Stored> {
        self.steps.get(step)?.apart.as_deref()
    }

    /// The items of a `for_each` with how each ended and what it gave; of a list that lies apart, without their values.
    pub fn items(&self, step: &StepId) -> impl Iterator<Item = (&Json, Option<Outcome>, &Json, &str)> {
        self.steps.get(step).and_then(|s| s.items.as_ref()).into_iter().flatten().map(|(item, progress)| {
            let outcome = match progress.phase {
                Phase::Ended(outcome) => Some(outcome),
                _ => None,
            };
            (item, outcome, &progress.output, progress.why.as_str())
        })
    }

    /// `item` in the expressions of a part; nothing where the list lies apart.
    #[must_use]
    pub fn item(&self, part: &Part) -> Json {
        let items = self.steps.get(&part.step).and_then(|step| step.items.as_ref());
        let item = part.item.and_then(|at| items?.get(at as usize));
        item.map_or(Json::Null, |(item, _)| item.clone())
    }
}

impl StepState {
    fn thought_long(&self) -> Duration {
        self.thought.last().map_or(Duration::ZERO, |(since, until, before)| *before + until.since(*since))
    }
}
