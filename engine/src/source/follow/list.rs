//! What is at and below a path.
//!
//! Owns the look at names; opens no file. Keeps true: a file is listed once, however many names lead to it, and what could not be
//! looked at is told apart from what is not there.

use super::tail::Identity;
use super::{DEPTH, FILES, LOOKED_AT};
use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a look at a source's path found.
#[derive(Default)]
pub(super) struct Listing {
    /// In the order of their names; of too many, those that changed last.
    pub(super) files: Vec<(PathBuf, Metadata)>,
    /// The others.
    pub(super) beyond: HashMap<Identity, (PathBuf, Metadata)>,
    /// There are more than are looked at.
    pub(super) is_cut: bool,
    /// Where nothing could be looked at, and why.
    pub(super) refused: Vec<(PathBuf, io::Error)>,
    /// The path itself: its device and inode, and whether it is a folder; none if it is not there.
    pub(super) root: Option<(u64, u64, bool)>,
}

impl Listing {
    /// Of more than are looked at, also those of `known_files` are that are where they were.
    pub(super) fn of(root: &Path, known_files: impl FnOnce() -> Vec<(Identity, PathBuf)>) -> Self {
        let mut listing = Self::default();
        let mut known = HashSet::new();
        match std::fs::metadata(root) {
            Ok(meta) => {
                listing.root = Some((meta.dev(), meta.ino(), meta.is_dir()));
                listing.add(root.to_owned(), meta, DEPTH, &mut known);
            }
            Err(error) => listing.refused.push((root.to_owned(), error)),
        }
        if listing.is_cut {
            listing.look_at(known_files(), &mut known);
        }
        if listing.files.len() > FILES {
            listing.files.sort_by_key(|(_, meta)| std::cmp::Reverse((meta.mtime(), meta.mtime_nsec())));
            let beyond = listing.files.split_off(FILES);
            listing.beyond = beyond.into_iter().map(|file| (Identity::of(&file.1), file)).collect();
            listing.files.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        listing
    }

    fn add(&mut self, path: PathBuf, meta: Metadata, depth: u32, known: &mut HashSet<Identity>) {
        if meta.is_file() {
            if self.files.len() == LOOKED_AT {
                self.is_cut = true;
            } else if known.insert(Identity::of(&meta)) {
                self.files.push((path, meta));
            }
        } else if meta.is_dir() && depth > 0 {
            let entries = std::fs::read_dir(&path).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
            let mut below: Vec<PathBuf> = match entries {
                Ok(entries) => entries.into_iter().map(|entry| entry.path()).collect(),
                Err(error) => return self.refuse(path, error),
            };
            below.sort();
            for path in below {
                match std::fs::metadata(&path) {
                    Ok(meta) => self.add(path, meta, depth - 1, known),
                    Err(error) => self.refuse(path, error),
                }
            }
        }
    }

    /// A device may have another number since.
    fn look_at(&mut self, known_files: Vec<(Identity, PathBuf)>, known: &mut HashSet<Identity>) {
        for (was, path) in known_files {
            if known.contains(&was) {
                continue;
            }
            let Ok(meta) = std::fs::metadata(&path) else { continue };
            let is = Identity::of(&meta);
            if meta.is_file() && (is.inode, is.born) == (was.inode, was.born) && known.insert(is) {
                self.files.push((path, meta));
            }
        }
    }

    /// What went away below the path since its name was read is not there; all else may be.
    fn refuse(&mut self, path: PathBuf, error: io::Error) {
        if error.kind() != io::ErrorKind::NotFound {
            self.refused.push((path, error));
        }
    }

    /// Whether a file of this path may be there, though it was not found.
    pub(super) fn may_hide(&self, path: &Path) -> bool {
        self.refused.iter().any(|(refused, _)| path.starts_with(refused))
    }
}
