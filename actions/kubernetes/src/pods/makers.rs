//! What makes the pods of this node, as the cluster said it last: who is at the top of it, by which labels it goes, and how many it wants.
//!
//! Owns the answers, and when they are asked for again. Pure: the time comes in. Keeps true: what was counted is believed for [`FRESH`], and not
//! where the watch shows more of its pods as ready than the cluster has counted: one of the two is late then. What was not answered is not
//! there.

use crate::owner::{Owner, Owners};
use quell_model::Name;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What was counted is believed for so long: an answer and the next that was late.
const FRESH: Duration = Duration::from_secs(90);
/// It is counted again after so long, where it has several ready pods on this node: of one that has one alone none would stay here.
const COUNTED_AGAIN: Duration = Duration::from_secs(60);
/// What was not answered, or is late, is asked again after so long.
const ASK_AGAIN: Duration = Duration::from_secs(15);
/// What may not be read, or knows no count: who grants it may do so later.
const UNCOUNTED_AGAIN: Duration = Duration::from_secs(300);

/// What says that it makes pods, as a pod names it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Maker {
    pub(super) namespace: Name,
    pub(super) by: Owner,
}

#[derive(Debug)]
struct Asked {
    /// Last.
    at: Instant,
    owners: Option<Owners>,
    /// When what is believed was asked for.
    counted: Option<Instant>,
}

impl Asked {
    fn is_due(&self, ready: usize, now: Instant) -> bool {
        let again = match &self.owners {
            Some(owners) if owners.uncounted => Some(UNCOUNTED_AGAIN),
            Some(_) if self.counted.is_some() => (ready > 1).then_some(COUNTED_AGAIN),
            _ => Some(ASK_AGAIN),
        };
        again.is_some_and(|again| now.duration_since(self.at) >= again)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct AllMakers(Mutex<HashMap<Maker, Asked>>);

impl AllMakers {
    /// Of so many of these the ones that are to be asked after now, each with how many ready pods of it are here; they wait for the answer from
    /// now on. What makes none of them is forgotten.
    pub(super) fn asks(&self, there: &HashMap<Maker, usize>, most: usize, now: Instant) -> Vec<Maker> {
        let mut all = self.all();
        all.retain(|maker, _| there.contains_key(maker));
        let due = there.iter().filter(|(maker, ready)| all.get(*maker).is_none_or(|one| one.is_due(**ready, now)));
        let due: Vec<Maker> = due.map(|(maker, _)| maker.clone()).take(most).collect();
        for maker in &due {
            all.entry(maker.clone()).or_insert_with(|| Asked { at: now, owners: None, counted: None }).at = now;
        }
        due
    }

    /// The cluster has answered, while so many ready pods of it were here.
    pub(super) fn answered(&self, maker: &Maker, owners: Owners, ready: usize) {
        let counts = |(_, counted): (u32, u32)| usize::try_from(counted).is_ok_and(|counted| counted >= ready);
        let is_late = ready > 1 && !owners.replicas.is_none_or(counts);
        if let Some(one) = self.all().get_mut(maker) {
            one.counted = (!is_late).then_some(one.at);
            one.owners = Some(owners);
        }
    }

    /// What is behind it, and whether how many there are is to be believed yet; none: nobody said.
    pub(super) fn of(&self, maker: &Maker, now: Instant) -> Option<(Owners, bool)> {
        let all = self.all();
        let one = all.get(maker)?;
        let is_fresh = one.counted.is_some_and(|at| now.duration_since(at) <= FRESH);
        Some((one.owners.clone()?, is_fresh))
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Maker, Asked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maker(name: &str) -> Maker {
        let by = Owner { kind: "ReplicaSet".into(), name: name.into(), uid: name.into() };
        Maker { namespace: "shop".into(), by }
    }

    fn counted(wanted: u32, ready: u32) -> Owners {
        Owners { replicas: Some((wanted, ready)), ..Owners::default() }
    }

    #[test]
    fn what_was_counted_is_believed_for_a_while_and_counted_again_where_several_are_here() {
        let (all, begin) = (AllMakers::default(), Instant::now());
        let (one, two) = (maker("one"), maker("two"));
        let there = HashMap::from([(one.clone(), 1), (two.clone(), 2)]);
        assert_eq!(all.asks(&there, 1, begin).len(), 1);
        assert_eq!(all.asks(&there, 9, begin).len(), 1, "the other");
        assert_eq!(all.asks(&there, 9, begin + ASK_AGAIN).len(), 2, "what was not answered is asked again");
        assert_eq!(all.of(&two, begin), None);
        let asked = begin + ASK_AGAIN;
        all.answered(&one, counted(1, 1), 1);
        all.answered(&two, counted(3, 2), 2);
        assert_eq!(all.of(&two, asked + FRESH), Some((counted(3, 2), true)));
        assert_eq!(all.of(&two, asked + FRESH + Duration::from_millis(1)), Some((counted(3, 2), false)));
        assert!(all.asks(&there, 9, asked + ASK_AGAIN).is_empty());
        assert_eq!(all.asks(&there, 9, asked + COUNTED_AGAIN), [two.clone()], "of the other one alone is here");
        assert_eq!(all.of(&two, asked + COUNTED_AGAIN), Some((counted(3, 2), true)), "until the answer is there");
        all.asks(&HashMap::from([(one.clone(), 1)]), 9, asked + COUNTED_AGAIN);
        assert_eq!(all.of(&two, asked), None, "nothing here is of it any more");
    }

    #[test]
    fn a_watch_that_shows_more_than_the_cluster_counts_is_not_believed() {
        let (all, now) = (AllMakers::default(), Instant::now());
        let it = maker("it");
        let there = HashMap::from([(it.clone(), 2)]);
        all.asks(&there, 9, now);
        all.answered(&it, counted(2, 1), 2);
        assert_eq!(all.of(&it, now), Some((counted(2, 1), false)));
        assert_eq!(all.asks(&there, 9, now + ASK_AGAIN).len(), 1);
        all.answered(&it, counted(2, 2), 2);
        assert_eq!(all.of(&it, now + ASK_AGAIN), Some((counted(2, 2), true)));
        let unknown = Owners { uncounted: true, ..Owners::default() };
        all.answered(&it, unknown, 2);
        assert!(all.asks(&there, 9, now + ASK_AGAIN + COUNTED_AGAIN).is_empty(), "it may not be read");
    }
}
