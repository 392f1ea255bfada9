//! What the flight recorder costs: real events of a storm of forks and execs, noted on the sensor's thread as the daemon
//! does it; then the pages packed.
//!
//! Owns its sensor and its storm. Prints the time an event takes on the sensor's thread by class, beside that of a whole copy
//! of the event, and what it takes of another thread's time and of the disk.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark prints, and ends when its stage breaks"
)]

mod stage;

use quell_detectors::{Sensor, SensorConfig, Sink};
use quell_engine::recorder::{Packer, Page};
use quell_model::{Class, Event};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One whole copy is made of so many events, to compare with.
const COMPARED: u64 = 16;

#[derive(Default)]
struct Costs {
    page: Page,
    packer: Option<Packer>,
    by_class: BTreeMap<Class, (u64, Duration)>,
    copied: (u64, Duration),
    pages: u64,
    raw: u64,
    packed: u64,
    packing: Duration,
}

struct Eye(Arc<Mutex<Costs>>);

impl Sink for Eye {
    fn event(&mut self, event: &dyn Event) {
        let mut costs = self.0.lock().unwrap();
        let costs = &mut *costs;
        let head = event.head();
        if head.source.as_str() == "scan" {
            return;
        }
        let class = head.class;
        let begin = Instant::now();
        costs.page.note(event);
        let took = begin.elapsed();
        let entry = costs.by_class.entry(class).or_default();
        *entry = (entry.0 + 1, entry.1 + took);
        if entry.0.is_multiple_of(COMPARED) {
            let begin = Instant::now();
            std::hint::black_box(event.to_owned());
            costs.copied = (costs.copied.0 + 1, costs.copied.1 + begin.elapsed());
        }
        if costs.page.is_full() {
            let begin = Instant::now();
            costs.packed += costs.packer.as_mut().unwrap().pack(&costs.page, 1, false).unwrap().len() as u64;
            costs.packing += begin.elapsed();
            costs.pages += 1;
            costs.raw += costs.page.bytes().len() as u64;
            costs.page.clear();
        }
    }

    fn turn(&mut self) {}
}

fn each(count: u64, all: Duration) -> f64 {
    all.as_secs_f64() * 1e9 / count.max(1) as f64
}

fn main() {
    let costs = Arc::new(Mutex::new(Costs { packer: Some(Packer::new().unwrap()), ..Costs::default() }));
    let running = match Sensor::start(SensorConfig::new("bench".into()), Box::new(Eye(Arc::clone(&costs)))) {
        Ok(running) => running,
        Err(why) => {
            println!("NOT MEASURED: the recorder: {why}");
            return;
        }
    };
    stage::storm(Duration::from_secs(10));
    drop(running);
    let costs = costs.lock().unwrap();
    let mut rows = Vec::new();
    println!("noting an event on the sensor's thread (the clock's own 40 ns or so are in it):");
    for (class, (count, all)) in &costs.by_class {
        println!("  {:<20} {count:>8} events  {:>7.0} ns", class.as_str(), each(*count, *all));
        rows.push(json!({ "name": format!("note {class}"), "n": count, "ns": each(*count, *all) }));
    }
    let events: u64 = costs.by_class.values().map(|(count, _)| count).sum();
    let all: Duration = costs.by_class.values().map(|(_, all)| *all).sum();
    let packed_events = events.saturating_sub(costs.page.events()).max(1);
    let figures = [
        ("note, all", each(events, all), "ns an event"),
        ("a whole copy instead", each(costs.copied.0, costs.copied.1), "ns an event"),
        ("pack, on the recorder's thread", each(packed_events, costs.packing), "ns an event"),
        ("in a page", costs.raw as f64 / packed_events as f64, "bytes an event"),
        ("on the disk", costs.packed as f64 / packed_events as f64, "bytes an event"),
    ];
    for (name, value, unit) in figures {
        println!("{name:<32} {value:>8.0} {unit}");
        rows.push(json!({ "name": name, "value": value, "unit": unit }));
    }
    println!("{} pages, {events} events", costs.pages);
    stage::save("recorder", &rows);
}
