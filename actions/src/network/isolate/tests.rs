//! The verb against a cut in memory, on processes and cgroups of its own: what it plans, enters, moves, proves and gives back.

use super::super::testing::{Paper, finish, hands, path_of, put, v2};
use super::*;
use crate::testing::{Act, Family};
use crate::world::CgroupKind;
use quell_model::guard::Within;
use quell_model::{CutDevices, Decision, IdempotencyKey, TargetFacts};
use std::fs;

fn verb(family: &Family, paper: &Arc<Paper>) -> Isolate {
    Isolate::new(hands(family, paper))
}

fn why_not(verb: &Isolate, input: &Json) -> String {
    finish(verb.plan(input)).unwrap_err().to_string()
}

#[test]
fn a_cgroup_is_cut_off_proved_and_given_back() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V2) else { return };
    let (paper, pid) = (Arc::<Paper>::default(), family.spawn("exec sleep 300"));
    put(pid, &dir);
    let verb = verb(&family, &paper);
    *paper.open.lock().unwrap() = vec!["tcp 127.0.0.1:1 → 127.0.0.1:2".to_owned()];
    let id = family.id(pid);
    let plan = finish(verb.plan(&json!({ "process": id, "allow": ["10.0.0.0/8"], "for": "1h" }))).unwrap();
    assert_eq!(plan.predicted, json!({ "cgroup": path_of(&dir), "loopback": false }));
    assert_eq!(plan.calls[1]["sockets"][0], "tcp 127.0.0.1:1 → 127.0.0.1:2");
    assert_eq!(plan.targets.len(), 2);
    assert!(matches!(&plan.targets[0].facts, TargetFacts::Cgroup { path, needed: None, .. } if *path == path_of(&dir)));
    assert_eq!(
        plan.targets.iter().map(|one| one.named).collect::<Vec<_>>(),
        [false, true],
        "the process is what was named"
    );
    assert!(plan.still_open.iter().any(|one| one.contains("AF_PACKET")) && !plan.already, "{plan:?}");
    assert_eq!(finish(verb.verify(&plan, Want::Undone)), Ok(Truth::Holds));
    assert!(matches!(finish(verb.verify(&plan, Want::Acted)), Ok(Truth::HoldsNot(_))));

    let (act, cx) = (Act::new(), Act::new().context());
    let go = act.admitted(&verb, plan.clone());
    let output = finish(verb.run(&go, &cx)).unwrap();
    assert_eq!(output["destroyed"].as_array().unwrap().len(), 1);
    assert_eq!((output["moved"].as_u64(), output["until"].is_string()), (Some(0), true));
    let order = &paper.all()[0];
    assert_eq!(order.rule, CutRule::Isolate { allow: vec!["10.0.0.0/8".parse().unwrap()], loopback: false });
    assert_eq!(finish(verb.verify(&plan, Want::Acted)), Ok(Truth::Holds));
    // What cannot be tried is done, and not called proved; what gets through is told.
    *paper.probe.lock().unwrap() = Some(Ok(Some("it is frozen".to_owned())));
    assert_eq!(finish(verb.verify(&plan, Want::Acted)), Ok(Truth::CannotAsk));
    *paper.probe.lock().unwrap() = Some(Err("a child got through".to_owned()));
    assert_eq!(finish(verb.verify(&plan, Want::Acted)), Ok(Truth::HoldsNot("a child got through".to_owned())));
    *paper.probe.lock().unwrap() = None;
    *paper.open.lock().unwrap() = vec!["udp 127.0.0.1:9".to_owned()];
    assert!(
        matches!(finish(verb.verify(&plan, Want::Acted)), Ok(Truth::HoldsNot(why)) if why.contains("udp 127.0.0.1:9"))
    );
    paper.open.lock().unwrap().clear();
    // The same again is so already, for no longer than it stands.
    assert!(
        finish(verb.plan(&json!({ "cgroup": path_of(&dir), "allow": ["10.0.0.0/8"], "for": "50m" }))).unwrap().already
    );
    assert!(!finish(verb.plan(&json!({ "cgroup": path_of(&dir), "for": "50m" }))).unwrap().already);
    // Another run's stands for itself.
    let mut other = act.context();
    other.key = IdempotencyKey("r-other/step".into());
    let theirs = finish(verb.plan(&json!({ "cgroup": path_of(&dir), "for": "2h" }))).unwrap();
    let go_on = act.admitted(&verb, theirs);
    finish(verb.run(&go_on, &other)).unwrap();
    finish(verb.hold(&go, &cx, Duration::from_secs(7200))).unwrap();
    assert_eq!(paper.all().len(), 2);
    assert!(matches!(finish(verb.verify_undone(&plan, &cx)), Ok(Truth::HoldsNot(_))));
    // In a kernel that has forgotten it the very same is planned, whoever of it lives.
    let gone = json!({ "process": id, "allow": ["10.0.0.0/8"], "for": "1h" });
    let again = finish(verb.plan_again(&gone, &plan)).unwrap();
    assert_eq!((&again.calls[0], &again.predicted), (&plan.calls[0], &plan.predicted));
    let undone = finish(verb.undo(&go, &cx)).unwrap();
    assert_eq!((&undone["removed"], &undone["dropped"]["calls"]), (&json!(true), &json!(3)));
    assert!(undone["still"].as_str().unwrap().contains("by run r-other"), "{undone}");
    assert_eq!(finish(verb.verify_undone(&plan, &cx)), Ok(Truth::Holds));
    assert_eq!(finish(verb.undo(&go_on, &other)).unwrap()["still"], Json::Null);
    assert!(paper.all().is_empty());
    assert_eq!(finish(verb.undo(&go, &cx)).unwrap()["removed"], false);
    assert_eq!(v2(pid), path_of(&dir), "nobody was moved");
}

