//! The layouts of bpf/block/block.bpf.c, as words: entries, and what fired.
//!
//! Keeps true: what is longer than its place is cut at a character, never written beyond it.

use quell_model::{Around, Image, Spot, Standing, Terms};

/// `struct image`.
pub(super) type Key = [u64; 4];
/// `struct block`.
pub(super) type Entry = [u64; ENTRY];
/// `struct firing`.
pub(super) type Slot = [u64; 15];

const ENTRY: usize = 8 + LABEL / 8;
/// `LABEL`.
const LABEL: usize = 128;
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

/// A new entry.
pub(super) fn entry(terms: &Terms) -> Entry {
    let mut words = [0; ENTRY];
    words[0] = terms.id;
    words[1] = terms.until_ns;
    words[2] = terms.within_ns;
    words[6] = u64::from(terms.most);
    let mut end = terms.label.len().min(LABEL - 1);
    while !terms.label.is_char_boundary(end) {
        end -= 1;
    }
    let mut label = [0u8; LABEL];
    label[..end].copy_from_slice(&terms.label.as_bytes()[..end]);
    for (word, bytes) in words[8..].iter_mut().zip(label.chunks_exact(8)) {
        *word = u64::from_ne_bytes(bytes.try_into().expect("chunks of eight"));
    }
    words
}

/// What stands there under new terms: what it struck, and what of its budget is used up, stays as it is, or whoever starts
/// it often enough would renew it for ever.
pub(super) fn renewed(stands: &Entry, terms: &Terms) -> Entry {
    let mut words = entry(terms);
    words[3..6].copy_from_slice(&stands[3..6]);
    words[6] = pair(terms.most, halves(stands[6]).1);
    words[7] = stands[7];
    words
}

/// An entry as it stands.
pub(super) fn standing(key: &Key, words: &Entry) -> Standing {
    let terms = Terms {
        id: words[0],
        label: text(&words[8..]),
        until_ns: words[1],
        most: halves(words[6]).0,
        within_ns: words[2],
    };
    Standing { spot: spot(key), terms, struck: words[4], spent: halves(words[7]).0 != 0 }
}

/// Counts one strike in an entry, as the kernel does; false when the budget is used up.
pub(super) fn afford(words: &mut Entry, now: u64) -> bool {
    let (most, mut count) = halves(words[6]);
    if now.saturating_sub(words[3]) >= words[2] {
        words[3] = now;
        count = 0;
    }
    let can = count < most;
    if can {
        words[4] += 1;
        words[6] = pair(most, count + 1);
    } else {
        words[7] = 1;
    }
    can
}

/// Whether an entry strikes now.
pub(super) fn strikes(words: &Entry, now: u64) -> bool {
    halves(words[7]).0 == 0 && words[1] > now
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
        _ => Fate::Spent,
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

fn text(words: &[u64]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(label: String) -> Terms {
        Terms { id: 7, label, until_ns: 100, most: 2, within_ns: 50 }
    }

    #[test]
    fn entries_go_there_and_back() {
        for around in [Around::Host, Around::Cgroup { number: 9, v2: true }, Around::Cgroup { number: 9, v2: false }] {
            let spot = Spot { image: Image { device: 1, inode: 2, generation: u32::MAX }, around };
            let stands = standing(&key(&spot), &entry(&terms("/tmp/x".into())));
            assert_eq!(stands, Standing { spot, terms: terms("/tmp/x".into()), struck: 0, spent: false });
        }
    }

    #[test]
    fn a_long_name_is_cut_at_a_character() {
        let words = entry(&terms("ä".repeat(200)));
        assert_eq!(text(&words[8..]), "ä".repeat(63));
    }

    #[test]
    fn a_budget_ends_an_entry_and_not_a_busy_window() {
        let mut words = entry(&terms(String::new()));
        assert!(afford(&mut words, 60) && afford(&mut words, 61), "two in a window");
        assert!(afford(&mut words, 120), "a new window");
        assert!(afford(&mut words, 121) && strikes(&words, 99));
        assert!(!afford(&mut words, 122) && !strikes(&words, 99), "used up for good");
        assert!(!strikes(&renewed(&words, &terms(String::new())), 99), "also under new terms");
        assert!(!strikes(&entry(&terms(String::new())), 100), "at its end it has ended");
    }
}
