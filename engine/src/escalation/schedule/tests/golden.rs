//! Golden cases: the days on which clocks change, each with what begins and ends on it, and how long its shifts are.

use super::*;
use crate::escalation::schedule::zone::{end_of, start_of};
use jiff::tz::TimeZone;

/// Cuba as its law was until 2026: in that year it kept to summer time for the winter.
const HAVANA: &str = "CST5CDT,M3.2.0/0,M11.1.0/1";
/// Morocco with its Ramadan of 2027 as it was foretold: in 2026 it gave up what it turned back then.
const CASABLANCA: &str = "<+00>0<+01>-1,J73/2,J38/3";

/// A zone by its name, or by its rule (POSIX) where the world has thought otherwise since.
fn place(zone: &str) -> TimeZone {
    zone::find(zone).unwrap_or_else(|| TimeZone::posix(zone).unwrap())
}

/// At each time of the zone's clock: when what begins then begins, and when what ends then ends.
#[track_caller]
fn moments(zone: &str, cases: &[(&str, &str, &str)]) {
    let zone = place(zone);
    for (time, start, end) in cases {
        let civil = time.parse().unwrap();
        let found = (start_of(&zone, civil), end_of(&zone, civil));
        assert_eq!(found, (at(start), at(end)), "{time}");
    }
}

/// Shifts of a day that change at this time: who has those from this day on, and how many minutes each.
#[track_caller]
fn days(zone: &str, handoff: &str, from: &str, expected: &[(&str, i64)]) {
    let layer = layer("ana bo chi", every(1, Unit::Day), handoff, from);
    let schedule = schedule(zone, vec![layer]);
    let zone = place(zone);
    let begin = start_of(&zone, format!("{from}T{handoff}").parse().unwrap());
    let found: Vec<(String, i64)> = Resolved::by(&schedule, Some(zone))
        .changes(begin, Timestamp::MAX)
        .take(expected.len())
        .map(|span| (span.on.who.unwrap().to_string(), span.to.duration_since(span.from).as_mins()))
        .collect();
    let expected: Vec<(String, i64)> = expected.iter().map(|(who, minutes)| ((*who).to_owned(), *minutes)).collect();
    assert_eq!(found, expected);
}

#[test]
fn new_york_2027_03_14_leaves_two_to_three_out() {
    let change = "2027-03-14T07:00:00Z";
    moments(
        "America/New_York",
        &[
            ("2027-03-14T01:59:59", "2027-03-14T06:59:59Z", "2027-03-14T06:59:59Z"),
            ("2027-03-14T02:00", change, change),
            ("2027-03-14T02:30", change, change),
            ("2027-03-14T02:59:59", change, change),
            ("2027-03-14T03:00", change, change),
            ("2027-03-14T03:00:01", "2027-03-14T07:00:01Z", "2027-03-14T07:00:01Z"),
        ],
    );
    days("America/New_York", "00:00", "2027-03-13", &[("ana", 1440), ("bo", 1380), ("chi", 1440)]);
    days("America/New_York", "02:30", "2027-03-13", &[("ana", 1410), ("bo", 1410), ("chi", 1440)]);
    days("America/New_York", "09:00", "2027-03-13", &[("ana", 1380), ("bo", 1440)]);
}

#[test]
fn new_york_2027_11_07_has_one_to_two_twice() {
    moments(
        "America/New_York",
        &[
            ("2027-11-07T00:59:59", "2027-11-07T04:59:59Z", "2027-11-07T04:59:59Z"),
            ("2027-11-07T01:00", "2027-11-07T05:00:00Z", "2027-11-07T06:00:00Z"),
            ("2027-11-07T01:30", "2027-11-07T05:30:00Z", "2027-11-07T06:30:00Z"),
            ("2027-11-07T02:00", "2027-11-07T07:00:00Z", "2027-11-07T07:00:00Z"),
        ],
    );
    days("America/New_York", "00:00", "2027-11-06", &[("ana", 1440), ("bo", 1500), ("chi", 1440)]);
    // A handoff is a start: the first occurrence.
    days("America/New_York", "01:30", "2027-11-06", &[("ana", 1440), ("bo", 1500), ("chi", 1440)]);
}

