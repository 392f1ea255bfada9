//! Emptying and removing what quell itself made for a while: cgroups of its demo and its self-test, and directories.
//!
//! Invariant: a process is ended only while it is listed in such a cgroup, through its pidfd.

use quell_actions::HostWorld;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The cgroups that quell makes, each with the pid of its maker at the end.
const OWN: [&str; 3] = ["quell-demo-", "quell-self-test-", "quell-cut-trial-"];
/// A killed process is gone within milliseconds; a busy machine takes longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Directories that it makes: below which, and their names.
fn own_dirs() -> [(PathBuf, &'static str); 4] {
    let temp = std::env::temp_dir();
    [
        (PathBuf::from("/dev/shm"), ".quell-demo-"),
        (temp.clone(), "quell-demo-"),
        (temp.clone(), "quell-replay-"),
        (temp, "quell-rehearsal-"),
    ]
}

/// Removes cgroups and directories whose maker was killed before it could; gives what is gone, and what could not be
/// removed and why.
pub(crate) fn leftovers(world: &HostWorld) -> (Vec<PathBuf>, Vec<String>) {
    let (mut gone, mut failed) = (Vec::new(), Vec::new());
    let mut remove = |path: PathBuf, removed: io::Result<()>| match removed {
        Ok(()) => gone.push(path),
        Err(e) => failed.push(format!("`{}`: {e}", path.display())),
    };
    for root in &world.cgroups {
        for path in OWN.iter().flat_map(|own| orphans(&root.dir, own)) {
            remove(path.clone(), clear(&path, PATIENCE));
        }
    }
    for path in own_dirs().iter().flat_map(|(dir, own)| orphans(dir, own)) {
        remove(path.clone(), std::fs::remove_dir_all(&path));
    }
    (gone, failed)
}

/// Directories of this name whose pid at the end nobody has any more.
fn orphans(dir: &Path, own: &str) -> Vec<PathBuf> {
    let is_orphan = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        let maker = name.and_then(|name| name.strip_prefix(own)?.parse::<u32>().ok());
        let is_dir = path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
        maker.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) && is_dir
    };
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).filter(is_orphan).collect()
}

/// Ends every process in a cgroup and removes it.
///
/// # Errors
/// What the last attempt to remove it said, once patience is over.
pub(crate) fn clear(dir: &Path, patience: Duration) -> io::Result<()> {
    let until = Instant::now() + patience;
    loop {
        // What is frozen on v1 ignores SIGKILL until it is thawed; on v2 a kill goes through the ice. Which of the two
        // this is, the files that are there say.
        for (file, text) in [("freezer.state", "THAWED"), ("cgroup.kill", "1")] {
            let file = dir.join(file);
            if file.exists()
                && let Err(e) = std::fs::write(&file, text)
            {
                tracing::debug!(file = %file.display(), %e, "a cgroup was not told");
            }
        }
        for pid in pids(dir) {
            end(dir, pid);
        }
        match std::fs::remove_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) if Instant::now() > until => return Err(e),
            Err(_) => std::thread::park_timeout(Duration::from_millis(5)),
            Ok(()) => return Ok(()),
        }
    }
}

fn pids(dir: &Path) -> Vec<i32> {
    let text = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Whoever is listed after the pidfd was opened is who the pidfd holds.
fn end(dir: &Path, pid: i32) {
    let Some(process) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { return };
    if pids(dir).contains(&pid)
        && let Err(e) = pidfd_send_signal(&process, Signal::KILL)
    {
        tracing::debug!(pid, %e, "a leftover had ended by itself");
    }
}
