//! The whole way, measured: from the kernel's exec timestamp to the process proven dead, through the real daemon, and
//! beside it, in the same run, the floor: the sensor's thread alone, which kills at once.
//!
//! Owns a cgroup and a data directory of its own; acts only within it. Prints medians and tails of the five moments, writes
//! JSON under the target directory, asserts no times: machines are noisy, and the ratio to the floor says more.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark prints, and ends when its stage breaks"
)]

#[path = "stage/mod.rs"]
mod stage;

#[path = "stage/attacker.rs"]
mod attacker;
#[path = "stage/floor.rs"]
mod floor;

use quell_model::Stamp;
use quell_model::record::Moments;
use serde_json::{Value, json};
use stage::{Cgroup, Daemon, Storm, quantile, row, save};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// Attacks in a row; `QUELL_ATTACKS` says another number.
const ATTACKS: usize = 1000;
/// Runs at once.
const AT_ONCE: usize = 200;

/// Five steps, of which the first contains.
const FIVE: &str = r#"
playbook: bench-five
description: Kills the benchmark's victim, and tells what it knows.
on: { detections: { rules: [bench-victim], level: low } }
mode: enforce
steps:
  kill: { action: process.kill, with: { process: "${{ event.process.id }}", scope: process } }
  who: { needs: [kill], tell: "${{ event.process.user }}" }
  what: { needs: [kill], tell: "${{ event.process.command_line }}" }
  where: { needs: [kill], tell: "${{ event.process.cwd }}" }
  end: { needs: [who, what, where], tell: "${{ steps.kill.outcome }}" }
"#;

/// One way to attack.
struct Scene {
    name: &'static str,
    victim: PathBuf,
    pause: Duration,
    storm: bool,
}

fn main() {
    if attacker::is_asked() {
        return attacker::run();
    }
    let Some(cgroup) = Cgroup::new() else {
        eprintln!("not measured: no cgroup v2 tree can be written here (root is needed)");
        return;
    };
    let count = std::env::var("QUELL_ATTACKS").ok().and_then(|n| n.parse().ok()).unwrap_or(ATTACKS);
    let scratch = tempfile::tempdir().unwrap();
    let plain = scratch.path().join("quell-bench-victim");
    fs::copy("/bin/sleep", &plain).unwrap();
    let shm = PathBuf::from(format!("/dev/shm/quell-bench-{}", std::process::id()));
    fs::create_dir_all(&shm).unwrap();
    let urgent = shm.join("quell-bench-victim");
    fs::copy("/bin/sleep", &urgent).unwrap();
    let (slow, quick) = (Duration::from_millis(10), Duration::from_micros(300));
    let scene = |name, victim: &PathBuf, pause, storm| Scene { name, victim: victim.clone(), pause, storm };
    let scenes = [
        scene("urgent, every 10 ms", &urgent, slow, false),
        scene("urgent, every 0.3 ms", &urgent, quick, false),
        scene("plain, every 10 ms", &plain, slow, false),
        scene("urgent, both cores busy", &urgent, slow, true),
    ];
    let only = std::env::var("QUELL_SCENE").ok();
    let mut rows = Vec::new();
    println!("exec (the kernel's stamp) to proven dead, {count} attacks one after another, journal on");
    for scene in scenes.iter().filter(|scene| only.as_ref().is_none_or(|only| scene.name.contains(only.as_str()))) {
        let bare = floor::measure(|| attack(&cgroup, scene, count));
        let daemon = Daemon::start(&cgroup.name());
        let armed = daemon.rss_anon_kb();
        let (stopped, rate) = attack(&cgroup, scene, count);
        let after = daemon.rss_anon_kb();
        let (moments, others) = daemon.end_with_moments();
        print!("\n{}: {stopped} of {count} stopped, {} proved, {others} otherwise", scene.name, moments.len());
        println!("; RssAnon {armed} kB armed, {after} kB after");
        if let Some(rate) = rate {
            println!("  beside {rate:.0} other execs a second");
        }
        let shown = table(&moments);
        let floor = bare.map(|bare| {
            let proved = row("  floor: sensor and kill alone, proven dead", bare.iter().map(|m| m.verified).collect());
            row("  floor: act begun", bare.into_iter().map(|m| m.started).collect());
            proved
        });
        rows.push(json!({
            "name": scene.name, "stopped": stopped, "of": count, "proved": moments.len(), "moments": shown, "floor": floor,
            "other_execs_per_s": rate, "rss_anon_armed_kb": armed, "rss_anon_after_kb": after,
        }));
    }
    if only.is_none() {
        rows.push(at_once(&cgroup, &urgent));
    }
    save("end_to_end", &rows);
    drop(fs::remove_dir_all(&shm));
}

/// The attacks of a scene; gives how many were stopped, and the rate of the others' execs.
fn attack(cgroup: &Cgroup, scene: &Scene, count: usize) -> (usize, Option<f64>) {
    let storm = scene.storm.then(Storm::start);
    let stopped = attacker::start(cgroup, &scene.victim, count, scene.pause, 1);
    (stopped, storm.map(Storm::end))
}

/// Prints how long after the kernel's stamp each moment came.
fn table(all: &[Moments]) -> Value {
    let since = |get: fn(&Moments) -> Option<Stamp>| -> Vec<Duration> {
        all.iter().filter_map(|m| Some(get(m)?.since(m.kernel?))).collect()
    };
    let rows = [
        row("  seen by the sensor's thread", since(|m| m.seen)),
        row("  decided by the trigger", since(|m| m.decided)),
        row("  act begun, its intent journaled", since(|m| m.started)),
        row("  proven dead", since(|m| m.verified)),
    ];
    Value::Array(rows.into())
}

/// Many attacks in one moment, each with a run of five steps.
fn at_once(cgroup: &Cgroup, victim: &std::path::Path) -> Value {
    let daemon = Daemon::start_playing(&cgroup.name(), &[], FIVE);
    let stopped = attacker::start(cgroup, victim, AT_ONCE, Duration::ZERO, AT_ONCE);
    let (moments, others) = daemon.end_with_moments();
    let first = moments.iter().filter_map(|m| m.kernel).min();
    let mut spans: Vec<Duration> = moments.iter().filter_map(|m| Some(m.verified?.since(first?))).collect();
    spans.sort();
    let last = quantile(&spans, 1.0);
    println!(
        "\n{AT_ONCE} attacks at once, a run of five steps each: {stopped} stopped, {} kills proved, {others} other steps ended; the last proved {last} us after the first exec",
        moments.len()
    );
    json!({ "name": "at once", "of": AT_ONCE, "stopped": stopped, "proved": moments.len(), "other_steps": others, "last_us": last })
}
