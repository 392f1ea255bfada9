//! One file that is followed: how far it was read, and the reading on.
//!
//! Owns the place in the file. Keeps true: the position that it gives lies before the first line that was not given out.

use super::batch::{Batch, Line};
use crate::adapt::{Format, GZIP, LARGEST_DOCUMENT, Unreadable, read, read_part};
use flate2::bufread::MultiGzDecoder;
use jiff::Timestamp;
use quell_model::record::source::{FileHead, FilePosition};
use quell_model::{Hash, Mistake, OwnedEvent, Span};
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// By so many bytes a file's beginning is known: CloudTrail's first record, and so its time, lies within.
const HEAD: u64 = 4096;

/// A file as the file system knows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) born: Option<Timestamp>,
}

impl Identity {
    pub(super) fn of(meta: &Metadata) -> Self {
        let born = meta.created().ok().and_then(|born| Timestamp::try_from(born).ok());
        Self { device: meta.dev(), inode: meta.ino(), born }
    }
}

/// When a file was last written to.
pub(super) fn modified(meta: &Metadata) -> Timestamp {
    Timestamp::new(meta.mtime(), i32::try_from(meta.mtime_nsec()).unwrap_or(0)).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(super) struct Tail {
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
    pub(super) file: Option<File>,
    pub(super) offset: u64,
    /// None: of what was there before the first look, nobody counted them yet.
    pub(super) lines: Option<u32>,
    pub(super) rest: Vec<u8>,
    pub(super) head: FileHead,
    /// What lies before this byte was there before the source was first followed.
    pub(super) before: u64,
    pub(super) modified: Timestamp,
    pub(super) grew: u64,
    /// The look since which it is not among the source's files any more.
    pub(super) gone: Option<u64>,
    /// The look in which nothing more could be read of it.
    pub(super) stalled: u64,
    /// Said once.
    pub(super) refused: bool,
    /// How large a packed file was that is not whole yet, and how often it was tried.
    pub(super) half: u64,
    pub(super) tries: u32,
}

/// Nothing is known of its beginning.
pub(super) fn no_head() -> FileHead {
    FileHead { bytes: 0, sum: Hash::of(b"") }
}

/// The beginning of a file, if it can be read.
pub(super) fn head_of(file: &mut File, bytes: u64) -> io::Result<FileHead> {
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(bytes.min(HEAD)).read_to_end(&mut head)?;
    Ok(FileHead { bytes: head.len() as u64, sum: Hash::of(&head) })
}

impl Tail {
    pub(super) fn new(path: PathBuf, meta: &Metadata, grew: u64, open: bool) -> Self {
        let file = open.then(|| File::open(&path).ok()).flatten();
        Self {
            path,
            identity: Identity::of(meta),
            file,
            offset: 0,
            lines: Some(0),
            rest: Vec::new(),
            head: no_head(),
            before: 0,
            modified: modified(meta),
            grew,
            gone: None,
            stalled: 0,
            refused: false,
            half: 0,
            tries: 0,
        }
    }

    /// How far it was given out.
    pub(super) fn position(&self) -> FilePosition {
        FilePosition {
            path: self.path.to_string_lossy().into_owned(),
            device: self.identity.device,
            inode: self.identity.inode,
            born: self.identity.born,
            head: self.head,
            offset: self.offset - self.rest.len() as u64,
            before: self.before,
            modified: self.modified,
            gone: false,
        }
    }

    /// Whether what comes next was there before the source was first followed.
    pub(super) fn is_past(&self) -> bool {
        self.offset < self.before
    }

    /// Learns how the file begins, as far as it was read or holds so many bytes.
    pub(super) fn learn_head(&mut self, bytes: u64) {
        if self.head.bytes < bytes.min(HEAD)
            && let Ok(file) = self.opened()
            && let Ok(head) = head_of(file, bytes)
        {
            self.head = head;
        }
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

    fn opened(&mut self) -> io::Result<&mut File> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => Ok(none.insert(File::open(&self.path)?)),
        }
    }

    fn bytes(&mut self, from: u64, most: u64, into: &mut Vec<u8>) -> io::Result<()> {
        let file = self.opened()?;
        file.seek(SeekFrom::Start(from))?;
        file.take(most).read_to_end(into)?;
        Ok(())
    }

    /// Reads on, at most to `size` and so many bytes as are `left`.
    pub(super) fn read(&mut self, format: Option<Format>, size: u64, left: &mut u64, out: &mut Batch) {
        let before = self.position();
        let lines = match self.lines {
            Some(lines) => lines,
            None => self.count_lines(),
        };
        self.lines = Some(lines);
        let mut part = std::mem::take(&mut self.rest);
        let kept = part.len() as u64;
        let most = (*left).min(size.saturating_sub(self.offset));
        if let Err(error) = self.bytes(self.offset, most, &mut part) {
            part.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
            self.rest = part;
            if !std::mem::replace(&mut self.refused, true) {
                out.unreadable.push(self.wrong(format!("cannot be read: {error}"), Vec::new()));
            }
            return;
        }
        let file = out.files.len();
        if self.offset == 0 && part.starts_with(GZIP) {
            self.packed(format, part, size, left, out);
        } else {
            let got = part.len() as u64 - kept;
            let began = self.offset - kept;
            self.offset += got;
            *left -= got.min(*left);
            let part = read_part(format, &self.path, &part, lines);
            (self.rest, self.lines) = (part.rest, Some(part.lines));
            part.read.into_iter().for_each(|(event, done)| self.give(event, file, began + done, out));
        }
        self.learn_head(self.offset);
        let now = self.position();
        if now != before {
            out.files.push(now);
        }
    }

    fn give(&self, event: Result<OwnedEvent, Unreadable>, file: usize, upto: u64, out: &mut Batch) {
        match event {
            Ok(event) => out.lines.push(Line { event, backfill: upto <= self.before, file, upto }),
            Err(unreadable) => out.unreadable.push(unreadable),
        }
    }

    /// A gzip file says something only as a whole: until it is whole, it is looked at again each time that it grew.
    fn packed(&mut self, format: Option<Format>, mut part: Vec<u8>, size: u64, left: &mut u64, out: &mut Batch) {
        if self.bytes(part.len() as u64, LARGEST_DOCUMENT as u64, &mut part).is_err() {
            return;
        }
        *left = left.saturating_sub(part.len() as u64);
        self.tries += 1;
        let mut whole = Vec::new();
        let unpacked = MultiGzDecoder::new(part.as_slice()).take(LARGEST_DOCUMENT as u64 + 1).read_to_end(&mut whole);
        let (file, read_to) = (out.files.len(), part.len() as u64);
        match unpacked {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && part.len() <= LARGEST_DOCUMENT => {
                self.half = size;
                return;
            }
            Err(error) => out.unreadable.push(self.wrong(format!("cannot be unpacked: {error}"), Vec::new())),
            Ok(_) if whole.len() > LARGEST_DOCUMENT => {
                out.unreadable.push(self.wrong("unpacks to more than 64 MiB".into(), Vec::new()));
            }
            Ok(_) => {
                let first = out.lines.len();
                for event in read(format, &self.path, whole.as_slice()) {
                    self.give(event, file, read_to, out);
                }
                // It is read once its last event is.
                let many = out.lines.len() - first;
                out.lines[first..].iter_mut().take(many.saturating_sub(1)).for_each(|line| line.upto = 0);
            }
        }
        // Of one that is too large, nothing more is looked at.
        self.offset = if part.len() > LARGEST_DOCUMENT { size } else { read_to };
    }

    /// The file was cut off: what it holds now is new.
    pub(super) fn start_again(&mut self, out: &mut Batch) {
        let rest = std::mem::take(&mut self.rest);
        if !rest.is_empty() {
            out.unreadable.push(self.wrong("was cut off in the middle of a record".into(), rest));
        }
        (self.offset, self.lines, self.file, self.half) = (0, Some(0), None, 0);
        (self.before, self.head) = (0, no_head());
        out.files.push(self.position());
    }

    pub(super) fn wrong(&self, what: String, raw: Vec<u8>) -> Unreadable {
        wrong(&self.path, what, raw)
    }
}

/// What is wrong with a file as a whole.
pub(super) fn wrong(path: &Path, what: String, raw: Vec<u8>) -> Unreadable {
    Unreadable { mistake: Mistake::error(path, Span::default(), what), raw }
}
