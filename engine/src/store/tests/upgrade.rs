//! Goal: a journal that any release wrote opens in this one, with all that it holds; one that a newer release wrote is
//! refused and left as it is. Method: a golden database and slate as the current format writes them; the same records
//! under every earlier schema, brought up; and databases with what only a newer quell could have put in.

use super::basics::append;
use super::bodies::{at, note, one_of_each};
use crate::store::item::Item;
use crate::store::rows::{APPLICATION, LISTED, MARKED, MIGRATIONS, NOTED};
use crate::store::{Journal, back_up};
use quell_model::record::{RunFinished, RunState};
use quell_model::{Batch, Body, Durability, Kind, NewRecord, Record, StoreError, StreamId};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::Path;

const DATABASE: &[u8] = include_bytes!("golden/journal-6.db");
/// The slate's beginning; what follows is zeros.
const SLATE: &[u8] = include_bytes!("golden/slate-2");
/// The former, in which nothing lies apart.
const FORMER: (&[u8], &[u8]) = (include_bytes!("golden/journal-5.db"), include_bytes!("golden/slate-1"));
const SLATE_BYTES: u64 = 4096 + (8 << 20);

fn batch(stream: &str, expected: u64, bodies: Vec<Body>) -> Batch {
    let records = (expected + 1..).zip(bodies).map(|(n, body)| NewRecord::new(at(n), body)).collect();
    Batch { stream: stream.into(), expected, records, durability: Durability::Synced }
}

fn of(kinds: &[Kind]) -> Vec<Body> {
    let body = |kind: &Kind| one_of_each().into_iter().find(|body| body.kind() == *kind).unwrap();
    kinds.iter().map(body).collect()
}

/// What stands in the golden journal's database, and one record more on its slate.
fn written() -> (Vec<Batch>, Batch) {
    let incident = [Kind::IncidentOpened, Kind::DetectionAccepted, Kind::IncidentJoined, Kind::LossSeen];
    let database = vec![
        batch("system", 0, one_of_each()),
        batch("incident/i-1", 0, of(&incident)),
        batch("run/r-1", 0, of(&[Kind::RunStarted, Kind::StepIntended, Kind::StepFinished, Kind::RunFinished])),
        batch("run/r-2", 0, of(&[Kind::RunStarted, Kind::StepIntended])),
    ];
    (database, batch("run/r-2", 2, vec![note("on the slate").into()]))
}

/// What stands in it beside: a run's outputs of which one lies apart.
fn apart() -> Batch {
    let outputs = serde_json::json!({ "count": 2, "listing": vec!["a line of some length"; 200] });
    let finished = RunFinished { state: RunState::Succeeded, outputs, summary: "1 done".into() };
    let mut batch = batch("run/r-3", 0, of(&[Kind::RunStarted]));
    batch.records.push(NewRecord::new(at(2), finished).with_large_apart(1 << 10));
    batch
}

