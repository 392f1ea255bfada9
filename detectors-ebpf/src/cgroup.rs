//! From a cgroup's number to its path, its container, pod and unit.
//!
//! The number is the inode of the cgroup's directory, on v2 and on v1's freezer alike. Paths are learnt from
//! /proc/PID/cgroup while the process is there, else from the kernel, which opens a cgroup by its number; only where it
//! forbids that the hierarchies are walked. What was found is kept by number, also that nothing was.
//! Never asks a container runtime.

use crate::kernfs;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// At most so many cgroups are kept; past that the memory of them starts anew.
const KEPT: usize = 16_384;
/// At most so many directories are looked at in one walk.
const WALKED: usize = 4_000;

/// What a cgroup's path says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cgroup {
    /// The path within its hierarchy; empty when it was gone before it could be read.
    pub(crate) path: Arc<str>,
    /// The container's full id.
    pub(crate) container: Option<Arc<str>>,
    /// `docker`, `containerd`, `cri-o`, `podman`, or `unknown`.
    pub(crate) runtime: Option<&'static str>,
    /// The pod's uid, with dashes.
    pub(crate) pod: Option<Arc<str>>,
    /// The systemd unit: the deepest `.service` or `.scope`.
    pub(crate) unit: Option<Arc<str>>,
    /// logind's session number.
    pub(crate) session: Option<Arc<str>>,
}

impl Cgroup {
    /// Reads a path.
    #[must_use]
    pub(crate) fn of_path(path: &str) -> Self {
        let mut out = Self { path: path.into(), ..Self::default() };
        for part in path.split('/') {
            // The topmost: what is below a container's cgroup is the container's to name.
            if let Some(pod) = pod_of(part).filter(|_| out.pod.is_none() && out.container.is_none()) {
                out.pod = Some(pod.into());
            }
            if let Some((id, runtime)) = container_of(part).filter(|_| out.container.is_none()) {
                out.container = Some(id.into());
                out.runtime = Some(runtime);
            }
            if part.ends_with(".service") || part.ends_with(".scope") {
                out.unit = Some(part.into());
            }
            if let Some(session) = part.strip_prefix("session-").and_then(|p| p.strip_suffix(".scope")) {
                out.session = Some(session.into());
            }
        }
        if out.runtime == Some("unknown") {
            // The cgroupfs driver names the runtime in a directory above, or not at all: containerd's CRI in a pod.
            out.runtime = Some(if path.contains("/docker/") {
                "docker"
            } else if path.contains("libpod") {
                "podman"
            } else if out.pod.is_some() {
                "containerd"
            } else {
                "unknown"
            });
        }
        out
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `docker-ID.scope`, `cri-containerd-ID.scope`, `slice:cri-containerd:ID`, or a bare id.
fn container_of(part: &str) -> Option<(&str, &'static str)> {
    let bare = part.strip_suffix(".scope").unwrap_or(part);
    let bare = bare.rsplit(':').next().unwrap_or(bare);
    let (before, id) = bare.rsplit_once('-').unwrap_or(("", bare));
    if !is_id(id) || before.ends_with("conmon") {
        return None;
    }
    let runtime = match before {
        "docker" => "docker",
        "cri-containerd" | "nerdctl" => "containerd",
        "crio" => "cri-o",
        "libpod" => "podman",
        _ if part.contains("cri-containerd:") => "containerd",
        _ => "unknown",
    };
    Some((id, runtime))
}

/// `pod1234…` and `kubepods-burstable-pod1234_….slice`, which has underscores for dashes.
fn pod_of(part: &str) -> Option<String> {
    let bare = part.split(':').next().unwrap_or(part);
    let bare = bare.strip_suffix(".slice").unwrap_or(bare);
    let (_, uid) = bare.rsplit_once("pod").filter(|(before, _)| before.is_empty() || before.ends_with('-'))?;
    let uid = uid.replace('_', "-");
    let shaped = uid.len() == 36 && uid.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
    // Static pods carry the hash of their manifest.
    (shaped || (uid.len() == 32 && uid.bytes().all(|b| b.is_ascii_hexdigit()))).then_some(uid)
}

/// All cgroups that were met.
#[derive(Debug)]
pub(crate) struct Cgroups {
    known: RefCell<HashMap<u64, Arc<Cgroup>>>,
    roots: Vec<PathBuf>,
}

impl Default for Cgroups {
    fn default() -> Self {
        Self { known: RefCell::default(), roots: roots(&fs::read_to_string("/proc/self/mounts").unwrap_or_default()) }
    }
}

impl Cgroups {
    /// The cgroup of this number; `pid` is one that lives in it now, if one is known.
    pub(crate) fn get(&self, id: u64, pid: Option<u32>) -> Arc<Cgroup> {
        if let Some(known) = self.known.borrow().get(&id) {
            return Arc::clone(known);
        }
        let path = pid.and_then(|pid| self.by_process(id, pid)).or_else(|| self.by_number(id)).unwrap_or_default();
        let found = Arc::new(Cgroup::of_path(&path));
        let mut known = self.known.borrow_mut();
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(id, Arc::clone(&found));
        found
    }

    /// Number and cgroup of a process that is there: v2's, or where that is the root the v1 freezer's.
    pub(crate) fn of_process(&self, pid: u32) -> Option<(u64, Arc<Cgroup>)> {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let path_in = |wanted: &str| {
            text.lines().find_map(|line| {
                let mut parts = line.splitn(3, ':').skip(1);
                let (controllers, path) = (parts.next()?, parts.next()?);
                controllers.split(',').any(|c| c == wanted).then_some(path)
            })
        };
        let newer = path_in("").filter(|p| *p != "/");
        let path = newer.or_else(|| path_in("freezer")).unwrap_or("/");
        let id = self.roots.iter().find_map(|root| inode(&root.join(path.trim_start_matches('/'))))?;
        let group = Arc::clone(self.known.borrow_mut().entry(id).or_insert_with(|| Arc::new(Cgroup::of_path(path))));
        Some((id, group))
    }

    /// The line of /proc/PID/cgroup whose directory has the number.
    fn by_process(&self, id: u64, pid: u32) -> Option<String> {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
        for path in paths {
            let is = |root: &PathBuf| inode(&root.join(path.trim_start_matches('/'))) == Some(id);
            if self.roots.iter().any(is) {
                return Some(path.to_owned());
            }
        }
        None
    }

    /// One call a hierarchy; a number that none of them has is a cgroup that is gone.
    fn by_number(&self, id: u64) -> Option<String> {
        let mut forbidden = false;
        for root in &self.roots {
            match kernfs::path(root, id) {
                Ok(path) => return Some(path),
                Err(error) => forbidden |= !matches!(error.raw_os_error(), Some(libc::ESTALE | libc::ENOENT)),
            }
        }
        if forbidden { self.by_walk(id) } else { None }
    }

    fn by_walk(&self, id: u64) -> Option<String> {
        let mut left = WALKED;
        for root in &self.roots {
            let mut todo = vec![root.clone()];
            while let Some(dir) = todo.pop() {
                if inode(&dir) == Some(id) {
                    let path = dir.strip_prefix(root).unwrap_or(&dir);
                    return Some(format!("/{}", path.display()));
                }
                let inner = fs::read_dir(&dir).into_iter().flatten().flatten();
                for entry in inner.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
                    left = left.checked_sub(1)?;
                    todo.push(entry.path());
                }
            }
        }
        None
    }
}

fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|m| m.ino())
}

