//! `process.freeze`: holds a process, or all that its scope holds, still; what is frozen can be looked at and let go.
//!
//! A tree by SIGSTOP, parents first (a prelude: the same uid can lift it); a cgroup by `cgroup.freeze`, or the v1 freezer,
//! which nobody inside can lift. Keeps true: undo lets go only what was not still before.

use super::cgroup::{Group, Paths};
use super::crowd::{Crowd, thread_states};
use super::hands::{Hands, input};
use super::identity::{self, cannot};
use super::may;
use super::order::Order;
use super::pace::{Over, Pace};
use super::scope::{Circle, Scope};
use super::stat::{Stat, Status};
use super::target::{Seen, process_of};
use quell_model::{
    Action, ActionContext, ActionError, ActionSpec, Admitted, Guarantee, Json, Lane, Plan, ProcessId, Truth, Want,
};
use rustix::process::Signal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What it is.
pub static SPEC: ActionSpec = ActionSpec {
    name: "process.freeze",
    summary: "holds a process, or all that its scope holds, still",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Contain,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: true,
    targets: &["process"],
    permissions: &["CAP_KILL", "CAP_SYS_PTRACE"],
    predict: |_| json!({ "frozen": [] }),
};

/// Asking again within the first poll of `run`.
const FIRST_WAIT: Duration = Duration::from_millis(2);
/// Waiting for stillness: what takes longer hangs in the kernel.
const STILL: Duration = Duration::from_secs(5);
/// Left of the deadline for the answer.
const MARGIN: Duration = Duration::from_millis(50);

/// What is to be held still.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The process.
    pub process: ProcessId,
    /// How far to reach.
    #[serde(default)]
    pub scope: Scope,
}

/// What is held still.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The processes.
    pub frozen: Vec<Seen>,
}

/// What stood before, so that undo lets go no more than was taken.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Before {
    /// Processes that somebody had stopped already.
    still: Vec<ProcessId>,
    /// The cgroup was frozen already.
    group_frozen: bool,
}

impl Before {
    fn of(plan: &Plan) -> Self {
        serde_json::from_value(plan.before.clone()).unwrap_or_default()
    }

    fn had(&self, id: &ProcessId) -> bool {
        self.still.iter().any(|still| still.same_process(id))
    }
}

/// The verb.
#[derive(Debug)]
pub(crate) struct Freeze(pub(crate) Arc<Hands>);

impl Freeze {
    async fn plan_now(&self, input: &Input) -> Result<Plan, ActionError> {
        let world = &self.0.world;
        let stat = self.0.look(&input.process)?;
        let mut pace = Pace::begin();
        let circle = Circle::around_this(world, &input.process, stat, input.scope, &mut pace).await?;
        let order = Order::new(SPEC.name, input.process.clone(), input.scope, &circle);
        let mut before = Before::default();
        pace.again();
        for member in &circle.members {
            pace.step().await.map_err(Over::of_scope)?;
            if self.is_stopped(&member.stat, &mut pace).await? {
                before.still.push(member.id.clone());
            }
        }
        before.group_frozen = circle.group.as_ref().map(Group::is_frozen).transpose()?.unwrap_or(false);
        let already = if circle.group.is_some() {
            before.group_frozen
        } else {
            let mut still = true;
            for member in &circle.members {
                pace.step().await.map_err(Over::of_scope)?;
                still = still && self.is_still(&member.stat, &mut pace).await?;
            }
            still
        };
        let mut still_open = circle.unknown.clone();
        if circle.group.is_none() && !circle.members.is_empty() {
            still_open.push("SIGSTOP can be lifted by the same user; a cgroup's freezer cannot".to_owned());
        }
        let frozen = circle.seen(world, &mut pace).await?;
        Ok(Plan {
            targets: circle.targets(world, &mut pace).await?,
            calls: std::iter::once(order.to_json()).chain(calls(&circle)).collect(),
            before: serde_json::to_value(&before).expect("what stood before has string keys only"),
            predicted: json!({ "frozen": frozen }),
            would_fail: refused(&circle),
            still_open,
            already,
        })
    }

