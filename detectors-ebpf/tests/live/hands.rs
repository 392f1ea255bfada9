//! The kernel's hands against the real kernel: they load, try themselves, kill a tree by its mark alone, and are taken
//! out whole. What `process.kill` does with them is tried in the tests of the whole.

use crate::harness::{DEADLINE, inside, is_exec_of, live, not_tested, text};
use crate::mounted::BpfFs;
use quell_detectors::hands::{HandsConfig, HandsError, KernelHands};
use quell_detectors::pin::{self, PinError, Pins};
use quell_model::{BootId, Doom, ProcessId, TICK_NS};
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn boot() -> BootId {
    BootId(std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().into())
}

fn load(pins: Option<Arc<Pins>>) -> Option<KernelHands> {
    match KernelHands::load(HandsConfig { boot: boot(), pins }) {
        Ok(hands) => Some(hands),
        Err(HandsError::Refused(error @ quell_detectors::SensorError::NotPermitted)) => {
            not_tested(&format!("the kernel's hands: {error}"));
            None
        }
        Err(error) => panic!("{error:?}"),
    }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < DEADLINE, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

fn id(pid: u32) -> ProcessId {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let ticks: u64 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap();
    ProcessId { boot: boot(), pid, start_ns: ticks * TICK_NS, exec_id: 0 }
}

/// `sh` in a process group of its own, with what it prints first.
fn shell(script: &str) -> (Child, Vec<u32>) {
    let mut child = Command::new("sh")
        .args(["-c", script])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.split_whitespace().map(|pid| pid.parse().unwrap()).collect())
}

/// Gone, or a zombie.
fn is_dead(id: &ProcessId) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", id.pid)) else { return true };
    let rest = stat.rsplit_once(')').unwrap().1;
    let mut parts = rest.split_whitespace();
    matches!(parts.next(), Some("Z" | "X")) || parts.nth(18).unwrap().parse() != Ok(id.start_ticks())
}

/// The marked child of a shell forks without end; its sibling does the same and is not marked.
const FORKING: &str =
    "(while :; do (true); sleep 0.01; done) & a=$!; (while :; do (true); sleep 0.01; done) & echo $a $!; wait $a; wait";

#[test]
fn a_mark_alone_kills_a_tree_and_no_sibling() {
    let Some(hands) = load(None) else { return };
    let (mut child, pids) = shell(FORKING);
    let [marked, sibling] = [id(pids[0]), id(pids[1])];
    hands.mark(&marked, DEADLINE).unwrap();
    wait_until("the marked one is dead", || is_dead(&marked));
    wait_until("nobody is left below it", || hands.below(&marked).living.iter().all(is_dead));
    assert!(!is_dead(&sibling) && child.try_wait().unwrap().is_none());
    assert!(hands.struck() >= 2, "the trial's and this one");
    // The sibling goes on to fork.
    let before = hands.below(&sibling).latest_birth_ns;
    wait_until("the sibling forks", || hands.below(&sibling).latest_birth_ns > before);
    hands.mark(&id(child.id()), DEADLINE).unwrap();
    wait_until("they are dead too", || is_dead(&sibling));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn they_and_the_sensor_agree_when_a_process_began() {
    let (Some(live), Some(hands)) = (live(), load(None)) else { return };
    let mut child = waiting();
    let exec = live.log.wait("its exec", |e| is_exec_of(e, child.id()));
    let told: ProcessId = text(&exec, "process.id").parse().unwrap();
    assert_eq!(hands.began(child.id()), Some(told.start_ns));
    child.kill().unwrap();
    child.wait().unwrap();
    hands.end();
    assert_eq!(hands.began(std::process::id()), None, "what they know grows old from now on");
}

#[test]
fn a_zombie_that_was_there_before_has_ended() {
    let mut child = Command::new("true").spawn().unwrap();
    let zombie = id(child.id());
    wait_until("it has ended, and nobody has reaped it", || is_dead(&zombie));
    let below = load(None).map(|hands| hands.below(&id(std::process::id())));
    child.wait().unwrap();
    let Some(below) = below else { return };
    assert!(below.living.iter().all(|one| one.pid != zombie.pid), "{:?}", below.living);
    assert!(below.latest_birth_ns / TICK_NS >= zombie.start_ticks(), "it was below all the same");
}

#[test]
fn marks_of_those_who_have_ended_make_room() {
    let Some(hands) = load(None) else { return };
    let child = waiting();
    let own = id(child.id());
    // Who had its number before it, as far as anybody can tell: more of them than there are places. Kernels do not differ in
    // this, and a small machine takes long.
    let many = if inside() { 100 } else { 17_000 };
    for n in 0..many {
        let gone = ProcessId { start_ns: u64::MAX / 2 + n, ..own.clone() };
        hands.mark(&gone, DEADLINE).unwrap();
    }
    hands.mark(&own, DEADLINE).unwrap();
    assert_eq!(ends(child), (None, Some(9)));
}

#[test]
fn a_mark_ends_by_the_kernels_clock() {
    let Some(hands) = load(None) else { return };
    let child = waiting();
    hands.mark(&id(child.id()), Duration::ZERO).unwrap();
    assert_eq!(ends(child), (Some(3), None));
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).map(|all| all.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let mut names: Vec<String> = entries.iter().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Pinned while no mark lives.
const AT_REST: [&str; 6] = ["hand_control", "hand_exec", "hand_exit", "hand_fork", "owner", "pause"];

/// A shell that waits for a line, within the call that reads it, and then ends with 3.
fn waiting() -> Child {
    let mut child = Command::new("sh")
        .args(["-c", "echo; read -r word; exit 3"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut String::new()).unwrap();
    wait_until("it waits", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" S"))
    });
    child
}

