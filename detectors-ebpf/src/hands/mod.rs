//! The kernel's hands: what ends, in the kernel, a process tree that forks faster than anybody can signal it.
//!
//! Owns the second BPF object (bpf/hand/), its marks and its pins. Decides nothing: it marks whom a verb names. Keeps
//! true: every mark ends by the kernel's clock; a process that shares its lineage with others is marked by its own number
//! and start alone, so that its siblings and its parent live on; while the pause flag is set nobody is struck.
//!
//! ```text
//! process.kill ── mark(root) ─▶ MARKS ◀── fork, exec; call, while a mark lives ── SIGKILL
//!              ◀─ who is below ── births, shared memory ◀── fork
//! ```

mod births;
mod hooks;
mod key;
mod marks;
mod shared;
mod trial;

pub use hooks::HAND_OBJECT;

use crate::error::SensorError;
use crate::load::{self, chain};
use crate::pin::{PinError, Pins};
use aya::Ebpf;
use aya::maps::{Array, HashMap, Map, MapData, MapError};
use births::Births;
use hooks::Hooks;
use marks::Marks;
use quell_model::{Below, BootId, Doom, ProcessId};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const C_UNTIL: u32 = 0;
const C_OWN: u32 = 1;
const C_STRUCK: u32 = 2;

/// All that is pinned here begins with this.
const PREFIX: &str = "hand_";

/// They stay at system calls for so long after the last mark: whoever hooks in there again right after leaving waits for
/// the other CPUs (up to 12 ms were seen), and attacks come in groups.
const REST: Duration = Duration::from_secs(5);

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
    /// They were taken out: nothing hooks them in again, and births are noted no more.
    ended: AtomicBool,
}

struct Held {
    marks: Marks,
    hooks: Hooks,
    /// A marked process of their own has died of them.
    tried: bool,
}

impl std::fmt::Debug for KernelHands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelHands").field("boot", &self.boot).finish_non_exhaustive()
    }
}

impl KernelHands {
    /// Loads, hooks in, learns who is there, and tries itself on a process of its own, unless it was paused before: then
    /// [`Self::attempt`] is for later. The hooks that an earlier daemon pinned in the same place are taken away, and where it
    /// was killed, once the last of its marks has ended.
    ///
    /// # Errors
    /// When the kernel refuses something, or the trial fails; nothing stays behind then.
    pub fn load(config: HandsConfig) -> Result<Self, HandsError> {
        let mut hooks = Hooks::load(config.pins)?;
        let ready = Self::maps(&mut hooks).and_then(|maps| hooks.begin().map(|()| maps));
        let (births, marks) = match ready {
            Ok(ready) => ready,
            Err(error) => {
                hooks.end();
                return Err(error);
            }
        };
        load::give_back();
        let held = Held { marks, hooks, tried: false };
        let hands = Self { boot: config.boot, births, held: Mutex::new(held), ended: AtomicBool::new(false) };
        if !hands.is_paused()
            && let Err(why) = hands.attempt()
        {
            hands.end();
            return Err(HandsError::Trial(why));
        }
        Ok(hands)
    }

    /// Takes the maps out of the object. Only now: the programs are in, and a map that leaves takes no number with it
    /// that they need.
    fn maps(hooks: &mut Hooks) -> Result<(Births, Marks), HandsError> {
        let ebpf = hooks.ebpf();
        let births = Births::map(fd(ebpf, "BIRTHS_SEEN"), fd(ebpf, "BIRTHS_LATEST"));
        let births = births.map_err(|e| load::maps_refused(&e))?;
        let pause: Array<_, u64> = Array::try_from(taken(ebpf, "PAUSE")).map_err(refused)?;
        let mut control: Array<_, u64> = Array::try_from(taken(ebpf, "HAND_CONTROL")).map_err(refused)?;
        let entries: HashMap<_, [u64; 2], u64> = HashMap::try_from(taken(ebpf, "MARKS")).map_err(refused)?;
        control.set(C_OWN, u64::from(std::process::id()), 0).map_err(refused)?;
        Ok((births, Marks::new(entries, control, pause)))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks a child of their own and sees it die. Blocks until it has, or for a stated time.
    ///
    /// # Errors
    /// A sentence, when they do not do what they must.
    pub fn attempt(&self) -> Result<(), String> {
        self.trial()?;
        self.held().tried = true;
        Ok(())
    }

    /// Whether a marked process of their own has died of them.
    #[must_use]
    pub fn is_tried(&self) -> bool {
        self.held().tried
    }

    /// Whether they hang at every system call now, because a mark lives, of theirs or of a killed predecessor.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        let held = self.held();
        held.hooks.is_joined() || held.hooks.has_former()
    }

    /// Leaves the system calls when no mark has lived for [`REST`]. For whoever turns about once a second.
    pub fn settle(&self) {
        let mut held = self.held();
        held.hooks.settle();
        if held.hooks.is_joined() && held.marks.settle(&self.births, REST) {
            held.hooks.leave();
        }
    }

    /// Takes them out of the kernel, pins and all: their owner ends. Nobody can be marked any more.
    pub fn end(&self) {
        let mut held = self.held();
        self.ended.store(true, Ordering::Release);
        held.hooks.end();
    }

    /// How many SIGKILLs they have sent; one process may have got several.
    #[must_use]
    pub fn struck(&self) -> u64 {
        self.held().marks.control(C_STRUCK)
    }

    /// Whether the pause flag is set, whoever set it.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.held().marks.is_paused()
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

    fn began(&self, pid: u32) -> Option<u64> {
        let birth = self.births.at(pid).filter(|birth| birth.pid == pid)?;
        (!self.ended.load(Ordering::Acquire)).then_some(birth.start)
    }

    fn mark(&self, root: &ProcessId, lasting: Duration) -> Result<Below, String> {
        if root.boot != self.boot {
            return Err("it was of another boot".to_owned());
        }
        if root.pid <= 1 || root.pid == std::process::id() {
            return Err("it is never marked".to_owned());
        }
        let Held { marks, hooks, .. } = &mut *self.held();
        if self.ended.load(Ordering::Acquire) {
            // An act that was still under way: a hook that it pinned now would stay behind.
            return Err("the kernel's hands have been taken out".to_owned());
        }
        marks.mark(&self.births, root, &self.boot, lasting, || hooks.join().map_err(|e| chain(&e)))
    }
}

fn refused(error: MapError) -> HandsError {
    load::maps_refused(&error).into()
}

fn taken(ebpf: &mut Ebpf, name: &str) -> Map {
    ebpf.take_map(name).expect("the object was built with this map")
}

fn fd<'a>(ebpf: &'a Ebpf, name: &str) -> BorrowedFd<'a> {
    match ebpf.map(name) {
        Some(Map::Array(data)) => MapData::fd(data).as_fd(),
        _ => unreachable!("the object was built with this array"),
    }
}
