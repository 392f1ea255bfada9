//! The clocks: the machine's, and one that is moved by hand.
//!
//! Owns the only reading of time and the only sleeps of the engine. Never decides when anything is due.
//! Keeps true: spans and sleeps follow the boot clock, which never steps back and counts the time asleep.

#![expect(clippy::disallowed_methods, reason = "the one place that may read time and sleep")]

use quell_model::{Clock, Stamp};
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The longest single sleep: the runtime's timer stands still while the machine is suspended, the boot clock does not,
/// so a sleeper looks again at least this often.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// The machine's own time: CLOCK_REALTIME for people, CLOCK_BOOTTIME for spans.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

fn boot_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}

#[async_trait::async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Stamp {
        Stamp { wall: jiff::Timestamp::now(), boot_ns: boot_ns() }
    }

    async fn sleep_until(&self, at: Stamp) {
        loop {
            let left = Duration::from_nanos(at.boot_ns.saturating_sub(boot_ns()));
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
        }
    }
}

/// A clock that stands still until it is moved: tests and replays.
///
/// It never goes back: moving it to an earlier moment changes nothing.
#[derive(Debug)]
pub struct SimulatedClock {
    now: watch::Sender<Stamp>,
    /// How many sleep until which moment of the boot clock.
    sleepers: Mutex<BTreeMap<u64, usize>>,
}

impl SimulatedClock {
    /// A clock that shows `start`.
    #[must_use]
    pub fn new(start: Stamp) -> Self {
        Self { now: watch::Sender::new(start), sleepers: Mutex::new(BTreeMap::new()) }
    }

    /// Moves it on; whoever slept until then wakes.
    pub fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now = now.after(by));
    }

    /// Moves it to a moment, on both clocks.
    pub fn set(&self, to: Stamp) {
        self.now.send_if_modified(|now| {
            let later = to.boot_ns > now.boot_ns;
            if later {
                *now = to;
            }
            later
        });
    }

    /// Moves it to the earliest moment that somebody sleeps until; `None` when nobody does.
    pub fn advance_to_next(&self) -> Option<Stamp> {
        let due = *self.sleepers().keys().next()?;
        let now = *self.now.borrow();
        self.advance(Duration::from_nanos(due.saturating_sub(now.boot_ns)));
        Some(*self.now.borrow())
    }

    /// How many sleep on it.
    #[must_use]
    pub fn sleeping(&self) -> usize {
        self.sleepers().values().sum()
    }

    fn sleepers(&self) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts its sleeper for as long as it sleeps, also when the sleep is dropped.
struct Sleeping<'a>(&'a SimulatedClock, u64);

impl<'a> Sleeping<'a> {
    fn new(clock: &'a SimulatedClock, until: u64) -> Self {
        *clock.sleepers().entry(until).or_default() += 1;
        Self(clock, until)
    }
}

impl Drop for Sleeping<'_> {
    fn drop(&mut self) {
        let mut sleepers = self.0.sleepers();
        if let Some(count) = sleepers.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                sleepers.remove(&self.1);
            }
        }
    }
}

#[async_trait::async_trait]
impl Clock for SimulatedClock {
    fn now(&self) -> Stamp {
        *self.now.borrow()
    }

    async fn sleep_until(&self, at: Stamp) {
        let mut watch = self.now.subscribe();
        let _counted = Sleeping::new(self, at.boot_ns);
        watch.wait_for(|now| now.boot_ns >= at.boot_ns).await.expect("the sender lives as long as the clock");
    }
}

/// What is left of a wait that blocks a thread of its own: the journal's writer between two tries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Countdown(Instant);

impl Countdown {
    /// So long from now.
    pub(crate) fn of(wait: Duration) -> Self {
        Self(Instant::now() + wait)
    }

    /// How long still; zero when it is over.
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn start() -> Stamp {
        Stamp { wall: jiff::Timestamp::UNIX_EPOCH, boot_ns: 5 }
    }

    #[test]
    fn the_machine_s_clock_goes_on() {
        let (a, b) = (SystemClock.now(), SystemClock.now());
        assert!(b.boot_ns >= a.boot_ns && a.boot_ns > 0);
        assert!(a.wall > jiff::Timestamp::UNIX_EPOCH);
    }

    #[tokio::test]
    async fn a_past_moment_is_not_slept_for() {
        SystemClock.sleep_until(Stamp { boot_ns: 1, ..start() }).await;
        let soon = SystemClock.now().after(Duration::from_millis(2));
        SystemClock.sleep_until(soon).await;
        assert!(SystemClock.now().boot_ns >= soon.boot_ns);
    }

    #[tokio::test]
    async fn a_simulated_sleep_ends_when_the_clock_is_moved() {
        let clock = Arc::new(SimulatedClock::new(start()));
        let (early, late) = (start().after(Duration::from_secs(1)), start().after(Duration::from_secs(3600)));
        let mut sleeps = tokio::task::JoinSet::new();
        for until in [late, early] {
            let clock = Arc::clone(&clock);
            sleeps.spawn(async move {
                clock.sleep_until(until).await;
                until
            });
        }
        while clock.sleeping() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(clock.advance_to_next(), Some(early));
        assert_eq!(sleeps.join_next().await.unwrap().unwrap(), early);
        clock.set(start());
        assert_eq!(clock.now(), early, "it never goes back");
        clock.set(late);
        assert_eq!(sleeps.join_next().await.unwrap().unwrap(), late);
        assert_eq!(clock.advance_to_next(), None);
    }
}
