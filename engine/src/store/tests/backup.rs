//! Goal: what was acknowledged before a copy began is in the copy, whoever writes meanwhile; and what has the copy's
//! name is whole. Method: writers that go on all the while, one by hand that moves between the two looks, a database that
//! refuses, and everything that can be in the way.

use super::basics::append;
use super::bodies::{at, note, one_of_each};
use crate::store::{BackupError, DirVault, Journal, back_up, by_hand};
use quell_model::store::Vault;
use quell_model::{Batch, Body, Durability, Kind, NewRecord, Seq, StoreError};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

fn one(stream: &str, expected: Seq) -> Batch {
    let text = format!("{stream} {} {}", expected + 1, "x".repeat(usize::try_from(expected % 700).unwrap()));
    let records = vec![NewRecord::new(at(expected + 1), note(&text))];
    Batch { stream: stream.into(), expected, records, durability: Durability::Synced }
}

/// Ends the writers, also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Before a copy begins, who waits for no disk has written so many records, and who does some.
const AHEAD: u64 = 30;
/// And while it goes on, whoever waits for no disk writes so many at the most: the copy reads the slate first and takes its snapshot
/// at once after that, and then there is more to check, and nothing more to see.
const MEANWHILE: u64 = 600;

/// Opened as a daemon opens it.
fn whole(dir: &Path) -> Journal {
    let journal = Journal::open(dir).unwrap();
    assert_eq!(journal.health().recovery, Vec::<String>::new());
    assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
    journal
}

#[test]
fn what_was_acknowledged_before_it_began_is_in_the_copy_while_others_write() {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = Journal::open(dir.path()).unwrap();
    let (written, synced) = (AtomicU64::new(0), AtomicU64::new(0));
    for round in 0..6 {
        let done = AtomicBool::new(false);
        let (from_written, from_synced) = (written.load(Ordering::Acquire), synced.load(Ordering::Acquire));
        let to = copies.path().join(round.to_string());
        let (before, told) = std::thread::scope(|threads| {
            threads.spawn(|| {
                for seq in from_written..from_written + AHEAD + MEANWHILE {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    // Refused while its slate is full: then it waits for the medium.
                    let batch = one("run/written", seq);
                    if journal.written(batch.clone()).is_err() {
                        append(&journal, vec![batch]).unwrap();
                    }
                    written.store(seq + 1, Ordering::Release);
                }
            });
            threads.spawn(|| {
                for seq in from_synced.. {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    append(&journal, vec![one("run/synced", seq), one("incident/synced", seq)]).unwrap();
                    synced.store(seq + 1, Ordering::Release);
                }
            });
            let _ends = Ends(&done);
            while written.load(Ordering::Acquire) < from_written + AHEAD
                || synced.load(Ordering::Acquire) == from_synced
            {
                std::thread::yield_now();
            }
            let before = (written.load(Ordering::Acquire), synced.load(Ordering::Acquire));
            (before, back_up(dir.path(), &to).unwrap())
        });
        assert_eq!((told.streams, &told.findings), (3, &Vec::new()));
        let copy = whole(&to);
        let last = |stream: &str| copy.last(&stream.into());
        assert!(last("run/written") >= before.0 && last("run/synced") >= before.1, "{before:?}: {told:?}");
        assert_eq!(last("run/synced"), last("incident/synced"), "both or neither");
        assert_eq!(told.records, last("run/written") + 2 * last("run/synced"));
        let read = copy.read(&"run/written".into(), 1).unwrap();
        assert!((1..).zip(&read).all(|(seq, record)| record.body == one("run/written", seq - 1).records[0].body));
        // The copy goes on for itself.
        append(&copy, vec![one("run/written", read.len() as Seq)]).unwrap();
    }
    journal.close();
    whole(dir.path());
}

