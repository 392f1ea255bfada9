//! Bad days of the sensor, end to end: floods, a daemon that stands still, and pids that come again.
//!
//! Each attack is a copy of `sleep` that runs from /dev/shm: harmless, and seen by a playbook that ships. It must end by
//! quell's hand while the loads around it, which quell may touch too, count that nobody touched them.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be done fails it")]

mod attack;
mod daemon;
mod flood;
mod load;
mod memory;
mod pids;
mod stall;

use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine, or in an emulated one.
const PATIENCE: Duration = Duration::from_secs(300);

/// Waits until something is there.
#[track_caller]
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Says loudly that something was not tested; fails where it should have been.
fn not_tested(what: &str) {
    assert!(std::env::var_os("QUELL_REQUIRE_BPF").is_none(), "{what}");
    eprintln!("NOT TESTED: {what}");
}
