//! `kubernetes.restart_owner`, `scale_owner` and `suspend_cronjob` against a real API server.

use super::act::{Act, outlives_every_crash, verb, wait_until};
use super::api::Place;
use super::ends::{brief, name, pods, web};
use super::kubelet::Kubelet;
use super::nodes::bind;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch};
use quell_model::{ActionError, Json, Plan, TargetFacts, Truth, Want};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

fn facts(plan: &Plan) -> (String, Option<String>, u32, u32, u32) {
    let TargetFacts::Object { resource, owner, replicas, .. } = &plan.targets[0].facts else { panic!("no object") };
    let of = replicas.unwrap();
    (resource.to_string(), owner.clone(), of.wanted, of.ready, of.takes)
}

async fn uids(place: &Place) -> BTreeSet<String> {
    pods(place).await.into_iter().filter_map(|pod| pod.metadata.uid).collect()
}

async fn deployment(place: &Place) -> Deployment {
    place.api().get("web").await.unwrap()
}

async fn write(place: &Place, patch: Json) -> Deployment {
    let all: Api<Deployment> = place.api();
    all.patch("web", &Default::default(), &Patch::Merge(patch)).await.unwrap()
}

#[tokio::test]
async fn a_restart_makes_every_pod_anew_and_does_so_once() {
    let Some(place) = Place::new("own").await else { return };
    let _kubelet = Kubelet::of(&place);
    web(&place, 4, json!({})).await;
    let (verb, act) = (verb(&place.cluster, "kubernetes.restart_owner"), Act::of("r-1"));
    let before = uids(&place).await;
    // A pod stands for what owns it, over its replica set.
    let pod = name(&pods(&place).await[0]);
    let done = act.whole(&*verb, &json!({ "pod": place.named(&pod) })).await.unwrap();
    assert_eq!(done.truth, Truth::Holds);
    assert_eq!(facts(&done.plan), ("deployments.apps".to_owned(), Some("deployment/web".to_owned()), 4, 4, 1));
    assert_eq!(done.output, json!({ "restarted": true, "owner": "deployment/web", "pods": 4 }));
    let after = uids(&place).await;
    assert!(after.is_disjoint(&before) && after.len() == 4, "{before:?} {after:?}");
    // The same act again, as after a crash, restarts nothing.
    let generation = deployment(&place).await.metadata.generation;
    verb.run(&act.admitted(&*verb, done.plan.clone()), &act.context()).await.unwrap();
    assert_eq!((deployment(&place).await.metadata.generation, uids(&place).await), (generation, after));
    // Nor where somebody else has asked for a restart since: theirs makes the pods anew too.
    let theirs = json!({ "spec": { "template": { "metadata": { "annotations": { "kubectl.kubernetes.io/restartedAt": "2030-01-01T00:00:00Z" } } } } });
    let generation = write(&place, theirs).await.metadata.generation;
    verb.run(&act.admitted(&*verb, done.plan.clone()), &act.context()).await.unwrap();
    assert_eq!(deployment(&place).await.metadata.generation, generation);
    assert_eq!(verb.verify(&done.plan, Want::Acted).await, Ok(Truth::Holds));
}

#[tokio::test]
async fn a_rollout_that_does_not_end_is_not_told_as_one_that_did() {
    let Some(place) = Place::new("own").await else { return };
    let kubelet = Kubelet::of(&place);
    web(&place, 2, json!({})).await;
    drop(kubelet);
    let verb = verb(&place.cluster, "kubernetes.restart_owner");
    let act = brief(Duration::from_secs(3));
    let plan = verb.plan(&json!({ "owner": format!("{}/deployment/web", place.namespace) })).await.unwrap();
    let error = verb.run(&act.admitted(&*verb, plan.clone()), &act.context()).await.unwrap_err();
    assert!(error.to_string().contains("` goes on: "), "{error}");
    assert!(matches!(verb.verify(&plan, Want::Acted).await, Ok(Truth::HoldsNot(_))));
}

