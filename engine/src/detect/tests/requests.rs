//! A request of an API server that lasts, told in stages.

use super::{event, load, names, run};
use crate::detect::Detector;
use quell_model::{Class, OwnedEvent};
use serde_json::json;

const RULES: &str = "title: a\nname: exec\nlogsource: {product: kubernetes, service: audit}\n\
    detection:\n  s: {verb: get}\n  condition: s\n---\n\
    title: b\nname: over\nlogsource: {product: kubernetes, service: audit}\n\
    detection:\n  s: {stage: ResponseComplete}\n  condition: s\n---\n\
    title: c\nname: many\ncorrelation: {type: event_count, rules: [exec], group-by: [verb], timespan: 1h, condition: {gte: 3}, generate: true}\n";

fn stage(stage: &str, received: u32, change: impl FnOnce(&mut OwnedEvent)) -> OwnedEvent {
    let sigma = json!({
        "auditID": "chosen", "stage": stage, "verb": "get", "requestURI": "/exec", "user": { "username": "ana" },
        "requestReceivedTimestamp": format!("2026-03-01T10:00:00.{received:06}Z"),
    });
    let mut event = event(Class::Record, &format!("{stage}/{received}"), 0, sigma, json!({}));
    event.logsource.product = Some("kubernetes".into());
    event.logsource.service = Some("audit".into());
    change(&mut event);
    event
}

#[test]
fn the_stages_of_one_request_are_one_detection_a_rule_whichever_comes_first() {
    for [first, second] in [["ResponseStarted", "ResponseComplete"], ["ResponseComplete", "ResponseStarted"]] {
        let (rules, _) = load(RULES);
        let mut detector = Detector::new(rules.clone());
        let begun = run(&mut detector, &stage(first, 1, |_| {}));
        // A rule that matches the end alone is found by it; and a reload forgets nothing.
        detector.swap(rules);
        let ended = run(&mut detector, &stage(second, 1, |_| {}));
        let mut found =
            names(&[begun.clone(), ended.clone()].concat()).iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        found.sort_unstable();
        assert_eq!(found, ["exec", "over"], "{first}");
        // A daemon that has begun in between knows it by its id.
        let anew = run(&mut Detector::new(load(RULES).0), &stage(second, 1, |_| {}));
        let id = |found: &[quell_model::Detection]| {
            found.iter().find(|one| one.rule.name.as_str() == "exec").map(|one| one.id)
        };
        assert_eq!(id(&anew), id(&begun));
    }
}

#[test]
fn another_request_is_another_detection_whatever_audit_id_it_was_given() {
    let mut detector = Detector::new(load(RULES).0);
    let mut found = |event: OwnedEvent| names(&run(&mut detector, &event)).contains(&"exec");
    assert!(found(stage("ResponseStarted", 1, |_| {})));
    assert!(found(stage("ResponseStarted", 2, |_| {})), "at another moment");
    assert!(found(stage("ResponseStarted", 1, |event| event.sigma["requestURI"] = "/other".into())));
    assert!(found(stage("ResponseStarted", 1, |event| event.sigma["user"] = json!({ "username": "eve" }))));
    assert!(found(stage("ResponseStarted", 1, |event| event.head.source = "webhook:other".into())));
    assert!(!found(stage("Panic", 2, |_| {})));
    // Without what names a request each event is one.
    for _ in 0..2 {
        assert!(found(stage("ResponseStarted", 1, |event| drop(event.sigma.remove("requestReceivedTimestamp")))));
    }
    // So many go on at once: the end of the earliest is told once more.
    for number in 10..14 {
        assert!(found(stage("ResponseStarted", number, |_| {})));
    }
    assert!(!found(stage("ResponseComplete", 13, |_| {})));
    assert!(found(stage("ResponseComplete", 2, |_| {})));
}

#[test]
fn a_request_is_counted_once() {
    let mut detector = Detector::new(load(RULES).0);
    let mut fired = |event: OwnedEvent| names(&run(&mut detector, &event)).contains(&"many");
    for number in 1..3 {
        assert!(!fired(stage("ResponseStarted", number, |_| {})));
        assert!(!fired(stage("ResponseComplete", number, |_| {})));
    }
    assert!(fired(stage("ResponseStarted", 3, |_| {})));
}
