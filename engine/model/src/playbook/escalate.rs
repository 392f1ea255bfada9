//! A step that moves the ladder of its run's incident.

use crate::ids::Name;
use serde::Serialize;

/// Where the one ladder of an incident is moved: at least one of both is there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Escalate {
    /// To this policy; none: it stays with its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Name>,
    /// Up to this step of it, from 1, with all that nobody was told of before; none: to its first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
}