#[tokio::test]
async fn a_restart_goes_on_while_an_old_pod_terminates() {
    let Some(place) = Place::new("own").await else { return };
    let _kubelet = Kubelet::of(&place);
    web(&place, 2, json!({})).await;
    let all: Api<Pod> = place.api();
    let old = name(&pods(&place).await[0]);
    let held = |by: Json| Patch::Merge(json!({ "metadata": { "finalizers": by } }));
    all.patch(&old, &Default::default(), &held(json!(["example.org/held"]))).await.unwrap();
    // Bound: of one without a node the collector says now and then that it has run to its end.
    bind(&place, &old).await;
    let verb = verb(&place.cluster, "kubernetes.restart_owner");
    let act = brief(Duration::from_secs(3));
    let plan = verb.plan(&json!({ "owner": format!("{}/deployment/web", place.namespace) })).await.unwrap();
    let error = verb.run(&act.admitted(&*verb, plan.clone()), &act.context()).await.unwrap_err();
    assert!(error.to_string().contains("` goes on: "), "{error}");
    wait_until("only the old pod is left", async || {
        let truth = verb.verify(&plan, Want::Acted).await.unwrap();
        assert!(matches!(truth, Truth::HoldsNot(_)), "{truth:?}");
        matches!(truth, Truth::HoldsNot(why) if why.contains("1 old pods still terminate"))
    })
    .await;
    all.patch(&old, &Default::default(), &held(Json::Null)).await.unwrap();
    wait_until("it is over", async || verb.verify(&plan, Want::Acted).await == Ok(Truth::Holds)).await;
}

#[tokio::test]
async fn what_a_partition_leaves_as_it_was_is_not_proved() {
    let Some(place) = Place::new("own").await else { return };
    let _kubelet = Kubelet::of(&place);
    let apart = json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 1 } });
    let template = json!({ "metadata": { "labels": { "app": "db" } },
        "spec": { "containers": [{ "name": "main", "image": "localhost/none:1" }] } });
    let spec = json!({ "replicas": 2, "serviceName": "db", "selector": { "matchLabels": { "app": "db" } },
        "template": template, "updateStrategy": apart });
    place.make::<StatefulSet>(json!({ "metadata": { "name": "db" }, "spec": spec })).await;
    let all: Api<StatefulSet> = place.api();
    let ready = async || all.get("db").await.unwrap().status.and_then(|status| status.ready_replicas) == Some(2);
    wait_until("it is ready", ready).await;
    let input = json!({ "owner": format!("{}/statefulset/db", place.namespace) });
    for name in ["kubernetes.restart_owner", "kubernetes.restrict_owner"] {
        let (act, verb) = (Act::of(name), verb(&place.cluster, name));
        let done = act.whole(&*verb, &input).await.unwrap();
        let says = "its pods below 1 are as they were";
        assert!(matches!(&done.truth, Truth::Unproved(why) if why.contains(says)), "{name}: {:?}", done.truth);
        assert!(done.plan.still_open.iter().any(|open| open.contains(says)), "{name}");
        // Nor is it so already because its template is.
        assert!(!verb.plan(&input).await.unwrap().already, "{name}");
    }
    let whole = json!({ "spec": { "updateStrategy": { "rollingUpdate": { "partition": 2 } } } });
    all.patch("db", &Default::default(), &Patch::Merge(whole)).await.unwrap();
    let error = verb(&place.cluster, "kubernetes.restrict_owner").plan(&input).await.unwrap_err().to_string();
    assert!(error.contains("has a partition of 2: none of its pods would be replaced"), "{error}");
}

