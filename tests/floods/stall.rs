//! The whole daemon stands still for ten seconds behind a storm: nothing is lost in silence.

use super::attack::Attack;
use super::daemon::Daemon;
use super::load::Load;
use super::wait_for;
use crate::threats::group::Group;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const STALL: Duration = Duration::from_secs(10);

/// `quell watch`, which has a sensor of its own and shows all that it is told.
struct Watch {
    child: Child,
    dir: tempfile::TempDir,
}

impl Watch {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| fs::File::create(dir.path().join(name)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_quell"))
            .args(["watch", "--json"])
            .stdin(Stdio::null())
            .stdout(file("events"))
            .stderr(file("said"))
            .spawn()
            .unwrap();
        Self { child, dir }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap()
    }

    /// Seen and lost of a class in a cgroup, as far as it was told.
    fn sum(&self, class: &str, group: &Group) -> (u64, u64) {
        let text = self.text("events");
        let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let (mut seen, mut lost) = (0, 0);
        for event in events {
            let own = &event["own"];
            if own["loss"]["cgroup_path"] == group.path.as_str() && own["loss"]["class"] == class {
                lost += own["loss"]["count"].as_u64().unwrap();
            } else if event["class"] == class && own["process"]["cgroup_path"] == group.path.as_str() {
                seen += 1;
            }
        }
        (seen, lost)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_daemon_that_stood_still_behind_a_storm_loses_nothing_in_silence() {
    let _storm = crate::threats::apart();
    let Some(daemon) = Daemon::start("stall") else { return };
    let [storm, calm, first] = ["storm", "calm", "first"].map(|name| daemon.inside.below(name));
    let watch = Watch::start();
    // It watches once it shows something that happens now.
    wait_for("a first event", || {
        Load::start(&first, "opens", 1).done();
        (watch.sum("file_event", &first).0 > 0).then_some(())
    });

    let stopped = Instant::now();
    daemon.signal(Signal::STOP);
    watch.signal(Signal::STOP);
    let long = "storm".repeat(480);
    let loads = [("opens", 9_000), ("execs", 2_500)].map(|(what, times)| Load::start_with(&storm, what, times, &long));
    let done = loads.map(Load::done);
    assert_eq!(done, [9_000, 2_500]);
    let (in_storm, beside) = (Attack::start(&storm), Attack::start(&calm));
    while stopped.elapsed() < STALL {
        std::thread::park_timeout(STALL.saturating_sub(stopped.elapsed()));
    }
    watch.signal(Signal::CONT);
    daemon.signal(Signal::CONT);

    // What the quiet cgroup did was not pushed out; the other's attack is urgent, and has a larger share.
    beside.contained(&daemon);
    in_storm.contained(&daemon);
    let marked = wait_for("the mark", || daemon.incident(&storm).filter(|incident| incident["degraded"] == true));
    assert_eq!(marked["degraded"], true);
    assert_eq!(daemon.incident(&calm).unwrap()["degraded"], false);

    // Each exec came with a fork and an end; the loads and the attack were forked elsewhere, and moved in.
    for (class, expected) in [("file_event", 9_000), ("process_fork", 2_500), ("process_termination", 2_500 + 3)] {
        let added_up = || {
            let (seen, lost) = watch.sum(class, &storm);
            (seen + lost >= expected).then_some((seen, lost))
        };
        let (seen, lost) = wait_for(class, added_up);
        assert_eq!(seen + lost, expected, "{class}: {seen} seen, {lost} lost");
        assert!(lost > 0, "{class}: the storm was too small to lose anything");
    }
    kill_process(Pid::from_child(&watch.child), Signal::INT).ok();
    wait_for("the watch's end", || (!watch.text("said").is_empty()).then_some(()));
    assert!(!watch.text("said").contains("not shown"), "{}", watch.text("said"));
}
