//! What lists cost where much has happened: `run list` of 10,000 runs, as a client has it, and what the daemon takes for it.
//!
//! Owns a data directory with a journal that is written for it, and a daemon without a sensor. Asserts no times.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark prints, and ends when its stage breaks"
)]

#[path = "stage/mod.rs"]
mod stage;

use quell_engine::clock::SystemClock;
use quell_engine::store::Journal;
use quell_model::record::{Moments, NewRecord, Part, RunFinished, RunStarted, RunState, StepFinished};
use quell_model::{Batch, Clock, Durability, Hash, Mode, Outcome, RunId, StreamId};
use serde_json::{Value, json};
use stage::{row, save};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const RUNS: usize = 10_000;
/// Lists that are asked for.
const TIMES: usize = 30;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    fill(&data);
    let mut daemon = start(dir.path(), &data);
    let before = rss_anon_kb(&daemon);
    let (mut spans, mut bytes) = (Vec::new(), 0);
    for _ in 0..TIMES {
        let begin = Instant::now();
        let out = quell(&data, &["run", "list", "--json"]).output().unwrap();
        spans.push(begin.elapsed());
        let list: Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!(list.as_array().unwrap().len(), RUNS);
        bytes = out.stdout.len();
    }
    let mut rows = vec![row(&format!("run list, {RUNS} runs, the client from start to end"), spans)];
    let status = (0..TIMES).map(|_| {
        let begin = Instant::now();
        assert!(quell(&data, &["status", "--json"]).output().unwrap().stdout.len() > 2);
        begin.elapsed()
    });
    rows.push(row("status, for the share of the client's own start", status.collect()));
    let after = rss_anon_kb(&daemon);
    println!("the list has {bytes} bytes; RssAnon of the daemon {before} kB before, {after} kB after {TIMES} lists");
    rows.push(json!({ "name": "memory", "list_bytes": bytes, "before_kb": before, "after_kb": after }));
    drop(Command::new("kill").arg("-TERM").arg(daemon.id().to_string()).status());
    drop(daemon.wait());
    save("lists", &rows);
}

/// Runs that have ended, each a stream of three records.
fn fill(data: &Path) {
    let journal = Journal::open(data).unwrap();
    for number in 0..RUNS {
        let (run, now) = (RunId::from(format!("r-bench-{number:05}").as_str()), SystemClock.now());
        let started = RunStarted {
            run: run.clone(),
            playbook: "contain".into(),
            definition: Hash::of(b"text"),
            mode: Mode::Enforce,
            mode_because: "the configuration's ceiling".to_owned(),
            incident: None,
            per: format!("process:{number}"),
            event: json!({ "node": "host-1", "process": { "pid": number, "image": format!("/usr/bin/tool-{}", number % 50),
                "command_line": "tool --with some --arguments that are as long as such lines are" } }),
            detection: json!({ "rule": "reverse-shell" }),
            inputs: json!({}),
            vars: json!({}),
            untrusted: false,
            backfill: false,
            by: None,
            parent: None,
            came: None,
            moments: Moments::default(),
        };
        let finished = StepFinished {
            part: Part { step: "kill".into(), item: None },
            action: Some("process.kill".into()),
            outcome: Outcome::Verified,
            output: json!({ "killed": [{ "pid": number, "image": "/usr/bin/tool" }] }),
            proof: "1 process has ended".to_owned(),
            attempts: 1,
            moments: Moments::default(),
        };
        let ended = RunFinished { state: RunState::Succeeded, outputs: Value::Null, summary: "1 verified".to_owned() };
        let records = vec![NewRecord::new(now, started), NewRecord::new(now, finished), NewRecord::new(now, ended)];
        let stream = StreamId::run(&run);
        journal.written(Batch { stream, expected: 0, records, durability: Durability::Written }).unwrap();
        if number % 100 == 0 {
            // Until the writer has made room for more.
            journal.counted(jiff::Timestamp::MAX, &mut |_| ()).unwrap();
        }
    }
    journal.close();
}

fn quell(data: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quell"));
    command.args(words).arg("--data-dir").arg(data).stdin(Stdio::null()).stderr(Stdio::null());
    command
}

fn start(dir: &Path, data: &Path) -> Child {
    let config = dir.join("quell.yaml");
    fs::write(&config, "mode: observe\nsources: { sensor: { enabled: false } }\n").unwrap();
    let log = fs::File::create(dir.join("log")).unwrap();
    let mut up = Command::new(env!("CARGO_BIN_EXE_quell"));
    up.args(["up", "--config"]).arg(&config).arg("--data-dir").arg(data).stdin(Stdio::null()).stdout(Stdio::null());
    let daemon = up.stderr(log).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    let stands = || {
        let status = quell(data, &["status", "--json"]).output().unwrap();
        let status: Value = serde_json::from_slice(&status.stdout).unwrap_or_default();
        status["state"].as_str().is_some_and(|state| state != "starting")
    };
    while !stands() {
        assert!(Instant::now() < end, "no daemon: {}", fs::read_to_string(dir.join("log")).unwrap());
        std::thread::sleep(Duration::from_millis(50));
    }
    daemon
}

fn rss_anon_kb(daemon: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
