//! `kubernetes.isolate_pod` against a real API server and its controllers.

mod alone;
mod at_once;
mod node;
mod outages;
mod owners;

use super::act::{Act, outlives_every_crash, verb};
use super::api::Place;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{ListParams, Patch, PatchParams};
use quell_model::{Json, Plan, Truth, Want};
use serde_json::json;

const VERB: &str = "kubernetes.isolate_pod";

/// The policies of a namespace: names and specs.
async fn policies(place: &Place) -> Vec<(String, Json)> {
    let all = place.api::<NetworkPolicy>().list(&ListParams::default()).await.unwrap();
    let told = |one: NetworkPolicy| (one.metadata.name.unwrap(), serde_json::to_value(one.spec).unwrap());
    all.items.into_iter().map(told).collect()
}

async fn service(place: &Place, name: &str, selector: Json) {
    let spec = json!({ "selector": selector, "ports": [{ "port": 80 }] });
    place.make::<Service>(json!({ "metadata": { "name": name }, "spec": spec })).await;
}

async fn uid(place: &Place, name: &str) -> String {
    place.api::<Pod>().get(name).await.unwrap().metadata.uid.unwrap()
}

fn opens(plan: &Plan, what: &str) -> bool {
    plan.still_open.iter().any(|open| open.contains(what))
}

/// Of what only the API server was asked it is never said that it is so.
fn unproved(truth: &Truth) -> &str {
    match truth {
        Truth::Unproved(why) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_pod_is_cut_off_and_its_siblings_are_not() {
    let Some(place) = Place::new("isolate").await else { return };
    service(&place, "web", json!({ "app": "web" })).await;
    for name in ["web-1", "web-2"] {
        place.pod(name, json!({ "app": "web", "team": "x" }), json!({})).await;
        place.ready(name).await;
    }
    let (act, verb) = (Act::of("r-1"), verb(&place.cluster, VERB));
    let input = json!({ "pod": place.named("web-1"), "allow": { "dns": true, "egress": ["10.1.0.0/16"] } });
    let done = act.whole(&*verb, &input).await.unwrap();
    let uid = uid(&place, "web-1").await;
    assert_eq!(place.labels("web-1").await, json!({ "team": "x", "quell/isolated": uid }));
    assert_eq!(place.labels("web-2").await, json!({ "app": "web", "team": "x" }));
    let all = policies(&place).await;
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0].1["podSelector"], json!({ "matchLabels": { "quell/isolated": uid } }));
    assert_eq!((&all[0].1["policyTypes"], &all[0].1["ingress"]), (&json!(["Ingress", "Egress"]), &Json::Null));
    assert_eq!(all[0].1["egress"].as_array().map(Vec::len), Some(2), "{all:?}");
    assert_eq!((&done.output["policy"], &done.output["services"]), (&json!(all[0].0), &json!(["web"])));
    assert!(unproved(&done.truth).contains("no enforcer of NetworkPolicies was seen"), "{:?}", done.truth);
    for open in ["connections that are open may go on", "no enforcer", "names are resolved", "nothing owns it"] {
        assert!(opens(&done.plan, open), "{open}: {:?}", done.plan.still_open);
    }
    assert!(!opens(&done.plan, "has no other ready pod"));
    let made: NetworkPolicy = place.api().get(&all[0].0).await.unwrap();
    let managers: Vec<_> = made.metadata.managed_fields.unwrap().into_iter().filter_map(|one| one.manager).collect();
    assert_eq!(managers, ["quell"]);

    let (output, truth) = act.taken_back(&*verb, &done.plan).await.unwrap();
    assert_eq!((truth, output.get("still"), &output["gone"]), (Truth::Holds, None, &json!(false)));
    assert_eq!(place.labels("web-1").await, json!({ "app": "web", "team": "x" }));
    assert!(policies(&place).await.is_empty());
    let pod: Pod = place.api().get("web-1").await.unwrap();
    assert_eq!(pod.metadata.annotations.unwrap_or_default().get("quell/isolation"), None);
}

