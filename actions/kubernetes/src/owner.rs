//! What owns a pod, up to the top, and how many replicas of it stand.
//!
//! Reads only. Keeps true: an owner is followed by its uid; what cannot be read is said, and counts as no replicas at all, never as enough.

use crate::call::{CallError, Calls};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::ResourceExt;
use quell_model::action::Replicas;
use quell_model::{Name, Target, TargetFacts};
use std::collections::BTreeMap;

/// One owner in a chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Owner {
    /// `Deployment`, `StatefulSet` … or a kind of somebody's own.
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

impl Owner {
    fn of(reference: &OwnerReference) -> Self {
        Self { kind: reference.kind.clone(), name: reference.name.clone(), uid: reference.uid.clone() }
    }

    /// The one of an object's owners that controls it.
    pub(crate) fn controller(references: &[OwnerReference]) -> Option<Self> {
        controller(references).as_ref().map(Self::of)
    }
}

/// `deployment/web`: as kubectl writes it.
impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind.to_ascii_lowercase(), self.name)
    }
}

/// Who owns a pod.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Owners {
    /// From what made the pod to the top; empty: it is bare.
    pub(crate) chain: Vec<Owner>,
    /// By which labels its maker knows it.
    pub(crate) selector: Option<LabelSelector>,
    /// Those that are wanted and ready; none: nobody counts them.
    pub(crate) replicas: Option<(u32, u32)>,
    /// Something owns the pod that cannot be read, or of a kind that quell does not know: how many stand in for it nobody can say.
    pub(crate) uncounted: bool,
    /// What could not be read, for people.
    pub(crate) unknown: Vec<String>,
}

/// What one link of the chain tells.
#[derive(Default)]
struct Link {
    above: Option<OwnerReference>,
    selector: Option<LabelSelector>,
    replicas: Option<(u32, u32)>,
}

/// Longer than any real chain: a circle ends there.
const LONGEST: usize = 8;

impl Owners {
    /// Follows the owners of a pod.
    ///
    /// # Errors
    /// When the API server cannot be asked. What it forbids, and kinds that quell does not know, are told in `unknown`.
    pub(crate) async fn of(calls: &Calls<'_>, pod: &Pod) -> Result<Self, CallError> {
        let namespace = pod.namespace();
        let mut all = Self::default();
        let mut next = controller(pod.owner_references());
        while let Some(reference) = next.filter(|_| all.chain.len() < LONGEST) {
            let owner = Owner::of(&reference);
            let link = match link(calls, namespace.as_deref(), &owner).await {
                Ok(link) => link,
                Err(CallError::Forbidden { why, .. }) => {
                    all.unknown.push(format!("{owner} cannot be read: {why}"));
                    None
                }
                Err(error) => return Err(error),
            };
            let is_first = all.chain.is_empty();
            // What starts jobs stands in for nobody either.
            all.uncounted |= link.is_none() && owner.kind != "CronJob";
            let link = link.unwrap_or_default();
            if is_first {
                all.selector = link.selector;
            }
            // The topmost that counts its replicas says how many there are: a Deployment in the midst of a rollout has two ReplicaSets.
            all.replicas = link.replicas.or(all.replicas);
            all.chain.push(owner);
            next = link.above;
        }
        all.uncounted &= all.replicas.is_none();
        Ok(all)
    }

    /// As the guard counts them: of what nobody could count there are none.
    pub(crate) fn counted(&self, takes: u32) -> Option<Replicas> {
        let (wanted, ready) = self.replicas.or(self.uncounted.then_some((0, 0)))?;
        Some(Replicas { wanted, ready, takes })
    }

    /// At the top.
    pub(crate) fn top(&self) -> Option<&Owner> {
        self.chain.last()
    }
}

