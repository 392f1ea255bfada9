//! Goal: who follows is told everything that was committed, once and in order, and of a gap whatever was pruned of it.
//! Method: a journal that is written while it is followed; and one that is pruned between two looks.

use super::prune::{days, incident, prune, put, retention, run};
use crate::report::{Follower, Interest};
use crate::store::{Journal, Missing};
use quell_model::record::{NewRecord, NoteAdded};
use quell_model::{Batch, Durability, Kind, StreamId};

fn names(all: &[crate::store::Followed]) -> Vec<(&str, u64)> {
    all.iter().map(|one| (one.stream.as_str(), one.record.seq)).collect()
}

#[test]
fn rows_are_given_once_in_the_order_of_their_commits() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let mut head = journal.head();
    assert_eq!(*head.borrow_and_update(), 0);
    put(&journal, "incident/i-1", days(1), incident("i-1", &["r-1"], false));
    put(&journal, "run/r-1", days(1), run("r-1", Some("i-1"), true));
    assert!(head.has_changed().unwrap(), "a commit wakes who waits");
    let (mut row, mut seen) = (0, Vec::new());
    loop {
        let passage = journal.after(row, 2, &mut |_, _| true).unwrap();
        row = passage.upto;
        seen.extend(passage.records);
        if passage.is_last {
            break;
        }
    }
    let run = (1..=4).map(|seq| ("run/r-1", seq));
    assert_eq!(names(&seen), [("incident/i-1", 1), ("incident/i-1", 2)].into_iter().chain(run).collect::<Vec<_>>());
    assert!(seen.windows(2).all(|two| two[0].row < two[1].row));
    assert_eq!(*head.borrow(), row);
    let of_run = journal.after(0, 100, &mut |stream, _| stream.as_run().is_some()).unwrap();
    assert_eq!((of_run.records.len(), of_run.upto), (4, row), "what is not wanted is passed over, and read past");
    journal.close();
    // It goes on where it stands after a start.
    let journal = Journal::open(dir.path()).unwrap();
    assert_eq!(*journal.head().borrow(), row);
    journal.close();
}

/// A record that the database has not taken is shown by views, and told to nobody who follows.
#[test]
fn nothing_is_told_before_its_commit() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    put(&journal, "incident/i-1", days(1), incident("i-1", &[], false));
    let row = *journal.head().borrow();
    let other = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let records = vec![NewRecord::new(days(1), NoteAdded { by: "ana".into(), text: "seen".into() })];
    let stream = StreamId::from("incident/i-1");
    let batch = Batch { expected: journal.last(&stream), stream, records, durability: Durability::Written };
    journal.written(batch).unwrap();
    assert!(journal.after(row, 10, &mut |_, _| true).unwrap().records.is_empty());
    other.execute_batch("ROLLBACK").unwrap();
    let read = journal.read(&"incident/i-1".into(), 2).unwrap();
    assert_eq!(read.len(), 1, "a reader waits for it");
    let told = journal.after(row, 10, &mut |_, _| true).unwrap().records;
    assert_eq!(told.len(), 1);
    journal.close();
}

#[test]
fn what_was_pruned_meanwhile_is_a_gap_only_for_who_has_not_seen_it() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    put(&journal, "run/r-old", days(10), run("r-old", None, true));
    let after_old = *journal.head().borrow();
    put(&journal, "run/r-later", days(20), run("r-later", None, true));
    let after_later = *journal.head().borrow();
    put(&journal, "run/r-new", days(95), run("r-new", None, true));
    assert_eq!(journal.pruned_after(0, 20).unwrap(), Missing::default());
    prune(&journal, dir.path(), &retention(30)).unwrap();
    let lost = |row| {
        let missing = journal.pruned_after(row, 20).unwrap();
        assert_eq!(missing.more, 0);
        missing.streams
    };
    assert_eq!(
        lost(0),
        ["run/r-old".into(), "run/r-later".into()] as [StreamId; 2],
        "from the beginning both are missing"
    );
    let now = *journal.head().borrow();
    assert!(lost(now).is_empty());
    // Its own row went too: what is left before it says nothing of its time.
    assert!(lost(after_old).contains(&"run/r-later".into()));
    let kept = journal.after(after_later, 10, &mut |_, _| true).unwrap().records;
    assert_eq!(kept[0].stream, "run/r-new".into());
    assert!(lost(kept[0].row).is_empty(), "whoever had a later row has missed nothing");
    journal.close();
}

/// However much was pruned meanwhile, whoever comes back is told of some of it, and how much there is.
#[test]
fn a_look_at_what_was_pruned_has_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    for at in 0..20 {
        put(&journal, &format!("run/r-{at}"), days(2 * at + 1), run(&format!("r-{at}"), None, true));
    }
    // One by one, so that each has a record of its own.
    for at in 0..20 {
        prune(&journal, dir.path(), &retention(98 - 2 * at)).unwrap();
    }
    let missing = journal.pruned_after(0, 5).unwrap();
    let first: Vec<StreamId> = (0..5).map(|at| format!("run/r-{at}").as_str().into()).collect();
    assert_eq!(missing, Missing { streams: first, more: 15 });
    assert_eq!(journal.pruned_after(0, 20).unwrap().streams.len(), 16, "those of the records that one look reads");
    journal.close();
}

#[test]
fn a_follower_tells_of_whom_it_was_asked() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    put(&journal, "incident/i-1", days(1), incident("i-1", &["r-1"], false));
    put(&journal, "run/r-1", days(1), run("r-1", Some("i-1"), true));
    put(&journal, "run/r-2", days(1), run("r-2", None, true));
    let look = |interest: Interest| {
        let (told, was_all) = Follower::new(journal.clone(), interest, 0).look().unwrap();
        assert!(was_all);
        told
    };
    let all = look(Interest::default());
    assert_eq!(all.len(), 10);
    let of = look(Interest { incident: Some("i-1".into()), ..Interest::default() });
    assert_eq!(of.len(), 6);
    assert!(of.iter().all(|one| one.incident == Some("i-1".into())), "a run's records say whose it is");
    let run = look(Interest { run: Some("r-2".into()), kinds: vec![Kind::RunFinished], ..Interest::default() });
    assert_eq!(run.len(), 1);
    // The line names what only the run's first record says.
    let whole = all.iter().find(|one| one.row == run[0].row).unwrap();
    assert_eq!(run[0].text, whole.text);
    assert!(run[0].text.is_some());

    // Whoever goes on in the middle tells the same lines.
    let (rest, _) = Follower::new(journal.clone(), Interest::default(), run[0].row - 1).look().unwrap();
    assert_eq!(rest[0], *whole);
    let mut head = journal.head();
    head.borrow_and_update();
    assert!(!head.has_changed().unwrap(), "nobody is woken for nothing");
    journal.close();
}
