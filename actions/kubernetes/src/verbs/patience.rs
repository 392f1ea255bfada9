//! How long an act waits for what it began: as long as its attempt lasts, and not when it is asked to end.
//!
//! Owns the waiting between two looks. Never looks itself. Keeps true: whoever waits by this ends before the attempt's deadline, and so says
//! itself what was done and what was not.

use quell_model::{ActionContext, Stamp};
use std::time::Duration;

/// Between two looks, at first.
const FIRST: Duration = Duration::from_millis(50);
/// And later.
const LONGEST: Duration = Duration::from_secs(1);
/// For the last look and the answer.
const MARGIN: Duration = Duration::from_millis(500);

/// The patience of one attempt.
pub(super) struct Patience<'c> {
    cx: &'c ActionContext,
    ends: Stamp,
    step: Duration,
}

impl<'c> Patience<'c> {
    /// As long as the attempt lasts.
    pub(super) fn of(cx: &'c ActionContext) -> Self {
        let left = cx.deadline.since(cx.clock.now());
        // Of an attempt that is short by itself, most of it is for waiting.
        let ends = cx.clock.now().after(left.saturating_sub(MARGIN.min(left / 4)));
        Self { cx, ends, step: FIRST }
    }

    /// No longer than this.
    pub(super) fn at_most(mut self, most: Duration) -> Self {
        self.ends = self.ends.min(self.cx.clock.now().after(most));
        self
    }

    /// How much is left.
    pub(super) fn left(&self) -> Duration {
        self.ends.since(self.cx.clock.now())
    }

    /// Waits for a while; false: it is over.
    pub(super) async fn goes_on(&mut self) -> bool {
        if self.cx.stop.is_raised() || self.left().is_zero() {
            return false;
        }
        let step = self.step.min(self.left());
        self.cx.clock.sleep_until(self.cx.clock.now().after(step)).await;
        self.step = (self.step * 2).min(LONGEST);
        !self.cx.stop.is_raised()
    }
}
