//! What was taken away for its age, and the proof of what it was.

use crate::hash::Hash;
use crate::ids::{Name, Seq, StreamId};
use crate::store::BlobHash;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// See [`super::Kind::StreamPruned`].
///
/// The streams' records go in the transaction that brings this record. A stream that went on meanwhile stays.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StreamPruned {
    /// Who.
    pub by: Name,
    /// What had been over for longer than this.
    pub older_than: Duration,
    /// The streams.
    pub streams: Vec<PrunedStream>,
    /// What lay in the vault and nothing that is left refers to; it goes after this record is written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<BlobHash>,
}

/// A stream whose records are gone. Whoever has a copy of them can prove with the sum that they are these.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PrunedStream {
    /// Which.
    pub stream: StreamId,
    /// How many records it had.
    pub last: Seq,
    /// The chained sum of the last one.
    pub hash: Hash,
    /// When that was.
    pub ended: jiff::Timestamp,
}
