//! The guard's rules, one row each.

use super::memory::Row;
use super::*;
use crate::Json;
use crate::action::{Guarantee, Lane, TargetFacts};
use crate::playbook::Rate;
use crate::process::{BootId, ProcessId};
use std::time::Duration;

mod objects;

static KILL: ActionSpec = ActionSpec {
    name: "process.kill",
    summary: "",
    input: || schemars::json_schema!({}),
    output: || schemars::json_schema!({}),
    lane: Lane::Contain,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: false,
    asks_by_default: false,
    targets: &["process"],
    permissions: &[],
    predict: |_| Json::Null,
};

fn at(seconds: u64) -> Stamp {
    Stamp {
        wall: jiff::Timestamp::from_second(1_790_000_000 + seconds as i64).unwrap(),
        boot_ns: seconds * 1_000_000_000,
    }
}

fn id(pid: u32) -> ProcessId {
    ProcessId { boot: BootId("b".into()), pid, start_ns: 50_000_000, exec_id: 1 }
}

fn target(pid: u32, change: impl FnOnce(&mut TargetFacts)) -> Target {
    let mut facts = TargetFacts::Process {
        id: id(pid),
        image: Some(format!("/tmp/x{pid}")),
        file: Some((8, u64::from(pid))),
        cgroup: Some("/box/inner".into()),
        unit: None,
        uid: 1000,
        kernel_thread: false,
        below_named: false,
        by_scope: false,
        pod: None,
    };
    change(&mut facts);
    Target {
        node: "n".into(),
        kind: "process".into(),
        id: pid.to_string(),
        label: format!("x ({pid})"),
        named: true,
        facts,
    }
}

fn plan(targets: Vec<Target>) -> Plan {
    Plan { targets, ..Plan::default() }
}

struct Case {
    guard: Guard,
    memory: Memory,
    mode: Mode,
    paused: bool,
    untrusted: bool,
    limits: RunLimits,
    consent: Consent,
    concerns: Concerns,
    owned: Option<Owned>,
    counted: Option<Stamp>,
}

fn case() -> Case {
    Case {
        guard: Guard::default(),
        memory: Memory::default(),
        mode: Mode::Enforce,
        paused: false,
        untrusted: false,
        limits: RunLimits::default(),
        consent: Consent::AsNeeded,
        concerns: Concerns::default(),
        owned: None,
        counted: None,
    }
}

impl Case {
    fn decide(&self, plan: Plan) -> Decision {
        let ask = Ask {
            now: at(100),
            action: &KILL,
            run: &"r-1".into(),
            playbook: &"p".into(),
            mode: self.mode,
            mode_because: "mode is observe",
            untrusted: self.untrusted,
            limits: self.limits,
            above: Vec::new(),
            paused: self.paused,
            consent: self.consent,
            counted: self.counted,
            concerns: self.concerns.clone(),
            owned: self.owned.as_ref(),
        };
        decide(&self.guard, &self.memory, &ask, plan)
    }
}

#[track_caller]
fn refused_by(decision: Decision, name: &str) {
    assert!(matches!(&decision, Decision::Refuse { guard, .. } if guard.as_str() == name), "{decision:?}");
}

#[test]
fn an_ordinary_process_may_be_touched_in_enforce_and_is_planned_in_observe() {
    assert!(matches!(case().decide(plan(vec![target(7, |_| ())])), Decision::Act(_)));
    let observing = Case { mode: Mode::Observe, ..case() };
    assert!(matches!(observing.decide(plan(vec![target(7, |_| ())])), Decision::Observe { .. }));
}

#[test]
fn pid_one_kernel_threads_and_quell_are_never_touched_not_even_below_the_target() {
    refused_by(case().decide(plan(vec![target(1, |_| ())])), "protect");
    let thread = target(7, |f| {
        if let TargetFacts::Process { kernel_thread, .. } = f {
            *kernel_thread = true
        }
    });
    refused_by(case().decide(plan(vec![thread])), "protect");
    let mut own = case();
    own.guard.protect.processes.push(id(9));
    let below = target(9, |f| {
        if let TargetFacts::Process { below_named, .. } = f {
            *below_named = true
        }
    });
    refused_by(own.decide(plan(vec![target(7, |_| ()), below])), "protect");
}

