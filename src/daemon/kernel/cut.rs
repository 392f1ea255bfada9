//! The kernel's cut for this daemon: what `network.isolate` and `network.block_peer` entered, and what of it stood before.
//!
//! Invariant: a kernel that refuses is told in `status`, and everything else works as without it; what stands is left in force
//! where it is pinned, and counts on while nobody lives. How long an order stands, and whether it stands again after a boot, is
//! its lease's to say (engine/src/run/hold.rs).

use super::super::block::strikes;
use crate::api::{CutOff, CutStatus};
use quell_actions::{HostWorld, network};
use quell_detectors::cut::KernelCut;
use quell_detectors::pin::Pins;
use quell_engine::clock::SystemClock;
use quell_engine::run::answers::StandingLease;
use quell_engine::store::Journal;
use quell_model::record::ReflexFired;
use quell_model::{Body, Clock, Cut as _, CutRule, CutStanding, Name};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After the first drops of an order they are told so often only: what is tried every second is a record a minute.
const REST: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Cut {
    cut: Result<Arc<KernelCut>, String>,
    pins: Result<Arc<Pins>, String>,
    /// What each order had dropped when this daemon came: nobody saw it.
    found: HashMap<u64, u64>,
    /// On which cgroups orders stood at the last turn; none: there was none, or who was moved is to be brought back yet.
    stood: Mutex<Option<HashSet<u64>>>,
    /// What of it the journal has, and since when.
    told: Mutex<HashMap<u64, (u64, Option<Instant>)>>,
}

impl Cut {
    /// Loads what this kernel allows, and takes over what an earlier daemon of this data directory pinned.
    pub(super) fn load(pins: &Result<Arc<Pins>, String>) -> Self {
        let cut = KernelCut::load(pins.as_ref().ok().cloned());
        let cut = cut.map(Arc::new).map_err(|e| super::super::with_source(&e));
        match (&cut, pins) {
            (Err(why), _) => {
                tracing::warn!(why, "no cut in the kernel: network.isolate and block_peer do not work here")
            }
            (Ok(_), Err(why)) => tracing::info!(why, "the kernel's cut is not pinned: it ends with this process"),
            (Ok(_), Ok(_)) => {}
        }
        let found = cut.as_ref().ok().and_then(|cut| cut.all().ok()).unwrap_or_default();
        let found = found.into_iter().map(|one| (one.terms.id, one.dropped.count())).collect();
        Self { cut, pins: pins.clone(), found, stood: Mutex::default(), told: Mutex::default() }
    }

    /// Before the engine: what the journal has is told no more.
    pub(super) fn take_up(&self, dir: &Path) {
        if self.found.is_empty() || !dir.join("journal.db").exists() {
            return;
        }
        let written = Journal::open(dir).map_err(|e| e.to_string()).and_then(|journal| {
            let written = strikes::written(&journal);
            journal.close();
            written
        });
        match written {
            Ok(records) => {
                let mut told = self.told();
                for record in records {
                    if let Body::ReflexFired(fired) = record.body
                        && fired.action.as_str().starts_with("network.")
                    {
                        let known = told.entry(fired.ledger).or_default();
                        known.0 = known.0.max(fired.through);
                    }
                }
            }
            Err(why) => {
                tracing::error!(why, "what was dropped is not compared with the journal, and may be told twice")
            }
        }
    }

    fn told(&self) -> MutexGuard<'_, HashMap<u64, (u64, Option<Instant>)>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was dropped since it was told last, of the orders of which it is time to tell; `last`: there is no later time.
    pub(super) fn dropped(&self, last: bool) -> Vec<ReflexFired> {
        let Some(all) = self.cut.as_ref().ok().and_then(|cut| cut.all().ok()) else { return Vec::new() };
        let mut told = self.told();
        told.retain(|id, _| all.iter().any(|one| one.terms.id == *id));
        let is_due = |since: Option<Instant>| last || since.is_none_or(|since| since.elapsed() >= REST);
        let mut records = Vec::new();
        for one in all {
            let (mut through, since) = told.get(&one.terms.id).copied().unwrap_or_default();
            if !is_due(since) {
                continue;
            }
            let found = self.found.get(&one.terms.id).copied().unwrap_or(0);
            for (total, unattended) in [(found, true), (one.dropped.count(), false)] {
                if total > through {
                    records.push(record(&one, total - through, total, unattended));
                    through = total;
                }
            }
        }
        records
    }

    /// The engine has them, and tells the journal.
    pub(super) fn kept(&self, records: &[ReflexFired]) {
        let mut told = self.told();
        for record in records {
            told.insert(record.ledger, (record.through, Some(Instant::now())));
        }
    }

