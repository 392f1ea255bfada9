//! Hashing for tables of small keys that many events look into: a multiplication a word, over a seed of this process's own.
//!
//! Owns no table. Keeps true: who chooses the keys cannot foresee which of them meet.

use crate::told::Token;
use std::hash::{BuildHasherDefault, Hasher};

/// For `HashMap` and `HashSet`.
pub type Seeded = BuildHasherDefault<Sum>;

/// A sum that grows.
#[derive(Clone, Debug)]
pub struct Sum(Token);

impl Default for Sum {
    fn default() -> Self {
        Self(Token::new(0))
    }
}

impl Hasher for Sum {
    fn finish(&self) -> u64 {
        self.0.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = self.0.with_bytes(bytes);
    }

    fn write_u32(&mut self, n: u32) {
        self.0 = self.0.with(n.into());
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = self.0.with(n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    #[test]
    fn neighbours_spread_in_both_ends_of_the_sum() {
        let state = Seeded::default();
        let sums: Vec<u64> = (0..4096u32).map(|pid| state.hash_one((u64::from(pid) / 8, pid))).collect();
        let places: HashSet<u64> = sums.iter().map(|sum| sum & 4095).collect();
        let tags: HashSet<u64> = sums.iter().map(|sum| sum >> 57).collect();
        // By chance it is 2,589 of them, and all of these.
        assert!(places.len() > 2_200 && tags.len() == 128, "{} {}", places.len(), tags.len());
    }
}
