//! What owns a pod, up to the top, and how many replicas of it stand.
//!
//! Reads only. Keeps true: what a pod says of its owner is confirmed by the owner, for whoever may write on a pod may write there too: it is
//! there with that uid and of that API group, it goes by the labels that the pod has, and it makes pods of such names. What cannot be read
//! is said, and counts as no replicas at all, never as enough; what was read and is not so owns nothing.

use crate::call::{CallError, Calls};
use crate::maker::{group, makes, of_group};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::ResourceExt;
use quell_model::action::Replicas;
use quell_model::{Name, Target, TargetFacts};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One owner in a chain.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// `Deployment`, `StatefulSet` … or a kind of somebody's own; with its group where that is not Kubernetes' own (`StatefulSet.apps.kruise.io`).
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

impl Owner {
    fn of(reference: &OwnerReference) -> Self {
        let kind = of_group(&reference.kind, group(&reference.api_version)).into_owned();
        Self { kind, name: reference.name.clone(), uid: reference.uid.clone() }
    }

    /// The one of an object's owners that controls it.
    pub(crate) fn controller(references: &[OwnerReference]) -> Option<Self> {
        references.iter().find(|reference| reference.controller == Some(true)).map(Self::of)
    }

    /// Whether it makes pods of this name, as far as it is known how it calls them.
    pub(crate) fn makes(&self, pod: &str) -> bool {
        makes(&self.kind, &self.name, pod)
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
    /// What could not be read, and what was said of an owner and is not so, for people.
    pub(crate) unknown: Vec<String>,
}

/// What one link of the chain tells.
#[derive(Default)]
struct Link {
    above: Option<Owner>,
    /// By which labels it knows what it makes.
    selector: Option<LabelSelector>,
    /// Its own.
    labels: BTreeMap<String, String>,
    replicas: Option<(u32, u32)>,
}

/// What is behind a reference.
enum Behind {
    It(Link),
    /// Of a kind that quell does not know.
    Foreign,
    /// No such object.
    Nothing,
}

/// Longer than any real chain: a circle ends there.
const LONGEST: usize = 8;

impl Owners {
    /// Follows the owners of a pod.
    ///
    /// # Errors
    /// When the API server cannot be asked. What it forbids, and kinds that quell does not know, are told in `unknown`.
    pub(crate) async fn of(calls: &Calls<'_>, pod: &Pod) -> Result<Self, CallError> {
        Self::of_labelled(calls, pod, pod.labels()).await
    }

    /// The same of a pod that had these labels, before somebody took some off.
    pub(crate) async fn of_labelled(
        calls: &Calls<'_>,
        pod: &Pod,
        labels: &BTreeMap<String, String>,
    ) -> Result<Self, CallError> {
        Self::of_made(calls, pod, Owner::controller(pod.owner_references()), labels).await
    }

    /// The same of a pod that this has made, whatever the pod says now: whom an owner has let go names it no more.
    pub(crate) async fn of_made(
        calls: &Calls<'_>,
        pod: &Pod,
        maker: Option<Owner>,
        labels: &BTreeMap<String, String>,
    ) -> Result<Self, CallError> {
        let Some(maker) = maker else { return Ok(Self::default()) };
        let followed = Self::behind(calls, pod.namespace().as_deref(), maker.clone()).await?;
        Ok(followed.confirmed(&maker, pod, labels))
    }

    /// What is behind what a pod says of its maker, whichever pod it is: to be [confirmed](Self::confirmed) of each.
    ///
    /// # Errors
    /// As of [`Owners::of`].
    pub(crate) async fn behind(calls: &Calls<'_>, namespace: Option<&str>, maker: Owner) -> Result<Self, CallError> {
        let mut all = Self::default();
        let mut below: Option<BTreeMap<String, String>> = None;
        let mut next = Some(maker);
        while let Some(owner) = next.take().filter(|_| all.chain.len() < LONGEST) {
            let link = match link(calls, namespace, &owner).await {
                Ok(Behind::It(link)) => Some(link),
                Ok(Behind::Foreign) => None,
                Ok(Behind::Nothing) => {
                    all.unknown
                        .push(format!("{owner} is said to own it, and there is none with that uid: it does not"));
                    break;
                }
                Err(CallError::Forbidden { why, .. }) => {
                    all.unknown.push(format!("{owner} cannot be read: {why}"));
                    None
                }
                Err(error) => return Err(error),
            };
            // What starts jobs stands in for nobody either.
            all.uncounted |= link.is_none() && owner.kind != "CronJob";
            let link = link.unwrap_or_default();
            let claims = |labels: &BTreeMap<String, String>| link.selector.as_ref().is_none_or(|of| fits(of, labels));
            if below.as_ref().is_some_and(|labels| !claims(labels)) {
                all.unknown
                    .push(format!("{owner} is said to own {}, and goes by other labels: it does not", all.top_named()));
                break;
            }
            if all.chain.is_empty() {
                all.selector = link.selector;
            }
            // The topmost that counts its replicas says how many there are: a Deployment in the midst of a rollout has two ReplicaSets.
            all.replicas = link.replicas.or(all.replicas);
            all.chain.push(owner);
            (next, below) = (link.above, Some(link.labels));
        }
        all.uncounted &= all.replicas.is_none();
        Ok(all)
    }

