//! Kills real processes of each test's own, and looks at who lives on.

use super::*;
use crate::process::identity::Held;
use crate::process::pace::on_own_thread;
use crate::testing::{Act, Family, wait_until};
use crate::world::{CgroupKind, HostWorld, Lineage};
use quell_model::guard::Within;
use quell_model::{Decision, Target};
use std::os::unix::process::CommandExt;
use std::process::Command;

fn verb(world: HostWorld) -> Kill {
    Kill::new(Arc::new(Hands::new(world)))
}

fn order(id: &ProcessId, scope: &str) -> Json {
    json!({ "process": id, "scope": scope })
}

fn killed(output: &Json) -> Vec<u32> {
    let mut pids: Vec<u32> =
        output["killed"].as_array().unwrap().iter().map(|k| k["pid"].as_u64().unwrap() as u32).collect();
    pids.sort_unstable();
    pids
}

fn sorted(mut pids: Vec<u32>) -> Vec<u32> {
    pids.sort_unstable();
    pids
}

#[tokio::test]
async fn a_tree_dies_and_its_siblings_live_on() {
    let family = Family::new();
    let parent = family.spawn(
        "sh -c 'echo $$ >$DIR/named; sleep 300 & echo $! >$DIR/a; sh -c \"sleep 300 & echo \\$! >\\$DIR/b; wait\" & wait' & \
         sleep 300 & echo $! >$DIR/sibling; wait",
    );
    let ids: Vec<_> = ["named", "a", "b", "sibling"].map(|name| family.id(family.pid(name))).into();
    let parent = family.id(parent);
    let act = Act::new();
    let kill = verb(family.world());
    let (plan, output, truth) = act.whole(&kill, order(&ids[0], "tree")).await;
    assert_eq!(truth, Truth::Holds);
    assert_eq!(plan.targets.iter().filter(|target| target.named).count(), 1);
    assert_eq!(plan.targets[0].id, ids[0].to_string());
    assert!(ids[..3].iter().all(|id| !family.is_alive(id)), "{output}");
    assert!(family.is_alive(&ids[3]) && family.is_alive(&parent), "{output}");
    assert!(killed(&output).len() >= 4, "{output}");
    assert_eq!(output["killed"][0]["image"].as_str().map(|i| i.contains("sh")), Some(true), "{output}");

    // Once more: it is so already, and nobody is touched.
    let again = kill.plan(&order(&ids[0], "tree")).await.unwrap();
    assert!(again.already && again.targets.is_empty());
    assert_eq!(again.predicted["killed"], json!([]));
    assert!(matches!(act.decide(&kill, again), Decision::Observe { .. }));
    // And the same plan once more, as after a crash between the act and its record.
    let go = act.admitted(&kill, plan.clone());
    assert_eq!(killed(&kill.run(&go, &act.context()).await.unwrap()), Vec::<u32>::new());
    assert_eq!(kill.verify(&plan, Want::Acted).await.unwrap(), Truth::Holds);
    assert!(family.is_alive(&ids[3]) && family.is_alive(&parent));
}

/// A kill that quell died in the midst of, or before: of the dead nobody knows by what.
#[tokio::test]
async fn what_is_taken_up_tells_of_all_that_died_and_who_was_gone_before() {
    let family = Family::new();
    let named = family.spawn("sleep 300 & echo $! >$DIR/a; sleep 300 & echo $! >$DIR/b; wait");
    let (first, named) = (family.id(family.pid("a")), family.id(named));
    family.pid("b");
    let (act, kill) = (Act::new(), verb(family.world()));
    let plan = kill.plan(&order(&named, "tree")).await.unwrap();
    let all = killed(&plan.predicted);
    assert_eq!(all.len(), 3, "{plan:?}");
    Held::take(&family.world(), &first).unwrap().unwrap().signal(Sent::KILL).unwrap();
    wait_until("it is gone", || !family.is_alive(&first));
    let (go, taken_up) = (act.admitted(&kill, plan.clone()), ActionContext { taken_up: true, ..act.context() });
    let output = kill.run(&go, &taken_up).await.unwrap();
    assert_eq!((killed(&output), &output["gone"]), (all.clone(), &json!([first])), "{output}");
    assert_eq!(kill.verify(&plan, Want::Acted).await.unwrap(), Truth::Holds);
    // The next life finds nobody, whether it acts again or only asks.
    for output in [kill.run(&go, &taken_up).await.unwrap(), kill.unseen(&plan)] {
        assert_eq!((killed(&output), output["gone"].as_array().unwrap().len()), (all.clone(), 3), "{output}");
    }
    // Whoever was gone before quell itself came to them is not told as killed by it.
    assert_eq!(killed(&kill.run(&go, &act.context()).await.unwrap()), Vec::<u32>::new());
}

