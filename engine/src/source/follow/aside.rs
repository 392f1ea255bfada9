//! Files of a folder that has too many: those that changed last are followed, and the others are set aside.
//!
//! Owns what is known of those. Keeps true: one that comes to be among the latest is read on from where it was, over a start too; a
//! file that is not read to its end is not set aside; where a bound makes something be forgotten, or left unread, that is said.

use super::batch::Batch;
use super::list::Listing;
use super::tail::{Identity, Place, Tail, modified, wrong};
use super::{Begin, FILES, Follower, LOOKED_AT};
use quell_model::record::source::FilePosition;
use std::collections::HashSet;
use std::fs::Metadata;
use std::path::{Path, PathBuf};

/// The most files that are set aside and stay known: those that changed last. Each has its line in the journal.
pub(super) const ASIDE: usize = if cfg!(test) { 20 } else { 10_000 };

impl Follower {
    /// At the beginning those that are set aside count as read to where they end.
    pub(super) fn begin_aside(&mut self, listing: &Listing) {
        let mut beyond: Vec<(&Identity, &(PathBuf, Metadata))> = listing.beyond.iter().collect();
        beyond.sort_by_key(|(_, (_, meta))| std::cmp::Reverse(modified(meta)));
        for (at, (identity, (path, meta))) in beyond.into_iter().enumerate() {
            if at < ASIDE {
                let mut tail = Tail::new(path.clone(), meta, 0, true);
                tail.split(meta.len(), Begin::End);
                self.aside.insert(*identity, tail.position());
            } else {
                self.beyond.insert(*identity, meta.len());
                self.forgets = true;
            }
        }
    }

    /// After a start, in a folder in which more may have been read than stays known: that of which nothing is known, and which is no
    /// younger than what is known, counts as read; if it was written to since, it is read whole, and that is said. What came since is new.
    pub(super) fn begin_again_aside(&mut self, known: &[FilePosition], listing: &Listing, batch: &mut Batch) {
        self.bound_aside(batch);
        // What was copied there may be of an older day than its file.
        let dates = known.iter().map(|one| one.born.map_or(one.modified, |born| born.max(one.modified)));
        let Some(latest) = dates.max().filter(|_| known.len() >= FILES) else { return };
        let is_older = |identity: &Identity| identity.born.is_none_or(|born| born < latest);
        let here = listing.files.iter().map(|(_, meta)| Identity::of(meta));
        let mut doubtful = here.filter(|identity| !self.tails.contains_key(identity) && is_older(identity)).count();
        for (identity, (path, meta)) in &listing.beyond {
            if self.tails.contains_key(identity) || self.aside.contains_key(identity) {
                continue;
            }
            if is_older(identity) && modified(meta) <= latest {
                self.beyond.insert(*identity, meta.len());
            } else {
                doubtful += usize::from(is_older(identity));
                // It keeps its place till it is read.
                self.tails.insert(*identity, Tail::new(path.clone(), meta, 0, false));
            }
        }
        if doubtful > 0 {
            let what = format!(
                "holds more files than stay known ({}): {doubtful} that were written to meanwhile may have been read before, and are \
                 read whole, as what is new",
                FILES + ASIDE
            );
            batch.said.push(wrong(&self.path, what, Vec::new()).mistake);
        }
    }

