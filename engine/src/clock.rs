//! The clocks: the machine's, and one that is moved by hand.
//!
//! Owns the only reading of time and the only sleeps of the engine. Never decides when anything is due.
//! Keeps true: spans and sleeps follow the boot clock, which never steps back and counts the time asleep.

#![expect(clippy::disallowed_methods, reason = "the one place that may read time and sleep")]

use quell_model::{Clock, Stamp};
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

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
/// It never goes back: moving it to an earlier moment changes nothing. Who sleeps on it wakes in the order of the moments,
/// and of one moment in the order in which they began to sleep.
#[derive(Debug)]
pub struct SimulatedClock(Mutex<Hands>);

#[derive(Debug)]
struct Hands {
    now: Stamp,
    /// Who sleeps until which moment of the boot clock, with the number of the sleep.
    sleepers: BTreeMap<(u64, u64), Option<Waker>>,
    /// The number of the next sleep.
    next: u64,
}

impl SimulatedClock {
    /// A clock that shows `start`.
    #[must_use]
    pub fn new(start: Stamp) -> Self {
        Self(Mutex::new(Hands { now: start, sleepers: BTreeMap::new(), next: 0 }))
    }

    /// Moves it on; whoever slept until then wakes.
    pub fn advance(&self, by: Duration) {
        let to = self.hands().now.after(by);
        self.set(to);
    }

    /// Moves it to a moment, on both clocks.
    pub fn set(&self, to: Stamp) {
        let mut hands = self.hands();
        if to.boot_ns <= hands.now.boot_ns {
            return;
        }
        hands.now = to;
        let due = hands.sleepers.range_mut(..=(to.boot_ns, u64::MAX)).filter_map(|(_, waker)| waker.take());
        let due: Vec<Waker> = due.collect();
        drop(hands);
        due.into_iter().for_each(Waker::wake);
    }

    /// Moves it to the earliest moment that somebody sleeps until; `None` when nobody does.
    pub fn advance_to_next(&self) -> Option<Stamp> {
        let (due, now) = {
            let hands = self.hands();
            (hands.sleepers.keys().next()?.0, hands.now)
        };
        self.advance(Duration::from_nanos(due.saturating_sub(now.boot_ns)));
        Some(self.now())
    }

    /// How many sleep on it.
    #[must_use]
    pub fn sleeping(&self) -> usize {
        self.hands().sleepers.len()
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sleep; also one that is dropped ends.
struct Sleep<'a> {
    clock: &'a SimulatedClock,
    place: (u64, u64),
}

impl<'a> Sleep<'a> {
    fn new(clock: &'a SimulatedClock, until: u64) -> Self {
        let mut hands = clock.hands();
        let place = (until, hands.next);
        hands.next += 1;
        hands.sleepers.insert(place, None);
        drop(hands);
        Self { clock, place }
    }
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut hands = self.clock.hands();
        if hands.now.boot_ns >= self.place.0 {
            return Poll::Ready(());
        }
        hands.sleepers.insert(self.place, Some(context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        self.clock.hands().sleepers.remove(&self.place);
    }
}

#[async_trait::async_trait]
impl Clock for SimulatedClock {
    fn now(&self) -> Stamp {
        self.hands().now
    }

    async fn sleep_until(&self, at: Stamp) {
        Sleep::new(self, at.boot_ns).await;
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
