//! On its own node a pod is planned by what the watch has told: the cut comes before any call, and neither the floor nor what an undo gives back
//! is any less for that.

use super::super::act::{Act, dying, planned_outlives_every_crash, verb, wait_until};
use super::super::api::Place;
use super::super::stub::{Reply, Stub};
use super::node::Node;
use super::owners::{is_owned, name, node, owner, pods, selecting};
use super::{VERB, opens, policies, service, uid};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use quell_kubernetes::{Cluster, PodWatch};
use quell_model::action::Replicas;
use quell_model::guard::{EACH, Guard, MinReady, Share};
use quell_model::{Action, Decision, Json, Plan, TargetFacts, Truth, Want};
use serde_json::json;
use std::sync::Arc;

/// Of this run, where half of the replicas have to stay.
fn guarded(run: &str) -> Act {
    let min_ready = MinReady { rows: [(EACH.to_owned(), Share::Percent(50))].into(), nodes: None };
    let mut act = Act::of(run);
    act.guard = Guard { min_ready, ..Guard::default() };
    act
}

/// Whose a plan's pod is, and how its owner's replicas stand.
fn stands(plan: &Plan) -> (Option<&str>, Option<Replicas>) {
    match &plan.targets[0].facts {
        TargetFacts::Object { owner, replicas, .. } => (owner.as_deref(), *replicas),
        other => panic!("{other:?}"),
    }
}

/// The plan that is made without a call, once the watch of this node has told enough.
async fn at_once(
    cluster: &Arc<Cluster>,
    node: &str,
    (verb, input): (&dyn Action, &Json),
    enough: impl Fn(&Plan) -> bool,
) -> Plan {
    let watch = PodWatch::new(Arc::clone(cluster), Some(node.to_owned()), "this-host".into());
    let is_enough = async || verb.plan_at_once(input).await.is_some_and(|plan| enough(&plan));
    tokio::select! {
        biased;
        () = wait_until("enough is known of it", is_enough) => {}
        () = watch.follow() => unreachable!("it watches for ever"),
    }
    let planned = dying(cluster, 0, verb.plan_at_once(input)).await;
    planned.expect("it makes no call").expect("it was known")
}

fn of_event(place: &Place, name: &str, uid: &str) -> Json {
    json!({ "pod": { "namespace": place.namespace, "name": name, "uid": uid } })
}

/// A bare pod of this node, as an event has it.
async fn bare(place: &Place, (here, node): (&Node, &str), name: &str) -> Json {
    place.pod(name, json!({ "app": "web", "tier": "a" }), json!({ "nodeName": node })).await;
    let uid = uid(place, name).await;
    here.runs(&uid);
    of_event(place, name, &uid)
}

