//! A cgroup that quell makes for a moment to try itself in, and the end of those whose maker was killed before it could end them.
//!
//! Owns the lock by which it is known whether the maker lives: flock(2) on the cgroup's directory, which the kernel lets go of when the maker has
//! ended, however it did and in whichever pid namespace it was. Keeps true: what somebody holds is not touched; a process is ended only while
//! it is listed in such a cgroup, through its pidfd.

use crate::pidfd::Pidfd;
use crate::world::HostWorld;
use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What they are called, before the pid of the maker and the moment.
const NAME: &str = "quell-self-test-";
/// A killed process is gone within milliseconds; a busy machine takes longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// So often it is made anew after somebody swept it away before it was held.
const TRIES: u32 = 8;

/// One that is held.
pub(crate) struct OwnCgroup {
    pub(crate) dir: PathBuf,
    /// Let go after `Drop` has removed it.
    _held: File,
}

impl OwnCgroup {
    pub(crate) fn make(root: &Path) -> io::Result<Self> {
        for _ in 0..TRIES {
            let now = clock_gettime(ClockId::Boottime);
            let dir = root.join(format!("{NAME}{}-{}{:09}", std::process::id(), now.tv_sec, now.tv_nsec));
            fs::create_dir(&dir)?;
            if let Some(held) = hold(&dir).filter(|_| dir.exists()) {
                return Ok(Self { dir, _held: held });
            }
            // Gone where it was swept away.
            drop(fs::remove_dir(&dir));
        }
        Err(io::Error::other("it cannot be locked"))
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        // What stays all the same is swept at the next start.
        drop(clear(&self.dir, PATIENCE));
    }
}

/// None: somebody holds it.
fn hold(dir: &Path) -> Option<File> {
    File::open(dir).ok().filter(|dir| flock(dir, FlockOperation::NonBlockingLockExclusive).is_ok())
}

fn is_own(dir: &Path) -> bool {
    let rest = dir.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix(NAME));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    rest.and_then(|rest| rest.split_once('-')).is_some_and(|(pid, at)| is_number(pid) && is_number(at))
}

/// Ends and removes those whose maker has ended; gives each, and what came of it.
#[must_use]
pub fn sweep(world: &HostWorld) -> Vec<(PathBuf, io::Result<()>)> {
    let entries = world.cgroups.iter().flat_map(|root| fs::read_dir(&root.dir).into_iter().flatten().flatten());
    let own = entries.map(|entry| entry.path()).filter(|path| is_own(path));
    let left = own.filter_map(|path| Some((hold(&path)?, path)));
    left.map(|(_held, path)| (path.clone(), clear(&path, PATIENCE))).collect()
}

/// Ends every process in a cgroup and removes it.
///
/// # Errors
/// What the last attempt to remove it said, once patience is over.
pub fn clear(dir: &Path, patience: Duration) -> io::Result<()> {
    let until = Instant::now() + patience;
    loop {
        // What is frozen on v1 ignores SIGKILL until it is thawed; on v2 a kill goes through the ice. Which of the two
        // this is, the files that are there say.
        for (file, text) in [("freezer.state", "THAWED"), ("cgroup.kill", "1")] {
            let file = dir.join(file);
            if file.exists()
                && let Err(error) = fs::write(&file, text)
            {
                tracing::debug!(file = %file.display(), %error, "a cgroup was not told");
            }
        }
        for pid in pids(dir) {
            // Whoever is listed after it was opened is who it holds.
            if let Ok(Some(process)) = Pidfd::open(pid)
                && pids(dir).contains(&pid)
                && let Err(error) = process.signal(Signal::KILL)
            {
                tracing::debug!(pid, %error, "one in a cgroup of quell's own was not ended");
            }
        }
        match fs::remove_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() > until => return Err(error),
            Err(_) => std::thread::park_timeout(Duration::from_millis(5)),
            Ok(()) => return Ok(()),
        }
    }
}

fn pids(dir: &Path) -> Vec<u32> {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Family;
    use crate::world::CgroupKind;

    #[test]
    fn what_a_killed_maker_left_goes_and_what_is_held_stays() {
        for kind in [CgroupKind::V2, CgroupKind::V1Freezer] {
            let family = Family::new();
            let mut world = family.world();
            world.cgroups.retain(|root| root.kind == kind);
            let Some(root) = world.root(kind).map(Path::to_owned) else {
                eprintln!("NOT TESTED: this machine mounts no {kind:?} hierarchy");
                continue;
            };
            let mine = match OwnCgroup::make(&root) {
                Ok(mine) => mine,
                Err(error) => {
                    eprintln!("NOT TESTED: no cgroup can be made at {}: {error}", root.display());
                    continue;
                }
            };
            // Somebody has the maker's number by now; and one of another name is nobody's to sweep.
            let at = mine.dir.to_str().unwrap().rsplit_once('-').unwrap().1.to_owned();
            let (left, other) =
                (family.below(&root, &format!("{NAME}1-{at}")), family.below(&root, &format!("{NAME}x-{at}")));
            let ids = [&mine.dir, &left, &other].map(|dir| {
                let pid = family.spawn("exec sleep 300");
                let id = family.id(pid);
                fs::write(dir.join("cgroup.procs"), pid.to_string()).unwrap();
                id
            });
            let swept = sweep(&world);
            let of_left = swept.iter().find(|(path, _)| *path == left).expect("it is found");
            assert!(of_left.1.is_ok() && !left.exists(), "{swept:?}");
            assert!(mine.dir.exists() && other.exists());
            assert_eq!(ids.each_ref().map(|id| family.is_alive(id)), [true, false, true]);
            let dir = mine.dir.clone();
            drop(mine);
            assert!(!dir.exists());
        }
    }
}
