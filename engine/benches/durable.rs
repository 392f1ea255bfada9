//! Durable steps, by the shipped engine on a journal of its own: many runs at once, one alone, very long ones, very many that
//! wait, and very many playbooks read.
//!
//! Owns a journal and verbs that touch nothing. Every figure of the disk stands beside a bare baseline of the same run. Asserts
//! no times: machines are noisy. `QUELL_SCENE=wait` runs the scenes whose name has the word.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark prints, and ends when its stage breaks"
)]

#[path = "durable/bare.rs"]
#[allow(dead_code, reason = "each benchmark uses a part of it")]
mod bare;
#[path = "durable/stage.rs"]
#[allow(dead_code, reason = "each benchmark uses a part of it")]
mod stage;

use quell_engine::clock::SystemClock;
use quell_engine::load::{Known, PlaybookSource, playbooks};
use quell_engine::store::Journal;
use quell_model::playbook::Playbook;
use quell_model::record::{DefinitionPinned, EngineStarted, NewRecord, StepFailed};
use quell_model::{Batch, BootId, Clock, Durability, Mode, RunId, Stamp, StreamId};
use serde_json::json;
use stage::{Stage, chain, read, since, started};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Runs in flight.
const RUNS: usize = 64;

fn main() {
    let wanted = stage::wanted();
    let scenes: [(&str, fn()); 7] = [
        ("flight", in_flight),
        ("alone", alone),
        ("long", long_runs),
        ("items", items),
        ("wait 10000", || waiting(10_000, 4, 10)),
        ("wait 100000", || waiting(100_000, 25, 30)),
        ("check", check),
    ];
    for (name, scene) in scenes {
        if name.contains(&wanted) {
            println!("\n{name}");
            scene();
        }
    }
}

/// 64 runs of chains, three times, each beside bare SQLite.
fn in_flight() {
    const STEPS: usize = 150;
    let chain = read(&chain(STEPS, false));
    let mut ratios = Vec::new();
    for _ in 0..3 {
        let bare = bare::steps(RUNS, 100);
        let mut stage = Stage::new(std::slice::from_ref(&chain));
        let before = stage::cpu();
        let span = stage.play((0..RUNS).map(|n| (chain.name.clone(), json!({ "n": n }))).collect());
        let rate = (RUNS * STEPS) as f64 / span.as_secs_f64();
        let spent = (stage::cpu() - before).as_secs_f64() / span.as_secs_f64();
        println!(
            "{RUNS} runs in flight: {rate:.0} durable steps/s ({spent:.2} processors); bare SQLite beside it {bare:.0}/s; share {:.2}",
            rate / bare
        );
        ratios.push(rate / bare);
        stage.all_verified(STEPS + 1);
    }
    println!("share of bare SQLite, median of three: {:.2}", stage::median(ratios));
}

/// One run alone: from the end of a step to the end of the next, by the journal's stamps.
fn alone() {
    const STEPS: usize = 2_000;
    let chain = read(&chain(STEPS, false));
    let mut stage = Stage::new(std::slice::from_ref(&chain));
    let syncs = bare::syncs(500);
    stage.play(vec![(chain.name.clone(), json!({ "n": 1 }))]);
    let again = bare::syncs(500);
    let ends: Vec<Stamp> = stage.ends();
    let spans: Vec<Duration> = ends.windows(2).map(|two| two[1].since(two[0])).collect();
    stage::row("a bare write and fdatasync, before", syncs.clone());
    let step = stage::row("a step of a run alone", spans);
    let after = stage::row("a bare write and fdatasync, after", again);
    let disk = stage::middle(&syncs).max(after);
    println!("a step's own cost over the disk's, p50: {} us", step.saturating_sub(disk).as_micros());
}

/// One run of ever more steps: time and memory a step should stay.
fn long_runs() {
    for steps in [1_000, 2_500, 5_000, 10_000] {
        let text = chain(steps, true);
        let begin = SystemClock.now();
        let chain = read(&text);
        let reading = since(begin);
        let mut stage = Stage::new(std::slice::from_ref(&chain));
        let before = stage::rss_anon_kb();
        let span = stage.play(vec![(chain.name.clone(), json!({ "n": 1 }))]);
        told(steps, "steps", span, before, &stage);
        println!("    read and checked in {} ms", reading.as_millis());
    }
}

/// One `for_each` over ever more items.
fn items() {
    let text = "playbook: each\ndescription: Over many.\nmode: enforce\ninputs: { list: { type: list } }\nsteps:\n  \
                each: { for_each: \"${{ inputs.list }}\", max_parallel: 16, action: bench.act, with: { thing: \"${{ item }}\" } }\n  \
                after: { needs: [each], tell: \"${{ steps.each.outcome }}\" }\n";
    let each = read(text);
    for count in [1_000, 2_500, 5_000, 10_000] {
        let mut stage = Stage::new(std::slice::from_ref(&each));
        let list: Vec<String> = (0..count).map(|n| format!("item {n}")).collect();
        let before = stage::rss_anon_kb();
        let span = stage.play(vec![(each.name.clone(), json!({ "list": list }))]);
        told(count, "items", span, before, &stage);
    }
}