#[tokio::test]
async fn what_a_restart_would_not_restart_is_refused() {
    let Some(place) = Place::new("own").await else { return };
    let verb = verb(&place.cluster, "kubernetes.restart_owner");
    let template = json!({ "metadata": { "labels": { "app": "x" } },
        "spec": { "containers": [{ "name": "main", "image": "localhost/none:1" }] } });
    let spec = |more: Json| {
        let mut spec = json!({ "selector": { "matchLabels": { "app": "x" } }, "template": template });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        spec
    };
    place
        .make::<Deployment>(
            json!({ "metadata": { "name": "paused" }, "spec": spec(json!({ "paused": true, "replicas": 0 })) }),
        )
        .await;
    let by_hand = spec(json!({ "updateStrategy": { "type": "OnDelete" }, "serviceName": "x", "replicas": 0 }));
    place.make::<StatefulSet>(json!({ "metadata": { "name": "by-hand" }, "spec": by_hand })).await;
    let apart = spec(
        json!({ "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": 2 } }, "serviceName": "x", "replicas": 2 }),
    );
    place.make::<StatefulSet>(json!({ "metadata": { "name": "apart" }, "spec": apart })).await;
    let by_hand = spec(json!({ "updateStrategy": { "type": "OnDelete" } }));
    place.make::<DaemonSet>(json!({ "metadata": { "name": "daemons" }, "spec": by_hand })).await;
    for (owner, says) in [
        ("deployment/paused", "is paused"),
        ("statefulset/by-hand", "OnDelete"),
        ("statefulset/apart", "partition of 2"),
        ("daemonset/daemons", "OnDelete"),
        ("replicaset/x", "a replicaset cannot be restarted"),
        ("deployment/nobody", "is gone"),
    ] {
        let error = verb.plan(&json!({ "owner": format!("{}/{owner}", place.namespace) })).await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
    let error = verb.plan(&json!({})).await.unwrap_err();
    assert!(error.to_string().contains("which owner is meant"), "{error}");
    place.pod("bare", json!({}), json!({})).await;
    let error = verb.plan(&json!({ "pod": place.named("bare") })).await.unwrap_err();
    assert!(error.to_string().contains("it is owned by nothing"), "{error}");
}

#[tokio::test]
async fn restarts_outlive_every_crash() {
    let Some(place) = Place::new("own").await else { return };
    let _kubelet = Kubelet::of(&place);
    web(&place, 1, json!({})).await;
    let begun = deployment(&place).await.metadata.generation.unwrap();
    let restarts = std::sync::atomic::AtomicI64::new(0);
    let input = async |_: u32| {
        restarts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        json!({ "owner": format!("{}/deployment/web", place.namespace) })
    };
    let judge = async |_: &Json, _: Want| {
        // Each restart is one change of the template, however often it was killed.
        let asked = restarts.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(deployment(&place).await.metadata.generation, Some(begun + asked));
    };
    outlives_every_crash(&place.cluster, "kubernetes.restart_owner", input, judge).await;
}

/// Whether so many pods are ready, and every controller has counted them: a count may be of before.
async fn is_whole(place: &Place, pods: i32) -> bool {
    let sets: Api<ReplicaSet> = place.api();
    let set = sets.list(&Default::default()).await.unwrap().items.remove(0);
    let (set_is, set_has) = (set.metadata.generation, set.status.unwrap_or_default());
    let found = deployment(place).await;
    let (is, has) = (found.metadata.generation, found.status.unwrap_or_default());
    (set_has.observed_generation, set_has.ready_replicas) == (set_is, Some(pods))
        && (has.observed_generation, has.ready_replicas, has.replicas) == (is, Some(pods), Some(pods))
}

#[tokio::test]
async fn an_owner_is_scaled_and_given_its_number_back() {
    let Some(place) = Place::new("own").await else { return };
    let _kubelet = Kubelet::of(&place);
    web(&place, 3, json!({})).await;
    let (verb, act) = (verb(&place.cluster, "kubernetes.scale_owner"), Act::of("r-1"));
    let event =
        json!({ "namespace": place.namespace, "name": "web-7d4b9c8f5-x2x7k", "uid": "u", "owner": "deployment/web" });
    for (to, takes) in [(1, 2), (0, 3), (5, 0)] {
        let done = act.whole(&*verb, &json!({ "owner": event, "to": to })).await.unwrap();
        assert_eq!(done.truth, Truth::Holds);
        assert_eq!(facts(&done.plan), ("deployments.apps".to_owned(), Some("deployment/web".to_owned()), 3, 3, takes));
        assert_eq!(pods(&place).await.len(), to);
        let (output, truth) = act.taken_back(&*verb, &done.plan).await.unwrap();
        assert_eq!((output, truth), (json!({ "replicas": 3 }), Truth::Holds));
        wait_until("they are back, and counted", async || is_whole(&place, 3).await).await;
        wait_until("no more are there", async || pods(&place).await.len() == 3).await;
    }
    let plan = verb.plan(&json!({ "owner": event, "to": 3 })).await.unwrap();
    assert!(plan.already);
}

