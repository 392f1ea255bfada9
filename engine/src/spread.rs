//! How spans of time are spread: so many up to each bound.
//!
//! Owns the bounds. Adding is a search among some words, and allocates nothing: it is done where nothing may wait.

use std::time::Duration;

/// The bounds: from what a kill takes to what a person takes.
pub const BOUNDS: [Duration; 20] = [
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(3_600),
];

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// How many lie at or below each bound and above the one before; the last above all.
    counts: [u64; BOUNDS.len() + 1],
    sum: Duration,
}

impl Spread {
    /// Takes in one.
    pub fn add(&mut self, span: Duration) {
        let at = BOUNDS.partition_point(|bound| *bound < span);
        self.counts[at] += 1;
        self.sum = self.sum.saturating_add(span);
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// Each bound, and how many lie at or below it.
    pub fn up_to(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let mut all = 0;
        BOUNDS.iter().zip(&self.counts).map(move |(bound, count)| {
            all += count;
            (*bound, all)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_at_a_bound_lies_below_it_and_one_above_all_is_counted_too() {
        let mut spread = Spread::default();
        let spans = [Duration::ZERO, BOUNDS[3], BOUNDS[3] + Duration::from_nanos(1), Duration::from_secs(100_000)];
        spans.into_iter().for_each(|span| spread.add(span));
        let up_to: Vec<u64> = spread.up_to().map(|(_, count)| count).collect();
        assert_eq!(up_to[..5], [1, 1, 1, 2, 3]);
        assert_eq!((up_to[19], spread.count()), (3, 4));
        assert_eq!(spread.sum(), spans.into_iter().sum::<Duration>());
        assert!(BOUNDS.is_sorted());
    }
}
