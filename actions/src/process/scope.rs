//! How far an act on a process reaches: from the one process to its whole container.
//!
//! Owns the list of who is in a scope when it is looked at. Never touches anybody. Keeps true: the root cgroup is no
//! scope; the named process comes first; of more than is looked through at this pace nobody is told.

use super::cgroup::{Group, Paths};
use super::identity::{self, cannot};
use super::pace::{Over, Pace};
use super::stat::Stat;
use super::target::{Relation, Seen, target};
use super::tree::{self, Table};
use crate::world::HostWorld;
use quell_model::{ActionError, ProcessId, Target, TargetFacts};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// How far to reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The process alone.
    #[default]
    Process,
    /// The process and all that it started, directly or not.
    Tree,
    /// All of its session: what a login or a setsid began.
    Session,
    /// All of its cgroup and below.
    Cgroup,
    /// All of its container.
    Container,
}

impl Scope {
    /// The word as inputs write it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Tree => "tree",
            Self::Session => "session",
            Self::Cgroup => "cgroup",
            Self::Container => "container",
        }
    }
}

/// One process of a scope.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: ProcessId,
    pub(crate) stat: Stat,
    pub(crate) relation: Relation,
}

/// Who is in a scope.
#[derive(Debug, Default)]
pub(crate) struct Circle {
    /// The living, the named first, parents before children.
    pub(crate) members: Vec<Member>,
    /// The cgroup that the scope means, in the scopes that mean one.
    pub(crate) group: Option<Group>,
    /// The session that the scope means, in the scope that means one.
    pub(crate) session: Option<u32>,
    /// What could not be found out.
    pub(crate) unknown: Vec<String>,
    /// Nobody was found, and yet somebody was born meanwhile.
    pub(crate) restless: bool,
}

/// How often nobody is looked for again while births go on.
const LOOKS: u32 = 8;

impl Circle {
    /// Looks around the named process.
    pub(crate) async fn around(
        world: &HostWorld,
        named: &ProcessId,
        scope: Scope,
        pace: &mut Pace,
    ) -> Result<Self, ActionError> {
        let stat = identity::now(world, named)?;
        Self::around_this(world, named, stat, scope, pace).await
    }

    /// Looks around the named process, which has just been looked at; `None`: it is gone.
    pub(crate) async fn around_this(
        world: &HostWorld,
        named: &ProcessId,
        stat: Option<Stat>,
        scope: Scope,
        pace: &mut Pace,
    ) -> Result<Self, ActionError> {
        let Some(stat) = stat else {
            return Self::around_the_gone(world, named, scope, pace).await;
        };
        let mut circle = Self::default();
        if !stat.is_dead() {
            circle.members.push(Member { id: named.clone(), stat: stat.clone(), relation: Relation::Named });
        }
        match scope {
            Scope::Process => {}
            Scope::Tree => {
                circle.add_tree(world, named, &stat, pace).await?;
                circle.settle(world, named, pace).await?;
            }
            Scope::Session => {
                circle.session = Some(stat.session);
                circle.add_session(world, stat.session, &stat, pace).await?;
            }
            Scope::Cgroup | Scope::Container => {
                let group = group_of(world, &stat, scope)?;
                circle.add_group(world, &group, &stat, pace).await?;
                circle.group = Some(group);
            }
        }
        Ok(circle)
    }

    async fn around_the_gone(
        world: &HostWorld,
        named: &ProcessId,
        scope: Scope,
        pace: &mut Pace,
    ) -> Result<Self, ActionError> {
        let mut circle = Self::default();
        if world.boot != named.boot || scope == Scope::Process {
            return Ok(circle);
        }
        if scope == Scope::Tree && world.is_watched() {
            circle.add_lineage(world, named, pace).await?;
            circle.settle(world, named, pace).await?;
        } else {
            circle.unknown.push(format!(
                "process {} is gone; what it left in its {} cannot be told",
                named.pid,
                scope.as_str()
            ));
        }
        Ok(circle)
    }

    async fn add_tree(
        &mut self,
        world: &HostWorld,
        named: &ProcessId,
        stat: &Stat,
        pace: &mut Pace,
    ) -> Result<(), ActionError> {
        self.add_lineage(world, named, pace).await?;
        // Whoever watched the forks knows of the re-parented; /proc alone has to be read whole for them.
        let found = tree::descendants(world, std::slice::from_ref(stat), !world.is_watched(), pace).await?;
        if !world.is_watched() {
            self.unknown.push("nobody watched the forks: who was left by a parent that died may be missed; `scope: cgroup` misses nobody".to_owned());
        }
        self.add(world, found);
        Ok(())
    }

    async fn add_lineage(&mut self, world: &HostWorld, named: &ProcessId, pace: &mut Pace) -> Result<(), ActionError> {
        let mut known = self.known();
        for id in world.descendants(named) {
            pace.step().await.map_err(Over::of_scope)?;
            if let Some(stat) = identity::now(world, &id)?
                && !stat.is_dead()
                && known.insert((stat.pid, stat.start_ticks))
            {
                self.members.push(Member { id, stat, relation: Relation::Below });
            }
        }
        Ok(())
    }

