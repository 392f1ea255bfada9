//! Large values of runs: put apart as their records are written, found again where an expression or an act needs them.
//!
//! ```text
//! record ──▶ what is small: as it is                       ──▶ machine, journal
//!        └─▶ what is large: kept here for a while, and a reference ──▶ machine, journal (the value beside it)
//! ```
//!
//! Owns the bounds and the values that came last. Never decides what lies apart: `quell_model::record::stored` does, and never
//! waits for a disk. Keeps true: a machine holds references where its journal does, so that it is the same after a restart and as
//! large as its records; an expression, a verb and a guard see values, never references; a value stays here until readers of the
//! journal can see its record, however long that takes, so that what is not here is there.

use super::machine::Run;
use super::shell::Core;
use crate::store::Journal;
use quell_model::playbook::StepKind;
use quell_model::record::{Content, NewRecord, Part, StepIntended, Stored, stored};
use quell_model::{Body, Hash, Json, Plan, StoreError};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// What of a run's values stands in its records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Apart {
    /// What has more bytes as JSON lies beside its record.
    pub inline: usize,
    /// What has more is not taken at all.
    pub largest: usize,
}

impl Default for Apart {
    fn default() -> Self {
        Self { inline: 32 << 10, largest: 14 << 20 }
    }
}

impl Apart {
    /// Why what a step gave is not taken.
    pub(super) fn objection(&self, value: &Json) -> Option<String> {
        self.is_over([value])
            .then(|| format!("is larger than {} bytes, the most that is kept (`journal.largest`)", self.largest))
    }

    /// Whether these come to more than is taken.
    pub(super) fn is_over<'v>(&self, values: impl IntoIterator<Item = &'v Json>) -> bool {
        let mut values = values.into_iter();
        values.try_fold(self.largest, |room, value| stored::room_after(value, room)).is_none()
    }
}

/// So many bytes of JSON are kept of what came last.
const KEPT: u64 = if cfg!(test) { 256 << 10 } else { 32 << 20 };
/// Beyond that what the journal does not show yet is kept packed, up to so many bytes: as many as the journal and the ink hold
/// together. What comes then belongs to records that are lost.
const PACKED: u64 = if cfg!(test) { 256 << 10 } else { 128 << 20 };
/// The fastest that still packs.
const LEVEL: i32 = 1;
/// So many records with such values may not be shown yet: more than wait.
const MOST_FRESH: usize = 1 << 18;

/// Large values, from memory or the journal.
#[derive(Debug)]
pub(super) struct Contents {
    journal: Journal,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    values: HashMap<Hash, Held>,
    /// Those of records that the journal may not show yet, in the order of their writing.
    fresh: VecDeque<Fresh>,
    /// The first so many of these are packed.
    tight: usize,
    /// All others, which may go; the first to have come goes first.
    order: VecDeque<Hash>,
    /// Of JSON that is not packed.
    bytes: u64,
    packed: u64,
}

#[derive(Debug)]
struct Held {
    form: Form,
    /// Of its JSON.
    bytes: u64,
    /// In [`Kept::fresh`] so many times.
    fresh: usize,
}

#[derive(Debug)]
enum Form {
    Plain(Arc<Json>),
    Packed(Vec<u8>),
}

/// A record with a value was made.
#[derive(Debug)]
struct Fresh {
    hash: Hash,
    /// With the journal's append of this number it is in there; none: it is not in the journal yet.
    append: Option<u64>,
}

impl Kept {
    /// A value of a record that is about to be written: it stays.
    fn put_fresh(&mut self, stored: &Stored, value: &Arc<Json>) {
        if self.packed > PACKED || self.fresh.len() > MOST_FRESH {
            return self.put_found(stored, value);
        }
        let (hash, bytes) = (stored.hash, stored.bytes);
        let held = self.values.entry(hash).or_insert_with(|| {
            self.bytes += bytes;
            Held { form: Form::Plain(Arc::clone(value)), bytes, fresh: 0 }
        });
        if held.fresh == 0 {
            self.order.retain(|other| *other != hash);
        }
        held.fresh += 1;
        self.fresh.push_back(Fresh { hash, append: None });
        self.shrink();
    }

