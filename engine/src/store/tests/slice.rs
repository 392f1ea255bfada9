//! Goal: a part of a stream proves itself, without the rest and without what is withheld of it; nothing in it can be changed.
//! Method: slices of a stream of every kind of record, as JSON and back, held against sums from elsewhere; each part of one altered.

use super::bodies::{at, one_of_each};
use super::prune::{days, prune, put, retention, run};
use crate::store::{Journal, Slice, SliceError, SlicedBody};
use quell_model::{Body, Hash, Kind, StreamId};

fn filled(journal: &Journal) -> StreamId {
    let stream = StreamId::from("run/r-1");
    put(journal, stream.as_str(), at(1), one_of_each());
    stream
}

fn sent(slice: &Slice) -> Slice {
    serde_json::from_str(&serde_json::to_string(slice).unwrap()).unwrap()
}

#[test]
fn any_slice_verifies_alone_by_the_sum_of_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let stream = filled(&journal);
    let records = journal.read(&stream, 1).unwrap();
    let count = records.len() as u64;
    for (from, to) in [(1, 1), (1, count - 1), (2, 2), (7, 12), (count - 1, count - 1)] {
        let slice = sent(&journal.slice(&stream, from, to).unwrap().unwrap());
        assert_eq!(slice.records.len() as u64, to - from + 1);
        assert_eq!(slice.prev, records[from as usize - 1].prev);
        // What follows names it.
        let after = records[to as usize].prev;
        assert_eq!((slice.sum(), slice.verify(after)), (Ok(after), Ok(())), "{from} to {to}");
    }
    let whole = journal.slice(&stream, 0, u64::MAX).unwrap().unwrap();
    let head = journal.heads(0).unwrap().unwrap().heads.into_iter().find(|head| head.stream == stream).unwrap();
    assert_eq!((whole.verify(head.hash), whole.prev), (Ok(()), Hash::default()), "and so does a seal");
    assert_eq!(journal.slice(&stream, count + 1, u64::MAX).unwrap(), None);
    assert_eq!(journal.slice(&"run/none".into(), 1, 9).unwrap(), None);
}

#[test]
fn a_copy_proves_what_was_pruned() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    put(&journal, "run/old", days(1), run("old", None, true));
    let kept = sent(&journal.slice(&"run/old".into(), 3, 4).unwrap().unwrap());
    prune(&journal, dir.path(), &retention(90)).unwrap();
    assert_eq!(journal.slice(&"run/old".into(), 3, 4).unwrap(), None);
    let said = journal.latest(&[Kind::StreamPruned], 1).unwrap();
    let Body::StreamPruned(said) = &said[0].body else { panic!() };
    assert_eq!((said.streams[0].last, kept.verify(said.streams[0].hash)), (4, Ok(())));
}

#[test]
fn a_body_that_is_withheld_changes_nothing_and_can_be_shown_later() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let stream = filled(&journal);
    let whole = journal.slice(&stream, 3, 9).unwrap().unwrap();
    let sum = whole.sum().unwrap();
    let mut part = whole.clone();
    assert_eq!((part.withhold(5), part.withhold(9), part.withhold(10)), (Ok(true), Ok(true), Ok(false)));
    assert_eq!(sent(&part).verify(sum), Ok(()));
    let text = serde_json::to_string(&part).unwrap();
    for (old, new) in whole.records.iter().zip(&part.records) {
        let SlicedBody::Whole { salt, text: body } = &old.body else { panic!() };
        let is_shown = !matches!(old.seq, 5 | 9);
        let quoted = serde_json::to_string(body).unwrap();
        assert_eq!((text.contains(salt), text.contains(&quoted)), (is_shown, is_shown), "{}", old.seq);
        assert_eq!((old.kind, old.at), (new.kind, new.at));
    }
    // Shown later.
    part.records[2].body = whole.records[2].body.clone();
    assert_eq!(part.verify(sum), Ok(()));
    part.records[2].body = whole.records[3].body.clone();
    assert!(matches!(part.verify(sum), Err(SliceError::Sum { last: 9, .. })));
}

#[test]
fn nothing_in_it_can_be_changed() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let stream = filled(&journal);
    let slice = journal.slice(&stream, 3, 9).unwrap().unwrap();
    let sum = slice.sum().unwrap();
    type Change = fn(&mut Slice);
    let changes: [(&str, Change); 9] = [
        ("what is before", |slice| slice.prev = Hash::of(b"other")),
        ("a version", |slice| slice.records[1].v += 1),
        ("a moment", |slice| slice.records[2].at.boot_ns += 1),
        ("a kind", |slice| slice.records[3].kind = slice.records[4].kind),
        ("a body", |slice| {
            let SlicedBody::Whole { text, .. } = &mut slice.records[4].body else { panic!() };
            text.push(' ');
        }),
        ("a salt", |slice| {
            let SlicedBody::Whole { salt, .. } = &mut slice.records[4].body else { panic!() };
            *salt = "0".repeat(32);
        }),
        ("the end", |slice| drop(slice.records.pop())),
        ("what is withheld", |slice| slice.records[0].body = SlicedBody::Withheld(Hash::of(b"other"))),
        ("every number", |slice| slice.records.iter_mut().for_each(|record| record.seq += 1)),
    ];
    for (what, change) in changes {
        let mut other = slice.clone();
        change(&mut other);
        assert!(matches!(other.verify(sum), Err(SliceError::Sum { .. })), "{what}: {:?}", other.verify(sum));
    }
    let mut other = slice.clone();
    other.records.remove(2);
    assert_eq!(other.verify(sum), Err(SliceError::Number { expected: 5, found: 6 }));
    other = slice.clone();
    other.records.swap(1, 2);
    assert_eq!(other.verify(sum), Err(SliceError::Number { expected: 4, found: 5 }));
    for salt in ["", "00", "zz000000000000000000000000000000", "é00000000000000000000000000000"] {
        other = slice.clone();
        let SlicedBody::Whole { salt: there, .. } = &mut other.records[1].body else { panic!() };
        *there = salt.to_owned();
        assert_eq!(other.verify(sum), Err(SliceError::Salt(4)), "{salt}");
    }
    other.records.clear();
    assert_eq!(other.verify(sum), Err(SliceError::Empty));
    let mut first = journal.slice(&stream, 1, 2).unwrap().unwrap();
    first.prev = Hash::of(b"other");
    assert_eq!(first.sum(), Err(SliceError::Before));
}
