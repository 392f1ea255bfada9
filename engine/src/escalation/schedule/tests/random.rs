//! Laws over schedules by chance, in zones and weeks where clocks change: the code against the slow reference, span for span.

use super::naive::{Walk, answers};
use super::*;
use jiff::SignedDuration;
use jiff::civil::{DateTime, date};
use proptest::prelude::*;

/// Moments at which a clock changes, or the weeks of nothing much.
const WHEN: [(&str, &str); 12] = [
    ("America/New_York", "2027-03-14T07:00:00Z"),
    ("America/New_York", "2027-11-07T06:00:00Z"),
    ("Australia/Lord_Howe", "2027-04-03T15:00:00Z"),
    ("Australia/Lord_Howe", "2027-10-02T15:30:00Z"),
    ("America/Santiago", "2027-09-05T04:00:00Z"),
    ("America/Havana", "2027-03-14T05:00:00Z"),
    ("Africa/Cairo", "2027-10-28T21:00:00Z"),
    ("Africa/Casablanca", "2027-02-07T02:00:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),
    ("America/Caracas", "2007-12-09T07:00:00Z"),
    ("Antarctica/Troll", "2027-03-28T01:00:00Z"),
    ("Asia/Kathmandu", "2027-06-01T00:00:00Z"),
];
const WEEKS: i64 = 3;

fn quarter() -> impl Strategy<Value = jiff::civil::Time> + Clone {
    // Times about a change are as likely as all others.
    prop_oneof![0..14_i32, 0..96_i32].prop_map(|at| jiff::civil::time((at / 4) as i8, (at % 4 * 15) as i8, 0, 0))
}

fn person() -> impl Strategy<Value = Name> {
    proptest::sample::select(vec!["ana", "bo", "chi", "dee"]).prop_map(Name::from)
}

fn windows() -> impl Strategy<Value = Vec<Window>> {
    let window = (proptest::collection::btree_set(0..7_i8, 1..7), quarter(), quarter());
    proptest::collection::vec(window.prop_map(|(days, from, to)| Window { days, from, to }), 0..3)
}

fn layers(first: DateTime) -> impl Strategy<Value = Vec<Layer>> {
    let unit = prop_oneof![
        (1..40_u32, Just(Unit::Hour)),
        (1..5_u32, Just(Unit::Day)),
        (1..3_u32, Just(Unit::Week)),
        (1..2_u32, Just(Unit::Month)),
    ];
    let day = proptest::option::of((0..7_i8).prop_map(|day| Weekday::from_monday_zero_offset(day).unwrap()));
    let rotation = proptest::collection::vec(person(), 1..4);
    let layer = (rotation, unit, day, quarter(), 3..12_i32, windows()).prop_map(
        move |(rotation, (count, unit), day, at, start, restrict)| Layer {
            rotation,
            every: Every { count, unit },
            handoff: Handoff { day, at },
            start: first.date().checked_add(jiff::Span::new().days(start)).unwrap(),
            restrict,
        },
    );
    proptest::collection::vec(layer, 0..3)
}

fn overrides(first: DateTime) -> impl Strategy<Value = Vec<Override>> {
    let time = (1..18_i32, quarter())
        .prop_map(move |(day, at)| first.date().checked_add(jiff::Span::new().days(day)).unwrap().to_datetime(at));
    let one = (person(), time.clone(), time).prop_map(|(who, from, to)| Override { who, from, to });
    proptest::collection::vec(one, 0..3)
}

/// A schedule, and from when it is walked.
fn cases() -> impl Strategy<Value = (Schedule, Timestamp)> {
    (proptest::sample::select(WHEN.to_vec()), 3..15_i64).prop_flat_map(|((zone, change), before)| {
        let from = at(change) - SignedDuration::from_hours(24 * before);
        let first = zone::find(zone).unwrap().to_datetime(from);
        (layers(first), overrides(first))
            .prop_map(move |(layers, overrides)| (Schedule { time_zone: zone.to_owned(), layers, overrides }, from))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// At every tick the code says what the reference says; and its spans tile, are as long as they can be, and each answer
    /// holds from its span's start to its end.
    #[test]
    fn the_code_says_what_a_walk_says((schedule, from) in cases()) {
        let to = from + SignedDuration::from_hours(24 * 7 * WEEKS);
        let zone = zone::find(&schedule.time_zone).unwrap();
        let resolved = Resolved::new(&schedule);
        // What begins before the end ends within the walk.
        let walk = Walk::new(&zone, from, to + SignedDuration::from_hours(72));
        let expected = answers(&schedule, &walk);
        let spans: Vec<Span> = changes(&schedule, from, to).collect();
        prop_assert_eq!(spans[0].from, from);
        prop_assert_eq!(spans[spans.len() - 1].to, to);
        for two in spans.windows(2) {
            prop_assert_eq!(two[0].to, two[1].from);
            prop_assert_eq!(two[0].on.until, Some(two[0].to));
            prop_assert!((&two[0].on.who, &two[0].on.why) != (&two[1].on.who, &two[1].on.why), "{two:?}");
        }
        let mut at_span = 0;
        for (tick, expected) in walk.ticks().zip(expected).take_while(|(tick, _)| *tick < to) {
            let on = resolved.who(tick);
            let found = match on.why {
                Why::Override { .. } => on.who.clone().map(|who| (who, 0, 0)),
                Why::Layer { layer, shift, .. } => on.who.clone().map(|who| (who, layer, shift)),
                _ => None,
            };
            prop_assert_eq!(found, expected, "at {} ({})", tick, zone.to_datetime(tick));
            while spans[at_span].to <= tick {
                at_span += 1;
            }
            prop_assert_eq!(&spans[at_span].on, &on);
        }
    }

    /// The reference knows the rule of clocks by itself.
    #[test]
    fn a_walk_finds_the_moments_of_times((zone, change) in proptest::sample::select(WHEN.to_vec()), day in -2..3_i32, time in quarter()) {
        let zone = zone::find(zone).unwrap();
        let hours = SignedDuration::from_hours(24 * 5);
        let walk = Walk::new(&zone, at(change) - hours, at(change) + hours);
        let civil = zone.to_datetime(at(change)).date().checked_add(jiff::Span::new().days(day)).unwrap().to_datetime(time);
        prop_assert_eq!(walk.start_of(civil), Some(zone::start_of(&zone, civil)), "{}", civil);
        prop_assert_eq!(walk.end_of(civil), Some(zone::end_of(&zone, civil)), "{}", civil);
    }
}

#[test]
fn the_reference_sees_a_day_that_never_was() {
    let zone = zone::find("Pacific/Apia").unwrap();
    let walk = Walk::new(&zone, at("2011-12-28T00:00:00Z"), at("2012-01-02T00:00:00Z"));
    let never = date(2011, 12, 30).at(12, 0, 0, 0);
    assert_eq!(walk.start_of(never), Some(at("2011-12-30T10:00:00Z")));
}
