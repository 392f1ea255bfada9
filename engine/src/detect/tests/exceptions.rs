//! Exceptions: what they need, what they hold back, how that is told, and their end.

use super::*;
use serde_json::json;

const RULE: &str = "title: Download\nname: download\nlogsource: {category: process_creation, product: linux}\n\
    detection:\n  s: {Image|endswith: /curl}\n  condition: s\n";

const EXCEPTION: &str = "title: The mirror job\nname: mirror\nowner: ana\nreason: nightly mirror, ticket 12\n\
    expires: 2026-12-01\nlogsource: {category: process_creation, product: linux}\nfilter:\n  rules: [download]\n\
    \x20 selection: {User: mirror}\n  condition: not selection\n";

fn with(exception: &str) -> (Detector, RuleReport) {
    let (rules, report) = Rules::load(&[text("rules.yml", RULE)], &[text("exceptions.yml", exception)]);
    (Detector::new(Arc::new(rules)), report)
}

fn curl(id: &str, user: &str) -> OwnedEvent {
    process(id, 0, json!({"Image": "/usr/bin/curl", "User": user}))
}

#[test]
fn an_exception_holds_back_counts_and_tells() {
    let (mut detector, report) = with(EXCEPTION);
    assert!(report.skipped.is_empty(), "{:?}", report.skipped);
    assert_eq!(report.exceptions[0].rules[0].as_str(), "download");
    assert!(run(&mut detector, &curl("e1", "mirror")).is_empty());
    assert_eq!(run(&mut detector, &curl("e2", "root")).len(), 1);
    let held: Vec<_> = detector.held().collect();
    assert_eq!((held[0].id.as_str(), held[0].owner.as_str(), held[0].held), ("mirror", "ana", 1));
    let told = detector.take_held();
    assert_eq!((told[0].rule.as_str(), told[0].event.as_str()), ("download", "e1"));
    assert!(detector.take_held().is_empty());
}

#[test]
fn an_expired_exception_warns_and_holds_nothing() {
    let (mut detector, report) = with(&EXCEPTION.replace("2026-12-01", "2026-09-01"));
    let before: Timestamp = "2026-09-01T23:59:59Z".parse().unwrap();
    let after: Timestamp = "2026-09-02T00:00:00Z".parse().unwrap();
    assert!(report.expired(before).is_empty(), "it holds to the end of its last day");
    assert_eq!(report.expired(after).len(), 1);
    assert_eq!(run(&mut detector, &curl("e1", "mirror")).len(), 1);
    assert_eq!(detector.held().map(|held| (held.held, held.let_through)).collect::<Vec<_>>(), [(0, 1)]);
}

#[test]
fn what_an_exception_lacks_is_said_all_at_once_and_it_holds_nothing() {
    let rows: &[(&str, &str, &[&str])] = &[
        ("owner: ana\n", "", &["an exception needs `owner`"]),
        ("reason: nightly mirror, ticket 12\nexpires: 2026-12-01\n", "", &["needs `reason`", "needs `expires`"]),
        ("2026-12-01", "soon", &["`soon` is no date"]),
        ("owner: ana", "ower: ana", &["an exception needs `owner`"]),
        ("owner: ana", "owner: ''", &["`owner` is empty"]),
    ];
    for (from, to, wanted) in rows {
        let (mut detector, report) = with(&EXCEPTION.replace(from, to));
        let errors: Vec<&str> = report.errors().map(|mistake| mistake.what.as_str()).collect();
        assert_eq!(errors.len(), wanted.len(), "{errors:?}");
        for (error, part) in errors.iter().zip(*wanted) {
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(run(&mut detector, &curl("e1", "mirror")).len(), 1);
    }
}

#[test]
fn an_exception_about_no_rule_is_a_warning_and_a_rule_among_them_an_error() {
    let (_, report) = with(&EXCEPTION.replace("[download]", "[downlaod]"));
    assert_eq!(report.skipped[0].nearest.as_deref(), Some("download"));
    assert!(!report.has_errors());
    let (_, report) = with(RULE);
    assert!(report.errors().next().unwrap().what.contains("is no exception"));
}

#[test]
fn an_exception_goes_on_counting_over_a_reload() {
    let (mut detector, _) = with(EXCEPTION);
    run(&mut detector, &curl("e1", "mirror"));
    let (rules, _) = Rules::load(&[text("rules.yml", RULE)], &[text("exceptions.yml", EXCEPTION)]);
    detector.swap(Arc::new(rules));
    assert_eq!(detector.held().next().unwrap().held, 1);
}

#[test]
fn a_correlation_can_be_excepted_by_name() {
    let rules = format!(
        "{RULE}---\ntitle: many\nname: many\ncorrelation:\n  type: event_count\n  rules: [download]\n  group-by: [User]\n\
         \x20 timespan: 1m\n  condition: {{gte: 1}}\n"
    );
    let exception = EXCEPTION.replace("[download]", "[many]");
    let (rules, report) = Rules::load(&[text("rules.yml", &rules)], &[text("exceptions.yml", &exception)]);
    assert!(report.skipped.is_empty(), "{:?}", report.skipped);
    let mut detector = Detector::new(Arc::new(rules));
    assert!(run(&mut detector, &curl("e1", "mirror")).is_empty());
    assert_eq!(names(&run(&mut detector, &curl("e2", "root"))), ["many"]);
}

/// auditd writes several records of one event, and a rule of keywords matches more than one of them.
#[test]
fn what_is_held_in_one_of_an_events_clothes_is_held_once_and_in_all_of_them() {
    let keywords = "title: Evil\nname: evil\nlogsource: {product: linux, service: auditd}\n\
        detection:\n  words: [evil]\n  condition: words\n";
    let ours = EXCEPTION
        .replace("category: process_creation, product: linux", "product: linux, service: auditd")
        .replace("[download]", "[evil]")
        .replace("User: mirror", "exe: /opt/evil");
    let (rules, report) = Rules::load(&[text("rules.yml", keywords)], &[text("exceptions.yml", &ours)]);
    assert!(report.skipped.is_empty(), "{:?}", report.skipped);
    let mut detector = Detector::new(Arc::new(rules));
    let of = |id: &str, image: &str| {
        let own = json!({"process": {"image": image, "args": [image, "-x"]}});
        event(Class::ProcessCreation, id, 0, json!({}), own)
    };
    assert_eq!(run(&mut detector, &of("e1", "/tmp/evil")).len(), 1, "one event is one detection");
    assert_eq!(names(&run(&mut detector, &of("e2", "/opt/evil"))), [""; 0]);
    assert_eq!(detector.held().map(|held| held.held).collect::<Vec<_>>(), [1]);
    assert_eq!(detector.take_held().len(), 1);
}
