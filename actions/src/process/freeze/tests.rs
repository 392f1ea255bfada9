//! Freezes real processes of each test's own, lets them go, and looks at who runs.

use super::*;
use crate::testing::{Act, Family, wait_until};
use crate::world::{CgroupKind, HostWorld};

fn verb(world: HostWorld) -> Freeze {
    Freeze(Arc::new(Hands::new(world)))
}

fn order(id: &ProcessId, scope: &str) -> Json {
    json!({ "process": id, "scope": scope })
}

fn pids(output: &Json, key: &str) -> Vec<u32> {
    let mut pids: Vec<u32> =
        output[key].as_array().unwrap().iter().map(|k| k["pid"].as_u64().unwrap() as u32).collect();
    pids.sort_unstable();
    pids
}

#[tokio::test]
async fn a_tree_stands_still_and_goes_on_twice_each() {
    let family = Family::new();
    let named = family.spawn(
        "sh -c 'echo $$ >$DIR/a; sleep 300 & echo $! >$DIR/b; wait' & sleep 300 & echo $! >$DIR/stopped; echo $$ >$DIR/up; wait",
    );
    assert_eq!(family.pid("up"), named);
    let [a, b, stopped] = ["a", "b", "stopped"].map(|name| family.id(family.pid(name)));
    let named = family.id(named);
    let state = |id: &ProcessId| family.stat(id.pid).unwrap().state;
    // One of them was stopped before, by somebody else.
    identity::Held::take(&family.world(), &stopped).unwrap().unwrap().signal(Signal::STOP).unwrap();
    wait_until("it is stopped", || state(&stopped) == 'T');

    let act = Act::new();
    let freeze = verb(family.world());
    let (plan, output, truth) = act.whole(&freeze, order(&named, "tree")).await;
    assert_eq!(truth, Truth::Holds);
    assert_eq!(pids(&output, "frozen").len(), 4, "{output}");
    assert_eq!([&named, &a, &b, &stopped].map(state), ['T'; 4]);
    assert!(freeze.plan(&order(&named, "tree")).await.unwrap().already);
    let go = act.admitted(&freeze, plan.clone());
    freeze.run(&go, &act.context()).await.unwrap();
    assert!(matches!(freeze.verify(&plan, Want::Undone).await.unwrap(), Truth::HoldsNot(_)));

    for _ in 0..2 {
        let released = freeze.undo(&go, &act.context()).await.unwrap();
        assert_eq!(pids(&released, "released").len(), 3, "{released}");
        assert_eq!(freeze.verify(&plan, Want::Undone).await.unwrap(), Truth::Holds);
        assert!([&named, &a, &b].map(state).iter().all(|state| *state != 'T'));
        assert_eq!(state(&stopped), 'T', "what others had stopped stays stopped");
    }
    assert!(matches!(freeze.verify(&plan, Want::Acted).await.unwrap(), Truth::HoldsNot(_)));
}

#[tokio::test]
async fn a_family_that_keeps_forking_stands_still() {
    let family = Family::new();
    let named = family.id(family.spawn("while :; do sleep 0.005 & sleep 0.01; done"));
    let (_, _, truth) = Act::new().whole(&verb(family.world()), order(&named, "tree")).await;
    assert_eq!(truth, Truth::Holds);
}

