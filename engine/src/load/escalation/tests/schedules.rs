//! Schedules: every way in which a time, a turn or a day is written, and what is wrong with one.

use super::{right, wrong};
use crate::escalation::schedule::{Every, Handoff, Layer, Override, Schedule, Unit, Window};
use jiff::civil::{Weekday, date, time};

/// A file with one schedule, of which this is the text.
fn of(schedule: &str) -> String {
    format!(
        "people: {{ ana: {{ email: ana@example.org }}, bo: {{ email: bo@example.org }} }}\nchannels: {{ email: {{ smtp: \"smtp://localhost\", from: q@example.org }} }}\npolicies: {{ default: {{ steps: [{{ notify: [schedule: s], wait: 5m }}], last_resort: [person: bo] }} }}\nschedules:\n  s:\n{schedule}"
    )
}

fn read(schedule: &str) -> Schedule {
    right(&of(schedule)).schedules["s"].clone()
}

/// A layer with these keys beside who and since when.
fn layer(more: &str) -> Layer {
    let text =
        format!("    time_zone: Asia/Tokyo\n    layers: [{{ rotation: [ana, bo], start: 2026-01-31, {more} }}]\n");
    read(&text).layers.remove(0)
}

#[test]
fn a_schedule_is_read_as_it_is_meant() {
    let found = read(
        r#"    time_zone: Europe/Berlin
    layers:
      - rotation: [ana, bo, ana]
        every: 2 weeks
        handoff: { day: tue, at: 9:30 }
        start: 2026-01-06
      - rotation: [bo]
        every: 12 hours
        start: 2026-01-06
        restrict:
          - { days: fri..mon, from: "18:00", to: "06:00" }
          - { days: [wed, sat..sun] }
          - { from: 22:00 }
    overrides:
      - { who: bo, from: 2026-12-24, to: 2026-12-27T18:00 }
      - { who: ana, from: "2026-12-25 08:00", to: 2026-12-26T08:00 }
"#,
    );
    let day = |number: i8| number;
    assert_eq!(found.time_zone, "Europe/Berlin");
    assert_eq!(
        found.layers[0],
        Layer {
            rotation: ["ana", "bo", "ana"].map(Into::into).to_vec(),
            every: Every { count: 2, unit: Unit::Week },
            handoff: Handoff { day: Some(Weekday::Tuesday), at: time(9, 30, 0, 0) },
            start: date(2026, 1, 6),
            restrict: Vec::new(),
        }
    );
    assert_eq!(found.layers[1].handoff, Handoff { day: None, at: time(0, 0, 0, 0) });
    assert_eq!(
        found.layers[1].restrict,
        [
            Window { days: [4, 5, 6, 0].map(day).into(), from: time(18, 0, 0, 0), to: time(6, 0, 0, 0) },
            Window { days: [2, 5, 6].map(day).into(), from: time(0, 0, 0, 0), to: time(0, 0, 0, 0) },
            Window { days: (0..7).collect(), from: time(22, 0, 0, 0), to: time(0, 0, 0, 0) },
        ]
    );
    assert_eq!(
        found.overrides,
        [
            Override {
                who: "bo".into(),
                from: date(2026, 12, 24).at(0, 0, 0, 0),
                to: date(2026, 12, 27).at(18, 0, 0, 0)
            },
            Override {
                who: "ana".into(),
                from: date(2026, 12, 25).at(8, 0, 0, 0),
                to: date(2026, 12, 26).at(8, 0, 0, 0)
            },
        ]
    );
}

#[test]
fn turns_are_counted_in_four_units() {
    for (text, count, unit) in [
        ("1 hour", 1, Unit::Hour),
        ("12 hours", 12, Unit::Hour),
        ("1 day", 1, Unit::Day),
        ("3 days", 3, Unit::Day),
        ("1 week", 1, Unit::Week),
        ("2  weeks", 2, Unit::Week),
        ("1 month", 1, Unit::Month),
        ("1000 months", 1000, Unit::Month),
    ] {
        assert_eq!(layer(&format!("every: {text}")).every, Every { count, unit }, "{text}");
    }
}

#[test]
fn every_mistake_of_schedules_is_told() {
    let told = wrong(
        r#"
people: { ana: { email: ana@example.org }, bo: { email: bo@example.org } }
channels: { email: { smtp: "smtp://localhost", from: q@example.org } }
schedules:
  "a b": { time_zone: UTC, layers: [{ rotation: [ana], every: 1 week, start: 2026-01-05 }] }
  nothing:
    {}
  empty:
    time_zone: Europe/Lissabon
    layers: []
  wrong:
    time_zone: UTC
    layer: []
    layers:
      - {}
      - { rotation: [], every: 7d, start: tomorrow }
      - { rotation: [anna, 5], every: 1 fortnight, start: 2026-02-30, handoff: {} }
      - { rotation: ana, every: 0 weeks, start: 2026-1-5, handoff: { day: monday, at: 25:00 } }
      - { rotation: [ana], every: 1001 days, start: 20260105, handoff: { at: "24:00" } }
      - { rotation: [ana], every: 1 weak, start: 2026-01-05, handoff: { at: 9 } }
      - { rotation: [ana], every: 1 month, start: 2026-01-05, handoff: { day: mon, at: "09:00" } }
      - { rotation: [ana], every: week, start: 2026-01-05, handoff: mon, restrict: [] }
      - rotation: [ana]
        every: 1 week
        start: 2026-01-05
        restrict:
          - {}
          - { days: mon-fri, from: "9", to: "17:60" }
          - { days: [], from: "09:00", to: "09:00" }
          - { days: [fri, 6], from: "24:00" }
          - { days: sunday..tue, form: "09:00" }
    overrides:
      - {}
      - { who: eve, from: 2026-12-24T00:00, to: 2026-12-23T00:00 }
      - { who: bo, from: 2026-12-24T00:00, to: 2026-12-24T00:00 }
      - { who: bo, from: 2026-12-24T00:00Z, to: 2026-12-25T00:00+01:00 }
      - { who: bo, from: christmas, to: 2026-12-32T00:00 }
      - { who: bo, from: 2026-12-24T7, to: 2026-12-25T24:00 }
"#,
    );
    insta::assert_snapshot!(told);
}

#[test]
fn who_stands_in_a_schedule_can_be_reached() {
    let told = wrong(
        r#"
people:
  ana: { email: ana@example.org }
  bo: { identities: { unix: bo, email: bo@example.org } }
  chi: { identities: { slack: U1 } }
channels: { email: { smtp: "smtp://localhost", from: q@example.org } }
policies: { default: { steps: [{ notify: [schedule: s], wait: 5m }], last_resort: [person: chi] } }
schedules:
  s:
    time_zone: UTC
    layers: [{ rotation: [ana, bo], every: 1 week, start: 2026-01-05 }]
    overrides: [{ who: chi, from: 2026-12-24, to: 2026-12-25 }]
"#,
    );
    insta::assert_snapshot!(told);
    // With no way at all, it is said once and not of each.
    let told = wrong(
        "people: { ana: {}, bo: {} }\npolicies: { default: { steps: [{ notify: [person: ana, person: bo], wait: 5m }], last_resort: [person: bo] } }\n",
    );
    assert_eq!(told.matches("error:").count(), 1, "{told}");
    assert!(told.contains("`channels` has neither slack, email nor webhooks"), "{told}");
}
