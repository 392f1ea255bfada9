//! An incident that is followed: since when, what it wants, how far it has read, and whether it is over.
//!
//! Owns what the incident's own records say of it, and the account of what was not recorded. Reads no file: it is told
//! the heads of pages.

use super::frame::PageHead;
use super::pin::{Pin, Wanted};
use quell_model::record::{IncidentState, RecorderPinned};
use quell_model::{Body, Record, Stamp};
use std::time::Duration;

/// What happened so long before an incident was opened belongs to it.
const BEFORE: Duration = Duration::from_secs(600);

/// An incident that is followed.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) opened: Stamp,
    pub(super) last: Stamp,
    pub(super) resolved: bool,
    pub(super) wanted: Wanted,
    /// What its stream said last about its pin.
    pub(super) before: Option<RecorderPinned>,
    pub(super) pin: Option<Pin>,
    /// The next page to look at: file and offset; none: from its beginning.
    pub(super) place: Option<(u64, u64)>,
    /// Where to begin while there is no such place.
    pub(super) begin: (u64, u64),
    pub(super) lost: u64,
    pub(super) unrecorded: Duration,
    pub(super) told: bool,
    /// The last word about it was said, and nothing came since.
    pub(super) done: bool,
}

/// By the boot clock within this boot, else by the wall clock.
pub(super) fn is_later(one: Stamp, other: Stamp, this_boot: bool) -> bool {
    if this_boot { one.boot_ns > other.boot_ns } else { one.wall > other.wall }
}

impl Case {
    pub(super) fn new(opened: Stamp) -> Self {
        Self {
            opened,
            last: opened,
            resolved: false,
            wanted: Wanted::default(),
            before: None,
            pin: None,
            place: None,
            begin: (0, 0),
            lost: 0,
            unrecorded: Duration::ZERO,
            told: false,
            done: false,
        }
    }

    /// The next page that it has not seen.
    pub(super) fn next(&self) -> (u64, u64) {
        self.place.unwrap_or(self.begin)
    }

    pub(super) fn apply(&mut self, record: &Record, quiet: Duration) {
        match &record.body {
            Body::DetectionAccepted(accepted) => {
                let first = accepted.detection.event.head.at;
                if first.boot_ns < self.opened.boot_ns && first.wall < self.opened.wall {
                    self.opened = first;
                }
                self.wanted.add(&accepted.detection);
            }
            // What surrounded it then is not in the ring: it was before quell looked.
            Body::IncidentOpened(opened) if opened.backfill => self.done = true,
            Body::IncidentJoined(_) => {}
            Body::IncidentChanged(changed) => self.resolved = changed.state == IncidentState::Resolved,
            Body::RecorderPinned(pinned) => {
                self.told = true;
                self.done = self.is_over(record.at, quiet);
                self.before = Some((**pinned).clone());
                return;
            }
            _ => return,
        }
        (self.last, self.done) = (record.at, false);
    }

    /// Resolved, or quiet for so long. After a restart of the machine the wall clock says it.
    pub(super) fn is_over(&self, now: Stamp, quiet: Duration) -> bool {
        let by_wall = Duration::try_from(now.wall.duration_since(self.last.wall)).unwrap_or_default();
        let this_boot = now.boot_ns >= self.last.boot_ns;
        self.resolved || if this_boot { now.since(self.last) > quiet } else { by_wall > quiet }
    }

    pub(super) fn from(&self) -> Stamp {
        let wall = self.opened.wall.checked_sub(jiff::SignedDuration::from_secs(600)).unwrap_or(self.opened.wall);
        let before = u64::try_from(BEFORE.as_nanos()).unwrap_or(u64::MAX);
        Stamp { wall, boot_ns: self.opened.boot_ns.saturating_sub(before) }
    }

    pub(super) fn is_within(&self, at: Stamp, this_boot: bool) -> bool {
        !is_later(self.from(), at, this_boot)
    }

    pub(super) fn overlaps(&self, head: &PageHead, boot: u64) -> bool {
        self.is_within(head.to, head.boot == boot)
    }

    /// What a page says about events that are not there.
    pub(super) fn account(&mut self, head: &PageHead, before: Option<Stamp>, is_first: bool, boot: u64) {
        let from = self.from();
        let this_boot = head.boot == boot;
        let between = |from: Stamp, to: Stamp| {
            let wall = Duration::try_from(to.wall.duration_since(from.wall)).unwrap_or_default();
            if this_boot { to.since(from) } else { wall }
        };
        if let Some(missed) = head.missed.filter(|missed| self.is_within(missed.to, this_boot)) {
            self.lost += missed.events;
            let begin = if is_later(from, missed.from, this_boot) { from } else { missed.from };
            self.unrecorded += between(begin, missed.to);
        }
        if self.place.is_none() && is_first && is_later(head.from, from, this_boot) {
            // The ring does not go back further.
            self.unrecorded += between(from, head.from);
        } else if head.began
            && let Some(before) = before
            && self.is_within(head.from, this_boot)
        {
            // Nobody recorded in between.
            let begin = if is_later(from, before, this_boot) { from } else { before };
            self.unrecorded += between(begin, head.from);
        }
    }

    pub(super) fn pinned(&self, now: Stamp) -> RecorderPinned {
        let earlier = |get: fn(&RecorderPinned) -> u64| self.before.as_ref().map_or(0, get);
        RecorderPinned {
            from: self.from(),
            to: now,
            events: self.pin.as_ref().map_or(0, |pin| pin.events),
            bytes: self.pin.as_ref().map_or(0, |pin| pin.bytes),
            lost: self.lost.max(earlier(|p| p.lost)),
            left_out: earlier(|p| p.left_out) + self.pin.as_ref().map_or(0, |pin| pin.left_out),
            unrecorded_ms: u64::try_from(self.unrecorded.as_millis())
                .unwrap_or(u64::MAX)
                .max(earlier(|p| p.unrecorded_ms)),
            let_go: false,
        }
    }
}
