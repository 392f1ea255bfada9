//! Format 1, pinned; and the law: what was noted is what is read.

use super::{AsSeen, at, exec, id};
use crate::recorder::{Events, Missed, Packer, Page, PageHead, Unpacker, head};
use proptest::prelude::*;
use quell_model::{Class, Entity, Event, EventHead, Json, LogSource, OwnedEvent, Stamp, Subject};
use serde_json::json;

/// A page as a file of format 1 has it, and the events in it.
const GOLDEN: &[u8] = include_bytes!("recording-v1.pages.zst");
const GOLDEN_EVENTS: &str = include_str!("recording-v1.jsonl");

fn read(bytes: &[u8]) -> Vec<OwnedEvent> {
    Events::of(bytes).map(|glimpse| glimpse.unwrap().into_event()).collect()
}

/// Events of each form that the format knows.
fn one_of_each() -> (Page, Vec<OwnedEvent>) {
    let line: &[(u32, &str)] = &[(40, "/usr/bin/bash"), (1, "/sbin/init")];
    let seen = [
        AsSeen(exec(4242, "/usr/bin/curl", line, 0), 81_234_567_890),
        AsSeen(exec(4243, "/usr/bin/curl", line, 5), 81_234_567_891),
        AsSeen(exec(4244, "/usr/bin/nc", line, 2), 81_234_567_892),
    ];
    let mut record = exec(7, "x", &[], 9);
    record.head = EventHead { id: "trail-1".into(), class: Class::Record, seen: at(60_000), ..record.head };
    record.logsource = LogSource { category: None, product: Some("aws".into()), service: Some("cloudtrail".into()) };
    record.sigma =
        json!({ "a.b": [1.5, u64::MAX, null, true, { "c": -3 }], "ä": "ö\u{0}" }).as_object().unwrap().clone();
    record.own = json!({ "cloud": { "region": "eu" }, "odd.name": false }).as_object().unwrap().clone();
    record.subject = Subject::Principal("arn:aws:iam::1:user/ana".into());
    record.entity = Entity { kind: "principal".into(), id: "arn:aws:iam::1:user/ana".into(), node: "1".into() };
    let user = OwnedEvent { subject: Subject::User("ana".into()), ..record.clone() };
    let unknown = OwnedEvent { subject: Subject::Unknown, ..record.clone() };
    let mut page = Page::default();
    page.miss(Missed { events: 3, from: at(1), to: at(2) });
    let mut events = Vec::new();
    for event in &seen {
        page.note(event);
        events.push(event.to_owned());
    }
    for event in [record, user, unknown] {
        page.note(&event);
        events.push(event);
    }
    (page, events)
}

#[test]
fn format_1_is_as_it_was() {
    let (page, events) = one_of_each();
    let text: String = events.iter().map(|event| serde_json::to_string(event).unwrap() + "\n").collect();
    let packed = Packer::new().unwrap().pack(&page, 17, true).unwrap().to_vec();
    if text != GOLDEN_EVENTS || packed.is_empty() {
        let dir = std::env::temp_dir();
        std::fs::write(dir.join("recording-v1.pages.zst"), &packed).unwrap();
        std::fs::write(dir.join("recording-v1.jsonl"), &text).unwrap();
        panic!("format 1 has changed; what it would be now lies in {}", dir.display());
    }
    let mut input = GOLDEN;
    let found: PageHead = head(&mut input).unwrap().unwrap();
    assert_eq!((found.events, found.from, found.to, found.began, found.boot), (6, at(0), at(9), true, 17));
    assert_eq!(found.missed, Some(Missed { events: 3, from: at(1), to: at(2) }));
    let mut unpacker = Unpacker::default();
    let bytes = unpacker.bytes(&found, &mut input).unwrap();
    assert_eq!(bytes, page.bytes(), "the same events have the same bytes");
    assert_eq!(read(bytes), events);
    assert!(head(&mut input).unwrap().is_none());
}

