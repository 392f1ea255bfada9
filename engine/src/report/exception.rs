//! The exception that was drafted where an incident was no attack, and what one is drafted from.
//!
//! Owns the reading of both out of the incident's stream, a record at a time: a flood may have left many.

use crate::detect::Drafting;
use crate::store::Journal;
use quell_model::record::NotExcepted;
use quell_model::{Body, IncidentId, Kind, Name, Stamp, StoreError, StreamId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An exception that was drafted. It holds once a person has put it where quell loads exceptions from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ExceptionView {
    /// The incident that was no attack.
    pub id: IncidentId,
    /// When it was drafted.
    pub at: Stamp,
    /// Who answers for it.
    pub by: Name,
    /// Why.
    pub reason: String,
    /// From this moment on it holds nothing back.
    #[schema(value_type = String, format = DateTime)]
    pub expires: jiff::Timestamp,
    /// The rules that it is about.
    pub rules: Vec<Name>,
    /// The file: Sigma filters, a document a rule.
    pub text: String,
    /// Rules of the incident that it is not about, and why.
    pub left_out: Vec<NotExcepted>,
}

/// The last one that was drafted of an incident; none: none was, or there is no such incident.
///
/// # Errors
/// As [`Journal::read`].
pub fn exception(journal: &Journal, id: &IncidentId) -> Result<Option<ExceptionView>, StoreError> {
    let records = journal.read_kinds(&StreamId::incident(id), 1, &[Kind::ExceptionDrafted])?;
    Ok(records.into_iter().next_back().and_then(|record| match record.body {
        Body::ExceptionDrafted(drafted) => Some(ExceptionView {
            id: id.clone(),
            at: record.at,
            by: drafted.by,
            reason: drafted.reason,
            expires: drafted.expires,
            rules: drafted.rules,
            text: drafted.text,
            left_out: drafted.left_out,
        }),
        _ => None,
    }))
}

/// What the detections of an incident have in common, for a draft; none: there is no such incident.
///
/// # Errors
/// As [`Journal::read`].
pub fn drafting(journal: &Journal, id: &IncidentId) -> Result<Option<Drafting>, StoreError> {
    let stream = StreamId::incident(id);
    let mut drafting = Drafting::default();
    journal.visit(&stream, 1, &[Kind::DetectionAccepted], &mut |record| {
        if let Body::DetectionAccepted(accepted) = &record.body {
            drafting.see(&accepted.detection);
        }
    })?;
    Ok(journal.has(&stream).then_some(drafting))
}
