//! Where a test lets a verb die, or wait while others write: before the call to the API server that it names. Debug builds only; a release has
//! no such place.
//!
//! Owns the count of calls. Keeps true: from that call on nothing is sent and nothing is answered, so that whoever waits for the verb drops
//! it there, and nothing that it would have done runs: as after a SIGKILL. Or lets it go on from there.

use std::sync::Mutex;
use tokio::sync::watch;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Fault {
    /// So many calls go through yet; none: all.
    left: Mutex<Option<u32>>,
    died: watch::Sender<bool>,
    /// So often whoever waits was let go on.
    resumed: watch::Sender<u32>,
}

impl Fault {
    pub(crate) fn dies_after(&self, calls: Option<u32>) {
        *self.left.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = calls;
        self.died.send_replace(false);
    }

    /// Whoever waits at the place goes on, and the next place is after so many further calls.
    pub(crate) fn goes_on(&self, calls: Option<u32>) {
        self.dies_after(calls);
        self.resumed.send_modify(|times| *times += 1);
    }

    /// A call is about to be made: goes on only when it is let, if this is the place.
    pub(crate) async fn point(&self) {
        {
            let mut left = self.left.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match left.as_mut() {
                None => return,
                Some(0) => {}
                Some(left) => {
                    *left -= 1;
                    return;
                }
            }
        }
        let mut resumed = self.resumed.subscribe();
        self.died.send_replace(true);
        // Its sender lives as long as this does.
        drop(resumed.changed().await);
    }

    pub(crate) async fn died(&self) {
        // Its sender lives as long as this does.
        drop(self.died.subscribe().wait_for(|died| *died).await);
    }
}
