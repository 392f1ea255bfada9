//! The verb against a cut in memory: what it plans, enters, proves and gives back.

use super::super::testing::{Paper, finish, hands, path_of, put, v2};
use super::*;
use crate::testing::{Act, Family};
use crate::world::CgroupKind;
use quell_model::Decision;
use quell_model::guard::Within;
use std::fs;

#[test]
fn a_peer_is_kept_away_and_given_back() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V2) else { return };
    let paper = Arc::<Paper>::default();
    let verb = BlockPeer::new(hands(&family, &paper));
    let input = json!({
        "cidr": "203.0.113.0/24", "ports": [443, "8000-8100"], "direction": "out",
        "scope": "cgroup", "cgroup": path_of(&dir), "for": "1h"
    });
    let plan = finish(verb.plan(&input)).unwrap();
    assert_eq!(plan.predicted, json!({ "cidr": "203.0.113.0/24", "cgroup": path_of(&dir) }));
    assert_eq!(plan.targets[0].id, format!("203.0.113.0/24 in {}", path_of(&dir)));
    assert!(plan.still_open.iter().any(|one| one.contains("what comes from the peer arrives")), "{plan:?}");
    let (act, cx) = (Act::new(), Act::new().context());
    let go = act.admitted(&verb, plan.clone());
    let output = finish(verb.run(&go, &cx)).unwrap();
    assert_eq!((output["cidr"].as_str(), output["until"].is_string()), (Some("203.0.113.0/24"), true));
    let rule = CutRule::Block {
        peers: vec!["203.0.113.0/24".parse().unwrap()],
        ports: vec![(443, 443), (8000, 8100)],
        outward: true,
        inward: false,
    };
    assert_eq!(paper.all()[0].rule, rule);
    assert_eq!(finish(verb.verify(&plan, Want::Acted)), Ok(Truth::Holds));
    assert!(matches!(finish(verb.verify_undone(&plan, &cx)), Ok(Truth::HoldsNot(_))));
    assert_eq!(finish(verb.undo(&go, &cx)).unwrap()["removed"], true);
    assert_eq!(finish(verb.verify_undone(&plan, &cx)), Ok(Truth::Holds));
    assert_eq!(finish(verb.verify(&plan, Want::Undone)), Ok(Truth::Holds));
}

#[test]
fn what_makes_no_sense_or_lies_outside_is_refused() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V2) else { return };
    let paper = Arc::<Paper>::default();
    let verb = BlockPeer::new(hands(&family, &paper));
    for (input, told) in [
        (json!({ "cidr": "0.0.0.0/0" }), "every peer there is"),
        (json!({ "cidr": "127.0.0.0/8" }), "loopback"),
        (json!({ "cidr": "::1" }), "loopback"),
        (json!({ "cidr": "example.org" }), "is no network; hint: "),
        (json!({ "cidr": "203.0.113.5", "ports": [0] }), "is no port"),
        (json!({ "cidr": "203.0.113.5", "cgroup": "/x" }), "needs `scope: cgroup`"),
        (json!({ "cidr": "203.0.113.5", "container": "0123456789ab" }), "a `container` needs `scope: cgroup`"),
        (json!({ "cidr": "203.0.113.5", "pod": "x" }), "a `pod` needs `scope: cgroup`"),
        (json!({ "cidr": "203.0.113.5", "scope": "cgroup" }), "one of them"),
        (json!({ "cidr": "203.0.113.5", "scope": "cgroup", "container": "0123456789ab", "pod": "x" }), "one of them"),
        (
            json!({ "cidr": "203.0.113.5", "scope": "cgroup", "container": "0123456789ab" }),
            "no v2 cgroup is called after",
        ),
        (json!({ "cidr": "203.0.113.5", "scope": "cgroup", "pod": "web" }), "no uid of a pod"),
        (json!({ "cidr": "203.0.113.5", "scope": "cgroup", "cgroup": "/not/there" }), "there is no cgroup"),
    ] {
        let why = finish(verb.plan(&input)).unwrap_err().to_string();
        assert!(why.contains(told), "{input}: {why}");
    }
    // What the host needs is the guard's to refuse; a cgroup may be kept from anybody.
    let refused = |cidr: &str| Act::new().decide(&verb, finish(verb.plan(&json!({ "cidr": cidr }))).unwrap());
    for cidr in ["128.0.0.0/1", "169.254.169.254", "2001:db8::/32"] {
        let Decision::Refuse { guard, why, .. } = refused(cidr) else { panic!("{cidr} is kept away") };
        assert!(
            guard.as_str() == "protect" && (why.contains("wider than") || why.contains("metadata")),
            "{cidr}: {why}"
        );
        let scoped = json!({ "cidr": cidr, "scope": "cgroup", "cgroup": path_of(&dir) });
        let plan = finish(verb.plan(&scoped)).unwrap();
        assert!(matches!(Act::new().decide(&verb, plan), Decision::Act(_)), "{cidr}");
    }
    let plan = finish(verb.plan(&json!({ "cidr": "203.0.113.5" }))).unwrap();
    assert_eq!(plan.targets[0].label, "203.0.113.5/32 for all of this host");
    let mut act = Act::new();
    assert!(matches!(act.decide(&verb, plan.clone()), Decision::Act(_)));
    act.guard.only_within = Some(Within::cgroup("/box"));
    assert!(matches!(act.decide(&verb, plan), Decision::Refuse { why, .. } if why.contains("lies outside")));
}