#[tokio::test]
async fn it_outlives_every_crash() {
    let Some(place) = Place::new("isolate").await else { return };
    service(&place, "web", json!({ "app": "web" })).await;
    let input = async |calls: u32| {
        let name = format!("web-{calls}");
        place.pod(&name, json!({ "app": "web" }), json!({})).await;
        json!({ "pod": place.named(&name) })
    };
    let judge = async |input: &Json, want: Want| {
        let name = input["pod"].as_str().unwrap().split_once('/').unwrap().1;
        let uid = uid(&place, name).await;
        let (labels, many) = match want {
            Want::Acted => (json!({ "quell/isolated": uid }), 1),
            Want::Undone => (json!({ "app": "web" }), 0),
        };
        assert_eq!(place.labels(name).await, labels);
        assert_eq!(policies(&place).await.len(), many);
    };
    outlives_every_crash(&place.cluster, VERB, input, judge).await;
}

#[tokio::test]
async fn what_somebody_else_wrote_since_stays() {
    let Some(place) = Place::new("isolate").await else { return };
    service(&place, "web", json!({ "app": "web", "tier": "a" })).await;
    place.pod("web-1", json!({ "app": "web", "tier": "a" }), json!({})).await;
    let (act, verb) = (Act::of("r-1"), verb(&place.cluster, VERB));
    let done = act.whole(&*verb, &json!({ "pod": place.named("web-1") })).await.unwrap();
    let theirs = json!({ "metadata": { "labels": { "app": "evidence" } } });
    place.api::<Pod>().patch("web-1", &PatchParams::default(), &Patch::Merge(theirs)).await.unwrap();
    let truth = verb.verify(&done.plan, Want::Acted).await.unwrap();
    assert_eq!(truth, Truth::HoldsNot("label `app` is `evidence`".to_owned()));
    let (output, truth) = act.taken_back(&*verb, &done.plan).await.unwrap();
    assert_eq!(truth, Truth::Holds);
    assert_eq!(output["still"], "`app` is `evidence` now, which quell did not write");
    assert_eq!(place.labels("web-1").await, json!({ "app": "evidence", "tier": "a" }));
}

/// Each attempt plans by what it finds: the second one knows the pod by another label than the first.
#[tokio::test]
async fn labels_that_two_attempts_took_off_are_given_back() {
    let Some(place) = Place::new("isolate").await else { return };
    for unmarked in [false, true] {
        let (name, mine) = (format!("web-{unmarked}"), json!({ "app": "web", "tier": "a" }));
        service(&place, &format!("{name}-app"), json!({ "app": "web" })).await;
        place.pod(&name, mine.clone(), json!({})).await;
        let (act, verb) = (Act::of("r-1"), verb(&place.cluster, VERB));
        let input = json!({ "pod": place.named(&name) });
        let first = act.whole(&*verb, &input).await.unwrap();
        let isolated = json!(uid(&place, &name).await);
        assert_eq!(place.labels(&name).await, json!({ "tier": "a", "quell/isolated": isolated }));
        if unmarked {
            let off = json!({ "metadata": { "annotations": { "quell/isolation": null } } });
            place.api::<Pod>().patch(&name, &PatchParams::default(), &Patch::Merge(off)).await.unwrap();
        }
        drop(place.api::<Service>().delete(&format!("{name}-app"), &Default::default()).await.unwrap());
        service(&place, &format!("{name}-tier"), json!({ "tier": "a" })).await;
        let second = act.whole(&*verb, &input).await.unwrap();
        assert_eq!(place.labels(&name).await, json!({ "quell/isolated": isolated }));
        let (_, truth) = act.taken_back(&*verb, &second.plan).await.unwrap();
        assert_eq!(truth, Truth::Holds);
        let left = verb.verify_undone(&first.plan, &act.back()).await.unwrap();
        assert_eq!(matches!(left, Truth::HoldsNot(_)), unmarked, "{left:?}");
        let (_, truth) = act.taken_back(&*verb, &first.plan).await.unwrap();
        assert_eq!(truth, Truth::Holds);
        assert_eq!(place.labels(&name).await, mine, "unmarked: {unmarked}");
        drop(place.api::<Service>().delete(&format!("{name}-tier"), &Default::default()).await.unwrap());
    }
}

