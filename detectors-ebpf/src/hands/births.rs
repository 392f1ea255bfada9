//! Every fork that the kernel noted, read where the kernel writes it: one pass over shared memory, no call for each.
//!
//! Owns the layout of `struct birth` in bpf/hand/hand.bpf.c. Keeps true: a place that is being written is
//! passed over, never read half; who is said to be below descends from the root by birth or by a lineage that began
//! below it.

use super::key::{Key, Keys};
use super::shared::{Plain, Shared};
use std::io;
use std::os::fd::BorrowedFd;

/// Places; a process has the one of its number modulo this (`BIRTHS`).
const PLACES: u32 = 65_536;
/// Places that one stamp stands for (`BLOCK`).
const BLOCK: u32 = 256;
/// Two CPUs write one stamp, and whoever read the time first may write last: by a host that took its CPU away, seldom by
/// more.
const SLACK_NS: u64 = 1_000_000_000;

/// How far ahead of the last birth the next ones are looked for.
const AHEAD: u32 = 2048;
/// Where the kernel begins anew (`RESERVED_PIDS`, kernel/pid.c).
const FIRST: u32 = 300;
/// How often births are gone through as they lie, before those that are left are sorted.
const PASSES: usize = 4;

/// As the kernel side lays it out.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Birth {
    pub(super) start: u64,
    pub(super) pid: u32,
    pub(super) ended: u32,
    pub(super) parent_start: u64,
    pub(super) parent: u32,
    pub(super) lineage_pid: u32,
    pub(super) lineage_start: u64,
    pub(super) lineage_exec: u32,
    pad: u32,
}

impl Birth {
    pub(super) fn key(&self) -> Key {
        Key::whole(self.pid, self.start)
    }

    fn parent(&self) -> Key {
        Key::whole(self.parent, self.parent_start)
    }

    /// The lineage it is of, where its beginning was seen.
    pub(super) fn lineage(&self) -> Option<Key> {
        let key = Key { start: self.lineage_start, pid: self.lineage_pid, exec: self.lineage_exec };
        (self.lineage_start != 0).then_some(key)
    }

    /// Who began that lineage.
    fn beginner(&self) -> Option<Key> {
        self.lineage().map(|lineage| Key::whole(lineage.pid, lineage.start))
    }

    /// The lineage, when somebody of these began it.
    pub(super) fn lineage_within(&self, these: &Keys) -> Option<Key> {
        self.lineage().filter(|_| self.beginner().is_some_and(|beginner| these.contains(&beginner)))
    }
}

impl Plain for Birth {}

/// The births, and when each block of them was last written.
#[derive(Debug)]
pub(super) struct Births {
    all: Shared<Birth>,
    latest: Shared<u64>,
}

impl Births {
    /// Maps both.
    pub(super) fn map(all: BorrowedFd<'_>, latest: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self { all: Shared::map(all, PLACES as usize)?, latest: Shared::map(latest, (PLACES / BLOCK) as usize)? })
    }

    /// What the place of this number holds.
    pub(super) fn at(&self, pid: u32) -> Option<Birth> {
        self.at_since(pid, 0)
    }

    /// The same, if that was born since.
    fn at_since(&self, pid: u32, since: u64) -> Option<Birth> {
        let place = usize::try_from(pid % PLACES).ok()?;
        let first = self.all.read(place).filter(|first| first.start >= since)?;
        whole(first, &self.all.read(place)?)
    }

    /// The places where somebody may be whose birth was noted since.
    fn since(&self, since: u64) -> impl Iterator<Item = u32> + '_ {
        let blocks = (0..PLACES / BLOCK).filter(move |block| {
            let latest = self.latest.read(*block as usize).unwrap_or(u64::MAX);
            latest.saturating_add(SLACK_NS) >= since
        });
        blocks.flat_map(|block| block * BLOCK..(block + 1) * BLOCK)
    }

    /// Everyone below these, the dead too, in the order of their births.
    pub(super) fn below(&self, since: u64, seeds: &Keys) -> Vec<Birth> {
        below(self.since(since).filter_map(|pid| self.at_since(pid, since)), seeds)
    }

    /// The same, of those whose numbers were given out after this one: the kernel counts up, and from `most` it begins
    /// anew. Fast enough to catch up with a chain of forks.
    pub(super) fn below_after(&self, last: u32, most: u32, since: u64, seeds: &Keys) -> Vec<Birth> {
        let wraps = last.saturating_add(AHEAD) >= most;
        let anew = if wraps { 0..FIRST.saturating_add(AHEAD) } else { 0..0 };
        let numbers = (last..last.saturating_add(AHEAD)).chain(anew);
        below(numbers.filter_map(|pid| self.at_since(pid, since)), seeds)
    }
}

/// The first of two readings of a place, when it is of one birth. The kernel clears the start first and writes it last:
/// whoever finds it again had read all of that birth before another was written; the second reading may be half of each.
fn whole(first: Birth, again: &Birth) -> Option<Birth> {
    (first.start != 0 && first.start == again.start && first.pid == again.pid).then_some(first)
}

