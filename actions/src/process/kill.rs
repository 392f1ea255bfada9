//! `process.kill`: ends a process, or all that its scope holds, by identity and with proof.
//!
//! ```text
//! [signal, grace] ─▶ SIGSTOP, parents first, until nobody new ─▶ SIGKILL ─▶ poll(pidfds) ─▶ look again ─▶ dead
//!                    (a cgroup: cgroup.kill, or freeze · SIGKILL · thaw)
//!                    (a tree, with the kernel's hands: marked, then SIGKILL, until nobody lives and nobody was born)
//! ```
//!
//! Stated answers: a zombie is dead; who waits in the kernel (D) is told as alive until the kernel lets go; pid 1 of a
//! container may be killed, and its container ends; pid 1 of the host, kernel threads, quell and its ancestors never are;
//! quell's own children are nobody special. A chain of processes that fork and die faster than /proc can be read is
//! caught by the kernel's hands ([`Doom`](quell_model::Doom)), its cgroup or session, or, mostly, by
//! [`Lineage`](crate::Lineage); without these the plan says so (`still_open`).
//!
//! Keeps true: the first poll of `run` strikes, unless there is more to look through than a moment's worth, and blocks for no longer than that
//! and `FIRST_WAIT`; who comes back at once is killed again `RESPAWNS` times, then told. However often quell dies in the midst of
//! it, of the plan as many are told as killed as without that; whose end nobody saw is named in `gone`.

use super::cgroup::Group;
use super::crowd::{Crowd, InHand};
use super::hands::{Hands, input};
use super::identity;
use super::may;
use super::order::Order;
use super::pace::{Over, Pace};
use super::scope::{Circle, Scope};
use super::target::{Seen, process_of};
use crate::span::Span;
use quell_model::{
    Action, ActionContext, ActionError, ActionSpec, Admitted, Guarantee, Json, Lane, Plan, ProcessId, Stamp, Truth,
    Want,
};
use rustix::process::Signal as Sent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What it is.
pub static SPEC: ActionSpec = ActionSpec {
    name: "process.kill",
    summary: "ends a process, or all that its scope holds",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Contain,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: false,
    targets: &["process"],
    permissions: &["CAP_KILL", "CAP_SYS_PTRACE"],
    predict: |_| json!({ "killed": [], "gone": [], "respawned": 0 }),
};

/// Waiting in poll(2) within the first poll of `run`.
const FIRST_WAIT: Duration = Duration::from_millis(2);
/// Waiting for death after SIGKILL: what takes longer hangs in the kernel.
const DEATH: Duration = Duration::from_secs(5);
/// How often who comes back is killed again.
const RESPAWNS: u32 = 5;
/// How long a session or a cgroup is watched for who comes back at once.
const LINGER: Duration = Duration::from_millis(25);
/// How often a marked tree is swept within one strike.
const ROUNDS: u32 = 8;
/// Left of the deadline for the answer.
const MARGIN: Duration = Duration::from_millis(50);

/// What is to be ended, and how.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The process.
    pub process: ProcessId,
    /// How far to reach.
    #[serde(default)]
    pub scope: Scope,
    /// The first signal.
    #[serde(default)]
    pub signal: Signal,
    /// How long the first signal has before SIGKILL follows; of no meaning with KILL.
    #[serde(default)]
    grace: Span,
}

/// A signal that asks a process to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Signal {
    /// Cannot be refused.
    #[default]
    Kill,
    /// The usual request.
    Term,
    /// As Ctrl-C.
    Int,
    /// As a closed terminal.
    Hup,
    /// As Ctrl-\, with a core dump.
    Quit,
}

impl Signal {
    const ALL: [(Self, &'static str, Sent); 5] = [
        (Self::Kill, "KILL", Sent::KILL),
        (Self::Term, "TERM", Sent::TERM),
        (Self::Int, "INT", Sent::INT),
        (Self::Hup, "HUP", Sent::HUP),
        (Self::Quit, "QUIT", Sent::QUIT),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(signal, ..)| *signal == self).map_or("KILL", |(_, name, _)| name)
    }

    fn named(name: &str) -> Option<Sent> {
        Self::ALL.iter().find(|(_, known, _)| *known == name).map(|(.., sent)| *sent)
    }
}

