//! Records that are written down for the journal and not in it yet: who appends makes the text, so that nothing is
//! copied on the way, and may put what belongs together into one append.
//!
//! Keeps true: a draft reaches the journal as a whole or not at all; what was refused comes back as it was.

use super::item::Item;
use quell_model::record::NewRecord;
use quell_model::{Durability, Seq, StoreError, StreamId};
use std::collections::HashMap;

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

    /// The last number that it gives in a stream.
    pub(crate) fn last(&self, stream: &StreamId) -> Option<Seq> {
        self.0.parts.iter().rev().find(|part| part.stream == *stream).map(|part| part.last())
    }

    /// Where records before these found no room: numbers them so that they follow on what is there, in the streams that
    /// have begun. `last` is a stream's last number.
    pub(crate) fn close_gaps(&mut self, last: impl Fn(&StreamId) -> Seq) {
        let mut ends: HashMap<StreamId, Seq> = HashMap::new();
        for part in &mut self.0.parts {
            let found = ends.get(&part.stream).copied().unwrap_or_else(|| last(&part.stream));
            if found > 0 && part.first > found + 1 {
                part.first = found + 1;
            }
            ends.insert(part.stream.clone(), part.last());
        }
    }

    /// The same in one draft a part, in order: when one stream is refused, the others need not be.
    #[must_use]
    pub fn split(self) -> Vec<Self> {
        self.0.split().into_iter().map(Self).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Journal;
    use crate::store::tests::bodies::{at, note};

    fn notes(text: &str) -> Vec<NewRecord> {
        vec![NewRecord::new(at(1), note(text))]
    }

    #[test]
    fn a_draft_of_several_streams_is_there_as_a_whole_and_survives_without_a_ring() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let mut draft = Draft::default();
        assert!(draft.is_empty());
        draft.add("run/a".into(), 0, &notes("one")).unwrap();
        draft.add("incident/b".into(), 0, &notes("two")).unwrap();
        draft.add("run/a".into(), 1, &notes("three")).unwrap();
        assert_eq!((draft.records(), draft.is_empty()), (3, false));
        journal.put(draft).unwrap();
        assert_eq!(journal.last(&"run/a".into()), 2);
        // Nobody rang: a reader that waits for what it knows of does.
        assert_eq!(journal.read(&"run/a".into(), 1).unwrap().len(), 2);
        assert_eq!(journal.read(&"incident/b".into(), 1).unwrap().len(), 1);
        journal.close();
        assert_eq!(Journal::open(dir.path()).unwrap().last(&"run/a".into()), 2);
    }

    #[test]
    fn after_a_gap_a_stream_that_has_begun_goes_on_and_another_does_not_begin_in_its_midst() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let mut draft = Draft::default();
        draft.add("run/a".into(), 0, &notes("one")).unwrap();
        journal.put(draft).unwrap();
        let mut draft = Draft::default();
        draft.add("run/a".into(), 5, &notes("six")).unwrap();
        draft.add("run/b".into(), 3, &notes("its start is lost")).unwrap();
        draft.add("run/a".into(), 6, &notes("seven")).unwrap();
        let (mut draft, _) = journal.put(draft).unwrap_err();
        draft.close_gaps(|stream| journal.last(stream));
        let (draft, error) = journal.put(draft).unwrap_err();
        assert!(matches!(error, StoreError::Conflict { expected: 3, found: 0, .. }));
        let went: Vec<bool> = draft.split().into_iter().map(|part| journal.put(part).is_ok()).collect();
        assert_eq!(went, [true, false, true]);
        assert_eq!(journal.last(&"run/a".into()), 3);
    }

    #[test]
    fn a_refused_draft_comes_back_and_its_parts_can_go_alone() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let mut draft = Draft::default();
        draft.add("run/a".into(), 7, &notes("nothing to follow on")).unwrap();
        draft.add("run/b".into(), 0, &notes("good")).unwrap();
        let (draft, error) = journal.put(draft).unwrap_err();
        assert!(matches!(error, StoreError::Conflict { found: 0, expected: 7, .. }));
        assert_eq!(journal.last(&"run/b".into()), 0, "all or nothing");
        let went: Vec<bool> = draft.split().into_iter().map(|part| journal.put(part).is_ok()).collect();
        assert_eq!(went, [false, true]);
        journal.ring();
        assert_eq!(journal.read(&"run/b".into(), 1).unwrap().len(), 1);
    }
}
