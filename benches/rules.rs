//! The rules alone, measured: recorded events through the detector on one thread, with what ships and with SigmaHQ's.
//!
//! Owns its events. Prints the time an event takes, beside that of reading the same fields without any rule.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark prints, and ends when its stage breaks"
)]

use quell_engine::clock::SystemClock;
use quell_engine::detect::{Detector, RuleSource, Rules};
use quell_model::{Class, Clock, Entity, Event, EventHead, Level, LogSource, OwnedEvent, Subject};
use serde_json::json;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;

/// Honest processes, as a build and a shell make them.
fn events() -> Vec<OwnedEvent> {
    let now = SystemClock.now();
    let images = [
        ("/usr/bin/gcc", "gcc -O2 -c main.c -o main.o"),
        ("/usr/bin/bash", "bash -c make all"),
        ("/usr/bin/git", "git status --porcelain"),
        ("/usr/bin/rustc", "rustc --crate-name quell --edition 2024 src/main.rs --crate-type bin --emit dep-info,link"),
        ("/usr/bin/tar", "tar -C /tmp -xf archive.tar"),
    ];
    let one = |(image, line): &(&str, &str)| {
        OwnedEvent {
        v: 1,
        head: EventHead { id: "e".into(), class: Class::ProcessCreation, source: "sensor".into(), node: "n".into(), at: now, seen: now },
        logsource: LogSource { category: Some("process_creation".into()), product: Some("linux".into()), service: None },
        sigma: json!({
            "Image": image, "CommandLine": line, "CurrentDirectory": "/work", "User": "builder", "ProcessId": 4242,
            "ParentProcessId": 4241, "ParentImage": "/usr/bin/make", "ParentCommandLine": "make all",
        })
        .as_object()
        .unwrap()
        .clone(),
        own: json!({ "process": { "stdio": { "socket": false, "relayed": false }, "memfd": false, "deleted": false, "in_shm": false } })
            .as_object()
            .unwrap()
            .clone(),
        subject: Subject::Unknown,
        entity: Entity { kind: "unit".into(), id: "u".into(), node: "n".into() },
    }
    };
    images.iter().map(one).collect()
}

/// Nanoseconds an event, the best of five rounds.
fn cost(events: &[OwnedEvent], mut each: impl FnMut(&OwnedEvent)) -> f64 {
    const TIMES: usize = 4000;
    let round = |each: &mut dyn FnMut(&OwnedEvent)| {
        let begin = thread_time();
        for _ in 0..TIMES {
            for event in events {
                each(event);
            }
        }
        (thread_time() - begin).as_nanos() as f64 / (TIMES * events.len()) as f64
    };
    (0..5).map(|_| round(&mut each)).fold(f64::MAX, f64::min)
}

/// This thread's own: others on the machine do not count.
fn thread_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap())
}

fn main() {
    let events = events();
    let fields = [
        "Image",
        "CommandLine",
        "CurrentDirectory",
        "User",
        "ProcessId",
        "ParentProcessId",
        "ParentImage",
        "ParentCommandLine",
    ];
    let bare = cost(&events, |event| {
        for field in fields {
            black_box(event.sigma(field));
        }
    });
    println!("reading {} fields without rules: {bare:.0} ns an event", fields.len());
    let text =
        |file: quell_playbooks::Shipped| RuleSource::Text { name: file.name.to_owned(), text: file.text.to_owned() };
    let shipped: Vec<RuleSource> = quell_playbooks::rules().into_iter().map(text).collect();
    let mut sets = vec![("what ships", shipped.clone())];
    let hq = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/sigma/linux");
    if hq.is_dir() {
        sets.push(("what ships and SigmaHQ's for Linux", shipped.into_iter().chain([RuleSource::Dir(hq)]).collect()));
    } else {
        println!("not measured with SigmaHQ's rules: {} is not there", hq.display());
    }
    let mut rows = vec![json!({ "name": "fields alone", "ns_per_event": bare })];
    for (name, sources) in sets {
        let (rules, _) = Rules::load(&sources, &[]);
        let count = rules.len();
        let mut detector = Detector::new(rules.into());
        let (mut found, now) = (Vec::new(), SystemClock.now());
        let ns = cost(&events, |event| detector.event(event, now, &mut found));
        let loud = found.iter().filter(|d| d.rule.level >= Level::High).count();
        println!(
            "{name} ({count} rules): {ns:.0} ns an event, {:.0} events/s on one core; {} detections, {loud} high",
            1e9 / ns,
            found.len()
        );
        rows.push(json!({ "name": name, "rules": count, "ns_per_event": ns, "events_per_s": 1e9 / ns }));
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    std::fs::create_dir_all(target.join("bench")).unwrap();
    std::fs::write(target.join("bench/rules.json"), serde_json::to_string_pretty(&rows).unwrap()).unwrap();
}
