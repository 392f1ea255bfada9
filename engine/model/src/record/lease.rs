//! Containments that stand, and their taking back.
//!
//! Keeps true: what was granted ends by exactly one record, which says how: taken back, lapsed, or ended.

use crate::Json;
use crate::action::Plan;
use crate::ids::{IncidentId, Name, RunId};
use crate::outcome::Outcome;
use crate::playbook::AtEnd;
use crate::time::Stamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use utoipa::ToSchema;

use super::Part;

/// Whose a containment is: who says whether it stands on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// A person who started it by hand, or who has kept it since.
    Person(Name),
    /// The playbook that did it by itself.
    Playbook(Name),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(name) => write!(f, "{name}"),
            Self::Playbook(name) => write!(f, "playbook {name}"),
        }
    }
}

/// See [`super::Kind::LeaseGranted`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LeaseGranted {
    /// The run whose step contained.
    pub run: RunId,
    /// The step.
    pub part: Part,
    /// By which action.
    pub action: Name,
    /// Whose it is; none in what an earlier quell wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// How long it is meant to stand.
    pub lasts: Duration,
    /// What happens then.
    pub at_end: AtEnd,
    /// It ends by itself then, as its input says, and nobody is asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_end: bool,
    /// The incident that the run belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
    /// The rule and the entity whose attack it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<(Name, Name)>,
}

/// See [`super::Kind::LeaseChanged`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LeaseChanged {
    /// The run whose step contained.
    pub run: RunId,
    /// The step.
    pub part: Part,
    /// By which action.
    pub action: Name,
    /// `kept`: it stands for so long from now, or without an end; `needed`: what it answered has happened again; `due`: its end
    /// has come, and a person has to say; `returning`: about to be in force again; `renewed`: in force again, to its end as it was
    /// where none is named; `lapsed`: it stands no longer; `ended`: it was taken back.
    pub state: Name,
    /// Why, for people.
    pub why: String,
    /// How long it is meant to stand from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Duration>,
    /// Whose it is from now on, where that changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// What it stands by from now on, where that is another plan than before: what is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Box<Plan>>,
    /// Which way they said so, where it is known: `socket`, `token`, `email`, `slack`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Name>,
}

/// See [`super::Kind::UndoBegan`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct UndoBegan {
    /// Only this step, or this item of one; none: all that the run did, and nothing of it starts any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Part>,
    /// Who.
    pub by: Name,
    /// A person did: a pause does not hold it back.
    pub person: bool,
    /// Why, for people.
    pub why: String,
    /// Which way they said so, where it is known: `socket`, `token`, `email`, `slack`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Name>,
}

/// See [`super::Kind::UndoIntended`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct UndoIntended {
    /// Which part.
    pub part: Part,
    /// From 1.
    pub attempt: u32,
    /// Which action.
    pub action: Name,
    /// What was done, with what stood before, by its latest attempt: what earlier ones did is taken back after it.
    pub plan: Plan,
}

/// See [`super::Kind::UndoFailed`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct UndoFailed {
    /// Which part.
    pub part: Part,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Why.
    pub error: String,
    /// The next attempt's moment.
    pub again_at: Stamp,
    /// It may have been taken back all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
}

/// See [`super::Kind::UndoFinished`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct UndoFinished {
    /// The run whose step contained.
    pub run: RunId,
    /// Which part.
    pub part: Part,
    /// Which action.
    pub action: Name,
    /// `undone` or `stuck`.
    pub outcome: Outcome,
    /// What the verb gave.
    pub output: Json,
    /// The proof, or what is left standing and why, for people.
    pub proof: String,
    /// From 1.
    pub attempts: u32,
    /// `stuck`, and nobody knows whether it stands: it may have been taken back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
}
