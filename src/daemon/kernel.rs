//! What acts inside the kernel for this daemon: the hands that `process.kill` marks for, the cut of the network, where they are
//! pinned, and the pause flag that all of it obeys.
//!
//! Made once, before the crew; decides nothing. Invariant: a kernel that refuses is told in `status`, and everything else
//! works as without it; while somebody paused, in the daemon or at the flag, nothing in the kernel acts.

use crate::api::{CutStatus, HandsStatus};
use quell_actions::HostWorld;
use quell_engine::run::answers::StandingLease;
use quell_model::record::ReflexFired;
use std::path::Path;

#[cfg(feature = "ebpf")]
mod cut;

#[cfg(feature = "ebpf")]
use {
    quell_detectors::hands::{HandsConfig, KernelHands},
    quell_detectors::pin::{self, Pins},
    std::sync::Arc,
    std::sync::atomic::{AtomicBool, Ordering},
};

/// See the module.
pub(crate) struct Kernel {
    #[cfg(feature = "ebpf")]
    hands: Result<Arc<KernelHands>, String>,
    #[cfg(feature = "ebpf")]
    pins: Result<Arc<Pins>, String>,
    #[cfg(feature = "ebpf")]
    cut: cut::Cut,
    /// Whether this daemon has been told to pause: the flag may have been set beside it.
    #[cfg(feature = "ebpf")]
    told: AtomicBool,
}

#[cfg(feature = "ebpf")]
impl Kernel {
    /// Loads what this kernel allows, and pins it where no other daemon does. `dir` is the data directory, which exists.
    pub(crate) fn load(world: &HostWorld, dir: &Path) -> Self {
        let pins = Pins::claim(Path::new(pin::DIR), dir).map(Arc::new).map_err(|e| super::with_source(&e));
        let config = HandsConfig { boot: world.boot.clone(), pins: pins.as_ref().ok().cloned() };
        let hands = KernelHands::load(config).map(Arc::new).map_err(|e| super::with_source(&e));
        match (&hands, &pins) {
            (Err(why), _) => tracing::warn!(why, "no hands in the kernel: process.kill works by signals alone"),
            (Ok(_), Err(why)) => tracing::info!(why, "the kernel's hands are not pinned: they end with this process"),
            (Ok(_), Ok(_)) => {}
        }
        let cut = cut::Cut::load(&pins);
        Self { hands, pins, cut, told: AtomicBool::new(false) }
    }

    /// The right to pin, for what else acts in the kernel.
    pub(super) fn pins(&self) -> Result<Arc<Pins>, String> {
        self.pins.clone()
    }

    /// The world with its hands, where there are some.
    pub(crate) fn lend(&self, world: HostWorld) -> HostWorld {
        match &self.hands {
            Ok(hands) => world.with_doom(Arc::clone(hands) as _),
            Err(_) => world,
        }
    }

    /// The world with the cut, where there is one.
    pub(crate) fn lend_cut(&self, world: HostWorld) -> HostWorld {
        self.cut.lend(world)
    }

    /// Before the engine: what the journal has of what was dropped is told no more.
    pub(crate) fn take_up(&self, dir: &Path) {
        self.cut.take_up(dir);
    }

    /// What the cut dropped, to be written down. [`Kernel::kept`] follows once the engine has it.
    pub(crate) fn dropped(&self, last: bool) -> Vec<ReflexFired> {
        self.cut.dropped(last)
    }

    /// The engine has these.
    pub(crate) fn kept(&self, records: &[ReflexFired]) {
        self.cut.kept(records);
    }

    /// Whether the flag is set.
    pub(crate) fn is_paused(&self) -> bool {
        match (&self.hands, &self.pins) {
            (Ok(hands), _) => hands.is_paused(),
            (Err(_), Ok(pins)) => pins.is_paused(),
            (Err(_), Err(_)) => false,
        }
    }

    /// Whether somebody set the flag beside this daemon, which does not know of it.
    pub(crate) fn is_paused_beside(&self) -> bool {
        self.is_paused() && !self.told.load(Ordering::Acquire)
    }

