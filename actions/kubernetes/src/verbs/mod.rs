//! The verbs on a cluster, a file each, in the order input, output, plan, run, verify, undo, tests.
//!
//! Their specs are in every build; their hands need the feature `client`. Beside them stands what they share: `order` is what was decided
//! when a step was planned, `written` changes a few fields of an object and gives them back.

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

pub mod get;
pub mod isolate_pod;
pub mod label_pod;
#[cfg(feature = "client")]
mod order;
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
    vec![&get::SPEC, &isolate_pod::SPEC, &label_pod::SPEC]
}

/// The verbs, with hands on this cluster.
#[cfg(feature = "client")]
#[must_use]
pub fn crew(cluster: &Arc<Cluster>) -> Vec<Verb> {
    vec![
        Verb::Looks(Arc::new(get::Get(Arc::clone(cluster)))),
        Verb::Acts(Arc::new(isolate_pod::IsolatePod(Arc::clone(cluster)))),
        Verb::Acts(Arc::new(label_pod::LabelPod(Arc::clone(cluster)))),
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
