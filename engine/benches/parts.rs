//! The engine's parts, one by one: reading a playbook, its machine, its expressions, the guard, the journal.
//!
//! Owns a journal in a directory of its own. What the parts cost together is told by the root's `end_to_end`.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark ends when its stage breaks, and criterion's macros make public items"
)]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use quell_engine::clock::SystemClock;
use quell_engine::load::{Known, playbook};
use quell_engine::playbook::{Expressions, Scope};
use quell_engine::run::{Command, Run};
use quell_engine::store::Journal;
use quell_model::action::{Guarantee, Target, TargetFacts};
use quell_model::guard::{Act, Ask, Breaker, Guard, Memory, decide};
use quell_model::playbook::Playbook;
use quell_model::record::{Moments, NewRecord, NoteAdded, RunFinished, RunStarted, StepFinished};
use quell_model::store::{Batch, Durability};
use quell_model::{
    ActionSpec, Body, BootId, Clock, Hash, Json, Lane, Mode, Outcome, Plan, ProcessId, RunId, Stamp, StreamId,
};
use serde_json::json;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const FIVE_STEPS: &str = r#"
playbook: five-steps
description: Five steps, two of them side by side.
on: { detections: { level: high }, if: '${{ event.process.user != "builder" }}' }
mode: enforce
steps:
  first: { tell: "seen on ${{ event.node }}" }
  left: { needs: [first], tell: "left of ${{ event.process.id }}" }
  right: { needs: [first], tell: "right of ${{ event.process.id }}" }
  both: { needs: [left, right], if: '${{ event.process.uid == 0 }}', tell: "both" }
  report: { needs: [both], when: always, tell: "over" }
"#;

fn five_steps() -> Playbook {
    let (made, mistakes) = playbook(Path::new("five.yaml"), FIVE_STEPS, &Known::default());
    made.unwrap_or_else(|| panic!("{mistakes:?}"))
}

fn event() -> Json {
    json!({ "node": "n1", "process": {
        "id": "4242.1000000.1@b", "pid": 4242, "image": "/usr/bin/bash", "command_line": "bash -c id",
        "user": "www-data", "uid": 0, "ancestors": [{ "image": "/usr/sbin/nginx" }] } })
}

fn started(of: &Playbook) -> RunStarted {
    RunStarted {
        run: RunId::of(&[b"bench"]),
        playbook: of.name.clone(),
        definition: of.hash,
        mode: Mode::Enforce,
        mode_because: String::new(),
        incident: None,
        per: "x".into(),
        event: event(),
        detection: Json::Null,
        inputs: Json::Null,
        vars: Json::Null,
        untrusted: false,
        backfill: false,
        by: None,
        parent: None,
        came: None,
        moments: Moments::default(),
    }
}

/// A run from its start to its end, every step verified.
fn play(mut run: Run, at: Stamp) -> usize {
    let mut applied = 0;
    loop {
        let commands = run.next(at);
        if commands.is_empty() {
            return applied;
        }
        for command in commands {
            let body: Body = match command {
                Command::Start { part, .. } => StepFinished {
                    part,
                    action: None,
                    outcome: Outcome::Verified,
                    output: Json::Null,
                    proof: String::new(),
                    attempts: 1,
                    moments: Moments::default(),
                }
                .into(),
                Command::Finish { state, summary } => RunFinished { state, outputs: Json::Null, summary }.into(),
                other => panic!("{other:?} is not for this run"),
            };
            run.apply(at, &body);
            applied += 1;
        }
    }
}

