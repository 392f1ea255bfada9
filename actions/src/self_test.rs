//! Tries at start what can be tried safely, so that a verb that cannot work here is known before the night it is needed.
//!
//! Owns one dummy (`sleep`, or `quell idle`) at a time and a cgroup of its own; touches nothing else, by the same guard as every act.
//! Keeps true: no dummy and no cgroup outlives the test, also when a check fails. Blocks for seconds at worst: not for a
//! thread that others wait for.

use crate::own_cgroup::OwnCgroup;
use crate::process::freeze::Freeze;
use crate::process::inspect::Inspect;
use crate::process::kill::Kill;
use crate::process::pace::on_own_thread;
use crate::process::{Hands, Stat};
use crate::protect::own_processes;
use crate::world::{CgroupKind, CgroupRoot, HostWorld};
use quell_model::guard::{Ask, Guard, Memory, Protect, decide};
use quell_model::playbook::RunLimits;
use quell_model::store::Vault;
use quell_model::{
    Action, ActionContext, ActionError, Admitted, BlobHash, Clock, Decision, IdempotencyKey, Json, Look, Mode, Plan,
    ProcessId, Progress, Stamp, Stop, StoreError, Truth, Want,
};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// How long one act may take.
const BOUND: Duration = Duration::from_secs(5);

/// One thing that was tried.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Check {
    /// The action, and by which means: `process.freeze (cgroup v2)`.
    pub name: String,
    /// It worked, and was proved.
    pub ok: bool,
    /// Why not.
    pub why: Option<String>,
}

impl Check {
    fn of(name: impl Into<String>, tried: Result<(), String>) -> Self {
        Self { name: name.into(), ok: tried.is_ok(), why: tried.err() }
    }
}

/// Freezes, thaws, looks at and kills dummies of its own, by signals and by every cgroup hierarchy there is.
#[must_use]
pub fn self_test(world: &HostWorld) -> Vec<Check> {
    // A sandbox's hands would refuse the dummies: what is tried is this host, not the sandbox.
    let world = HostWorld { within: None, lineage: None, doom: None, ..world.clone() };
    let hands = Arc::new(Hands::new(world.clone()));
    let mut checks = Vec::new();
    match Dummy::start(&world) {
        Err(why) => checks.extend(
            ["process.freeze", "process.inspect", "process.kill"].map(|name| Check::of(name, Err(why.clone()))),
        ),
        Ok(dummy) => {
            checks.push(Check::of("process.freeze", hold_and_release(&hands, &dummy.id, "tree")));
            checks.push(Check::of("process.inspect", look(&hands, &dummy.id)));
            checks.push(Check::of("process.kill", end(&hands, &dummy.id, "tree")));
        }
    }
    let reflex = world.reflex.as_ref().ok_or_else(|| "there is no reflex in this kernel".to_owned());
    checks.push(Check::of("process.block_exec", reflex.and_then(|reflex| reflex.attempt())));
    let cut = world.cut.as_ref().ok_or_else(|| "there is no cut in this kernel".to_owned());
    let cut = cut.and_then(|cut| {
        let root = world.root(CgroupKind::V2).ok_or("there is no v2 hierarchy of cgroups")?;
        cut.attempt(&own_cgroup(root)?.dir)
    });
    checks.push(Check::of("network.block_peer", cut.clone()));
    checks.push(Check::of("network.isolate", cut));
    for root in &world.cgroups {
        let kind = match root.kind {
            CgroupKind::V2 => "cgroup v2",
            CgroupKind::V1Freezer => "cgroup v1",
        };
        let boxed = Boxed::start(&world, root);
        let tried = |act: &dyn Fn(&ProcessId) -> Result<(), String>| match &boxed {
            Ok(boxed) => act(&boxed.dummy.id),
            Err(why) => Err(why.clone()),
        };
        checks.push(Check::of(format!("process.freeze ({kind})"), tried(&|id| hold_and_release(&hands, id, "cgroup"))));
        checks.push(Check::of(format!("process.kill ({kind})"), tried(&|id| end(&hands, id, "cgroup"))));
    }
    checks
}

