//! How many have to stay: of the ready replicas of an owner, and of the nodes of a cluster.
//!
//! Owns what a plan takes of each, and how many may be taken. Pure: what was taken of late, and what the cluster may not show yet, is told by
//! the memory. Keeps true: whatever is planned and done in whichever order, what is left is never below the floor; what nobody could
//! count is not enough; an object counts once by its uid, however often it is acted on.

use super::limits::EACH;
use super::memory::Memory;
use super::object::group;
use crate::action::{Plan, Replicas, TargetFacts};
use crate::time::Stamp;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// For so long after an act has ended a cluster may not show what was taken: statuses are written by controllers, after the fact.
pub(super) const UNSEEN: Duration = Duration::from_secs(60);
/// And for so long what was wanted before an act on the owner itself is what its share is of: else it would be halved time and again.
pub(super) const WAS_WANTED: Duration = Duration::from_secs(3600);

/// A share of a group, or so many of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Share {
    /// Of a hundred.
    Percent(u32),
    /// So many.
    Count(u32),
}

impl Share {
    /// How many of `all` have to stay: rounded up, and one at least unless it is nothing at all.
    #[must_use]
    pub fn floor(self, all: u32) -> u32 {
        match self {
            Self::Percent(0) => 0,
            // At most a hundred of a hundred: it fits again.
            Self::Percent(percent) => {
                u32::try_from((u64::from(all) * u64::from(percent)).div_ceil(100)).unwrap_or(all).max(1)
            }
            Self::Count(count) => count,
        }
    }

    /// How many of `all` may be out: rounded down, and one at least unless it is nothing at all.
    #[must_use]
    pub fn most(self, all: u32) -> u32 {
        match self {
            Self::Percent(0) => 0,
            Self::Percent(percent) => u32::try_from(u64::from(all) * u64::from(percent) / 100).unwrap_or(all).max(1),
            Self::Count(count) => count,
        }
    }

    fn is_nothing(self) -> bool {
        matches!(self, Self::Percent(0) | Self::Count(0))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Count(count) => write!(f, "{count}"),
        }
    }
}

/// What has to stay.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MinReady {
    /// Of the replicas of an owner, by action and [`EACH`].
    pub rows: BTreeMap<String, Share>,
    /// So many nodes of a cluster may be out of use at a time, by quell and by others; none: as many as there are.
    pub nodes: Option<Share>,
}

/// What is taken of a group by one object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Taken {
    /// The group: an owner's replicas, or a cluster's nodes.
    pub(super) group: String,
    /// Which of it.
    pub(super) uid: String,
    /// So many.
    pub(super) takes: u32,
    /// Of an owner that is acted on itself, how many were wanted.
    pub(super) was_wanted: Option<u32>,
}

/// What a plan takes, of each group of which it takes anything.
pub(super) fn taken(plan: &Plan) -> Vec<Taken> {
    let each = plan.targets.iter().filter_map(|target| {
        let TargetFacts::Object { resource, uid, replicas: Some(of), .. } = &target.facts else { return None };
        let is_owner = !matches!(resource.as_str(), "pods" | "nodes");
        let was_wanted = is_owner.then_some(of.wanted.max(of.ready));
        let group = group(&target.facts)?;
        (of.takes > 0).then(|| Taken { group, uid: uid.clone(), takes: of.takes, was_wanted })
    });
    each.collect()
}

/// A group as a plan found it, and what the plan takes of it.
struct Asked<'p> {
    label: &'p str,
    owner: String,
    is_nodes: bool,
    uids: BTreeSet<&'p str>,
    found: Replicas,
}

fn asked(plan: &Plan) -> BTreeMap<String, Asked<'_>> {
    let mut all: BTreeMap<String, Asked<'_>> = BTreeMap::new();
    for target in &plan.targets {
        let TargetFacts::Object { resource, uid, replicas: Some(of), owner, name, .. } = &target.facts else {
            continue;
        };
        let Some(group) = group(&target.facts).filter(|_| of.takes > 0) else { continue };
        let is_nodes = resource.as_str() == "nodes";
        let one = all.entry(group).or_insert_with(|| Asked {
            label: &target.label,
            owner: owner.clone().unwrap_or_else(|| name.clone()),
            is_nodes,
            uids: BTreeSet::new(),
            found: Replicas { takes: 0, ..*of },
        });
        // The least that any of them was told.
        one.found.wanted = one.found.wanted.max(of.wanted);
        one.found.ready = one.found.ready.min(of.ready);
        if one.uids.insert(uid) {
            one.found.takes = one.found.takes.saturating_add(of.takes);
        }
    }
    all
}

impl MinReady {
    /// What has to stay of what an action takes from.
    fn of(&self, action: &str) -> Option<Share> {
        self.rows.get(action).or_else(|| self.rows.get(EACH)).copied()
    }

    /// Of which target a plan takes too much, and why it is too much.
    pub(super) fn objection(&self, memory: &Memory, action: &str, now: Stamp, plan: &Plan) -> Option<(String, String)> {
        asked(plan).into_iter().find_map(|(group, asked)| {
            let lately = memory.taken(&group, now, &asked.uids);
            let why = if asked.is_nodes {
                nodes(self.nodes?, &asked.found, lately)
            } else {
                let wanted = asked.found.wanted.max(memory.was_wanted(&group, now));
                let found = Replicas { wanted, ..asked.found };
                replicas(self.of(action)?, (action, &asked.owner), &found, lately)
            };
            Some((asked.label.to_owned(), why?))
        })
    }
}

fn replicas(share: Share, (action, owner): (&str, &str), found: &Replicas, lately: u32) -> Option<String> {
    if share.is_nothing() {
        return None;
    }
    let Replicas { wanted, ready, takes } = *found;
    let key = "`guard.limits.min_ready`";
    if ready < takes {
        return Some(format!("nobody could count the ready replicas of {owner}, and {key} is {share} for `{action}`"));
    }
    let (floor, stay) = (share.floor(wanted.max(ready)), ready.saturating_sub(lately.saturating_add(takes)));
    let besides =
        if lately > 0 { format!(", {lately} of them were taken in the last {UNSEEN:?}") } else { String::new() };
    (stay < floor).then(|| {
        format!(
            "it would leave {stay} ready replicas of {owner} ({ready} of {wanted} are ready{besides}): \
             {key} is {share} for `{action}`, which keeps {floor}"
        )
    })
}

fn nodes(share: Share, found: &Replicas, lately: u32) -> Option<String> {
    let Replicas { wanted: all, ready, takes } = *found;
    let out = all.saturating_sub(ready).saturating_add(lately).saturating_add(takes);
    // One stays, whatever the share.
    let most = share.most(all).min(all.saturating_sub(1));
    (out > most).then(|| {
        format!("{out} of {all} nodes would be out of use: `guard.limits.nodes` is {share}, which is {most} of them")
    })
}

#[cfg(test)]
mod tests;
