//! A file, or a folder of files, that others append to.
//!
//! Owns how far each file was read. A file is known by device, inode and birth, not by its name: a log that was rotated
//! is read to its end under its new name and not again. Where it goes on after a start, the journal says. What was there before
//! the source was first followed is a backfill, and is given out apart: what is written now never waits for it. What appears later is
//! read from its beginning. What is away for a moment (a folder that is not mounted, or cannot be read) is not gone. A line that
//! is not finished waits for its end.

mod aside;
mod away;
mod batch;
mod known;
mod list;
mod tail;

pub use batch::{Batch, Line};

use crate::adapt::Format;
use list::Listing;
use quell_model::record::source::FilePosition;
use quell_model::{EventHead, Stamp};
use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use tail::{Identity, Tail, modified};

/// How much is read at a time; the rest waits for the next.
const MOST: u64 = 4 * 1024 * 1024;
/// How much of a backfill: little, since the next look waits for it.
const PIECE: u64 = 256 * 1024;
/// The most files of a folder that are followed: those that changed last.
const FILES: usize = if cfg!(test) { 300 } else { 10_000 };
/// The most files that are looked at for that.
const LOOKED_AT: usize = if cfg!(test) { 400 } else { 200_000 };
/// How deep folders may nest (CloudTrail's: account, region, year, month, day).
const DEPTH: u32 = 12;
/// The most files that are held open, so that a rotated one is read to its end.
const OPEN: usize = 64;
/// So many looks a file that was rotated away is still read, since who writes to it takes a while to change over: half a minute.
const GRACE: u64 = 150;
/// So many looks a past that could not be read on waits before it is tried again: ten seconds.
const RETRY: u64 = 50;

/// Where a source begins that was never followed before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Begin {
    /// With what it holds: a backfill, about which nothing is done.
    #[default]
    Start,
    /// With what is appended from now on.
    End,
}

impl Begin {
    /// All, with their words.
    pub(crate) const WORDS: [(&'static str, Self); 2] = [("start", Self::Start), ("end", Self::End)];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::End => "end",
        }
    }
}

/// Follows one configured path.
pub struct Follower {
    path: PathBuf,
    format: Option<Format>,
    /// Paths that other sources follow.
    others: Vec<PathBuf>,
    tails: HashMap<Identity, Tail>,
    /// How far those were read, or how long they were at first, that are not among the most that are followed.
    aside: HashMap<Identity, FilePosition>,
    /// And of those that are too many for that, by their length alone.
    beyond: HashMap<Identity, u64>,
    /// How it begins; none: its path was there.
    begin: Option<Begin>,
    /// Known files that cannot be looked for, since where they were is away.
    away: Vec<FilePosition>,
    /// The path when it held files last: device and inode.
    root: Option<(u64, u64)>,
    is_folder: bool,
    /// What cannot be looked at, and that was said.
    refused: HashSet<PathBuf>,
    /// Counts the looks: the files that grew last are held open.
    look: u64,
    /// There are too many for all of them to stay known.
    forgets: bool,
    /// What was said of there being too many.
    said: [bool; 3],
    /// Bytes that the last look found and did not come to.
    unread: u64,
}

impl Follower {
    /// Follows for the first time. A folder that is not there yet begins so when it is.
    #[must_use]
    pub fn first(path: impl Into<PathBuf>, format: Option<Format>, begin: Begin) -> Self {
        let mut follower = Self { begin: Some(begin), ..Self::of(path.into(), format) };
        let listing = Listing::of(&follower.path, Vec::new);
        if listing.root.is_some() && !listing.may_hide(&follower.path) {
            follower.begin(&listing, begin);
        }
        follower
    }

    fn begin(&mut self, listing: &Listing, begin: Begin) {
        self.seen(listing);
        // An empty one may be where another is yet to be mounted.
        self.begin = Some(begin).filter(|_| self.is_folder && listing.files.is_empty());
        self.begin_aside(listing);
        let mut present = listing.files.clone();
        present.sort_by_key(|(_, meta)| std::cmp::Reverse(modified(meta)));
        for (at, (path, meta)) in present.into_iter().enumerate() {
            let mut tail = Tail::new(path, &meta, 0, true);
            tail.split(meta.len(), begin);
            if at >= OPEN {
                tail.file = None;
            }
            self.tails.insert(tail.identity, tail);
        }
    }

