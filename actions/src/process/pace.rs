//! The pace of what others can make long: a walk through cgroups, through who is in them, or through /proc.
//!
//! Owns its bounds. Keeps true: on the engine's thread, which polls a verb first, it goes on for a moment only, and then beside that (what is
//! pending is moved to the runtime); past its bounds it is given up, and what was not looked at is not told as looked at.

use quell_model::ActionError;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// From one pause to the next.
const TURN: Duration = Duration::from_millis(10);
/// In all: a verb's own `timeout` is longer.
const LONGEST: Duration = Duration::from_secs(5);
/// Of what is looked at: cgroups, and processes in them. A node with 250 pods has some 2,000 of the former.
const MOST: u32 = 100_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Pace {
    begun: Instant,
    turn: Instant,
    longest: Duration,
    most: u32,
    steps: u32,
}

/// It went on for too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Over {
    /// What was looked at by then.
    steps: u32,
    after: Duration,
}

impl Pace {
    /// From now on.
    pub(crate) fn begin() -> Self {
        Self::no_longer_than(LONGEST)
    }

    /// The same for at most so long.
    pub(crate) fn no_longer_than(longest: Duration) -> Self {
        let now = Instant::now();
        Self { begun: now, turn: now, longest, most: MOST, steps: 0 }
    }

    /// The same for at most so many.
    #[cfg(test)]
    pub(crate) fn of_steps(most: u32) -> Self {
        Self { most, ..Self::begin() }
    }

    /// Another walk of the same act: its bounds begin anew, and not its turn.
    pub(crate) fn again(&mut self) {
        (self.begun, self.steps) = (Instant::now(), 0);
    }

    /// Goes on beside the engine's thread: what follows may take long at once.
    pub(crate) async fn beside(&mut self) {
        tokio::task::yield_now().await;
        self.turn = Instant::now();
    }

    /// Before each thing that is looked at.
    pub(crate) async fn step(&mut self) -> Result<(), Over> {
        self.steps += 1;
        let now = Instant::now();
        let after = now - self.begun;
        if self.steps > self.most || after > self.longest {
            return Err(Over { steps: self.steps - 1, after });
        }
        if now - self.turn > TURN {
            self.beside().await;
        }
        Ok(())
    }
}

/// Runs it to its end on this thread, which is its own: what makes room for others there has none to make it for.
pub(crate) fn on_own_thread<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::yield_now(),
        }
    }
}

impl Over {
    /// The same of who is in a scope.
    pub(crate) fn of_scope(self) -> ActionError {
        let by_hand =
            "its cgroup ends or stands still by hand: write 1 to its `cgroup.kill`, or to its `cgroup.freeze`";
        self.of("what is in the scope", by_hand)
    }

    /// As an error of what was `looked` through: nothing was found out, and nothing done.
    pub(crate) fn of(self, looked: &str, hint: &str) -> ActionError {
        let (steps, ms) = (self.steps, self.after.as_millis());
        ActionError::GiveUp {
            why: format!("{looked} is more than is looked through: {steps} cgroups and processes were, in {ms} ms"),
            hint: Some(hint.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn polls<T>(future: impl Future<Output = T>) -> (u32, T) {
        let (mut future, mut polls) = (pin!(future), 0);
        loop {
            polls += 1;
            if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return (polls, done);
            }
        }
    }

    #[test]
    fn what_is_short_is_ready_at_once_and_what_is_long_makes_room() {
        let few = async |count: u32, pace: &mut Pace| {
            for _ in 0..count {
                pace.step().await?;
            }
            Ok::<(), Over>(())
        };
        let mut pace = Pace::begin();
        assert_eq!(polls(few(5, &mut pace)), (1, Ok(())));
        pace.turn -= TURN * 2;
        assert_eq!(polls(few(5, &mut pace)), (2, Ok(())));
        let over = polls(few(MOST, &mut pace)).1.unwrap_err();
        assert_eq!(over.steps, MOST);
        let mut pace = Pace::begin();
        pace.begun -= LONGEST * 2;
        let (_, over) = polls(few(1, &mut pace));
        let error = over.unwrap_err().of("the tree of cgroups", "name one").to_string();
        assert!(error.starts_with("the tree of cgroups is more than is looked through: 0 cgroups"), "{error}");
        pace.again();
        pace.turn -= TURN * 2;
        assert_eq!(polls(few(5, &mut pace)), (2, Ok(())), "another walk of the same turn");
    }
}
