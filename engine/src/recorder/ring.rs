//! The ring on disk: files of pages, the oldest removed when there are too many or they are too old.
//!
//! Owns `*.pages.zst` in its folder. A file is begun anew at every start, so that one which a killed quell left torn is
//! never written on. A disk that refuses, or has little room left for the journal, stops the writing and nothing else: what
//! was not written is told in the next page that is. Reads no clock.

use super::frame::{self, Broken, Packer, PageHead};
use super::page::{Missed, Page};
use jiff::Timestamp;
use quell_model::Stamp;
use std::collections::VecDeque;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How files of pages are called.
pub const ENDING: &str = ".pages.zst";
/// The ring is made of so many files at least, so that little goes when one goes.
const FILES: u64 = 32;
/// No file of a large ring is larger.
const LARGEST_FILE: u64 = 16 << 20;
/// So much of the file system stays free for the journal: a sixteenth, and no more than this.
const LEFT_FREE: u64 = 64 << 20;

/// A file of the ring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Where.
    pub path: PathBuf,
    /// Files are numbered in the order of their beginning.
    pub number: u64,
    /// Its size.
    pub bytes: u64,
    /// The earliest event; none of a file without a whole page.
    pub from: Option<Stamp>,
    /// The latest event; of a file that was there before, when it was last written.
    pub to: Option<Timestamp>,
    /// Which boot its events are of.
    boot: Option<u64>,
    /// The latest event on that boot's clock, of a file that this quell has written.
    to_ns: Option<u64>,
}

impl Segment {
    /// Whether all of it is older. Within one boot by that boot's clock: whoever sets the wall clock removes nothing.
    fn is_older(&self, age: Duration, now: Stamp, boot: u64) -> bool {
        let by_boot = |ns: u64| Duration::from_nanos(now.boot_ns.saturating_sub(ns)) > age;
        let by_wall =
            || self.to.is_some_and(|to| Duration::try_from(now.wall.duration_since(to)).is_ok_and(|a| a > age));
        match (self.to_ns, self.from) {
            _ if self.boot != Some(boot) => by_wall(),
            (Some(to_ns), _) => by_boot(to_ns),
            // Of when an earlier quell of this boot last wrote, only the wall tells; of when it began, both do.
            (None, Some(from)) => by_boot(from.boot_ns) && by_wall(),
            (None, None) => by_wall(),
        }
    }
}

/// What a page of another use of the ring is limited by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// All files together.
    pub size: u64,
    /// What is older goes.
    pub age: Duration,
}

/// A page was not written.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The file system has little room left.
    #[error("{0} MiB are left on the disk, which stay free for the journal")]
    Room(u64),
    /// The disk refused.
    #[error("{0}")]
    Disk(#[source] io::Error),
}

/// The ring, for its one writer.
#[derive(Debug)]
pub struct Ring {
    dir: PathBuf,
    bounds: Bounds,
    boot: u64,
    packer: Packer,
    open: Option<File>,
    segments: VecDeque<Segment>,
    next: u64,
    began: bool,
    missed: Option<Missed>,
}

