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

mod hook;
mod ledger;
mod scope;
mod scripts;
mod trial;
mod words;

pub use ledger::Fired;
pub use words::{Fate, Firing};

use crate::error::SensorError;
use crate::load::{self, chain};
use crate::pin::{self, PinError, Pins};
use aya::maps::{Array, HashMap, Map, MapData};
use aya::programs::links::FdLink;
use aya::programs::{ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun as _};
use aya::{Btf, Ebpf};
use ledger::Ledger;
use quell_model::{Around, Image, Name, Reflex, Spot, Standing, Terms};
use scripts::{Judge, Scripts};
use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use words::{Entry, Key};

/// The compiled kernel side of the reflex.
pub const BLOCK_OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/block.bpf.o"));

/// All that is pinned here begins with this; the number is that of the maps' layout.
const PREFIX: &str = "block1_";
/// Maps that outlive quell, and what they are pinned as.
const KEPT: [(&str, &str); 3] =
    [("BLOCK_ENTRIES", "block1_entries"), ("BLOCK_LEDGER", "block1_ledger"), ("BLOCK_CONTROL", "block1_control")];
/// Entries that there is room for; `max_entries` of BLOCK_ENTRIES is more, since the kernel's hash may refuse the last.
const MOST: usize = 4000;

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
    /// Where BPF may refuse an exec.
    lsm: bool,
    _links: Vec<FdLink>,
    /// The right to the place where it is pinned.
    pins: Option<Arc<Pins>>,
}

/// What the thread of the scripts needs too.
struct Shared(Mutex<Held>);

