//! Appending, numbering and reading when nothing goes wrong.

use super::bodies::{at, note, one_of_each};
use crate::store::{Health, Journal};
use quell_model::{Appended, Batch, Durability, Kind, NewRecord, Seq, Store, StoreError, StreamId};
use std::sync::mpsc;
use std::time::Duration;

pub(super) fn notes(stream: &str, expected: Seq, count: u64, durability: Durability) -> Batch {
    let record = |n| NewRecord::new(at(n), note(&format!("{stream} {n}")));
    let records = (expected + 1..=expected + count).map(record).collect();
    Batch { stream: stream.into(), expected, records, durability }
}

/// Submits and waits for the answer.
pub(super) fn append(journal: &Journal, batches: Vec<Batch>) -> Result<Vec<(StreamId, Seq)>, StoreError> {
    let (tell, told) = mpsc::sync_channel(1);
    journal.submit(batches, Box::new(move |answer| tell.send(answer).unwrap()));
    told.recv_timeout(Duration::from_secs(30)).unwrap().map(|appended| appended.last)
}

#[test]
fn every_kind_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let bodies = one_of_each();
    assert_eq!(bodies.iter().map(quell_model::Body::kind).collect::<Vec<_>>(), Kind::ALL);
    let records = bodies.iter().cloned().map(|body| NewRecord::new(at(1), body)).collect();
    let batch = Batch { stream: StreamId::system(), expected: 0, records, durability: Durability::Synced };
    let last = append(&journal, vec![batch]).unwrap();
    assert_eq!(last, [(StreamId::system(), Kind::ALL.len() as Seq)]);
    let read = journal.read(&StreamId::system(), 1).unwrap();
    assert_eq!(read.iter().map(|record| record.body.clone()).collect::<Vec<_>>(), bodies);
    assert!(read.iter().all(|record| record.at == at(1) && record.v == 1 && record.salt.len() == 32));
    assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
    assert_eq!(journal.read(&StreamId::system(), 23).unwrap(), read[22..]);
    assert_eq!(journal.read(&"run/none".into(), 1).unwrap(), []);
}

#[test]
fn written_and_submitted_records_keep_the_order_of_the_calls() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let (tell, told) = mpsc::sync_channel(1000);
    let mut answers = 0;
    for n in 0..300 {
        if n % 3 == 0 {
            journal.written(notes("run/a", n, 1, Durability::Written)).unwrap();
        } else {
            let tell = tell.clone();
            let durability = if n % 2 == 0 { Durability::Written } else { Durability::Synced };
            journal.submit(vec![notes("run/a", n, 1, durability)], Box::new(move |a| tell.send(a).unwrap()));
            answers += 1;
        }
    }
    for _ in 0..answers {
        told.recv_timeout(Duration::from_secs(30)).unwrap().unwrap();
    }
    let read = journal.read(&"run/a".into(), 1).unwrap();
    assert_eq!(journal.health(), Health::default(), "nothing is left waiting");
    let seqs: Vec<Seq> = read.iter().map(|record| record.seq).collect();
    assert_eq!(seqs, (1..=300).collect::<Vec<_>>());
    assert!(read.iter().all(|record| record.at == at(record.seq)));
    journal.close();
    let again = Journal::open(dir.path()).unwrap();
    assert_eq!(again.read(&"run/a".into(), 1).unwrap(), read);
    assert_eq!(again.streams().unwrap(), [("run/a".into(), 300)]);
    assert_eq!(again.verify().unwrap(), Vec::<String>::new());
}

#[test]
fn a_wrong_number_is_a_conflict_and_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    append(&journal, vec![notes("run/a", 0, 2, Durability::Written)]).unwrap();
    let both = vec![notes("run/b", 0, 1, Durability::Written), notes("run/a", 1, 1, Durability::Written)];
    match append(&journal, both) {
        Err(StoreError::Conflict { stream, expected: 1, found: 2 }) => assert_eq!(stream.as_str(), "run/a"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        journal.written(notes("run/b", 7, 1, Durability::Written)),
        Err(StoreError::Conflict { expected: 7, found: 0, .. })
    ));
    assert_eq!(journal.read(&"run/b".into(), 1).unwrap(), []);
    let twice = vec![notes("run/a", 2, 1, Durability::Written), notes("run/a", 3, 1, Durability::Written)];
    assert_eq!(append(&journal, twice).unwrap().last(), Some(&("run/a".into(), 4)), "one stream, two batches");
}

