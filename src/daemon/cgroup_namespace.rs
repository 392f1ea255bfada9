//! The cgroup namespace: in a container with one of its own, /proc tells the cgroups of others as `/../../…`, which no hierarchy has.
//!
//! Owns the one step out of it. Keeps true: it is made before any thread begins, and only where processes of another are seen (`hostPID`);
//! whoever may not make it is told what is lost.

use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// The machine's own: its number is always this (PROC_CGROUP_INIT_INO of include/linux/proc_ns.h).
const INITIAL: &str = "cgroup:[4026531835]";

/// What it means when the step cannot be made.
pub(crate) const LOST: &str = "cgroups are told from inside quell's own container: nothing in a container is frozen, killed or cut off by its cgroup";

/// Goes into the machine's own, else into that of pid 1.
///
/// # Errors
/// When there is such a one, and it may not be entered.
pub(crate) fn leave() -> Result<(), String> {
    let Some(outer) = outer(Path::new("/proc"), std::process::id()) else { return Ok(()) };
    let opened = rustix::fs::open(&outer, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let entered =
        opened.and_then(|file| move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::ControlGroup)));
    let shown = outer.display();
    entered.map_err(|error| format!("`{shown}` cannot be entered ({error}); it needs CAP_SYS_ADMIN and CAP_SYS_PTRACE"))
}

/// The namespace to enter, by a process that is in it; none: this is in it, or sees no other.
fn outer(proc: &Path, own: u32) -> Option<PathBuf> {
    let file = |pid: u32| proc.join(pid.to_string()).join("ns/cgroup");
    let link = |pid: u32| std::fs::read_link(file(pid)).ok();
    let mine = link(own)?;
    if mine.as_os_str() == INITIAL {
        return None;
    }
    // Pid 1 may keep even root out; what started the container is in the machine's own too, and so is kthreadd.
    let others = || [1, 2].into_iter().chain(ancestors(proc, own));
    let initial = others().find(|pid| link(*pid).is_some_and(|its| its.as_os_str() == INITIAL));
    initial.or_else(|| link(1).filter(|first| *first != mine).map(|_| 1)).map(file)
}

/// The parents of a process, the nearest first.
fn ancestors(proc: &Path, of: u32) -> Vec<u32> {
    let parent = |pid: u32| {
        let status = std::fs::read_to_string(proc.join(pid.to_string()).join("status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse::<u32>().ok().filter(|pid| *pid > 0)
    };
    let mut all: Vec<u32> = Vec::new();
    let mut next = parent(of);
    while let Some(pid) = next.filter(|pid| !all.contains(pid)) {
        all.push(pid);
        next = parent(pid);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process: its pid, its parent, and its namespace.
    fn proc(of: &[(u32, u32, Option<&str>)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (pid, parent, namespace) in of {
            let own = dir.path().join(pid.to_string());
            std::fs::create_dir_all(own.join("ns")).unwrap();
            std::fs::write(own.join("status"), format!("Name:\tx\nPPid:\t{parent}\n")).unwrap();
            if let Some(namespace) = namespace {
                std::os::unix::fs::symlink(namespace, own.join("ns/cgroup")).unwrap();
            }
        }
        dir
    }

    #[test]
    fn the_way_out_is_found_by_whoever_is_outside() {
        let own = Some("cgroup:[7]");
        for (of, is, why) in [
            (vec![(1, 0, Some(INITIAL)), (9, 1, Some(INITIAL))], None, "it is outside"),
            (vec![(1, 0, Some(INITIAL)), (9, 1, own)], Some(1), "pid 1 is outside"),
            (vec![(1, 0, None), (5, 1, Some(INITIAL)), (9, 5, own)], Some(5), "pid 1 lets nobody look"),
            (vec![(1, 0, own), (9, 1, own)], None, "it sees its own container alone"),
            (vec![(1, 0, Some("cgroup:[8]")), (9, 1, own)], Some(1), "a node that is a container itself"),
            (vec![(1, 0, None), (9, 1, None)], None, "a kernel without such namespaces"),
        ] {
            let dir = proc(&of);
            let expected = is.map(|pid: u32| dir.path().join(pid.to_string()).join("ns/cgroup"));
            assert_eq!(outer(dir.path(), 9), expected, "{why}");
        }
    }
}
