//! The kernel's cut for this daemon: what `network.isolate` and `network.block_peer` entered, and what of it stood before.
//!
//! Invariant: a kernel that refuses is told in `status`, and everything else works as without it; what stands is left in force
//! where it is pinned, and counts on while nobody lives. How long an order stands, and whether it stands again after a boot, is
//! its lease's to say (engine/src/run/hold.rs).

use crate::api::{CutOff, CutStatus};
use quell_actions::HostWorld;
use quell_detectors::cut::KernelCut;
use quell_detectors::pin::Pins;
use quell_engine::clock::SystemClock;
use quell_engine::run::answers::StandingLease;
use quell_model::{Clock, Cut as _, CutRule, CutStanding};
use std::collections::HashMap;
use std::sync::Arc;

/// See the module.
pub(super) struct Cut {
    cut: Result<Arc<KernelCut>, String>,
    pins: Result<Arc<Pins>, String>,
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
        Self { cut, pins: pins.clone() }
    }

    /// The world with its cut, where there is one.
    pub(super) fn lend(&self, world: HostWorld) -> HostWorld {
        match &self.cut {
            Ok(cut) => world.with_cut(Arc::clone(cut) as _),
            Err(_) => world,
        }
    }

    /// Takes out what has ended.
    pub(super) fn turn(&self) {
        if let Ok(cut) = &self.cut
            && let Err(why) = cut.settle()
        {
            tracing::warn!(why, "orders of the kernel's cut that have ended stay");
        }
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
