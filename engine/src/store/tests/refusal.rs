//! A database that refuses: a full disk, a lock that somebody else holds. What needs only the slate goes on.

use super::basics::{append, notes};
use crate::clock::Countdown;
use crate::store::Journal;
use quell_model::{Durability, Seq, StoreError};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Countdown::of(Duration::from_secs(30));
    while !holds() {
        assert!(!patience.left().is_zero(), "it did not come to this: {what}");
        std::thread::yield_now();
    }
}

/// Holds the database as another program could.
fn lock(dir: &Path) -> rusqlite::Connection {
    let other = rusqlite::Connection::open(dir.join("journal.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

fn length(journal: &Journal, stream: &str) -> Seq {
    journal.read(&stream.into(), 1).unwrap().len() as Seq
}

#[test]
fn a_locked_database_stops_only_those_who_need_it() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    append(&journal, vec![notes("run/a", 0, 1, Durability::Synced)]).unwrap();
    let other = lock(dir.path());
    journal.written(notes("run/a", 1, 1, Durability::Written)).unwrap();
    let held = append(&journal, vec![notes("run/a", 2, 1, Durability::Synced)]);
    assert!(matches!(held, Err(StoreError::Held(_))), "{held:?}");
    let again = append(&journal, vec![notes("run/b", 0, 1, Durability::Synced)]);
    assert!(matches!(again, Err(StoreError::Held(_))), "{again:?}");
    journal.written(notes("run/a", 3, 1, Durability::Written)).unwrap();
    let health = journal.health();
    assert_eq!((health.waiting, health.in_memory_only), (4, 0));
    assert!(health.trouble.unwrap().contains("another process"));
    // Readers see what the database does not have yet.
    assert_eq!((length(&journal, "run/a"), length(&journal, "run/b")), (4, 1));
    assert_eq!(journal.open_streams().unwrap(), ["run/a".into(), "run/b".into()]);
    let shown = journal.read(&"run/a".into(), 1).unwrap();
    other.execute_batch("ROLLBACK").unwrap();
    wait_until("the records are written", || {
        let health = journal.health();
        health.waiting == 0 && health.trouble.is_none()
    });
    assert_eq!(journal.read(&"run/a".into(), 1).unwrap(), shown, "what was shown is what was written");
    append(&journal, vec![notes("run/a", 4, 1, Durability::Synced)]).unwrap();
    assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
}

/// The writer's thread stands still, as it does in a sync that does not come back.
#[test]
fn a_disk_that_hangs_is_told_while_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let (let_go, held) = mpsc::sync_channel::<()>(1);
    let done = Box::new(move |_| assert!(held.recv().is_err()));
    journal.submit(vec![notes("run/a", 0, 1, Durability::Synced)], done);
    journal.written(notes("run/b", 0, 1, Durability::Written)).unwrap();
    wait_until("it is told", || journal.health().trouble.is_some_and(|why| why.contains("hangs")));
    assert!(!journal.figures().takes, "who looks at the figures alone sees it too");
    drop(let_go);
    wait_until("the records are written, and nothing hangs", || {
        let health = journal.health();
        health.waiting == 0 && health.trouble.is_none() && journal.figures().takes
    });
}

#[test]
fn what_could_not_be_written_before_the_end_is_found_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    append(&journal, vec![notes("run/a", 0, 1, Durability::Synced)]).unwrap();
    let other = lock(dir.path());
    journal.written(notes("run/a", 1, 2, Durability::Written)).unwrap();
    let held = append(&journal, vec![notes("run/b", 0, 2, Durability::Synced)]);
    assert!(matches!(held, Err(StoreError::Held(_))), "{held:?}");
    journal.close();
    let reader = Journal::open_read_only(dir.path()).unwrap();
    assert_eq!((length(&reader, "run/a"), length(&reader, "run/b")), (3, 2), "a reader sees the slate");
    let again = Journal::open(dir.path()).expect("also while it is still locked");
    again.written(notes("run/a", 3, 1, Durability::Written)).unwrap();
    assert_eq!((length(&again, "run/a"), length(&again, "run/b")), (4, 2));
    again.close();
    drop(other);
    let again = Journal::open(dir.path()).unwrap();
    assert_eq!((length(&again, "run/a"), length(&again, "run/b")), (4, 2));
    assert_eq!(again.health().waiting, 0);
    assert_eq!(again.verify().unwrap(), Vec::<String>::new());
}

