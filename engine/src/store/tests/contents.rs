//! Goal: what lies beside its record is there exactly as long as a record refers to it, once, and as it was written; whoever dies in
//! between. Method: journals with such records, pruned, spoilt, copied, and left on the slate by a database that refuses.

use super::basics::append;
use super::bodies::{at, one_of_each};
use super::dies_within;
use super::prune::{days, prune, retention, run};
use crate::store::{DirVault, Journal, back_up, by_hand};
use quell_model::record::Stored;
use quell_model::{Batch, Body, Durability, Json, Kind, NewRecord, Record, StreamId};
use rusqlite::Connection;
use serde_json::json;
use std::path::Path;

const DIR: &str = "QUELL_TEST_CONTENTS_DIR";
const CHILD: &str = "store::tests::contents::the_child";

/// A step's end with an output, of which what has more than a kilobyte lies apart.
fn gave(output: Json) -> NewRecord {
    let body = one_of_each().into_iter().find(|body| body.kind() == Kind::StepFinished).unwrap();
    let Body::StepFinished(mut finished) = body else { panic!() };
    finished.output = output;
    NewRecord::new(at(1), *finished).with_large_apart(1 << 10)
}

fn listing(of: &str) -> Json {
    json!({ "state": "up", "files": (0..300).map(|n| format!("/srv/{of}/{n}")).collect::<Vec<_>>() })
}

fn put(journal: &Journal, stream: &str, records: Vec<NewRecord>) {
    let stream = StreamId::from(stream);
    let batch = Batch { expected: journal.last(&stream), stream, records, durability: Durability::Synced };
    append(journal, vec![batch]).unwrap();
}

fn output(record: Record) -> Json {
    match record.body {
        Body::StepFinished(finished) => finished.output,
        other => panic!("{other:?}"),
    }
}

fn last(journal: &Journal, stream: &str) -> Record {
    journal.read(&stream.into(), 1).unwrap().pop().unwrap()
}

fn counts(dir: &Path) -> (i64, i64) {
    let db = Connection::open(dir.join("journal.db")).unwrap();
    let ask = "SELECT (SELECT count(*) FROM contents), (SELECT count(*) FROM holds)";
    db.query_row(ask, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

fn checks(journal: &Journal) -> Vec<String> {
    journal.verify().unwrap()
}

#[test]
fn it_lies_there_once_and_the_record_says_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    put(&journal, "run/a", vec![gave(listing("x")), gave(json!({ "state": "small" }))]);
    put(&journal, "run/b", vec![gave(listing("x")), gave(listing("y"))]);
    assert_eq!(counts(dir.path()), (2, 3));
    let record = journal.read(&"run/a".into(), 1).unwrap().remove(0);
    let shown = output(record.clone());
    let of = Stored::of(&shown["files"]).unwrap();
    assert_eq!((shown["state"].as_str(), of.items), (Some("up"), Some(300)));
    assert!(serde_json::to_string(&record).unwrap().len() < 1500, "the list is not in it: {record:?}");
    assert_eq!(journal.content(&of).unwrap(), listing("x")["files"]);
    assert_eq!(output(journal.whole(record).unwrap()), listing("x"));
    assert_eq!(output(last(&journal, "run/a")), json!({ "state": "small" }));
    assert_eq!(checks(&journal), Vec::<String>::new());
}

#[test]
fn what_lies_on_the_slate_is_there_beside_it_and_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    put(&journal, "run/a", vec![gave(json!({}))]);
    let holder = Connection::open(dir.path().join("journal.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let batch = Batch {
        stream: "run/a".into(),
        expected: 1,
        records: vec![gave(listing("x"))],
        durability: Durability::Written,
    };
    journal.written(batch).unwrap();
    journal.close();
    holder.execute_batch("ROLLBACK").unwrap();
    assert_eq!(counts(dir.path()), (0, 0), "the database has refused it");
    let beside = Journal::open_read_only(dir.path()).unwrap();
    assert_eq!(output(beside.whole(last(&beside, "run/a")).unwrap()), listing("x"));
    drop(beside);
    let copy = tempfile::tempdir().unwrap();
    assert_eq!(back_up(dir.path(), &copy.path().join("copy")).unwrap().findings, Vec::<String>::new());
    for dir in [dir.path().to_owned(), copy.path().join("copy")] {
        let journal = Journal::open(&dir).unwrap();
        assert_eq!(journal.health().recovery, Vec::<String>::new());
        assert_eq!(output(journal.whole(last(&journal, "run/a")).unwrap()), listing("x"));
        assert_eq!((counts(&dir), checks(&journal)), ((1, 1), vec![]));
    }
}

#[test]
fn it_goes_with_the_last_record_that_refers_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    for (id, day) in [("old", 2), ("young", 95)] {
        let mut records: Vec<NewRecord> =
            run(id, None, true).into_iter().map(|body| NewRecord::new(days(day), body)).collect();
        records.insert(2, NewRecord { at: days(day), ..gave(listing("shared")) });
        records.insert(3, NewRecord { at: days(day), ..gave(listing(id)) });
        put(&journal, &format!("run/{id}"), records);
    }
    assert_eq!(counts(dir.path()), (3, 4));
    let bytes = journal.prunable(&retention(90)).unwrap().counts().bytes;
    assert_eq!(prune(&journal, dir.path(), &retention(90)).unwrap().runs, 1);
    assert_eq!((counts(dir.path()), checks(&journal)), ((2, 2), vec![]), "what the other run gave as well stays");
    assert!(bytes > 1000, "it counts what lies apart: {bytes}");
    assert_eq!(prune(&journal, dir.path(), &retention(1)).unwrap().runs, 1);
    assert_eq!((counts(dir.path()), checks(&journal)), ((0, 0), vec![]));
}

