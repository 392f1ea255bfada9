//! The daemon is stopped for ten seconds while others work: nothing is lost in silence. Its engine's thread alone stands
//! still: it answers, ends when it is told to, and goes on with the next start; so does a pause that no engine took.

use super::host::{Host, verifies};
use crate::cli::{Bounded, wait_until};
use crate::daemon::Daemon;
use quell_detectors::pin;
use rustix::process::Signal;
use std::io::{BufRead, BufReader};
use std::path::Path;
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

/// Holds one thread still until it is gone, by ptrace: its process goes on.
const HOLD: &str = "import ctypes, os, sys
tid = int(sys.argv[1])
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long] * 4
for request in (0x4206, 0x4207):  # PTRACE_SEIZE, PTRACE_INTERRUPT
    if ptrace(request, tid, 0, 0) != 0:
        sys.exit(os.strerror(ctypes.get_errno()))
os.waitpid(tid, 0x40000000)  # __WALL
print('held', flush=True)
os.waitpid(tid, 0x40000000)
";

/// Who holds the thread of this name; it goes on with the end of this. `None`, loudly, where no thread can be held.
pub(crate) fn held(daemon: &Daemon, name: &str) -> Option<Bounded> {
    let mut tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap().flatten();
    let is_it = |task: &std::fs::DirEntry| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    let tid = tasks.find(is_it).unwrap().file_name();
    let mut python = Command::new("python3");
    python.args(["-c", HOLD]).arg(tid).stdin(Stdio::null()).stdout(Stdio::piped());
    let Ok(child) = python.spawn() else {
        eprintln!("NOT TESTED: an engine that stands still: there is no python3");
        return None;
    };
    let mut holder = Bounded(child);
    let mut line = String::new();
    BufReader::new(holder.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    if line == "held\n" {
        return Some(holder);
    }
    eprintln!("NOT TESTED: an engine that stands still: its thread cannot be traced here");
    None
}

#[test]
fn told_to_end_while_its_engine_stands_still_it_ends_and_the_next_start_goes_on() {
    let Some(host) = Host::new("still", &[], &[("seen", "Image|endswith: /MARK")]) else { return };
    let state = host.dir().join("state");
    let Some(mut daemon) = host.armed(&state) else { return };
    let Some(_holder) = held(&daemon, "quell-sensor") else { return };
    let asked = daemon.ask(&["run", "list"]);
    assert_eq!(asked.code, Some(0), "what only reads is answered: {asked:?}");
    daemon.signal(Signal::TERM);
    let status = daemon.wait();
    assert!(status.success(), "{status}\n{}", daemon.log());
    assert!(daemon.log().contains("does not end"), "it is told:\n{}", daemon.log());
    drop(verifies(&state));
    let Some(again) = host.armed(&state) else { return };
    again.end();
}

#[test]
fn a_signal_is_heard_while_a_pause_waits_for_an_engine_that_stands_still_and_the_next_start_is_paused() {
    let Some(host) = Host::new("unheard", &[], &[("seen", "Image|endswith: /MARK")]) else { return };
    let state = host.dir().join("state");
    let Some(mut daemon) = host.armed(&state) else { return };
    if daemon.status()["hands"]["pinned"].is_null() {
        // Another daemon of this machine has the pins, as in a test beside this one.
        eprintln!("NOT TESTED: a signal while a pause waits: {}", daemon.status()["hands"]["unpinned_why"]);
        return;
    }
    let Some(_holder) = held(&daemon, "quell-sensor") else { return };
    assert!(pin::pause(Path::new(pin::DIR), &state, true).unwrap());
    wait_until("the daemon is to pause too", || daemon.said().contains("set beside this daemon"));
    let told = Instant::now();
    daemon.signal(Signal::TERM);
    wait_until("it hears that", || daemon.said().contains("ending: "));
    // The engine's answer to the pause is waited for twice as long.
    assert!(told.elapsed() < Duration::from_secs(15), "heard after {:?}\n{}", told.elapsed(), daemon.log());
    let status = daemon.wait();
    assert!(status.success(), "{status}\n{}", daemon.log());
    let Some(again) = host.armed(&state) else { return };
    assert_eq!(again.status()["paused"], true, "{}", again.log());
    again.end();
    drop(verifies(&state));
}