#[tokio::test]
async fn who_is_frozen_can_be_captured_and_then_dies() {
    let family = Family::new();
    let named = family.spawn("sleep 300 & echo $! >$DIR/child; wait");
    family.pid("child");
    let named = family.id(named);
    let act = Act::new();
    let hands = Arc::new(Hands::new(family.world()));
    let input = order(&named, "tree");
    let (_, _, still) = act.whole(&super::super::freeze::Freeze(hands.clone()), input.clone()).await;
    let capture = super::super::capture::Capture::new(hands.clone());
    let (_, kept, _) = act.whole(&capture, json!({ "process": named })).await;
    let (_, output, dead) = act.whole(&Kill::new(hands), input).await;
    assert_eq!((still, dead, killed(&output).len()), (Truth::Holds, Truth::Holds, 2));
    assert!(kept["exe_sha256"].is_string() && kept["missing"] == json!([]), "{kept}");
}

#[tokio::test]
async fn the_process_alone_leaves_its_children() {
    let family = Family::new();
    let named = family.spawn("sleep 300 & echo $! >$DIR/child; wait");
    let child = family.id(family.pid("child"));
    let (plan, output, truth) = Act::new().whole(&verb(family.world()), order(&family.id(named), "process")).await;
    assert_eq!((truth, killed(&output), plan.targets.len()), (Truth::Holds, vec![named], 1));
    assert!(family.is_alive(&child));
}

#[tokio::test]
async fn a_stranger_with_the_same_number_is_never_touched() {
    let family = Family::new();
    let pid = family.spawn("exec sleep 300");
    let real = family.id(pid);
    let kill = verb(family.world());
    for wrong in [
        ProcessId { start_ns: real.start_ns + 10_000_000, ..real.clone() },
        ProcessId { start_ns: real.start_ns - 10_000_000, ..real.clone() },
        ProcessId { boot: quell_model::BootId("0".into()), ..real.clone() },
    ] {
        for scope in ["process", "tree", "session", "cgroup"] {
            let plan = kill.plan(&order(&wrong, scope)).await.unwrap();
            assert!(plan.already && plan.targets.is_empty(), "{wrong} {scope}");
        }
        // A journaled plan whose process has gone meanwhile, and whose number is another's.
        let mut plan = kill.plan(&order(&real, "tree")).await.unwrap();
        for Target { facts, .. } in &mut plan.targets {
            if let quell_model::TargetFacts::Process { id, .. } = facts {
                *id = wrong.clone();
            }
        }
        let go = Act::new().admitted(&kill, plan.clone());
        assert_eq!(killed(&kill.run(&go, &Act::new().context()).await.unwrap()), Vec::<u32>::new());
        assert_eq!(kill.verify(&plan, Want::Acted).await.unwrap(), Truth::Holds);
    }
    assert!(family.is_alive(&real));
}

#[tokio::test]
async fn children_that_made_sessions_and_their_orphans_die_with_the_tree() {
    let family = Family::new();
    let named =
        family.spawn("setsid sh -c 'echo $$ >$DIR/leader; (sleep 300 & echo $! >$DIR/orphan); exec sleep 300' & wait");
    let (leader, orphan) = (family.pid("leader"), family.pid("orphan"));
    wait_until("the orphan was given away", || family.stat(orphan).is_some_and(|stat| stat.parent != leader));
    let ids = [named, leader, orphan].map(|pid| family.id(pid));
    let (_, output, truth) = Act::new().whole(&verb(family.world()), order(&ids[0], "tree")).await;
    assert_eq!(truth, Truth::Holds);
    assert!(ids.iter().all(|id| !family.is_alive(id)), "{output}");
}

/// Who watched the forks of one test.
struct Watched(Vec<ProcessId>);

