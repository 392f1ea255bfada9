//! The word that something is kept: whoever brought it may forget it.
//!
//! Keeps true: only the journal gives it, once what was written before survives a power cut.

use super::StoreError;
use quell_model::Appended;

/// See the module.
#[derive(Debug)]
pub struct Committed(());

impl Committed {
    /// By what the journal answers to a write that was to be synced.
    ///
    /// # Errors
    /// As the journal.
    pub(crate) fn of(answer: Result<Appended, StoreError>) -> Result<Self, StoreError> {
        answer.map(|_| Self(()))
    }
}
