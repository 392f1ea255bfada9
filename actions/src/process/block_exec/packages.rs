//! Which package a file belongs to, as the package managers' databases below a root say.
//!
//! ```text
//! root ─▶ var/lib/dpkg/info/*.list ── read once ──▶ Index: a hash for each path ── one hit ──▶ that list alone is read
//!     └─▶ lib/apk/db/installed     ── read each time: it is one file
//! ```
//!
//! Reads only, and what it reads may be an attacker's (a container's root): nothing is waited for, every length has a
//! bound. Keeps true: the answer is that of the lists as they are now. An index is used while the directory of the lists
//! and dpkg's status are as they were when it was made, and a hit in it is looked up in the list itself.

use rustix::fs::{Mode, OFlags};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Paths in all indexes together: 8 bytes each, eight hosts like Debian's with a thousand packages.
const PATHS: usize = 1_000_000;
/// Lists of one root; a database with more is not believed.
const LISTS: usize = 50_000;
/// The longest list, or database of apk; those of the largest packages have 3 MB.
const LONGEST: u64 = 32 << 20;
/// All lists of one root together; Debian's with a thousand packages have 8 MB.
const TEXT: usize = 128 << 20;
/// What changed so lately may change again without a trace: the file system's clock has ticks.
const SETTLED: Duration = Duration::from_secs(2);

/// Whose a file is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    /// This package's.
    Package(String),
    /// No package's.
    Nobody,
    /// There is no database that can be read.
    Unknown,
}

/// The databases that were read, the one that was asked last at the end.
#[derive(Debug, Default)]
pub(crate) struct Packages {
    hashing: RandomState,
    known: Mutex<VecDeque<Index>>,
    /// How many lists were opened.
    #[cfg(test)]
    opened: std::sync::atomic::AtomicUsize,
}

/// The lists of one root.
#[derive(Debug)]
struct Index {
    dir: PathBuf,
    state: State,
    lists: Vec<PathBuf>,
    /// Of each path its hash and the number of its list, in order.
    paths: Vec<(u32, u32)>,
}

/// What changes with every change that dpkg makes: it renames each list into its place, and writes its status anew.
#[derive(Clone, PartialEq, Eq, Debug)]
struct State([Option<Stood>; 2]);

/// (device, inode, seconds and nanoseconds of the last change); that clock cannot be set by a file's owner.
type Stood = (u64, u64, i64, i64);

impl State {
    fn of(dir: &Path) -> Self {
        let stood = |path: &Path| fs::metadata(path).ok().map(|m| (m.dev(), m.ino(), m.ctime(), m.ctime_nsec()));
        Self([stood(dir), stood(&dir.with_file_name("status"))])
    }

    /// Whether no change can hide in the same tick as the last one.
    fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.0.iter().flatten().all(|(_, _, secs, nanos)| {
            let changed = u64::try_from(*secs).unwrap_or(0).saturating_mul(1_000_000_000);
            let changed = Duration::from_nanos(changed.saturating_add(u64::try_from(*nanos).unwrap_or(0)));
            now.checked_sub(changed).is_some_and(|since| since >= SETTLED)
        })
    }
}

impl Packages {
    /// Whose the file with one of these names is, below `root`.
    pub(super) fn owner(&self, root: &Path, names: &[String]) -> Owner {
        let dir = root.join("var/lib/dpkg/info");
        let now = State::of(&dir);
        if now.0[0].is_some() {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(at) = known.iter().position(|index| index.state == now && index.dir == dir) {
                let index = known.remove(at).expect("it was just found there");
                let owner = self.look(&index, names);
                known.push_back(index);
                return owner;
            }
            known.retain(|index| index.dir != dir);
            // Others that plan meanwhile wait for this reading instead of doing it too.
            if let Some((owner, index)) = self.read(&dir, names, now) {
                known.extend(index);
                while known.iter().map(|index| index.paths.len()).sum::<usize>() > PATHS {
                    known.pop_front();
                }
                return owner;
            }
        }
        match regular(&root.join("lib/apk/db/installed")) {
            Ok(file) => in_apk(BufReader::new(file), names),
            Err(_) => Owner::Unknown,
        }
    }

