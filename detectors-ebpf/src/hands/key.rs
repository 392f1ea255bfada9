//! What a mark is on: a process, or the lineage that an exec of it began.
//!
//! Owns the layout of `struct key` in bpf/hand/hand.bpf.c, and nothing else.

use quell_model::seeded::Seeded;
use std::collections::{HashMap, HashSet};

/// As the kernel side lays it out.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) start: u64,
    pub(super) pid: u32,
    pub(super) exec: u32,
}

/// Some of them: a flood is looked up in it.
pub(super) type Keys = HashSet<Key, Seeded>;
/// What is known of each.
pub(super) type ByKey<V> = HashMap<Key, V, Seeded>;

/// In the place of an exec: the process itself (`WHOLE`).
const WHOLE: u32 = u32::MAX;

impl Key {
    /// The process, whatever it executes.
    pub(super) fn whole(pid: u32, start: u64) -> Self {
        Self { start, pid, exec: WHOLE }
    }

    /// The words of the map's key.
    pub(super) fn words(self) -> [u64; 2] {
        let [a, b, c, d] = self.pid.to_ne_bytes();
        let [e, f, g, h] = self.exec.to_ne_bytes();
        [self.start, u64::from_ne_bytes([a, b, c, d, e, f, g, h])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lie_as_the_struct_does() {
        let words = Key { start: 1, pid: 2, exec: 3 }.words();
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let parts: Vec<u8> = [1_u64.to_ne_bytes().as_slice(), &2_u32.to_ne_bytes(), &3_u32.to_ne_bytes()].concat();
        assert_eq!(bytes, parts);
        assert_eq!(size_of::<Key>(), 16);
    }
}
