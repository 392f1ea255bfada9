//! observe, approve, enforce: how far a run may go. The strictest of configuration, playbook and step holds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// How far a run may go; ordered from strict to free.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, JsonSchema, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Plans and journals, touches nothing.
    #[default]
    Observe,
    /// Asks a person before each act.
    Approve,
    /// Acts.
    Enforce,
}

impl Mode {
    /// The stricter of the two.
    #[must_use]
    pub fn strictest(self, other: Self) -> Self {
        self.min(other)
    }

    /// The word as files and people write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Approve => "approve",
            Self::Enforce => "enforce",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "observe" => Ok(Self::Observe),
            "approve" => Ok(Self::Approve),
            "enforce" => Ok(Self::Enforce),
            _ => Err(format!("`{text}` is no mode; expected observe, approve or enforce")),
        }
    }
}
