//! How a step ended. No action that was ignored or failed is ever told as success.

use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// How a step ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The world was asked afterwards and it is so.
    Verified,
    /// It could not be asked.
    Done,
    /// It was so before.
    Already,
    /// Observe mode.
    Planned,
    /// Its `if` was false.
    Skipped,
    /// A need failed.
    Blocked,
    /// A person or a timeout said no.
    Denied,
    /// A guard said no, by name.
    Refused,
    /// It did not work.
    Failed,
    /// The run ended before it.
    Cancelled,
    /// Taken back.
    Undone,
    /// Taking it back failed.
    Stuck,
}

impl Outcome {
    /// Whether a step that needs this one may go on without `on_failure: continue`.
    #[must_use]
    pub fn is_met(self) -> bool {
        matches!(self, Self::Verified | Self::Done | Self::Already | Self::Planned | Self::Skipped)
    }

    /// Whether the step's outputs can be read by later ones.
    #[must_use]
    pub fn has_outputs(self) -> bool {
        matches!(self, Self::Verified | Self::Done | Self::Already | Self::Planned)
    }

    /// The word as people read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Done => "done",
            Self::Already => "already",
            Self::Planned => "planned",
            Self::Skipped => "skipped",
            Self::Blocked => "blocked",
            Self::Denied => "denied",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Undone => "undone",
            Self::Stuck => "stuck",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
