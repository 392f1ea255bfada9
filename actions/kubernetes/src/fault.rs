//! Where a test lets a verb die: before the call to the API server that it names. Debug builds only; a release has no such place.
//!
//! Owns the count of calls. Keeps true: from that call on nothing is sent and nothing is answered, so that whoever waits for the verb drops
//! it there, and nothing that it would have done runs: as after a SIGKILL.

use std::sync::Mutex;
use tokio::sync::watch;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Fault {
    /// So many calls go through yet; none: all.
    left: Mutex<Option<u32>>,
    died: watch::Sender<bool>,
}

impl Fault {
    pub(crate) fn dies_after(&self, calls: Option<u32>) {
        *self.left.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = calls;
        self.died.send_replace(false);
    }

    /// A call is about to be made: never goes on, if this is the place.
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
        self.died.send_replace(true);
        std::future::pending::<()>().await;
    }

    pub(crate) async fn died(&self) {
        // Its sender lives as long as this does.
        drop(self.died.subscribe().wait_for(|died| *died).await);
    }
}
