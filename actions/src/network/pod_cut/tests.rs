//! The part against a cut in memory, on cgroups of its own that are called as kubelets call them.

use super::super::block_peer::BlockPeer;
use super::super::home::Found;
use super::super::isolate::Isolate;
use super::super::testing::{Paper, finish, hands, path_of};
use super::*;
use crate::process::pace::Pace;
use crate::testing::{Act, Family};
use crate::world::CgroupKind;
use quell_model::{Action, Decision, Plan, PodPlace, Pods};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

/// A uid of this test's own.
fn uid(number: u32) -> String {
    format!("{:08x}-{number:04x}-4111-8222-333344445555", std::process::id())
}

/// A pod of two containers with a process each, as the systemd driver has it; removed with its value.
struct Pod(PathBuf);

impl Pod {
    fn new(family: &Family, dir: &Path, uid: &str) -> Self {
        let pod = Self(dir.join(format!("kubepods-burstable-pod{}.slice", uid.replace('-', "_"))));
        for number in [1, 2] {
            let container = pod.0.join(format!("cri-containerd-{number:064x}.scope"));
            fs::create_dir_all(&container).unwrap();
            fs::write(container.join("cgroup.procs"), family.spawn("exec sleep 300").to_string()).unwrap();
        }
        pod
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let begun = std::time::Instant::now();
        for dir in
            fs::read_dir(&self.0).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|p| p.is_dir())
        {
            drop(fs::write(dir.join("cgroup.kill"), "1"));
            while fs::remove_dir(&dir).is_err() && dir.exists() && begun.elapsed() < crate::testing::PATIENCE {
                std::thread::yield_now();
            }
        }
        drop(fs::remove_dir(&self.0));
    }
}

fn cut(family: &Family, paper: &Arc<Paper>) -> PodCut {
    PodCut::new(family.world().with_cut(Arc::clone(paper) as _))
}

/// A plan of a verb that has the part, and something of a cluster.
fn around(part: &PartPlan) -> Plan {
    let mut targets = part.targets.clone();
    let named = targets[0].clone();
    targets.push(Target { node: "cluster".into(), kind: "pod".into(), facts: TargetFacts::Other, ..named });
    Plan { targets, before: json!({ "node": part.part }), ..Plan::default() }
}

#[test]
fn a_pod_is_cut_off_with_all_of_its_containers_within_the_plan_of_another_verb() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V2) else { return };
    let (paper, uid) = (Arc::<Paper>::default(), uid(1));
    let pod = Pod::new(&family, &dir, &uid);
    let cut = cut(&family, &paper);
    let part = finish(cut.plan(&uid, &["10.0.0.53".to_owned()])).unwrap().unwrap();
    let path = format!("{}{}", path_of(&dir), path_of(&pod.0));
    assert!(matches!(&part.targets[0].facts, TargetFacts::Cgroup { path: its, needed: None, .. } if *its == path));
    assert_eq!(part.targets[0].label, format!("pod {uid}, cgroup {path}"));
    assert_eq!((part.targets.len(), &part.predicted["cgroup"], part.already), (3, &json!(path), false));
    assert!(part.still_open.iter().any(|one| one.contains("AF_PACKET")), "{part:?}");
    assert_eq!(finish(cut.verify(&part.part, Want::Undone)), Ok(Truth::Holds));

    let (act, cx, verb) = (Act::new(), Act::new().context(), Isolate::new(hands(&family, &paper)));
    let go = act.admitted(&verb, around(&part));
    // Kept in a journal, it is the same.
    let kept = go.plan().before["node"].clone();
    let output = finish(cut.run(&go, &kept, &cx)).unwrap();
    assert_eq!((&output["cgroup"], &output["moved"]), (&json!(path), &json!(0)));
    assert_eq!(paper.all().len(), 1);
    assert_eq!(finish(cut.verify(&kept, Want::Acted)), Ok(Truth::Holds));
    assert!(matches!(cut.verify_undone(&kept, &cx), Ok(Truth::HoldsNot(_))));
    cut.hold(&go, &kept, &cx, Duration::from_secs(7200)).unwrap();
    let held = paper.all()[0].until_ns;
    cut.hold(&go, &kept, &cx, Duration::from_secs(9000)).unwrap();
    assert!(paper.all()[0].until_ns > held);
    // What the guard has not seen is not done.
    let mut other = around(&part);
    other.targets.remove(0);
    let unseen = act.admitted(&verb, other);
    let why = finish(cut.run(&unseen, &kept, &cx)).unwrap_err().to_string();
    assert!(why.contains("is no target of what was admitted"), "{why}");
    assert!(finish(cut.undo(&unseen, &kept, &cx)).is_err() && cut.hold(&unseen, &kept, &cx, Duration::ZERO).is_err());
    assert_eq!(finish(cut.undo(&go, &kept, &cx)).unwrap()["removed"], true);
    assert_eq!(cut.verify_undone(&kept, &cx), Ok(Truth::Holds));
    assert!(paper.all().is_empty());
    assert_eq!(finish(cut.plan(&self::uid(2), &[])).unwrap(), None, "no such pod is here");
    assert!(finish(cut.plan("web-0", &[])).unwrap_err().to_string().contains("is no uid of a pod"));
    assert!(finish(cut.run(&go, &json!({}), &cx)).unwrap_err().to_string().contains("part cannot be read"));
}