#[test]
fn what_of_its_sockets_cannot_be_ended_or_told_is_told_as_that_and_the_cut_stands() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V2) else { return };
    let paper = Arc::<Paper>::default();
    put(family.spawn("exec sleep 300"), &dir);
    let verb = verb(&family, &paper);
    let input = json!({ "cgroup": path_of(&dir) });
    let (act, cx) = (Act::new(), Act::new().context());
    // The sockets cannot be listed: neither the plan nor the cut depends on that.
    *paper.blind.lock().unwrap() = Some("sock_diag is not here".to_owned());
    let plan = finish(verb.plan(&input)).unwrap();
    assert!(plan.still_open.iter().any(|one| one.contains("sock_diag is not here")) && !plan.already, "{plan:?}");
    let go = act.admitted(&verb, plan.clone());
    let output = finish(verb.run(&go, &cx)).unwrap();
    assert_eq!(output["left"], json!(["sock_diag is not here"]));
    assert_eq!(paper.all().len(), 1, "it is in force, and stays so");
    assert_eq!(finish(verb.verify(&plan, Want::Acted)), Ok(Truth::CannotAsk));
    // What nobody can end is told before and after, and is not called proved.
    *paper.blind.lock().unwrap() = None;
    *paper.stays.lock().unwrap() = (1..=10).map(|pid| format!("a packet socket of process {pid}")).collect();
    let plan = finish(verb.plan(&input)).unwrap();
    assert!(plan.still_open.iter().any(|one| one == "a packet socket of process 8"), "{plan:?}");
    assert!(plan.still_open.iter().any(|one| one == "and 2 more sockets") && plan.already, "{plan:?}");
    let output = finish(verb.run(&go, &cx)).unwrap();
    assert_eq!(output["left"].as_array().unwrap().len(), 10);
    let told = "10 sockets of it are open still: a packet socket of process 1".to_owned();
    assert_eq!(finish(verb.verify(&plan, Want::Acted)), Ok(Truth::HoldsNot(told)));
    // Where all that leads out of its network is cut, they carry nothing.
    *paper.closed.lock().unwrap() = true;
    assert_eq!(finish(verb.verify(&plan, Want::Acted)), Ok(Truth::Holds));
    let (hooked, left) = (vec!["veth0".to_owned()], vec!["the device `veth1` is not hooked: no".to_owned()]);
    *paper.devices.lock().unwrap() = CutDevices { hooked, left };
    let output = finish(verb.run(&go, &cx)).unwrap();
    assert_eq!(output["devices"], json!(["veth0"]));
    assert_eq!(output["left"].as_array().unwrap().last().unwrap(), "the device `veth1` is not hooked: no");
}