impl Lineage for Watched {
    fn descendants(&self, _: &ProcessId) -> Vec<ProcessId> {
        self.0.clone()
    }

    fn command_line(&self, _: &ProcessId) -> Option<String> {
        Some("as it was seen".to_owned())
    }
}

#[tokio::test]
async fn a_double_fork_whose_trace_proc_has_lost_is_found_by_whoever_watched() {
    let family = Family::new();
    let named = family.spawn("(setsid sh -c '(sleep 300 & echo $! >$DIR/lost)' &); exec sleep 300");
    let lost = family.pid("lost");
    wait_until("its makers are gone", || family.stat(lost).is_some_and(|stat| family.stat(stat.session).is_none()));
    let (named, lost) = (family.id(named), family.id(lost));
    let plan = verb(family.world()).plan(&order(&named, "tree")).await.unwrap();
    assert_eq!(plan.targets.len(), 1, "/proc alone cannot tell");
    let watched = family.world().with_lineage(Arc::new(Watched(vec![lost.clone()])));
    let (plan, output, truth) = Act::new().whole(&verb(watched), order(&named, "tree")).await;
    assert_eq!((truth, plan.targets.len()), (Truth::Holds, 2));
    assert_eq!(killed(&output), sorted(vec![named.pid, lost.pid]));
    assert_eq!(output["killed"][1]["command_line"], "as it was seen");
    assert!(!family.is_alive(&named) && !family.is_alive(&lost));
}

#[tokio::test]
async fn the_left_behind_of_one_who_is_gone_are_found_by_whoever_watched() {
    let family = Family::new();
    let named = family.spawn("setsid sleep 300 & echo $! >$DIR/child; wait $!");
    let child = family.id(family.pid("child"));
    let named = family.id(named);
    let act = Act::new();
    act.whole(&verb(family.world()), order(&named, "process")).await;
    family.reap(named.pid);
    let blind = verb(family.world()).plan(&order(&named, "tree")).await.unwrap();
    assert!(blind.already && !blind.still_open.is_empty(), "{blind:?}");
    let watched = family.world().with_lineage(Arc::new(Watched(vec![child.clone()])));
    let (_, output, truth) = act.whole(&verb(watched), order(&named, "tree")).await;
    assert_eq!((truth, killed(&output)), (Truth::Holds, vec![child.pid]));
}

#[tokio::test]
async fn a_session_dies_whole_and_no_other() {
    let family = Family::new();
    family.spawn("setsid sh -c 'sleep 300 & echo $! >$DIR/a; sleep 300 & echo $! >$DIR/b; wait' & sleep 300 & echo $! >$DIR/out; wait");
    let ids = ["a", "b", "out"].map(|name| family.id(family.pid(name)));
    let (_, output, truth) = Act::new().whole(&verb(family.world()), order(&ids[0], "session")).await;
    assert_eq!((truth, killed(&output).len()), (Truth::Holds, 3), "{output}");
    assert_eq!(ids.map(|id| family.is_alive(&id)), [false, false, true]);
}

#[tokio::test]
async fn a_zombie_is_dead() {
    let family = Family::new();
    family.spawn("sh -c 'echo $$ >$DIR/zombie; exit 0' & exec sleep 300");
    let pid = family.pid("zombie");
    wait_until("it is a zombie", || family.stat(pid).is_some_and(|stat| stat.state == 'Z'));
    let plan = verb(family.world()).plan(&order(&family.id(pid), "tree")).await.unwrap();
    assert!(plan.already && plan.targets.is_empty());
}

#[tokio::test]
async fn a_chain_of_forks_and_a_hostile_name_do_not_help() {
    let family = Family::new();
    let path = family.dir().join(") R 1 (\n x");
    std::fs::copy("/bin/sleep", &path).unwrap();
    let named = family.spawn("\"$DIR/) R 1 (\n x\" 300 & echo $! >$DIR/odd; while :; do sleep 0.01 & wait $!; done");
    let odd = family.pid("odd");
    wait_until("it runs", || family.stat(odd).is_some_and(|stat| stat.name.starts_with(')')));
    let (named, odd) = (family.id(named), family.id(odd));
    let (plan, _, truth) = Act::new().whole(&verb(family.world()), order(&named, "tree")).await;
    assert_eq!(truth, Truth::Holds);
    assert!(!family.is_alive(&named) && !family.is_alive(&odd));
    assert!(plan.targets.iter().all(|target| !target.label.contains('\n')));
}

