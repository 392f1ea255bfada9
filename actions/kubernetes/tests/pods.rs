//! The watch of a node's pods, against a real API server, and against one that answers as no real one can be made to.

use super::act::{Act, verb, wait_until};
use super::api::Place;
use super::stub::{Reply, Stub, Way};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use quell_kubernetes::{Cluster, PodWatch, Settings};
use quell_model::{Json, PodsView, Truth};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// A watch that runs, of a node.
struct Watched {
    cluster: Arc<Cluster>,
    watch: Arc<PodWatch>,
    _running: JoinSet<()>,
}

impl Watched {
    fn of(kubeconfig: PathBuf, node: Option<&str>) -> Self {
        let settings = Settings { name: "test".into(), kubeconfig: Some(kubeconfig), context: None };
        let cluster = Arc::new(Cluster::new(settings));
        let watch = Arc::new(PodWatch::new(Arc::clone(&cluster), node.map(str::to_owned), "this-host".into()));
        let (mut running, follows) = (JoinSet::new(), Arc::clone(&watch));
        running.spawn(async move { follows.follow().await });
        Self { cluster, watch, _running: running }
    }

    fn view(&self) -> PodsView {
        PodsView::new(Arc::clone(self.cluster.pods()))
    }

    async fn until_live(&self) {
        wait_until("the pods are watched", async || self.watch.status().live).await;
    }
}

/// As a kubelet writes that a container runs.
fn running(id: &str) -> Json {
    json!({ "status": { "phase": "Running", "podIP": "10.244.0.9", "containerStatuses": [{
        "name": "main", "image": "localhost/none:1", "imageID": "localhost/none@sha256:aa", "containerID": format!("containerd://{id}"),
        "ready": true, "restartCount": 0, "state": { "running": {} },
    }] } })
}

async fn tell_running(place: &Place, name: &str, id: &str) {
    let pods: Api<Pod> = place.api();
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(running(id))).await.unwrap();
}

#[tokio::test]
async fn a_pod_is_known_within_a_second_with_its_container_and_forgotten_later_than_it_is_gone() {
    let Some(place) = Place::new("pods").await else { return };
    let node = format!("node-{}", place.namespace);
    let watched = Watched::of(place.kubeconfig.clone(), Some(&node));
    watched.until_live().await;
    let made = place.pod("web", json!({ "app": "web" }), json!({ "nodeName": node })).await;
    let (uid, begun) = (made.uid().unwrap(), Instant::now());
    let view = watched.view();
    wait_until("the pod is known", async || view.find(Some(&uid), None).is_some()).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let pod = view.find(Some(&uid), None).unwrap();
    assert_eq!((pod.name.as_str(), pod.namespace.as_str(), pod.node.as_str()), ("web", &*place.namespace, &*node));
    assert_eq!((pod.owner.as_ref(), pod.label("app")), (None, Some("web")));
    assert_eq!(pod.service_account, Some("default".into()));
    assert!(pod.container("c1").is_none());

    tell_running(&place, "web", "c1").await;
    wait_until("its container is known", async || view.find(None, Some("c1")).is_some()).await;
    let pod = view.find(None, Some("c1")).unwrap();
    let container = pod.container("c1").unwrap();
    assert_eq!((&*container.name, container.image.as_deref()), ("main", Some("localhost/none:1")));
    assert_eq!((container.digest.as_deref(), pod.ip.as_deref()), (Some("sha256:aa"), Some("10.244.0.9")));

    // One of another node is nobody's business here.
    let other = place.pod("other", json!({}), json!({ "nodeName": "elsewhere" })).await.uid().unwrap();
    place.gone("web").await;
    wait_until("the pod is gone", async || watched.watch.status().pods == 0).await;
    assert!(view.find(Some(&uid), None).is_some(), "its last events come late");
    assert!(view.find(Some(&other), None).is_none());
}

