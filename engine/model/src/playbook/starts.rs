//! What starts a playbook besides detections.
//!
//! Owns the shapes, as they are written and as the journal keeps them. Whether a moment has come is the trigger's.

use serde::{Deserialize, Serialize};

/// Moments of a calendar: `{ cron: "0 6 * * mon", time_zone: Europe/Berlin }`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Schedule {
    /// Minute, hour, day of the month, month, day of the week.
    pub cron: String,
    /// As the IANA names it.
    pub time_zone: String,
}