    /// A chain of forks may have nobody at the moment that is looked at: only when no birth came between is it so.
    async fn settle(&mut self, world: &HostWorld, named: &ProcessId, pace: &mut Pace) -> Result<(), ActionError> {
        let Some(doom) = world.doom().filter(|_| self.members.is_empty()) else { return Ok(()) };
        let mut before = doom.below(named).latest_birth_ns;
        for _ in 0..LOOKS {
            self.add_lineage(world, named, pace).await?;
            if !self.members.is_empty() {
                return Ok(());
            }
            let after = doom.below(named).latest_birth_ns;
            if after == before {
                return Ok(());
            }
            before = after;
        }
        self.restless = true;
        Ok(())
    }

    async fn add_session(
        &mut self,
        world: &HostWorld,
        session: u32,
        named: &Stat,
        pace: &mut Pace,
    ) -> Result<(), ActionError> {
        if session == 0 {
            return Err(ActionError::give_up("the session 0 is the kernel's own"));
        }
        let table = Table::read(world, pace).await?;
        let below: HashSet<u32> = table.below(std::slice::from_ref(named)).iter().map(|(stat, _)| stat.pid).collect();
        let found = table
            .all()
            .filter(|stat| stat.session == session)
            .map(|stat| (stat.clone(), if below.contains(&stat.pid) { Relation::Below } else { Relation::Scope }));
        self.add(world, found.collect());
        Ok(())
    }

    async fn add_group(
        &mut self,
        world: &HostWorld,
        group: &Group,
        named: &Stat,
        pace: &mut Pace,
    ) -> Result<(), ActionError> {
        let pids = group.pids_at(pace).await?;
        let below = tree::descendants(world, std::slice::from_ref(named), false, pace).await?;
        let below: HashSet<u32> = below.iter().map(|(stat, _)| stat.pid).collect();
        let mut found = Vec::with_capacity(pids.len());
        for pid in pids {
            pace.step().await.map_err(Over::of_scope)?;
            if let Some(stat) = Stat::read(world, pid).map_err(|error| cannot("read", &pid.to_string(), &error))? {
                found.push((stat, if below.contains(&pid) { Relation::Below } else { Relation::Scope }));
            }
        }
        self.add(world, found);
        Ok(())
    }

    fn add(&mut self, world: &HostWorld, found: Vec<(Stat, Relation)>) {
        let mut known = self.known();
        for (stat, relation) in found {
            if !stat.is_dead() && known.insert((stat.pid, stat.start_ticks)) {
                self.members.push(Member { id: stat.id(world), stat, relation });
            }
        }
    }

    fn known(&self) -> HashSet<(u32, u64)> {
        self.members.iter().map(|member| (member.stat.pid, member.stat.start_ticks)).collect()
    }

    /// As the guard sees them; without those who ended meanwhile, of whom nothing could be shown.
    pub(crate) async fn targets(&self, world: &HostWorld, pace: &mut Pace) -> Result<Vec<Target>, ActionError> {
        pace.again();
        let mut all = Vec::with_capacity(self.members.len());
        for member in &self.members {
            pace.step().await.map_err(Over::of_scope)?;
            let target = target(world, &member.stat, &member.id, member.relation);
            if !lacks_facts(&target) || lives(world, &member.id) {
                all.push(target);
            }
        }
        Ok(all)
    }

    /// As outputs tell them.
    pub(crate) async fn seen(&self, world: &HostWorld, pace: &mut Pace) -> Result<Vec<Seen>, ActionError> {
        pace.again();
        let mut all = Vec::with_capacity(self.members.len());
        for member in &self.members {
            pace.step().await.map_err(Over::of_scope)?;
            all.push(Seen::read(world, &member.id));
        }
        Ok(all)
    }
}

/// Whether something is unknown that every living process of a user shows.
fn lacks_facts(target: &Target) -> bool {
    matches!(&target.facts, TargetFacts::Process { cgroup, file, .. } if cgroup.is_none() || file.is_none())
}

/// False only when it is known to have ended.
fn lives(world: &HostWorld, id: &ProcessId) -> bool {
    identity::now(world, id).map_or(true, |stat| stat.is_some_and(|stat| !stat.is_dead()))
}

fn group_of(world: &HostWorld, stat: &Stat, scope: Scope) -> Result<Group, ActionError> {
    let label = stat.label();
    let paths = Paths::read(world, stat.pid).map_err(|error| cannot("read", &label, &error))?.unwrap_or_default();
    if scope == Scope::Container {
        return paths.container_group(world).ok_or_else(|| ActionError::GiveUp {
            why: match paths.container() {
                Some(id) => format!("the container {id} of {label} has no cgroup that can be frozen or killed here"),
                None => format!("{label} is in no container that its cgroup names"),
            },
            hint: Some("scope: tree reaches what it started".to_owned()),
        });
    }
    paths.group(world).ok_or_else(|| ActionError::GiveUp {
        why: format!("{label} has no cgroup of its own: the root cgroup holds the whole machine"),
        hint: Some("scope: tree reaches what it started".to_owned()),
    })
}
