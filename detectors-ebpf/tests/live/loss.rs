//! What is lost is told, and floods blind nobody else: budgets, shares, and a reader that stands still.
//!
//! Each load runs in a cgroup of its own and is counted to the last event: seen and lost together are what was done.

use crate::harness::{DEADLINE, FLOOD, Keep, Log, flood, own, start, text};
use quell_detectors::{SensorConfig, Sink};
use quell_model::{Class, Event, Field, OwnedEvent};
use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Small, so that little fills it: 1 MiB.
const RING: u32 = 1 << 20;

fn lost_files(e: &OwnedEvent, why: &str) -> bool {
    e.head.class == Class::Loss && text(e, "loss.class") == "file_event" && text(e, "loss.why") == why
}

fn open_often(times: u32) {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..times {
        drop(OpenOptions::new().create(true).append(true).open(dir.path().join(&FLOOD[1..])).unwrap());
    }
}

#[test]
fn what_a_budget_holds_back_is_counted() {
    flood(budget);
}

fn budget() {
    let log = Arc::<Log>::default();
    let config = SensorConfig { budget: 10, ignore_pids: Vec::new(), ..SensorConfig::new("test".into()) };
    let running = start(config, Keep { log: Arc::clone(&log), ask: false }).unwrap();
    open_often(2_000);
    let seen = log.wait("the loss", |e| lost_files(e, "cgroup_budget"));
    assert!(own(&seen, "loss.count").as_u64() > Some(0));
    assert!(own(&seen, "loss.cgroup").as_u64() > Some(0), "it says whose");
    assert!(running.stats().lost.iter().any(|(class, n)| *class == Class::FileEvent && *n > 0));
    running.stop();
}

/// A cgroup of the test's own; what runs in it has ended before it goes.
struct Group(PathBuf);

impl Group {
    /// `None`, loudly, where there is no second version of cgroups.
    fn new(name: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let root = mounts.lines().find_map(|line| {
            let mut parts = line.split(' ').skip(1);
            let at = parts.next()?;
            (parts.next()? == "cgroup2").then(|| PathBuf::from(at))
        });
        let Some(root) = root else {
            crate::harness::not_tested("losses by cgroup: no cgroup2 is mounted");
            return None;
        };
        let dir = root.join(format!("quell-live-{}-{name}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        Some(Self(dir))
    }

    fn id(&self) -> u64 {
        fs::metadata(&self.0).unwrap().ino()
    }

    /// Runs a script in it, to its end, in a directory whose path is long: few of its records fill a ring.
    fn run(&self, script: &str, args: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        let deep = (0..10).fold(dir.path().to_owned(), |at, _| at.join("long".repeat(60)));
        fs::create_dir_all(&deep).unwrap();
        let status = Command::new("/bin/sh")
            .args(["-c", &format!("echo $$ > \"$0\"; {script}")])
            .arg(self.0.join("cgroup.procs"))
            .args(args)
            .current_dir(&deep)
            .stdin(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{script}: {status}");
    }

    /// Opens one file for writing so often.
    fn open(&self, times: u32) {
        self.run("n=$1; while [ $n -gt 0 ]; do : >> flood; n=$((n - 1)); done", &[&times.to_string()]);
    }

    /// Forks and executes so often, with a long command line.
    fn execute(&self, times: u32, bytes: usize) {
        let script = "n=$1; while [ $n -gt 0 ]; do env true \"$2\"; n=$((n - 1)); done";
        // Not the shell's own `true`; env becomes it: two execs for a fork.
        self.run(script, &[&times.to_string(), &"x".repeat(bytes)]);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.0));
    }
}

/// What became of each class of each cgroup: seen and lost, and why.
#[derive(Default)]
struct Sums {
    all: Mutex<HashMap<(Class, u64), Sum>>,
    more: Condvar,
}

#[derive(Clone, Debug, Default)]
struct Sum {
    seen: u64,
    lost: u64,
    whys: Vec<String>,
}

impl Sums {
    fn of(&self, class: Class, group: &Group) -> Sum {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&(class, group.id())).cloned().unwrap_or_default()
    }

    /// Waits until seen and lost are `done` together; more would be as wrong.
    #[track_caller]
    fn add_up(&self, class: Class, group: &Group, done: u64) -> Sum {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let short = |all: &mut HashMap<(Class, u64), Sum>| {
            all.get(&(class, group.id())).is_none_or(|sum| sum.seen + sum.lost < done)
        };
        drop(self.more.wait_timeout_while(all, DEADLINE, short).unwrap_or_else(PoisonError::into_inner));
        let sum = self.of(class, group);
        assert_eq!(sum.seen + sum.lost, done, "{class}: {sum:?}");
        sum
    }
}

/// Counts; stands still at an event of a group while the gate is shut.
struct Counting {
    sums: Arc<Sums>,
    gate: Arc<Mutex<()>>,
    stops_at: u64,
}

impl Counting {
    fn number(event: &dyn Event, path: &str) -> u64 {
        match event.own(path) {
            Some(Field::Int(n)) => u64::try_from(n).unwrap_or(0),
            _ => 0,
        }
    }
}

