//! A tree that forks faster than anybody can signal it is contained whole through `process.kill` with the kernel's hands,
//! while a sibling under the same parent lives on.
//!
//! Each attack has a uid of its own, by which the survivors are counted, a limit on its processes, and an end.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use quell_actions::HostWorld;
use quell_detectors::hands::{HandsConfig, HandsError, KernelHands};
use quell_engine::clock::SystemClock;
use quell_model::guard::{Ask, Guard, Memory, decide};
use quell_model::playbook::RunLimits;
use quell_model::store::Vault;
use quell_model::world::Verb;
use quell_model::{
    Action, ActionContext, ActionError, BlobHash, Clock, Decision, Doom, IdempotencyKey, Json, Mode, ProcessId,
    Progress, Stop, StoreError, Truth, Want,
};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// The hands, once for all tests; `None`, loudly, where the kernel allows none.
fn hands() -> Option<&'static Arc<KernelHands>> {
    static HANDS: OnceLock<Option<Arc<KernelHands>>> = OnceLock::new();
    let load = || {
        let boot = HostWorld::live("here".into()).unwrap().boot;
        match KernelHands::load(HandsConfig { boot, pins: None }) {
            Ok(hands) => Some(Arc::new(hands)),
            Err(HandsError::Refused(error)) => {
                eprintln!("NOT TESTED: the kernel's hands: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    };
    HANDS.get_or_init(load).as_ref()
}

/// The attacker, compiled once.
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<(PathBuf, tempfile::TempDir)> = OnceLock::new();
    let compile = || {
        let dir = tempfile::tempdir().unwrap();
        open_to_all(dir.path());
        let source = dir.path().join("attack.c");
        std::fs::write(&source, include_str!("attack.c")).unwrap();
        let program = dir.path().join("attack");
        let done = Command::new("cc").args(["-O1", "-Wall", "-o"]).args([&program, &source]).status().unwrap();
        assert!(done.success());
        (program, dir)
    };
    &PROGRAM.get_or_init(compile).0
}

fn open_to_all(dir: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777)).unwrap();
}

