//! What the benchmarks of the whole daemon stand on: a cgroup and a data directory of their own, the real daemon, loads
//! of honest work, and rows of figures.
//!
//! Owns what it starts and takes it away again. Asserts no times: machines are noisy.

#![allow(dead_code, reason = "each benchmark uses its own part of it")]

use quell_engine::store::Journal;
use quell_model::record::{Moments, StepFinished};
use quell_model::{Body, Outcome, Stamp};
use serde_json::json;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const RULE: &str = r"
title: Victim of the benchmark
name: bench-victim
id: 5b6a0b52-9a43-4c1f-8f5e-0a6a1de0c001
status: test
level: critical
logsource: { product: linux, category: process_creation }
detection:
  victim: { Image|endswith: '/quell-bench-victim' }
  condition: victim
";

const PLAYBOOK: &str = r#"
playbook: bench-kill
description: Kills the benchmark's victim.
on: { detections: { rules: [bench-victim], level: low } }
mode: enforce
steps:
  kill: { action: process.kill, with: { process: "${{ event.process.id }}", scope: process } }
"#;

/// A cgroup of its own, emptied and removed at its end.
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// `None` where no cgroup v2 tree can be written.
    pub(crate) fn new() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/mounts").ok()?;
        let root = mounts.lines().find_map(|line| {
            let mut words = line.split(' ');
            let (_, at, kind) = (words.next()?, words.next()?, words.next()?);
            (kind == "cgroup2").then(|| PathBuf::from(at))
        })?;
        let path = root.join(format!("quell-bench-{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        Some(Self(path))
    }

    /// Its directory.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// As the guard names it.
    pub(crate) fn name(&self) -> String {
        format!("/{}", self.0.file_name().unwrap().to_string_lossy())
    }

    /// A child that enters the cgroup before it executes.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(format!("echo $$ > {}/cgroup.procs; exec \"$0\" \"$@\"", self.0.display())).arg(program);
        command
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        drop(fs::write(self.0.join("cgroup.kill"), "1"));
        let end = Instant::now() + Duration::from_secs(5);
        while fs::remove_dir(&self.0).is_err() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The real daemon, in enforce, within one cgroup.
pub(crate) struct Daemon {
    child: Child,
    dir: tempfile::TempDir,
}

impl Daemon {
    /// Armed when this returns.
    pub(crate) fn start(within: &str) -> Self {
        Self::start_with(within, &[])
    }

    /// With these rule files beside the victim's: (name, text).
    pub(crate) fn start_with(within: &str, rules: &[(String, String)]) -> Self {
        Self::start_playing(within, rules, PLAYBOOK)
    }

    /// With these rule files, and this playbook instead of the one that kills.
    pub(crate) fn start_playing(within: &str, rules: &[(String, String)], playbook: &str) -> Self {
        let mut files = vec![("rules/victim.yml".to_owned(), RULE.to_owned())];
        files.extend(rules.iter().map(|(name, text)| (format!("rules/{name}"), text.clone())));
        files.push(("playbooks/kill.yaml".to_owned(), playbook.to_owned()));
        let config = format!(
            "mode: enforce\nplaybooks: {{ shipped: false, dirs: [playbooks] }}\nrules: {{ shipped: true, dirs: [rules] }}\n\
             guard:\n  only_within: {{ cgroup: {within} }}\n  limits: {{ process.kill: 1000000/h }}\n  breaker: {{ images: 1000000, within: 10m, quiet: 30m }}\n"
        );
        Self::start_configured(&config, &files)
    }

    /// With this configuration, and these files beside it: (path, text).
    pub(crate) fn start_configured(config: &str, files: &[(String, String)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("rules")).unwrap();
        fs::create_dir_all(at("playbooks")).unwrap();
        for (name, text) in files {
            fs::write(at(name), text).unwrap();
        }
        fs::write(at("quell.yaml"), config).unwrap();
        let quell = env!("CARGO_BIN_EXE_quell");
        let child = Command::new(quell)
            .args(["up", "--config"])
            .arg(at("quell.yaml"))
            .arg("--data-dir")
            .arg(at("data"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(at("log")).unwrap())
            .spawn()
            .unwrap();
        let daemon = Self { child, dir };
        let end = Instant::now() + Duration::from_secs(30);
        while !daemon.quell(&["status"]).status().unwrap().success() {
            assert!(
                Instant::now() < end,
                "quell was not armed within 30 s: {}",
                fs::read_to_string(daemon.dir.path().join("log")).unwrap()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        daemon
    }

    /// A client of it.
    pub(crate) fn quell(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quell"));
        command
            .args(words)
            .arg("--data-dir")
            .arg(self.dir.path().join("data"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Its anonymous memory.
    pub(crate) fn rss_anon_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Processor time so far.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    /// Ends the daemon; gives (kernel → verified) of every proved kill, and how many ended otherwise.
    pub(crate) fn end(self) -> (Vec<Duration>, Vec<Duration>, usize) {
        let (moments, others) = self.end_with_moments();
        let since = |get: fn(&Moments) -> Option<Stamp>| {
            moments.iter().filter_map(|m| Some(get(m)?.since(m.kernel?))).collect()
        };
        (since(|m| m.verified), since(|m| m.started), others)
    }

    /// Ends the daemon; gives the moments of every proved act, and how many steps ended otherwise.
    pub(crate) fn end_with_moments(self) -> (Vec<Moments>, usize) {
        let all = self.end_with_steps();
        let (proved, others): (Vec<StepFinished>, Vec<_>) =
            all.into_iter().partition(|step| step.outcome == Outcome::Verified);
        (proved.into_iter().map(|step| step.moments).collect(), others.len())
    }

    /// Ends the daemon; gives how every step ended.
    pub(crate) fn end_with_steps(mut self) -> Vec<StepFinished> {
        // SAFETY-free way to signal a child: kill(1) by its own pid, which cannot have been reused before it is waited for.
        drop(Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status());
        drop(self.child.wait());
        let journal = Journal::open_read_only(&self.dir.path().join("data")).unwrap();
        let runs = journal.streams().unwrap().into_iter().filter(|(stream, _)| stream.as_run().is_some());
        let records = runs.flat_map(|(stream, _)| journal.read(&stream, 1).unwrap());
        let records = records.map(|record| journal.whole(record).unwrap());
        let steps = records.filter_map(|record| match record.body {
            Body::StepFinished(step) => Some(*step),
            _ => None,
        });
        steps.collect()
    }
}

/// A quantile in microseconds.
pub(crate) fn quantile(sorted: &[Duration], q: f64) -> u64 {
    let at = ((sorted.len().saturating_sub(1)) as f64 * q).round() as usize;
    sorted.get(at).map_or(0, |d| d.as_micros() as u64)
}

/// Prints a row and gives it as JSON.
pub(crate) fn row(name: &str, mut spans: Vec<Duration>) -> serde_json::Value {
    spans.sort();
    let (p50, p90, p99, most) =
        (quantile(&spans, 0.5), quantile(&spans, 0.9), quantile(&spans, 0.99), quantile(&spans, 1.0));
    println!(
        "{name:<44} n {:>5}   p50 {p50:>7} us   p90 {p90:>7} us   p99 {p99:>7} us   max {most:>7} us",
        spans.len()
    );
    json!({ "name": name, "n": spans.len(), "p50_us": p50, "p90_us": p90, "p99_us": p99, "max_us": most })
}

/// Fork and exec `/bin/true` as fast as both cores go, for a while; gives the rate a second.
pub(crate) fn storm(length: Duration) -> f64 {
    let begin = Instant::now();
    let workers: Vec<_> = (0..2)
        .map(|_| {
            std::thread::spawn(move || {
                let mut count = 0u64;
                while begin.elapsed() < length {
                    drop(Command::new("/bin/true").stdin(Stdio::null()).arg0("true").status());
                    count += 1;
                }
                count
            })
        })
        .collect();
    let total: u64 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    total as f64 / begin.elapsed().as_secs_f64()
}

/// A fork and exec storm on both cores for as long as it is held.
pub(crate) struct Storm {
    end: Arc<AtomicBool>,
    worker: JoinHandle<f64>,
}

impl Storm {
    /// Begins it.
    pub(crate) fn start() -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&end);
        let worker = std::thread::spawn(move || {
            let (begin, mut rates) = (Instant::now(), Vec::new());
            while !seen.load(Ordering::Relaxed) || begin.elapsed() < Duration::from_millis(200) {
                rates.push(storm(Duration::from_millis(200)));
            }
            rates.iter().sum::<f64>() / rates.len() as f64
        });
        Self { end, worker }
    }

    /// Ends it; gives the rate a second.
    pub(crate) fn end(self) -> f64 {
        self.end.store(true, Ordering::Relaxed);
        self.worker.join().unwrap()
    }
}

/// The one in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Writes `bench/NAME.json` under the target directory.
pub(crate) fn save(name: &str, rows: &[serde_json::Value]) {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    fs::create_dir_all(target.join("bench")).unwrap();
    fs::write(target.join(format!("bench/{name}.json")), serde_json::to_string_pretty(rows).unwrap()).unwrap();
}