#[test]
fn an_executable_is_protected_by_its_file_unless_the_target_started_it() {
    let mut sshd = case();
    sshd.guard.protect.executables.push(ProtectedFile { path: "/usr/sbin/sshd".into(), file: (8, 7) });
    refused_by(sshd.decide(plan(vec![target(7, |_| ())])), "protect");
    let below = target(7, |f| {
        if let TargetFacts::Process { below_named, .. } = f {
            *below_named = true
        }
    });
    assert!(matches!(sshd.decide(plan(vec![target(5, |_| ()), below])), Decision::Act(_)));
    let named_sshd = target(6, |f| {
        if let TargetFacts::Process { image, .. } = f {
            *image = Some("/tmp/sshd".into())
        }
    });
    assert!(matches!(sshd.decide(plan(vec![named_sshd])), Decision::Act(_)), "a name protects nobody");
}

/// (what is protected, the unit of a process, whether it is)
#[test]
fn a_unit_is_protected_with_whoever_runs_in_it() {
    for (own, unit, is_protected) in [
        ("containerd.service", Some("containerd.service"), true),
        ("postgresql@*", Some("postgresql@17-main.service"), true),
        ("containerd.service", Some("containerd.service.evil.service"), false),
        ("postgresql@*", Some("postgresql.service"), false),
        ("containerd.service", None, false),
    ] {
        let mut protects = case();
        protects.guard.protect.units = vec![own.into()];
        let runs_in = target(7, |f| {
            if let TargetFacts::Process { unit: of, .. } = f {
                *of = unit.map(str::to_owned)
            }
        });
        match protects.decide(plan(vec![runs_in])) {
            Decision::Refuse { guard, target, why } if is_protected => {
                let said = (guard.as_str(), target.as_str(), why.as_str());
                assert_eq!(said, ("protect", "x (7)", format!("its unit `{own}` is protected").as_str()));
            }
            decision => assert!(!is_protected && matches!(decision, Decision::Act(_)), "{own}, {unit:?}: {decision:?}"),
        }
    }
}

#[test]
fn nothing_outside_only_within_is_touched() {
    let mut within = case();
    within.guard.only_within = Some(Within::cgroup("/box"));
    assert!(matches!(within.decide(plan(vec![target(7, |_| ())])), Decision::Act(_)));
    for path in ["/boxer", "/", "/other/box"] {
        let outside = target(7, |f| {
            if let TargetFacts::Process { cgroup, .. } = f {
                *cgroup = Some(path.into())
            }
        });
        refused_by(within.decide(plan(vec![outside])), "only_within");
    }
    let unknown = target(7, |f| {
        if let TargetFacts::Process { cgroup, .. } = f {
            *cgroup = None
        }
    });
    refused_by(within.decide(plan(vec![unknown])), "only_within");
}

fn done(second: u64, plan: &Plan) -> Act {
    Act::of(at(second), "process.kill".into(), "r-0".into(), "p".into(), (plan, &Json::Null))
}

fn in_cgroup(pid: u32, path: &str) -> Target {
    target(pid, |f| {
        if let TargetFacts::Process { cgroup, .. } = f {
            *cgroup = Some(path.into())
        }
    })
}

#[test]
fn a_limit_that_names_an_action_counts_every_act() {
    let mut hourly = case();
    hourly.guard.limits.0.insert("process.kill".into(), Rate { count: 2, per: Duration::from_secs(60) });
    for second in [1, 50, 60] {
        hourly.memory.add(done(second, &plan(vec![target(20, |_| ())])));
    }
    refused_by(hourly.decide(plan(vec![target(7, |_| ())])), "limits");
    hourly.guard.limits.0.insert("process.kill".into(), Rate { count: 3, per: Duration::from_secs(60) });
    assert!(matches!(hourly.decide(plan(vec![target(7, |_| ())])), Decision::Act(_)), "the first is older");
}