/// What the slate had when the copy began is in the database when its snapshot is taken, and its place is written over.
#[test]
fn what_leaves_the_slate_while_it_is_copied_is_in_the_copy() {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = Journal::open_by_hand(dir.path()).unwrap();
    let put = |journal: &Journal, text: &str| {
        let (stream, records) = (quell_model::StreamId::from("run/a"), vec![NewRecord::new(at(1), note(text))]);
        let expected = journal.last(&stream);
        journal.written(Batch { stream, expected, records, durability: Durability::Written }).unwrap();
    };
    (0..5).for_each(|_| put(&journal, "acknowledged"));
    let meanwhile = journal.clone();
    by_hand::between_looks(move || {
        for _ in 0..10 {
            meanwhile.work();
            put(&meanwhile, &"z".repeat(900 << 10));
        }
    });
    let told = back_up(dir.path(), &copies.path().join("copy")).unwrap();
    assert_eq!(told.findings, Vec::<String>::new());
    assert!(whole(&copies.path().join("copy")).last(&"run/a".into()) >= 5, "{told:?}");
}

#[test]
fn what_only_the_slate_has_is_copied() {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = Journal::open(dir.path()).unwrap();
    append(&journal, vec![one("run/a", 0)]).unwrap();
    let other = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    (1..40).for_each(|seq| drop(journal.written(one("run/a", seq)).unwrap()));
    // A plan that no half of the slate holds has a file beside it.
    let huge = NewRecord::new(at(41), note(&"y".repeat(5 << 20)));
    let batch = Batch { stream: "run/a".into(), expected: 40, records: vec![huge], durability: Durability::Written };
    journal.written(batch).unwrap();
    let told = back_up(dir.path(), &copies.path().join("beside")).unwrap();
    assert_eq!((told.streams, told.records, told.findings), (1, 41, Vec::new()));
    // The same when nobody runs any more.
    journal.close();
    other.execute_batch("ROLLBACK").unwrap();
    let before = fs::read(dir.path().join("journal.db")).unwrap();
    let told = back_up(dir.path(), &copies.path().join("after")).unwrap();
    assert_eq!(told.records, 41);
    assert!(fs::read(dir.path().join("journal.db")).unwrap() == before, "the original is only read");
    for name in ["beside", "after"] {
        assert_eq!(whole(&copies.path().join(name)).read(&"run/a".into(), 1).unwrap().len(), 41);
    }
    assert_eq!(whole(dir.path()).last(&"run/a".into()), 41);
}

/// A journal whose one run refers to one of two blobs.
async fn with_evidence(dir: &Path) -> (quell_model::BlobHash, quell_model::BlobHash) {
    let vault = DirVault::new(dir);
    let (named, unnamed) =
        (vault.put(b"memory".to_vec()).await.unwrap(), vault.put(b"nobody's".to_vec()).await.unwrap());
    let journal = Journal::open(dir).unwrap();
    let mut body = one_of_each().into_iter().find(|body| body.kind() == Kind::StepFinished).unwrap();
    if let Body::StepFinished(finished) = &mut body {
        finished.output = serde_json::json!({ "sha256": named.0 });
    }
    let records = vec![NewRecord::new(at(1), body)];
    let batch = Batch { stream: "run/a".into(), expected: 0, records, durability: Durability::Synced };
    append(&journal, vec![batch]).unwrap();
    journal.close();
    (named, unnamed)
}

#[tokio::test]
async fn evidence_that_records_name_goes_along_and_what_is_damaged_is_told() {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (named, unnamed) = with_evidence(dir.path()).await;
    let to = copies.path().join("good");
    let told = back_up(dir.path(), &to).unwrap();
    assert_eq!((told.blobs, &told.findings), (1, &Vec::new()));
    assert!(told.bytes > 4096);
    let copy = DirVault::new(&to);
    assert_eq!(copy.get(&named).await.unwrap(), b"memory");
    assert!(copy.get(&unnamed).await.is_err());
    for (path, mode) in [(to.clone(), 0o700), (to.join("journal.db"), 0o600), (copy.path(&named), 0o600)] {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
    }
    assert!(!to.join("journal.db-wal").exists(), "one file says it all");
    fs::write(DirVault::new(dir.path()).path(&named), "changed").unwrap();
    let told = back_up(dir.path(), &copies.path().join("poor")).unwrap();
    assert_eq!(told.blobs, 0);
    assert!(told.findings[0].contains("does not have the bytes"), "{:?}", told.findings);
}