fn hold_and_release(hands: &Arc<Hands>, id: &ProcessId, scope: &str) -> Result<(), String> {
    let freeze = Freeze(hands.clone());
    let go = act(hands, &freeze, id, scope)?;
    on_own_thread(freeze.undo(&go, &context())).map_err(|error| error.to_string())?;
    proved(&freeze, go.plan(), Want::Undone)
}

fn end(hands: &Arc<Hands>, id: &ProcessId, scope: &str) -> Result<(), String> {
    act(hands, &Kill::new(hands.clone()), id, scope).map(|_| ())
}

fn look(hands: &Arc<Hands>, id: &ProcessId) -> Result<(), String> {
    let seen =
        on_own_thread(Inspect(hands.clone()).look(&json!({ "process": id }))).map_err(|error| error.to_string())?;
    match seen["process"]["image"].as_str() {
        Some(_) => Ok(()),
        None => Err("what a process runs cannot be read: CAP_SYS_PTRACE is missing".to_owned()),
    }
}

/// Plans, asks the guard, runs and verifies.
fn act(hands: &Hands, action: &dyn Action, id: &ProcessId, scope: &str) -> Result<Admitted, String> {
    let plan =
        on_own_thread(action.plan(&json!({ "process": id, "scope": scope }))).map_err(|error| error.to_string())?;
    let go = admit(hands, action, plan)?;
    on_own_thread(action.run(&go, &context())).map_err(|error| error.to_string())?;
    proved(action, go.plan(), Want::Acted)?;
    Ok(go)
}

fn proved(action: &dyn Action, plan: &Plan, want: Want) -> Result<(), String> {
    match on_own_thread(action.verify(plan, want)).map_err(|error| error.to_string())? {
        Truth::Holds => Ok(()),
        Truth::HoldsNot(why) => Err(why),
        Truth::CannotAsk => Err("it cannot be asked for".to_owned()),
        Truth::Unproved(why) => Err(format!("it was not seen: {why}")),
    }
}

fn admit(hands: &Hands, action: &dyn Action, plan: Plan) -> Result<Admitted, String> {
    let protect = Protect { processes: own_processes(&hands.world), ..Protect::default() };
    let guard = Guard { protect, ..Guard::default() };
    let ask = Ask {
        now: HostClock.now(),
        action: action.spec(),
        run: &"self-test".into(),
        playbook: &"self-test".into(),
        mode: Mode::Enforce,
        mode_because: "the self-test acts on its own dummy",
        untrusted: false,
        limits: RunLimits::default(),
        above: Vec::new(),
        paused: false,
        consent: quell_model::guard::Consent::AsNeeded,
        counted: None,
        concerns: Default::default(),
        owned: None,
    };
    match decide(&guard, &Memory::default(), &ask, plan) {
        Decision::Act(go) => Ok(go),
        Decision::Observe { why, .. } | Decision::Ask { why, .. } | Decision::Refuse { why, .. } => Err(why),
    }
}

/// A child that does nothing.
struct Dummy {
    child: Child,
    id: ProcessId,
}

impl Dummy {
    fn start(world: &HostWorld) -> Result<Self, String> {
        let spawn = |program: &str, word: &str| {
            let mut command = Command::new(program);
            command.arg(word).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn()
        };
        // An image may hold nothing but quell, which idles when it is told to (`quell idle`).
        let child = spawn("sleep", "60").or_else(|_| spawn("/proc/self/exe", "idle"));
        let child = child.map_err(|error| format!("there is no `sleep` to try on: {error}"))?;
        let stat = Stat::read(world, child.id());
        // In the hand of `Drop` before anything can go wrong.
        let mut dummy = Self { child, id: ProcessId { boot: world.boot.clone(), pid: 0, start_ns: 0, exec_id: 0 } };
        dummy.id = stat.ok().flatten().map(|stat| stat.id(world)).ok_or("its own child is not in /proc")?;
        Ok(dummy)
    }
}

