//! The layouts of bpf/block/block.bpf.c, as words: entries, and what fired.
//!
//! Keeps true: what is longer than its place is cut at a character, never written beyond it.

use crate::letters::{text, write};
use quell_model::{Around, Image, Spot, Standing, Terms};

/// `struct image`.
pub(super) type Key = [u64; 4];
/// `struct block`.
pub(super) type Entry = [u64; ENTRY];
/// `struct firing`.
pub(super) type Slot = [u64; 15];

const ENTRY: usize = 10 + (LABEL + OWNER) / 8;
/// `LABEL`.
const LABEL: usize = 128;
/// `OWNER`.
const OWNER: usize = 64;
/// Where its words are: `most` and `count`, `spent` and `missed`, `level`, then the two texts.
const BUDGET: usize = 7;
const STATE: usize = 8;
const LEVEL: usize = 9;
const TEXTS: usize = 10;
/// `OF_HOST`, `OF_V1`, `OF_V2`.
const HOST: u32 = 0;
const V1: u32 = 1;
const V2: u32 = 2;

fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | (u64::from(high) << 32)
}

/// The lower and the upper half.
#[allow(clippy::cast_possible_truncation, reason = "the halves of a word")]
fn halves(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

/// A spot as the kernel looks it up.
pub(super) fn key(spot: &Spot) -> Key {
    let (group, kind) = match spot.around {
        Around::Host => (0, HOST),
        Around::Cgroup { number, v2 } => (number, if v2 { V2 } else { V1 }),
    };
    [spot.image.device, spot.image.inode, group, pair(spot.image.generation, kind)]
}

/// What the kernel told of an image.
pub(super) fn image(key: &Key) -> Image {
    Image { device: key[0], inode: key[1], generation: halves(key[3]).0 }
}

fn spot(key: &Key) -> Spot {
    let around = match halves(key[3]).1 {
        HOST => Around::Host,
        kind => Around::Cgroup { number: key[2], v2: kind == V2 },
    };
    Spot { image: image(key), around }
}

/// A new entry; `level` is how deep its cgroup lies, 0 for the host.
pub(super) fn entry(terms: &Terms, level: u32) -> Entry {
    let mut words = [0; ENTRY];
    words[0] = terms.id;
    words[1] = terms.until_ns;
    words[2] = terms.within_ns;
    words[BUDGET] = u64::from(terms.most);
    words[LEVEL] = u64::from(level);
    let (label, owner) = words[TEXTS..].split_at_mut(LABEL / 8);
    write(label, &terms.label);
    // Half a name would be another's.
    if terms.owner.len() < OWNER {
        write(owner, &terms.owner);
    }
    words
}

/// How deep its cgroup lies.
pub(super) fn level(words: &Entry) -> u32 {
    halves(words[LEVEL]).0
}

/// What stands there under new terms: what it struck, and what of its budget is used up, stays as it is, or whoever starts
/// it often enough would renew it for ever.
pub(super) fn renewed(stands: &Entry, terms: &Terms, level: u32) -> Entry {
    let mut words = entry(terms, level);
    words[3..BUDGET].copy_from_slice(&stands[3..BUDGET]);
    words[BUDGET] = pair(terms.most, halves(stands[BUDGET]).1);
    words[STATE] = stands[STATE];
    words
}

/// An entry as it stands.
pub(super) fn standing(key: &Key, words: &Entry) -> Standing {
    let terms = Terms {
        id: words[0],
        label: text(&words[TEXTS..TEXTS + LABEL / 8]),
        owner: text(&words[TEXTS + LABEL / 8..]),
        until_ns: words[1],
        most: halves(words[BUDGET]).0,
        within_ns: words[2],
    };
    let (spent, missed) = halves(words[STATE]);
    Standing { spot: spot(key), terms, struck: words[4], spent: spent != 0, missed: u64::from(missed) }
}

/// Counts one strike in an entry, as the kernel does; false when the budget is used up.
pub(super) fn afford(words: &mut Entry, now: u64) -> bool {
    let (most, mut count) = halves(words[BUDGET]);
    if now.saturating_sub(words[3]) >= words[2] {
        words[3] = now;
        count = 0;
    }
    let can = count < most;
    if can {
        words[4] += 1;
        words[BUDGET] = pair(most, count + 1);
    } else {
        words[STATE] = pair(1, halves(words[STATE]).1);
    }
    can
}

/// Its end on the boot clock.
pub(super) fn until(words: &Entry) -> u64 {
    words[1]
}

/// Whether an entry strikes now.
pub(super) fn strikes(words: &Entry, now: u64) -> bool {
    halves(words[STATE]).0 == 0 && words[1] > now
}

/// What happened to one exec.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It died before its first instruction.
    Killed,
    /// The exec was refused.
    Denied,
    /// It went on: the entry's budget is used up.
    Spent,
    /// It went on: the kernel could not send its signal.
    Missed,
}