/// What was ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The processes, as they were when they were planned or found.
    pub killed: Vec<Seen>,
    /// Of these, who had ended already when an act was taken up that quell had died in the midst of: by that act, or by
    /// themselves since. Nobody saw which.
    #[serde(default)]
    pub gone: Vec<ProcessId>,
    /// How many of them came after the plan was made.
    #[serde(default)]
    pub respawned: u32,
}

/// The verb.
#[derive(Debug)]
pub(crate) struct Kill {
    hands: Arc<Hands>,
    linger: Duration,
}

impl Kill {
    pub(crate) fn new(hands: Arc<Hands>) -> Self {
        Self { hands, linger: LINGER }
    }

    async fn plan_now(&self, input: &Input) -> Result<Plan, ActionError> {
        if input.signal == Signal::Kill && !input.grace.0.is_zero() {
            return Err(ActionError::GiveUp {
                why: "`grace` has no meaning with `signal: KILL`".to_owned(),
                hint: Some("`signal: TERM` asks first, and KILL follows after `grace`".to_owned()),
            });
        }
        let world = &self.hands.world;
        let stat = self.hands.look(&input.process)?;
        let mut pace = Pace::begin();
        let circle = Circle::around_this(world, &input.process, stat, input.scope, &mut pace).await?;
        let signal = input.signal.name();
        let order = Order {
            signal: (signal != "KILL").then(|| signal.to_owned()),
            grace_ms: u64::try_from(input.grace.0.as_millis()).unwrap_or(u64::MAX),
            ..Order::new(SPEC.name, input.process.clone(), input.scope, &circle)
        };
        let killed = circle.seen(world, &mut pace).await?;
        Ok(Plan {
            targets: circle.targets(world, &mut pace).await?,
            calls: std::iter::once(order.to_json()).chain(calls(&circle, signal)).collect(),
            before: Json::Null,
            already: circle.members.is_empty() && !circle.restless,
            predicted: to_json(&Output { killed, ..Output::default() }),
            would_fail: refused(&circle),
            still_open: circle.unknown,
        })
    }
}

impl Kill {
    /// Whether somebody is in the scope again; then they are in hand.
    async fn comes_back(
        &self,
        crowd: &mut Crowd<'_>,
        order: &Order,
        complete: bool,
        cx: &ActionContext,
    ) -> Result<bool, ActionError> {
        let (until, step) = match order.scope {
            Scope::Process => return Ok(false),
            // Whoever watched the forks may know of one who got away before the tree stood still.
            Scope::Tree if complete && !self.hands.world.is_watched() => return Ok(false),
            Scope::Tree if self.hands.world.doom().is_some() => return comes_forth(crowd, order).await,
            Scope::Tree => (cx.clock.now(), self.linger),
            Scope::Session | Scope::Cgroup | Scope::Container => (cx.clock.now().after(self.linger), LINGER / 5),
        };
        loop {
            if crowd.take_newcomers(order).await? > 0 {
                return Ok(true);
            }
            let now = cx.clock.now();
            if now.boot_ns >= until.boot_ns || cx.stop.is_raised() {
                return Ok(false);
            }
            cx.clock.sleep_until(now.after(step)).await;
        }
    }
}

/// What the kernel would refuse of it: a cgroup ends all at once, or each is signalled.
fn refused(circle: &Circle) -> Vec<String> {
    match circle.group.as_ref().filter(|group| group.has("cgroup.kill")) {
        Some(group) => may::write(group, "cgroup.kill"),
        None => may::signal(circle),
    }
}

/// What would be called, for people.
fn calls(circle: &Circle, signal: &str) -> Vec<Json> {
    match &circle.group {
        Some(group) => {
            vec![json!({ "call": "cgroup.kill", "cgroup": group.path, "else": "freeze, SIGKILL each, thaw" })]
        }
        None => {
            let send = |member: &super::scope::Member| json!({ "call": "pidfd_send_signal", "signal": signal, "process": member.stat.label() });
            circle.members.iter().map(send).collect()
        }
    }
}

