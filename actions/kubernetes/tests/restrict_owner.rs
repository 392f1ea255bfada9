//! `kubernetes.restrict_owner` against a real API server and its controllers.

use super::act::{Act, outlives_every_crash, verb, wait_until};
use super::api::Place;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams};
use quell_model::{Json, TargetFacts, Truth, Want};
use serde_json::json;

const VERB: &str = "kubernetes.restrict_owner";

/// A deployment with a container that may everything, one that may little, and one that prepares.
async fn deployment(place: &Place, name: &str, replicas: u32) -> Json {
    let strong = json!({ "privileged": true, "capabilities": { "add": ["NET_ADMIN"] } });
    let own = json!({ "runAsUser": 7, "capabilities": { "drop": ["NET_RAW"] }, "readOnlyRootFilesystem": false });
    place
        .make::<Deployment>(json!({
            "metadata": { "name": name },
            "spec": {
                "replicas": replicas,
                "selector": { "matchLabels": { "app": name } },
                "template": {
                    "metadata": { "labels": { "app": name } },
                    "spec": {
                        "initContainers": [{ "name": "init", "image": "localhost/none:1" }],
                        "containers": [
                            { "name": "strong", "image": "localhost/none:1", "securityContext": strong, "env": [{ "name": "A", "value": "b" }] },
                            { "name": "own", "image": "localhost/none:1", "securityContext": own },
                        ],
                        "volumes": [{ "name": "run", "hostPath": { "path": "/run" } }],
                    },
                },
            },
        }))
        .await;
    json!({ "owner": format!("{}/deployment/{name}", place.namespace) })
}

async fn template(place: &Place, name: &str) -> Json {
    let all: Api<Deployment> = place.api();
    serde_json::to_value(all.get(name).await.unwrap().spec.unwrap().template).unwrap()
}

