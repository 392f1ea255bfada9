//! What is told of a process: to the guard as a target, to people as an output.
//!
//! Reads /proc once per process, as far as the sensor has not just told it; keeps nothing.

use super::cgroup::Paths;
use super::pod;
use super::stat::{Stat, Status};
use super::storage;
use crate::text::{COMMAND_LINE_MOST, command_line, cut};
use crate::world::HostWorld;
use quell_model::{ProcessId, Target, TargetFacts};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::io::Read;

/// One process as outputs tell it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Seen {
    /// Its number in the initial pid namespace.
    pub pid: u32,
    /// Its identity.
    pub id: ProcessId,
    /// Its image's path, where it could be read; ` (deleted)` at its end where the file is gone.
    pub image: Option<String>,
    /// Its arguments joined by spaces, cut at 4 KiB.
    pub command_line: Option<String>,
}

impl Seen {
    /// As it stands now.
    pub(crate) fn read(world: &HostWorld, id: &ProcessId) -> Self {
        let command_line = match &world.lineage {
            // /proc would read them from the memory of the process, which can make its reader wait (a page of a FUSE file).
            Some(lineage) => lineage.command_line(id).map(|text| cut(&text)),
            None => arguments(world, id.pid),
        };
        let image = world.just_seen(id).and_then(|seen| seen.image.clone()).or_else(|| image(world, id.pid));
        Self { pid: id.pid, id: id.clone(), image, command_line }
    }
}

/// The path behind `/proc/PID/exe`.
pub(crate) fn image(world: &HostWorld, pid: u32) -> Option<String> {
    std::fs::read_link(world.of(pid, "exe")).ok().map(|path| path.to_string_lossy().into_owned())
}

fn arguments(world: &HostWorld, pid: u32) -> Option<String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(world.of(pid, "cmdline")).ok()?;
    file.take(COMMAND_LINE_MOST as u64 + 1).read_to_end(&mut bytes).ok()?;
    (!bytes.is_empty()).then(|| command_line(&bytes))
}

/// How a process came into a plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Relation {
    /// The input names it.
    Named,
    /// The named process started it, directly or not.
    Below,
    /// The scope holds it: same session, cgroup or container.
    Scope,
}

/// A process as the guard sees it.
pub(crate) fn target(world: &HostWorld, stat: &Stat, id: &ProcessId, relation: Relation) -> Target {
    let exe = world.of(stat.pid, "exe");
    // What the sensor told a moment ago is as good as what /proc says now, and costs nothing.
    let seen = (relation == Relation::Named).then(|| world.just_seen(id)).flatten();
    let image = seen.as_ref().and_then(|seen| seen.image.clone()).or_else(|| image(world, stat.pid));
    let (cgroup, unit, pod) = match seen.as_ref().filter(|seen| seen.cgroup.is_some() && !world.units_apart) {
        Some(seen) => {
            let pod = seen.cgroup.as_ref().and_then(|path| pod::of_path(world, path));
            (seen.cgroup.clone(), seen.unit.clone(), pod)
        }
        None => {
            let paths = Paths::read(world, stat.pid).ok().flatten().unwrap_or_default();
            (paths.path().map(str::to_owned), paths.unit(), paths.pod(world))
        }
    };
    let uid = match &seen {
        Some(seen) => seen.euid,
        None => Status::read(world, stat.pid).ok().flatten().unwrap_or_default().euid,
    };
    Target {
        node: world.node.clone(),
        kind: "process".into(),
        id: id.to_string(),
        label: stat.label(),
        named: relation == Relation::Named,
        facts: TargetFacts::Process {
            id: id.clone(),
            image,
            // A look through the link: the file that runs, also when its path is gone or names another by now.
            file: storage::look(&exe).ok().map(|meta| meta.file),
            cgroup,
            unit,
            uid,
            kernel_thread: stat.kernel_thread,
            below_named: relation == Relation::Below,
            by_scope: relation == Relation::Scope,
            pod,
        },
    }
}

/// The process of a target.
pub(crate) fn process_of(target: &Target) -> Option<&ProcessId> {
    match &target.facts {
        TargetFacts::Process { id, .. } => Some(id),
        TargetFacts::Image { .. }
        | TargetFacts::Cgroup { .. }
        | TargetFacts::Identity { .. }
        | TargetFacts::Object { .. }
        | TargetFacts::Other => None,
    }
}
