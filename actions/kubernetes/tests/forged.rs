//! What whoever may write on a pod writes on it of its owner: by that nobody is shielded, and nothing is done to another's workload. The API
//! server is on paper here: a real one's controllers would let such a pod go, or collect it, at a moment of their own.

use super::act::verb;
use super::stub::{Reply, Stub};
use quell_kubernetes::{Cluster, Settings};
use quell_model::action::Replicas;
use quell_model::{Action, Json, TargetFacts};
use serde_json::json;
use std::sync::Arc;

const POD: &str = "web-7d4b9c8f5-x2x7k";

fn reference(version: &str, kind: &str, name: &str, uid: &str) -> Json {
    json!([{ "apiVersion": version, "kind": kind, "name": name, "uid": uid, "controller": true }])
}

fn labels(app: &str) -> Json {
    json!({ "app": app, "pod-template-hash": "7d4b9c8f5" })
}

fn selecting(app: &str) -> Json {
    json!({ "matchLabels": { "app": app } })
}

/// The deployment `web` of three with its replica set, the stateful set `db` of one, and a pod; what is asked besides is allowed.
async fn server(pod: Json, web: Json) -> Stub {
    Stub::new(move |path| {
        let path = path.split('?').next().unwrap_or_default();
        let at = |end: &str| path.ends_with(end);
        let named = |name: &str, uid: &str| json!({ "name": name, "namespace": "shop", "uid": uid });
        if path.contains("/pods/") {
            return Reply::Json(200, pod.clone());
        }
        if at("/replicasets/web-7d4b9c8f5") {
            let mut meta = named("web-7d4b9c8f5", "r");
            meta["labels"] = labels("web");
            meta["ownerReferences"] = reference("apps/v1", "Deployment", "web", "d");
            let spec = json!({ "replicas": 3, "selector": selecting("web"), "template": {} });
            return Reply::Json(
                200,
                json!({ "metadata": meta, "spec": spec, "status": { "replicas": 3, "readyReplicas": 2 } }),
            );
        }
        if at("/deployments/web") {
            let spec = json!({ "replicas": 3, "selector": web, "template": {} });
            return Reply::Json(
                200,
                json!({ "metadata": named("web", "d"), "spec": spec, "status": { "readyReplicas": 3 } }),
            );
        }
        if at("/statefulsets/db") {
            let spec = json!({ "replicas": 1, "selector": selecting("db"), "serviceName": "db", "template": {} });
            return Reply::Json(
                200,
                json!({ "metadata": named("db", "s"), "spec": spec, "status": { "replicas": 1, "readyReplicas": 1 } }),
            );
        }
        if at("selfsubjectaccessreviews") {
            return Reply::Json(201, json!({ "metadata": {}, "spec": {}, "status": { "allowed": true } }));
        }
        Reply::Json(
            404,
            json!({ "kind": "Status", "status": "Failure", "message": "not found", "reason": "NotFound", "code": 404 }),
        )
    })
    .await
}

fn pod(name: &str, labels: Json, owner: Json) -> Json {
    let ready = json!([{ "type": "Ready", "status": "True" }]);
    json!({
        "metadata": { "name": name, "namespace": "shop", "uid": "p", "labels": labels, "ownerReferences": owner },
        "spec": { "containers": [{ "name": "main", "image": "i:1" }] }, "status": { "conditions": ready },
    })
}

fn reached(stub: &Stub, dir: &tempfile::TempDir) -> Arc<Cluster> {
    let kubeconfig = Some(stub.kubeconfig(dir.path()));
    Arc::new(Cluster::new(Settings { name: "test".into(), kubeconfig, context: None }))
}

async fn planned(stub: &Stub, pod: &str) -> (Option<String>, Option<Replicas>, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let verb: Arc<dyn Action> = verb(&reached(stub, &dir), "kubernetes.delete_pod");
    let plan = verb.plan(&json!({ "pod": format!("shop/{pod}") })).await.unwrap();
    let TargetFacts::Object { owner, replicas, .. } = plan.targets[0].facts.clone() else { panic!("no object") };
    (owner, replicas, plan.still_open)
}