#[test]
fn streams_that_have_not_ended_are_open() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let by_kind = |kind| NewRecord::new(at(1), one_of_each().into_iter().find(|b| b.kind() == kind).unwrap());
    let put = |stream: &str, kinds: &[Kind]| {
        let records = kinds.iter().map(|kind| by_kind(*kind)).collect();
        let batch = Batch { stream: stream.into(), expected: 0, records, durability: Durability::Written };
        journal.written(batch).unwrap();
    };
    put("system", &[Kind::EngineStarted]);
    put("run/open", &[Kind::RunStarted]);
    put("run/over", &[Kind::RunStarted, Kind::RunFinished]);
    put("incident/open", &[Kind::IncidentOpened]);
    put("incident/over", &[Kind::IncidentOpened, Kind::IncidentChanged, Kind::NoteAdded]);
    let expected: Vec<StreamId> = vec!["incident/open".into(), "run/open".into()];
    assert_eq!(journal.open_streams().unwrap(), expected);
    journal.close();
    assert_eq!(Journal::open_read_only(dir.path()).unwrap().open_streams().unwrap(), expected);
}

#[tokio::test]
async fn the_trait_s_append_waits_for_the_commit() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let store: &dyn Store = &journal;
    let appended = store.append(vec![notes("run/a", 0, 3, Durability::Synced)]).await.unwrap();
    assert_eq!(appended.last, [("run/a".into(), 3)]);
    assert_eq!(store.read(&"run/a".into(), 3).await.unwrap().len(), 1);
    journal.clone().close();
    let closed = store.append(vec![notes("run/a", 3, 1, Durability::Synced)]).await;
    assert!(matches!(closed, Err(StoreError::Closed)));
    assert!(matches!(journal.written(notes("run/a", 3, 1, Durability::Written)), Err(StoreError::Closed)));
}

#[test]
fn a_second_engine_is_refused_and_a_reader_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    journal.written(notes("run/a", 0, 1, Durability::Written)).unwrap();
    assert!(matches!(
        Journal::open(dir.path()),
        Err(StoreError::Taken { pid, .. }) if pid == Some(std::process::id())
    ));
    assert_eq!(journal.read(&"run/a".into(), 1).unwrap().len(), 1);
    let reader = Journal::open_read_only(dir.path()).unwrap();
    assert_eq!(reader.read(&"run/a".into(), 1).unwrap(), journal.read(&"run/a".into(), 1).unwrap());
    assert!(matches!(reader.written(notes("run/a", 1, 1, Durability::Written)), Err(StoreError::Unwritable(_))));
}

#[test]
fn who_waits_for_a_stream_is_told_once_it_can_be_read_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let asks = |stream: &str| {
        let (tell, told) = mpsc::sync_channel(1);
        journal.when_readable(&stream.into(), Box::new(move || tell.send(()).unwrap()));
        told
    };
    asks("run/none").try_recv().unwrap();
    append(&journal, vec![notes("run/a", 0, 1, Durability::Synced)]).unwrap();
    asks("run/a").try_recv().unwrap();
    // The writer stands still.
    let (let_go, held) = mpsc::sync_channel::<()>(1);
    let (stands, still) = mpsc::sync_channel(1);
    let done = Box::new(move |_: Result<Appended, StoreError>| {
        stands.send(()).unwrap();
        assert!(held.recv().is_err());
    });
    journal.submit(vec![notes("run/b", 0, 1, Durability::Written)], done);
    still.recv().unwrap();
    journal.written(notes("run/a", 1, 1, Durability::Written)).unwrap();
    let told = asks("run/a");
    assert!(!journal.can_read(&"run/a".into(), Duration::ZERO) && told.try_recv().is_err());
    asks("run/b").try_recv().unwrap();
    drop(let_go);
    told.recv_timeout(Duration::from_secs(30)).unwrap();
    assert!(journal.can_read(&"run/a".into(), Duration::ZERO));
}
