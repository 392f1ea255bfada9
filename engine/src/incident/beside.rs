//! Detections that belong to no incident: how often each came lately.
//!
//! Owns the counts, so that whoever makes thousands of them a second fills no disk: the first few are written whole, of the
//! further ones how many. Keeps true: it is bounded itself; past the bound a rule's are counted together.

use super::{Incident, Keep};
use quell_model::{Name, Stamp};
use std::collections::HashMap;
use std::time::Duration;

/// The most (rule, what it is about) that are told apart.
const MOST: usize = 1_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Beside {
    counts: HashMap<(Name, String), (u64, Stamp)>,
}

impl Beside {
    /// Counts one of a rule's, about this; gives how often it came, itself included, and how much of it is written. After
    /// it was quiet for so long it begins anew.
    pub fn count(&mut self, rule: &Name, about: String, now: Stamp, quiet: Duration) -> (u64, Keep) {
        let mut key = (rule.clone(), about);
        if self.counts.len() >= MOST && !self.counts.contains_key(&key) {
            self.counts.retain(|_, (_, last)| now.since(*last) <= quiet);
            if self.counts.len() >= MOST {
                key.1.clear();
            }
        }
        let (count, last) = self.counts.entry(key).or_insert((0, now));
        *count = if now.since(*last) > quiet { 1 } else { *count + 1 };
        *last = now;
        (*count, Incident::keep(*count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_and_then_counts_and_begins_anew_after_it_was_quiet() {
        let mut all = Beside::default();
        let at = |second: u64| Stamp { wall: jiff::Timestamp::UNIX_EPOCH, boot_ns: second * 1_000_000_000 };
        let mut count = |about: &str, second| all.count(&"r".into(), about.into(), at(second), Duration::from_secs(60));
        let kept: Vec<u64> =
            (0..9).map(|_| count("a", 0)).filter(|(_, keep)| *keep != Keep::Nothing).map(|(n, _)| n).collect();
        assert_eq!(kept, [1, 2, 3, 4, 5, 8]);
        assert_eq!(count("b", 0), (1, Keep::Whole));
        assert_eq!(count("a", 60).0, 10);
        assert_eq!(count("a", 121), (1, Keep::Whole));
        let whole = (0..2 * MOST).filter(|n| count(&format!("new-{n}"), 130).1 == Keep::Whole).count();
        assert!(whole <= MOST + 5, "{whole}");
        assert!(all.counts.len() <= MOST + 1);
    }
}
