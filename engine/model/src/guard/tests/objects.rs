//! Objects of a cluster under the guard's other rules: what they count as, and the order in which they are refused.

use super::*;
use crate::action::Replicas;

fn pod(uid: &str, owner: &str, replicas: Option<Replicas>) -> Target {
    let facts = TargetFacts::Object {
        cluster: "prod".into(),
        resource: "pods".into(),
        namespace: Some("shop".into()),
        name: uid.into(),
        uid: uid.into(),
        owner: Some(owner.into()),
        replicas,
        needed: None,
    };
    Target { kind: "pod".into(), id: uid.into(), ..target(7, |f| *f = facts) }
}

#[test]
fn pods_of_one_owner_are_one_place_and_one_owner_however_many_there_are() {
    let mut wild = case();
    wild.guard.breaker.owners = 2;
    wild.guard.limits.0.insert(ALL.into(), Rate { count: 2, per: Duration::from_secs(3600) });
    for number in 0..50 {
        let one = plan(vec![pod(&format!("u{number}"), "deployment/web", None)]);
        assert!(matches!(wild.decide(one.clone()), Decision::Act(_)), "pod {number}");
        wild.memory.add(done(50, &one));
    }
    let second = plan(vec![pod("v", "deployment/db", None)]);
    assert!(matches!(wild.decide(second.clone()), Decision::Act(_)));
    wild.memory.add(done(51, &second));
    refused_by(wild.decide(plan(vec![pod("w", "deployment/mq", None)])), "limits");
    // Without the limit it is the breaker that asks.
    wild.guard.limits.0.clear();
    let third = wild.decide(plan(vec![pod("w", "deployment/mq", None)]));
    assert!(matches!(&third, Decision::Ask { why, .. } if why.contains("more than 2 different owners")), "{third:?}");
    // Once it is open, it goes on where it has acted.
    wild.memory.breaker_opened(&"p".into(), at(90));
    assert!(matches!(wild.decide(plan(vec![pod("u99", "deployment/web", None)])), Decision::Act(_)));
    assert!(matches!(wild.decide(plan(vec![pod("w", "deployment/mq", None)])), Decision::Ask { .. }));
}

#[test]
fn whom_the_event_names_and_whose_pod_is_acted_on_are_one_owner() {
    let event = serde_json::json!({ "pod": { "namespace": "shop", "owner": "deployment/web" } });
    let concerns = Concerns::of_event(&event).with(&plan(vec![pod("u", "deployment/web", None)]));
    assert_eq!(concerns.owners.into_iter().collect::<Vec<_>>(), ["shop/deployment/web"]);
}

#[test]
fn too_few_replicas_are_refused_by_limits_after_protection_and_in_observe_too() {
    let mut floor = case();
    floor.guard.min_ready.rows.insert(EACH.into(), Share::Percent(50));
    let only = || plan(vec![pod("u", "deployment/web", Some(Replicas { wanted: 1, ready: 1, takes: 1 }))]);
    refused_by(floor.decide(only()), "limits");
    refused_by(Case { mode: Mode::Observe, ..case_of(&floor) }.decide(only()), "limits");
    refused_by(Case { consent: Consent::Given, ..case_of(&floor) }.decide(only()), "limits");
    // What is so already takes nothing.
    assert!(matches!(floor.decide(Plan { already: true, ..only() }), Decision::Observe { .. }));
    floor.guard.protect.namespaces.push("shop".into());
    refused_by(floor.decide(only()), "protect");
    // What was done is taken back all the same: it makes less of what was taken.
    assert!(admit_undo(&floor.guard, only()).is_ok());
}

fn case_of(of: &Case) -> Case {
    Case { guard: of.guard.clone(), ..case() }
}