#[tokio::test]
async fn a_number_that_somebody_else_wrote_is_left() {
    let Some(place) = Place::new("own").await else { return };
    let _kubelet = Kubelet::of(&place);
    web(&place, 2, json!({})).await;
    let scaler = json!({ "metadata": { "name": "web-scaler" }, "spec": { "minReplicas": 1, "maxReplicas": 6,
        "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
        "metrics": [{ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 50 } } }] } });
    place.make::<HorizontalPodAutoscaler>(scaler).await;
    let (verb, act) = (verb(&place.cluster, "kubernetes.scale_owner"), Act::of("r-1"));
    let owner = format!("{}/deployment/web", place.namespace);
    let plan = verb.plan(&json!({ "owner": owner, "to": 1 })).await.unwrap();
    assert!(
        plan.still_open.iter().any(|open| open.contains("web-scaler goes on scaling it, from 1 to 6")),
        "{:?}",
        plan.still_open
    );
    let done = act.whole(&*verb, &json!({ "owner": owner, "to": 0 })).await.unwrap();
    assert!(done.plan.still_open.iter().any(|open| open.contains("leaves it alone")), "{:?}", done.plan.still_open);
    write(&place, json!({ "spec": { "replicas": 4 } })).await;
    assert!(matches!(verb.verify(&done.plan, Want::Acted).await, Ok(Truth::HoldsNot(_))));
    let (output, truth) = act.taken_back(&*verb, &done.plan).await.unwrap();
    assert_eq!(truth, Truth::Holds);
    assert!(output["still"].as_str().unwrap().contains("4 pods are wanted now"), "{output}");
    assert_eq!(deployment(&place).await.spec.unwrap().replicas, Some(4));
}

#[tokio::test]
async fn pods_that_terminate_are_pods() {
    let Some(place) = Place::new("own").await else { return };
    let kubelet = Kubelet::of(&place);
    web(&place, 1, json!({})).await;
    drop(kubelet);
    // Bound, so that it does not end by itself; nobody plays its node.
    let pod = name(&pods(&place).await[0]);
    bind(&place, &pod).await;
    let verb = verb(&place.cluster, "kubernetes.scale_owner");
    let act = brief(Duration::from_secs(3));
    let plan = verb.plan(&json!({ "pod": place.named(&pod), "to": 0 })).await.unwrap();
    let go = act.admitted(&*verb, plan.clone());
    let error = verb.run(&go, &act.context()).await.unwrap_err();
    assert!(error.to_string().contains("1 pods are there, with those that terminate"), "{error}");
    assert!(matches!(verb.verify(&plan, Want::Acted).await, Ok(Truth::HoldsNot(_))));
    place.gone(&pod).await;
    verb.run(&go, &act.context()).await.unwrap();
    assert_eq!(verb.verify(&plan, Want::Acted).await, Ok(Truth::Holds));
}

