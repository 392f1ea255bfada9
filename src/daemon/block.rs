//! The kernel's reflex for this daemon: what `process.block_exec` entered, what of it fired, and what stood before.
//!
//! ```text
//! every second: ledger ─▶ ReflexFired, in the journal ─▶ ledger: kept          journal refuses: it stays in the ledger
//! start: what the journal has is struck off the ledger                         end: what stands is left, where it is pinned
//! ```
//!
//! Invariant: a strike leaves the ledger after the journal has it, and by the ledger's own numbers it is there once, whenever
//! this daemon is killed; nothing waits in memory. A kernel that refuses is told in `status`, and everything else works as
//! without it. How long an entry stands, and whether it stands again after a boot, is its lease's to say (engine/src/run/hold.rs).

use super::kernel::Kernel;
use crate::api::BlockStatus;
use quell_actions::HostWorld;
use quell_engine::run::answers::StandingLease;
use quell_model::record::ReflexFired;
use std::path::Path;

#[cfg(feature = "ebpf")]
pub(super) mod strikes;

#[cfg(feature = "ebpf")]
use {
    crate::api::Blocked,
    quell_detectors::block::KernelReflex,
    quell_detectors::pin::Pins,
    quell_engine::clock::SystemClock,
    quell_engine::store::Journal,
    quell_model::Clock,
    quell_model::Reflex,
    std::collections::HashMap,
    std::sync::{Arc, Mutex, MutexGuard, PoisonError},
    std::time::{Duration, Instant},
    strikes::{Whose, through, told, write},
};

/// After the first strikes the ledger is read so often only: what is started every second is a record a minute.
#[cfg(feature = "ebpf")]
const REST: Duration = Duration::from_secs(60);
/// Lines of the ledger, of 4096, at which it is read before that.
#[cfg(feature = "ebpf")]
const MANY: u64 = 1024;

/// See the module.
pub(crate) struct Block {
    #[cfg(feature = "ebpf")]
    reflex: Result<Arc<KernelReflex>, String>,
    #[cfg(feature = "ebpf")]
    pins: Result<Arc<Pins>, String>,
    #[cfg(feature = "ebpf")]
    reading: Mutex<Reading>,
    /// When this daemon came, on the boot clock: what fired before was seen by none.
    #[cfg(feature = "ebpf")]
    came_ns: u64,
}

/// Where the reading of the ledger is.
#[cfg(feature = "ebpf")]
#[derive(Default)]
struct Reading {
    /// What entries are called, and whose they are; an entry may be gone before its last strike is read.
    known: HashMap<u64, Whose>,
    /// The engine has what comes up to this line, and the journal not yet.
    pending: Option<u64>,
    /// When strikes were last told.
    told: Option<Instant>,
}