/// One line of the ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Firing {
    /// Whose entry.
    pub id: u64,
    /// When, in nanoseconds on the boot clock.
    pub boot_ns: u64,
    /// The process's number.
    pub pid: u32,
    /// When it began, in nanoseconds on the boot clock.
    pub start_ns: u64,
    /// Its parent's number.
    pub parent: u32,
    /// Its user.
    pub uid: u32,
    /// Its cgroup.
    pub cgroup: u64,
    /// What its exec asked for.
    pub asked: String,
    /// What happened.
    pub fate: Fate,
}

/// The number of a slot, and what it says.
pub(super) fn firing(words: &Slot) -> (u64, Firing) {
    let ((pid, parent), (uid, what)) = (halves(words[5]), halves(words[6]));
    let fate = match what {
        0 => Fate::Killed,
        1 => Fate::Denied,
        2 => Fate::Spent,
        _ => Fate::Missed,
    };
    let firing = Firing {
        id: words[1],
        boot_ns: words[2],
        pid,
        start_ns: words[3],
        parent,
        uid,
        cgroup: words[4],
        asked: text(&words[7..]),
        fate,
    };
    (words[0], firing)
}

/// A line as the kernel writes it, without a number.
pub(super) fn slot(firing: &Firing) -> Slot {
    let what = match firing.fate {
        Fate::Killed => 0,
        Fate::Denied => 1,
        Fate::Spent => 2,
        Fate::Missed => 3,
    };
    let mut words = [0; 15];
    words[1] = firing.id;
    words[2] = firing.boot_ns;
    words[3] = firing.start_ns;
    words[4] = firing.cgroup;
    words[5] = pair(firing.pid, firing.parent);
    words[6] = pair(firing.uid, what);
    write(&mut words[7..], &firing.asked);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(label: String) -> Terms {
        Terms { id: 7, label, owner: "r-1".into(), until_ns: 100, most: 2, within_ns: 50 }
    }

    #[test]
    fn entries_go_there_and_back() {
        for around in [Around::Host, Around::Cgroup { number: 9, v2: true }, Around::Cgroup { number: 9, v2: false }] {
            let spot = Spot { image: Image { device: 1, inode: 2, generation: u32::MAX }, around };
            let stands = standing(&key(&spot), &entry(&terms("/tmp/x".into()), 3));
            let terms = terms("/tmp/x".into());
            assert_eq!(stands, Standing { spot, terms, struck: 0, spent: false, missed: 0 });
        }
    }

    #[test]
    fn a_long_name_is_cut_at_a_character() {
        let words = entry(&terms("ä".repeat(200)), 9);
        let stands = standing(&[0; 4], &words);
        assert_eq!((stands.terms.label, stands.terms.owner.as_str()), ("ä".repeat(63), "r-1"));
        assert_eq!(level(&words), 9);
        let owner = Terms { owner: "x".repeat(64), ..terms(String::new()) };
        assert_eq!(standing(&[0; 4], &entry(&owner, 0)).terms.owner, "", "half a name is no name");
    }

    #[test]
    fn lines_go_there_and_back() {
        for fate in [Fate::Killed, Fate::Denied, Fate::Spent, Fate::Missed] {
            let (boot_ns, start_ns, cgroup) = (5, 4, 1);
            let line =
                Firing { id: 9, boot_ns, pid: 7, start_ns, parent: 2, uid: 1000, cgroup, asked: "./x".into(), fate };
            assert_eq!(firing(&slot(&line)), (0, line));
        }
    }

    #[test]
    fn a_budget_ends_an_entry_and_not_a_busy_window() {
        let mut words = entry(&terms(String::new()), 0);
        assert!(afford(&mut words, 60) && afford(&mut words, 61), "two in a window");
        assert!(afford(&mut words, 120), "a new window");
        assert!(afford(&mut words, 121) && strikes(&words, 99));
        assert!(!afford(&mut words, 122) && !strikes(&words, 99), "used up for good");
        assert!(!strikes(&renewed(&words, &terms(String::new()), 0), 99), "also under new terms");
        assert!(!strikes(&entry(&terms(String::new()), 0), 100), "at its end it has ended");
    }
}
