//! `kubernetes.label_node`, `taint_node`, `cordon_node` and `drain_node` against a real API server. Its nodes are objects alone: what their
//! kubelets would tell is written by the tests.

use super::act::{Act, outlives_every_crash, verb, wait_until};
use super::api::Place;
use super::ends::{name, pods, web};
use super::kubelet::Kubelet;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, DeleteParams, Patch, PostParams};
use quell_model::{ActionError, Json, Plan, TargetFacts, Truth, Want};
use serde_json::json;
use std::time::{Duration, Instant};

/// A node of this test's own, called as its namespace.
pub(crate) async fn node(place: &Place) -> Api<Node> {
    let all: Api<Node> = Api::all(place.client.clone());
    let object = json!({ "metadata": { "name": place.namespace, "labels": { "quell.test/node": place.namespace } } });
    all.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    let now = k8s_openapi::jiff::Timestamp::now();
    let ready = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True", "reason": "Test", "message": "",
        "lastHeartbeatTime": now.to_string(), "lastTransitionTime": now.to_string() }] } });
    all.patch_status(&place.namespace, &Default::default(), &Patch::Merge(ready)).await.unwrap();
    // The controllers take off what they put on a new node.
    wait_until("the node is open", async || {
        let taints = taints(&all, &place.namespace).await;
        taints.iter().all(|taint| !taint.key.starts_with("node.kubernetes.io/not-ready"))
    })
    .await;
    all
}

pub(crate) async fn taints(all: &Api<Node>, name: &str) -> Vec<Taint> {
    all.get(name).await.unwrap().spec.and_then(|spec| spec.taints).unwrap_or_default()
}

pub(crate) async fn is_closed(all: &Api<Node>, name: &str) -> bool {
    all.get(name).await.unwrap().spec.and_then(|spec| spec.unschedulable) == Some(true)
}

pub(crate) async fn gone(all: &Api<Node>, name: &str) {
    drop(all.delete(name, &DeleteParams::default()).await);
}

/// Puts a pod that has no node on that of this test.
pub(crate) async fn bind(place: &Place, pod: &str) {
    let binding = json!({ "apiVersion": "v1", "kind": "Binding", "metadata": { "name": pod },
        "target": { "apiVersion": "v1", "kind": "Node", "name": place.namespace } });
    let all: Api<Pod> = place.api();
    let _: Json = all.create_subresource("binding", pod, &PostParams::default(), &binding).await.unwrap();
}

/// Owner, ready and taken of each target that is a pod.
fn counted(plan: &Plan) -> Vec<(Option<String>, u32, u32)> {
    let pods = plan.targets.iter().filter(|target| target.kind.as_str() == "pod");
    pods.map(|target| {
        assert!(!target.named, "only the node is named");
        let TargetFacts::Object { owner, replicas, .. } = &target.facts else { panic!("no object") };
        (owner.clone(), replicas.map_or(0, |of| of.ready), replicas.map_or(0, |of| of.takes))
    })
    .collect()
}

#[tokio::test]
async fn a_node_is_labelled_and_given_back() {
    let Some(place) = Place::new("node").await else { return };
    let all = node(&place).await;
    let (verb, act) = (verb(&place.cluster, "kubernetes.label_node"), Act::of("r-1"));
    let input = json!({ "node": place.namespace, "labels": { "quell.test/node": null, "held": "yes" } });
    let done = act.whole(&*verb, &input).await.unwrap();
    assert_eq!(done.truth, Truth::Holds);
    let labels = async || all.get(&place.namespace).await.unwrap().metadata.labels.unwrap_or_default();
    let now = labels().await;
    assert_eq!((now.get("held").map(String::as_str), now.get("quell.test/node")), (Some("yes"), None));
    // What somebody else writes on since is theirs; the undo is whole all the same, and says so.
    let theirs = json!({ "metadata": { "labels": { "held": "longer" } } });
    all.patch(&place.namespace, &Default::default(), &Patch::Merge(theirs)).await.unwrap();
    let (output, truth) = act.taken_back(&*verb, &done.plan).await.unwrap();
    assert_eq!(truth, Truth::Holds);
    assert!(output["still"].as_str().unwrap().contains("`held` is `longer` now"), "{output}");
    let now = labels().await;
    assert_eq!((now["held"].as_str(), now["quell.test/node"].as_str()), ("longer", place.namespace.as_str()));
    gone(&all, &place.namespace).await;
}

