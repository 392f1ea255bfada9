//! What people did by hand, and what was switched.
//!
//! Owns the shapes. Keeps true: a record says itself what follows from it, so that what was written by an earlier rule is read as it
//! was meant.

use crate::Json;
use crate::hash::Hash;
use crate::ids::{Name, StepId};
use crate::mode::Mode;
use serde::{Deserialize, Serialize};

use super::Part;

/// See [`super::Kind::RunReopened`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RunReopened {
    /// Who.
    pub by: Name,
    /// Why, for people.
    pub why: String,
    /// From this step on; none: what had not ended well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<StepId>,
    /// What is done again. A step without an item is done as a whole, its list found anew; with items only these are, and the others
    /// stay as they ended. Whatever is not named keeps how it ended and what it gave.
    pub again: Vec<Part>,
}

/// See [`super::Kind::PersonActed`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PersonActed {
    /// Who, as the socket or the token tells.
    pub by: Name,
    /// `start`, `cancel`, `resolve` …
    pub what: Name,
    /// With what.
    #[serde(default)]
    pub detail: Json,
}

/// See [`super::Kind::PauseChanged`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PauseChanged {
    /// Paused or not.
    pub paused: bool,
    /// Who.
    pub by: Name,
}

/// See [`super::Kind::BreakerChanged`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BreakerChanged {
    /// For which playbook.
    pub playbook: Name,
    /// Open: it asks before each act.
    pub open: bool,
    /// Why.
    pub why: String,
    /// The person who switched it; none: the guard opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Name>,
}

/// See [`super::Kind::ModeChanged`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ModeChanged {
    /// Of which playbook.
    pub playbook: Name,
    /// How far it went by what was written and said until then.
    pub from: Mode,
    /// How far it may go.
    pub to: Mode,
    /// Who says so.
    pub by: Name,
    /// Why, for people; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// It goes further than what is written lets it, as long as its text has this sum; none: it goes no further, whatever its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Hash>,
}
