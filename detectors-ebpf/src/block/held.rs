//! The maps of the reflex, under one lock.
//!
//! Owns them and the programs that answer questions. Keeps true: an entry of a cgroup is looked for at its depth before it
//! is there; what user space strikes is counted and written down as the kernel does it.

use super::ledger::Ledger;
use super::levels::Levels;
use super::scripts::Judge;
use super::words::{self, Entry, Firing, Key, Slot};
use super::{Shared, now, scope};
use crate::kernfs;
use crate::load::chain;
use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, MapError};
use aya::programs::{ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun as _};
use quell_model::{Around, Image, Spot, Terms};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;

/// Entries that there is room for; `max_entries` of BLOCK_ENTRIES is more, since the kernel's hash may refuse the last.
const MOST: usize = 4000;
/// `BPF_EXIST`.
const EXIST: u64 = 2;

pub(super) struct Held {
    pub(super) entries: HashMap<MapData, Key, Entry>,
    pub(super) levels: Levels,
    pub(super) ledger: Ledger,
    pub(super) pause: Array<MapData, u64>,
    pub(super) answer: Array<MapData, Key>,
    pub(super) note: Array<MapData, Slot>,
    /// Holds the programs.
    pub(super) ebpf: Ebpf,
}

impl Held {
    pub(super) fn is_paused(&self) -> bool {
        // What cannot be read holds nobody: the kernel's programs see it the same way.
        self.pause.get(&0, 0).map_or(true, |value| value != 0)
    }

    /// The image of an open file.
    pub(super) fn image(&mut self, file: BorrowedFd<'_>) -> Result<Image, String> {
        Ok(words::image(&self.ask("block_ask", [fd(file), 0])?))
    }

    /// On this very thread: the program looks among the descriptors of whoever asks.
    fn ask(&mut self, program: &str, args: [u64; 2]) -> Result<Key, String> {
        let program = self.ebpf.program(program).expect("the object was built with this program");
        let program: &RawTracePoint = program.try_into().map_err(|e: ProgramError| chain(&e))?;
        let mut options = RawTracePointRunOptions::new();
        options.args[..2].copy_from_slice(&args);
        let ran = program
            .test_run(options)
            .map_err(|e| format!("the kernel does not say which file it is: {}", chain(&e)))?;
        if ran.return_value != 0 {
            return Err("the kernel does not know the open file".to_owned());
        }
        self.answer.get(&0, 0).map_err(|e| chain(&e))
    }

    /// How deep the place of an entry lies: 0 for the host, and for a cgroup that is gone, where nobody can be.
    fn level(&mut self, around: Around) -> Result<u32, String> {
        let Around::Cgroup { number, v2 } = around else { return Ok(0) };
        let root = scope::mounted(v2).ok_or("the hierarchy of the cgroup is not mounted")?;
        let group = match kernfs::open(&root, number) {
            Ok(group) => group,
            Err(error) if matches!(error.raw_os_error(), Some(libc::ESTALE | libc::ENOENT)) => return Ok(0),
            Err(error) => return Err(format!("how deep cgroup {number} lies cannot be asked: {error}")),
        };
        let told = self.ask("block_ask", [fd(group.as_fd()), 1])?;
        let level = u32::try_from(told[2]).unwrap_or(0);
        if told[1] != number || level == 0 {
            return Err(format!("the kernel does not say how deep cgroup {number} lies"));
        }
        Ok(level)
    }

    /// Enters it, or renews what stands there.
    pub(super) fn enter(&mut self, spot: &Spot, terms: &Terms) -> Result<(), String> {
        let key = words::key(spot);
        let stands = self.get(&key)?;
        if stands.is_none() && self.entries.keys().count() >= MOST {
            return Err(format!("{MOST} images are kept from starting already"));
        }
        let level = self.level(spot.around)?;
        self.levels.add(level)?;
        let renewed = |stands: Entry| words::renewed(&stands, terms, level);
        let entry = stands.map_or_else(|| words::entry(terms, level), renewed);
        self.entries.insert(key, entry, 0).map_err(|e| chain(&e))
    }

    /// Takes it out; false when nothing stood there. [`Held::tidy`] is to follow.
    pub(super) fn remove(&mut self, spot: &Spot) -> Result<bool, String> {
        match self.entries.remove(&words::key(spot)) {
            Ok(()) => Ok(true),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(chain(&error)),
        }
    }

    /// The kernel side looks where entries stand and nowhere else; gives whether any stands.
    pub(super) fn tidy(&mut self) -> Result<bool, String> {
        let all = self.entries.iter().map(|one| one.map(|(_, entry)| words::level(&entry)));
        let levels: Vec<u32> = all.collect::<Result<_, _>>().map_err(|e| chain(&e))?;
        for level in &levels {
            self.levels.add(*level)?;
        }
        self.levels.only(&levels)?;
        Ok(!levels.is_empty())
    }

    pub(super) fn get(&self, key: &Key) -> Result<Option<Entry>, String> {
        match self.entries.get(key, 0) {
            Ok(entry) => Ok(Some(entry)),
            Err(MapError::KeyNotFound) => Ok(None),
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

fn fd(file: BorrowedFd<'_>) -> u64 {
    u64::from(file.as_raw_fd().cast_unsigned())
}

/// What the thread of the scripts asks.
pub(super) struct Asked(pub(super) Arc<Shared>);

impl Judge for Asked {
    fn judge(&self, file: BorrowedFd<'_>, pid: u32) -> Option<(u64, bool)> {
        self.0.held().judge(file, pid)
    }

    fn note(&self, line: &Firing) {
        let mut held = self.0.held();
        let written = held.note.set(0, words::slot(line), 0).map_err(|e| chain(&e));
        if let Err(why) = written.and_then(|()| held.ask("block_note", [0, 0]).map(drop)) {
            tracing::error!(why, "a script was kept from starting, and the ledger does not take it");
        }
    }
}
