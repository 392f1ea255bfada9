//! Counting over time: thresholds, groups, windows, order, bounds, and correlations of correlations.

use super::super::correlate;
use super::*;
use serde_json::json;

const LOGIN: &str = "title: failed login\nname: failed\nlogsource: {category: process_creation, product: linux}\n\
    detection:\n  s: {Kind: failed}\n  condition: s\n---\n\
    title: good login\nname: good\nlogsource: {category: process_creation, product: linux}\n\
    detection:\n  s: {Kind: good}\n  condition: s\n---\n";

fn correlation(body: &str) -> String {
    format!("{LOGIN}title: many\nname: many\nlevel: high\ncorrelation:\n{body}")
}

fn detector(body: &str) -> Detector {
    let (rules, report) = load(&correlation(body));
    assert!(report.skipped.is_empty(), "{:?}", report.skipped);
    Detector::new(rules)
}

fn login(id: u32, second: i64, kind: &str, user: &str, from: &str) -> OwnedEvent {
    process(&format!("e{id}"), second, json!({"Kind": kind, "User": user, "From": from}))
}

const COUNT: &str =
    "  type: event_count\n  rules: [failed]\n  group-by: [User]\n  timespan: 1m\n  condition: {gte: 3}\n";

#[test]
fn three_of_one_user_within_a_minute_are_one_detection_with_their_events() {
    let mut detector = detector(COUNT);
    let mut all = Vec::new();
    for (n, (second, user)) in [(0, "a"), (1, "b"), (2, "a"), (3, "a"), (4, "a")].into_iter().enumerate() {
        all.extend(run(&mut detector, &login(u32::try_from(n).unwrap(), second, "failed", user, "x")));
    }
    assert_eq!(names(&all), ["many"], "the rules that are only counted are silent, and the count starts again");
    let ids: Vec<&str> = all[0].events.iter().map(|event| event.head.id.as_str()).collect();
    assert_eq!(ids, ["e0", "e2", "e3"]);
    assert_eq!(all[0].event.head.id.as_str(), "e3");
    assert_eq!(all[0].rule.level.as_str(), "high");
    assert_eq!(
        serde_json::to_value(&all[0].matched).unwrap(),
        json!([{"field": "User", "value": "a"}, {"field": "count", "value": 3}])
    );
    assert_eq!(all[0].id, quell_model::Hash::of_parts(&[b"many", b"e0", b"e2", b"e3"]));
}

#[test]
fn the_window_is_of_the_events_own_time() {
    let mut detector = detector(COUNT);
    let mut all = Vec::new();
    for (n, second) in [0, 50, 100, 150].into_iter().enumerate() {
        let event = login(u32::try_from(n).unwrap(), second, "failed", "a", "x");
        detector.event(&event, at(9_999), &mut all);
    }
    assert!(all.is_empty(), "never three within a minute, whatever the clock says");
}

/// What the sensor saw of a process of one boot, `boot` seconds after that boot began, while the wall clock stood at `wall`.
fn seen(id: u32, of: &str, boot: u64, wall: i64) -> OwnedEvent {
    let process = json!({"process": {"id": format!("7.5.0@{of}")}});
    let mut event =
        event(Class::ProcessCreation, &format!("e{id}"), wall, json!({"Kind": "failed", "User": "a"}), process);
    event.head.source = "sensor".into();
    event.head.at.boot_ns = boot * 1_000_000_000;
    event
}

/// Of three failed logins, each with its boot, its second in it and what the wall clock said, whether they are counted
/// together; the window is a minute long.
fn counted_together(three: [(&str, u64, i64); 3]) -> bool {
    let mut detector = detector(COUNT);
    let mut all = Vec::new();
    for (n, (of, boot, wall)) in (0..).zip(three) {
        all.extend(run(&mut detector, &seen(n, of, boot, wall)));
    }
    !all.is_empty()
}

