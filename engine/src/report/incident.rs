//! Incidents: what is known about one entity, as one story.
//!
//! Owns the fold of an incident's stream, and the joining of its runs' streams. `degraded` says that events were lost
//! while it went on, so that silence in it proves nothing.

use super::run::{self, RunSummary};
use super::system::{LossView, System, Window};
use super::timeline::{self, TimelineLine, who};
use crate::store::Journal;
use quell_model::record::{IncidentOpened, IncidentState, RecorderPinned};
use quell_model::{
    Body, Detection, Entity, Hash, IncidentId, Level, Name, Record, RunId, Seq, Stamp, StoreError, StreamId,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An incident in a list.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct IncidentSummary {
    /// Its id.
    pub id: IncidentId,
    /// The first rule's title.
    pub title: String,
    /// The highest level so far.
    pub level: Level,
    /// Open or resolved.
    pub state: IncidentState,
    /// What it is about.
    pub entity: Entity,
    /// When it was opened.
    pub opened: Stamp,
    /// When something last happened in it.
    pub last: Stamp,
    /// How many detections, counted ones included.
    pub detections: u64,
    /// Its runs.
    pub runs: Vec<RunId>,
    /// Events were lost while it went on.
    pub degraded: bool,
}

/// An incident, whole.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct IncidentView {
    /// Its id.
    pub id: IncidentId,
    /// The first rule's title.
    pub title: String,
    /// The highest level so far.
    pub level: Level,
    /// Open or resolved.
    pub state: IncidentState,
    /// What it is about.
    pub entity: Entity,
    /// When it was opened.
    pub opened: Stamp,
    /// When something last happened in it.
    pub last: Stamp,
    /// Events were lost while it went on.
    pub degraded: bool,
    /// Which.
    pub losses: Vec<LossView>,
    /// What was detected.
    pub detections: Vec<DetectionView>,
    /// What was done about it.
    pub runs: Vec<RunSummary>,
    /// What people wrote.
    pub notes: Vec<NoteView>,
    /// What the recorder keeps of what surrounds it.
    #[serde(default)]
    pub pinned: Option<RecorderPinned>,
    /// Its own lines and its runs', in order.
    pub timeline: Vec<TimelineLine>,
}

/// A detection of an incident.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DetectionView {
    /// The detection's id.
    pub id: Hash,
    /// Which rule.
    pub rule: Name,
    /// The rule's title.
    pub title: String,
    /// How bad.
    pub level: Level,
    /// The rule's tags.
    pub tags: Vec<Name>,
    /// When the event happened.
    pub at: Stamp,
    /// Where.
    pub node: Name,
    /// Who did it: an identity.
    pub subject: String,
    /// Who did it: for people.
    pub who: String,
    /// How often the same rule was seen on the same subject up to the last count, this one included.
    pub count: u64,
    /// The runs that it started or that took it.
    pub runs: Vec<RunId>,
}

/// A line that somebody wrote.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NoteView {
    /// Its number in the incident's stream.
    pub id: Seq,
    /// When.
    pub at: Stamp,
    /// Who.
    pub by: Name,
    /// The line.
    pub text: String,
}

/// Every incident, the latest first.
///
/// # Errors
/// As [`Journal::read`].
pub fn incidents(journal: &Journal) -> Result<Vec<IncidentSummary>, StoreError> {
    let system = System::read(journal)?;
    let mut incidents = Vec::new();
    for (stream, _) in journal.streams()? {
        if stream.as_incident().is_some() {
            let records = journal.read(&stream, 1)?;
            incidents.extend(Fold::of(&records).map(|fold| fold.summary(&system)));
        }
    }
    incidents.sort_by(|a, b| b.opened.wall.cmp(&a.opened.wall).then_with(|| a.id.cmp(&b.id)));
    Ok(incidents)
}

/// One incident; none when there is no such incident.
///
/// # Errors
/// As [`Journal::read`].
pub fn incident(journal: &Journal, id: &IncidentId) -> Result<Option<IncidentView>, StoreError> {
    let stream = StreamId::incident(id);
    let records = journal.read(&stream, 1)?;
    let Some(fold) = Fold::of(&records) else { return Ok(None) };
    let losses = fold.losses(&System::read(journal)?);
    let mut stories = vec![timeline::lines(&stream, &records)];
    let mut runs = Vec::new();
    for id in &fold.runs {
        if let Some(mut run) = run::run(journal, id)? {
            stories.push(std::mem::take(&mut run.timeline));
            runs.push(RunSummary::from(run));
        }
    }
    Ok(Some(IncidentView {
        id: fold.opened.incident.clone(),
        title: fold.opened.title.clone(),
        level: fold.level,
        state: fold.state,
        entity: fold.opened.entity.clone(),
        opened: fold.at,
        last: fold.last,
        degraded: !losses.is_empty(),
        losses,
        detections: fold.detections,
        runs,
        notes: fold.notes,
        pinned: fold.pinned,
        timeline: timeline::merge(stories),
    }))
}

