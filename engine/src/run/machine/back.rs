//! The taking back of what a run did: the pure part.
//!
//! Owns where each part's taking back stands, and its order: a part's turn comes when nothing that came after it in the
//! DAG is left to be taken back. What could not be taken back holds nothing else up. Keeps true: who wants a part back wants
//! what it did by then, by all of its attempts (each plans by what the one before has left), and not what it does when it begins
//! again.

use super::{Command, Phase, Progress, Run, StepState, part_of};
use crate::run::take_back::STUCK_UNKNOWN;
use quell_model::action::IdempotencyKey;
use quell_model::record::{LeaseChanged, Part, RunState, StepIntended, UndoBegan, UndoFinished};
use quell_model::{Outcome, Plan, Stamp, StepId};
use std::collections::{BTreeMap, BTreeSet};

/// Where the taking back of a part stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Back {
    /// It stands, and can be taken back.
    Stands,
    /// Intended: it may have been taken back.
    Acting(u32),
    /// The next attempt waits for its moment.
    Waiting(u32, Stamp),
    /// It could not be taken back.
    Stuck,
    /// It does not stand any more.
    Over,
}

/// What an attempt may have done.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Act {
    pub(super) intent: Box<StepIntended>,
    /// Of how many intents the end was known before it.
    after: u32,
}

/// What is to be taken back, and whether a person wants it: then a pause does not hold it back.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Undoing {
    /// All of it.
    whole: Option<bool>,
    /// These, as long as something of them is left to be taken back.
    only: BTreeMap<Part, bool>,
}

impl Undoing {
    pub(super) fn is_whole(&self) -> bool {
        self.whole.is_some()
    }

    /// Where that is asked for: because a person wants it.
    pub(super) fn is_whole_for(&self, person: bool) -> bool {
        self.whole.is_some_and(|theirs| theirs || !person)
    }

    pub(super) fn wants(&self, part: &Part) -> bool {
        self.is_whole() || self.only.keys().any(|only| only.covers(part))
    }
}

impl Run {
    pub(super) fn undo_began(&mut self, began: &UndoBegan) {
        let mut undo = self.undo.take().unwrap_or_default();
        match &began.only {
            Some(part) => *undo.only.entry(part.clone()).or_default() |= began.person,
            None => *undo.whole.get_or_insert_default() |= began.person,
        }
        let wanted = |part: &Part| began.only.as_ref().is_none_or(|only| only.covers(part));
        let again: Vec<Part> = self
            .parts()
            .filter(|(part, progress)| progress.back == Some(Back::Stuck) && wanted(part))
            .map(|(part, _)| part)
            .collect();
        for part in again {
            if let Some(progress) = self.progress_mut(&part) {
                progress.back = Some(Back::Stands);
            }
        }
        if self.ended.is_some() || undo.is_whole() {
            self.state = RunState::Undoing;
        }
        self.undo = Some(undo);
        self.index.changed.extend(began.only.clone());
    }

    /// Once nothing of a part is left to be taken back, nobody wants it back any more.
    pub(super) fn is_wanted_no_more(&mut self, part: &Part) {
        let Some(undo) = &self.undo else { return };
        let whole = Part { step: part.step.clone(), item: None };
        let over = [part, &whole].into_iter().filter(|only| undo.only.contains_key(only) && !self.has_left(only));
        let over: Vec<Part> = over.cloned().collect();
        let Some(undo) = &mut self.undo else { return };
        undo.only.retain(|only, _| !over.contains(only));
        if !undo.is_whole() && undo.only.is_empty() {
            self.undo = None;
        }
    }

    /// Whether something of a part is left to be taken back, or comes to be: a run that it has started goes on, or items do.
    fn has_left(&self, only: &Part) -> bool {
        let Some(state) = self.steps.get(&only.step) else { return false };
        let goes_on = match (only.item, &state.items) {
            (None, Some(_)) => !matches!(state.whole.phase, Phase::Ended(_)),
            _ => self.progress(only).is_some_and(|progress| progress.phase == Phase::Sub),
        };
        let mut of_step = self.index.standing.range(only..).take_while(|part| part.step == only.step);
        goes_on || of_step.any(|part| only.covers(part))
    }