#[test]
fn a_blob_that_only_such_a_value_names_is_kept_and_copied() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let vault = DirVault::new(dir.path());
    let blob = vault.keep(b"memory of a process").unwrap();
    let mut large = listing("x");
    large["files"].as_array_mut().unwrap().push(json!(blob));
    put(&journal, "run/a", vec![gave(large)]);
    let mut named = Vec::new();
    journal
        .0
        .readers
        .with(|db| crate::store::retention::referred(db, &Default::default(), &mut |hash| named.push(hash)))
        .unwrap();
    assert!(named.contains(&blob.0), "it is looked for in what lies apart");
    let copy = tempfile::tempdir().unwrap();
    assert_eq!(back_up(dir.path(), &copy.path().join("copy")).unwrap().blobs, 1);
}

#[test]
fn what_is_altered_missing_or_kept_for_nobody_is_found() {
    let flipped = "UPDATE contents SET packed = CAST(substr(packed, 1, 40) || x'00' || substr(packed, 42) AS BLOB)";
    for (change, told) in [
        (flipped, "cannot be unpacked|is not as it was written"),
        ("UPDATE contents SET bytes = bytes + 1", "is not as it was written"),
        ("UPDATE contents SET bytes = -1", "is not as it was written"),
        ("UPDATE contents SET hash = zeroblob(32)", "which is missing"),
        ("DELETE FROM contents", "which is missing"),
        ("DELETE FROM holds", "no record refers to it"),
        ("INSERT INTO holds SELECT 1, id FROM contents", "is kept for row 1, which does not refer to it"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        put(&journal, "run/a", vec![gave(json!({})), gave(listing("x"))]);
        assert_eq!(checks(&journal), Vec::<String>::new());
        let db = Connection::open(dir.path().join("journal.db")).unwrap();
        assert!(db.execute(change, []).unwrap() > 0, "{change}");
        let found = checks(&journal).join("\n");
        assert!(told.split('|').any(|told| found.contains(told)), "{change}: {found}");
        let read = journal.whole(last(&journal, "run/a"));
        let is_spoilt = !change.contains("holds");
        assert_eq!(read.is_err(), is_spoilt, "{change}: nothing wrong is given out: {read:?}");
    }
}

#[test]
fn who_asks_for_one_waits_for_no_writer_and_knows_when_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open_by_hand(dir.path()).unwrap();
    let mut written = 0;
    let mut put = |of: &str| {
        let (stream, durability) = (StreamId::from("run/a"), Durability::Written);
        let record = gave(listing(of));
        let stored = record.contents[0].stored.clone();
        journal.written(Batch { stream, expected: written, records: vec![record], durability }).unwrap();
        written += 1;
        stored
    };
    by_hand::hang(true);
    let first = put("x");
    assert_eq!(journal.appends(), (1, 0));
    assert!(journal.content(&first).is_err(), "by hand, who waited would do so for ever");
    by_hand::hang(false);
    // What the database refuses is shown after some tries, and not counted again once it is taken.
    journal.refuse(true);
    (0..5).for_each(|_| journal.work());
    assert_eq!((journal.appends(), journal.content(&first).unwrap()), ((1, 1), listing("x")["files"].clone()));
    let second = put("y");
    assert_eq!(journal.appends(), (2, 1));
    journal.work();
    assert_eq!((journal.appends(), journal.content(&second).unwrap()), ((2, 2), listing("y")["files"].clone()));
    journal.refuse(false);
    journal.work();
    assert_eq!((journal.appends(), counts(dir.path())), ((2, 2), (2, 2)));
    let third = put("z");
    assert_eq!(journal.appends(), (3, 2));
    journal.work();
    assert_eq!((journal.appends(), journal.content(&third).unwrap()), ((3, 3), listing("z")["files"].clone()));
}

/// Writes, where a parent says so.
#[test]
fn the_child() {
    #[expect(clippy::disallowed_methods, reason = "how the parent tells the child that it is one")]
    if let Some(dir) = std::env::var_os(DIR) {
        let journal = Journal::open(Path::new(&dir)).unwrap();
        put(&journal, "run/a", vec![gave(listing("x")), gave(listing("y")), gave(listing("x"))]);
        journal.close();
    }
}

#[test]
fn killed_between_a_value_and_its_record_both_are_there_at_the_next_start() {
    let mut deaths = 0;
    for place in 1.. {
        let dir = tempfile::tempdir().unwrap();
        if !dies_within((CHILD, DIR), dir.path(), place) {
            break;
        }
        deaths += 1;
        assert_eq!(counts(dir.path()), (0, 0), "place {place}: the transaction was not over");
        let beside = Journal::open_read_only(dir.path()).unwrap();
        assert_eq!(output(beside.whole(last(&beside, "run/a")).unwrap()), listing("x"), "place {place}, beside");
        drop(beside);
        let journal = Journal::open(dir.path()).unwrap();
        assert_eq!((journal.health().recovery.clone(), checks(&journal)), (vec![], vec![]), "place {place}");
        assert_eq!(output(journal.whole(last(&journal, "run/a")).unwrap()), listing("x"), "place {place}");
        assert_eq!(counts(dir.path()), (2, 3), "place {place}");
    }
    assert_eq!(deaths, 3, "one after each value");
}