/// Numbers are given out upwards: as they lie, nearly all come after whom they descend from, and those who do not are
/// found in a later pass. In a flood there are tens of thousands of others, which are not sorted for it.
fn below(all: impl Iterator<Item = Birth>, seeds: &Keys) -> Vec<Birth> {
    let mut these = seeds.clone();
    let mut found = Vec::new();
    let mut take = |birth: &Birth| {
        let is_below = these.contains(&birth.key())
            || these.contains(&birth.parent())
            || birth.beginner().is_some_and(|beginner| beginner != birth.key() && these.contains(&beginner));
        if is_below {
            these.insert(birth.key());
            found.push(*birth);
        }
        is_below
    };
    let mut others: Vec<Birth> = all.collect();
    for pass in 1..=PASSES {
        let before = others.len();
        if pass == PASSES {
            // Nobody is older than whom it descends from: this pass is the last.
            others.sort_unstable_by_key(|birth| (birth.start, birth.pid));
        }
        others.retain(|birth| !take(birth));
        if others.len() == before {
            break;
        }
    }
    found.sort_unstable_by_key(|birth| (birth.start, birth.pid));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn birth(pid: u32, start: u64, parent: (u32, u64), lineage: (u32, u64)) -> Birth {
        Birth {
            pid,
            start,
            parent: parent.0,
            parent_start: parent.1,
            lineage_pid: lineage.0,
            lineage_start: lineage.1,
            lineage_exec: 7,
            ..Birth::default()
        }
    }

    #[test]
    fn the_layout_is_the_kernel_sides() {
        assert_eq!((size_of::<Birth>(), std::mem::offset_of!(Birth, lineage_start)), (48, 32));
    }

    #[test]
    fn below_by_birth_and_by_lineage_and_no_sibling() {
        let root = Key::whole(20, 50);
        let all = [
            birth(10, 40, (1, 1), (10, 40)),
            birth(20, 50, (10, 40), (10, 40)), // forked, did not exec: its lineage is its parent's
            birth(21, 51, (10, 40), (10, 40)), // its sibling
            birth(30, 60, (20, 50), (30, 60)), // its child, with a lineage of its own
            birth(33, 80, (31, 70), (30, 60)), // whose maker's place was taken by another since
            birth(34, 90, (33, 80), (34, 90)),
            birth(20, 10, (1, 1), (20, 10)), // the number was another's before
        ];
        let later = all.into_iter().filter(|birth| birth.start >= root.start);
        let found = below(later, &[root].into_iter().collect());
        let pids: Vec<u32> = found.iter().map(|birth| birth.pid).collect();
        assert_eq!(pids, [20, 30, 33, 34]);
        let these: Keys = found.iter().map(Birth::key).collect();
        assert_eq!(found[0].lineage_within(&these), None, "the shared parent began it");
        assert_eq!(found[2].lineage_within(&these), Some(Key { start: 60, pid: 30, exec: 7 }));
    }

    #[test]
    fn a_place_that_is_written_between_two_readings_gives_the_old_birth_or_none() {
        let (old, new) = (birth(20, 50, (10, 40), (10, 40)), birth(20 + PLACES, 90, (77, 80), (77, 80)));
        assert_eq!(whole(old, &old), Some(old));
        // The second reading had the start, and then the kernel began.
        let torn = Birth { parent: new.parent, parent_start: new.parent_start, ..old };
        assert_eq!(whole(old, &torn), Some(old), "nobody has a stranger's parent");
        assert_eq!(whole(old, &Birth { start: 0, ..new }), None);
        assert_eq!(whole(old, &new), None);
        assert_eq!(whole(Birth { start: 0, ..new }, &Birth { start: 0, ..new }), None);
    }

    proptest! {
        /// Against what a sorted reading finds, in one pass: however the places lie.
        #[test]
        fn whoever_is_below_is_found_in_any_order(
            makers in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..60),
            root in any::<prop::sample::Index>(),
            order in any::<u64>(),
        ) {
            let mut all: Vec<Birth> = Vec::new();
            for (n, (maker, execs)) in (1..).zip(&makers) {
                let maker = (!all.is_empty()).then(|| all[maker.index(all.len())]);
                let (parent, lineage) = maker.map_or(((1, 1), (1, 1)), |m| ((m.pid, m.start), (m.lineage_pid, m.lineage_start)));
                all.push(birth(1000 + n, u64::from(n) * 10, parent, if *execs { (1000 + n, u64::from(n) * 10) } else { lineage }));
            }
            let root = all[root.index(all.len())].key();
            let mut these: Keys = [root].into_iter().collect();
            for birth in &all {
                if these.contains(&birth.parent()) {
                    these.insert(birth.key());
                }
            }
            all.sort_by_key(|birth| (u64::from(birth.pid) | 1).wrapping_mul(order | 1) >> 7);
            let found: Vec<u32> = below(all.into_iter(), &[root].into_iter().collect()).iter().map(|b| b.pid).collect();
            let mut expected: Vec<u32> = these.iter().map(|key| key.pid).collect();
            expected.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
