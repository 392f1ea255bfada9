//! What of a source cannot be seen now, and is not gone: its folder is not mounted or cannot be read.
//!
//! Owns what is known of such files. Keeps true: what comes back is read on from where it was, and never whole as if it were new,
//! also where its device has another number by then.

use super::Follower;
use super::batch::Batch;
use super::list::Listing;
use super::tail::{Identity, wrong};
use quell_model::record::source::FilePosition;
use std::collections::HashSet;
use std::io;
use std::path::Path;

impl Follower {
    /// Whether a file of this path may be there, though it was not found. A single file that has no name now was rotated away.
    pub(super) fn may_hide(&self, listing: &Listing, path: &Path) -> bool {
        self.is_elsewhere(listing) || (self.is_folder || !is_missing(listing)) && listing.may_hide(path)
    }

    /// Whether the folder is another one than before, and holds nothing: what is under a mount point.
    pub(super) fn is_elsewhere(&self, listing: &Listing) -> bool {
        let here = listing.root.map(|(device, inode, _)| (device, inode));
        self.is_folder && listing.files.is_empty() && here.is_some() && here != self.root
    }

    /// What is not there yet begins once it is: a file or an empty folder with all that comes, a folder with what it holds by then. Gives
    /// what it begins with.
    pub(super) fn begin_late(&mut self, listing: &Listing) -> Option<Vec<FilePosition>> {
        let begin = self.begin?;
        let (device, inode, is_folder) = listing.root?;
        if listing.may_hide(&self.path) || (is_folder && listing.files.is_empty() && !self.is_elsewhere(listing)) {
            return None;
        }
        if is_folder && self.root != Some((device, inode)) {
            self.begin(listing, begin);
        } else {
            self.begin = None;
        }
        self.begin.is_none().then(|| self.positions())
    }

    /// The path held files, or nothing is known of any.
    pub(super) fn seen(&mut self, listing: &Listing) {
        let Some((device, inode, is_folder)) = listing.root else { return };
        self.is_folder = is_folder;
        if !listing.files.is_empty() || !self.knows_any() {
            self.root = Some((device, inode));
        }
    }

    fn knows_any(&self) -> bool {
        !(self.tails.is_empty() && self.aside.is_empty() && self.away.is_empty())
    }

    /// Goes on with those that were away and are not any more.
    pub(super) fn find_again(&mut self, listing: &Listing, batch: &mut Batch) {
        if self.away.is_empty() {
            return;
        }
        let here = listing.files.iter().map(|(_, meta)| Identity::of(meta)).chain(listing.beyond.keys().copied());
        let inodes: HashSet<u64> = here.map(|identity| identity.inode).collect();
        let is_hidden =
            |one: &FilePosition| !inodes.contains(&one.inode) && self.may_hide(listing, Path::new(&one.path));
        let (hidden, due): (Vec<_>, Vec<_>) = self.away.iter().cloned().partition(is_hidden);
        self.away = hidden;
        if due.is_empty() {
            return;
        }
        let told: HashSet<Identity> =
            self.tails.keys().chain(self.aside.keys()).copied().chain(due.iter().map(Identity::known)).collect();
        let is_first = self.tails.is_empty() && self.aside.is_empty();
        batch.unreadable.extend(self.take_up(due.clone(), listing));
        if is_first {
            self.begin_again_aside(&due, listing, batch);
        }
        // Under the number that they have now nobody knows of them yet.
        let tails = self.tails.iter().filter(|(identity, _)| !told.contains(identity));
        batch.found.extend(tails.map(|(_, tail)| tail.position()));
        let aside = self.aside.iter().filter(|(identity, _)| !told.contains(identity));
        batch.found.extend(aside.map(|(_, position)| position.clone()));
        for one in due {
            let identity = Identity::known(&one);
            if !self.tails.contains_key(&identity) && !self.aside.contains_key(&identity) {
                batch.found.push(FilePosition { gone: true, past: None, ..one });
            }
        }
    }

    /// Says once where nothing can be looked at.
    pub(super) fn tell_refused(&mut self, listing: &Listing, batch: &mut Batch) {
        let stays = "what was read of it stays known";
        let (mut now, mut fresh) = (HashSet::new(), Vec::new());
        for (path, error) in &listing.refused {
            if is_missing(listing) && (!self.is_folder || self.begin.is_some()) {
                continue;
            }
            if !self.refused.contains(path) {
                fresh.push((path, error));
            }
            now.insert(path.clone());
        }
        if let Some((path, error)) = fresh.first() {
            let others = match fresh.len() - 1 {
                0 => String::new(),
                others => format!(", nor can {others} other parts of `{}`", self.path.display()),
            };
            let what = format!("cannot be looked at: {error}{others}; {stays}");
            batch.said.push(wrong(path, what, Vec::new()).mistake);
        }
        if self.is_elsewhere(listing) && self.knows_any() {
            if !self.refused.contains(&self.path) {
                let what = format!("is another folder than before, and empty: {stays}");
                batch.said.push(wrong(&self.path, what, Vec::new()).mistake);
            }
            now.insert(self.path.clone());
        }
        self.refused = now;
    }
}

/// Whether nothing is at the path itself.
fn is_missing(listing: &Listing) -> bool {
    listing.root.is_none() && listing.refused.iter().all(|(_, error)| error.kind() == io::ErrorKind::NotFound)
}