#[test]
fn a_step_of_the_wall_clock_neither_closes_a_window_nor_opens_one() {
    let hours_2 = 7200;
    for step in [hours_2, -hours_2] {
        assert!(counted_together([("b", 10, 0), ("b", 20, 10), ("b", 30, 20 + step)]), "closed by {step} s");
        assert!(counted_together([("b", 10, 0), ("b", 20, 10 + step), ("b", 30, 20)]), "closed by {step} s and back");
        assert!(!counted_together([("b", 10, 0), ("b", 45, 35 + step), ("b", 80, 70 + step)]), "opened by {step} s");
    }
    // Set back while it went on: by the wall clock all three are within the minute.
    assert!(!counted_together([("b", 100, 0), ("b", 150, 50), ("b", 200, 55)]));
    assert!(!counted_together([("b", 100, 0), ("b", 7300, 5), ("b", 14_500, 10)]));
}

#[test]
fn after_a_boot_the_wall_clock_says_how_much_later_it_is() {
    assert!(counted_together([("b", 900, 0), ("b", 910, 10), ("c", 15, 40)]), "the boot took 25 s");
    assert!(!counted_together([("b", 900, 0), ("b", 910, 10), ("c", 915, 500)]), "near on the boot clock alone");
    assert!(!counted_together([("b", 900, 0), ("c", 901, 500), ("d", 902, 1000)]));
    assert!(counted_together([("b", 900, 0), ("b", 899, -1), ("b", 901, 1)]), "late by a second");
}

#[test]
fn foreign_records_are_counted_beside_what_the_kernel_saw_once_a_wrong_clock_was_set() {
    let mut detector = detector(COUNT);
    assert!(run(&mut detector, &seen(0, "b", 5, -500_000)).is_empty(), "a machine that began with a wrong clock");
    let mut all = run(&mut detector, &seen(1, "b", 200, 1000));
    all.extend(run(&mut detector, &login(2, 1010, "failed", "a", "x")));
    all.extend(run(&mut detector, &seen(3, "b", 220, 1020)));
    assert_eq!(names(&all), ["many"]);
}

#[test]
fn generate_keeps_the_counted_rules_talking() {
    let mut detector = detector(&format!("{COUNT}  generate: true\n"));
    assert_eq!(names(&run(&mut detector, &login(0, 0, "failed", "a", "x"))), ["failed"]);
}

#[test]
fn different_values_are_counted_once_each() {
    let body = "  type: value_count\n  rules: [failed]\n  group-by: [From]\n  timespan: 1m\n  condition: {gte: 2, field: User}\n";
    let mut detector = detector(body);
    assert!(run(&mut detector, &login(0, 0, "failed", "a", "x")).is_empty());
    assert!(run(&mut detector, &login(1, 1, "failed", "a", "x")).is_empty());
    let found = run(&mut detector, &login(2, 2, "failed", "b", "x"));
    assert_eq!(names(&found), ["many"]);
    assert_eq!(found[0].events.len(), 3);
}

#[test]
fn temporal_wants_all_its_rules_and_ordered_in_their_order() {
    for (kind, forward, backward) in [("temporal", 1, 1), ("temporal_ordered", 1, 0)] {
        let body = format!("  type: {kind}\n  rules: [failed, good]\n  group-by: [User]\n  timespan: 1m\n");
        for (first, second, wanted) in [("failed", "good", forward), ("good", "failed", backward)] {
            let mut detector = detector(&body);
            assert!(run(&mut detector, &login(0, 0, first, "a", "x")).is_empty());
            assert!(run(&mut detector, &login(1, 1, second, "other", "x")).is_empty());
            let found = run(&mut detector, &login(2, 2, second, "a", "x"));
            assert_eq!(found.len(), wanted, "{kind}: {first} then {second}");
        }
    }
}