#[test]
fn the_limit_of_all_actions_counts_places_so_that_a_flood_out_of_one_does_not_use_it_up() {
    let mut all = case();
    all.guard.breaker.images = usize::MAX;
    all.guard.limits.0.insert("*".into(), Rate { count: 3, per: Duration::from_secs(3600) });
    for pid in 100..1100 {
        let copy = plan(vec![in_cgroup(pid, "/user.slice/user-7.slice/session-1.scope")]);
        assert!(matches!(all.decide(copy.clone()), Decision::Act(_)), "copy {pid}");
        all.memory.add(done(u64::from(pid % 100), &copy));
    }
    for unit in ["a", "b"] {
        let other = plan(vec![in_cgroup(9, &format!("/system.slice/{unit}.service"))]);
        assert!(matches!(all.decide(other.clone()), Decision::Act(_)), "{unit}");
        all.memory.add(done(99, &other));
    }
    refused_by(all.decide(plan(vec![in_cgroup(9, "/system.slice/c.service")])), "limits");
    let known = plan(vec![in_cgroup(9, "/user.slice/user-7.slice/session-2.scope")]);
    assert!(matches!(all.decide(known), Decision::Act(_)), "the flooded place is contained as before");
}

#[test]
fn a_run_has_so_many_targets() {
    let one = Case { limits: RunLimits { runs: None, targets: Some(1) }, ..case() };
    assert!(matches!(one.decide(plan(vec![target(7, |_| ())])), Decision::Act(_)));
    refused_by(one.decide(plan(vec![target(7, |_| ()), target(8, |_| ())])), "limits");
    let mut scope = target(8, |_| ());
    scope.named = false;
    assert!(matches!(one.decide(plan(vec![target(7, |_| ()), scope])), Decision::Act(_)), "a scope counts as one");
}

#[test]
fn the_breaker_leaves_a_playbook_at_its_plans() {
    let mut wild = case();
    wild.guard.breaker.images = 3;
    for pid in 20..23 {
        wild.memory.add(Act::of(
            at(u64::from(pid)),
            "process.kill".into(),
            "r-0".into(),
            "p".into(),
            (&plan(vec![target(pid, |_| ())]), &Json::Null),
        ));
    }
    assert!(matches!(wild.decide(plan(vec![target(7, |_| ())])), Decision::Ask { .. }));
    assert!(
        matches!(wild.decide(plan(vec![target(21, |_| ())])), Decision::Act(_)),
        "an image already seen is no new one"
    );
    wild.memory.breaker_opened(&"p".into(), at(90));
    assert!(matches!(wild.decide(plan(vec![target(7, |_| ())])), Decision::Ask { .. }));
    assert!(matches!(wild.decide(plan(vec![target(21, |_| ())])), Decision::Act(_)), "the old ones are not let go");
    assert!(matches!(wild.decide(plan(vec![in_cgroup(21, "/box/else")])), Decision::Ask { .. }));
    wild.memory.breaker_by_hand(&"p".into(), false, at(95));
    assert!(matches!(wild.decide(plan(vec![target(21, |_| ())])), Decision::Act(_)));
    assert!(
        matches!(wild.decide(plan(vec![target(7, |_| ())])), Decision::Act(_)),
        "what it acted on before a person closed it opens it no second time"
    );
    // One that a person opened lets nothing through, where it has acted too, and no time closes it.
    wild.memory.breaker_by_hand(&"p".into(), true, at(0));
    assert!(matches!(wild.decide(plan(vec![target(21, |_| ())])), Decision::Ask { .. }));
    wild.memory.breaker_by_hand(&"p".into(), false, at(96));
    assert!(matches!(wild.decide(plan(vec![target(21, |_| ())])), Decision::Act(_)));
}

