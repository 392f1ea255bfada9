//! The verb against a cut in memory: what it plans, enters, proves and gives back.

use super::super::testing::{Paper, finish, hands, path_of};
use super::*;
use crate::testing::{Act, Family};
use crate::world::CgroupKind;
use quell_model::Decision;
use quell_model::guard::Within;

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
        (json!({ "cidr": "203.0.113.5", "scope": "cgroup" }), "needs a `cgroup`"),
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
