//! How much one view shows, and which part of more.
//!
//! Owns the bounds. Keeps true: a view of an incident that a flood went through is as large as its bound, keeps how it
//! began and how it stands, and says how much it left out.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use utoipa::ToSchema;

/// Detections, runs, notes, losses and lines of a view, each, when nothing else is asked for.
pub const SHOWN: usize = 200;
/// No view shows more of each.
pub const MOST_SHOWN: usize = 1000;

/// What of an incident is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// So many of each list: the first half, and the last.
    pub most: usize,
    /// Only what was recorded since.
    pub since: Option<jiff::Timestamp>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { most: SHOWN, since: None }
    }
}

impl Wanted {
    /// Whether something recorded then is wanted.
    pub(super) fn is_since(&self, at: quell_model::Stamp) -> bool {
        self.since.is_none_or(|since| at.wall >= since)
    }

    /// Room for one list.
    pub(super) fn ends<T>(&self) -> Ends<T> {
        Ends::new(self.most.clamp(1, MOST_SHOWN))
    }
}

/// How many of each list are not shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct More {
    /// Detections.
    #[serde(default)]
    pub detections: u64,
    /// Runs; their lines are not in the timeline either.
    #[serde(default)]
    pub runs: u64,
    /// Notes.
    #[serde(default)]
    pub notes: u64,
    /// Lines of the timeline.
    #[serde(default)]
    pub timeline: u64,
    /// What was held back.
    #[serde(default)]
    pub held: u64,
    /// Moments of the incident.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub moments: u64,
}

/// Whether there is nothing to be said.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
pub(super) fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl More {
    /// Whether all is shown.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// The first and the last of a list.
#[derive(Clone, Debug)]
pub(super) struct Ends<T> {
    most: usize,
    first: Vec<T>,
    last: VecDeque<T>,
    /// How many are not kept.
    pub(super) left_out: u64,
}

impl<T> Ends<T> {
    fn new(most: usize) -> Self {
        Self { most, first: Vec::new(), last: VecDeque::new(), left_out: 0 }
    }

    /// One more; of those in the middle, one goes.
    pub(super) fn push(&mut self, one: T) {
        let half = self.most.div_ceil(2);
        if self.first.len() < half {
            return self.first.push(one);
        }
        self.last.push_back(one);
        if self.last.len() > self.most - half {
            self.last.pop_front();
            self.left_out += 1;
        }
    }

    /// What is kept, from the last on.
    pub(super) fn latest_first(&mut self) -> impl Iterator<Item = &mut T> {
        self.last.iter_mut().rev().chain(self.first.iter_mut().rev())
    }

    /// What is kept, in order, and how many are not.
    pub(super) fn done(self) -> (Vec<T>, u64) {
        let Self { mut first, last, left_out, .. } = self;
        first.extend(last);
        (first, left_out)
    }
}

impl<T> Extend<T> for Ends<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, all: I) {
        all.into_iter().for_each(|one| self.push(one));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_keeps_how_it_began_and_how_it_stands() {
        let of = |most: usize, all: std::ops::Range<u32>| {
            let mut ends = Wanted { most, since: None }.ends();
            ends.extend(all);
            ends.done()
        };
        assert_eq!(of(4, 0..4), (vec![0, 1, 2, 3], 0));
        assert_eq!(of(4, 0..9), (vec![0, 1, 7, 8], 5));
        assert_eq!(of(3, 0..9), (vec![0, 1, 8], 6));
        assert_eq!(of(1, 0..9), (vec![0], 8));
        assert_eq!(of(usize::MAX, 0..5000).0.len(), MOST_SHOWN);
    }
}
