//! Periods: sets of moments.
//!
//! Owns what two sets have in common. Keeps true: a set is in order, and its periods neither touch nor are empty.

use jiff::Timestamp;
use serde::Serialize;

/// A stretch of time, [from, to).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Period {
    /// From then on.
    pub from: Timestamp,
    /// Up to then.
    pub to: Timestamp,
}

impl Period {
    /// What is in both.
    pub(super) fn common(self, other: Self) -> Option<Self> {
        let (from, to) = (self.from.max(other.from), self.to.min(other.to));
        (from < to).then_some(Self { from, to })
    }
}

/// Adds a period that begins no earlier than those that are there.
pub(super) fn add(set: &mut Vec<Period>, period: Period) {
    match set.last_mut() {
        Some(last) if last.to >= period.from => last.to = last.to.max(period.to),
        _ => set.push(period),
    }
}

/// What is in both sets.
pub(super) fn common(one: &[Period], other: &[Period]) -> Vec<Period> {
    let (mut found, mut a, mut b) = (Vec::new(), 0, 0);
    while let (Some(left), Some(right)) = (one.get(a), other.get(b)) {
        found.extend(left.common(*right));
        *if left.to <= right.to { &mut a } else { &mut b } += 1;
    }
    found
}

/// What is in every one of them; in none, this.
pub(super) fn in_all(whole: Period, sets: impl IntoIterator<Item = Vec<Period>>) -> Vec<Period> {
    sets.into_iter().fold(vec![whole], |so_far, set| common(&so_far, &set))
}