impl Drop for Dummy {
    fn drop(&mut self) {
        // Our own child, not yet waited for: its number is its own.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn own_cgroup(root: &Path) -> Result<OwnCgroup, String> {
    OwnCgroup::make(root).map_err(|error| format!("no cgroup can be made in {}: {error}", root.display()))
}

/// A dummy in a cgroup of its own, which is ended and removed whatever failed.
struct Boxed {
    _cgroup: OwnCgroup,
    dummy: Dummy,
}

impl Boxed {
    fn start(world: &HostWorld, root: &CgroupRoot) -> Result<Self, String> {
        let cgroup = own_cgroup(&root.dir)?;
        let dummy = Dummy::start(world)?;
        let moved = std::fs::write(cgroup.dir.join("cgroup.procs"), dummy.id.pid.to_string());
        moved.map_err(|error| format!("no process can be moved into {}: {error}", cgroup.dir.display()))?;
        Ok(Self { _cgroup: cgroup, dummy })
    }
}

/// The boot clock; sleeping blocks, on a thread that is meant for it.
struct HostClock;

#[async_trait::async_trait]
impl Clock for HostClock {
    fn now(&self) -> Stamp {
        let boot = clock_gettime(ClockId::Boottime);
        let ns = |seconds: i64, ns: i64| {
            u64::try_from(seconds).unwrap_or(0) * 1_000_000_000 + u64::try_from(ns).unwrap_or(0)
        };
        Stamp { wall: jiff::Timestamp::now(), boot_ns: ns(boot.tv_sec, boot.tv_nsec) }
    }

    async fn sleep_until(&self, at: Stamp) {
        std::thread::sleep(at.since(self.now()));
    }
}

/// Nothing is journaled: nothing of it lasts.
struct Unwritten;

#[async_trait::async_trait]
impl Progress for Unwritten {
    async fn note(&self, _: Json) -> Result<(), ActionError> {
        Ok(())
    }
}

#[async_trait::async_trait]
impl Vault for Unwritten {
    async fn put(&self, _: Vec<u8>) -> Result<BlobHash, StoreError> {
        Err(StoreError::Closed)
    }

    async fn get(&self, _: &BlobHash) -> Result<Vec<u8>, StoreError> {
        Err(StoreError::Closed)
    }
}

fn context() -> ActionContext {
    ActionContext {
        key: IdempotencyKey("self-test".to_owned()),
        attempt: 1,
        taken_up: false,
        deadline: HostClock.now().after(BOUND),
        clock: Arc::new(HostClock),
        progress: Arc::new(Unwritten),
        stop: Stop::default(),
        vault: Arc::new(Unwritten),
        secrets: quell_model::Secrets::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_works_here_is_found_to_work_and_nothing_is_left() {
        let world = HostWorld::live("here".into()).unwrap();
        let checks = self_test(&world);
        let names: Vec<_> = checks.iter().map(|check| check.name.as_str()).collect();
        assert_eq!(names[..3], ["process.freeze", "process.inspect", "process.kill"]);
        // What the kernel does is lent by whoever loaded it.
        let lent = ["process.block_exec", "network.block_peer", "network.isolate"];
        for check in checks.iter().filter(|check| !lent.contains(&check.name.as_str())) {
            if check.why.as_ref().is_some_and(|why| why.contains("no cgroup can be made")) {
                eprintln!("NOT TESTED: {}: {:?}", check.name, check.why);
            } else {
                assert!(check.ok, "{check:?}");
            }
        }
        let own = format!("quell-self-test-{}-", std::process::id());
        let is_own = |entry: &std::fs::DirEntry| entry.file_name().to_str().is_some_and(|name| name.starts_with(&own));
        for root in &world.cgroups {
            assert_eq!(std::fs::read_dir(&root.dir).unwrap().flatten().filter(is_own).count(), 0);
        }
    }

    #[test]
    fn what_does_not_work_is_told() {
        let world = HostWorld::live("here".into()).unwrap();
        let nowhere = CgroupRoot { dir: "/nonexistent".into(), kind: CgroupKind::V2 };
        let checks = self_test(&HostWorld { cgroups: vec![nowhere], ..world });
        let failed: Vec<_> = checks.iter().filter(|check| !check.ok).map(|check| check.name.as_str()).collect();
        let lent = ["process.block_exec", "network.block_peer", "network.isolate"];
        assert_eq!(failed, [&lent[..], &["process.freeze (cgroup v2)", "process.kill (cgroup v2)"]].concat());
    }
}
