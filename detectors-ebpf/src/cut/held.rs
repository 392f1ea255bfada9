//! The maps of the cut, under one lock.
//!
//! Keeps true: GROUPS names an order only while all else of it is there; an order that cannot be entered whole leaves nothing.

#![allow(deprecated, reason = "see hooks.rs")]

use super::devices::{Behind, Devices};
use super::files;
use super::hooks::Hooks;
use super::probe;
use super::veth::Device;
use super::words::{self, Count, Order, Orders, Peer};
use super::{now, taken};
use crate::block::mounted;
use crate::kernfs;
use crate::load::chain;
use crate::pin::Pins;
use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, CgroupStorage, HashMap, MapData, MapError};
use quell_model::{CutDevices, CutStanding, CutTerms, Net};
use std::collections::{HashMap as Table, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

/// Orders that there is room for; `max_entries` of CUT_ORDERS is more, since the kernel's hash may refuse the last.
const MOST: usize = 4000;
/// `BPF_NOEXIST`.
const NOEXIST: u64 = 1;

pub(super) struct Held {
    hooks: Hooks,
    devices: Devices,
    groups: HashMap<MapData, u64, Orders>,
    orders: HashMap<MapData, u64, Order>,
    peers: LpmTrie<MapData, Peer, u32>,
    counts: HashMap<MapData, u64, Count>,
    pause: Array<MapData, u64>,
    /// Holds the programs.
    ebpf: Ebpf,
}

impl Held {
    pub(super) fn new(mut ebpf: Ebpf, pins: Option<Arc<Pins>>) -> Result<Self, MapError> {
        Ok(Self {
            hooks: Hooks::new(CgroupStorage::try_from(taken(&mut ebpf, "CUT_HOMES"))?, pins.clone()),
            devices: Devices::new(HashMap::<_, u32, Behind>::try_from(taken(&mut ebpf, "CUT_DEVICES"))?, pins),
            groups: HashMap::try_from(taken(&mut ebpf, "CUT_GROUPS"))?,
            orders: HashMap::try_from(taken(&mut ebpf, "CUT_ORDERS"))?,
            peers: LpmTrie::try_from(taken(&mut ebpf, "CUT_PEERS"))?,
            counts: HashMap::try_from(taken(&mut ebpf, "CUT_COUNTS"))?,
            pause: Array::try_from(taken(&mut ebpf, "PAUSE"))?,
            ebpf,
        })
    }

    pub(super) fn is_paused(&self) -> bool {
        // What cannot be read drops nothing: the kernel's programs see it the same way.
        self.pause.get(&0, 0).map_or(true, |value| value != 0)
    }

    pub(super) fn pause(&mut self, paused: bool) -> Result<(), String> {
        self.pause.set(0, u64::from(paused), 0).map_err(|e| chain(&e))
    }

    /// A file that says, when it is read, who has which sockets open.
    pub(super) fn look(&mut self) -> Result<File, String> {
        files::look(&mut self.ebpf)
    }

    /// Whether an order stands on the cgroup with this number.
    pub(super) fn holds(&self, group: u64) -> Result<bool, String> {
        Ok(there(self.groups.get(&group, 0))?.is_some())
    }

    /// The id of the program whose hooks are this quell's.
    pub(super) fn own(&self) -> Option<u32> {
        self.ebpf.program("cut_egress")?.info().ok().map(|info| info.id())
    }

    fn order(&self, id: u64) -> Result<Option<Order>, String> {
        there(self.orders.get(&id, 0))
    }

    /// Enters it, or renews what stands there.
    pub(super) fn enter(&mut self, dir: &Path, terms: &CutTerms) -> Result<(), String> {
        let open = File::open(dir).map_err(|e| format!("`{}` cannot be opened: {e}", dir.display()))?;
        let group = open.metadata().map_err(|e| format!("`{}` cannot be read: {e}", dir.display()))?.ino();
        let stands = self.order(terms.id)?;
        if let Some(stands) = stands.filter(|stands| words::group(stands) != group) {
            return Err(format!("the order stands on another cgroup, {}", words::group(&stands)));
        }
        if stands.is_none() && self.orders.keys().count() >= MOST {
            return Err(format!("{MOST} orders stand already"));
        }
        self.put(group, &open, terms).inspect_err(|_| {
            if stands.is_none()
                && let Err(why) = self.remove(terms.id)
            {
                tracing::warn!(why, "an order that was not entered whole leaves something behind");
            }
        })
    }

    fn put(&mut self, group: u64, dir: &File, terms: &CutTerms) -> Result<(), String> {
        // What an order of that id named before it was renewed, or before a daemon died, is named no more.
        let peers = words::peers(terms.id, words::nets(&terms.rule));
        for key in self.keys(|id| id == terms.id)? {
            if !peers.iter().any(|(known, _)| *known == key) {
                self.remove_peer(key)?;
            }
        }
        for ((bits, key), says) in peers {
            let put = self.peers.insert(&Key::new(bits, key), says, 0);
            let net = || words::peer_of(bits, &key).1;
            put.map_err(|e| format!("there is no room for `{}`: {}", net(), chain(&e)))?;
        }
        match self.counts.insert(terms.id, [0; 7], NOEXIST) {
            Ok(()) => {}
            Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::EEXIST) => {}
            Err(error) => return Err(chain(&error)),
        }
        self.orders.insert(terms.id, words::order(group, terms), 0).map_err(|e| chain(&e))?;
        self.hooks.hang(&self.ebpf, group, dir)?;
        let mut orders = there(self.groups.get(&group, 0))?.unwrap_or_default();
        if !orders.contains(&terms.id) {
            let free = orders.iter_mut().find(|id| **id == 0);
            *free.ok_or_else(|| format!("{} orders stand on this cgroup already", words::ORDERS))? = terms.id;
            self.groups.insert(group, orders, 0).map_err(|e| chain(&e))?;
        }
        Ok(())
    }

    /// Hooks in the devices that lead into the network of a cgroup on which an order stands, as far as they can be.
    pub(super) fn hook_devices(&mut self, group: u64, found: &[Device]) -> Result<CutDevices, String> {
        let mut all = CutDevices::default();
        if !self.holds(group)? {
            return Ok(all);
        }
        for device in found {
            match self.devices.hang(&self.ebpf, group, device) {
                Ok(()) => all.hooked.push(device.name.clone()),
                Err(why) => all.left.push(format!("the device `{}` is not hooked: {why}", device.name)),
            }
        }
        Ok(all)
    }

    /// Whether all of these are hooked, for that cgroup.
    pub(super) fn are_hooked(&self, group: u64, devices: &[Device]) -> Result<bool, String> {
        Ok(self.holds(group)? && devices.iter().all(|device| self.devices.is_hooked(group, device.index)))
    }

    /// Takes it out, its group's hooks too when it was the last; false when nothing stood there.
    pub(super) fn remove(&mut self, id: u64) -> Result<bool, String> {
        let stood = self.order(id)?;
        if let Some(stood) = &stood {
            let group = words::group(stood);
            let mut orders = there(self.groups.get(&group, 0))?.unwrap_or_default();
            orders.iter_mut().filter(|one| **one == id).for_each(|one| *one = 0);
            if orders == Orders::default() {
                gone(self.groups.remove(&group))?;
                self.devices.take_down(group)?;
                self.hooks.take_down(group)?;
            } else {
                self.groups.insert(group, orders, 0).map_err(|e| chain(&e))?;
            }
        }
        for key in self.keys(|its| its == id)? {
            self.remove_peer(key)?;
        }
        gone(self.counts.remove(&id))?;
        gone(self.orders.remove(&id))?;
        Ok(stood.is_some())
    }

    fn remove_peer(&mut self, (bits, key): (u32, Peer)) -> Result<(), String> {
        gone(self.peers.remove(&Key::new(bits, key)))
    }

    /// The keys of the peers of these orders.
    fn keys(&self, of: impl Fn(u64) -> bool) -> Result<Vec<(u32, Peer)>, String> {
        let all = self.peers.keys().map(|key| key.map(|key| (key.prefix_len(), key.data())).map_err(|e| chain(&e)));
        let is_its = |(bits, key): &(u32, Peer)| of(words::peer_of(*bits, key).0);
        Ok(all.collect::<Result<Vec<_>, _>>()?.into_iter().filter(is_its).collect())
    }

    /// Every order.
    pub(super) fn all(&self) -> Result<Vec<CutStanding>, String> {
        let mut all = standing(&self.orders, &self.peers, &self.counts)?;
        for one in &mut all {
            let (devices, missing) = self.devices.of(one.group)?;
            one.devices = devices;
            one.unhooked = self.hooks.missing(one.group);
            one.unhooked.extend(missing);
            let orders = there(self.groups.get(&one.group, 0))?.unwrap_or_default();
            if !orders.contains(&one.terms.id) {
                one.unhooked.push("groups".to_owned());
            }
        }
        Ok(all)
    }

    /// Takes out what a daemon left that died in the midst of a write, or of a trial: nobody else writes here.
    pub(super) fn sweep(&mut self) -> Result<(), String> {
        self.remove(probe::TRIAL)?;
        let known = self.orders.keys().collect::<Result<HashSet<u64>, _>>().map_err(|e| chain(&e))?;
        for key in self.keys(|id| !known.contains(&id))? {
            self.remove_peer(key)?;
        }
        let counts = self.counts.keys().collect::<Result<Vec<u64>, _>>().map_err(|e| chain(&e))?;
        for id in counts.into_iter().filter(|id| !known.contains(id)) {
            gone(self.counts.remove(&id))?;
        }
        Ok(())
    }

    /// See [`super::KernelCut::settle`].
    pub(super) fn settle(&mut self) -> Result<usize, String> {
        let now = now();
        let orders = self.orders.iter().collect::<Result<Vec<_>, _>>().map_err(|e| chain(&e))?;
        let mut stand = 0;
        let mut groups = Vec::new();
        for (id, order) in orders {
            if words::until(&order) <= now || is_gone(words::group(&order)) {
                self.remove(id)?;
            } else {
                groups.push(words::group(&order));
                stand += 1;
            }
        }
        // Of orders that a daemon did not enter whole before it died.
        for group in self.hooks.groups() {
            if !groups.contains(&group) {
                self.hooks.take_down(group)?;
            }
        }
        self.devices.settle(&groups)?;
        Ok(stand)
    }
}