#[tokio::test]
async fn a_cgroup_stands_still_on_both_kinds_and_goes_on() {
    for kind in [CgroupKind::V2, CgroupKind::V1Freezer] {
        let family = Family::new();
        let Some(dir) = family.group(kind) else { continue };
        let script = "echo $$ >%/cgroup.procs; sleep 300 & echo $! >$DIR/child; n=0; while :; do n=$((n+1)); echo $n >$DIR/n; done";
        let named = family.spawn(&script.replace('%', &dir.display().to_string()));
        family.pid("child");
        family.pid("n");
        let named = family.id(named);
        let act = Act::new();
        let freeze = verb(family.world());
        let (plan, output, truth) = act.whole(&freeze, order(&named, "cgroup")).await;
        assert_eq!((truth, pids(&output, "frozen").len()), (Truth::Holds, 2), "{kind:?}");
        let count = || std::fs::read_to_string(family.dir().join("n")).unwrap();
        let (one, ticks) = (count(), family.stat(named.pid).unwrap());
        assert!(freeze.plan(&order(&named, "cgroup")).await.unwrap().already, "{kind:?}");
        assert!(freeze.plan(&order(&named, "tree")).await.unwrap().already, "{kind:?}: its cgroup holds it");
        assert_eq!((one, ticks), (count(), family.stat(named.pid).unwrap()));
        let go = act.admitted(&freeze, plan.clone());
        for _ in 0..2 {
            freeze.run(&go, &act.context()).await.unwrap();
            freeze.undo(&go, &act.context()).await.unwrap();
            freeze.undo(&go, &act.context()).await.unwrap();
            assert_eq!(freeze.verify(&plan, Want::Undone).await.unwrap(), Truth::Holds, "{kind:?}");
        }
        let then = count();
        wait_until("it counts again", || count() != then);
    }
}

#[tokio::test]
async fn who_is_gone_is_not_frozen_and_a_stranger_never() {
    let family = Family::new();
    let id = family.id(family.spawn("exec sleep 300"));
    let wrong = ProcessId { start_ns: id.start_ns + 10_000_000, ..id.clone() };
    let plan = verb(family.world()).plan(&order(&wrong, "tree")).await.unwrap();
    assert!(plan.already && plan.targets.is_empty());
    assert_ne!(family.stat(id.pid).unwrap().state, 'T');
}

#[tokio::test]
async fn who_is_let_go_by_another_is_told() {
    let family = Family::new();
    let id = family.id(family.spawn("exec sleep 300"));
    let freeze = verb(family.world());
    let (plan, _, truth) = Act::new().whole(&freeze, order(&id, "process")).await;
    assert_eq!(truth, Truth::Holds);
    identity::Held::take(&family.world(), &id).unwrap().unwrap().signal(Signal::CONT).unwrap();
    let Truth::HoldsNot(why) = freeze.verify(&plan, Want::Acted).await.unwrap() else { panic!("it runs") };
    assert!(why.contains("runs"), "{why}");
}

#[test]
fn who_has_ended_meanwhile_is_not_stopped() {
    let states: [(&[char], bool); 6] = [
        (&['T'], true),
        (&['T', 'T', 'Z'], true),
        (&['T', 'S'], false),
        (&['Z'], false),
        (&['X', 'Z'], false),
        (&[], false),
    ];
    for (states, stopped) in states {
        assert_eq!(all_stopped(states), stopped, "{states:?}");
    }
}

#[tokio::test]
async fn who_waits_in_the_kernel_to_be_stopped_has_not_gone() {
    const SELF: &str = "/proc/self";
    let (proc, family) = (tempfile::tempdir().unwrap(), Family::new());
    let mut world = family.world();
    world.proc = proc.path().to_owned();
    let dir = proc.path().join("7");
    std::fs::create_dir(&dir).unwrap();
    let status = std::fs::read_to_string(format!("{SELF}/status")).unwrap();
    let mut fields: Vec<String> = ["7", "(x)", "S"].map(str::to_owned).into();
    fields.resize(52, "1".to_owned());
    let freeze = verb(world.clone());
    // SIGSTOP is bit 18 of what is pending.
    for (state, pending, stops) in
        [("T", 0_u64, true), ("D", 1 << 18, true), ("D", 0, false), ("D", 1 << 8, false), ("S", 1 << 18, false)]
    {
        fields[2] = state.to_owned();
        std::fs::write(dir.join("stat"), fields.join(" ")).unwrap();
        let told = |line: &str| match line.split_once(':') {
            Some((name @ ("ShdPnd" | "SigPnd"), _)) => format!("{name}:\t{pending:016x}\n"),
            _ => format!("{line}\n"),
        };
        std::fs::write(dir.join("status"), status.lines().map(told).collect::<String>()).unwrap();
        let stat = Stat::read(&world, 7).unwrap().unwrap();
        assert_eq!(freeze.is_stopped(&stat, &mut Pace::begin()).await.unwrap(), stops, "{state} {pending:x}");
    }
}