#[tokio::test]
async fn the_cut_comes_before_any_call_and_what_it_is_known_by_is_read_after_it() {
    let (Some(place), Some(here)) = (Place::new("first").await, Node::new()) else { return };
    service(&place, "web", json!({ "app": "web" })).await;
    let node = node(&place).await;
    let spec = json!({ "restart": "Always", "node": node, "spec": { "replicas": 2, "selector": selecting() } });
    let made = owner::<Deployment>(&place, spec, 2).await;
    for pod in &made {
        place.ready(&name(pod)).await;
        here.runs(pod.metadata.uid.as_deref().unwrap());
    }
    wait_until("the Deployment counts both", async || {
        let web: Deployment = place.api().get("web").await.unwrap();
        web.status.and_then(|status| status.ready_replicas) == Some(2)
    })
    .await;
    let (it, id) = (name(&made[0]), made[0].metadata.uid.clone().unwrap());
    let (cluster, before) = (here.cluster(place.kubeconfig.clone()), place.labels(&it).await);
    let (act, isolate) = (guarded("r-1"), verb(&cluster, VERB));
    let input = of_event(&place, &it, &id);
    assert!(isolate.plan_at_once(&input).await.is_none(), "nobody watches yet");

    let counted = Some(Replicas { wanted: 2, ready: 2, takes: 1 });
    let is_counted = |plan: &Plan| stands(plan) == (Some("deployment/web"), counted);
    let plan = at_once(&cluster, &node, (&*isolate, &input), is_counted).await;
    assert!(opens(&plan, "the cluster is asked only once it is cut off"), "{:?}", plan.still_open);
    let go = act.admitted(&*isolate, plan.clone());
    assert!(dying(&cluster, 0, isolate.run(&go, &act.context())).await.is_none(), "killed at its first call");
    assert_eq!((here.rules().len(), place.labels(&it).await), (1, before.clone()));

    let output = isolate.run(&go, &act.context()).await.unwrap();
    assert_eq!(place.labels(&it).await, json!({ "quell/isolated": id }));
    let off = json!({ "app": null, "pod-template-hash": null, "quell/isolated": id });
    assert_eq!((&output["labels"], &output["services"]), (&off, &json!(["web"])));
    assert_eq!((isolate.verify(&plan, Want::Acted).await.unwrap(), policies(&place).await.len()), (Truth::Holds, 1));
    wait_until("the ReplicaSet lets it go and makes another", async || {
        let all = pods(&place).await;
        all.len() == 3 && all.iter().any(|pod| name(pod) == it && !is_owned(pod))
    })
    .await;

    // Whose it was is in the evidence all the same.
    let capture = verb(&cluster, "kubernetes.capture_pod");
    let kept = Act::of("r-2").whole(&*capture, &input).await.unwrap();
    let owners = made[0].metadata.owner_references.as_ref().unwrap();
    assert_eq!(kept.output["owners"], json!([format!("replicaset/{}", owners[0].name), "deployment/web"]));

    let (output, truth) = act.taken_back(&*isolate, &plan).await.unwrap();
    assert_eq!((truth, output.get("still")), (Truth::Holds, None));
    assert_eq!((here.rules().len(), policies(&place).await.len()), (0, 0));
    assert_eq!(place.labels(&it).await, before);
}

#[tokio::test]
async fn planned_at_once_it_outlives_every_crash() {
    let (Some(place), Some(here)) = (Place::new("first").await, Node::new()) else { return };
    service(&place, "web", json!({ "app": "web" })).await;
    let (node, cluster) = (node(&place).await, here.cluster(place.kubeconfig.clone()));
    let input = async |calls: u32| bare(&place, (&here, &node), &format!("web-{calls}")).await;
    let plan = async |verb: &dyn Action, input: &Json| at_once(&cluster, &node, (verb, input), |_| true).await;
    let judge = async |input: &Json, want: Want| {
        let pod = &input["pod"];
        let (labels, many) = match want {
            Want::Acted => (json!({ "quell/isolated": pod["uid"], "tier": "a" }), 1),
            Want::Undone => (json!({ "app": "web", "tier": "a" }), 0),
        };
        assert_eq!(place.labels(pod["name"].as_str().unwrap()).await, labels);
        assert_eq!((here.rules().len(), policies(&place).await.len()), (many, many));
    };
    planned_outlives_every_crash(&cluster, VERB, input, plan, judge).await;
}

#[tokio::test]
async fn what_was_told_before_the_act_is_given_back_only_where_nobody_noted_what_stood_at_it() {
    let (Some(place), Some(here)) = (Place::new("first").await, Node::new()) else { return };
    service(&place, "web", json!({ "app": "web" })).await;
    let (node, cluster) = (node(&place).await, here.cluster(place.kubeconfig.clone()));
    let verb = verb(&cluster, VERB);
    for unmarked in [false, true] {
        let (name, act) = (format!("web-{unmarked}"), Act::of(&format!("r-{unmarked}")));
        let input = bare(&place, (&here, &node), &name).await;
        let plan = at_once(&cluster, &node, (&*verb, &input), |_| true).await;
        let patch = async |metadata: Json| {
            let patch = Patch::Merge(json!({ "metadata": metadata }));
            place.api::<Pod>().patch(&name, &PatchParams::default(), &patch).await.unwrap();
        };
        patch(json!({ "labels": { "tier": "b" } })).await;
        let go = act.admitted(&*verb, plan.clone());
        verb.run(&go, &act.context()).await.unwrap();
        assert_eq!(place.labels(&name).await, json!({ "quell/isolated": input["pod"]["uid"], "tier": "b" }));
        if unmarked {
            patch(json!({ "annotations": { "quell/isolation": null } })).await;
        }
        let (output, truth) = act.taken_back(&*verb, &plan).await.unwrap();
        assert_eq!((truth, output["still"].is_null()), (Truth::Holds, !unmarked), "{output}");
        assert_eq!(place.labels(&name).await, json!({ "app": "web", "tier": "b" }), "unmarked: {unmarked}");
    }
}

