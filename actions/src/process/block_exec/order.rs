//! What a plan of `process.block_exec` writes down for its run, its proof and its undo.
//!
//! Keeps true: it reads what an earlier quell wrote; a field that came later has a value without it.

use quell_model::{ActionError, Image, Plan, Spot, Standing};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What was decided when it was planned: the plan's first call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) call: String,
    /// The file as people know it.
    pub(super) path: String,
    /// Where it was opened.
    pub(super) open: PathBuf,
    /// The kernel's exec meets its interpreter.
    #[serde(default)]
    pub(super) script: bool,
    pub(super) spots: Vec<Spot>,
    pub(super) for_ms: u64,
    /// Its input says for how long; else its lease does, and `for_ms` is only until the lease is there.
    #[serde(default)]
    pub(super) ends: bool,
    pub(super) most: u32,
}

impl Order {
    pub(super) fn of(plan: &Plan) -> Result<Self, ActionError> {
        let first = plan.calls.first().ok_or_else(|| ActionError::give_up("the plan has no calls"))?;
        Self::deserialize(first).map_err(|error| ActionError::give_up(format!("the plan cannot be read: {error}")))
    }
}

/// What stood before: what undo gives back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Before {
    pub(super) image: Image,
    pub(super) sha256: String,
    pub(super) stood: Vec<Standing>,
}

impl Before {
    pub(super) fn of(plan: &Plan) -> Result<Self, ActionError> {
        Self::deserialize(&plan.before)
            .map_err(|error| ActionError::give_up(format!("what stood before cannot be read: {error}")))
    }

    pub(super) fn at(&self, spot: &Spot) -> Option<&Standing> {
        self.stood.iter().find(|standing| standing.spot == *spot)
    }
}
