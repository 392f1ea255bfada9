//! The kernel's reflex as a verb knows it: images that may not start, each with an end and a budget.
//!
//! Owns the trait and what travels through it. Keeps true: an image is what the kernel sees (device, inode, generation),
//! never a name; an entry ends by the kernel's own clock, whether anybody lives who entered it.

use crate::hash::Hash;
use crate::ids::Name;
use serde::{Deserialize, Serialize};
use std::os::fd::BorrowedFd;

/// One executable file as the kernel tells it apart. A number that is given to another file has another generation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Image {
    /// The file system's device, as the kernel writes it.
    pub device: u64,
    /// The inode that an exec of it meets: of an overlay the merged one.
    pub inode: u64,
    /// Which file of that number.
    pub generation: u32,
}

/// Where an image may not start.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(tag = "where", rename_all = "snake_case")]
pub enum Around {
    /// Anywhere on this host.
    Host,
    /// In a cgroup and all below it.
    Cgroup {
        /// The inode of its directory.
        number: u64,
        /// Of the v2 hierarchy; else of the v1 freezer.
        v2: bool,
    },
}

/// One entry's place: the same image may not start in several cgroups.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Spot {
    /// What.
    pub image: Image,
    /// Where.
    pub around: Around,
}

/// What holds for an entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Terms {
    /// Whose it is: derived from the run and step that entered it.
    pub id: u64,
    /// Its path, for people.
    pub label: String,
    /// The run whose step entered it; empty when none did.
    #[serde(default)]
    pub owner: String,
    /// Its end, in nanoseconds on the boot clock.
    pub until_ns: u64,
    /// So many strikes in `within_ns`; then it strikes no more.
    pub most: u32,
    /// The budget's window.
    pub within_ns: u64,
}

/// An entry as it stands in the kernel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Standing {
    /// Its place.
    pub spot: Spot,
    /// What holds for it.
    pub terms: Terms,
    /// Strikes since it was entered.
    pub struck: u64,
    /// The budget is used up: it strikes no more.
    pub spent: bool,
    /// Execs that the kernel could not stop.
    #[serde(default)]
    pub missed: u64,
}

/// By which name an effect is known in the kernel.
#[must_use]
pub fn reflex_id(key: &str) -> u64 {
    let hash = Hash::of(key.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.0[..8]);
    // 0 is the reflex's own trial.
    u64::from_le_bytes(first).max(1)
}

/// Entries in the kernel: who execs an image that has one dies before its first instruction, or is refused the exec.
pub trait Reflex: Send + Sync {
    /// What the kernel sees behind an open file.
    ///
    /// # Errors
    /// A sentence, when it cannot be asked.
    fn image(&self, file: BorrowedFd<'_>) -> Result<Image, String>;

    /// The entry that stands there.
    ///
    /// # Errors
    /// A sentence, when it cannot be asked.
    fn standing(&self, spot: &Spot) -> Result<Option<Standing>, String>;

    /// Every entry.
    ///
    /// # Errors
    /// A sentence, when it cannot be asked.
    fn all(&self) -> Result<Vec<Standing>, String>;

    /// Enters it, or renews what stands there, whose budget stays as used up as it is. A script is kept from starting only where its open `file` is given.
    ///
    /// # Errors
    /// A sentence, when there is no room or the kernel refuses.
    fn enter(&self, spot: &Spot, terms: &Terms, file: Option<BorrowedFd<'_>>) -> Result<(), String>;

    /// Takes it out; false when nothing stood there.
    ///
    /// # Errors
    /// A sentence, when the kernel refuses.
    fn remove(&self, spot: &Spot) -> Result<bool, String>;

    /// A dummy of its own is entered, started, and must die; its sibling must live.
    ///
    /// # Errors
    /// A sentence that says what did not happen.
    fn attempt(&self) -> Result<(), String>;

    /// How scripts are kept from starting (`lsm`, `fanotify`); none: they are not.
    fn scripts(&self) -> Option<Name>;
}
