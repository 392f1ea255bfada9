//! Evidence that records name, against what the vault has.
//!
//! Owns the look for it. Never changes anything, and reads no blob into memory. Keeps true: what a record that is there names and the
//! vault lacks is told with its run and its step, and so is what has other bytes than its sum; what was pruned, also while the look
//! goes on, is not missed.

use super::contents;
use super::item::body_of;
use super::journal::Journal;
use super::read::{self, Readers};
use super::rows::Row;
use super::vault::DirVault;
use quell_model::record::stored::STORED;
use quell_model::record::{StepFinished, Stored};
use quell_model::{BlobHash, Body, Evidence, Kind, Seq, StoreError, StreamId};
use rusqlite::Connection;
use serde::Serialize;
use std::collections::BTreeMap;

/// What is known of the vault.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Kept {
    /// Blobs that have the bytes of their sum.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What does not hold, for people.
    pub findings: Vec<String>,
}

/// Where a sum is named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mention {
    pub(super) stream: StreamId,
    seq: Seq,
    step: String,
    name: String,
    /// So many records name it as well.
    others: u64,
}

/// `` `run/r-1`, record 7: the evidence `exe` of step `proof` ``
impl std::fmt::Display for Mention {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { stream, seq, step, name, others } = self;
        write!(f, "`{stream}`, record {seq}: the evidence `{name}` of step `{step}`")?;
        if *others > 0 { write!(f, " (and of {others} more)") } else { Ok(()) }
    }
}

/// Every sum that must be there, with where it is named first.
#[derive(Debug, Default)]
pub(super) struct Named(BTreeMap<BlobHash, Mention>);

impl Named {
    /// By what is in the database, and then by what is not yet.
    pub(super) fn of(readers: &Readers, held: &[Row]) -> Result<Self, StoreError> {
        readers.with(|db| {
            let mut named = Self::default();
            read::each(db, &mut |row| {
                named.take_in(db, row);
                Ok(())
            })?;
            held.iter().for_each(|row| named.take_in(db, row));
            Ok(named)
        })
    }

    fn take_in(&mut self, db: &Connection, row: &Row) {
        let may = match row.kind {
            // Most name nothing, and need not be understood.
            Kind::StepFinished => [Evidence::KEY, STORED].iter().any(|word| row.body.contains(word)),
            Kind::StreamPruned => true,
            _ => false,
        };
        match may.then(|| body_of(row.kind, &row.body)) {
            Some(Ok(Body::StepFinished(finished))) => self.finished(db, row, &finished),
            // No record named them then.
            Some(Ok(Body::StreamPruned(pruned))) => pruned.blobs.iter().for_each(|blob| drop(self.0.remove(blob))),
            // What cannot be read is told by the check of the records.
            _ => {}
        }
    }

    fn finished(&mut self, db: &Connection, row: &Row, finished: &StepFinished) {
        // Here as well: it is told there.
        let find = |stored: Stored| contents::look(db, row, &stored.hash);
        let list = match Stored::of(&finished.output) {
            Some(stored) => find(stored).and_then(|mut output| Some(output.get_mut(Evidence::KEY)?.take())),
            None => finished.output.get(Evidence::KEY).and_then(|list| match Stored::of(list) {
                Some(stored) => find(stored),
                None => Some(list.clone()),
            }),
        };
        for piece in list.iter().flat_map(Evidence::of) {
            let mention = || Mention {
                stream: row.stream.clone(),
                seq: row.seq,
                step: finished.part.to_string(),
                name: piece.name,
                others: 0,
            };
            self.0.entry(piece.sha256).and_modify(|mention| mention.others += 1).or_insert_with(mention);
        }
    }

    /// What is wrong with a blob, with where it is named; it is not told again.
    pub(super) fn told_of(&mut self, hash: &BlobHash, why: &str) -> String {
        self.0.remove(hash).map_or_else(|| why.to_owned(), |place| format!("{place} cannot be used: {why}"))
    }

    /// What a vault lacks of it.
    pub(super) fn missing(self, vault: &DirVault) -> Vec<(BlobHash, Mention)> {
        self.0.into_iter().filter(|(hash, _)| vault.lacks(hash)).collect()
    }
}

/// What a vault says is wrong, without a word of the journal.
pub(super) fn words(error: StoreError) -> String {
    match error {
        StoreError::Corrupt(why) | StoreError::Unwritable(why) => why,
        other => other.to_string(),
    }
}

impl Journal {
    /// Looks whether the vault has what records name, and whether everything in it has the bytes of its sum. Reads everything.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn evidence(&self, vault: &DirVault) -> Result<Kept, StoreError> {
        let named = || {
            self.wait_visible(None);
            let held = self.0.shelf.of(None);
            Named::of(&self.0.readers, &held)
        };
        let (mut before, mut kept) = (named()?, Kept::default());
        let all = vault.all().map_err(|error| kept.findings.push(words(error))).unwrap_or_default();
        for blob in all {
            match vault.examine(&blob.hash) {
                Ok(None) => {}
                Ok(Some(bytes)) => (kept.blobs, kept.bytes) = (kept.blobs + 1, kept.bytes + bytes),
                Err(why) => kept.findings.push(before.told_of(&blob.hash, &why)),
            }
        }
        let mut missing = before.missing(vault);
        if !missing.is_empty() {
            // Records go before their blobs: what no record names any more was pruned while this looked.
            let later = named()?;
            missing.retain(|(hash, _)| later.0.contains_key(hash) && vault.lacks(hash));
        }
        kept.findings.extend(missing.iter().map(|(hash, place)| format!("{place} is not in the vault: {}", hash.0)));
        Ok(kept)
    }
}
