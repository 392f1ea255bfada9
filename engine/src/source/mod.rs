//! Files and directories that are followed.
//!
//! Owns the question whether something on disk changed, and the reading of files that grow. What the bytes mean is
//! `adapt`'s. Nothing here waits: the caller asks when it is time.

mod follow;
mod snapshot;

pub use follow::{Batch, Begin, Follower, Line, by_our_clocks};
pub use snapshot::Snapshot;
