//! quell-actions: the verbs on this host, and those that send, one folder a system, one file a verb, the same shape in each.
//!
//! Owns what touches processes, their cgroups and their network, and what is sent to people and programs. Never reads the journal, decides
//! nothing: each act needs the guard's [`Admitted`](quell_model::Admitted). Keeps true: a process is held by pidfd and compared by identity
//! before it is touched, never by its number.
//!
//! ```text
//! input ──plan──▶ targets, calls, before ──guard──▶ run ──▶ output ──verify──▶ Holds | HoldsNot
//!            reads only                        pidfds, cgroups       asks /proc and the cgroup again
//! ```

pub mod network;
pub mod notify;
pub mod own_cgroup;
mod pidfd;
pub mod process;
pub mod protect;
pub mod self_test;
pub mod send;
pub mod span;
#[cfg(test)]
mod testing;
pub mod text;
pub mod world;

use quell_model::ActionSpec;
use quell_model::world::Verb;
use std::sync::Arc;

pub use self_test::{Check, self_test};
pub use world::{CgroupKind, CgroupRoot, HostWorld, JustSeen, Lineage};

/// What every build knows of the verbs, hands or not.
#[must_use]
pub fn specs() -> Vec<&'static ActionSpec> {
    [network::specs(), process::specs(), send::specs()].concat()
}

/// Every verb on this host, with hands on this world, and what sends by these ways.
#[must_use]
pub fn crew(world: HostWorld, ways: &Arc<send::ways::Ways>) -> Vec<Verb> {
    [network::crew(world.clone()), process::crew(world), send::crew(ways)].into_iter().flatten().collect()
}