/// What an incident's own stream says.
pub(super) struct Fold {
    pub(super) opened: IncidentOpened,
    at: Stamp,
    last: Stamp,
    /// When the earliest of its events happened.
    first_event: jiff::Timestamp,
    pub(super) level: Level,
    pub(super) state: IncidentState,
    detections: Vec<DetectionView>,
    pub(super) runs: Vec<RunId>,
    notes: Vec<NoteView>,
    own_losses: Vec<LossView>,
    pub(super) pinned: Option<RecorderPinned>,
}

impl Fold {
    /// None if the first record does not open it.
    pub(super) fn of(records: &[Record]) -> Option<Self> {
        let (first, rest) = records.split_first()?;
        let Body::IncidentOpened(opened) = &first.body else { return None };
        let mut fold = Self {
            opened: (**opened).clone(),
            at: first.at,
            last: first.at,
            first_event: first.at.wall,
            level: opened.level,
            state: IncidentState::Open,
            detections: Vec::new(),
            runs: Vec::new(),
            notes: Vec::new(),
            own_losses: Vec::new(),
            pinned: None,
        };
        for record in rest {
            fold.apply(record);
        }
        Some(fold)
    }

    fn apply(&mut self, record: &Record) {
        let at = record.at;
        match &record.body {
            Body::DetectionAccepted(accepted) => {
                let runs = accepted.decided.iter().filter_map(|decided| decided.run.clone());
                self.detected(&accepted.detection, runs.collect());
            }
            Body::IncidentJoined(joined) => {
                self.level = self.level.max(joined.level);
                if let Some(run) = &joined.run {
                    self.joined(run);
                }
                if let Some(known) = joined.detection {
                    self.counted(known, joined.count);
                }
            }
            Body::IncidentChanged(changed) => self.state = changed.state,
            Body::NoteAdded(note) => {
                let (by, text) = (note.by.clone(), note.text.clone());
                self.notes.push(NoteView { id: record.seq, at, by, text });
            }
            // What was lost after its last sign of life is no part of it; the engine writes what concerns it here.
            Body::LossSeen(lost) => return self.own_losses.push(LossView::of(at, lost)),
            // Written when it is over.
            Body::RecorderPinned(pinned) => return self.pinned = Some((**pinned).clone()),
            _ => {}
        }
        self.last = at;
    }

    fn detected(&mut self, detection: &Detection, runs: Vec<RunId>) {
        let event = &detection.event;
        self.level = self.level.max(detection.rule.level);
        let firsts = detection.events.iter().map(|event| event.head.at.wall);
        self.first_event = firsts.chain([event.head.at.wall, self.first_event]).min().unwrap_or(self.first_event);
        for run in &runs {
            self.joined(run);
        }
        let subject = detection.subject().to_string();
        let same = self.detections.iter().filter(|known| known.rule == detection.rule.name && known.subject == subject);
        let count = 1 + same.count() as u64;
        self.detections.push(DetectionView {
            id: detection.id,
            rule: detection.rule.name.clone(),
            title: detection.rule.title.to_string(),
            level: detection.rule.level,
            tags: detection.rule.tags.clone(),
            at: event.head.at,
            node: event.head.node.clone(),
            subject,
            who: who(event),
            count,
            runs,
        });
    }

    fn joined(&mut self, run: &RunId) {
        if !self.runs.contains(run) {
            self.runs.push(run.clone());
        }
    }

    /// A count is told under a later detection's id; it belongs to the last one that was kept whole and is not larger.
    fn counted(&mut self, id: Hash, count: u64) {
        let known = self.detections.iter().position(|known| known.id == id);
        let at = known.or_else(|| self.detections.iter().rposition(|known| known.count < count));
        if let Some(at) = at {
            self.detections[at].count = self.detections[at].count.max(count);
        }
    }

    /// From its first event to its last sign of life.
    pub(super) fn window(&self) -> Window {
        Window { from: self.first_event, to: self.last.wall }
    }

    /// Everything that was lost while it went on, told in its stream or in the engine's, once.
    pub(super) fn losses(&self, system: &System) -> Vec<LossView> {
        let mut losses = self.own_losses.clone();
        for loss in system.losses(self.window()) {
            if !losses.contains(&loss) {
                losses.push(loss);
            }
        }
        losses.sort_by_key(|loss| loss.at.wall);
        losses
    }

    /// How many detections, the merely counted ones included: of each rule and subject the highest count.
    fn count(&self) -> u64 {
        let mut counts: BTreeMap<(&Name, &str), u64> = BTreeMap::new();
        for detection in &self.detections {
            let most = counts.entry((&detection.rule, &detection.subject)).or_default();
            *most = (*most).max(detection.count);
        }
        counts.values().sum()
    }

    fn summary(&self, system: &System) -> IncidentSummary {
        IncidentSummary {
            id: self.opened.incident.clone(),
            title: self.opened.title.clone(),
            level: self.level,
            state: self.state,
            entity: self.opened.entity.clone(),
            opened: self.at,
            last: self.last,
            detections: self.count(),
            runs: self.runs.clone(),
            degraded: !self.losses(system).is_empty(),
        }
    }
}
