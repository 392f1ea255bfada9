//! What was decided when an act was planned, kept as the plan's first call, so that the act needs nothing else.
//!
//! Keeps true: an act does what its plan says, also after a restart; the input is not read again.

use super::cgroup::Group;
use super::scope::{Circle, Scope};
use quell_model::{ActionError, Json, Plan, ProcessId};
use serde::{Deserialize, Serialize};

/// One act on a scope.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The verb's name.
    pub(crate) call: String,
    /// Whom the input named.
    pub(crate) process: ProcessId,
    /// How far.
    pub(crate) scope: Scope,
    /// The first signal, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signal: Option<String>,
    /// How long it has before SIGKILL follows.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) grace_ms: u64,
    /// The cgroup of the scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<Group>,
    /// The session of the scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<u32>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Order {
    pub(crate) fn new(call: &str, process: ProcessId, scope: Scope, circle: &Circle) -> Self {
        Self {
            call: call.to_owned(),
            process,
            scope,
            signal: None,
            grace_ms: 0,
            group: circle.group.clone(),
            session: circle.session,
        }
    }

    /// As the first of a plan's calls.
    pub(crate) fn to_json(&self) -> Json {
        serde_json::to_value(self).expect("an order has string keys only")
    }

    /// From an admitted or journaled plan.
    pub(crate) fn of(plan: &Plan) -> Result<Self, ActionError> {
        let first = plan.calls.first().ok_or_else(|| ActionError::give_up("the plan has no calls"))?;
        Self::deserialize(first).map_err(|error| ActionError::give_up(format!("the plan cannot be read: {error}")))
    }
}
