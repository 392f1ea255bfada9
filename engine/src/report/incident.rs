//! Incidents: what is known about one entity, as one story.
//!
//! Owns the fold of an incident's stream, and the joining of its runs' streams. `degraded` says that events were lost
//! while it went on, so that silence in it proves nothing. Keeps true: a view is bounded, whatever went through the incident.

use super::bound::{Ends, MOST_SHOWN, More, Wanted, is_zero};
use super::ladder;
use super::page::{self, Page};
use super::run::{self, RunSummary};
use super::system::{LossView, System, Window};
use super::timeline::{self, TimelineLine, who};
use crate::incident::{Acknowledged, FalsePositive, Incident, MOST_COUNTED, Places, Standing};
use crate::store::{IncidentLine, Journal};
use quell_model::record::{IncidentOpened, IncidentState, LadderSilenced, RecorderPinned};
use quell_model::{
    Body, Detection, Entity, Hash, IncidentId, Kind, LadderId, Level, Name, Record, RunId, Seq, Stamp, StoreError,
    StreamId,
};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher};
use utoipa::ToSchema;

/// An incident in a list.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct IncidentSummary {
    /// Its id.
    pub id: IncidentId,
    /// The first rule's title.
    pub title: String,
    /// The highest level so far.
    pub level: Level,
    /// Open, acknowledged or resolved.
    pub state: IncidentState,
    /// Who looks after it; of a resolved one, who did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledged>,
    /// Of a resolved one: it was no attack, says who, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub false_positive: Option<FalsePositive>,
    /// What it is about.
    pub entity: Entity,
    /// When it was opened.
    pub opened: Stamp,
    /// It is about what a source held before it was first followed: nobody was told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backfill: bool,
    /// When something last happened in it.
    pub last: Stamp,
    /// How many detections, counted ones included.
    pub detections: u64,
    /// Its runs; the first [`MOST_SHOWN`].
    pub runs: Vec<RunId>,
    /// How many runs are not named.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub runs_more: u64,
    /// Events were lost while it went on.
    pub degraded: bool,
}

/// An incident with its story.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct IncidentView {
    /// Its id.
    pub id: IncidentId,
    /// The first rule's title.
    pub title: String,
    /// The highest level so far.
    pub level: Level,
    /// Open, acknowledged or resolved.
    pub state: IncidentState,
    /// Who looks after it; of a resolved one, who did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledged>,
    /// Of a resolved one: it was no attack, says who, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub false_positive: Option<FalsePositive>,
    /// The silence that holds back whoever would be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silenced: Option<LadderSilenced>,
    /// Since when the last resort is told and nobody has answered; none: that is not so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exhausted: Option<Stamp>,
    /// What it is about.
    pub entity: Entity,
    /// When it was opened.
    pub opened: Stamp,
    /// It is about what a source held before it was first followed: nobody was told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backfill: bool,
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
    /// Of what was done about it, the runs whose records were pruned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs_pruned: Vec<RunId>,
    /// What people wrote.
    pub notes: Vec<NoteView>,
    /// What the recorder keeps of what surrounds it.
    #[serde(default)]
    pub pinned: Option<RecorderPinned>,
    /// Its own lines and its runs', in order.
    pub timeline: Vec<TimelineLine>,
    /// What of all this is left out: of long lists the first and the last are shown.
    #[serde(default, skip_serializing_if = "More::is_none")]
    pub more: More,
}

/// A detection of an incident.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NoteView {
    /// Its number in the incident's stream.
    #[schema(value_type = u64)]
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
    page::all(|before| incident_page(journal, before, page::LONGEST))
}

/// Some incidents, the latest first, so many and [`page::LONGEST`] at the most; the next page goes on before `next`.
///
/// # Errors
/// As [`Journal::read`].
pub fn incident_page(journal: &Journal, before: Option<i64>, long: usize) -> Result<Page<IncidentSummary>, StoreError> {
    let long = long.clamp(1, page::LONGEST);
    page::of(journal.incidents(before, long)?, long, |listed| match listed.line {
        Some(line) => Ok(Some(of_line(journal, line)?)),
        None => of_stream(journal, &listed.stream),
    })
}

