//! What lists keep beside the records: the same as the records say, also after an upgrade and while the disk refuses.

use super::basics::append;
use super::bodies::{at, note, one_of_each};
use crate::store::{IncidentLine, Journal, Listed, RunLine};
use quell_model::{Batch, Body, Durability, Kind, NewRecord, RunId, StreamId};
use std::path::Path;

fn of(kind: Kind) -> Body {
    one_of_each().into_iter().find(|body| body.kind() == kind).unwrap()
}

fn batch(stream: &StreamId, expected: u64, bodies: Vec<Body>) -> Batch {
    let records = (expected + 1..).zip(bodies).map(|(n, body)| NewRecord::new(at(n), body)).collect();
    Batch { stream: stream.clone(), expected, records, durability: Durability::Written }
}

/// A run that has ended for each name, in this order.
fn ended(journal: &Journal, names: impl Iterator<Item = String>) {
    let bodies = vec![of(Kind::RunStarted), of(Kind::StepIntended), of(Kind::RunFinished)];
    let batches = names.map(|name| batch(&StreamId::run(&RunId::from(name)), 0, bodies.clone())).collect::<Vec<_>>();
    for some in batches.chunks(100) {
        append(journal, some.to_vec()).unwrap();
    }
}

fn all(journal: &Journal, most: usize) -> Vec<Listed<RunLine>> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = journal.runs(before, most).unwrap();
        let Some(last) = page.last() else { return all };
        before = Some(last.number);
        all.extend(page);
    }
}

fn sqlite(dir: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(dir.join("journal.db")).unwrap()
}

#[test]
fn pages_bring_every_run_once_the_latest_first() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    ended(&journal, (0..257).map(|n| format!("r-{n}")));
    let streams: Vec<String> = all(&journal, 10).iter().map(|listed| listed.stream.to_string()).collect();
    assert_eq!(streams, (0..257).rev().map(|n| format!("run/r-{n}")).collect::<Vec<_>>());
    assert!(all(&journal, 100).iter().all(|listed| listed.line.as_ref().is_some_and(|line| line.tail.is_some())));
}

fn an_incident(journal: &Journal) -> Listed<IncidentLine> {
    let stream = StreamId::incident(&"i-1".into());
    let kinds = [Kind::IncidentOpened, Kind::DetectionAccepted, Kind::IncidentJoined, Kind::LossSeen];
    append(journal, vec![batch(&stream, 0, kinds.map(of).to_vec())]).unwrap();
    append(journal, vec![batch(&StreamId::system(), 0, one_of_each())]).unwrap();
    journal.incidents(None, 10).unwrap().remove(0)
}

#[test]
fn what_was_written_before_there_were_lists_is_taken_in_at_the_upgrade() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    ended(&journal, (0..5).map(|n| format!("r-{n}")));
    let incident = an_incident(&journal);
    let lists = |journal: &Journal| {
        let mut marks = journal.marks(Kind::PauseChanged, at(0).wall, at(99).wall, 9).unwrap();
        marks.extend(journal.latest(&[Kind::EngineStarted], 9).unwrap());
        (all(journal, 2), journal.incidents(None, 9).unwrap(), journal.members(&"i-1".into(), 9).unwrap(), marks)
    };
    let before = lists(&journal);
    assert_eq!(before.2, (vec!["r-1".into()], 1));
    assert_eq!(before.3.len(), 2, "a pause and a start");
    let line = incident.line.unwrap();
    assert_eq!((line.detections, line.losses, line.level.as_str()), (2, 1, "high"));
    journal.close();
    for old in [
        "DROP TABLE runs; DROP TABLE incidents; DROP TABLE members; DROP TABLE marks; PRAGMA user_version = 1;
         ALTER TABLE streams DROP COLUMN pruned; DROP TABLE kinds; DROP TABLE holds; DROP TABLE contents;",
        "DELETE FROM marks WHERE kind IN ('EngineStarted', 'DefinitionPinned'); PRAGMA user_version = 2;
         ALTER TABLE streams DROP COLUMN pruned; DROP TABLE kinds; DROP TABLE holds; DROP TABLE contents;",
    ] {
        sqlite(dir.path()).execute_batch(old).unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        assert_eq!(lists(&journal), before);
        assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
        journal.close();
    }
}

#[test]
fn while_the_database_refuses_lists_name_what_is_only_held() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    ended(&journal, ["r-old", "r-open"].into_iter().map(str::to_owned));
    let other = sqlite(dir.path());
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    journal.written(batch(&StreamId::run(&"r-new".into()), 0, vec![of(Kind::RunStarted)])).unwrap();
    journal.written(batch(&StreamId::run(&"r-open".into()), 3, vec![note("later").into()])).unwrap();
    let named = |journal: &Journal| -> Vec<(String, bool)> {
        all(journal, 1).iter().map(|one| (one.stream.to_string(), one.line.is_some())).collect()
    };
    let rows = |rows: [(&str, bool); 3]| rows.map(|(name, known)| (format!("run/{name}"), known));
    assert_eq!(named(&journal), rows([("r-new", false), ("r-open", false), ("r-old", true)]));
    other.execute_batch("ROLLBACK").unwrap();
    journal.close();
    let journal = Journal::open(dir.path()).unwrap();
    assert_eq!(named(&journal), rows([("r-new", true), ("r-open", true), ("r-old", true)]));
}

#[test]
fn a_body_that_no_list_understands_is_kept_and_hides_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    // Records of other streams' kinds: nobody writes such, and nobody stumbles over them.
    let odd: Vec<Body> = one_of_each();
    append(&journal, vec![batch(&StreamId::incident(&"i-9".into()), 0, odd.clone())]).unwrap();
    append(&journal, vec![batch(&"elsewhere".into(), 0, odd)]).unwrap();
    assert_eq!(all(&journal, 10), []);
    assert_eq!(journal.incidents(None, 10).unwrap().len(), 1);
}
