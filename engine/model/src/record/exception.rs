//! What is written where something was no attack.
//!
//! Owns the shapes. Nothing goes by a draft: an exception holds once a person has committed it.

use crate::ids::Name;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// See [`super::Kind::ExceptionDrafted`]. A later one holds instead of an earlier one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExceptionDrafted {
    /// Who answers for it.
    pub by: Name,
    /// Why.
    pub reason: String,
    /// From this moment on it would hold nothing back.
    pub expires: Timestamp,
    /// The rules that it is about.
    pub rules: Vec<Name>,
    /// Sigma filters, a document a rule.
    pub text: String,
    /// Rules of the incident that it is not about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<NotExcepted>,
}

/// A rule that no exception was written to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NotExcepted {
    /// Which.
    pub rule: Name,
    /// Why, for people.
    pub why: String,
}
