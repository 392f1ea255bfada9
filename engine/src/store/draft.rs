//! Records that are written down for the journal and not in it yet: who appends makes the text, so that nothing is
//! copied on the way, and may put what belongs together into one append.
//!
//! Keeps true: a draft reaches the journal as a whole or not at all; what was refused comes back as it was.

use super::item::Item;
use quell_model::record::NewRecord;
use quell_model::{Durability, Seq, StoreError, StreamId};

/// Records on their way.
pub struct Draft(pub(super) Item);

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draft").field("records", &self.records()).field("bytes", &self.0.bytes).finish()
    }
}

impl Default for Draft {
    fn default() -> Self {
        Self(Item::empty(Durability::Written))
    }
}

impl Draft {
    /// Adds records of a stream; `expected` is its last number before them. An error leaves the draft as it was.
    ///
    /// # Errors
    /// `Unwritable` when they are too many bytes for one append, or have no JSON.
    pub fn add(&mut self, stream: StreamId, expected: Seq, records: &[NewRecord]) -> Result<(), StoreError> {
        self.0.add(stream, expected, records)
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.parts.is_empty()
    }

    /// How many records it holds.
    #[must_use]
    pub fn records(&self) -> usize {
        self.0.parts.iter().map(|part| part.lines.len()).sum()
    }

    /// About so many bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes
    }

    /// The same in one draft a part, in order: when one stream is refused, the others need not be.
    #[must_use]
    pub fn split(self) -> Vec<Self> {
        self.0.split().into_iter().map(Self).collect()
    }
}
