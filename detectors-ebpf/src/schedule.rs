//! The sensor thread's place in the queue: SCHED_FIFO where the kernel allows, else as everybody.
//!
//! A thread that goes before all others must not run for long: when it has used more than [`SHARE`] of a second, it
//! stands back with the rest until it has used less.
#![allow(unsafe_code, reason = "scheduling classes have no safe wrapper")]

use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::time::Duration;

/// Low among real-time priorities: above all ordinary work, below what an administrator has put first.
const PRIORITY: i32 = 10;
/// Of each second at most this before all others.
pub(crate) const SHARE: Duration = Duration::from_millis(400);
const WINDOW_NS: u64 = 1_000_000_000;
/// Between two looks at the thread's own clock, which is a system call.
const LOOK_NS: u64 = 10_000_000;

fn set(policy: i32, priority: i32) -> Result<(), String> {
    // SAFETY: an all-zero sched_param is valid: it holds integers only.
    let mut param: libc::sched_param = unsafe { std::mem::zeroed() };
    param.sched_priority = priority;
    // SAFETY: pid 0 is the calling thread; `param` lives through the call, which only reads it.
    let done = unsafe { libc::sched_setscheduler(0, policy, &raw const param) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error().to_string()) }
}

/// Makes the calling thread SCHED_FIFO; what it forks is not.
pub(crate) fn be_first() -> Result<(), String> {
    set(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, PRIORITY)
}

/// Tries it on a thread of its own.
pub(crate) fn may_be_first() -> Result<(), String> {
    let tried = std::thread::Builder::new().name("quell-doctor".into()).spawn(be_first).map_err(|e| e.to_string())?;
    tried.join().unwrap_or_else(|_| Err("the trial thread died".to_owned()))
}

/// How long this thread has run.
pub(crate) fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Which way to step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Stay,
    Back,
    Forward,
}

/// Keeps the thread's share.
#[derive(Debug)]
pub(crate) struct Pace {
    may: bool,
    back: bool,
    since_ns: u64,
    looked_ns: u64,
    used_before: Duration,
}

impl Pace {
    /// Of a thread that is first now, if it may be.
    pub(crate) fn new(may: bool) -> Self {
        Self { may, back: false, since_ns: 0, looked_ns: 0, used_before: Duration::ZERO }
    }

    /// Looks at the clock; called on the thread itself, often.
    pub(crate) fn keep(&mut self, now_ns: u64) {
        if !self.may || now_ns.saturating_sub(self.looked_ns) < LOOK_NS {
            return;
        }
        self.looked_ns = now_ns;
        let done = match self.step(now_ns, thread_time()) {
            Step::Stay => return,
            Step::Back => set(libc::SCHED_OTHER | libc::SCHED_RESET_ON_FORK, 0),
            Step::Forward => be_first(),
        };
        if let Err(why) = done {
            tracing::warn!(why, "the sensor's thread stays where it is in the queue");
            self.may = false;
        }
    }

    fn step(&mut self, now_ns: u64, used: Duration) -> Step {
        let spent = used.saturating_sub(self.used_before);
        let over = spent > SHARE;
        let ended = now_ns.saturating_sub(self.since_ns) >= WINDOW_NS;
        if ended {
            (self.since_ns, self.used_before) = (now_ns, used);
        }
        if over && !self.back {
            self.back = true;
            return Step::Back;
        }
        if ended && !over && self.back {
            self.back = false;
            return Step::Forward;
        }
        Step::Stay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_runs_long_stands_back_until_it_runs_less() {
        let ms = Duration::from_millis;
        let mut pace = Pace::new(true);
        assert_eq!(pace.step(WINDOW_NS, ms(100)), Step::Stay);
        assert_eq!(pace.step(WINDOW_NS + 500_000_000, ms(501)), Step::Back);
        assert_eq!(pace.step(WINDOW_NS + 600_000_000, ms(600)), Step::Stay);
        assert_eq!(pace.step(2 * WINDOW_NS, ms(700)), Step::Stay, "that second was too much as a whole");
        assert_eq!(pace.step(3 * WINDOW_NS, ms(1_050)), Step::Forward);
    }
}