#[test]
fn a_slate_that_is_full_refuses_and_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let other = lock(dir.path());
    let big = |expected| {
        let mut batch = notes("run/a", expected, 1, Durability::Written);
        batch.records[0].body = super::bodies::note(&"x".repeat(700_000)).into();
        batch
    };
    let mut taken = 0;
    let refused = loop {
        match journal.written(big(taken)) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::Unwritable(_)), "{refused}");
    assert!(taken >= 8, "two halves of the slate were used: {taken}");
    // Who can wait still comes in, in memory; who cannot is not let past it in the same stream.
    let held = append(&journal, vec![big(taken)]);
    assert!(matches!(held, Err(StoreError::Held(_))), "{held:?}");
    assert_eq!(journal.health().in_memory_only, 1);
    let small = journal.written(notes("run/a", taken + 1, 1, Durability::Written));
    assert!(matches!(small, Err(StoreError::Unwritable(_))), "{small:?}");
    other.execute_batch("ROLLBACK").unwrap();
    wait_until("the records are written", || journal.health().waiting == 0);
    journal.written(notes("run/a", taken + 1, 1, Durability::Written)).unwrap();
    assert_eq!(length(&journal, "run/a"), taken + 2);
    assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
}

#[test]
fn memory_has_a_bound_too() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let other = lock(dir.path());
    let mut refused = None;
    for n in 0..20 {
        let mut batch = notes("run/a", n, 1, Durability::Written);
        batch.records[0].body = super::bodies::note(&"x".repeat(8 << 20)).into();
        match append(&journal, vec![batch]) {
            Err(StoreError::Held(_)) => {}
            other => {
                refused = Some((n, other));
                break;
            }
        }
    }
    let (n, answer) = refused.unwrap();
    assert!(n >= 4 && matches!(answer, Err(StoreError::Unwritable(_))), "after {n}: {answer:?}");
    let huge = {
        let mut batch = notes("run/b", 0, 1, Durability::Written);
        batch.records[0].body = super::bodies::note(&"x".repeat(17 << 20)).into();
        append(&journal, vec![batch])
    };
    assert!(matches!(huge, Err(StoreError::Unwritable(_))), "{huge:?}");
    drop(other);
    wait_until("the records are written", || journal.health().waiting == 0);
    assert_eq!(length(&journal, "run/a"), n);
}

/// A disk of a few megabytes, as long as it lives.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"]).arg(dir.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(dir)),
            other => {
                eprintln!("NOT TESTED: a full disk, since none can be mounted here: {other:?}");
                None
            }
        }
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        std::fs::write(self.0.path().join("filler"), vec![1; 13 << 20]).unwrap_err();
    }

    fn free(&self) {
        std::fs::remove_file(self.0.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let path = self.0.path();
        if !Command::new("umount").arg(path).status().is_ok_and(|status| status.success()) {
            eprintln!("`{}` is still mounted", path.display());
        }
    }
}

#[test]
fn a_full_disk_stops_only_those_who_need_it() {
    let Some(disk) = SmallDisk::mount() else { return };
    let dir = disk.0.path().join("data");
    let journal = Journal::open(&dir).unwrap();
    append(&journal, vec![notes("run/a", 0, 1, Durability::Synced)]).unwrap();
    disk.fill();
    let mut seq = 1;
    let mut refused = None;
    while refused.is_none() {
        assert!(seq < 100_000, "the disk is never full");
        // What the log still has room for goes through.
        refused = append(&journal, vec![notes("run/a", seq, 100, Durability::Synced)]).err();
        seq += 100;
    }
    assert!(matches!(refused, Some(StoreError::Held(_))), "{refused:?}");
    assert!(journal.health().trouble.unwrap().contains("full"));
    journal.written(notes("run/a", seq, 5, Durability::Written)).unwrap();
    assert_eq!(length(&journal, "run/a"), seq + 5);
    // It ends without having been able to write, and the next one cannot either.
    journal.close();
    let journal = Journal::open(&dir).unwrap();
    assert_eq!(length(&journal, "run/a"), seq + 5);
    journal.written(notes("run/a", seq + 5, 5, Durability::Written)).unwrap();
    disk.free();
    wait_until("the records are written", || journal.health().waiting == 0);
    assert_eq!(length(&journal, "run/a"), seq + 10);
    assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
    journal.close();
}

#[test]
fn a_disk_that_was_always_full_is_said_so() {
    let Some(disk) = SmallDisk::mount() else { return };
    disk.fill();
    let dir = disk.0.path().join("data");
    match Journal::open(&dir) {
        Err(StoreError::Unwritable(_)) => {}
        other => panic!("{other:?}"),
    }
    disk.free();
    Journal::open(&dir).unwrap().close();
}