/// Strikes a tree that is marked in the kernel, until nobody of it lives and nobody was born since: who is not struck here
/// is struck there. False when the kernel's hands are not there or do not know it, or births go on beyond [`ROUNDS`].
async fn strike_doomed(crowd: &mut Crowd<'_>, order: &Order) -> Result<bool, ActionError> {
    let Some(mut latest) = crowd.doom(order).await? else { return Ok(false) };
    for _ in 0..ROUNDS {
        crowd.take_newcomers(order).await?;
        crowd.signal(Sent::KILL)?;
        if !crowd.wait(FIRST_WAIT) || crowd.has_awaited() {
            return Ok(false);
        }
        match crowd.doom(order).await? {
            Some(now) if now == latest && crowd.is_dead() && !crowd.has_awaited() => return Ok(true),
            Some(now) => latest = now,
            None => return Ok(false),
        }
    }
    Ok(false)
}

/// Whether somebody of a marked tree lives, or was born while it was looked for.
async fn comes_forth(crowd: &mut Crowd<'_>, order: &Order) -> Result<bool, ActionError> {
    let is_there = |crowd: &Crowd<'_>| !crowd.members.is_empty() || crowd.has_awaited();
    let Some(before) = crowd.doom(order).await? else {
        return Ok(crowd.take_newcomers(order).await? > 0 || is_there(crowd));
    };
    Ok(is_there(crowd) || crowd.doom(order).await?.is_none_or(|after| after != before) || is_there(crowd))
}

/// One strike at all in hand. True when nobody can have escaped it.
async fn strike(crowd: &mut Crowd<'_>, order: &Order) -> Result<bool, ActionError> {
    if let Some(group) = &order.group {
        crowd.may_touch_group(order).await?;
        return strike_group(crowd, order, group).await;
    }
    // Who could not be halted, or looked through, may be killed all the same: whoever is in hand is.
    let complete = match strike_doomed(crowd, order).await {
        Ok(true) => return Ok(true),
        Ok(false) if order.scope == Scope::Process => Ok(true),
        Ok(false) => crowd.halt(order).await,
        Err(error) => Err(error),
    };
    crowd.signal(Sent::KILL)?;
    complete
}

/// A cgroup that cannot be killed or held still is no reason to signal nobody in it; and however the signals went, nobody
/// is left frozen.
async fn strike_group(crowd: &mut Crowd<'_>, order: &Order, group: &Group) -> Result<bool, ActionError> {
    let whole = group.kill().unwrap_or_else(|error| {
        tracing::warn!(%error, "the processes of the cgroup are signalled each by itself");
        false
    });
    if !whole {
        // Held still first and looked at again, so that no fork gets away between the list and the signals. What v1 holds
        // dies when it is thawed, before it runs another instruction of its own.
        let held = hold_still(group);
        let thaws = Thaws(group);
        let struck = crowd.may_touch_group(order).await.and_then(|()| crowd.signal(Sent::KILL));
        let thawed = thaws.now();
        match held {
            Ok(()) => struck.and(thawed)?,
            Err(error) => {
                tracing::warn!(%error, "the cgroup cannot be held still while its processes are signalled");
                struck?;
            }
        }
    }
    // Respawns come into the same cgroup: it is looked at again.
    Ok(false)
}

/// A cgroup that goes on also when the act is cut short.
struct Thaws<'g>(&'g Group);

impl Thaws<'_> {
    fn now(self) -> Result<(), ActionError> {
        let thawed = self.0.thaw();
        std::mem::forget(self);
        thawed
    }
}

impl Drop for Thaws<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.thaw() {
            tracing::warn!(%error, "a cgroup stays frozen");
        }
    }
}

/// Freezes it and waits a moment until it stands; who waits in the kernel may take longer, and forks no more than the rest.
fn hold_still(group: &Group) -> Result<(), ActionError> {
    group.freeze()?;
    let begun = Instant::now();
    while !group.is_frozen()? && begun.elapsed() < FIRST_WAIT {
        std::thread::yield_now();
    }
    Ok(())
}

/// Sleeps in growing steps until all in hand have ended or `until` has come; says whether they have.
async fn all_dead(crowd: &Crowd<'_>, cx: &ActionContext, until: Stamp) -> bool {
    let mut step = Duration::from_millis(1);
    while !crowd.is_dead() {
        let now = cx.clock.now();
        if now.boot_ns >= until.boot_ns || cx.stop.is_raised() {
            return false;
        }
        let next = now.after(step);
        cx.clock.sleep_until(if next.boot_ns < until.boot_ns { next } else { until }).await;
        step = (step * 2).min(Duration::from_millis(50));
    }
    true
}

