//! The processes of one act, in hand: taken by identity, halted, struck, waited for.
//!
//! Owns their pidfds for the time of the act. Keeps true: nobody is in hand twice; at most [`MOST_HELD`] descriptors are
//! open, the rest wait their turn; whoever was not in the plan passes [`Hands::may_touch`] first.

use super::cgroup::Paths;
use super::hands::Hands;
use super::identity::{self, Held, cannot, wants_descriptors};
use super::order::Order;
use super::pace::{Over, Pace};
use super::scope::Scope;
use super::stat::Stat;
use super::target::{Relation, Seen, process_of};
use super::tree::{self, Table};
use crate::pidfd::{Pidfd, look_for_exit, wait_for_exits};
use crate::world::CgroupKind;
use quell_model::{ActionError, Plan, ProcessId};
use rustix::process::Signal;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

/// Descriptors in hand at once: half of the usual limit of 1,024. In tests few, so that their trees have to wait.
const MOST_HELD: usize = if cfg!(test) { 32 } else { 512 };
/// How often a tree is walked again before it is struck as it is: a chain of forks could go on for ever.
const ROUNDS: usize = 8;
/// How long a mark in the kernel lasts: longer than an act, much shorter than the time until a number is another's.
const DOOM: Duration = Duration::from_secs(30);
/// How long SIGSTOP may take to be obeyed, a round.
const SETTLE: Duration = Duration::from_millis(1);

/// One process in hand.
#[derive(Debug)]
pub(crate) struct InHand {
    pub(crate) held: Held,
    /// How outputs tell it.
    pub(crate) seen: Seen,
    /// Appeared after the plan.
    pub(crate) late: bool,
    halted: bool,
}

/// Somebody who is to be taken.
#[derive(Debug)]
struct Awaited {
    id: ProcessId,
    seen: Option<Seen>,
}

/// All of one act.
#[derive(Debug)]
pub(crate) struct Crowd<'h> {
    hands: &'h Hands,
    pub(crate) members: Vec<InHand>,
    awaited: VecDeque<Awaited>,
    known: HashSet<(u32, u64)>,
    /// Of all that this act looks through.
    pub(super) pace: Pace,
    /// Found in the scope, and never touched.
    spared: Vec<String>,
}

impl<'h> Crowd<'h> {
    /// Takes the planned in hand; who is gone meanwhile is left out. `seen` are the plan's descriptions of them.
    pub(crate) fn of_plan(hands: &'h Hands, plan: &Plan, seen: Vec<Seen>) -> Result<Self, ActionError> {
        hands.may_do(plan)?;
        let mut crowd = Self {
            hands,
            members: Vec::new(),
            awaited: VecDeque::new(),
            known: HashSet::new(),
            pace: Pace::begin(),
            spared: Vec::new(),
        };
        let mut seen: HashMap<ProcessId, Seen> = seen.into_iter().map(|one| (one.id.clone(), one)).collect();
        for id in plan.targets.iter().filter_map(process_of) {
            crowd.known.insert((id.pid, id.start_ticks()));
            let seen = seen.remove(id);
            crowd.awaited.push_back(Awaited { id: id.clone(), seen });
        }
        crowd.take()?;
        Ok(crowd)
    }

    /// Takes those who wait, as far as descriptors go; the rest is taken when some of these have ended.
    pub(crate) fn take(&mut self) -> Result<(), ActionError> {
        while self.members.len() < MOST_HELD {
            let Some(next) = self.awaited.pop_front() else { break };
            let held = match self.hands.take(&next.id) {
                Ok(held) => held.filter(|held| !held.is_dead()),
                Err(error) if wants_descriptors(&error) && !self.members.is_empty() => {
                    self.awaited.push_front(next);
                    break;
                }
                Err(error) => return Err(cannot("opened", &next.id.pid.to_string(), &error)),
            };
            let Some(held) = held else { continue };
            let late = next.seen.is_none();
            let seen = next.seen.unwrap_or_else(|| Seen::read(&self.hands.world, &next.id));
            self.members.push(InHand { held, seen, late, halted: false });
        }
        Ok(())
    }

    /// Refuses to touch a cgroup as a whole when somebody is in it by now whom these hands never touch.
    pub(crate) async fn may_touch_group(&mut self, order: &Order) -> Result<(), ActionError> {
        self.take_newcomers(order).await?;
        match self.spared.first() {
            None => Ok(()),
            Some(who) => Err(ActionError::give_up(format!("{who} is in the cgroup by now, and is not touched"))),
        }
    }