struct Held {
    entries: HashMap<MapData, Key, Entry>,
    ledger: Ledger,
    pause: Array<MapData, u64>,
    answer: Array<MapData, Key>,
    /// Holds the programs.
    ebpf: Ebpf,
}

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
        let mut loader = pin::loader(&btf, pins.as_deref());
        if let Some(pins) = &pins {
            for (map, name) in KEPT {
                loader.map_pin_path(map, pins.path(name));
            }
        }
        let mut ebpf = loader.load(BLOCK_OBJECT).map_err(|e| load::maps_refused(&e))?;
        let mut links =
            vec![("block1_exec", hook::exec(&mut ebpf, &btf).map_err(|e| load::probe_refused("block_exec", &e))?)];
        hook::ask(&mut ebpf).map_err(|e| load::probe_refused("block_ask", &e))?;
        match hook::check(&mut ebpf, &btf) {
            Ok(link) => links.push(("block1_check", link)),
            Err(error) => tracing::debug!(error = chain(&error), "BPF may not refuse an exec here"),
        }
        drop(btf);
        // Only now: the programs are in, and a map that leaves the object takes no number with it that they need.
        let held = Held {
            entries: HashMap::try_from(hook::taken(&mut ebpf, "BLOCK_ENTRIES")).map_err(refused)?,
            ledger: Ledger::new(
                Array::try_from(hook::taken(&mut ebpf, "BLOCK_LEDGER")).map_err(refused)?,
                Array::try_from(hook::taken(&mut ebpf, "BLOCK_CONTROL")).map_err(refused)?,
            ),
            pause: Array::try_from(hook::taken(&mut ebpf, "PAUSE")).map_err(refused)?,
            answer: Array::try_from(hook::taken(&mut ebpf, "BLOCK_ANSWER")).map_err(refused)?,
            ebpf,
        };
        load::give_back();
        let lsm = links.len() > 1 && has_bpf_lsm();
        let links = links.into_iter().map(|(name, link)| hook::keep(link, pins.as_deref(), name));
        let links: Vec<_> = links.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        let shared = Arc::new(Shared(Mutex::new(held)));
        let scripts = Scripts::start(Asked(Arc::clone(&shared))).map_err(|error| error.to_string());
        let reflex = Self { shared, scripts, lsm, _links: links, pins };
        if !reflex.is_paused() {
            reflex.attempt().map_err(ReflexError::Trial)?;
        }
        Ok(reflex)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.shared.held()
    }

    /// What has fired since the last reading, also before this daemon lived.
    ///
    /// # Errors
    /// A sentence, when the kernel refuses.
    pub fn read(&self) -> Result<Fired, String> {
        let mut fired = self.held().ledger.read()?;
        if let Ok(scripts) = &self.scripts {
            fired.firings.extend(scripts.take());
        }
        Ok(fired)
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
        if self.lsm { None } else { self.scripts.as_ref().err().map(String::as_str) }
    }

    /// Takes out what has ended, and its pins when nothing stands any more; gives how many stand.
    ///
    /// # Errors
    /// A sentence, when the kernel refuses.
    pub fn settle(&self) -> Result<usize, String> {
        let now = now();
        let (over, stand): (Vec<_>, Vec<_>) = self.all()?.into_iter().partition(|one| one.terms.until_ns <= now);
        for one in over {
            self.remove(&one.spot)?;
        }
        Ok(stand.len())
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

impl Shared {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn is_paused(&self) -> bool {
        // What cannot be read holds nobody: the kernel's programs see it the same way.
        self.pause.get(&0, 0).map_or(true, |value| value != 0)
    }

    /// On this very thread: the program looks among the descriptors of whoever asks.
    fn image(&mut self, file: BorrowedFd<'_>) -> Result<Image, String> {
        let program = self.ebpf.program("block_ask").expect("the object was built with this program");
        let program: &RawTracePoint = program.try_into().map_err(|e: ProgramError| chain(&e))?;
        let mut options = RawTracePointRunOptions::new();
        options.args[0] = u64::from(file.as_raw_fd().cast_unsigned());
        let ran = program
            .test_run(options)
            .map_err(|e| format!("the kernel does not say which file it is: {}", chain(&e)))?;
        if ran.return_value != 0 {
            return Err("the kernel does not know the open file".to_owned());
        }
        self.answer.get(&0, 0).map(|key| words::image(&key)).map_err(|e| chain(&e))
    }

    fn get(&self, key: &Key) -> Result<Option<Entry>, String> {
        match self.entries.get(key, 0) {
            Ok(entry) => Ok(Some(entry)),
            Err(aya::maps::MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(chain(&error)),
        }
    }

    fn judge(&mut self, file: BorrowedFd<'_>, pid: u32) -> Option<(u64, bool)> {
        if self.is_paused() || pid <= 1 || pid == std::process::id() {
            return None;
        }
        let image = self.image(file).ok()?;
        let now = now();
        let around = scope::around(pid).into_iter().map(|(v2, number)| Around::Cgroup { number, v2 });
        for around in std::iter::once(Around::Host).chain(around) {
            let spot = Spot { image, around };
            let key = words::key(&spot);
            let Ok(Some(mut entry)) = self.get(&key) else { continue };
            if !words::strikes(&entry, now) {
                continue;
            }
            let within = words::afford(&mut entry, now);
            // Only while it stands: somebody may have taken it out.
            if self.entries.insert(key, entry, EXIST).is_err() {
                continue;
            }
            return Some((entry[0], !within));
        }
        None
    }
}

/// `BPF_EXIST`.
const EXIST: u64 = 2;

struct Asked(Arc<Shared>);

impl Judge for Asked {
    fn judge(&self, file: BorrowedFd<'_>, pid: u32) -> Option<(u64, bool)> {
        self.0.held().judge(file, pid)
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
        let key = words::key(spot);
        {
            let mut held = self.held();
            let stands = held.get(&key)?;
            if stands.is_none() && held.entries.keys().count() >= MOST {
                return Err(format!("{MOST} images are kept from starting already"));
            }
            let entry = stands.map_or_else(|| words::entry(terms), |stands| words::renewed(&stands, terms));
            held.entries.insert(key, entry, 0).map_err(|e| chain(&e))?;
        }
        let Some(file) = file.filter(|file| !self.lsm && scripts::is_script(*file)) else { return Ok(()) };
        let marked = self.scripts.as_ref().map_err(Clone::clone).and_then(|s| s.mark(file).map_err(|e| e.to_string()));
        marked.map_err(|why| {
            if let Err(error) = self.remove(spot) {
                tracing::warn!(error, "an entry without effect stays");
            }
            format!("it is a script, and fanotify cannot mark it: {why}")
        })
    }

    fn remove(&self, spot: &Spot) -> Result<bool, String> {
        let mut held = self.held();
        let removed = match held.entries.remove(&words::key(spot)) {
            Ok(()) => true,
            Err(aya::maps::MapError::KeyNotFound) => false,
            Err(aya::maps::MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::ENOENT) => false,
            Err(error) => return Err(chain(&error)),
        };
        if let Ok(scripts) = &self.scripts
            && held.entries.keys().next().is_none()
        {
            scripts.clear();
        }
        Ok(removed)
    }

    fn attempt(&self) -> Result<(), String> {
        if self.is_paused() {
            return Err("it is paused".to_owned());
        }
        self.trial()
    }

    fn scripts(&self) -> Option<Name> {
        if self.lsm { Some("lsm".into()) } else { self.scripts.is_ok().then(|| "fanotify".into()) }
    }
}

/// This moment on the boot clock.
fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Whether the kernel asks BPF: its hooks can be loaded also where nobody calls them.
fn has_bpf_lsm() -> bool {
    let list = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    list.trim().split(',').any(|name| name == "bpf")
}

fn refused(error: aya::maps::MapError) -> ReflexError {
    load::maps_refused(&error).into()
}

/// What is entered in a place, whoever pinned it and whether they live: (path, seconds that are left, strikes).
///
/// # Errors
/// A sentence, when something is pinned there and cannot be read.
pub fn pinned(dir: &std::path::Path) -> Result<Vec<Standing>, String> {
    let path = dir.join(KEPT[0].1);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let data = MapData::from_pin(path).map_err(|e| chain(&e))?;
    let entries: HashMap<_, Key, Entry> = HashMap::try_from(Map::HashMap(data)).map_err(|e| chain(&e))?;
    let now = now();
    let all = entries.iter().map(|one| one.map(|(key, entry)| words::standing(&key, &entry)));
    let all = all.collect::<Result<Vec<_>, _>>().map_err(|e| chain(&e))?;
    Ok(all.into_iter().filter(|one| one.terms.id != trial::OWN && one.terms.until_ns > now).collect())
}
