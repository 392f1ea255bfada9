//! The bodies of records about what starts playbooks by itself.
//!
//! Owns their shapes, as `record` does for all others.

use crate::detection::Level;
use crate::hash::Hash;
use crate::ids::{Name, Seq};
use crate::playbook::{IncidentMoment, Schedule};
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

/// The moment of an incident that started a run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct IncidentCame {
    /// What the incident did.
    pub moment: IncidentMoment,
    /// The number of the record of it, in the incident's stream.
    pub record: Seq,
    /// The highest level so far.
    pub level: Level,
    /// Who did it; none: a detection did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Name>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}