fn write(dir: &Path) {
    let (mut database, slate) = written();
    database.push(apart());
    let journal = Journal::open(dir).unwrap();
    append(&journal, database).unwrap();
    journal.close();
    let journal = Journal::open(dir).unwrap();
    let other = Connection::open(dir.join("journal.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    journal.written(slate).unwrap();
    journal.close();
}

fn lay_out(dir: &Path) {
    lay_out_of(dir, (DATABASE, SLATE));
}

fn lay_out_of(dir: &Path, (database, slate): (&[u8], &[u8])) {
    fs::write(dir.join("journal.db"), database).unwrap();
    fs::write(dir.join("slate"), slate).unwrap();
    OpenOptions::new().write(true).open(dir.join("slate")).unwrap().set_len(SLATE_BYTES).unwrap();
}

/// All but what chance decides.
fn dump(database: &Path) -> rusqlite::Result<Vec<String>> {
    let db = Connection::open(database)?;
    let asks = [
        "SELECT user_version FROM pragma_user_version",
        "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name",
        "SELECT concat_ws('|', id, stream, seq, before, v, at_wall, at_boot, kind, body) FROM records ORDER BY id",
        "SELECT concat_ws('|', id, name, seq, last, over, pruned) FROM streams ORDER BY id",
        "SELECT concat_ws('|', stream, began, playbook, place, image, counts, head, tail) FROM runs ORDER BY stream",
        "SELECT concat_ws('|', stream, head, level, resolved, first, last, detections, losses) FROM incidents",
        "SELECT concat_ws('|', incident, run, row) FROM members",
        "SELECT concat_ws('|', row, kind, at) FROM marks ORDER BY row",
        "SELECT concat_ws('|', kind, v) FROM kinds ORDER BY kind",
        // How it is packed may change with the one who packs.
        "SELECT concat_ws('|', id, hex(hash), bytes) FROM contents ORDER BY id",
        "SELECT concat_ws('|', row, content) FROM holds ORDER BY row, content",
    ];
    let mut all = Vec::new();
    for ask in asks {
        let mut ask = db.prepare(ask)?;
        for row in ask.query_map([], |row| row.get::<_, rusqlite::types::Value>(0))? {
            all.push(format!("{:?}", row?));
        }
    }
    Ok(all)
}

#[test]
fn what_is_written_now_is_the_golden_format() {
    let now = tempfile::tempdir().unwrap();
    write(now.path());
    let mut slate = fs::read(now.path().join("slate")).unwrap();
    slate.truncate(slate.iter().rposition(|byte| *byte != 0).unwrap() + 1);
    let golden = tempfile::tempdir().unwrap();
    lay_out(golden.path());
    let same_database = dump(&now.path().join("journal.db"))
        .is_ok_and(|now| dump(&golden.path().join("journal.db")).is_ok_and(|golden| golden == now));
    // The journal's id is chance.
    let same_slate = slate.len() == SLATE.len() && slate[..16] == SLATE[..16] && slate[32..] == SLATE[32..];
    if !same_database || !same_slate {
        let kept = now.keep();
        panic!(
            "the format has changed (database the same: {same_database}, slate: {same_slate}). A journal of the former \
             must open: keep its golden file, and lay `{}` beside it under the new schema's number",
            kept.display()
        );
    }
}

/// Every record, by stream.
fn all(journal: &Journal) -> BTreeMap<StreamId, Vec<Record>> {
    let streams = journal.streams().unwrap().into_iter();
    streams.map(|(stream, _)| (stream.clone(), journal.read(&stream, 1).unwrap())).collect()
}

/// What lists, starts and views ask for.
fn views(journal: &Journal) -> String {
    let runs = journal.runs(None, 9).unwrap();
    let mut counted = Vec::new();
    journal.counted(at(0).wall, &mut |one| counted.push(one)).unwrap();
    format!(
        "{:?}",
        (
            runs,
            journal.incidents(None, 9).unwrap(),
            journal.members(&"i-1".into(), 9).unwrap(),
            journal.open_streams().unwrap(),
            journal.latest(&[Kind::EngineStarted, Kind::DefinitionPinned, Kind::LeaseGranted], 9).unwrap(),
            journal.marks(Kind::LossSeen, at(0).wall, at(99).wall, 9).unwrap(),
            journal.intents("process.kill").unwrap(),
            counted,
        )
    )
}

/// Kinds that came after the former format.
const LATER: &[Kind] = &[
    Kind::MomentDecided,
    Kind::ExceptionDrafted,
    Kind::DetectionJoined,
    Kind::AnswerRefused,
    Kind::HeadsSealed,
    Kind::SourceAdvanced,
    Kind::StreamRedacted,
    Kind::LadderStarted,
    Kind::LadderRouted,
    Kind::LadderMoved,
    Kind::PageReceipted,
    Kind::LadderChanged,
    Kind::LadderEnded,
    Kind::LadderClosed,
    Kind::LadderSilenced,
    Kind::SilenceAdded,
    Kind::SilenceEnded,
];

fn holds_all(journal: &Journal, with_slate: bool, with_apart: bool) {
    assert_eq!(journal.health().recovery, Vec::<String>::new());
    assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
    let (mut database, slate) = written();
    database.extend(with_slate.then_some(slate));
    database.extend(with_apart.then(apart));
    let mut bodies: BTreeMap<StreamId, Vec<(u64, Body)>> = BTreeMap::new();
    for batch in database {
        // The former format has neither what lies apart nor the kinds that came with it.
        let known = |record: &NewRecord| with_apart || !LATER.contains(&record.body.kind());
        let records = batch.records.into_iter().filter(known);
        let numbered = (batch.expected + 1..).zip(records).map(|(seq, record)| (seq, record.body));
        bodies.entry(batch.stream).or_default().extend(numbered);
    }
    let read = all(journal).into_iter().map(|(stream, records)| {
        (stream, records.into_iter().map(|record| (record.seq, record.body)).collect::<Vec<_>>())
    });
    assert_eq!(read.collect::<BTreeMap<_, _>>(), bodies);
}

#[test]
fn what_lies_apart_in_the_golden_journal_is_there() {
    let dir = tempfile::tempdir().unwrap();
    lay_out(dir.path());
    for journal in [Journal::open_read_only(dir.path()).unwrap(), Journal::open(dir.path()).unwrap()] {
        holds_all(&journal, true, true);
        let last = journal.read(&"run/r-3".into(), 2).unwrap().remove(0);
        let Body::RunFinished(finished) = journal.whole(last).unwrap().body else { panic!() };
        assert_eq!(finished.outputs["listing"], serde_json::json!(vec!["a line of some length"; 200]));
    }
}

#[test]
fn the_former_golden_journal_opens_with_all_that_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    lay_out_of(dir.path(), FORMER);
    let beside = Journal::open_read_only(dir.path()).unwrap();
    holds_all(&beside, true, false);
    let journal = Journal::open(dir.path()).unwrap();
    holds_all(&journal, true, false);
    let runs: Vec<String> = journal.runs(None, 9).unwrap().iter().map(|run| run.stream.to_string()).collect();
    assert_eq!(runs, ["run/r-2", "run/r-1"]);
    assert_eq!(journal.open_streams().unwrap(), ["incident/i-1".into(), "run/r-2".into()]);
    assert_eq!(journal.intents("process.kill").unwrap().len(), 3);
    // It goes on, with what lies apart too.
    append(&journal, vec![batch("run/r-2", 3, of(&[Kind::RunFinished])), apart()]).unwrap();
    assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
}

/// The golden records under an earlier schema, with what that kept of lists.
fn older(schema: usize, dir: &Path) {
    let golden = dir.join("golden.db");
    fs::write(&golden, FORMER.0).unwrap();
    let db = Connection::open(dir.join("journal.db")).unwrap();
    MIGRATIONS[..schema].iter().for_each(|text| db.execute_batch(text).unwrap());
    db.execute_batch(&format!(
        "PRAGMA user_version = {schema}; PRAGMA application_id = {APPLICATION};
         ATTACH '{}' AS golden;
         DELETE FROM journal;
         INSERT INTO journal SELECT * FROM golden.journal;
         INSERT INTO streams (id, name, seq, hash, last, over)
         SELECT id, name, seq, hash, last, over FROM golden.streams;
         INSERT INTO records SELECT * FROM golden.records;",
        golden.display()
    ))
    .unwrap();
    if schema >= LISTED {
        let kept =
            if schema < MARKED { "'LossSeen', 'PauseChanged', 'BreakerChanged', 'DetectionHeld'" } else { "kind" };
        db.execute_batch(&format!(
            "INSERT INTO runs SELECT * FROM golden.runs;
             INSERT INTO incidents SELECT * FROM golden.incidents;
             INSERT INTO members SELECT * FROM golden.members;
             INSERT INTO marks SELECT * FROM golden.marks WHERE kind IN ({kept});"
        ))
        .unwrap();
    }
    if schema >= NOTED {
        db.execute_batch("INSERT INTO kinds SELECT * FROM golden.kinds").unwrap();
    }
    drop(db);
    fs::remove_file(golden).unwrap();
}

#[test]
fn every_earlier_schema_is_brought_up_with_its_data() {
    let now = tempfile::tempdir().unwrap();
    fs::write(now.path().join("journal.db"), FORMER.0).unwrap();
    let now = Journal::open(now.path()).unwrap();
    for schema in 1..MIGRATIONS.len() {
        let dir = tempfile::tempdir().unwrap();
        older(schema, dir.path());
        let beside = Journal::open_read_only(dir.path()).unwrap();
        assert_eq!((beside.verify().unwrap(), all(&beside)), (vec![], all(&now)), "schema {schema}, not brought up");
        drop(beside);
        let journal = Journal::open(dir.path()).unwrap();
        holds_all(&journal, false, false);
        assert_eq!(views(&journal), views(&now), "schema {schema}");
        assert_eq!(all(&journal), all(&now), "schema {schema}: salts and sums too");
        append(&journal, vec![batch("run/r-2", 2, vec![note("goes on").into()])]).unwrap();
        journal.close();
        let again = Journal::open(dir.path()).unwrap();
        assert_eq!(again.verify().unwrap(), Vec::<String>::new());
        let db = Connection::open(dir.path().join("journal.db")).unwrap();
        let kinds: usize = db.query_row("SELECT count(*) FROM kinds", [], |row| row.get(0)).unwrap();
        assert_eq!(kinds, Kind::ALL.len() - LATER.len(), "schema {schema}: every kind is noted");
    }
}

/// Every file but the lock, which says who looked last, and SQLite's shared memory, which holds nothing.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let named = entries.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), path));
    let kept = named.filter(|(name, _)| name != "lock" && !name.ends_with("-shm"));
    kept.map(|(name, path)| (name, fs::read(path).unwrap())).collect()
}