#[test]
fn a_place_that_will_not_do_and_a_source_that_is_gone_leave_nothing() {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = Journal::open(dir.path()).unwrap();
    append(&journal, vec![one("run/a", 0)]).unwrap();
    journal.close();
    let place = |to: &Path| match back_up(dir.path(), to).unwrap_err() {
        BackupError::Place { why, .. } => why,
        other => panic!("{other:?}"),
    };
    fs::create_dir(copies.path().join("full")).unwrap();
    fs::write(copies.path().join("full/mine"), "x").unwrap();
    fs::write(copies.path().join("file"), "x").unwrap();
    assert!(place(&copies.path().join("full")).contains("not empty"));
    assert!(place(&copies.path().join("file")).contains("no directory"));
    assert!(place(&copies.path().join("missing/below")).contains("no directory above"));
    assert!(place(Path::new("/")).contains("no name"));
    let nothing = tempfile::tempdir().unwrap();
    for source in [nothing.path().to_owned(), nothing.path().join("gone")] {
        let error = back_up(&source, &copies.path().join("new")).unwrap_err();
        assert!(matches!(error, BackupError::Source { .. }), "{error:?}");
    }
    assert_eq!(fs::read_dir(nothing.path()).unwrap().count(), 0, "no database is made where there is none");
    let mut left: Vec<_> = fs::read_dir(copies.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["file", "full"]);
    // An empty directory is as good as none.
    fs::create_dir(copies.path().join("empty")).unwrap();
    assert_eq!(back_up(dir.path(), &copies.path().join("empty")).unwrap().records, 1);
    whole(&copies.path().join("empty"));
}

#[test]
fn what_a_killed_one_left_behind_goes_and_two_at_once_do_not_mix() {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = Journal::open(dir.path()).unwrap();
    append(&journal, vec![one("run/a", 0)]).unwrap();
    let partial = copies.path().join(".night.partial");
    let held = crate::store::lock::DirLock::take(&partial).unwrap();
    let error = back_up(dir.path(), &copies.path().join("night")).unwrap_err();
    assert!(matches!(&error, BackupError::Place { why, .. } if why.contains("another")), "{error:?}");
    drop(held);
    fs::write(partial.join("journal.db"), "half of a database").unwrap();
    fs::create_dir_all(partial.join("vault/ab")).unwrap();
    fs::write(partial.join("vault/ab/new-1-1"), "half of a blob").unwrap();
    assert_eq!(back_up(dir.path(), &copies.path().join("night")).unwrap().records, 1);
    assert!(!partial.exists());
    assert_eq!(fs::read_dir(copies.path().join("night/vault")).unwrap().count(), 0);
    whole(&copies.path().join("night"));
}

#[test]
fn damage_in_the_original_is_told_of_the_copy() {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = Journal::open(dir.path()).unwrap();
    append(&journal, vec![one("run/a", 0), one("run/a", 1)]).unwrap();
    journal.close();
    let hand = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
    hand.execute_batch("UPDATE records SET at_boot = 1 WHERE seq = 1").unwrap();
    drop(hand);
    let told = back_up(dir.path(), &copies.path().join("a")).unwrap();
    assert!(told.findings[0].contains("record 2 does not follow"), "{told:?}");
    fs::write(dir.path().join("journal.db"), "not a database at all").unwrap();
    let error = back_up(dir.path(), &copies.path().join("b")).unwrap_err();
    assert!(matches!(error, BackupError::Source { source: StoreError::Corrupt(_), .. }), "{error:?}");
}
