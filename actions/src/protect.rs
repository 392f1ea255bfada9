//! What may never be touched on a host, as paths, and what they are here: the guard compares files, never names.
//!
//! Reads the file system and /proc; decides nothing. Keeps true: a path that leads to a program of many names (busybox)
//! protects nothing, or every shell made of it would be protected.

use crate::process::Stat;
use crate::world::HostWorld;
use quell_model::ProcessId;
use quell_model::guard::ProtectedFile;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use std::collections::HashSet;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Executables that a machine needs to stay itself; a `*` stands for one component.
pub const DEFAULTS: &[&str] = &[
    // the init system and what it cannot do without
    "/usr/lib/systemd/systemd",
    "/usr/lib/systemd/systemd-*",
    "/lib/systemd/systemd",
    "/usr/bin/dbus-daemon",
    "/usr/bin/dbus-broker",
    "/usr/bin/dbus-broker-launch",
    "/usr/sbin/agetty",
    "/usr/bin/login",
    "/sbin/init",
    "/usr/sbin/rsyslogd",
    "/usr/sbin/auditd",
    "/usr/sbin/chronyd",
    "/usr/sbin/NetworkManager",
    "/usr/sbin/dhclient",
    "/usr/sbin/crond",
    "/usr/sbin/cron",
    // the way in
    "/usr/sbin/sshd",
    "/usr/lib/openssh/sshd-session",
    "/usr/lib/openssh/sshd-auth",
    "/usr/libexec/openssh/sshd-session",
    "/usr/libexec/openssh/sshd-auth",
    // container runtimes and the kubelet
    "/usr/bin/containerd",
    "/usr/bin/containerd-shim-runc-v2",
    "/usr/local/bin/containerd",
    "/usr/local/bin/containerd-shim-runc-v2",
    "/usr/bin/dockerd",
    "/usr/local/bin/dockerd",
    "/usr/bin/docker-proxy",
    "/usr/bin/runc",
    "/usr/sbin/runc",
    "/usr/local/sbin/runc",
    "/usr/bin/crun",
    "/usr/bin/crio",
    "/usr/local/bin/crio",
    "/usr/bin/conmon",
    "/usr/bin/podman",
    "/usr/bin/kubelet",
    "/usr/local/bin/kubelet",
    "/usr/bin/kube-proxy",
    "/usr/local/bin/kube-proxy",
    "/usr/local/bin/k3s",
    "/usr/local/bin/etcd",
    "/usr/bin/etcd",
    // package managers: killed half way they leave a broken system
    "/usr/bin/apt",
    "/usr/bin/apt-get",
    "/usr/bin/dpkg",
    "/usr/lib/apt/apt-helper",
    "/usr/lib/apt/methods/*",
    "/usr/bin/rpm",
    "/usr/bin/dnf5",
    "/usr/bin/microdnf",
    "/usr/bin/zypper",
    "/usr/bin/pacman",
    "/sbin/apk",
    // database servers
    "/usr/lib/postgresql/*/bin/postgres",
    "/usr/pgsql-*/bin/postgres",
    "/usr/bin/postgres",
    "/usr/local/bin/postgres",
    "/usr/sbin/mysqld",
    "/usr/sbin/mariadbd",
    "/usr/libexec/mysqld",
    "/usr/libexec/mariadbd",
    "/usr/bin/mongod",
    "/usr/bin/redis-server",
    "/usr/local/bin/redis-server",
    "/usr/bin/valkey-server",
    "/usr/sbin/slapd",
    // hypervisors
    "/usr/bin/qemu-system-*",
    "/usr/libexec/qemu-kvm",
    "/usr/sbin/libvirtd",
    "/usr/sbin/virtqemud",
    "/usr/bin/cloud-hypervisor",
    "/usr/bin/firecracker",
    // cloud agents
    "/usr/bin/amazon-ssm-agent",
    "/snap/amazon-ssm-agent/current/amazon-ssm-agent",
    "/usr/bin/ssm-agent-worker",
    "/usr/sbin/waagent",
    "/usr/bin/google_guest_agent",
    "/usr/bin/google_osconfig_agent",
    "/usr/bin/qemu-ga",
    "/usr/sbin/qemu-ga",
    "/usr/bin/vmtoolsd",
];

/// Programs that are many by the name they are called with, and interpreters that run anything: never protected.
const MANY: &[&str] = &["busybox", "toybox", "coreutils", "sh", "bash", "dash", "perl"];

/// The files behind these paths, as they are on this host now; paths that lead nowhere are passed over.
#[must_use]
pub fn resolve<P: AsRef<str>>(paths: &[P]) -> Vec<ProtectedFile> {
    resolve_in(&host_root(), paths)
}

/// Where the host's files are: at the root of pid 1, or of what started this container (pid 1 may keep even root out), where a container sees the
/// host's processes (`hostPID`); else here.
#[must_use]
pub fn host_root() -> PathBuf {
    let mounts = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let own = mounts(std::process::id());
    let is_elsewhere = |pid: &u32| mounts(*pid).is_some_and(|its| own.as_ref().is_some_and(|own| its != *own));
    let started = HostWorld::live("here".into()).map(|world| own_processes(&world)).unwrap_or_default();
    // Pid 1, which is the last of them, before whoever is nearer.
    let mut pids = started.last().into_iter().chain(&started).map(|id| id.pid);
    let root = pids.find(is_elsewhere).map(|pid| PathBuf::from(format!("/proc/{pid}/root")));
    root.filter(|root| std::fs::read_dir(root).is_ok()).unwrap_or_else(|| PathBuf::from("/"))
}

