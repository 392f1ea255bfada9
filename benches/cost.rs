//! What quell costs others: a fork and exec storm and a build, without and with the daemon in turn; its memory at rest and
//! after a flood.
//!
//! Owns a cgroup, a data directory and a scratch project of its own. Without and with alternate within one run, and the
//! medians of the pairs are compared, since machines drift.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark prints, and ends when its stage breaks"
)]

#[path = "stage/mod.rs"]
mod stage;

use serde_json::{Value, json};
use stage::{Cgroup, Daemon, median, save, storm};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Pairs of without and with; `QUELL_PAIRS` says another number.
const PAIRS: usize = 7;
/// One side of a pair of the storm.
const STORM: Duration = Duration::from_secs(3);
/// Sources of the build.
const SOURCES: usize = 24;

/// After it has armed a daemon tries the kernel's hands on a process of its own, and for five seconds they hang at every
/// system call; it also looks back for the incidents that it opens about what it finds.
const SETTLED: Duration = Duration::from_secs(8);

fn main() {
    let Some(cgroup) = Cgroup::new() else {
        eprintln!("not measured: no cgroup v2 tree can be written here (root is needed)");
        return;
    };
    let pairs = std::env::var("QUELL_PAIRS").ok().and_then(|n| n.parse().ok()).unwrap_or(PAIRS);
    let mut rows = vec![storms(&cgroup, pairs)];
    rows.extend(builds(&cgroup, pairs));
    rows.push(memory(&cgroup));
    save("cost", &rows);
}

fn storms(cgroup: &Cgroup, pairs: usize) -> Value {
    let (mut bare, mut with, mut ratio, mut share) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..pairs {
        let without = storm(STORM);
        let daemon = Daemon::start(&cgroup.name());
        std::thread::sleep(SETTLED);
        let before = daemon.cpu();
        let beside = storm(STORM);
        share.push((daemon.cpu() - before).as_secs_f64() / STORM.as_secs_f64() * 100.0);
        drop(daemon.end());
        ratio.push((1.0 - beside / without) * 100.0);
        bare.push(without);
        with.push(beside);
    }
    let spread = spread(&ratio);
    let (bare, with, ratio, share) = (median(bare), median(with), median(ratio), median(share));
    println!(
        "storm of fork and exec, both cores: {bare:.0}/s without, {with:.0}/s with; overhead {ratio:.1} % ({spread}), the daemon takes {share:.1} % of a core"
    );
    json!({ "name": "storm", "pairs": pairs, "execs_per_s_without": bare, "execs_per_s_with": with,
            "overhead_percent": ratio, "overhead_spread": spread, "cpu_percent_of_a_core": share })
}

/// Least to most, as people read it.
fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{least:.1} to {most:.1}")
}

/// A project that `make -j2` builds with the machine's own compiler.
fn project(at: &Path) {
    let mut makefile = String::from("all: out\n");
    let objects: Vec<String> = (0..SOURCES).map(|n| format!("f{n}.o")).collect();
    writeln!(makefile, "out: {0}\n\tcc -o out {0}", objects.join(" ")).unwrap();
    for n in 0..SOURCES {
        writeln!(makefile, "f{n}.o: f{n}.c\n\tcc -O2 -c f{n}.c -o f{n}.o").unwrap();
        let mut text = String::from("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n");
        for k in 0..60 {
            writeln!(
                text,
                "int g{n}_{k}(const char *s, int n) {{ int i, t = {k}; for (i = 0; i < n; i++) t = t * 31 + s[i]; return t ^ (int)strlen(s); }}"
            )
            .unwrap();
        }
        if n == 0 {
            text.push_str("int main(void) { return 0; }\n");
        }
        fs::write(at.join(format!("f{n}.c")), text).unwrap();
    }
    fs::write(at.join("Makefile"), makefile).unwrap();
}

fn build(at: &Path) -> Option<Duration> {
    for entry in fs::read_dir(at).unwrap().flatten() {
        if entry.path().extension().is_some_and(|e| e == "o") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    let begin = Instant::now();
    let made = Command::new("make").args(["-j2", "-s", "-C"]).arg(at).stdout(Stdio::null()).status().ok()?;
    made.success().then(|| begin.elapsed())
}

fn builds(cgroup: &Cgroup, pairs: usize) -> Option<Value> {
    let dir = tempfile::tempdir().unwrap();
    project(dir.path());
    if build(dir.path()).is_none() {
        eprintln!("not measured: the build needs `make` and `cc`");
        return None;
    }
    let (mut bare, mut with, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..pairs {
        let without = build(dir.path())?.as_secs_f64();
        let daemon = Daemon::start(&cgroup.name());
        std::thread::sleep(SETTLED);
        let beside = build(dir.path())?.as_secs_f64();
        drop(daemon.end());
        ratio.push((beside / without - 1.0) * 100.0);
        bare.push(without);
        with.push(beside);
    }
    let spread = spread(&ratio);
    let (bare, with, ratio) = (median(bare), median(with), median(ratio));
    println!(
        "build of {SOURCES} C files with make -j2: {bare:.2} s without, {with:.2} s with; overhead {ratio:.1} % ({spread})"
    );
    Some(json!({ "name": "build", "pairs": pairs, "seconds_without": bare, "seconds_with": with,
                 "overhead_percent": ratio, "overhead_spread": spread }))
}

/// Rules of many shapes, so that with what ships there are 200.
fn many_rules(count: usize) -> Vec<(String, String)> {
    let one = |n: usize| {
        let selection = match n % 4 {
            0 => format!("Image|endswith: ['/tool{n}', '/helper{n}']"),
            1 => format!("CommandLine|contains|all: ['--flag{n}', 'word{n}']"),
            2 => format!("CommandLine|re: 'tool{n}\\s+--(add|drop)\\s+[0-9]+'"),
            _ => format!("ParentImage|endswith: '/parent{n}'\n    Image|contains: '/opt/x{n}/'"),
        };
        let text = format!(
            "title: Made for the benchmark {n}\nid: 00000000-0000-4000-8000-{n:012}\nstatus: test\nlevel: low\n\
             logsource: {{ product: linux, category: process_creation }}\ndetection:\n  one:\n    {selection}\n  condition: one\n"
        );
        (format!("made-{n}.yml"), text)
    };
    (0..count).map(one).collect()
}

fn memory(cgroup: &Cgroup) -> Value {
    let daemon = Daemon::start_with(&cgroup.name(), &many_rules(180));
    let idle = daemon.rss_anon_kb();
    let mut after = Vec::new();
    let mut processes = 0.0;
    for _ in 0..4 {
        let length = Duration::from_secs(10);
        processes += storm(length) * length.as_secs_f64();
        after.push(daemon.rss_anon_kb());
    }
    drop(daemon.end());
    println!(
        "RssAnon with some 200 rules: {idle} kB armed; {after:?} kB during a flood of {processes:.0} processes, every 10 s"
    );
    json!({ "name": "memory", "rules": "shipped and 180 made", "armed_kb": idle, "flood_kb": after, "flood_processes": processes })
}
