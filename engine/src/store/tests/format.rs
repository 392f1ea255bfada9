//! Format 1, pinned: the text of one record of every kind, as it is exported and as it was chained.

use super::bodies::{at, one_of_each};
use crate::store::chain::Sum;
use crate::store::item::body_text;
use quell_model::record::{EngineStarted, RECORD_VERSION};
use quell_model::{Body, Hash, Record};

const GOLDEN: &str = include_str!("records-v1.jsonl");

fn records() -> Vec<Record> {
    let mut prev = Hash::default();
    let record = |(seq, body): (u64, quell_model::Body)| {
        let salt = [u8::try_from(seq).unwrap(); 16];
        let text = body_text(&body).unwrap();
        let this = prev;
        let sum = Sum { prev, v: RECORD_VERSION, seq, at: at(seq), kind: body.kind(), salt: &salt, body: &text };
        prev = sum.hash();
        Record { v: RECORD_VERSION, seq, prev: this, at: at(seq), salt: crate::store::chain::hex(&salt), body }
    };
    (1..).zip(one_of_each()).map(record).collect()
}

#[test]
fn every_kind_s_text_is_as_it_was() {
    let text: String = records().iter().map(|record| serde_json::to_string(record).unwrap() + "\n").collect();
    assert!(text == GOLDEN, "format 1 has changed; if only new kinds were added, this is the file:\n{text}");
}

/// What came to a kind after its golden text was written.
#[test]
fn a_start_says_by_which_time_zones_it_goes() {
    let Body::EngineStarted(before) = one_of_each().remove(0) else { panic!() };
    assert!(before.tzdb.is_none(), "one of before, which the golden file has");
    let started = EngineStarted { tzdb: Some("2026f".into()), ..*before };
    let text = body_text(&Body::from(started.clone())).unwrap();
    assert!(text.contains(r#""mode":"enforce","tzdb":"2026f""#), "{text}");
    let read: EngineStarted = serde_json::from_value(serde_json::to_value(&started).unwrap()).unwrap();
    assert_eq!(read, started);
}

#[test]
fn every_kind_s_text_can_be_read() {
    let read: Vec<Record> = GOLDEN.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read, records());
}
