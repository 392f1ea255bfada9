//! The six hooks of a cgroup, and where they are kept: as pins, or as this process's own.
//!
//! Keeps true: a cgroup's hooks are all in, or the error says which is not; those that an earlier daemon pinned go on, for their
//! programs read the same maps; each knows its cgroup's number, or lets everything pass.

#![allow(
    deprecated,
    reason = "what came after the storage of cgroups (6.2) does not say on which cgroup a program hangs"
)]

use super::link::{self, Link};
use crate::error::SensorError;
use crate::load::{again, chain, probe_refused};
use crate::pin::Pins;
use aya::Ebpf;
use aya::maps::{CgroupStorage, CgroupStorageKey, MapData};
use aya::programs::{Program, ProgramError};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A program, the name of its pins, and its hook as the kernel numbers it (`enum bpf_attach_type`).
const HOOKS: [(&str, &str, u32); 6] = [
    ("cut_egress", "egress", 1),
    ("cut_ingress", "ingress", 0),
    ("cut_connect4", "connect4", 10),
    ("cut_connect6", "connect6", 11),
    ("cut_sendmsg4", "sendmsg4", 14),
    ("cut_sendmsg6", "sendmsg6", 15),
];

/// What the pins of hooks begin with; the number is that of the maps' layout.
const PREFIX: &str = "cut1_hook_";

pub(super) struct Hooks {
    homes: CgroupStorage<MapData, u64>,
    pins: Option<Arc<Pins>>,
    /// Those that are pinned nowhere.
    own: BTreeMap<u64, Vec<Link>>,
}

impl Hooks {
    pub(super) fn new(homes: CgroupStorage<MapData, u64>, pins: Option<Arc<Pins>>) -> Self {
        Self { homes, pins, own: BTreeMap::new() }
    }

    fn pin(&self, group: u64, name: &str) -> Option<PathBuf> {
        self.pins.as_ref().map(|pins| pins.path(&format!("{PREFIX}{group}_{name}")))
    }

    fn hang_there(&self, group: u64, name: &str, hook: u32) -> bool {
        let is_it = |link: &Link| link.hangs() == Some((group, hook));
        match self.pin(group, name) {
            Some(path) => Link::pinned(&path).is_ok_and(|link| is_it(&link)),
            None => self.own.get(&group).is_some_and(|links| links.iter().any(is_it)),
        }
    }

    /// Which of a cgroup's hooks are not in, or do not know it.
    pub(super) fn missing(&self, group: u64) -> Vec<String> {
        let knows = |hook| self.homes.get(CgroupStorageKey::new(group, hook), 0).is_ok_and(|home| home == group);
        let missing = HOOKS.iter().filter(|(_, name, hook)| !(self.hang_there(group, name, *hook) && knows(*hook)));
        missing.map(|(_, name, _)| (*name).to_owned()).collect()
    }

    /// Hooks in whatever is not in yet.
    pub(super) fn hang(&mut self, ebpf: &Ebpf, group: u64, dir: &File) -> Result<(), String> {
        for (program, name, hook) in HOOKS {
            if !self.hang_there(group, name, hook) {
                self.hang_one(ebpf, group, dir, (program, name, hook))
                    .map_err(|why| format!("the cgroup cannot be hooked ({name}): {why}"))?;
            }
            self.homes
                .insert(CgroupStorageKey::new(group, hook), group, 0)
                .map_err(|e| format!("the hook {name} cannot be told its cgroup: {}", chain(&e)))?;
        }
        Ok(())
    }

    fn hang_one(
        &mut self,
        ebpf: &Ebpf,
        group: u64,
        dir: &File,
        (program, name, hook): (&str, &str, u32),
    ) -> Result<(), String> {
        let program = ebpf.program(program).expect("the object was built with this program");
        let link = Link::create(program.fd().map_err(|e| chain(&e))?.as_fd(), dir, hook).map_err(|e| e.to_string())?;
        let Some(path) = self.pin(group, name) else {
            self.own.entry(group).or_default().push(link);
            return Ok(());
        };
        if path.exists() {
            fs::remove_file(&path).map_err(|e| e.to_string())?;
        }
        link.pin(&path).map_err(|e| format!("it cannot be pinned: {e}"))
    }

    /// Takes a cgroup's hooks out.
    pub(super) fn take_down(&mut self, group: u64) -> Result<(), String> {
        self.own.remove(&group);
        let mut done = Ok(());
        for path in HOOKS.iter().filter_map(|(_, name, _)| self.pin(group, name)) {
            if path.exists() {
                done = done.and(fs::remove_file(&path).map_err(|e| format!("`{}` stays: {e}", path.display())));
            }
        }
        done
    }

    /// The cgroups that have hooks.
    pub(super) fn groups(&self) -> Vec<u64> {
        let Some(pins) = &self.pins else { return self.own.keys().copied().collect() };
        let names = fs::read_dir(pins.dir()).into_iter().flatten().flatten();
        let group = |name: &str| name.strip_prefix(PREFIX)?.split_once('_')?.0.parse().ok();
        let mut groups: Vec<u64> = names.filter_map(|entry| group(entry.file_name().to_str()?)).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }
}

/// So long the kernel may take to let go of what was taken down.
const LETS_GO: Duration = Duration::from_millis(200);

/// Whether a program hangs on this cgroup that sees what is sent, but for `own`: then somebody cuts it off.
pub(super) fn is_hooked(dir: &Path, own: Option<u32>) -> Result<bool, String> {
    let (_, _, hook) = HOOKS[0];
    let failed = |e: io::Error| format!("what hangs on `{}` cannot be told: {e}", dir.display());
    let open = File::open(dir).map_err(failed)?;
    let begun = Instant::now();
    loop {
        let others = link::hanging(&open, hook).map_err(failed)?.into_iter().any(|id| Some(id) != own);
        if !others || begun.elapsed() > LETS_GO {
            return Ok(others);
        }
        std::thread::sleep(LETS_GO / 100);
    }
}

/// Brings the six programs in.
pub(super) fn load(ebpf: &mut Ebpf) -> Result<(), SensorError> {
    for (name, _, _) in HOOKS {
        let program = ebpf.program_mut(name).expect("the object was built with this program");
        let loaded: Result<(), ProgramError> = match program {
            Program::CgroupSkb(program) => again(|| program.load()),
            Program::CgroupSockAddr(program) => again(|| program.load()),
            _ => Err(ProgramError::UnexpectedProgramType),
        };
        loaded.map_err(|e| probe_refused(name, &e))?;
    }
    Ok(())
}
