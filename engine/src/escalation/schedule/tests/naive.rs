//! A reference that shares nothing with the code but its types: it walks, a quarter of an hour at a time, and looks at the clock.
//!
//! Clocks have changed at whole quarters of an hour for decades, so it is exact for times on that grid.

use super::*;
use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, date};
use jiff::tz::TimeZone;

const STEP_S: i64 = 900;
const STEP: SignedDuration = SignedDuration::from_secs(STEP_S);

/// The clock of a zone from one day to another, at every quarter of an hour.
pub(super) struct Walk {
    ticks: Vec<(Timestamp, DateTime)>,
}

impl Walk {
    pub(super) fn new(zone: &TimeZone, from: Timestamp, to: Timestamp) -> Self {
        let first = from.as_second() - from.as_second().rem_euclid(STEP_S);
        let ticks = (first..to.as_second())
            .step_by(STEP_S as usize)
            .map(|second| Timestamp::from_second(second).unwrap())
            .map(|at| (at, zone.to_datetime(at)))
            .collect();
        Self { ticks }
    }

    pub(super) fn ticks(&self) -> impl Iterator<Item = Timestamp> + '_ {
        self.ticks.iter().map(|(at, _)| *at)
    }

    /// The first tick that shows this time, else the first one past it.
    pub(super) fn start_of(&self, time: DateTime) -> Option<Timestamp> {
        let shown = self.ticks.iter().find(|(_, there)| *there == time);
        shown.or_else(|| self.past(time)).map(|(at, _)| *at)
    }

    /// The last tick that shows this time, else the first one past it.
    pub(super) fn end_of(&self, time: DateTime) -> Option<Timestamp> {
        let shown = self.ticks.iter().rev().find(|(_, there)| *there == time);
        shown.or_else(|| self.past(time)).map(|(at, _)| *at)
    }

    fn past(&self, time: DateTime) -> Option<&(Timestamp, DateTime)> {
        // What the first tick is past may have been long before.
        let first = self.ticks.first().is_some_and(|(_, there)| *there < time);
        self.ticks.iter().find(|(_, there)| first && *there > time)
    }
}

/// Who is on call at every tick, with layer and shift (0 and 0 for an override), walked from the start of every layer.
pub(super) fn answers(schedule: &Schedule, walk: &Walk) -> Vec<Option<(Name, usize, i64)>> {
    let layers: Vec<Vec<Option<(Name, i64)>>> = schedule.layers.iter().map(|layer| turns(layer, walk)).collect();
    let mut all: Vec<_> = (0..walk.ticks.len())
        .map(|tick| {
            let found =
                layers.iter().enumerate().rev().find_map(|(at, layer)| layer[tick].clone().map(|turn| (at, turn)));
            found.map(|(at, (who, shift))| (who, at + 1, shift))
        })
        .collect();
    for over in &schedule.overrides {
        let (Some(from), Some(to)) = (walk.start_of(over.from), walk.end_of(over.to)) else { continue };
        for (tick, at) in walk.ticks().enumerate() {
            if from <= at && at < to {
                all[tick] = Some((over.who.clone(), 0, 0));
            }
        }
    }
    all
}

fn turns(layer: &Layer, walk: &Walk) -> Vec<Option<(Name, i64)>> {
    let mut starts = starts(layer, walk).into_iter().peekable();
    let mut now: Option<i64> = None;
    let within = within(layer, walk);
    walk.ticks()
        .enumerate()
        .map(|(tick, at)| {
            while starts.next_if(|start| *start <= at).is_some() {
                now = Some(now.map_or(0, |index| index + 1));
            }
            let index = now.filter(|_| within[tick])?;
            Some((layer.rotation[index as usize % layer.rotation.len()].clone(), index + 1))
        })
        .collect()
}

fn starts(layer: &Layer, walk: &Walk) -> Vec<Timestamp> {
    let handoff = |mut day: Date| {
        while layer.handoff.day.is_some_and(|due| due != day.weekday()) {
            day = day.tomorrow().unwrap();
        }
        day
    };
    let time = layer.handoff.at;
    let count = i64::from(layer.every.count);
    let mut found = Vec::new();
    let Some(first) = walk.start_of(handoff(layer.start).to_datetime(time)) else { return found };
    let (mut day, mut month) = (handoff(layer.start), layer.start);
    let last = walk.ticks.last().unwrap().0;
    while found.last().is_none_or(|start| *start <= last) {
        let next = match layer.every.unit {
            Unit::Hour => Some(first + STEP * (4 * count * found.len() as i64) as i32),
            Unit::Day | Unit::Week => {
                let at = walk.start_of(day.to_datetime(time));
                for _ in 0..count * if layer.every.unit == Unit::Week { 7 } else { 1 } {
                    day = day.tomorrow().unwrap();
                }
                at
            }
            Unit::Month => {
                let at = walk.start_of(handoff(month).to_datetime(time));
                let months = i64::from(month.year()) * 12 + i64::from(month.month()) - 1 + count;
                let first = date((months / 12) as i16, (months % 12 + 1) as i8, 1);
                let last = (1..).map_while(|day| Date::new(first.year(), first.month(), day).ok()).last().unwrap();
                month = date(first.year(), first.month(), layer.start.day().min(last.day()));
                at
            }
        };
        let Some(next) = next else { break };
        found.push(next);
    }
    found
}

fn within(layer: &Layer, walk: &Walk) -> Vec<bool> {
    let mut within = vec![layer.restrict.is_empty(); walk.ticks.len()];
    let (mut day, end) = (walk.ticks[0].1.date(), walk.ticks.last().unwrap().1.date());
    while day <= end {
        for window in layer.restrict.iter().filter(|window| window.days.contains(&day_number(day.weekday()))) {
            let last = if window.to <= window.from { day.tomorrow().unwrap() } else { day };
            let from = walk.start_of(day.to_datetime(window.from));
            let (Some(from), Some(to)) = (from, walk.end_of(last.to_datetime(window.to))) else { continue };
            for (tick, at) in walk.ticks().enumerate() {
                within[tick] |= from <= at && at < to;
            }
        }
        day = day.tomorrow().unwrap();
    }
    within
}
