//! What cannot be right is named, and left as it is.

use super::basics::{append, notes};
use crate::store::Journal;
use quell_model::{Durability, StoreError};
use std::path::Path;

fn filled(dir: &Path) {
    let journal = Journal::open(dir).unwrap();
    append(&journal, vec![notes("run/a", 0, 5, Durability::Synced), notes("run/b", 0, 5, Durability::Synced)]).unwrap();
    journal.close();
}

fn corrupt(dir: &Path) -> String {
    match Journal::open(dir) {
        Err(StoreError::Corrupt(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_that_is_no_database_is_not_touched() {
    for content in [&b"not a database at all"[..], &[0; 8192], &b"SQLite format 3\0"[..]] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        std::fs::write(&path, content).unwrap();
        assert!(corrupt(dir.path()).contains("journal.db"));
        assert_eq!(std::fs::read(&path).unwrap(), content);
    }
}

#[test]
fn another_program_s_database_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("PRAGMA application_id = 7; CREATE TABLE theirs (x)").unwrap();
    drop(other);
    let before = std::fs::read(&path).unwrap();
    assert!(corrupt(dir.path()).contains("another program"));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_database_that_went_missing_is_not_made_anew_beside_its_slate() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    std::fs::rename(dir.path().join("journal.db"), dir.path().join("elsewhere")).unwrap();
    assert!(corrupt(dir.path()).contains("gone"));
    assert!(!dir.path().join("journal.db").exists());
    // Nor does whoever only looks take it for a place where there never was one.
    let looked = Journal::open_read_only(dir.path());
    assert!(matches!(&looked, Err(StoreError::Corrupt(why)) if why.contains("its slate")), "{looked:?}");
    std::fs::rename(dir.path().join("elsewhere"), dir.path().join("journal.db")).unwrap();
    Journal::open(dir.path()).unwrap();
}

#[test]
fn a_page_of_garbage_is_an_error_and_no_silence() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    append(&journal, vec![notes("run/a", 0, 5000, Durability::Synced)]).unwrap();
    journal.close();
    let path = dir.path().join("journal.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0xa5);
    std::fs::write(&path, &bytes).unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    match journal.read(&"run/a".into(), 1) {
        Err(StoreError::Corrupt(_)) => {}
        other => panic!("{:?}", other.map(|records| records.len())),
    }
}

#[test]
fn what_was_changed_by_hand_is_found() {
    let cases = [
        ("UPDATE records SET body = replace(body, 'run/a 3', 'run/a 7') WHERE stream = 1 AND seq = 3", "record 4"),
        (
            "UPDATE records SET body = replace(body, 'run/a 5', 'run/a 7') WHERE stream = 1 AND seq = 5",
            "its last record",
        ),
        ("UPDATE records SET at_boot = 1 WHERE stream = 1 AND seq = 1", "record 2"),
        ("DELETE FROM records WHERE stream = 1 AND seq = 2", "record 3 comes after record 1"),
        ("DELETE FROM records WHERE stream = 1 AND seq = 5", "ends with record 4"),
        ("DELETE FROM records WHERE stream = 1", "has no records"),
        ("UPDATE records SET kind = 'Nonsense' WHERE stream = 1 AND seq = 5", "kind `Nonsense` is not known"),
        ("UPDATE records SET body = '{}' WHERE stream = 1 AND seq = 5", "record 5"),
        ("UPDATE records SET before = 0 WHERE stream = 1 AND seq = 3", "points to another record"),
        ("DELETE FROM streams WHERE id = 2", "belongs to no stream"),
    ];
    for (change, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        let hand = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
        hand.execute_batch(change).unwrap();
        drop(hand);
        let findings = Journal::open(dir.path()).unwrap().verify().unwrap();
        assert!(findings.iter().any(|finding| finding.contains(expected)), "{change}: {findings:?}");
    }
}

/// A kill between the commit of a large record and the removal of its file leaves the file: the next start takes it away.
#[test]
fn what_the_journal_has_taken_does_not_stay_beside_the_slate() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let (taken, later) = (dir.path().join("slate-1"), dir.path().join("slate-99999"));
    for file in [&taken, &later] {
        std::fs::write(file, "a large record").unwrap();
    }
    Journal::open(dir.path()).unwrap().close();
    assert!(!taken.exists() && later.exists(), "what is not in the journal may be the only place of it");
}
