//! The ways of the step at hand: which have told somebody, which were tried, and when one is tried again.
//!
//! Owns what is asked of the pages when one of them was put off or refused. Never changes any. Keeps true: no pause is shorter than what
//! the other side asked for.

use super::{Outbox, PUT_OFF, Stage};
use quell_model::Stamp;
use quell_model::notice::{Page, PageKey, To, Way};
use std::collections::BTreeSet;
use std::time::Duration;

/// The first pause before a page is tried again; each further one is twice as long.
pub(super) const FIRST: Duration = Duration::from_secs(2);
/// No pause is longer, but where the other side asks for it.
pub(super) const LONGEST: Duration = Duration::from_secs(60);
/// The longest pause of a last resort, and after the end.
pub(crate) const SELDOM: Duration = Duration::from_secs(15 * 60);

impl Outbox {
    /// Whether another page of the step at hand than this tells somebody, or still may.
    #[must_use]
    pub fn is_told_otherwise(&self, key: &PageKey, to: &To) -> bool {
        let mut others = self.calls().filter(|(other, _)| *other != key);
        others.any(|(_, other)| other.page.tells(to) && other.stage != Stage::Failed)
    }

    /// Whether another page of the step at hand than this tells somebody, or may before long: it is not put off itself.
    #[must_use]
    pub fn is_told_soon(&self, key: &PageKey, to: &To, soon: Stamp) -> bool {
        let mut others = self.calls().filter(|(other, outgoing)| *other != key && outgoing.page.tells(to));
        others.any(|(_, other)| match other.stage {
            Stage::Went => true,
            Stage::Waits { attempts, from } => attempts < PUT_OFF && from <= soon,
            Stage::Failed => false,
        })
    }

    /// Whether the step at hand, or the end, calls whom this page is for by its way.
    #[must_use]
    pub fn calls_there(&self, page: &Page) -> bool {
        self.calls().any(|(_, call)| call.page.to == page.to && call.page.way == page.way)
    }

    /// Whether a call of the step at hand went out by a channel: the terminal is nobody's.
    #[must_use]
    pub fn is_anybody_told(&self) -> bool {
        self.calls().any(|(_, outgoing)| outgoing.page.way != Way::Console && outgoing.stage == Stage::Went)
    }

    /// The ways to somebody that the step at hand has tried.
    #[must_use]
    pub fn tried(&self, to: &To) -> BTreeSet<&Way> {
        self.calls().filter(|(_, other)| other.page.tells(to)).map(|(_, other)| &other.page.way).collect()
    }

    /// How long after this attempt a page is tried again: not before the other side says.
    #[must_use]
    pub fn pause(&self, key: &PageKey, attempt: u32, after: Option<Duration>) -> Duration {
        // Nobody comes after the last resort: it is tried for ever, and more and more seldom.
        let longest = if self.is_exhausted() || self.is_over() { SELDOM } else { LONGEST };
        let doubled = FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(longest);
        // Up to a quarter more, by the key: what failed together is not tried again together, but for what goes together.
        let together = self.pages.get(key).and_then(|outgoing| outgoing.together.as_ref());
        let sum = together.unwrap_or(key);
        let sum = sum.as_str().bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
        (doubled + doubled / 4 * (sum % 256) / 256).max(after.unwrap_or_default())
    }
}