    /// The world with its cut, where there is one.
    pub(super) fn lend(&self, world: HostWorld) -> HostWorld {
        match &self.cut {
            Ok(cut) => world.with_cut(Arc::clone(cut) as _),
            Err(_) => world,
        }
    }

    /// Takes out what has ended, and brings back who was moved for it.
    pub(super) fn turn(&self) {
        let Ok(cut) = &self.cut else { return };
        if let Err(why) = cut.settle() {
            tracing::warn!(why, "orders of the kernel's cut that have ended stay");
        }
        let groups: HashSet<u64> = cut.all().unwrap_or_default().into_iter().map(|one| one.group).collect();
        let mut stood = self.stood.lock().unwrap_or_else(PoisonError::into_inner);
        let has_ended = stood.as_ref().is_none_or(|stood| !stood.is_subset(&groups));
        *stood = if has_ended && !bring_back(cut) { None } else { Some(groups) };
    }

    /// Lifts it, or lets it hold on.
    pub(super) fn pause(&self, paused: bool) -> Result<(), String> {
        self.cut.as_ref().map_or(Ok(()), |cut| cut.pause(paused))
    }

    /// How it stands.
    pub(super) fn status(&self, leases: &[StandingLease]) -> CutStatus {
        let cut = match &self.cut {
            Ok(cut) => cut,
            Err(why) => return CutStatus { why: Some(why.clone()), ..CutStatus::default() },
        };
        let now = SystemClock.now();
        let by_number = |lease: &StandingLease| (quell_model::reflex_id(&lease.id), lease.clone());
        let leases: HashMap<u64, StandingLease> = leases.iter().map(by_number).collect();
        let told = |one: CutStanding| {
            let kernel = one.terms.until_ns.saturating_sub(now.boot_ns) / 1_000_000_000;
            let left = match leases.get(&one.terms.id) {
                Some(StandingLease { until: Some(until), due: false, .. }) => {
                    let left = until.duration_since(now.wall).as_secs();
                    Some(u64::try_from(left).unwrap_or(0).min(kernel))
                }
                Some(_) => None,
                None => Some(kernel),
            };
            let (isolates, peers) = match &one.terms.rule {
                CutRule::Isolate { allow, .. } => (true, allow),
                CutRule::Block { peers, .. } => (false, peers),
            };
            CutOff {
                id: format!("{:016x}", one.terms.id),
                cgroup: one.terms.label,
                isolated: isolates,
                peers: peers.iter().map(ToString::to_string).collect(),
                seconds_left: left,
                kernel_seconds_left: kernel,
                packets_out: one.dropped.packets_out,
                packets_in: one.dropped.packets_in,
                bytes_out: one.dropped.bytes_out,
                bytes_in: one.dropped.bytes_in,
                calls: one.dropped.calls,
                unhooked: one.unhooked,
            }
        };
        let all = cut.all();
        CutStatus {
            loaded: true,
            why: None,
            pinned: self.pins.as_ref().ok().map(|pins| pins.dir().display().to_string()),
            unpinned_why: self.pins.as_ref().err().cloned(),
            unreadable: all.as_ref().err().cloned(),
            cut_off: all.unwrap_or_default().into_iter().map(told).collect(),
        }
    }

    /// This daemon ends: what is pinned stays in force while something stands.
    pub(super) fn end(&self) {
        if let Ok(cut) = &self.cut
            && let Err(why) = cut.end()
        {
            tracing::warn!(why, "the kernel's cut stays behind");
        }
    }
}

/// Brings back whom nothing cuts off any more; false when that is to be tried again.
fn bring_back(cut: &KernelCut) -> bool {
    let Ok(world) = HostWorld::live(Name::from("here")) else { return true };
    let back = network::bring_back(&world, &|group| cut.holds(group), network::While::Working);
    if back.moved > 0 {
        tracing::info!(moved = back.moved, "who was moved for a cut that has ended is where it was");
    }
    for why in &back.stays {
        tracing::debug!(why, "a cgroup of a cut that has ended stays yet");
    }
    back.stays.is_empty()
}

fn record(one: &CutStanding, count: u64, through: u64, unattended: bool) -> ReflexFired {
    let action = match one.terms.rule {
        CutRule::Isolate { .. } => "network.isolate",
        CutRule::Block { .. } => "network.block_peer",
    };
    ReflexFired {
        action: action.into(),
        reflex: format!("{:016x}", one.terms.id),
        image: format!("cgroup {}", one.terms.label),
        count,
        struck: Vec::new(),
        spent: false,
        unattended,
        run: (!one.terms.owner.is_empty()).then(|| one.terms.owner.as_str().into()),
        missed: 0,
        ledger: one.terms.id,
        through,
    }
}
