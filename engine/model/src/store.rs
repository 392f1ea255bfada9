//! What a journal must do, whatever it is kept in.
//!
//! Owns the trait and its errors. Never names a database.

use crate::hash::Hash;
use crate::ids::{Seq, StreamId};
use crate::record::{NewRecord, Record};
use serde::{Deserialize, Serialize};

/// What an append outlives before it is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Durability {
    /// Survives SIGKILL.
    Written,
    /// Survives a power cut.
    Synced,
}

/// Records for one stream.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Which stream.
    pub stream: StreamId,
    /// The number of the last record that the writer of this batch knows; 0 for a new stream.
    pub expected: Seq,
    /// What to append, in order.
    pub records: Vec<NewRecord>,
    /// What to wait for.
    pub durability: Durability,
}

/// Where batches ended up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Appended {
    /// The last number of each stream, in the order of the batches.
    pub last: Vec<(StreamId, Seq)>,
}

/// The sum of a blob's bytes: its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlobHash(pub Hash);

/// Why the journal could not.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Somebody else appended first.
    #[error("stream `{stream}` is at {found}, not at {expected}")]
    Conflict {
        /// Which stream.
        stream: StreamId,
        /// As the caller believed.
        expected: Seq,
        /// As it is.
        found: Seq,
    },
    /// Another engine owns the directory.
    #[error("`{dir}` is in use by another quell{}", pid.map(|p| format!(" (pid {p})")).unwrap_or_default())]
    Taken {
        /// Which directory.
        dir: String,
        /// Whose, where known.
        pid: Option<u32>,
    },
    /// Not taken: the disk is full, the file is locked or the medium failed, and there is no room left to wait in.
    #[error("the journal cannot be written: {0}")]
    Unwritable(String),
    /// Taken under its numbers and kept in memory, but not durable: written as soon as the journal can be. What needed
    /// it durable must not go on.
    #[error("the journal cannot be written now, and keeps the records: {0}")]
    Held(String),
    /// No journal was ever made there.
    #[error("there is no journal in `{0}`")]
    Absent(String),
    /// It is there, and cannot be looked at.
    #[error("the journal cannot be read: {0}")]
    Unreadable(String),
    /// What is there cannot be right.
    #[error("the journal is damaged: {0}")]
    Corrupt(String),
    /// A newer quell wrote it, and this one would not understand all of it: nothing was changed.
    #[error("{0}")]
    Newer(String),
    /// The writer is gone.
    #[error("the journal is closed")]
    Closed,
}

/// A journal.
#[async_trait::async_trait]
pub trait Store: Send + Sync {
    /// Appends all or nothing, in one transaction that may span streams.
    async fn append(&self, batches: Vec<Batch>) -> Result<Appended, StoreError>;
    /// The records of a stream from a number on.
    async fn read(&self, stream: &StreamId, from: Seq) -> Result<Vec<Record>, StoreError>;
    /// Streams whose last record does not end them.
    async fn open_streams(&self) -> Result<Vec<StreamId>, StoreError>;
}

/// Content-addressed evidence.
#[async_trait::async_trait]
pub trait Vault: Send + Sync {
    /// Keeps the bytes (0600); gives their name.
    async fn put(&self, bytes: Vec<u8>) -> Result<BlobHash, StoreError>;
    /// The bytes of a name, after comparing their sum.
    async fn get(&self, hash: &BlobHash) -> Result<Vec<u8>, StoreError>;
}
