//! `kubernetes.emit_event` against a real API server.

use super::act::{Act, dying, verb};
use super::api::Place;
use k8s_openapi::api::core::v1::{Event, Node};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use quell_model::{Truth, Want};
use serde_json::json;

const VERB: &str = "kubernetes.emit_event";

/// What `kubectl describe` would list of an object.
async fn told(place: &Place, namespace: &str, uid: &str) -> Vec<Event> {
    let all: Api<Event> = Api::namespaced(place.client.clone(), namespace);
    all.list(&ListParams::default().fields(&format!("involvedObject.uid={uid}"))).await.unwrap().items
}

#[tokio::test]
async fn an_event_is_told_once_however_often_it_is_written() {
    let Some(place) = Place::new("emit").await else { return };
    place.pod("web", json!({}), json!({})).await;
    let uid = place.ready("web").await.metadata.uid.unwrap();
    let (act, verb) = (Act::of("r-1"), verb(&place.cluster, VERB));
    let input =
        json!({ "object": place.named("web"), "reason": "PodIsolated", "message": "cut off\n\u{1b}[31mby quell" });
    let plan = verb.plan(&input).await.unwrap();
    assert_eq!(plan.targets, []);
    let go = act.admitted(&*verb, plan.clone());
    assert!(dying(&place.cluster, 0, verb.run(&go, &act.context())).await.is_none());
    assert_eq!(told(&place, &place.namespace, &uid).await, []);
    assert_eq!(verb.verify(&plan, Want::Acted).await.unwrap(), Truth::CannotAsk);
    let first = verb.run(&go, &act.context()).await.unwrap();
    let again = verb.run(&go, &act.context()).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(verb.verify(&plan, Want::Acted).await.unwrap(), Truth::Holds);
    let all = told(&place, &place.namespace, &uid).await;
    assert_eq!(all.len(), 1);
    let event = &all[0];
    assert_eq!(event.message.as_deref(), Some("cut off\\n\\u{1b}[31mby quell"), "nothing breaks a line");
    assert_eq!((event.type_.as_deref(), event.reason.as_deref()), (Some("Warning"), Some("PodIsolated")));
    assert_eq!(first["event"], json!(format!("{}/{}", place.namespace, event.metadata.name.clone().unwrap())));
    // Another step's is another.
    let other = Act::of("r-2");
    verb.run(&go, &other.context()).await.unwrap();
    assert_eq!(told(&place, &place.namespace, &uid).await.len(), 2);
    let events: Api<Event> = place.api();
    for event in told(&place, &place.namespace, &uid).await {
        drop(events.delete(&event.metadata.name.unwrap(), &DeleteParams::default()).await.unwrap());
    }
    assert!(matches!(verb.verify(&plan, Want::Acted).await.unwrap(), Truth::HoldsNot(_)));
}

#[tokio::test]
async fn an_event_of_a_node_is_where_those_of_nodes_are() {
    let Some(place) = Place::new("emit").await else { return };
    let nodes: Api<Node> = Api::all(place.client.clone());
    let name = format!("node-{}", place.namespace);
    let node = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
    let uid = nodes.create(&PostParams::default(), &node).await.unwrap().metadata.uid.unwrap();
    let verb = verb(&place.cluster, VERB);
    let input =
        json!({ "object": { "kind": "node", "name": name }, "reason": "Seen", "message": "seen", "type": "Normal" });
    let done = Act::of("r-1").whole(&*verb, &input).await.unwrap();
    assert_eq!(done.truth, Truth::Holds);
    let all = told(&place, "default", &uid).await;
    assert_eq!((all.len(), all[0].type_.as_deref()), (1, Some("Normal")));
    drop(nodes.delete(&name, &DeleteParams::default()).await.unwrap());
}

#[tokio::test]
async fn what_cannot_be_told_is_said_before() {
    let Some(place) = Place::new("emit").await else { return };
    place.pod("web", json!({}), json!({})).await;
    let verb = verb(&place.cluster, VERB);
    let with = |key: &str, value: quell_model::Json| {
        let mut input = json!({ "object": place.named("web"), "reason": "Seen", "message": "seen" });
        input[key] = value;
        input
    };
    for (input, says) in [
        (with("reason", json!("was seen")), "is no reason of an Event"),
        (with("message", json!("  ")), "tells nothing"),
        (with("object", json!(place.named("none"))), "is gone"),
        (with("object", json!({ "kind": "node", "namespace": "x", "name": "n" })), "names no such object"),
        (
            with("object", json!({ "namespace": place.namespace, "name": "web", "uid": "another" })),
            "is another one by now",
        ),
    ] {
        let error = verb.plan(&input).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