#[tokio::test]
async fn a_bomb_of_forks_dies_whole_while_it_grows() {
    let family = Family::new();
    // At its full size 127 shells and their sleeps: more than are in hand at once.
    let named = family
        .spawn("b() { if [ $1 -gt 0 ]; then b $(($1-1)) & b $(($1-1)) & else echo 1 >$DIR/leaf; fi; sleep 300; }; b 6");
    family.pid("leaf");
    let named = family.id(named);
    let (_, output, truth) = Act::new().whole(&verb(family.world()), order(&named, "tree")).await;
    assert_eq!(truth, Truth::Holds);
    wait_until("nobody is left", || family.marked().is_empty());
    assert!(killed(&output).len() >= 7, "{output}");
}

#[tokio::test]
async fn who_ignores_the_request_is_killed_after_its_grace() {
    let family = Family::new();
    let deaf = family.spawn("trap '' TERM; echo $$ >$DIR/deaf; sleep 300 & wait");
    let polite = family.spawn("trap 'echo 1 >$DIR/bye; exit' TERM; echo $$ >$DIR/polite; while :; do sleep 0.05; done");
    let (deaf, polite) = (family.id(deaf), family.id(polite));
    assert_eq!((family.pid("deaf"), family.pid("polite")), (deaf.pid, polite.pid));
    let kill = verb(family.world());
    for (id, grace) in [(&deaf, "100ms"), (&polite, "20s")] {
        let input = json!({ "process": id, "signal": "TERM", "grace": grace });
        let (_, output, truth) = Act::new().whole(&kill, input).await;
        assert_eq!((truth, killed(&output)), (Truth::Holds, vec![id.pid]));
    }
    assert_eq!(family.pid("bye"), 1, "the polite one could say goodbye");
    let wrong = kill.plan(&json!({ "process": deaf, "grace": "5s" })).await;
    assert!(matches!(wrong, Err(ActionError::GiveUp { .. })));
}

#[tokio::test]
async fn a_cgroup_dies_whole_on_both_kinds() {
    for kind in [CgroupKind::V2, CgroupKind::V1Freezer] {
        let family = Family::new();
        let Some(dir) = family.group(kind) else { continue };
        let join = format!("echo $$ >{}/cgroup.procs;", dir.display());
        let inner = dir.join("inner");
        std::fs::create_dir(&inner).unwrap();
        let named = family.spawn(&format!(
            "{join} sleep 300 & echo $! >$DIR/a; sh -c 'echo $$ >{}/cgroup.procs; echo $$ >$DIR/b; exec sleep 300' & wait",
            inner.display()
        ));
        let out = family.spawn("exec sleep 300");
        let ids = [named, family.pid("a"), family.pid("b"), out].map(|pid| family.id(pid));
        let act = Act {
            guard: quell_model::guard::Guard {
                only_within: Some(Within::cgroup(format!("/{}", dir.file_name().unwrap().to_string_lossy()))),
                ..Default::default()
            },
            ..Act::new()
        };
        let (plan, output, truth) = act.whole(&verb(family.world()), order(&ids[1], "cgroup")).await;
        assert_eq!((truth, killed(&output).len(), plan.targets.len()), (Truth::Holds, 3, 3), "{kind:?} {output}");
        assert_eq!(ids.map(|id| family.is_alive(&id)), [false, false, false, true], "{kind:?}");
        wait_until("the inner cgroup goes", || std::fs::remove_dir(&inner).is_ok());
    }
}

#[tokio::test]
async fn who_comes_back_is_killed_again_but_not_for_ever() {
    for (times, respawned) in [("1 2", 1), ("$(seq 1000)", RESPAWNS)] {
        let family = Family::new();
        let Some(dir) = family.group(CgroupKind::V2) else { return };
        let script = format!(
            "echo 1 >$DIR/up; for n in {times}; do sh -c 'echo $$ >%/cgroup.procs; echo $$ >$DIR/first; exec sleep 300'; done"
        );
        family.spawn(&script.replace('%', &dir.display().to_string()));
        let id = family.id(family.pid("first"));
        wait_until("it sleeps", || family.stat(id.pid).is_some_and(|stat| stat.name == "sleep"));
        // Longer than the verb itself lingers: a machine with other work to do respawns late.
        let kill = Kill { linger: Duration::from_secs(3), ..verb(family.world()) };
        let (_, output, truth) = Act::new().whole(&kill, order(&id, "cgroup")).await;
        assert_eq!(output["respawned"], respawned, "{output}");
        assert_eq!(killed(&output).len(), respawned as usize + 1, "{output}");
        assert!(respawned != 1 || truth == Truth::Holds);
    }
}

