//! Going on where an earlier quell has stopped: which of the files that are there now are those that it had read.
//!
//! Owns that question. A file is known by its inode, whatever it is called by now, if it begins as it did and is not shorter than
//! what was read of it; a copy of it (`copytruncate`) by how it begins. Keeps true: what cannot be found again is told, and what
//! was not there before is read from its beginning.

use super::list::Listing;
use super::tail::{Identity, Tail, head_of, modified, wrong};
use super::{Follower, OPEN};
use crate::adapt::Unreadable;
use quell_model::record::source::FilePosition;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A copy is known by no fewer bytes: an empty file begins like any other.
const LEAST_HEAD: u64 = 32;
/// So many digits has a date.
const DATE: usize = 8;

impl Follower {
    /// Takes up the files that were followed; gives what could not be found again.
    pub(super) fn take_up(&mut self, known: Vec<FilePosition>, listing: &Listing) -> Vec<Unreadable> {
        let by_inode: HashMap<u64, &(PathBuf, Metadata)> =
            listing.beyond.values().chain(&listing.files).map(|file| (inode(&file.1), file)).collect();
        let is_one_file = !self.is_folder;
        let last = known.iter().map(|one| one.modified).max();
        let (mut lost, mut missing) = (Vec::new(), Vec::new());
        // To look through a folder of very many files for each that is missing would take hours.
        let rotated = |path: &str| if listing.is_cut { Vec::new() } else { rotated(Path::new(path)) };
        for one in known {
            let here = by_inode.get(&one.inode).map(|file| (*file).clone());
            let beside = || rotated(&one.path).into_iter().find(|(_, meta)| inode(meta) == one.inode);
            match here.or_else(beside).filter(|(path, meta)| is_same(path, meta, &one)) {
                // What is not read to its end keeps its place, whatever else has changed since.
                Some((path, meta))
                    if one.past.is_none()
                        && meta.len() <= one.offset
                        && listing.beyond.contains_key(&Identity::of(&meta)) =>
                {
                    self.aside.insert(Identity::of(&meta), Tail::known(&path, &meta, &one, false).position());
                }
                Some((path, meta)) => self.go_on(&path, &meta, &one),
                None => missing.push(one),
            }
        }
        for one in missing {
            let copies = rotated(&one.path).into_iter();
            let copy = copies
                .filter(|(_, meta)| !self.tails.contains_key(&Identity::of(meta)))
                .find(|(path, meta)| one.head.bytes >= LEAST_HEAD && begins_so(path, meta, &one));
            match copy {
                Some((path, meta)) => self.go_on(&path, &meta, &one),
                // Of a folder files may well be removed once they were read.
                None if is_one_file => lost.push(wrong(
                    Path::new(&one.path),
                    format!(
                        "was cut off, or rotated to where it is not found, while nobody followed it: what came after byte {} \
                         is not read",
                        one.offset
                    ),
                    Vec::new(),
                )),
                None => {}
            }
        }
        if is_one_file {
            self.rotated_twice(last);
        }
        lost
    }

    /// Where files are that are to be found in their places, but for those that are known by their length alone.
    pub(super) fn known_files(&self) -> Vec<(Identity, PathBuf)> {
        let positions = self.aside.values().chain(&self.away);
        let positions = positions.map(|one| (Identity::known(one), PathBuf::from(&one.path)));
        self.tails.values().map(|tail| (tail.identity, tail.path.clone())).chain(positions).collect()
    }

    fn go_on(&mut self, path: &Path, meta: &Metadata, known: &FilePosition) {
        let tail = Tail::known(path, meta, known, self.tails.len() < OPEN);
        self.tails.insert(tail.identity, tail);
    }

    /// Between the file that was read last and the one that bears the name now, others may have come and been rotated away.
    fn rotated_twice(&mut self, last: Option<jiff::Timestamp>) {
        for (path, meta) in rotated(&self.path.clone()) {
            let identity = Identity::of(&meta);
            if path != self.path
                && !self.others.contains(&path)
                && last.is_some_and(|last| modified(&meta) > last)
                && !self.tails.contains_key(&identity)
            {
                self.tails.insert(identity, Tail::new(path, &meta, 0, true));
            }
        }
    }
}

fn inode(meta: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(meta)
}

