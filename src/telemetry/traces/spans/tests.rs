//! A run of several attempts that is taken back after its end: which spans there are, with which ids and times.

use super::*;
use quell_model::record::{
    Part, RunFinished, StepFailed, StepFinished, StepIntended, UndoBegan, UndoFinished, UndoIntended,
};
use quell_model::{Json, Mode, Plan};

fn at(second: i64) -> Stamp {
    Stamp {
        wall: jiff::Timestamp::from_second(1_000_000 + second).unwrap(),
        boot_ns: second.unsigned_abs() * 1_000_000_000,
    }
}

fn records() -> Vec<Record> {
    let part = || Part { step: "cut".into(), item: None };
    let started = RunStarted {
        run: "r-1".into(),
        playbook: "hold".into(),
        definition: Hash::default(),
        mode: Mode::Enforce,
        mode_because: String::new(),
        incident: Some("i-1".into()),
        per: String::new(),
        event: Json::Null,
        detection: Json::Null,
        inputs: Json::String("a secret".into()),
        vars: Json::Null,
        untrusted: false,
        backfill: false,
        by: None,
        parent: None,
        came: None,
        moments: Moments { kernel: Some(at(0)), seen: Some(at(1)), decided: Some(at(2)), ..Moments::default() },
    };
    let intended = |attempt| StepIntended {
        part: part(),
        attempt,
        action: "process.freeze".into(),
        input: Json::String("a secret".into()),
        plan: Plan::default(),
    };
    let failed =
        StepFailed { part: part(), attempt: 1, error: "no".into(), hint: None, again_at: Some(at(5)), unknown: false };
    let finished = StepFinished {
        part: part(),
        action: Some("process.freeze".into()),
        outcome: Outcome::Verified,
        output: Json::String("a secret".into()),
        proof: "it is so".into(),
        attempts: 2,
        moments: Moments { started: Some(at(6)), verified: Some(at(7)), ..Moments::default() },
    };
    let end = |state| RunFinished { state, outputs: Json::String("a secret".into()), summary: "the end".into() };
    let began = UndoBegan { only: None, by: "ana".into(), person: true, why: "over".into(), via: None };
    let undo = UndoIntended { part: part(), attempt: 1, action: "process.freeze".into(), plan: Plan::default() };
    let undone = UndoFinished {
        run: "r-1".into(),
        part: part(),
        action: "process.freeze".into(),
        outcome: Outcome::Stuck,
        output: Json::Null,
        proof: "it stands".into(),
        attempts: 1,
        unknown: false,
    };
    let bodies: Vec<(i64, Body)> = vec![
        (2, started.into()),
        (3, intended(1).into()),
        (4, failed.into()),
        (5, intended(2).into()),
        (8, finished.into()),
        (9, end(RunState::Succeeded).into()),
        (20, began.into()),
        (21, undo.into()),
        (22, undone.into()),
        (23, end(RunState::Stuck).into()),
    ];
    let record =
        |(seq, (second, body))| Record { v: 1, seq, prev: Hash::default(), at: at(second), salt: String::new(), body };
    (1..).zip(bodies).map(record).collect()
}

fn spans(upto: Seq) -> Vec<SpanData> {
    let mut trace = Trace::new(upto);
    records().iter().for_each(|record| trace.take(record));
    trace.spans(&StreamId::run(&"r-1".into()))
}

fn told(spans: &[SpanData]) -> Vec<(String, i64, i64)> {
    let second = |time: SystemTime| jiff::Timestamp::try_from(time).unwrap().as_second() - 1_000_000;
    spans.iter().map(|span| (span.name.to_string(), second(span.start_time), second(span.end_time))).collect()
}

#[test]
fn a_run_is_a_trace_and_its_taking_back_a_further_part_of_it() {
    let first = spans(6);
    let name = |name: &str, from, to| (name.to_owned(), from, to);
    assert_eq!(
        told(&first),
        [name("run hold", 0, 9), name("cut process.freeze", 3, 7), name("attempt 1", 3, 4), name("attempt 2", 6, 7)]
    );
    assert_eq!(first[0].parent_span_id, SpanId::INVALID);
    assert_eq!(first[1].parent_span_id, first[0].span_context.span_id());
    assert!(first[2..].iter().all(|span| span.parent_span_id == first[1].span_context.span_id()));
    assert_eq!((&first[0].status, &first[2].status), (&Status::Ok, &Status::error("no")));
    let second = spans(10);
    assert_eq!(
        told(&second),
        [
            name("run hold goes on after its end", 20, 23),
            name("undo cut process.freeze", 21, 22),
            name("attempt 1", 21, 22)
        ]
    );
    assert_eq!(second[0].parent_span_id, first[0].span_context.span_id());
    assert_eq!((&second[0].status, &second[1].status), (&Status::error("the end"), &Status::error("it stands")));
    let all: Vec<&SpanData> = first.iter().chain(&second).collect();
    let ids: std::collections::HashSet<SpanId> = all.iter().map(|span| span.span_context.span_id()).collect();
    assert_eq!(ids.len(), all.len(), "each has its own");
    assert!(all.iter().all(|span| span.span_context.trace_id() == first[0].span_context.trace_id()));
    assert!(!format!("{all:?}").contains("a secret"));
}

#[test]
fn the_same_run_gives_the_same_spans() {
    assert_eq!(format!("{:?}", spans(6)), format!("{:?}", spans(6)));
    // Pinned: a collector that has the run knows it again after an upgrade.
    let root = &spans(6)[0].span_context;
    assert_eq!(root.trace_id().to_string(), "6155bd003d7366b1ad529726e80c7f4d");
    assert_eq!(root.span_id().to_string(), "76589150c28c7e2a");
}