#[test]
fn the_same_program_is_one_image_under_any_name_and_in_any_file() {
    let mut many = case();
    many.guard.breaker.images = 2;
    many.memory.add(done(10, &plan(vec![target(20, |_| ())])));
    let of = |path: &str, inode: u64| {
        target(7, |f| {
            if let TargetFacts::Process { image, file, .. } = f {
                (*image, *file) = (Some(path.into()), Some((8, inode)))
            }
        })
    };
    many.memory.add(done(11, &plan(vec![of("/tmp/a", 1)])));
    for (path, inode) in [("/tmp/b", 1), ("/memfd:x (deleted)", 1), ("/tmp/a", 2)] {
        assert!(matches!(many.decide(plan(vec![of(path, inode)])), Decision::Act(_)), "{path}");
    }
    assert!(matches!(many.decide(plan(vec![of("/tmp/b", 2)])), Decision::Ask { .. }));
}

/// Whoever opens the breaker on purpose, with a program under ever new names, does not get away.
#[test]
fn an_open_breaker_still_freezes_where_the_playbook_has_acted() {
    static FREEZE: ActionSpec = ActionSpec { name: "process.freeze", undoable: true, ..KILL };
    let mut open = case();
    open.memory.add(done(10, &plan(vec![target(20, |_| ())])));
    open.memory.breaker_opened(&"p".into(), at(90));
    let decide = |spec: &'static ActionSpec, target: Target| {
        let (run, playbook) = ("r-1".into(), "p".into());
        let ask = Ask {
            now: at(100),
            action: spec,
            run: &run,
            playbook: &playbook,
            mode: Mode::Enforce,
            mode_because: "",
            untrusted: false,
            limits: RunLimits::default(),
            above: Vec::new(),
            paused: false,
            consent: Consent::AsNeeded,
            counted: None,
            concerns: Concerns::default(),
            owned: None,
        };
        super::decide(&open.guard, &open.memory, &ask, plan(vec![target]))
    };
    assert!(matches!(decide(&FREEZE, target(7, |_| ())), Decision::Act(_)));
    assert!(matches!(decide(&KILL, target(7, |_| ())), Decision::Ask { .. }), "a kill cannot be undone");
    assert!(matches!(decide(&FREEZE, in_cgroup(7, "/box/else")), Decision::Ask { .. }), "it never acted there");
    let nowhere = target(7, |f| {
        if let TargetFacts::Process { cgroup, .. } = f {
            *cgroup = None
        }
    });
    assert!(matches!(decide(&FREEZE, nowhere), Decision::Ask { .. }));
}

#[test]
fn what_the_guard_remembers_is_bounded() {
    let mut memory = Memory::default();
    for pid in 0..APART as u32 + 100 {
        memory.add(done(50, &plan(vec![in_cgroup(pid, &format!("/c{pid}"))])));
    }
    for _ in 0..MOST {
        memory.add(done(50, &plan(vec![])));
    }
    let (now, day) = (at(100), Duration::from_secs(3600));
    assert_eq!(memory.acts(&kills(), now, day), MOST);
    assert_eq!(memory.places_beyond(&kills(), now, day, ["/new".into()].into_iter()), Some(APART));
    assert_eq!(memory.images_and_new(&"p".into(), now, day, &[]), (APART, 0));
}

#[test]
fn a_pause_refuses_and_an_untrusted_source_is_asked_about() {
    refused_by(Case { paused: true, ..case() }.decide(plan(vec![target(7, |_| ())])), "pause");
    let anybody = Case { untrusted: true, ..case() };
    assert!(matches!(anybody.decide(plan(vec![target(7, |_| ())])), Decision::Ask { .. }));
}

