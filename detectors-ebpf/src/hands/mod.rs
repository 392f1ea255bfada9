//! The kernel's hands: what ends, in the kernel, a process tree that forks faster than anybody can signal it.
//!
//! Owns the second BPF object (bpf/hand/), its marks and its pins. Decides nothing: it marks whom a verb names. Keeps
//! true: every mark ends by the kernel's clock; a process that shares its lineage with others is marked by its own number
//! and start alone, so that its siblings and its parent live on; while the pause flag is set nobody is struck.
//!
//! ```text
//! process.kill ── mark(root) ─▶ MARKS ◀── fork, exec, call ── SIGKILL
//!              ◀─ who is below ── births, shared memory ◀── fork
//! ```

mod births;
mod key;
mod marks;
mod trial;

use crate::error::SensorError;
use crate::load::{self, chain};
use crate::pin::{self, PinError, Pins};
use aya::maps::{Array, HashMap, Map, MapData};
use aya::programs::links::FdLink;
use aya::programs::{BtfTracePoint, Iter, ProgramError};
use aya::{Btf, Ebpf};
use births::Births;
use marks::Marks;
use quell_model::{Below, BootId, Doom, ProcessId};
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The compiled kernel side of the hands.
pub const HAND_OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/hand.bpf.o"));

const C_UNTIL: u32 = 0;
const C_OWN: u32 = 1;
const C_STRUCK: u32 = 2;

/// All that is pinned here begins with this.
const PREFIX: &str = "hand_";

/// Program and tracepoint.
const HOOKS: [(&str, &str); 4] = [
    ("hand_fork", "sched_process_fork"),
    ("hand_exec", "sched_process_exec"),
    ("hand_exit", "sched_process_exit"),
    ("hand_call", "sys_enter"),
];

/// How the hands are set up.
#[derive(Clone, Debug)]
pub struct HandsConfig {
    /// Which boot this is.
    pub boot: BootId,
    /// Where the hooks and the pause flag are pinned; `None`: they end with this process.
    pub pins: Option<Arc<Pins>>,
}

/// There are no hands here.
#[derive(Debug, thiserror::Error)]
pub enum HandsError {
    /// The kernel or its permissions.
    #[error(transparent)]
    Refused(#[from] SensorError),
    /// The pins.
    #[error("the kernel's hands cannot be pinned")]
    Pin(#[from] PinError),
    /// Loaded, and did not do what they must.
    #[error("the kernel's hands failed their own trial: {0}")]
    Trial(String),
}

/// The hands, in and hooked. Dropping them unhooks what is not pinned.
pub struct KernelHands {
    boot: BootId,
    births: Births,
    held: Mutex<Held>,
    /// The right to the place where the hooks are pinned.
    _pins: Option<Arc<Pins>>,
}

struct Held {
    marks: Marks,
    /// Holds the programs and their hooks.
    _ebpf: Ebpf,
    _links: Vec<FdLink>,
}

impl std::fmt::Debug for KernelHands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelHands").field("boot", &self.boot).finish_non_exhaustive()
    }
}

impl KernelHands {
    /// Loads, hooks in, learns who is there, and tries itself on a process of its own. The hooks that an earlier daemon
    /// pinned in the same place are taken away first.
    ///
    /// # Errors
    /// When the kernel refuses something, or the trial fails; nothing stays behind then.
    pub fn load(config: HandsConfig) -> Result<Self, HandsError> {
        if let Some(pins) = &config.pins {
            pins.clear(PREFIX)?;
        }
        let loaded = Self::load_now(&config).and_then(|hands| {
            hands.trial().map_err(HandsError::Trial)?;
            Ok(hands)
        });
        if loaded.is_err()
            && let Some(pins) = &config.pins
            && let Err(error) = pins.clear(PREFIX)
        {
            tracing::warn!(%error, "pins stay behind");
        }
        loaded
    }