#[test]
fn what_is_shared_is_written_once() {
    let mut page = Page::default();
    let line: &[(u32, &str)] = &[(40, "/usr/bin/bash"), (39, "/usr/sbin/sshd")];
    let mut sizes = Vec::new();
    for pid in 0..20 {
        let before = page.bytes().len();
        page.note(&AsSeen(exec(5000 + pid, "/usr/bin/cc", line, pid.into()), 1));
        sizes.push(page.bytes().len() - before);
    }
    assert!(sizes[0] > 300 && sizes[1..].iter().all(|size| *size < 80), "{sizes:?}");
    page.clear();
    assert!(page.is_empty());
    page.note(&AsSeen(exec(1, "/usr/bin/cc", line, 0), 1));
    assert!(page.bytes().len() > 300, "a new page knows nothing");
}

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        (-1e9..1e9f64).prop_map(Json::from),
        ".{0,12}".prop_map(Json::from),
        "(/usr/bin/a|root|/tmp)".prop_map(Json::from),
        (0..4u32).prop_map(|pid| json!(id(pid))),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
            fields(inner).prop_map(Json::Object),
        ]
    })
}

fn fields(value: impl Strategy<Value = Json>) -> impl Strategy<Value = serde_json::Map<String, Json>> {
    prop::collection::vec(("[a-zA-Z._]{0,10}", value), 0..6).prop_map(|list| list.into_iter().collect())
}

fn stamp() -> impl Strategy<Value = Stamp> {
    let wall = -377_705_023_201_000_000_000i128..=253_402_207_200_999_999_999;
    (wall, any::<u64>())
        .prop_map(|(wall, boot_ns)| Stamp { wall: jiff::Timestamp::from_nanosecond(wall).unwrap(), boot_ns })
}

pub(super) fn event() -> impl Strategy<Value = OwnedEvent> {
    let subject = prop_oneof![
        Just(Subject::Unknown),
        (0..9u32).prop_map(|pid| Subject::Process(id(pid))),
        ".{0,9}".prop_map(|name| Subject::User(name.into())),
        ".{0,9}".prop_map(|name| Subject::Principal(name.into())),
    ];
    let name = || prop::option::of("[a-z]{0,9}".prop_map(|name| name.as_str().into()));
    let logsource =
        (name(), name(), name()).prop_map(|(category, product, service)| LogSource { category, product, service });
    let id = prop_oneof![".{0,20}".prop_map(Some), Just(None)];
    let head = (id, 0..Class::ALL.len(), stamp(), stamp(), any::<u32>(), "[a-z]").prop_map(
        |(id, class, at, seen, tid, kind)| {
            let id = id.unwrap_or_else(|| format!("e-1f2e-{:x}-{tid:x}{kind}", at.boot_ns));
            EventHead { id: id.into(), class: Class::ALL[class], source: "s".into(), node: "n".into(), at, seen }
        },
    );
    let entity =
        ("[a-z]{1,5}", ".{0,9}").prop_map(|(kind, id)| Entity { kind: kind.into(), id: id.into(), node: "n".into() });
    (head, logsource, fields(json()), fields(json()), subject, entity).prop_map(
        |(head, logsource, sigma, own, subject, entity)| OwnedEvent {
            v: 1,
            head,
            logsource,
            sigma,
            own,
            subject,
            entity,
        },
    )
}

proptest! {
    #[test]
    fn what_is_noted_is_what_is_read(events in prop::collection::vec(event(), 1..8)) {
        let mut page = Page::default();
        for event in &events {
            page.note(event);
        }
        prop_assert_eq!(read(page.bytes()), events);
    }

    #[test]
    fn no_bytes_are_fatal(mut bytes in prop::collection::vec(any::<u8>(), 0..400), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        Events::of(&bytes).for_each(drop);
        let (page, _) = one_of_each();
        bytes = page.bytes().to_vec();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for glimpse in Events::of(&bytes).flatten() {
            drop(glimpse.into_event());
        }
        let mut input = &bytes[..];
        assert!(head(&mut input).is_err());
    }
}

#[test]
fn deep_values_end_and_are_read_again() {
    let mut deep = Json::from(1);
    for _ in 0..120 {
        deep = json!([deep]);
    }
    let mut event = exec(1, "x", &[], 0);
    event.sigma.insert("deep".into(), deep);
    let mut page = Page::default();
    page.note(&event);
    assert_eq!(read(page.bytes()), [event]);
}

#[test]
fn a_foreign_record_larger_than_a_page_is_whole_and_the_page_is_small_again() {
    let mut event = exec(1, "x", &[], 0);
    event.sigma.insert("blob".into(), "y".repeat(900_000).into());
    let mut page = Page::default();
    page.note(&event);
    assert!(page.is_full());
    let mut input = &Packer::new().unwrap().pack(&page, 1, false).unwrap().to_vec()[..];
    let found = head(&mut input).unwrap().unwrap();
    let mut unpacker = Unpacker::default();
    assert_eq!(read(unpacker.bytes(&found, &mut input).unwrap()), [event]);
}
