//! The journal: append-only streams of records on one machine, and the vault beside them.
//!
//! ```text
//! written ──▶ numbers ──▶ slate (a mapped file) ──┐
//! submit  ──▶ numbers ──▶ slate, while it has room ┴─▶ queue ──▶ writer: chain, one transaction a group ──▶ journal.db
//!                                                                  └─▶ fdatasync of its log ──▶ done
//! ```
//!
//! Owns everything below the data directory: `journal.db` (SQLite in WAL mode), `slate`, `lock`, `vault/`, `passages/`, `aside/`. Never knows
//! what a record means beyond whether it ends its stream and what lists show of it. Keeps true: what `written` returned
//! or `done` acknowledged is there after SIGKILL, once and in the order of the calls; a database that refuses stops
//! nobody who only needs the slate; what looks damaged is named and left as it is.

mod aside;
mod backup;
#[cfg(test)]
pub(crate) mod by_hand;
mod chain;
mod committed;
mod contents;
mod draft;
mod evidence;
#[cfg(debug_assertions)]
mod fault;
mod figures;
mod follow;
mod front;
mod item;
mod journal;
mod key;
mod lists;
mod lock;
mod passage;
mod past;
mod prune;
mod read;
mod redact;
mod retention;
mod rows;
mod seal;
mod slate;
mod slice;
mod vault;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

pub use aside::{Aside, PutAside};
pub use backup::{BackedUp, BackupError, back_up};
pub use committed::Committed;
pub use draft::Draft;
pub use evidence::Kept;
pub use figures::{Figures, Room, Size};
pub use follow::{Followed, Missing, Stretch};
pub use journal::Journal;
pub(crate) use journal::SOON;
pub use key::{fleeting_key, marks_key};
pub use lists::{Counted, IncidentHead, IncidentLine, Listed, RunHead, RunLine, RunTail};
pub use passage::{End, Ends, Passage};
pub use prune::PrunedMark;
pub use redact::{RedactError, wipe};
pub use retention::{PrunePlan, Pruned, Retention, print_age};
pub use seal::Seal;
pub use slice::{Slice, SliceError, Sliced, SlicedBody};
pub use vault::{Blob, DirVault};

use quell_model::StoreError;
use serde::Serialize;

/// How the journal does.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Health {
    /// Records that are taken and not yet in the database.
    pub waiting: usize,
    /// Their bytes.
    pub waiting_bytes: usize,
    /// Of the calls that brought them, how many would be lost if the engine were killed now.
    pub in_memory_only: usize,
    /// Why the database refuses, while it does.
    pub trouble: Option<String>,
    /// What the slate held when the journal was opened and could not be fitted in.
    pub recovery: Vec<String>,
}