/// Lets it go on; says how it ended.
fn ends(mut child: Child) -> (Option<i32>, Option<i32>) {
    drop(child.stdin.take());
    let status = child.wait().unwrap();
    (status.code(), status.signal())
}

#[test]
fn a_mark_outlives_its_owner_and_holds_its_tongue_while_paused() {
    let Some(mount) = BpfFs::new() else { return };
    let (dir, data) = (mount.dir().join("quell"), tempfile::tempdir().unwrap());
    assert!(pin::remove(&dir, data.path()).unwrap().is_empty());
    let claim = || Pins::claim(&dir, data.path()).map(Arc::new).unwrap();
    let Some(first) = load(Some(claim())) else { return };
    let (paused, struck, spared) = (waiting(), waiting(), waiting());
    let long = DEADLINE * 20;
    first.mark(&id(paused.id()), long).unwrap();
    first.mark(&id(struck.id()), long).unwrap();
    assert!(first.is_joined());
    // As when its process is killed: nothing is taken back.
    drop(first);
    assert!(dir.join("hand_call").exists());
    assert!(pin::pause(&dir, data.path(), true).unwrap());
    assert!(claim().is_paused());
    assert_eq!(ends(paused), (Some(3), None), "paused");
    assert!(pin::pause(&dir, data.path(), false).unwrap());
    assert_eq!(ends(struck), (None, Some(9)));
    assert_eq!(ends(spared), (Some(3), None), "never marked");

    // Who comes next takes its place beside the first, whose marks are in force; so paused, it cannot try itself yet.
    assert!(pin::pause(&dir, data.path(), true).unwrap());
    let pins = claim();
    let second = load(Some(Arc::clone(&pins))).unwrap();
    let (former, own): (Vec<_>, Vec<_>) = names(&dir).into_iter().partition(|name| name.starts_with("hand_former_"));
    assert_eq!((former.len(), own), (4, AT_REST.map(str::to_owned).to_vec()));
    assert!(second.is_paused() && !second.is_tried());
    second.pause(false).unwrap();
    second.attempt().unwrap();
    assert!(second.is_tried() && second.is_joined());
    second.end();
    assert_eq!(names(&dir), ["owner", "pause"]);
    pins.give_back().unwrap();
    assert!(!dir.exists());
}

#[test]
fn whatever_is_pinned_is_removed_once_its_owner_has_ended() {
    let Some(mount) = BpfFs::new() else { return };
    let (dir, data) = (mount.dir().join("quell"), tempfile::tempdir().unwrap());
    let Some(hands) = load(Some(Pins::claim(&dir, data.path()).map(Arc::new).unwrap())) else { return };
    let marked = waiting();
    hands.mark(&id(marked.id()), DEADLINE).unwrap();
    assert!(pin::remove(&dir, data.path()).unwrap().is_empty(), "its owner lives");
    drop(hands);
    assert_eq!(pin::remove(&dir, data.path()).unwrap().len(), 6, "four hooks, their control and the directory");
    assert!(!dir.exists());
    assert!(pin::remove(&dir, data.path()).unwrap().is_empty());
    assert_eq!(ends(marked), (Some(3), None), "paused before the hooks went");
}

