//! A schedule resolved: its times as moments, and who is on call at one.
//!
//! Owns the one function that answers "who". Overrides lie over layers, the later made over the earlier; later layers lie over
//! earlier ones where they have somebody. Keeps true: an answer holds from its moment to its `until`, and another one holds there.

use super::shift::Shifts;
use super::window::{Restrictions, Within};
use super::zone::{self, end_of, start_of};
use super::{Layer, On, Schedule, Why};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use quell_model::Name;

/// A schedule whose times are moments.
#[derive(Clone, Debug)]
pub struct Resolved<'a> {
    schedule: &'a Schedule,
    zone: Option<TimeZone>,
    overrides: Vec<Stretch<'a>>,
    layers: Vec<Turns<'a>>,
}

/// An override that is not empty.
#[derive(Clone, Debug)]
struct Stretch<'a> {
    number: usize,
    who: &'a Name,
    from: Timestamp,
    to: Timestamp,
}

/// A layer that has people.
#[derive(Clone, Debug)]
struct Turns<'a> {
    number: usize,
    shifts: Shifts<'a>,
    restrictions: Restrictions<'a>,
}

/// Who is on call at this moment: [`Resolved::who`] for one moment.
#[must_use]
pub fn who(schedule: &Schedule, at: Timestamp) -> On {
    Resolved::new(schedule).who(at)
}

impl<'a> Resolved<'a> {
    /// Of this schedule.
    #[must_use]
    pub fn new(schedule: &'a Schedule) -> Self {
        Self::by(schedule, zone::find(&schedule.time_zone))
    }

    /// Of this schedule, by the clock of a zone that is known already.
    pub(super) fn by(schedule: &'a Schedule, zone: Option<TimeZone>) -> Self {
        let (mut overrides, mut layers) = (Vec::new(), Vec::new());
        if let Some(zone) = &zone {
            for (at, over) in schedule.overrides.iter().enumerate() {
                let (from, to) = (start_of(zone, over.from), end_of(zone, over.to));
                if from < to {
                    overrides.push(Stretch { number: at + 1, who: &over.who, from, to });
                }
            }
            layers.extend(schedule.layers.iter().enumerate().filter_map(|(at, layer)| Turns::new(zone, at + 1, layer)));
        }
        Self { schedule, zone, overrides, layers }
    }

    /// Its zone; UTC where there is no such zone.
    #[must_use]
    pub fn zone(&self) -> TimeZone {
        self.zone.clone().unwrap_or(TimeZone::UTC)
    }

    /// Who is on call at this moment, why, and until when that holds.
    #[must_use]
    pub fn who(&self, at: Timestamp) -> On {
        let on = |who: Option<&Name>, why: Why, until: Option<Timestamp>| On {
            who: who.cloned(),
            why,
            until,
            time_zone: self.schedule.time_zone.clone(),
        };
        if self.zone.is_none() {
            return on(None, Why::UnknownZone, None);
        }
        let holds = |over: &Stretch<'_>| over.from <= at && at < over.to;
        let held = self.overrides.iter().rposition(holds);
        // Only what was made later can take its place.
        let over_it = &self.overrides[held.map_or(0, |held| held + 1)..];
        let mut until = over_it.iter().map(|over| over.from).filter(|from| *from > at).min();
        if let Some(held) = held {
            let Stretch { number, who, from, to } = self.overrides[held];
            return on(Some(who), Why::Override { number, from, to }, earlier(until, Some(to)));
        }
        for layer in self.layers.iter().rev() {
            match layer.at(at) {
                Turn::Theirs { who, why, until: end } => return on(Some(who), why, earlier(until, end)),
                Turn::Nobodys { until: end } => until = earlier(until, end),
            }
        }
        let begin = self.layers.iter().map(|layer| layer.shifts.begin()).min();
        match begin {
            None => on(None, Why::NoLayer, until),
            Some(first) if at < first => on(None, Why::NotBegun { first }, earlier(until, Some(first))),
            Some(_) => on(None, Why::Outside, until),
        }
    }
}

/// What a layer says of a moment.
enum Turn<'a> {
    Theirs { who: &'a Name, why: Why, until: Option<Timestamp> },
    Nobodys { until: Option<Timestamp> },
}

impl<'a> Turns<'a> {
    fn new(zone: &TimeZone, number: usize, layer: &'a Layer) -> Option<Self> {
        let shifts = Shifts::new(zone, layer)?;
        Some(Self { number, shifts, restrictions: Restrictions::new(zone, &layer.restrict) })
    }

    fn at(&self, at: Timestamp) -> Turn<'a> {
        let Some(shift) = self.shifts.at(at) else {
            let begin = self.shifts.begin();
            return match self.restrictions.at(begin) {
                Within::Yes(_) => Turn::Nobodys { until: Some(begin) },
                Within::No(until) => Turn::Nobodys { until },
            };
        };
        match self.restrictions.at(at) {
            Within::No(until) => Turn::Nobodys { until },
            Within::Yes(until) => {
                let why = Why::Layer { layer: self.number, shift: shift.index + 1, from: shift.from, to: shift.to };
                Turn::Theirs { who: shift.who, why, until: earlier(until, shift.to) }
            }
        }
    }
}

/// The earlier of two ends, of which none is the latest.
fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
