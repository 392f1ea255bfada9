//! The four threats that ship, end to end: the real attack, the real sensor, rules, playbook and kill.
//!
//! ```text
//!                     ┌─ cgroup …/out ─ the same attack, where quell may touch nothing ─▶ reaches its goal
//! listener (goal?) ◀──┤
//!                     └─ cgroup …/in  ─ the attack, within the daemon's `only_within` ──▶ killed, and the run says so
//! ```
//!
//! An attack is harmless: it connects to a listener of the test on loopback and answers one line. The test asks for the
//! goal only after the run has ended, so that nothing depends on who is faster.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be done fails it")]

mod attack;
mod audit;
mod credential_theft;
mod crypto_miner;
mod fileless_execution;
pub(crate) mod group;
mod honest;
mod labour;
mod listener;
mod reverse_shell;
mod shipped;
mod stage;
mod tools;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Storms and honest work do not meet. Whether a shell is relayed is told from who is alive at that moment, and a storm on
/// few processors keeps those alive who end at once elsewhere.
pub(crate) fn apart() -> MutexGuard<'static, ()> {
    static APART: Mutex<()> = Mutex::new(());
    APART.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until something is there; `None` when patience ends.
fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() > until {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
