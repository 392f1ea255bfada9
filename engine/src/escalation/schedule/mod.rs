//! Schedules: who is on call at a moment.
//!
//! ```text
//! Schedule ──▶ Resolved ── who(moment) ──▶ On: who, why, until when
//!               │ zone: times of a clock as moments      │
//!               │ shift: whose turn it is in a layer     ├─▶ spans, a preview ──▶ iCalendar
//!               └ window: when a layer has somebody      └─▶ what a ladder, a message and an audit say
//! ```
//!
//! Owns their shape and their meaning. Times are those of a zone's clock, never offsets. Never reads a clock: the moment comes in.

pub mod ical;
mod on;
mod resolve;
mod shift;
mod span;
mod window;
pub mod zone;

#[cfg(test)]
mod tests;

pub use on::{On, Why, told};
pub use resolve::{Resolved, who};
pub use span::{Changes, Span, changes, preview};

use jiff::civil::{Date, DateTime, Time, Weekday};
use quell_model::Name;
use std::collections::BTreeSet;

/// Who is on call when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schedule {
    /// The IANA zone in which its times are meant.
    pub time_zone: String,
    /// Later ones lie over earlier ones where they have somebody.
    pub layers: Vec<Layer>,
    /// These lie over all layers; of two that overlap the later made, which is the one further down, wins.
    pub overrides: Vec<Override>,
}

/// People who take turns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layer {
    /// In this order, and then again; never empty.
    pub rotation: Vec<Name>,
    /// How long a shift is.
    pub every: Every,
    /// When shifts change.
    pub handoff: Handoff,
    /// The first shift begins at the first handoff on or after this day; before it the layer has nobody.
    pub start: Date,
    /// It has somebody only within these; empty: always.
    pub restrict: Vec<Window>,
}

/// The length of a shift on the calendar, at least 1 of its unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Every {
    /// So many.
    pub count: u32,
    /// Of these.
    pub unit: Unit,
}

/// A unit of the calendar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Of elapsed time.
    Hour,
    /// As the clock of the zone has them, 23 to 25 hours mostly.
    Day,
    /// Seven days.
    Week,
    /// The same day of the month as the layer's start, or the last one that the month has.
    Month,
}

/// When shifts change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handoff {
    /// On this day of the week; none: on whichever day the first shift began. Shifts of months change on the first such day from
    /// the day of the month on; for shifts of hours and days it says where the first one begins.
    pub day: Option<Weekday>,
    /// At this time of the zone's clock.
    pub at: Time,
}

/// A part of each week. One whose `to` is not after its `from` ends on the next day.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Window {
    /// On which days it begins, counted from Monday; never empty.
    pub days: BTreeSet<i8>,
    /// From this time on.
    pub from: Time,
    /// Up to this one.
    pub to: Time,
}

/// Somebody in the place of whoever it would be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Override {
    /// Who.
    pub who: Name,
    /// From this moment of the zone's clock on.
    pub from: DateTime,
    /// Up to this one.
    pub to: DateTime,
}

/// The number of a day in a [`Window`].
#[must_use]
pub fn day_number(day: Weekday) -> i8 {
    day.to_monday_zero_offset()
}
