//! What the tests of this crate stand on: processes of their own, and the way of an act through the real guard.
//!
//! Keeps true: every process that a [`Family`] started carries its mark in the environment and is ended with it, also
//! when a test fails; nothing without the mark is ever touched.

use crate::process::Stat;
use crate::process::identity::Held;
use crate::world::{CgroupKind, HostWorld};
use quell_model::guard::{Ask, Guard, Memory, decide};
use quell_model::playbook::RunLimits;
use quell_model::store::Vault;
use quell_model::{
    Action, ActionContext, ActionError, Admitted, BlobHash, Clock, Decision, Hash, IdempotencyKey, Json, Mode, Plan,
    ProcessId, Progress, Stamp, Stop, StoreError, Truth, Want,
};
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a condition may take on a machine with other work to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for a condition.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Processes of one test.
pub(crate) struct Family {
    mark: String,
    dir: tempfile::TempDir,
    children: Mutex<Vec<Child>>,
    groups: Mutex<Vec<PathBuf>>,
}

impl Family {
    pub(crate) fn new() -> Self {
        let mark = format!("quell-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        Self { mark, dir: tempfile::tempdir().unwrap(), children: Mutex::default(), groups: Mutex::default() }
    }

    pub(crate) fn world(&self) -> HostWorld {
        HostWorld::live("here".into()).unwrap()
    }

    /// A directory of this test's own; `$DIR` in its scripts.
    pub(crate) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Starts `sh -c SCRIPT`.
    pub(crate) fn spawn(&self, script: &str) -> u32 {
        self.start(Command::new("sh").arg("-c").arg(script))
    }

    /// Starts a command as one of the family.
    pub(crate) fn start(&self, command: &mut Command) -> u32 {
        let command = command.env("QUELL_TEST", &self.mark).env("DIR", self.dir.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let pid = child.id();
        self.children.lock().unwrap().push(child);
        pid
    }

    /// Waits for a file that a script writes a pid to (`echo $! >$DIR/NAME`).
    pub(crate) fn pid(&self, name: &str) -> u32 {
        let path = self.dir.path().join(name);
        let read = || std::fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n'));
        let mut text = None;
        wait_until(name, || {
            text = read();
            text.is_some()
        });
        text.unwrap().trim().parse().unwrap()
    }

    pub(crate) fn stat(&self, pid: u32) -> Option<Stat> {
        Stat::read(&self.world(), pid).unwrap()
    }

    pub(crate) fn id(&self, pid: u32) -> ProcessId {
        self.stat(pid).expect("a process of the test is there").id(&self.world())
    }

    pub(crate) fn is_alive(&self, id: &ProcessId) -> bool {
        Held::take(&self.world(), id).unwrap().is_some_and(|held| !held.is_dead())
    }

    /// Reaps a child, as a shell would.
    pub(crate) fn reap(&self, pid: u32) {
        for child in self.children.lock().unwrap().iter_mut().filter(|child| child.id() == pid) {
            child.wait().unwrap();
        }
    }

    /// A cgroup below one of this test's own; it goes before that.
    pub(crate) fn below(&self, dir: &std::path::Path, name: &str) -> PathBuf {
        let dir = dir.join(name);
        std::fs::create_dir(&dir).unwrap();
        self.groups.lock().unwrap().insert(0, dir.clone());
        dir
    }

    /// A cgroup of this test's own, or `None`, loudly, where none can be made.
    pub(crate) fn group(&self, kind: CgroupKind) -> Option<PathBuf> {
        let root = self.world().root(kind).map(std::path::Path::to_owned);
        let Some(dir) = root.map(|root| root.join(&self.mark)) else {
            eprintln!("NOT TESTED: this machine mounts no {kind:?} hierarchy");
            return None;
        };
        if let Err(error) = std::fs::create_dir(&dir) {
            eprintln!("NOT TESTED: no cgroup can be made at {}: {error}", dir.display());
            return None;
        }
        self.groups.lock().unwrap().push(dir.clone());
        Some(dir)
    }

    /// The living of this family.
    pub(crate) fn marked(&self) -> Vec<u32> {
        let line = format!("QUELL_TEST={}", self.mark);
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        entries
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
            .filter(|pid| {
                let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environ.split(|&b| b == 0).any(|var| var == line.as_bytes())
            })
            .collect()
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        let groups = std::mem::take(&mut *self.groups.lock().unwrap());
        for dir in &groups {
            drop(std::fs::write(dir.join("cgroup.freeze"), "0"));
            drop(std::fs::write(dir.join("freezer.state"), "THAWED"));
        }
        let begun = Instant::now();
        for child in self.children.lock().unwrap().iter_mut() {
            drop(child.kill());
            drop(child.wait());
        }
        // In the midst of an exec a process shows no environment: once more, when nobody is left.
        let mut quiet = 0;
        while quiet < 2 && begun.elapsed() < PATIENCE {
            let marked = self.marked();
            quiet = if marked.is_empty() { quiet + 1 } else { 0 };
            for pid in marked {
                if let Ok(Some(held)) = Held::take_number(&self.world(), pid)
                    && self.marked().contains(&pid)
                {
                    drop(held.signal(rustix::process::Signal::KILL));
                }
            }
            std::thread::yield_now();
        }
        for dir in groups {
            while std::fs::remove_dir(&dir).is_err() && dir.exists() && begun.elapsed() < PATIENCE {
                std::thread::yield_now();
            }
        }
    }
}

/// The boot clock, and tokio's sleep.
#[derive(Debug)]
struct TestClock;

#[async_trait::async_trait]
impl Clock for TestClock {
    fn now(&self) -> Stamp {
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Stamp {
            wall: jiff::Timestamp::now(),
            boot_ns: u64::try_from(boot.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(boot.tv_nsec).unwrap(),
        }
    }

    async fn sleep_until(&self, at: Stamp) {
        tokio::time::sleep(at.since(self.now())).await;
    }
}

/// Notes go nowhere.
struct NoNotes;

#[async_trait::async_trait]
impl Progress for NoNotes {
    async fn note(&self, _: Json) -> Result<(), ActionError> {
        Ok(())
    }
}

/// Blobs in memory.
#[derive(Default)]
pub(crate) struct MemoryVault(Mutex<HashMap<Hash, Vec<u8>>>);

#[async_trait::async_trait]
impl Vault for MemoryVault {
    async fn put(&self, bytes: Vec<u8>) -> Result<BlobHash, StoreError> {
        let hash = Hash::of(&bytes);
        self.0.lock().unwrap().insert(hash, bytes);
        Ok(BlobHash(hash))
    }

    async fn get(&self, hash: &BlobHash) -> Result<Vec<u8>, StoreError> {
        let found = self.0.lock().unwrap().get(&hash.0).cloned();
        found.ok_or_else(|| StoreError::Corrupt(format!("{} is not there", hash.0)))
    }
}

/// One act from input to proof, through the real guard.
pub(crate) struct Act {
    pub(crate) guard: Guard,
    pub(crate) vault: Arc<MemoryVault>,
    pub(crate) bound: Duration,
}

impl Act {
    pub(crate) fn new() -> Self {
        Self { guard: Guard::default(), vault: Arc::default(), bound: PATIENCE }
    }

    pub(crate) fn context(&self) -> ActionContext {
        let clock = Arc::new(TestClock);
        ActionContext {
            key: IdempotencyKey("test".to_owned()),
            attempt: 1,
            taken_up: false,
            deadline: clock.now().after(self.bound),
            clock,
            progress: Arc::new(NoNotes),
            stop: Stop::default(),
            vault: self.vault.clone(),
            secrets: quell_model::Secrets::default(),
        }
    }

    /// What the guard says.
    pub(crate) fn decide(&self, action: &dyn Action, plan: Plan) -> Decision {
        let ask = Ask {
            now: TestClock.now(),
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
        decide(&self.guard, &Memory::default(), &ask, plan)
    }

    #[track_caller]
    pub(crate) fn admitted(&self, action: &dyn Action, plan: Plan) -> Admitted {
        match self.decide(action, plan) {
            Decision::Act(admitted) => admitted,
            other => panic!("not admitted: {other:?}"),
        }
    }

    /// Plans, is admitted, runs, verifies.
    pub(crate) async fn whole(&self, action: &dyn Action, input: Json) -> (Plan, Json, Truth) {
        let plan = action.plan(&input).await.unwrap();
        let go = self.admitted(action, plan.clone());
        let output = action.run(&go, &self.context()).await.unwrap();
        let truth = action.verify(&plan, Want::Acted).await.unwrap();
        (plan, output, truth)
    }
}