struct Attack {
    parent: Child,
    uid: u32,
    root: ProcessId,
    sibling: u32,
    dir: tempfile::TempDir,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Attack {
    /// Starts it up to where it waits.
    fn new(kind: &str, hands: &KernelHands) -> Self {
        let uid = 1_000_000 + std::process::id() % 100_000 * 100 + NUMBER.fetch_add(1, Ordering::Relaxed) % 100;
        let dir = tempfile::tempdir().unwrap();
        open_to_all(dir.path());
        let end = jiff::Timestamp::now().as_second() + 120;
        let mut parent = Command::new(program())
            .args([kind, &uid.to_string()])
            .arg(dir.path())
            .arg(end.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pids: Vec<u32> = line.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        let boot = HostWorld::live("here".into()).unwrap().boot;
        let start_ns = start_ticks(parent.id()).unwrap() * quell_model::TICK_NS;
        let known = hands.below(&ProcessId { boot, pid: parent.id(), start_ns, exec_id: 0 });
        let root = known.living.into_iter().find(|id| id.pid == pids[0]).expect("its birth was noted");
        Self { parent, uid, root, sibling: pids[1], dir }
    }

    fn go(&mut self) {
        self.parent.stdin.as_mut().unwrap().write_all(b"g").unwrap();
        let reached = self.dir.path().join("reached");
        wait_until("the attack is under way", || reached.exists());
    }

    /// The living of its uid.
    fn living(&self) -> Vec<u32> {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let mut found: Vec<u32> = pids
            .filter(|pid| {
                let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                let uid = field("Uid:").and_then(|uids| uids.split_whitespace().next()?.parse::<u32>().ok());
                uid == Some(self.uid) && !field("State:").is_some_and(|state| state.starts_with(['Z', 'X']))
            })
            .collect();
        found.sort_unstable();
        found
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        drop(self.parent.kill());
        drop(self.parent.wait());
        let begun = Instant::now();
        loop {
            let left = self.living();
            if left.is_empty() || begun.elapsed() > PATIENCE {
                return;
            }
            // In hand first, then looked at again; a chain may outrun this, and ends by its own clock.
            for pid in left {
                let raw = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
                let Some(held) = raw.and_then(|raw| pidfd_open(raw, PidfdFlags::empty()).ok()) else { continue };
                if self.living().contains(&pid) && pidfd_send_signal(&held, Signal::KILL).is_err() {
                    eprintln!("{pid} went by itself");
                }
            }
        }
    }
}

fn start_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

struct Nothing;

#[async_trait::async_trait]
impl Progress for Nothing {
    async fn note(&self, _: Json) -> Result<(), ActionError> {
        Ok(())
    }
}

#[async_trait::async_trait]
impl Vault for Nothing {
    async fn put(&self, _: Vec<u8>) -> Result<BlobHash, StoreError> {
        Err(StoreError::Corrupt("nothing is kept here".to_owned()))
    }

    async fn get(&self, _: &BlobHash) -> Result<Vec<u8>, StoreError> {
        Err(StoreError::Corrupt("nothing is kept here".to_owned()))
    }
}

/// Plans, is admitted, runs, verifies.
async fn kill(hands: &Arc<KernelHands>, root: &ProcessId) -> (Json, Truth) {
    let world = HostWorld::live("here".into()).unwrap().with_doom(Arc::clone(hands) as _);
    let verbs = quell_actions::process::crew(world);
    let action: Arc<dyn Action> = verbs
        .into_iter()
        .find_map(|verb| match verb {
            Verb::Acts(action) if action.spec().name == "process.kill" => Some(action),
            _ => None,
        })
        .unwrap();
    let plan = action.plan(&serde_json::json!({ "process": root, "scope": "tree" })).await.unwrap();
    let ask = Ask {
        now: SystemClock.now(),
        action: action.spec(),
        run: &"r-test".into(),
        playbook: &"test".into(),
        mode: Mode::Enforce,
        mode_because: "a test",
        untrusted: false,
        limits: RunLimits::default(),
        paused: false,
    };
    let go = match decide(&Guard::default(), &Memory::default(), &ask, plan.clone()) {
        Decision::Act(admitted) => admitted,
        other => panic!("not admitted: {other:?}"),
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let cx = ActionContext {
        key: IdempotencyKey("test".to_owned()),
        attempt: 1,
        deadline: clock.now().after(PATIENCE),
        clock,
        progress: Arc::new(Nothing),
        stop: Stop::default(),
        vault: Arc::new(Nothing),
    };
    let output = action.run(&go, &cx).await.unwrap();
    (output, action.verify(&plan, Want::Acted).await.unwrap())
}

fn contained(kind: &str) {
    let Some(hands) = hands() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut attack = Attack::new(kind, hands);
    attack.go();
    let (output, truth) = runtime.block_on(kill(hands, &attack.root));
    let mut spared = vec![attack.parent.id(), attack.sibling];
    spared.sort_unstable();
    let left = hands.below(&attack.root);
    assert_eq!(truth, Truth::Holds, "{kind}: {output}");
    // Who was struck in the kernel may be on its way out.
    wait_until("only the parent and the sibling live", || attack.living() == spared);
    assert!(left.living.is_empty(), "{kind}: {left:?}");
    // Nobody is born any more.
    assert_eq!(hands.below(&attack.root), left, "{kind}");
    assert_eq!(attack.living(), spared, "{kind}");
}

#[test]
fn a_fork_bomb_is_contained() {
    contained("bomb");
}

#[test]
fn a_double_fork_is_contained() {
    contained("double");
}

#[test]
fn the_end_of_two_hundred_forks_is_found() {
    contained("forks-200");
}

#[test]
fn a_chain_of_forks_without_end_is_ended() {
    contained("forks");
}

#[test]
fn the_end_of_a_hundred_execs_is_found() {
    contained("execs-100");
}

#[test]
fn a_chain_of_forks_and_execs_without_end_is_ended() {
    contained("execs");
}

#[test]
fn nobody_is_marked_while_the_hands_are_paused() {
    let Some(_) = hands() else { return };
    // Hands of its own: a pause would hold the other tests' too.
    let boot = HostWorld::live("here".into()).unwrap().boot;
    let own = KernelHands::load(HandsConfig { boot, pins: None }).unwrap();
    let mut attack = Attack::new("double", &own);
    own.pause(true).unwrap();
    assert!(own.mark(&attack.root, PATIENCE).unwrap_err().contains("paused"));
    attack.go();
    assert!(attack.living().len() > 2);
    own.pause(false).unwrap();
    own.mark(&attack.root, PATIENCE).unwrap();
    let mut spared = vec![attack.parent.id(), attack.sibling];
    spared.sort_unstable();
    // They call the kernel once a second.
    wait_until("the marked are dead", || attack.living() == spared);
    assert!(own.struck() > 1);
}
