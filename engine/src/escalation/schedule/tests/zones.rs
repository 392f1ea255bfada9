//! The law over every zone that there is, 2000 to 2037: each change of each clock is looked at from all sides, and the time
//! between changes by samples.
//!
//! Occurrences of a time are found here by trying every offset that the zone has about then, which the code does not do.

use super::*;
use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Span as Days};

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// A zone with the changes of its offset in those years.
struct Clock {
    name: String,
    zone: TimeZone,
    /// When it changes, from which offset to which.
    changes: Vec<(Timestamp, Offset, Offset)>,
}

fn clocks() -> Vec<Clock> {
    let (from, to) = (at("1999-12-30T00:00:00Z"), at("2038-01-03T00:00:00Z"));
    let clock = |name: String| {
        let zone = zone::find(&name).unwrap();
        let moments = zone.following(from).map(|change| change.timestamp()).take_while(|at| *at < to);
        let changes = moments
            .map(|at| (at, zone.to_offset(at - SECOND), zone.to_offset(at)))
            .filter(|(_, before, after)| before != after)
            .collect();
        Clock { name, zone, changes }
    };
    zone::names().map(clock).collect()
}

/// Every moment at which a clock shows a time.
fn occurrences(clock: &Clock, time: DateTime, offsets: &[Offset]) -> Vec<Timestamp> {
    let mut found: Vec<Timestamp> = offsets
        .iter()
        .filter_map(|offset| offset.to_timestamp(time).ok())
        .filter(|at| clock.zone.to_datetime(*at) == time)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The rule, for one time.
fn rule(clock: &Clock, time: DateTime, offsets: &[Offset]) {
    let (start, end) = (zone::start_of(&clock.zone, time), zone::end_of(&clock.zone, time));
    let found = occurrences(clock, time, offsets);
    if let (Some(first), Some(last)) = (found.first(), found.last()) {
        assert_eq!((start, end), (*first, *last), "{time} in {}", clock.name);
    } else {
        assert_eq!(start, end, "{time} in {}", clock.name);
        let sides = (clock.zone.to_datetime(start - SECOND), clock.zone.to_datetime(start));
        assert!(sides.0 < time && time < sides.1, "{time} in {}: {start} is not the end of its gap", clock.name);
    }
}

/// Times about a change: its own on both sides, and those that are left out or come twice.
fn times(at: Timestamp, before: Offset, after: Offset) -> Vec<DateTime> {
    let (one, other) = (before.to_datetime(at), after.to_datetime(at));
    let (low, high) = (one.min(other), one.max(other));
    let middle = low + high.duration_since(low) / 2;
    let midnight = |time: DateTime| time.date().to_datetime(jiff::civil::Time::midnight());
    vec![low - SECOND, low, low + SECOND, middle, high - SECOND, high, high + SECOND, midnight(low), midnight(high)]
}

#[test]
fn every_time_about_every_change_has_its_moments() {
    let clocks = clocks();
    let count: usize = clocks.iter().map(|clock| clock.changes.len()).sum();
    assert!(clocks.len() > 400 && count > 10_000, "{} zones with {count} changes", clocks.len());
    for clock in &clocks {
        for (change, before, after) in &clock.changes {
            for time in times(*change, *before, *after) {
                rule(clock, time, &[*before, *after]);
            }
        }
        // Elsewhere by samples: half past some hour, each 11 days.
        let mut at = at("2000-01-01T00:30:00Z");
        while at < self::at("2038-01-01T00:00:00Z") {
            let time = clock.zone.to_datetime(at);
            let about = [-26, 0, 26].map(|hours| clock.zone.to_offset(at + SignedDuration::from_hours(hours)));
            rule(clock, time, &about);
            at += SignedDuration::from_hours(11 * 24 + 5);
        }
    }
}

/// Who has the moment, and that the shift before ends where it begins.
fn turn(schedule: &Schedule, at: Timestamp) -> (i64, Timestamp, Timestamp) {
    let on = who(schedule, at);
    let Why::Layer { shift, from, to, .. } = on.why else { panic!("{on:?} at {at} in {}", schedule.time_zone) };
    (shift, from, to.unwrap())
}

/// Shifts of a clock's layer about a change: they tile, none is turned round, and a layer that began decades before or just now
/// has the same ones.
fn shifts(clock: &Clock, change: Timestamp, handoff: DateTime, unit: Unit) {
    let day = handoff.date();
    let layer = |start: Date| {
        let mut layer = layer("ana", every(1, unit), "00:00", "2000-01-01");
        (layer.start, layer.handoff.at) = (start, handoff.time());
        schedule(&clock.name, vec![layer])
    };
    let (ago, now) = match unit {
        Unit::Week => (day - Days::new().weeks(1_500), day - Days::new().weeks(2)),
        _ => (day - Days::new().days(9_999), day - Days::new().days(2)),
    };
    let schedules = (layer(ago), layer(now));
    let mut last: Option<(i64, Timestamp, Timestamp)> = None;
    let moments = [-30 * 3_600, -3_600, -1, 0, 1, 3_600, 30 * 3_600].map(|s| change + SignedDuration::from_secs(s));
    for at in moments {
        let (long, short) = (turn(&schedules.0, at), turn(&schedules.1, at));
        let place = || format!("at {at}, by {handoff} in {}", clock.name);
        assert_eq!((long.1, long.2), (short.1, short.2), "{}", place());
        assert!(long.1 <= at && at < long.2, "{}", place());
        if let Some(last) = last {
            assert!(long.0 >= last.0 && (long.0 > last.0) == (long.1 > last.1), "{last:?} {long:?} {}", place());
            assert!(long == last || long.1 >= last.2, "{last:?} {long:?} {}", place());
        }
        // The one after begins where it ends, the one before ends where it begins; between them lie only empty ones.
        assert_eq!(turn(&schedules.0, long.2).1, long.2, "{}", place());
        assert_eq!(turn(&schedules.0, long.1 - SECOND).2, long.1, "{}", place());
        last = Some(long);
    }
}

#[test]
fn shifts_tile_over_every_change_wherever_one_begins_to_count() {
    for clock in clocks() {
        for (index, (change, before, after)) in clock.changes.iter().enumerate() {
            let times = times(*change, *before, *after);
            // Each change has two of its times of day, and all of them come in turn.
            for (handoff, unit) in [(index, Unit::Day), (index + 5, Unit::Week)] {
                shifts(&clock, *change, times[handoff % times.len()], unit);
            }
        }
    }
}
