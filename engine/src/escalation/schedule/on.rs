//! Who is on call at a moment, and why.
//!
//! Owns the answer as data and as a sentence. A preview, a message and an audit have it from [`Resolved::who`](super::Resolved::who)
//! alone. Never names anybody but who is on call.

use super::zone;
use jiff::Timestamp;
use quell_model::Name;
use serde::Serialize;
use std::fmt;

/// Who is on call.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct On {
    /// Who; none: nobody.
    pub who: Option<Name>,
    /// Why.
    pub why: Why,
    /// Up to then both hold, and not a moment longer; none: for ever.
    pub until: Option<Timestamp>,
    /// The zone in which the schedule is meant.
    pub time_zone: String,
}

/// Why somebody is on call, or nobody.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Why {
    /// An override.
    Override {
        /// Which, counted from 1 as the file has them.
        number: usize,
        /// When it begins.
        from: Timestamp,
        /// When it ends.
        to: Timestamp,
    },
    /// A shift of a layer.
    Layer {
        /// Which, counted from 1 as the file has them.
        layer: usize,
        /// Which of its shifts, counted from 1.
        shift: i64,
        /// When the shift begins.
        from: Timestamp,
        /// When it ends; none: beyond all dates.
        to: Option<Timestamp>,
    },
    /// Nobody: no layer has begun.
    NotBegun {
        /// When the first one does.
        first: Timestamp,
    },
    /// Nobody: every layer that has begun is outside of its restrictions.
    Outside,
    /// Nobody: no layer has people.
    NoLayer,
    /// Nobody: there is no such time zone.
    UnknownZone,
}

impl On {
    /// Why, as a sentence.
    #[must_use]
    pub fn reason(&self) -> String {
        let (told, zone) = (|at: Timestamp| told(at, &self.time_zone), &self.time_zone);
        match &self.why {
            Why::Override { number, from, to } => {
                format!("override {number}, from {} to {} ({zone})", told(*from), told(*to))
            }
            Why::Layer { layer, shift, from, to } => {
                let to = to.map(|to| format!(" to {}", told(to))).unwrap_or_default();
                format!("layer {layer}, shift {shift}, from {}{to} ({zone})", told(*from))
            }
            Why::NotBegun { first } => format!("the first shift begins at {} ({zone})", told(*first)),
            Why::Outside => "outside of every restriction".to_owned(),
            Why::NoLayer => "no layer has people".to_owned(),
            Why::UnknownZone => format!("there is no time zone `{zone}`"),
        }
    }
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.who.as_ref().map_or("nobody", Name::as_str), self.reason())
    }
}

/// A moment on the clock of a zone, as people read it; in UTC where the zone is unknown.
#[must_use]
pub fn told(at: Timestamp, time_zone: &str) -> String {
    let Some(zone) = zone::find(time_zone) else { return at.strftime("%Y-%m-%d %H:%M UTC").to_string() };
    let offset = zone.to_offset(at);
    let there = zone.to_datetime(at);
    // A time that comes twice is told with its offset.
    let twice = zone.to_ambiguous_timestamp(there).is_ambiguous();
    let time = there.strftime(if there.second() == 0 { "%a %Y-%m-%d %H:%M" } else { "%a %Y-%m-%d %H:%M:%S" });
    if twice { format!("{time} UTC{offset}") } else { time.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_comes_twice_is_told_apart() {
        let at = |text: &str| told(text.parse().unwrap(), "America/New_York");
        assert_eq!(at("2027-11-07T05:30:00Z"), "Sun 2027-11-07 01:30 UTC-04");
        assert_eq!(at("2027-11-07T06:30:00Z"), "Sun 2027-11-07 01:30 UTC-05");
        assert_eq!(at("2027-11-07T07:30:15Z"), "Sun 2027-11-07 02:30:15");
        assert_eq!(told("2027-11-07T07:30:00Z".parse().unwrap(), "Moon/Tycho"), "2027-11-07 07:30 UTC");
    }
}