#[test]
fn whoever_has_no_cgroup_of_their_own_is_brought_into_one_and_back() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V2) else { return };
    let paper = Arc::<Paper>::default();
    let parent = family.spawn("sleep 300 & echo $! >$DIR/child; wait");
    let child = family.pid("child");
    let beside = family.spawn("exec sleep 300");
    for pid in [parent, child, beside] {
        put(pid, &dir);
    }
    let verb = verb(&family, &paper);
    let (act, cx) = (Act::new(), Act::new().context());
    let plan = finish(verb.plan(&json!({ "process": family.id(parent), "scope": "tree" }))).unwrap();
    let cgroup = plan.predicted["cgroup"].as_str().unwrap().to_owned();
    assert!(cgroup.starts_with(&format!("{}/quell-moved-{parent}-", path_of(&dir))), "{cgroup}");
    assert_eq!(plan.before["from"], path_of(&dir));
    let touched: Vec<&str> = plan.targets.iter().map(|one| one.kind.as_str()).collect();
    assert_eq!(touched, ["process", "process"], "whoever is beside them is not touched");
    assert!(plan.still_open.iter().any(|one| one.contains("not opened again")), "{plan:?}");
    assert_eq!(v2(parent), path_of(&dir), "a plan moves nobody");
    let go = act.admitted(&verb, plan.clone());
    // When the kernel refuses, everybody is back.
    *paper.refuses.lock().unwrap() = Some("there is no room".to_owned());
    assert!(finish(verb.run(&go, &cx)).unwrap_err().to_string().contains("there is no room"));
    assert_eq!((v2(parent), v2(child)), (path_of(&dir), path_of(&dir)));
    *paper.refuses.lock().unwrap() = None;
    let output = finish(verb.run(&go, &cx)).unwrap();
    assert_eq!((output["moved"].as_u64(), output["cgroup"].as_str()), (Some(2), Some(cgroup.as_str())));
    assert_eq!((v2(parent), v2(child), v2(beside)), (cgroup.clone(), cgroup.clone(), path_of(&dir)));
    assert_eq!(finish(verb.verify(&plan, Want::Acted)), Ok(Truth::Holds));
    // Done again, as after a crash, it is the same.
    assert_eq!(finish(verb.run(&go, &cx)).unwrap()["moved"], 0);
    let undone = finish(verb.undo(&go, &cx)).unwrap();
    assert_eq!((undone["moved_back"].as_u64(), &undone["still"]), (Some(2), &Json::Null));
    assert_eq!((v2(parent), v2(child)), (path_of(&dir), path_of(&dir)));
    assert!(!dir.join(cgroup.rsplit('/').next().unwrap()).exists());
    assert_eq!(finish(verb.undo(&go, &cx)).unwrap()["moved_back"], 0);
}

