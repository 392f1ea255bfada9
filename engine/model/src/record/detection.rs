//! The bodies of records about detections, and about what playbooks made of them and of moments of incidents.
//!
//! Owns their shapes, as `record` does for all others.

use crate::Json;
use crate::detection::Detection;
use crate::hash::Hash;
use crate::ids::{Name, RunId, Seq};
use crate::playbook::IncidentMoment;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What one playbook decided about one detection, or about a moment of an incident.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Decided {
    /// Which playbook.
    pub playbook: Name,
    /// What it decided.
    pub decision: TriggerDecision,
    /// Why, for people.
    pub why: String,
    /// The run that started or was joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}

/// What a playbook makes of a detection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TriggerDecision {
    /// A run started.
    Started,
    /// An open run took it.
    Joined,
    /// Rules, tags or level do not fit; or it does not wait for this moment.
    NotMine,
    /// Its `if` was false.
    IfFalse,
    /// Wanted, and held back by a limit, its age or its source.
    Held,
}

/// See [`super::Kind::DetectionAccepted`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DetectionAccepted {
    /// The detection, whole.
    pub detection: Detection,
    /// What every playbook decided.
    pub decided: Vec<Decided>,
    /// It is one of those that the next count includes: kept whole for what it started.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counted_later: bool,
}

/// See [`super::Kind::DetectionHeld`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DetectionHeld {
    /// Which detection.
    pub detection: Hash,
    /// Which rule.
    pub rule: Name,
    /// Which playbook, if one.
    pub playbook: Option<Name>,
    /// Why, for people.
    pub reason: String,
}

/// See [`super::Kind::DetectionJoined`]. In the run's stream.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DetectionJoined {
    /// As `detections` in expressions has it.
    pub detection: Json,
    /// Of its event what answers are compared with.
    pub event: Json,
}

/// See [`super::Kind::MomentDecided`]. Written with the record of the moment.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MomentDecided {
    /// What the incident did.
    pub moment: IncidentMoment,
    /// The number of the record of it, in the incident's stream.
    pub record: Seq,
    /// What every playbook decided that waits for moments of incidents.
    pub decided: Vec<Decided>,
}
