//! What starts a playbook besides detections.
//!
//! Owns the shapes, as they are written and as the journal keeps them. Whether a moment has come is the trigger's.

use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// Moments of a calendar: `{ cron: "0 6 * * mon", time_zone: Europe/Berlin }`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Schedule {
    /// Minute, hour, day of the month, month, day of the week.
    pub cron: String,
    /// As the IANA names it.
    pub time_zone: String,
}

/// A moment of an incident.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum IncidentMoment {
    /// It began. One that is opened again after its end has begun before.
    Opened,
    /// Somebody said that they look after it.
    Acknowledged,
    /// Somebody ended it.
    Resolved,
}

impl IncidentMoment {
    /// The word as files and people write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
}

impl fmt::Display for IncidentMoment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
