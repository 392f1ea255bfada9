//! The kernel's hands as a verb knows them: marks that no chain of forks outruns.
//!
//! Owns the trait alone. Who implements it sees every fork in the kernel; who uses it still holds each process by pidfd
//! and ends it by identity: a mark keeps what it cannot reach in time from going on.

use crate::process::ProcessId;
use std::time::Duration;

/// What is known below a marked process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Below {
    /// Those who had not ended, in the order of their births; the process itself is not among them.
    pub living: Vec<ProcessId>,
    /// When the latest of them was born, the dead among them, in nanoseconds on the boot clock; 0 when nobody was.
    pub latest_birth_ns: u64,
}

/// Marks in the kernel: who is marked, and who descends from one who is, dies at its next fork, exec or system call.
pub trait Doom: Send + Sync {
    /// Who descends from this process, dead or alive itself.
    fn below(&self, root: &ProcessId) -> Below;

    /// When the process that has this number began, to the nanosecond; `None` where that is not known. /proc tells ticks of
    /// 10 ms, within which a number can be another's where few are given out.
    fn began(&self, _pid: u32) -> Option<u64> {
        None
    }

    /// Marks it and all below for so long, the lately dead too, and says who was below after that. A lineage is marked
    /// only when the process that exec'ed it is the root or below it, so that a shared parent never dies.
    ///
    /// # Errors
    /// A sentence, when the kernel's hands do not know the process, are paused or have no room: act without them then.
    fn mark(&self, root: &ProcessId, lasting: Duration) -> Result<Below, String>;
}