    /// Marks the tree in the kernel, where its hands are; says when the latest of it was born. `None`: act without them.
    /// Whoever is never touched keeps the whole tree unmarked: the kernel asks nobody.
    pub(crate) async fn doom(&mut self, order: &Order) -> Result<Option<u64>, ActionError> {
        let Some(doom) = self.hands.world.doom().filter(|_| order.scope == Scope::Tree) else { return Ok(None) };
        self.take_newcomers(order).await?;
        if let Some(who) = self.spared.first() {
            tracing::warn!(who, "it is below the process and is not touched: the tree is not marked in the kernel");
            return Ok(None);
        }
        match doom.mark(&order.process, DOOM) {
            Ok(below) => Ok(Some(below.latest_birth_ns)),
            Err(why) => {
                tracing::warn!(why, process = %order.process, "not marked in the kernel: signals alone");
                Ok(None)
            }
        }
    }

    /// Whether somebody is still to be taken.
    pub(crate) fn has_awaited(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// Whether somebody is in hand, or still to be taken.
    pub(crate) fn has(&self, id: &ProcessId) -> bool {
        self.members.iter().any(|one| one.held.id == *id) || self.awaited.iter().any(|next| next.id == *id)
    }

    /// Those who have ended leave the hand.
    pub(crate) fn release_dead(&mut self) -> Vec<InHand> {
        let (dead, alive) = std::mem::take(&mut self.members).into_iter().partition(|one| one.held.is_dead());
        self.members = alive;
        dead
    }

    /// Takes whoever is in the scope by now and was not before; says how many.
    pub(crate) async fn take_newcomers(&mut self, order: &Order) -> Result<usize, ActionError> {
        let found = self.found(order).await?;
        let mut new = 0;
        self.pace.again();
        for (stat, relation) in found {
            self.pace.step().await.map_err(Over::of_scope)?;
            if stat.is_dead() || self.known.contains(&(stat.pid, stat.start_ticks)) {
                continue;
            }
            self.known.insert((stat.pid, stat.start_ticks));
            if self.hands.may_touch(&stat, relation) {
                self.awaited.push_back(Awaited { id: stat.id(&self.hands.world), seen: None });
                new += 1;
            } else {
                self.spared.push(stat.label());
            }
        }
        self.take()?;
        Ok(new)
    }

    async fn found(&mut self, order: &Order) -> Result<Vec<(Stat, Relation)>, ActionError> {
        let world = &self.hands.world;
        let pace = &mut self.pace;
        pace.again();
        let scoped = |stat| (stat, Relation::Scope);
        match order.scope {
            Scope::Process => Ok(Vec::new()),
            Scope::Tree => {
                let mut found = Vec::new();
                for id in world.descendants(&order.process) {
                    pace.step().await.map_err(Over::of_scope)?;
                    found.extend(identity::now(world, &id)?.map(|stat| (stat, Relation::Below)));
                }
                let roots: Vec<Stat> = self.members.iter().map(|one| one.held.stat.clone()).collect();
                if !roots.is_empty() {
                    found.extend(tree::descendants(world, &roots, true, pace).await?);
                }
                Ok(found)
            }
            Scope::Session => {
                let table = Table::read(world, pace).await?;
                Ok(table.all().filter(|stat| Some(stat.session) == order.session).cloned().map(scoped).collect())
            }
            Scope::Cgroup | Scope::Container => {
                let pids = match &order.group {
                    Some(group) => group.pids_at(pace).await?,
                    None => Vec::new(),
                };
                let mut found = Vec::with_capacity(pids.len());
                for pid in pids {
                    pace.step().await.map_err(Over::of_scope)?;
                    let stat = Stat::read(world, pid).map_err(|error| cannot("read", &pid.to_string(), &error))?;
                    found.extend(stat.map(scoped));
                }
                Ok(found)
            }
        }
    }

    /// SIGSTOP, parents first, walked again until nothing new appears. True when all stood still and the last walk found
    /// nobody: then nobody can have escaped. Blocks at most ROUNDS × (SETTLE and one walk).
    pub(crate) async fn halt(&mut self, order: &Order) -> Result<bool, ActionError> {
        // Also those who were halted before: somebody may have let them go on.
        self.members.iter_mut().for_each(|one| one.halted = false);
        for _ in 0..ROUNDS {
            let mut done = Ok(());
            for one in self.members.iter_mut().filter(|one| !one.halted) {
                done = done.and(one.held.signal(Signal::STOP).map(|_| one.halted = true));
            }
            done?;
            let settled = self.settle().await?;
            if order.scope == Scope::Process || self.take_newcomers(order).await? == 0 {
                return Ok(settled && !self.has_awaited());
            }
        }
        Ok(false)
    }

    async fn settle(&mut self) -> Result<bool, ActionError> {
        let begun = Instant::now();
        let mut moving: Vec<&InHand> = self.members.iter().collect();
        self.pace.again();
        loop {
            let mut still = Vec::with_capacity(moving.len());
            for one in moving {
                if !stands(self.hands, one, &mut self.pace).await? {
                    still.push(one);
                }
            }
            if still.is_empty() {
                return Ok(true);
            }
            if begun.elapsed() > SETTLE {
                return Ok(false);
            }
            moving = still;
            std::thread::yield_now();
        }
    }

    /// Sends a signal to all in hand, also where one of them may not be signalled: nobody lives on for that.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), ActionError> {
        let mut done = Ok(());
        for one in &self.members {
            done = done.and(one.held.signal(signal).map(drop));
        }
        done
    }

