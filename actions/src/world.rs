//! The world that the verbs of this crate were built for: where its /proc and its cgroups are, and which boot it is.
//!
//! Reads `/proc/mounts` once, when it is made; holds no handle. Keeps true: a verb finds the host through this alone, so
//! a test or a drill has its own.

use quell_model::guard::Within;
use quell_model::{BootId, Cut, Doom, Name, Pods, ProcessId, Reflex, TICK_NS};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Who descends from whom, as somebody saw it who watched every fork: what /proc forgets when a parent dies.
pub trait Lineage: Send + Sync {
    /// Every process known to descend from this one, the living and the lately dead, parents first.
    fn descendants(&self, of: &ProcessId) -> Vec<ProcessId>;
    /// The arguments of its last exec joined by spaces, where they were seen.
    fn command_line(&self, of: &ProcessId) -> Option<String>;
    /// How it stood when it executed this image, if that was seen a moment ago: what /proc need not be asked for then.
    fn just_seen(&self, _of: &ProcessId) -> Option<Arc<JustSeen>> {
        None
    }
}

/// A process at the exec of its image, as the kernel told it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JustSeen {
    /// The image's path; `None` where /proc would show it otherwise (deleted, memfd).
    pub image: Option<String>,
    /// The path of its cgroup.
    pub cgroup: Option<String>,
    /// The systemd unit that the path names.
    pub unit: Option<String>,
    /// Effective user id.
    pub euid: u32,
}

/// What a cgroup hierarchy can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CgroupKind {
    /// `cgroup.freeze` (5.2), `cgroup.kill` (5.14).
    V2,
    /// `freezer.state`: what it froze ignores SIGKILL until it is thawed.
    V1Freezer,
}

/// One mounted hierarchy that can hold processes still.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct CgroupRoot {
    /// Where it is mounted.
    pub dir: PathBuf,
    /// What it can do.
    pub kind: CgroupKind,
}

/// One host.
#[derive(Clone)]
pub struct HostWorld {
    /// Its /proc, of the initial pid namespace.
    pub proc: PathBuf,
    /// Its /etc.
    pub etc: PathBuf,
    /// The hierarchies that can freeze, v2 first.
    pub cgroups: Vec<CgroupRoot>,
    /// Its name.
    pub node: Name,
    /// Its boot.
    pub boot: BootId,
    /// Outside of this cgroup these hands touch nothing, whatever a plan says: a sandbox.
    pub within: Option<Within>,
    /// Units are told by a hierarchy of systemd's own beside the one that limits and freezes (cgroup v1): a cgroup's path
    /// alone does not name them.
    pub units_apart: bool,
    /// Who watched the forks, if somebody did.
    pub lineage: Option<Arc<dyn Lineage>>,
    /// The kernel's hands, where they were loaded.
    pub doom: Option<Arc<dyn Doom>>,
    /// The kernel's reflex, where it was loaded.
    pub reflex: Option<Arc<dyn Reflex>>,
    /// The kernel's cut, where it was loaded.
    pub cut: Option<Arc<dyn Cut>>,
    /// The pods of this node, where somebody may know them.
    pub pods: Option<Arc<Pods>>,
}

impl fmt::Debug for HostWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostWorld")
            .field("proc", &self.proc)
            .field("etc", &self.etc)
            .field("cgroups", &self.cgroups)
            .field("node", &self.node)
            .field("boot", &self.boot)
            .field("within", &self.within)
            .field("lineage", &self.lineage.is_some())
            .field("doom", &self.doom.is_some())
            .field("reflex", &self.reflex.is_some())
            .field("cut", &self.cut.is_some())
            .field("pods", &self.pods.is_some())
            .finish()
    }
}

impl HostWorld {
    /// This host, as its /proc shows it.
    ///
    /// # Errors
    /// When `/proc/mounts` or the boot id cannot be read.
    pub fn live(node: Name) -> std::io::Result<Self> {
        let proc = PathBuf::from("/proc");
        let boot = std::fs::read_to_string(proc.join("sys/kernel/random/boot_id"))?;
        let mounts = std::fs::read_to_string(proc.join("mounts"))?;
        Ok(Self {
            cgroups: freezers(&mounts),
            proc,
            etc: PathBuf::from("/etc"),
            node,
            boot: BootId(Arc::from(boot.trim())),
            units_apart: has_units_apart(&std::fs::read_to_string("/proc/1/cgroup").unwrap_or_default()),
            within: None,
            lineage: None,
            doom: None,
            reflex: None,
            cut: None,
            pods: None,
        })
    }

    /// The same host for hands that reach no further than a cgroup.
    #[must_use]
    pub fn within(self, cgroup: &str) -> Self {
        Self { within: Some(Within::cgroup(cgroup)), ..self }
    }

    /// The same host, with somebody who watched the forks.
    #[must_use]
    pub fn with_lineage(self, lineage: Arc<dyn Lineage>) -> Self {
        Self { lineage: Some(lineage), ..self }
    }

    /// The same host, with the kernel's hands.
    #[must_use]
    pub fn with_doom(self, doom: Arc<dyn Doom>) -> Self {
        Self { doom: Some(doom), ..self }
    }

