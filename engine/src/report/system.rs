//! What the engine's own stream says that concerns an incident: losses, pauses, the breaker.
//!
//! Owns the question whether a moment lies within an incident's window.

use crate::store::Journal;
use quell_model::record::LossSeen;
use quell_model::{Body, Class, Kind, Name, Record, Stamp, StoreError, StreamId};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// An incident may have begun this long before its first detection: what was lost then may have been a part of it.
pub(super) const BEFORE: Duration = Duration::from_secs(10);
/// A loss is told at the end of the time in which it was counted.
pub(super) const AFTER: Duration = Duration::from_secs(2);

/// Events that were lost.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LossView {
    /// When it was told.
    pub at: Stamp,
    /// Events of which class; none: any.
    pub class: Option<Class>,
    /// How many.
    pub count: u64,
    /// Whose, where known.
    pub cgroup: Option<u64>,
    /// Where and why.
    pub why: String,
}

impl LossView {
    pub(super) fn of(at: Stamp, lost: &LossSeen) -> Self {
        Self { at, class: lost.class, count: lost.count, cgroup: lost.cgroup, why: lost.why.clone() }
    }
}

/// From when to when an incident looks, by the wall clock: it may outlive a boot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) from: jiff::Timestamp,
    pub(super) to: jiff::Timestamp,
}

impl Window {
    pub(super) fn holds(&self, at: Stamp) -> bool {
        self.from.checked_sub(BEFORE).is_ok_and(|from| from <= at.wall)
            && self.to.checked_add(AFTER).is_ok_and(|to| at.wall <= to)
    }
}

/// The records of the engine's stream that views look at.
pub(super) struct System(Vec<Record>);

impl System {
    pub(super) fn read(journal: &Journal) -> Result<Self, StoreError> {
        let kinds = [Kind::LossSeen, Kind::PauseChanged, Kind::BreakerChanged];
        Ok(Self(journal.read_kinds(&StreamId::system(), 1, &kinds)?))
    }

    /// Those within a window.
    pub(super) fn within(&self, window: Window) -> impl Iterator<Item = &Record> {
        self.0.iter().filter(move |record| window.holds(record.at))
    }

    /// The losses within a window.
    pub(super) fn losses(&self, window: Window) -> impl Iterator<Item = LossView> {
        self.within(window).filter_map(|record| match &record.body {
            Body::LossSeen(lost) => Some(LossView::of(record.at, lost)),
            _ => None,
        })
    }

    /// Pauses that began within a window proper, and whose.
    pub(super) fn pauses(&self, window: Window) -> impl Iterator<Item = (Stamp, &Name)> {
        let proper = move |record: &&Record| window.from < record.at.wall && record.at.wall <= window.to;
        self.0.iter().filter(proper).filter_map(|record| match &record.body {
            Body::PauseChanged(changed) if changed.paused => Some((record.at, &changed.by)),
            _ => None,
        })
    }

    /// Whether actions were paused at a moment.
    pub(super) fn paused_at(&self, at: jiff::Timestamp) -> bool {
        let before = self.0.iter().filter(|record| record.at.wall <= at);
        let mut changes = before.filter_map(|record| match &record.body {
            Body::PauseChanged(changed) => Some(changed.paused),
            _ => None,
        });
        changes.next_back().unwrap_or(false)
    }
}
