//! Incidents that are open: which detections join which.
//!
//! Owns the live state; the journal keeps the story, and `report` tells it. A detection on the entity of an incident
//! joins it until that has been quiet for a while; a resolved one reopens within that time.

mod also;
mod beside;
mod places;
mod standing;

use also::Also;
pub use beside::Beside;
pub use places::Places;
pub use standing::{Acknowledged, FalsePositive, Standing};

use crate::store::{IncidentLine, Journal};
use quell_model::record::NewRecord;
use quell_model::{Body, Detection, Entity, IncidentId, Kind, Level, Name, Record, Seq, Stamp, StoreError, StreamId};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

/// Detections of one rule and subject that are kept whole; further ones are counted.
pub const KEPT_WHOLE: u64 = 5;
/// Subjects that one incident tells apart: a flood of ever new ones must not take the memory.
pub const MOST_COUNTED: usize = 10_000;
/// Incidents that take detections at the same time: whoever makes ever new entities must not take the memory. The one
/// that was quiet for longest makes room, and a detection on its entity opens another.
pub const MOST_LIVE: usize = 10_000;
/// Records of an incident that a start reads, the last ones. A flood may have left a hundred thousand.
const READ_LATE: Seq = 1000;
/// Losses written into one incident; further ones stand in the system's stream only.
pub const LOSSES_KEPT: u32 = 20;

/// A live incident.
#[derive(Clone, Debug)]
pub struct Incident {
    /// Its id.
    pub id: IncidentId,
    /// What it is about.
    pub entity: Entity,
    /// What a source held before it was first followed began it, and nothing else joins it.
    pub backfill: bool,
    /// The number of its last record.
    pub seq: Seq,
    /// The highest level so far.
    pub level: Level,
    /// When a detection or a run last joined.
    pub last: Stamp,
    /// When that was last written down.
    pub written: Stamp,
    /// Open, acknowledged or resolved.
    pub standing: Standing,
    /// How often each came, under [`Incident::counted_as`].
    pub counts: HashMap<(Name, String), u64>,
    /// Losses written so far.
    pub losses: u32,
    /// Where its processes live.
    pub places: Places,
    /// What else its detections were about.
    also: Also,
}

impl Incident {
    /// A new one, before its first record.
    #[must_use]
    pub fn open(id: IncidentId, entity: Entity, level: Level, at: Stamp) -> Self {
        let (standing, places, counts) = (Standing::default(), Places::default(), HashMap::new());
        let (backfill, seq, losses, also) = (false, 0, 0, Also::default());
        Self { id, entity, backfill, seq, level, last: at, written: at, standing, counts, losses, places, also }
    }

    fn key(&self) -> Key {
        (self.entity.clone(), self.backfill)
    }

