//! quell-actions: the verbs on this host, and those that send, one folder a system, one file a verb, the same shape in each.
//!
//! Owns what touches processes and their cgroups, and what is sent to people and programs. Never reads the journal, decides nothing: each act needs the guard's
//! [`Admitted`](quell_model::Admitted). Keeps true: a process is held by pidfd and compared by identity before it is
//! touched, never by its number.
//!
//! ```text
//! input ──plan──▶ targets, calls, before ──guard──▶ run ──▶ output ──verify──▶ Holds | HoldsNot
//!            reads only                        pidfds, cgroups       asks /proc and the cgroup again
//! ```

pub mod notify;
mod pidfd;
pub mod process;
pub mod protect;
pub mod self_test;
pub mod send;
mod span;
#[cfg(test)]
mod testing;
mod text;
pub mod world;

use quell_model::ActionSpec;

pub use self_test::{Check, self_test};
pub use world::{CgroupKind, CgroupRoot, HostWorld, JustSeen, Lineage};

/// What every build knows of the verbs, hands or not.
#[must_use]
pub fn specs() -> Vec<&'static ActionSpec> {
    let mut all = process::specs();
    all.extend(send::specs());
    all
}
