//! One permission that is missing: each verb says which it is, and none calls it a success. `isolate_pod` has its own, with its outages, and
//! `get` among what it reads.

use super::act::{Act, verb, wait_until};
use super::api::Place;
use super::nodes::{gone, is_closed, node, taints};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, ListParams};
use quell_model::{ActionError, Json, Truth, Want};
use serde_json::json;

/// Where a verb stops that lacks it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stops {
    /// It cannot be planned.
    Planned,
    /// The plan says so, and nothing is done.
    Told,
    /// The plan says so, and a part is done by then: an undo gives it back.
    Halfway,
    /// What it needs to see that it is over: it was begun, and is not told as done.
    Blind,
}

fn is_told(error: &ActionError, without: &str) {
    let is_it = matches!(error, ActionError::GiveUp { why, hint: Some(hint) }
        if why.contains(&format!("forbids to {without}")) && hint.contains("quell action permissions"));
    assert!(is_it, "{without}: {error:?}");
}

/// A verb that may all but this, on that input.
async fn stops(place: &Place, number: usize, (name, input): (&str, &Json), (without, stops): (&str, Stops)) {
    let what = format!("{name} without {without}");
    let cluster = place.as_user_without(&format!("lacks-{number}"), name, without).await;
    let (act, limited) = (Act::of("r-1"), verb(&cluster, name));
    if stops == Stops::Planned {
        return is_told(&limited.plan(input).await.unwrap_err(), without);
    }
    let plan = limited.plan(input).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    let told = plan.would_fail.iter().any(|why| why.starts_with(&format!("forbidden: {without}")));
    assert_eq!(told, stops != Stops::Blind, "{what}: {:?}", plan.would_fail);
    let go = act.admitted(&*limited, plan.clone());
    is_told(&limited.run(&go, &act.context()).await.unwrap_err(), without);
    let truth = limited.verify(&plan, Want::Acted).await;
    match (&truth, stops) {
        (Err(error), Stops::Blind) => is_told(error, without),
        (Ok(Truth::HoldsNot(_) | Truth::CannotAsk), _) => {}
        _ => panic!("{what}: {truth:?}"),
    }
    if limited.spec().undoable && stops != Stops::Blind {
        let (_, truth) = act.taken_back(&*limited, &plan).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(truth, Truth::Holds, "{what}");
    }
}

