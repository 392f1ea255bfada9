//! The verbs on the network: isolate, block_peer; a file each, in the order input, output, plan, run, verify, undo, tests.
//!
//! Beside them the nouns they share: `whom` is what an input names, `home` the cgroup that it means, `moved` brings processes into one of their own, `back`
//! out of it again, to where `origins` says that they were; `order` is what a plan writes down, `cutting` carries an order into the kernel and out of it, `pod_cut` is a part of
//! the plans of other crates' verbs, `floor` is whom no whole host is kept from.

mod back;
pub mod block_peer;
mod cutting;
mod floor;
mod home;
pub mod isolate;
mod moved;
mod order;
mod origins;
mod peers;
mod pod_cut;
#[cfg(test)]
mod testing;
mod whom;

pub use back::{Back, Holds, While, bring_back};
pub use pod_cut::{PERMISSIONS as POD_CUT_PERMISSIONS, PartPlan, PodCut};

use crate::process::Hands;
use crate::world::HostWorld;
use quell_model::ActionSpec;
use quell_model::world::Verb;
use std::sync::Arc;

/// What the verbs of this folder are, hands or not.
#[must_use]
pub fn specs() -> Vec<&'static ActionSpec> {
    vec![&block_peer::SPEC, &isolate::SPEC]
}

/// The verbs of this folder, with hands on this world.
#[must_use]
pub fn crew(world: HostWorld) -> Vec<Verb> {
    let hands = Arc::new(Hands::new(world));
    vec![
        Verb::Acts(Arc::new(block_peer::BlockPeer::new(hands.clone()))),
        Verb::Acts(Arc::new(isolate::Isolate::new(hands))),
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
        assert_eq!(with_hands, specs().iter().map(|spec| spec.name).collect::<Vec<_>>());
        for spec in specs() {
            let properties = |schema: schemars::Schema| {
                schema.get("properties").and_then(Json::as_object).expect("an object").clone()
            };
            let (input, output) = (properties((spec.input)()), properties((spec.output)()));
            assert!(spec.targets.iter().all(|target| input.contains_key(*target)), "{}", spec.name);
            let predicted = (spec.predict)(&Json::Null);
            assert!(predicted.as_object().unwrap().keys().all(|key| output.contains_key(key)), "{}", spec.name);
            assert!(spec.undoable && spec.lane == Lane::Contain);
        }
    }
}
