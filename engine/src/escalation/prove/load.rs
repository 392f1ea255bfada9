//! Load: how much of a schedule falls on whom.
//!
//! Owns the counting of hours, nights and weekends. A night or a weekend counts where any part of it is theirs; it is one by the
//! clock where that person lives, or by the schedule's where that is not known.

use super::super::schedule::{Schedule, Span, Why, zone};
use jiff::civil::{DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span as Days, Timestamp};
use quell_model::{Name, People};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// When people sleep.
const NIGHT_FROM: i8 = 22;
const NIGHT_HOURS: i64 = 8;

/// What falls on somebody.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Load {
    /// In which schedule.
    pub schedule: Name,
    /// On whom.
    pub person: Name,
    /// Minutes on call.
    pub minutes: i64,
    /// Shifts and overrides.
    pub shifts: usize,
    /// Nights, 22:00 to 06:00.
    pub nights: usize,
    /// Weekends, the whole of Saturday and Sunday.
    pub weekends: usize,
}

/// The load of a schedule, with those who are in its rotations and have none; and the minutes of a layer's longest shift.
pub(super) fn of(name: &Name, schedule: &Schedule, people: &People, spans: &[Span]) -> (Vec<Load>, i64) {
    let own = zone::find(&schedule.time_zone).unwrap_or(TimeZone::UTC);
    let mut counts: BTreeMap<&Name, Count> = BTreeMap::new();
    for person in schedule.layers.iter().flat_map(|layer| &layer.rotation) {
        counts.entry(person).or_default();
    }
    for span in spans {
        let Some(person) = &span.on.who else { continue };
        let theirs = people.people.get(person).and_then(|person| zone::find(person.time_zone.as_deref()?));
        counts.entry(person).or_default().add(span, theirs.as_ref().unwrap_or(&own));
    }
    let shifts = counts.values().flat_map(|count| &count.shifts);
    let turns = shifts.filter(|(cause, _)| matches!(cause, Cause::Shift(..))).map(|(_, seconds)| *seconds);
    let longest = turns.max().unwrap_or(0);
    let load = |(person, count): (&Name, Count)| Load {
        schedule: name.clone(),
        person: person.clone(),
        minutes: count.shifts.values().sum::<i64>() / 60,
        shifts: count.shifts.len(),
        nights: count.nights.len(),
        weekends: count.weekends.len(),
    };
    (counts.into_iter().map(load).collect(), longest / 60)
}

#[derive(Default)]
struct Count {
    /// Seconds of each.
    shifts: BTreeMap<Cause, i64>,
    nights: BTreeSet<DateTime>,
    weekends: BTreeSet<DateTime>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    Override(usize),
    Shift(usize, i64),
}

impl Count {
    fn add(&mut self, span: &Span, zone: &TimeZone) {
        let cause = match span.on.why {
            Why::Override { number, .. } => Cause::Override(number),
            Why::Layer { layer, shift, .. } => Cause::Shift(layer, shift),
            Why::NotBegun { .. } | Why::Outside | Why::NoLayer | Why::UnknownZone => return,
        };
        *self.shifts.entry(cause).or_default() += span.to.duration_since(span.from).as_secs();
        let last = zone.to_datetime(span.to).date();
        // What began up to two days before may still go on.
        let mut day = zone.to_datetime(span.from).date().saturating_sub(Days::new().days(2));
        while day <= last {
            let overlaps = |begin: DateTime, hours: i64| {
                let end = begin.saturating_add(Days::new().hours(hours));
                let at = |time: DateTime| -> Timestamp { zone::start_of(zone, time) };
                at(begin) < span.to && span.from < at(end)
            };
            let night = day.at(NIGHT_FROM, 0, 0, 0);
            if overlaps(night, NIGHT_HOURS) {
                self.nights.insert(night);
            }
            let midnight = day.at(0, 0, 0, 0);
            if day.weekday() == Weekday::Saturday && overlaps(midnight, 48) {
                self.weekends.insert(midnight);
            }
            let Ok(next) = day.tomorrow() else { break };
            day = next;
        }
    }
}