#[test]
fn network_isolate_takes_a_pod_as_an_event_has_it() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V2) else { return };
    let (paper, uid) = (Arc::<Paper>::default(), uid(3));
    let verb = Isolate::new(hands(&family, &paper));
    let input = json!({ "pod": { "uid": uid, "namespace": "shop", "name": "web-0" } });
    let why = finish(verb.plan(&input)).unwrap_err().to_string();
    assert!(why.contains(&format!("no v2 cgroup is called after the pod `{uid}`")), "{why}");
    // By cgroupfs's driver, and empty yet.
    let pod = Pod(dir.join(format!("pod{uid}")));
    fs::create_dir(&pod.0).unwrap();
    let plan = finish(verb.plan(&input)).unwrap();
    let path = format!("{}/pod{uid}", path_of(&dir));
    assert_eq!(plan.predicted["cgroup"], path);
    assert_eq!(finish(verb.plan(&json!({ "pod": uid.to_uppercase() }))).unwrap().predicted, plan.predicted);
    assert!(finish(verb.plan(&json!({ "pod": uid, "cgroup": "/x" }))).is_err(), "one of them");
    // After a boot the pod may be here anew.
    drop(pod);
    assert!(finish(verb.plan_again(&input, &plan)).is_err(), "it is gone");
    let again = Pod(dir.join(format!("pod{uid}")));
    fs::create_dir(&again.0).unwrap();
    assert_eq!(finish(verb.plan_again(&input, &plan)).unwrap().predicted["cgroup"], path);
}

#[test]
fn nobody_shields_a_pod_by_a_name_and_two_of_a_name_are_refused() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V2) else { return };
    let (paper, uid) = (Arc::<Paper>::default(), uid(4));
    let cut = cut(&family, &paper);
    let make = |path: &str| {
        let pod = Pod(dir.join(path));
        fs::create_dir(&pod.0).unwrap();
        pod
    };
    // A user's, of the very name.
    let theirs = make(&format!("a-pod{uid}.slice"));
    std::os::unix::fs::chown(&theirs.0, Some(65_534), None).unwrap();
    let part = finish(cut.plan(&uid, &[])).unwrap().unwrap();
    assert!(part.still_open.iter().any(|one| one.contains("may have named so")), "{part:?}");
    // And one that a container names within its own.
    let container = make(&format!("docker-{:064x}.scope", 7));
    let within = make(&format!("docker-{:064x}.scope/pod{uid}", 7));
    assert!(
        finish(cut.plan(&uid, &[])).unwrap_err().to_string().contains("no one cgroup for all"),
        "neither is the runtime's"
    );
    let real = make(&format!("pod{uid}"));
    let part = finish(cut.plan(&uid, &[])).unwrap().unwrap();
    assert_eq!(part.predicted["cgroup"], format!("{}/pod{uid}", path_of(&dir)));
    assert!(!part.still_open.iter().any(|one| one.contains("may have named so")));
    let second = make(&format!("b-pod{uid}.slice"));
    let why = finish(cut.plan(&uid, &[])).unwrap_err().to_string();
    assert!(why.contains("no one cgroup for all of its containers: "), "{why}");
    drop((within, container, theirs, real, second));
}

