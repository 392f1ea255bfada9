//! Runs that have ended: that they were, in eight bytes each.
//!
//! A run that has ended is hardly ever written to again, and there are as many as there were attacks. Owns the sums of
//! their streams' names; where they stand is asked of the database. Keeps true: nothing that is in it is taken for new. Two
//! names with one sum (one pair in 10^10 among a million) would only be looked for in vain.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Past {
    hasher: RandomState,
    sums: HashSet<u64>,
}

impl Past {
    /// Whether a stream of this name goes here once it has ended.
    pub(super) fn takes(name: &str) -> bool {
        name.starts_with("run/")
    }

    pub(super) fn add(&mut self, name: &str) {
        self.sums.insert(self.hasher.hash_one(name));
    }

    pub(super) fn has(&self, name: &str) -> bool {
        !self.sums.is_empty() && self.sums.contains(&self.hasher.hash_one(name))
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.sums.remove(&self.hasher.hash_one(name));
    }
}
