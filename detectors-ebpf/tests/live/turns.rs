//! The sink's turns, and the thread's life.

use crate::harness::{DEADLINE, flood, live, start};
use quell_detectors::{Sensor, SensorConfig, SensorError, Sink};
use quell_model::{Class, Event};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

#[derive(Default)]
struct Turns {
    taken: Arc<AtomicU64>,
}

impl Sink for Turns {
    fn event(&mut self, _: &dyn Event) {}

    fn turn(&mut self) {
        self.taken.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn turns_come_by_themselves_and_when_woken() {
    if live().is_none() {
        return;
    }
    let turns = Turns::default();
    let taken = Arc::clone(&turns.taken);
    let running = start(SensorConfig::new("test".into()), turns).unwrap();
    let end = Instant::now() + DEADLINE;
    let wait_past = |count: u64| {
        while taken.load(Ordering::SeqCst) <= count {
            assert!(Instant::now() < end && running.is_alive(), "no turn");
            std::thread::yield_now();
        }
    };
    for _ in 0..3 {
        wait_past(taken.load(Ordering::SeqCst));
    }
    let waker = running.waker();
    for _ in 0..20 {
        let before = taken.load(Ordering::SeqCst);
        waker.wake();
        wait_past(before);
    }
    assert!(running.stats().processes > 0);
    running.stop();
    waker.wake();
}

/// Once it is told to, stands still until it is let go, and then takes a while for each event.
#[derive(Clone, Default)]
struct Slow {
    stands: Arc<AtomicBool>,
    is_slow: Arc<AtomicBool>,
    since_turn: Arc<AtomicU64>,
    most: Arc<AtomicU64>,
    all: Arc<AtomicU64>,
}

impl Sink for Slow {
    fn event(&mut self, _: &dyn Event) {
        while self.stands.load(Ordering::SeqCst) {
            // This thread goes before all others: it must not spin.
            std::thread::park_timeout(Duration::from_millis(5));
        }
        if self.is_slow.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_millis(1));
            self.all.fetch_add(1, Ordering::SeqCst);
            let since = self.since_turn.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(since, Ordering::SeqCst);
        }
    }

    fn turn(&mut self) {
        self.since_turn.store(0, Ordering::SeqCst);
    }
}

#[test]
fn a_sink_that_takes_long_for_each_of_many_events_has_its_turns_between_them() {
    flood(slow);
}

fn slow() {
    let sink = Slow::default();
    let config = SensorConfig { ignore_pids: Vec::new(), ..SensorConfig::new("test".into()) };
    let Some(running) = start(config, sink.clone()) else { return };
    sink.stands.store(true, Ordering::SeqCst);
    sink.is_slow.store(true, Ordering::SeqCst);
    const MANY: u64 = 500;
    for _ in 0..MANY {
        assert!(Command::new("/bin/true").status().unwrap().success());
    }
    let waits =
        || running.stats().rings.iter().find(|(ring, ..)| *ring == "process").map(|(_, waits, size)| (*waits, *size));
    let (full, size) = waits().unwrap();
    assert!(full > MANY * 100 && size == 8 << 20, "{full} bytes of {size} wait");
    sink.stands.store(false, Ordering::SeqCst);
    let end = Instant::now() + DEADLINE;
    // Each is a fork, an exec and an exit.
    while sink.all.load(Ordering::SeqCst) < 3 * MANY {
        assert!(Instant::now() < end && running.is_alive(), "{:?}", sink.all);
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let most = sink.most.load(Ordering::SeqCst);
    assert!(most < 2 * MANY, "{most} events without a turn");
    // On a busy machine others fill it meanwhile, as fast as a slow one reads.
    sink.is_slow.store(false, Ordering::SeqCst);
    while waits().unwrap().0 >= full {
        assert!(Instant::now() < end && running.is_alive(), "what was read waits no more");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    running.stop();
}

/// Takes a while for each event, and counts what happened to files.
struct Behind(Arc<AtomicU64>);

impl Sink for Behind {
    fn event(&mut self, event: &dyn Event) {
        if event.head().class == Class::FileEvent {
            self.0.fetch_add(1, Ordering::SeqCst);
        } else {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    fn turn(&mut self) {}
}

#[test]
fn processes_that_come_faster_than_they_are_read_hold_nothing_else_up() {
    flood(|| {
        let files = Arc::<AtomicU64>::default();
        let config = SensorConfig { ignore_pids: Vec::new(), budget: 0, ..SensorConfig::new("test".into()) };
        let Some(running) = start(config, Behind(Arc::clone(&files))) else { return };
        let dir = tempfile::tempdir().unwrap();
        // Each turn is a fork, an exec and an end; the files come in the midst of them. It ends with its directory.
        let script = "n=0; while :; do /bin/true; n=$((n + 1)); [ $((n % 100)) = 0 ] && : > flood; done";
        let mut storm = Command::new("/bin/sh").args(["-c", script]).current_dir(dir.path()).spawn().unwrap();
        let end = Instant::now() + DEADLINE;
        while files.load(Ordering::SeqCst) < 3 {
            assert!(Instant::now() < end && running.is_alive(), "{files:?} of the storm's files are told");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        // It stops in the midst of it too.
        running.stop();
        storm.kill().unwrap();
        storm.wait().unwrap();
    });
}

/// Dies at its first event.
struct Dies(mpsc::Sender<()>);

impl Sink for Dies {
    fn event(&mut self, _: &dyn Event) {
        self.0.send(()).unwrap();
        panic!("a sink that dies");
    }

    fn turn(&mut self) {}
}

#[test]
fn a_sink_that_dies_is_noticed_and_takes_nobody_with_it() {
    if live().is_none() {
        return;
    }
    let (said, heard) = mpsc::channel();
    let running = Sensor::start(SensorConfig::new("test".into()), Box::new(Dies(said))).unwrap();
    heard.recv_timeout(DEADLINE).unwrap();
    let end = Instant::now() + DEADLINE;
    while running.is_alive() {
        assert!(Instant::now() < end, "it still seems to live");
        std::thread::yield_now();
    }
    running.stop();
}

#[test]
fn what_cannot_be_watched_is_refused_before_anything_is_loaded() {
    let config = SensorConfig { watch: vec!["relative".into()], ..SensorConfig::new("test".into()) };
    let refused = Sensor::start(config, Box::new(Turns::default()));
    assert!(matches!(refused, Err(SensorError::Watch(_))));
}

#[test]
fn doctor_names_every_probe() {
    if live().is_none() {
        return;
    }
    let checks = Sensor::probe();
    for probe in quell_detectors::PROBES {
        let name = format!("probe {}", probe.program);
        assert!(
            checks.iter().any(|c| c.name == name && c.state == quell_detectors::CheckState::Ok),
            "{name}: {checks:?}"
        );
    }
}
