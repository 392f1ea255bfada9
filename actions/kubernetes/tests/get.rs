//! `kubernetes.get` against a real API server: what it reads, and what it never gives out.

use super::act::{looks, wait_until};
use super::api::Place;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Pod, Secret, ServiceAccount};
use kube::api::{Api, PostParams};
use quell_model::{ActionError, Json, Lane};
use serde_json::json;

const VERB: &str = "kubernetes.get";
const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

fn of(place: &Place, kind: &str, name: &str) -> Json {
    json!({ "kind": kind, "namespace": place.namespace, "name": name })
}

#[tokio::test]
async fn an_object_is_read_without_who_wrote_it_and_without_kubectls_copy() {
    let Some(place) = Place::new("get").await else { return };
    let notes = json!({ APPLIED: "{\"spec\":{}}", "team": "x" });
    let spec = json!({ "containers": [{ "name": "main", "image": "localhost/none:1" }] });
    let made: Pod = place
        .make(
            json!({ "metadata": { "name": "web-1", "labels": { "app": "web" }, "annotations": notes }, "spec": spec }),
        )
        .await;
    assert!(made.metadata.managed_fields.is_some_and(|all| !all.is_empty()), "the server keeps who wrote what");
    let get = looks(&place.cluster, VERB);
    assert_eq!(get.spec().lane, Lane::Read, "it runs in observe mode too");
    let found = get.look(&of(&place, "pod", "web-1")).await.unwrap();
    assert_eq!(found["found"], true);
    let meta = &found["object"]["metadata"];
    assert_eq!((&meta["uid"], &meta["labels"]), (&json!(made.metadata.uid), &json!({ "app": "web" })));
    assert_eq!((&meta["annotations"], meta.get("managedFields")), (&json!({ "team": "x" }), None));
    assert_eq!(found["object"]["spec"]["containers"][0]["image"], "localhost/none:1");

    let template = json!({ "metadata": { "labels": { "app": "db" } }, "spec": spec });
    let whole = json!({ "replicas": 0, "selector": { "matchLabels": { "app": "db" } }, "template": template });
    place.make::<Deployment>(json!({ "metadata": { "name": "db" }, "spec": whole })).await;
    let found = get.look(&of(&place, "deployment", "db")).await.unwrap();
    assert_eq!((&found["found"], &found["object"]["spec"]["replicas"]), (&json!(true), &json!(0)));

    let nodes: Api<Node> = Api::all(place.client.clone());
    let name = format!("node-{}", place.namespace);
    let node = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
    nodes.create(&PostParams::default(), &node).await.unwrap();
    let found = get.look(&json!({ "kind": "node", "name": name })).await.unwrap();
    assert_eq!(found["object"]["metadata"]["name"], name);
    nodes.delete(&name, &Default::default()).await.unwrap();
}

#[tokio::test]
async fn what_is_not_there_is_told_and_what_names_no_object_is_not_asked_for() {
    let Some(place) = Place::new("get").await else { return };
    let get = looks(&place.cluster, VERB);
    assert_eq!(get.look(&of(&place, "pod", "web-1")).await.unwrap(), json!({ "found": false, "object": null }));
    let elsewhere = json!({ "kind": "pod", "namespace": "quell-no-such-namespace", "name": "web-1" });
    assert_eq!(get.look(&elsewhere).await.unwrap()["found"], false);
    for (input, hint) in [
        (json!({ "kind": "pod", "name": "web-1" }), "it has a `namespace` and a `name`"),
        (of(&place, "node", "node1"), "it has a `name` alone"),
        (of(&place, "pod", ""), "it has a `namespace` and a `name`"),
        (of(&place, "pod", "../../secrets/s"), "it has a `namespace` and a `name`"),
    ] {
        let error = get.look(&input).await.unwrap_err();
        let ActionError::GiveUp { why, hint: Some(told) } = error else { panic!("{input}: {error:?}") };
        assert!(why.ends_with("names no such object") && told == hint, "{input}: {why}; {told}");
    }
}

#[tokio::test]
async fn what_is_forbidden_is_told_with_the_permission_that_is_missing() {
    let Some(place) = Place::new("get").await else { return };
    place.pod("web-1", json!({}), json!({})).await;
    let rules = json!([{ "apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"] }]);
    let cluster = place.as_user("reader", rules).await;
    let get = looks(&cluster, VERB);
    wait_until("its role is in force", async || get.look(&of(&place, "deployment", "db")).await.is_ok()).await;
    // Whether it is there is told to nobody who may not read it.
    for name in ["web-1", "web-2"] {
        let error = get.look(&of(&place, "pod", name)).await.unwrap_err();
        let ActionError::GiveUp { why, hint: Some(hint) } = error else { panic!("{error:?}") };
        assert!(why.contains("forbids to get pods") && hint.contains("quell action permissions"), "{why}; {hint}");
    }
}

#[tokio::test]
async fn the_largest_object_is_read_whole() {
    let Some(place) = Place::new("get").await else { return };
    // All annotations of one object are 256 KiB at the most; what is more than a record holds the engine leaves out.
    let (name, large) = ("web-1", "x".repeat((256 << 10) - 100));
    let spec = json!({ "containers": [{ "name": "main", "image": "localhost/none:1" }] });
    place.make::<Pod>(json!({ "metadata": { "name": name, "annotations": { "large": large } }, "spec": spec })).await;
    let found = looks(&place.cluster, VERB).look(&of(&place, "pod", name)).await.unwrap();
    assert_eq!(found["object"]["metadata"]["annotations"]["large"], large);
}

#[tokio::test]
async fn what_a_secret_holds_is_given_out_by_nothing() {
    let Some(place) = Place::new("get").await else { return };
    let secret = json!({ "metadata": { "name": "keys" }, "stringData": { "key": "do-not-tell" } });
    place.make::<Secret>(secret).await;
    place.make::<ServiceAccount>(json!({ "metadata": { "name": "web" }, "secrets": [{ "name": "keys" }] })).await;
    let from = json!([{ "name": "KEY", "valueFrom": { "secretKeyRef": { "name": "keys", "key": "key" } } }]);
    let applied = json!({ APPLIED: "{\"stringData\":{\"key\":\"do-not-tell\"}}" });
    let spec = json!({ "containers": [{ "name": "main", "image": "localhost/none:1", "env": from }] });
    place.make::<Pod>(json!({ "metadata": { "name": "web-1", "annotations": applied }, "spec": spec })).await;
    let get = looks(&place.cluster, VERB);
    for kind in ["secret", "configmap", "Secret"] {
        let error = get.look(&of(&place, kind, "keys")).await.unwrap_err();
        assert!(
            matches!(&error, ActionError::GiveUp { why, .. } if why.contains("the input cannot be read")),
            "{error:?}"
        );
    }
    let reads = get.spec().permissions.iter().any(|one| one.contains("secrets") || one.contains("configmaps"));
    assert!(!reads, "{:?}", get.spec().permissions);
    for (kind, name) in [("serviceaccount", "web"), ("pod", "web-1")] {
        let found = get.look(&of(&place, kind, name)).await.unwrap();
        assert!(found["found"] == true && !found.to_string().contains("do-not-tell"), "{found}");
    }
}
