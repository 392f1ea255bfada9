//! A pod as the API server tells it, and what is kept of it.
//!
//! Owns which of its fields are read at all: the rest of a pod, most of it, is passed over while it is read and takes no memory. Pure.
//! Keeps true: an image's digest is that of the container that runs, not of what the pod asks for; a pod that only says of itself that it is
//! static is not taken for another; what is endless in a pod is cut at a bound.

use super::makers::Maker;
use crate::maker::{group, is_own, of_group};
use crate::owner::Owner;
use quell_model::{Name, Pod, PodContainer};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Labels of one pod that are kept, the first by their keys. The API knows no bound.
const LABELS: usize = 128;
/// Its containers.
const CONTAINERS: usize = 128;

/// See the module.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Seen {
    pub(super) metadata: Meta,
    spec: Spec,
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Meta {
    name: String,
    namespace: String,
    pub(super) uid: String,
    pub(super) resource_version: String,
    labels: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<Reference>>,
    annotations: Option<Annotations>,
    deletion_timestamp: Option<IgnoredAny>,
}

/// The two by which the kubelet tells of a static pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "kubernetes.io/config.hash")]
    hash: Option<String>,
    #[serde(rename = "kubernetes.io/config.mirror")]
    mirror: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Reference {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) controller: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: Option<String>,
    service_account_name: Option<String>,
    host_network: Option<bool>,
    containers: Option<Vec<Wanted>>,
    init_containers: Option<Vec<Wanted>>,
    ephemeral_containers: Option<Vec<Wanted>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    name: String,
    image: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    conditions: Option<Vec<Condition>>,
    container_statuses: Option<Vec<Running>>,
    init_container_statuses: Option<Vec<Running>>,
    ephemeral_container_statuses: Option<Vec<Running>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Running {
    name: String,
    image: Option<String>,
    #[serde(rename = "imageID")]
    image_id: Option<String>,
    #[serde(rename = "containerID")]
    container_id: Option<String>,
    state: Option<State>,
    #[serde(rename = "lastState")]
    last_state: Option<State>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct State {
    terminated: Option<Terminated>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Terminated {
    #[serde(rename = "containerID")]
    container_id: Option<String>,
}

/// What is at the top of a pod, as far as the pod itself says it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Top {
    /// It is one of no workload.
    Bare,
    /// It is one of this.
    Is(Name),
    /// What made it says whose it is itself.
    Ask(Reference),
}

impl Seen {
    /// Whether it was ready, and not told to end.
    pub(super) fn is_ready(&self) -> bool {
        let mut conditions = self.status.conditions.iter().flatten();
        self.metadata.deletion_timestamp.is_none() && conditions.any(|one| one.kind == "Ready" && one.status == "True")
    }

    /// Whether something says that it makes pods like it. A static pod is nobody's.
    pub(super) fn is_owned(&self) -> bool {
        let mut makers = self.metadata.owner_references.iter().flatten();
        makers.any(|one| one.controller == Some(true) && !one.is_own("Node"))
    }

    /// What says that it has made it, as it says so itself.
    pub(super) fn maker(&self) -> Option<Maker> {
        let mut makers = self.metadata.owner_references.iter().flatten();
        let one = makers.find(|one| one.controller == Some(true))?;
        let kind = of_group(&one.kind, one.group()).into_owned();
        let by = Owner { kind, name: one.name.clone(), uid: one.uid.clone() };
        Some(Maker { namespace: self.metadata.namespace.as_str().into(), by })
    }

    /// What is kept of it, as a pod whose owner and version are still to be said, and what it says of its owner.
    pub(super) fn kept(self) -> (Pod, Top) {
        let Self { metadata, spec, status } = self;
        let node = spec.node_name.clone().unwrap_or_default();
        let controller =
            metadata.owner_references.into_iter().flatten().find(|reference| reference.controller == Some(true));
        let labels = metadata.labels.unwrap_or_default();
        let hash = metadata.annotations.and_then(|notes| notes.mirror.and(notes.hash));
        let is_static = controller.as_ref().is_some_and(|one| one.is_own("Node") && one.name == node);
        let cgroup_uid = hash.filter(|hash| is_static && hash.len() == 32).map(Arc::from);
        let top = top(controller, labels.get("pod-template-hash").map(String::as_str));
        let pod = Pod {
            uid: metadata.uid.into(),
            cgroup_uid,
            namespace: metadata.namespace.into(),
            name: metadata.name.into(),
            node: node.into(),
            owner: None,
            service_account: spec.service_account_name.as_deref().filter(|name| !name.is_empty()).map(Name::from),
            host_network: spec.host_network.unwrap_or(false),
            ip: status.pod_ip.as_deref().filter(|ip| !ip.is_empty()).map(Arc::from),
            labels: labels.into_iter().take(LABELS).map(|(key, value)| (key.into(), value.into())).collect(),
            containers: containers(&spec, &status),
            version: 0,
        };
        (pod, top)
    }
}

fn containers(spec: &Spec, status: &Status) -> Vec<PodContainer> {
    let wanted: Vec<&Wanted> = [&spec.containers, &spec.init_containers, &spec.ephemeral_containers]
        .into_iter()
        .flat_map(|all| all.iter().flatten())
        .collect();
    [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses]
        .into_iter()
        .flat_map(|all| all.iter().flatten())
        .take(CONTAINERS)
        .map(|running| {
            let asked = wanted.iter().find(|one| one.name == running.name).and_then(|one| one.image.as_ref());
            let ended = [&running.state, &running.last_state].into_iter().flatten();
            let ended = ended.filter_map(|state| state.terminated.as_ref()?.container_id.as_deref());
            let mut ids: Vec<Arc<str>> = Vec::new();
            for id in running.container_id.as_deref().into_iter().chain(ended).filter_map(bare_id) {
                if !ids.iter().any(|known| **known == *id) {
                    ids.push(id.into());
                }
            }
            PodContainer {
                name: running.name.as_str().into(),
                // Of two names for one image the kubelet may tell the other.
                image: asked.or(running.image.as_ref()).map(|image| image.as_str().into()),
                digest: running.image_id.as_deref().and_then(digest).map(Arc::from),
                ids,
            }
        })
        .collect()
}

/// `containerd://ID`.
fn bare_id(id: &str) -> Option<&str> {
    let id = id.rsplit_once("://").map_or(id, |(_, id)| id);
    (!id.is_empty()).then_some(id)
}

/// `docker.io/library/nginx@sha256:…`, `docker-pullable://…@sha256:…`, or `sha256:…`.
fn digest(image_id: &str) -> Option<&str> {
    let digest = image_id.rsplit_once('@').map_or(image_id, |(_, digest)| digest);
    digest.starts_with("sha256:").then_some(digest)
}

/// A ReplicaSet whose name is the Deployment's and the hash that the Deployment labels its pods with is told without a call. Any other,
/// and a Job, may be somebody else's: a Rollout's, a CronJob's. What another group calls so is neither.
fn top(controller: Option<Reference>, hash: Option<&str>) -> Top {
    let Some(controller) = controller else { return Top::Bare };
    // A static pod is nobody's.
    if controller.is_own("Node") {
        return Top::Bare;
    }
    let is_set = controller.is_own("ReplicaSet");
    let deployment = hash.and_then(|hash| controller.name.strip_suffix(hash)?.strip_suffix('-'));
    match deployment {
        Some(name) if is_set && !name.is_empty() => Top::Is(format!("deployment/{name}").into()),
        _ if is_set || controller.is_own("Job") => Top::Ask(controller),
        _ => Top::Is(controller.named()),
    }
}

impl Reference {
    fn group(&self) -> &str {
        group(&self.api_version)
    }

    /// Whether it is of this kind of Kubernetes' own.
    fn is_own(&self, kind: &str) -> bool {
        is_own((&self.kind, self.group()), kind)
    }

    /// `deployment/web`: as kubectl writes it; of another group that has a kind of that name too `statefulset.apps.kruise.io/web`.
    pub(super) fn named(&self) -> Name {
        format!("{}/{}", of_group(&self.kind, self.group()).to_ascii_lowercase(), self.name).into()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn web() -> serde_json::Value {
        json!({
            "metadata": {
                "name": "web-7d4b9-x", "namespace": "shop", "uid": "u1", "resourceVersion": "7",
                "labels": { "pod-template-hash": "7d4b9", "app": "web" },
                "ownerReferences": [
                    { "apiVersion": "v1", "kind": "Other", "name": "o", "uid": "r0" },
                    { "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d4b9", "uid": "r1", "controller": true },
                ],
                "managedFields": [{ "manager": "kubelet", "fieldsV1": { "f:a": {} } }],
            },
            "spec": {
                "nodeName": "node1", "serviceAccountName": "web", "containers": [{ "name": "app", "image": "shop/web:1" }],
                "initContainers": [{ "name": "init", "image": "shop/init:1" }],
            },
            "status": {
                "podIP": "10.244.0.7",
                "containerStatuses": [{
                    "name": "app", "image": "sha256:11", "imageID": "docker.io/shop/web@sha256:aa", "containerID": "containerd://c2",
                    "state": { "running": {} }, "lastState": { "terminated": { "containerID": "containerd://c1" } },
                }],
                "initContainerStatuses": [{
                    "name": "init", "imageID": "sha256:bb", "containerID": "cri-o://i1",
                    "state": { "terminated": { "containerID": "cri-o://i1" } },
                }],
            },
        })
    }

    fn read(json: &serde_json::Value) -> (Pod, Top) {
        serde_json::from_value::<Seen>(json.clone()).unwrap().kept()
    }

    #[test]
    fn a_pod_is_read_as_the_kubelet_writes_it() {
        let (pod, top) = read(&web());
        assert_eq!((&*pod.uid, pod.namespace.as_str(), pod.name.as_str()), ("u1", "shop", "web-7d4b9-x"));
        assert_eq!(
            (pod.service_account, pod.host_network, pod.ip.as_deref()),
            (Some("web".into()), false, Some("10.244.0.7"))
        );
        assert_eq!(top, Top::Is("deployment/web".into()));
        let shown: Vec<_> = pod
            .containers
            .iter()
            .map(|one| (&*one.name, one.image.as_deref(), one.digest.as_deref(), one.ids.len()))
            .collect();
        assert_eq!(
            shown,
            [("app", Some("shop/web:1"), Some("sha256:aa"), 2), ("init", Some("shop/init:1"), Some("sha256:bb"), 1),]
        );
        assert!(pod.containers[0].ids.iter().map(|id| &**id).eq(["c2", "c1"]), "that before it too");
    }

    #[test]
    fn an_owner_is_told_only_where_the_pod_is_sure_of_it() {
        let of = |kind: &str, name: &str, api: &str, hash: Option<&str>| {
            let mut pod = web();
            pod["metadata"]["ownerReferences"] =
                json!([{ "apiVersion": api, "kind": kind, "name": name, "uid": "r1", "controller": true }]);
            pod["metadata"]["labels"] = hash.map_or(json!({}), |hash| json!({ "pod-template-hash": hash }));
            read(&pod).1
        };
        let is = |name: &str| Top::Is(name.into());
        assert_eq!(of("StatefulSet", "db", "apps/v1", None), is("statefulset/db"));
        assert_eq!(of("DaemonSet", "agent", "apps/v1", Some("x")), is("daemonset/agent"));
        assert_eq!(of("StatefulSet", "db", "apps.kruise.io/v1", None), is("statefulset.apps.kruise.io/db"));
        assert_eq!(of("ReplicaSet", "web-7d", "apps/v1", Some("7d")), is("deployment/web"));
        for (name, api, hash) in [
            ("web-7d", "apps/v1", None),
            ("web-7d", "apps/v1", Some("8e")),
            ("7d", "apps/v1", Some("7d")),
            ("-7d", "apps/v1", Some("7d")),
        ] {
            assert!(matches!(of("ReplicaSet", name, api, hash), Top::Ask(_)), "{name} {api} {hash:?}");
        }
        // What another group calls so is no more than that: the cluster is not asked of one of its own.
        for (kind, api, named) in [
            ("ReplicaSet", "else.example.org/v1", "replicaset.else.example.org/web-7d"),
            ("Job", "batch.volcano.sh/v1alpha1", "job.batch.volcano.sh/web-7d"),
            ("StatefulSet", "apps.kruise.io/v1", "statefulset.apps.kruise.io/web-7d"),
            ("Node", "else.example.org/v1", "node.else.example.org/web-7d"),
            ("ReplicaSet", "v1", "replicaset.core/web-7d"),
            ("Rollout", "argoproj.io/v1alpha1", "rollout/web-7d"),
        ] {
            assert_eq!(of(kind, "web-7d", api, Some("7d")), is(named), "{kind} {api}");
        }
        assert!(matches!(of("Job", "report-29", "batch/v1", None), Top::Ask(_)));
        assert_eq!(of("Node", "node1", "v1", None), Top::Bare);
        let mut bare = web();
        bare["metadata"]["ownerReferences"] = serde_json::Value::Null;
        assert_eq!(read(&bare).1, Top::Bare);
    }

    #[test]
    fn a_pod_that_says_of_itself_that_it_is_static_is_taken_for_no_other() {
        let hash = "0123456789abcdef".repeat(2);
        let mut pod = web();
        pod["metadata"]["annotations"] =
            json!({ "kubernetes.io/config.hash": hash, "kubernetes.io/config.mirror": hash, "other": "x" });
        assert_eq!(read(&pod).0.cgroup_uid, None, "a ReplicaSet made it");
        pod["metadata"]["ownerReferences"] =
            json!([{ "apiVersion": "v1", "kind": "Node", "name": "node1", "uid": "n", "controller": true }]);
        assert_eq!(read(&pod).0.cgroup_uid.as_deref(), Some(hash.as_str()));
        pod["metadata"]["annotations"]["kubernetes.io/config.hash"] = json!("1b2c3d4e-0000-1111-2222-333344445555");
        assert_eq!(read(&pod).0.cgroup_uid, None, "somebody's uid");
    }

    #[test]
    fn what_is_missing_or_endless_does_no_harm() {
        let (pod, top) = read(&json!({ "metadata": { "name": "p", "namespace": "n", "uid": "u", "labels": null } }));
        assert_eq!((pod.containers.len(), pod.labels.len(), top), (0, 0, Top::Bare));
        let mut many = web();
        let labels: serde_json::Map<_, _> = (0..9_999).map(|n| (format!("l{n:05}"), json!("v"))).collect();
        many["metadata"]["labels"] = labels.into();
        assert_eq!(read(&many).0.labels.len(), LABELS);
    }
}