    /// Reads every list, for this answer and for later ones; no index where it would be too large or may be stale.
    fn read(&self, dir: &Path, names: &[String], state: State) -> Option<(Owner, Option<Index>)> {
        let mut index = Index { dir: dir.to_owned(), state, lists: Vec::new(), paths: Vec::new() };
        let (mut owner, mut fits, mut text, mut read) = (Owner::Nobody, true, Vec::new(), 0);
        for entry in fs::read_dir(dir).ok()?.flatten() {
            let list = entry.path();
            if list.extension().is_none_or(|end| end != "list") {
                continue;
            }
            if index.lists.len() == LISTS || read > TEXT {
                return Some((Owner::Unknown, None));
            }
            let number = u32::try_from(index.lists.len()).expect("lists are few");
            if self.read_list(&list, &mut text).is_err() {
                continue;
            }
            read += text.len();
            for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                if names.iter().any(|name| name.as_bytes() == line) {
                    owner = package(&list);
                }
                fits &= index.paths.len() < PATHS;
                if fits {
                    index.paths.push((self.hash(line), number));
                }
            }
            if !fits && owner != Owner::Nobody {
                return Some((owner, None));
            }
            index.lists.push(list);
        }
        let settled = index.state.is_settled(SystemTime::now()) && index.state == State::of(dir);
        if !fits || !settled {
            return Some((owner, None));
        }
        index.paths.sort_unstable();
        index.paths.shrink_to_fit();
        Some((owner, Some(index)))
    }

    fn look(&self, index: &Index, names: &[String]) -> Owner {
        let mut text = Vec::new();
        for name in names {
            let hash = self.hash(name.as_bytes());
            let from = index.paths.partition_point(|(other, _)| *other < hash);
            for (_, number) in index.paths[from..].iter().take_while(|(other, _)| *other == hash) {
                let list = &index.lists[*number as usize];
                let holds = |text: &[u8]| text.split(|byte| *byte == b'\n').any(|line| line == name.as_bytes());
                if self.read_list(list, &mut text).is_ok() && holds(&text) {
                    return package(list);
                }
            }
        }
        Owner::Nobody
    }

    /// A part of it is enough: what it leaves to chance is looked up.
    fn hash(&self, path: &[u8]) -> u32 {
        (self.hashing.hash_one(path) >> 32) as u32
    }

    fn read_list(&self, list: &Path, text: &mut Vec<u8>) -> io::Result<()> {
        #[cfg(test)]
        self.opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        text.clear();
        regular(list)?.read_to_end(text).map(drop)
    }
}

/// The beginning of a file, up to a bound; a fifo or a device is none, and is not waited for.
pub(super) fn regular(path: &Path) -> io::Result<io::Take<File>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file.take(LONGEST)) } else { Err(io::Error::other("it is no file")) }
}

/// `libc6:amd64.list` is libc6's.
fn package(list: &Path) -> Owner {
    let stem = list.file_stem().unwrap_or_default().to_string_lossy();
    Owner::Package(stem.split(':').next().unwrap_or_default().to_owned())
}

/// `P:` begins a package, `F:` a directory, `R:` names a file in it (apk's installed database).
fn in_apk(file: impl BufRead, names: &[String]) -> Owner {
    let (mut package, mut dir) = (String::new(), String::new());
    for line in file.lines().map_while(Result::ok) {
        match line.split_once(':') {
            Some(("P", name)) => name.clone_into(&mut package),
            Some(("F", name)) => name.clone_into(&mut dir),
            Some(("R", name)) if names.iter().any(|known| *known == format!("/{dir}/{name}")) => {
                return Owner::Package(package);
            }
            _ => {}
        }
    }
    Owner::Nobody
}

#[cfg(test)]
#[path = "packages/tests.rs"]
mod tests;