fn told(count: usize, what: &str, span: Duration, before: u64, stage: &Stage) {
    println!(
        "{count:>6} {what}: {:>8.2} s, {:>6.1} us each; memory {} kB more",
        span.as_secs_f64(),
        span.as_secs_f64() * 1e6 / count as f64,
        stage.peak_kb().saturating_sub(before)
    );
}

/// Very many open runs that wait for their next attempt: taken up, and then their moments come within a while.
fn waiting(count: usize, lead_secs: u64, window_secs: u64) {
    let text = "playbook: again\ndescription: Waits for its next try.\nmode: enforce\ninputs: { n: { type: integer, default: 0 } }\nsteps:\n  \
                look: { action: bench.look, with: { n: \"${{ inputs.n }}\" }, retry: { attempts: 3 } }\n";
    let again = read(text);
    let dir = tempfile::tempdir().unwrap();
    let first = SystemClock.now().after(Duration::from_secs(lead_secs));
    let gap = Duration::from_secs(window_secs) / u32::try_from(count).unwrap();
    fill(dir.path(), &again, count, first, gap);
    let (before, begin) = (stage::rss_anon_kb(), SystemClock.now());
    let mut stage = Stage::open(dir, std::slice::from_ref(&again));
    let opened = since(begin);
    let report = stage.recover();
    let up = since(begin);
    assert_eq!(report, count, "all are taken up");
    let early = SystemClock.now() < first;
    println!(
        "{count} open runs taken up in {:.2} s (the journal opened in {:.2} s); memory {} kB more",
        up.as_secs_f64(),
        opened.as_secs_f64(),
        stage::rss_anon_kb().saturating_sub(before)
    );
    if !early {
        println!("    the first moment came before that: the timers below are late by it");
    }
    let cpu = stage::cpu();
    stage.until_idle();
    let due = |n: u64| first.after(gap * u32::try_from(n).unwrap());
    let late: Vec<Duration> = stage.looked().into_iter().map(|(n, at)| at.since(due(n))).collect();
    assert_eq!(late.len(), count);
    stage::row(&format!("timers late by ({:.0} a second)", 1.0 / gap.as_secs_f64()), late);
    println!("    {:.1} s of processor until the last had ended", (stage::cpu() - cpu).as_secs_f64());
}

/// Runs as an engine leaves them that ended while they waited.
fn fill(data: &Path, again: &Arc<Playbook>, count: usize, first: Stamp, gap: Duration) {
    let journal = Journal::open(data).unwrap();
    let now = SystemClock.now();
    let pinned = DefinitionPinned {
        playbook: again.name.clone(),
        hash: again.hash,
        file: again.file.display().to_string(),
        text: again.text.to_string(),
    };
    let (version, boot) = ("bench".into(), BootId("b".into()));
    let boot = EngineStarted { version, boot, pid: 1, mode: Mode::Enforce, tzdb: None };
    let append = |stream: StreamId, records: Vec<NewRecord>| {
        let batch = Batch { stream, expected: 0, records, durability: Durability::Written };
        while journal.written(batch.clone()).is_err() {
            std::thread::yield_now();
        }
    };
    append(StreamId::system(), vec![NewRecord::new(now, boot), NewRecord::new(now, pinned)]);
    for n in 0..count {
        let run = RunId::of(&[b"waits", &n.to_le_bytes()]);
        let failed = StepFailed {
            part: quell_model::record::Part { step: "look".into(), item: None },
            attempt: 1,
            error: "not yet".into(),
            hint: None,
            again_at: Some(first.after(gap * u32::try_from(n).unwrap())),
            unknown: false,
        };
        let begun = started(again, run.clone(), json!({ "n": n }));
        append(StreamId::run(&run), vec![NewRecord::new(now, begun), NewRecord::new(now, failed)]);
    }
    journal.close();
}

/// A thousand files with a playbook each, read, checked alone and beside one another, as `playbook check` does.
fn check() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..1_000 {
        let text = format!(
            "playbook: number-{n}\ndescription: One of many.\non:\n  detections: {{ rules: [rule-{}], level: high }}\n  if: ${{{{ event.process.user != \"builder\" }}}}\nmode: enforce\nsteps:\n  \
             hold: {{ action: bench.act, with: {{ thing: \"${{{{ event.process.id }}}}\" }} }}\n  \
             look: {{ needs: [hold], action: bench.act, with: {{ thing: \"${{{{ steps.hold.done }}}}\" }}, timeout: 10s, on_failure: continue }}\n  \
             cut: {{ needs: [hold], if: '${{{{ event.process.uid == 0 }}}}', action: bench.act, with: {{ thing: \"${{{{ event.node }}}}\" }} }}\n  \
             say: {{ needs: [look, cut], when: always, tell: \"number {n}: ${{{{ steps.cut.outcome }}}} on ${{{{ event.node }}}}\" }}\n",
            n / 2
        );
        std::fs::write(dir.path().join(format!("number-{n}.yaml")), text).unwrap();
    }
    let known = Known { actions: stage::specs(), ..Known::default() };
    let spans: Vec<Duration> = (0..7)
        .map(|_| {
            let begin = SystemClock.now();
            let (all, mistakes) = playbooks(&[PlaybookSource::Dir(dir.path().to_owned())], &known);
            let span = since(begin);
            assert_eq!(all.len(), 1_000, "{:?}", mistakes.first());
            span
        })
        .collect();
    stage::row("1,000 playbooks of four steps read and checked", spans);
}
