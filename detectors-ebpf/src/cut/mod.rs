//! The kernel's cut: cgroups whose packets go nowhere but where an order lets them.
//!
//! Owns the fourth BPF object (bpf/cut/), its orders, its counts and its pins. Decides nothing: it enters what a verb names.
//! Keeps true: an order is armed by one write once all else of it is there, and disarmed by one before anything of it goes;
//! it ends by the kernel's clock, and stays in force while no quell lives; what it dropped meanwhile is counted; while the
//! pause flag is set nothing is dropped.
//!
//! ```text
//! network.isolate ── enter(cgroup, order, until) ─▶ ORDERS, PEERS, GROUPS ◀── packet, connect, sendmsg ── dropped, EPERM
//! quell up        ◀─ read ── COUNTS ◀── what was dropped       sockets ── sock_diag ── destroyed
//! ```

mod devices;
mod diag;
mod files;
mod group;
mod held;
mod hooks;
mod left;
mod link;
mod netlink;
mod probe;
mod sockets;
mod veth;
mod words;

pub use left::pinned;

use crate::block::now;
use crate::error::SensorError;
use crate::load::{self, chain};
use crate::pin::{self, Pins};
use aya::maps::Map;
use aya::{Btf, Ebpf};
use held::Held;
use quell_model::{Cut, CutDevices, CutDropped, CutOpen, CutRule, CutSockets, CutStanding, CutTerms};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The compiled kernel side of the cut.
pub const CUT_OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/cut.bpf.o"));

/// All that is pinned here begins with this; the number is that of the maps' layout.
const PREFIX: &str = "cut1_";
const ORDERS: &str = "cut1_orders";
const PEERS: &str = "cut1_peers";
const COUNTS: &str = "cut1_counts";
/// What the maps that outlive quell are pinned as.
const KEPT: [(&str, &str); 6] = [
    ("CUT_HOMES", "cut1_homes"),
    ("CUT_GROUPS", "cut1_groups"),
    ("CUT_ORDERS", ORDERS),
    ("CUT_PEERS", PEERS),
    ("CUT_COUNTS", COUNTS),
    ("CUT_DEVICES", "cut1_devices"),
];

/// There is no cut here.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// The kernel or its permissions.
    #[error(transparent)]
    Refused(#[from] SensorError),
    /// Loaded, and what stood before cannot be read.
    #[error("what the kernel's cut left before cannot be read: {0}")]
    Left(String),
}

/// The cut, loaded; it hangs on a cgroup only while that has an order. Dropping it lifts what is not pinned.
pub struct KernelCut {
    held: Mutex<Held>,
    /// The right to the place where it is pinned.
    pins: Option<Arc<Pins>>,
}

impl std::fmt::Debug for KernelCut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelCut").field("pins", &self.pins).finish_non_exhaustive()
    }
}

impl KernelCut {
    /// Loads it; what an earlier daemon pinned in the same place is in force all the while, and known.
    ///
    /// # Errors
    /// When the kernel refuses something; what was pinned before stays in force then.
    pub fn load(pins: Option<Arc<Pins>>) -> Result<Self, CutError> {
        load::may_load()?;
        let btf = Btf::from_sys_fs().map_err(|e| SensorError::NoBtf { why: chain(&e) })?;
        let mut loader = pin::loader(&btf, pins.as_deref(), &KEPT);
        let mut ebpf = loader.load(CUT_OBJECT).map_err(|e| load::maps_refused(&e))?;
        hooks::load(&mut ebpf)?;
        devices::load(&mut ebpf)?;
        files::load(&mut ebpf, &btf).map_err(|e| load::probe_refused("cut_files", &e))?;
        drop(btf);
        let mut held = Held::new(ebpf, pins.clone()).map_err(|e| load::maps_refused(&e))?;
        load::give_back();
        held.sweep().and_then(|()| held.settle()).map_err(CutError::Left)?;
        Ok(Self { held: Mutex::new(held), pins })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every socket of a network that somebody has open. The reading is no matter of the lock.
    fn open(&self) -> Result<Vec<files::Open>, String> {
        let file = self.held().look()?;
        files::read(file)
    }

    /// While paused nothing is dropped.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn pause(&self, paused: bool) -> Result<(), String> {
        self.held().pause(paused)
    }

