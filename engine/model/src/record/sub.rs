//! The bodies of records about runs that a step of another run starts.
//!
//! Owns their shapes, as `record` does for all others, and who wanted a run, whichever way it began.

use super::{Part, RunStarted};
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
    /// Who wanted the runs above, when this one began: they may have ended before it asks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wanted_by: Vec<Name>,
    /// Who was asked in them by then whether it was them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suspects: Vec<Name>,
}

impl RunStarted {
    /// Who wanted it: whoever started it, or made the incident do what it answers; and who wanted those above it.
    pub fn requesters(&self) -> impl Iterator<Item = &Name> {
        let above = self.parent.iter().flat_map(|parent| &parent.wanted_by);
        self.by.iter().chain(self.came.as_ref().and_then(|came| came.by.as_ref())).chain(above)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_of_people_reads_and_writes_as_before() {
        let text = r#"{"run":"r-1","part":{"step":"sub"},"depth":1}"#;
        let parent: ParentRun = serde_json::from_str(text).expect("it is of an earlier format");
        assert_eq!((parent.wanted_by.len(), parent.suspects.len()), (0, 0));
        assert_eq!(serde_json::to_string(&parent).expect("its keys are text"), text);
        let wanted = ParentRun { wanted_by: ["ana".into()].into(), suspects: ["bo".into()].into(), ..parent };
        let text = r#"{"run":"r-1","part":{"step":"sub"},"depth":1,"wanted_by":["ana"],"suspects":["bo"]}"#;
        assert_eq!(serde_json::to_string(&wanted).expect("its keys are text"), text);
    }
}