    fn load_now(config: &HandsConfig) -> Result<Self, HandsError> {
        load::may_load()?;
        let btf = Btf::from_sys_fs().map_err(|e| SensorError::NoBtf { why: chain(&e) })?;
        let mut ebpf =
            pin::loader(&btf, config.pins.as_deref()).load(HAND_OBJECT).map_err(|e| load::maps_refused(&e))?;
        for (name, tracepoint) in HOOKS {
            let done = hook(&mut ebpf, name).and_then(|program| program.load(tracepoint, &btf));
            done.map_err(|e| load::probe_refused(name, &e))?;
        }
        let scan = scan(&mut ebpf, &btf);
        drop(btf);
        // Only now: the programs are in, and a map that leaves the object takes no number with it that they need.
        let births = Births::map(data(&ebpf, "BIRTHS_SEEN").fd().as_fd()).map_err(|e| load::maps_refused(&e))?;
        let mut control: Array<_, u64> = Array::try_from(taken(&mut ebpf, "HAND_CONTROL")).map_err(refused)?;
        let pause: Array<_, u64> = Array::try_from(taken(&mut ebpf, "PAUSE")).map_err(refused)?;
        let entries: HashMap<_, [u64; 2], u64> = HashMap::try_from(taken(&mut ebpf, "MARKS")).map_err(refused)?;
        control.set(C_OWN, u64::from(std::process::id()), 0).map_err(refused)?;
        let mut links = Vec::new();
        for (name, _) in HOOKS {
            let link = attach(&mut ebpf, name).map_err(|e| load::probe_refused(name, &e))?;
            links.push((name, link));
        }
        // After the hooks, so that nobody is born between.
        let scanned = scan.and_then(|()| read_scan(&mut ebpf));
        scanned.map_err(|e| load::probe_refused("hand_scan", &e))?;
        let links = links.into_iter().map(|(name, link)| keep(link, config.pins.as_deref(), name));
        let links = links.collect::<Result<Vec<_>, _>>()?;
        load::give_back();
        let held = Held {
            marks: Marks::new(entries, control, pause),
            _ebpf: ebpf,
            _links: links.into_iter().flatten().collect(),
        };
        Ok(Self { boot: config.boot.clone(), births, held: Mutex::new(held), _pins: config.pins.clone() })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many SIGKILLs they have sent; one process may have got several.
    #[must_use]
    pub fn struck(&self) -> u64 {
        self.held().marks.control(C_STRUCK)
    }

    /// While paused nobody is struck, and nobody can be marked.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn pause(&self, paused: bool) -> Result<(), String> {
        self.held().marks.pause(paused)
    }
}

impl Doom for KernelHands {
    fn below(&self, root: &ProcessId) -> Below {
        if root.boot != self.boot {
            return Below::default();
        }
        self.held().marks.below(&self.births, root, &self.boot)
    }

    fn mark(&self, root: &ProcessId, lasting: Duration) -> Result<Below, String> {
        if root.boot != self.boot {
            return Err("it was of another boot".to_owned());
        }
        if root.pid <= 1 || root.pid == std::process::id() {
            return Err("it is never marked".to_owned());
        }
        self.held().marks.mark(&self.births, root, &self.boot, lasting)
    }
}

fn refused(error: aya::maps::MapError) -> HandsError {
    load::maps_refused(&error).into()
}

fn hook<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut BtfTracePoint, ProgramError> {
    ebpf.program_mut(name).expect("the object was built with this program").try_into()
}

fn attach(ebpf: &mut Ebpf, name: &str) -> Result<FdLink, ProgramError> {
    let program = hook(ebpf, name)?;
    let link = program.attach()?;
    Ok(program.take_link(link)?.into())
}

fn scan(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), ProgramError> {
    let program: &mut Iter = ebpf.program_mut("hand_scan").expect("the object was built with it").try_into()?;
    program.load("task", btf)
}

fn read_scan(ebpf: &mut Ebpf) -> Result<(), ProgramError> {
    let program: &mut Iter = ebpf.program_mut("hand_scan").expect("the object was built with it").try_into()?;
    let link = program.attach()?;
    let other = |e: &dyn std::error::Error| ProgramError::IOError(std::io::Error::other(chain(e)));
    let mut file = program.take_link(link)?.into_file().map_err(|e| other(&e))?;
    // It writes nothing: the reading is what makes it walk.
    file.read_to_end(&mut Vec::new()).map_err(ProgramError::IOError).map(|_| ())
}

fn taken(ebpf: &mut Ebpf, name: &str) -> Map {
    ebpf.take_map(name).expect("the object was built with this map")
}

fn data<'a>(ebpf: &'a Ebpf, name: &str) -> &'a MapData {
    match ebpf.map(name) {
        Some(Map::Array(data)) => data,
        _ => unreachable!("the object was built with this array"),
    }
}

/// A link that is pinned lives by its pin; one that is not lives by us.
fn keep(link: FdLink, pins: Option<&Pins>, name: &str) -> Result<Option<FdLink>, HandsError> {
    let Some(pins) = pins else { return Ok(Some(link)) };
    let path = pins.path(name);
    let pinned = link.pin(&path);
    pinned.map(|_| None).map_err(|e| PinError::Refused { path, why: chain(&e) }.into())
}
