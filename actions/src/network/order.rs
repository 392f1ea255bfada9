//! What a plan of a cut writes down for its run, its proof and its undo.
//!
//! Keeps true: it reads what an earlier quell wrote; a field that came later has a value without it.

use quell_model::{ActionError, CutRule, Plan, ProcessId};
use serde::{Deserialize, Serialize};

/// What was decided when it was planned: the plan's first call.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) call: String,
    /// The cgroup's path below the v2 hierarchy's root; `/`: the whole host.
    pub(super) cgroup: String,
    /// Its directory's inode, where it is there already.
    #[serde(default)]
    pub(super) number: Option<u64>,
    /// These have no cgroup of their own, and are brought into that one first.
    #[serde(default)]
    pub(super) moves: Option<Moves>,
    pub(super) rule: CutRule,
    pub(super) for_ms: u64,
    /// Its input says for how long; else its lease does, and `for_ms` is only until the lease is there.
    #[serde(default)]
    pub(super) ends: bool,
}

/// Who is brought into a cgroup of their own.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Moves {
    /// Whose tree, or whose container.
    pub(super) process: ProcessId,
    /// `tree` or `container`: who belongs to it.
    pub(super) scope: crate::process::Scope,
    /// Where the named one is now, below the v2 hierarchy's root: below it their cgroup is made. Undo brings each back to where it was.
    pub(super) from: String,
}

impl Order {
    pub(super) fn of(plan: &Plan) -> Result<Self, ActionError> {
        let first = plan.calls.first().ok_or_else(|| ActionError::give_up("the plan has no calls"))?;
        Self::deserialize(first).map_err(|error| ActionError::give_up(format!("the plan cannot be read: {error}")))
    }
}
