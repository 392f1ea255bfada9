//! A file, or a folder of files, that others append to.
//!
//! Owns how far each file was read. A file is known by device, inode and birth, not by its name: a log that was rotated
//! is read to its end under its new name and not again. What was there before the first look counts as read; what
//! appears later is read from its beginning. A line that is not finished waits for its end.

use crate::adapt::{Format, GZIP, LARGEST_DOCUMENT, Unreadable, read, read_part};
use flate2::bufread::MultiGzDecoder;
use quell_model::{Mistake, OwnedEvent, Span, Stamp};
use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How much is read at a time; the rest waits for the next.
const MOST: u64 = 4 * 1024 * 1024;
/// The most files of a folder that are followed.
const FILES: usize = 10_000;
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
    lines: u32,
    rest: Vec<u8>,
    grew: u64,
    /// Said once.
    refused: bool,
}

impl Follower {
    /// Follows from now on.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, format: Option<Format>) -> Self {
        let mut follower = Self { path: path.into(), format, tails: HashMap::new(), look: 0 };
        for (path, meta) in follower.present() {
            let mut tail = Tail::new(path, 0);
            tail.offset = meta.len();
            tail.lines = tail.count_lines();
            follower.tails.insert(Identity::of(&meta), tail);
        }
        follower
    }

    /// What was added since the last look: at most 4 MiB of it, the rest the next time. The events' boot clock is
    /// reckoned from their wall clock, so that their age can be told.
    pub fn poll(&mut self, now: Stamp) -> Vec<Result<OwnedEvent, Unreadable>> {
        self.look += 1;
        let mut read = Vec::new();
        let mut left = MOST;
        let present = self.present();
        let here: Vec<Identity> = present.iter().map(|(_, meta)| Identity::of(meta)).collect();
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
        for ((path, meta), identity) in present.into_iter().zip(here) {
            if left == 0 {
                break;
            }
            let look = self.look;
            let tail = self.tails.entry(identity).or_insert_with(|| Tail::new(path.clone(), look));
            tail.path = path;
            if meta.len() < tail.offset {
                tail.start_again(&mut read);
            }
            if meta.len() > tail.offset {
                tail.grew = look;
                tail.read(self.format, meta.len(), &mut left, &mut read);
            }
        }
        self.close_idle();
        for event in read.iter_mut().flatten() {
            let ago = now.wall.duration_since(event.head.at.wall).as_nanos();
            event.head.at.boot_ns = u64::try_from(i128::from(now.boot_ns) - ago).unwrap_or(0);
            event.head.seen = now;
        }
        read
    }

    fn present(&self) -> Vec<(PathBuf, Metadata)> {
        let mut files = Vec::new();
        list(&self.path, DEPTH, &mut files);
        files
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

/// The files at and below a path, in the order of their names.
fn list(path: &Path, depth: u32, files: &mut Vec<(PathBuf, Metadata)>) {
    let Ok(meta) = std::fs::metadata(path) else { return };
    if meta.is_file() && files.len() < FILES {
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
    fn new(path: PathBuf, grew: u64) -> Self {
        let file = File::open(&path).ok();
        Self { path, file, offset: 0, lines: 0, rest: Vec::new(), grew, refused: false }
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
            return self.packed(format, part, left, out);
        }
        let got = (part.len() - before) as u64;
        self.offset += got;
        *left -= got.min(*left);
        let part = read_part(format, &self.path, &part, self.lines);
        self.rest = part.rest;
        self.lines = part.lines;
        out.extend(part.read);
    }

    /// A gzip file says something only as a whole: until it is whole, it is looked at again each time that it grew.
    fn packed(
        &mut self,
        format: Option<Format>,
        mut part: Vec<u8>,
        left: &mut u64,
        out: &mut Vec<Result<OwnedEvent, Unreadable>>,
    ) {
        if self.bytes(part.len() as u64, LARGEST_DOCUMENT as u64, &mut part).is_err() {
            return;
        }
        *left = left.saturating_sub(part.len() as u64);
        let mut whole = Vec::new();
        let unpacked = MultiGzDecoder::new(part.as_slice()).take(LARGEST_DOCUMENT as u64 + 1).read_to_end(&mut whole);
        match unpacked {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return,
            Err(error) => self.wrong(format!("cannot be unpacked: {error}"), Vec::new(), out),
            Ok(_) if whole.len() > LARGEST_DOCUMENT => {
                self.wrong("unpacks to more than 64 MiB".into(), Vec::new(), out)
            }
            Ok(_) => out.extend(read(format, &self.path, whole.as_slice())),
        }
        self.offset = part.len() as u64;
    }

    /// The file was cut off: what it holds now is new.
    fn start_again(&mut self, out: &mut Vec<Result<OwnedEvent, Unreadable>>) {
        let rest = std::mem::take(&mut self.rest);
        if !rest.is_empty() {
            self.wrong("was cut off in the middle of a record".into(), rest, out);
        }
        (self.offset, self.lines, self.file) = (0, 0, None);
    }

    fn wrong(&self, what: String, raw: Vec<u8>, out: &mut Vec<Result<OwnedEvent, Unreadable>>) {
        let mistake = Mistake::error(&self.path, Span::default(), what);
        out.push(Err(Unreadable { mistake, raw }));
    }
}

#[cfg(test)]
mod tests {
    use super::Follower;
    use quell_model::{Event, Stamp};
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::path::Path;

    fn now() -> Stamp {
        Stamp { wall: "2026-03-01T10:00:10Z".parse().unwrap(), boot_ns: 60_000_000_000 }
    }

    fn append(path: &Path, text: &str) {
        OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn line(n: u32) -> String {
        format!("{{\"Image\":\"/bin/sh\",\"n\":{n},\"time\":\"2026-03-01T10:00:00Z\"}}\n")
    }

    /// The numbers of the events that a look brought, and the places of what could not be read.
    fn look(follower: &mut Follower) -> (Vec<String>, Vec<String>) {
        let (mut events, mut wrong) = (Vec::new(), Vec::new());
        for read in follower.poll(now()) {
            match read {
                Ok(event) => events.push(event.sigma("n").unwrap().to_json().to_string()),
                Err(unreadable) => {
                    let place = unreadable.mistake.place();
                    wrong.push(place.rsplit('/').next().unwrap().to_owned());
                }
            }
        }
        (events, wrong)
    }

    fn events(follower: &mut Follower) -> Vec<String> {
        let (events, wrong) = look(follower);
        assert!(wrong.is_empty(), "{wrong:?}");
        events
    }

    #[test]
    fn what_is_appended_is_read_once_and_half_a_line_waits() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        append(&log, &line(0));
        let mut follower = Follower::new(&log, None);
        assert!(events(&mut follower).is_empty(), "what was there counts as read");
        append(&log, &line(1));
        let (half, rest) = (line(2)[..20].to_owned(), line(2)[20..].to_owned());
        append(&log, &half);
        assert_eq!(events(&mut follower), ["1"]);
        assert!(events(&mut follower).is_empty());
        append(&log, &rest);
        assert_eq!(events(&mut follower), ["2"]);
        append(&log, "nonsense\n");
        assert_eq!(look(&mut follower).1, ["log:4"], "places are those of the whole file");
    }

    #[test]
    fn a_rotated_log_is_read_to_its_end_and_not_again() {
        for whole_folder in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let log = dir.path().join("log");
            append(&log, &line(0));
            let mut follower = Follower::new(if whole_folder { dir.path() } else { &log }, None);
            append(&log, &line(1));
            fs::rename(&log, dir.path().join("log.1")).unwrap();
            append(&log, &line(2));
            let mut read = events(&mut follower);
            read.sort();
            assert_eq!(read, ["1", "2"]);
            assert!(events(&mut follower).is_empty());
        }
    }

    #[test]
    fn a_file_cut_off_begins_again_and_a_new_one_is_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        append(&log, &[line(0), line(1)].concat());
        let mut follower = Follower::new(dir.path(), None);
        fs::write(&log, line(2)).unwrap();
        assert_eq!(events(&mut follower), ["2"]);
        // A CloudTrail file has one line, and no end of line.
        fs::create_dir(dir.path().join("day")).unwrap();
        append(&dir.path().join("day/new.json"), line(3).trim_end());
        assert_eq!(events(&mut follower), ["3"]);
        assert!(events(&mut follower).is_empty());
    }

    #[test]
    fn a_packed_file_is_read_once_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut follower = Follower::new(dir.path(), None);
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all([line(1), line(2)].concat().as_bytes()).unwrap();
        let packed = packer.finish().unwrap();
        let path = dir.path().join("trail.json.gz");
        fs::write(&path, &packed[..packed.len() / 2]).unwrap();
        assert!(events(&mut follower).is_empty());
        OpenOptions::new().append(true).open(&path).unwrap().write_all(&packed[packed.len() / 2..]).unwrap();
        assert_eq!(events(&mut follower), ["1", "2"]);
        assert!(events(&mut follower).is_empty());
    }

    #[test]
    fn ages_can_be_told_on_the_boot_clock() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut follower = Follower::new(&log, None);
        append(&log, &line(1));
        let event = follower.poll(now()).remove(0).unwrap();
        assert_eq!(event.head.at.boot_ns, 50_000_000_000);
        assert_eq!(event.head.seen, now());
    }
}
