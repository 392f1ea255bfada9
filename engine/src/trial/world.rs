//! The played world: every action of the build, answering as the case says.
//!
//! Owns which attempt gets which answer, and who hangs until when. Inputs are held against the action's own schema, as
//! the real one does when it reads them. Never touches anything.

use super::case::{Answer, Mock};
use crate::playbook::check::inputs::misfit;
use quell_model::action::{ActionContext, Want};
use quell_model::world::Verb;
use quell_model::{
    Action, ActionError, ActionSpec, Admitted, Crew, Json, Lane, Look, Name, Plan, Sandbox, Stamp, Target, TargetFacts,
    Truth,
};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What all played actions share.
pub(super) struct World {
    mocks: BTreeMap<String, Vec<Mock>>,
    plans: AtomicU64,
    /// How often each action looked or planned.
    looks: Mutex<HashMap<&'static str, u32>>,
    /// What `verify` says of a plan that was acted on.
    truths: Mutex<HashMap<u64, Truth>>,
    /// The deadlines of attempts that do not end by themselves.
    hanging: Mutex<BTreeMap<u64, Stamp>>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(super) fn new(mocks: BTreeMap<String, Vec<Mock>>, wake: Arc<dyn Fn() + Send + Sync>) -> Arc<Self> {
        Arc::new(Self {
            mocks,
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

    fn answer(&self, names: [&str; 3], attempt: u32) -> Answer {
        let plain = Answer::Ok { output: None, proved: true };
        let Some(mocks) = names.iter().find_map(|name| self.mocks.get(*name)) else { return plain };
        let mut left = attempt;
        for mock in mocks {
            match mock.times {
                Some(times) if left > times => left -= times,
                _ => return mock.answer.clone(),
            }
        }
        plain
    }

    /// Whether an action finds at its so many-th plan that it is so already.
    fn is_already(&self, action: &str, plan: u32) -> bool {
        matches!(self.answer(["", "", action], plan), Answer::Already)
    }
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
        let target = |key: &&str| {
            let id = input.get(*key).and_then(Json::as_str)?.to_owned();
            let label = format!("{key} {}", id.split('.').next().unwrap_or(&id));
            let facts = TargetFacts::Other;
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
        let key = cx.key.done();
        let mut parts = key.split('/').skip(1);
        let step = parts.next().unwrap_or_default();
        let item = parts.next().map(|item| format!("{step}[{item}]")).unwrap_or_default();
        let plan = plan_number(go.plan());
        let (result, truth) = match self.world.answer([&item, step, self.spec.name], cx.attempt) {
            Answer::Ok { output, proved } => {
                let truth = if proved { Truth::Holds } else { Truth::CannotAsk };
                (Ok(self.output(output, &go.plan().predicted)), truth)
            }
            // It was planned as something to do: by now it is so.
            Answer::Already => (Ok(go.plan().predicted.clone()), Truth::Holds),
            Answer::Lie(why) => (Ok(go.plan().predicted.clone()), Truth::HoldsNot(why)),
            Answer::Fail { why, for_good: true } => (Err(ActionError::give_up(why)), Truth::CannotAsk),
            Answer::Fail { why, for_good: false } => (Err(ActionError::retry(why)), Truth::CannotAsk),
            Answer::Hang => {
                held(&self.world.hanging).insert(plan, cx.deadline);
                let _hangs = Hanging(&self.world, plan);
                (self.world.wake)();
                return std::future::pending().await;
            }
        };
        held(&self.world.truths).insert(plan, truth);
        result
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        if want == Want::Undone {
            return Ok(Truth::Holds);
        }
        Ok(held(&self.world.truths).get(&plan_number(plan)).cloned().unwrap_or(Truth::CannotAsk))
    }

    async fn undo(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
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
            Answer::Fail { why, for_good: true } | Answer::Lie(why) => Err(ActionError::give_up(why)),
            Answer::Fail { why, for_good: false } => Err(ActionError::retry(why)),
            Answer::Hang => Err(ActionError::retry("it took longer than its `timeout`")),
        }
    }
}

fn plan_number(plan: &Plan) -> u64 {
    plan.before.get("plan").and_then(Json::as_u64).unwrap_or(u64::MAX)
}
