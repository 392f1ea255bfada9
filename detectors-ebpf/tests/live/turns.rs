//! The sink's turns, and the thread's life.

use crate::harness::{DEADLINE, live, start};
use quell_detectors::{Sensor, SensorConfig, SensorError, Sink};
use quell_model::Event;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Instant;

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
