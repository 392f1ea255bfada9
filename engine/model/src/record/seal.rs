//! Where the streams stood at a moment: what ties them together.

use crate::hash::Hash;
use crate::ids::{Seq, StreamId};
use serde::{Deserialize, Serialize};

/// See [`super::Kind::HeadsSealed`].
///
/// In the system's stream, whose own chain they become a part of: a stream that is gone, or ends before its sealed head, is found.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HeadsSealed {
    /// The last row of the journal that these heads take in, with those of the seals before.
    pub upto: u64,
    /// The streams that went on since the last seal.
    pub heads: Vec<SealedHead>,
}

/// Where a stream stood.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SealedHead {
    /// Which.
    pub stream: StreamId,
    /// How many records it had.
    pub last: Seq,
    /// The chained sum of the last one.
    pub hash: Hash,
}
