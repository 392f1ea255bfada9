//! `process.kill` with the kernel's hands, without a daemon: also where the root shares its lineage with its parent.

use super::attack::Attack;
use super::{PATIENCE, wait_until};
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
use std::sync::{Arc, OnceLock};

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

fn start_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// The root of an attack as the hands know it, by its parent.
fn root(attack: &Attack, hands: &KernelHands) -> ProcessId {
    let boot = HostWorld::live("here".into()).unwrap().boot;
    let pid = attack.parent.id();
    let start_ns = start_ticks(pid).unwrap() * quell_model::TICK_NS;
    let known = hands.below(&ProcessId { boot, pid, start_ns, exec_id: 0 });
    known.living.into_iter().find(|id| id.pid == attack.root).expect("its birth was noted")
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
        above: Vec::new(),
        paused: false,
        consent: quell_model::guard::Consent::AsNeeded,
        counted: None,
        concerns: Default::default(),
        owned: None,
    };
    let go = match decide(&Guard::default(), &Memory::default(), &ask, plan.clone()) {
        Decision::Act(admitted) => admitted,
        other => panic!("not admitted: {other:?}"),
    };
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
    let output = action.run(&go, &cx).await.unwrap();
    (output, action.verify(&plan, Want::Acted).await.unwrap())
}

fn contained(kind: &str) {
    let Some(hands) = hands() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut attack = Attack::new(kind, None);
    let root = root(&attack, hands);
    attack.go();
    wait_until("the attack is under way", || attack.has_reached());
    let (output, truth) = runtime.block_on(kill(hands, &root));
    let left = hands.below(&root);
    assert_eq!(truth, Truth::Holds, "{kind}: {output}");
    // Who was struck in the kernel may be on its way out.
    wait_until("only the parent and the sibling live", || attack.living() == attack.innocent());
    assert!(left.living.is_empty(), "{kind}: {left:?}");
    // Nobody is born any more.
    assert_eq!(hands.below(&root), left, "{kind}");
    assert_eq!(attack.living(), attack.innocent(), "{kind}");
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
    let mut attack = Attack::new("double", None);
    let root = root(&attack, &own);
    own.pause(true).unwrap();
    assert!(own.mark(&root, PATIENCE).unwrap_err().contains("paused"));
    attack.go();
    wait_until("the attack is under way", || attack.has_reached());
    assert!(attack.living().len() > 2);
    own.pause(false).unwrap();
    own.mark(&root, PATIENCE).unwrap();
    // They call the kernel once a second.
    wait_until("the marked are dead", || attack.living() == attack.innocent());
    assert!(own.struck() > 1);
}
