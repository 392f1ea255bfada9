//! Which steps and branches of a playbook the cases reached.
//!
//! Owns the sums over cases. Steps count; branches are listed.

use super::story::Story;
use quell_model::playbook::{Playbook, When};
use std::collections::BTreeMap;

/// What was reached of a playbook.
#[derive(Clone, Debug)]
pub struct Coverage {
    steps: BTreeMap<String, bool>,
    branches: Vec<Branch>,
}

/// A way that a run can take.
#[derive(Clone, Debug)]
pub struct Branch {
    /// Which step; `on:` is the trigger.
    pub step: String,
    /// Which way: `if` is false.
    pub way: &'static str,
    /// Whether a case went there.
    pub is_reached: bool,
}

impl Coverage {
    /// Nothing was reached yet.
    #[must_use]
    pub fn of(playbook: &Playbook) -> Self {
        let mut branches = Vec::new();
        if playbook.on.condition.is_some() {
            let way = |way| Branch { step: TRIGGER.to_owned(), way, is_reached: false };
            branches.extend([way(IF_TRUE), way(IF_FALSE)]);
        }
        for step in &playbook.steps {
            let mut add = |way| branches.push(Branch { step: step.id.as_str().to_owned(), way, is_reached: false });
            if step.condition.is_some() {
                add(IF_TRUE);
                add(IF_FALSE);
            }
            if step.when != When::Success {
                add(AFTER_FAILURE);
            }
            if step.for_each.is_some() {
                add(AN_ITEM);
            }
            if step.retry.attempts > 1 {
                add(RETRY);
            }
        }
        let steps = playbook.steps.iter().map(|step| (step.id.as_str().to_owned(), false)).collect();
        Self { steps, branches }
    }

    /// Takes in which ways the trigger's `if` went.
    pub(super) fn add_trigger(&mut self, was: TriggerWas) {
        for branch in self.branches.iter_mut().filter(|branch| branch.step == TRIGGER) {
            branch.is_reached |= if branch.way == IF_TRUE { was.true_once } else { was.false_once };
        }
    }

    /// Takes in what a case reached.
    pub(super) fn add(&mut self, playbook: &Playbook, story: &Story) {
        for (id, step) in &story.steps {
            if let Some(reached) = self.steps.get_mut(id) {
                *reached |= step.is_reached();
            }
        }
        for branch in &mut self.branches {
            let Some(step) = story.steps.get(&branch.step) else { continue };
            let needs = || playbook.step(&branch.step.as_str().into()).into_iter().flat_map(|s| &s.needs);
            let ended_badly = |id: &str| story.steps.get(id).and_then(|s| s.outcome).is_some_and(|o| !o.is_met());
            branch.is_reached |= match branch.way {
                IF_TRUE => step.is_reached(),
                IF_FALSE => step.not_wanted,
                AFTER_FAILURE => step.is_reached() && needs().any(|need| ended_badly(need.as_str())),
                AN_ITEM => step.items > 0,
                _ => step.attempts > 1,
            };
        }
    }

    /// Steps that no case reached.
    pub fn missed_steps(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter(|(_, reached)| !**reached).map(|(id, _)| id.as_str())
    }

    /// Branches, all of them.
    #[must_use]
    pub fn branches(&self) -> &[Branch] {
        &self.branches
    }

    /// How many steps there are.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps.len()
    }
}

/// Which ways a trigger's `if` went.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TriggerWas {
    pub(super) true_once: bool,
    pub(super) false_once: bool,
}

/// What branches of the trigger are told under: no step can be called so.
const TRIGGER: &str = "on:";
const IF_TRUE: &str = "`if` true";
const IF_FALSE: &str = "`if` false";
const AFTER_FAILURE: &str = "after a need that failed";
const AN_ITEM: &str = "an item of its list";
const RETRY: &str = "a second attempt";