#[tokio::test]
async fn a_foreign_policy_of_the_same_name_is_never_touched() {
    let Some(place) = Place::new("isolate").await else { return };
    place.pod("web-1", json!({ "app": "web" }), json!({})).await;
    let name = format!("quell-isolates-{}", uid(&place, "web-1").await);
    let spec = json!({ "podSelector": {}, "policyTypes": ["Egress"], "egress": [{}] });
    place.make::<NetworkPolicy>(json!({ "metadata": { "name": name }, "spec": spec })).await;
    let before = policies(&place).await;
    let (act, verb) = (Act::of("r-1"), verb(&place.cluster, VERB));
    let done = act.whole(&*verb, &json!({ "pod": place.named("web-1") })).await.unwrap();
    assert_eq!(done.output["policy"], format!("{name}-2"));
    assert!(opens(&done.plan, &format!("NetworkPolicy `{name}` still lets it through: egress")), "{:?}", done.plan);
    assert_eq!(policies(&place).await.len(), 2);
    act.taken_back(&*verb, &done.plan).await.unwrap();
    assert_eq!(policies(&place).await, before);
}

#[tokio::test]
async fn a_policy_that_says_it_is_quells_lets_nothing_pass() {
    let Some(place) = Place::new("isolate").await else { return };
    place.pod("web-1", json!({ "app": "web" }), json!({})).await;
    let labels = json!({ "app.kubernetes.io/managed-by": "quell", "quell/isolates": uid(&place, "web-1").await });
    let selector = json!({ "matchLabels": { "app": "web" } });
    let spec = json!({ "podSelector": selector, "policyTypes": ["Egress"], "egress": [{}] });
    place.make::<NetworkPolicy>(json!({ "metadata": { "name": "forged", "labels": labels }, "spec": spec })).await;
    let (act, verb) = (Act::of("r-1"), verb(&place.cluster, VERB));
    let done = act.whole(&*verb, &json!({ "pod": place.named("web-1") })).await.unwrap();
    unproved(&done.truth);
    let all = policies(&place).await;
    assert!(all.iter().all(|(_, spec)| spec["egress"] == Json::Null), "{all:?}");
    act.taken_back(&*verb, &done.plan).await.unwrap();
    assert!(policies(&place).await.is_empty());
}

#[tokio::test]
async fn two_who_cut_one_pod_off_do_not_loosen_it_and_it_stays_until_both_are_back() {
    let Some(place) = Place::new("isolate").await else { return };
    service(&place, "web", json!({ "app": "web" })).await;
    place.pod("web-1", json!({ "app": "web" }), json!({})).await;
    let verb = verb(&place.cluster, VERB);
    let (first, second) = (Act::of("r-1"), Act::of("r-2"));
    let wide = json!({ "pod": place.named("web-1"), "allow": { "egress": ["10.1.0.0/16", "10.2.0.0/16"] } });
    let narrow = json!({ "pod": place.named("web-1"), "allow": { "egress": ["10.1.0.0/16"], "dns": true } });
    let one = first.whole(&*verb, &wide).await.unwrap();
    let two = second.whole(&*verb, &narrow).await.unwrap();
    unproved(&two.truth);
    assert_eq!(two.output["allow"], json!({ "egress": ["10.1.0.0/16"] }), "what both allow");
    let block = |net: &str| json!([{ "to": [{ "ipBlock": { "cidr": net } }] }]);
    assert_eq!(policies(&place).await[0].1["egress"], block("10.1.0.0/16"));
    unproved(&verb.verify(&one.plan, Want::Acted).await.unwrap());

    let (output, truth) = first.taken_back(&*verb, &one.plan).await.unwrap();
    assert_eq!(truth, Truth::Holds, "nothing stands for its sake");
    assert!(output["still"].as_str().unwrap().contains("by step step of run r-2"), "{output}");
    assert_eq!(place.labels("web-1").await, json!({ "quell/isolated": uid(&place, "web-1").await }));
    assert_eq!(policies(&place).await[0].1["egress"].as_array().map(Vec::len), Some(2), "as the second wants it");
    unproved(&verb.verify(&two.plan, Want::Acted).await.unwrap());

    let (output, truth) = second.taken_back(&*verb, &two.plan).await.unwrap();
    assert_eq!((truth, output.get("still")), (Truth::Holds, None));
    assert_eq!(
        place.labels("web-1").await,
        json!({ "app": "web" }),
        "who came second knows what stood before the first"
    );
    assert!(policies(&place).await.is_empty());
}