    /// The same host, with the kernel's reflex.
    #[must_use]
    pub fn with_reflex(self, reflex: Arc<dyn Reflex>) -> Self {
        Self { reflex: Some(reflex), ..self }
    }

    /// The same host, with the kernel's cut.
    #[must_use]
    pub fn with_cut(self, cut: Arc<dyn Cut>) -> Self {
        Self { cut: Some(cut), ..self }
    }

    /// The same host, with who its pods are.
    #[must_use]
    pub fn with_pods(self, pods: Arc<Pods>) -> Self {
        Self { pods: Some(pods), ..self }
    }

    /// The kernel's hands, where they may be used: a sandbox's cgroup means nothing to them.
    pub(crate) fn doom(&self) -> Option<&dyn Doom> {
        self.doom.as_deref().filter(|_| self.within.is_none())
    }

    /// Whether whoever has the number of this process did not begin at another moment of the same tick, as far as anybody
    /// knows: an identity that /proc told is a whole tick.
    pub(crate) fn may_be(&self, id: &ProcessId) -> bool {
        let is_exact = !id.start_ns.is_multiple_of(TICK_NS);
        let began = self.doom.as_ref().filter(|_| is_exact).and_then(|doom| doom.began(id.pid));
        began.is_none_or(|began| began == id.start_ns)
    }

    /// Whether somebody watches the forks: the kernel's hands, or whoever else did.
    pub(crate) fn is_watched(&self) -> bool {
        self.lineage.is_some() || self.doom().is_some()
    }

    /// Everyone known to descend from this one, by whoever watched the forks.
    pub(crate) fn descendants(&self, of: &ProcessId) -> Vec<ProcessId> {
        let mut found = self.lineage.as_ref().map(|lineage| lineage.descendants(of)).unwrap_or_default();
        found.extend(self.doom().map(|doom| doom.below(of).living).unwrap_or_default());
        found
    }

    /// What was seen of its exec, if that was a moment ago.
    pub(crate) fn just_seen(&self, of: &ProcessId) -> Option<Arc<JustSeen>> {
        self.lineage.as_ref()?.just_seen(of)
    }

    /// `/proc/PID/NAME` of this world.
    pub(crate) fn of(&self, pid: u32, name: &str) -> PathBuf {
        self.proc.join(pid.to_string()).join(name)
    }

    /// The first hierarchy of this kind.
    pub(crate) fn root(&self, kind: CgroupKind) -> Option<&Path> {
        self.cgroups.iter().find(|root| root.kind == kind).map(|root| root.dir.as_path())
    }
}

/// Whether systemd keeps its units in a v1 hierarchy of its own, from pid 1's `/proc/1/cgroup`.
fn has_units_apart(first: &str) -> bool {
    let named = first.lines().find_map(|line| line.split_once(":name=systemd:"));
    named.is_some_and(|(_, path)| path != "/")
}

/// The hierarchies that can freeze, from the text of `/proc/mounts`: v2 first.
fn freezers(mounts: &str) -> Vec<CgroupRoot> {
    let mut roots: Vec<CgroupRoot> = mounts
        .lines()
        .filter_map(|line| {
            let mut parts = line.split(' ').skip(1);
            let (dir, fs, options) = (parts.next()?, parts.next()?, parts.next()?);
            let kind = match fs {
                "cgroup2" => CgroupKind::V2,
                "cgroup" if options.split(',').any(|o| o == "freezer") => CgroupKind::V1Freezer,
                _ => return None,
            };
            Some(CgroupRoot { dir: PathBuf::from(unescape(dir)), kind })
        })
        .collect();
    roots.sort_by_key(|root| root.kind != CgroupKind::V2);
    roots
}

/// Undoes the octal escapes of `/proc/mounts` (space, tab, newline, backslash; fs/proc_namespace.c `mangle`).
fn unescape(text: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_found_wherever_they_are_mounted() {
        let hybrid = "proc /proc proc rw 0 0\n\
            cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0\n\
            cgroup /sys/fs/cgroup/freezer cgroup rw,relatime,freezer 0 0\n\
            cgroup2 /mnt/two\\040words cgroup2 rw 0 0\n";
        let found = freezers(hybrid);
        assert_eq!(
            found,
            [
                CgroupRoot { dir: "/mnt/two words".into(), kind: CgroupKind::V2 },
                CgroupRoot { dir: "/sys/fs/cgroup/freezer".into(), kind: CgroupKind::V1Freezer }
            ]
        );
        assert!(freezers("").is_empty());
    }

    #[test]
    fn units_are_apart_where_systemd_has_a_hierarchy_of_its_own() {
        assert!(has_units_apart("2:cpu:/\n1:name=systemd:/init.scope\n0::/init.scope\n"));
        assert!(!has_units_apart("1:name=systemd:/\n0::/\n"));
        assert!(!has_units_apart("0::/init.scope\n"));
    }

    #[test]
    fn this_host_has_a_boot() {
        let world = HostWorld::live("here".into()).unwrap();
        assert_eq!(world.boot.0.len(), 36, "{world:?}");
    }
}
