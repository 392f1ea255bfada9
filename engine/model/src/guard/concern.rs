//! Whom an act concerns beside its images: owners of workloads, and principals of clouds and clusters.
//!
//! Owns how they are read out of an event and a plan. Pure. Keeps true: an image, an owner and a principal are never one thing, and
//! whom the event names hides no identity that is acted on.

use super::object;
use crate::Json;
use crate::action::{Plan, TargetFacts};
use std::collections::BTreeSet;

/// What a run's event, or an act of it, is about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Concerns {
    /// Of pods: `namespace/owner`; whom an event names, and whose pods are acted on.
    pub owners: BTreeSet<String>,
    /// Of clouds and clusters, whom the event names.
    pub principals: BTreeSet<String>,
    /// And those that are acted on: an event does not say whose they are.
    pub identities: BTreeSet<String>,
}

impl Concerns {
    /// Of an event, as playbooks see it.
    #[must_use]
    pub fn of_event(event: &Json) -> Self {
        let text = |of: &str, name: &str| event.get(of)?.get(name)?.as_str().filter(|text| !text.is_empty());
        // The entity is told as `KIND ID on NODE`.
        let entity = |kind: &str| {
            let (whole, _) = event.get("entity")?.as_str()?.rsplit_once(" on ")?;
            whole.strip_prefix(kind)?.strip_prefix(' ').map(str::to_owned)
        };
        let pods =
            text("pod", "owner").map(|owner| format!("{}/{owner}", text("pod", "namespace").unwrap_or_default()));
        let subject = || event.get("subject")?.as_str()?.strip_prefix("principal:").map(str::to_owned);
        let principal = text("cloud", "principal").map(str::to_owned).or_else(subject);
        Self {
            owners: pods.or_else(|| entity("owner")).into_iter().collect(),
            principals: principal.or_else(|| entity("principal")).into_iter().collect(),
            identities: BTreeSet::new(),
        }
    }

    /// The same with the identities, and the owners of pods, that a plan would act on.
    #[must_use]
    pub fn with(mut self, plan: &Plan) -> Self {
        for target in plan.targets.iter().filter(|target| target.named) {
            if let TargetFacts::Identity { provider, id, .. } = &target.facts {
                self.identities.insert(format!("{provider}:{id}"));
            }
            self.owners.extend(object::owner(&target.facts));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_names_an_owner_or_a_principal() {
        let of = |event: Json| Concerns::of_event(&event);
        let one = |text: &str| BTreeSet::from([text.to_owned()]);
        let pod =
            of(json!({ "pod": { "namespace": "shop", "owner": "deployment/web" }, "entity": "container c on n" }));
        assert_eq!((pod.owners, pod.principals.len()), (one("shop/deployment/web"), 0));
        assert_eq!(of(json!({ "pod": { "owner": null }, "entity": "owner shop/web on n" })).owners, one("shop/web"));
        let arn = "arn:aws:iam::1:user/bo";
        assert_eq!(of(json!({ "cloud": { "principal": arn } })).principals, one(arn));
        assert_eq!(of(json!({ "subject": format!("principal:{arn}") })).principals, one(arn));
        assert_eq!(of(json!({ "entity": format!("principal {arn} on 1") })).principals, one(arn));
        assert_eq!(of(json!({ "entity": "unit a on n", "subject": "process:1" })), Concerns::default());
        assert_eq!(of(Json::Null), Concerns::default());
    }
}
