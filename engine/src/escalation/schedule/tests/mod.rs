//! Tests of schedules: golden cases of clocks that change, laws over every zone, and a slow reference to compare with.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod calendar;
mod golden;
mod naive;
mod random;
mod zones;

use super::*;
use jiff::Timestamp;

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn names(text: &str) -> Vec<Name> {
    text.split_whitespace().map(Name::from).collect()
}

pub(super) fn every(count: u32, unit: Unit) -> Every {
    Every { count, unit }
}

/// A layer whose shifts change at this time, on whichever day.
pub(super) fn layer(rotation: &str, every: Every, at: &str, start: &str) -> Layer {
    Layer {
        rotation: names(rotation),
        every,
        handoff: Handoff { day: None, at: at.parse().unwrap() },
        start: start.parse().unwrap(),
        restrict: Vec::new(),
    }
}

pub(super) fn schedule(time_zone: &str, layers: Vec<Layer>) -> Schedule {
    Schedule { time_zone: time_zone.to_owned(), layers, overrides: Vec::new() }
}

pub(super) fn over(who: &str, from: &str, to: &str) -> Override {
    Override { who: who.into(), from: from.parse().unwrap(), to: to.parse().unwrap() }
}

pub(super) fn window(days: &[i8], from: &str, to: &str) -> Window {
    Window { days: days.iter().copied().collect(), from: from.parse().unwrap(), to: to.parse().unwrap() }
}

/// Who, and from when to when by the schedule's clock.
pub(super) fn lines(schedule: &Schedule, from: &str, to: &str) -> Vec<String> {
    let spans = changes(schedule, at(from), at(to));
    spans
        .map(|span| {
            let told = |at| told(at, &schedule.time_zone);
            let who = span.on.who.as_ref().map_or("nobody", Name::as_str);
            format!("{who}: {} to {}", told(span.from), told(span.to))
        })
        .collect()
}