#[test]
fn a_person_is_asked_where_the_mode_or_the_step_says_so_and_not_about_what_they_have_approved() {
    let one = || plan(vec![target(7, |_| ())]);
    let asks = |case: Case| matches!(case.decide(one()), Decision::Ask { .. });
    assert!(asks(Case { mode: Mode::Approve, ..case() }));
    assert!(asks(Case { consent: Consent::Wanted, ..case() }));
    for mode in [Mode::Approve, Mode::Enforce] {
        let given = Case { mode, untrusted: true, consent: Consent::Given, ..case() };
        assert!(matches!(given.decide(one()), Decision::Act(_)), "{mode}");
    }
    let observing = Case { mode: Mode::Observe, consent: Consent::Given, ..case() };
    assert!(matches!(observing.decide(one()), Decision::Observe { .. }), "no consent goes beyond observe");
    refused_by(Case { paused: true, consent: Consent::Given, ..case() }.decide(one()), "pause");
    let init = Case { consent: Consent::Given, ..case() };
    refused_by(init.decide(plan(vec![target(1, |_| ())])), "protect");
}

/// One key of a cloud.
fn key(id: &str) -> Plan {
    let facts = TargetFacts::Identity {
        provider: "aws".into(),
        identity: "aws_access_key".into(),
        id: id.into(),
        account: None,
    };
    plan(vec![Target { kind: "access_key".into(), id: id.into(), ..target(7, |f| *f = facts) }])
}

#[test]
fn an_identity_that_nobody_found_owned_is_asked_about_whatever_wants_to_act() {
    let mut owned = Owned::default();
    owned.take_in(&serde_json::json!({ "credentials": [{ "kind": "aws_access_key", "id": "AKIA1", "owned": true }] }));
    let on_a_host = |mode, consent| Case { mode, consent, owned: Some(owned.clone()), ..case() };
    let by = |case: &Case, plan| match case.decide(plan) {
        Decision::Ask { guard, why, .. } => (guard.map(|guard| guard.to_string()), why),
        other => panic!("{other:?}"),
    };
    for (mode, consent) in
        [(Mode::Enforce, Consent::AsNeeded), (Mode::Enforce, Consent::Wanted), (Mode::Approve, Consent::AsNeeded)]
    {
        let (guard, why) = by(&on_a_host(mode, consent), key("AKIA2"));
        assert_eq!(guard.as_deref(), Some("bait"), "{mode} {consent:?}");
        assert!(why.contains("the aws_access_key `AKIA2` belongs"), "{why}");
    }
    let enforce = on_a_host(Mode::Enforce, Consent::AsNeeded);
    let two = Plan { targets: [key("AKIA2").targets, key("AKIA3").targets].concat(), ..Plan::default() };
    assert!(by(&enforce, two).1.contains("`AKIA2` (and 1 more) belongs"));
    assert!(matches!(enforce.decide(key("AKIA1")), Decision::Act(_)), "a capture found that it is theirs");
    assert!(matches!(enforce.decide(plan(vec![target(7, |_| ())])), Decision::Act(_)), "a process is no identity");
    assert!(matches!(case().decide(key("AKIA2")), Decision::Act(_)), "a cloud's own log began it");
    assert!(matches!(on_a_host(Mode::Enforce, Consent::Given).decide(key("AKIA2")), Decision::Act(_)));
    let planned = |case: Case, plan| match case.decide(plan) {
        Decision::Observe { why, .. } => why,
        other => panic!("{other:?}"),
    };
    // Whoever reads a plan learns what enforce would ask.
    let why = planned(on_a_host(Mode::Observe, Consent::AsNeeded), key("AKIA2"));
    assert!(
        why.contains(
            "in enforce somebody would be asked first: no capture shows that the aws_access_key `AKIA2` belongs"
        ),
        "{why}"
    );
    let why = planned(on_a_host(Mode::Observe, Consent::Wanted), key("AKIA1"));
    assert!(why.contains("asked first: a person is to say whether it acts"), "{why}");
    let why = planned(on_a_host(Mode::Observe, Consent::AsNeeded), key("AKIA1"));
    assert!(!why.contains("asked first"), "{why}");
    let paused = Case { paused: true, ..on_a_host(Mode::Enforce, Consent::Given) };
    refused_by(paused.decide(key("AKIA2")), "pause");
    // Where it asks for another reason, that is named.
    assert_eq!(by(&on_a_host(Mode::Enforce, Consent::Wanted), key("AKIA1")).0, None);
    let anybody = Case { untrusted: true, ..on_a_host(Mode::Enforce, Consent::AsNeeded) };
    assert_eq!(by(&anybody, key("AKIA1")).0.as_deref(), Some("trust"));
}

