//! The verbs on processes: freeze, kill, block_exec, inspect, capture; a file each, in the order input, output, plan, run, verify,
//! undo, tests.
//!
//! Beside them the nouns they share: `stat` and `cgroup` read, `identity` takes a process in hand, `tree` and `scope` say
//! who is meant, `crowd` holds them for an act, `hands` is the second lock behind the guard.

pub mod block_exec;
pub mod capture;
pub(crate) mod cgroup;
mod credentials;
mod crowd;
mod evidence;
pub(crate) mod fds;
pub mod freeze;
pub(crate) mod hands;
pub(crate) mod identity;
pub mod inspect;
pub mod kill;
mod may;
mod memory;
mod order;
mod origin;
pub(crate) mod pace;
mod peer;
pub(crate) mod pod;
pub(crate) mod scope;
pub(crate) mod sockets;
mod stat;
mod storage;
pub(crate) mod target;
mod tree;

pub use credentials::Credential;
pub use fds::{FdKind, OpenFd};
pub use origin::{origin, origin_of_connection};
pub use scope::Scope;
pub use sockets::Socket;
pub use target::Seen;

pub(crate) use hands::{Hands, input};
pub(crate) use stat::Stat;

use crate::world::HostWorld;
use quell_model::ActionSpec;
use quell_model::world::Verb;
use std::sync::Arc;

/// What the verbs of this folder are, hands or not.
#[must_use]
pub fn specs() -> Vec<&'static ActionSpec> {
    vec![&block_exec::SPEC, &capture::SPEC, &freeze::SPEC, &inspect::SPEC, &kill::SPEC]
}

/// The verbs of this folder, with hands on this world.
#[must_use]
pub fn crew(world: HostWorld) -> Vec<Verb> {
    let hands = Arc::new(Hands::new(world));
    vec![
        Verb::Acts(Arc::new(block_exec::BlockExec::new(hands.clone()))),
        Verb::Acts(Arc::new(capture::Capture::new(hands.clone()))),
        Verb::Acts(Arc::new(freeze::Freeze(hands.clone()))),
        Verb::Looks(Arc::new(inspect::Inspect(hands.clone()))),
        Verb::Acts(Arc::new(kill::Kill::new(hands))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_model::{Json, Lane};

    #[test]
    fn every_spec_has_hands_and_predicts_what_its_schema_promises() {
        let world = HostWorld::live("here".into()).unwrap();
        let with_hands: Vec<_> = crew(world).iter().map(|verb| verb.spec().name).collect();
        let known: Vec<_> = specs().iter().map(|spec| spec.name).collect();
        assert_eq!(with_hands, known);
        for spec in specs() {
            let (input, output) = ((spec.input)(), (spec.output)());
            let properties = |schema: &schemars::Schema| {
                schema.get("properties").and_then(Json::as_object).expect("an object").clone()
            };
            for target in spec.targets {
                assert!(properties(&input).contains_key(*target), "{}: {target}", spec.name);
            }
            let predicted = (spec.predict)(&Json::Null);
            for key in predicted.as_object().unwrap().keys() {
                assert!(properties(&output).contains_key(key), "{}: {key}", spec.name);
            }
            assert_eq!(spec.undoable, matches!(spec.name, "process.freeze" | "process.block_exec"));
            assert!(spec.lane != Lane::Cloud && spec.lane != Lane::Notify);
        }
    }
}