/// Whether the file of this inode is the one that was read. A device may have another number after a boot.
fn is_same(path: &Path, meta: &Metadata, known: &FilePosition) -> bool {
    let identity = Identity::of(meta);
    let same_place = identity.device == known.device || known.head.bytes >= LEAST_HEAD;
    identity.born == known.born && same_place && begins_so(path, meta, known)
}

/// Whether a file holds what was read, as far as its beginning tells.
fn begins_so(path: &Path, meta: &Metadata, known: &FilePosition) -> bool {
    meta.len() >= known.offset.max(known.head.bytes)
        && File::open(path)
            .and_then(|mut file| head_of(&mut file, known.head.bytes))
            .is_ok_and(|head| head == known.head)
}

/// The files beside this one that bear its name, or its name with a number or a date: `log`, `log.1`, `log-20260301`; of `audit.log` also
/// `audit-2026-03-01T10-00-00.000.log`, as a Kubernetes API server names them (natefinch/lumberjack, `backupName`). No `log1`, nor `log-1`:
/// they may be others' names.
pub(super) fn rotated(path: &Path) -> Vec<(PathBuf, Metadata)> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let named = entries.flatten().filter(|entry| is_of(&entry.file_name(), name));
    let files = named.filter_map(|entry| Some((entry.path(), std::fs::metadata(entry.path()).ok()?)));
    let mut found: Vec<(PathBuf, Metadata)> = files.filter(|(_, meta)| meta.is_file()).collect();
    found.sort_by_key(|(_, meta)| modified(meta));
    found
}

fn is_of(name: &OsStr, of: &OsStr) -> bool {
    let (name, of) = (name.as_bytes(), of.as_bytes());
    let Some(rest) = name.strip_prefix(of) else { return is_before_the_ending(name, of) };
    let Some((separator, number)) = rest.split_first() else { return true };
    is_number(number) && (*separator == b'.' || (b"-_".contains(separator) && digits(number) >= DATE))
}

/// Whether a date stands before the ending.
fn is_before_the_ending(name: &[u8], of: &[u8]) -> bool {
    let Some(dot) = of.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0) else { return false };
    let (stem, ending) = of.split_at(dot);
    let between = name.strip_prefix(stem).and_then(|rest| rest.strip_suffix(ending));
    let date = between.and_then(|between| between.strip_prefix(b"-"));
    date.is_some_and(|date| is_number(date) && digits(date) >= DATE)
}

fn digits(text: &[u8]) -> usize {
    text.iter().filter(|byte| byte.is_ascii_digit()).count()
}

fn is_number(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_digit)
        && text.iter().all(|byte| byte.is_ascii_digit() || b".-_T:".contains(byte))
}

/// Where the files of these identities are by now, of those that were at this path.
pub(super) fn found_again(path: &Path, identity: Identity) -> Option<PathBuf> {
    rotated(path).into_iter().find(|(_, meta)| Identity::of(meta) == identity).map(|(path, _)| path)
}

/// What of these is not among the files that are there.
pub(super) fn gone(tails: &HashMap<Identity, Tail>, listing: &Listing) -> Vec<Identity> {
    let here: HashSet<Identity> = listing.files.iter().map(|(_, meta)| Identity::of(meta)).collect();
    let is_gone = |known: &&Identity| !here.contains(known) && !listing.beyond.contains_key(known);
    tails.keys().filter(is_gone).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotated_file_is_known_by_its_name_with_a_number_or_a_date() {
        for (name, of, is) in [
            ("log", "log", true),
            ("log.1", "log", true),
            ("log-20260301", "log", true),
            ("audit.log.1", "audit.log", true),
            ("audit.log-20260301", "audit.log", true),
            ("audit-2026-03-01T10-00-00.000.log", "audit.log", true),
            ("audit-2026-03-01T10-00-00.000", "audit", true),
            ("log1", "log", false),
            ("log-1", "log", false),
            ("audit-1.log", "audit.log", false),
            ("audit-other.log", "audit.log", false),
            ("audit2026-03-01T10-00-00.000.log", "audit.log", false),
            ("audit-2026-03-01T10-00-00.000.log.gz", "audit.log", false),
            ("other-20260301.log", "audit.log", false),
            ("x-20260301.log", ".log", false),
        ] {
            assert_eq!(is_of(OsStr::new(name), OsStr::new(of)), is, "{name} of {of}");
        }
    }
}
