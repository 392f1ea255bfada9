//! The bodies of an incident's own records.
//!
//! Owns their shapes, as `record` does for all others.

use crate::detection::Level;
use crate::event::Entity;
use crate::hash::Hash;
use crate::ids::{IncidentId, Name, RunId};
use crate::time::Stamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// See [`Kind::IncidentOpened`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct IncidentOpened {
    /// Which incident.
    pub incident: IncidentId,
    /// What it is about.
    pub entity: Entity,
    /// The first rule's title.
    pub title: String,
    /// How bad.
    pub level: Level,
    /// It is about what a source held before it was first followed: nobody is told of it, and nothing that happens now joins it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backfill: bool,
}

/// See [`Kind::IncidentJoined`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct IncidentJoined {
    /// The detection that joined, if one did.
    pub detection: Option<Hash>,
    /// The run that joined, if one did.
    pub run: Option<RunId>,
    /// The level that it brought.
    pub level: Level,
    /// Set when the same rule on the same subject only counts up: how many so far.
    #[serde(default)]
    pub count: u64,
}

/// Where an incident stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum IncidentState {
    /// Nobody has ended it, and nobody said that they look after it.
    Open,
    /// Somebody looks after it. No [`IncidentChanged`] says so: [`AcknowledgementChanged`] does.
    Acknowledged,
    /// Somebody has ended it.
    Resolved,
}

impl IncidentState {
    /// The word as people read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
}

/// See [`Kind::IncidentChanged`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct IncidentChanged {
    /// The new state.
    pub state: IncidentState,
    /// Who changed it; `quell` when a detection reopened it.
    pub by: Name,
    /// Why.
    pub why: String,
    /// What it was, if they say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Which way they said so, where it is known: `socket`, `token`, `email`, `slack`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Name>,
}

impl IncidentChanged {
    /// Without a verdict.
    #[must_use]
    pub fn to(state: IncidentState, by: Name, why: String) -> Self {
        Self { state, by, why, verdict: None, via: None }
    }

    /// The same, said by this way.
    #[must_use]
    pub fn by_way(self, via: Name) -> Self {
        Self { via: Some(via), ..self }
    }
}

/// What an incident was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No attack: what was done about it was taken back.
    FalsePositive,
}

/// See [`Kind::AcknowledgementChanged`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AcknowledgementChanged {
    /// Somebody looks after it, or no longer.
    pub acknowledged: bool,
    /// Who said so.
    pub by: Name,
    /// Which way they said it: `socket`, `token`.
    pub via: Name,
    /// Why, for people; may be empty.
    pub why: String,
}

/// See [`Kind::NoteAdded`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NoteAdded {
    /// Who wrote it; a run's id for a `tell`.
    pub by: Name,
    /// The line.
    pub text: String,
}

/// See [`Kind::RecorderPinned`]. A later one holds instead of an earlier one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct RecorderPinned {
    /// From ten minutes before the incident.
    pub from: Stamp,
    /// Up to here.
    pub to: Stamp,
    /// How many events of its process tree.
    pub events: u64,
    /// What they take.
    pub bytes: u64,
    /// How many events of that time, whosever, the recorder had to drop; the rules saw them.
    pub lost: u64,
    /// How many of its events had no room in the pin.
    pub left_out: u64,
    /// How much of that time nothing, or not everything, was recorded.
    pub unrecorded_ms: u64,
    /// Not kept any longer: newer ones needed the room.
    pub let_go: bool,
}
