//! How far each source was read: written down with what was accepted from there, or after it.
//!
//! ```text
//! line ─▶ detection ─▶ DetectionAccepted ┐
//!                      SourceAdvanced    ├─ one append: after SIGKILL both are there, or the line is read again
//! portion without one ─▶ SourceAdvanced, at most once a minute, and at the end
//!
//! delivery ─▶ detections ─▶ DetectionAccepted ─▶ synced ─▶ Committed: whoever brought it may forget it
//! ```
//!
//! Owns what is known of each source's parts, and when that is written. Keeps true: no position is ahead of what was taken in, and
//! none goes back; what is read again, or brought again, after a crash, and was accepted before it, is not accepted twice. Of what
//! somebody brings there is no position: they keep it until they have the word that it is committed.

use super::shell::Core;
use crate::load::config::WebhookSource;
use crate::store::{Committed, Journal};
use jiff::Timestamp;
use quell_model::record::source::{Part, Position};
use quell_model::record::{NewRecord, SourceAdvanced};
use quell_model::{Body, Detection, Hash, Kind, Name, Record, Seq, Stamp, StoreError, StreamId};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

/// So long a position waits that no detection takes along: what lies before it can be read again without harm.
const EVERY: Duration = Duration::from_secs(60);
/// Records that name what has moved come between two that name all, until they name as many parts as there are, and at least so
/// many: a start reads no more of them than that.
const LEAST_NAMED: usize = 256;
/// So many detections of what was brought before a start are known again: of an hour in which each second has thirty.
const MOST_BROUGHT: usize = 100_000;

/// All sources that were ever followed.
#[derive(Debug, Default)]
pub(super) struct Sources {
    all: BTreeMap<Name, Stand>,
    /// Where the line ends whose detections are being taken in.
    mark: Option<(Name, Position)>,
    /// What was accepted before this start of what somebody brought, who may not have been answered and bring it again. As far as a
    /// start reads back: the incidents that are not quiet yet.
    brought: HashSet<Hash>,
}

/// How far one was read.
#[derive(Debug, Default)]
struct Stand {
    at: BTreeMap<Part, Position>,
    /// What has moved since it was last written.
    moved: BTreeSet<Part>,
    /// When that was.
    written: Option<Stamp>,
    /// The wall clock of its last record before this start.
    before: Option<Timestamp>,
    /// Parts that were named since all of them were; none: they never were.
    named: Option<usize>,
    /// What was accepted after its last record, before this start: it may be read again.
    accepted: HashSet<Hash>,
}

impl Stand {
    /// A part was read so far. It comes on two ways, what is live and what is past, and neither knows of the other.
    fn note(&mut self, position: Position) {
        let is_known = self.at.get(&position.part()).is_some_and(|known| !known.is_gone());
        // It is gone: the last that came of its past.
        if is_known || !position.was_there() {
            self.take(position);
        }
    }

    /// The same of a part of which this says all, also of what was there before.
    fn take(&mut self, position: Position) {
        let part = position.part();
        let now = match self.at.get(&part) {
            Some(known) if !known.is_gone() => known.join(&position),
            _ => position,
        };
        self.moved.insert(part);
        self.at.insert(part, now);
    }

    /// The next record; none if nothing has moved.
    fn tell(&mut self, source: &Name, now: Stamp) -> Option<NewRecord> {
        if self.moved.is_empty() && self.named.is_some() {
            return None;
        }
        self.written = Some(now);
        let moved = std::mem::take(&mut self.moved);
        let named = self.named.map(|named| named + moved.len());
        let whole = named.is_none_or(|named| named > self.at.len().max(LEAST_NAMED));
        self.named = if whole { Some(0) } else { named };
        let positions = if whole {
            self.at.values().filter(|position| !position.is_gone()).cloned().collect()
        } else {
            moved.iter().filter_map(|part| self.at.get(part).cloned()).collect()
        };
        moved.iter().for_each(|part| {
            if self.at.get(part).is_some_and(Position::is_gone) {
                self.at.remove(part);
            }
        });
        Some(NewRecord::new(now, SourceAdvanced { source: source.clone(), whole, positions }))
    }

    fn take_in(&mut self, record: &Record) {
        let Body::SourceAdvanced(advanced) = &record.body else { return };
        if advanced.whole {
            self.at.clear();
        }
        let named = if advanced.whole { 0 } else { self.named.unwrap_or(0) + advanced.positions.len() };
        (self.named, self.before) = (Some(named), Some(record.at.wall));
        for position in &advanced.positions {
            if position.is_gone() {
                self.at.remove(&position.part());
            } else {
                self.at.insert(position.part(), position.clone());
            }
        }
    }
}

impl Sources {
    /// Takes up what the journal says of every source.
    pub(super) fn recover(journal: &Journal) -> Result<Self, StoreError> {
        let mut all = BTreeMap::new();
        for (stream, last) in journal.live() {
            let Some(source) = stream.as_source() else { continue };
            let mut stand = Stand::default();
            latest(journal, &stream, last)?.iter().for_each(|record| stand.take_in(record));
            if stand.named.is_some() {
                all.insert(source, stand);
            }
        }
        Ok(Self { all, ..Self::default() })
    }

