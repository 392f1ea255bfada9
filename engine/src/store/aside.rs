//! What was brought to quell and could not be read, kept as it came: `aside/NAME.jsonl` in the data directory.
//!
//! Owns these files, one a source. Nothing is decided by them: they are for a person who wants to know what it was. Keeps true: each
//! source has two files of at most [`MOST`] bytes; where a third would begin the oldest goes.

use quell_model::Name;
use serde::Serialize;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file is begun anew past so many bytes: some thousands of records.
const MOST: u64 = 4 << 20;
/// No record is kept longer, in bytes.
const LONGEST: usize = 256 << 10;

/// One record that could not be read.
#[derive(Serialize, Debug)]
pub struct PutAside {
    /// When it came.
    pub at: jiff::Timestamp,
    /// Where it stood in what was brought.
    pub place: String,
    /// Why it could not be read.
    pub why: String,
    /// The record, as far as it is text.
    pub raw: String,
}

impl PutAside {
    /// The record itself is cut where it is far too long.
    #[must_use]
    pub fn new(at: jiff::Timestamp, place: String, why: String, raw: &[u8]) -> Self {
        let raw = String::from_utf8_lossy(&raw[..raw.len().min(LONGEST)]).into_owned();
        Self { at, place, why, raw }
    }
}

/// The files of one source.
#[derive(Clone, Debug)]
pub struct Aside {
    path: PathBuf,
}

impl Aside {
    /// Of a source whose name is `kind:NAME`, in a data directory.
    #[must_use]
    pub fn of(data_dir: &Path, source: &Name) -> Self {
        let file = source.as_str().replace([':', '/'], "-");
        Self { path: data_dir.join("aside").join(format!("{file}.jsonl")) }
    }

    /// Where they are, for whoever is told of them.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds records. Blocks. One at a time: nobody else may write there meanwhile.
    ///
    /// # Errors
    /// The disk's own.
    pub fn put(&self, records: &[PutAside]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        if let Some(folder) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut file = self.open()?;
        for record in records {
            if file.metadata()?.len() > MOST {
                std::fs::rename(&self.path, self.path.with_extension("jsonl.1"))?;
                file = self.open()?;
            }
            let mut line = serde_json::to_vec(record)?;
            line.push(b'\n');
            file.write_all(&line)?;
        }
        Ok(())
    }

    fn open(&self) -> io::Result<std::fs::File> {
        OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_aside_is_there_and_does_not_grow_without_an_end() {
        let dir = tempfile::tempdir().unwrap();
        let aside = Aside::of(dir.path(), &"webhook:cluster".into());
        let at = jiff::Timestamp::UNIX_EPOCH;
        let record = |raw: &[u8]| PutAside::new(at, "record 3".to_owned(), "is no record".to_owned(), raw);
        aside.put(&[]).unwrap();
        assert!(!aside.path().exists(), "nothing is made of nothing");
        aside.put(&[record(b"{\"a\":1}"), record(b"\xff")]).unwrap();
        let text = std::fs::read_to_string(dir.path().join("aside/webhook-cluster.jsonl")).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            (lines.len(), lines[0]["raw"].as_str(), lines[0]["place"].as_str()),
            (2, Some("{\"a\":1}"), Some("record 3"))
        );
        for _ in 0..60 {
            aside.put(&[record(&[b'x'; LONGEST * 2])]).unwrap();
        }
        let sizes: Vec<u64> = std::fs::read_dir(dir.path().join("aside"))
            .unwrap()
            .map(|file| file.unwrap().metadata().unwrap().len())
            .collect();
        let most = MOST + LONGEST as u64 + 1024;
        assert!(sizes.len() == 2 && sizes.iter().all(|size| *size <= most), "{sizes:?}");
    }
}
