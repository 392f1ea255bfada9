//! What a reload hands to the engine's thread: rules and definitions in one, put in force between two of its turns.
//!
//! ```text
//! desk ──put──▶ the one place ──take──▶ hand        not taken in time: the desk takes it back
//! ```
//!
//! Owns the place. Keeps true: new rules never meet old definitions; whoever hands something over knows afterwards whether it
//! holds; the engine's thread waits for nobody here.

use quell_engine::detect::Rules;
use quell_engine::run::Definitions;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// What is to hold from now on.
pub(crate) struct Change {
    /// The rules.
    pub(crate) rules: Arc<Rules>,
    /// Playbooks, guard, modes, people.
    pub(crate) definitions: Box<Definitions>,
}

/// In the hands of the engine's thread.
pub(super) struct Taken {
    /// What.
    pub(super) change: Change,
    /// Told once it holds.
    pub(super) in_force: oneshot::Sender<()>,
}

/// Why what was handed over is not in force.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTaken {
    /// Nobody took it, and nobody will.
    #[error("the engine has not taken it within {0:?}")]
    Late(Duration),
    /// The thread that took it has ended.
    #[error("the engine has ended")]
    Gone,
}

/// The one place; clones are the same.
#[derive(Clone)]
pub(crate) struct Handover {
    place: Arc<Mutex<Option<Taken>>>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl Handover {
    /// To a thread that is woken by this.
    pub(super) fn new(wake: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self { place: Arc::default(), wake }
    }

    fn place(&self) -> MutexGuard<'_, Option<Taken>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands it over and waits until it holds. An error: what was before holds.
    pub(crate) async fn put(&self, change: Change, patience: Duration) -> Result<(), NotTaken> {
        let (in_force, mut told) = oneshot::channel();
        *self.place() = Some(Taken { change, in_force });
        (self.wake)();
        if let Ok(told) = timeout(patience, &mut told).await {
            return told.map_err(|_| NotTaken::Gone);
        }
        if self.place().take().is_some() {
            return Err(NotTaken::Late(patience));
        }
        // It was taken in this very moment: it holds before the thread does anything else.
        told.await.map_err(|_| NotTaken::Gone)
    }

    /// For the engine's thread: what was put there. Somebody who puts something there just now wakes the thread afterwards.
    pub(super) fn take(&self) -> Option<Taken> {
        self.place.try_lock().ok()?.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::OnceLock;

    fn change() -> Change {
        Change { rules: Arc::default(), definitions: Box::default() }
    }

    #[tokio::test]
    async fn what_is_not_taken_in_time_is_taken_back() {
        let handover = Handover::new(Arc::new(|| {}));
        assert_eq!(handover.put(change(), Duration::ZERO).await, Err(NotTaken::Late(Duration::ZERO)));
        assert!(handover.take().is_none(), "it would come into force after it was said that it does not");
    }

    #[tokio::test]
    async fn what_was_taken_is_in_force_however_late_that_is_said() {
        // Whoever is woken takes it at once, and has it in force later.
        let (held, of) = (Arc::new(Mutex::new(None)), Arc::new(OnceLock::<Handover>::new()));
        let (hand, place) = (Arc::clone(&held), Arc::clone(&of));
        let handover = Handover::new(Arc::new(move || *hand.lock().unwrap() = place.get().and_then(Handover::take)));
        of.set(handover.clone()).ok().unwrap();
        let mut put = std::pin::pin!(handover.put(change(), Duration::ZERO));
        timeout(Duration::from_millis(20), put.as_mut()).await.expect_err("it is not in force yet");
        let taken: Taken = held.lock().unwrap().take().expect("it was put there");
        taken.in_force.send(()).unwrap();
        assert_eq!(put.await, Ok(()));
    }

    #[tokio::test]
    async fn one_whose_thread_ends_is_not_in_force() {
        let handover = Handover::new(Arc::new(|| {}));
        let put = handover.put(change(), Duration::from_secs(30));
        let hand = async { drop(handover.take()) };
        assert_eq!(tokio::join!(put, hand).0, Err(NotTaken::Gone));
    }
}
