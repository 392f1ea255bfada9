//! What owners make of a pod that is cut off: the real controllers let it go, and take it back.

use super::super::act::{Act, verb, wait_until};
use super::super::api::Place;
use super::{VERB, opens, service, unproved};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Resource;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use quell_model::{Json, TargetFacts, Truth};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fmt::Debug;

pub(super) async fn pods(place: &Place) -> Vec<Pod> {
    let all = place.api::<Pod>().list(&ListParams::default()).await.unwrap();
    all.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect()
}

pub(super) fn name(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap()
}

pub(super) fn is_owned(pod: &Pod) -> bool {
    pod.metadata.owner_references.as_ref().is_some_and(|owners| !owners.is_empty())
}

/// An owner of `count` pods with `app: web`, and the pods once they are there.
pub(super) async fn owner<K>(place: &Place, spec: Json, count: usize) -> Vec<Pod>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + Debug + DeserializeOwned + Serialize,
{
    let template = json!({
        "metadata": { "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "main", "image": "localhost/none:1" }], "restartPolicy": spec["restart"],
                  "nodeName": spec["node"] },
    });
    let mut whole = json!({ "template": template });
    for (key, value) in spec["spec"].as_object().into_iter().flatten() {
        whole[key] = value.clone();
    }
    place.make::<K>(json!({ "metadata": { "name": "web" }, "spec": whole })).await;
    wait_until("the owner has made its pods", async || pods(place).await.len() == count).await;
    pods(place).await
}

/// A node of one test's own, by its name; no kubelet is there. It goes with the cluster.
pub(super) async fn node(place: &Place) -> String {
    let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(place.client.clone());
    let name = format!("node-{}", place.namespace);
    let object = json!({ "metadata": { "name": name, "labels": { "only": place.namespace } } });
    nodes.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    name
}

pub(super) fn selecting() -> Json {
    json!({ "matchLabels": { "app": "web" } })
}

/// The addresses behind a Service that take what comes for it.
async fn behind(place: &Place, service: &str) -> Vec<String> {
    let fits = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
    let slices = place.api::<EndpointSlice>().list(&fits).await.unwrap();
    let ready = slices.items.into_iter().flat_map(|slice| slice.endpoints);
    ready.filter_map(|endpoint| endpoint.target_ref?.name).collect()
}