    /// Holds it, or lets it go on. An error: some of it does as before.
    pub(crate) fn pause(&self, paused: bool) -> Result<(), String> {
        // Until the flag is lifted nobody may take it for one that was set beside this daemon.
        if paused {
            self.told.store(true, Ordering::Release);
        }
        // Without pins the hands have a flag of their own.
        let pinned = self.pins.as_ref().map_or(Ok(()), |pins| pins.pause(paused).map_err(|e| super::with_source(&e)));
        let own = self.hands.as_ref().map_or(Ok(()), |hands| hands.pause(paused));
        let cut = self.cut.pause(paused);
        let failed: Vec<String> = [pinned.err(), own.err(), cut.err()].into_iter().flatten().collect();
        if !failed.is_empty() {
            return Err(failed.join("; "));
        }
        if !paused {
            self.told.store(false, Ordering::Release);
        }
        Ok(())
    }

    /// What there is to do now and then: the hook at system calls leaves when no mark lives, and what was cut off for a time is
    /// let go.
    pub(crate) fn turn(&self) {
        self.cut.turn();
        if let Ok(hands) = &self.hands {
            hands.settle();
        }
    }

    /// Tries what a pause kept from being tried at the start. Blocks for a moment.
    pub(crate) fn try_again(&self) {
        if let Ok(hands) = &self.hands
            && !hands.is_tried()
            && !hands.is_paused()
            && let Err(why) = hands.attempt()
        {
            tracing::error!(why, "the kernel's hands failed their own trial: process.kill still sends signals");
        }
    }

    /// How it stands.
    pub(crate) fn status(&self) -> HandsStatus {
        match &self.hands {
            Ok(hands) => HandsStatus {
                loaded: true,
                why: None,
                tried: hands.is_tried(),
                pinned: self.pins.as_ref().ok().map(|pins| pins.dir().display().to_string()),
                unpinned_why: self.pins.as_ref().err().cloned(),
                at_calls: hands.is_joined(),
                struck: hands.struck(),
            },
            Err(why) => HandsStatus { why: Some(why.clone()), ..HandsStatus::default() },
        }
    }

    /// How the cut stands.
    pub(crate) fn cut_status(&self, leases: &[StandingLease]) -> CutStatus {
        self.cut.status(leases)
    }

    /// Takes it out of the kernel: this daemon ends, and marks nobody any more. What is cut off stays so, where it is pinned.
    pub(crate) fn end(&self) {
        self.cut.end();
        if let Ok(hands) = &self.hands {
            hands.end();
        }
        if let Ok(pins) = &self.pins
            && let Err(error) = pins.give_back()
        {
            tracing::warn!(why = super::with_source(&error), "pins stay behind");
        }
    }
}

/// A build without BPF has nothing in the kernel.
#[cfg(not(feature = "ebpf"))]
impl Kernel {
    pub(crate) fn load(_: &HostWorld, _: &Path) -> Self {
        Self {}
    }

    pub(crate) fn lend(&self, world: HostWorld) -> HostWorld {
        world
    }

    pub(crate) fn lend_cut(&self, world: HostWorld) -> HostWorld {
        world
    }

    pub(crate) fn take_up(&self, _: &Path) {}

    pub(crate) fn dropped(&self, _: bool) -> Vec<ReflexFired> {
        Vec::new()
    }

    pub(crate) fn kept(&self, _: &[ReflexFired]) {}

    pub(crate) fn cut_status(&self, _: &[StandingLease]) -> CutStatus {
        CutStatus { why: Some("this quell was built without the feature `ebpf`".to_owned()), ..CutStatus::default() }
    }

    pub(crate) fn is_paused(&self) -> bool {
        false
    }

    pub(crate) fn is_paused_beside(&self) -> bool {
        false
    }

    pub(crate) fn pause(&self, _: bool) -> Result<(), String> {
        Ok(())
    }

    pub(crate) fn turn(&self) {}

    pub(crate) fn try_again(&self) {}

    pub(crate) fn status(&self) -> HandsStatus {
        HandsStatus {
            why: Some("this quell was built without the feature `ebpf`".to_owned()),
            ..HandsStatus::default()
        }
    }

    pub(crate) fn end(&self) {}
}
