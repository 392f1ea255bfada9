//! Spans: who is on call one after the other.
//!
//! Owns the walk from answer to answer. Keeps true: spans tile what was asked for; a span of nobody is a gap. The walk asks
//! [`Resolved::who`] and nobody else, so a preview says what a page will.

use super::zone::start_of;
use super::{On, Resolved, Schedule};
use jiff::{Span as Days, Timestamp};
use serde::Serialize;

/// A stretch in which one answer holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Span {
    /// From then on.
    pub from: Timestamp,
    /// Up to then.
    pub to: Timestamp,
    /// The answer.
    #[serde(flatten)]
    pub on: On,
}

/// See [`changes`].
#[derive(Clone, Debug)]
pub struct Changes<'a> {
    schedule: Resolved<'a>,
    at: Timestamp,
    to: Timestamp,
}

/// Who is on call from a moment up to another, one after the other.
#[must_use]
pub fn changes(schedule: &Schedule, from: Timestamp, to: Timestamp) -> Changes<'_> {
    Resolved::new(schedule).changes(from, to)
}

impl<'a> Resolved<'a> {
    /// Who is on call from a moment up to another, one after the other.
    #[must_use]
    pub fn changes(self, from: Timestamp, to: Timestamp) -> Changes<'a> {
        Changes { schedule: self, at: from, to }
    }

    /// The same time of day, so many days on, by the schedule's own clock.
    #[must_use]
    pub fn days_on(&self, from: Timestamp, days: u16) -> Timestamp {
        let zone = self.zone();
        let then = zone.to_datetime(from).checked_add(Days::new().days(i64::from(days)));
        then.map_or(Timestamp::MAX, |then| start_of(&zone, then))
    }
}

/// Who is on call over so many days, with reasons and gaps.
#[must_use]
pub fn preview(schedule: &Schedule, from: Timestamp, days: u16) -> Vec<Span> {
    let schedule = Resolved::new(schedule);
    let to = schedule.days_on(from, days);
    schedule.changes(from, to).collect()
}

impl Iterator for Changes<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        let from = self.at;
        if from >= self.to {
            return None;
        }
        let on = self.schedule.who(from);
        let to = on.until.filter(|until| *until < self.to).unwrap_or(self.to);
        debug_assert!(to > from, "an answer holds for a while: {on:?} at {from}");
        // Without progress there would be no end.
        self.at = if to > from { to } else { self.to };
        Some(Span { from, to: self.at, on })
    }
}
