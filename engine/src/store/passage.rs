//! A reader's place in the journal: who follows runs to their ends, and goes on after a restart where it had come to.
//!
//! Owns `passages/NAME` below the data directory: the journal's id and the number of the last row that was dealt with. Reads the
//! database beside its writer, a bounded part at a time. Keeps true: a place only moves forward, is written whole or not at all,
//! and a place of another journal is not gone on from.

use super::Journal;
use super::read::Part;
use quell_model::{Kind, Seq, StoreError, StreamId};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Rows that one look goes over: some milliseconds.
const ROWS: i64 = 10_000;
/// Ends that one look gives.
const ENDS: usize = 32;

/// A run came to an end, or to a further one: what was done has been taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The run's stream.
    pub stream: StreamId,
    /// The record that says so.
    pub seq: Seq,
    /// Its row: the place of who has dealt with it.
    pub row: i64,
}

/// What a look found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// In their order.
    pub ends: Vec<End>,
    /// The row up to which it looked.
    pub upto: i64,
    /// Rows beyond that.
    pub behind: u64,
}

/// A place.
#[derive(Debug)]
pub struct Passage {
    path: PathBuf,
    journal: String,
    at: i64,
}

impl Journal {
    /// The ends of runs after a row, as the database has them.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn ends(&self, after: i64) -> Result<Ends, StoreError> {
        self.0.readers.with(|db| {
            let last = last_row(db)?;
            let upto = last.min(after.saturating_add(ROWS));
            let part = Part { after, upto, kind: Some(Kind::RunFinished), most: ENDS };
            let found = part.read(db, "id, seq", |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
            let ends: Vec<End> = found.into_iter().map(|(stream, (row, seq))| End { stream, seq, row }).collect();
            let is_full = ends.len() == ENDS;
            let upto = ends.last().filter(|_| is_full).map_or(upto, |end| end.row).max(after);
            let behind = (last - upto).max(0).cast_unsigned();
            Ok(Ends { ends, upto, behind })
        })
    }
}

fn last_row(db: &rusqlite::Connection) -> Result<i64, rusqlite::Error> {
    db.query_row("SELECT coalesce((SELECT max(id) FROM records), 0)", [], |row| row.get(0))
}

impl Passage {
    /// The place of this name. One that is new begins at the end of the journal, and so does one that fits no longer, which is
    /// said: what was skipped.
    ///
    /// # Errors
    /// When the database cannot be asked, or the place not be written.
    pub fn open(journal: &Journal, dir: &Path, name: &str) -> Result<(Self, Option<String>), StoreError> {
        let path = dir.join("passages").join(name);
        let told = |error: io::Error| StoreError::Unwritable(format!("`{}`: {error}", path.display()));
        let (id, last) = journal.0.readers.with(|db| {
            let id = db.query_row("SELECT hex(id) FROM journal", [], |row| row.get::<_, String>(0))?;
            Ok((id, last_row(db)?))
        })?;
        let kept = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(told(error)),
        };
        let read = kept.as_deref().map(|text| place(text, &id, last));
        let (at, skipped) = match read {
            None => (last, None),
            Some(Ok(at)) => (at, None),
            Some(Err(why)) => (last, Some(format!("{why}: what is in the journal now is skipped, up to row {last}"))),
        };
        std::fs::create_dir_all(dir.join("passages")).map_err(told)?;
        let mut passage = Self { path: path.clone(), journal: id, at };
        passage.write().map_err(told)?;
        Ok((passage, skipped))
    }

    /// The last row that was dealt with.
    #[must_use]
    pub fn at(&self) -> i64 {
        self.at
    }

    /// Everything up to this row was dealt with.
    ///
    /// # Errors
    /// When it cannot be written: then it holds for this process, and a restart does some of it again.
    pub fn move_to(&mut self, row: i64) -> io::Result<()> {
        if row <= self.at {
            return Ok(());
        }
        self.at = row;
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = std::fs::File::create(&new)?;
        writeln!(file, "{} {}", self.journal, self.at)?;
        // After a power cut an older place, or none that can be read, does some of it again or skips it, and says so.
        std::fs::rename(&new, &self.path)
    }
}