    /// An incident's record, as a start reads it: what was accepted since a source was last written may be read again.
    pub(super) fn note(&mut self, record: &Record) {
        let Body::DetectionAccepted(accepted) = &record.body else { return };
        if is_brought(&accepted.detection) {
            if self.brought.len() < MOST_BROUGHT {
                self.brought.insert(accepted.detection.id);
            }
        } else if let Some(stand) = self.all.get_mut(&accepted.detection.event.head.source)
            && stand.before.is_some_and(|before| record.at.wall >= before)
        {
            stand.accepted.insert(accepted.detection.id);
        }
    }

    /// Whether it was accepted before this start, of a line that is read again.
    pub(super) fn was_accepted(&mut self, detection: &Detection) -> bool {
        if is_brought(detection) {
            return self.brought.contains(&detection.id);
        }
        let stand = self.all.get_mut(&detection.event.head.source);
        stand.is_some_and(|stand| stand.accepted.remove(&detection.id))
    }
}

/// Whether somebody brought what it is of.
fn is_brought(detection: &Detection) -> bool {
    detection.event.head.source.as_str().starts_with(WebhookSource::PREFIX)
}

/// The records of a source from the last on that names all its parts.
fn latest(journal: &Journal, stream: &StreamId, last: Seq) -> Result<Vec<Record>, StoreError> {
    let mut back = LEAST_NAMED as Seq;
    loop {
        let from = last.saturating_sub(back).max(1);
        let records = journal.read_kinds(stream, from, &[Kind::SourceAdvanced])?;
        let is_whole = |record: &Record| matches!(&record.body, Body::SourceAdvanced(advanced) if advanced.whole);
        if from == 1 || records.iter().any(is_whole) {
            return Ok(records);
        }
        back *= 4;
    }
}

impl<W: Send + 'static> Core<W> {
    /// How far a source was read before; none: it was never followed.
    #[must_use]
    pub fn positions(&self, source: &Name) -> Option<Vec<Position>> {
        self.sources.all.get(source).map(|stand| stand.at.values().cloned().collect())
    }

    /// Takes in the detections of one line of a source, and with them that it was read to there.
    pub fn detections_at(
        &mut self,
        detections: impl IntoIterator<Item = Detection>,
        source: &Name,
        position: Option<Position>,
    ) {
        self.take_in(detections, position.map(|position| (source.clone(), position)));
    }

    /// All that lies before these positions was taken in; `whole`: the source has no other parts.
    pub fn advanced(&mut self, source: &Name, positions: Vec<Position>, whole: bool) {
        let now = self.parts.clock.now();
        let stand = self.sources.all.entry(source.clone()).or_default();
        if whole {
            (stand.at, stand.moved, stand.named) = (BTreeMap::new(), BTreeSet::new(), None);
        }
        for position in positions {
            if whole {
                stand.at.insert(position.part(), position);
            } else {
                stand.note(position);
            }
        }
        // What a source has at its start is the ground of all that follows.
        if whole {
            self.write_positions(now);
            self.ink.ring();
        }
    }

    /// Parts are known by another number now: these are they, with all that was read of them, and the ends of what they were.
    pub fn found(&mut self, source: &Name, positions: Vec<Position>) {
        let stand = self.sources.all.entry(source.clone()).or_default();
        positions.into_iter().for_each(|position| stand.take(position));
    }

    /// Whether the journal takes what is written now. Who brings something can keep it for a while, and should where it does not.
    pub fn can_take_in(&mut self) -> bool {
        self.ink.takes()
    }

    /// Tells once all that was taken in until now survives a power cut, or why nobody can say so. On the journal's own thread.
    pub fn when_committed(&mut self, told: impl FnOnce(Result<Committed, StoreError>) + Send + 'static) {
        self.ink.when_committed(told);
    }

    /// The last of a line's detections is about to be taken in.
    pub(super) fn mark(&mut self, at: Option<(Name, Position)>) {
        self.sources.mark = at;
    }

    /// Writes with a detection that its line was read.
    pub(super) fn write_mark(&mut self, now: Stamp) {
        let Some((source, position)) = self.sources.mark.take() else { return };
        let Some(stand) = self.sources.all.get_mut(&source).filter(|stand| stand.named.is_some()) else { return };
        stand.note(position);
        if let Some(record) = stand.tell(&source, now) {
            self.ink.append(StreamId::source(&source), &[record]);
        }
    }

    /// Writes what has waited long enough.
    pub(super) fn positions_due(&mut self, now: Stamp) {
        let is_due =
            |stand: &Stand| !stand.moved.is_empty() && stand.written.is_none_or(|written| now.since(written) >= EVERY);
        if self.sources.all.values().any(is_due) {
            self.write_positions(now);
            // What was to be read again has been by now.
            self.sources.all.values_mut().for_each(|stand| stand.accepted.clear());
        }
    }
}

impl<W> Core<W> {
    /// Writes all that has moved.
    pub(super) fn write_positions(&mut self, now: Stamp) {
        for (source, stand) in &mut self.sources.all {
            if let Some(record) = stand.tell(source, now) {
                self.ink.append(StreamId::source(source), &[record]);
            }
        }
    }
}
