//! Calendars over the hours that clocks skip and repeat, and moments that are due once.

use super::*;

fn calendar(cron: &str, zone: &str) -> Result<Calendar, WrongSchedule> {
    Calendar::of(&Schedule { cron: cron.into(), time_zone: zone.into() })
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The next moments from one on.
fn next(cron: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
    let calendar = calendar(cron, zone).unwrap();
    let mut at = at(from);
    let mut all = Vec::new();
    for _ in 0..count {
        let moment = calendar.after(at).unwrap();
        at = moment.timestamp();
        all.push(moment.strftime("%a %m-%d %H:%M %:z").to_string());
    }
    all
}

#[test]
fn five_fields_with_names_in_a_time_zone() {
    let moments = next("0 6 * * mon", "Europe/Berlin", "2026-03-20T00:00:00Z", 3);
    assert_eq!(moments, ["Mon 03-23 06:00 +01:00", "Mon 03-30 06:00 +02:00", "Mon 04-06 06:00 +02:00"]);
    let moments = next("*/30 9-10 1 jan,jul *", "UTC", "2026-02-01T00:00:00Z", 2);
    assert_eq!(moments, ["Wed 07-01 09:00 +00:00", "Wed 07-01 09:30 +00:00"]);
}

#[test]
fn a_time_in_a_gap_comes_once_right_after_it() {
    // 02:00 to 03:00 do not exist on 2026-03-29.
    let moments = next("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3);
    assert_eq!(moments, ["Sat 03-28 02:30 +01:00", "Sun 03-29 03:00 +02:00", "Mon 03-30 02:30 +02:00"]);
    let moments = next("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:15:00Z", 3);
    assert_eq!(moments, ["Sun 03-29 01:30 +01:00", "Sun 03-29 03:00 +02:00", "Sun 03-29 03:30 +02:00"]);
}

#[test]
fn an_ambiguous_time_comes_once() {
    // 02:00 to 03:00 come twice on 2026-10-25.
    let moments = next("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
    assert_eq!(moments, ["Sun 10-25 02:30 +02:00", "Mon 10-26 02:30 +01:00"]);
    let calendar = calendar("30 2 * * *", "Europe/Berlin").unwrap();
    let later = calendar.until(at("2026-10-25T12:00:00Z")).unwrap();
    assert_eq!(later.timestamp(), at("2026-10-25T00:30:00Z"), "backwards it is the same moment");
}

#[test]
fn what_is_wrong_is_told() {
    let said = |cron, zone| calendar(cron, zone).map(drop).unwrap_err();
    assert_eq!(said("0 6 * *", "UTC"), WrongSchedule::Cron("it has 4 fields".into()));
    assert!(matches!(said("0 0 6 * * mon", "UTC"), WrongSchedule::Cron(_)));
    assert!(matches!(said("0 25 * * *", "UTC"), WrongSchedule::Cron(_)));
    assert!(matches!(said("0 6 * * moon", "UTC"), WrongSchedule::Cron(_)));
    assert_eq!(said("0 0 30 2 *", "UTC"), WrongSchedule::Never);
    assert_eq!(said("0 6 * * *", "Europe/Berlln"), WrongSchedule::Zone);
}

fn hourly() -> Schedules {
    let mut all = Schedules::default();
    let schedule = Schedule { cron: "0 * * * *".into(), time_zone: "UTC".into() };
    all.known(&"p".into(), Some(&schedule), at("2026-01-01T00:30:00Z"));
    all
}

#[test]
fn a_moment_is_due_once_also_when_the_clock_is_set_back() {
    let mut all = hourly();
    assert_eq!(all.next(at("2026-01-01T00:30:00Z")), Some(at("2026-01-01T01:00:00Z")));
    assert!(all.due(at("2026-01-01T00:59:59Z"), &|_| false).is_empty());
    let due = all.due(at("2026-01-01T01:00:00Z"), &|_| false);
    assert_eq!((due.len(), due[0].moment.timestamp(), due[0].missed), (1, at("2026-01-01T01:00:00Z"), None));
    assert!(all.due(at("2026-01-01T01:10:00Z"), &|_| false).is_empty());
    let ran = run_of(&"p".into(), at("2026-01-01T01:00:00Z"));
    assert!(all.due(at("2026-01-01T00:50:00Z"), &|run| *run == ran).is_empty());
    assert!(all.due(at("2026-01-01T01:00:00Z"), &|run| *run == ran).is_empty(), "it has its run");
}

#[test]
fn of_many_that_were_missed_the_latest_is_due_and_the_others_are_told() {
    let mut all = hourly();
    let ran = run_of(&"p".into(), at("2026-01-01T02:00:00Z"));
    let due = all.due(at("2026-01-01T06:20:00Z"), &|run| *run == ran);
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].moment.timestamp(), at("2026-01-01T06:00:00Z"));
    assert_eq!(due[0].missed, Some((at("2026-01-01T03:00:00Z"), at("2026-01-01T05:00:00Z"))));
    assert!(all.due(at("2026-01-01T06:30:00Z"), &|_| false).is_empty());
}