fn resolve_in<P: AsRef<str>>(root: &Path, paths: &[P]) -> Vec<ProtectedFile> {
    let Ok(root_fd) = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) else {
        return Vec::new();
    };
    let mut known = HashSet::new();
    let mut files = Vec::new();
    for path in paths.iter().flat_map(|pattern| expand(root, pattern.as_ref())) {
        // Links lead to where they lead on the host, not in a container around quell.
        let inside = path.strip_prefix("/").unwrap_or(&path);
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let Ok(real) = rustix::fs::openat2(&root_fd, inside, flags, Mode::empty(), ResolveFlags::IN_ROOT) else {
            continue;
        };
        let name = std::fs::read_link(format!("/proc/self/fd/{}", real.as_raw_fd()));
        let Ok(stat) = rustix::fs::fstat(&real) else { continue };
        if name.is_ok_and(|name| is_many(&name)) || !FileType::from_raw_mode(stat.st_mode).is_file() {
            continue;
        }
        let file = (stat.st_dev, stat.st_ino);
        if known.insert(file) {
            files.push(ProtectedFile { path: path.to_string_lossy().into_owned(), file });
        }
    }
    files
}

fn is_many(real: &Path) -> bool {
    let name = real.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    MANY.contains(&name.as_str()) || name.starts_with("python")
}

/// Follows a pattern whose components may each hold one `*`.
fn expand(root: &Path, pattern: &str) -> Vec<PathBuf> {
    if !pattern.contains('*') {
        return vec![PathBuf::from(pattern)];
    }
    pattern.split('/').filter(|part| !part.is_empty()).fold(vec![PathBuf::from("/")], |dirs, part| {
        let Some((head, tail)) = part.split_once('*') else {
            return dirs.into_iter().map(|dir| dir.join(part)).collect();
        };
        let mut found: Vec<PathBuf> = dirs
            .iter()
            .filter_map(|dir| Some((dir, std::fs::read_dir(root.join(dir.strip_prefix("/").ok()?)).ok()?)))
            .flat_map(|(dir, entries)| entries.flatten().map(move |entry| (dir, entry.file_name())))
            .filter(|(_, name)| {
                let name = name.to_string_lossy();
                name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail)
            })
            .map(|(dir, name)| dir.join(name))
            .collect();
        found.sort();
        found
    })
}

/// This process and all that led to it, up to pid 1.
#[must_use]
pub fn own_processes(world: &HostWorld) -> Vec<ProcessId> {
    let mut own = Vec::new();
    let mut next = std::process::id();
    while let Ok(Some(stat)) = Stat::read(world, next) {
        own.push(stat.id(world));
        if stat.parent == 0 || own.iter().any(|known| known.pid == stat.parent) {
            break;
        }
        next = stat.parent;
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quell_knows_itself_and_what_started_it() {
        let world = HostWorld::live("here".into()).unwrap();
        let own = own_processes(&world);
        assert_eq!(own[0].pid, std::process::id());
        assert_eq!(own.last().unwrap().pid, 1);
    }

    #[test]
    fn files_are_found_by_pattern_and_through_links() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("pg/15/bin")).unwrap();
        std::fs::create_dir_all(root.join("pg/16/bin")).unwrap();
        for path in ["pg/15/bin/postgres", "pg/16/bin/postgres", "busybox", "real"] {
            std::fs::write(root.join(path), path).unwrap();
        }
        std::os::unix::fs::symlink(root.join("busybox"), root.join("sshd")).unwrap();
        std::os::unix::fs::symlink(root.join("real"), root.join("link")).unwrap();
        let path = |name: &str| format!("{}/{name}", root.display());
        let found = resolve(&[path("pg/*/bin/postgres"), path("sshd"), path("link"), path("real"), path("none")]);
        let names: Vec<_> = found.iter().map(|file| file.path.rsplit('/').next().unwrap()).collect();
        assert_eq!(names, ["postgres", "postgres", "link"], "two versions, one file by two names, no busybox");
    }

    #[test]
    fn a_link_leads_to_where_it_leads_on_the_host() {
        let host = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(host.path().join("usr/bin")).unwrap();
        for name in ["usr/bin/containerd", "usr/bin/kubelet-1"] {
            std::fs::write(host.path().join(name), name).unwrap();
        }
        std::os::unix::fs::symlink("/usr/bin/containerd", host.path().join("link")).unwrap();
        let found = resolve_in(host.path(), &["/link", "/usr/bin/kubelet-*", "/usr/bin/none"]);
        let paths: Vec<_> = found.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["/link", "/usr/bin/kubelet-1"]);
    }

    #[test]
    fn the_defaults_are_paths_from_the_root() {
        assert!(DEFAULTS.iter().all(|path| path.starts_with('/')));
    }
}
