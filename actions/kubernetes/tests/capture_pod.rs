//! `kubernetes.capture_pod` against a real API server. No node is there, so no kubelet that has logs.

use super::act::{Act, outlives_every_crash, verb};
use super::api::Place;
use k8s_openapi::api::core::v1::{Event, Node, Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, Patch, PatchParams, PostParams};
use quell_model::store::Vault;
use quell_model::{Evidence, Json, Truth, Want};
use serde_json::json;

const VERB: &str = "kubernetes.capture_pod";

/// A pod that runs as an account with rights, holds a secret in its environment, and had something happen to it.
async fn pod(place: &Place, name: &str) -> Pod {
    place.pod(name, json!({ "app": "web" }), json!({
        "serviceAccountName": "web",
        "nodeName": "n1",
        "containers": [{ "name": "main", "image": "localhost/none:1", "env": [{ "name": "PASSWORD", "value": "hunter2-s3cret" }] }],
    }))
    .await;
    let status = json!({ "status": { "phase": "Running", "containerStatuses": [{
        "name": "main", "image": "localhost/none:1", "imageID": "localhost/none@sha256:abcd", "containerID": "containerd://1",
        "ready": true, "restartCount": 0, "state": { "running": {} },
    }] } });
    let pods: Api<Pod> = place.api();
    let pod = pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    let about = json!({ "apiVersion": "v1", "kind": "Pod", "namespace": place.namespace, "name": name, "uid": pod.metadata.uid });
    let event = json!({ "metadata": { "generateName": format!("{name}.") }, "involvedObject": about, "reason": "Killed", "message": "out of memory" });
    place.make::<Event>(event).await;
    pod
}

async fn account(place: &Place) {
    // The controllers take pods away whose node is not there.
    let nodes: Api<Node> = Api::all(place.client.clone());
    let node = serde_json::from_value(json!({ "metadata": { "name": "n1" } })).unwrap();
    if let Err(error) = nodes.create(&PostParams::default(), &node).await {
        assert!(error.to_string().contains("already exists"), "{error}");
    }
    place.make::<ServiceAccount>(json!({ "metadata": { "name": "web" } })).await;
    let rules = json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"] }]);
    place.make::<Role>(json!({ "metadata": { "name": "reader" }, "rules": rules })).await;
    let subjects = json!([{ "kind": "ServiceAccount", "name": "web", "namespace": place.namespace }]);
    let role = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader" });
    place.make::<RoleBinding>(json!({ "metadata": { "name": "web" }, "roleRef": role, "subjects": subjects })).await;
}

#[tokio::test]
async fn what_the_cluster_knows_of_a_pod_is_in_the_vault_and_its_secrets_nowhere_else() {
    let Some(place) = Place::new("capture").await else { return };
    account(&place).await;
    let made = pod(&place, "web-1").await;
    let (act, verb) = (Act::of("r-1"), verb(&place.cluster, VERB));
    let done = act.whole(&*verb, &json!({ "pod": place.named("web-1") })).await.unwrap();
    assert_eq!(done.truth, Truth::Holds);
    let output = &done.output;
    assert_eq!(output["uid"], json!(made.metadata.uid.unwrap()));
    let id = place.named("web");
    assert_eq!(output["service_account"], json!(id));
    assert_eq!(output["credentials"], json!([{ "kind": "kubernetes_service_account", "id": id, "owned": true }]));
    assert_eq!(
        output["images"],
        json!([{ "container": "main", "image": "localhost/none:1", "digest": "sha256:abcd" }])
    );
    assert_eq!(output["node"], json!("n1"));
    let namespace = &place.namespace;
    assert_eq!(output["rules"][0], json!(format!("get, list secrets in {namespace}: by rolebinding {namespace}/web")));

    let mut all = Vec::new();
    for piece in Evidence::of(&output["evidence"]) {
        all.push((piece.name.clone(), String::from_utf8(act.vault.get(&piece.sha256).await.unwrap()).unwrap()));
    }
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["manifest", "status", "events", "owners", "service_account", "rules"]);
    let piece = |name: &str| &all.iter().find(|(of, _)| of == name).unwrap().1;
    let manifest: Json = serde_json::from_str(piece("manifest")).unwrap();
    assert_eq!(manifest["spec"]["containers"][0]["env"][0]["value"], json!("hunter2-s3cret"));
    assert_eq!(manifest.get("status"), None, "it is a piece of its own");
    assert!(piece("status").contains("sha256:abcd"));
    assert!(piece("events").contains("out of memory"));
    assert!(piece("rules").contains("system:authenticated"), "what its groups give is kept too");
    // No kubelet answers for this node.
    assert!(output["missing"][0].as_str().unwrap().starts_with("log/main: "), "{}", output["missing"]);
    for told in [serde_json::to_string(&done.plan).unwrap(), output.to_string()] {
        assert!(!told.contains("hunter2"), "{told}");
    }
    let account = serde_json::to_string(&done.plan.calls[0]["keeps"]).unwrap();
    assert!(account.contains("log/main"), "{account}");
}