/// The row that a text names, or why it is no place in this journal.
fn place(text: &str, journal: &str, last: i64) -> Result<i64, String> {
    let (id, row) = text.trim_end().split_once(' ').ok_or("the place that was kept cannot be read")?;
    let row: i64 = row.parse().map_err(|_| "the place that was kept cannot be read".to_owned())?;
    if id != journal {
        return Err("the place that was kept is of another journal".to_owned());
    }
    if row > last || row < 0 {
        return Err(format!(
            "the place that was kept is row {row}, and the journal ends at {last}: an older one was put back"
        ));
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_model::record::{NewRecord, NoteAdded, RunFinished, RunState};
    use quell_model::{Batch, Durability, Json, Stamp};

    fn at() -> Stamp {
        Stamp { wall: jiff::Timestamp::UNIX_EPOCH, boot_ns: 1 }
    }

    fn write(journal: &Journal, stream: &str, expected: Seq, ends: bool) {
        let record = if ends {
            let finished = RunFinished { state: RunState::Succeeded, outputs: Json::Null, summary: String::new() };
            NewRecord::new(at(), finished)
        } else {
            NewRecord::new(at(), NoteAdded { by: "ana".into(), text: "x".to_owned() })
        };
        let batch = Batch { stream: stream.into(), expected, records: vec![record], durability: Durability::Written };
        journal.written(batch).unwrap();
        journal.streams().unwrap();
        journal.wait_visible(None);
    }

    fn ends(journal: &Journal, after: i64) -> Vec<(String, Seq)> {
        let found = journal.ends(after).unwrap();
        found.ends.into_iter().map(|end| (end.stream.to_string(), end.seq)).collect()
    }

    #[test]
    fn a_reader_goes_on_after_a_restart_where_it_had_come_to() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        write(&journal, "run/r-1", 0, true);
        let (passage, skipped) = Passage::open(&journal, dir.path(), "x").unwrap();
        assert_eq!((passage.at(), skipped), (1, None), "what was there before is not told");
        write(&journal, "run/r-2", 0, false);
        write(&journal, "run/r-2", 1, true);
        assert_eq!(ends(&journal, passage.at()), [("run/r-2".to_owned(), 2)]);
        drop(passage);
        let (mut passage, skipped) = Passage::open(&journal, dir.path(), "x").unwrap();
        assert_eq!((passage.at(), skipped), (1, None), "it was not dealt with");
        let found = journal.ends(passage.at()).unwrap();
        assert_eq!((found.upto, found.behind), (3, 0));
        passage.move_to(found.upto).unwrap();
        passage.move_to(2).unwrap();
        assert_eq!(Passage::open(&journal, dir.path(), "x").unwrap().0.at(), 3);
        assert_eq!(ends(&journal, 3), []);
    }

    #[test]
    fn many_ends_come_in_parts_and_none_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        for run in 0..100 {
            write(&journal, &format!("run/r-{run}"), 0, true);
        }
        let (mut after, mut all) = (0, 0);
        loop {
            let found = journal.ends(after).unwrap();
            assert!(found.ends.len() <= 32);
            all += found.ends.len();
            after = found.upto;
            if found.behind == 0 {
                break;
            }
        }
        assert_eq!((all, after), (100, 100));
    }

    #[test]
    fn a_place_that_fits_no_longer_begins_at_the_end_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        write(&journal, "run/r-1", 0, true);
        drop(Passage::open(&journal, dir.path(), "x").unwrap());
        let file = dir.path().join("passages/x");
        let text = std::fs::read_to_string(&file).unwrap();
        let id = text.split(' ').next().unwrap();
        for (kept, why) in
            [(format!("{id} 900\n"), "put back"), ("00 1\n".to_owned(), "another"), (String::new(), "read")]
        {
            std::fs::write(&file, kept).unwrap();
            let (passage, skipped) = Passage::open(&journal, dir.path(), "x").unwrap();
            assert!(passage.at() == 1 && skipped.as_ref().is_some_and(|said| said.contains(why)), "{skipped:?}");
        }
    }
}
