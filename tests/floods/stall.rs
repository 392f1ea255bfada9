//! The whole daemon stands still for ten seconds behind a storm, or the reader of `quell watch` does: nothing is lost in silence.

use super::attack::Attack;
use super::daemon::Daemon;
use super::load::Load;
use super::{not_tested, wait_for};
use crate::cli::{Bounded, binary};
use crate::threats::group::Group;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// More than the pipe, what waits in the watch, and a cgroup's share of a ring hold together.
const TIMES: u64 = 5_000;
const STALL: Duration = Duration::from_secs(10);

/// `quell watch`, which has a sensor of its own and shows all that it is told; and who reads it.
struct Watch {
    child: Bounded,
    reader: Bounded,
    dir: tempfile::TempDir,
}

impl Watch {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| fs::File::create(dir.path().join(name)).unwrap();
        let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(file("events")).spawn().unwrap();
        let pipe = cat.stdin.take().unwrap();
        let mut watch = Command::new(binary());
        watch.args(["watch", "--json"]).stdin(Stdio::null()).stdout(pipe).stderr(file("said"));
        Self { child: Bounded(watch.spawn().unwrap()), reader: Bounded(cat), dir }
    }

    /// Watches once it shows something that happens now. `None`, loudly, where it cannot.
    fn shows(&mut self, group: &Group) -> Option<()> {
        let mut ended = false;
        wait_for("a first event", || {
            ended = self.child.0.try_wait().unwrap().is_some();
            Load::start(group, "opens", 1).done();
            (ended || self.sum("file_event", group).0 > 0).then_some(())
        });
        if ended {
            not_tested(&self.text("said"));
        }
        (!ended).then_some(())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child.0), signal).unwrap();
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

    /// Waits until seen and lost of a class are all that happened, and some of it was lost.
    #[track_caller]
    fn adds_up(&self, class: &str, group: &Group, expected: u64) {
        let (mut seen, mut lost) = (0, 0);
        wait_for(class, || {
            (seen, lost) = self.sum(class, group);
            (seen + lost >= expected).then_some(())
        });
        assert_eq!(seen + lost, expected, "{class}: {seen} seen, {lost} lost");
        assert!(lost > 0, "{class}: the storm was too small to lose anything");
    }
}

#[test]
fn a_daemon_that_stood_still_behind_a_storm_loses_nothing_in_silence() {
    let _storm = crate::threats::apart();
    let Some(daemon) = Daemon::start("stall") else { return };
    let [storm, calm, first] = ["storm", "calm", "first"].map(|name| daemon.inside.below(name));
    let mut watch = Watch::start();
    watch.shows(&first).unwrap();

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
        watch.adds_up(class, &storm, expected);
    }
}

#[test]
fn a_watch_whose_reader_stands_still_shows_as_lost_what_it_cannot_show() {
    let _storm = crate::threats::apart();
    let Some(top) = Group::new(&format!("quell-test-{}-slow", std::process::id())) else {
        return not_tested("slow: no cgroup can be made here");
    };
    let [storm, first] = ["storm", "first"].map(|name| top.below(name));
    let mut watch = Watch::start();
    if watch.shows(&first).is_some() {
        kill_process(Pid::from_child(&watch.reader.0), Signal::STOP).unwrap();
        assert_eq!(Load::start_with(&storm, "execs", TIMES, &"storm".repeat(480)).done(), TIMES);
        kill_process(Pid::from_child(&watch.reader.0), Signal::CONT).unwrap();
        watch.adds_up("process_fork", &storm, TIMES);
        watch.adds_up("process_termination", &storm, TIMES + 1);
    }
    drop(watch);
    top.remove();
}