impl Sink for Counting {
    fn event(&mut self, event: &dyn Event) {
        let class = event.head().class;
        let mut all;
        if class == Class::Loss {
            let text = |path| match event.own(path) {
                Some(Field::Str(text)) => text.into_owned(),
                _ => String::new(),
            };
            let of = text("loss.class");
            let of = Class::ALL.into_iter().find(|class| class.as_str() == of).unwrap();
            all = self.sums.all.lock().unwrap_or_else(PoisonError::into_inner);
            let sum = all.entry((of, Self::number(event, "loss.cgroup"))).or_default();
            sum.lost += Self::number(event, "loss.count");
            sum.whys.push(text("loss.why"));
        } else {
            let group = Self::number(event, "process.cgroup");
            if group == self.stops_at {
                drop(self.gate.lock().unwrap_or_else(PoisonError::into_inner));
            }
            all = self.sums.all.lock().unwrap_or_else(PoisonError::into_inner);
            all.entry((class, group)).or_default().seen += 1;
        }
        self.sums.more.notify_all();
    }

    fn turn(&mut self) {}
}

/// A noisy group fills a ring behind a reader that stands still; what a quiet one does meanwhile comes through.
fn behind_a_stalled_reader(noise: fn(&Group), quiet: fn(&Group), check: fn(&Sums, &Group, &Group)) {
    let (Some(noisy), Some(calm)) = (Group::new("noisy"), Group::new("calm")) else { return };
    let (gate, sums) = (Arc::new(Mutex::new(())), Arc::<Sums>::default());
    let sink = Counting { sums: Arc::clone(&sums), gate: Arc::clone(&gate), stops_at: noisy.id() };
    let config =
        SensorConfig { budget: 0, ring: Some(RING), ignore_pids: Vec::new(), ..SensorConfig::new("test".into()) };
    let running = start(config, sink).unwrap();
    let held = gate.lock().unwrap_or_else(PoisonError::into_inner);
    noise(&noisy);
    quiet(&calm);
    drop(held);
    check(&sums, &noisy, &calm);
    running.stop();
}

#[test]
fn a_flood_of_files_takes_only_its_share_of_a_ring() {
    // Such a ring holds some 400 records of 144 bytes and a path as long.
    flood(|| {
        behind_a_stalled_reader(
            |noisy| noisy.open(1_000),
            |calm| calm.open(30),
            |sums, noisy, calm| {
                let sum = sums.add_up(Class::FileEvent, noisy, 1_000);
                assert!(sum.lost > 300 && sum.whys.iter().all(|why| why == "cgroup_share"), "{sum:?}");
                assert_eq!(sums.add_up(Class::FileEvent, calm, 30).lost, 0);
            },
        );
    });
}

#[test]
fn a_flood_of_execs_takes_only_its_share_of_a_ring() {
    // Two records of 5 kB for each: half of the ring is full after 50.
    flood(|| {
        behind_a_stalled_reader(
            |noisy| noisy.execute(200, 2_000),
            |calm| calm.execute(12, 10),
            |sums, noisy, calm| {
                let sum = sums.add_up(Class::ProcessCreation, noisy, 400);
                assert!(sum.lost > 50 && sum.whys.iter().all(|why| why == "cgroup_share"), "{sum:?}");
                sums.add_up(Class::ProcessFork, noisy, 200);
                // The shell that ran them ends there too.
                sums.add_up(Class::ProcessTermination, noisy, 201);
                assert_eq!(sums.add_up(Class::ProcessCreation, calm, 24).lost, 0);
                assert_eq!(sums.add_up(Class::ProcessFork, calm, 12).lost, 0);
            },
        );
    });
}

#[test]
fn a_budget_is_a_cgroups_own() {
    flood(|| {
        let (Some(noisy), Some(calm)) = (Group::new("many"), Group::new("few")) else { return };
        let sums = Arc::<Sums>::default();
        let sink = Counting { sums: Arc::clone(&sums), gate: Arc::default(), stops_at: 0 };
        let config = SensorConfig { budget: 10, ignore_pids: Vec::new(), ..SensorConfig::new("test".into()) };
        let running = start(config, sink).unwrap();
        noisy.open(2_000);
        calm.open(10);
        let sum = sums.add_up(Class::FileEvent, &noisy, 2_000);
        assert!(sum.lost > 0 && sum.whys.iter().all(|why| why == "cgroup_budget"), "{sum:?}");
        assert_eq!(sums.add_up(Class::FileEvent, &calm, 10).lost, 0);
        running.stop();
    });
}

#[test]
fn what_a_full_ring_drops_is_counted() {
    // Each group has its share, and so many groups are more than a ring holds.
    flood(|| {
        let groups: Vec<Group> = (0..9).filter_map(|n| Group::new(&format!("crowd-{n}"))).collect();
        let Some(first) = groups.first() else { return };
        let (gate, sums) = (Arc::new(Mutex::new(())), Arc::<Sums>::default());
        let sink = Counting { sums: Arc::clone(&sums), gate: Arc::clone(&gate), stops_at: first.id() };
        let config =
            SensorConfig { budget: 0, ring: Some(RING), ignore_pids: Vec::new(), ..SensorConfig::new("test".into()) };
        let running = start(config, sink).unwrap();
        let held = gate.lock().unwrap_or_else(PoisonError::into_inner);
        groups.iter().for_each(|group| group.open(150));
        drop(held);
        let sums: Vec<Sum> = groups.iter().map(|group| sums.add_up(Class::FileEvent, group, 150)).collect();
        assert!(sums.iter().flat_map(|sum| &sum.whys).any(|why| why == "ring_full"), "{sums:?}");
        running.stop();
    });
}
