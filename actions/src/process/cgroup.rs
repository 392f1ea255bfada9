//! The cgroups of a process: which they are, what they are called after, and what can be done to all who are in one.
//!
//! Owns the files `cgroup.procs`, `cgroup.freeze`, `cgroup.kill`, `cgroup.events` (v2) and `freezer.state` (v1). Never
//! touches the root of a hierarchy. Keeps true: a path that leads upwards (`..`) or that is deleted is no path.

use super::identity::cannot;
use super::pace::{Over, Pace};
use super::stat::{Stat, there};
use crate::world::{CgroupKind, CgroupRoot, HostWorld};
use quell_model::ActionError;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// Levels of nesting that are looked into: systemd in a container in a pod makes about eight.
const DEPTH: usize = 32;

/// The cgroup paths of one process.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Paths {
    v2: Option<String>,
    freezer: Option<String>,
    named: Option<String>,
    others: Vec<String>,
}

impl Paths {
    /// Of the process with this number now.
    pub(crate) fn read(world: &HostWorld, pid: u32) -> io::Result<Option<Self>> {
        Ok(there(std::fs::read(world.of(pid, "cgroup")))?.map(|bytes| Self::parse(&String::from_utf8_lossy(&bytes))))
    }

    /// Of a process, by a thread of it that lives: one that has ended, its leader too, says until it is reaped where it ended.
    pub(crate) fn of_living(world: &HostWorld, pid: u32) -> io::Result<Option<Self>> {
        for thread in there(std::fs::read_dir(world.of(pid, "task")))?.into_iter().flatten().flatten() {
            let read = |file: &str| there(std::fs::read(thread.path().join(file)));
            if read("stat")?.and_then(|bytes| Stat::parse(&bytes)).is_some_and(|stat| !stat.has_ended()) {
                return Ok(read("cgroup")?.map(|bytes| Self::parse(&String::from_utf8_lossy(&bytes))));
            }
        }
        Ok(None)
    }

    /// Of one `/proc/PID/cgroup`: lines of `ID:controllers:path`; the path itself may hold colons.
    pub(crate) fn parse(text: &str) -> Self {
        let mut paths = Self::default();
        for line in text.lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(id), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            if !path.starts_with('/') || path.split('/').any(|part| part == "..") || path.ends_with(" (deleted)") {
                continue;
            }
            let path = path.to_owned();
            match (id, controllers) {
                ("0", "") => paths.v2 = Some(path),
                (_, "name=systemd") => paths.named = Some(path),
                (_, controllers) if controllers.split(',').any(|c| c == "freezer") => paths.freezer = Some(path),
                _ => paths.others.push(path),
            }
        }
        paths
    }

    /// The path that says most.
    pub(crate) fn path(&self) -> Option<&str> {
        let [first, second] = self.by_worth();
        let deep = |path: &&str| *path != "/";
        first.1.filter(deep).or(second.1.filter(deep)).or(first.1).or(second.1)
    }

    /// The two that can freeze, the more telling first: v2's, unless only the freezer's names a container. (On a hybrid
    /// machine a runtime may leave its containers in its own unit in v2: that one holds the runtime too.)
    pub(super) fn by_worth(&self) -> [(CgroupKind, Option<&str>); 2] {
        let v2 = (CgroupKind::V2, self.v2.as_deref());
        let v1 = (CgroupKind::V1Freezer, self.freezer.as_deref());
        let names =
            |path: Option<&str>| path.is_some_and(|path| path.split('/').any(|part| container_id(part).is_some()));
        if names(v1.1) && !names(v2.1) { [v1, v2] } else { [v2, v1] }
    }

    /// The systemd unit: the topmost service or scope, since only the system's own manager names that one. Below it
    /// stand the units of users' managers, whose names anybody may choose.
    pub(crate) fn unit(&self) -> Option<String> {
        [&self.v2, &self.named].into_iter().flatten().find_map(|path| {
            path.split('/').find(|part| part.ends_with(".service") || part.ends_with(".scope")).map(str::to_owned)
        })
    }

    /// The container's id, wherever a path names one.
    pub(crate) fn container(&self) -> Option<String> {
        self.all().find_map(|path| path.split('/').rev().find_map(container_id)).map(str::to_owned)
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        [&self.v2, &self.freezer, &self.named].into_iter().flatten().chain(&self.others)
    }

    /// The cgroup of its own that can be frozen and killed as a whole.
    pub(crate) fn group(&self, world: &HostWorld) -> Option<Group> {
        self.by_worth().into_iter().find_map(|(kind, path)| Group::new(world, kind, path?))
    }

    /// Its path in the v2 hierarchy.
    pub(crate) fn v2(&self) -> Option<&str> {
        self.v2.as_deref()
    }

    /// Its cgroup in the v2 hierarchy, below the root.
    pub(crate) fn v2_group(&self, world: &HostWorld) -> Option<Group> {
        Group::new(world, CgroupKind::V2, self.v2.as_deref()?)
    }

    /// Its cgroup in the v1 freezer, below the root.
    pub(crate) fn freezer_group(&self, world: &HostWorld) -> Option<Group> {
        Group::new(world, CgroupKind::V1Freezer, self.freezer.as_deref()?)
    }

    /// The cgroup of its container, with all below it.
    pub(crate) fn container_group(&self, world: &HostWorld) -> Option<Group> {
        self.by_worth().into_iter().find_map(|(kind, path)| {
            let mut kept: Vec<&str> = path?.split('/').collect();
            while kept.last().is_some_and(|part| container_id(part).is_none()) {
                kept.pop();
            }
            Group::new(world, kind, &kept.join("/"))
        })
    }
}

