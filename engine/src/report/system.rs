//! What the engine's own stream says that concerns an incident: losses, pauses, the breaker.
//!
//! Owns the question whether a moment lies within an incident's window.

use crate::incident::Places;
use crate::store::Journal;
use quell_model::record::LossSeen;
use quell_model::{Body, Class, Kind, Name, Record, Stamp, StoreError};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;

/// An incident may have begun this long before its first detection: what was lost then may have been a part of it.
pub(super) const BEFORE: Duration = Duration::from_secs(10);
/// A loss is told at the end of the time in which it was counted.
pub(super) const AFTER: Duration = Duration::from_secs(2);

/// Events that were lost.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct LossView {
    /// When the last of them was told.
    pub at: Stamp,
    /// When the first of them was.
    pub since: Stamp,
    /// Events of which class; none: any.
    pub class: Option<Class>,
    /// How many.
    pub count: u64,
    /// Whose, where known.
    pub cgroup: Option<u64>,
    /// That cgroup's path, where known.
    pub path: Option<Name>,
    /// Where and why.
    pub why: String,
}

impl LossView {
    pub(super) fn of(at: Stamp, lost: &LossSeen) -> Self {
        let since = lost.since.unwrap_or(at);
        let (path, why) = (lost.path.clone(), lost.why.clone());
        Self { at, since, class: lost.class, count: lost.count, cgroup: lost.cgroup, path, why }
    }

    /// Of each class, cgroup and reason one, with the sum.
    pub(super) fn summed(losses: Vec<Self>) -> Vec<Self> {
        let mut sums: Vec<Self> = Vec::new();
        for loss in losses {
            let is_alike = |sum: &&mut Self| (sum.class, sum.cgroup, &sum.why) == (loss.class, loss.cgroup, &loss.why);
            match sums.iter_mut().find(is_alike) {
                Some(sum) => {
                    sum.count += loss.count;
                    sum.at = loss.at;
                }
                None => sums.push(loss),
            }
        }
        sums
    }
}

/// From when to when an incident looks, by the wall clock: it may outlive a boot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) from: jiff::Timestamp,
    pub(super) to: jiff::Timestamp,
}

impl Window {
    /// With what may belong to it on both sides.
    fn wide(self) -> (jiff::Timestamp, jiff::Timestamp) {
        let from = self.from.checked_sub(BEFORE).unwrap_or(jiff::Timestamp::MIN);
        (from, self.to.checked_add(AFTER).unwrap_or(jiff::Timestamp::MAX))
    }
}

/// Losses, changes of the pause or of the breaker that one view looks at: the latest so many.
pub(super) const MOST_MARKS: usize = 1000;

/// What the engine's own stream says of a window.
#[derive(Debug, Default)]
pub(super) struct System {
    losses: Vec<Record>,
    pauses: Vec<Record>,
    breakers: Vec<Record>,
    /// The last change of the pause before the window.
    paused_before: bool,
}

impl System {
    /// Everything that concerns a window.
    pub(super) fn read(journal: &Journal, window: Window) -> Result<Self, StoreError> {
        let (from, to) = window.wide();
        let before = journal.marks(Kind::PauseChanged, jiff::Timestamp::MIN, window.from, 1)?;
        let paused = |record: &Record| matches!(&record.body, Body::PauseChanged(changed) if changed.paused);
        Ok(Self {
            losses: journal.marks(Kind::LossSeen, from, to, MOST_MARKS)?,
            pauses: journal.marks(Kind::PauseChanged, from, to, MOST_MARKS)?,
            breakers: journal.marks(Kind::BreakerChanged, from, to, MOST_MARKS)?,
            paused_before: before.iter().max_by_key(|record| record.at.wall).is_some_and(paused),
        })
    }

    /// Detections that were held back within a window.
    pub(super) fn held(journal: &Journal, window: Window) -> Result<Vec<Record>, StoreError> {
        let (from, to) = window.wide();
        journal.marks(Kind::DetectionHeld, from, to, MOST_MARKS)
    }

    /// Whether something was lost within a window that may be a part of every incident: nobody knows whose it was. What
    /// concerns one incident stands in its own stream.
    pub(super) fn may_concern_all(journal: &Journal, window: Window) -> Result<bool, StoreError> {
        let (from, to) = window.wide();
        let losses = journal.marks(Kind::LossSeen, from, to, MOST_MARKS)?;
        let nobodys =
            |record: &Record| matches!(&record.body, Body::LossSeen(lost) if lost.cgroup.is_none_or(|id| id == 0));
        Ok(losses.iter().any(nobodys))
    }

    /// The losses that may concern what happened in these places.
    pub(super) fn losses(&self, places: &Places) -> impl Iterator<Item = LossView> {
        self.losses.iter().filter_map(|record| match &record.body {
            Body::LossSeen(lost) => places.concerns(lost).then(|| LossView::of(record.at, lost)),
            _ => None,
        })
    }

    /// What the breaker did.
    pub(super) fn breakers(&self) -> impl Iterator<Item = &Record> {
        self.breakers.iter()
    }

    /// Pauses that began within the window proper, and whose.
    pub(super) fn pauses(&self, window: Window) -> impl Iterator<Item = (Stamp, &Name)> {
        let proper = move |record: &&Record| window.from < record.at.wall && record.at.wall <= window.to;
        self.pauses.iter().filter(proper).filter_map(|record| match &record.body {
            Body::PauseChanged(changed) if changed.paused => Some((record.at, &changed.by)),
            _ => None,
        })
    }

    /// Whether actions were paused when the window began.
    pub(super) fn paused_before(&self) -> bool {
        self.paused_before
    }
}