#[test]
fn system_calls_are_left_alone_while_no_mark_lives() {
    let Some(hands) = load(None) else { return };
    let child = waiting();
    let marked = id(child.id());
    hands.mark(&marked, DEADLINE).unwrap();
    hands.settle();
    assert!(hands.is_joined(), "the mark lives");
    assert_eq!(ends(child), (None, Some(9)));
    // Long before the mark would expire: all of its tree have ended.
    wait_until("they have left", || {
        hands.settle();
        !hands.is_joined()
    });
    let child = waiting();
    hands.mark(&id(child.id()), DEADLINE).unwrap();
    assert!(hands.is_joined());
    assert_eq!(ends(child), (None, Some(9)));
}

#[test]
fn nobody_takes_what_another_daemon_pinned() {
    let Some(mount) = BpfFs::new() else { return };
    let dir = mount.dir().join("quell");
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let pins = Arc::new(Pins::claim(&dir, one.path()).unwrap());
    let Some(hands) = load(Some(Arc::clone(&pins))) else { return };
    let refused = |runs: bool| {
        let claimed = Pins::claim(&dir, other.path());
        assert!(matches!(&claimed, Err(PinError::Taken { runs: found, .. }) if *found == runs), "{claimed:?}");
        assert!(pin::remove(&dir, other.path()).unwrap().is_empty());
        assert!(!pin::pause(&dir, other.path(), true).unwrap());
        assert_eq!(names(&dir)[1..], AT_REST);
        assert_eq!(names(&dir)[0], "hand_call", "the trial's mark was the last");
    };
    refused(true);
    // Its own uninstall waits for its end too.
    assert!(pin::remove(&dir, one.path()).unwrap().is_empty());
    drop((hands, pins));
    refused(false);
    // The data is gone: nobody would ever come back for them.
    drop(one);
    let pins = Pins::claim(&dir, other.path()).unwrap();
    assert_eq!(names(&dir), ["owner"]);
    pins.give_back().unwrap();
    assert!(!dir.exists());
    let elsewhere = tempfile::tempdir().unwrap();
    let refused = Pins::claim(elsewhere.path(), other.path());
    assert!(matches!(refused, Err(PinError::NotBpf { .. })), "{refused:?}");
}

#[test]
fn whom_a_killed_predecessor_marked_does_not_get_away_by_a_restart() {
    let Some(mount) = BpfFs::new() else { return };
    let (dir, data) = (mount.dir().join("quell"), tempfile::tempdir().unwrap());
    let claim = || Pins::claim(&dir, data.path()).map(Arc::new).unwrap();
    let Some(first) = load(Some(claim())) else { return };
    let [early, late, spared] = [waiting(), waiting(), waiting()];
    // Longer than a slow machine takes to load them twice.
    let long = DEADLINE * 20;
    first.mark(&id(early.id()), long).unwrap();
    first.mark(&id(late.id()), long).unwrap();
    drop(first);
    // Killed as well, before its own last mark has ended: the trial's.
    let second = load(Some(claim())).unwrap();
    assert_eq!(ends(early), (None, Some(9)), "while the second lives");
    let brief = waiting();
    second.mark(&id(brief.id()), Duration::from_millis(1)).unwrap();
    wait_until("the trial's mark has ended", || {
        second.settle();
        !names(&dir).contains(&"hand_call".to_owned())
    });
    drop(second);
    let third = load(Some(claim())).unwrap();
    assert!(dir.join("hand_former_call").exists(), "the first one's");
    assert_eq!(ends(late), (None, Some(9)), "while the third lives");
    assert_eq!((ends(spared), ends(brief)), ((Some(3), None), (Some(3), None)));
    third.end();
    assert_eq!(names(&dir), ["owner", "pause"]);
}