/// The container id in one component: `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`, `libpod-ID.scope`,
/// or the bare id; 64 hex digits in all of docker, containerd, CRI-O and podman. `libpod-conmon-ID.scope` holds podman's
/// watcher, which is not in the container.
pub(crate) fn container_id(part: &str) -> Option<&str> {
    let stem = part.strip_suffix(".scope").unwrap_or(part);
    let (before, id) = stem.rsplit_once(['-', ':']).unwrap_or(("", stem));
    let is_id = id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
    (is_id && !before.ends_with("conmon")).then_some(id)
}

/// The pod's uid in one component, with dashes: `podUID` (cgroupfs), `kubepods-burstable-podU_I_D.slice` (systemd), or that before
/// `:cri-containerd:ID`, where the two disagree. A static pod's is the hash of its manifest.
pub(crate) fn pod_uid(part: &str) -> Option<String> {
    let stem = part.split(':').next().unwrap_or(part);
    let stem = stem.strip_suffix(".slice").unwrap_or(stem);
    let (_, uid) = stem.rsplit_once("pod").filter(|(before, _)| before.is_empty() || before.ends_with('-'))?;
    let uid = uid.replace('_', "-");
    is_pod_uid(&uid).then_some(uid)
}

/// Whether it is written as one: 32 hexadecimal digits, with dashes or without.
pub(crate) fn is_pod_uid(uid: &str) -> bool {
    let digits = uid.bytes().filter(u8::is_ascii_hexdigit).count();
    digits == 32 && (uid.len() == 32 || uid.len() == 36 && uid.bytes().filter(|byte| *byte == b'-').count() == 4)
}

/// One cgroup below the root of its hierarchy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) root: CgroupRoot,
    pub(crate) path: String,
}

impl Group {
    /// The one at this path, where it is there; the root is none.
    pub(crate) fn new(world: &HostWorld, kind: CgroupKind, path: &str) -> Option<Self> {
        let root = CgroupRoot { dir: world.root(kind)?.to_owned(), kind };
        let group = Self { root, path: path.to_owned() };
        (!path.trim_matches('/').is_empty() && group.dir().is_dir()).then_some(group)
    }