    /// The same, of a pod with these labels; nothing where what is said to have made it did not.
    pub(crate) fn confirmed(&self, maker: &Owner, pod: &Pod, labels: &BTreeMap<String, String>) -> Self {
        let not = |why: &str| Self {
            unknown: vec![format!("{maker} is said to own it, and {why}: it does not")],
            ..Self::default()
        };
        if self.chain.is_empty() {
            return self.clone();
        }
        if maker.kind == "Node" && !is_mirror(pod) {
            return not("runs it from no file");
        }
        if !maker.makes(&pod.name_any()) {
            return not("makes no pods of such a name");
        }
        if self.selector.as_ref().is_some_and(|selector| !fits(selector, labels)) {
            return not("goes by other labels");
        }
        self.clone()
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

    fn top_named(&self) -> String {
        self.top().map(ToString::to_string).unwrap_or_default()
    }
}

async fn link(calls: &Calls<'_>, namespace: Option<&str>, owner: &Owner) -> Result<Behind, CallError> {
    macro_rules! read {
        ($kind:ty, $what:ident => $link:expr) => {{
            let found = calls.get::<$kind>(namespace, &owner.name).await?;
            // Another of the same name is not the owner.
            found.filter(|found| found.uid().as_deref() == Some(&owner.uid)).map_or(Behind::Nothing, |$what| {
                let link: Link = $link;
                let (above, labels) = (Owner::controller($what.owner_references()), $what.labels().clone());
                Behind::It(Link { above, labels, ..link })
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
            selector: found.spec.as_ref().map(|spec| spec.selector.clone()),
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
        _ => Behind::Foreign,
    })
}

fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

/// By this annotation the kubelet marks the picture that it gives of a pod which it runs from a file. The API server lets nobody add it to a
/// pod that is there.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Whether the API server has a mere picture of it.
pub(crate) fn is_mirror(pod: &Pod) -> bool {
    pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR))
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
    fn what_a_pod_says_of_its_owner_is_confirmed_by_its_name_and_its_labels() {
        let maker = Owner { kind: "ReplicaSet".into(), name: "web-7d4b9".into(), uid: "r".into() };
        let of = Owners {
            chain: vec![maker.clone()],
            selector: serde_json::from_value(json!({ "matchLabels": { "app": "web" } })).unwrap(),
            replicas: Some((3, 3)),
            ..Owners::default()
        };
        let labels = |app: &str| BTreeMap::from([("app".to_owned(), app.to_owned())]);
        let named =
            |name: &str| Pod { metadata: serde_json::from_value(json!({ "name": name })).unwrap(), ..Pod::default() };
        assert_eq!(of.confirmed(&maker, &named("web-7d4b9-x2x7k"), &labels("web")), of);
        for (pod, app, why) in
            [("evil-0", "web", "makes no pods of such a name"), ("web-7d4b9-x2x7k", "evil", "goes by other labels")]
        {
            let not = of.confirmed(&maker, &named(pod), &labels(app));
            assert_eq!((not.chain.len(), not.counted(1)), (0, None), "{pod}: it stands in for nobody");
            assert_eq!(not.unknown, [format!("replicaset/web-7d4b9 is said to own it, and {why}: it does not")]);
        }
    }

    #[test]
    fn an_owner_of_another_group_is_of_another_kind() {
        let of = |version: &str| {
            let reference: OwnerReference = serde_json::from_value(
                json!({ "apiVersion": version, "kind": "StatefulSet", "name": "db", "uid": "u", "controller": true }),
            )
            .unwrap();
            Owner::controller(&[reference]).unwrap().to_string()
        };
        assert_eq!(
            (of("apps/v1"), of("apps.kruise.io/v1")),
            ("statefulset/db".into(), "statefulset.apps.kruise.io/db".into())
        );
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
