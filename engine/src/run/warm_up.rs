//! How far a playbook may go here and now, and since when each text of one is known.
//!
//! Owns the journal's word on that: a text is first seen once, whatever is loaded in between. Keeps true: what makes a
//! playbook stricter is asked for every run, wherever it comes from.

use super::shell::Core;
use crate::store::Journal;
use quell_model::guard::{MOST_WARM, place_of_event};
use quell_model::playbook::Playbook;
use quell_model::record::{NewRecord, PlaybookSeen, RunStarted};
use quell_model::{Body, Detection, Hash, Kind, Mode, Stamp, StoreError};
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

/// The texts that are known.
#[derive(Debug, Default)]
pub(super) struct Texts {
    seen: HashMap<Hash, Seen>,
}

/// A text.
#[derive(Debug)]
struct Seen {
    since: Stamp,
    /// Where it has run.
    places: BTreeSet<String>,
}

impl Texts {
    fn ran_in(&mut self, text: Hash, place: &str) {
        if let Some(seen) = self.seen.get_mut(&text).filter(|seen| seen.places.len() < MOST_WARM as usize) {
            seen.places.insert(place.to_owned());
        }
    }
}

impl<W: Send + 'static> Core<W> {
    /// Takes up which texts were seen when.
    pub(super) fn recover_texts(&mut self, journal: &Journal) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        for record in journal.latest(&[Kind::PlaybookSeen], usize::MAX)? {
            if let Body::PlaybookSeen(seen) = &record.body {
                let since = self.aged(record.at, now);
                self.texts.seen.entry(seen.hash).or_insert(Seen { since, places: BTreeSet::new() });
            }
        }
        Ok(())
    }

    /// The loaded playbooks are others, or are loaded for the first time: what is new among them is noted, and where those that
    /// are warmed up have run is counted anew.
    pub(super) fn note_texts(&mut self) {
        let now = self.parts.clock.now();
        let mut new = Vec::new();
        for playbook in &self.definitions.playbooks {
            if let Entry::Vacant(entry) = self.texts.seen.entry(playbook.hash) {
                entry.insert(Seen { since: now, places: BTreeSet::new() });
                let (playbook, hash) = (playbook.name.clone(), playbook.hash);
                new.push(NewRecord::new(now, PlaybookSeen { playbook, hash }));
            }
        }
        self.write_system(new);
        if self.guard().warm_up.as_ref().is_some_and(|warm| warm.runs.is_some()) {
            self.count_places();
        }
    }

    fn count_places(&mut self) {
        // Those that are done with it need not be counted: they would have a year's runs read at each reload.
        let warming = self.definitions.playbooks.iter().filter(|playbook| self.warms_up(playbook).is_some());
        let loaded = warming.filter_map(|playbook| self.texts.seen.get(&playbook.hash));
        let Some(since) = loaded.map(|seen| seen.since.wall).min() else { return };
        // What has begun since this start was counted then: the others are in the database.
        let journal = &self.parts.journal;
        let texts = &mut self.texts;
        let counted = journal.counted(since, &mut |run| {
            if let Some(text) = run.definition.filter(|_| run.trusted) {
                texts.ran_in(text, &run.place);
            }
        });
        if let Err(error) = counted {
            // It asks for longer than it need.
            tracing::warn!(%error, "where playbooks have run is not known: those that are warmed up begin anew");
        }
    }

    /// A run has begun.
    pub(super) fn text_ran(&mut self, started: &RunStarted) {
        if !started.untrusted && !started.backfill {
            self.texts.ran_in(started.definition, place_of_event(&started.event));
        }
    }

    /// How far a playbook may go here and now, and what makes it so.
    pub(super) fn mode_of_playbook(&self, playbook: &Playbook) -> (Mode, String) {
        let (mode, because) = self.mode_by_word(playbook);
        match self.warms_up(playbook) {
            Some((held, why)) if held < mode => (held, why),
            _ => (mode, because),
        }
    }

    /// Why a playbook asks although it may act otherwise, because it is new.
    pub(super) fn warm_up_says(&self, playbook: &Playbook) -> Option<String> {
        let (held, why) = self.warms_up(playbook)?;
        (held < self.mode_by_word(playbook).0).then_some(why)
    }

    fn warms_up(&self, playbook: &Playbook) -> Option<(Mode, String)> {
        let warm_up = self.guard().warm_up.as_ref()?;
        let seen = self.texts.seen.get(&playbook.hash);
        let (age, places) =
            seen.map_or((std::time::Duration::ZERO, 0), |seen| (self.age(seen.since), seen.places.len()));
        warm_up.holds(age, places)
    }

    /// How far a run of a playbook may go on a detection.
    pub(super) fn most_on(&self, playbook: &Playbook, detection: &Detection) -> Mode {
        let (mode, _) = self.mode_of_playbook(playbook);
        if self.definitions.is_untrusted(detection) { mode.strictest(Mode::Approve) } else { mode }
    }
}
