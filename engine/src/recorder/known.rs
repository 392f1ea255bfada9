//! What a page has already: sums → numbers, in a table of a fixed size.
//!
//! Owns open addressing over a power of two, at most half full. Never grows and never forgets within a page.

use super::wire::MOST_KNOWN;

const SLOTS: usize = MOST_KNOWN * 2;

#[derive(Debug)]
pub(super) struct Known {
    /// The number of an entry and one; 0 is free.
    slots: Box<[u16]>,
    /// Each one's sum, and where it stands.
    entries: Vec<(u64, u32)>,
}

impl Default for Known {
    fn default() -> Self {
        Self { slots: vec![0; SLOTS].into_boxed_slice(), entries: Vec::with_capacity(MOST_KNOWN) }
    }
}

impl Known {
    pub(super) fn clear(&mut self) {
        self.slots.fill(0);
        self.entries.clear();
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= MOST_KNOWN
    }

    /// The number of what has this sum and, where sums are equal by chance, is it.
    pub(super) fn find(&self, sum: u64, is_it: impl Fn(u32) -> bool) -> Option<u16> {
        let mut slot = sum as usize % SLOTS;
        loop {
            let number = self.slots[slot].checked_sub(1)?;
            let (known, at) = self.entries[usize::from(number)];
            if known == sum && is_it(at) {
                return Some(number);
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// Adds what was not found, and gives its number; the caller has asked whether it is full.
    pub(super) fn add(&mut self, sum: u64, at: u32) -> u16 {
        let mut slot = sum as usize % SLOTS;
        while self.slots[slot] != 0 {
            slot = (slot + 1) % SLOTS;
        }
        let number = u16::try_from(self.entries.len()).unwrap_or(u16::MAX);
        self.entries.push((sum, at));
        self.slots[slot] = number + 1;
        number
    }
}
