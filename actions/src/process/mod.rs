//! The verbs on processes: freeze, kill, inspect, capture; a file each, in the order input, output, plan, run, verify,
//! undo, tests.
//!
//! Beside them the nouns they share: `stat` and `cgroup` read, `identity` takes a process in hand, `tree` and `scope` say
//! who is meant, `crowd` holds them for an act, `hands` is the second lock behind the guard.

mod cgroup;
mod crowd;
mod hands;
pub(crate) mod identity;
pub mod kill;
mod order;
mod scope;
mod stat;
mod target;
mod tree;

pub use scope::Scope;
pub use target::Seen;

pub(crate) use stat::Stat;

use crate::world::HostWorld;
use hands::Hands;
use quell_model::ActionSpec;
use quell_model::world::Verb;
use std::sync::Arc;

/// What the verbs of this folder are, hands or not.
#[must_use]
pub fn specs() -> Vec<&'static ActionSpec> {
    vec![&kill::SPEC]
}

/// The verbs of this folder, with hands on this world.
#[must_use]
pub fn crew(world: HostWorld) -> Vec<Verb> {
    let hands = Arc::new(Hands::new(world));
    vec![Verb::Acts(Arc::new(kill::Kill(hands)))]
}
