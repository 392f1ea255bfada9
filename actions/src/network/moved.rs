//! Bringing processes into a v2 cgroup of their own, and back.
//!
//! Keeps true: nobody is moved whom these hands never touch; a process is compared by identity while it is held; who is born
//! meanwhile is brought along, for the scope is looked at until it has nobody outside.

use super::order::Moves;
use crate::process::Hands;
use crate::process::cgroup::Paths;
use crate::process::identity::cannot;
use crate::process::scope::{Circle, Member};
use crate::world::HostWorld;
use quell_model::ActionError;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often a scope is looked at again.
const LOOKS: u32 = 64;
/// Who has ended is in a cgroup for a moment yet.
const LINGER: Duration = Duration::from_secs(5);

/// Whether it is in this cgroup or below.
fn is_in(world: &HostWorld, pid: u32, path: &str) -> io::Result<bool> {
    let Some(paths) = Paths::read(world, pid)? else { return Ok(true) };
    let rest = paths.v2().and_then(|its| its.strip_prefix(path));
    Ok(rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Moves one; whoever has ended needs no place.
fn put(pid: u32, dir: &Path) -> Result<(), ActionError> {
    match fs::write(dir.join("cgroup.procs"), pid.to_string()) {
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::SRCH.raw_os_error()) => {
            Err(cannot("moved into its cgroup", &pid.to_string(), &error))
        }
        _ => Ok(()),
    }
}

/// Brings all of the scope into the cgroup, which is made where it is not there; gives how many were moved.
pub(super) fn bring(hands: &Hands, moves: &Moves, path: &str, dir: &Path) -> Result<u32, ActionError> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(cannot("made", path, &error)),
        _ => {}
    }
    let world = &hands.world;
    let mut moved = 0;
    for _ in 0..LOOKS {
        let circle = Circle::around(world, &moves.process, moves.scope)?;
        let mut outside: Vec<Member> = Vec::new();
        for member in circle.members {
            let label = member.stat.label();
            if !is_in(world, member.stat.pid, path).map_err(|error| cannot("read", &label, &error))? {
                outside.push(member);
            }
        }
        if outside.is_empty() {
            return Ok(moved);
        }
        for member in outside {
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
    Err(ActionError::give_up(format!("process {} starts others faster than they are moved", moves.process.pid)))
}

/// Brings whoever is in the cgroup back to where they were, and removes it; gives how many, and where they could not be brought.
pub(super) fn bring_back(from: &Path, dir: &Path) -> Result<(u32, Option<String>), ActionError> {
    if !dir.exists() {
        return Ok((0, None));
    }
    // What they were in may be gone: then what is above it.
    let there = from.ancestors().find(|above| above.join("cgroup.procs").exists());
    let there = there.ok_or_else(|| ActionError::give_up(format!("`{}` is no cgroup", from.display())))?;
    let (mut moved, begun) = (0, Instant::now());
    loop {
        let pids = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        for pid in pids.lines().filter_map(|line| line.parse::<u32>().ok()) {
            put(pid, there)?;
            moved += 1;
        }
        match fs::remove_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Ok(()) => break,
            Err(error) if begun.elapsed() > LINGER => {
                return Ok((moved, Some(format!("`{}` stays: {error}", dir.display()))));
            }
            Err(_) => std::thread::yield_now(),
        }
    }
    let elsewhere = (there != from).then(|| format!("`{}` is gone: they are in `{}`", from.display(), there.display()));
    Ok((moved, elsewhere))
}