#[test]
fn what_a_newer_quell_wrote_is_refused_and_left_as_it_is() {
    let cases = [
        ("PRAGMA user_version = 99", "its schema is 99", "knows up to schema 6"),
        ("INSERT INTO kinds VALUES ('StarMoved', 1)", "the kind `StarMoved`", "does not know"),
        ("INSERT INTO kinds VALUES ('NoteAdded', 2)", "records of version 2", "reads up to version 1"),
    ];
    for (change, theirs, ours) in cases {
        let dir = tempfile::tempdir().unwrap();
        lay_out(dir.path());
        // It goes on holding the database: what it changed is still in the log.
        let newer = Connection::open(dir.path().join("journal.db")).unwrap();
        newer.execute_batch(change).unwrap();
        let before = files(dir.path());
        assert!(before["journal.db-wal"].len() > 4096, "{change}");
        let copy = tempfile::tempdir().unwrap();
        for round in 0..2 {
            if round == 1 {
                // Nobody holds it any more, and whoever opened it last could tidy up.
                let gone = copy.path().join("gone");
                fs::create_dir(&gone).unwrap();
                before.iter().for_each(|(name, bytes)| fs::write(gone.join(name), bytes).unwrap());
            }
            let place = if round == 0 { dir.path().to_owned() } else { copy.path().join("gone") };
            let backed = back_up(&place, &copy.path().join("backup")).unwrap_err();
            let told = [
                Journal::open(&place).unwrap_err(),
                Journal::open_read_only(&place).unwrap_err(),
                match backed {
                    crate::store::BackupError::Source { source, .. } => source,
                    other => panic!("{other:?}"),
                },
            ];
            for error in told {
                let StoreError::Newer(what) = &error else { panic!("{change}: {error:?}") };
                assert!(what.contains(theirs) && what.contains(ours), "{change}: {what}");
                assert!(what.contains(env!("CARGO_PKG_VERSION")), "{what}");
            }
            assert_eq!(files(&place), before, "{change}");
            assert!(!copy.path().join("backup").exists());
        }
    }
}