#[tokio::test]
async fn an_api_server_that_is_away_after_the_cut_is_no_success_and_the_next_attempt_does_the_rest() {
    let (Some(place), Some(here)) = (Place::new("first").await, Node::new()) else { return };
    service(&place, "web", json!({ "app": "web" })).await;
    let node = node(&place).await;
    let proxy = super::outages::Proxy::before(&place).await;
    let cluster = here.cluster(proxy.kubeconfig.clone());
    let (act, verb) = (Act::of("r-1"), verb(&cluster, VERB));
    let input = bare(&place, (&here, &node), "web-1").await;
    let plan = at_once(&cluster, &node, (&*verb, &input), |_| true).await;
    let go = act.admitted(&*verb, plan.clone());
    proxy.refuse();
    let why = verb.run(&go, &act.context()).await.unwrap_err().to_string();
    assert!(why.contains("is cut off on its node, but"), "{why}");
    assert_eq!((here.rules().len(), policies(&place).await.len()), (1, 0));
    proxy.pass();
    assert!(matches!(verb.verify(&plan, Want::Acted).await.unwrap(), Truth::HoldsNot(_)));
    verb.run(&go, &act.context()).await.unwrap();
    assert_eq!(verb.verify(&plan, Want::Acted).await.unwrap(), Truth::Holds);
    let (_, truth) = act.taken_back(&*verb, &plan).await.unwrap();
    assert_eq!((truth, here.rules().len(), policies(&place).await.len()), (Truth::Holds, 0, 0));
    assert_eq!(place.labels("web-1").await, json!({ "app": "web", "tier": "a" }));
}

/// A pod that says that the replica set of the deployment `web` has made it.
fn replica(uid: &str, name: &str, app: &str) -> Json {
    let maker = json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d4b9c8f5", "uid": "r", "controller": true }]);
    json!({
        "metadata": { "name": name, "namespace": "shop", "uid": uid, "resourceVersion": "7", "ownerReferences": maker,
                      "labels": { "app": app, "pod-template-hash": "7d4b9c8f5" } },
        "spec": { "nodeName": "node1", "containers": [{ "name": "main", "image": "i:1" }] },
        "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
    })
}

/// The pods of this node, and the deployment `web` of so many, all of which are ready.
async fn server(pods: Vec<Json>, replicas: u32) -> Stub {
    Stub::new(move |path| {
        if path.contains("watch=true") {
            return Reply::Watch(vec![]);
        }
        if path.starts_with("/api/v1/pods?") {
            let list = json!({ "kind": "PodList", "metadata": { "resourceVersion": "5" }, "items": pods });
            return Reply::Json(200, list);
        }
        let made = |name: &str, uid: &str, owner: Json| {
            let labels = json!({ "app": "web" });
            json!({
                "metadata": { "name": name, "namespace": "shop", "uid": uid, "labels": labels, "ownerReferences": owner },
                "spec": { "replicas": replicas, "selector": { "matchLabels": labels }, "template": {} },
                "status": { "replicas": replicas, "readyReplicas": replicas },
            })
        };
        let above = json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d", "controller": true }]);
        match path.split('?').next().unwrap_or_default() {
            path if path.ends_with("/replicasets/web-7d4b9c8f5") => Reply::Json(200, made("web-7d4b9c8f5", "r", above)),
            path if path.ends_with("/deployments/web") => Reply::Json(200, made("web", "d", Json::Null)),
            _ => Reply::Json(404, json!({ "kind": "Status", "status": "Failure", "message": "not found", "reason": "NotFound", "code": 404 })),
        }
    })
    .await
}

/// A uid of this test's own.
fn own_uid(number: usize) -> String {
    format!("{:08x}-{number:04x}-4222-8222-333344445555", std::process::id())
}