    /// Whether the flag is set.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.held().is_paused()
    }

    /// Takes out what has ended or whose cgroup is gone, and the hooks of cgroups that have no order; gives how many stand.
    ///
    /// # Errors
    /// A sentence, when the kernel refuses.
    pub fn settle(&self) -> Result<usize, String> {
        self.held().settle()
    }

    /// This daemon ends: what stands is left in force where it is pinned; else the pins go too.
    ///
    /// # Errors
    /// A sentence, when the kernel refuses.
    pub fn end(&self) -> Result<(), String> {
        let stand = self.settle()?;
        match &self.pins {
            Some(pins) if stand == 0 => pins.clear(PREFIX).map_err(|e| chain(&e)),
            _ => Ok(()),
        }
    }
}

impl Cut for KernelCut {
    fn enter(&self, group: &Path, terms: &CutTerms) -> Result<(), String> {
        self.held().enter(group, terms)
    }

    fn hook_devices(&self, group: &Path) -> Result<CutDevices, String> {
        // The looking is no matter of the lock.
        let found = veth::of(group)?;
        self.held().hook_devices(number(group)?, &found.devices)
    }

    fn is_closed(&self, group: &Path) -> Result<bool, String> {
        let found = veth::of(group)?;
        Ok(found.is_all && self.held().are_hooked(number(group)?, &found.devices)?)
    }

    fn standing(&self, id: u64) -> Result<Option<CutStanding>, String> {
        Ok(self.held().all()?.into_iter().find(|one| one.terms.id == id))
    }

    fn all(&self) -> Result<Vec<CutStanding>, String> {
        Ok(self.held().all()?.into_iter().filter(|one| one.terms.id != probe::TRIAL).collect())
    }

    fn remove(&self, id: u64) -> Result<bool, String> {
        self.held().remove(id)
    }

    fn holds(&self, group: &Path) -> Result<bool, String> {
        let number = number(group)?;
        let (holds, own) = {
            let held = self.held();
            (held.holds(number)?, held.own())
        };
        if holds { Ok(true) } else { hooks::is_hooked(group, own) }
    }

    fn sockets(&self, group: &Path, rule: &CutRule) -> Result<CutOpen, String> {
        sockets::found(group, rule, &|| self.open())
    }

    fn destroy(&self, group: &Path, rule: &CutRule) -> Result<CutSockets, String> {
        sockets::destroy(group, rule, &|| self.open())
    }

    fn probe(&self, group: &Path, id: u64) -> Result<Option<String>, String> {
        if self.is_paused() {
            return Err("it is paused".to_owned());
        }
        let Some(stands) = self.standing(id)? else { return Err("it does not stand".to_owned()) };
        probe::probe(group, &stands.terms.rule, || {
            let all = self.held().all().unwrap_or_default().into_iter();
            all.filter(|one| one.group == stands.group).fold(CutDropped::default(), |sum, one| CutDropped {
                packets_out: sum.packets_out + one.dropped.packets_out,
                packets_in: sum.packets_in + one.dropped.packets_in,
                calls: sum.calls + one.dropped.calls,
                ..sum
            })
        })
    }

    fn attempt(&self) -> Result<(), String> {
        if self.is_paused() {
            return Err("it is paused".to_owned());
        }
        probe::attempt(self)
    }
}

/// Whether anybody's order stands on this cgroup, for who has no cut loaded.
///
/// # Errors
/// A sentence, when the kernel does not say.
pub fn holds(group: &Path) -> Result<bool, String> {
    hooks::is_hooked(group, None)
}

/// By which number the kernel knows a cgroup: its directory's inode.
fn number(group: &Path) -> Result<u64, String> {
    let failed = |e: std::io::Error| format!("`{}` cannot be read: {e}", group.display());
    Ok(std::fs::metadata(group).map_err(failed)?.ino())
}

fn taken(ebpf: &mut Ebpf, name: &str) -> Map {
    ebpf.take_map(name).expect("the object was built with this map")
}
