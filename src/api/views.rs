//! Views of the journal, made beside the runtime.
//!
//! Owns how many are under way and how long one is waited for. Invariant: a disk that hangs holds so many threads and no more, and
//! whoever asks is told so in time.

use super::Problem;
use axum::http::StatusCode;
use quell_model::StoreError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// A view takes milliseconds, of thousands of runs a second. As many more as there are processors would only wait for each other;
/// this many are waiting only where the disk is not coming back.
const MOST: usize = 64;
/// Less than what a client waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Room for them; clones have the same.
#[derive(Clone)]
pub(crate) struct Views {
    room: Arc<Semaphore>,
    patience: Duration,
}

impl Default for Views {
    fn default() -> Self {
        Self::with(MOST, PATIENCE)
    }
}

impl Views {
    fn with(most: usize, patience: Duration) -> Self {
        Self { room: Arc::new(Semaphore::new(most)), patience }
    }

    /// Makes one. What is given up is made to its end all the same, and keeps its place until then.
    pub(super) async fn make<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let room = Arc::clone(&self.room);
        let made = timeout(self.patience, async move {
            let place = room.acquire_owned().await;
            tokio::task::spawn_blocking(move || {
                let view = read();
                drop(place);
                view
            })
            .await
        });
        match made.await {
            Ok(Ok(view)) => Ok(view?),
            Ok(Err(_)) => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the view could not be made")),
            Err(_) => {
                let what = format!("the journal has not answered within {:?}", self.patience);
                Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, what)
                    .hint("`quell status` shows the journal's health"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    fn status(made: Result<usize, Problem>) -> u16 {
        made.map_or_else(|problem| problem.into_response().status().as_u16(), |_| 200)
    }

    #[test]
    fn a_disk_that_hangs_is_told_and_holds_no_more_threads_than_there_is_room() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let begun = Arc::new(AtomicUsize::new(0));
        let count = |begun: &Arc<AtomicUsize>| {
            let begun = Arc::clone(begun);
            move || Ok(begun.fetch_add(1, Ordering::SeqCst))
        };
        runtime.block_on(async {
            let views = Views::with(1, Duration::from_millis(50));
            let (let_go, held) = mpsc::channel::<()>();
            let hangs = move || {
                assert!(held.recv().is_err());
                Ok(0)
            };
            assert_eq!(status(views.make(hangs).await), 503);
            assert_eq!(status(views.make(count(&begun)).await), 503);
            assert_eq!(begun.load(Ordering::SeqCst), 0, "there was no room for it, and its client has gone");
            drop(let_go);
            let views = Views { patience: PATIENCE, ..views };
            assert_eq!(status(views.make(count(&begun)).await), 200, "the disk is back");
        });
    }
}