/// As a replica set calls its pods.
fn called(number: usize) -> String {
    format!("web-7d4b9c8f5-x2x7{}", &"bcdfghjklm"[number..=number])
}

fn in_shop(uid: &str, name: &str) -> Json {
    json!({ "pod": { "namespace": "shop", "name": name, "uid": uid } })
}

#[tokio::test]
async fn half_of_the_replicas_stay_at_1_2_3_and_10_by_what_is_known_too() {
    let Some(here) = Node::new() else { return };
    for (replicas, can_go) in [(1, 0), (2, 1), (3, 1), (10, 5)] {
        let all: Vec<(String, String)> =
            (0..replicas).map(|number| (own_uid(replicas * 16 + number), called(number))).collect();
        all.iter().for_each(|(uid, _)| here.runs(uid));
        let wanted = u32::try_from(replicas).unwrap();
        let stub = server(all.iter().map(|(uid, name)| replica(uid, name, "web")).collect(), wanted).await;
        let dir = tempfile::tempdir().unwrap();
        let cluster = here.cluster(stub.kubeconfig(dir.path()));
        let (verb, first) = (verb(&cluster, VERB), in_shop(&all[0].0, &all[0].1));
        let counted = Some(Replicas { wanted, ready: wanted, takes: 1 });
        at_once(&cluster, "node1", (&*verb, &first), |plan| stands(plan) == (Some("deployment/web"), counted)).await;
        let mut went = 0;
        for (uid, name) in &all {
            let act = guarded(&format!("r-{uid}"));
            let plan = verb.plan_at_once(&in_shop(uid, name)).await.unwrap();
            match act.decide(&*verb, plan) {
                Decision::Act(go) => {
                    // This server has no such pod to write on: the cut stands, and whoever is cut off stands in for nobody.
                    let why = verb.run(&go, &act.context()).await.unwrap_err().to_string();
                    assert!(why.contains("is cut off on its node, but"), "{why}");
                    went += 1;
                }
                Decision::Refuse { guard, why, .. } => {
                    assert!(guard.as_str() == "limits" && why.contains("ready replicas of deployment/web"), "{why}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(went, can_go, "of {replicas}");
    }
}

#[tokio::test]
async fn whoever_is_not_confirmed_counts_for_nobody_and_what_is_not_known_is_asked_first() {
    let Some(here) = Node::new() else { return };
    let [real, other, labelled, named, untold] = [1, 2, 3, 4, 5].map(own_uid);
    [&real, &other, &labelled, &named, &untold].into_iter().for_each(|uid| here.runs(uid));
    let told = vec![
        replica(&real, &called(0), "web"),
        replica(&other, &called(1), "web"),
        replica(&labelled, &called(2), "evil"),
        replica(&named, "evil-0", "web"),
    ];
    let (stub, dir) = (server(told, 4).await, tempfile::tempdir().unwrap());
    let cluster = here.cluster(stub.kubeconfig(dir.path()));
    let (verb, input) = (verb(&cluster, VERB), in_shop(&real, &called(0)));
    // Four are wanted, and ready as the cluster counts them; two are seen here.
    let counted = Some(Replicas { wanted: 4, ready: 2, takes: 1 });
    let plan =
        at_once(&cluster, "node1", (&*verb, &input), |plan| stands(plan) == (Some("deployment/web"), counted)).await;
    let act = guarded("r-1");
    assert!(matches!(act.decide(&*verb, plan), Decision::Refuse { .. }), "the cluster is asked, which knows of more");
    let mut dns = input.clone();
    dns["allow"] = json!({ "dns": true });
    for (what, input) in [
        ("it goes by other labels", in_shop(&labelled, &called(2))),
        ("it is called otherwise", in_shop(&named, "evil-0")),
        ("nobody told of it", in_shop(&untold, "late")),
        ("another has that name", in_shop(&real, "other")),
        ("it is named without its uid", json!({ "pod": format!("shop/{}", called(0)) })),
        ("where the DNS is the cluster says", dns),
    ] {
        assert!(verb.plan_at_once(&input).await.is_none(), "{what}");
    }
    assert!(verb.plan_at_once(&json!({ "pod": { "uid": real } })).await.is_some(), "its uid is enough");
}
