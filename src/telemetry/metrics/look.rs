//! A look at a part that may not answer.
//!
//! Owns the bound. Keeps true: of each part at most one question is on its way, however many ask for figures: behind an engine or
//! a database that stands still nothing piles up.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, oneshot};
use tokio::time::timeout;

/// So long a part is waited for. Prometheus gives up after 10 s.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// One question at a time.
#[derive(Debug, Default)]
pub(crate) struct Look(Arc<Mutex<()>>);

impl Look {
    /// Does the work, after whoever does the same; none when it did not end in time. It goes on then, and the next waits for it.
    pub(super) async fn at<T: Send + 'static>(
        &self,
        work: impl Future<Output = Option<T>> + Send + 'static,
    ) -> Option<T> {
        let one = Arc::clone(&self.0);
        let looked = async move {
            let turn = one.lock_owned().await;
            let (tell, told) = oneshot::channel();
            // Ends with the answer; until then it keeps the next from asking, so that there is never a second.
            drop(tokio::spawn(async move {
                let answer = work.await;
                drop(turn);
                drop(tell.send(answer));
            }));
            told.await.ok().flatten()
        };
        timeout(PATIENCE, looked).await.ok().flatten()
    }

    /// The same for what blocks.
    pub(crate) async fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Option<T> + Send + 'static,
    ) -> Option<T> {
        self.at(async move { tokio::task::spawn_blocking(work).await.ok().flatten() }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    #[test]
    fn behind_one_that_stands_still_nothing_piles_up() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let begun = Arc::new(AtomicUsize::new(0));
        let (let_go, held) = mpsc::channel::<()>();
        runtime.block_on(async {
            let look = Look::default();
            let first = Arc::clone(&begun);
            let none = look.beside(move || {
                first.fetch_add(1, Ordering::SeqCst);
                held.recv().ok()
            });
            assert_eq!(none.await, None, "it is not waited for");
            let others = [(); 5].map(|()| {
                let begun = Arc::clone(&begun);
                look.beside(move || Some(begun.fetch_add(1, Ordering::SeqCst)))
            });
            assert_eq!(futures_util::future::join_all(others).await, [None; 5]);
            assert_eq!(begun.load(Ordering::SeqCst), 1, "nobody else has begun");
            let_go.send(()).unwrap();
            let begun = Arc::clone(&begun);
            assert_eq!(
                look.beside(move || Some(begun.fetch_add(1, Ordering::SeqCst))).await,
                Some(1),
                "the next is served"
            );
        });
    }
}