#[tokio::test]
async fn pods_of_a_deployment_are_its_own() {
    let Some(place) = Place::new("pods").await else { return };
    let node = format!("node-{}", place.namespace);
    let watched = Watched::of(place.kubeconfig.clone(), Some(&node));
    let labels = json!({ "app": "web" });
    let _: Deployment = place
        .make(json!({ "metadata": { "name": "web" }, "spec": {
            "replicas": 1, "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": {
                "nodeName": node, "containers": [{ "name": "main", "image": "localhost/none:1" }],
            } },
        } }))
        .await;
    let pods: Api<Pod> = place.api();
    let its = ListParams::default().labels("app=web");
    wait_until("there is a pod", async || !pods.list(&its).await.unwrap().items.is_empty()).await;
    let uid = pods.list(&its).await.unwrap().items[0].uid().unwrap();
    let view = watched.view();
    wait_until("it is known", async || view.find(Some(&uid), None).is_some()).await;
    let pod = view.find(Some(&uid), None).unwrap();
    assert_eq!(pod.owner, Some("deployment/web".into()));
    assert_eq!(pod.workload(), Some(format!("{}/deployment/web", place.namespace)));
}

#[tokio::test]
async fn what_was_known_stays_known_while_the_cluster_is_away_and_what_changed_meanwhile_is_known_afterwards() {
    let Some(place) = Place::new("pods").await else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut way = Way::to(&place.kubeconfig, dir.path()).await;
    let node = format!("node-{}", place.namespace);
    let watched = Watched::of(way.kubeconfig.clone(), Some(&node));
    let before = place.pod("before", json!({}), json!({ "nodeName": node })).await.uid().unwrap();
    let view = watched.view();
    wait_until("the first is known", async || view.find(Some(&before), None).is_some()).await;
    watched.until_live().await;
    assert_eq!(watched.watch.status().stale, None);

    way.cut();
    wait_until("it is seen that the cluster is away", async || !watched.watch.status().live).await;
    let status = watched.watch.status();
    assert!(status.stale.is_some() && status.why.is_some_and(|why| why.contains("cannot be asked")));
    assert!(view.find(Some(&before), None).is_some());
    let after = place.pod("after", json!({}), json!({ "nodeName": node })).await.uid().unwrap();
    place.gone("before").await;
    assert!(view.find(Some(&after), None).is_none());

    way.open().await;
    wait_until("what came meanwhile is known", async || view.find(Some(&after), None).is_some()).await;
    watched.until_live().await;
    let status = watched.watch.status();
    assert_eq!((status.pods, status.stale, status.why), (1, None, None));
    assert!(view.find(Some(&before), None).is_some(), "it is gone, and remembered");
}

#[tokio::test]
async fn a_verb_finds_a_pod_by_the_uid_alone_that_an_early_event_has() {
    let Some(place) = Place::new("pods").await else { return };
    let node = format!("node-{}", place.namespace);
    let uid = place.pod("web", json!({}), json!({ "nodeName": node })).await.uid().unwrap();
    let verb = verb(&place.cluster, "kubernetes.label_pod");
    let early = json!({ "uid": uid, "namespace": null, "name": null, "labels": null });
    let input = json!({ "pod": early, "labels": { "seen": "yes" } });
    let unwatched = verb.plan(&input).await.unwrap_err().to_string();
    assert!(unwatched.contains("not watched"), "{unwatched}");
    // The watch begins after the run does, as at quell's start.
    let watch = PodWatch::new(Arc::clone(&place.cluster), Some(node), "this-host".into());
    let act = Act::of("r-early");
    let done = tokio::select! {
        biased;
        done = act.whole(&*verb, &input) => done.unwrap(),
        () = watch.follow() => unreachable!("it watches for ever"),
    };
    assert_eq!(done.truth, Truth::Holds);
    assert_eq!(place.labels("web").await, json!({ "seen": "yes" }));
}

fn pod(uid: &str, owner: Option<Json>) -> Json {
    json!({
        "metadata": { "name": format!("p-{uid}"), "namespace": "shop", "uid": uid, "resourceVersion": "7", "ownerReferences": owner },
        "spec": { "nodeName": "node1", "containers": [{ "name": "main", "image": "i:1" }] }, "status": {},
    })
}

fn list(version: &str, items: &[Json]) -> Reply {
    Reply::Json(200, json!({ "kind": "PodList", "metadata": { "resourceVersion": version }, "items": items }))
}

fn failed(code: u16, words: &str) -> Json {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": words, "reason": "x", "code": code })
}

