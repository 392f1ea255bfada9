//! Where a test lets this engine die: by SIGKILL, at the write that it names. Debug builds only; a release has no such place.
//!
//! `QUELL_DIE_AT=before:N` or `after:N`: the N-th write, from 1, that this process makes to a run's, an incident's or a
//! ladder's stream. (What else goes on in the machine writes to the system's stream, of losses, or by the clock, and is not counted.) *Before* is the moment
//! at which all earlier acts are done and the record is not there; *after* is the moment at which the record is there and
//! nothing has followed from it. Both are exact: the slate's lock is held.
//! `within:N`: after the N-th statement that prunes or brings what lies apart from its record, or the N-th blob that goes.

use super::item::{Item, Part};
use quell_model::Kind;
use rustix::process::{Signal, getpid, kill_process};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// On which side of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    /// Numbered, and nowhere yet.
    Before,
    /// On the slate or in the queue.
    After,
    /// In the midst of a transaction that prunes, or of what follows it.
    Within,
}

/// Dies here, if this is the place.
pub(super) fn point(side: Side, item: &Item) {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    #[cfg(test)]
    super::by_hand::point(side);
    let Some((wanted, at)) = planned() else { return };
    let counts = |part: &Part| {
        let stream = &part.stream;
        let own = stream.as_run().is_some() || stream.as_incident().is_some() || stream.as_ladder().is_some();
        own && part.lines.iter().any(|line| !matches!(line.kind, Kind::LossSeen | Kind::RecorderPinned))
    };
    if !item.filled().any(counts) {
        return;
    }
    let count = match side {
        Side::Before => WRITES.fetch_add(1, Ordering::Relaxed) + 1,
        Side::After | Side::Within => WRITES.load(Ordering::Relaxed),
    };
    if side == wanted && count == at {
        die();
    }
}

/// A statement that prunes, or brings what lies apart, was carried out: dies here, if this is the place.
pub(super) fn within() {
    static STATEMENTS: AtomicU64 = AtomicU64::new(0);
    let Some((Side::Within, at)) = planned() else { return };
    if STATEMENTS.fetch_add(1, Ordering::Relaxed) + 1 == at {
        die();
    }
}

fn die() {
    // Nothing of this thread runs after it.
    kill_process(getpid(), Signal::KILL).expect("a process may end itself");
}

fn planned() -> Option<(Side, u64)> {
    static PLAN: OnceLock<Option<(Side, u64)>> = OnceLock::new();
    *PLAN.get_or_init(plan)
}

fn plan() -> Option<(Side, u64)> {
    #[expect(clippy::disallowed_methods, reason = "for tests, and in debug builds only: no key of the configuration")]
    let text = std::env::var("QUELL_DIE_AT").ok()?;
    read(&text)
}

fn read(text: &str) -> Option<(Side, u64)> {
    let (side, at) = text.split_once(':')?;
    let side = match side {
        "before" => Side::Before,
        "after" => Side::After,
        "within" => Side::Within,
        _ => return None,
    };
    Some((side, at.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_a_side_and_a_number() {
        assert_eq!(read("before:3"), Some((Side::Before, 3)));
        assert_eq!(read("after:1"), Some((Side::After, 1)));
        assert_eq!(read("within:2"), Some((Side::Within, 2)));
        assert_eq!((read("3"), read("at:3"), read("after:x")), (None, None, None));
    }
}