impl Ring {
    /// Takes a folder, made 0700 where it is missing.
    ///
    /// # Errors
    /// When it cannot be made or listed.
    pub fn open(dir: &Path, bounds: Bounds, boot: &str) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let segments: VecDeque<Segment> = segments(dir)?.into();
        let next = segments.back().map_or(1, |last| last.number + 1);
        let boot = frame::sum(boot.as_bytes());
        let packer = Packer::new()?;
        Ok(Self { dir: dir.to_owned(), bounds, boot, packer, open: None, segments, next, began: true, missed: None })
    }

    /// Writes a page. What it holds is missed if it cannot be, and told in the next page that can.
    ///
    /// # Errors
    /// When the disk refuses or is nearly full. Nothing half stays behind.
    pub fn write(&mut self, page: &mut Page, now: Stamp) -> Result<(), Refused> {
        if let Some(missed) = self.missed.take() {
            page.miss(missed);
        }
        let written = self.try_write(page, now);
        if written.is_err() {
            self.missed = page.as_missed();
        }
        written
    }

    fn try_write(&mut self, page: &Page, now: Stamp) -> Result<(), Refused> {
        self.tidy(now);
        let space = rustix::fs::statvfs(&self.dir).map_err(|e| Refused::Disk(e.into()))?;
        let (free, all) = (space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize);
        if free < LEFT_FREE.min(all / 16) {
            return Err(Refused::Room(free >> 20));
        }
        let packed = self.packer.pack(page, self.boot, self.began).map_err(Refused::Disk)?;
        let full = self.segments.back().is_none_or(|segment| segment.bytes >= file_size(self.bounds.size));
        if self.open.is_none() || full {
            let path = self.dir.join(format!("{:010}{ENDING}", self.next));
            let file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(Refused::Disk)?;
            self.segments.push_back(Segment {
                path,
                number: self.next,
                bytes: 0,
                from: None,
                to: None,
                boot: Some(self.boot),
                to_ns: None,
            });
            self.next += 1;
            self.open = Some(file);
        }
        let (Some(file), Some(segment)) = (&mut self.open, self.segments.back_mut()) else {
            unreachable!("both were put there above")
        };
        if let Err(error) = file.write_all(packed) {
            // What was written of it goes again; where even that fails, a new file is begun.
            let back = file.set_len(segment.bytes).and_then(|()| file.seek(SeekFrom::Start(segment.bytes)));
            if back.is_err() {
                self.open = None;
            }
            return Err(Refused::Disk(error));
        }
        segment.bytes += packed.len() as u64;
        if let Some((from, to)) = page.span() {
            segment.from = Some(segment.from.map_or(from, |known| known.min(from)));
            segment.to = Some(segment.to.map_or(to.wall, |known| known.max(to.wall)));
            segment.to_ns = segment.to_ns.max(Some(to.boot_ns));
        }
        self.began = false;
        Ok(())
    }

    /// Removes what is too old or too much. The file that is written on stays.
    pub fn tidy(&mut self, now: Stamp) {
        let room = self.bounds.size.saturating_sub(file_size(self.bounds.size));
        while let Some(oldest) = self.segments.front() {
            let is_open = self.segments.len() == 1 && self.open.is_some();
            let too_old = oldest.is_older(self.bounds.age, now, self.boot);
            if is_open || !(too_old || self.bytes() > room) {
                return;
            }
            if let Err(error) = std::fs::remove_file(&oldest.path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(file = %oldest.path.display(), %error, "an old recording cannot be removed");
                return;
            }
            self.segments.pop_front();
        }
    }

    /// What all files take.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// The earliest event that is kept.
    #[must_use]
    pub fn oldest(&self) -> Option<Stamp> {
        self.segments.iter().find_map(|segment| segment.from)
    }

    /// Events that could not be written and are not told of in the ring yet.
    #[must_use]
    pub fn missed(&self) -> Option<Missed> {
        self.missed
    }
}

/// A new file is begun at this size.
fn file_size(ring: u64) -> u64 {
    (ring / FILES).min(LARGEST_FILE)
}

/// The files of a folder, in the order of their beginning; reads the head of each one's first page.
///
/// # Errors
/// When the folder cannot be listed.
pub fn segments(dir: &Path) -> io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(ENDING)?.parse().ok());
        let Some(number) = number else { continue };
        let Ok(data) = path.metadata() else { continue };
        let bytes = data.len();
        let (from, boot) = first(&path).map(|head| (head.from, head.boot)).unzip();
        let to = data.modified().ok().and_then(|at| Timestamp::try_from(at).ok());
        found.push(Segment { path, number, bytes, from, to, boot, to_ns: None });
    }
    found.sort_unstable_by_key(|segment: &Segment| segment.number);
    Ok(found)
}

/// What a file's first page says.
pub(super) fn first(path: &Path) -> Option<PageHead> {
    Heads::new(File::open(path).ok()?).next().map(|(_, head)| head)
}

/// The heads of a file's pages with where each begins; the pages themselves are passed over.
pub(super) struct Heads {
    input: BufReader<File>,
    at: u64,
    /// Why it ended, if not at the end of the file.
    pub(super) broken: Option<Broken>,
}

impl Heads {
    /// From the beginning of a file.
    #[must_use]
    pub(super) fn new(file: File) -> Self {
        Self { input: BufReader::with_capacity(frame::HEAD, file), at: 0, broken: None }
    }

    /// From the page that begins at `at`.
    ///
    /// # Errors
    /// When the file cannot be read there.
    pub(super) fn after(file: File, at: u64) -> io::Result<Self> {
        let mut heads = Self::new(file);
        heads.input.seek(SeekFrom::Start(at))?;
        heads.at = at;
        Ok(heads)
    }

    /// Where the next page begins, or would.
    #[must_use]
    pub(super) fn at(&self) -> u64 {
        self.at
    }
}

impl std::fmt::Debug for Heads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heads").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Iterator for Heads {
    type Item = (u64, PageHead);

    fn next(&mut self) -> Option<Self::Item> {
        let size = self.input.get_ref().metadata().map_or(0, |data| data.len());
        match frame::head(&mut self.input) {
            Ok(None) => None,
            Ok(Some(head)) if self.at + head.size() > size => {
                self.broken = Some(Broken::Torn);
                None
            }
            Ok(Some(head)) => {
                let at = self.at;
                self.at += head.size();
                if let Err(error) = self.input.seek(SeekFrom::Start(self.at)) {
                    self.broken = Some(error.into());
                    return None;
                }
                Some((at, head))
            }
            Err(broken) => {
                self.broken = Some(broken);
                None
            }
        }
    }
}
