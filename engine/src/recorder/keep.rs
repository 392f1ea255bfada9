//! The keeper: follows the incidents in the journal, and copies what surrounds each out of the ring while it is there.
//!
//! Owns which incidents are followed (`case.rs`), and their files (`pin.rs`); `search.rs` reads the ring for all of them.
//! Journals nothing itself: it gives what should be. Keeps true: what a followed incident wants is copied long before the
//! ring lets it go, and what is not there (never recorded, dropped, no room) is counted.

use super::case::Case;
use super::frame;
use super::interest::Mask;
use super::pin::Pin;
use super::ring::ENDING;
use super::search::{Cases, Search};
use crate::store::Journal;
use quell_model::record::RecorderPinned;
use quell_model::{IncidentId, Kind, Seq, Stamp, StoreError, StreamId};
use std::collections::HashMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// All pins together take at most this part of the ring's size, one of them a quarter of that.
const SHARE: u64 = 4;
/// Incidents that are followed at once, each a bit of a mask; further ones wait until one has ended.
const FOLLOWED: usize = Mask::BITS as usize;

/// What should be journaled.
#[derive(Clone, PartialEq, Debug)]
pub struct Kept {
    /// Of which incident.
    pub incident: IncidentId,
    /// What is kept of it.
    pub pinned: RecorderPinned,
    /// The incident is over: this is the last word.
    pub last: bool,
}

/// How the pins stand, for `status`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Watched {
    /// Incidents that are followed.
    pub followed: usize,
    /// What all pins take.
    pub bytes: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Keeper {
    pins: PathBuf,
    size: u64,
    boot: u64,
    heads: HashMap<IncidentId, Seq>,
    cases: Cases,
    search: Search,
    looked: bool,
    bytes: u64,
}

impl Keeper {
    /// Over the ring in a folder.
    ///
    /// # Errors
    /// When the folder for the pins cannot be made.
    pub fn open(ring: &Path, size: u64, boot: &str) -> io::Result<Self> {
        let pins = ring.join(PINS);
        DirBuilder::new().recursive(true).mode(0o700).create(&pins)?;
        let boot = frame::sum(boot.as_bytes());
        Ok(Self {
            search: Search::new(ring, boot)?,
            pins,
            size: size / SHARE,
            boot,
            heads: HashMap::new(),
            cases: Cases::new(),
            looked: false,
            bytes: 0,
        })
    }

    /// How the pins stand.
    #[must_use]
    pub fn watched(&self) -> Watched {
        Watched { followed: self.cases.len(), bytes: self.bytes }
    }

    /// Whether the last turn left pages for the next one.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.search.is_behind()
    }

    /// Looks at the journal and at what the ring has got since the last time; gives what should be journaled now. A turn is
    /// short: it looks at so many pages at most, and leaves off when `stop` is raised.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn turn(
        &mut self,
        journal: &Journal,
        now: Stamp,
        quiet: Duration,
        stop: &AtomicBool,
    ) -> Result<Vec<Kept>, StoreError> {
        self.look(journal, quiet)?;
        if self.cases.is_empty() {
            return Ok(Vec::new());
        }
        self.open_pins();
        self.search.turn(&mut self.cases, stop);
        let mut said = Vec::new();
        for (id, case) in &self.cases {
            // The last word is said when all was seen.
            let last = !self.search.is_behind() && case.is_over(now, quiet);
            if last || !case.told {
                said.push(Kept { incident: id.clone(), pinned: case.pinned(now), last });
            }
        }
        said.extend(self.let_go(now));
        Ok(said)
    }

    /// What was given was journaled.
    pub fn journaled(&mut self, kept: &Kept) {
        if kept.last {
            self.cases.remove(&kept.incident);
            self.search.changed();
        } else if let Some(case) = self.cases.get_mut(&kept.incident) {
            case.told = true;
        }
    }

    /// Follows what is new in the streams of incidents.
    fn look(&mut self, journal: &Journal, quiet: Duration) -> Result<(), StoreError> {
        // Of an earlier life only what is open counts.
        let open = if self.looked { None } else { Some(journal.open_streams()?) };
        self.looked = true;
        for (stream, seq) in journal.live() {
            let Some(id) = stream.as_incident() else { continue };
            let known = self.heads.get(&id).copied().unwrap_or(0);
            if known == seq || (!self.cases.contains_key(&id) && self.cases.len() >= FOLLOWED) {
                continue;
            }
            self.heads.insert(id.clone(), seq);
            self.search.changed();
            if open.as_ref().is_some_and(|open| !open.contains(&stream)) {
                continue;
            }
            match self.cases.get_mut(&id) {
                Some(case) => {
                    for record in journal.read(&stream, known + 1)? {
                        case.apply(&record, quiet);
                    }
                }
                None => self.follow(journal, id, &stream, quiet)?,
            }
        }
        Ok(())
    }

    fn follow(
        &mut self,
        journal: &Journal,
        id: IncidentId,
        stream: &StreamId,
        quiet: Duration,
    ) -> Result<(), StoreError> {
        let mut case = None;
        journal.visit(stream, 1, Kind::ALL, &mut |record| {
            case.get_or_insert_with(|| Case::new(record.at)).apply(&record, quiet);
        })?;
        if let Some(case) = case.filter(|case| !case.done) {
            self.cases.insert(id, case);
        }
        Ok(())
    }

    /// Every incident that is followed gets its file.
    fn open_pins(&mut self) {
        for (id, case) in self.cases.iter_mut().filter(|(_, case)| case.pin.is_none()) {
            let path = self.pins.join(format!("{id}{ENDING}"));
            match Pin::open(&path, self.size / SHARE, self.boot) {
                Ok(pin) => case.pin = Some(pin),
                Err(error) => tracing::warn!(incident = %id, %error, "what surrounds an incident cannot be kept"),
            }
        }
    }

    /// Removes the oldest pins when all together take too much.
    fn let_go(&mut self, now: Stamp) -> Vec<Kept> {
        let Ok(listed) = std::fs::read_dir(&self.pins) else { return Vec::new() };
        let mut files: Vec<_> = listed
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let data = entry.metadata().ok()?;
                let id = entry.file_name().to_str()?.strip_suffix(ENDING)?.to_owned();
                Some((data.modified().ok()?, IncidentId::from(id), data.len(), entry.path()))
            })
            .collect();
        files.sort_unstable();
        let mut all: u64 = files.iter().map(|(.., bytes, _)| bytes).sum();
        let mut gone = Vec::new();
        for (_, incident, bytes, path) in files {
            if all <= self.size {
                break;
            }
            if self.cases.contains_key(&incident) || std::fs::remove_file(path).is_err() {
                continue;
            }
            all -= bytes;
            let pinned = RecorderPinned { let_go: true, ..Case::new(now).pinned(now) };
            gone.push(Kept { incident, pinned, last: true });
        }
        if all > self.size {
            // What is left is being followed: it has had its room.
            for pin in self.cases.values_mut().filter_map(|case| case.pin.as_mut()) {
                pin.stop();
            }
        }
        self.bytes = all;
        gone
    }
}

/// The folder of the pins, below the ring's.
pub(super) const PINS: &str = "pins";
