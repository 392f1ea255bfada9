//! A tree that forks faster than anybody can signal it is contained whole, while a sibling under the same parent lives on:
//! through `process.kill` alone, and through the real daemon, whatever happens to that meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod attack;
mod daemon;
mod direct;
mod site;
mod uninstall;

use std::time::{Duration, Instant};

/// A debug build's client took seconds on a machine with thirty others at work for each CPU.
const PATIENCE: Duration = Duration::from_secs(120);

#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}
