//! The links of the table that still lead to the living: what a search for them walks, however many have died.
//!
//! Owns, of each process, those of its children that live or have somebody living below them. Keeps true: a link is here
//! as long as that is so and both are known, the links of the table themselves are more.

use super::{Key, Process};
use quell_model::seeded::Seeded;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Living(HashMap<Key, BTreeSet<Key>, Seeded>);

impl Living {
    /// The children that lead to somebody, the youngest first.
    pub(super) fn youngest_first(&self, of: Key) -> impl Iterator<Item = Key> {
        self.0.get(&of).into_iter().flat_map(|children| children.iter().rev()).copied()
    }

    /// A process is there, has ended, or has got another parent.
    pub(super) fn settle(&mut self, key: Key, known: &HashMap<Key, Process, Seeded>) {
        let Some(process) = known.get(&key) else { return };
        if process.lives() || self.0.contains_key(&key) {
            self.link(key, known);
        } else {
            self.unlink(key, process.parent, known);
        }
    }

    /// Up to the first that is linked already: from there on all are.
    fn link(&mut self, mut key: Key, known: &HashMap<Key, Process, Seeded>) {
        while let Some(parent) = known.get(&key).and_then(|process| process.parent) {
            if !self.0.entry(parent).or_default().insert(key) {
                return;
            }
            key = parent;
        }
    }

    /// Nothing living is reached by a process any more, nor by those of its dead parents that had only it.
    pub(super) fn unlink(&mut self, mut key: Key, mut parent: Option<Key>, known: &HashMap<Key, Process, Seeded>) {
        while let Some(above) = parent {
            let Entry::Occupied(mut children) = self.0.entry(above) else { return };
            children.get_mut().remove(&key);
            if !children.get().is_empty() {
                return;
            }
            children.remove();
            let Some(process) = known.get(&above).filter(|process| !process.lives()) else { return };
            (key, parent) = (above, process.parent);
        }
    }
}