#[tokio::test]
async fn only_the_number_is_needed_and_its_lack_is_said() {
    let Some(place) = Place::new("own").await else { return };
    let kubelet = Kubelet::of(&place);
    web(&place, 2, json!({})).await;
    let reads = json!({ "apiGroups": ["", "apps", "autoscaling"], "verbs": ["get", "list"],
        "resources": ["deployments", "pods", "horizontalpodautoscalers"] });
    let scales = json!({ "apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["patch"] });
    let input = json!({ "owner": format!("{}/deployment/web", place.namespace), "to": 1 });
    let reader = place.as_user("reader", json!([reads])).await;
    let lame = verb(&reader, "kubernetes.scale_owner");
    let plan = lame.plan(&input).await.unwrap();
    assert_eq!(plan.would_fail, [format!("forbidden: patch deployments.apps/scale in {}", place.namespace)]);
    let act = Act::of("r-1");
    let error = lame.run(&act.admitted(&*lame, plan), &act.context()).await.unwrap_err();
    assert!(matches!(error, ActionError::GiveUp { .. }), "{error:?}");
    let scaler = place.as_user("scaler", json!([reads, scales])).await;
    let done = act.whole(&*verb(&scaler, "kubernetes.scale_owner"), &input).await.unwrap();
    assert_eq!((done.truth, done.plan.would_fail), (Truth::Holds, Vec::new()));
    drop(kubelet);
}

#[tokio::test]
async fn scalings_outlive_every_crash() {
    let Some(place) = Place::new("own").await else { return };
    let _kubelet = Kubelet::of(&place);
    web(&place, 2, json!({})).await;
    let input = async |_: u32| {
        wait_until("it is as before", async || pods(&place).await.len() == 2).await;
        json!({ "owner": format!("{}/deployment/web", place.namespace), "to": 0 })
    };
    let judge = async |_: &Json, want: Want| {
        let wanted = deployment(&place).await.spec.unwrap().replicas;
        assert_eq!(wanted, Some(if want == Want::Acted { 0 } else { 2 }));
    };
    outlives_every_crash(&place.cluster, "kubernetes.scale_owner", input, judge).await;
}

async fn backup(place: &Place, suspended: Option<bool>) -> String {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let name = format!("backup-{}", NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let mut object = json!({ "metadata": { "name": name }, "spec": { "schedule": "0 0 1 1 *", "jobTemplate": { "spec": { "template": {
        "spec": { "restartPolicy": "Never", "containers": [{ "name": "main", "image": "localhost/none:1" }] } } } } } });
    if let Some(suspended) = suspended {
        object["spec"]["suspend"] = suspended.into();
    }
    place.make::<CronJob>(object).await;
    name
}

async fn is_suspended(place: &Place, name: &str) -> Option<bool> {
    place.api::<CronJob>().get(name).await.unwrap().spec.unwrap().suspend
}

#[tokio::test]
async fn a_cron_job_is_suspended_and_goes_on() {
    let Some(place) = Place::new("own").await else { return };
    let (verb, act) = (verb(&place.cluster, "kubernetes.suspend_cronjob"), Act::of("r-1"));
    let name = backup(&place, None).await;
    let all: Api<CronJob> = place.api();
    let done = act.whole(&*verb, &json!({ "cronjob": place.named(&name) })).await.unwrap();
    assert_eq!((done.truth, &done.output["suspended"]), (Truth::Holds, &json!(true)));
    assert_eq!(is_suspended(&place, &name).await, Some(true));
    let (_, truth) = act.taken_back(&*verb, &done.plan).await.unwrap();
    assert_eq!((truth, is_suspended(&place, &name).await), (Truth::Holds, Some(false)));
    // One that was suspended before is so already.
    let before = backup(&place, Some(true)).await;
    assert!(verb.plan(&json!({ "cronjob": place.named(&before) })).await.unwrap().already);
    let error = verb.plan(&json!({ "cronjob": place.named("none") })).await.unwrap_err();
    assert!(error.to_string().contains("is gone"), "{error}");
    // A pod stands for the cron job over its job.
    let cron = all.get(&name).await.unwrap();
    let owner = |kind: &str, name: &str, uid: &str, version: &str| json!([{ "apiVersion": version, "kind": kind, "name": name, "uid": uid, "controller": true }]);
    let job = json!({ "metadata": { "name": "backup-1", "ownerReferences": owner("CronJob", &name, cron.metadata.uid.as_deref().unwrap(), "batch/v1") },
        "spec": { "parallelism": 0, "template": { "spec": { "restartPolicy": "Never", "containers": [{ "name": "main", "image": "localhost/none:1" }] } } } });
    let job: k8s_openapi::api::batch::v1::Job = place.make(job).await;
    let pod = json!({ "metadata": { "name": "backup-1-x2x7k", "ownerReferences": owner("Job", "backup-1", job.metadata.uid.as_deref().unwrap(), "batch/v1"),
            "labels": job.spec.unwrap().selector.unwrap().match_labels.unwrap() },
        "spec": { "restartPolicy": "Never", "containers": [{ "name": "main", "image": "localhost/none:1" }] } });
    place.make::<Pod>(pod).await;
    let plan = verb.plan(&json!({ "pod": place.named("backup-1-x2x7k") })).await.unwrap();
    assert_eq!(plan.calls[0]["cronjob"]["name"], json!(name));
}

#[tokio::test]
async fn suspensions_outlive_every_crash() {
    let Some(place) = Place::new("own").await else { return };
    let input = async |_: u32| json!({ "cronjob": place.named(&backup(&place, None).await) });
    let judge = async |input: &Json, want: Want| {
        let name = input["cronjob"].as_str().unwrap().split_once('/').unwrap().1;
        assert_eq!(is_suspended(&place, name).await, Some(want == Want::Acted));
    };
    outlives_every_crash(&place.cluster, "kubernetes.suspend_cronjob", input, judge).await;
}