/// Incidents that are not resolved, the latest first, `most` of them at the most, and how many there are.
///
/// # Errors
/// As [`Journal::read`].
pub fn open_incidents(journal: &Journal, most: usize) -> Result<(Vec<IncidentSummary>, usize), StoreError> {
    let open = journal.open_streams()?.into_iter().filter(|stream| stream.as_incident().is_some());
    let open: Vec<StreamId> = open.collect();
    let mut all = Vec::new();
    for stream in open.iter().take(most) {
        all.extend(of_stream(journal, stream)?);
    }
    all.sort_by_key(|one| std::cmp::Reverse(one.opened.wall));
    Ok((all, open.len()))
}

fn of_stream(journal: &Journal, stream: &StreamId) -> Result<Option<IncidentSummary>, StoreError> {
    let mut fold = None;
    visit(journal, stream, Wanted::default(), &mut fold, &mut |_| ())?;
    fold.map(|fold| fold.summary(journal)).transpose()
}

fn of_line(journal: &Journal, line: IncidentLine) -> Result<IncidentSummary, StoreError> {
    // The wall clock may have been set back meanwhile.
    let from = if line.head.backfill { line.head.opened.wall } else { line.first };
    let window = Window { from, to: line.last.wall.max(line.head.opened.wall) };
    let degraded = line.losses > 0 || System::may_concern_all(journal, window)?;
    let (runs, all) = journal.members(&line.head.incident, MOST_SHOWN)?;
    let Standing { state, acknowledged, false_positive } = line.standing();
    Ok(IncidentSummary {
        id: line.head.incident,
        title: line.head.title,
        level: line.level,
        state,
        acknowledged,
        false_positive,
        entity: line.head.entity,
        opened: line.head.opened,
        backfill: line.head.backfill,
        last: line.last,
        detections: line.detections,
        runs_more: all.saturating_sub(runs.len() as u64),
        runs,
        degraded,
    })
}

/// One incident; none when there is no such incident.
///
/// # Errors
/// As [`Journal::read`].
pub fn incident(journal: &Journal, id: &IncidentId, wanted: Wanted) -> Result<Option<IncidentView>, StoreError> {
    let stream = StreamId::incident(id);
    let (mut fold, mut teller, mut own) = (None, timeline::Teller::new(&[]), wanted.ends());
    visit(journal, &stream, wanted, &mut fold, &mut |record| {
        own.extend(teller.line(record, None).filter(|line| wanted.is_since(line.at)));
    })?;
    let Some(fold) = fold else { return Ok(None) };
    let losses = fold.losses(&System::read(journal, fold.window())?);
    let (own, mut left_out) = own.done();
    let mut stories = vec![own];
    let (named, runs_more) = fold.runs.done();
    let (mut runs, mut runs_pruned) = (Vec::new(), Vec::new());
    for id in &named {
        if journal.pruned(&StreamId::run(id))?.is_some() {
            runs_pruned.push(id.clone());
        } else if let Some(mut run) = run::run(journal, id)? {
            let mut lines = wanted.ends();
            lines.extend(std::mem::take(&mut run.timeline).into_iter().filter(|line| wanted.is_since(line.at)));
            let (lines, more) = lines.done();
            left_out += more;
            stories.push(lines);
            runs.push(RunSummary::from(run));
        }
    }
    let (mut told, mut silenced, mut last_resort) = (wanted.ends(), None, ladder::LastResort::default());
    journal.visit(&StreamId::ladder(&LadderId::incident(id)), 1, Kind::ALL, &mut |record| {
        ladder::holds_back(&mut silenced, &record);
        last_resort.take(&record);
        told.extend(teller.line(&record, None).filter(|line| wanted.is_since(line.at)));
    })?;
    let (told, more) = told.done();
    left_out += more;
    stories.push(told);
    let mut story = wanted.ends();
    story.extend(timeline::merge(stories));
    let (timeline, more) = story.done();
    let ((detections, detections_more), (notes, notes_more)) = (fold.detections.done(), fold.notes.done());
    Ok(Some(IncidentView {
        id: fold.opened.incident,
        title: fold.opened.title,
        level: fold.level,
        state: fold.standing.state,
        acknowledged: fold.standing.acknowledged,
        false_positive: fold.standing.false_positive,
        silenced,
        exhausted: last_resort.unanswered(),
        entity: fold.opened.entity,
        opened: fold.at,
        backfill: fold.opened.backfill,
        last: fold.last,
        degraded: !losses.is_empty(),
        losses,
        detections,
        runs,
        runs_pruned,
        notes,
        pinned: fold.pinned,
        timeline,
        more: More {
            detections: detections_more,
            runs: runs_more,
            notes: notes_more,
            timeline: left_out + more,
            held: 0,
            moments: 0,
        },
    }))
}