/// Every kill, of all playbooks.
fn kills() -> Row {
    Row { playbook: None, action: Some("process.kill".into()) }
}

fn by(second: u64, action: &str, playbook: &str, plan: &Plan) -> Act {
    Act::of(at(second), action.into(), "r-0".into(), playbook.into(), (plan, &Json::Null))
}

#[test]
fn a_limit_per_playbook_counts_what_that_playbook_did_and_no_other() {
    let hour = Duration::from_secs(3600);
    let mut each = case();
    each.guard.per_playbook.0.insert("process.kill".into(), Rate { count: 2, per: hour });
    for second in 1..9 {
        each.memory.add(by(second, "process.kill", "another", &plan(vec![target(20, |_| ())])));
    }
    each.memory.add(by(9, "process.kill", "p", &plan(vec![target(20, |_| ())])));
    each.memory.add(by(9, "process.freeze", "p", &plan(vec![target(20, |_| ())])));
    assert!(matches!(each.decide(plan(vec![target(20, |_| ())])), Decision::Act(_)), "one of two");
    each.memory.add(by(10, "process.kill", "p", &plan(vec![target(20, |_| ())])));
    let refused = each.decide(plan(vec![target(20, |_| ())]));
    assert!(matches!(&refused, Decision::Refuse { why, .. } if why.contains("2 times for `p`")), "{refused:?}");
    each.guard.limits.0.insert("process.kill".into(), Rate { count: 10, per: hour });
    each.guard.per_playbook.0.clear();
    refused_by(each.decide(plan(vec![target(20, |_| ())])), "limits");
    each.guard.limits.0.insert("process.kill".into(), Rate { count: 11, per: hour });
    assert!(matches!(each.decide(plan(vec![target(20, |_| ())])), Decision::Act(_)));
}

/// Of rows that look back less and more, each leaves out what it counts itself.
#[test]
fn what_is_judged_again_is_its_own_further_act_in_no_row() {
    let per = Duration::from_secs;
    let one = || plan(vec![target(20, |_| ())]);
    let mut again = case();
    again.guard.limits.0.insert("process.kill".into(), Rate { count: 1, per: per(3600) });
    again.guard.per_playbook.0.insert("process.kill".into(), Rate { count: 1, per: per(1) });
    let then = at(10);
    again.memory.add(Act::of(then, "process.kill".into(), "r-0".into(), "p".into(), (&one(), &Json::Null)));
    refused_by(again.decide(one()), "limits");
    again.counted = Some(then);
    assert!(matches!(again.decide(one()), Decision::Act(_)));
    // Intended anew it is one act yet, as of then.
    again.memory.renew(then, Act::of(at(40), "process.kill".into(), "r-0".into(), "p".into(), (&one(), &Json::Null)));
    assert_eq!(again.memory.acts(&kills(), at(40), per(3600)), 1);
    assert_eq!(again.memory.acts(&kills(), at(40), per(1)), 1);
}

#[test]
fn one_row_is_over_all_actions_whichever_they_are() {
    let hour = Duration::from_secs(3600);
    let place = |unit: &str| plan(vec![in_cgroup(9, &format!("/system.slice/{unit}.service"))]);
    for per_playbook in [false, true] {
        let mut all = case();
        let rows = if per_playbook { &mut all.guard.per_playbook } else { &mut all.guard.limits };
        rows.0.insert(ALL.into(), Rate { count: 3, per: hour });
        // With rows of their own or without, it counts them.
        rows.0.insert("process.kill".into(), Rate { count: 100, per: hour });
        rows.0.insert(EACH.into(), Rate { count: 100, per: hour });
        for (unit, action, playbook) in
            [("a", "cloud.cut", "p"), ("b", "process.kill", "q"), ("c", "process.freeze", "q")]
        {
            all.memory.add(by(10, action, playbook, &place(unit)));
        }
        let fourth = all.decide(place("d"));
        if per_playbook {
            assert!(matches!(fourth, Decision::Act(_)), "`p` acted in one place");
            all.memory.add(by(11, "cloud.cut", "p", &place("b")));
            all.memory.add(by(11, "cloud.cut", "p", &place("c")));
            refused_by(all.decide(place("d")), "limits");
        } else {
            refused_by(fourth, "limits");
        }
        assert!(matches!(all.decide(place("a")), Decision::Act(_)), "where it has acted it goes on");
    }
}

