//! The simulation: the shipped engine, its journal and its clock in one thread, led astray by a seed.
//!
//! ```text
//! seed ──▶ playbooks, detections, people, faults, deaths ──▶ Core, triggers, guard, leases, journal ──▶ world
//!                                                                              └──── records ────▶ check ◀─┘
//! ```
//!
//! Owns the played world and the stage. Nothing of the engine is modelled: what runs is what ships, but for the threads (the
//! journal's writer and what a verb does beside are moved on by hand) and for the salts. **Invariant:** a seed gives the same
//! records, to the last hash, each time; one that fails is printed with how to play it again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod check;
mod found;
mod guarded;
mod hangs;
mod incidents;
mod laws;
mod make;
mod parts;
mod people;
mod play;
mod rng;
mod scene;
mod shipped;
mod stage;
mod subs;
mod waits;
mod world;

use play::play;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

/// Seeds of every test run.
const SEEDS: u64 = 2_000;
/// Seeds of a long one.
const LONG: u64 = 100_000;
/// One of so many is played twice.
const TWICE: u64 = 16;

#[expect(clippy::disallowed_methods, reason = "how long a test searches is no key of the configuration")]
fn told(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Plays one seed, as often as it takes to know that it plays the same each time.
fn hold(seed: u64, twice: bool) -> Result<(), String> {
    let again =
        format!("play it again: QUELL_SEED={seed} cargo test -p quell-engine --lib run::sim::seeds -- --nocapture");
    hold_twice(seed, twice, &again, &|seed| play(seed, twice))
}

/// The same of whatever a seed plays; `again` says how to.
fn hold_twice(
    seed: u64,
    twice: bool,
    again: &str,
    play: &dyn Fn(u64) -> Result<play::Told, String>,
) -> Result<(), String> {
    let play = |seed| {
        // A panic has printed what it is; which seed it was is known here.
        let played = catch_unwind(AssertUnwindSafe(|| play(seed)));
        played.unwrap_or_else(|why| Err(format!("a panic: {:?}", why.downcast_ref::<String>())))
    };
    let first = play(seed).map_err(|why| format!("seed {seed}: {why}\n{again}"))?;
    if !twice {
        return Ok(());
    }
    let second = play(seed).map_err(|why| format!("seed {seed}, the second time: {why}\n{again}"))?;
    match first.iter().zip(&second).find(|(first, second)| first != second) {
        None if first.len() == second.len() => Ok(()),
        other => Err(format!("seed {seed} did not give the same journal twice: {other:#?}\n{again}")),
    }
}

/// Plays so many seeds, on as many hands as there are.
fn hold_all(most: u64, hold: &(dyn Fn(u64) -> Result<(), String> + Sync)) {
    let most = told("QUELL_SEEDS").map_or(most, |text| text.parse().expect("QUELL_SEEDS is a number"));
    let next = AtomicU64::new(0);
    let hands = std::thread::available_parallelism().map_or(1, |n| n.get().min(4));
    std::thread::scope(|scope| {
        let play_some = || loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= most {
                return Ok::<(), String>(());
            }
            // The others need not go on.
            hold(seed).inspect_err(|_| next.store(most, Ordering::Relaxed))?;
        };
        let all: Vec<_> = (0..hands).map(|_| scope.spawn(play_some)).collect();
        for one in all {
            if let Err(why) = one.join().expect("a seed's panic was printed above") {
                panic!("{why}");
            }
        }
    });
}

#[test]
fn seeds_of_faults_deaths_and_people_leave_every_law_standing() {
    if let Some(seed) = told("QUELL_SEED") {
        let seed = seed.parse().expect("QUELL_SEED is a number");
        return hold(seed, true).unwrap_or_else(|why| panic!("{why}"));
    }
    let most = if told("QUELL_LONG").is_some() { LONG } else { SEEDS };
    hold_all(most, &|seed| hold(seed, seed.is_multiple_of(TWICE)));
}
