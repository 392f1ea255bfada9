//! The whole daemon stands still for ten seconds behind a storm, or the reader of `quell watch` does: nothing is lost in silence.

use super::attack::Attack;
use super::daemon::Daemon;
use super::load::Load;
use super::{not_tested, wait_for};
use crate::cli::{Bounded, binary};
use crate::threats::group::Group;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// More than the pipe, what waits in the watch, and a cgroup's share of a ring hold together.
const TIMES: u64 = 5_000;
const STALL: Duration = Duration::from_secs(10);

/// Of a line that the watch shows, what is counted.
#[derive(Deserialize)]
struct Shown {
    class: String,
    own: Own,
}

#[derive(Deserialize)]
struct Own {
    loss: Option<Lost>,
    process: Option<Whose>,
}

#[derive(Deserialize)]
struct Lost {
    class: String,
    cgroup_path: Option<String>,
    count: u64,
}

#[derive(Deserialize)]
struct Whose {
    cgroup_path: Option<String>,
}

/// Seen and lost, by class and cgroup, as far as it was read: each line once, there are megabytes of them.
struct Tally {
    events: BufReader<fs::File>,
    line: String,
    sums: HashMap<(String, String), (u64, u64)>,
}

impl Tally {
    fn read_on(&mut self) {
        while self.events.read_line(&mut self.line).unwrap() > 0 {
            // The rest of it is yet to come.
            if !self.line.ends_with('\n') {
                break;
            }
            let shown: Shown = serde_json::from_str(&self.line).unwrap();
            if let Some(lost) = shown.own.loss {
                self.sums.entry((lost.class, lost.cgroup_path.unwrap_or_default())).or_default().1 += lost.count;
            } else if let Some(of) = shown.own.process {
                self.sums.entry((shown.class, of.cgroup_path.unwrap_or_default())).or_default().0 += 1;
            }
            self.line.clear();
        }
    }
}

/// `quell watch`, which has a sensor of its own and shows all that it is told; and who reads it.
struct Watch {
    child: Bounded,
    reader: Bounded,
    tally: RefCell<Tally>,
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
        let events = BufReader::new(fs::File::open(dir.path().join("events")).unwrap());
        let tally = Tally { events, line: String::new(), sums: HashMap::new() }.into();
        Self { child: Bounded(watch.spawn().unwrap()), reader: Bounded(cat), tally, dir }
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
        let mut tally = self.tally.borrow_mut();
        tally.read_on();
        tally.sums.get(&(class.to_owned(), group.path.clone())).copied().unwrap_or_default()
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