#[test]
fn owners_and_principals_open_the_breaker_as_images_do() {
    let pods = |n: usize| {
        crate::Json::from_iter([("pod", serde_json::json!({ "namespace": "shop", "owner": format!("web{n}") }))])
    };
    let principal = |n: usize| serde_json::json!({ "cloud": { "principal": format!("arn:{n}") } });
    for of in [&pods as &dyn Fn(usize) -> Json, &principal] {
        let mut wild = case();
        (wild.guard.breaker.owners, wild.guard.breaker.principals) = (3, 3);
        let same = || plan(vec![target(20, |_| ())]);
        for n in 0..3 {
            wild.memory.add(Act::of(at(50), "process.kill".into(), "r-0".into(), "p".into(), (&same(), &of(n))));
        }
        let decide = |concerns: Concerns, case: &mut Case| {
            case.concerns = concerns;
            case.decide(same())
        };
        assert!(matches!(decide(Concerns::of_event(&of(2)), &mut wild), Decision::Act(_)), "it is no new one");
        let fourth = decide(Concerns::of_event(&of(3)), &mut wild);
        assert!(matches!(&fourth, Decision::Ask { why, .. } if why.contains("more than 3 different")), "{fourth:?}");
        wild.memory.breaker_opened(&"p".into(), at(90));
        assert!(
            matches!(decide(Concerns::of_event(&of(1)), &mut wild), Decision::Act(_)),
            "the old ones are not let go"
        );
        assert!(matches!(decide(Concerns::of_event(&of(4)), &mut wild), Decision::Ask { .. }), "a kill of a new one");
    }
    let mut keys = case();
    keys.guard.breaker.principals = 1;
    keys.memory.add(by(50, "process.kill", "p", &key("AKIA1")));
    assert!(matches!(keys.decide(key("AKIA1")), Decision::Act(_)));
    assert!(matches!(keys.decide(key("AKIA2")), Decision::Ask { .. }), "a target is a principal too");
    // Whoever speaks in the name of one acts on ever new ones of others.
    let mut hidden = case();
    hidden.guard.breaker.principals = 1;
    hidden.concerns = Concerns::of_event(&principal(1));
    let first = Act::of(at(50), "process.kill".into(), "r-0".into(), "p".into(), (&key("AKIA1"), &principal(1)));
    hidden.memory.add(first);
    assert!(matches!(hidden.decide(key("AKIA1")), Decision::Act(_)), "the two are no two principals");
    let second = hidden.decide(key("AKIA2"));
    assert!(
        matches!(&second, Decision::Ask { why, .. } if why.contains("more than 1 different identities")),
        "{second:?}"
    );
}

#[test]
fn a_cgroup_is_judged_by_its_path_and_by_what_needs_it() {
    let cgroup = |path: &str, needed: Option<&str>| {
        target(7, |facts| {
            *facts = TargetFacts::Cgroup { path: path.into(), needed: needed.map(str::to_owned), pod: None }
        })
    };
    let within = Within::cgroup("/box");
    for (path, inside) in [("/box", true), ("/box/inner", true), ("/boxes", false), ("/", false)] {
        assert_eq!(within.objection(&cgroup(path, None)).is_none(), inside, "{path}");
    }
    let protect = Protect::default();
    assert_eq!(protect.objection(&cgroup("/box", None)), None);
    assert_eq!(protect.objection(&cgroup("/box", Some("quell is in it"))).as_deref(), Some("quell is in it"));
}