#[test]
fn a_predecessors_hooks_go_with_the_last_of_its_marks() {
    let Some(mount) = BpfFs::new() else { return };
    let (dir, data) = (mount.dir().join("quell"), tempfile::tempdir().unwrap());
    let claim = || Pins::claim(&dir, data.path()).map(Arc::new).unwrap();
    // Its trial's mark lasts for some seconds, and is in force still unless the machine is slow.
    drop(load(Some(claim())));
    let Some(second) = load(Some(claim())) else { return };
    assert!(dir.join("hand_call").exists());
    wait_until("both have left", || {
        second.settle();
        !second.is_joined()
    });
    assert_eq!(names(&dir), AT_REST);
    drop(second);
    let third = load(Some(claim())).unwrap();
    let has_former = || names(&dir).iter().any(|name| name.starts_with("hand_former_"));
    assert!(!has_former(), "long after the last mark");
    // Whom its trial marked has ended: its mark went before its time.
    third.settle();
    drop(third);
    assert!(dir.join("hand_call").exists());
    let fourth = load(Some(claim())).unwrap();
    assert!(!has_former(), "no mark was in force");
    fourth.end();
}

#[test]
fn who_has_been_taken_out_hooks_in_no_more() {
    let Some(mount) = BpfFs::new() else { return };
    let (dir, data) = (mount.dir().join("quell"), tempfile::tempdir().unwrap());
    let pins = Arc::new(Pins::claim(&dir, data.path()).unwrap());
    let Some(hands) = load(Some(Arc::clone(&pins))) else { return };
    hands.end();
    // An act that was still under way when the daemon ended.
    let child = waiting();
    assert!(hands.mark(&id(child.id()), DEADLINE).is_err() && !hands.is_joined());
    assert_eq!(ends(child), (Some(3), None));
    assert_eq!(names(&dir), ["owner", "pause"]);
}

#[test]
fn a_mark_strikes_where_its_hook_cannot_be_pinned() {
    let Some(mount) = BpfFs::new() else { return };
    let (dir, data) = (mount.dir().join("quell"), tempfile::tempdir().unwrap());
    let Some(hands) = load(Some(Pins::claim(&dir, data.path()).map(Arc::new).unwrap())) else { return };
    std::fs::remove_dir_all(&dir).unwrap();
    wait_until("they have left", || {
        hands.settle();
        !hands.is_joined()
    });
    let child = waiting();
    hands.mark(&id(child.id()), DEADLINE).unwrap();
    assert_eq!(ends(child), (None, Some(9)));
}

/// As an upgrade would leave it: a map of the object that has another shape is pinned in the flag's place.
fn pin_for_a_flag(dir: &Path, map: &str) {
    std::fs::remove_file(dir.join("pause")).unwrap();
    aya::EbpfLoader::new().map_pin_path(map, dir.join("pause")).load(quell_detectors::hands::HAND_OBJECT).unwrap();
}

#[test]
fn a_flag_of_another_shape_goes_with_all_that_obeys_it() {
    let Some(mount) = BpfFs::new() else { return };
    let (dir, data) = (mount.dir().join("quell"), tempfile::tempdir().unwrap());
    let claim = || Pins::claim(&dir, data.path()).map(Arc::new).unwrap();
    let Some(mut hands) = load(Some(claim())) else { return };
    for map in ["HAND_CONTROL", "MARKS"] {
        let marked = waiting();
        hands.mark(&id(marked.id()), DEADLINE).unwrap();
        // As when its daemon is killed, and a later quell comes.
        drop(hands);
        pin_for_a_flag(&dir, map);
        let paused = pin::pause(&dir, data.path(), true);
        assert!(matches!(&paused, Err(PinError::Pause { why, .. }) if why.contains("shape")), "{paused:?}");
        let pins = claim();
        assert_eq!(names(&dir), ["owner"], "{map}");
        assert!(!pins.is_paused());
        hands = load(Some(pins)).unwrap();
        assert!(hands.is_tried());
        assert_eq!(ends(marked), (Some(3), None), "whoever was marked by the former is nobody's");
    }
    drop(hands);
    pin_for_a_flag(&dir, "MARKS");
    assert!(pin::remove(&dir, data.path()).unwrap().len() > 3, "it can be uninstalled");
    assert!(!dir.exists());
}