/// What is to be written now.
#[derive(Default)]
pub(crate) struct Turn {
    /// New records; none when the journal still owes the former ones.
    pub(crate) fired: Vec<ReflexFired>,
    /// The last line of the ledger that they tell of.
    #[cfg(feature = "ebpf")]
    through: u64,
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
        Self { reflex, pins, reading: Mutex::default(), came_ns: boot_ns() }
    }

    /// The world with its reflex, where there is one.
    pub(crate) fn lend(&self, world: HostWorld) -> HostWorld {
        match &self.reflex {
            Ok(reflex) => world.with_reflex(Arc::clone(reflex) as _),
            Err(_) => world,
        }
    }

    /// Before the engine: what the journal has is struck off the ledger. A daemon that died between the two had written it
    /// and not said so.
    pub(crate) fn take_up(&self, dir: &Path) {
        let Ok(reflex) = &self.reflex else { return };
        if !dir.join("journal.db").exists() {
            return;
        }
        let kept = Journal::open(dir).map_err(|e| e.to_string()).and_then(|journal| {
            let system = strikes::written(&journal);
            journal.close();
            reflex.keep(through(&system?, reflex.ledger()))
        });
        if let Err(why) = kept {
            tracing::error!(why, "what fired is not compared with the journal, and may be told twice");
        }
    }

    /// The engine holds what stands: what an earlier quell pinned in another layout is needed no more.
    pub(crate) fn taken_up(&self) {
        if let Ok(reflex) = &self.reflex
            && let Err(why) = reflex.clear_former()
        {
            tracing::warn!(why, "what an earlier quell pinned stays");
        }
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What fired since the last time, when it is time to tell of it; `last`: there is no later time. One of
    /// [`Block::kept`], [`Block::owed`] and [`Block::refused`] follows.
    pub(crate) fn turn(&self, last: bool) -> Option<Turn> {
        let reflex = self.reflex.as_ref().ok()?;
        if let Err(why) = reflex.settle() {
            tracing::warn!(why, "entries of the kernel's reflex that have ended stay");
        }
        let mut reading = self.reading();
        if let Some(through) = reading.pending {
            return Some(Turn { fired: Vec::new(), through });
        }
        // Names are learnt while the entries stand.
        let standing = reflex.all().unwrap_or_default();
        if reading.known.len() > standing.len() + 4096 {
            reading.known.clear();
        }
        reading.known.extend(standing.into_iter().map(|one| (one.terms.id, (one.terms.label, one.terms.owner))));
        let is_due = last || reading.told.is_none_or(|told| told.elapsed() >= REST);
        let fired = reflex.waiting().and_then(|lines| {
            if lines == 0 || !(is_due || lines >= MANY) { Ok(None) } else { reflex.read().map(Some) }
        });
        match fired {
            Ok(fired) => {
                let fired = fired?;
                reading.told = Some(Instant::now());
                let through = fired.through;
                let fired = told(fired, &reading.known, self.came_ns);
                (!fired.is_empty()).then_some(Turn { fired, through })
            }
            Err(why) => {
                tracing::error!(why, "the ledger of the kernel's reflex cannot be read");
                None
            }
        }
    }

    /// The journal has all of a turn.
    pub(crate) fn kept(&self, turn: &Turn) {
        self.reading().pending = None;
        if let Ok(reflex) = &self.reflex
            && let Err(why) = reflex.keep(turn.through)
        {
            tracing::error!(why, "strikes that are in the journal stay in the kernel's ledger");
        }
    }

    /// The engine has a turn, and the journal not yet: it is asked again.
    pub(crate) fn owed(&self, turn: &Turn) {
        self.reading().pending = Some(turn.through);
    }

    /// Nobody took a turn: its strikes are read once more, from the ledger, where they still are.
    pub(crate) fn refused(&self) {
        let mut reading = self.reading();
        if reading.pending.is_none()
            && let Ok(reflex) = &self.reflex
            && let Err(why) = reflex.unread()
        {
            tracing::error!(why, "the ledger of the kernel's reflex cannot be read");
        }
        reading.told = None;
    }

    /// Holds it, or lets it go on.
    pub(crate) fn pause(&self, paused: bool) -> Result<(), String> {
        self.reflex.as_ref().map_or(Ok(()), |reflex| reflex.pause(paused))
    }

    /// Tries what a pause kept from being tried at the start. Blocks for a moment.
    pub(crate) fn try_again(&self) {
        if let Ok(reflex) = &self.reflex
            && !reflex.is_paused()
            && let Err(why) = reflex.attempt()
        {
            tracing::error!(why, "the kernel's reflex failed its own trial: process.block_exec may not work");
        }
    }

    /// How it stands.
    pub(crate) fn status(&self, leases: &[StandingLease]) -> BlockStatus {
        let reflex = match &self.reflex {
            Ok(reflex) => reflex,
            Err(why) => return BlockStatus { why: Some(why.clone()), ..BlockStatus::default() },
        };
        let now = SystemClock.now();
        let by_number = |lease: &StandingLease| (quell_model::reflex_id(&lease.id), lease.clone());
        let leases: HashMap<u64, StandingLease> = leases.iter().map(by_number).collect();
        let blocked = |one: quell_model::Standing| {
            let kernel = one.terms.until_ns.saturating_sub(now.boot_ns) / 1_000_000_000;
            let left = match leases.get(&one.terms.id) {
                Some(StandingLease { until: Some(until), due: false, .. }) => {
                    let left = until.duration_since(now.wall).as_secs();
                    Some(u64::try_from(left).unwrap_or(0).min(kernel))
                }
                Some(_) => None,
                None => Some(kernel),
            };
            Blocked {
                id: format!("{:016x}", one.terms.id),
                image: one.terms.label,
                scope: if one.spot.around == quell_model::Around::Host { "host" } else { "cgroup" }.to_owned(),
                seconds_left: left,
                kernel_seconds_left: kernel,
                struck: one.struck,
                spent: one.spent,
                missed: one.missed,
            }
        };
        let all = reflex.all();
        BlockStatus {
            loaded: true,
            why: None,
            pinned: self.pins.as_ref().ok().map(|pins| pins.dir().display().to_string()),
            unpinned_why: self.pins.as_ref().err().cloned(),
            scripts: reflex.scripts().map(|how| how.to_string()),
            unreadable: all.as_ref().err().cloned(),
            blocked: all.unwrap_or_default().into_iter().map(blocked).collect(),
        }
    }

    /// This daemon ends, and its engine has ended: what is pinned stays in force while something stands, with its ledger;
    /// what would go with this process is written down first.
    pub(crate) fn end(&self, dir: &Path) {
        let Ok(reflex) = &self.reflex else { return };
        let stays = self.pins.is_ok() && reflex.all().is_ok_and(|all| !all.is_empty());
        if !stays
            && dir.join("journal.db").exists()
            && let Err(why) = self.flush(dir)
        {
            tracing::error!(why, "what the kernel kept from starting last is not in the journal");
        }
        if let Err(why) = reflex.end() {
            tracing::warn!(why, "the kernel's reflex stays behind");
        }
    }

    fn flush(&self, dir: &Path) -> Result<(), String> {
        self.reading().pending = None;
        let Ok(reflex) = &self.reflex else { return Ok(()) };
        reflex.unread()?;
        if reflex.waiting()? == 0 {
            return Ok(());
        }
        let journal = Journal::open(dir).map_err(|e| e.to_string())?;
        let written = strikes::written(&journal).and_then(|system| {
            reflex.keep(through(&system, reflex.ledger()))?;
            let fired = reflex.read()?;
            let last = fired.through;
            let records = told(fired, &self.reading().known, self.came_ns);
            write(&journal, records)?;
            reflex.keep(last)
        });
        journal.close();
        written
    }
}

#[cfg(feature = "ebpf")]
fn boot_ns() -> u64 {
    SystemClock.now().boot_ns
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

    pub(crate) fn take_up(&self, _: &Path) {}

    pub(crate) fn taken_up(&self) {}

    pub(crate) fn turn(&self, _: bool) -> Option<Turn> {
        None
    }

    pub(crate) fn kept(&self, _: &Turn) {}

    pub(crate) fn owed(&self, _: &Turn) {}

    pub(crate) fn refused(&self) {}

    pub(crate) fn pause(&self, _: bool) -> Result<(), String> {
        Ok(())
    }

    pub(crate) fn try_again(&self) {}

    pub(crate) fn status(&self, _: &[StandingLease]) -> BlockStatus {
        BlockStatus {
            why: Some("this quell was built without the feature `ebpf`".to_owned()),
            ..BlockStatus::default()
        }
    }

    pub(crate) fn end(&self, _: &Path) {}
}
