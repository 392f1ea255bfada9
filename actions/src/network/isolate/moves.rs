//! Who is moved to be cut off, and how they come back: by each way in which an order may end, in whatever order the orders end.

use super::super::back::{While, bring_back};
use super::super::testing::{Paper, finish, hands, path_of, put, v2};
use super::*;
use crate::testing::{Act, Family, wait_until};
use crate::world::CgroupKind;
use quell_model::{Cut, IdempotencyKey};
use std::fs;
use std::path::{Path, PathBuf};

fn verb(family: &Family, paper: &Arc<Paper>) -> Isolate {
    Isolate::new(hands(family, paper))
}

fn context(act: &Act, key: &str) -> ActionContext {
    let mut cx = act.context();
    cx.key = IdempotencyKey(key.to_owned());
    cx
}

/// A cgroup below one of a test's; it goes with its value.
struct Below(PathBuf);

impl Below {
    fn new(dir: &Path, name: &str) -> Self {
        fs::create_dir(dir.join(name)).unwrap();
        Self(dir.join(name))
    }
}

impl Drop for Below {
    fn drop(&mut self) {
        let begun = std::time::Instant::now();
        while fs::remove_dir(&self.0).is_err() && self.0.exists() && begun.elapsed() < crate::testing::PATIENCE {
            drop(fs::write(self.0.join("cgroup.kill"), "1"));
            std::thread::yield_now();
        }
    }
}

#[test]
fn each_comes_back_to_where_they_were() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V2) else { return };
    let other = Below::new(&dir, "other");
    let parent = family.spawn("sleep 300 & echo $! >$DIR/child; wait");
    let child = family.pid("child");
    put(parent, &dir);
    put(child, &other.0);
    let other = format!("{}/other", path_of(&dir));
    let paper = Arc::<Paper>::default();
    let verb = verb(&family, &paper);
    let (act, cx) = (Act::new(), Act::new().context());
    let plan = finish(verb.plan(&json!({ "process": family.id(parent), "scope": "tree" }))).unwrap();
    assert_eq!(plan.before["from_each"][&other][0][0], child, "{}", plan.before);
    let go = act.admitted(&verb, plan);
    assert_eq!(finish(verb.run(&go, &cx)).unwrap()["moved"], 2);
    let cgroup = v2(parent);
    assert_eq!(v2(child), cgroup);
    let undone = finish(verb.undo(&go, &cx)).unwrap();
    assert_eq!((undone["moved_back"].as_u64(), &undone["still"]), (Some(2), &Json::Null));
    assert_eq!((v2(parent), v2(child)), (path_of(&dir), other));
}

#[test]
fn whoever_has_ended_and_is_not_reaped_is_not_waited_for() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V2) else { return };
    // Nobody reaps what the shell started, once it is another program.
    let parent = family.spawn("sleep 300 & echo $! >$DIR/child; exec sleep 300");
    let child = family.pid("child");
    for pid in [parent, child] {
        put(pid, &dir);
    }
    let pid = rustix::process::Pid::from_raw(i32::try_from(child).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    wait_until("it is a zombie", || family.stat(child).is_some_and(|stat| stat.is_dead()));
    let verb = verb(&family, &Arc::<Paper>::default());
    let (act, cx) = (Act::new(), Act::new().context());
    let plan = finish(verb.plan(&json!({ "process": family.id(parent), "scope": "tree" }))).unwrap();
    let go = act.admitted(&verb, plan);
    assert_eq!(finish(verb.run(&go, &cx)).unwrap()["moved"], 1);
    assert_ne!(v2(parent), path_of(&dir));
    finish(verb.undo(&go, &cx)).unwrap();
    assert_eq!(v2(parent), path_of(&dir));
}

#[test]
fn while_one_of_them_is_outside_it_is_not_proved() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V2) else { return };
    let parent = family.spawn("sleep 300 & echo $! >$DIR/child; wait");
    let child = family.pid("child");
    for pid in [parent, child] {
        put(pid, &dir);
    }
    let paper = Arc::<Paper>::default();
    let verb = verb(&family, &paper);
    let (act, cx) = (Act::new(), Act::new().context());
    let plan = finish(verb.plan(&json!({ "process": family.id(parent), "scope": "tree" }))).unwrap();
    let go = act.admitted(&verb, plan.clone());
    finish(verb.run(&go, &cx)).unwrap();
    assert_eq!(finish(verb.verify(&plan, Want::Acted)), Ok(Truth::Holds));
    // As a quell leaves it that dies in the midst of moving them: the order stands, and one is outside.
    put(child, &dir);
    let told = finish(verb.verify(&plan, Want::Acted)).unwrap();
    assert!(matches!(&told, Truth::HoldsNot(why) if why.contains(&format!("({child}) is not in"))), "{told:?}");
    assert_eq!(finish(verb.run(&go, &cx)).unwrap()["moved"], 1, "it is taken up");
    assert_eq!(finish(verb.verify(&plan, Want::Acted)), Ok(Truth::Holds));
    assert_eq!(finish(verb.undo(&go, &cx)).unwrap()["moved_back"], 2);
}

