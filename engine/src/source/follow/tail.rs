//! One file that is followed: how far it was read, and the reading on.
//!
//! Owns two places in the file: what is live is read on from where it ended when it was first followed, and what it held then is read
//! up to there. Keeps true: the position that it gives lies before the first line that was not given out, and neither place waits
//! for the other.

use super::Begin;
use super::batch::{Batch, Line};
use crate::adapt::{Format, GZIP, LARGEST_DOCUMENT, LARGEST_EVENT, Unreadable, read, read_part};
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

    /// Of a file that is known.
    pub(super) fn known(file: &FilePosition) -> Self {
        Self { device: file.device, inode: file.inode, born: file.born }
    }
}

/// When a file was last written to.
pub(super) fn modified(meta: &Metadata) -> Timestamp {
    Timestamp::new(meta.mtime(), i32::try_from(meta.mtime_nsec()).unwrap_or(0)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Up to where a file was read.
#[derive(Default)]
pub(super) struct Place {
    pub(super) offset: u64,
    /// None: of what was there before the first look, nobody counted them yet.
    pub(super) lines: Option<u32>,
    /// What was read and is not whole yet.
    pub(super) rest: Vec<u8>,
    /// It lies within a line that is far too long, of which nothing more is read. A start does not know that any more.
    pub(super) within: bool,
}

impl Place {
    pub(super) const START: Self = Self { offset: 0, lines: Some(0), rest: Vec::new(), within: false };

    pub(super) fn at(offset: u64) -> Self {
        Self { offset, ..Self::default() }
    }

    /// How far it was given out.
    fn given(&self) -> u64 {
        self.offset - self.rest.len() as u64
    }
}

pub(super) struct Tail {
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
    pub(super) file: Option<File>,
    pub(super) live: Place,
    /// Within what lies before `before`; none: all of that was read.
    pub(super) past: Option<Place>,
    pub(super) head: FileHead,
    /// What lies before this byte was there before the source was first followed.
    pub(super) before: u64,
    /// How often it was begun anew.
    pub(super) cut: u32,
    /// It was a packed file when it was first followed: if it still grows it was not whole then.
    pub(super) packed: bool,
    pub(super) modified: Timestamp,
    pub(super) grew: u64,
    /// The look since which it is not among the source's files any more.
    pub(super) gone: Option<u64>,
    /// The last look in which nothing more of its past could be read.
    pub(super) stalled: Option<u64>,
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
            live: Place::START,
            past: None,
            head: no_head(),
            before: 0,
            cut: 0,
            packed: false,
            modified: modified(meta),
            grew,
            gone: None,
            stalled: None,
            refused: false,
            half: 0,
            tries: 0,
        }
    }

    /// One that was read so far.
    pub(super) fn known(path: &Path, meta: &Metadata, known: &FilePosition, open: bool) -> Self {
        let mut tail = Self::new(path.to_owned(), meta, 0, open);
        (tail.live, tail.before, tail.cut, tail.head) = (Place::at(known.offset), known.before, known.cut, known.head);
        tail.past = known.past.map(Place::at);
        tail.packed = tail.past.is_some() && tail.is_packed();
        if !open {
            tail.file = None;
        }
        tail
    }

    /// Whether it has more to read at this length, and that can be read.
    pub(super) fn has_more(&self, size: u64) -> bool {
        size > self.live.offset && size != self.half && !self.refused
    }

    /// How far it was given out, the past as well.
    pub(super) fn position(&self) -> FilePosition {
        FilePosition { past: self.past.as_ref().map(Place::given), ..self.live_position() }
    }

    /// How far what is live was given out: it says nothing of the past, which goes its own way.
    pub(super) fn live_position(&self) -> FilePosition {
        FilePosition {
            path: self.path.to_string_lossy().into_owned(),
            device: self.identity.device,
            inode: self.identity.inode,
            born: self.identity.born,
            head: self.head,
            offset: self.live.given(),
            before: self.before,
            past: (self.before > 0).then_some(0),
            cut: self.cut,
            modified: self.modified,
            gone: false,
        }
    }

    /// How far the past was given out: it says nothing of what is live.
    fn past_position(&self) -> FilePosition {
        FilePosition { offset: self.before, ..self.position() }
    }

    /// What is said of it once it is forgotten.
    pub(super) fn gone_position(&self) -> FilePosition {
        FilePosition { gone: true, ..self.live_position() }
    }

    /// Bytes of the past that are not read yet.
    pub(super) fn past_left(&self) -> u64 {
        self.past.as_ref().map_or(0, |past| self.before - past.offset)
    }

    /// Counts what it holds as there before: it ends with its last whole line, what is half written is live.
    pub(super) fn split(&mut self, size: u64, begin: Begin) {
        self.learn_head(size);
        self.packed = self.is_packed();
        let end = if self.packed { size } else { self.whole_upto(size) };
        self.live = if end == 0 { Place::START } else { Place::at(end) };
        if begin == Begin::Start && end > 0 {
            (self.before, self.past) = (end, Some(Place::START));
        }
    }

    pub(super) fn is_packed(&mut self) -> bool {
        let mut magic = Vec::new();
        self.bytes(0, GZIP.len() as u64, &mut magic).is_ok() && magic == GZIP
    }

    /// Where the last whole line of these bytes ends. A document needs no end of line.
    fn whole_upto(&mut self, size: u64) -> u64 {
        let mut end = Vec::new();
        let from = size.saturating_sub(1);
        if size == 0 || self.bytes(from, 1, &mut end).is_err() || end == b"\n" {
            return size;
        }
        let from = size.saturating_sub(LARGEST_EVENT as u64);
        end.clear();
        if self.bytes(from, size - from, &mut end).is_err() {
            return size;
        }
        let line = match end.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None if from == 0 => 0,
            None => return size,
        };
        let last = end[line..].trim_ascii();
        // A line that begins with a bracket's end is the end of a document of many lines.
        let is_whole = last.starts_with(b"}")
            || last.starts_with(b"]")
            || serde_json::from_slice::<serde::de::IgnoredAny>(last).is_ok();
        if is_whole { size } else { from + line as u64 }
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
    fn count_lines(&mut self, upto: u64) -> u32 {
        if upto > LARGEST_DOCUMENT as u64 {
            return 0;
        }
        let mut all = Vec::new();
        let counted = self.bytes(0, upto, &mut all).is_ok();
        let lines = all.iter().filter(|byte| **byte == b'\n').count();
        if counted { u32::try_from(lines).unwrap_or(0) } else { 0 }
    }

    /// Its former name may be another file's by now.
    fn opened(&mut self) -> io::Result<&mut File> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => {
                let file = File::open(&self.path)?;
                if Identity::of(&file.metadata()?) != self.identity {
                    return Err(io::ErrorKind::NotFound.into());
                }
                Ok(none.insert(file))
            }
        }
    }

    /// How long it is now; none if it cannot be told.
    pub(super) fn length(&mut self) -> Option<u64> {
        self.opened().and_then(|file| file.metadata()).ok().map(|meta| meta.len())
    }

    fn bytes(&mut self, from: u64, most: u64, into: &mut Vec<u8>) -> io::Result<()> {
        let file = self.opened()?;
        file.seek(SeekFrom::Start(from))?;
        file.take(most).read_to_end(into)?;
        Ok(())
    }

    /// Reads on what is live, at most to `size` and so many bytes as are `left`.
    pub(super) fn read(&mut self, format: Option<Format>, size: u64, left: &mut u64, out: &mut Batch) {
        let before = self.live_position();
        let mut live = std::mem::take(&mut self.live);
        let packed = self.read_on(&mut live, (format, size, false), left, out);
        self.live = live;
        if packed == Packed::Half {
            self.half = size;
        }
        self.learn_head(self.live.offset);
        let now = self.live_position();
        if now != before {
            out.files.push(now);
        }
    }

    /// Reads on what was there before; gives whether it came further.
    pub(super) fn read_back(&mut self, format: Option<Format>, most: u64, out: &mut Batch) -> bool {
        let Some(mut past) = self.past.take() else { return false };
        // A document that is larger than a piece is not looked through anew for each of them.
        let mut left = most.max(past.rest.len() as u64);
        let began = past.offset;
        let packed = self.read_on(&mut past, (format, self.before, true), &mut left, out);
        if packed == Packed::Half {
            out.unreadable.push(self.wrong("is not whole: it is read once it is".into(), Vec::new()));
            self.begin_anew(out);
            self.half = self.length().unwrap_or(0);
            return true;
        }
        if packed == Packed::Whole {
            self.packed = false;
        }
        let came_further = past.offset > began;
        if past.offset >= self.before {
            let rest = std::mem::take(&mut past.rest);
            if !rest.is_empty() {
                let what = "ended in the middle of a record when it was first followed";
                out.unreadable.push(self.wrong(what.into(), rest));
            }
        } else {
            self.past = Some(past);
        }
        if came_further {
            out.files.push(self.past_position());
        }
        came_further
    }

    fn read_on(
        &mut self,
        place: &mut Place,
        (format, size, backfill): (Option<Format>, u64, bool),
        left: &mut u64,
        out: &mut Batch,
    ) -> Packed {
        let lines = match place.lines {
            Some(lines) => lines,
            None => self.count_lines(place.offset),
        };
        place.lines = Some(lines);
        let mut part = std::mem::take(&mut place.rest);
        let kept = part.len() as u64;
        let most = (*left).min(size.saturating_sub(place.offset));
        if let Err(error) = self.bytes(place.offset, most, &mut part) {
            part.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
            place.rest = part;
            // One that is renamed at this moment is found again at the next look.
            let is_away = error.kind() == io::ErrorKind::NotFound;
            if !is_away && !std::mem::replace(&mut self.refused, true) {
                out.unreadable.push(self.wrong(format!("cannot be read: {error}"), Vec::new()));
            }
            return Packed::No;
        }
        if place.offset == 0 && part.starts_with(GZIP) {
            return self.packed(place, (format, size, backfill), part, left, out);
        }
        let got = part.len() as u64 - kept;
        let began = place.offset - kept;
        place.offset += got;
        *left -= got.min(*left);
        let part = read_part(format, &self.path, &part, (lines, place.within));
        (place.rest, place.lines, place.within) = (part.rest, Some(part.lines), part.within);
        let file = out.files.len();
        for (event, done) in part.read {
            give(event, (file, began + done, backfill), out);
        }
        Packed::No
    }

    /// A gzip file says something only as a whole: until it is whole, it is looked at again each time that it grew.
    fn packed(
        &mut self,
        place: &mut Place,
        (format, size, backfill): (Option<Format>, u64, bool),
        mut part: Vec<u8>,
        left: &mut u64,
        out: &mut Batch,
    ) -> Packed {
        if self.bytes(part.len() as u64, LARGEST_DOCUMENT as u64, &mut part).is_err() {
            return Packed::No;
        }
        *left = left.saturating_sub(part.len() as u64);
        self.tries += 1;
        let mut whole = Vec::new();
        let unpacked = MultiGzDecoder::new(part.as_slice()).take(LARGEST_DOCUMENT as u64 + 1).read_to_end(&mut whole);
        let (file, read_to) = (out.files.len(), part.len() as u64);
        match unpacked {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && part.len() <= LARGEST_DOCUMENT => {
                return Packed::Half;
            }
            Err(error) => out.unreadable.push(self.wrong(format!("cannot be unpacked: {error}"), Vec::new())),
            Ok(_) if whole.len() > LARGEST_DOCUMENT => {
                out.unreadable.push(self.wrong("unpacks to more than 64 MiB".into(), Vec::new()));
            }
            Ok(_) => {
                let first = out.lines.len();
                for event in read(format, &self.path, whole.as_slice()) {
                    give(event, (file, read_to, backfill), out);
                }
                // It is read once its last event is.
                let many = out.lines.len() - first;
                out.lines[first..].iter_mut().take(many.saturating_sub(1)).for_each(|line| line.upto = 0);
            }
        }
        // Of one that is too large, nothing more is looked at.
        place.offset = if part.len() > LARGEST_DOCUMENT { size } else { read_to };
        Packed::Whole
    }

    /// The file was cut off: what it holds now is new.
    pub(super) fn start_again(&mut self, out: &mut Batch) {
        let rest = std::mem::take(&mut self.live.rest);
        if !rest.is_empty() {
            out.unreadable.push(self.wrong("was cut off in the middle of a record".into(), rest));
        }
        if self.past.is_some() {
            let what = "was cut off before all that it held when it was first followed was read";
            out.unreadable.push(self.wrong(what.into(), Vec::new()));
        }
        self.file = None;
        self.begin_anew(out);
    }

    /// All that it holds is read from its beginning, and none of it is past.
    pub(super) fn begin_anew(&mut self, out: &mut Batch) {
        (self.live, self.past, self.before) = (Place::START, None, 0);
        (self.half, self.packed, self.head) = (0, false, no_head());
        self.cut += 1;
        out.files.push(self.live_position());
    }

    /// Says what of a file that is forgotten was never given out.
    pub(super) fn tell_unread(&mut self, out: &mut Batch) {
        let rest = std::mem::take(&mut self.live.rest);
        if !rest.is_empty() {
            out.unreadable.push(self.wrong("ended in the middle of a record".into(), rest));
        }
        if self.half > 0 && self.live.offset == 0 {
            out.unreadable.push(self.wrong("went away before it was whole".into(), Vec::new()));
        }
        if self.past.is_some() {
            let what = "went away before all that it held when it was first followed was read";
            out.unreadable.push(self.wrong(what.into(), Vec::new()));
        }
    }

    pub(super) fn wrong(&self, what: String, raw: Vec<u8>) -> Unreadable {
        wrong(&self.path, what, raw)
    }
}

/// Whether what was read is a packed file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Packed {
    No,
    Half,
    Whole,
}

fn give(event: Result<OwnedEvent, Unreadable>, (file, upto, backfill): (usize, u64, bool), out: &mut Batch) {
    match event {
        Ok(event) => out.lines.push(Line { event, backfill, file, upto }),
        Err(unreadable) => out.unreadable.push(unreadable),
    }
}

/// What is wrong with a file as a whole.
pub(super) fn wrong(path: &Path, what: String, raw: Vec<u8>) -> Unreadable {
    Unreadable { mistake: Mistake::error(path, Span::default(), what), raw }
}
