//! What was decided when a step was planned, and how it is read again for the act.
//!
//! Keeps true: the act does what the plan's first call says, and nothing else.

use quell_model::{ActionError, Json, Plan};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An action's input as its type.
pub(super) fn input<T: DeserializeOwned>(input: &Json) -> Result<T, ActionError> {
    T::deserialize(input).map_err(|error| ActionError::give_up(format!("the input cannot be read: {error}")))
}

/// What was decided: the plan's first call.
pub(super) fn order<T: DeserializeOwned>(plan: &Plan) -> Result<T, ActionError> {
    let first = plan.calls.first().ok_or_else(|| ActionError::give_up("the plan has no calls"))?;
    T::deserialize(first).map_err(|error| ActionError::give_up(format!("the plan cannot be read: {error}")))
}

/// What stood before.
pub(super) fn before<T: DeserializeOwned>(plan: &Plan) -> Result<T, ActionError> {
    T::deserialize(&plan.before)
        .map_err(|error| ActionError::give_up(format!("what stood before cannot be read: {error}")))
}

/// Of shapes that have string keys only.
pub(super) fn to_json(shape: &impl Serialize) -> Json {
    serde_json::to_value(shape).expect("string keys only")
}