fn earlier(one: Stamp, other: Stamp) -> Stamp {
    if one.boot_ns < other.boot_ns { one } else { other }
}

fn to_json(output: &Output) -> Json {
    serde_json::to_value(output).expect("an output has string keys only")
}

/// Who was in hand, as the output tells it.
fn tell(output: &mut Output, dead: Vec<InHand>) {
    for one in dead {
        output.respawned += u32::from(one.late);
        output.killed.push(one.seen);
    }
}

/// Those of a plan who had ended when it was taken up.
fn tell_gone(output: &mut Output, planned: impl IntoIterator<Item = Seen>) {
    let killed: HashSet<ProcessId> = output.killed.iter().map(|one| one.id.clone()).collect();
    for one in planned.into_iter().filter(|one| !killed.contains(&one.id)) {
        output.gone.push(one.id.clone());
        output.killed.push(one);
    }
}

/// Whom a plan was to end.
fn planned(plan: &Plan) -> Vec<Seen> {
    Output::deserialize(&plan.predicted).unwrap_or_default().killed
}

#[async_trait::async_trait]
impl Action for Kill {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        self.plan_now(&input(json)?).await
    }

    async fn run(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        let order = Order::of(go.plan())?;
        let planned = planned(go.plan());
        let before = if cx.taken_up { planned.clone() } else { Vec::new() };
        let mut crowd = Crowd::of_plan(&self.hands, go.plan(), planned)?;
        let last = Stamp { boot_ns: cx.deadline.boot_ns.saturating_sub(MARGIN.as_nanos() as u64), ..cx.deadline };
        if let Some(signal) = order.signal.as_deref().and_then(Signal::named) {
            crowd.signal(signal)?;
            let grace = cx.clock.now().after(Duration::from_millis(order.grace_ms));
            all_dead(&crowd, cx, earlier(grace, last)).await;
        }
        let until = earlier(cx.clock.now().after(DEATH), last);
        let mut output = Output::default();
        let mut respawns = 0;
        loop {
            let complete = strike(&mut crowd, &order).await?;
            if !crowd.wait(FIRST_WAIT) {
                crowd.free_from_freezer()?;
                if !all_dead(&crowd, cx, until).await {
                    break;
                }
            }
            tell(&mut output, crowd.release_dead());
            crowd.take()?;
            if !crowd.members.is_empty() {
                if cx.clock.now().boot_ns >= until.boot_ns {
                    break;
                }
                continue;
            }
            if respawns == RESPAWNS || !self.comes_back(&mut crowd, &order, complete, cx).await? {
                break;
            }
            respawns += 1;
        }
        tell(&mut output, crowd.release_dead());
        tell_gone(&mut output, before.into_iter().filter(|one| !crowd.has(&one.id)));
        Ok(to_json(&output))
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        if want == Want::Undone {
            return Ok(Truth::CannotAsk);
        }
        let order = Order::of(plan)?;
        let world = &self.hands.world;
        let mut alive = Vec::new();
        let mut pace = Pace::begin();
        for id in plan.targets.iter().filter_map(process_of) {
            pace.step().await.map_err(Over::of_scope)?;
            match identity::living(world, id)? {
                Some(stat) if stat.state == 'D' => alive.push(format!(
                    "{} waits in the kernel (uninterruptible sleep); it dies when the kernel lets go",
                    stat.label()
                )),
                Some(stat) => alive.push(format!("{} is alive", stat.label())),
                None => {}
            }
        }
        if alive.is_empty() && order.scope != Scope::Process {
            let mut crowd = Crowd::of_plan(&self.hands, plan, Vec::new())?;
            crowd.take_newcomers(&order).await?;
            let came = crowd.members.iter().filter(|one| !one.held.is_dead());
            alive.extend(came.map(|one| format!("{} came after it", one.held.stat.label())));
        }
        Ok(if alive.is_empty() { Truth::Holds } else { Truth::HoldsNot(alive.join("; ")) })
    }

    fn unseen(&self, plan: &Plan) -> Json {
        let mut output = Output::default();
        tell_gone(&mut output, planned(plan));
        to_json(&output)
    }

    async fn undo(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        Err(ActionError::give_up("what was killed cannot be brought back"))
    }
}

#[cfg(test)]
#[path = "kill/tests.rs"]
mod tests;
