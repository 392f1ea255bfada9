//! The cgroup that an input means: of a process, of a container, or by its path; or the one that is to be made for it.
//!
//! Reads only. Keeps true: it is one of the v2 hierarchy, since only there can the network be cut; a cgroup that others share
//! with the named process (the root's, a login's session) is not its own. What others can make long (cgroups at will, processes in them) is
//! looked through at a pace: beside the engine's thread after a moment, and up to a bound, past which nothing is told as found or as not there.

use super::moved;
use super::order::Moves;
use crate::process::cgroup::{Group, Paths, container_id, is_pod_uid, pod_uid};
use crate::process::identity::cannot;
use crate::process::pace::{Over, Pace};
use crate::process::pod;
use crate::process::scope::{Circle, Scope};
use crate::process::target::{Relation, target};
use crate::process::{Hands, Stat};
use crate::world::{CgroupKind, HostWorld};
use quell_model::{ActionError, ProcessId, Target, TargetFacts};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Levels at which a container's cgroup is looked for.
const DEPTH: usize = 10;

/// What the walk cannot find, one names.
const BY_PATH: &str = "name its `cgroup` by its path, or a `process` of it";

/// What an input means.
#[derive(Debug)]
pub(super) struct Home {
    /// Its path below the v2 hierarchy's root; `/`: the root itself.
    pub(super) path: String,
    /// It is to be made, for these.
    pub(super) moves: Option<Moves>,
    /// Who is in it, or is to be.
    pub(super) members: Vec<Stat>,
    /// As the guard sees them.
    pub(super) targets: Vec<Target>,
    /// What could not be found out, for people.
    pub(super) unknown: Vec<String>,
}

/// The directory of a v2 cgroup.
pub(super) fn dir(world: &HostWorld, path: &str) -> Result<PathBuf, ActionError> {
    let root = world.root(CgroupKind::V2).ok_or_else(|| ActionError::GiveUp {
        why: "there is no v2 hierarchy of cgroups here: the network of a cgroup can be cut only there".to_owned(),
        hint: Some("mount one: `mount -t cgroup2 none /sys/fs/cgroup/unified`".to_owned()),
    })?;
    Ok(root.join(path.trim_start_matches('/')))
}

/// Its number, where it is there.
pub(super) fn number(dir: &Path) -> Option<u64> {
    fs::metadata(dir).ok().filter(|meta| meta.is_dir()).map(|meta| meta.ino())
}

impl Home {
    /// The whole host.
    pub(super) fn host(hands: &Hands) -> Result<Self, ActionError> {
        dir(&hands.world, "/")?;
        let label = "all of this host".to_owned();
        let target = cgroup_target(&hands.world, "/", label, None);
        Ok(Self { path: "/".into(), moves: None, members: Vec::new(), targets: vec![target], unknown: Vec::new() })
    }

    /// The cgroup with this path, and whoever is in it.
    pub(super) async fn at(hands: &Hands, path: &str) -> Result<Self, ActionError> {
        // One name for one cgroup: the guard, and whoever looks for what stands, compare names.
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if !path.starts_with('/') || parts.contains(&"..") || parts.is_empty() {
            return Err(ActionError::GiveUp {
                why: format!("`{path}` is no cgroup below the root"),
                hint: Some("write its path as /proc/PID/cgroup does: `/system.slice/web.service`".to_owned()),
            });
        }
        let path = format!("/{}", parts.join("/"));
        let world = &hands.world;
        let group = Group::new(world, CgroupKind::V2, &path);
        dir(world, &path)?;
        let group = group.ok_or_else(|| ActionError::GiveUp {
            why: format!("there is no cgroup `{path}` in the v2 hierarchy"),
            hint: Some("a cgroup of v1 alone has no network to be cut: name a `process` of it".to_owned()),
        })?;
        let mut pace = Pace::begin();
        let mut members = Vec::new();
        for pid in group.pids_at(&mut pace).await? {
            pace.step().await.map_err(|over| crowded(&path, over))?;
            members.extend(Stat::read(world, pid).map_err(|error| cannot("read", &pid.to_string(), &error))?);
        }
        Self::of(hands, path, members, &mut pace).await
    }

