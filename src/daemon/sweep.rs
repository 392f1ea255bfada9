//! Removing what a killed quell made for a while: cgroups of its demo and its self-test, and directories.
//!
//! Owns which those are. Keeps true: what a living maker's name is on, or what is held, stays.

use quell_actions::{HostWorld, own_cgroup};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The cgroups that quell makes beside those that it holds, each with the pid of its maker at the end; those of the self-test and of trials are
/// a former version's.
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
    for (path, removed) in own_cgroup::sweep(world) {
        remove(path, removed);
    }
    for root in &world.cgroups {
        for path in OWN.iter().flat_map(|own| orphans(&root.dir, own)) {
            remove(path.clone(), own_cgroup::clear(&path, PATIENCE));
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