#[tokio::test]
async fn a_cgroup_that_quell_has_joined_is_left_alone() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V2) else { return };
    let spawned = |name: &str| {
        family.spawn(&format!("echo $$ >{}/cgroup.procs; echo $$ >$DIR/{name}; exec sleep 300", dir.display()));
        family.id(family.pid(name))
    };
    let named = spawned("named");
    let boxed = verb(family.world().within(&format!("/{}", dir.file_name().unwrap().to_string_lossy())));
    let plan = boxed.plan(&order(&named, "cgroup")).await.unwrap();
    let go = Act::new().admitted(&boxed, plan);
    // One more in the same cgroup is one more target; one whom these hands never touch stops them.
    let later = spawned("later");
    let apart = Hands::new(family.world()).with_own(later.clone());
    let refused = Kill::new(Arc::new(apart)).run(&go, &Act::new().context()).await;
    assert!(matches!(refused, Err(ActionError::GiveUp { .. })), "{refused:?}");
    assert!(family.is_alive(&named) && family.is_alive(&later));
    boxed.run(&go, &Act::new().context()).await.unwrap();
    assert!(!family.is_alive(&named) && !family.is_alive(&later));
}

#[tokio::test]
async fn what_a_v2_cgroup_holds_frozen_dies() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V2) else { return };
    family.spawn(&format!("echo $$ >{}/cgroup.procs; echo $$ >$DIR/named; exec sleep 300", dir.display()));
    let named = family.id(family.pid("named"));
    std::fs::write(dir.join("cgroup.freeze"), "1").unwrap();
    let events = || std::fs::read_to_string(dir.join("cgroup.events")).unwrap();
    wait_until("it is frozen", || events().contains("frozen 1"));
    let (_, output, truth) = Act::new().whole(&verb(family.world()), order(&named, "tree")).await;
    assert_eq!((truth, killed(&output)), (Truth::Holds, vec![named.pid]));
}

#[tokio::test]
async fn what_a_v1_freezer_holds_dies_and_its_neighbours_stay_frozen() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V1Freezer) else { return };
    let join = format!("echo $$ >{}/cgroup.procs; echo $$ >$DIR/", dir.display());
    let pids = ["named", "neighbour"].map(|name| {
        family.spawn(&format!("{join}{name}; exec sleep 300"));
        family.pid(name)
    });
    let [named, neighbour] = pids.map(|pid| family.id(pid));
    std::fs::write(dir.join("freezer.state"), "FROZEN").unwrap();
    let state = || std::fs::read_to_string(dir.join("freezer.state")).unwrap();
    wait_until("it is frozen", || state().trim() == "FROZEN");
    let (_, output, truth) = Act::new().whole(&verb(family.world()), order(&named, "tree")).await;
    assert_eq!((truth, killed(&output)), (Truth::Holds, vec![named.pid]));
    assert_eq!(state().trim(), "FROZEN");
    assert!(family.is_alive(&neighbour));
}

#[tokio::test]
async fn the_root_cgroup_and_what_is_no_container_are_refused() {
    let family = Family::new();
    let pid = family.spawn("exec sleep 300");
    let id = family.id(pid);
    let kill = verb(family.world());
    assert!(matches!(kill.plan(&order(&id, "container")).await, Err(ActionError::GiveUp { hint: Some(_), .. })));
    let bare = verb(HostWorld { cgroups: Vec::new(), ..family.world() });
    assert!(matches!(bare.plan(&order(&id, "cgroup")).await, Err(ActionError::GiveUp { hint: Some(_), .. })));
    assert!(family.is_alive(&id));
}