    pub(super) fn undo_finished(&mut self, finished: &UndoFinished) {
        // While it goes on, what comes after a step depends on how it ended, not on what became of that since.
        let is_over = self.ended.is_some() || self.is_stopped();
        let Some(progress) = self.progress_mut(&finished.part) else { return };
        if is_over {
            progress.ended_back(finished.outcome);
            progress.why.clone_from(&finished.proof);
        }
        progress.back_unknown = finished.unknown;
        if finished.outcome == Outcome::Stuck {
            progress.back = Some(Back::Stuck);
        } else {
            progress.back = None;
            progress.is_gone();
            progress.undone = matches!(progress.phase, Phase::Ended(_));
        }
        self.stands_no_more(&finished.part);
        let step = &finished.part.step;
        if finished.part.item.is_some() && is_over {
            self.sum_up(step);
        }
    }

    /// A step with items is taken back once all are, and stuck once one is.
    fn sum_up(&mut self, step: &StepId) {
        self.index.changed.push(Part { step: step.clone(), item: None });
        let Some(state) = self.steps.get_mut(step) else { return };
        let backs: Vec<&Back> = state.items.iter().flatten().filter_map(|(_, p)| p.back.as_ref()).collect();
        if backs.iter().any(|back| **back == Back::Stuck) {
            state.whole.ended_back(Outcome::Stuck);
        } else if backs.iter().all(|back| **back == Back::Over) {
            state.whole.ended_back(Outcome::Undone);
        }
    }

    pub(super) fn lease_changed(&mut self, changed: &LeaseChanged) {
        if let Some(plan) = &changed.plan
            && let Some(acted) = self.progress_mut(&changed.part).and_then(|progress| progress.acted.last_mut())
        {
            acted.intent.plan = Plan::clone(plan);
        }
        if let Some(progress) = self.progress_mut(&changed.part)
            && matches!(changed.state.as_str(), "lapsed" | "ended")
        {
            progress.is_gone();
            self.stands_no_more(&changed.part);
        }
    }

    /// Whether something was taken back while it went on, and nothing stands any more.
    pub(super) fn is_all_undone(&self) -> bool {
        self.parts().any(|(_, progress)| progress.undone) && self.standing().next().is_none()
    }

    /// Whether something could not be taken back, and stands.
    pub(super) fn has_stuck(&self) -> bool {
        self.parts().any(|(_, progress)| progress.back == Some(Back::Stuck))
    }

    /// Whether a part is to be taken back, and has not been yet.
    #[must_use]
    pub fn takes_back(&self, part: &Part) -> bool {
        let is_left = self.progress(part).and_then(|progress| progress.back.as_ref()).is_some_and(Back::is_left);
        is_left && self.undo.as_ref().is_some_and(|undo| undo.wants(part))
    }

    /// Whether a person wants a part back that is taken back now; or one that it came after, and that waits for it.
    #[must_use]
    pub fn undone_by_person(&self, part: &Part) -> bool {
        let Some(undo) = &self.undo else { return false };
        let mut theirs = undo.only.iter().filter(|(_, person)| **person).map(|(only, _)| only);
        let is_theirs = |only: &Part| {
            only.covers(part) || self.after_any_of(&BTreeSet::from([&only.step, &part.step])).contains(&only.step)
        };
        undo.whole == Some(true) || theirs.any(is_theirs)
    }

    /// Whether a part is to be taken back, also what it comes to do in the run that it has started.
    #[must_use]
    pub fn is_wanted_back(&self, part: &Part) -> bool {
        self.undo.as_ref().is_some_and(|undo| undo.wants(part))
    }

    /// Whether nothing more of a step's items begins: nothing of the run does, or all of the step is wanted back.
    #[must_use]
    pub fn drops_items(&self, step: &StepId) -> bool {
        let whole = || Part { step: step.clone(), item: None };
        self.is_stopped() || self.undo.as_ref().is_some_and(|undo| undo.only.contains_key(&whole()))
    }