#[test]
fn a_pod_of_a_protected_namespace_is_not_cut_off_whatever_names_it() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V2) else { return };
    let (paper, uid) = (Arc::<Paper>::default(), uid(5));
    let pod = Pod::new(&family, &dir, &uid);
    let pods = Arc::new(Pods::new("kubernetes".into()));
    let place = PodPlace { uid: uid.as_str().into(), namespace: "kube-system".into(), name: "dns".into() };
    pods.note_places([place].into_iter());
    let world = family.world().with_cut(Arc::clone(&paper) as _).with_pods(pods);
    let hands = Arc::new(Hands::new(world.clone()));
    let (isolate, block) = (Isolate::new(Arc::clone(&hands)), BlockPeer::new(hands));
    let mut act = Act::new();
    act.guard.protect.namespaces = vec!["kube-system".into()];
    let container =
        fs::read_dir(&pod.0).unwrap().flatten().map(|entry| entry.path()).find(|path| path.is_dir()).unwrap();
    let pid: u32 = fs::read_to_string(container.join("cgroup.procs")).unwrap().trim().parse().unwrap();
    let (of_pod, above) = (format!("{}{}", path_of(&dir), path_of(&pod.0)), path_of(&dir));
    let each: [(&dyn Action, Json); 6] = [
        (&isolate, json!({ "process": family.id(pid) })),
        (&isolate, json!({ "pod": uid })),
        (&isolate, json!({ "cgroup": of_pod })),
        (&isolate, json!({ "cgroup": above })),
        (&block, json!({ "cidr": "203.0.113.5", "scope": "cgroup", "cgroup": of_pod })),
        (&block, json!({ "cidr": "203.0.113.5", "scope": "cgroup", "cgroup": above })),
    ];
    for (verb, input) in each {
        let Decision::Refuse { guard, why, .. } = act.decide(verb, finish(verb.plan(&input)).unwrap()) else {
            panic!("{input}")
        };
        assert!(guard.as_str() == "protect" && why.contains("in the pod `kube-system/dns`"), "{input}: {why}");
    }
    let part = finish(PodCut::new(world).plan(&uid, &[])).unwrap().unwrap();
    assert!(matches!(act.decide(&isolate, around(&part)), Decision::Refuse { .. }));
}

/// As many as somebody likes to make in a cgroup that is theirs.
#[test]
fn cgroups_that_somebody_makes_at_will_hide_no_pod_and_are_not_looked_through_for_ever() {
    let family = Family::new();
    let (paper, uid) = (Arc::<Paper>::default(), uid(6));
    let root = family.dir().join("cgroup");
    let theirs = root.join("user.slice/theirs");
    let many = |dir: &Path, count: u32| {
        (0..count).for_each(|number| fs::create_dir_all(dir.join(number.to_string())).unwrap());
    };
    many(&theirs, 20);
    std::os::unix::fs::chown(&theirs, Some(65_534), None).unwrap();
    let pod = root.join(format!("kubepods/pod{uid}"));
    fs::create_dir_all(&pod).unwrap();
    let roots = vec![crate::world::CgroupRoot { dir: root.clone(), kind: CgroupKind::V2 }];
    let world = HostWorld { cgroups: roots, ..family.world().with_cut(Arc::clone(&paper) as _) };
    let hands = Hands::new(world);
    // As a cgroup has them.
    (0..50).for_each(|number| fs::write(root.join(format!("cgroup.{number}")), "").unwrap());
    let is_it = |part: &str| part == format!("pod{uid}");
    // What root made is looked through first, and is enough: a walk of 8 does not come to what is theirs.
    let found = finish(Found::below_at(&root, &is_it, Pace::of_steps(8))).unwrap();
    assert_eq!(finish(found.only(&hands, String::new, "")).unwrap().unwrap().path, format!("/kubepods/pod{uid}"));
    fs::remove_dir(&pod).unwrap();
    // What is not found then is not told as not there.
    let error = finish(Found::below_at(&root, &is_it, Pace::of_steps(8))).unwrap_err();
    assert!(error.to_string().contains("the tree of cgroups is more than is looked through: 8 cgroups"), "{error}");
    assert!(matches!(error, ActionError::GiveUp { hint: Some(_), .. }));
    assert!(finish(Found::below_at(&root, &is_it, Pace::of_steps(1000))).is_ok(), "it has an end");
}
