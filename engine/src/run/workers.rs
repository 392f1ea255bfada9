//! Threads on which a step's work may block: plans and looks, and whatever acts outside of the contain lane.
//!
//! ```text
//! engine's thread ── give ──▶ queue ◀── a worker, until it is empty
//!                     └─ wakes one, and that one the next: never two at once
//! ```
//!
//! Owns the threads and the queue before them. Never decides what is done, nor in which order answers count.
//! Keeps true: no work waits behind another that blocks while a thread can be had. Pieces of work that come at once cost few
//! wakes (one for each took a third of a step's processor time).

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeFlavor};

/// So many may block at once: what comes beyond waits for one of them. Every attempt has a deadline.
const MOST: usize = 512;
/// While work is gathered, so much of it is not left waiting for the end of that.
const MANY: usize = 8;
/// A thread with nothing to do ends after so long.
const KEPT: Duration = Duration::from_secs(10);

/// A piece of work that tells its end by itself.
type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The threads; they end with it, each after what it is at.
pub(super) struct Workers {
    runtime: Handle,
    yard: Arc<Yard>,
    is_gathering: bool,
}

/// Where work and workers meet.
#[derive(Default)]
struct Yard {
    queue: Mutex<Queue>,
    work: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Work>,
    threads: usize,
    /// Threads that wait, also those that are on their way from there.
    idle: usize,
    /// Somebody was woken or begun, and has not looked yet.
    is_coming: bool,
    is_closed: bool,
}

impl Workers {
    /// Threads that are begun as they are needed. A runtime of one thread does everything on it: so a simulation has one
    /// order of things.
    pub(super) fn new(runtime: Handle) -> Self {
        Self { runtime, yard: Arc::default(), is_gathering: false }
    }

    /// Has it done; never waits.
    pub(super) fn give(&self, work: impl Future<Output = ()> + Send + 'static) {
        if self.runtime.runtime_flavor() == RuntimeFlavor::CurrentThread {
            return drop(self.runtime.spawn(work));
        }
        let mut queue = self.yard.queue();
        queue.waiting.push_back(Box::pin(work));
        if !self.is_gathering || queue.waiting.len() >= MANY {
            self.yard.call(queue, &self.runtime);
        }
    }

    /// From now on more work is to come at once: one wake serves for all of it.
    pub(super) fn gather(&mut self) {
        self.is_gathering = true;
    }

    /// All of it has come.
    pub(super) fn go(&mut self) {
        self.is_gathering = false;
        self.yard.call(self.yard.queue(), &self.runtime);
    }
}

impl Yard {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings one more worker, if there is work and nobody is on the way.
    fn call(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue>, runtime: &Handle) {
        if queue.is_coming || queue.waiting.is_empty() {
            return;
        }
        if queue.idle > 0 {
            queue.is_coming = true;
            drop(queue);
            return self.work.notify_one();
        }
        if queue.threads < MOST {
            queue.is_coming = true;
            queue.threads += 1;
            drop(queue);
            self.begin(runtime);
        }
    }

    fn begin(self: &Arc<Self>, runtime: &Handle) {
        let (yard, with) = (Arc::clone(self), runtime.clone());
        let begun = std::thread::Builder::new().name("quell-step".into()).spawn(move || yard.serve(&with));
        let Err(error) = begun else { return };
        tracing::error!(%error, "no thread can be had for the work of steps");
        let mut queue = self.queue();
        queue.is_coming = false;
        queue.threads -= 1;
        // Rather on the runtime's own threads than never.
        if queue.threads == 0 {
            queue.waiting.drain(..).for_each(|work| drop(runtime.spawn(work)));
        }
    }

    /// A worker's life.
    fn serve(self: &Arc<Self>, runtime: &Handle) {
        let mut queue = self.queue();
        queue.is_coming = false;
        loop {
            while let Some(work) = queue.waiting.pop_front() {
                self.call(queue, runtime);
                // Work answers for its own panics; what is caught here is a runtime that has ended.
                drop(catch_unwind(AssertUnwindSafe(|| runtime.block_on(work))));
                queue = self.queue();
            }
            if queue.is_closed {
                queue.threads -= 1;
                return;
            }
            queue.idle += 1;
            let (woken, waited) = self.work.wait_timeout(queue, KEPT).unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            queue.idle -= 1;
            // Whoever comes has looked, woken or not: a call that met the end of a wait is not lost.
            queue.is_coming = false;
            if waited.timed_out() && queue.waiting.is_empty() {
                queue.threads -= 1;
                return;
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.yard.queue().is_closed = true;
        self.yard.work.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, sync_channel};

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    }

    fn patient<T>(from: &Receiver<T>) -> T {
        from.recv_timeout(Duration::from_secs(30)).unwrap()
    }

    #[test]
    fn nothing_waits_behind_what_blocks() {
        blocks(false);
        blocks(true);
    }

    fn blocks(is_gathered: bool) {
        let runtime = runtime();
        let mut workers = Workers::new(runtime.handle().clone());
        if is_gathered {
            workers.gather();
        }
        let (told, heard) = sync_channel(10_000);
        let gates: Vec<_> = (0..20)
            .map(|at| {
                let (open, gate) = sync_channel::<()>(1);
                let told = told.clone();
                workers.give(async move {
                    told.send(at).unwrap();
                    gate.recv().unwrap();
                    told.send(100 + at).unwrap();
                });
                open
            })
            .collect();
        if is_gathered {
            workers.go();
        }
        let mut begun: Vec<i32> = (0..20).map(|_| patient(&heard)).collect();
        begun.sort_unstable();
        assert_eq!(begun, (0..20).collect::<Vec<_>>(), "all have begun while none has ended");
        gates.iter().for_each(|gate| gate.send(()).unwrap());
        assert!((0..20).map(|_| patient(&heard)).all(|end| end >= 100));
    }

    #[test]
    fn each_is_done_once_by_few() {
        let runtime = runtime();
        let workers = Workers::new(runtime.handle().clone());
        let (told, heard) = sync_channel(10_000);
        for at in 0..10_000 {
            let told = told.clone();
            workers.give(async move { told.send((at, std::thread::current().id())).unwrap() });
        }
        let done: Vec<_> = (0..10_000).map(|_| patient(&heard)).collect();
        let mut numbers: Vec<i32> = done.iter().map(|(at, _)| *at).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..10_000).collect::<Vec<_>>());
        let threads: std::collections::HashSet<_> = done.iter().map(|(_, thread)| *thread).collect();
        assert!(threads.len() < MOST / 4, "{} threads for what never blocks", threads.len());
    }

    #[test]
    fn a_panic_takes_no_worker_along_and_its_threads_end_with_it() {
        let runtime = runtime();
        let workers = Workers::new(runtime.handle().clone());
        let (told, heard) = sync_channel(10_000);
        workers.give(async { panic!("a step's code") });
        workers.give(async move { told.send(()).unwrap() });
        patient(&heard);
        let yard = Arc::clone(&workers.yard);
        drop(workers);
        let patience = crate::clock::Countdown::of(Duration::from_secs(30));
        while yard.queue().threads > 0 {
            assert!(!patience.left().is_zero(), "they have ended");
            std::thread::yield_now();
        }
    }
}