#[tokio::test]
async fn no_label_is_lost_between_two_who_cut_one_pod_off() {
    let Some(place) = Place::new("isolate").await else { return };
    service(&place, "web", json!({ "app": "web" })).await;
    service(&place, "tier", json!({ "tier": "a" })).await;
    place.pod("web-1", json!({ "app": "web", "tier": "a" }), json!({})).await;
    let verb = verb(&place.cluster, VERB);
    let (first, second) = (Act::of("r-1"), Act::of("r-2"));
    let input = json!({ "pod": place.named("web-1") });
    let one = first.whole(&*verb, &input).await.unwrap();
    // By the time that the second comes, nobody goes by the other label any more.
    place.api::<Service>().delete("tier", &Default::default()).await.unwrap();
    let two = second.whole(&*verb, &input).await.unwrap();
    first.taken_back(&*verb, &one.plan).await.unwrap();
    let (output, truth) = second.taken_back(&*verb, &two.plan).await.unwrap();
    assert_eq!((truth, output.get("still")), (Truth::Holds, None));
    assert_eq!(place.labels("web-1").await, json!({ "app": "web", "tier": "a" }));
}

#[tokio::test]
async fn whoever_makes_many_services_makes_nobody_wait() {
    let Some(place) = Place::new("isolate").await else { return };
    for number in 0..60 {
        service(&place, &format!("s-{number}"), json!({ "app": "web", "k": (number % 2).to_string() })).await;
    }
    place.pod("web-1", json!({ "app": "web", "k": "1" }), json!({})).await;
    place.pod("web-2", json!({ "app": "web", "k": "1" }), json!({})).await;
    place.ready("web-2").await;
    let verb = verb(&place.cluster, VERB);
    let plan = super::act::dying(&place.cluster, 30, verb.plan(&json!({ "pod": place.named("web-1") }))).await;
    let plan = plan.expect("it makes as many calls as there are Services").unwrap();
    assert_eq!(plan.predicted["services"].as_array().map(Vec::len), Some(30));
    assert!(!opens(&plan, "has no other ready pod"), "{:?}", plan.still_open);
}

#[tokio::test]
async fn a_pod_that_is_gone_or_another_by_now_is_told() {
    let Some(place) = Place::new("isolate").await else { return };
    let verb = verb(&place.cluster, VERB);
    let why = verb.plan(&json!({ "pod": place.named("web-1") })).await.unwrap_err().to_string();
    assert!(why.ends_with("is gone"), "{why}");
    place.pod("web-1", json!({ "app": "web" }), json!({})).await;
    let other = json!({ "namespace": place.namespace, "name": "web-1", "uid": "0f1e2d3c" });
    let why = verb.plan(&json!({ "pod": other })).await.unwrap_err().to_string();
    assert!(why.contains("is another one by now") && why.contains("0f1e2d3c was meant"), "{why}");

    // It goes between plan and act, and another comes.
    let (act, plan) = (Act::of("r-1"), verb.plan(&json!({ "pod": place.named("web-1") })).await.unwrap());
    let go = act.admitted(&*verb, plan.clone());
    place.gone("web-1").await;
    place.pod("web-1", json!({ "app": "web" }), json!({})).await;
    let why = verb.run(&go, &act.context()).await.unwrap_err().to_string();
    assert!(why.contains("is gone, or another has its name by now"), "{why}");
    assert_eq!(place.labels("web-1").await, json!({ "app": "web" }));

    // And after the act: the policy goes with the pod.
    let done = act.whole(&*verb, &json!({ "pod": place.named("web-1") })).await.unwrap();
    place.gone("web-1").await;
    assert!(
        matches!(verb.verify(&done.plan, Want::Acted).await.unwrap(), Truth::HoldsNot(why) if why.ends_with("is gone"))
    );
    super::act::wait_until("its policy is collected", async || policies(&place).await.is_empty()).await;
    let (output, truth) = act.taken_back(&*verb, &done.plan).await.unwrap();
    assert_eq!((truth, &output["gone"]), (Truth::Holds, &json!(true)));
}

#[tokio::test]
async fn a_pod_in_its_nodes_network_is_refused_where_it_cannot_be_cut_off_there() {
    let Some(place) = Place::new("isolate").await else { return };
    place.pod("agent", json!({ "app": "agent" }), json!({ "hostNetwork": true })).await;
    let verb = verb(&place.cluster, VERB);
    let error = verb.plan(&json!({ "pod": place.named("agent") })).await.unwrap_err().to_string();
    assert!(error.contains("NetworkPolicies do nothing") && error.contains("not on this engine's node"), "{error}");
    assert!(policies(&place).await.is_empty());
}