#[tokio::test]
async fn a_taint_stands_beside_others_and_is_given_back() {
    let Some(place) = Place::new("node").await else { return };
    let all = node(&place).await;
    let _kubelet = Kubelet::of(&place);
    place
        .pod(
            "stays",
            json!({}),
            json!({ "nodeName": place.namespace, "tolerations": [{ "key": "quell/held", "operator": "Exists" }] }),
        )
        .await;
    place.pod("goes", json!({}), json!({ "nodeName": place.namespace })).await;
    let (verb, act) = (verb(&place.cluster, "kubernetes.taint_node"), Act::of("r-1"));
    let own = async || {
        taints(&all, &place.namespace).await.into_iter().filter(|taint| taint.key == "quell/held").collect::<Vec<_>>()
    };
    let input = |value: &str, effect: &str| json!({ "node": place.namespace, "key": "quell/held", "value": value, "effect": effect });
    let first = act.whole(&*verb, &input("a", "NoSchedule")).await.unwrap();
    assert_eq!((first.truth, first.plan.targets.len()), (Truth::Holds, 1));
    assert!(verb.plan(&input("a", "NoSchedule")).await.unwrap().already);
    // Another value takes its place, and gives it back.
    let second = act.whole(&*verb, &input("b", "NoSchedule")).await.unwrap();
    assert_eq!((second.truth, own().await[0].value.as_deref()), (Truth::Holds, Some("b")));
    let (_, truth) = act.taken_back(&*verb, &second.plan).await.unwrap();
    assert_eq!((truth, own().await[0].value.as_deref()), (Truth::Holds, Some("a")));
    // One that ends pods names them, and the other effect stays.
    let third = act.whole(&*verb, &input("c", "NoExecute")).await.unwrap();
    assert_eq!((third.truth, own().await.len()), (Truth::Holds, 2));
    assert_eq!(third.plan.targets.iter().filter(|target| target.label.ends_with("/goes")).count(), 1);
    assert_eq!(third.plan.targets.len(), 2);
    assert!(third.plan.still_open.iter().any(|open| open.contains("1 pods are ended")));
    wait_until("the cluster ends the pod", async || {
        pods(&place).await.iter().map(name).collect::<Vec<_>>() == ["stays"]
    })
    .await;
    for plan in [&third.plan, &first.plan] {
        let (_, truth) = act.taken_back(&*verb, plan).await.unwrap();
        assert_eq!(truth, Truth::Holds);
    }
    assert!(own().await.is_empty());
    gone(&all, &place.namespace).await;
}

#[tokio::test]
async fn a_node_is_closed_and_opened() {
    let Some(place) = Place::new("node").await else { return };
    let all = node(&place).await;
    let (verb, act) = (verb(&place.cluster, "kubernetes.cordon_node"), Act::of("r-1"));
    let input = json!({ "node": place.namespace });
    let done = act.whole(&*verb, &input).await.unwrap();
    assert_eq!((done.truth, is_closed(&all, &place.namespace).await), (Truth::Holds, true));
    let TargetFacts::Object { resource, replicas, .. } = &done.plan.targets[0].facts else { panic!("no object") };
    assert_eq!((resource.as_str(), replicas.unwrap().takes), ("nodes", 1));
    let late = verb.plan(&input).await.unwrap();
    let TargetFacts::Object { replicas, .. } = &late.targets[0].facts else { panic!("no object") };
    assert_eq!((late.already, replicas.unwrap().takes), (true, 0));
    let (_, truth) = act.taken_back(&*verb, &done.plan).await.unwrap();
    assert_eq!((truth, is_closed(&all, &place.namespace).await), (Truth::Holds, false));
    gone(&all, &place.namespace).await;
    let error = verb.plan(&input).await.unwrap_err();
    assert!(error.to_string().contains("there is no node"), "{error}");
    // The node that was planned is gone: nothing of it stands.
    assert!(matches!(verb.verify(&done.plan, Want::Acted).await, Ok(Truth::HoldsNot(_))));
    assert_eq!(act.taken_back(&*verb, &done.plan).await.unwrap().0["gone"], json!(true));
}

