//! Emptying and removing cgroups that quell itself made: of its demo and of its self-test.
//!
//! Invariant: a process is ended only while it is listed in such a cgroup, through its pidfd.

use quell_actions::HostWorld;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The cgroups that quell makes, each with the pid of its maker at the end.
const OWN: [&str; 2] = ["quell-demo-", "quell-self-test-"];
/// A killed process is gone within milliseconds; a busy machine takes longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Removes those whose maker was killed before it could; gives what is gone, and what could not be removed and why.
pub(crate) fn leftovers(world: &HostWorld) -> (Vec<PathBuf>, Vec<String>) {
    let (mut gone, mut failed) = (Vec::new(), Vec::new());
    for entry in world.cgroups.iter().flat_map(|root| std::fs::read_dir(&root.dir).into_iter().flatten().flatten()) {
        let name = entry.file_name();
        let maker = OWN.iter().find_map(|own| name.to_str()?.strip_prefix(own)?.parse::<u32>().ok());
        let lives = maker.is_some_and(|pid| Path::new("/proc").join(pid.to_string()).exists());
        if maker.is_none() || lives || !entry.path().is_dir() {
            continue;
        }
        match clear(&entry.path(), PATIENCE) {
            Ok(()) => gone.push(entry.path()),
            Err(e) => failed.push(format!("`{}`: {e}", entry.path().display())),
        }
    }
    (gone, failed)
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