    /// Whether its path was there since it is followed: till then nothing is known of it.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begin.is_none()
    }

    /// Goes on where it was read to; gives what of that is not there any more. What `others` follow is none of its rotated files.
    #[must_use]
    pub fn again(
        path: impl Into<PathBuf>,
        format: Option<Format>,
        known: Vec<FilePosition>,
        others: Vec<PathBuf>,
    ) -> (Self, Batch) {
        let mut follower = Self { others, ..Self::of(path.into(), format) };
        let is_below = |path: &Path| path != follower.path && path.starts_with(&follower.path);
        follower.is_folder = known.iter().any(|one| is_below(Path::new(&one.path)));
        follower.away = known;
        let listing = Listing::of(&follower.path, || follower.known_files());
        let is_known = |device| follower.away.iter().any(|one| one.device == device);
        follower.root = listing.root.filter(|(device, ..)| is_known(*device)).map(|(device, inode, _)| (device, inode));
        follower.seen(&listing);
        let mut batch = Batch::default();
        follower.find_again(&listing, &mut batch);
        // All that is known is told at once.
        (batch.files, batch.found) = (Vec::new(), Vec::new());
        (follower, batch)
    }

    fn of(path: PathBuf, format: Option<Format>) -> Self {
        Self {
            path,
            format,
            others: Vec::new(),
            tails: HashMap::new(),
            aside: HashMap::new(),
            beyond: HashMap::new(),
            begin: None,
            away: Vec::new(),
            root: None,
            is_folder: false,
            refused: HashSet::new(),
            look: 0,
            forgets: false,
            said: [false; 3],
            unread: 0,
        }
    }

    /// How far all of its files were read.
    #[must_use]
    pub fn positions(&self) -> Vec<FilePosition> {
        let tails = self.tails.values().map(Tail::position);
        tails.chain(self.aside.values().cloned()).chain(self.away.iter().cloned()).collect()
    }

    /// Bytes that the last look found and did not come to.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.unread
    }

    /// How many files are set aside until they are written to: there are more than are followed.
    #[must_use]
    pub fn aside(&self) -> u64 {
        (self.aside.len() + self.beyond.len()) as u64
    }

    /// What was added since the last look: at most 4 MiB of it, the rest the next time. The events' boot clock is
    /// reckoned from their wall clock, so that their age can be told.
    pub fn poll(&mut self, now: Stamp) -> Batch {
        self.look += 1;
        let mut batch = Batch::default();
        let mut left = MOST;
        let listing = Listing::of(&self.path, || self.known_files());
        self.tell_refused(&listing, &mut batch);
        batch.ground = self.begin_late(&listing);
        self.find_again(&listing, &mut batch);
        // What is gone from here was rotated away or removed: its end comes before what follows it.
        for identity in known::gone(&self.tails, &listing) {
            self.read_gone(identity, &listing, &mut left, &mut batch);
        }
        self.seen(&listing);
        self.set_aside(&listing, &mut batch);
        self.tell_too_many(&listing, &mut batch);
        let (look, mut opened) = (self.look, 0);
        let there: u64 = listing.files.iter().map(|(_, meta)| meta.len()).sum();
        // What was not read to its end keeps its place till it is.
        let kept = listing.beyond.iter().filter(|(identity, _)| self.tails.contains_key(identity));
        let kept: Vec<&(PathBuf, Metadata)> = kept.map(|(_, file)| file).collect();
        for (path, meta) in listing.files.iter().chain(kept) {
            if left == 0 {
                break;
            }
            let identity = Identity::of(meta);
            let (is_new, told) = (!self.tails.contains_key(&identity), batch.files.len());
            if is_new {
                opened += 1;
                let tail = self.come_back(path, meta, opened <= OPEN);
                self.tails.insert(identity, tail);
            }
            let Some(tail) = self.tails.get_mut(&identity) else { continue };
            (tail.gone, tail.modified) = (None, modified(meta));
            if tail.path != *path {
                tail.path.clone_from(path);
            }
            if meta.len() < tail.live.offset {
                tail.start_again(&mut batch);
            } else if meta.len() > tail.live.offset && tail.packed {
                tail.begin_anew(&mut batch);
            }
            if meta.len() > tail.live.offset && meta.len() != tail.half {
                tail.grew = look;
                let was_open = tail.file.is_some();
                tail.read(self.format, meta.len(), &mut left, &mut batch);
                opened += usize::from(!was_open);
                if !was_open && opened > OPEN {
                    tail.file = None;
                }
            }
            // Also of an empty one: it may be rotated away while nobody looks.
            if is_new && batch.files.len() == told {
                batch.files.push(tail.live_position());
            }
        }
        let read = |tail: &Tail| tail.live.offset - tail.past_left();
        let followed = self.tails.iter().filter(|(one, tail)| tail.gone.is_none() && !listing.beyond.contains_key(one));
        let read: u64 = followed.map(|(_, tail)| read(tail)).sum();
        self.unread = there.saturating_sub(read) + self.unread_aside(&listing);
        self.close_idle();
        dated(batch, now)
    }

    /// A piece of what was there before the source was first followed, of the file that is oldest; empty: there is none now.
    pub fn backfill(&mut self, now: Stamp) -> Batch {
        let mut batch = Batch::default();
        let (look, format) = (self.look, self.format);
        while batch.is_empty()
            && let Some(tail) = self.oldest_past()
        {
            let was_open = tail.file.is_some();
            // Where it cannot be read on the others need not wait for this one.
            tail.stalled = (!tail.read_back(format, PIECE, &mut batch)).then_some(look);
            // It goes on with the next piece; once it is read, others need its place more.
            if !was_open && (tail.past.is_none() || tail.stalled == Some(look)) {
                tail.file = None;
            }
        }
        dated(batch, now)
    }

    fn oldest_past(&mut self) -> Option<&mut Tail> {
        let look = self.look;
        let tails = self.tails.values_mut().filter(|tail| has_past(tail, look));
        tails.min_by(|one, other| (one.modified, &one.path).cmp(&(other.modified, &other.path)))
    }

    /// Whether a further piece of a backfill can be had before the next look.
    #[must_use]
    pub fn has_backfill(&self) -> bool {
        self.tails.values().any(|tail| has_past(tail, self.look))
    }

    /// Reads on a file that has no name here any more.
    fn read_gone(&mut self, identity: Identity, listing: &Listing, left: &mut u64, batch: &mut Batch) {
        let Some(mut tail) = self.tails.remove(&identity) else { return };
        let since = *tail.gone.get_or_insert(self.look);
        let mut is_there = true;
        if tail.file.is_none() {
            // Its former name may be another file's by now. Among more than are looked at it is not sought.
            let found = (!listing.is_cut).then(|| known::found_again(&tail.path, identity)).flatten();
            match found {
                Some(path) => tail.path = path,
                None => is_there = false,
            }
        }
        if is_there && let Some(size) = tail.length() {
            if size > tail.live.offset && tail.packed {
                tail.begin_anew(batch);
            }
            let offset = tail.live.offset;
            if size > offset && size != tail.half {
                tail.read(self.format, size, left, batch);
            }
            if tail.live.offset > offset {
                tail.grew = self.look;
            }
        }
        let past_goes_on = tail.past.is_some() && tail.stalled.is_none();
        let waits = *left == 0 || past_goes_on || self.look - since.max(tail.grew) < GRACE;
        let is_hidden = self.may_hide(listing, &tail.path);
        if is_hidden {
            tail.gone = None;
        }
        if is_hidden || is_there && waits {
            self.tails.insert(identity, tail);
            return;
        }
        tail.tell_unread(batch);
        batch.files.push(tail.gone_position());
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

/// Whether a piece of its past can be had at this look.
fn has_past(tail: &Tail, look: u64) -> bool {
    tail.past.is_some() && tail.stalled.is_none_or(|stalled| look - stalled >= RETRY)
}

/// By the clocks of now: a foreign record knows only the wall.
fn dated(mut batch: Batch, now: Stamp) -> Batch {
    batch.lines.iter_mut().for_each(|line| by_our_clocks(&mut line.event.head, now));
    batch
}

/// Dates an event that came from elsewhere and is seen now: its boot clock is reckoned from its wall clock, so that its age can
/// be told.
pub fn by_our_clocks(head: &mut EventHead, now: Stamp) {
    let ago = now.wall.duration_since(head.at.wall).as_nanos();
    head.at.boot_ns = u64::try_from(i128::from(now.boot_ns) - ago).unwrap_or(0);
    head.seen = now;
}

#[cfg(test)]
mod tests;