#[tokio::test]
async fn a_deployment_heals_and_takes_the_pod_back() {
    let Some(place) = Place::new("owners").await else { return };
    service(&place, "web", json!({ "app": "web" })).await;
    // Without a node a Service does not route to a pod.
    let node = node(&place).await;
    let spec = json!({ "restart": "Always", "node": node, "spec": { "replicas": 2, "selector": selecting() } });
    let made = owner::<Deployment>(&place, spec, 2).await;
    for (number, pod) in made.iter().enumerate() {
        let address = format!("10.244.9.{}", number + 1);
        let status = json!({ "status": { "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }],
            "conditions": [{ "type": "Ready", "status": "True" }] } });
        let api = place.api::<Pod>();
        api.patch_status(&name(pod), &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }
    let it = name(&made[0]);
    wait_until("the Service routes to both", async || behind(&place, "web").await.len() == 2).await;
    wait_until("the Deployment counts both", async || {
        let web: Deployment = place.api().get("web").await.unwrap();
        web.status.and_then(|status| status.ready_replicas) == Some(2)
    })
    .await;
    let before = place.labels(&it).await;

    let (act, verb) = (Act::of("r-1"), verb(&place.cluster, VERB));
    let done = act.whole(&*verb, &json!({ "pod": place.named(&it) })).await.unwrap();
    unproved(&done.truth);
    let TargetFacts::Object { owner, replicas: Some(replicas), .. } = &done.plan.targets[0].facts else {
        panic!("{:?}", done.plan.targets)
    };
    assert_eq!(owner.as_deref(), Some("deployment/web"));
    assert_eq!((replicas.wanted, replicas.ready, replicas.takes), (2, 2, 1));
    assert_eq!(place.labels(&it).await.as_object().unwrap().len(), 1, "neither app nor pod-template-hash");
    wait_until("the ReplicaSet lets it go and makes another", async || {
        let all = pods(&place).await;
        all.len() == 3 && all.iter().any(|pod| name(pod) == it && !is_owned(pod))
    })
    .await;
    wait_until("the Service routes to it no more", async || {
        let all = behind(&place, "web").await;
        !all.contains(&it) && all.contains(&name(&made[1]))
    })
    .await;

    let (_, truth) = act.taken_back(&*verb, &done.plan).await.unwrap();
    assert_eq!(truth, Truth::Holds);
    // It takes it back, and ends whom it made in its place: that one is not ready.
    wait_until("the ReplicaSet takes it back and has two again", async || {
        let all = pods(&place).await;
        all.len() == 2 && all.iter().any(|pod| name(pod) == it && is_owned(pod))
    })
    .await;
    assert_eq!(place.labels(&it).await, before);
    wait_until("the Service routes to it again", async || behind(&place, "web").await.contains(&it)).await;
}

#[tokio::test]
async fn a_stateful_set_lets_it_go_and_cannot_replace_it() {
    let Some(place) = Place::new("owners").await else { return };
    let spec = json!({ "restart": "Always", "spec": { "replicas": 1, "serviceName": "web", "selector": selecting() } });
    let made = owner::<StatefulSet>(&place, spec, 1).await;
    let uid = made[0].metadata.uid.clone();
    let (act, verb) = (Act::of("r-1"), verb(&place.cluster, VERB));
    let done = act.whole(&*verb, &json!({ "pod": place.named("web-0") })).await.unwrap();
    assert!(opens(&done.plan, "statefulset/web makes no other pod while this one has its name"), "{:?}", done.plan);
    let alone = async || pods(&place).await.iter().map(|pod| (name(pod), is_owned(pod))).collect::<Vec<_>>();
    wait_until("it is let go", async || alone().await == [("web-0".to_owned(), false)]).await;
    let (_, truth) = act.taken_back(&*verb, &done.plan).await.unwrap();
    assert_eq!(truth, Truth::Holds);
    wait_until("it is taken back", async || alone().await == [("web-0".to_owned(), true)]).await;
    assert_eq!(pods(&place).await[0].metadata.uid, uid, "it is the very pod");
}

#[tokio::test]
async fn a_job_begins_anew_in_another_pod() {
    let Some(place) = Place::new("owners").await else { return };
    let made = owner::<Job>(&place, json!({ "restart": "Never", "spec": { "backoffLimit": 4 } }), 1).await;
    let it = name(&made[0]);
    let (act, verb) = (Act::of("r-1"), verb(&place.cluster, VERB));
    let done = act.whole(&*verb, &json!({ "pod": place.named(&it) })).await.unwrap();
    assert!(opens(&done.plan, "job/web begins its work anew in another pod"), "{:?}", done.plan);
    wait_until("the Job makes another", async || pods(&place).await.iter().any(|pod| name(pod) != it)).await;
    assert!(pods(&place).await.iter().any(|pod| name(pod) == it), "what is to be looked at stays");
    let (_, truth) = act.taken_back(&*verb, &done.plan).await.unwrap();
    assert_eq!(truth, Truth::Holds);
}

#[tokio::test]
async fn a_daemon_set_says_that_it_comes_back_on_the_same_node() {
    let Some(place) = Place::new("owners").await else { return };
    node(&place).await;
    let template = json!({
        "metadata": { "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "main", "image": "localhost/none:1" }],
                  "nodeSelector": { "only": place.namespace }, "tolerations": [{ "operator": "Exists" }] },
    });
    let spec = json!({ "selector": selecting(), "template": template });
    place.make::<DaemonSet>(json!({ "metadata": { "name": "web" }, "spec": spec })).await;
    wait_until("the DaemonSet has made its pod", async || pods(&place).await.len() == 1).await;
    let it = name(&pods(&place).await[0]);
    let (act, verb) = (Act::of("r-1"), verb(&place.cluster, VERB));
    let done = act.whole(&*verb, &json!({ "pod": place.named(&it) })).await.unwrap();
    assert!(opens(&done.plan, "daemonset/web makes another pod on the same node"), "{:?}", done.plan);
    wait_until("it makes another beside it", async || {
        let all = pods(&place).await;
        all.len() == 2 && all.iter().any(|pod| name(pod) == it && !is_owned(pod))
    })
    .await;
    let (_, truth) = act.taken_back(&*verb, &done.plan).await.unwrap();
    assert_eq!(truth, Truth::Holds);
}