    /// The container with this id.
    pub(super) async fn container(hands: &Hands, id: &str) -> Result<Self, ActionError> {
        let is_id = (12..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id {
            return Err(ActionError::GiveUp {
                why: format!("`{id}` is no id of a container"),
                hint: Some("write 12 to 64 hexadecimal digits, as `event.container.id` has them".to_owned()),
            });
        }
        let id = id.to_ascii_lowercase();
        let is_it = |part: &str| container_id(part).is_some_and(|its| its.to_ascii_lowercase().starts_with(&id));
        let found = Found::below(&dir(&hands.world, "/")?, &is_it).await?;
        let several = || format!("several containers' ids begin with `{id}`");
        let home = found.only(hands, several, "name the container by its whole id, or its `cgroup`").await?;
        home.ok_or_else(|| ActionError::GiveUp {
            why: format!("no v2 cgroup is called after the container `{id}`"),
            hint: Some("name a `process` of it: then all of its container is brought into one".to_owned()),
        })
    }

    /// The pod with this uid, with all of its containers; `None`: it is not on this node.
    pub(super) async fn pod(hands: &Hands, uid: &str) -> Result<Option<Self>, ActionError> {
        let uid = uid.to_ascii_lowercase();
        if !is_pod_uid(&uid) {
            return Err(ActionError::GiveUp {
                why: format!("`{uid}` is no uid of a pod"),
                hint: Some("write it as `event.pod.uid` has it: `1b2c3d4e-0000-1111-2222-333344445555`".to_owned()),
            });
        }
        let is_it = |part: &str| pod_uid(part).is_some_and(|its| its.eq_ignore_ascii_case(&uid));
        let found = Found::below(&dir(&hands.world, "/")?, &is_it).await?;
        let several = || format!("the pod `{uid}` has no one cgroup for all of its containers");
        let home = found.only(hands, several, "cut each `container` off, or each `cgroup`").await?;
        Ok(home.map(|mut home| {
            if let Some(target) = home.targets.first_mut() {
                target.label = format!("pod {uid}, {}", target.label);
            }
            home
        }))
    }

    /// What is around a process: its own cgroup or its container's, or the one that its tree is to be brought into.
    pub(super) async fn around(hands: &Hands, id: &ProcessId, scope: Scope) -> Result<Self, ActionError> {
        let world = &hands.world;
        dir(world, "/")?;
        let stat = hands.look(id)?.filter(|stat| !stat.is_dead());
        let stat = stat.ok_or_else(|| ActionError::give_up(format!("process {} has ended", id.pid)))?;
        let label = stat.label();
        let paths = Paths::read(world, stat.pid).map_err(|error| cannot("read", &label, &error))?.unwrap_or_default();
        // A runtime may leave its containers in its own unit in v2: that one holds the runtime too.
        let in_v2 = paths.v2().is_some_and(|path| path.split('/').any(|part| container_id(part).is_some()));
        let is_apart = paths.container().is_some() && !in_v2;
        let scope = if scope == Scope::Cgroup && is_apart { Scope::Container } else { scope };
        let own = match scope {
            Scope::Container => paths.container_group(world),
            Scope::Cgroup => paths.v2_group(world).filter(|group| !is_shared(&group.path)),
            _ => None,
        };
        if let Some(group) = own.filter(|group| group.root.kind == CgroupKind::V2) {
            return Self::at(hands, &group.path).await.map(|home| home.named(id));
        }
        // Of no cgroup of its own: all that it started, or all of a container that v1 alone tells, is brought into one.
        let scope = if scope == Scope::Container { scope } else { Scope::Tree };
        // As long as there are processes that it started, or in /proc.
        let mut pace = Pace::begin();
        pace.beside().await;
        let circle = Circle::around_this(world, id, Some(stat.clone()), scope, &mut pace).await?;
        let from = paths.v2().ok_or_else(|| ActionError::give_up(format!("{label} is in no v2 cgroup")))?.to_owned();
        let name = moved::name(id, stat.start_ticks);
        // It is there already, moved by another run: both cut that one cgroup off.
        let from = from.strip_suffix(&name).map_or(from.as_str(), |above| above.trim_end_matches('/')).to_owned();
        let from = if from.is_empty() { "/".to_owned() } else { from };
        let path = format!("{}/{name}", from.trim_end_matches('/'));
        let targets = circle.targets(world, &mut pace).await?;
        let members = circle.members.into_iter().map(|member| member.stat).collect();
        let moves = Some(Moves { process: id.clone(), scope, from });
        Ok(Self { path, moves, members, targets, unknown: circle.unknown })
    }

    async fn of(hands: &Hands, path: String, members: Vec<Stat>, pace: &mut Pace) -> Result<Self, ActionError> {
        let world = &hands.world;
        let login = path.split('/').any(|part| part.starts_with("session-") && part.ends_with(".scope"));
        let label = format!("cgroup {}{}", crate::text::plain(&path), if login { " (a login's session)" } else { "" });
        let mut targets = vec![cgroup_target(world, &path, label, hands.has_own(&path))];
        for stat in members.iter().filter(|stat| !stat.is_dead()) {
            pace.step().await.map_err(|over| crowded(&path, over))?;
            targets.push(target(world, stat, &stat.id(world), Relation::Scope));
        }
        Ok(Self { path, moves: None, members, targets, unknown: Vec::new() })
    }

    /// The process that the input names is a named target, not one that was found.
    fn named(mut self, id: &ProcessId) -> Self {
        for target in &mut self.targets {
            // Its cgroup is only where it is found.
            target.named &= !matches!(target.facts, TargetFacts::Cgroup { .. });
            if let TargetFacts::Process { id: other, by_scope, .. } = &mut target.facts
                && other.same_process(id)
            {
                *by_scope = false;
                target.named = true;
            }
        }
        self
    }

    /// Whether all of them have network namespaces that are not this one's; false where nobody is there.
    pub(super) fn is_apart(&self, world: &HostWorld) -> bool {
        let own = fs::read_link(world.proc.join("self/ns/net")).ok();
        let is_apart = |stat: &Stat| fs::read_link(world.of(stat.pid, "ns/net")).is_ok_and(|its| Some(its) != own);
        own.is_some() && !self.members.is_empty() && self.members.iter().all(is_apart)
    }
}

/// A cgroup that more than one thing lives in: whoever logged in, and the root.
fn is_shared(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    last.is_empty() || (last.starts_with("session-") && last.ends_with(".scope"))
}

fn cgroup_target(world: &HostWorld, path: &str, label: String, needed: Option<String>) -> Target {
    Target {
        node: world.node.clone(),
        kind: "cgroup".into(),
        id: path.to_owned(),
        label,
        named: true,
        facts: TargetFacts::Cgroup { path: path.to_owned(), needed, pod: pod::of_path(world, path) },
    }
}

fn crowded(path: &str, over: Over) -> ActionError {
    over.of(&format!("the cgroup `{path}`"), "hold it still first: process.freeze with `scope: cgroup`")
}

/// Cgroups that are called so.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Below directories that root has made, in no container: a runtime's.
    trusted: Vec<String>,
    /// Those that a user, or a container, may have named as they liked.
    others: Vec<String>,
}

