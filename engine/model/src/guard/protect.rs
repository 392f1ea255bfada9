//! What may never be touched, and outside of what nothing may be.
//!
//! Processes are protected by identity, by executable file (device and inode), by unit and by user; never by name:
//! malware is called sshd too. What the target itself started has no protection by executable.

use crate::action::{Plan, Target, TargetFacts};
use crate::process::ProcessId;

/// A protected executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectedFile {
    /// For people.
    pub path: String,
    /// Its device and inode when it was looked up.
    pub file: (u64, u64),
}

/// What may never be touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protect {
    /// quell itself and its ancestors.
    pub processes: Vec<ProcessId>,
    /// Container runtimes, sshd, package managers, databases …
    pub executables: Vec<ProtectedFile>,
    /// systemd units; a trailing `*` stands for anything.
    pub units: Vec<String>,
    /// User ids.
    pub uids: Vec<u32>,
}

impl Protect {
    /// Why this target may not be touched, if it may not.
    #[must_use]
    pub fn objection(&self, target: &Target) -> Option<String> {
        let TargetFacts::Process { id, file, unit, uid, kernel_thread, below_named, .. } = &target.facts else {
            return self.objection_to_others(&target.facts);
        };
        if id.pid == 1 {
            return Some("pid 1 is the machine itself".to_owned());
        }
        if *kernel_thread {
            return Some("it is a kernel thread".to_owned());
        }
        if self.processes.iter().any(|own| own.same_process(id)) {
            return Some("it is quell or what started quell".to_owned());
        }
        if *below_named {
            return None;
        }
        if let Some(own) = file.and_then(|file| self.executables.iter().find(|own| own.file == file)) {
            return Some(format!("its executable `{}` is protected", own.path));
        }
        if let Some(own) = unit.as_ref().and_then(|unit| self.units.iter().find(|own| fits(own, unit))) {
            return Some(format!("its unit `{own}` is protected"));
        }
        self.uids.contains(uid).then(|| format!("user id {uid} is protected"))
    }

    /// Whether it may not be touched what a plan names, whatever else it would touch.
    #[must_use]
    pub fn names(&self, plan: &Plan) -> bool {
        plan.targets.iter().any(|target| target.named && self.objection(target).is_some())
    }

    /// Why this image may not be kept from starting, or this cgroup not be cut off, if it may not.
    fn objection_to_others(&self, facts: &TargetFacts) -> Option<String> {
        if let TargetFacts::Cgroup { needed, .. } | TargetFacts::Object { needed, .. } = facts {
            return needed.clone();
        }
        let TargetFacts::Image { file, needed, .. } = facts else { return None };
        let own = self.executables.iter().find(|own| own.file == *file);
        needed.clone().or_else(|| own.map(|own| format!("`{}` is protected", own.path)))
    }
}

fn fits(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(head) => text.starts_with(head),
        None => text == pattern,
    }
}

/// The only place where something may be touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Within {
    /// A cgroup's path below its hierarchy's root, with all below it: `/quell-demo-1`.
    pub cgroup: String,
}

impl Within {
    /// Why this target lies outside, if it does.
    #[must_use]
    pub fn objection(&self, target: &Target) -> Option<String> {
        match &target.facts {
            TargetFacts::Process { cgroup: Some(path), .. }
            | TargetFacts::Image { cgroup: Some(path), .. }
            | TargetFacts::Cgroup { path, .. } => {
                let inside = path
                    .strip_prefix(self.cgroup.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
                (!inside).then(|| format!("its cgroup `{path}` lies outside `{}`", self.cgroup))
            }
            _ => Some(format!("it cannot be shown to lie within `{}`", self.cgroup)),
        }
    }
}
