//! The played world: every action of the build, answering as the case says.
//!
//! Owns which attempt gets which answer, who hangs until when, and what stands. Inputs are held against the action's own
//! schema, as the real one does when it reads them. Never touches anything.

use super::case::{Answer, Mock, Mocked};
use crate::playbook::check::inputs::misfit;
use quell_model::action::{ActionContext, IDENTITY_MARK, Want};
use quell_model::world::Verb;
use quell_model::{
    Action, ActionError, ActionSpec, Admitted, Crew, Json, Lane, Look, Name, Plan, Sandbox, Stamp, Target, TargetFacts,
    Truth,
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What all played actions share.
pub(super) struct World {
    mocks: BTreeMap<String, Mocked>,
    /// The names of mocks that were asked for.
    used: Mutex<BTreeSet<String>>,
    /// Those whose `undo` was asked for.
    undone: Mutex<BTreeSet<String>>,
    plans: AtomicU64,
    /// How often each action looked or planned.
    looks: Mutex<HashMap<&'static str, u32>>,
    /// What `verify` says of a plan that was acted on.
    truths: Mutex<HashMap<u64, Acted>>,
    /// The deadlines of attempts that do not end by themselves.
    hanging: Mutex<BTreeMap<u64, Stamp>>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

/// What came of a plan.
struct Acted {
    /// Whether what was wanted is so.
    truth: Truth,
    /// What stands of it, to be taken back; none: nothing.
    stands: Option<String>,
}

/// Mocks that a case had no use for.
pub(super) struct Unused {
    /// Names under `mocks`.
    pub(super) acts: Vec<String>,
    /// Names whose `undo` nothing asked for.
    pub(super) undos: Vec<String>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(super) fn new(mocks: BTreeMap<String, Mocked>, wake: Arc<dyn Fn() + Send + Sync>) -> Arc<Self> {
        Arc::new(Self {
            mocks,
            used: Mutex::default(),
            undone: Mutex::default(),
            plans: AtomicU64::new(0),
            looks: Mutex::default(),
            truths: Mutex::default(),
            hanging: Mutex::default(),
            wake,
        })
    }

    pub(super) fn crew(self: &Arc<Self>, specs: &[&'static ActionSpec], node: &Name) -> Crew<Sandbox> {
        let verb = |spec: &&'static ActionSpec| {
            let played = Arc::new(Played { spec, node: node.clone(), world: Arc::clone(self) });
            if spec.lane == Lane::Read { Verb::Looks(played) } else { Verb::Acts(played) }
        };
        Crew::new(specs.iter().map(verb).collect())
    }

    /// How many hang beyond a moment.
    pub(super) fn hanging(&self, now: Stamp) -> usize {
        held(&self.hanging).values().filter(|until| **until > now).count()
    }

    /// When the next of them is given up.
    pub(super) fn next_end(&self, now: Stamp) -> Option<Stamp> {
        held(&self.hanging).values().filter(|until| **until > now).min().copied()
    }

    /// How an attempt is answered: by the nearest of these names that has an answer.
    fn answer(&self, names: [&str; 3], attempt: u32) -> Answer {
        let Some((name, mocked)) = names.iter().find_map(|name| self.mocks.get_key_value(*name)) else {
            return plain();
        };
        held(&self.used).insert(name.clone());
        at(&mocked.acts, attempt)
    }

    /// How an attempt to take it back is answered.
    fn undo_answer(&self, names: [&str; 3], attempt: u32) -> Answer {
        let says = |name: &&str| self.mocks.get_key_value(*name).filter(|(_, mocked)| !mocked.undos.is_empty());
        let Some((name, mocked)) = names.iter().find_map(says) else { return plain() };
        held(&self.undone).insert(name.clone());
        at(&mocked.undos, attempt)
    }

    /// Whether an action finds at its so many-th plan that it is so already.
    fn is_already(&self, action: &str, plan: u32) -> bool {
        let is_said = |mocked: &Mocked| mocked.acts.iter().any(|mock| matches!(mock.answer, Answer::Already));
        self.mocks.get(action).is_some_and(is_said) && matches!(self.answer(["", "", action], plan), Answer::Already)
    }

    /// What nothing asked for.
    pub(super) fn unused(&self) -> Unused {
        let (used, undone) = (held(&self.used), held(&self.undone));
        let acts = self.mocks.keys().filter(|name| !used.contains(*name)).cloned().collect();
        let says_undo = self.mocks.iter().filter(|(_, mocked)| !mocked.undos.is_empty());
        let undos = says_undo.map(|(name, _)| name).filter(|name| !undone.contains(*name)).cloned().collect();
        Unused { acts, undos }
    }

    fn note(&self, plan: u64, truth: Truth, stands: bool) {
        let stands = stands.then(|| "it stands".to_owned());
        held(&self.truths).insert(plan, Acted { truth, stands });
    }

    /// Hangs until somebody gives it up.
    async fn hang<T>(&self, plan: u64, until: Stamp) -> T {
        held(&self.hanging).insert(plan, until);
        let _hangs = Hanging(self, plan);
        (self.wake)();
        std::future::pending().await
    }
}

fn plain() -> Answer {
    Answer::Ok { output: None, proved: true }
}

/// The answer to the so many-th attempt.
fn at(mocks: &[Mock], attempt: u32) -> Answer {
    let mut left = attempt;
    for mock in mocks {
        match mock.times {
            Some(times) if left > times => left -= times,
            _ => return mock.answer.clone(),
        }
    }
    plain()
}

/// The item and the step that a key is about, as mocks name them.
fn part_of(cx: &ActionContext) -> (String, String) {
    let mut parts = cx.key.part().split('/').skip(1);
    let step = parts.next().unwrap_or_default().to_owned();
    let item = parts.next().map(|item| format!("{step}[{item}]")).unwrap_or_default();
    (item, step)
}

/// One action, played.
struct Played {
    spec: &'static ActionSpec,
    node: Name,
    world: Arc<World>,
}

/// Somebody hangs for as long as this lives.
struct Hanging<'w>(&'w World, u64);

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        held(&self.0.hanging).remove(&self.1);
    }
}