#[test]
fn what_fails_half_way_leaves_everybody_where_they_were() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V2) else { return };
    let parent = family.spawn("sleep 300 & echo $! >$DIR/child; wait");
    let child = family.pid("child");
    for pid in [parent, child] {
        put(pid, &dir);
    }
    let paper = Arc::<Paper>::default();
    // The child may not be touched: it is found when the parent has been moved already.
    let hands = Hands::new(family.world().with_cut(Arc::clone(&paper) as _)).with_own(family.id(child));
    let verb = Isolate::new(Arc::new(hands));
    let act = Act::new();
    let mut plan = finish(verb.plan(&json!({ "process": family.id(parent), "scope": "tree" }))).unwrap();
    plan.targets.retain(|target| target.named);
    let go = act.admitted(&verb, plan);
    let why = finish(verb.run(&go, &act.context())).unwrap_err().to_string();
    assert!(why.contains("may not be moved"), "{why}");
    assert_eq!((v2(parent), v2(child)), (path_of(&dir), path_of(&dir)));
    assert!(paper.all().is_empty(), "and nobody is cut off");
    assert_eq!(fs::read_dir(&dir).unwrap().flatten().filter(|e| e.path().is_dir()).count(), 0);
}

#[test]
fn whoever_ends_the_last_order_brings_back_who_was_moved() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V2) else { return };
    let parent = family.spawn("sleep 300 & echo $! >$DIR/child; wait");
    let child = family.pid("child");
    for pid in [parent, child] {
        put(pid, &dir);
    }
    let paper = Arc::<Paper>::default();
    let verb = verb(&family, &paper);
    let act = Act::new();
    let run = |key: &str, input: Json| {
        let go = act.admitted(&verb, finish(verb.plan(&input)).unwrap());
        finish(verb.run(&go, &context(&act, key))).unwrap();
        go
    };
    let undo = |key: &str, go: &Admitted| finish(verb.undo(go, &context(&act, key))).unwrap();
    // Two on one tree, of which one names the cgroup that the other made.
    for second in [json!({ "process": family.id(parent), "scope": "tree", "allow": ["10.0.0.1"] }), json!(null)] {
        let first = run("one", json!({ "process": family.id(parent), "scope": "tree" }));
        let made = v2(parent);
        assert!(made.starts_with(&format!("{}/quell-moved-{parent}-", path_of(&dir))), "{made}");
        let second = if second.is_null() { json!({ "cgroup": made, "allow": ["10.0.0.2"] }) } else { second };
        let second = run("two", second);
        assert_eq!(v2(parent), made, "nobody is moved twice");
        let undone = undo("one", &first);
        assert!(undone["still"].as_str().unwrap().contains("is cut all the same"), "{undone}");
        assert_eq!(v2(child), made);
        assert_eq!(undo("two", &second)["moved_back"], 2);
        assert_eq!((v2(parent), v2(child)), (path_of(&dir), path_of(&dir)));
    }
    // One within the other: whichever ends first.
    for inner_first in [true, false] {
        let outer = run("outer", json!({ "process": family.id(parent), "scope": "tree" }));
        let made = v2(parent);
        let inner = run("inner", json!({ "process": family.id(child), "scope": "tree", "allow": ["10.0.0.1"] }));
        assert!(v2(child).starts_with(&format!("{made}/quell-moved-{child}-")), "{}", v2(child));
        if inner_first {
            undo("inner", &inner);
            assert_eq!(v2(child), made, "the other one holds");
            undo("outer", &outer);
        } else {
            undo("outer", &outer);
            assert_eq!(v2(parent), path_of(&dir));
            assert!(v2(child).contains("quell-moved"), "the other one holds");
            undo("inner", &inner);
        }
        assert_eq!((v2(parent), v2(child)), (path_of(&dir), path_of(&dir)));
        assert!(!dir.join(made.rsplit('/').next().unwrap()).exists());
    }
    // The kernel's clock has ended it: nobody takes it back, and a look brings them back.
    run("ends", json!({ "process": family.id(parent), "scope": "tree", "for": "1h" }));
    let made = dir.join(v2(parent).rsplit('/').next().unwrap());
    let own = |group: &Path| {
        // What others have made beside this test is not its own.
        if group == made { paper.holds(group) } else { Ok(true) }
    };
    assert_eq!(bring_back(&family.world(), &own, While::Leaving).moved, 0, "it stands");
    paper.orders.lock().unwrap().clear();
    let back = bring_back(&family.world(), &own, While::Leaving);
    assert_eq!((back.moved, back.stays.len()), (2, 0), "{back:?}");
    assert_eq!((v2(parent), v2(child), made.exists()), (path_of(&dir), path_of(&dir), false));
}