#[tokio::test]
async fn a_container_is_all_that_lies_below_its_id() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V2) else { return };
    let id = "0123456789abcdef".repeat(4);
    let container = dir.join(format!("docker-{id}.scope"));
    let inner = container.join("init.scope");
    std::fs::create_dir_all(&inner).unwrap();
    let put = |dir: &std::path::Path, name: &str| {
        family.spawn(&format!("echo $$ >'{}/cgroup.procs'; echo $$ >$DIR/{name}; exec sleep 300", dir.display()));
        family.id(family.pid(name))
    };
    let ids = [put(&inner, "deep"), put(&container, "flat"), put(&dir, "out")];
    let (_, output, truth) = Act::new().whole(&verb(family.world()), order(&ids[0], "container")).await;
    assert_eq!((truth, killed(&output).len()), (Truth::Holds, 2), "{output}");
    assert_eq!(ids.map(|id| family.is_alive(&id)), [false, false, true]);
    wait_until("the cgroups go", || std::fs::remove_dir(&inner).is_ok() && std::fs::remove_dir(&container).is_ok());
}

#[tokio::test]
async fn a_sandboxs_hands_reach_no_further_whatever_the_guard_says() {
    let family = Family::new();
    let id = family.id(family.spawn("exec sleep 300"));
    let boxed = verb(family.world().within("/nowhere"));
    let plan = boxed.plan(&order(&id, "process")).await.unwrap();
    let go = Act::new().admitted(&boxed, plan);
    assert!(matches!(boxed.run(&go, &Act::new().context()).await, Err(ActionError::GiveUp { .. })));
    assert!(family.is_alive(&id));
}

#[tokio::test]
async fn quell_itself_is_never_struck_even_when_admitted() {
    let family = Family::new();
    let world = family.world();
    let own = family.id(std::process::id());
    let kill = verb(world);
    let plan = kill.plan(&order(&own, "process")).await.unwrap();
    let go = Act::new().admitted(&kill, plan);
    assert!(matches!(kill.run(&go, &Act::new().context()).await, Err(ActionError::GiveUp { .. })));
}

#[tokio::test]
async fn a_process_with_many_threads_dies_even_when_its_leader_has_left() {
    let family = Family::new();
    let Ok(python) = Command::new("python3").arg("-V").output() else {
        eprintln!("NOT TESTED: a leader that left its threads (no python3 here)");
        return;
    };
    assert!(python.status.success());
    let script = "import ctypes,os,threading,time\n\
        threading.Thread(target=lambda: time.sleep(300)).start()\n\
        open(os.environ['DIR']+'/up','w').write(str(os.getpid())+'\\n')\n\
        ctypes.CDLL(None).syscall(60 if os.uname().machine == 'x86_64' else 93, 0)\n";
    let pid = family.start(Command::new("python3").arg0("worker").arg("-c").arg(script));
    assert_eq!(family.pid("up"), pid);
    wait_until("the leader has left", || family.stat(pid).is_some_and(|stat| stat.state == 'Z'));
    let id = family.id(pid);
    assert!(family.is_alive(&id));
    let (_, output, truth) = Act::new().whole(&verb(family.world()), order(&id, "tree")).await;
    assert_eq!((truth, killed(&output)), (Truth::Holds, vec![pid]));
    assert!(!family.is_alive(&id));
}

#[tokio::test]
async fn who_is_in_hand_dies_also_where_the_rest_is_too_much_to_look_through() {
    let family = Family::new();
    let parent = family.spawn("sleep 300 & echo $! >$DIR/child; wait");
    let ids = [parent, family.pid("child")].map(|pid| family.id(pid));
    let hands = Hands::new(family.world());
    let mut pace = Pace::begin();
    let circle = Circle::around(&hands.world, &ids[0], Scope::Tree, &mut pace).await.unwrap();
    let tree = Order::new(SPEC.name, ids[0].clone(), Scope::Tree, &circle);
    let targets = circle.targets(&hands.world, &mut pace).await.unwrap();
    let mut crowd = Crowd::of_plan(&hands, &Plan { targets, ..Plan::default() }, Vec::new()).unwrap();
    crowd.pace = Pace::of_steps(0);
    let error = strike(&mut crowd, &tree).await.unwrap_err().to_string();
    assert!(error.contains("is more than is looked through"), "{error}");
    wait_until("both are dead", || ids.iter().all(|id| !family.is_alive(id)));
    let error =
        Circle::around(&hands.world, &family.id(std::process::id()), Scope::Session, &mut Pace::of_steps(0)).await;
    assert!(error.is_err(), "who is in a scope is not told by halves");
}

