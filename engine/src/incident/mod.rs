//! Incidents that are open: which detections join which.
//!
//! Owns the live state; the journal keeps the story, and `report` tells it. A detection on the entity of an incident
//! joins it until that has been quiet for a while; a resolved one reopens within that time.

mod places;

pub use places::Places;

use crate::store::Journal;
use quell_model::record::{IncidentState, NewRecord};
use quell_model::{Body, Detection, Entity, IncidentId, Kind, Level, Name, Seq, Stamp, StoreError, StreamId};
use std::collections::HashMap;
use std::time::Duration;

/// Detections of one rule and subject that are kept whole; further ones are counted.
pub const KEPT_WHOLE: u64 = 5;
/// Subjects that one incident tells apart: a flood of ever new ones must not take the memory.
pub const MOST_COUNTED: usize = 10_000;
/// Losses written into one incident; further ones stand in the system's stream only.
pub const LOSSES_KEPT: u32 = 20;

/// A live incident.
#[derive(Clone, Debug)]
pub struct Incident {
    /// Its id.
    pub id: IncidentId,
    /// What it is about.
    pub entity: Entity,
    /// The number of its last record.
    pub seq: Seq,
    /// The highest level so far.
    pub level: Level,
    /// When a detection or a run last joined.
    pub last: Stamp,
    /// Open or resolved.
    pub state: IncidentState,
    /// How often each (rule, subject) came.
    pub counts: HashMap<(Name, String), u64>,
    /// Losses written so far.
    pub losses: u32,
    /// Where its processes live.
    pub places: Places,
}

impl Incident {
    /// A new one, before its first record.
    #[must_use]
    pub fn open(id: IncidentId, entity: Entity, level: Level, at: Stamp) -> Self {
        let (state, places) = (IncidentState::Open, Places::default());
        Self { id, entity, seq: 0, level, last: at, state, counts: HashMap::new(), losses: 0, places }
    }

    /// What a detection is counted under: its rule and subject; past [`MOST_COUNTED`] of them, its rule alone.
    #[must_use]
    pub fn counted_as(&self, detection: &Detection) -> (Name, String) {
        let key = (detection.rule.name.clone(), detection.subject().to_string());
        if self.counts.len() < MOST_COUNTED || self.counts.contains_key(&key) { key } else { (key.0, String::new()) }
    }

    /// Counts a detection; gives how often its rule and subject came, itself included.
    pub fn count(&mut self, detection: &Detection) -> u64 {
        let count = self.counts.entry(self.counted_as(detection)).or_default();
        *count += 1;
        *count
    }

    /// Whether the detection's number is kept whole, only counted in the journal, or neither.
    #[must_use]
    pub fn keep(count: u64) -> Keep {
        if count <= KEPT_WHOLE {
            Keep::Whole
        } else if count.is_power_of_two() || count.is_multiple_of(1000) {
            Keep::Count
        } else {
            Keep::Nothing
        }
    }

    /// The last count before this one that [`Incident::keep`] has written down: what came in between is told by this one.
    #[must_use]
    pub fn kept_before(count: u64) -> u64 {
        let power = (count.max(2) - 1).ilog2();
        [(count.max(1) - 1).min(KEPT_WHOLE), 1 << power, (count.max(1) - 1) / 1000 * 1000]
            .into_iter()
            .filter(|before| *before < count && (*before <= KEPT_WHOLE || Self::keep(*before) == Keep::Count))
            .max()
            .unwrap_or(0)
    }

    /// Takes up a journaled record.
    pub fn apply(&mut self, at: Stamp, body: &Body) {
        self.seq += 1;
        match body {
            Body::DetectionAccepted(accepted) => {
                self.count(&accepted.detection);
                self.places.learn(&accepted.detection);
                self.level = self.level.max(accepted.detection.rule.level);
                self.last = at;
            }
            Body::IncidentJoined(joined) => {
                self.level = self.level.max(joined.level);
                self.last = at;
            }
            Body::IncidentChanged(changed) => self.state = changed.state,
            Body::LossSeen(_) => self.losses += 1,
            _ => {}
        }
    }
}

/// How much of a repeated detection is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The detection itself.
    Whole,
    /// How many there were.
    Count,
    /// Nothing: a later count includes it.
    Nothing,
}

/// Incidents that may still take detections, by entity.
#[derive(Debug, Default)]
pub struct Incidents {
    by_entity: HashMap<Entity, Incident>,
}

impl Incidents {
    /// The incident that a detection on this entity joins now: open or resolved, not yet quiet.
    pub fn joinable(&mut self, entity: &Entity, now: Stamp, quiet: Duration) -> Option<&mut Incident> {
        self.by_entity.get_mut(entity).filter(|incident| now.since(incident.last) <= quiet)
    }

    /// A new one takes its entity's place; gives back the one that was there.
    pub fn insert(&mut self, incident: Incident) -> Option<Incident> {
        self.by_entity.insert(incident.entity.clone(), incident)
    }

    /// The live incident of this id.
    pub fn get_mut(&mut self, id: &IncidentId) -> Option<&mut Incident> {
        self.by_entity.values_mut().find(|incident| incident.id == *id)
    }

    /// How many live ones may have missed something.
    #[must_use]
    pub fn degraded(&self) -> usize {
        self.by_entity.values().filter(|incident| incident.losses > 0).count()
    }

    /// All live ones.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Incident> {
        self.by_entity.values_mut()
    }

    /// Forgets those that take nothing more, and gives their ids; the journal still has them.
    pub fn sweep(&mut self, now: Stamp, quiet: Duration) -> Vec<IncidentId> {
        let is_over = |incident: &Incident| now.since(incident.last) > quiet;
        let over =
            self.by_entity.values().filter(|incident| is_over(incident)).map(|incident| incident.id.clone()).collect();
        self.by_entity.retain(|_, incident| !is_over(incident));
        over
    }

    /// Takes up an incident from its stream, a record at a time; none if its first record is not its opening.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn read(journal: &Journal, stream: &StreamId) -> Result<Option<Incident>, StoreError> {
        let (mut incident, mut is_first) = (None, true);
        journal.visit(stream, 1, Kind::ALL, &mut |record| match &record.body {
            Body::IncidentOpened(opened) if is_first => {
                let mut new = Incident::open(opened.incident.clone(), opened.entity.clone(), opened.level, record.at);
                (new.seq, is_first) = (1, false);
                incident = Some(new);
            }
            body => {
                is_first = false;
                if let Some(incident) = &mut incident {
                    Incident::apply(incident, record.at, body);
                }
            }
        })?;
        Ok(incident)
    }
}

/// The records of a batch are taken in after they were written.
pub fn apply_all(incident: &mut Incident, records: &[NewRecord]) {
    for record in records {
        incident.apply(record.at, &record.body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_tells_all_since_the_one_before() {
        let mut last = 0;
        for count in 1..20_000 {
            if Incident::keep(count) != Keep::Nothing {
                assert_eq!(Incident::kept_before(count), last, "{count}");
                last = count;
            }
        }
    }
}