#[test]
fn london_2027_10_31_has_one_to_two_twice() {
    moments(
        "Europe/London",
        &[
            ("2027-10-31T01:00", "2027-10-31T00:00:00Z", "2027-10-31T01:00:00Z"),
            ("2027-10-31T01:30", "2027-10-31T00:30:00Z", "2027-10-31T01:30:00Z"),
            ("2027-10-31T02:00", "2027-10-31T02:00:00Z", "2027-10-31T02:00:00Z"),
        ],
    );
    days("Europe/London", "01:00", "2027-10-30", &[("ana", 1440), ("bo", 1500), ("chi", 1440)]);
}

#[test]
fn lord_howe_2027_04_04_has_half_an_hour_twice() {
    moments(
        "Australia/Lord_Howe",
        &[
            ("2027-04-04T01:15", "2027-04-03T14:15:00Z", "2027-04-03T14:15:00Z"),
            ("2027-04-04T01:30", "2027-04-03T14:30:00Z", "2027-04-03T15:00:00Z"),
            ("2027-04-04T01:45", "2027-04-03T14:45:00Z", "2027-04-03T15:15:00Z"),
            ("2027-04-04T02:00", "2027-04-03T15:30:00Z", "2027-04-03T15:30:00Z"),
        ],
    );
    days("Australia/Lord_Howe", "00:00", "2027-04-03", &[("ana", 1440), ("bo", 1470), ("chi", 1440)]);
}

#[test]
fn lord_howe_2027_10_03_leaves_half_an_hour_out() {
    let change = "2027-10-02T15:30:00Z";
    moments(
        "Australia/Lord_Howe",
        &[
            ("2027-10-03T02:00", change, change),
            ("2027-10-03T02:15", change, change),
            ("2027-10-03T02:30", change, change),
            ("2027-10-03T02:45", "2027-10-02T15:45:00Z", "2027-10-02T15:45:00Z"),
        ],
    );
    days("Australia/Lord_Howe", "02:15", "2027-10-02", &[("ana", 1425), ("bo", 1425), ("chi", 1440)]);
}

/// Midnight does not exist there: a day begins at one.
#[track_caller]
fn without_midnight(zone: &str, day: &str, change: &str) {
    let midnight = format!("{day}T00:00");
    let half = format!("{day}T00:30");
    moments(zone, &[(&midnight, change, change), (&half, change, change), (&format!("{day}T01:00"), change, change)]);
    let day: jiff::civil::Date = day.parse().unwrap();
    let eve = day.yesterday().unwrap().to_string();
    days(zone, "00:00", &eve, &[("ana", 1440), ("bo", 1380), ("chi", 1440)]);
    days(zone, "00:30", &eve, &[("ana", 1410), ("bo", 1410), ("chi", 1440)]);
    // The layer itself begins on that day.
    days(zone, "00:00", &day.to_string(), &[("ana", 1380), ("bo", 1440), ("chi", 1440)]);

    let mut restricted = layer("ana", every(1, Unit::Week), "00:00", "2000-01-03");
    let before = day.yesterday().unwrap().weekday();
    restricted.restrict = vec![window(&[day_number(before)], "18:00", "00:30")];
    let mut all = schedule(zone, vec![restricted]);
    let change = at(change);
    let who = |schedule: &Schedule, at| Resolved::by(schedule, Some(place(zone))).who(at);
    let moment = |on: On| (on.who.as_ref().map(ToString::to_string), on.until);
    let hour = jiff::SignedDuration::from_hours(1);
    assert_eq!(moment(who(&all, change - hour)), (Some("ana".to_owned()), Some(change)));
    assert_eq!(who(&all, change).who, None);

    let minutes = format!("{day}T00:45");
    all.overrides = vec![over("bo", &format!("{}T12:00", day.yesterday().unwrap()), &midnight)];
    assert_eq!(moment(who(&all, change - hour)), (Some("bo".to_owned()), Some(change)));
    all.overrides = vec![over("bo", &midnight, &minutes)];
    assert_eq!(who(&all, change).who, None, "an override that the clock leaves out is none");
}

