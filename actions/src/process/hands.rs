//! The hands that all verbs of this folder share: the world, and what they refuse by themselves.
//!
//! The guard decides; this is the second lock, for what a scope finds after the guard has seen the plan. Keeps true: pid
//! 1, kernel threads, quell and its ancestors are never signalled; a sandbox's hands reach no further than its cgroup.

use super::cgroup::Paths;
use super::identity::{self, Held, cannot, wants_descriptors};
use super::stat::Stat;
use super::target::{Relation, target};
use crate::protect::own_processes;
use crate::world::HostWorld;
use quell_model::{ActionError, Plan, ProcessId, Target, TargetFacts};
use serde::de::DeserializeOwned;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a plan took in hand is the act's for so long; later it is looked at anew.
const KEPT: Duration = Duration::from_millis(50);

/// The world, and who is never touched in it.
#[derive(Debug)]
pub(crate) struct Hands {
    pub(crate) world: HostWorld,
    own: Vec<ProcessId>,
    /// Whom the last plan named: the act follows at once. One descriptor, held until the next plan.
    kept: Mutex<Option<(Held, Instant)>>,
}

impl Hands {
    pub(crate) fn new(world: HostWorld) -> Self {
        Self { own: own_processes(&world), world, kept: Mutex::default() }
    }

    /// How the process of this identity stands now; `None` when it is gone. It stays in hand for the act that follows.
    pub(crate) fn look(&self, id: &ProcessId) -> Result<Option<Stat>, ActionError> {
        match Held::try_take(&self.world, id) {
            Ok(held) => {
                let stat = held.as_ref().map(|held| held.stat.clone());
                *self.kept() = held.map(|held| (held, Instant::now()));
                Ok(stat)
            }
            // A plan can do without a descriptor.
            Err(error) if wants_descriptors(&error) => identity::now(&self.world, id),
            Err(error) => Err(cannot("opened", &id.pid.to_string(), &error)),
        }
    }

    /// Takes the process of this identity, or goes on holding it; `None` when it is gone.
    pub(crate) fn take(&self, id: &ProcessId) -> io::Result<Option<Held>> {
        let kept = self.kept().take_if(|(held, at)| held.id == *id && at.elapsed() < KEPT);
        kept.map_or_else(|| Held::try_take(&self.world, id), |(held, _)| Ok(Some(held)))
    }

    fn kept(&self) -> MutexGuard<'_, Option<(Held, Instant)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same hands, which take one more for their own.
    #[cfg(test)]
    pub(crate) fn with_own(mut self, id: ProcessId) -> Self {
        self.own.push(id);
        self
    }

    /// quell, and what started quell.
    pub(crate) fn own(&self) -> &[ProcessId] {
        &self.own
    }

    /// Why a v2 cgroup may not be held still or cut off, if quell or what started it is in it or below.
    pub(crate) fn has_own(&self, path: &str) -> Option<String> {
        let is_in = |own: &ProcessId| {
            let paths = Paths::read(&self.world, own.pid).ok().flatten().unwrap_or_default();
            let rest = paths.v2().and_then(|its| its.strip_prefix(path.trim_end_matches('/')).map(str::to_owned));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let own = self.own.iter().find(|own| own.pid > 1 && is_in(own))?;
        Some(format!("quell or what started quell is in it (pid {})", own.pid))
    }

    /// Refuses a plan that holds what these hands never touch.
    pub(crate) fn may_do(&self, plan: &Plan) -> Result<(), ActionError> {
        self.may_touch_all(plan.targets.iter())
    }

    /// Refuses if there is one among them that these hands never touch.
    pub(crate) fn may_touch_all<'a>(&self, targets: impl Iterator<Item = &'a Target>) -> Result<(), ActionError> {
        for target in targets {
            if let Some(why) = self.objection(target) {
                return Err(ActionError::give_up(format!("{} is not touched: {why}", target.label)));
            }
        }
        Ok(())
    }

    /// Whether somebody whom a scope found later may be touched.
    pub(crate) fn may_touch(&self, stat: &Stat, relation: Relation) -> bool {
        self.objection(&target(&self.world, stat, &stat.id(&self.world), relation)).is_none()
    }

    fn objection(&self, target: &Target) -> Option<String> {
        if target.node != self.world.node {
            return Some(format!("it is on node `{}`", target.node));
        }
        if let TargetFacts::Cgroup { path, needed, .. } = &target.facts {
            let own = || (path != "/").then(|| self.has_own(path)).flatten();
            let outside = || self.world.within.as_ref().and_then(|within| within.objection(target));
            return needed.clone().or_else(own).or_else(outside);
        }
        let TargetFacts::Process { id, kernel_thread, .. } = &target.facts else {
            return Some("it is neither a process nor a cgroup".to_owned());
        };
        if id.pid <= 1 || *kernel_thread {
            return Some("it is pid 1 or a kernel thread".to_owned());
        }
        if self.own.iter().any(|own| own.same_process(id)) {
            return Some("it is quell or what started quell".to_owned());
        }
        self.world.within.as_ref().and_then(|within| within.objection(target))
    }
}

/// An action's input as its type.
pub(crate) fn input<T: DeserializeOwned>(input: &quell_model::Json) -> Result<T, ActionError> {
    T::deserialize(input).map_err(|error| ActionError::give_up(format!("the input cannot be read: {error}")))
}