    /// A value that need not stay.
    fn put_found(&mut self, stored: &Stored, value: &Arc<Json>) {
        let (hash, bytes) = (stored.hash, stored.bytes);
        if let Entry::Vacant(free) = self.values.entry(hash) {
            free.insert(Held { form: Form::Plain(Arc::clone(value)), bytes, fresh: 0 });
            self.bytes += bytes;
            self.order.push_back(hash);
            self.shrink();
        }
    }

    /// All that was put is in the journal, by its append of this number at the latest.
    fn is_written(&mut self, append: u64) {
        self.fresh.iter_mut().rev().take_while(|one| one.append.is_none()).for_each(|one| one.append = Some(append));
    }

    /// Readers of the journal can see its appends up to this one.
    fn is_seen(&mut self, append: u64) {
        while let Some(one) = self.fresh.pop_front_if(|one| one.append.is_some_and(|of| of <= append)) {
            self.tight = self.tight.saturating_sub(1);
            let Entry::Occupied(mut held) = self.values.entry(one.hash) else { continue };
            held.get_mut().fresh -= 1;
            match &held.get().form {
                _ if held.get().fresh > 0 => {}
                Form::Plain(_) => self.order.push_back(one.hash),
                Form::Packed(packed) => {
                    self.packed -= packed.len() as u64;
                    held.remove();
                }
            }
        }
        self.shrink();
    }

    fn shrink(&mut self) {
        while self.bytes > KEPT && self.values.len() > 1 {
            let Some(hash) = self.order.pop_front() else { break };
            self.bytes -= self.values.remove(&hash).map_or(0, |held| held.bytes);
        }
        // The one that came last is needed next.
        while self.bytes > KEPT && self.tight + 1 < self.fresh.len() {
            let held = self.values.get_mut(&self.fresh[self.tight].hash);
            self.tight += 1;
            if let Some(held) = held
                && let Form::Plain(value) = &held.form
                && let Ok(text) = serde_json::to_vec(value)
                && let Ok(packed) = zstd::bulk::compress(&text, LEVEL)
            {
                self.bytes -= held.bytes;
                self.packed += packed.len() as u64;
                held.form = Form::Packed(packed);
            }
        }
    }

    fn get(&self, hash: &Hash) -> Option<Arc<Json>> {
        let held = self.values.get(hash)?;
        match &held.form {
            Form::Plain(value) => Some(Arc::clone(value)),
            Form::Packed(packed) => {
                let text = zstd::bulk::decompress(packed, usize::try_from(held.bytes).ok()?).ok()?;
                serde_json::from_slice(&text).ok().map(Arc::new)
            }
        }
    }
}

impl Contents {
    pub(super) fn new(journal: Journal) -> Self {
        Self { journal, kept: Mutex::default() }
    }

    fn keep(&self, contents: &[Content]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        contents.iter().for_each(|content| kept.put_fresh(&content.stored, &content.value));
    }

    /// Lets go what there is too much of and the journal shows. Not between a record's making and its writing; `is_written`: the
    /// journal has taken all that was written.
    pub(super) fn settle(&self, is_written: bool) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.fresh.is_empty() {
            let (taken, seen) = self.journal.appends();
            if is_written {
                kept.is_written(taken);
            }
            kept.is_seen(seen);
        }
    }

    /// How many bytes of JSON are in memory, and how many of what is packed.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> (u64, u64) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.bytes, kept.packed)
    }

    fn find(&self, of: &Stored) -> Result<Arc<Json>, StoreError> {
        let known = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&of.hash);
        if let Some(value) = known {
            return Ok(value);
        }
        let value = Arc::new(self.journal.content(of)?);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).put_found(of, &value);
        Ok(value)
    }

    /// A value out of a record, as it was before parts of it were put apart.
    pub(super) fn whole(&self, place: &Json) -> Result<Json, StoreError> {
        let mut whole = place.clone();
        stored::made_whole(&mut whole, &mut |of| self.find(of).map(Arc::unwrap_or_clone))?;
        Ok(whole)
    }

    /// What stands under a name of such a value, so that the rest of it can be left where it lies.
    pub(super) fn put_whole(&self, value: &mut Json) -> Result<(), StoreError> {
        if let Some(of) = Stored::of(value) {
            *value = self.find(&of).map(Arc::unwrap_or_clone)?;
        }
        Ok(())
    }

    /// A plan as it was made.
    pub(super) fn whole_plan(&self, plan: Plan) -> Result<Plan, StoreError> {
        Ok(Plan { before: self.whole(&plan.before)?, predicted: self.whole(&plan.predicted)?, ..plan })
    }

    /// An intent as it was made.
    pub(super) fn whole_intent(&self, intent: StepIntended) -> Result<StepIntended, StoreError> {
        Ok(StepIntended { input: self.whole(&intent.input)?, plan: self.whole_plan(intent.plan)?, ..intent })
    }

    /// `item` of a part: out of its step's list, where that lies apart.
    pub(super) fn item(&self, run: &Run, part: &Part) -> Result<Json, StoreError> {
        let Some((of, at)) = run.list_apart(&part.step).zip(part.item) else { return Ok(run.item(part)) };
        let list = self.find(of)?;
        let item = list.as_array().and_then(|list| list.get(at as usize)).cloned();
        item.ok_or_else(|| StoreError::Corrupt(format!("the list of `{}` has no item {at}", part.step)))
    }

    /// The items of a step's list.
    pub(super) fn items(&self, run: &Run, step: &quell_model::StepId) -> Result<Vec<Json>, StoreError> {
        match run.list_apart(step) {
            Some(of) => Ok(self.find(of)?.as_array().cloned().unwrap_or_default()),
            None => Ok(run.items(step).map(|(item, ..)| item.clone()).collect()),
        }
    }
}