/// Whether it is known that there is no such cgroup any more.
fn is_gone(group: u64) -> bool {
    let Some(root) = mounted(true) else { return false };
    let opened = kernfs::open(&root, group);
    opened.is_err_and(|error: io::Error| matches!(error.raw_os_error(), Some(libc::ESTALE | libc::ENOENT)))
}

/// What the maps say of every order.
pub(super) fn standing(
    orders: &HashMap<MapData, u64, Order>,
    peers: &LpmTrie<MapData, Peer, u32>,
    counts: &HashMap<MapData, u64, Count>,
) -> Result<Vec<CutStanding>, String> {
    let mut nets = nets(peers)?;
    let orders = orders.iter().collect::<Result<Vec<_>, _>>().map_err(|e| chain(&e))?;
    let told = |(id, order): (u64, Order)| {
        let count = there(counts.get(&id, 0))?.unwrap_or_default();
        let terms = words::terms(id, &order, nets.remove(&id).unwrap_or_default());
        let (group, dropped) = (words::group(&order), words::dropped(&count));
        Ok(CutStanding { group, terms, dropped, devices: Vec::new(), unhooked: Vec::new() })
    };
    orders.into_iter().map(told).collect()
}

fn nets(peers: &LpmTrie<MapData, Peer, u32>) -> Result<Table<u64, Vec<Net>>, String> {
    let mut found: Table<u64, Vec<Net>> = Table::new();
    for one in peers.iter() {
        let (key, says) = one.map_err(|e| chain(&e))?;
        let (id, net) = words::peer_of(key.prefix_len(), &key.data());
        if says == words::NAMED {
            found.entry(id).or_default().push(net);
        }
    }
    found.values_mut().for_each(|nets| nets.sort_unstable());
    Ok(found)
}

fn there<T>(got: Result<T, MapError>) -> Result<Option<T>, String> {
    match got {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(error) => Err(chain(&error)),
    }
}

pub(super) fn gone(removed: Result<(), MapError>) -> Result<(), String> {
    match removed {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        Err(error) => Err(chain(&error)),
    }
}
