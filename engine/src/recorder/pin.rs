//! What surrounds an incident, kept beside the ring: which events those are, and the file that they go to.
//!
//! Owns `pins/ID.pages.zst`. Keeps the process tree: who did it with all below, up through the shells that it was started
//! from, and what its other ancestors did themselves. Of what no process did, what is about the same entity. A pin has a
//! bound; what came after it was reached is counted.

use super::frame::{self, Packer, Unpacker};
use super::keep::PINS;
use super::page::copy::Copy;
use super::read::{Events, Glimpse, Kin, kin};
use super::ring::{ENDING, Heads};
use super::skim::{Brief, Skim};
use quell_model::{Detection, IncidentId, Json, OwnedEvent, ProcessId, Stamp, Subject};
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Shells that started the one that did it are followed up so far.
const SHELLS_UP: usize = 8;
/// Processes and entities of one incident; a flood of ever new ones must not take the memory.
const MOST: usize = 10_000;
const SHELLS: [&str; 9] = ["sh", "bash", "dash", "zsh", "ash", "ksh", "mksh", "fish", "busybox"];

/// Which events surround an incident.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// These, and all below them.
    pub(super) trees: HashSet<Kin>,
    /// These alone.
    pub(super) line: HashSet<Kin>,
    /// What is about these, where no process did it.
    pub(super) entities: HashSet<(String, String)>,
}

impl Wanted {
    /// Also those around this detection.
    pub fn add(&mut self, detection: &Detection) {
        for event in detection.events.iter().chain([&detection.event]) {
            if self.trees.len() + self.line.len() + self.entities.len() > MOST {
                return;
            }
            self.around(event);
        }
    }

    fn around(&mut self, event: &OwnedEvent) {
        let Subject::Process(id) = &event.subject else {
            let entity = &event.entity;
            self.entities.insert((entity.kind.to_string(), entity.id.to_string()));
            return;
        };
        let mut root = kin(id);
        let ancestors = event.own.get("process").and_then(|process| process.get("ancestors")).and_then(Json::as_array);
        let mut shells = true;
        for (up, above) in ancestors.into_iter().flatten().enumerate() {
            let text = |key: &str| above.get(key).and_then(Json::as_str);
            let Some(id) = text("id").and_then(|id| id.parse::<ProcessId>().ok()) else { break };
            // Everything descends from init: it says nothing.
            if id.pid <= 1 {
                break;
            }
            let name = text("image").and_then(|image| image.rsplit('/').next()).unwrap_or_default();
            shells &= up < SHELLS_UP && SHELLS.contains(&name);
            if shells {
                root = kin(&id);
            } else {
                self.line.insert(kin(&id));
            }
        }
        self.trees.insert(root);
    }
}

/// The file of an incident.
#[derive(Debug)]
pub struct Pin {
    path: PathBuf,
    file: File,
    /// Only while events are being added: each takes 160 KiB.
    page: Option<Box<Copy>>,
    boot: u64,
    /// It may grow to this.
    bound: u64,
    /// What it has.
    pub bytes: u64,
    /// How many events it has.
    pub events: u64,
    /// How many had no room in it.
    pub left_out: u64,
    /// The last event of what was there when it was taken up; what is not later is there already.
    pub after: Option<Stamp>,
}

impl Pin {
    /// Takes up a file, or makes one. Its torn end, if it has one, goes.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(path: &Path, bound: u64, boot: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let mut heads = Heads::new(file.try_clone()?);
        let (mut events, mut after) = (0, None);
        for (_, head) in heads.by_ref() {
            events += head.events;
            after = after.max(Some(head.to));
        }
        let bytes = heads.at();
        file.set_len(bytes)?;
        file.seek(SeekFrom::Start(bytes))?;
        Ok(Self { path: path.to_owned(), file, page: None, boot, bound, bytes, events, left_out: 0, after })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets it grow no more.
    pub fn stop(&mut self) {
        self.bound = self.bound.min(self.bytes);
    }

    /// What comes now is of another page.
    pub(super) fn begin(&mut self) {
        if let Some(page) = &mut self.page {
            page.begin();
        }
    }

    /// Keeps an event, if there is room.
    ///
    /// # Errors
    /// When the disk refuses; what the page held is then counted as left out.
    pub(super) fn add(&mut self, skim: &Skim<'_, '_>, event: &Brief, packer: &mut Packer) -> io::Result<()> {
        if self.bytes >= self.bound {
            self.left_out += 1;
            return Ok(());
        }
        let page = self.page.get_or_insert_default();
        let before = page.page().events();
        if let Err(damaged) = page.add(skim, event) {
            self.left_out += before + 1;
            return Err(io::Error::new(ErrorKind::InvalidData, damaged));
        }
        if page.page().is_full() { self.flush(packer) } else { Ok(()) }
    }

    /// Writes what was added.
    ///
    /// # Errors
    /// When the disk refuses; what the page held is then counted as left out.
    pub fn flush(&mut self, packer: &mut Packer) -> io::Result<()> {
        let Some(page) = self.page.take() else { return Ok(()) };
        let events = page.page().events();
        let written = packer.pack(page.page(), self.boot, false).and_then(|packed| {
            self.file.write_all(packed)?;
            Ok(packed.len() as u64)
        });
        drop(page);
        match written {
            Ok(bytes) => {
                self.bytes += bytes;
                self.events += events;
                Ok(())
            }
            Err(error) => {
                self.left_out += events;
                // If this fails as well, the torn end goes when the file is taken up again.
                self.file.set_len(self.bytes).and_then(|()| self.file.seek(SeekFrom::Start(self.bytes)))?;
                Err(error)
            }
        }
    }
}

/// Some of the events that are kept of an incident.
#[derive(Debug, Default)]
pub struct Part {
    /// In the order in which they were seen.
    pub events: Vec<OwnedEvent>,
    /// Where to read on; none: these were the last.
    pub next: Option<u64>,
}

/// The events that are kept of an incident, a page at a time, from where the part before it ended (0: from the beginning).
/// None if nothing is kept.
///
/// # Errors
/// When the file cannot be read, or `after` is no place in it.
pub fn pinned(ring: &Path, incident: &IncidentId, after: u64) -> io::Result<Option<Part>> {
    // It came from outside, and becomes a file's name.
    if !incident.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Ok(None);
    }
    let path = ring.join(PINS).join(format!("{incident}{ENDING}"));
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut heads = Heads::after(file.try_clone()?, after)?;
    let Some((at, head)) = heads.next() else {
        return match heads.broken {
            // Its end is being written.
            None | Some(frame::Broken::Torn) => Ok(Some(Part::default())),
            Some(broken) => Err(io::Error::new(ErrorKind::InvalidData, broken)),
        };
    };
    file.seek(SeekFrom::Start(at + frame::HEAD as u64))?;
    let wrong = |error: frame::Broken| io::Error::new(ErrorKind::InvalidData, error);
    let mut unpacker = Unpacker::default();
    let read = Events::of(unpacker.bytes(&head, &mut file).map_err(wrong)?);
    let events = read.map(|glimpse| glimpse.map(Glimpse::into_event));
    let events: Vec<_> = events.collect::<Result<_, _>>().map_err(|e| io::Error::new(ErrorKind::InvalidData, e))?;
    let next = at + head.size();
    Ok(Some(Part { events, next: Some(next).filter(|next| file.metadata().is_ok_and(|data| data.len() > *next)) }))
}
