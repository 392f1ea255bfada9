//! What all followed incidents want, in one place: who an event is about is looked up once for all of them.
//!
//! Owns a bit for each of at most 64 incidents. What an incident wants is said in `pin.rs`.

use super::pin::Wanted;
use super::read::Kin;
use quell_model::seeded::Seeded;
use std::collections::HashMap;

/// Which incidents want something: a bit each, in their order.
pub(super) type Mask = u64;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Interest {
    /// Who wants what this process does.
    own: HashMap<Kin, Mask, Seeded>,
    /// Who wants what those below it do.
    below: HashMap<Kin, Mask, Seeded>,
    /// Who wants what no process did, about this kind of entity with this id.
    about: HashMap<String, HashMap<String, Mask>>,
}

impl Interest {
    /// Of incidents in their order.
    pub(super) fn of<'w>(all: impl Iterator<Item = &'w Wanted>) -> Self {
        let mut interest = Self::default();
        for (at, wanted) in all.take(Mask::BITS as usize).enumerate() {
            let bit = 1 << at;
            for kin in &wanted.trees {
                *interest.below.entry(*kin).or_default() |= bit;
            }
            for kin in wanted.trees.iter().chain(&wanted.line) {
                *interest.own.entry(*kin).or_default() |= bit;
            }
            for (kind, id) in &wanted.entities {
                *interest.about.entry(kind.clone()).or_default().entry(id.clone()).or_default() |= bit;
            }
        }
        interest
    }

    pub(super) fn own(&self, kin: Kin) -> Mask {
        self.own.get(&kin).copied().unwrap_or(0)
    }

    pub(super) fn below(&self, kin: Kin) -> Mask {
        self.below.get(&kin).copied().unwrap_or(0)
    }

    pub(super) fn about(&self, kind: &str, id: &str) -> Mask {
        self.about.get(kind).and_then(|ids| ids.get(id)).copied().unwrap_or(0)
    }
}
