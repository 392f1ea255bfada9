//! A v2 cgroup with all below it: its numbers, its processes, and the network namespaces of their threads.
//!
//! Reads only. A process or a cgroup that ends meanwhile is in none. Keeps true: a threaded cgroup, which lists no processes
//! (kernel/cgroup/cgroup.c `cgroup_procs_start`), counts with those of which it has a thread.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The number of the root's directory (fs/kernfs: every hierarchy's root has it).
const ROOT: u64 = 1;
/// Levels of nesting that are looked into: systemd in a container in a pod makes about eight.
const DEPTH: u32 = 32;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The inodes of its directories.
    pub(super) numbers: HashSet<u64>,
    /// Its processes, as the cgroups tell that list any.
    pub(super) pids: Vec<u32>,
    /// Processes of which some threads are in it.
    pub(super) split: HashSet<u32>,
}

impl Group {
    pub(super) fn read(dir: &Path) -> Result<Self, String> {
        let mut group = Self::default();
        group.add(dir, DEPTH).map_err(|e| format!("`{}` cannot be read: {e}", dir.display()))?;
        Ok(group)
    }

    fn add(&mut self, dir: &Path, depth: u32) -> io::Result<()> {
        self.numbers.insert(fs::metadata(dir)?.ino());
        match fs::read_to_string(dir.join("cgroup.procs")) {
            Ok(pids) => self.pids.extend(numbers(&pids)),
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                let threads = fs::read_to_string(dir.join("cgroup.threads"))?;
                self.split.extend(numbers(&threads).filter_map(process_of));
            }
            Err(error) => return Err(error),
        }
        for entry in fs::read_dir(dir)?.flatten() {
            if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                match self.add(&entry.path(), depth - 1) {
                    Err(error) if !is_over(&error) => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The whole machine: no socket was born elsewhere.
    pub(super) fn is_root(&self) -> bool {
        self.numbers.contains(&ROOT)
    }

    /// Whether a thread of that process, which is in that cgroup, is one of those whom it holds.
    pub(super) fn holds(&self, holder: u64, tgid: u32) -> bool {
        self.numbers.contains(&holder) || self.split.contains(&tgid)
    }

    /// One open file of each network namespace that a thread of its processes is in: a thread may have gone into one alone.
    pub(super) fn namespaces(&self) -> Result<Vec<File>, String> {
        let mut found = BTreeMap::new();
        let mut add = |path: PathBuf| match File::open(&path).and_then(|file| Ok((file.metadata()?.ino(), file))) {
            Ok((number, file)) => {
                found.entry(number).or_insert(file);
                Ok(())
            }
            Err(error) if is_over(&error) => Ok(()),
            Err(error) => Err(format!("the network namespace `{}` cannot be opened: {error}", path.display())),
        };
        for pid in self.pids.iter().chain(&self.split) {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
            for task in tasks {
                add(task.path().join("ns/net"))?;
            }
        }
        Ok(found.into_values().collect())
    }
}

/// 0 stands for one outside of this pid namespace.
fn numbers(text: &str) -> impl Iterator<Item = u32> {
    text.lines().filter_map(|line| line.parse().ok()).filter(|number| *number != 0)
}

/// Whose thread it is.
fn process_of(thread: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:")).and_then(|number| number.trim().parse().ok())
}

/// It ended while it was looked at.
fn is_over(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH | libc::ENODEV))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_gone_is_in_no_namespace_and_a_thread_is_of_its_process() {
        let own = Group { pids: vec![std::process::id(), u32::MAX], ..Group::default() };
        assert_eq!(own.namespaces().unwrap().len(), 1, "who is gone is in none");
        let thread = std::thread::spawn(|| process_of(rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()));
        assert_eq!(thread.join().unwrap(), Some(std::process::id()));
        assert_eq!(numbers("0\n7\nx\n").collect::<Vec<_>>(), [7]);
    }
}