#[tokio::test]
async fn a_watch_that_the_server_has_forgotten_begins_with_a_list_of_all() {
    let dir = tempfile::tempdir().unwrap();
    let lists = std::sync::atomic::AtomicU32::new(0);
    let stub = Stub::new(move |path| {
        let watch = path.contains("watch=true");
        match (watch, path.contains("resourceVersion=5")) {
            (true, true) => Reply::WatchEnds(vec![
                json!({ "type": "MODIFIED", "object": pod("u1", None) }),
                json!({ "type": "ERROR", "object": failed(410, "too old resource version: 5 (9)") }),
            ]),
            (true, false) => Reply::Watch(vec![]),
            (false, _) => match lists.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                0 => list("5", &[pod("u1", None)]),
                _ => list("9", &[pod("u2", None)]),
            },
        }
    })
    .await;
    let watched = Watched::of(stub.kubeconfig(dir.path()), Some("node1"));
    let view = watched.view();
    wait_until("the second list is known", async || view.find(Some("u2"), None).is_some()).await;
    watched.until_live().await;
    assert_eq!(watched.watch.status().pods, 1, "the first is gone, and remembered");
    assert!(view.find(Some("u1"), None).is_some());
    assert!(stub.asked().iter().all(|path| path.contains("fieldSelector=spec.nodeName%3Dnode1")), "{:?}", stub.asked());
}

#[tokio::test]
async fn a_right_that_is_missing_is_named_and_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let allowed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let may = Arc::clone(&allowed);
    let stub = Stub::new(move |path| {
        if path.contains("watch=true") {
            return Reply::Watch(vec![]);
        }
        if may.load(std::sync::atomic::Ordering::Acquire) {
            return list("5", &[pod("u1", None)]);
        }
        Reply::Json(403, failed(403, "pods is forbidden: User \"quell\" cannot list resource \"pods\""))
    })
    .await;
    let watched = Watched::of(stub.kubeconfig(dir.path()), Some("node1"));
    wait_until("it is said", async || watched.watch.status().why.is_some()).await;
    let status = watched.watch.status();
    assert!(status.why.as_ref().is_some_and(|why| why.contains("forbids to list pods")), "{status:?}");
    assert_eq!((status.live, status.stale), (false, None));
    allowed.store(true, std::sync::atomic::Ordering::Release);
    watched.until_live().await;
    assert_eq!(watched.watch.status().pods, 1);
}

#[tokio::test]
async fn whose_a_job_is_is_asked_once_and_nothing_is_said_before() {
    let dir = tempfile::tempdir().unwrap();
    let owner = |uid: &str| json!([{ "apiVersion": "batch/v1", "kind": "Job", "name": "report-29", "uid": uid, "controller": true }]);
    let stub = Stub::new(move |path| {
        if path.contains("/jobs/") {
            let above = json!([{ "apiVersion": "batch/v1", "kind": "CronJob", "name": "report", "uid": "c", "controller": true }]);
            return Reply::Json(200, json!({ "metadata": { "name": "report-29", "uid": "j1", "ownerReferences": above } }));
        }
        if path.contains("watch=true") {
            return Reply::Watch(vec![]);
        }
        // The third was made by another job of the same name, which is not there any more.
        list("5", &[pod("u1", Some(owner("j1"))), pod("u2", Some(owner("j1"))), pod("u3", Some(owner("j0")))])
    })
    .await;
    let watched = Watched::of(stub.kubeconfig(dir.path()), Some("node1"));
    let view = watched.view();
    let named = |uid: &str, name: &str| view.find(Some(uid), None).is_some_and(|pod| pod.owner == Some(name.into()));
    wait_until("owners are known", async || {
        named("u1", "cronjob/report") && named("u2", "cronjob/report") && named("u3", "job/report-29")
    })
    .await;
    let asked = stub.asked().iter().filter(|path| path.contains("/namespaces/shop/jobs/report-29")).count();
    assert_eq!(asked, 2, "each once");
}