/// Folds an incident's stream, a record at a time; the fold stays none when the first record does not open it.
pub(super) fn visit(
    journal: &Journal,
    stream: &StreamId,
    wanted: Wanted,
    fold: &mut Option<Fold>,
    each: &mut dyn FnMut(&Record),
) -> Result<(), StoreError> {
    let mut is_first = true;
    journal.visit(stream, 1, Kind::ALL, &mut |record| {
        if std::mem::take(&mut is_first) {
            *fold = Fold::begin(&record, wanted);
        } else if let Some(fold) = fold {
            fold.apply(&record);
        }
        if fold.is_some() {
            each(&record);
        }
    })
}

/// What an incident's own stream says.
pub(super) struct Fold {
    wanted: Wanted,
    pub(super) opened: IncidentOpened,
    pub(super) at: Stamp,
    last: Stamp,
    /// When the earliest of its events happened.
    first_event: jiff::Timestamp,
    pub(super) level: Level,
    pub(super) standing: Standing,
    detections: Ends<DetectionView>,
    /// How many detections, the merely counted ones included.
    count: u64,
    /// How often each (rule, subject) was kept whole, as far as they are told apart.
    counts: HashMap<(Name, String), u64>,
    pub(super) runs: Ends<RunId>,
    /// The sums of the runs' ids: a run is named once.
    known: HashSet<u64>,
    notes: Ends<NoteView>,
    own_losses: Vec<LossView>,
    pub(super) pinned: Option<RecorderPinned>,
    places: Places,
}

impl Fold {
    /// None if the record does not open it.
    fn begin(first: &Record, wanted: Wanted) -> Option<Self> {
        let Body::IncidentOpened(opened) = &first.body else { return None };
        Some(Self {
            wanted,
            opened: (**opened).clone(),
            at: first.at,
            last: first.at,
            first_event: first.at.wall,
            level: opened.level,
            standing: Standing::default(),
            detections: wanted.ends(),
            count: 0,
            counts: HashMap::new(),
            runs: wanted.ends(),
            known: HashSet::new(),
            notes: wanted.ends(),
            own_losses: Vec::new(),
            pinned: None,
            places: Places::default(),
        })
    }

    fn apply(&mut self, record: &Record) {
        let at = record.at;
        self.standing.apply(at, &record.body);
        match &record.body {
            Body::DetectionAccepted(accepted) => {
                let runs = accepted.decided.iter().filter_map(|decided| decided.run.clone());
                self.detected(at, &accepted.detection, runs.collect());
                self.count += u64::from(!accepted.counted_later);
            }
            Body::IncidentJoined(joined) => {
                self.level = self.level.max(joined.level);
                if let Some(run) = &joined.run {
                    self.joined(at, run);
                }
                if let Some(known) = joined.detection {
                    self.count += joined.count.saturating_sub(Incident::kept_before(joined.count));
                    self.counted(known, joined.level, joined.count);
                }
            }
            Body::NoteAdded(note) => {
                let (by, text) = (note.by.clone(), note.text.clone());
                if self.wanted.is_since(at) {
                    self.notes.push(NoteView { id: record.seq, at, by, text });
                }
            }
            // What was lost after its last sign of life is no part of it; the engine writes what concerns it here.
            Body::LossSeen(lost) => return self.own_losses.push(LossView::of(at, lost)),
            // Written when it is over.
            Body::RecorderPinned(pinned) => return self.pinned = Some((**pinned).clone()),
            _ => {}
        }
        self.last = at;
    }

