//! The kernel's reflex: images that may not start. Who execs one dies before its first instruction.
//!
//! Owns the third BPF object (bpf/block/), its entries, its ledger and its pins. Decides nothing: it enters what a verb
//! names. Keeps true: an entry is an image's device, inode and generation, ends by the kernel's clock and by its budget,
//! and stays in force while no quell lives; what fired meanwhile is in the ledger; while the pause flag is set nobody is
//! struck.
//!
//! ```text
//! process.block_exec ── enter(image, cgroup, until) ─▶ ENTRIES ◀── exec ── SIGKILL, or EPERM where BPF is an LSM
//! quell up           ◀─ read ── LEDGER ◀── what fired          scripts ── fanotify ── EPERM, while this process lives
//! ```

mod held;
mod hook;
mod ledger;
mod left;
mod levels;
mod scope;
mod scripts;
mod trial;
mod words;

pub use ledger::Fired;
pub use left::{fired, pinned};
pub(crate) use scope::mounted;
pub(crate) use trial::DUMMY;
pub use words::{Fate, Firing};

use crate::error::SensorError;
use crate::load::{self, chain};
use crate::pin::{self, PinError, Pins};
use aya::Btf;
use aya::maps::{Array, HashMap};
use aya::programs::links::FdLink;
use held::{Asked, Held};
use ledger::Ledger;
use levels::Levels;
use quell_model::{Image, Name, Reflex, Spot, Standing, Terms};
use scripts::Scripts;
use std::fs;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The compiled kernel side of the reflex.
pub const BLOCK_OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/block.bpf.o"));

/// All that is pinned here begins with this; the number is that of the maps' layout.
const PREFIX: &str = "block2_";
/// Layouts that an earlier quell pinned.
const FORMER: [&str; 1] = ["block1_"];
/// What the maps that outlive quell are pinned as.
const ENTRIES: &str = "block2_entries";
const LEDGER: &str = "block2_ledger";
const CONTROL: &str = "block2_control";
const KEPT: [(&str, &str); 4] = [
    ("BLOCK_ENTRIES", ENTRIES),
    ("BLOCK_LEVELS", "block2_levels"),
    ("BLOCK_LEDGER", LEDGER),
    ("BLOCK_CONTROL", CONTROL),
];

/// There is no reflex here.
#[derive(Debug, thiserror::Error)]
pub enum ReflexError {
    /// The kernel or its permissions.
    #[error(transparent)]
    Refused(#[from] SensorError),
    /// The pins.
    #[error("the kernel's reflex cannot be pinned")]
    Pin(#[from] PinError),
    /// Loaded, and did not do what it must.
    #[error("the kernel's reflex failed its own trial: {0}")]
    Trial(String),
}

/// The reflex, in and hooked. Dropping it unhooks what is not pinned, and lets scripts start.
pub struct KernelReflex {
    shared: Arc<Shared>,
    scripts: Result<Scripts, String>,
    /// Where the kernel asks BPF whether an exec may be.
    lsm: AtomicBool,
    _links: Vec<FdLink>,
    /// The right to the place where it is pinned.
    pins: Option<Arc<Pins>>,
}

/// What the thread of the scripts needs too.
struct Shared(Mutex<Held>);

impl std::fmt::Debug for KernelReflex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelReflex").field("lsm", &self.lsm).finish_non_exhaustive()
    }
}

