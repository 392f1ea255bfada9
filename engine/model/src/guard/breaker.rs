//! The breaker: a playbook that would act on too many different images in a short time has probably gone wrong.
//!
//! While it is open the playbook asks before it acts, but in cgroups in which it has acted already: there it goes on against the
//! images that it has acted on, and against others with what can be undone. Whoever opens it on purpose, with ever new
//! programs, frees none of the old ones, and stays frozen where they are. It closes after a quiet time, or when a person
//! says so; what the playbook acted on before that opens it no second time. One that a person opened lets nothing through
//! unasked, and stays open until a person closes it.

use super::Ask;
use super::memory::{APART, Memory, cgroups, images};
use crate::action::Plan;
use crate::ids::Name;
use crate::time::Stamp;
use std::time::Duration;

/// When a playbook is believed to have gone wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// More different images than this …
    pub images: usize,
    /// … within this long open it.
    pub within: Duration,
    /// It closes after this long.
    pub quiet: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { images: 10, within: Duration::from_secs(10 * 60), quiet: Duration::from_secs(30 * 60) }
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
        let images = images(plan);
        let is_old = !images.is_empty() && memory.images_and_new(ask.playbook, ask.now, back, &images).1 == 0;
        let goes_on =
            (is_old || ask.action.undoable) && memory.has_acted_in(ask.playbook, ask.now, back, cgroups(plan));
        (!goes_on).then_some(why)
    }

    /// Why this plan opens it, if it does: it brings an image that is new, and past the bound.
    #[must_use]
    pub fn opening(&self, memory: &Memory, ask: &Ask<'_>, plan: &Plan) -> Option<String> {
        if plan.already || self.is_open(memory, ask.playbook, ask.now) {
            return None;
        }
        // What a person has seen and found good counts no more.
        let since_closed = memory.closed(ask.playbook).map(|at| ask.now.since(at));
        let within = since_closed.map_or(self.within, |since| since.min(self.within));
        let (known, new) = memory.images_and_new(ask.playbook, ask.now, within, &images(plan));
        (new > 0 && known + new > self.images.min(APART - 1)).then(|| {
            format!(
                "`{}` would act on more than {} different images within {:?}: the breaker opens",
                ask.playbook, self.images, self.within
            )
        })
    }

    /// Whether it stands open for a playbook now.
    #[must_use]
    pub fn is_open(&self, memory: &Memory, playbook: &Name, now: Stamp) -> bool {
        memory.opened(playbook).is_some_and(|opened| opened.by_hand || now.since(opened.at) < self.quiet)
    }
}