#[test]
fn santiago_2027_09_05_has_no_midnight() {
    without_midnight("America/Santiago", "2027-09-05", "2027-09-05T04:00:00Z");
}

#[test]
fn havana_2027_03_14_has_no_midnight() {
    without_midnight(HAVANA, "2027-03-14", "2027-03-14T05:00:00Z");
    without_midnight("America/Havana", "2026-03-08", "2026-03-08T05:00:00Z");
}

#[test]
fn the_azores_2027_03_28_have_no_midnight() {
    without_midnight("Atlantic/Azores", "2027-03-28", "2027-03-28T01:00:00Z");
}

#[test]
fn cairo_2027_has_a_day_without_midnight_and_an_hour_twice_before_another() {
    without_midnight("Africa/Cairo", "2027-04-30", "2027-04-29T22:00:00Z");
    moments(
        "Africa/Cairo",
        &[
            ("2027-10-28T23:00", "2027-10-28T20:00:00Z", "2027-10-28T21:00:00Z"),
            ("2027-10-28T23:59:59", "2027-10-28T20:59:59Z", "2027-10-28T21:59:59Z"),
            ("2027-10-29T00:00", "2027-10-28T22:00:00Z", "2027-10-28T22:00:00Z"),
        ],
    );
    days("Africa/Cairo", "00:00", "2027-10-28", &[("ana", 1500), ("bo", 1440)]);
}

#[test]
fn beirut_2027_has_a_day_without_midnight_and_an_hour_twice_before_another() {
    without_midnight("Asia/Beirut", "2027-03-28", "2027-03-27T22:00:00Z");
    moments(
        "Asia/Beirut",
        &[
            ("2027-10-30T23:30", "2027-10-30T20:30:00Z", "2027-10-30T21:30:00Z"),
            ("2027-10-31T00:00", "2027-10-30T22:00:00Z", "2027-10-30T22:00:00Z"),
        ],
    );
    days("Asia/Beirut", "23:30", "2027-10-29", &[("ana", 1440), ("bo", 1500)]);
}

#[test]
fn casablanca_2027_02_07_has_two_to_three_twice() {
    moments(
        CASABLANCA,
        &[
            ("2027-02-07T01:59:59", "2027-02-07T00:59:59Z", "2027-02-07T00:59:59Z"),
            ("2027-02-07T02:00", "2027-02-07T01:00:00Z", "2027-02-07T02:00:00Z"),
            ("2027-02-07T02:30", "2027-02-07T01:30:00Z", "2027-02-07T02:30:00Z"),
            ("2027-02-07T03:00", "2027-02-07T03:00:00Z", "2027-02-07T03:00:00Z"),
        ],
    );
    days(CASABLANCA, "02:30", "2027-02-06", &[("ana", 1440), ("bo", 1500), ("chi", 1440)]);
}

#[test]
fn apia_2011_12_30_is_a_day_that_never_was() {
    let change = "2011-12-30T10:00:00Z";
    moments(
        "Pacific/Apia",
        &[
            ("2011-12-29T23:59:59", "2011-12-30T09:59:59Z", "2011-12-30T09:59:59Z"),
            ("2011-12-30T00:00", change, change),
            ("2011-12-30T12:00", change, change),
            ("2011-12-30T23:59:59", change, change),
            ("2011-12-31T00:00", change, change),
            ("2011-12-31T09:00", "2011-12-30T19:00:00Z", "2011-12-30T19:00:00Z"),
        ],
    );
    // bo's day was none: the turn passes, and chi's stays where it was.
    days("Pacific/Apia", "00:00", "2011-12-29", &[("ana", 1440), ("chi", 1440), ("ana", 1440)]);
    days("Pacific/Apia", "09:00", "2011-12-29", &[("ana", 900), ("bo", 540), ("chi", 1440)]);

    let mut fridays = layer("ana", every(1, Unit::Week), "00:00", "2011-01-03");
    fridays.restrict = vec![window(&[4], "08:00", "18:00")];
    assert_eq!(
        lines(&schedule("Pacific/Apia", vec![fridays]), "2011-12-24T04:00:00Z", "2012-01-06T12:00:00Z"),
        [
            "nobody: Fri 2011-12-23 18:00 to Fri 2012-01-06 08:00",
            "ana: Fri 2012-01-06 08:00 to Fri 2012-01-06 18:00",
            "nobody: Fri 2012-01-06 18:00 to Sat 2012-01-07 02:00"
        ]
    );
}

