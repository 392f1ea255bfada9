//! The whole way, measured: from the kernel's exec timestamp to the process proven dead, through the real daemon.
//!
//! Owns a cgroup and a data directory of its own; acts only within it. Prints medians and tails, writes JSON under the
//! target directory, asserts no times (machines are noisy), and puts a baseline beside each figure in the same run.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark prints, and ends when its stage breaks"
)]

#[path = "stage/mod.rs"]
mod stage;

use serde_json::json;
use stage::{Cgroup, Daemon, row, save};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Attacks one after another: each must die by quell's hand within 10 s.
fn attacks(cgroup: &Cgroup, victim: &Path, count: usize, pause: Duration) -> usize {
    let mut stopped = 0;
    for _ in 0..count {
        let mut child = cgroup.command(victim).arg("20").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            match child.try_wait().unwrap() {
                Some(status) => {
                    stopped += usize::from(std::os::unix::process::ExitStatusExt::signal(&status) == Some(9));
                    break;
                }
                None if Instant::now() > end => {
                    drop(child.kill());
                    drop(child.wait());
                    break;
                }
                None => std::thread::sleep(Duration::from_micros(200)),
            }
        }
        std::thread::sleep(pause);
    }
    stopped
}

fn main() {
    let Some(cgroup) = Cgroup::new() else {
        eprintln!("not measured: no cgroup v2 tree can be written here (root is needed)");
        return;
    };
    let count = std::env::var("QUELL_ATTACKS").ok().and_then(|n| n.parse().ok()).unwrap_or(1000);
    let scratch = tempfile::tempdir().unwrap();
    let plain = scratch.path().join("quell-bench-victim");
    fs::copy("/bin/sleep", &plain).unwrap();
    let shm = PathBuf::from(format!("/dev/shm/quell-bench-{}", std::process::id()));
    fs::create_dir_all(&shm).unwrap();
    let urgent = shm.join("quell-bench-victim");
    fs::copy("/bin/sleep", &urgent).unwrap();

    println!("exec (kernel's stamp) to proven dead, {count} attacks one after another, journal on");
    let mut rows = Vec::new();
    for (name, victim) in [("urgent (image in /dev/shm)", &urgent), ("plain (image on disk)", &plain)] {
        let daemon = Daemon::start(&cgroup.name());
        let armed = daemon.rss_anon_kb();
        let stopped = attacks(&cgroup, victim, count, Duration::from_millis(5));
        let after = daemon.rss_anon_kb();
        let (proved, begun, others) = daemon.end();
        println!(
            "{name}: {stopped} of {count} stopped, {} proved, {others} otherwise; RssAnon {armed} kB armed, {after} kB after",
            proved.len()
        );
        rows.push(row(&format!("{name}: exec to act begun"), begun));
        rows.push(row(&format!("{name}: exec to proven dead"), proved));
        rows.push(json!({ "name": name, "stopped": stopped, "of": count, "rss_anon_armed_kb": armed, "rss_anon_after_kb": after }));
    }

    save("end_to_end", &rows);
    drop(fs::remove_dir_all(&shm));
}
