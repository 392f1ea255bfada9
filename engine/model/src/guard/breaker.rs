//! The breaker: a playbook that would act on too many different images, owners or principals in a short time has probably gone wrong.
//!
//! While it is open the playbook asks before it acts, but in cgroups in which it has acted already: there it goes on against
//! what it has acted on, and against others with what can be undone. Whoever opens it on purpose, with ever new
//! programs, frees none of the old ones, and stays frozen where they are. It closes after a quiet time, or when a person
//! says so; what the playbook acted on before that opens it no second time. One that a person opened lets nothing through
//! unasked, and stays open until a person closes it.

use super::Ask;
use super::memory::{APART, Memory, Whom, cgroups, images};
use crate::action::Plan;
use crate::ids::Name;
use crate::time::Stamp;
use std::collections::BTreeSet;
use std::time::Duration;

/// When a playbook is believed to have gone wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// More different images than this …
    pub images: usize,
    /// … or owners of pods …
    pub owners: usize,
    /// … or principals of clouds and clusters, whom events name or whom acts are on …
    pub principals: usize,
    /// … within this long open it.
    pub within: Duration,
    /// It closes after this long.
    pub quiet: Duration,
}

/// Of one kind, what a plan brings and what there was before.
struct Count {
    what: &'static str,
    most: usize,
    these: usize,
    known: usize,
    new: usize,
}

impl Default for Breaker {
    fn default() -> Self {
        let (within, quiet) = (Duration::from_secs(10 * 60), Duration::from_secs(30 * 60));
        Self { images: 10, owners: 10, principals: 10, within, quiet }
    }
}

impl Breaker {
    /// Why the playbook may not act now, if it may not.
    #[must_use]
    pub fn objection(&self, memory: &Memory, ask: &Ask<'_>, plan: &Plan) -> Option<String> {
        if memory.opened(ask.playbook).is_some_and(|opened| opened.by_hand) {
            return Some(format!("the breaker of `{}` was opened by a person", ask.playbook));
        }
        let why = if self.is_open(memory, ask.playbook, ask.now) {
            format!("the breaker is open for `{}`", ask.playbook)
        } else {
            self.opening(memory, ask, plan)?
        };
        let back = self.within + self.quiet;
        let counts = self.counts(memory, ask, plan, back);
        let is_old = counts.iter().any(|count| count.these > 0) && counts.iter().all(|count| count.new == 0);
        let goes_on =
            (is_old || ask.action.undoable) && memory.has_acted_in(ask.playbook, ask.now, back, cgroups(plan));
        (!goes_on).then_some(why)
    }

    /// Why this plan opens it, if it does: it brings something that is new, and past the bound.
    #[must_use]
    pub fn opening(&self, memory: &Memory, ask: &Ask<'_>, plan: &Plan) -> Option<String> {
        if plan.already || self.is_open(memory, ask.playbook, ask.now) {
            return None;
        }
        // What a person has seen and found good counts no more.
        let since_closed = memory.closed(ask.playbook).map(|at| ask.now.since(at));
        let within = since_closed.map_or(self.within, |since| since.min(self.within));
        let counts = self.counts(memory, ask, plan, within);
        let over = counts.iter().find(|count| count.new > 0 && count.known + count.new > count.most.min(APART - 1))?;
        let (playbook, most, what, within) = (ask.playbook, over.most, over.what, self.within);
        Some(format!(
            "`{playbook}` would act on more than {most} different {what} within {within:?}: the breaker opens"
        ))
    }

    /// What it counts, each kind by itself.
    fn counts(&self, memory: &Memory, ask: &Ask<'_>, plan: &Plan, within: Duration) -> [Count; 4] {
        let (images, concerns) = (images(plan), ask.concerns.clone().with(plan));
        let of_images = memory.images_and_new(ask.playbook, ask.now, within, &images);
        let of =
            |whom, these: &BTreeSet<String>| memory.others_and_new((ask.playbook, whom), ask.now, within, these.iter());
        let count = |what, most, these, (known, new)| Count { what, most, these, known, new };
        let (owners, principals, identities) = (&concerns.owners, &concerns.principals, &concerns.identities);
        [
            count("images", self.images, images.len(), of_images),
            count("owners", self.owners, owners.len(), of(Whom::Owner, owners)),
            count("principals", self.principals, principals.len(), of(Whom::Principal, principals)),
            // Each by itself: most often the one is the other's, and by which name it is called nobody knows.
            count("identities", self.principals, identities.len(), of(Whom::Identity, identities)),
        ]
    }

    /// Whether it stands open for a playbook now.
    #[must_use]
    pub fn is_open(&self, memory: &Memory, playbook: &Name, now: Stamp) -> bool {
        memory.opened(playbook).is_some_and(|opened| opened.by_hand || now.since(opened.at) < self.quiet)
    }
}
