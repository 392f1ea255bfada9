//! A file, or a folder of files, that others append to.
//!
//! Owns how far each file was read. A file is known by device, inode and birth, not by its name: a log that was rotated
//! is read to its end under its new name and not again. What was there before the first look counts as read; what
//! appears later is read from its beginning. A line that is not finished waits for its end.

use crate::adapt::{Format, GZIP, LARGEST_DOCUMENT, Unreadable, read, read_part};
use flate2::bufread::MultiGzDecoder;
use quell_model::{Mistake, OwnedEvent, Span, Stamp};
use std::collections::{HashMap, HashSet};
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How much is read at a time; the rest waits for the next.
const MOST: u64 = 4 * 1024 * 1024;
/// The most files of a folder that are followed: those that changed last.
const FILES: usize = if cfg!(test) { 300 } else { 10_000 };
/// The most files that are looked at for that.
const LOOKED_AT: usize = 200_000;
/// How deep folders may nest (CloudTrail's: account, region, year, month, day).
const DEPTH: u32 = 12;
/// The most files that are held open, so that a rotated one is read to its end.
const OPEN: usize = 64;

/// Follows one configured path.
pub struct Follower {
    path: PathBuf,
    format: Option<Format>,
    tails: HashMap<Identity, Tail>,
    /// Counts the looks: the files that grew last are held open.
    look: u64,
    /// That there are too many files was said.
    said: bool,
    /// Bytes that the last look found and did not come to.
    unread: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Identity {
    device: u64,
    inode: u64,
    born: Option<SystemTime>,
}

struct Tail {
    path: PathBuf,
    file: Option<File>,
    offset: u64,
    /// None: of what was there before the first look, nobody counted them yet.
    lines: Option<u32>,
    rest: Vec<u8>,
    grew: u64,
    /// Said once.
    refused: bool,
    /// How large a packed file was that is not whole yet, and how often it was tried.
    half: u64,
    tries: u32,
}

impl Follower {
    /// Follows from now on.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, format: Option<Format>) -> Self {
        let mut follower = Self { path: path.into(), format, tails: HashMap::new(), look: 0, said: false, unread: 0 };
        let (mut present, _) = follower.present();
        present.sort_by_key(|(_, meta)| std::cmp::Reverse(changed(meta)));
        for (at, (path, meta)) in present.into_iter().enumerate() {
            let mut tail = Tail::new(path, 0, at < OPEN);
            (tail.offset, tail.lines) = (meta.len(), None);
            follower.tails.insert(Identity::of(&meta), tail);
        }
        follower
    }

    /// Bytes that the last look found and did not come to.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.unread
    }

    /// What was added since the last look: at most 4 MiB of it, the rest the next time. The events' boot clock is
    /// reckoned from their wall clock, so that their age can be told.
    pub fn poll(&mut self, now: Stamp) -> Vec<Result<OwnedEvent, Unreadable>> {
        self.look += 1;
        let mut read = Vec::new();
        let mut left = MOST;
        let (present, too_many) = self.present();
        let here: HashSet<Identity> = present.iter().map(|(_, meta)| Identity::of(meta)).collect();
        // What is gone from here was rotated away or removed: its end comes before what follows it.
        let gone: Vec<Identity> = self.tails.keys().filter(|known| !here.contains(known)).copied().collect();
        for identity in gone {
            let Some(mut tail) = self.tails.remove(&identity) else { continue };
            tail.read(self.format, u64::MAX, &mut left, &mut read);
            if left == 0 {
                self.tails.insert(identity, tail);
            } else if !tail.rest.is_empty() {
                let rest = std::mem::take(&mut tail.rest);
                tail.wrong("ended in the middle of a record".into(), rest, &mut read);
            }
        }
        let (look, mut opened) = (self.look, 0);
        let there: u64 = present.iter().map(|(_, meta)| meta.len()).sum();
        for (path, meta) in present {
            if left == 0 {
                break;
            }
            let tail = self.tails.entry(Identity::of(&meta)).or_insert_with(|| {
                opened += 1;
                Tail::new(path.clone(), look, opened <= OPEN)
            });
            tail.path = path;
            if meta.len() < tail.offset {
                tail.start_again(&mut read);
            }
            if meta.len() > tail.offset && meta.len() != tail.half {
                tail.grew = look;
                let was_open = tail.file.is_some();
                tail.read(self.format, meta.len(), &mut left, &mut read);
                opened += usize::from(!was_open);
                if !was_open && opened > OPEN {
                    tail.file = None;
                }
            }
        }
        if too_many && !std::mem::replace(&mut self.said, true) {
            let what = format!("holds more than {FILES} files: only those that changed last are followed");
            let mistake = Mistake::error(&self.path, Span::default(), what);
            read.push(Err(Unreadable { mistake, raw: Vec::new() }));
        }
        self.unread = there.saturating_sub(self.tails.values().map(|tail| tail.offset).sum());
        self.close_idle();
        for event in read.iter_mut().flatten() {
            let ago = now.wall.duration_since(event.head.at.wall).as_nanos();
            event.head.at.boot_ns = u64::try_from(i128::from(now.boot_ns) - ago).unwrap_or(0);
            event.head.seen = now;
        }
        read
    }

    /// The files, in the order of their names, and whether there are more than these.
    fn present(&self) -> (Vec<(PathBuf, Metadata)>, bool) {
        let mut files = Vec::new();
        list(&self.path, DEPTH, &mut files);
        let too_many = files.len() > FILES;
        if too_many {
            files.sort_by_key(|(_, meta)| std::cmp::Reverse(changed(meta)));
            files.truncate(FILES);
            files.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        (files, too_many)
    }

    fn close_idle(&mut self) {
        let mut open: Vec<(u64, Identity)> =
            self.tails.iter().filter(|(_, tail)| tail.file.is_some()).map(|(id, tail)| (tail.grew, *id)).collect();
        if open.len() <= OPEN {
            return;
        }
        open.sort_unstable_by_key(|(grew, _)| std::cmp::Reverse(*grew));
        for (_, identity) in open.split_off(OPEN) {
            if let Some(tail) = self.tails.get_mut(&identity) {
                tail.file = None;
            }
        }
    }
}

