//! Bringing processes into a v2 cgroup of their own.
//!
//! Keeps true: nobody is moved whom these hands never touch; a process is compared by identity while it is held; where it was is written
//! down before it is moved; who is born meanwhile is brought along, for the scope is looked at until it has nobody outside.

use super::order::Moves;
use super::origins::Origins;
use crate::process::Hands;
use crate::process::cgroup::Paths;
use crate::process::identity::cannot;
use crate::process::pace::{Over, Pace};
use crate::process::scope::{Circle, Member};
use quell_model::{ActionError, ProcessId};
use std::fs;
use std::io;
use std::path::Path;

/// What the cgroups that quell makes for them are called, before the pid and the start of whom they were made for.
pub(super) const NAME: &str = "quell-moved-";
/// How often a scope is looked at again.
const LOOKS: u32 = 64;

/// The name of the cgroup that is made for a process and what it started.
pub(super) fn name(of: &ProcessId, start_ticks: u64) -> String {
    format!("{NAME}{}-{start_ticks}", of.pid)
}

/// Makes it, where it is not there.
pub(super) fn make(path: &str, dir: &Path) -> Result<(), ActionError> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(cannot("made", path, &error)),
        _ => Ok(()),
    }
}

/// Moves one; whoever has ended needs no place.
pub(super) fn put(pid: u32, dir: &Path) -> Result<(), ActionError> {
    match fs::write(dir.join("cgroup.procs"), pid.to_string()) {
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::SRCH.raw_os_error()) => {
            Err(cannot("moved into its cgroup", &pid.to_string(), &error))
        }
        _ => Ok(()),
    }
}

/// Who of the scope is not in the cgroup, nor below, and where each is.
pub(super) async fn outside(
    hands: &Hands,
    moves: &Moves,
    path: &str,
) -> Result<Vec<(Member, Option<String>)>, ActionError> {
    let (world, mut pace) = (&hands.world, Pace::begin());
    let mut outside = Vec::new();
    let circle = Circle::around(world, &moves.process, moves.scope, &mut pace).await?;
    pace.again();
    for member in circle.members {
        pace.step().await.map_err(Over::of_scope)?;
        let pid = member.stat.pid;
        let of = |error: io::Error| cannot("read", &member.stat.label(), &error);
        // Whoever has ended and is not reaped yet would be found where it was for ever.
        match Paths::of_living(world, pid).map_err(of)?.as_ref().map(Paths::v2) {
            // It has ended.
            None => {}
            Some(Some(its)) if is_in(its, path) => {}
            Some(its) => outside.push((member, its.map(str::to_owned))),
        }
    }
    Ok(outside)
}

/// Brings all of the scope into the cgroup, which is there; gives how many were moved. An error: some may have been, and who calls takes it back.
pub(super) async fn bring(
    hands: &Hands,
    moves: &Moves,
    (path, dir): (&str, &Path),
    mut pace: Pace,
) -> Result<u32, ActionError> {
    let mut moved = 0;
    let mut origins = Origins::read(dir);
    let too_fast = || {
        let why = format!("process {} starts others faster than they are moved", moves.process.pid);
        ActionError::GiveUp { why, hint: Some("hold them still first: process.freeze with `scope: tree`".to_owned()) }
    };
    for _ in 0..LOOKS {
        pace.step().await.map_err(|_| too_fast())?;
        let outside = outside(hands, moves, path).await?;
        if outside.is_empty() {
            return Ok(moved);
        }
        for (member, its) in &outside {
            origins.note(&member.stat, its.as_deref().unwrap_or(&moves.from));
        }
        origins.write(dir);
        for (member, _) in outside {
            pace.step().await.map_err(|_| too_fast())?;
            if !hands.may_touch(&member.stat, member.relation) {
                return Err(ActionError::give_up(format!("{} may not be moved", member.stat.label())));
            }
            // Held, so that its number is nobody else's meanwhile.
            let held = hands.take(&member.id).map_err(|error| cannot("opened", &member.stat.label(), &error))?;
            if held.is_some() {
                put(member.stat.pid, dir)?;
                moved += 1;
            }
        }
    }
    Err(too_fast())
}

/// Whether it is this cgroup or one below.
fn is_in(its: &str, path: &str) -> bool {
    its.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