fn playbooks(c: &mut Criterion) {
    c.bench_function("playbook: read and check, 5 steps", |b| b.iter(|| black_box(five_steps())));
    let (of, now) = (Arc::new(five_steps()), SystemClock.now());
    let make = || Run::new(Arc::clone(&of), started(&of), now);
    c.bench_function("machine: a run of 5 steps to its end", |b| {
        b.iter_batched(make, |run| play(run, now), BatchSize::SmallInput);
    });
    let (expressions, event) = (Expressions::new(), event());
    let scope = Scope { event: &event, ..Scope::empty(now.wall) };
    c.bench_function("expression: a field", |b| {
        b.iter(|| expressions.eval(black_box("event.process.id"), &scope).unwrap());
    });
    c.bench_function("expression: a condition", |b| {
        b.iter(|| expressions.truth(black_box(r#"event.process.user != "builder""#), &scope).unwrap());
    });
}

const SPEC: ActionSpec = ActionSpec {
    name: "bench.act",
    summary: "for the benchmark",
    input: || schemars::schema_for!(u8),
    output: || schemars::schema_for!(u8),
    lane: Lane::Contain,
    guarantee: Guarantee::AtMostOnce,
    undoable: false,
    asks_by_default: false,
    targets: &[],
    permissions: &[],
    predict: |_| Json::Null,
};

fn plan(pid: u32) -> Plan {
    let id = ProcessId { boot: BootId("b".into()), pid, start_ns: u64::from(pid), exec_id: 1 };
    let target = Target {
        node: "n1".into(),
        kind: "process".into(),
        id: id.to_string(),
        label: format!("bash ({pid})"),
        named: true,
        facts: TargetFacts::Process {
            id,
            image: Some("/usr/bin/bash".into()),
            file: Some((1, 4242)),
            cgroup: Some("/user.slice".into()),
            unit: None,
            uid: 1000,
            kernel_thread: false,
            below_named: false,
            by_scope: false,
            pod: None,
        },
    };
    Plan { targets: vec![target], ..Plan::default() }
}

fn guards(c: &mut Criterion) {
    let now = SystemClock.now();
    let mut memory = Memory::default();
    for n in 0..1000u32 {
        let run = RunId::of(&[&n.to_le_bytes()]);
        memory.add(Act::of(now, SPEC.name.into(), run, "five-steps".into(), (&plan(n + 2), &Json::Null)));
    }
    let guard = Guard { breaker: Breaker { images: 1_000_000, ..Breaker::default() }, ..Guard::default() };
    let (run, playbook) = (RunId::of(&[b"one more"]), "five-steps".into());
    let ask = Ask {
        now,
        action: &SPEC,
        run: &run,
        playbook: &playbook,
        mode: Mode::Enforce,
        mode_because: "",
        untrusted: false,
        limits: Default::default(),
        above: Vec::new(),
        paused: false,
        consent: quell_model::guard::Consent::AsNeeded,
        counted: None,
        concerns: Default::default(),
        owned: None,
    };
    c.bench_function("guard: decide, 1,000 acts remembered", |b| {
        b.iter_batched(|| plan(77), |plan| decide(&guard, &memory, &ask, plan), BatchSize::SmallInput);
    });
}

fn note(stream: &StreamId, expected: u64, at: Stamp, durability: Durability) -> Batch {
    let record = NewRecord::new(at, NoteAdded { by: "bench".into(), text: "a line of usual length for a note".into() });
    Batch { stream: stream.clone(), expected, records: vec![record], durability }
}

fn journals(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let now = SystemClock.now();
    let mut group = c.benchmark_group("journal");
    let written = StreamId::run(&RunId::of(&[b"written"]));
    let mut last = 0;
    group.bench_function("a record written (survives SIGKILL)", |b| {
        b.iter(|| {
            // The writer takes what is written in its own time: a full slate waits for it, and that belongs to the cost.
            while journal.written(note(&written, last, now, Durability::Written)).is_err() {
                std::thread::yield_now();
            }
            last += 1;
        });
    });
    let synced = StreamId::run(&RunId::of(&[b"synced"]));
    let mut last = 0;
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    group.bench_function("a record synced (survives a power cut)", |b| {
        b.iter(|| {
            let (told, answer) = std::sync::mpsc::sync_channel(1);
            let done = Box::new(move |done: Result<_, _>| drop(told.send(done.map(drop))));
            journal.submit(vec![note(&synced, last, now, Durability::Synced)], done);
            answer.recv().unwrap().unwrap();
            last += 1;
        });
    });
    let probe = dir.path().join("probe");
    group.bench_function("baseline: a bare write and fdatasync", |b| {
        use std::io::Write as _;
        let mut file = std::fs::File::create(&probe).unwrap();
        b.iter(|| {
            file.write_all(&[7; 512]).unwrap();
            file.sync_data().unwrap();
        });
    });
    group.finish();
    journal.close();
}

fn hashes(c: &mut Criterion) {
    let text = vec![7u8; 1024];
    c.bench_function("hash: 1 kB", |b| b.iter(|| Hash::of(black_box(&text))));
}

criterion_group!(parts, playbooks, guards, journals, hashes);
criterion_main!(parts);