impl<W: Send + 'static> Core<W> {
    /// A run's record as it is written: what is large in it lies apart.
    pub(super) fn with_large_apart(&self, run: Option<&Run>, record: NewRecord) -> NewRecord {
        // What a wait has seen is looked at by its id, and has an event's bounds.
        let waits = |part: &Part| {
            run.and_then(|run| run.playbook.step(&part.step)).is_some_and(|step| matches!(step.kind, StepKind::Wait(_)))
        };
        if matches!(&record.body, Body::StepFinished(finished) if waits(&finished.part)) {
            return record;
        }
        let record = record.with_large_apart(self.definitions.apart.inline);
        self.contents.keep(&record.contents);
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_model::record::StoredAs;

    /// A value that hardly packs, of 4 KiB.
    fn value(number: u64) -> (Stored, Arc<Json>) {
        let parts: Vec<u8> = number.to_le_bytes().to_vec();
        let text: String = (0..64u8).map(|at| Hash::of_parts(&[&parts, &[at]]).to_string()).collect();
        let stored = Stored { hash: Hash::of(text.as_bytes()), bytes: 4098, is: StoredAs::Text, items: None };
        (stored, Arc::new(Json::String(text)))
    }

    #[test]
    fn what_is_not_shown_stays_within_bounds_and_goes_with_the_last_record_that_brings_it() {
        let mut kept = Kept::default();
        let all: Vec<_> = (0..1_000).map(value).collect();
        for (stored, value) in &all {
            kept.put_fresh(stored, value);
            assert!(kept.bytes <= KEPT && kept.packed <= PACKED + 4098, "{} {}", kept.bytes, kept.packed);
        }
        assert!(kept.packed > PACKED, "it has come to its bound");
        assert_eq!(kept.get(&all[0].0.hash).as_ref(), Some(&all[0].1), "the first to come is packed, and there");
        kept.is_written(7);
        kept.is_seen(6);
        assert!(kept.packed > PACKED && kept.get(&all[0].0.hash).is_some(), "its append is not seen yet");
        kept.is_seen(7);
        assert_eq!((kept.packed, kept.fresh.len(), kept.tight), (0, 0, 0));
        assert!(kept.get(&all[0].0.hash).is_none() && kept.bytes <= KEPT);

        // Another record brings what is there already.
        let (stored, of) = &all[1];
        let others = |kept: &mut Kept, from: usize| {
            all[from..from + 100].iter().for_each(|(stored, value)| kept.put_found(stored, value));
        };
        kept.put_fresh(stored, of);
        kept.is_written(8);
        kept.put_fresh(stored, of);
        kept.is_seen(8);
        others(&mut kept, 100);
        assert!(kept.get(&stored.hash).is_some(), "the second is not in the journal");
        kept.is_written(9);
        kept.is_seen(9);
        others(&mut kept, 200);
        assert!(kept.get(&stored.hash).is_none());
        assert_eq!(kept.bytes, kept.values.values().map(|held| held.bytes).sum::<u64>());
    }
}
