//! The bodies of records about runs that a step of another run starts.
//!
//! Owns their shapes, as `record` does for all others.

use super::Part;
use crate::Json;
use crate::hash::Hash;
use crate::ids::{Name, RunId};
use crate::mode::Mode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The part of a run that another run was started by.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ParentRun {
    /// The run.
    pub run: RunId,
    /// Its part.
    pub part: Part,
    /// How deep the started one lies: 1 below a run that no other has started.
    pub depth: u32,
    /// Nothing of the part waits for its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detached: bool,
}

/// See [`Kind::SubRunStarted`](super::Kind::SubRunStarted). All that the run is started with and does not take from its parent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SubRunStarted {
    /// By which part.
    pub part: Part,
    /// Which run.
    pub run: RunId,
    /// Of which playbook.
    pub playbook: Name,
    /// The sum of its text at that moment.
    pub definition: Hash,
    /// How far it may go.
    pub mode: Mode,
    /// What made the mode what it is, for people.
    pub mode_because: String,
    /// Its inputs.
    pub inputs: Json,
    /// Nothing of the part waits for its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detached: bool,
}
