//! The breaker: a playbook that would act on too many different images in a short time has probably gone wrong.
//!
//! While it is open the playbook only plans. It closes after a quiet time, or when a person says so.

use super::Ask;
use super::memory::{Memory, images};
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
        if self.is_open(memory, ask.playbook, ask.now) {
            return Some(format!("the breaker is open for `{}`", ask.playbook));
        }
        self.would_open(memory, ask, plan).then(|| {
            format!(
                "`{}` would act on more than {} different images within {:?}: the breaker opens",
                ask.playbook, self.images, self.within
            )
        })
    }

    /// Whether it stands open for a playbook now.
    #[must_use]
    pub fn is_open(&self, memory: &Memory, playbook: &Name, now: Stamp) -> bool {
        memory.opened(playbook).is_some_and(|at| now.since(at) < self.quiet)
    }

    /// Whether this plan is the one too many.
    #[must_use]
    pub fn would_open(&self, memory: &Memory, ask: &Ask<'_>, plan: &Plan) -> bool {
        let mine = memory.recent(ask.now, self.within).filter(|act| act.playbook == *ask.playbook);
        let mut seen: BTreeSet<&str> = mine.flat_map(|act| act.images.iter().map(String::as_str)).collect();
        seen.extend(images(plan));
        seen.len() > self.images
    }
}