/// Where cgroup2 and v1's freezer are mounted.
fn roots(mounts: &str) -> Vec<PathBuf> {
    let mut out: Vec<PathBuf> = Vec::new();
    for line in mounts.lines() {
        let mut parts = line.split(' ');
        let (Some(at), Some(kind), Some(options)) = (parts.nth(1), parts.next(), parts.next()) else { continue };
        if kind == "cgroup2" || (kind == "cgroup" && options.split(',').any(|o| o == "freezer")) {
            out.push(PathBuf::from(at));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_of_every_runtime_and_driver_are_found() {
        let id = "0123456789abcdef".repeat(4);
        let uid = "1b2c3d4e-0000-1111-2222-333344445555";
        let under = uid.replace('-', "_");
        let cases = [
            (format!("/docker/{id}"), "docker", None),
            (format!("/system.slice/docker-{id}.scope"), "docker", None),
            (format!("/kubepods/burstable/pod{uid}/{id}"), "containerd", Some(uid)),
            (
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{under}.slice/cri-containerd-{id}.scope"
                ),
                "containerd",
                Some(uid),
            ),
            (
                format!("/system.slice/containerd.service/kubepods-besteffort-pod{under}.slice:cri-containerd:{id}"),
                "containerd",
                Some(uid),
            ),
            (format!("/kubepods.slice/kubepods-pod{under}.slice/crio-{id}.scope"), "cri-o", Some(uid)),
            (format!("/machine.slice/libpod-{id}.scope/container"), "podman", None),
            (format!("/libpod_parent/{id}"), "podman", None),
        ];
        for (path, runtime, pod) in cases {
            let found = Cgroup::of_path(&path);
            assert_eq!(found.container.as_deref(), Some(id.as_str()), "{path}");
            assert_eq!(found.runtime, Some(runtime), "{path}");
            assert_eq!(found.pod.as_deref(), pod, "{path}");
        }
    }

    #[test]
    fn units_and_sessions_are_found_and_containers_not_invented() {
        let found = Cgroup::of_path("/user.slice/user-1000.slice/session-3.scope");
        assert_eq!((found.session.as_deref(), found.container), (Some("3"), None));
        assert_eq!(Cgroup::of_path("/system.slice/ssh.service").unit.as_deref(), Some("ssh.service"));
        assert_eq!(Cgroup::of_path("/podman-tests/podium").pod, None);
        let conmon = format!("/machine.slice/libpod-conmon-{}.scope", "a".repeat(64));
        assert_eq!(Cgroup::of_path(&conmon).container, None);
    }

    #[test]
    fn both_hierarchies_are_roots() {
        let mounts = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\ncgroup /sys/fs/cgroup/freezer cgroup rw,freezer 0 0\n\
                      cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n";
        assert_eq!(roots(mounts), [PathBuf::from("/sys/fs/cgroup/unified"), PathBuf::from("/sys/fs/cgroup/freezer")]);
    }
}