#[test]
fn a_correlation_of_correlations_has_the_events_behind_both() {
    let text = format!(
        "{}---\ntitle: twice\nname: twice\ncorrelation:\n  type: event_count\n  rules: [many]\n  group-by: [User]\n  timespan: 10m\n  condition: {{gte: 2}}\n",
        correlation(COUNT)
    );
    let (rules, report) = load(&text);
    assert!(report.skipped.is_empty(), "{:?}", report.skipped);
    let mut detector = Detector::new(rules);
    let mut all = Vec::new();
    for n in 0..6 {
        all.extend(run(&mut detector, &login(n, i64::from(n), "failed", "a", "x")));
    }
    assert_eq!(names(&all), ["twice"]);
    assert_eq!(all[0].events.len(), 6);
}

#[test]
fn a_detection_carries_no_more_events_than_its_bound() {
    let body = "  type: event_count\n  rules: [failed]\n  group-by: [User]\n  timespan: 1h\n  condition: {gte: 250}\n";
    let mut detector = detector(body);
    let mut all = Vec::new();
    for n in 0..250 {
        all.extend(run(&mut detector, &login(n, i64::from(n), "failed", "a", "x")));
    }
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].events.len(), super::super::EVENTS_CARRIED);
}

/// The last always, whatever it says: it is what the detection is of.
#[test]
fn a_detection_carries_no_more_bytes_than_its_bound_but_for_its_own_event() {
    for (mib, carried) in [(1.5, 2), (0.1, 5), (5.0, 1)] {
        let text = "x".repeat((mib * f64::from(1 << 20)) as usize);
        let body =
            "  type: event_count\n  rules: [failed]\n  group-by: [User]\n  timespan: 1h\n  condition: {gte: 5}\n";
        let mut detector = detector(body);
        let mut all = Vec::new();
        for n in 0..5 {
            all.extend(run(&mut detector, &login(n, i64::from(n), "failed", "a", &text)));
        }
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].events.len(), &all[0].events.last().unwrap().head.id), (carried, &all[0].event.head.id));
    }
}

#[test]
fn a_reload_goes_on_counting() {
    let mut detector = detector(COUNT);
    for n in 0..2 {
        run(&mut detector, &login(n, i64::from(n), "failed", "a", "x"));
    }
    detector.swap(load(&correlation(COUNT)).0);
    let found = run(&mut detector, &login(2, 2, "failed", "a", "x"));
    assert_eq!(names(&found), ["many"]);
    assert_eq!(found[0].events.len(), 3);
}

#[test]
fn references_to_nothing_and_rings_are_mistakes_with_their_place() {
    let (_, report) = load(&correlation(&COUNT.replace("[failed]", "[faild]")));
    let mistake = report.errors().next().unwrap();
    assert_eq!((mistake.place().as_str(), mistake.nearest.as_deref()), ("rules.yml:20:11", Some("failed")));
    let (rules, report) = load(&correlation(&COUNT.replace("[failed]", "[many]")));
    assert!(report.errors().any(|mistake| mistake.what.contains("counts itself")));
    assert_eq!(rules.len(), 2);
}

#[test]
fn a_threshold_beyond_the_bounds_is_a_warning() {
    let (_, report) = load(&correlation(&COUNT.replace("gte: 3", "gte: 2001")));
    assert!(report.skipped[0].what.contains("never fires"), "{:?}", report.skipped);
    let (_, report) = load(&correlation(&COUNT.replace("gte: 3", "gte: 2000")));
    assert!(report.skipped.is_empty());
}

#[test]
fn an_attacker_who_varies_the_key_fills_bounded_state_and_blinds_nobody() {
    let mut detector = detector(COUNT);
    let mut all = Vec::new();
    for n in 0..12_000u32 {
        let user = format!("noise{n}");
        all.extend(run(&mut detector, &login(n, 0, "failed", &user, "x")));
    }
    for n in 20_000..20_003 {
        all.extend(run(&mut detector, &login(n, 1, "failed", "victim", "x")));
    }
    assert_eq!(names(&all), ["many"]);
}

