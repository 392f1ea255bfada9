//! What a start waits for, said in the log for as long as it does: the socket is not there yet, so that nobody can ask.
//!
//! Owns when it is said, and never how the work goes: it cannot be hurried or left. Keeps true: a start that is quick says nothing.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// A start takes a second, on a bad day some; after so long it is said for the first time, and then each time after twice as long.
const FIRST: Duration = Duration::from_secs(5);
/// But this often at the least.
const LEAST: Duration = Duration::from_secs(300);

/// Does `work`, and says that it waits for `what` while it takes long.
pub(super) fn said<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let tell = |waited: Duration| {
        tracing::warn!(
            waited_s = waited.as_secs(),
            "still starting: {what}; its disk is slow or hangs, or there is much to read. Nothing is watched and nobody can ask until then"
        );
    };
    said_by(FIRST, tell, work)
}

fn said_by<T>(first: Duration, tell: impl Fn(Duration) + Send, work: impl FnOnce() -> T) -> T {
    let (done, ended) = channel::<()>();
    std::thread::scope(|threads| {
        let teller = move || {
            let (mut waited, mut pause) = (Duration::ZERO, first);
            while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                waited += pause;
                tell(waited);
                pause = waited.min(LEAST);
            }
        };
        // Without it the start is as good, and silent.
        if let Err(error) = std::thread::Builder::new().name("quell-start".into()).spawn_scoped(threads, teller) {
            tracing::debug!(%error, "what the start waits for is not said");
        }
        let _done = done;
        work()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_said_again_and_again_and_what_does_not_is_not() {
        let (tell, told) = channel();
        let work = || (0..3).map(|_| told.recv_timeout(Duration::from_secs(30)).unwrap()).collect::<Vec<_>>();
        let waited = said_by(Duration::from_millis(1), move |waited| tell.send(waited).unwrap_or_default(), work);
        assert_eq!(waited, [1, 2, 4].map(Duration::from_millis));
        let quick = said_by(Duration::from_secs(3600), |_| panic!("nobody waited"), || 7);
        assert_eq!(quick, 7);
    }

    #[test]
    fn work_that_panics_leaves_nobody_who_says_on_that_it_waits() {
        let died = std::panic::catch_unwind(|| said_by(Duration::from_secs(3600), |_| (), || panic!("it does")));
        assert!(died.is_err());
    }
}