fn changed(meta: &Metadata) -> (i64, i64) {
    (meta.mtime(), meta.mtime_nsec())
}

/// The files at and below a path, in the order of their names.
fn list(path: &Path, depth: u32, files: &mut Vec<(PathBuf, Metadata)>) {
    let Ok(meta) = std::fs::metadata(path) else { return };
    if meta.is_file() && files.len() < LOOKED_AT {
        files.push((path.to_owned(), meta));
    } else if meta.is_dir() && depth > 0 {
        let Ok(entries) = std::fs::read_dir(path) else { return };
        let mut below: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        below.sort();
        below.iter().for_each(|path| list(path, depth - 1, files));
    }
}

impl Identity {
    fn of(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino(), born: meta.created().ok() }
    }
}

impl Tail {
    fn new(path: PathBuf, grew: u64, open: bool) -> Self {
        let file = open.then(|| File::open(&path).ok()).flatten();
        let (lines, rest) = (Some(0), Vec::new());
        Self { path, file, offset: 0, lines, rest, grew, refused: false, half: 0, tries: 0 }
    }

    /// The lines of what is not read, so that places are those of the file; none of a file too large to look through.
    fn count_lines(&mut self) -> u32 {
        if self.offset > LARGEST_DOCUMENT as u64 {
            return 0;
        }
        let mut all = Vec::new();
        let counted = self.bytes(0, self.offset, &mut all).is_ok();
        let lines = all.iter().filter(|byte| **byte == b'\n').count();
        if counted { u32::try_from(lines).unwrap_or(0) } else { 0 }
    }

    fn bytes(&mut self, from: u64, most: u64, into: &mut Vec<u8>) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::open(&self.path)?),
        };
        file.seek(SeekFrom::Start(from))?;
        file.take(most).read_to_end(into)?;
        Ok(())
    }

    fn read(
        &mut self,
        format: Option<Format>,
        size: u64,
        left: &mut u64,
        out: &mut Vec<Result<OwnedEvent, Unreadable>>,
    ) {
        let lines = match self.lines {
            Some(lines) => lines,
            None => self.count_lines(),
        };
        self.lines = Some(lines);
        let mut part = std::mem::take(&mut self.rest);
        let before = part.len();
        let most = (*left).min(size.saturating_sub(self.offset));
        if let Err(error) = self.bytes(self.offset, most, &mut part) {
            self.rest = part;
            if !std::mem::replace(&mut self.refused, true) {
                self.wrong(format!("cannot be read: {error}"), Vec::new(), out);
            }
            return;
        }
        if self.offset == 0 && part.starts_with(GZIP) {
            return self.packed(format, part, size, left, out);
        }
        let got = (part.len() - before) as u64;
        self.offset += got;
        *left -= got.min(*left);
        let part = read_part(format, &self.path, &part, lines);
        self.rest = part.rest;
        self.lines = Some(part.lines);
        out.extend(part.read);
    }

    /// A gzip file says something only as a whole: until it is whole, it is looked at again each time that it grew.
    fn packed(
        &mut self,
        format: Option<Format>,
        mut part: Vec<u8>,
        size: u64,
        left: &mut u64,
        out: &mut Vec<Result<OwnedEvent, Unreadable>>,
    ) {
        if self.bytes(part.len() as u64, LARGEST_DOCUMENT as u64, &mut part).is_err() {
            return;
        }
        *left = left.saturating_sub(part.len() as u64);
        self.tries += 1;
        let mut whole = Vec::new();
        let unpacked = MultiGzDecoder::new(part.as_slice()).take(LARGEST_DOCUMENT as u64 + 1).read_to_end(&mut whole);
        match unpacked {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && part.len() <= LARGEST_DOCUMENT => {
                self.half = size;
                return;
            }
            Err(error) => self.wrong(format!("cannot be unpacked: {error}"), Vec::new(), out),
            Ok(_) if whole.len() > LARGEST_DOCUMENT => {
                self.wrong("unpacks to more than 64 MiB".into(), Vec::new(), out)
            }
            Ok(_) => out.extend(read(format, &self.path, whole.as_slice())),
        }
        // Of one that is too large, nothing more is looked at.
        self.offset = if part.len() > LARGEST_DOCUMENT { size } else { part.len() as u64 };
    }

    /// The file was cut off: what it holds now is new.
    fn start_again(&mut self, out: &mut Vec<Result<OwnedEvent, Unreadable>>) {
        let rest = std::mem::take(&mut self.rest);
        if !rest.is_empty() {
            self.wrong("was cut off in the middle of a record".into(), rest, out);
        }
        (self.offset, self.lines, self.file, self.half) = (0, Some(0), None, 0);
    }

    fn wrong(&self, what: String, raw: Vec<u8>, out: &mut Vec<Result<OwnedEvent, Unreadable>>) {
        let mistake = Mistake::error(&self.path, Span::default(), what);
        out.push(Err(Unreadable { mistake, raw }));
    }
}

#[cfg(test)]
mod tests;