impl Played {
    fn fits(&self, input: &Json) -> Result<(), ActionError> {
        match misfit(&(self.spec.input)().to_value(), input) {
            None => Ok(()),
            Some(why) => Err(ActionError::give_up(format!("its input does not fit `{}`: {why}", self.spec.name))),
        }
    }

    /// Which look or plan of this action this is, from 1.
    fn count(&self) -> u32 {
        let mut looks = held(&self.world.looks);
        let count = looks.entry(self.spec.name).or_default();
        *count += 1;
        *count
    }

    fn output(&self, given: Option<Json>, predicted: &Json) -> Json {
        match (given, predicted) {
            (Some(Json::Object(given)), Json::Object(predicted)) => {
                let mut all = predicted.clone();
                all.extend(given);
                Json::Object(all)
            }
            (Some(given), _) => given,
            (None, predicted) => predicted.clone(),
        }
    }
}

#[async_trait::async_trait]
impl Action for Played {
    fn spec(&self) -> &'static ActionSpec {
        self.spec
    }

    async fn plan(&self, input: &Json) -> Result<Plan, ActionError> {
        self.fits(input)?;
        let schema = (self.spec.input)().to_value();
        let target = |key: &&str| {
            let named = input.get(*key)?;
            // A pod may be named by the object that has its uid.
            let id = named.as_str().or_else(|| named.get("uid")?.as_str())?.to_owned();
            let label = format!("{key} {}", id.split('.').next().unwrap_or(&id));
            let identity = schema["properties"][*key][IDENTITY_MARK].as_str().map(Name::from);
            let provider = self.spec.name.split('.').next().unwrap_or_default();
            // Its account is not in the input: the guard's rule about planted identities goes by the others.
            let facts = identity.map_or(TargetFacts::Other, |identity| TargetFacts::Identity {
                provider: provider.into(),
                identity,
                id: id.clone(),
                account: None,
            });
            Some(Target { node: self.node.clone(), kind: Name::from(*key), id, label, named: true, facts })
        };
        Ok(Plan {
            targets: self.spec.targets.iter().filter_map(target).collect(),
            calls: vec![json!({ "action": self.spec.name, "with": input })],
            before: json!({ "plan": self.world.plans.fetch_add(1, Ordering::Relaxed) }),
            predicted: (self.spec.predict)(input),
            already: self.world.is_already(self.spec.name, self.count()),
            ..Plan::default()
        })
    }

    async fn run(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        let (item, step) = part_of(cx);
        let plan = plan_number(go.plan());
        let predicted = || go.plan().predicted.clone();
        let (result, truth, stands) = match self.world.answer([&item, &step, self.spec.name], cx.attempt) {
            Answer::Ok { output, proved } => {
                let truth = if proved { Truth::Holds } else { Truth::CannotAsk };
                (Ok(self.output(output, &go.plan().predicted)), truth, true)
            }
            // It was planned as something to do: by now it is so.
            Answer::Already => (Ok(predicted()), Truth::Holds, true),
            Answer::Lie(why) => (Ok(predicted()), Truth::HoldsNot(why), false),
            Answer::Fail { why, for_good } => (Err(error(why, for_good)), Truth::CannotAsk, false),
            Answer::Hang => return self.world.hang(plan, cx.deadline).await,
        };
        self.world.note(plan, truth, stands);
        result
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        let truths = held(&self.world.truths);
        let acted = truths.get(&plan_number(plan));
        if want == Want::Acted {
            return Ok(acted.map_or(Truth::CannotAsk, |acted| acted.truth.clone()));
        }
        // What was never done does not stand.
        let Some((truth, what)) = acted.and_then(|acted| Some((&acted.truth, acted.stands.as_ref()?))) else {
            return Ok(Truth::Holds);
        };
        let can_ask = *truth != Truth::CannotAsk;
        Ok(if can_ask { Truth::HoldsNot(what.clone()) } else { Truth::CannotAsk })
    }

    async fn undo(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        let (item, step) = part_of(cx);
        let plan = plan_number(go.plan());
        let stands = match self.world.undo_answer([&item, &step, self.spec.name], cx.attempt) {
            Answer::Fail { why, for_good } => return Err(error(why, for_good)),
            Answer::Hang => return self.world.hang(plan, cx.deadline).await,
            Answer::Lie(why) => Some(why),
            Answer::Ok { .. } | Answer::Already => None,
        };
        if let Some(acted) = held(&self.world.truths).get_mut(&plan) {
            acted.stands = stands;
        }
        Ok(json!({}))
    }
}

#[async_trait::async_trait]
impl Look for Played {
    fn spec(&self) -> &'static ActionSpec {
        self.spec
    }

    async fn look(&self, input: &Json) -> Result<Json, ActionError> {
        self.fits(input)?;
        let attempt = self.count();
        let predicted = (self.spec.predict)(input);
        match self.world.answer(["", "", self.spec.name], attempt) {
            Answer::Ok { output, .. } => Ok(self.output(output, &predicted)),
            Answer::Already => Ok(predicted),
            Answer::Lie(why) => Err(error(why, true)),
            Answer::Fail { why, for_good } => Err(error(why, for_good)),
            Answer::Hang => Err(ActionError::retry("it took longer than its `timeout`")),
        }
    }
}

fn error(why: String, for_good: bool) -> ActionError {
    if for_good { ActionError::give_up(why) } else { ActionError::retry(why) }
}

fn plan_number(plan: &Plan) -> u64 {
    plan.before.get("plan").and_then(Json::as_u64).unwrap_or(u64::MAX)
}
