//! Somebody else writes between a read of quell's and its write: nothing of theirs is lost, and what cannot be written for them is told.

use super::act::{Act, interrupted, verb};
use super::api::Place;
use super::nodes::{gone, node, taints};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, Patch, PatchParams};
use quell_kubernetes::{Cluster, Settings};
use quell_model::{ActionError, Json, Truth, Want};
use serde_json::json;
use std::sync::Arc;

async fn label(place: &Place, labels: Json) {
    let patch = Patch::Merge(json!({ "metadata": { "labels": labels } }));
    place.api::<Pod>().patch("web", &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test]
async fn a_label_that_is_written_while_it_is_given_back_is_theirs() {
    let Some(place) = Place::new("between").await else { return };
    place.pod("web", json!({ "app": "web" }), json!({})).await;
    let verb = verb(&place.cluster, "kubernetes.label_pod");
    let input = json!({ "pod": place.named("web"), "labels": { "seen": "yes" } });
    for calls in 0.. {
        let act = Act::of(&format!("r-{calls}"));
        label(&place, json!({ "seen": null })).await;
        let done = act.whole(&*verb, &input).await.unwrap();
        let go = act.admitted(&*verb, done.plan.clone());
        let theirs = async || label(&place, json!({ "seen": "theirs" })).await;
        let (undone, came) = interrupted(&place.cluster, calls, verb.undo(&go, &act.back()), theirs).await;
        undone.unwrap();
        let left = if came { json!({ "app": "web", "seen": "theirs" }) } else { json!({ "app": "web" }) };
        assert_eq!(place.labels("web").await, left, "before call {calls}");
        assert_eq!(verb.verify_undone(&done.plan, &act.back()).await, Ok(Truth::Holds), "nothing of quell's stands");
        if !came {
            assert!(calls > 2, "it reads, and then writes");
            return;
        }
    }
}

#[tokio::test]
async fn whoever_writes_all_the_time_is_told_and_it_is_tried_again_later() {
    let Some(place) = Place::new("between").await else { return };
    place.pod("web", json!({ "app": "web" }), json!({})).await;
    let (act, verb) = (Act::of("r-1"), verb(&place.cluster, "kubernetes.label_pod"));
    let input = json!({ "pod": place.named("web"), "labels": { "seen": "yes" } });
    let plan = verb.plan(&input).await.unwrap();
    let (go, cx) = (act.admitted(&*verb, plan.clone()), act.context());
    let mut work = std::pin::pin!(verb.run(&go, &cx));
    // Its read goes through, and before its write somebody else has written.
    place.cluster.dies_after(Some(1));
    let mut times = 0;
    let ran = loop {
        tokio::select! {
            biased;
            ran = &mut work => break ran,
            () = place.cluster.died() => {}
        }
        times += 1;
        label(&place, json!({ "theirs": times.to_string() })).await;
        place.cluster.goes_on(Some(1));
    };
    place.cluster.dies_after(None);
    let error = ran.unwrap_err();
    let is_told = matches!(&error, ActionError::Retry { why, .. } if why.contains("is written on all the time"));
    assert!(is_told && times > 1, "{times}: {error:?}");
    assert_eq!(place.labels("web").await, json!({ "app": "web", "theirs": times.to_string() }));
    assert!(matches!(verb.verify(&plan, Want::Acted).await, Ok(Truth::HoldsNot(_))));
    // The next attempt, once they have ended.
    verb.run(&go, &cx).await.unwrap();
    assert_eq!(verb.verify(&plan, Want::Acted).await, Ok(Truth::Holds));
}

/// Another taint, as another controller would add it to those that it finds.
async fn taint(all: &Api<Node>, name: &str, key: &str) {
    let mut list = serde_json::to_value(taints(all, name).await).unwrap();
    list.as_array_mut().unwrap().push(json!({ "key": key, "effect": "PreferNoSchedule" }));
    let patch = Patch::Merge(json!({ "spec": { "taints": list } }));
    all.patch(name, &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test]
async fn a_taint_that_comes_in_between_stands_beside_quells_and_after_it() {
    let Some(place) = Place::new("between").await else { return };
    let all = node(&place).await;
    let verb = verb(&place.cluster, "kubernetes.taint_node");
    let input = json!({ "node": place.namespace, "key": "quell/held", "effect": "PreferNoSchedule" });
    let has = async |key: &str| taints(&all, &place.namespace).await.iter().any(|taint| taint.key == key);
    for calls in 0.. {
        let act = Act::of(&format!("r-{calls}"));
        let plan = verb.plan(&input).await.unwrap();
        let go = act.admitted(&*verb, plan.clone());
        let key = format!("theirs/run-{calls}");
        let theirs = async || taint(&all, &place.namespace, &key).await;
        let (ran, came) = interrupted(&place.cluster, calls, verb.run(&go, &act.context()), theirs).await;
        ran.unwrap();
        assert_eq!((has("quell/held").await, has(&key).await), (true, came), "before call {calls}");
        let key = format!("theirs/undo-{calls}");
        let theirs = async || taint(&all, &place.namespace, &key).await;
        let (undone, came_back) = interrupted(&place.cluster, calls, verb.undo(&go, &act.back()), theirs).await;
        undone.unwrap();
        assert_eq!((has("quell/held").await, has(&key).await), (false, came_back), "undo, before call {calls}");
        if !came && !came_back {
            assert!(calls > 1, "it reads, and then writes");
            break;
        }
    }
    gone(&all, &place.namespace).await;
}

#[tokio::test]
async fn a_number_that_is_written_while_it_is_given_back_is_theirs() {
    let Some(place) = Place::new("between").await else { return };
    let template = json!({ "metadata": { "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "main", "image": "localhost/none:1" }] } });
    let spec = json!({ "replicas": 1, "selector": { "matchLabels": { "app": "web" } }, "template": template });
    place.make::<Deployment>(json!({ "metadata": { "name": "web" }, "spec": spec })).await;
    let all: Api<Deployment> = place.api();
    let scale = async |to: u32| {
        let patch = Patch::Merge(json!({ "spec": { "replicas": to } }));
        all.patch("web", &PatchParams::default(), &patch).await.unwrap();
    };
    let verb = verb(&place.cluster, "kubernetes.scale_owner");
    let input = json!({ "owner": format!("{}/deployment/web", place.namespace), "to": 0 });
    for calls in 0.. {
        let act = Act::of(&format!("r-{calls}"));
        scale(1).await;
        let done = act.whole(&*verb, &input).await.unwrap();
        let go = act.admitted(&*verb, done.plan.clone());
        let (undone, came) =
            interrupted(&place.cluster, calls, verb.undo(&go, &act.back()), async || scale(3).await).await;
        undone.unwrap();
        let stands = all.get("web").await.unwrap().spec.unwrap().replicas;
        assert_eq!(stands, Some(if came { 3 } else { 1 }), "before call {calls}");
        if !came {
            assert!(calls > 1, "it reads, and then writes");
            return;
        }
    }
}

#[tokio::test]
async fn of_two_who_cut_one_pod_off_in_the_same_moment_neither_is_forgotten() {
    let Some(place) = Place::new("between").await else { return };
    let settings = Settings { name: "test".into(), kubeconfig: Some(place.kubeconfig.clone()), context: None };
    let mine = verb(&place.cluster, "kubernetes.isolate_pod");
    let theirs = verb(&Arc::new(Cluster::new(settings)), "kubernetes.isolate_pod");
    for calls in 0.. {
        let name = format!("web-{calls}");
        place.pod(&name, json!({ "app": "web" }), json!({})).await;
        let input = json!({ "pod": place.named(&name) });
        let (first, second) = (Act::of(&format!("r-mine-{calls}")), Act::of(&format!("r-theirs-{calls}")));
        let plan = mine.plan(&input).await.unwrap();
        let go = first.admitted(&*mine, plan.clone());
        let mut other = None;
        let between = async || other = Some(second.whole(&*theirs, &input).await.unwrap().plan);
        let (ran, came) = interrupted(&place.cluster, calls, mine.run(&go, &first.context()), between).await;
        ran.unwrap();
        let truth = mine.verify(&plan, Want::Acted).await.unwrap();
        assert!(matches!(truth, Truth::Unproved(_)), "before call {calls}: {truth:?}");
        let (output, truth) = first.taken_back(&*mine, &plan).await.unwrap();
        assert_eq!(truth, Truth::Holds, "before call {calls}");
        let Some(other) = other else {
            assert!(!came && calls > 2, "it reads, and then writes");
            assert_eq!(place.labels(&name).await, json!({ "app": "web" }));
            return;
        };
        let still = output["still"].as_str().unwrap_or_default().to_owned();
        assert!(still.contains(&format!("of run r-theirs-{calls}")), "before call {calls}: {output}");
        let uid = place.api::<Pod>().get(&name).await.unwrap().metadata.uid;
        assert_eq!(place.labels(&name).await["quell/isolated"], json!(uid), "it stays cut off for the other");
        let (output, truth) = second.taken_back(&*theirs, &other).await.unwrap();
        assert_eq!((truth, output.get("still")), (Truth::Holds, None), "before call {calls}");
        assert_eq!(place.labels(&name).await, json!({ "app": "web" }), "before call {calls}");
    }
}