    /// What a detection is counted under: its rule and subject, by source, so that nobody's log has spoken of a subject so
    /// often that what the kernel saw of it is only counted; past [`MOST_COUNTED`] of them, its rule alone.
    #[must_use]
    pub fn counted_as(&self, detection: &Detection) -> (Name, String) {
        let subject = format!("{} {}", detection.event.head.source, detection.subject());
        let key = (detection.rule.name.clone(), subject);
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
        self.standing.apply(at, body);
        match body {
            Body::DetectionAccepted(accepted) => {
                self.count(&accepted.detection);
                self.places.learn(&accepted.detection);
                self.also.learn(&self.entity, &accepted.detection);
                self.level = self.level.max(accepted.detection.rule.level);
                (self.last, self.written) = (at, at);
            }
            Body::IncidentJoined(joined) => {
                self.level = self.level.max(joined.level);
                (self.last, self.written) = (at, at);
            }
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

/// What an incident is about, and whether it is about the past: what happens now neither joins such a one nor is joined by it.
type Key = (Entity, bool);

/// Incidents that may still take detections, by entity.
#[derive(Debug, Default)]
pub struct Incidents {
    by_entity: HashMap<Key, Incident>,
    by_id: HashMap<IncidentId, Key>,
    /// What else they are about: see [`Also`].
    also: HashMap<Key, Key>,
    /// Since when each was quiet when it was last looked at; it may have had something since, or be gone.
    quiet: BinaryHeap<Reverse<(Stamp, IncidentId)>>,
    /// What belongs to none.
    pub beside: Beside,
}

impl Incidents {
    /// The incident that this detection joins now: in whatever state, not yet quiet.
    pub fn joinable(&mut self, detection: &Detection, now: Stamp, quiet: Duration) -> Option<&mut Incident> {
        let key = self.ways_to(detection).find(|key| {
            let incident = self.by_entity.get(key);
            incident.is_some_and(|incident| now.since(incident.last) <= quiet)
        })?;
        self.by_entity.get_mut(&key)
    }

    /// A new one takes its entity's place; gives back the one that was there, or that had to make room.
    pub fn insert(&mut self, incident: Incident) -> Option<Incident> {
        let key = incident.key();
        let is_full = self.by_entity.len() >= MOST_LIVE && !self.by_entity.contains_key(&key);
        let makes_room = if is_full { self.longest_quiet() } else { None };
        self.quiet.push(Reverse((incident.last, incident.id.clone())));
        self.by_id.insert(incident.id.clone(), key.clone());
        let also: Vec<Key> = incident.also.keys(incident.backfill).collect();
        let of = key.clone();
        let out = match makes_room {
            Some(other) => {
                self.by_entity.insert(key, incident);
                self.by_entity.remove(&other)
            }
            None => self.by_entity.insert(key, incident),
        };
        if let Some(out) = &out {
            self.by_id.remove(&out.id);
            self.forget_also(out);
        }
        self.also.extend(also.into_iter().map(|key| (key, of.clone())));
        out
    }

    /// The one that was quiet for longest. A flood of new entities asks each time: it looks at few.
    fn longest_quiet(&mut self) -> Option<Key> {
        while let Some(Reverse((noted, id))) = self.quiet.pop() {
            let live = self.by_id.get(&id).and_then(|key| self.by_entity.get(key));
            match live.map(|incident| (incident.last, incident)) {
                Some((last, _)) if last > noted => self.quiet.push(Reverse((last, id))),
                Some((_, incident)) => return Some(incident.key()),
                None => {}
            }
        }
        None
    }

    /// The live incident of this id.
    pub fn get_mut(&mut self, id: &IncidentId) -> Option<&mut Incident> {
        self.by_entity.get_mut(self.by_id.get(id)?)
    }

    /// A live one, to look at.
    #[must_use]
    pub fn get(&self, id: &IncidentId) -> Option<&Incident> {
        self.by_entity.get(self.by_id.get(id)?)
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
        let gone: Vec<Incident> =
            self.by_entity.extract_if(|_, incident| is_over(incident)).map(|(_, gone)| gone).collect();
        gone.iter().for_each(|gone| self.forget_also(gone));
        let over: Vec<IncidentId> = gone.into_iter().map(|gone| gone.id).collect();
        over.iter().for_each(|id| drop(self.by_id.remove(id)));
        self.quiet.retain(|Reverse((_, id))| self.by_id.contains_key(id));
        over
    }

    /// Takes up an incident from its stream, a record at a time, and lets `each` look at it; none if its first record is
    /// not its opening.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn read(
        journal: &Journal,
        stream: &StreamId,
        each: &mut dyn FnMut(&Record),
    ) -> Result<Option<Incident>, StoreError> {
        let (mut incident, mut is_first) = (None, true);
        journal.visit(stream, 1, Kind::ALL, &mut |record| {
            each(&record);
            match &record.body {
                Body::IncidentOpened(opened) if is_first => {
                    let (id, entity) = (opened.incident.clone(), opened.entity.clone());
                    let mut new = Incident::open(id, entity, opened.level, record.at);
                    (new.seq, new.backfill, is_first) = (1, opened.backfill, false);
                    incident = Some(new);
                }
                body => {
                    is_first = false;
                    if let Some(incident) = &mut incident {
                        Incident::apply(incident, record.at, body);
                    }
                }
            }
        })?;
        Ok(incident)
    }

    /// As [`Incidents::read`], from its line in the lists and its last records: of a long one the subjects that came
    /// earlier are counted anew, and it plays everywhere.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn read_late(
        journal: &Journal,
        stream: &StreamId,
        line: &IncidentLine,
        each: &mut dyn FnMut(&Record),
    ) -> Result<Incident, StoreError> {
        let from = (journal.last(stream) + 1).saturating_sub(READ_LATE).max(1);
        let head = &line.head;
        let mut incident = Incident::open(head.incident.clone(), head.entity.clone(), line.level, head.opened);
        (incident.seq, incident.backfill) = (from - 1, head.backfill);
        if from > 1 {
            (incident.last, incident.written) = (line.last, line.last);
            incident.places.forget();
        }
        journal.visit(stream, from, Kind::ALL, &mut |record| {
            each(&record);
            incident.apply(record.at, &record.body);
        })?;
        incident.standing = line.standing();
        incident.losses = incident.losses.max(u32::try_from(line.losses).unwrap_or(u32::MAX));
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
    fn ever_new_entities_take_no_more_than_their_room() {
        let mut all = Incidents::default();
        let at = |ns| Stamp { wall: jiff::Timestamp::UNIX_EPOCH, boot_ns: ns };
        let new = |n: usize| {
            let entity = Entity { kind: "unit".into(), id: n.to_string().as_str().into(), node: "n".into() };
            Incident::open(n.to_string().as_str().into(), entity, Level::High, at(n as u64))
        };
        for n in 0..MOST_LIVE + 3 {
            let out = all.insert(new(n)).map(|out| out.id);
            assert_eq!(out, n.checked_sub(MOST_LIVE).map(|n| n.to_string().as_str().into()), "the oldest makes room");
        }
        assert!(all.get_mut(&"2".into()).is_none());
        // What had something since is not the one.
        all.get_mut(&"3".into()).unwrap().last = at(1_000_000);
        assert_eq!(all.insert(new(MOST_LIVE + 3)).map(|out| out.id), Some("4".into()));
        assert!(all.get_mut(&"3".into()).is_some());
        assert_eq!((all.by_id.len(), all.by_entity.len()), (MOST_LIVE, MOST_LIVE));
        let over = all.sweep(at(2_000_000_000_000), Duration::from_secs(1));
        assert_eq!((over.len(), all.by_id.len(), all.quiet.len()), (MOST_LIVE, 0, 0));
    }

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
