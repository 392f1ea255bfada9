//! How the watch of this node's pods stands, for people and for figures.
//!
//! Owns the facts, behind one lock that is held for a moment. Keeps true: while the cluster is away it is said since when, and why; a change
//! from one to the other is logged once.

use crate::call::CallError;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How it stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PodsStatus {
    /// What this node is called in the cluster; none: that is not known yet.
    pub node: Option<String>,
    /// The cluster tells of each change.
    pub live: bool,
    /// For so long it has not: what is known may be out of date. None while it does, and before it first did.
    pub stale: Option<Duration>,
    /// Why it does not.
    pub why: Option<String>,
    /// Pods that are there, as far as is known.
    pub pods: usize,
    /// Pods that there was no room for.
    pub left_out: u64,
}

#[derive(Debug, Default)]
struct Facts {
    node: Option<String>,
    live: bool,
    /// When it was live last.
    last: Option<Instant>,
    why: Option<String>,
    pods: usize,
    left_out: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<Facts>);

impl Told {
    pub(super) fn node(&self, node: &str) {
        self.facts().node = Some(node.to_owned());
    }

    pub(super) fn is_live(&self) -> bool {
        self.facts().live
    }

    pub(super) fn live(&self) {
        let mut facts = self.facts();
        if !facts.live {
            tracing::info!(node = facts.node, pods = facts.pods, "the pods of this node are watched");
        }
        (facts.live, facts.why) = (true, None);
    }

    pub(super) fn away(&self, error: &CallError) {
        let mut facts = self.facts();
        let why = error.to_string();
        if facts.live || facts.why.is_none() {
            tracing::warn!(
                why,
                known = facts.pods,
                "the pods of this node are not watched: what was known of them stays"
            );
        }
        if facts.live {
            facts.last = Some(Instant::now());
        }
        (facts.live, facts.why) = (false, Some(why));
    }

    /// Of another cluster, or of another of its nodes, nothing was told yet.
    pub(super) fn begin_anew(&self) {
        *self.facts() = Facts::default();
    }

    pub(super) fn count(&self, pods: usize, left_out: u64) {
        let mut facts = self.facts();
        if left_out > 0 && facts.left_out == 0 {
            tracing::error!(
                left_out,
                pods,
                "there are more pods on this node than quell keeps: of the others an event has no name"
            );
        }
        (facts.pods, facts.left_out) = (pods, left_out);
    }

    pub(super) fn status(&self) -> PodsStatus {
        let facts = self.facts();
        PodsStatus {
            node: facts.node.clone(),
            live: facts.live,
            stale: if facts.live { None } else { facts.last.map(|last| last.elapsed()) },
            why: facts.why.clone(),
            pods: facts.pods,
            left_out: facts.left_out,
        }
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_since_when_what_is_known_may_be_out_of_date() {
        let told = Told::default();
        let away = CallError::Away("refused".into());
        told.away(&away);
        let begun = told.status();
        assert_eq!((begun.live, begun.stale), (false, None), "nothing was ever known");
        assert!(begun.why.is_some_and(|why| why.contains("refused")));
        told.live();
        assert_eq!((told.status().live, told.status().stale, told.status().why), (true, None, None));
        told.away(&away);
        let first = told.status().stale.unwrap();
        told.away(&away);
        assert!(told.status().stale.unwrap() >= first, "since it was live last, not since the last try");
        told.begin_anew();
        assert_eq!(told.status(), PodsStatus::default());
    }
}
