//! How deep the cgroups lie that have entries: the kernel side looks there, and so holds at any depth below them.
//!
//! Keeps true: a level is there before its entry, and goes after it; one word changes at a time, so that an exec that looks
//! meanwhile misses none that stands.

use crate::load::chain;
use aya::maps::{Array, MapData};

/// `LEVELS` in bpf/block/block.bpf.c.
const LEVELS: usize = 32;

/// `struct levels`.
pub(super) type Depths = [u32; LEVELS];

pub(super) struct Levels(Array<MapData, Depths>);

impl Levels {
    pub(super) fn new(map: Array<MapData, Depths>) -> Self {
        Self(map)
    }

    /// Looks there too from now on; 0 is the host's, which needs none.
    pub(super) fn add(&mut self, level: u32) -> Result<(), String> {
        let mut all = self.all()?;
        if level == 0 || all.contains(&level) {
            return Ok(());
        }
        let Some(free) = all.iter_mut().find(|known| **known == 0) else {
            return Err(format!("cgroups at {LEVELS} different depths have entries already"));
        };
        *free = level;
        self.set(all)
    }

    /// Looks at these only.
    pub(super) fn only(&mut self, levels: &[u32]) -> Result<(), String> {
        for at in 0..LEVELS {
            let mut all = self.all()?;
            if all[at] != 0 && !levels.contains(&all[at]) {
                all[at] = 0;
                self.set(all)?;
            }
        }
        Ok(())
    }

    fn all(&self) -> Result<Depths, String> {
        self.0.get(&0, 0).map_err(|e| chain(&e))
    }

    fn set(&mut self, all: Depths) -> Result<(), String> {
        self.0.set(0, all, 0).map_err(|e| chain(&e))
    }
}