#[tokio::test]
async fn what_a_verb_on_a_pod_or_its_owner_may_not_is_told_and_nothing_is_done() {
    let Some(place) = Place::new("forbidden").await else { return };
    place.pod("web-1", json!({ "app": "bare" }), json!({})).await;
    let container = json!({ "name": "main", "image": "localhost/none:1" });
    let template = json!({ "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [container] } });
    let spec = json!({ "replicas": 0, "selector": { "matchLabels": { "app": "web" } }, "template": template });
    place.make::<Deployment>(json!({ "metadata": { "name": "web" }, "spec": spec })).await;
    let job = json!({ "spec": { "template": { "spec": { "restartPolicy": "Never", "containers": [container] } } } });
    let backup = json!({ "schedule": "0 0 1 1 *", "suspend": false, "jobTemplate": job });
    place.make::<CronJob>(json!({ "metadata": { "name": "backup" }, "spec": backup })).await;
    wait_until("the deployment's controller has seen it", async || {
        let web: Deployment = place.api().get("web").await.unwrap();
        web.status.is_some_and(|status| status.observed_generation.is_some())
    })
    .await;
    let stands = async || {
        let (pod, web, cron): (Pod, Deployment, CronJob) = (
            place.api().get("web-1").await.unwrap(),
            place.api().get("web").await.unwrap(),
            place.api().get("backup").await.unwrap(),
        );
        let of_quell = ListParams::default().fields("reason=PodIsolated");
        let told = place.api::<Event>().list(&of_quell).await.unwrap().items.len();
        json!([pod.metadata.annotations, web.spec.unwrap().template, cron.spec.unwrap().suspend, told])
    };
    let before = stands().await;
    let pod = place.named("web-1");
    let owner = json!({ "owner": format!("{}/deployment/web", place.namespace) });
    let annotated = json!({ "pod": pod, "annotations": { "seen": "yes" } });
    let suspended = json!({ "cronjob": place.named("backup") });
    let event = json!({ "object": pod, "reason": "PodIsolated", "message": "cut off" });
    let cases = [
        ("kubernetes.annotate_pod", &annotated, "get pods", Stops::Planned),
        ("kubernetes.annotate_pod", &annotated, "patch pods", Stops::Told),
        ("kubernetes.restart_owner", &owner, "get deployments.apps", Stops::Planned),
        ("kubernetes.restart_owner", &owner, "patch deployments.apps", Stops::Told),
        ("kubernetes.restrict_owner", &owner, "get deployments.apps", Stops::Planned),
        ("kubernetes.restrict_owner", &owner, "patch deployments.apps", Stops::Told),
        ("kubernetes.suspend_cronjob", &suspended, "get cronjobs.batch", Stops::Planned),
        ("kubernetes.suspend_cronjob", &suspended, "patch cronjobs.batch", Stops::Told),
        ("kubernetes.emit_event", &event, "get pods", Stops::Planned),
        ("kubernetes.emit_event", &event, "create events", Stops::Told),
    ];
    for (number, (name, input, without, end)) in cases.into_iter().enumerate() {
        stops(&place, number, (name, input), (without, end)).await;
        assert_eq!(stands().await, before, "{name} without {without}");
    }
    // A restart that nobody can see the end of is begun, and has failed.
    for (number, name) in ["kubernetes.restart_owner", "kubernetes.restrict_owner"].into_iter().enumerate() {
        stops(&place, 100 + number, (name, &owner), ("list pods", Stops::Blind)).await;
    }
}

#[tokio::test]
async fn an_event_that_cannot_be_looked_for_is_not_told_as_seen() {
    let Some(place) = Place::new("forbidden").await else { return };
    place.pod("web-1", json!({}), json!({})).await;
    let cluster = place.as_user_without("blind", "kubernetes.emit_event", "get events").await;
    let (act, verb) = (Act::of("r-1"), verb(&cluster, "kubernetes.emit_event"));
    let input = json!({ "object": place.named("web-1"), "reason": "PodIsolated", "message": "cut off" });
    let plan = verb.plan(&input).await.unwrap();
    let go = act.admitted(&*verb, plan.clone());
    verb.run(&go, &act.context()).await.unwrap();
    is_told(&verb.verify(&plan, Want::Acted).await.unwrap_err(), "get events");
}

#[tokio::test]
async fn what_a_verb_on_a_node_may_not_is_told_and_the_node_is_as_it_was() {
    let Some(place) = Place::new("forbidden").await else { return };
    let all = node(&place).await;
    place.pod("web-1", json!({ "app": "web" }), json!({ "nodeName": place.namespace })).await;
    let on = |more: Json| {
        let mut input = json!({ "node": place.namespace });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    let labelled = on(json!({ "labels": { "held": "yes" } }));
    let tainted = on(json!({ "key": "quell/held", "value": "yes", "effect": "NoExecute" }));
    let (cordoned, drained) = (on(json!({})), on(json!({ "force": true, "timeout": "5s" })));
    let cases = [
        ("kubernetes.label_node", &labelled, "get nodes", Stops::Planned),
        ("kubernetes.label_node", &labelled, "patch nodes", Stops::Told),
        ("kubernetes.cordon_node", &cordoned, "get nodes", Stops::Planned),
        ("kubernetes.cordon_node", &cordoned, "list nodes", Stops::Planned),
        ("kubernetes.cordon_node", &cordoned, "patch nodes", Stops::Told),
        ("kubernetes.taint_node", &tainted, "get nodes", Stops::Planned),
        ("kubernetes.taint_node", &tainted, "list nodes", Stops::Planned),
        ("kubernetes.taint_node", &tainted, "list pods", Stops::Planned),
        ("kubernetes.taint_node", &tainted, "patch nodes", Stops::Told),
        ("kubernetes.drain_node", &drained, "get nodes", Stops::Planned),
        ("kubernetes.drain_node", &drained, "list nodes", Stops::Planned),
        ("kubernetes.drain_node", &drained, "list pods", Stops::Planned),
        ("kubernetes.drain_node", &drained, "patch nodes", Stops::Told),
        ("kubernetes.drain_node", &drained, "create pods/eviction", Stops::Halfway),
    ];
    let pods: Api<Pod> = place.api();
    for (number, (name, input, without, end)) in cases.into_iter().enumerate() {
        stops(&place, number, (name, input), (without, end)).await;
        let found = all.get(&place.namespace).await.unwrap();
        let held = found.metadata.labels.is_some_and(|labels| labels.contains_key("held"));
        let tainted = taints(&all, &place.namespace).await.iter().any(|taint| taint.key == "quell/held");
        let as_it_was = !held && !tainted && !is_closed(&all, &place.namespace).await;
        assert!(as_it_was, "{name} without {without}");
        let pod = pods.get("web-1").await.unwrap();
        assert_eq!(pod.metadata.deletion_timestamp, None, "{name} without {without}");
    }
    gone(&all, &place.namespace).await;
}