#[tokio::test]
async fn an_owner_that_does_not_own_it_stands_for_no_replicas() {
    let own = || reference("apps/v1", "ReplicaSet", "web-7d4b9c8f5", "r");
    let it = planned(&server(pod(POD, labels("web"), own()), selecting("web")).await, POD).await;
    assert_eq!(it.0.as_deref(), Some("deployment/web"));
    assert_eq!(it.1, Some(Replicas { wanted: 3, ready: 3, takes: 1 }));
    // A deployment that goes by other labels has nothing to do with what its replica set says.
    let it = planned(&server(pod(POD, labels("web"), own()), selecting("other")).await, POD).await;
    assert_eq!(it.0.as_deref(), Some("replicaset/web-7d4b9c8f5"));
    assert_eq!(it.1, Some(Replicas { wanted: 3, ready: 2, takes: 1 }));
    for (name, labels, owner, says) in [
        (
            POD,
            labels("web"),
            reference("apps/v1", "ReplicaSet", "web-7d4b9c8f5", "other"),
            "there is none with that uid",
        ),
        (POD, labels("web"), reference("apps/v1", "StatefulSet", "gone", "g"), "there is none with that uid"),
        (POD, labels("evil"), own(), "goes by other labels"),
        ("evil-0", labels("web"), own(), "makes no pods of such a name"),
        (POD, json!({ "app": "db" }), reference("apps/v1", "StatefulSet", "db", "s"), "makes no pods of such a name"),
        (POD, labels("web"), reference("v1", "Node", "node1", "n"), "runs it from no file"),
    ] {
        let (owner, replicas, open) =
            planned(&server(pod(name, labels, owner.clone()), selecting("web")).await, name).await;
        assert_eq!((owner, replicas), (None, None), "{says}");
        assert!(open.iter().any(|open| open.contains(says) && open.ends_with("it does not")), "{says}: {open:?}");
    }
    // Of a kind that quell does not know there may be one, or none: nobody is shielded by what only the pod says.
    for (version, kind, told) in [
        ("apps.kruise.io/v1", "StatefulSet", "statefulset.apps.kruise.io/db"),
        ("argoproj.io/v1alpha1", "Rollout", "rollout/db"),
        ("apps/v1", "replicaSet", "replicaset/db"),
    ] {
        let foreign = reference(version, kind, "db", "s");
        let (owner, replicas, open) =
            planned(&server(pod(POD, labels("web"), foreign), selecting("web")).await, POD).await;
        assert_eq!((owner, replicas), (None, None), "{told}");
        let says = format!("{told} is said to own it, of a kind that quell does not know");
        assert!(open.iter().any(|open| open.starts_with(&says)), "{open:?}");
    }
}

#[tokio::test]
async fn nothing_is_done_to_a_workload_that_a_pod_merely_says_is_its_own() {
    let forged = pod(POD, json!({ "app": "db" }), reference("apps/v1", "StatefulSet", "db", "s"));
    let stub = server(forged, selecting("web")).await;
    let dir = tempfile::tempdir().unwrap();
    let cluster = reached(&stub, &dir);
    for (name, more) in [
        ("kubernetes.restart_owner", json!({})),
        ("kubernetes.restrict_owner", json!({})),
        ("kubernetes.scale_owner", json!({ "to": 0 })),
    ] {
        let mut input = more.clone();
        input["pod"] = json!(format!("shop/{POD}"));
        let error = verb(&cluster, name).plan(&input).await.unwrap_err().to_string();
        assert!(
            error.contains("statefulset/db is said to own it, and makes no pods of such a name"),
            "{name}: {error}"
        );
        // Nor by what its event says.
        let mut input = more;
        input["owner"] = json!({ "namespace": "shop", "name": POD, "uid": "p", "owner": "statefulset/db" });
        let error = verb(&cluster, name).plan(&input).await.unwrap_err().to_string();
        assert!(error.contains("says that statefulset/db owns it, which calls no pod so"), "{name}: {error}");
    }
}
