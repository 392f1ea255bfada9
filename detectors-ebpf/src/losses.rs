//! What the kernel side counted as lost, as differences since the last look.
//!
//! Owns what was told of each counter. Invariant: what is told of a counter adds up to what it shows, so that seen and lost
//! together are all that happened. A counter that has stood still for long gives up its place when places grow scarce.

use crate::load::{Loaded, LostKey};
use crate::record;
use quell_model::Class;
use std::collections::HashMap;

/// The kernel side has twice as many places (bpf/maps.h, LOST).
const CROWDED: usize = 512;
/// A counter that stood still for so long is taken for done with.
const STALE_NS: u64 = 600 * 1_000_000_000;
/// All counters are looked through at least so often, whatever their sum says.
const WHOLE_NS: u64 = 5_000_000_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    told: HashMap<LostKey, Told>,
    sum: u64,
    whole: u64,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    count: u64,
    at: u64,
}

impl Losses {
    /// What was lost since the last look; `last` when there will be no other.
    pub(crate) fn look(&mut self, loaded: &mut Loaded, now: u64, last: bool) -> Vec<(LostKey, u64)> {
        let sum = loaded.losses();
        let due = now.saturating_sub(self.whole) >= WHOLE_NS;
        if sum == self.sum && !due && !last {
            return Vec::new();
        }
        self.sum = sum;
        self.whole = now;
        let more = self.differences(&loaded.lost(), now);
        for key in self.stale(now) {
            loaded.forget_lost(key);
            self.told.remove(&key);
        }
        more
    }

    fn differences(&mut self, counts: &[(LostKey, u64)], now: u64) -> Vec<(LostKey, u64)> {
        let mut more = Vec::new();
        for &(key, count) in counts {
            let told = self.told.entry(key).or_insert(Told { count: 0, at: now });
            if count > told.count {
                more.push((key, count - told.count));
                *told = Told { count, at: now };
            }
        }
        more
    }

    /// Those that may go, once there are many. The one that stands for the rest never does.
    fn stale(&self, now: u64) -> Vec<LostKey> {
        if self.told.len() <= CROWDED {
            return Vec::new();
        }
        let is_stale = |(key, told): &(&LostKey, &Told)| key.cgroup != 0 && now.saturating_sub(told.at) >= STALE_NS;
        self.told.iter().filter(is_stale).map(|(key, _)| *key).collect()
    }
}

impl LostKey {
    /// The class of the events that were lost.
    pub(crate) fn class(self) -> Class {
        match self.kind {
            record::KIND_FORK => Class::ProcessFork,
            record::KIND_EXIT => Class::ProcessTermination,
            record::KIND_CRED => Class::Credentials,
            record::KIND_NET => Class::NetworkConnection,
            record::KIND_FILE => Class::FileEvent,
            record::KIND_ACCESS => Class::ProcessAccess,
            _ => Class::ProcessCreation,
        }
    }

    /// The reason, in a word.
    pub(crate) fn word(self) -> &'static str {
        match self.why {
            0 => "ring_full",
            1 => "cgroup_budget",
            _ => "cgroup_share",
        }
    }

    /// Tells the losses of one look apart, as a thread id tells other events of one moment.
    pub(crate) fn short(self) -> u32 {
        u32::from(self.kind) << 29 | u32::from(self.why) << 27 | u32::try_from(self.cgroup & 0x7ff_ffff).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(cgroup: u64, why: u8) -> LostKey {
        LostKey { kind: record::KIND_FILE, why, cgroup }
    }

    #[test]
    fn what_is_told_adds_up_to_what_the_counters_show() {
        let mut losses = Losses::default();
        assert_eq!(losses.differences(&[(key(7, 0), 0), (key(7, 1), 3)], 1), [(key(7, 1), 3)]);
        assert_eq!(losses.differences(&[(key(7, 0), 2), (key(7, 1), 3)], 2), [(key(7, 0), 2)]);
        assert_eq!(losses.differences(&[(key(7, 0), 2), (key(7, 1), 10)], 3), [(key(7, 1), 7)]);
        assert_ne!(key(7, 0).short(), key(7, 1).short());
    }

    #[test]
    fn only_what_stood_still_gives_up_its_place_and_only_when_they_are_scarce() {
        let mut losses = Losses::default();
        let counts: Vec<(LostKey, u64)> = (0..=CROWDED as u64).map(|cgroup| (key(cgroup, 1), 1)).collect();
        losses.differences(&counts[..CROWDED], 0);
        assert!(losses.stale(STALE_NS).is_empty());
        losses.differences(&counts, 1);
        losses.differences(&[(key(5, 1), 2)], 2);
        let stale = losses.stale(STALE_NS);
        assert_eq!(stale.len(), CROWDED - 2, "not the one for the rest, not the last two that moved");
        assert!(!stale.contains(&key(0, 1)) && !stale.contains(&key(5, 1)));
    }
}
