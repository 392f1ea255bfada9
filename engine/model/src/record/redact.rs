//! What a record said that says no more, and the proof of what it was.

use crate::hash::Hash;
use crate::ids::{Name, Seq, StreamId};
use serde::{Deserialize, Serialize};

/// See [`super::Kind::StreamRedacted`].
///
/// The body and its salt go in the transaction that brings this record; the chain goes on by `sum`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StreamRedacted {
    /// Who.
    pub by: Name,
    /// Why.
    pub reason: String,
    /// Of which stream.
    pub stream: StreamId,
    /// Which record.
    pub seq: Seq,
    /// The salted sum of the body that was there.
    pub sum: Hash,
    /// The sum of the text that stands there instead.
    pub instead: Hash,
}
