//! Runs that have ended leave the memory, and are known and gone on in all the same.

use super::basics::append;
use super::bodies::{at, note, one_of_each};
use crate::store::{Draft, Journal};
use quell_model::{Batch, Body, Durability, Kind, NewRecord, StoreError, StreamId};

fn records(kinds: &[Kind]) -> Vec<NewRecord> {
    let of = |kind: &Kind| one_of_each().into_iter().find(|body| body.kind() == *kind).unwrap();
    (1..).zip(kinds).map(|(n, kind)| NewRecord::new(at(n), of(kind))).collect()
}

fn ended(journal: &Journal, name: &str) -> StreamId {
    let stream = StreamId::run(&name.into());
    let records = records(&[Kind::RunStarted, Kind::RunFinished]);
    append(journal, vec![Batch { stream: stream.clone(), expected: 0, records, durability: Durability::Synced }])
        .unwrap();
    stream
}

fn one_more(stream: &StreamId, expected: u64) -> Batch {
    let records = vec![NewRecord::new(at(expected + 1), note("later"))];
    Batch { stream: stream.clone(), expected, records, durability: Durability::Synced }
}

#[test]
fn a_run_that_has_ended_is_known_though_nobody_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    for life in 0..2 {
        let journal = Journal::open(dir.path()).unwrap();
        if life == 0 {
            ended(&journal, "r-1");
        }
        let stream = StreamId::run(&"r-1".into());
        assert_eq!(journal.live(), []);
        assert_eq!(journal.streams().unwrap(), [(stream.clone(), 2)]);
        assert!(journal.has(&stream) && !journal.has(&"run/r-2".into()));
        assert_eq!((journal.last(&stream), journal.last(&"run/r-2".into())), (2, 0));
        assert_eq!(journal.read(&stream, 1).unwrap().len(), 2);
        assert_eq!(journal.open_streams().unwrap(), []);
        // It does not begin again.
        let again = journal.written(one_more(&stream, 0)).unwrap_err();
        assert!(matches!(again, StoreError::Conflict { found: 2, expected: 0, .. }), "{again:?}");
        journal.close();
    }
}

#[test]
fn it_can_be_written_to_again_by_each_way_and_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let streams = ["a", "b", "c"].map(|name| ended(&journal, name));
    journal.written(one_more(&streams[0], 2)).unwrap();
    append(&journal, vec![one_more(&streams[1], 2), one_more(&streams[0], 3)]).unwrap();
    let mut draft = Draft::default();
    for (stream, expected) in [(&streams[2], 2), (&streams[1], 3)] {
        draft.add(stream.clone(), expected, &one_more(stream, expected).records).unwrap();
    }
    journal.put(draft).unwrap();
    journal.ring();
    assert_eq!(streams.each_ref().map(|stream| journal.read(stream, 1).unwrap().len()), [4, 4, 3]);
    assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
    // While the database is held, what comes is on the slate alone when the next engine starts.
    journal.close();
    let journal = Journal::open(dir.path()).unwrap();
    let fresh = ended(&journal, "d");
    let other = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    journal.written(one_more(&fresh, 2)).unwrap();
    journal.close();
    other.execute_batch("ROLLBACK").unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    assert_eq!(journal.health().recovery, Vec::<String>::new());
    let last = journal.read(&fresh, 1).unwrap().pop().unwrap();
    assert!(matches!(last.body, Body::NoteAdded(_)));
    assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
}
