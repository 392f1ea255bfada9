//! A v2 cgroup with all below it: its numbers, its processes, their network namespaces and their sockets.
//!
//! Reads only. A process or a cgroup that ends meanwhile is in none.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The number of the root's directory (fs/kernfs: every hierarchy's root has it).
const ROOT: u64 = 1;
/// Levels of nesting that are looked into: systemd in a container in a pod makes about eight.
const DEPTH: u32 = 32;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The inodes of its directories.
    pub(super) numbers: HashSet<u64>,
    pub(super) pids: Vec<u32>,
}

impl Group {
    pub(super) fn read(dir: &Path) -> Result<Self, String> {
        let mut group = Self::default();
        group.add(dir, DEPTH).map_err(|e| format!("`{}` cannot be read: {e}", dir.display()))?;
        Ok(group)
    }

    fn add(&mut self, dir: &Path, depth: u32) -> io::Result<()> {
        self.numbers.insert(fs::metadata(dir)?.ino());
        let pids = fs::read_to_string(dir.join("cgroup.procs"))?;
        self.pids.extend(pids.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid != 0));
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

    /// One open file of each network namespace that its processes are in.
    pub(super) fn namespaces(&self) -> Result<Vec<File>, String> {
        let mut found = BTreeMap::new();
        for pid in &self.pids {
            match File::open(format!("/proc/{pid}/ns/net")).and_then(|file| Ok((file.metadata()?.ino(), file))) {
                Ok((number, file)) => drop(found.entry(number).or_insert(file)),
                Err(error) if is_over(&error) => {}
                Err(error) => return Err(format!("the network namespace of process {pid} cannot be opened: {error}")),
            }
        }
        Ok(found.into_values().collect())
    }

    /// The inodes of the sockets that its processes have open.
    pub(super) fn sockets(&self) -> Result<HashSet<u64>, String> {
        let mut found = HashSet::new();
        for pid in &self.pids {
            let entries = match fs::read_dir(format!("/proc/{pid}/fd")) {
                Ok(entries) => entries,
                Err(error) if is_over(&error) => continue,
                Err(error) => return Err(format!("the open files of process {pid} cannot be read: {error}")),
            };
            let links = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
            found.extend(links.filter_map(|link| socket(link.to_str()?)));
        }
        Ok(found)
    }
}

fn socket(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// It ended while it was looked at.
fn is_over(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH | libc::ENODEV))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_told_by_their_inodes() {
        assert_eq!((socket("socket:[4711]"), socket("pipe:[4711]"), socket("/dev/null")), (Some(4711), None, None));
        let own = Group { pids: vec![std::process::id(), u32::MAX], ..Group::default() };
        assert_eq!(own.namespaces().unwrap().len(), 1, "who is gone is in none");
        let held = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let link = fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held))).unwrap();
        assert!(own.sockets().unwrap().contains(&socket(link.to_str().unwrap()).unwrap()));
    }
}
