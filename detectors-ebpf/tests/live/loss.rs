//! What is lost is told: by a budget, and by a ring that nobody reads.

use crate::harness::{FLOOD, Keep, Log, flood, own, start, text};
use quell_detectors::{SensorConfig, Sink};
use quell_model::{Class, Event, OwnedEvent};
use std::fs::OpenOptions;
use std::sync::{Arc, Mutex, PoisonError};

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

/// Reads nothing until it may.
struct Slow {
    gate: Arc<Mutex<()>>,
    keep: Keep,
}

impl Sink for Slow {
    fn event(&mut self, event: &dyn Event) {
        if event.head().class == Class::FileEvent {
            drop(self.gate.lock().unwrap_or_else(PoisonError::into_inner));
        } else {
            self.keep.event(event);
        }
    }

    fn turn(&mut self) {}
}

#[test]
fn what_a_full_ring_drops_is_counted() {
    flood(full_ring);
}

fn full_ring() {
    let (gate, log) = (Arc::new(Mutex::new(())), Arc::<Log>::default());
    let config = SensorConfig { budget: 0, ignore_pids: Vec::new(), ..SensorConfig::new("test".into()) };
    let keep = Keep { log: Arc::clone(&log), ask: false };
    let running = start(config, Slow { gate: Arc::clone(&gate), keep }).unwrap();
    let held = gate.lock().unwrap();
    // 8 MiB hold fewer than 60,000 records of 144 bytes and a path.
    open_often(60_000);
    drop(held);
    log.wait("the loss", |e| lost_files(e, "ring_full"));
    running.stop();
}