#[tokio::test]
async fn a_node_is_drained_of_those_who_go() {
    let Some(place) = Place::new("node").await else { return };
    let all = node(&place).await;
    let _kubelet = Kubelet::of(&place);
    web(&place, 2, json!({})).await;
    for pod in pods(&place).await {
        bind(&place, &name(&pod)).await;
    }
    let daemons = json!({ "metadata": { "name": "agent" }, "spec": { "selector": { "matchLabels": { "app": "agent" } }, "template": {
        "metadata": { "labels": { "app": "agent" } },
        "spec": { "nodeSelector": { "quell.test/node": place.namespace }, "containers": [{ "name": "main", "image": "localhost/none:1" }] } } } });
    place.make::<DaemonSet>(daemons).await;
    wait_until("the daemon is there", async || pods(&place).await.len() == 3).await;
    let daemon = pods(&place).await.iter().map(name).find(|name| name.starts_with("agent")).unwrap();
    bind(&place, &daemon).await;
    let (verb, act) = (verb(&place.cluster, "kubernetes.drain_node"), Act::of("r-1"));
    let error = verb.plan(&json!({ "node": place.namespace, "ignore_daemonsets": false })).await.unwrap_err();
    assert!(error.to_string().contains(&daemon), "{error}");
    let done = act.whole(&*verb, &json!({ "node": place.namespace })).await.unwrap();
    assert_eq!(done.truth, Truth::Holds);
    assert_eq!(counted(&done.plan), vec![(Some("deployment/web".to_owned()), 2, 1); 2]);
    assert_eq!(done.output["evicted"].as_array().unwrap().len(), 2);
    assert!(done.output["passed_over"][0].as_str().unwrap().contains(&daemon), "{}", done.output);
    assert!(is_closed(&all, &place.namespace).await);
    let on = pods(&place)
        .await
        .iter()
        .filter(|pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()))
        .map(name)
        .collect::<Vec<_>>();
    assert_eq!(on, [daemon]);
    assert!(verb.plan(&json!({ "node": place.namespace })).await.unwrap().already);
    let (_, truth) = act.taken_back(&*verb, &done.plan).await.unwrap();
    assert_eq!((truth, is_closed(&all, &place.namespace).await), (Truth::Holds, false));
    gone(&all, &place.namespace).await;
}

#[tokio::test]
async fn a_drain_that_is_stuck_ends_and_names_what_is_left() {
    let Some(place) = Place::new("node").await else { return };
    let all = node(&place).await;
    let kubelet = Kubelet::of(&place);
    place.pod("free", json!({ "app": "free" }), json!({ "nodeName": place.namespace })).await;
    place.pod("kept", json!({ "app": "kept" }), json!({ "nodeName": place.namespace })).await;
    let budget = json!({ "metadata": { "name": "keep" }, "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "kept" } } } });
    place.make::<PodDisruptionBudget>(budget).await;
    wait_until("the budget is counted", async || {
        let found: PodDisruptionBudget = place.api().get("keep").await.unwrap();
        found.status.is_some_and(|status| status.expected_pods == 1 && status.current_healthy == 1)
    })
    .await;
    let (verb, act) = (verb(&place.cluster, "kubernetes.drain_node"), Act::of("r-1"));
    let error = verb.plan(&json!({ "node": place.namespace })).await.unwrap_err();
    assert!(error.to_string().contains("nothing would make these pods anew"), "{error}");
    let plan = verb.plan(&json!({ "node": place.namespace, "force": true, "timeout": "4s" })).await.unwrap();
    assert!(plan.would_fail.iter().any(|why| why.contains("keep")), "{:?}", plan.would_fail);
    let go = act.admitted(&*verb, plan.clone());
    let begun = Instant::now();
    let error = verb.run(&go, &act.context()).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(30));
    let ActionError::GiveUp { why, .. } = &error else { panic!("{error:?}") };
    assert!(
        why.contains("1 of 2 pods are gone") && why.contains("/kept: ") && why.contains("disruption budget"),
        "{why}"
    );
    assert_eq!(*act.notes.0.lock().unwrap(), [json!({ "gone": 1, "of": 2 })]);
    assert!(is_closed(&all, &place.namespace).await);
    assert!(matches!(verb.verify(&plan, Want::Acted).await, Ok(Truth::HoldsNot(why)) if why.contains("/kept")));
    // Asked to stop, it does so at once.
    act.stop.raise();
    let long = verb.plan(&json!({ "node": place.namespace, "force": true })).await.unwrap();
    let begun = Instant::now();
    let error = verb.run(&act.admitted(&*verb, long), &act.context()).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(10) && error.to_string().contains("asked to stop"), "{error}");
    drop(kubelet);
    let (_, truth) = act.taken_back(&*verb, &plan).await.unwrap();
    assert_eq!((truth, is_closed(&all, &place.namespace).await), (Truth::Holds, false));
    gone(&all, &place.namespace).await;
}

