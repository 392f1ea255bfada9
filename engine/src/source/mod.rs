//! Files and directories that are followed.
//!
//! Owns the question whether something on disk changed. Reads no contents.

mod snapshot;

pub use snapshot::Snapshot;
