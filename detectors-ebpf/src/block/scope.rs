//! The cgroups around a process, by number, as the kernel side walks them: for execs that are decided in user space.
//!
//! Reads /proc alone. A process that has ended is in none.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// (v2, number) of each, the innermost first: v2's, then the v1 freezer's.
pub(super) fn around(pid: u32) -> Vec<(bool, u64)> {
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut found = Vec::new();
    for v2 in [true, false] {
        let (Some(root), Some(path)) = (root(&mounts, v2), path(&own, v2)) else { continue };
        let dir = Path::new(root).join(path.trim_start_matches('/'));
        let dirs = dir.ancestors().take_while(|dir| dir.starts_with(root));
        found.extend(dirs.filter_map(|dir| Some((v2, fs::metadata(dir).ok()?.ino()))));
    }
    found
}

/// Where the hierarchy is mounted.
pub(crate) fn mounted(v2: bool) -> Option<PathBuf> {
    root(&fs::read_to_string("/proc/self/mounts").unwrap_or_default(), v2).map(PathBuf::from)
}

fn root(mounts: &str, v2: bool) -> Option<&str> {
    mounts.lines().find_map(|line| {
        let mut parts = line.split(' ').skip(1);
        let (dir, kind, options) = (parts.next()?, parts.next()?, parts.next()?);
        let is_it = if v2 { kind == "cgroup2" } else { kind == "cgroup" && options.split(',').any(|o| o == "freezer") };
        is_it.then_some(dir)
    })
}

fn path(own: &str, v2: bool) -> Option<&str> {
    own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let is_it = if v2 { controllers.is_empty() } else { controllers.split(',').any(|c| c == "freezer") };
        is_it.then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_comes_first() {
        let own = "5:cpu:/other\n3:freezer:/a/b\n0::/c\n";
        assert_eq!((path(own, true), path(own, false)), (Some("/c"), Some("/a/b")));
        let mounts =
            "cgroup /sys/fs/cgroup/freezer cgroup rw,freezer 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(root(mounts, true), Some("/sys/fs/cgroup/unified"));
        assert_eq!(root(mounts, false), Some("/sys/fs/cgroup/freezer"));
        assert!(around(u32::MAX).is_empty());
    }
}