    /// The directory.
    pub(crate) fn dir(&self) -> PathBuf {
        self.root.dir.join(self.path.trim_start_matches('/'))
    }

    /// Whether this kernel gives it this file.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.dir().join(name).exists()
    }

    /// The file that holds all of it still.
    pub(crate) fn freezer(&self) -> &'static str {
        match self.root.kind {
            CgroupKind::V2 => "cgroup.freeze",
            CgroupKind::V1Freezer => "freezer.state",
        }
    }

    /// Everyone in it and below, however many cgroups are there; none when it is gone.
    ///
    /// # Errors
    /// They are too many, or cannot be read.
    pub(crate) async fn pids_at(&self, pace: &mut Pace) -> Result<Vec<u32>, ActionError> {
        let (mut pids, mut todo) = (Vec::new(), vec![(self.dir(), DEPTH)]);
        let unread = |error: io::Error| cannot("read", &self.to_string(), &error);
        while let Some((dir, depth)) = todo.pop() {
            pace.step().await.map_err(Over::of_scope)?;
            if !members(&dir, &mut pids).map_err(unread)? || depth == 0 {
                continue;
            }
            for entry in there(std::fs::read_dir(&dir)).map_err(unread)?.into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    todo.push((entry.path(), depth - 1));
                }
            }
        }
        Ok(pids)
    }

    /// Whether it is held still, by itself or from above. A cgroup that is gone holds nobody.
    pub(crate) fn is_frozen(&self) -> Result<bool, ActionError> {
        let read = |name: &str| there(std::fs::read_to_string(self.dir().join(name)));
        let text = match self.root.kind {
            CgroupKind::V2 => read("cgroup.events"),
            CgroupKind::V1Freezer => read("freezer.state"),
        };
        let text = text.map_err(|error| cannot("read", &self.to_string(), &error))?.unwrap_or_default();
        Ok(match self.root.kind {
            CgroupKind::V2 => text.lines().any(|line| line == "frozen 1"),
            CgroupKind::V1Freezer => text.trim() == "FROZEN",
        })
    }

    /// Asks for everyone in it and below to be held still; [`Group::is_frozen`] says when it is so.
    pub(crate) fn freeze(&self) -> Result<(), ActionError> {
        self.hold("1", "FROZEN", "frozen")
    }

    /// Lets everyone go on whom nothing above holds.
    pub(crate) fn thaw(&self) -> Result<(), ActionError> {
        self.hold("0", "THAWED", "thawed")
    }

    fn hold(&self, v2: &str, v1: &str, verb: &str) -> Result<(), ActionError> {
        let (name, text) = match self.root.kind {
            CgroupKind::V2 => ("cgroup.freeze", v2),
            CgroupKind::V1Freezer => ("freezer.state", v1),
        };
        let wrote = there(std::fs::write(self.dir().join(name), text));
        wrote.map(|_| ()).map_err(|error| cannot(verb, &self.to_string(), &error))
    }

    /// SIGKILL to everyone in it and below at once, forks included (v2, Linux 5.14); false where there is no such file.
    pub(crate) fn kill(&self) -> Result<bool, ActionError> {
        if self.root.kind != CgroupKind::V2 {
            return Ok(false);
        }
        let wrote = there(std::fs::write(self.dir().join("cgroup.kill"), "1"));
        wrote.map(|done| done.is_some()).map_err(|error| cannot("killed", &self.to_string(), &error))
    }

    /// Takes a process out of a frozen v1 cgroup, where SIGKILL does not reach it, into the cgroup above.
    pub(crate) fn move_out(&self, pid: u32) -> io::Result<()> {
        let parent = self.dir().parent().map_or_else(|| self.root.dir.clone(), Path::to_owned);
        std::fs::write(parent.join("cgroup.procs"), pid.to_string())
    }
}

impl std::fmt::Display for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cgroup {}", crate::text::plain(&self.path))
    }
}

