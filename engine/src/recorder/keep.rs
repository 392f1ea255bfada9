//! The keeper: follows the incidents in the journal, and copies what surrounds each out of the ring while it is there.
//!
//! Owns which incidents are followed and how far each has read. Reads the ring's files beside their writer, a page at a time.
//! Journals nothing itself: it gives what should be. Keeps true: what a followed incident wants is copied long before the
//! ring lets it go, and what is not there (never recorded, dropped, no room) is counted.

use super::frame::{self, Packer, Unpacker};
use super::pin::{Pin, Wanted};
use super::read::Events;
use super::ring::{self, ENDING, Heads};
use crate::store::Journal;
use quell_model::record::{IncidentState, RecorderPinned};
use quell_model::{Body, IncidentId, Kind, Record, Seq, Stamp, StoreError, StreamId};
use std::collections::{BTreeMap, HashMap};
use std::fs::{DirBuilder, File};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What happened so long before an incident was opened belongs to it.
pub(super) const BEFORE: Duration = Duration::from_secs(600);
/// All pins together take at most this part of the ring's size, one of them a quarter of that.
const SHARE: u64 = 4;
/// Incidents that are followed at once; further ones wait until one has ended.
const FOLLOWED: usize = 64;
/// Pages of the ring that are looked at in one turn; what was found is in the pins then.
const PAGES_A_TURN: usize = 64;

