//! Pids that come again and again: no stranger is signalled.
//!
//! Processes come and go, a million with QUELL_LONG, and each is told to its parent as it ended. Once around a real daemon,
//! which meets the reuse that this machine's pid_max gives, and once around `process.kill` alone in a pid namespace of 400
//! pids, where every number that it was given belongs to a stranger when it strikes.

use super::attack::{Attack, start_ticks};
use super::daemon::Daemon;
use super::load::{self, Load};
use super::{PATIENCE, not_tested};
use quell_actions::HostWorld;
use quell_engine::clock::SystemClock;
use quell_model::guard::{Ask, Guard, Memory, decide};
use quell_model::playbook::RunLimits;
use quell_model::store::Vault;
use quell_model::world::Verb;
use quell_model::{
    Action, ActionContext, ActionError, Admitted, BlobHash, Clock, Decision, IdempotencyKey, Json, Mode, ProcessId,
    Progress, Stop, StoreError,
};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// Every pid of the namespace comes again some fifty times.
const AMONG_FEW: u64 = 20_000;
/// More than the 32,768 pids that most machines have; where there are millions, none comes again.
const AROUND: u64 = 40_000;

fn forks(short: u64) -> u64 {
    if std::env::var_os("QUELL_LONG").is_some() { 1_000_000 } else { short }
}

fn pid_max() -> u64 {
    std::fs::read_to_string("/proc/sys/kernel/pid_max").unwrap().trim().parse().unwrap()
}

#[test]
fn attacks_among_pids_that_come_again_are_contained_and_no_stranger_is_killed() {
    let Some(daemon) = Daemon::start("pids") else { return };
    let forks = forks(AROUND);
    if pid_max() > forks {
        eprintln!("NOT TESTED: pids that come again around a daemon: there are {} of them here", pid_max());
    }
    // The daemon may touch the strangers too.
    let churn = daemon.inside.below("churn");
    let mut loads: Vec<Load> = (0..4).map(|_| Load::start(&churn, "forks", forks / 4)).collect();
    let mut contained = 0;
    while loads.iter_mut().any(Load::is_under_way) || contained < 3 {
        Attack::start(&churn).contained(&daemon);
        contained += 1;
    }
    assert_eq!(loads.into_iter().map(Load::done).sum::<u64>(), forks);
}

const INSIDE: &str = "QUELL_INSIDE_PIDS";

#[test]
fn a_kill_by_identity_passes_by_whoever_has_the_number_now() {
    if std::env::var_os(INSIDE).is_some() {
        return strike_among_few_pids();
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut parts = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    // Before, pid_max is the whole machine's.
    if (parts.next(), parts.next()) < (Some(6), Some(14)) || !rustix::process::geteuid().is_root() {
        return not_tested("a pid namespace with few pids: it takes root and Linux 6.14");
    }
    let dir = tempfile::tempdir().unwrap();
    let load = dir.path().join("load");
    load::compile_to(&load);
    let out = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "floods::pids::a_kill_by_identity_passes_by_whoever_has_the_number_now", "--nocapture"])
        .envs([(INSIDE, "1".as_ref()), ("QUELL_LOAD", load.as_os_str())])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (said, heard) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && heard.contains("strangers passed by: "), "{said}\n{heard}");
}

/// Within the namespace.
fn strike_among_few_pids() {
    std::fs::write("/proc/sys/kernel/pid_max", "400").unwrap();
    let forks = forks(AMONG_FEW);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut loads: Vec<Child> = (0..2)
        .map(|n| {
            Command::new(std::env::var_os("QUELL_LOAD").unwrap())
                .args(["forks", &(forks / 2).to_string()])
                .stdin(Stdio::null())
                .stdout(std::fs::File::create(dir.path().join(n.to_string())).unwrap())
                .spawn()
                .unwrap()
        })
        .collect();
    let (mut struck, mut passed_by) = (0, 0);
    while loads.iter_mut().any(|load| load.try_wait().unwrap().is_none()) {
        let Ok(mut victim) = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn() else { continue };
        let strike = Strike::prepare(&runtime, &victim);
        if struck <= passed_by {
            strike.run(&runtime).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(victim.wait().unwrap().signal(), Some(9), "the one that was meant");
            struck += 1;
            continue;
        }
        // It ends by another hand, and its number goes to somebody else, whom the blow then must not meet.
        victim.kill().unwrap();
        victim.wait().unwrap();
        // They live for a moment only: no rest between two looks.
        while start_ticks(victim.id()).is_none() && loads[0].try_wait().unwrap().is_none() {}
        let answer = strike.run(&runtime);
        passed_by += 1;
        if let Ok(output) = answer {
            assert_eq!(output["killed"].as_array().map_or(0, Vec::len), 0, "{output}");
        }
    }
    for (n, mut load) in loads.into_iter().enumerate() {
        let status = load.wait().unwrap();
        let said = std::fs::read_to_string(dir.path().join(n.to_string())).unwrap();
        assert!(status.success(), "{said}");
        assert_eq!(said.trim(), (forks / 2).to_string());
    }
    assert!(struck > 0 && passed_by > 0, "{struck} {passed_by}");
    eprintln!("strangers passed by: {passed_by}");
}

/// `process.kill`, planned and let through, and not yet run.
struct Strike {
    action: Arc<dyn Action>,
    go: Admitted,
}

impl Strike {
    fn prepare(runtime: &tokio::runtime::Runtime, victim: &Child) -> Self {
        let world = HostWorld::live("here".into()).unwrap();
        let start_ns = start_ticks(victim.id()).unwrap() * quell_model::TICK_NS;
        let id = ProcessId { boot: world.boot.clone(), pid: victim.id(), start_ns, exec_id: 0 };
        let acts = |verb| match verb {
            Verb::Acts(action) => Some(action),
            _ => None,
        };
        let verbs = quell_actions::process::crew(world).into_iter().filter_map(acts);
        let action = { verbs }.find(|action| action.spec().name == "process.kill").unwrap();
        let input = serde_json::json!({ "process": id, "scope": "process" });
        let plan = runtime.block_on(action.plan(&input)).unwrap();
        let ask = Ask {
            now: SystemClock.now(),
            action: action.spec(),
            run: &"r-test".into(),
            playbook: &"test".into(),
            mode: Mode::Enforce,
            mode_because: "a test",
            untrusted: false,
            limits: RunLimits::default(),
            above: Vec::new(),
            paused: false,
            consent: quell_model::guard::Consent::AsNeeded,
            counted: None,
            concerns: Default::default(),
            owned: None,
        };
        match decide(&Guard::default(), &Memory::default(), &ask, plan) {
            Decision::Act(go) => Self { action, go },
            other => panic!("not admitted: {other:?}"),
        }
    }

    fn run(&self, runtime: &tokio::runtime::Runtime) -> Result<Json, ActionError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let cx = ActionContext {
            key: IdempotencyKey("test".to_owned()),
            attempt: 1,
            taken_up: false,
            deadline: clock.now().after(PATIENCE),
            clock,
            progress: Arc::new(Nothing),
            stop: Stop::default(),
            vault: Arc::new(Nothing),
            secrets: quell_model::Secrets::default(),
        };
        runtime.block_on(self.action.run(&self.go, &cx))
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