#[tokio::test]
async fn whoever_came_after_the_plan_is_not_evicted_and_is_named() {
    let Some(place) = Place::new("node").await else { return };
    let all = node(&place).await;
    let _kubelet = Kubelet::of(&place);
    place.pod("planned", json!({}), json!({ "nodeName": place.namespace })).await;
    let (verb, act) = (verb(&place.cluster, "kubernetes.drain_node"), Act::of("r-1"));
    let plan = verb.plan(&json!({ "node": place.namespace, "force": true })).await.unwrap();
    place.pod("late", json!({}), json!({ "nodeName": place.namespace })).await;
    let error = verb.run(&act.admitted(&*verb, plan.clone()), &act.context()).await.unwrap_err();
    assert!(matches!(&error, ActionError::GiveUp { why, .. } if why.contains("/late")), "{error:?}");
    assert_eq!(pods(&place).await.iter().map(name).collect::<Vec<_>>(), ["late"]);
    assert!(matches!(verb.verify(&plan, Want::Acted).await, Ok(Truth::HoldsNot(why)) if why.contains("/late")));
    gone(&all, &place.namespace).await;
}

#[tokio::test]
async fn what_is_done_to_nodes_outlives_every_crash() {
    let Some(place) = Place::new("node").await else { return };
    let all = node(&place).await;
    let _kubelet = Kubelet::of(&place);
    let here = place.namespace.clone();

    let judge = async |_: &Json, want: Want| {
        let labels = all.get(&here).await.unwrap().metadata.labels.unwrap_or_default();
        assert_eq!(labels.get("held").map(String::as_str), (want == Want::Acted).then_some("yes"));
    };
    let input = async |_: u32| json!({ "node": here, "labels": { "held": "yes" } });
    outlives_every_crash(&place.cluster, "kubernetes.label_node", input, judge).await;

    let judge = async |_: &Json, want: Want| {
        let all = taints(&all, &here).await;
        let own = all.iter().filter(|taint| taint.key == "quell/held").count();
        assert_eq!(own, usize::from(want == Want::Acted));
    };
    let input = async |_: u32| json!({ "node": here, "key": "quell/held", "effect": "NoSchedule" });
    outlives_every_crash(&place.cluster, "kubernetes.taint_node", input, judge).await;

    let judge = async |_: &Json, want: Want| assert_eq!(is_closed(&all, &here).await, want == Want::Acted);
    let input = async |_: u32| json!({ "node": here });
    outlives_every_crash(&place.cluster, "kubernetes.cordon_node", input, judge).await;

    let input = async |calls: u32| {
        for pod in ["a", "b"] {
            place.pod(&format!("{pod}-{calls}"), json!({}), json!({ "nodeName": here })).await;
        }
        json!({ "node": here, "force": true })
    };
    let judge = async |_: &Json, want: Want| {
        assert_eq!((is_closed(&all, &here).await, pods(&place).await.len()), (want == Want::Acted, 0));
    };
    outlives_every_crash(&place.cluster, "kubernetes.drain_node", input, judge).await;
    gone(&all, &here).await;
}