/// An incident that is followed.
#[derive(Debug)]
struct Case {
    opened: Stamp,
    last: Stamp,
    resolved: bool,
    wanted: Wanted,
    /// What its stream said last about its pin.
    before: Option<RecorderPinned>,
    pin: Option<Pin>,
    /// The next page to look at: file and offset; none: from its beginning.
    place: Option<(u64, u64)>,
    /// Where to begin while there is no such place.
    begin: (u64, u64),
    lost: u64,
    unrecorded: Duration,
    told: bool,
    /// The last word about it was said, and nothing came since.
    done: bool,
}

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
    ring: PathBuf,
    pins: PathBuf,
    size: u64,
    boot: u64,
    heads: HashMap<IncidentId, Seq>,
    cases: BTreeMap<IncidentId, Case>,
    packer: Packer,
    unpacker: Unpacker,
    looked: bool,
    /// The ring has pages that were not looked at for want of time.
    behind: bool,
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
            ring: ring.to_owned(),
            pins,
            size: size / SHARE,
            boot,
            heads: HashMap::new(),
            cases: BTreeMap::new(),
            packer: Packer::new()?,
            unpacker: Unpacker::default(),
            looked: false,
            behind: false,
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
        self.behind
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
        self.copy(stop);
        let mut said = Vec::new();
        for (id, case) in &mut self.cases {
            if let Some(pin) = &mut case.pin
                && let Err(error) = pin.flush(&mut self.packer)
            {
                tracing::warn!(incident = %id, %error, "what surrounds an incident cannot be kept");
            }
            // The last word is said when all was seen.
            let last = !self.behind && case.is_over(now, quiet);
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

    /// Goes through the pages that some case has not seen.
    fn copy(&mut self, stop: &AtomicBool) {
        let Ok(numbers) = numbers(&self.ring) else { return };
        let Some(oldest) = numbers.first().copied() else { return };
        for (id, case) in &mut self.cases {
            if case.pin.is_none() {
                let path = self.pins.join(format!("{id}{ENDING}"));
                match Pin::open(&path, self.size / SHARE, self.boot) {
                    Ok(pin) => case.pin = Some(pin),
                    Err(error) => tracing::warn!(incident = %id, %error, "what surrounds an incident cannot be kept"),
                }
            }
        }
        let file = |number: u64| self.ring.join(format!("{number:010}{ENDING}"));
        for case in self.cases.values_mut().filter(|case| case.place.is_none()) {
            // The last file that begins before what it wants; those before it are passed over.
            let is_before = |number: &u64| {
                let first = ring::first(&file(*number));
                first.is_none_or(|head| !is_later(head.from, case.from(), head.boot == self.boot))
            };
            let after = numbers.partition_point(is_before);
            case.begin = (numbers[after.saturating_sub(1)], 0);
        }
        let Some(from) = self.cases.values().map(Case::next).min() else { return };
        let mut before: Option<Stamp> = None;
        let mut end = from;
        let mut looked = 0;
        self.behind = false;
        'files: for number in numbers.into_iter().filter(|number| *number >= from.0) {
            let start = if number == from.0 { from.1 } else { 0 };
            let path = file(number);
            // It may have been removed just now.
            let Ok(file) = File::open(&path) else { continue };
            let Ok(mut pages) = File::open(&path) else { continue };
            let Ok(mut heads) = Heads::after(file, start) else { continue };
            for (at, head) in heads.by_ref() {
                let is_first = (number, at) == (oldest, 0);
                let place = (number, at);
                if looked >= PAGES_A_TURN || stop.load(Ordering::Acquire) {
                    (end, self.behind) = (place, true);
                    break 'files;
                }
                looked += 1;
                let mut wants = false;
                for case in self.cases.values_mut().filter(|case| case.next() <= place) {
                    case.account(&head, before, is_first, self.boot);
                    wants |= case.overlaps(&head, self.boot);
                }
                before = Some(head.to);
                if !wants || head.events == 0 {
                    continue;
                }
                let read = pages.seek(SeekFrom::Start(at + frame::HEAD as u64)).map_err(frame::Broken::from);
                let bytes = read.and_then(|_| self.unpacker.bytes(&head, &mut pages));
                match bytes {
                    Ok(bytes) => pick(bytes, place, &mut self.cases, &mut self.packer, head.boot == self.boot),
                    Err(error) => {
                        tracing::warn!(file = %path.display(), at, %error, "a page of the recording cannot be read");
                        for case in self.cases.values_mut() {
                            case.lost += head.events;
                        }
                    }
                }
            }
            end = (number, heads.at());
        }
        for case in self.cases.values_mut().filter(|case| case.pin.is_some()) {
            // Those that had seen more already keep their place.
            case.place = case.place.max(Some(end));
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

/// The events of a page that a case wants.
fn pick(bytes: &[u8], place: (u64, u64), cases: &mut BTreeMap<IncidentId, Case>, packer: &mut Packer, this_boot: bool) {
    for glimpse in Events::of(bytes) {
        let Ok(glimpse) = glimpse else {
            tracing::warn!(file = place.0, at = place.1, "a page of the recording cannot be read to its end");
            return;
        };
        let at = glimpse.head().at;
        let mut takers = cases
            .values_mut()
            .filter(|case| case.next() <= place)
            .filter(|case| case.is_within(at, this_boot) && case.wanted.wants(&glimpse))
            .filter_map(|case| case.pin.as_mut())
            .filter(|pin| pin.after.is_none_or(|after| is_later(at, after, this_boot)))
            .peekable();
        if takers.peek().is_none() {
            continue;
        }
        let takers: Vec<&mut Pin> = takers.collect();
        let event = glimpse.into_event();
        for pin in takers {
            if let Err(error) = pin.add(&event, packer) {
                tracing::warn!(file = %pin.path().display(), %error, "what surrounds an incident cannot be kept");
            }
        }
    }
}

/// By the boot clock within this boot, else by the wall clock.
fn is_later(one: Stamp, other: Stamp, this_boot: bool) -> bool {
    if this_boot { one.boot_ns > other.boot_ns } else { one.wall > other.wall }
}

/// The numbers of the ring's files, in their order.
fn numbers(ring: &Path) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> = std::fs::read_dir(ring)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(ENDING)?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

impl Case {
    fn new(opened: Stamp) -> Self {
        Self {
            opened,
            last: opened,
            resolved: false,
            wanted: Wanted::default(),
            before: None,
            pin: None,
            place: None,
            begin: (0, 0),
            lost: 0,
            unrecorded: Duration::ZERO,
            told: false,
            done: false,
        }
    }

    /// The next page that it has not seen.
    fn next(&self) -> (u64, u64) {
        self.place.unwrap_or(self.begin)
    }

    fn apply(&mut self, record: &Record, quiet: Duration) {
        match &record.body {
            Body::DetectionAccepted(accepted) => {
                let first = accepted.detection.event.head.at;
                if first.boot_ns < self.opened.boot_ns && first.wall < self.opened.wall {
                    self.opened = first;
                }
                self.wanted.add(&accepted.detection);
            }
            Body::IncidentJoined(_) => {}
            Body::IncidentChanged(changed) => self.resolved = changed.state == IncidentState::Resolved,
            Body::RecorderPinned(pinned) => {
                self.told = true;
                self.done = self.is_over(record.at, quiet);
                self.before = Some((**pinned).clone());
                return;
            }
            _ => return,
        }
        (self.last, self.done) = (record.at, false);
    }

    /// Resolved, or quiet for so long. After a restart of the machine the wall clock says it.
    fn is_over(&self, now: Stamp, quiet: Duration) -> bool {
        let by_wall = Duration::try_from(now.wall.duration_since(self.last.wall)).unwrap_or_default();
        let this_boot = now.boot_ns >= self.last.boot_ns;
        self.resolved || if this_boot { now.since(self.last) > quiet } else { by_wall > quiet }
    }

    fn from(&self) -> Stamp {
        let wall = self.opened.wall.checked_sub(jiff::SignedDuration::from_secs(600)).unwrap_or(self.opened.wall);
        let before = u64::try_from(BEFORE.as_nanos()).unwrap_or(u64::MAX);
        Stamp { wall, boot_ns: self.opened.boot_ns.saturating_sub(before) }
    }

    fn is_within(&self, at: Stamp, this_boot: bool) -> bool {
        !is_later(self.from(), at, this_boot)
    }

    fn overlaps(&self, head: &frame::PageHead, boot: u64) -> bool {
        self.is_within(head.to, head.boot == boot)
    }

    /// What a page says about events that are not there.
    fn account(&mut self, head: &frame::PageHead, before: Option<Stamp>, is_first: bool, boot: u64) {
        let from = self.from();
        let this_boot = head.boot == boot;
        let between = |from: Stamp, to: Stamp| {
            let wall = Duration::try_from(to.wall.duration_since(from.wall)).unwrap_or_default();
            if this_boot { to.since(from) } else { wall }
        };
        if let Some(missed) = head.missed.filter(|missed| self.is_within(missed.to, this_boot)) {
            self.lost += missed.events;
            let begin = if is_later(from, missed.from, this_boot) { from } else { missed.from };
            self.unrecorded += between(begin, missed.to);
        }
        if self.place.is_none() && is_first && is_later(head.from, from, this_boot) {
            // The ring does not go back further.
            self.unrecorded += between(from, head.from);
        } else if head.began
            && let Some(before) = before
            && self.is_within(head.from, this_boot)
        {
            // Nobody recorded in between.
            let begin = if is_later(from, before, this_boot) { from } else { before };
            self.unrecorded += between(begin, head.from);
        }
    }

    fn pinned(&self, now: Stamp) -> RecorderPinned {
        let earlier = |get: fn(&RecorderPinned) -> u64| self.before.as_ref().map_or(0, get);
        RecorderPinned {
            from: self.from(),
            to: now,
            events: self.pin.as_ref().map_or(0, |pin| pin.events),
            bytes: self.pin.as_ref().map_or(0, |pin| pin.bytes),
            lost: self.lost.max(earlier(|p| p.lost)),
            left_out: earlier(|p| p.left_out) + self.pin.as_ref().map_or(0, |pin| pin.left_out),
            unrecorded_ms: u64::try_from(self.unrecorded.as_millis())
                .unwrap_or(u64::MAX)
                .max(earlier(|p| p.unrecorded_ms)),
            let_go: false,
        }
    }
}