    /// Whether all its threads are stopped by a signal, or will be before their next instruction, as [`Self::is_still`] has it:
    /// what was proved to stand does not count as gone a moment later.
    async fn is_stopped(&self, stat: &Stat, pace: &mut Pace) -> Result<bool, ActionError> {
        let states = thread_states(&self.0, stat.pid, pace).await?;
        if all_stopped(&states) {
            return Ok(true);
        }
        if !states.contains(&'D') || !states.iter().all(|state| matches!(state, 'T' | 'Z' | 'X' | 'D')) {
            return Ok(false);
        }
        let status = Status::read(&self.0.world, stat.pid).map_err(|error| cannot("read", &stat.label(), &error))?;
        Ok(status.is_some_and(|status| status.stop_pending))
    }

    /// Whether it runs no more: stopped, dead, or held by one of its cgroups. One that waits in the kernel with SIGSTOP
    /// pending counts: it stops before its next instruction. (A parent in vfork(2) waits so for a child that is stopped.)
    async fn is_still(&self, stat: &Stat, pace: &mut Pace) -> Result<bool, ActionError> {
        let states = thread_states(&self.0, stat.pid, pace).await?;
        let stands = |state: &char| matches!(state, 'T' | 'Z' | 'X');
        if states.iter().all(stands) {
            return Ok(true);
        }
        let world = &self.0.world;
        let wrong = |error: std::io::Error| cannot("read", &stat.label(), &error);
        if states.iter().all(|state| stands(state) || *state == 'D')
            && Status::read(world, stat.pid).map_err(wrong)?.is_none_or(|status| status.stop_pending)
        {
            return Ok(true);
        }
        let Some(paths) = Paths::read(world, stat.pid).map_err(wrong)? else { return Ok(true) };
        for group in [paths.group(world), paths.freezer_group(world)].into_iter().flatten() {
            if group.is_frozen()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn all_still(&self, crowd: &Crowd<'_>) -> Result<bool, ActionError> {
        let mut pace = Pace::begin();
        for one in &crowd.members {
            pace.step().await.map_err(Over::of_scope)?;
            if !one.held.is_dead() && !self.is_still(&one.held.stat, &mut pace).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn why_not_still(&self, stat: &Stat, pace: &mut Pace) -> Result<Option<String>, ActionError> {
        if self.is_still(stat, pace).await? {
            return Ok(None);
        }
        let label = stat.label();
        let status = Status::read(&self.0.world, stat.pid).map_err(|error| cannot("read", &label, &error))?;
        Ok(match status {
            None => None,
            Some(status) if status.tracer != 0 => {
                Some(format!("{label} is traced by process {}, which can let it go on", status.tracer))
            }
            Some(_) if stat.state == 'D' => {
                Some(format!("{label} waits in the kernel (uninterruptible sleep); it stops when the kernel lets go"))
            }
            Some(_) => Some(format!("{label} runs")),
        })
    }

    /// Everyone of the plan and of its scope who is there now.
    async fn around(&self, plan: &Plan, order: &Order) -> Result<Crowd<'_>, ActionError> {
        let mut crowd = Crowd::of_plan(&self.0, plan, Vec::new())?;
        if order.scope != Scope::Process {
            crowd.take_newcomers(order).await?;
        }
        Ok(crowd)
    }

    async fn hold_group(&self, group: &Group, frozen: bool, cx: &ActionContext) -> Result<(), ActionError> {
        if frozen { group.freeze() } else { group.thaw() }?;
        let begun = Instant::now();
        while begun.elapsed() < FIRST_WAIT {
            if group.is_frozen()? == frozen {
                return Ok(());
            }
            std::thread::yield_now();
        }
        let mut patience = Patience::of(cx);
        while group.is_frozen()? != frozen && patience.goes_on(cx).await {}
        Ok(())
    }
}

/// What would be called, for people.
fn calls(circle: &Circle) -> Vec<Json> {
    match &circle.group {
        Some(group) => vec![json!({ "call": "freeze", "cgroup": group.path })],
        None => {
            let send = |member: &super::scope::Member| json!({ "call": "pidfd_send_signal", "signal": "STOP", "process": member.stat.label() });
            circle.members.iter().map(send).collect()
        }
    }
}

/// What the kernel would refuse of it.
fn refused(circle: &Circle) -> Vec<String> {
    match &circle.group {
        Some(group) => may::write(group, group.freezer()),
        None => may::signal(circle),
    }
}

/// One that has ended since it was looked at has no thread left that is stopped.
fn all_stopped(states: &[char]) -> bool {
    states.contains(&'T') && states.iter().all(|state| matches!(state, 'T' | 'Z' | 'X'))
}

/// Sleeps in growing steps until the attempt's time is over or somebody asks to stop; `verify` judges.
struct Patience {
    until: u64,
    step: Duration,
}

impl Patience {
    fn of(cx: &ActionContext) -> Self {
        let last = cx.deadline.boot_ns.saturating_sub(u64::try_from(MARGIN.as_nanos()).unwrap_or(u64::MAX));
        Self { until: cx.clock.now().after(STILL).boot_ns.min(last), step: Duration::from_millis(1) }
    }

    /// False: it is over.
    async fn goes_on(&mut self, cx: &ActionContext) -> bool {
        let now = cx.clock.now();
        if now.boot_ns >= self.until || cx.stop.is_raised() {
            return false;
        }
        cx.clock.sleep_until(now.after(self.step.min(Duration::from_nanos(self.until - now.boot_ns)))).await;
        self.step = (self.step * 2).min(Duration::from_millis(50));
        true
    }
}

#[async_trait::async_trait]
impl Action for Freeze {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        self.plan_now(&input(json)?).await
    }

    async fn run(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        let order = Order::of(go.plan())?;
        let planned: Output = serde_json::from_value(go.plan().predicted.clone()).unwrap_or_default();
        let mut crowd = Crowd::of_plan(&self.0, go.plan(), planned.frozen)?;
        if let Some(group) = &order.group {
            crowd.may_touch_group(&order).await?;
            self.hold_group(group, true, cx).await?;
            crowd.take_newcomers(&order).await?;
        } else {
            let mut patience = Patience::of(cx);
            while !(crowd.halt(&order).await? && self.all_still(&crowd).await?) && patience.goes_on(cx).await {}
        }
        drop(crowd.release_dead());
        let frozen: Vec<Seen> = crowd.members.into_iter().map(|one| one.seen).collect();
        Ok(json!({ "frozen": frozen }))
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        let order = Order::of(plan)?;
        let before = Before::of(plan);
        let (mut against, mut pace) = (Vec::new(), Pace::begin());
        if let Some(group) = &order.group {
            match (want, group.is_frozen()?) {
                (Want::Acted, false) if group.dir().is_dir() => against.push(format!("{group} is not frozen")),
                (Want::Undone, true) if !before.group_frozen => against.push(format!("{group} is frozen")),
                _ => {}
            }
        } else if want == Want::Acted {
            for one in &self.around(plan, &order).await?.members {
                pace.step().await.map_err(Over::of_scope)?;
                if let Some(stat) = identity::now(&self.0.world, &one.held.id)? {
                    against.extend(self.why_not_still(&stat, &mut pace).await?);
                }
            }
        } else {
            for id in plan.targets.iter().filter_map(process_of) {
                pace.step().await.map_err(Over::of_scope)?;
                if !before.had(id)
                    && let Some(stat) = identity::now(&self.0.world, id)?
                    && !stat.is_dead()
                    && self.is_stopped(&stat, &mut pace).await?
                {
                    against.push(format!("{} is stopped", stat.label()));
                }
            }
        }
        Ok(if against.is_empty() { Truth::Holds } else { Truth::HoldsNot(against.join("; ")) })
    }

    async fn undo(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        let order = Order::of(go.plan())?;
        let before = Before::of(go.plan());
        let mut crowd = self.around(go.plan(), &order).await?;
        if let Some(group) = &order.group {
            if !before.group_frozen {
                self.hold_group(group, false, cx).await?;
            }
        } else {
            // Children before their parents: nobody meets a family that is half asleep.
            crowd.members.retain(|one| !before.had(&one.held.id));
            for one in crowd.members.iter().rev() {
                one.held.signal(Signal::CONT)?;
            }
        }
        drop(crowd.release_dead());
        let released: Vec<Seen> = crowd.members.into_iter().map(|one| one.seen).collect();
        Ok(json!({ "released": released }))
    }
}

#[cfg(test)]
#[path = "freeze/tests.rs"]
mod tests;
