//! What rules do to events: data rows for matching, and a test a promise of the module.

mod correlation;
mod drafts;
mod exceptions;
mod loading;
mod matching;
mod requests;
mod sigmahq;

use super::{Detector, RuleReport, RuleSource, Rules};
use jiff::Timestamp;
use quell_model::{Class, Detection, Entity, EventHead, Json, LogSource, Name, OwnedEvent, Stamp, Subject};
use std::sync::Arc;

/// A moment, in seconds after an arbitrary beginning.
fn at(second: i64) -> Stamp {
    let wall = Timestamp::from_second(1_790_000_000 + second).unwrap();
    Stamp { wall, boot_ns: u64::try_from(second).unwrap_or(0) * 1_000_000_000 }
}

fn map(json: Json) -> serde_json::Map<String, Json> {
    match json {
        Json::Object(map) => map,
        other => panic!("no map: {other}"),
    }
}

fn event(class: Class, id: &str, second: i64, sigma: Json, own: Json) -> OwnedEvent {
    let category = match class {
        Class::Record => None,
        class => Some(Name::from(class.as_str())),
    };
    OwnedEvent {
        v: 1,
        head: EventHead {
            id: id.into(),
            class,
            source: "test".into(),
            node: "here".into(),
            at: at(second),
            seen: at(second),
        },
        logsource: LogSource { category, product: Some("linux".into()), service: None },
        sigma: map(sigma),
        own: map(own),
        subject: Subject::Unknown,
        entity: Entity { kind: "node".into(), id: "here".into(), node: "here".into() },
    }
}

fn process(id: &str, second: i64, sigma: Json) -> OwnedEvent {
    event(Class::ProcessCreation, id, second, sigma, serde_json::json!({}))
}

fn text(name: &str, text: &str) -> RuleSource {
    RuleSource::Text { name: name.into(), text: text.into() }
}

fn load(rules: &str) -> (Arc<Rules>, RuleReport) {
    let (rules, report) = Rules::load(&[text("rules.yml", rules)], &[]);
    (Arc::new(rules), report)
}

/// A rule of one selection over process events.
fn rule(selection: &str) -> String {
    format!(
        "title: t\nname: t\nlogsource: {{category: process_creation, product: linux}}\n\
         detection:\n  selection:\n    {selection}\n  condition: selection\n"
    )
}

fn run(detector: &mut Detector, event: &OwnedEvent) -> Vec<Detection> {
    let mut out = Vec::new();
    detector.event(event, event.head.at, &mut out);
    out
}

fn names(detections: &[Detection]) -> Vec<&str> {
    detections.iter().map(|detection| detection.rule.name.as_str()).collect()
}

/// The sensor's thread owns the detector; rules are made elsewhere and handed over.
#[test]
fn rules_and_detectors_travel_between_threads() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>() {}
    shared::<Rules>();
    sent::<Detector>();
}
