//! `quell idle`: does nothing, so that an image without a shell has somebody to try freezes and kills on.
//!
//! Waits for a line, and ends with 3 when it comes; without an input it sleeps a minute. Not for people.

use super::Exit;
use std::time::Duration;

/// Longer than any trial.
const MOST: Duration = Duration::from_secs(60);

/// Waits.
pub(crate) fn run() -> Exit {
    let mut line = String::new();
    match std::io::stdin().read_line(&mut line) {
        Ok(read) if read > 0 => Exit::Unreachable,
        _ => {
            std::thread::sleep(MOST);
            Exit::Right
        }
    }
}