/// Does `work` while each pod of the place is told to be ready as soon as it is there, as kubelets would.
async fn with_kubelets<T>(place: &Place, work: impl Future<Output = T>) -> T {
    let tells = async {
        loop {
            let pods: Api<Pod> = place.api();
            for pod in pods.list(&ListParams::default()).await.unwrap() {
                if pod.status.and_then(|status| status.phase).as_deref() != Some("Running") {
                    let status = json!({ "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] } });
                    // It may be gone by now.
                    let name = pod.metadata.name.unwrap();
                    drop(pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await);
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        done = work => done,
        _ = tells => unreachable!("they tell for ever"),
    }
}

#[tokio::test]
async fn a_template_is_restricted_rolled_out_and_given_back() {
    let Some(place) = Place::new("restrict").await else { return };
    let input = deployment(&place, "web", 2).await;
    let all: Api<Deployment> = place.api();
    let is_ready = async || all.get("web").await.unwrap().status.and_then(|status| status.ready_replicas) == Some(2);
    with_kubelets(&place, async {
        wait_until("it is ready", is_ready).await;
        let before = template(&place, "web").await;
        let (act, verb) = (Act::of("r-1"), verb(&place.cluster, VERB));
        let done = act.whole(&*verb, &input).await.unwrap();
        assert_eq!(done.truth, Truth::Holds);
        let after = template(&place, "web").await;
        let wanted = json!({
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
            "seccompProfile": { "type": "RuntimeDefault" },
        });
        assert_eq!(after["spec"]["initContainers"][0]["securityContext"], wanted);
        let mut strong = wanted.clone();
        strong["privileged"] = json!(false);
        assert_eq!(after["spec"]["containers"][0]["securityContext"], strong);
        let mut own = wanted;
        own["runAsUser"] = json!(7);
        assert_eq!(after["spec"]["containers"][1]["securityContext"], own);
        assert_eq!(
            after["spec"]["containers"][0]["env"], before["spec"]["containers"][0]["env"],
            "nothing else is written"
        );

        let pods: Api<Pod> = place.api();
        for pod in pods.list(&ListParams::default().labels("app=web")).await.unwrap() {
            let restricted = pod.spec.unwrap().containers.iter().all(|one| {
                one.security_context.as_ref().is_some_and(|context| context.read_only_root_filesystem == Some(true))
            });
            assert!(restricted || pod.metadata.deletion_timestamp.is_some(), "an old pod runs");
        }
        let breaks = done.output["would_break"].to_string();
        for says in
            ["`strong` runs privileged", "NET_ADMIN", "`init` may run as root", "`own` can write only in its volumes"]
        {
            assert!(breaks.contains(says), "{says}: {breaks}");
        }
        assert!(
            done.plan.still_open.iter().any(|one| one.contains("`/run` of the node")),
            "{:?}",
            done.plan.still_open
        );
        let TargetFacts::Object { replicas, owner, .. } = &done.plan.targets[0].facts else { panic!("no object") };
        // A quarter of two is none: one more is made first.
        assert_eq!((replicas.unwrap().wanted, replicas.unwrap().takes), (2, 0));
        assert_eq!(owner.as_deref(), Some("deployment/web"));
        assert!(verb.plan(&input).await.unwrap().already);

        let (output, truth) = act.taken_back(&*verb, &done.plan).await.unwrap();
        assert_eq!((truth, output.get("still")), (Truth::Holds, None));
        assert_eq!(template(&place, "web").await, before, "to the last field");
    })
    .await;
}

#[tokio::test]
async fn a_rollout_that_does_not_end_is_no_success() {
    let Some(place) = Place::new("restrict").await else { return };
    let input = deployment(&place, "web", 1).await;
    let verb = verb(&place.cluster, VERB);
    let mut act = Act::of("r-1");
    act.bound = std::time::Duration::from_secs(3);
    let plan = verb.plan(&input).await.unwrap();
    let go = act.admitted(&*verb, plan.clone());
    let error = verb.run(&go, &act.context()).await.unwrap_err();
    assert!(error.to_string().contains("its rollout goes on"), "{error}");
    let truth = verb.verify(&plan, Want::Acted).await.unwrap();
    assert!(matches!(&truth, Truth::HoldsNot(why) if why.contains("its rollout goes on")), "{truth:?}");
}

#[tokio::test]
async fn it_is_not_taken_back_before_its_rollout_is_over() {
    let Some(place) = Place::new("restrict").await else { return };
    let input = deployment(&place, "web", 2).await;
    let verb = verb(&place.cluster, VERB);
    let mut act = Act::of("r-1");
    let done = with_kubelets(&place, act.whole(&*verb, &input)).await.unwrap();
    assert_eq!(done.truth, Truth::Holds);
    // Nobody tells that the former pods are ready.
    act.bound = std::time::Duration::from_secs(3);
    let go = act.admitted(&*verb, done.plan.clone());
    let error = verb.undo(&go, &act.back()).await.unwrap_err();
    assert!(error.to_string().contains("is given back, and its rollout goes on"), "{error}");
    let truth = verb.verify_undone(&done.plan, &act.back()).await.unwrap();
    assert!(matches!(&truth, Truth::HoldsNot(why) if why.contains("its rollout goes on")), "{truth:?}");
    act.bound = super::act::PATIENCE;
    let (_, truth) = with_kubelets(&place, act.taken_back(&*verb, &done.plan)).await.unwrap();
    assert_eq!(truth, Truth::Holds);
}

#[tokio::test]
async fn what_somebody_else_wrote_since_is_not_given_back() {
    let Some(place) = Place::new("restrict").await else { return };
    let input = deployment(&place, "web", 0).await;
    let (act, verb) = (Act::of("r-1"), verb(&place.cluster, VERB));
    let done = act.whole(&*verb, &input).await.unwrap();
    assert_eq!(done.truth, Truth::Holds);
    let all: Api<Deployment> = place.api();
    let theirs = json!({ "spec": { "template": { "spec": { "containers": [
        { "name": "own", "securityContext": { "capabilities": { "drop": ["SYS_TIME"] } } },
        { "name": "new", "image": "localhost/none:1" },
    ] } } } });
    all.patch("web", &PatchParams::default(), &Patch::Strategic(theirs)).await.unwrap();
    let truth = verb.verify(&done.plan, Want::Acted).await.unwrap();
    assert!(matches!(&truth, Truth::HoldsNot(why) if why.contains("not restricted: ")), "{truth:?}");
    let (output, truth) = act.taken_back(&*verb, &done.plan).await.unwrap();
    assert_eq!(truth, Truth::Holds);
    let still = output["still"].as_str().unwrap();
    assert!(still.contains("`capabilities.drop` of container `own` is [\"SYS_TIME\"] now"), "{still}");
    let now = template(&place, "web").await;
    let own = now["spec"]["containers"].as_array().unwrap().iter().find(|one| one["name"] == "own").unwrap();
    assert_eq!(own["securityContext"]["capabilities"]["drop"], json!(["SYS_TIME"]));
    assert_eq!(own["securityContext"]["readOnlyRootFilesystem"], json!(false), "the rest is as it was");
}

#[tokio::test]
async fn what_rolls_nothing_out_is_refused_and_what_is_gone_is_told() {
    let Some(place) = Place::new("restrict").await else { return };
    let input = deployment(&place, "web", 0).await;
    let (act, verb) = (Act::of("r-1"), verb(&place.cluster, VERB));
    let all: Api<Deployment> = place.api();
    let paused = |is: bool| Patch::Merge(json!({ "spec": { "paused": is } }));
    all.patch("web", &PatchParams::default(), &paused(true)).await.unwrap();
    let error = verb.plan(&input).await.unwrap_err();
    assert!(error.to_string().contains("deployment/web is paused"), "{error}");
    all.patch("web", &PatchParams::default(), &paused(false)).await.unwrap();
    let done = act.whole(&*verb, &input).await.unwrap();
    drop(all.delete("web", &Default::default()).await.unwrap());
    wait_until("it is gone", async || all.get_opt("web").await.unwrap().is_none()).await;
    deployment(&place, "web", 0).await;
    let truth = verb.verify(&done.plan, Want::Acted).await.unwrap();
    assert!(matches!(&truth, Truth::HoldsNot(why) if why.contains("another has its name")), "{truth:?}");
    let before = template(&place, "web").await;
    let (output, truth) = act.taken_back(&*verb, &done.plan).await.unwrap();
    assert_eq!((truth, &output["gone"]), (Truth::Holds, &json!(true)));
    assert_eq!(template(&place, "web").await, before, "another of its name is not touched");
}

#[tokio::test]
async fn a_restriction_outlives_every_crash() {
    let Some(place) = Place::new("restrict").await else { return };
    let input = async |calls: u32| deployment(&place, &format!("web-{calls}"), 0).await;
    let judge = async |input: &Json, want: Want| {
        let name = input["owner"].as_str().unwrap().rsplit('/').next().unwrap();
        let now = template(&place, name).await;
        let context = &now["spec"]["initContainers"][0]["securityContext"];
        assert_eq!(context.is_null(), want == Want::Undone, "{context}");
    };
    outlives_every_crash(&place.cluster, VERB, input, judge).await;
}