async fn link(calls: &Calls<'_>, namespace: Option<&str>, owner: &Owner) -> Result<Option<Link>, CallError> {
    macro_rules! read {
        ($kind:ty, $what:ident => $link:expr) => {{
            let found = calls.get::<$kind>(namespace, &owner.name).await?;
            // Another of the same name is not the owner.
            found.filter(|found| found.uid().as_deref() == Some(&owner.uid)).map(|$what| {
                let link: Link = $link;
                Link { above: controller($what.owner_references()), ..link }
            })
        }};
    }
    Ok(match owner.kind.as_str() {
        "ReplicaSet" => read!(ReplicaSet, found => Link {
            selector: found.spec.as_ref().map(|spec| spec.selector.clone()),
            replicas: Some((
                count(found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)),
                count(found.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0)),
            )),
            ..Link::default()
        }),
        "Deployment" => read!(Deployment, found => Link {
            replicas: Some((
                count(found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)),
                count(found.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0)),
            )),
            ..Link::default()
        }),
        "StatefulSet" => read!(StatefulSet, found => Link {
            selector: found.spec.as_ref().map(|spec| spec.selector.clone()),
            replicas: Some((
                count(found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)),
                count(found.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0)),
            )),
            ..Link::default()
        }),
        "DaemonSet" => read!(DaemonSet, found => Link {
            selector: found.spec.as_ref().map(|spec| spec.selector.clone()),
            replicas: found.status.as_ref().map(|status| {
                (count(status.desired_number_scheduled), count(status.number_ready))
            }),
            ..Link::default()
        }),
        "ReplicationController" => read!(ReplicationController, found => Link {
            selector: found.spec.as_ref().and_then(|spec| spec.selector.clone()).map(|labels| LabelSelector {
                match_labels: Some(labels),
                ..LabelSelector::default()
            }),
            replicas: Some((
                count(found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)),
                count(found.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0)),
            )),
            ..Link::default()
        }),
        // A job's pods stand in for nobody: they end.
        "Job" => read!(Job, found => Link {
            selector: found.spec.as_ref().and_then(|spec| spec.selector.clone()),
            ..Link::default()
        }),
        _ => None,
    })
}

fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

fn controller(references: &[OwnerReference]) -> Option<OwnerReference> {
    references.iter().find(|reference| reference.controller == Some(true)).cloned()
}

/// Whether a pod counts as ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

/// Whether labels fit a selector; one that is empty fits none here: nobody would be meant.
pub(crate) fn fits(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let all = selector.match_labels.iter().flatten();
    let mut terms = 0;
    let equal = all.into_iter().all(|(key, value)| {
        terms += 1;
        labels.get(key) == Some(value)
    });
    let expressions = selector.match_expressions.iter().flatten().all(|term| {
        terms += 1;
        let value = labels.get(&term.key);
        let is_in = || value.is_some_and(|value| term.values.iter().flatten().any(|one| one == value));
        match term.operator.as_str() {
            "In" => is_in(),
            "NotIn" => !is_in(),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    });
    equal && expressions && terms > 0
}

/// The pod as the guard sees it. `takes`: it would stand in for its owner no more.
pub(crate) fn target(cluster: &Name, pod: &Pod, owners: &Owners, takes: bool) -> Target {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let uid = pod.uid().unwrap_or_default();
    let takes = u32::from(takes && is_ready(pod));
    Target {
        node: cluster.clone(),
        kind: "pod".into(),
        id: uid.clone(),
        label: format!("pod {namespace}/{name}"),
        named: true,
        facts: TargetFacts::Object {
            cluster: cluster.clone(),
            resource: "pods".into(),
            namespace: Some(namespace.into()),
            name,
            uid,
            owner: owners.top().map(ToString::to_string),
            replicas: owners.counted(takes),
            needed: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_nobody_could_count_is_none_and_not_enough() {
        let of = |replicas, uncounted| Owners { replicas, uncounted, ..Owners::default() }.counted(1);
        assert_eq!(of(Some((3, 2)), false), Some(Replicas { wanted: 3, ready: 2, takes: 1 }));
        assert_eq!(of(None, true), Some(Replicas { wanted: 0, ready: 0, takes: 1 }));
        assert_eq!(of(None, false), None, "a bare pod, and one of a job, stand in for nobody");
    }

    #[test]
    fn labels_fit_a_selector_as_kubernetes_says() {
        let labels: BTreeMap<String, String> = [("app".to_owned(), "web".to_owned())].into();
        for (selector, fit) in [
            (json!({ "matchLabels": { "app": "web" } }), true),
            (json!({ "matchLabels": { "app": "db" } }), false),
            (json!({ "matchLabels": { "app": "web", "tier": "x" } }), false),
            (json!({ "matchExpressions": [{ "key": "app", "operator": "In", "values": ["db", "web"] }] }), true),
            (json!({ "matchExpressions": [{ "key": "app", "operator": "NotIn", "values": ["web"] }] }), false),
            (json!({ "matchExpressions": [{ "key": "tier", "operator": "NotIn", "values": ["web"] }] }), true),
            (json!({ "matchExpressions": [{ "key": "tier", "operator": "DoesNotExist" }] }), true),
            (json!({ "matchExpressions": [{ "key": "app", "operator": "Exists" }] }), true),
            (json!({}), false),
        ] {
            let of: LabelSelector = serde_json::from_value(selector.clone()).unwrap();
            assert_eq!(fits(&of, &labels), fit, "{selector}");
        }
    }
}