impl Found {
    /// The topmost. What a user or a container may have made is looked through last, and only where nothing else is called so: there may be
    /// as much of it as they like.
    ///
    /// # Errors
    /// There is more than is looked through: nobody knows whether it is there.
    async fn below(root: &Path, is_it: &(dyn Fn(&str) -> bool + Sync)) -> Result<Self, ActionError> {
        Self::below_at(root, is_it, Pace::begin()).await
    }

    pub(super) async fn below_at(
        root: &Path,
        is_it: &(dyn Fn(&str) -> bool + Sync),
        mut pace: Pace,
    ) -> Result<Self, ActionError> {
        let mut found = Self::default();
        let (mut ours, mut theirs) = (vec![(root.to_owned(), DEPTH)], Vec::new());
        loop {
            let (next, trusted) = match ours.pop() {
                Some(next) => (Some(next), true),
                None if found.trusted.is_empty() => (theirs.pop(), false),
                None => (None, false),
            };
            let Some((dir, depth)) = next else { break };
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                // The kernel's own files in a cgroup are nobody's to multiply.
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                pace.step().await.map_err(|over| over.of("the tree of cgroups", BY_PATH))?;
                let (path, name) = (entry.path(), entry.file_name());
                let name = name.to_str().unwrap_or_default();
                let trusted = trusted && entry.metadata().is_ok_and(|meta| meta.uid() == 0);
                match path.strip_prefix(root).ok().and_then(Path::to_str) {
                    Some(within) if is_it(name) => {
                        let all = if trusted { &mut found.trusted } else { &mut found.others };
                        all.push(format!("/{within}"));
                    }
                    // Who is in a container names what is below it.
                    _ if depth > 0 && trusted && container_id(name).is_none() => ours.push((path, depth - 1)),
                    _ if depth > 0 => theirs.push((path, depth - 1)),
                    _ => {}
                }
            }
        }
        found.trusted.sort();
        found.others.sort();
        Ok(found)
    }

    /// The one that is meant; what a runtime named counts before what anybody may have named.
    pub(super) async fn only(
        self,
        hands: &Hands,
        several: impl Fn() -> String + Send,
        hint: &str,
    ) -> Result<Option<Home>, ActionError> {
        let anybodys = self.trusted.is_empty();
        match if anybodys { self.others.as_slice() } else { self.trusted.as_slice() } {
            [] => Ok(None),
            [path] => {
                let mut home = Home::at(hands, path).await?;
                if anybodys {
                    home.unknown.push(format!("`{path}` is a cgroup that a user or a container may have named so"));
                }
                Ok(Some(home))
            }
            all => Err(ActionError::GiveUp {
                why: format!("{}: {}", several(), all.join(", ")),
                hint: Some(hint.to_owned()),
            }),
        }
    }
}
