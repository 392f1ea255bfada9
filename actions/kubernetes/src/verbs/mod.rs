//! The verbs on a cluster, a file each, in the order input, output, plan, run, verify, undo, tests.
//!
//! Their specs are in every build; their hands need the feature `client`. Beside them stands what they share: `order` is what was decided
//! when a step was planned, `written` changes a few fields of an object and gives them back, `words` does so with labels and annotations,
//! `gone` waits for the end of a pod.

/// Permissions of a verb that follows a pod's owners, with those of its own.
macro_rules! with_owners {
    ($($own:literal),* $(,)?) => {
        &[
            $($own,)*
            "kubernetes:get replicasets.apps",
            "kubernetes:get deployments.apps",
            "kubernetes:get statefulsets.apps",
            "kubernetes:get daemonsets.apps",
            "kubernetes:get jobs.batch",
            "kubernetes:get replicationcontrollers",
        ]
    };
}

pub mod annotate_pod;
pub mod capture_pod;
pub mod cordon_node;
pub mod delete_pod;
pub mod drain_node;
pub mod emit_event;
pub mod evict_pod;
pub mod get;
#[cfg(feature = "client")]
pub(crate) mod gone;
pub mod isolate_pod;
pub mod label_node;
pub mod label_pod;
#[cfg(feature = "client")]
mod order;
#[cfg(feature = "client")]
mod patience;
pub mod restart_owner;
pub mod restrict_owner;
pub mod revoke_service_account;
pub mod scale_owner;
pub mod suspend_cronjob;
pub mod taint_node;
#[cfg(feature = "client")]
mod words;
#[cfg(feature = "client")]
pub(crate) mod written;

#[cfg(feature = "client")]
use crate::Cluster;
use quell_model::ActionSpec;
#[cfg(feature = "client")]
use quell_model::world::Verb;
#[cfg(feature = "client")]
use std::sync::Arc;

/// What the verbs are, hands or not.
#[must_use]
pub fn specs() -> Vec<&'static ActionSpec> {
    vec![
        &get::SPEC,
        &isolate_pod::SPEC,
        &label_pod::SPEC,
        &annotate_pod::SPEC,
        &delete_pod::SPEC,
        &evict_pod::SPEC,
        &restart_owner::SPEC,
        &scale_owner::SPEC,
        &suspend_cronjob::SPEC,
        &label_node::SPEC,
        &taint_node::SPEC,
        &cordon_node::SPEC,
        &drain_node::SPEC,
        &capture_pod::SPEC,
        &emit_event::SPEC,
        &restrict_owner::SPEC,
        &revoke_service_account::SPEC,
    ]
}

/// The verbs, with hands on this cluster.
#[cfg(feature = "client")]
#[must_use]
pub fn crew(cluster: &Arc<Cluster>) -> Vec<Verb> {
    vec![
        Verb::Looks(Arc::new(get::Get(Arc::clone(cluster)))),
        Verb::Acts(Arc::new(isolate_pod::IsolatePod(Arc::clone(cluster)))),
        Verb::Acts(Arc::new(label_pod::LabelPod(Arc::clone(cluster)))),
        Verb::Acts(Arc::new(annotate_pod::AnnotatePod(Arc::clone(cluster)))),
        Verb::Acts(Arc::new(delete_pod::DeletePod(Arc::clone(cluster)))),
        Verb::Acts(Arc::new(evict_pod::EvictPod(Arc::clone(cluster)))),
        Verb::Acts(Arc::new(restart_owner::RestartOwner(Arc::clone(cluster)))),
        Verb::Acts(Arc::new(scale_owner::ScaleOwner(Arc::clone(cluster)))),
        Verb::Acts(Arc::new(suspend_cronjob::SuspendCronjob(Arc::clone(cluster)))),
        Verb::Acts(Arc::new(label_node::LabelNode(Arc::clone(cluster)))),
        Verb::Acts(Arc::new(taint_node::TaintNode(Arc::clone(cluster)))),
        Verb::Acts(Arc::new(cordon_node::CordonNode(Arc::clone(cluster)))),
        Verb::Acts(Arc::new(drain_node::DrainNode(Arc::clone(cluster)))),
        Verb::Acts(Arc::new(capture_pod::CapturePod::new(Arc::clone(cluster)))),
        Verb::Acts(Arc::new(emit_event::EmitEvent::new(Arc::clone(cluster)))),
        Verb::Acts(Arc::new(restrict_owner::RestrictOwner(Arc::clone(cluster)))),
        Verb::Acts(Arc::new(revoke_service_account::RevokeServiceAccount(Arc::clone(cluster)))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_model::Json;

    #[test]
    fn every_spec_predicts_what_its_schema_promises() {
        for spec in specs() {
            let (input, output) = ((spec.input)(), (spec.output)());
            let properties = |schema: &schemars::Schema| {
                schema.get("properties").and_then(Json::as_object).cloned().unwrap_or_default()
            };
            for target in spec.targets {
                assert!(properties(&input).contains_key(*target), "{}: {target}", spec.name);
            }
            for key in (spec.predict)(&Json::Null).as_object().unwrap().keys() {
                assert!(properties(&output).contains_key(key), "{}: {key}", spec.name);
            }
            assert!(spec.name.starts_with("kubernetes."));
            let is_known = |one: &&str| one.starts_with("kubernetes:") || one.starts_with("CAP_");
            assert!(spec.permissions.iter().all(is_known), "{}", spec.name);
        }
    }

    #[cfg(feature = "client")]
    #[test]
    fn every_spec_has_hands() {
        let cluster = Arc::new(Cluster::new(crate::Settings::default()));
        let with_hands: Vec<_> = crew(&cluster).iter().map(|verb| verb.spec().name).collect();
        let known: Vec<_> = specs().iter().map(|spec| spec.name).collect();
        assert_eq!(with_hands, known);
    }
}
