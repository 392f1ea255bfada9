//! `kubernetes.label_pod` against a real API server.

use super::act::{Act, outlives_every_crash, verb};
use super::api::Place;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use quell_model::{Truth, Want};
use serde_json::json;

#[tokio::test]
async fn labels_are_written_and_given_back() {
    let Some(place) = Place::new("label").await else { return };
    place.pod("web", json!({ "app": "web", "tier": "a" }), json!({})).await;
    let (act, verb) = (Act::of("r-1"), verb(&place.cluster, "kubernetes.label_pod"));
    let input = json!({ "pod": place.named("web"), "labels": { "app": null, "seen": "yes" } });
    let done = act.whole(&*verb, &input).await.unwrap();
    assert_eq!(done.truth, Truth::Holds);
    assert_eq!(place.labels("web").await, json!({ "tier": "a", "seen": "yes" }));
    let (output, truth) = act.taken_back(&*verb, &done.plan).await.unwrap();
    assert_eq!((truth, output.get("still")), (Truth::Holds, None));
    assert_eq!(place.labels("web").await, json!({ "app": "web", "tier": "a" }));
}

#[tokio::test]
async fn labels_outlive_every_crash() {
    let Some(place) = Place::new("label").await else { return };
    let input = async |calls: u32| {
        let name = format!("web-{calls}");
        place.pod(&name, json!({ "app": "web" }), json!({})).await;
        json!({ "pod": place.named(&name), "labels": { "app": null, "seen": "yes" } })
    };
    let judge = async |input: &quell_model::Json, want: Want| {
        let name = input["pod"].as_str().unwrap().split_once('/').unwrap().1;
        let expected = if want == Want::Acted { json!({ "seen": "yes" }) } else { json!({ "app": "web" }) };
        assert_eq!(place.labels(name).await, expected);
    };
    outlives_every_crash(&place.cluster, "kubernetes.label_pod", input, judge).await;
}

#[tokio::test]
async fn what_somebody_else_wrote_since_is_told_and_the_rest_is_given_back() {
    let Some(place) = Place::new("label").await else { return };
    place.pod("web", json!({ "app": "web" }), json!({})).await;
    for (each, words) in [("kubernetes.label_pod", "labels"), ("kubernetes.annotate_pod", "annotations")] {
        let (act, verb) = (Act::of("r-1"), verb(&place.cluster, each));
        let input = json!({ "pod": place.named("web"), words: { "a": "1", "b": "2" } });
        let done = act.whole(&*verb, &input).await.unwrap();
        assert_eq!(done.truth, Truth::Holds);
        let patch = Patch::Merge(json!({ "metadata": { words: { "b": "3" } } }));
        let pods: Api<Pod> = place.api();
        pods.patch("web", &PatchParams::default(), &patch).await.unwrap();
        let (output, truth) = act.taken_back(&*verb, &done.plan).await.unwrap();
        // Nothing of quell's stands: an undo that said otherwise would be tried for ever.
        assert_eq!(truth, Truth::Holds);
        assert_eq!(output["still"], json!("`b` is `3` now, which quell did not write"));
        assert_eq!(output[words], json!({ "a": null, "b": "3" }));
    }
}

#[tokio::test]
async fn annotations_outlive_every_crash() {
    let Some(place) = Place::new("label").await else { return };
    let input = async |calls: u32| {
        let name = format!("web-{calls}");
        place.pod(&name, json!({}), json!({})).await;
        json!({ "pod": place.named(&name), "annotations": { "seen": "yes\u{1b}[2J" } })
    };
    let judge = async |input: &quell_model::Json, want: Want| {
        let name = input["pod"].as_str().unwrap().split_once('/').unwrap().1;
        let pod: Pod = place.api().get(name).await.unwrap();
        assert_eq!(pod.metadata.annotations.unwrap_or_default().contains_key("seen"), want == Want::Acted);
    };
    outlives_every_crash(&place.cluster, "kubernetes.annotate_pod", input, judge).await;
}