#[test]
fn a_slate_with_a_newer_kind_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    lay_out(dir.path());
    // The one entry that is not in the database stands at the first half's beginning.
    let mut slate = fs::read(dir.path().join("slate")).unwrap();
    let word = |slate: &[u8], at: usize| u64::from_le_bytes(slate[at..at + 8].try_into().unwrap());
    let (length, ticket) = (usize::try_from(word(&slate, 4096)).unwrap(), word(&slate, 4104));
    let payload = 4120..4120 + length.next_multiple_of(8);
    let kind = payload.start + slate[payload.clone()].windows(9).position(|word| word == b"NoteAdded").unwrap();
    slate[kind..kind + 9].copy_from_slice(b"StarMoved");
    let sum = crate::store::slate::sum(ticket, length, &slate[payload]);
    slate[4112..4120].copy_from_slice(&sum.to_le_bytes());
    fs::write(dir.path().join("slate"), slate).unwrap();
    let before = files(dir.path());
    let copy = tempfile::tempdir().unwrap();
    for error in [Journal::open_read_only(dir.path()).unwrap_err(), Journal::open(dir.path()).unwrap_err()] {
        assert!(matches!(&error, StoreError::Newer(what) if what.contains("`StarMoved`")), "{error:?}");
    }
    assert!(back_up(dir.path(), &copy.path().join("copy")).is_err());
    let mut after = files(dir.path());
    // Reading makes a log where there is none; nothing is in it.
    after.retain(|name, bytes| before.contains_key(name) || !bytes.is_empty());
    assert_eq!(after, before);
}

#[test]
fn a_newer_kind_or_version_on_the_slate_is_seen_too() {
    let item = Item::new(vec![written().1]).unwrap();
    let mut bytes = vec![0; item.bytes];
    item.encode(&mut bytes);
    assert_eq!(Item::too_new(&bytes), None);
    let place = bytes.windows(9).position(|word| word == b"NoteAdded").unwrap();
    let mut newer = bytes.clone();
    newer[place..place + 9].copy_from_slice(b"StarMoved");
    assert!(Item::too_new(&newer).unwrap().contains("`StarMoved`"));
    // 2 + 8 + 4 + 4 + the stream's name.
    let version = 18 + "run/r-2".len();
    bytes[version] = 2;
    assert!(Item::too_new(&bytes).unwrap().contains("version 2"));
}
