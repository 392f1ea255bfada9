//! `kubernetes.delete_pod` and `kubernetes.evict_pod` against a real API server.

use super::act::{Act, outlives_every_crash, verb, wait_until};
use super::api::Place;
use super::kubelet::Kubelet;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, DeleteParams, ListParams};
use quell_model::{ActionError, Json, Plan, TargetFacts, Truth, Want};
use serde_json::json;
use std::time::Duration;

const BOTH: [&str; 2] = ["kubernetes.delete_pod", "kubernetes.evict_pod"];

/// A deployment `web` of so many ready pods.
pub async fn web(place: &Place, replicas: u32, more: Json) {
    let mut spec = json!({
        "replicas": replicas,
        "selector": { "matchLabels": { "app": "web" } },
        "template": {
            "metadata": { "labels": { "app": "web" } },
            "spec": { "containers": [{ "name": "main", "image": "localhost/none:1" }] },
        },
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    place.make::<Deployment>(json!({ "metadata": { "name": "web" }, "spec": spec })).await;
    wait_until("the deployment has its pods", async || {
        let found: Deployment = place.api().get("web").await.unwrap();
        found.status.and_then(|status| status.available_replicas).unwrap_or(0) == i32::try_from(replicas).unwrap()
    })
    .await;
}

/// The pods of the namespace, by name.
pub async fn pods(place: &Place) -> Vec<Pod> {
    let all: Api<Pod> = place.api();
    all.list(&ListParams::default()).await.unwrap().items
}

pub fn name(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap()
}

fn uid(pod: &Pod) -> String {
    pod.metadata.uid.clone().unwrap()
}

/// An act that is given so long.
pub fn brief(bound: Duration) -> Act {
    let mut act = Act::of("r-1");
    act.bound = bound;
    act
}

/// As an event has it.
fn event(place: &Place, pod: &Pod) -> Json {
    json!({ "namespace": place.namespace, "name": name(pod), "uid": uid(pod), "labels": {}, "owner": null })
}

fn takes(plan: &Plan) -> Option<(String, u32, u32, u32)> {
    let TargetFacts::Object { owner, replicas, .. } = &plan.targets[0].facts else { panic!("no object") };
    let of = (*replicas)?;
    Some((owner.clone().unwrap_or_default(), of.wanted, of.ready, of.takes))
}

#[tokio::test]
async fn a_pod_ends_and_its_owner_makes_another() {
    let Some(place) = Place::new("end").await else { return };
    let _kubelet = Kubelet::of(&place);
    web(&place, 2, json!({})).await;
    for each in BOTH {
        let verb = verb(&place.cluster, each);
        let pod = pods(&place).await.remove(0);
        let done = Act::of("r-1").whole(&*verb, &json!({ "pod": event(&place, &pod) })).await.unwrap();
        assert_eq!(done.truth, Truth::Holds);
        assert_eq!(takes(&done.plan), Some(("deployment/web".to_owned(), 2, 2, 1)), "{each}");
        assert_eq!(done.plan.would_fail, [""; 0]);
        assert!(done.plan.still_open.iter().any(|open| open.contains("deployment/web makes another")));
        assert_eq!((&done.output["owner"], &done.output["replacement"]), (&json!("deployment/web"), &json!(true)));
        assert_eq!(done.output, done.plan.predicted);
        assert!(pods(&place).await.iter().all(|other| uid(other) != uid(&pod)));
        wait_until("another is made", async || {
            let ready = pods(&place)
                .await
                .iter()
                .filter(|pod| pod.status.as_ref().is_some_and(|it| it.phase.as_deref() == Some("Running")))
                .count();
            ready == 2
        })
        .await;
        let found: Deployment = place.api().get("web").await.unwrap();
        assert_eq!(found.spec.unwrap().replicas, Some(2));
        wait_until("it is counted", async || {
            let found: Deployment = place.api().get("web").await.unwrap();
            found.status.unwrap().ready_replicas == Some(2)
        })
        .await;
    }
}

#[tokio::test]
async fn a_pod_that_terminates_is_not_told_as_gone() {
    let Some(place) = Place::new("end").await else { return };
    for (number, each) in BOTH.iter().enumerate() {
        let verb = verb(&place.cluster, each);
        // Bound to a node that nobody plays: nothing ends it.
        let called = format!("held-{number}");
        place
            .pod(&called, json!({}), json!({ "nodeName": place.namespace, "terminationGracePeriodSeconds": 600 }))
            .await;
        let act = brief(Duration::from_secs(2));
        let plan = verb.plan(&json!({ "pod": place.named(&called) })).await.unwrap();
        assert!(plan.still_open.iter().any(|open| open.contains("run on for 600 s")), "{:?}", plan.still_open);
        let go = act.admitted(&*verb, plan.clone());
        let error = verb.run(&go, &act.context()).await.unwrap_err();
        assert!(error.to_string().contains("terminating, until"), "{error}");
        assert!(matches!(error, ActionError::Retry { .. }));
        let Truth::HoldsNot(why) = verb.verify(&plan, Want::Acted).await.unwrap() else { panic!("it is there") };
        assert!(why.contains("terminating"), "{why}");
        // Who comes to it now is told that it is on its way.
        let late = verb.plan(&json!({ "pod": place.named(&called) })).await.unwrap();
        assert!(late.still_open.iter().any(|open| open.contains("it is terminating")), "{:?}", late.still_open);
        place.gone(&called).await;
        verb.run(&go, &act.context()).await.unwrap();
        assert_eq!(verb.verify(&plan, Want::Acted).await, Ok(Truth::Holds));
    }
}

#[tokio::test]
async fn a_finalizer_is_named() {
    let Some(place) = Place::new("end").await else { return };
    let object = json!({ "metadata": { "name": "kept", "finalizers": ["quell.test/kept"] },
        "spec": { "containers": [{ "name": "main", "image": "localhost/none:1" }] } });
    place.make::<Pod>(object).await;
    let verb = verb(&place.cluster, "kubernetes.delete_pod");
    let act = brief(Duration::from_secs(2));
    let plan = verb.plan(&json!({ "pod": place.named("kept"), "grace": "0s" })).await.unwrap();
    let open = plan.still_open.join("; ");
    assert!(open.contains("finalizer `quell.test/kept`") && open.contains("forgets it at once"), "{open}");
    let error = verb.run(&act.admitted(&*verb, plan), &act.context()).await.unwrap_err();
    assert!(error.to_string().contains("held by the finalizers quell.test/kept"), "{error}");
    let off = kube::api::Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    let pods: Api<Pod> = place.api();
    pods.patch("kept", &Default::default(), &off).await.unwrap();
}

#[tokio::test]
async fn another_of_the_same_name_is_left_alone() {
    let Some(place) = Place::new("end").await else { return };
    for (number, each) in BOTH.iter().enumerate() {
        let (verb, act) = (verb(&place.cluster, each), Act::of("r-1"));
        let called = format!("web-{number}");
        let first = place.pod(&called, json!({}), json!({})).await;
        let plan = verb.plan(&json!({ "pod": event(&place, &first) })).await.unwrap();
        place.gone(&called).await;
        let second = place.pod(&called, json!({}), json!({})).await;
        // What was planned for the first does nothing to the second.
        verb.run(&act.admitted(&*verb, plan.clone()), &act.context()).await.unwrap();
        assert_eq!(verb.verify(&plan, Want::Acted).await, Ok(Truth::Holds));
        assert_eq!(pods(&place).await.iter().filter(|pod| uid(pod) == uid(&second)).count(), 1);
        // An event means the first, which is gone.
        let late = verb.plan(&json!({ "pod": event(&place, &first) })).await.unwrap();
        assert!(late.already && late.targets.len() == 1, "{late:?}");
        // A mere name means the second; and none, where there is none.
        assert!(!verb.plan(&json!({ "pod": place.named(&called) })).await.unwrap().already);
        place.gone(&called).await;
        let error = verb.plan(&json!({ "pod": place.named(&called) })).await.unwrap_err();
        assert!(error.to_string().contains("is gone"), "{error}");
    }
}

#[tokio::test]
async fn a_bare_pod_comes_back_by_nobody_and_a_static_one_is_refused() {
    let Some(place) = Place::new("end").await else { return };
    place.pod("bare", json!({}), json!({})).await;
    let object = json!({ "metadata": { "name": "etcd", "annotations": { "kubernetes.io/config.mirror": "x" } },
        "spec": { "nodeName": place.namespace, "containers": [{ "name": "main", "image": "localhost/none:1" }] } });
    place.make::<Pod>(object).await;
    for each in BOTH {
        let verb = verb(&place.cluster, each);
        let error = verb.plan(&json!({ "pod": place.named("etcd") })).await.unwrap_err();
        assert!(error.to_string().contains("runs it from a file"), "{error}");
        let plan = verb.plan(&json!({ "pod": place.named("bare") })).await.unwrap();
        assert_eq!((&plan.predicted["owner"], &plan.predicted["replacement"]), (&Json::Null, &json!(false)));
        assert_eq!(takes(&plan), None);
    }
}

#[tokio::test]
async fn a_budget_is_obeyed_and_named() {
    let Some(place) = Place::new("end").await else { return };
    let _kubelet = Kubelet::of(&place);
    web(&place, 1, json!({})).await;
    let budget = json!({ "metadata": { "name": "keep-web" },
        "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "web" } } } });
    place.make::<PodDisruptionBudget>(budget).await;
    wait_until("the budget is counted", async || {
        let found: PodDisruptionBudget = place.api().get("keep-web").await.unwrap();
        found.status.is_some_and(|status| status.expected_pods == 1 && status.current_healthy == 1)
    })
    .await;
    let (verb, act) = (verb(&place.cluster, "kubernetes.evict_pod"), Act::of("r-1"));
    let pod = pods(&place).await.remove(0);
    let plan = verb.plan(&json!({ "pod": event(&place, &pod) })).await.unwrap();
    assert!(plan.would_fail.iter().any(|why| why.contains("keep-web")), "{:?}", plan.would_fail);
    let go = act.admitted(&*verb, plan.clone());
    let error = verb.run(&go, &act.context()).await.unwrap_err();
    assert!(matches!(&error, ActionError::Retry { why, .. } if why.contains("keep-web")), "{error:?}");
    assert!(matches!(verb.verify(&plan, Want::Acted).await, Ok(Truth::HoldsNot(_))));
    let now: Pod = place.api().get(&name(&pod)).await.unwrap();
    assert!(now.metadata.deletion_timestamp.is_none() && uid(&now) == uid(&pod));
    // The same act goes through once the budget lets it.
    let budgets: Api<PodDisruptionBudget> = place.api();
    budgets.delete("keep-web", &DeleteParams::default()).await.unwrap();
    wait_until("the budget is gone", async || budgets.get_opt("keep-web").await.unwrap().is_none()).await;
    verb.run(&go, &act.context()).await.unwrap();
    assert_eq!(verb.verify(&plan, Want::Acted).await, Ok(Truth::Holds));
}

#[tokio::test]
async fn what_quell_may_not_is_said_before_and_at_the_act() {
    let Some(place) = Place::new("end").await else { return };
    place.pod("web", json!({}), json!({})).await;
    let limited =
        place.as_user("reader", json!([{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] }])).await;
    for (each, lacks) in [(BOTH[0], "delete pods"), (BOTH[1], "create pods/eviction")] {
        let (verb, act) = (verb(&limited, each), Act::of("r-1"));
        let plan = verb.plan(&json!({ "pod": place.named("web") })).await.unwrap();
        assert_eq!(plan.would_fail, [format!("forbidden: {lacks} in {}", place.namespace)]);
        let error = verb.run(&act.admitted(&*verb, plan.clone()), &act.context()).await.unwrap_err();
        assert!(matches!(&error, ActionError::GiveUp { why, .. } if why.contains(lacks)), "{error:?}");
        assert!(matches!(verb.verify(&plan, Want::Acted).await, Ok(Truth::HoldsNot(_))));
    }
}

#[tokio::test]
async fn ends_outlive_every_crash() {
    let Some(place) = Place::new("end").await else { return };
    let _kubelet = Kubelet::of(&place);
    for (number, each) in BOTH.iter().enumerate() {
        let input = async |calls: u32| {
            let name = format!("web-{number}-{calls}");
            let pod = place.pod(&name, json!({}), json!({ "nodeName": place.namespace })).await;
            json!({ "pod": event(&place, &pod) })
        };
        let judge = async |input: &Json, _: Want| {
            assert!(pods(&place).await.iter().all(|pod| uid(pod) != input["pod"]["uid"].as_str().unwrap()));
        };
        outlives_every_crash(&place.cluster, each, input, judge).await;
    }
}