/// Who is in it, and not below; false where it went away.
fn members(dir: &Path, pids: &mut Vec<u32>) -> io::Result<bool> {
    let text = match there(std::fs::read_to_string(dir.join("cgroup.procs"))) {
        Ok(text) => text.unwrap_or_default(),
        // A threaded cgroup lists its processes in the domain above it only.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error()) => String::new(),
        // The cgroup went away while it was read.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => return Ok(false),
        Err(error) => return Err(error),
    };
    // 0 stands for a process outside of our pid namespace.
    pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|&pid| pid != 0));
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn the_deepest_known_path_is_taken() {
        let hybrid = Paths::parse("9:name=systemd:/a.slice/b.service\n6:freezer:/box\n4:memory:/m\n0::/\n");
        assert_eq!(hybrid.path(), Some("/box"));
        assert_eq!(hybrid.unit().as_deref(), Some("b.service"));
        assert_eq!(Paths::parse("0::/x:y/z\n6:freezer:/box\n").path(), Some("/x:y/z"));
        assert_eq!(Paths::parse("0::/\n").path(), Some("/"));
        assert_eq!(Paths::parse("0::/../up\n").path(), None);
        assert_eq!(Paths::parse("0::/gone (deleted)\n").path(), None);
        assert_eq!(Paths::parse("nonsense\n\n::\n"), Paths::default());
    }

    #[test]
    fn a_container_in_one_hierarchy_alone_counts_more_than_its_runtimes_unit() {
        let text = format!("6:freezer:/docker/{ID}\n0::/system.slice/docker.service\n");
        assert_eq!(Paths::parse(&text).path(), Some(format!("/docker/{ID}").as_str()));
        assert_eq!(Paths::parse(&text).unit().as_deref(), Some("docker.service"));
    }

    #[test]
    fn a_users_own_unit_is_not_the_systems() {
        let paths = Paths::parse("0::/user.slice/user-1000.slice/user@1000.service/app.slice/ssh.service\n");
        assert_eq!(paths.unit().as_deref(), Some("user@1000.service"));
    }

    #[test]
    fn a_pod_is_found_whichever_driver_named_it() {
        let uid = "1b2c3d4e-0000-1111-2222-333344445555";
        let under = uid.replace('-', "_");
        for part in [
            format!("pod{uid}"),
            format!("kubepods-burstable-pod{under}.slice"),
            format!("kubepods-pod{under}.slice"),
            format!("kubepods-besteffort-pod{under}.slice:cri-containerd:{ID}"),
        ] {
            assert_eq!(pod_uid(&part).as_deref(), Some(uid), "{part}");
        }
        let hash = "0123456789abcdef0123456789abcdef";
        assert_eq!(pod_uid(&format!("pod{hash}")).as_deref(), Some(hash), "a static one");
        for part in ["pods", "podman", "podium.slice", &format!("tripod{uid}"), &format!("pod{uid}x"), ID] {
            assert_eq!(pod_uid(part), None, "{part}");
        }
    }

    #[test]
    fn a_container_is_found_whatever_runs_it() {
        for path in [
            format!("/system.slice/docker-{ID}.scope"),
            format!("/docker/{ID}"),
            format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"),
            format!("/kubepods/burstable/pod1/{ID}"),
            format!("/machine.slice/libpod-{ID}.scope/container"),
            format!("/kubepods/pod1/crio-{ID}/inner/init.scope"),
            format!("/kubelet/kubepods/pod1:cri-containerd:{ID}"),
        ] {
            assert_eq!(Paths::parse(&format!("0::{path}\n")).container().as_deref(), Some(ID), "{path}");
            assert_eq!(Paths::parse(&format!("4:memory:{path}\n0::/\n")).container().as_deref(), Some(ID), "{path}");
        }
        for path in ["/system.slice/ssh.service".to_owned(), format!("/machine.slice/libpod-conmon-{ID}.scope")] {
            assert_eq!(Paths::parse(&format!("0::{path}\n")).container(), None);
        }
    }
}
