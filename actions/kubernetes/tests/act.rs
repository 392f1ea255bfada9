//! The way of an act through the real guard, and the law that holds at every crash.
//!
//! Owns what an act is given in tests. Keeps true: nothing runs that the guard has not admitted.

use quell_kubernetes::Cluster;
use quell_model::guard::{Ask, Guard, Memory, decide};
use quell_model::playbook::RunLimits;
use quell_model::store::Vault;
use quell_model::world::Verb;
use quell_model::{
    Action, ActionContext, ActionError, Admitted, BlobHash, Clock, Decision, Hash, IdempotencyKey, Json, Mode, Plan,
    Progress, Stamp, Stop, StoreError, Truth, Want,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a condition may take on a machine with other work to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a condition that is asked again and again.
pub(crate) async fn wait_until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
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

/// Notes, kept.
#[derive(Default)]
pub(crate) struct Notes(pub(crate) Mutex<Vec<Json>>);

#[async_trait::async_trait]
impl Progress for Notes {
    async fn note(&self, mark: Json) -> Result<(), ActionError> {
        self.0.lock().unwrap().push(mark);
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

/// The verb of this name, with hands on a cluster.
pub(crate) fn verb(cluster: &Arc<Cluster>, name: &str) -> Arc<dyn Action> {
    let all = quell_kubernetes::crew(cluster).into_iter();
    let found = all.filter_map(|verb| match verb {
        Verb::Acts(verb) if verb.spec().name == name => Some(verb),
        _ => None,
    });
    found.last().unwrap_or_else(|| panic!("no verb acts as {name}"))
}

/// One act from input to proof and back. Its key is that of a step of its own.
pub(crate) struct Act {
    pub(crate) guard: Guard,
    pub(crate) vault: Arc<MemoryVault>,
    pub(crate) notes: Arc<Notes>,
    pub(crate) stop: Stop,
    /// For an attempt.
    pub(crate) bound: Duration,
    key: IdempotencyKey,
}

/// What came of it.
pub(crate) struct Done {
    pub(crate) plan: Plan,
    pub(crate) output: Json,
    pub(crate) truth: Truth,
}

impl Act {
    /// Of this run.
    pub(crate) fn of(run: &str) -> Self {
        let key = IdempotencyKey(format!("{run}/step"));
        Self {
            guard: Guard::default(),
            vault: Arc::default(),
            notes: Arc::default(),
            stop: Stop::default(),
            bound: PATIENCE,
            key,
        }
    }

    pub(crate) fn context(&self) -> ActionContext {
        let clock = Arc::new(TestClock);
        ActionContext {
            key: self.key.clone(),
            attempt: 1,
            taken_up: false,
            deadline: clock.now().after(self.bound),
            clock,
            progress: self.notes.clone(),
            stop: self.stop.clone(),
            vault: self.vault.clone(),
            secrets: quell_model::Secrets::default(),
        }
    }

    /// The same, of its taking back.
    pub(crate) fn back(&self) -> ActionContext {
        let context = self.context();
        ActionContext { key: context.key.clone().undo(), ..context }
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
    pub(crate) async fn whole(&self, action: &dyn Action, input: &Json) -> Result<Done, ActionError> {
        let plan = action.plan(input).await?;
        let go = self.admitted(action, plan.clone());
        let output = action.run(&go, &self.context()).await?;
        let truth = action.verify(&plan, Want::Acted).await?;
        Ok(Done { plan, output, truth })
    }

    /// Takes back, and asks as the engine does.
    pub(crate) async fn taken_back(&self, action: &dyn Action, plan: &Plan) -> Result<(Json, Truth), ActionError> {
        let go = self.admitted(action, Plan { already: false, ..plan.clone() });
        let output = action.undo(&go, &self.back()).await?;
        Ok((output, action.verify_undone(plan, &self.back()).await?))
    }
}

/// Does `work`, but dies before the call to the API server after so many: none, if it did not come so far.
pub(crate) async fn dying<T>(cluster: &Cluster, calls: u32, work: impl Future<Output = T>) -> Option<T> {
    cluster.dies_after(Some(calls));
    let ended = tokio::select! {
        biased;
        ended = work => Some(ended),
        () = cluster.died() => None,
    };
    cluster.dies_after(None);
    ended
}

/// The law of crashes, for the verb `name`: killed before its first call, before its second and so on, and done again, it comes to the same
/// as if it had never been killed; and so does its undo. `input` makes what an act of its own is done to; `judge` looks at the world.
pub(crate) async fn outlives_every_crash(
    cluster: &Arc<Cluster>,
    name: &str,
    input: impl AsyncFn(u32) -> Json,
    judge: impl AsyncFn(&Json, Want),
) {
    let plan = async |verb: &dyn Action, input: &Json| verb.plan(input).await.unwrap();
    planned_outlives_every_crash(cluster, name, input, plan, judge).await;
}

/// The same, of what `plan` plans.
pub(crate) async fn planned_outlives_every_crash(
    cluster: &Arc<Cluster>,
    name: &str,
    input: impl AsyncFn(u32) -> Json,
    plan: impl AsyncFn(&dyn Action, &Json) -> Plan,
    judge: impl AsyncFn(&Json, Want),
) {
    let verb = verb(cluster, name);
    let mut calls = 0;
    loop {
        let (act, input) = (Act::of(&format!("r-{calls}")), input(calls).await);
        let plan = plan(&*verb, &input).await;
        let go = act.admitted(&*verb, plan.clone());
        let ran = dying(cluster, calls, verb.run(&go, &act.context())).await;
        let died_acting = ran.is_none();
        if let Some(ran) = ran {
            ran.unwrap();
        }
        let again = ActionContext { taken_up: true, ..act.context() };
        verb.run(&go, &again).await.unwrap_or_else(|error| panic!("killed after {calls} calls: {error}"));
        let truth = verb.verify(&plan, Want::Acted).await.unwrap();
        assert!(!matches!(truth, Truth::HoldsNot(_)), "killed after {calls} calls: {truth:?}");
        judge(&input, Want::Acted).await;

        if !verb.spec().undoable {
            if !died_acting {
                break;
            }
            calls += 1;
            continue;
        }
        let undone = dying(cluster, calls, verb.undo(&go, &act.back())).await;
        let died_undoing = undone.is_none();
        if let Some(undone) = undone {
            undone.unwrap();
        }
        verb.undo(&go, &act.back()).await.unwrap_or_else(|error| panic!("undo, killed after {calls} calls: {error}"));
        let truth = verb.verify_undone(&plan, &act.back()).await.unwrap();
        assert_eq!(truth, Truth::Holds, "undo, killed after {calls} calls");
        judge(&input, Want::Undone).await;
        if !died_acting && !died_undoing {
            break;
        }
        calls += 1;
        assert!(calls < 100, "it never comes to its end");
    }
    assert!(calls > 1, "it made no calls to be killed at");
}