    /// Whether a part does not begin again before it is taken back. Where all is, it is only once everything has ended.
    #[must_use]
    pub fn begins_after_undo(&self, part: &Part) -> bool {
        !self.undoes_all(false) && self.takes_back(part)
    }

    /// Whether a part is being taken back: it may have been.
    #[must_use]
    pub fn is_taken_back(&self, part: &Part) -> bool {
        self.progress(part).is_some_and(|progress| matches!(progress.back, Some(Back::Acting(_))))
    }

    /// Whether a part may have been taken back, by an attempt that nobody saw the end of.
    #[must_use]
    pub fn may_be_back(&self, part: &Part) -> bool {
        self.progress(part).is_some_and(|progress| progress.back_unknown)
    }

    /// Whether of all that is stuck nobody knows whether it stands.
    #[must_use]
    pub fn stuck_is_unknown(&self) -> bool {
        let mut stuck = self.parts().filter(|(_, progress)| progress.back == Some(Back::Stuck)).peekable();
        stuck.peek().is_some() && stuck.all(|(_, progress)| progress.back_unknown)
    }

    /// Parts that stand and can be taken back.
    pub fn standing(&self) -> impl Iterator<Item = Part> {
        self.parts().filter(|(_, progress)| progress.back.as_ref().is_some_and(Back::stands)).map(|(part, _)| part)
    }

    /// What a part that stands did, by the latest of its attempts.
    #[must_use]
    pub fn acted(&self, part: &Part) -> Option<&StepIntended> {
        self.acts(part).next()
    }

    /// All that a part that stands may have done, the latest first: what it did later lies over what it did before.
    pub fn acts(&self, part: &Part) -> impl Iterator<Item = &StepIntended> {
        let acted = self.progress(part).map(|progress| &progress.acted);
        acted.into_iter().flatten().rev().map(|act| &*act.intent)
    }

    /// The key of what a part does next, or is doing: another once the end of what it did before is known.
    #[must_use]
    pub fn key(&self, part: &Part) -> IdempotencyKey {
        let known = self.progress(part).map_or(0, |progress| progress.known);
        IdempotencyKey::of(&self.started.run, part).after(known)
    }

    /// The keys of taking back what a part did, in the order of [`Run::acts`].
    pub fn undo_keys(&self, part: &Part) -> impl Iterator<Item = IdempotencyKey> {
        let key = IdempotencyKey::of(&self.started.run, part);
        let acted = self.progress(part).map(|progress| &progress.acted);
        acted.into_iter().flatten().rev().map(move |act| key.clone().after(act.after).undo())
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = (Part, &Progress)> {
        self.steps.iter().flat_map(|(step, state)| parts_of(step, state))
    }

    /// What is to be taken back now; false when nothing is left.
    pub(super) fn next_back(&self, undo: &Undoing, now: Stamp, out: &mut Vec<Command>) -> bool {
        let wanted = self.index.standing.iter().filter(|part| undo.wants(part));
        let left: Vec<(&Part, &Back)> =
            wanted.filter_map(|part| Some((part, self.progress(part)?.back.as_ref()?))).collect();
        let steps: BTreeSet<&StepId> = left.iter().map(|(part, _)| &part.step).collect();
        let below = self.after_any_of(&steps);
        for (part, back) in &left {
            if below.contains(&part.step) {
                continue;
            }
            let attempt = match back {
                Back::Stands => 1,
                Back::Acting(attempt) => *attempt,
                Back::Waiting(tried, at) if *at <= now => tried + 1,
                _ => continue,
            };
            out.push(Command::TakeBack { part: (*part).clone(), attempt });
        }
        !left.is_empty()
    }

    /// Of these, the steps that another of them came after, directly or not.
    pub(super) fn after_any_of<'a>(&self, steps: &BTreeSet<&'a StepId>) -> BTreeSet<&'a StepId> {
        let mut before = BTreeSet::new();
        let mut todo: Vec<&StepId> = steps.iter().copied().collect();
        let mut seen: BTreeSet<&StepId> = BTreeSet::new();
        while let Some(step) = todo.pop() {
            let needs = self.playbook.step(step).map(|step| &step.needs);
            for need in needs.into_iter().flatten() {
                before.extend(steps.get(need).copied());
                if seen.insert(need) {
                    todo.push(need);
                }
            }
        }
        before
    }

    /// How a run has ended whose taking back is over.
    pub(super) fn back_verdict(&self) -> (RunState, String) {
        let named = |wanted: &dyn Fn(&Back, bool) -> bool| {
            let is_wanted =
                |progress: &Progress| progress.back.as_ref().is_some_and(|back| wanted(back, progress.back_unknown));
            let parts = self.parts().filter(|(_, progress)| is_wanted(progress));
            let names: Vec<String> = parts.map(|(part, _)| format!("`{part}`")).collect();
            names.join(", ")
        };
        let stuck = named(&|back, unknown| *back == Back::Stuck && !unknown);
        let maybe = named(&|back, unknown| *back == Back::Stuck && unknown);
        let stuck = (!stuck.is_empty()).then(|| format!("{stuck} could not be taken back, and stands"));
        let maybe = (!maybe.is_empty()).then(|| format!("{maybe} {STUCK_UNKNOWN}"));
        let said: Vec<String> = stuck.into_iter().chain(maybe).collect();
        if !said.is_empty() {
            return (RunState::Stuck, said.join("; "));
        }
        let stands = named(&|back, _| back.stands());
        match (self.ended, stands.is_empty()) {
            (Some(before), false) => (before, format!("{stands} still stands")),
            _ => (RunState::Undone, "nothing that it did and can be undone stands any more".to_owned()),
        }
    }
}