    /// Waits in poll(2) for all in hand to end, at most so long.
    pub(crate) fn wait(&self, bound: Duration) -> bool {
        if let [one] = &self.members[..] {
            look_for_exit(one.held.pidfd(), one.held.stat.processor);
        }
        wait_for_exits(self.pidfds(), bound)
    }

    fn pidfds(&self) -> impl Iterator<Item = &Pidfd> {
        self.members.iter().map(|one| one.held.pidfd())
    }

    /// Whether all in hand have ended.
    pub(crate) fn is_dead(&self) -> bool {
        self.members.iter().all(|one| one.held.is_dead())
    }

    /// Takes whoever was sent SIGKILL out of a frozen v1 cgroup: there it would not reach them until somebody thaws it,
    /// and others in it may be meant to stay frozen.
    pub(crate) fn free_from_freezer(&self) -> Result<(), ActionError> {
        let world = &self.hands.world;
        if world.root(CgroupKind::V1Freezer).is_none() {
            return Ok(());
        }
        for one in self.members.iter().filter(|one| !one.held.is_dead()) {
            let pid = one.held.id.pid;
            let label = one.held.stat.label();
            let paths = Paths::read(world, pid).map_err(|error| cannot("read", &label, &error))?;
            let Some(group) = paths.and_then(|paths| paths.freezer_group(world)) else { continue };
            if group.is_frozen()?
                && let Err(error) = group.move_out(pid)
                && !one.held.is_dead()
            {
                return Err(cannot("taken out of its frozen cgroup", &label, &error));
            }
        }
        Ok(())
    }
}

async fn stands(hands: &Hands, one: &InHand, pace: &mut Pace) -> Result<bool, ActionError> {
    // In `D` a thread can fork no more than in `T`: it is in the kernel, and the signal waits at the way out.
    let stands = |state| matches!(state, 'T' | 't' | 'Z' | 'X' | 'D');
    if one.held.is_dead() {
        return Ok(true);
    }
    let states = thread_states(hands, one.held.id.pid, pace).await?;
    Ok(states.into_iter().all(stands))
}

/// The state letter of every thread of a process; none when it is gone.
pub(crate) async fn thread_states(hands: &Hands, pid: u32, pace: &mut Pace) -> Result<Vec<char>, ActionError> {
    let world = &hands.world;
    let read = |error: &std::io::Error| cannot("read", &pid.to_string(), error);
    let Some(stat) = Stat::read(world, pid).map_err(|error| read(&error))? else { return Ok(Vec::new()) };
    if stat.threads <= 1 {
        return Ok(vec![stat.state]);
    }
    let tasks = super::stat::there(std::fs::read_dir(world.of(pid, "task"))).map_err(|error| read(&error))?;
    let mut states = Vec::new();
    for task in tasks.into_iter().flatten().flatten() {
        pace.step().await.map_err(Over::of_scope)?;
        let bytes = super::stat::there(std::fs::read(task.path().join("stat"))).map_err(|error| read(&error))?;
        states.extend(bytes.and_then(|bytes| Stat::parse(&bytes)).map(|stat| stat.state));
    }
    Ok(states)
}