impl KernelReflex {
    /// Loads and hooks in; takes over what an earlier daemon pinned in the same place, without a moment in which it is
    /// not in force. Tries itself unless it is paused.
    ///
    /// # Errors
    /// When the kernel refuses something, or the trial fails; what was pinned before stays in force then.
    pub fn load(pins: Option<Arc<Pins>>) -> Result<Self, ReflexError> {
        load::may_load()?;
        let btf = Btf::from_sys_fs().map_err(|e| SensorError::NoBtf { why: chain(&e) })?;
        let mut loader = pin::loader(&btf, pins.as_deref(), &KEPT);
        let mut ebpf = loader.load(BLOCK_OBJECT).map_err(|e| load::maps_refused(&e))?;
        let mut links =
            vec![("block2_exec", hook::exec(&mut ebpf, &btf).map_err(|e| load::probe_refused("block_exec", &e))?)];
        hook::ask(&mut ebpf).map_err(|e| load::probe_refused("block_ask", &e))?;
        match hook::check(&mut ebpf, &btf) {
            Ok(link) => links.push(("block2_check", link)),
            Err(error) => tracing::debug!(error = chain(&error), "BPF may not refuse an exec here"),
        }
        drop(btf);
        // Only now: the programs are in, and a map that leaves the object takes no number with it that they need.
        let mut held = Held {
            entries: HashMap::try_from(hook::taken(&mut ebpf, "BLOCK_ENTRIES")).map_err(refused)?,
            levels: Levels::new(Array::try_from(hook::taken(&mut ebpf, "BLOCK_LEVELS")).map_err(refused)?),
            ledger: Ledger::new(
                Array::try_from(hook::taken(&mut ebpf, "BLOCK_LEDGER")).map_err(refused)?,
                Array::try_from(hook::taken(&mut ebpf, "BLOCK_CONTROL")).map_err(refused)?,
            )
            .map_err(ReflexError::Trial)?,
            pause: Array::try_from(hook::taken(&mut ebpf, "PAUSE")).map_err(refused)?,
            answer: Array::try_from(hook::taken(&mut ebpf, "BLOCK_ANSWER")).map_err(refused)?,
            note: Array::try_from(hook::taken(&mut ebpf, "BLOCK_NOTE")).map_err(refused)?,
            ebpf,
        };
        load::give_back();
        held.tidy().map_err(ReflexError::Trial)?;
        let lsm = AtomicBool::new(links.len() > 1 && has_bpf_lsm());
        let links = links.into_iter().map(|(name, link)| hook::keep(link, pins.as_deref(), name));
        let links: Vec<_> = links.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        let shared = Arc::new(Shared(Mutex::new(held)));
        let scripts = Scripts::start(Asked(Arc::clone(&shared))).map_err(|error| error.to_string());
        let reflex = Self { shared, scripts, lsm, _links: links, pins };
        if !reflex.is_paused() {
            Reflex::attempt(&reflex).map_err(ReflexError::Trial)?;
        }
        Ok(reflex)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.shared.held()
    }

    /// What has fired since the last reading, also before this daemon lived. [`Self::keep`] follows, or [`Self::unread`].
    ///
    /// # Errors
    /// A sentence, when the kernel refuses.
    pub fn read(&self) -> Result<Fired, String> {
        self.held().ledger.read()
    }

    /// How many lines there are to read.
    ///
    /// # Errors
    /// A sentence, when the kernel refuses.
    pub fn waiting(&self) -> Result<u64, String> {
        self.held().ledger.waiting()
    }

    /// A journal has all of this ledger up to a line: it is told no more, whoever asks.
    ///
    /// # Errors
    /// A sentence, when the kernel refuses.
    pub fn keep(&self, through: u64) -> Result<(), String> {
        self.held().ledger.keep(through)
    }

    /// No journal has what was read and not kept: it is read again.
    ///
    /// # Errors
    /// A sentence, when the kernel refuses.
    pub fn unread(&self) -> Result<(), String> {
        self.held().ledger.unread()
    }

    /// Which ledger it is, for [`Fired::ledger`].
    #[must_use]
    pub fn ledger(&self) -> u64 {
        self.held().ledger.begun()
    }

    /// Marks a script whose entry an earlier daemon left: fanotify's marks ended with that. No script needs none.
    ///
    /// # Errors
    /// A sentence, when it is another file, or fanotify refuses.
    pub fn mark_again(&self, spot: &Spot, file: BorrowedFd<'_>) -> Result<(), String> {
        if self.held().image(file)? != spot.image {
            return Err("another file lies there now".to_owned());
        }
        self.mark(file)
    }

    fn mark(&self, file: BorrowedFd<'_>) -> Result<(), String> {
        if self.is_asked() || !scripts::is_script(file) {
            return Ok(());
        }
        let scripts = self.scripts.as_ref().map_err(Clone::clone);
        let marked = scripts.and_then(|scripts| scripts.mark(file).map_err(|e| e.to_string()));
        marked.map_err(|why| format!("it is a script, and fanotify cannot mark it: {why}"))
    }

    fn is_asked(&self) -> bool {
        self.lsm.load(Ordering::Acquire)
    }