    /// Files that did not change for long give up their place to others; how far they were read stays known.
    pub(super) fn set_aside(&mut self, listing: &Listing, batch: &mut Batch) {
        if listing.beyond.is_empty() && self.beyond.is_empty() && self.aside.is_empty() {
            return;
        }
        let mut surplus = Vec::new();
        for (identity, (path, meta)) in &listing.beyond {
            match self.tails.get(identity) {
                Some(tail) if tail.past.is_none() && !tail.has_more(meta.len()) => {
                    let position = tail.position();
                    self.tails.remove(identity);
                    batch.files.push(of_live(&position, false));
                    self.aside.insert(*identity, position);
                }
                Some(_) => {}
                None if self.aside.contains_key(identity) || self.beyond.contains_key(identity) => {}
                None => {
                    self.beyond.insert(*identity, 0);
                    if meta.len() > 0 {
                        surplus.push(path);
                    }
                }
            }
        }
        if let Some(first) = surplus.iter().min() {
            let what = format!(
                "holds more than {FILES} files, and what came now is not read until it is written to again: {} files, of which the first is `{}`",
                surplus.len(),
                first.display()
            );
            batch.said.push(wrong(&self.path, what, Vec::new()).mistake);
        }
        if listing.refused.is_empty() && !self.is_elsewhere(listing) {
            let here: HashSet<Identity> = listing.files.iter().map(|(_, meta)| Identity::of(meta)).collect();
            let is_there = |identity: &Identity| listing.beyond.contains_key(identity) || here.contains(identity);
            // Of more than are looked at it is not known which of these are there still.
            if !listing.is_cut || self.beyond.len() > LOOKED_AT {
                self.beyond.retain(|identity, _| is_there(identity));
            }
            self.aside.retain(|identity, position| {
                let stays = is_there(identity);
                if !stays {
                    batch.files.push(of_live(position, true));
                }
                stays
            });
        }
        self.bound_aside(batch);
    }

    /// Of those that are too many to stay known only their length is kept, and not over a start.
    fn bound_aside(&mut self, batch: &mut Batch) {
        let Some(over) = self.aside.len().checked_sub(ASIDE).filter(|over| *over > 0) else { return };
        let mut oldest: Vec<Identity> = self.aside.keys().copied().collect();
        oldest.sort_by_key(|identity| self.aside.get(identity).map(|one| one.modified));
        for identity in oldest.into_iter().take(over) {
            if let Some(position) = self.aside.remove(&identity) {
                self.beyond.insert(identity, position.offset);
                batch.files.push(of_live(&position, true));
            }
        }
        self.forgets = true;
    }

    /// Says once of each bound that it is reached.
    pub(super) fn tell_too_many(&mut self, listing: &Listing, batch: &mut Batch) {
        let reached = [
            (!listing.beyond.is_empty(), FILES, "only those that changed last are followed"),
            (
                self.forgets,
                FILES + ASIDE,
                "how far those were read that were not written to for longest is not known after a restart",
            ),
            (listing.is_cut, LOOKED_AT, "those whose names come last are not looked at"),
        ];
        for (said, (is_reached, most, what)) in self.said.iter_mut().zip(reached) {
            if is_reached && !std::mem::replace(said, true) {
                let what = format!("holds more than {most} files: {what}");
                batch.said.push(wrong(&self.path, what, Vec::new()).mistake);
            }
        }
    }

    /// The file again that is one of the latest now.
    pub(super) fn come_back(&mut self, path: &Path, meta: &Metadata, open: bool) -> Tail {
        let identity = Identity::of(meta);
        if let Some(known) = self.aside.remove(&identity) {
            return Tail::known(path, meta, &known, open);
        }
        let mut tail = Tail::new(path.to_owned(), meta, self.look, open);
        if let Some(offset) = self.beyond.remove(&identity).filter(|offset| *offset > 0) {
            tail.live = Place::at(offset);
        }
        tail
    }

    /// Bytes of those that are set aside and were not read.
    pub(super) fn unread_aside(&self, listing: &Listing) -> u64 {
        let known = |identity| {
            let tail = self.tails.get(identity).map(|tail| tail.live.offset - tail.past_left());
            let aside = self.aside.get(identity).map(|position| position.offset);
            tail.or(aside).or_else(|| self.beyond.get(identity).copied()).unwrap_or(0)
        };
        listing.beyond.iter().map(|(identity, (_, meta))| meta.len().saturating_sub(known(identity))).sum()
    }
}

/// What is told of it: of its past nothing, the last of which may still be on its way.
fn of_live(position: &FilePosition, gone: bool) -> FilePosition {
    FilePosition { past: (position.before > 0).then_some(0), gone, ..position.clone() }
}
