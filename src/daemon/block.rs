//! The kernel's reflex for this daemon: what `process.block_exec` entered, what of it fired, and what stood before.
//!
//! ```text
//! start: ledger ─▶ ReflexFired (unattended)    journal ─▶ stands, renewed, or lapsed ─▶ LeaseChanged
//! every second: ledger ─▶ ReflexFired          end: what stands is left in force, where it is pinned
//! ```
//!
//! Invariant: a kernel that refuses is told in `status`, and everything else works as without it; what stands anew after a
//! boot has passed the guard, under today's mode, with the content that it had.

use super::files::Loaded;
use super::kernel::Kernel;
use crate::api::BlockStatus;
use quell_actions::HostWorld;
use quell_model::record::ReflexFired;
use std::path::Path;

#[cfg(feature = "ebpf")]
mod renew;

#[cfg(feature = "ebpf")]
use {
    crate::api::Blocked,
    quell_detectors::block::{Fate, Fired, KernelReflex},
    quell_detectors::pin::{self, Pins},
    quell_model::Reflex,
    quell_model::record::Struck,
    std::collections::{BTreeMap, HashMap},
    std::sync::{Arc, Mutex, PoisonError},
};

/// Strikes of one entry that a record names; the rest are counted.
#[cfg(feature = "ebpf")]
const NAMED: usize = 8;

/// See the module.
pub(crate) struct Block {
    #[cfg(feature = "ebpf")]
    reflex: Result<Arc<KernelReflex>, String>,
    #[cfg(feature = "ebpf")]
    pins: Result<Arc<Pins>, String>,
    /// What entries are called; an entry may be gone before its last strike is read.
    #[cfg(feature = "ebpf")]
    labels: Mutex<HashMap<u64, String>>,
    /// What the engine has not written yet.
    #[cfg(feature = "ebpf")]
    waiting: Mutex<Vec<ReflexFired>>,
}

#[cfg(feature = "ebpf")]
impl Block {
    /// Loads what this kernel allows, and takes over what an earlier daemon of this data directory pinned.
    pub(crate) fn load(kernel: &Kernel) -> Self {
        let pins = kernel.pins();
        let reflex = KernelReflex::load(pins.as_ref().ok().cloned());
        let reflex = reflex.map(Arc::new).map_err(|e| super::with_source(&e));
        match (&reflex, &pins) {
            (Err(why), _) => tracing::warn!(why, "no reflex in the kernel: process.block_exec does not work here"),
            (Ok(_), Err(why)) => tracing::info!(why, "the kernel's reflex is not pinned: it ends with this process"),
            (Ok(_), Ok(_)) => {}
        }
        Self { reflex, pins, labels: Mutex::default(), waiting: Mutex::default() }
    }

    /// The world with its reflex, where there is one.
    pub(crate) fn lend(&self, world: HostWorld) -> HostWorld {
        match &self.reflex {
            Ok(reflex) => world.with_reflex(Arc::clone(reflex) as _),
            Err(_) => world,
        }
    }

    /// Before the engine: writes down what fired while no quell lived, and puts in force again what a boot has ended.
    pub(crate) fn take_up(&self, dir: &Path, world: &HostWorld, loaded: &Loaded) {
        let Ok(reflex) = &self.reflex else { return };
        let fired = self.fired(true);
        if !dir.join("journal.db").exists() {
            self.keep(fired);
            return;
        }
        match renew::take_up(dir, world, loaded, reflex, &fired) {
            Ok(()) => {}
            Err(why) => {
                tracing::error!(why, "what the kernel kept from starting meanwhile is not in the journal yet");
                self.keep(fired);
            }
        }
    }

    fn keep(&self, fired: Vec<ReflexFired>) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).extend(fired);
    }

    /// What fired since the last time, and what could not be written then.
    pub(crate) fn turn(&self) -> Vec<ReflexFired> {
        if let Ok(reflex) = &self.reflex
            && let Err(why) = reflex.settle()
        {
            tracing::warn!(why, "entries of the kernel's reflex that have ended stay");
        }
        let mut all = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        all.extend(self.fired(false));
        all
    }

    /// The engine did not take them: for the next time.
    pub(crate) fn give_back(&self, fired: Vec<ReflexFired>) {
        self.keep(fired);
    }

    fn fired(&self, unattended: bool) -> Vec<ReflexFired> {
        let Ok(reflex) = &self.reflex else { return Vec::new() };
        let mut labels = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        let standing = reflex.all().unwrap_or_default();
        if labels.len() > standing.len() + 4096 {
            labels.clear();
        }
        labels.extend(standing.into_iter().map(|one| (one.terms.id, one.terms.label)));
        match reflex.read() {
            Ok(fired) => told(fired, &labels, unattended),
            Err(why) => {
                tracing::error!(why, "the ledger of the kernel's reflex cannot be read");
                Vec::new()
            }
        }
    }

    /// Holds it, or lets it go on.
    pub(crate) fn pause(&self, paused: bool) {
        if let Ok(reflex) = &self.reflex
            && let Err(why) = reflex.pause(paused)
        {
            tracing::error!(why, paused, "the pause flag of the kernel's reflex cannot be set");
        }
    }

    /// How it stands.
    pub(crate) fn status(&self) -> BlockStatus {
        let reflex = match &self.reflex {
            Ok(reflex) => reflex,
            Err(why) => return BlockStatus { why: Some(why.clone()), ..BlockStatus::default() },
        };
        let blocked = |one: quell_model::Standing| Blocked {
            id: format!("{:016x}", one.terms.id),
            image: one.terms.label,
            scope: if one.spot.around == quell_model::Around::Host { "host" } else { "cgroup" }.to_owned(),
            seconds_left: one.terms.until_ns.saturating_sub(boot_ns()) / 1_000_000_000,
            struck: one.struck,
            spent: one.spent,
        };
        BlockStatus {
            loaded: true,
            why: None,
            pinned: self.pins.as_ref().ok().map(|pins| pins.dir().display().to_string()),
            unpinned_why: self.pins.as_ref().err().cloned(),
            scripts: reflex.scripts().map(|how| how.to_string()),
            blocked: reflex.all().unwrap_or_default().into_iter().map(blocked).collect(),
        }
    }

    /// This daemon ends: what is pinned stays in force while something stands, else it goes.
    pub(crate) fn end(&self) {
        if let Ok(reflex) = &self.reflex
            && let Err(why) = reflex.end()
        {
            tracing::warn!(why, "the kernel's reflex stays behind");
        }
    }
}