#[test]
fn what_may_not_be_cut_off_is_refused_and_told() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V2) else { return };
    let (paper, pid) = (Arc::<Paper>::default(), family.spawn("exec sleep 300"));
    put(pid, &dir);
    let verb = verb(&family, &paper);
    for (input, told) in [
        (json!({}), "one of them"),
        (json!({ "cgroup": "/", }), "no cgroup below the root"),
        (json!({ "cgroup": "/../x" }), "no cgroup below the root"),
        (json!({ "cgroup": format!("{}/../x", path_of(&dir)) }), "no cgroup below the root"),
        (json!({ "cgroup": "/./" }), "no cgroup below the root"),
        (json!({ "cgroup": "//" }), "no cgroup below the root"),
        (json!({ "cgroup": "/not/there" }), "there is no cgroup `/not/there`"),
        (json!({ "cgroup": "/x", "container": "0123456789ab" }), "one of them"),
        (json!({ "container": "web" }), "no id of a container"),
        (json!({ "container": "0123456789ab" }), "no v2 cgroup is called after"),
        (json!({ "cgroup": path_of(&dir), "allow": ["10.1.2.3/8"] }), "hint: the network is `10.0.0.0/8`"),
        (json!({ "cgroup": path_of(&dir), "alow": [] }), "unknown field `alow`"),
    ] {
        let why = why_not(&verb, &input);
        assert!(why.contains(told), "{input}: {why}");
    }
    // However it is written, it is one cgroup: the guard compares names.
    for written in ["/.{}", "/{}", "{}/", "{}/.", "/./{}//"] {
        let plan = finish(verb.plan(&json!({ "cgroup": written.replace("{}", &path_of(&dir)) }))).unwrap();
        assert_eq!(plan.predicted["cgroup"], path_of(&dir), "{written}");
        assert!(matches!(&plan.targets[0].facts, TargetFacts::Cgroup { path, .. } if *path == path_of(&dir)));
    }
    // Without the kernel's part there is no plan.
    let bare = Isolate::new(Arc::new(Hands::new(family.world())));
    assert!(why_not(&bare, &json!({ "cgroup": path_of(&dir) })).contains("no cut in this kernel"));
    // The guard's bounds, and the second lock's.
    let mut act = Act::new();
    act.guard.only_within = Some(Within::cgroup("/elsewhere"));
    let plan = finish(verb.plan(&json!({ "cgroup": path_of(&dir) }))).unwrap();
    assert!(matches!(act.decide(&verb, plan.clone()), Decision::Refuse { why, .. } if why.contains("lies outside")));
    act.guard.only_within = Some(Within::cgroup(path_of(&dir)));
    assert!(matches!(act.decide(&verb, plan), Decision::Act(_)));
    let own =
        Isolate::new(Arc::new(Hands::new(family.world().with_cut(Arc::clone(&paper) as _)).with_own(family.id(pid))));
    let plan = finish(own.plan(&json!({ "cgroup": path_of(&dir) }))).unwrap();
    let refused = Act::new().decide(&own, plan);
    assert!(
        matches!(&refused, Decision::Refuse { why, .. } if why.contains("what started quell is in it")),
        "{refused:?}"
    );
    assert!(paper.all().is_empty());
}

#[test]
fn a_container_is_found_by_its_id_and_a_new_cgroup_of_its_path_is_another() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V2) else { return };
    let id = format!("{:064x}", u128::from(std::process::id()) << 64 | 0xfeed_beef);
    let inner = dir.join(format!("cri-containerd-{id}.scope"));
    fs::create_dir(&inner).unwrap();
    let paper = Arc::<Paper>::default();
    let verb = verb(&family, &paper);
    let plan = finish(verb.plan(&json!({ "container": id }))).unwrap();
    assert_eq!(plan.predicted["cgroup"], format!("{}/cri-containerd-{id}.scope", path_of(&dir)));
    fs::remove_dir(&inner).unwrap();
    let (act, cx) = (Act::new(), Act::new().context());
    let go = act.admitted(&verb, plan);
    assert!(finish(verb.run(&go, &cx)).unwrap_err().to_string().contains("is gone"));
    fs::create_dir(&inner).unwrap();
    let why = finish(verb.run(&go, &cx)).unwrap_err().to_string();
    let again = finish(verb.plan_again(&json!({ "container": id }), go.plan())).unwrap_err().to_string();
    let path = format!("{}/cri-containerd-{id}.scope", path_of(&dir));
    assert!(again.contains("is there no more"), "{again}");
    assert!(finish(verb.plan_again(&json!({ "cgroup": path }), go.plan())).is_ok(), "what has that path is meant");
    fs::remove_dir(&inner).unwrap();
    assert!(why.contains("is another one by now"), "{why}");
}