impl Progress {
    /// Each intent that may have been done is taken back. One that was made anew as it was need not be twice.
    pub(super) fn may_have_acted(&mut self, intent: Box<StepIntended>) {
        if !self.acted.iter().any(|act| does_the_same(&act.intent, &intent)) {
            self.acted.push(Act { intent, after: self.known });
        }
    }

    /// What it does next has another key.
    pub(super) fn end_is_known(&mut self) {
        self.known += 1;
        self.open = false;
    }

    /// Nothing of what it did stands any more. What it does when it goes on is then what it did.
    fn is_gone(&mut self) {
        // Whoever keeps keys would answer what is done anew with the end of what is gone. An attempt keeps the key it has.
        if self.open && !matches!(self.phase, Phase::Acting(_)) {
            self.end_is_known();
        }
        // Who is just taking it back says how that ended.
        let goes_on = !matches!(self.phase, Phase::Ended(_)) && !matches!(self.back, Some(Back::Acting(_)));
        self.back = if goes_on { None } else { Some(Back::Over) };
        if goes_on {
            self.acted.clear();
        }
    }

    /// How it stands after it was taken back; how it had ended by itself is not forgotten.
    fn ended_back(&mut self, outcome: Outcome) {
        if let Phase::Ended(before) = std::mem::replace(&mut self.phase, Phase::Ended(outcome)) {
            self.before_back.get_or_insert(before);
        }
    }
}

impl Back {
    pub(super) fn is_left(&self) -> bool {
        matches!(self, Self::Stands | Self::Acting(_) | Self::Waiting(..))
    }

    pub(super) fn stands(&self) -> bool {
        self.is_left() || *self == Self::Stuck
    }
}

/// Whether taking back one takes back the other.
fn does_the_same(one: &StepIntended, other: &StepIntended) -> bool {
    let (plan, others) = (&one.plan, &other.plan);
    one.action == other.action
        && plan.targets == others.targets
        && plan.calls == others.calls
        && plan.before == others.before
}

/// A step as a whole, then its items.
pub(super) fn parts_of<'s>(step: &'s StepId, state: &'s StepState) -> impl Iterator<Item = (Part, &'s Progress)> {
    let whole = std::iter::once((Part { step: step.clone(), item: None }, &state.whole));
    let items = state.items.iter().flatten().enumerate();
    whole.chain(items.map(|(at, (_, progress))| (part_of(step, at), progress)))
}
