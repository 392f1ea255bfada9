//! What was done lately: the guard counts from it. Rebuilt from the journal at a start.
//!
//! Bounded: acts older than [`KEEP`] are forgotten, and no more than [`MOST`] are kept (the oldest go first; limits
//! are far below).

use crate::action::{Plan, TargetFacts};
use crate::ids::{Name, RunId};
use crate::time::Stamp;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

/// Longest span that a limit or the breaker looks back.
pub const KEEP: Duration = Duration::from_secs(24 * 3600);
/// Acts kept: 100,000 a day is a hundred times the limit that ships.
pub const MOST: usize = 100_000;

/// One thing done.
#[derive(Clone, Debug)]
pub struct Act {
    /// When.
    pub at: Stamp,
    /// Which verb.
    pub action: Name,
    /// For which run.
    pub run: RunId,
    /// Of which playbook.
    pub playbook: Name,
    /// Ids of the named targets.
    pub targets: Vec<String>,
    /// Images of the named targets.
    pub images: Vec<String>,
}

impl Act {
    /// What an admitted plan counts as.
    #[must_use]
    pub fn of(at: Stamp, action: Name, run: RunId, playbook: Name, plan: &Plan) -> Self {
        let named = || plan.targets.iter().filter(|t| t.named);
        Self {
            at,
            action,
            run,
            playbook,
            targets: named().map(|t| t.id.clone()).collect(),
            images: images(plan).map(str::to_owned).collect(),
        }
    }
}

/// The images of a plan's named targets.
pub(super) fn images(plan: &Plan) -> impl Iterator<Item = &str> {
    plan.targets.iter().filter(|t| t.named).filter_map(|target| match &target.facts {
        TargetFacts::Process { image, .. } => image.as_deref(),
        TargetFacts::Other => None,
    })
}

/// What was done lately.
#[derive(Debug, Default)]
pub struct Memory {
    acts: VecDeque<Act>,
    by_run: HashMap<RunId, BTreeSet<String>>,
    opened: HashMap<Name, Stamp>,
}

impl Memory {
    /// Remembers an act.
    pub fn add(&mut self, act: Act) {
        let now = act.at;
        self.by_run.entry(act.run.clone()).or_default().extend(act.targets.iter().cloned());
        self.acts.push_back(act);
        while self.acts.len() > MOST || self.acts.front().is_some_and(|old| now.since(old.at) > KEEP) {
            self.acts.pop_front();
        }
    }

    /// Forgets a run that has ended.
    pub fn run_ended(&mut self, run: &RunId) {
        self.by_run.remove(run);
    }

    /// The breaker opened for a playbook (or closed: `None`).
    pub fn breaker(&mut self, playbook: &Name, opened: Option<Stamp>) {
        match opened {
            Some(at) => drop(self.opened.insert(playbook.clone(), at)),
            None => drop(self.opened.remove(playbook)),
        }
    }

    /// When the breaker opened for a playbook, if it is open.
    #[must_use]
    pub fn opened(&self, playbook: &Name) -> Option<Stamp> {
        self.opened.get(playbook).copied()
    }

    /// Playbooks whose breaker is open.
    pub fn open_breakers(&self) -> impl Iterator<Item = (&Name, &Stamp)> {
        self.opened.iter()
    }

    pub(super) fn targets_of_run<'a>(&'a self, run: &RunId, more: impl Iterator<Item = &'a str>) -> usize {
        let mut all: BTreeSet<&'a str> = self.by_run.get(run).into_iter().flatten().map(String::as_str).collect();
        all.extend(more);
        all.len()
    }

    pub(super) fn count(&self, action: &str, now: Stamp, per: Duration) -> usize {
        self.recent(now, per).filter(|act| act.action.as_str() == action).count()
    }

    pub(super) fn recent(&self, now: Stamp, per: Duration) -> impl Iterator<Item = &Act> {
        self.acts.iter().rev().take_while(move |act| now.since(act.at) <= per)
    }
}
