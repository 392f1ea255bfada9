//! The floor of ready replicas against a real API server: plans of a real verb on real Deployments, judged by the real guard.

use super::act::{Act, verb, wait_until};
use super::api::Place;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use quell_model::guard::{self, Ask, Consent, EACH, Guard, Memory, MinReady, Share, decide};
use quell_model::playbook::RunLimits;
use quell_model::{Decision, Mode, Plan, Stamp, TargetFacts};
use serde_json::json;

/// A Deployment of so many pods, all of which are ready.
async fn deployment(place: &Place, name: &str, replicas: usize) -> Vec<String> {
    let labels = json!({ "app": name });
    place
        .make::<Deployment>(json!({
            "metadata": { "name": name },
            "spec": { "replicas": replicas, "selector": { "matchLabels": labels }, "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "main", "image": "localhost/none:1" }] },
            } },
        }))
        .await;
    let list = async || {
        let found = place.api::<Pod>().list(&ListParams::default().labels(&format!("app={name}"))).await.unwrap();
        found.items.iter().map(Pod::name_any).collect::<Vec<_>>()
    };
    wait_until("its pods are made", async || list().await.len() == replicas).await;
    let pods = list().await;
    for pod in &pods {
        place.ready(pod).await;
    }
    wait_until("it counts them", async || ready(place, name).await == replicas).await;
    pods
}

async fn ready(place: &Place, name: &str) -> usize {
    let found = place.api::<Deployment>().get(name).await.unwrap();
    usize::try_from(found.status.and_then(|status| status.ready_replicas).unwrap_or(0)).unwrap()
}

/// What the guard says of a plan at this second, and remembers if it lets it through.
fn judge(guard: &Guard, memory: &mut Memory, second: u64, action: &dyn quell_model::Action, plan: &Plan) -> Decision {
    let (run, playbook) = ("r-test".into(), "test".into());
    let now = Stamp { wall: jiff::Timestamp::from_second(1_790_000_000).unwrap(), boot_ns: second * 1_000_000_000 };
    let ask = Ask {
        now,
        action: action.spec(),
        run: &run,
        playbook: &playbook,
        mode: Mode::Enforce,
        mode_because: "a test",
        untrusted: false,
        limits: RunLimits::default(),
        above: Vec::new(),
        paused: false,
        consent: Consent::AsNeeded,
        counted: None,
        concerns: Default::default(),
        owned: None,
    };
    let decision = decide(guard, memory, &ask, plan.clone());
    if matches!(decision, Decision::Act(_)) {
        memory.add(guard::Act::of(now, action.spec().name.into(), run, playbook, (plan, &quell_model::Json::Null)));
    }
    decision
}

#[tokio::test]
async fn half_of_a_deployments_replicas_stay_ready_at_1_2_3_and_10() {
    let Some(place) = Place::new("floor").await else { return };
    let label = verb(&place.cluster, "kubernetes.label_pod");
    let min_ready = MinReady { rows: [(EACH.to_owned(), Share::Percent(50))].into(), nodes: None };
    let guard = Guard { min_ready, ..Guard::default() };
    for (replicas, can_go) in [(1, 0), (2, 1), (3, 1), (10, 5)] {
        let name = format!("web-{replicas}");
        let pods = deployment(&place, &name, replicas).await;
        // Each is planned before any is done: the cluster shows all of them as ready.
        let mut plans = Vec::new();
        for pod in &pods {
            let plan = label.plan(&json!({ "pod": place.named(pod), "labels": { "app": null } })).await.unwrap();
            let TargetFacts::Object { owner, replicas: Some(of), .. } = &plan.targets[0].facts else {
                panic!("{plan:?}")
            };
            assert_eq!(owner.as_deref(), Some(&*format!("deployment/{name}")));
            assert_eq!((of.wanted as usize, of.ready as usize, of.takes), (replicas, replicas, 1));
            plans.push(plan);
        }
        let (mut memory, mut went) = (Memory::default(), 0);
        for plan in &plans {
            match judge(&guard, &mut memory, 10, &*label, plan) {
                Decision::Act(go) => {
                    label.run(&go, &Act::of("r").context()).await.unwrap();
                    went += 1;
                }
                Decision::Refuse { guard, why, .. } => {
                    assert_eq!(guard.as_str(), "limits");
                    assert!(why.contains(&format!("ready replicas of deployment/{name}")), "{why}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(went, can_go, "of {replicas}");
        wait_until("it counts what is left", async || ready(&place, &name).await == replicas - went).await;
        // A minute later the cluster shows it: no further one goes.
        let left =
            label.plan(&json!({ "pod": place.named(&pods[replicas - 1]), "labels": { "app": null } })).await.unwrap();
        let decision = judge(&guard, &mut memory, 100, &*label, &left);
        assert!(matches!(decision, Decision::Refuse { .. }), "{replicas}: {decision:?}");
    }
}