#[test]
fn one_who_may_not_be_signalled_keeps_nobody_else_alive() {
    let family = Family::new();
    let nobody = rustix::process::Uid::from_raw(65_534);
    let shielded = family.id(family.spawn("exec sleep 300"));
    let other = family.id(family.start(Command::new("sleep").arg("300").uid(nobody.as_raw())));
    let hands = Hands::new(family.world());
    let plans = [&shielded, &other].map(|id| {
        on_own_thread(async {
            let mut pace = Pace::begin();
            let circle = Circle::around(&hands.world, id, Scope::Process, &mut pace).await.unwrap();
            Plan { targets: circle.targets(&hands.world, &mut pace).await.unwrap(), ..Plan::default() }
        })
    });
    let plan = Plan { targets: plans.into_iter().flat_map(|plan| plan.targets).collect(), ..Plan::default() };
    let done = std::thread::scope(|scope| {
        let act = || {
            let crowd = Crowd::of_plan(&hands, &plan, Vec::new()).unwrap();
            assert_eq!(crowd.members.len(), 2);
            // Of this thread alone.
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            crowd.signal(Sent::KILL)
        };
        scope.spawn(act).join().unwrap()
    });
    assert!(matches!(done, Err(ActionError::GiveUp { .. })), "{done:?}");
    wait_until("the other is dead", || !family.is_alive(&other));
    assert!(family.is_alive(&shielded));
}

#[tokio::test]
async fn a_cgroup_whose_files_refuse_is_emptied_by_signals() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V2) else { return };
    family.spawn(&format!("echo $$ >{}/cgroup.procs; echo $$ >$DIR/named; exec sleep 300", dir.display()));
    let named = family.id(family.pid("named"));
    // A hierarchy that lists its processes and takes nothing.
    let stubborn = tempfile::tempdir().unwrap();
    let group = stubborn.path().join(dir.file_name().unwrap());
    for file in ["cgroup.kill", "cgroup.freeze"] {
        std::fs::create_dir_all(group.join(file)).unwrap();
    }
    std::fs::write(group.join("cgroup.procs"), format!("{}\n", named.pid)).unwrap();
    std::fs::write(group.join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
    let mut world = family.world();
    world.cgroups.iter_mut().for_each(|root| root.dir = stubborn.path().to_owned());
    world.cgroups.retain(|root| root.kind == CgroupKind::V2);
    let kill = verb(world);
    let plan = kill.plan(&order(&named, "cgroup")).await.unwrap();
    let go = Act::new().admitted(&kill, plan);
    kill.run(&go, &Act::new().context()).await.unwrap();
    assert!(!family.is_alive(&named));
}

#[tokio::test]
async fn who_came_into_the_cgroup_after_it_was_listed_dies_with_it() {
    let family = Family::new();
    let Some(dir) = family.group(CgroupKind::V1Freezer) else { return };
    let joins = |name: &str| {
        family.spawn(&format!("echo $$ >{}/cgroup.procs; echo $$ >$DIR/{name}; exec sleep 300", dir.display()));
        family.id(family.pid(name))
    };
    let named = joins("named");
    let world = HostWorld {
        cgroups: family.world().cgroups.into_iter().filter(|root| root.kind == CgroupKind::V1Freezer).collect(),
        ..family.world()
    };
    let hands = Hands::new(world);
    let mut pace = Pace::begin();
    let circle = Circle::around(&hands.world, &named, Scope::Cgroup, &mut pace).await.unwrap();
    let listed = Order::new(SPEC.name, named.clone(), Scope::Cgroup, &circle);
    let targets = circle.targets(&hands.world, &mut pace).await.unwrap();
    let plan = Plan { targets, ..Plan::default() };
    let mut crowd = Crowd::of_plan(&hands, &plan, Vec::new()).unwrap();
    let late = joins("late");
    strike_group(&mut crowd, &listed, &circle.group.unwrap()).await.unwrap();
    wait_until("both are dead", || !family.is_alive(&named) && !family.is_alive(&late));
    assert_eq!(std::fs::read_to_string(dir.join("freezer.state")).unwrap().trim(), "THAWED");
}