/// Whoever writes command lines of eight thousand letters fills no memory with them, and is counted all the same.
#[test]
fn long_values_are_told_apart_by_their_ends_too() {
    let mut detector = detector(
        "  type: value_count\n  rules: [failed]\n  group-by: [User]\n  timespan: 1m\n  condition: {field: From, gte: 3}\n",
    );
    let long = |end: &str| format!("{}{end}", "x".repeat(8_000));
    let mut all = Vec::new();
    for (n, end) in ["a", "a", "b", "b", "c"].into_iter().enumerate() {
        let event = login(u32::try_from(n).unwrap(), 1, "failed", &long("user"), &long(end));
        all.extend(run(&mut detector, &event));
    }
    assert_eq!(names(&all), ["many"]);
    let user = all[0].matched[0].value.as_str().unwrap();
    assert!(user.len() < 500 && user.starts_with("xxx"), "{} bytes", user.len());
    assert_eq!(all[0].events.len(), 5);
}

#[test]
fn large_events_are_kept_up_to_a_bound_of_bytes() {
    let mut detector = detector(
        "  type: event_count\n  rules: [failed]\n  group-by: [User]\n  timespan: 1h\n  condition: {gte: 90}\n",
    );
    let mut all = Vec::new();
    for n in 0..90 {
        all.extend(run(&mut detector, &login(n, 1, "failed", "a", &"x".repeat(1 << 20))));
    }
    assert_eq!(names(&all), ["many"], "all are counted");
    let kept = all[0].events.len();
    assert!((2..40).contains(&kept), "and only the latest kept: {kept}");
    assert_eq!(all[0].events.last().unwrap().head.id.as_str(), "e89");
}

#[test]
fn a_correlation_that_counts_otherwise_after_a_reload_begins_anew() {
    let mut detector = detector(COUNT);
    run(&mut detector, &login(0, 0, "failed", "a", "x"));
    let values = "  type: value_count\n  rules: [failed]\n  group-by: [User]\n  timespan: 1m\n  condition: {field: From, gte: 2}\n";
    detector.swap(load(&correlation(values)).0);
    let mut all = run(&mut detector, &login(1, 1, "failed", "a", "x"));
    all.extend(run(&mut detector, &login(2, 2, "failed", "a", "y")));
    assert_eq!(names(&all), ["many"]);
}

/// Ever new groups, and in each the same value over and over.
#[test]
fn a_flood_fills_no_memory_and_who_counts_few_is_counted_on() {
    let mut detector = detector(
        "  type: value_count\n  rules: [failed]\n  group-by: [User]\n  timespan: 1h\n  condition: {field: From, gte: 3}\n",
    );
    let mut id = 0..;
    let mut next = |user: &str, from: &str| login(id.next().unwrap(), 1, "failed", user, from);
    for from in ["x", "y"] {
        assert!(run(&mut detector, &next("honest", from)).is_empty());
    }
    for round in 0..35_000 {
        run(&mut detector, &next(&format!("flood-{}", round / 50), "x"));
    }
    let standing = detector.correlator.as_ref().unwrap().standing();
    assert!(standing <= correlate::ENTRIES, "{standing}");
    assert_eq!(names(&run(&mut detector, &next("honest", "z"))), ["many"]);
}

/// A record that says it is of the next century has not happened after it was read, and closes no window.
#[test]
fn a_record_from_the_future_is_of_when_it_was_seen() {
    let mut detector = detector(COUNT);
    let mut forged = login(1, 3_000_000_000, "failed", "a", "x");
    forged.head.seen = at(1);
    let mut all = Vec::new();
    for event in [login(0, 0, "failed", "a", "x"), forged, login(2, 2, "failed", "a", "x")] {
        all.extend(run(&mut detector, &event));
    }
    assert_eq!(names(&all), ["many"]);
    assert_eq!(all[0].events.len(), 3);
}
