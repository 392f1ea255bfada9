//! Off its node's API server the guard goes by what the watch of this node was told last, and what nobody told is none.

use super::super::act::{Act, verb, wait_until};
use super::super::stub::{Reply, Stub};
use super::node::Node;
use super::{VERB, opens};
use quell_kubernetes::{Cluster, PodWatch};
use quell_model::guard::{EACH, Guard, MinReady, Share};
use quell_model::{Decision, Json, Plan};
use serde_json::json;
use std::sync::Arc;

/// A uid of this test's own.
fn uid(number: u32) -> String {
    format!("{:08x}-{number:04x}-4111-8222-333344445555", std::process::id())
}

fn pod(uid: &str, name: &str, owner: Json) -> Json {
    json!({
        "metadata": { "name": name, "namespace": "shop", "uid": uid, "resourceVersion": "7", "ownerReferences": owner },
        "spec": { "nodeName": "node1", "containers": [{ "name": "main", "image": "i:1" }] },
        "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
    })
}

fn of(kind: &str, name: &str) -> Json {
    json!([{ "apiVersion": "apps/v1", "kind": kind, "name": name, "uid": name, "controller": true }])
}

/// An API server that tells this node's pods, and nothing else.
async fn server(pods: Vec<Json>) -> Stub {
    Stub::new(move |path| {
        if path.contains("watch=true") {
            return Reply::Watch(vec![]);
        }
        if path.starts_with("/api/v1/pods?") {
            return Reply::Json(
                200,
                json!({ "kind": "PodList", "metadata": { "resourceVersion": "5" }, "items": pods }),
            );
        }
        let words =
            json!({ "kind": "Status", "status": "Failure", "message": "etcd is away", "reason": "x", "code": 500 });
        Reply::Json(500, words)
    })
    .await
}

fn input(uid: &str, name: &str) -> Json {
    json!({ "pod": { "namespace": "shop", "name": name, "uid": uid } })
}

fn refused(act: &Act, cluster: &Arc<Cluster>, plan: &Plan) -> Option<String> {
    match act.decide(&*verb(cluster, VERB), plan.clone()) {
        Decision::Act(_) => None,
        Decision::Refuse { guard, why, .. } if guard.as_str() == "limits" => Some(why),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn off_its_api_server_the_floor_is_that_of_what_was_told_last() {
    let Some(node) = Node::new() else { return };
    let [bare, first, second, only, unasked, untold] = [1, 2, 3, 4, 5, 6].map(uid);
    let pods = vec![
        pod(&bare, "bare", Json::Null),
        pod(&first, "web-0", of("StatefulSet", "web")),
        pod(&second, "web-1", of("StatefulSet", "web")),
        pod(&only, "db-0", of("StatefulSet", "db")),
        pod(&unasked, "x-7d4b9c8f5-x2x7k", of("ReplicaSet", "x-7d4b9c8f5")),
    ];
    [&bare, &first, &second, &only, &unasked, &untold].into_iter().for_each(|uid| node.runs(uid));
    let (stub, dir) = (server(pods).await, tempfile::tempdir().unwrap());
    let cluster = node.cluster(stub.kubeconfig(dir.path()));
    let watch = PodWatch::new(Arc::clone(&cluster), Some("node1".to_owned()), "this-host".into());
    let verb = verb(&cluster, VERB);
    let mut act = Act::of("r-1");
    let floor = |rows: &[(&str, Share)]| {
        let rows = rows.iter().map(|(key, share)| ((*key).to_owned(), *share)).collect();
        Guard { min_ready: MinReady { rows, nodes: None }, ..Guard::default() }
    };
    act.guard = floor(&[(EACH, Share::Percent(50))]);
    let judge = async {
        wait_until("its pods are told", async || cluster.pods().by_uid(&unasked).is_some()).await;
        let plan = verb.plan(&input(&bare, "bare")).await.unwrap();
        assert_eq!(refused(&act, &cluster, &plan), None, "nobody counts it");

        // One of two that are known here; the API server being away is no success.
        let plan = verb.plan(&input(&first, "web-0")).await.unwrap();
        assert!(opens(&plan, "goes by 1 other ready pods of statefulset/web on this node"), "{:?}", plan.still_open);
        assert_eq!(refused(&act, &cluster, &plan), None);
        let go = act.admitted(&*verb, plan);
        let why = verb.run(&go, &act.context()).await.unwrap_err().to_string();
        assert!(why.contains("is cut off on its node, but neither policy nor labels are written"), "{why}");
        // Whoever is cut off stands in for nobody, however long ago that was, and whatever was told last.
        let plan = verb.plan(&input(&second, "web-1")).await.unwrap();
        let why = refused(&act, &cluster, &plan).unwrap();
        assert!(why.contains("would leave 0 ready replicas of statefulset/web"), "{why}");
        let plan = verb.plan(&input(&first, "web-0")).await.unwrap();
        assert_eq!(refused(&act, &cluster, &plan), None, "the next attempt is no further one");
        let plan = verb.plan(&input(&only, "db-0")).await.unwrap();
        assert!(refused(&act, &cluster, &plan).unwrap().contains("0 ready replicas of statefulset/db"));

        // What nobody told is none: refused, unless the guard says that none has to stay.
        let all = [(&unasked, "x-7d4b9c8f5-x2x7k"), (&untold, "late-0")];
        for (uid, name) in all {
            let plan = verb.plan(&input(uid, name)).await.unwrap();
            assert!(
                opens(&plan, "nobody was told: it is cut off only where `guard.limits.min_ready` is 0"),
                "{plan:?}"
            );
            assert!(refused(&act, &cluster, &plan).unwrap().contains("nobody could count"), "{name}");
        }
        act.guard = floor(&[(EACH, Share::Percent(50)), (VERB, Share::Percent(0))]);
        for (uid, name) in all {
            let plan = verb.plan(&input(uid, name)).await.unwrap();
            assert_eq!(refused(&act, &cluster, &plan), None, "{name}");
        }
    };
    tokio::select! {
        biased;
        () = judge => {}
        () = watch.follow() => unreachable!("it watches for ever"),
    }
}