/// What is kept from one peer, and no other.
fn kept_from(named: Json) -> Json {
    let mut input = json!({ "cidr": "203.0.113.5", "scope": "cgroup" });
    input.as_object_mut().unwrap().extend(named.as_object().unwrap().clone());
    input
}

#[test]
fn a_container_and_a_pod_are_kept_from_a_peer_with_all_that_they_have() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V2) else { return };
    let uid = format!("{:08x}-0005-4111-8222-333344445555", std::process::id());
    let id = format!("{:064x}", u128::from(std::process::id()) << 64 | 0xb10c_beef);
    let pod = family.below(&dir, &format!("pod{uid}"));
    let container = family.below(&pod, &format!("cri-containerd-{id}.scope"));
    let pid = family.spawn("exec sleep 300");
    put(pid, &container);
    let paper = Arc::<Paper>::default();
    let verb = BlockPeer::new(hands(&family, &paper));
    let of_pod = format!("{}/pod{uid}", path_of(&dir));
    let of_container = format!("{of_pod}/cri-containerd-{id}.scope");
    for (named, cgroup) in [
        (json!({ "pod": uid }), &of_pod),
        (json!({ "pod": { "uid": uid, "namespace": "shop", "name": "web-1" } }), &of_pod),
        (json!({ "container": id }), &of_container),
        (json!({ "container": id[..63] }), &of_container),
        (json!({ "process": family.id(pid) }), &of_container),
        (json!({ "process": family.id(pid), "scope": "container" }), &of_container),
    ] {
        let input = kept_from(named);
        let plan = finish(verb.plan(&input)).unwrap();
        assert_eq!(plan.predicted["cgroup"], **cgroup, "{input}");
        let [target] = &plan.targets[..] else { panic!("whoever is in it goes on: {:?}", plan.targets) };
        assert_eq!((target.id.clone(), target.named), (format!("203.0.113.5/32 in {cgroup}"), true), "{input}");
        assert!(target.facts.pod().is_some(), "the guard knows that it is a pod's: {target:?}");
        let (act, cx) = (Act::new(), Act::new().context());
        let go = act.admitted(&verb, plan.clone());
        let output = finish(verb.run(&go, &cx)).unwrap();
        assert_eq!((output["cgroup"].as_str(), &output["moved"]), (Some(cgroup.as_str()), &json!(0)));
        assert!(matches!(&paper.all()[..], [one] if one.label == **cgroup));
        assert_eq!(finish(verb.verify(&plan, Want::Acted)), Ok(Truth::Holds));
        assert_eq!(finish(verb.undo(&go, &cx)).unwrap()["removed"], true);
        assert!(paper.all().is_empty());
    }
}

#[test]
fn after_a_boot_a_pod_is_meant_wherever_it_is_and_a_container_is_another() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V2) else { return };
    let uid = format!("{:08x}-0006-4111-8222-333344445555", std::process::id());
    let id = format!("{:064x}", u128::from(std::process::id()) << 64 | 0xb007_beef);
    let paper = Arc::<Paper>::default();
    let verb = BlockPeer::new(hands(&family, &paper));
    for (name, named, is_meant) in [
        (format!("pod{uid}"), json!({ "pod": uid }), true),
        (format!("cri-containerd-{id}.scope"), json!({ "container": id }), false),
    ] {
        let made = family.below(&dir, &name);
        let input = kept_from(named);
        let former = finish(verb.plan(&input)).unwrap();
        fs::remove_dir(&made).unwrap();
        assert!(finish(verb.plan_again(&input, &former)).is_err(), "it is gone");
        fs::create_dir(&made).unwrap();
        let again = finish(verb.plan_again(&input, &former));
        assert_eq!(again.is_ok(), is_meant, "{again:?}");
        if let Ok(again) = again {
            assert_eq!(again.targets, former.targets);
        }
    }
}

#[test]
fn whoever_has_no_cgroup_of_their_own_is_brought_into_one_and_back() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V2) else { return };
    let (pid, beside) = (family.spawn("exec sleep 300"), family.spawn("exec sleep 300"));
    for pid in [pid, beside] {
        put(pid, &dir);
    }
    let paper = Arc::<Paper>::default();
    let verb = BlockPeer::new(hands(&family, &paper));
    let plan =
        finish(verb.plan(&json!({ "cidr": "203.0.113.5", "scope": "tree", "process": family.id(pid) }))).unwrap();
    let cgroup = plan.predicted["cgroup"].as_str().unwrap().to_owned();
    assert!(cgroup.starts_with(&format!("{}/quell-moved-{pid}-", path_of(&dir))), "{cgroup}");
    let [target] = &plan.targets[..] else { panic!("{:?}", plan.targets) };
    assert!(matches!(target.facts, TargetFacts::Process { .. }), "who is moved is the guard's to judge: {target:?}");
    assert!(plan.still_open.iter().any(|one| one.contains("a listener that they have open")), "{plan:?}");
    let (act, cx) = (Act::new(), Act::new().context());
    let go = act.admitted(&verb, plan.clone());
    assert_eq!(finish(verb.run(&go, &cx)).unwrap()["moved"], 1);
    assert_eq!((v2(pid), v2(beside)), (cgroup, path_of(&dir)));
    assert_eq!(finish(verb.verify(&plan, Want::Acted)), Ok(Truth::Holds));
    assert_eq!(finish(verb.undo(&go, &cx)).unwrap()["moved_back"], 1);
    assert_eq!(v2(pid), path_of(&dir));
}
