//! What the kernel struck or dropped by itself, where a verb had entered it.
//!
//! Keeps true: a record names its ledger and the line that its reading came to, so that the journal says itself what it has.

use crate::ids::{Name, RunId};
use serde::{Deserialize, Serialize};

/// One process that the kernel struck.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Struck {
    /// Its number.
    pub pid: u32,
    /// When it began, in nanoseconds on the boot clock.
    pub start_ns: u64,
    /// Its parent's number.
    pub parent: u32,
    /// Its user.
    pub uid: u32,
    /// When it was struck, in nanoseconds on the boot clock.
    pub boot_ns: u64,
    /// What its exec asked for.
    pub asked: String,
}

/// See [`super::Kind::ReflexFired`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ReflexFired {
    /// The action that entered it.
    pub action: Name,
    /// Its number in the kernel, in hex.
    pub reflex: String,
    /// What may not start; of a cut its cgroup.
    pub image: String,
    /// How many it struck since the last such record; of a cut, packets and calls that it dropped.
    pub count: u64,
    /// Some of them, the first ones.
    pub struck: Vec<Struck>,
    /// Its budget is used up: it strikes no more.
    pub spent: bool,
    /// While no quell was there to see it.
    pub unattended: bool,
    /// The run that entered it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Execs that went on, because the kernel could not send its signal.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missed: u64,
    /// Which ledger it was read from: when that was begun, in nanoseconds since 1970. Of a cut: its number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ledger: u64,
    /// The last line of the ledger that was read with it: what comes up to it is in the journal. Of a cut: how
    /// many it had dropped in all by then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub through: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
