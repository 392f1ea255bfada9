//! The bodies of records about what starts playbooks by itself.
//!
//! Owns their shapes, as `record` does for all others.

use crate::hash::Hash;
use crate::ids::Name;
use crate::playbook::Schedule;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// See [`Kind::ScheduleSet`](super::Kind::ScheduleSet).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ScheduleSet {
    /// Of which playbook.
    pub playbook: Name,
    /// From now on; none: it has none any more.
    pub schedule: Option<Schedule>,
}

/// See [`Kind::ScheduleMissed`](super::Kind::ScheduleMissed).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ScheduleMissed {
    /// Of which playbook.
    pub playbook: Name,
    /// The first moment that started no run.
    pub first: Timestamp,
    /// The last one.
    pub last: Timestamp,
    /// Why, for people.
    pub why: String,
}

/// See [`Kind::PlaybookSeen`](super::Kind::PlaybookSeen).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PlaybookSeen {
    /// Which playbook.
    pub playbook: Name,
    /// The sum of its text.
    pub hash: Hash,
}