#[tokio::test]
async fn a_piece_is_cut_at_its_bound_and_says_so() {
    let Some(place) = Place::new("capture").await else { return };
    account(&place).await;
    pod(&place, "web-1").await;
    let (act, verb) = (Act::of("r-1"), verb(&place.cluster, VERB));
    let done = act.whole(&*verb, &json!({ "pod": place.named("web-1"), "max_bytes": 100 })).await.unwrap();
    let first = Evidence::of(&done.output["evidence"]).next().unwrap();
    assert_eq!((first.name.as_str(), first.bytes, first.truncated), ("manifest", 100, true));
    let none = verb.plan(&json!({ "pod": place.named("web-1"), "max_bytes": 0 })).await.unwrap_err();
    assert!(none.to_string().contains("expected from 1 to"), "{none}");
}

#[tokio::test]
async fn a_pod_that_is_gone_or_another_is_no_capture() {
    let Some(place) = Place::new("capture").await else { return };
    account(&place).await;
    pod(&place, "web-1").await;
    let (act, verb) = (Act::of("r-1"), verb(&place.cluster, VERB));
    let plan = verb.plan(&json!({ "pod": place.named("web-1") })).await.unwrap();
    let go = act.admitted(&*verb, plan.clone());
    place.gone("web-1").await;
    let error = verb.run(&go, &act.context()).await.unwrap_err();
    assert!(error.to_string().contains("is gone"), "{error}");
    assert_eq!(verb.verify(&plan, Want::Acted).await.unwrap(), Truth::CannotAsk);
    pod(&place, "web-1").await.metadata.uid.unwrap();
    let error = verb.run(&go, &act.context()).await.unwrap_err();
    assert!(error.to_string().contains("another has its name"), "{error}");
}

#[tokio::test]
async fn what_is_forbidden_is_missing_and_the_rest_is_kept() {
    let Some(place) = Place::new("capture").await else { return };
    account(&place).await;
    pod(&place, "web-1").await;
    let quell = place.as_account("quell").await;
    let rules = json!([{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] }]);
    place.make::<Role>(json!({ "metadata": { "name": "quell" }, "rules": rules })).await;
    let subjects = json!([{ "kind": "ServiceAccount", "name": "quell", "namespace": place.namespace }]);
    let role = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "quell" });
    place.make::<RoleBinding>(json!({ "metadata": { "name": "quell" }, "roleRef": role, "subjects": subjects })).await;
    let verb = verb(&quell, VERB);
    let input = json!({ "pod": place.named("web-1") });
    super::act::wait_until("it may read the pod", async || verb.plan(&input).await.is_ok()).await;
    let done = Act::of("r-1").whole(&*verb, &input).await.unwrap();
    assert!(done.plan.would_fail.iter().any(|one| one.contains("get pods/log web-1")), "{:?}", done.plan.would_fail);
    let names: Vec<String> = Evidence::of(&done.output["evidence"]).map(|piece| piece.name).collect();
    assert_eq!(names, ["manifest", "status", "owners"]);
    let missing = done.output["missing"].to_string();
    for what in ["log/main: the API server forbids", "events: ", "rules: "] {
        assert!(missing.contains(what), "{what}: {missing}");
    }
}

#[tokio::test]
async fn a_capture_outlives_every_crash() {
    let Some(place) = Place::new("capture").await else { return };
    account(&place).await;
    let input = async |calls: u32| {
        let name = format!("web-{calls}");
        pod(&place, &name).await;
        json!({ "pod": place.named(&name) })
    };
    outlives_every_crash(&place.cluster, VERB, input, async |_: &Json, _| {}).await;
}