#[tokio::test]
async fn without_a_name_the_node_is_called_as_the_machine_if_there_is_such_a_one() {
    let dir = tempfile::tempdir().unwrap();
    let there = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_there = Arc::clone(&there);
    let stub = Stub::new(move |path| {
        if path.contains("/nodes/this-host") {
            return match is_there.load(std::sync::atomic::Ordering::Acquire) {
                true => Reply::Json(200, json!({ "metadata": { "name": "this-host" } })),
                false => Reply::Json(404, failed(404, "nodes \"this-host\" not found")),
            };
        }
        if path.contains("watch=true") { Reply::Watch(vec![]) } else { list("5", &[]) }
    })
    .await;
    let watched = Watched::of(stub.kubeconfig(dir.path()), None);
    wait_until("it is said", async || watched.watch.status().why.is_some()).await;
    let status = watched.watch.status();
    assert!(status.why.is_some_and(|why| why.contains("has no node `this-host`")));
    assert!(!stub.asked().iter().any(|path| path.contains("/pods")), "of a node that is not there nothing is asked");
    there.store(true, std::sync::atomic::Ordering::Release);
    watched.until_live().await;
    assert_eq!(watched.watch.status().node.as_deref(), Some("this-host"));
}

/// One pod of this uid, on any node, for ever.
async fn with_one(uid: &'static str) -> Stub {
    Stub::new(move |path| if path.contains("watch=true") { Reply::Watch(vec![]) } else { list("5", &[pod(uid, None)]) })
        .await
}

#[tokio::test]
async fn whoever_leads_quell_to_another_cluster_leads_the_watch_there() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, other) = (with_one("u1").await, with_one("u2").await);
    let at = |file: PathBuf| Some(Settings { name: "test".into(), kubeconfig: Some(file), context: None });
    let watched = Watched::of(one.kubeconfig(first.path()), Some("node1"));
    watched.cluster.put(None, None);
    let view = watched.view();
    // Nobody says where a cluster is, as of a quell.yaml that names none yet; then a reload does.
    wait_until("nothing is known", async || !watched.watch.status().live && view.find(Some("u1"), None).is_none())
        .await;
    watched.cluster.put(at(one.kubeconfig(first.path())), None);
    wait_until("the first is watched", async || view.find(Some("u1"), None).is_some()).await;
    watched.until_live().await;
    watched.cluster.put(at(other.kubeconfig(second.path())), None);
    wait_until("the second is watched", async || view.find(Some("u2"), None).is_some()).await;
    watched.until_live().await;
    assert!(view.find(Some("u1"), None).is_none(), "a pod of the first cluster");
    let asked = |stub: &Stub, what: &str| stub.asked().iter().filter(|path| path.contains(what)).count();
    assert_eq!(asked(&other, "resourceVersion=5"), 1, "with a list of its own: {:?}", other.asked());
    // And so does who says what this node is called.
    watched.watch.put_node(Some("node2".into()));
    wait_until("its other name is watched", async || asked(&other, "nodeName%3Dnode2") >= 2).await;
    watched.watch.put_node(Some("node2".into()));
    watched.until_live().await;
    assert_eq!(watched.watch.status().node.as_deref(), Some("node2"));
}

#[tokio::test]
async fn where_a_pod_lives_the_kubelets_files_say_before_the_cluster_does() {
    let root = tempfile::tempdir().unwrap();
    let uid = "1b2c3d4e-0000-1111-2222-333344445555";
    let logs = root.path().join("var/log/pods");
    std::fs::create_dir_all(logs.join(format!("kube-system_dns_{uid}"))).unwrap();
    let settings = Settings { name: "test".into(), kubeconfig: Some("/nowhere".into()), context: None };
    let cluster = Arc::new(Cluster::new(settings));
    let watch = PodWatch::new(Arc::clone(&cluster), Some("node1".into()), "this-host".into());
    let watch = watch.on_host(root.path().to_owned());
    let lives = |uid: &str| cluster.pods().place(Some(uid), None).unwrap().to_string();
    assert_eq!(lives(uid), "kube-system/dns");
    // While the cluster is away it is looked at again.
    let later = uid.replace('1', "2");
    std::fs::create_dir(logs.join(format!("shop_web_{later}"))).unwrap();
    tokio::select! {
        () = watch.follow() => unreachable!("it watches for ever"),
        () = wait_until("the next is known", async || lives(&later) == "shop/web") => {}
    }
    assert!(cluster.pods().is_empty(), "the cluster has told of none");
}