    /// What an earlier quell pinned in another layout goes: its entries are in force here by now.
    ///
    /// # Errors
    /// A sentence, when it cannot be removed.
    pub fn clear_former(&self) -> Result<(), String> {
        let Some(pins) = &self.pins else { return Ok(()) };
        FORMER.iter().try_for_each(|prefix| pins.clear(prefix)).map_err(|e| chain(&e))
    }

    /// While paused nobody is struck.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn pause(&self, paused: bool) -> Result<(), String> {
        self.held().pause.set(0, u64::from(paused), 0).map_err(|e| chain(&e))
    }

    /// Whether the flag is set.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.held().is_paused()
    }

    /// Why scripts can start, where they can.
    #[must_use]
    pub fn scripts_why(&self) -> Option<&str> {
        if self.is_asked() { None } else { self.scripts.as_ref().err().map(String::as_str) }
    }

    /// Takes out what has ended, and its pins when nothing stands any more; gives how many stand.
    ///
    /// # Errors
    /// A sentence, when the kernel refuses.
    pub fn settle(&self) -> Result<usize, String> {
        let now = now();
        let (over, stand): (Vec<_>, Vec<_>) = self.all()?.into_iter().partition(|one| one.terms.until_ns <= now);
        if !over.is_empty() {
            let mut held = self.held();
            for one in over {
                // Somebody may have given it more time.
                let now_until = held.get(&words::key(&one.spot))?.map(|entry| words::until(&entry));
                if now_until.is_some_and(|until| until <= now) {
                    held.remove(&one.spot)?;
                }
            }
            held.tidy()?;
        }
        Ok(stand.len())
    }

    /// This daemon ends: what stands is left in force where it is pinned, and what no journal has stays in the ledger;
    /// else the pins go too.
    ///
    /// # Errors
    /// A sentence, when the kernel refuses.
    pub fn end(&self) -> Result<(), String> {
        let stand = self.settle()?;
        match &self.pins {
            Some(pins) if stand == 0 && self.held().ledger.is_kept()? => pins.clear(PREFIX).map_err(|e| chain(&e)),
            _ => Ok(()),
        }
    }
}

impl Shared {
    pub(super) fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reflex for KernelReflex {
    fn image(&self, file: BorrowedFd<'_>) -> Result<Image, String> {
        self.held().image(file)
    }

    fn standing(&self, spot: &Spot) -> Result<Option<Standing>, String> {
        let key = words::key(spot);
        Ok(self.held().get(&key)?.map(|entry| words::standing(&key, &entry)))
    }

    fn all(&self) -> Result<Vec<Standing>, String> {
        let held = self.held();
        let all = held.entries.iter().map(|one| one.map(|(key, entry)| words::standing(&key, &entry)));
        let all = all.collect::<Result<Vec<_>, _>>().map_err(|e| chain(&e))?;
        Ok(all.into_iter().filter(|one| one.terms.id != trial::OWN).collect())
    }

    fn enter(&self, spot: &Spot, terms: &Terms, file: Option<BorrowedFd<'_>>) -> Result<(), String> {
        self.held().enter(spot, terms)?;
        let Some(file) = file else { return Ok(()) };
        self.mark(file).inspect_err(|_| {
            if let Err(error) = self.remove(spot) {
                tracing::warn!(error, "an entry without effect stays");
            }
        })
    }

    fn remove(&self, spot: &Spot) -> Result<bool, String> {
        let mut held = self.held();
        let removed = held.remove(spot)?;
        if !held.tidy()?
            && let Ok(scripts) = &self.scripts
        {
            scripts.clear();
        }
        Ok(removed)
    }

    fn attempt(&self) -> Result<(), String> {
        if self.is_paused() {
            return Err("it is paused".to_owned());
        }
        // Where it was refused the kernel asks BPF: securityfs, which says so too, may not be mounted.
        self.lsm.store(self.trial()?, Ordering::Release);
        Ok(())
    }

    fn scripts(&self) -> Option<Name> {
        if self.is_asked() { Some("lsm".into()) } else { self.scripts.is_ok().then(|| "fanotify".into()) }
    }
}

/// This moment on the boot clock.
pub(crate) fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Whether the kernel says that it asks BPF: its hooks can be loaded also where nobody calls them. The trial knows better.
fn has_bpf_lsm() -> bool {
    let list = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    list.trim().split(',').any(|name| name == "bpf")
}

fn refused(error: aya::maps::MapError) -> ReflexError {
    load::maps_refused(&error).into()
}