    fn detected(&mut self, at: Stamp, detection: &Detection, runs: Vec<RunId>) {
        let event = &detection.event;
        self.places.learn(detection);
        self.level = self.level.max(detection.rule.level);
        let firsts = detection.events.iter().map(|event| event.head.at.wall);
        self.first_event = firsts.chain([event.head.at.wall, self.first_event]).min().unwrap_or(self.first_event);
        for run in &runs {
            self.joined(at, run);
        }
        let subject = detection.subject().to_string();
        let key = (detection.rule.name.clone(), subject.clone());
        let count = if self.counts.len() < MOST_COUNTED || self.counts.contains_key(&key) {
            let count = self.counts.entry(key).or_default();
            *count += 1;
            *count
        } else {
            1
        };
        if !self.wanted.is_since(at) {
            return;
        }
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

    fn joined(&mut self, at: Stamp, run: &RunId) {
        if self.wanted.is_since(at) && self.known.insert(sum(run)) {
            self.runs.push(run.clone());
        }
    }

    /// A count is told under a later detection's id. It goes on from the count before it, and belongs to the last one that
    /// was kept whole and stands there; where a start has counted anew, to the last smaller one, unless that may be left out.
    fn counted(&mut self, id: Hash, level: Level, count: u64) {
        let before = Incident::kept_before(count);
        let all_shown = self.detections.left_out == 0;
        let is_known = |one: &DetectionView| one.id == id;
        let goes_on = |one: &DetectionView| one.level == level && one.count == before;
        let is_smaller = |one: &DetectionView| all_shown && one.level == level && one.count < count;
        let ways: [&dyn Fn(&DetectionView) -> bool; 3] = [&is_known, &goes_on, &is_smaller];
        for is_it in ways {
            if let Some(one) = self.detections.latest_first().find(|one| is_it(one)) {
                one.count = one.count.max(count);
                return;
            }
        }
    }

    /// From its first event to its last sign of life; of what is long past, from when it was read.
    pub(super) fn window(&self) -> Window {
        // The wall clock may have been set back meanwhile.
        let from = if self.opened.backfill { self.at.wall } else { self.first_event };
        Window { from, to: self.last.wall.max(self.at.wall) }
    }

    /// Everything that was lost while it went on and may have been a part of it, told in its stream or in the engine's, once.
    pub(super) fn losses(&self, system: &System) -> Vec<LossView> {
        let mut losses = self.own_losses.clone();
        for loss in system.losses(&self.places) {
            if !losses.contains(&loss) {
                losses.push(loss);
            }
        }
        losses.sort_by_key(|loss| loss.at.wall);
        LossView::summed(losses)
    }

    fn summary(self, journal: &Journal) -> Result<IncidentSummary, StoreError> {
        let degraded = !self.own_losses.is_empty() || !self.losses(&System::read(journal, self.window())?).is_empty();
        let (runs, runs_more) = self.runs.done();
        Ok(IncidentSummary {
            id: self.opened.incident,
            title: self.opened.title,
            level: self.level,
            state: self.standing.state,
            acknowledged: self.standing.acknowledged,
            false_positive: self.standing.false_positive,
            entity: self.opened.entity,
            opened: self.at,
            backfill: self.opened.backfill,
            last: self.last,
            detections: self.count,
            runs,
            runs_more,
            degraded,
        })
    }
}

fn sum(run: &RunId) -> u64 {
    let mut hasher = DefaultHasher::new();
    run.as_str().hash(&mut hasher);
    hasher.finish()
}
