//! The daemon is stopped for ten seconds while others work: nothing is lost in silence.

use super::host::{Daemon, Host};
use crate::cli::wait_until;
use rustix::process::Signal;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// As long as it is stopped, others execute.
const STOPPED: Duration = Duration::from_secs(10);

fn lost(daemon: &Daemon) -> u64 {
    let status = daemon.status();
    let all = status["sensor"]["lost"].as_array().unwrap().clone();
    all.iter().filter(|row| row["id"] == "process_creation").filter_map(|row| row["count"].as_u64()).sum()
}

fn seen(daemon: &Daemon) -> u64 {
    daemon.status()["detections"].as_u64().unwrap()
}

/// Executes the marked program as fast as one core goes, for a while; gives how often.
fn storm(program: &str, length: Duration) -> u64 {
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < length {
        let status = Command::new(program).arg("0").stdin(Stdio::null()).status().unwrap();
        assert!(status.success());
        count += 1;
    }
    count
}

#[test]
fn stopped_for_ten_seconds_under_load_it_has_seen_or_lost_and_told_all_of_it() {
    // Detected and counted, and nobody acts: each execution is one detection.
    let Some(host) = Host::new("stopped", &[], &[("seen", "Image|endswith: /MARK")]) else { return };
    let Some(daemon) = host.armed(&host.dir().join("state")) else { return };
    let victim = host.victim();
    let mut done = storm(&victim, Duration::from_secs(1));
    wait_until("what is done while it works is seen", || seen(&daemon) + lost(&daemon) >= done);
    daemon.signal(Signal::STOP);
    done += storm(&victim, STOPPED);
    daemon.signal(Signal::CONT);
    done += storm(&victim, Duration::from_secs(1));
    // Others execute too, and what is lost may be theirs: so at least as many as were ours and not seen.
    wait_until("all of it is seen, or lost and told", || seen(&daemon) + lost(&daemon) >= done);
    let (seen, lost) = (seen(&daemon), lost(&daemon));
    eprintln!("{done} executed, {seen} seen, {lost} of everybody's lost and told");
    assert!(seen <= done, "{seen} seen of {done}");
    if lost > 0 {
        let shown = daemon.ask(&["status"]).ends(0).out;
        assert!(shown.contains("process creation"), "the loss is shown: {shown}");
    }
    daemon.end();
}