#[test]
fn the_last_of_a_month_comes_back_after_a_short_one() {
    let monthly = layer("ana bo chi", every(1, Unit::Month), "09:00", "2026-01-31");
    assert_eq!(
        lines(&schedule("UTC", vec![monthly.clone()]), "2026-01-31T09:00:00Z", "2026-05-31T09:00:00Z"),
        [
            "ana: Sat 2026-01-31 09:00 to Sat 2026-02-28 09:00",
            "bo: Sat 2026-02-28 09:00 to Tue 2026-03-31 09:00",
            "chi: Tue 2026-03-31 09:00 to Thu 2026-04-30 09:00",
            "ana: Thu 2026-04-30 09:00 to Sun 2026-05-31 09:00",
        ]
    );
    let mut mondays = monthly;
    mondays.handoff.day = Some(Weekday::Monday);
    assert_eq!(
        lines(&schedule("UTC", vec![mondays]), "2026-01-31T00:00:00Z", "2026-06-01T09:00:00Z"),
        [
            "nobody: Sat 2026-01-31 00:00 to Mon 2026-02-02 09:00",
            "ana: Mon 2026-02-02 09:00 to Mon 2026-03-02 09:00",
            "bo: Mon 2026-03-02 09:00 to Mon 2026-04-06 09:00",
            "chi: Mon 2026-04-06 09:00 to Mon 2026-05-04 09:00",
            // The first Monday from the 31st on, not from the 2nd, on which the first shift began.
            "ana: Mon 2026-05-04 09:00 to Mon 2026-06-01 09:00",
        ]
    );
}

#[test]
fn hours_are_elapsed_time() {
    let hours = layer("ana bo", every(12, Unit::Hour), "08:00", "2027-03-13");
    assert_eq!(
        lines(&schedule("America/New_York", vec![hours]), "2027-03-13T13:00:00Z", "2027-03-15T01:00:00Z"),
        [
            "ana: Sat 2027-03-13 08:00 to Sat 2027-03-13 20:00",
            "bo: Sat 2027-03-13 20:00 to Sun 2027-03-14 09:00",
            "ana: Sun 2027-03-14 09:00 to Sun 2027-03-14 21:00",
        ]
    );
}

/// A window whose end comes twice lasts to the second, and an override too; what begins then begins at the first.
#[test]
fn ends_that_come_twice_are_the_last() {
    let mut nights = layer("ana", every(1, Unit::Week), "00:00", "2027-01-04");
    nights.restrict = vec![window(&[6], "01:15", "01:45")];
    let mut all = schedule("America/New_York", vec![nights]);
    let day = ["2027-11-07T04:00:00Z", "2027-11-07T08:00:00Z"];
    assert_eq!(
        lines(&all, day[0], day[1]),
        [
            "nobody: Sun 2027-11-07 00:00 to Sun 2027-11-07 01:15 UTC-04",
            "ana: Sun 2027-11-07 01:15 UTC-04 to Sun 2027-11-07 01:45 UTC-05",
            "nobody: Sun 2027-11-07 01:45 UTC-05 to Sun 2027-11-07 03:00",
        ]
    );
    all.overrides =
        vec![over("bo", "2027-11-07T00:00", "2027-11-07T01:30"), over("chi", "2027-11-07T01:30", "2027-11-07T02:00")];
    assert_eq!(
        lines(&all, day[0], day[1]),
        [
            "bo: Sun 2027-11-07 00:00 to Sun 2027-11-07 01:30 UTC-04",
            "chi: Sun 2027-11-07 01:30 UTC-04 to Sun 2027-11-07 02:00",
            "nobody: Sun 2027-11-07 02:00 to Sun 2027-11-07 03:00",
        ]
    );
}