#[cfg(feature = "ebpf")]
fn boot_ns() -> u64 {
    use quell_model::Clock;
    quell_engine::clock::SystemClock.now().boot_ns
}

/// One record an entry.
#[cfg(feature = "ebpf")]
fn told(fired: Fired, labels: &HashMap<u64, String>, unattended: bool) -> Vec<ReflexFired> {
    let new = |reflex: String, image: String| ReflexFired {
        action: "process.block_exec".into(),
        reflex,
        image,
        count: 0,
        struck: Vec::new(),
        spent: false,
        unattended,
    };
    let mut all = BTreeMap::new();
    for one in fired.firings {
        let label = || labels.get(&one.id).cloned().unwrap_or_else(|| one.asked.clone());
        let record = all.entry(one.id).or_insert_with(|| new(format!("{:016x}", one.id), label()));
        if one.fate == Fate::Spent {
            record.spent = true;
            continue;
        }
        record.count += 1;
        if record.struck.len() < NAMED {
            record.struck.push(Struck {
                pid: one.pid,
                start_ns: one.start_ns,
                parent: one.parent,
                uid: one.uid,
                boot_ns: one.boot_ns,
                asked: one.asked,
            });
        }
    }
    let mut all: Vec<ReflexFired> = all.into_values().collect();
    if fired.lost > 0 {
        all.push(ReflexFired {
            count: fired.lost,
            ..new(String::new(), "images that the ledger names no more".into())
        });
    }
    all
}

/// What an earlier daemon left in force, for people; for `quell uninstall`.
#[cfg(feature = "ebpf")]
pub(super) fn left_in_force(owner: &Path) -> Result<Vec<(String, u64)>, String> {
    if !pin::belongs(Path::new(pin::DIR), owner) {
        return Ok(Vec::new());
    }
    let all = quell_detectors::block::pinned(Path::new(pin::DIR))?;
    Ok(all.into_iter().map(|one| (one.terms.label, one.struck)).collect())
}

#[cfg(not(feature = "ebpf"))]
pub(super) fn left_in_force(_: &Path) -> Result<Vec<(String, u64)>, String> {
    Ok(Vec::new())
}

/// A build without BPF has no reflex.
#[cfg(not(feature = "ebpf"))]
impl Block {
    pub(crate) fn load(_: &Kernel) -> Self {
        Self {}
    }

    pub(crate) fn lend(&self, world: HostWorld) -> HostWorld {
        world
    }

    pub(crate) fn take_up(&self, _: &Path, _: &HostWorld, _: &Loaded) {}

    pub(crate) fn turn(&self) -> Vec<ReflexFired> {
        Vec::new()
    }

    pub(crate) fn give_back(&self, _: Vec<ReflexFired>) {}

    pub(crate) fn pause(&self, _: bool) {}

    pub(crate) fn status(&self) -> BlockStatus {
        BlockStatus {
            why: Some("this quell was built without the feature `ebpf`".to_owned()),
            ..BlockStatus::default()
        }
    }

    pub(crate) fn end(&self) {}
}

#[cfg(all(test, feature = "ebpf"))]
mod tests {
    use super::*;
    use quell_detectors::block::Firing;

    fn firing(id: u64, pid: u32, fate: Fate) -> Firing {
        Firing { id, boot_ns: 5, pid, start_ns: 4, parent: 2, uid: 0, cgroup: 1, asked: format!("./{id}"), fate }
    }

    #[test]
    fn one_record_tells_of_an_entry_and_counts_the_rest() {
        let mut firings: Vec<Firing> = (10..30).map(|pid| firing(7, pid, Fate::Killed)).collect();
        firings.push(firing(8, 40, Fate::Denied));
        firings.push(firing(7, 41, Fate::Spent));
        let labels = HashMap::from([(7, "/tmp/x".to_owned())]);
        let told = told(Fired { firings, lost: 3 }, &labels, true);
        let seen: Vec<_> = told.iter().map(|r| (r.image.as_str(), r.count, r.struck.len(), r.spent)).collect();
        let lost = "images that the ledger names no more";
        assert_eq!(seen, [("/tmp/x", 20, NAMED, true), ("./8", 1, 1, false), (lost, 3, 0, false)]);
        assert!(told.iter().all(|record| record.unattended));
    }
}
