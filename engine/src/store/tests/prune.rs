//! Goal: what is old and over goes, what anything open or standing needs stays, and at every moment the journal checks.
//! Method: a journal of every case; and a child that prunes and dies by SIGKILL after each of its statements in turn.

use super::basics::append;
use super::bodies::{at, note, one_of_each};
use super::dies_within;
use crate::report;
use crate::store::{Blob, DirVault, Journal, Pruned, Retention};
use quell_model::record::{IncidentJoined, IncidentState, NewRecord, ParentRun, Part};
use quell_model::store::Vault;
use quell_model::{Batch, Body, BootId, Durability, Hash, Kind, RunId, Stamp, StoreError, StreamId};
use std::path::Path;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const DIR: &str = "QUELL_TEST_PRUNE_DIR";
const CHILD: &str = "store::tests::prune::the_child";

fn of(kind: Kind) -> Body {
    one_of_each().into_iter().find(|body| body.kind() == kind).unwrap()
}

/// A run's records, as of an incident.
pub(super) fn run(id: &str, incident: Option<&str>, over: bool) -> Vec<Body> {
    let mut started = of(Kind::RunStarted);
    if let Body::RunStarted(started) = &mut started {
        (started.run, started.incident) = (id.into(), incident.map(Into::into));
    }
    let mut bodies = vec![started, of(Kind::StepIntended), of(Kind::StepFinished)];
    bodies.extend(over.then(|| of(Kind::RunFinished)));
    bodies
}

pub(super) fn incident(id: &str, runs: &[&str], over: bool) -> Vec<Body> {
    let mut opened = of(Kind::IncidentOpened);
    if let Body::IncidentOpened(opened) = &mut opened {
        opened.incident = id.into();
    }
    let mut bodies = vec![opened];
    for run in runs {
        let Body::IncidentJoined(joined) = of(Kind::IncidentJoined) else { panic!() };
        bodies.push(IncidentJoined { run: Some(RunId::from(*run)), ..*joined }.into());
    }
    if let (true, Body::IncidentChanged(mut changed)) = (over, of(Kind::IncidentChanged)) {
        changed.state = IncidentState::Resolved;
        bodies.push((*changed).into());
    }
    bodies
}

pub(super) fn put(journal: &Journal, stream: &str, when: Stamp, bodies: Vec<Body>) {
    let stream = StreamId::from(stream);
    // Nearly everything that can lie apart does.
    let records = bodies.into_iter().map(|body| NewRecord::new(when, body).with_large_apart(32)).collect();
    let batch = Batch { expected: journal.last(&stream), stream, records, durability: Durability::Synced };
    append(journal, vec![batch]).unwrap();
}

fn lease(run: &str, incident: &str) -> Body {
    let Body::LeaseGranted(mut granted) = of(Kind::LeaseGranted) else { panic!() };
    (granted.run, granted.incident) = (run.into(), Some(incident.into()));
    (*granted).into()
}

fn ended(run: &str) -> Body {
    let Body::LeaseChanged(mut changed) = of(Kind::LeaseChanged) else { panic!() };
    (changed.run, changed.state) = (run.into(), "ended".into());
    (*changed).into()
}

pub(super) fn days(n: u32) -> Stamp {
    at(0).after(DAY * n)
}

/// Asked on day 100, of another boot than any that the journal knows.
pub(super) fn retention(days_old: u32) -> Retention {
    let age = Some(DAY * days_old);
    Retention { incidents: age, evidence: age, now: days(100), boot: BootId("other".into()), by: "ana".into() }
}

/// Writes what prunes as the command line does without a daemon.
pub(super) fn prune(journal: &Journal, dir: &Path, retention: &Retention) -> Result<Pruned, StoreError> {
    let plan = journal.prunable(retention)?;
    journal.prune(&DirVault::new(dir), plan, retention, &mut |part| {
        put(journal, "system", retention.now, vec![part.clone().into()]);
        Ok(part)
    })
}

fn fill(journal: &Journal) {
    put(journal, "system", days(1), vec![of(Kind::EngineStarted), of(Kind::DefinitionPinned)]);
    put(journal, "run/old", days(2), run("old", Some("i-old"), true));
    put(journal, "incident/i-old", days(3), incident("i-old", &["old"], true));
    put(journal, "run/alone", days(4), run("alone", None, true));
    put(journal, "run/held", days(5), run("held", Some("i-held"), true));
    put(journal, "incident/i-held", days(5), incident("i-held", &["held"], true));
    // What stands of the one may be taken back with what it has started.
    put(journal, "run/below", days(5), run("below", Some("i-held"), true));
    put(journal, "run/once-held", days(5), run("once-held", None, true));
    put(journal, "system", days(6), vec![lease("held", "i-held"), lease("once-held", "i-none"), ended("once-held")]);
    put(journal, "run/told", days(6), run("told", None, true));
    put(journal, "run/named", days(6), run("named", Some("i-open"), true));
    put(journal, "incident/i-open", days(6), incident("i-open", &["told"], false));
    put(journal, "incident/i-runs", days(6), incident("i-runs", &["goes-on"], true));
    put(journal, "run/goes-on", days(7), run("goes-on", None, false));
    put(journal, "run/young", days(95), run("young", Some("i-young"), true));
    put(journal, "incident/i-young", days(6), incident("i-young", &["young"], true));
    put(journal, "elsewhere", days(2), vec![note("a stream of no kind that ends").into()]);
}

fn names(journal: &Journal) -> Vec<String> {
    let all = journal.streams().unwrap().into_iter();
    all.map(|(name, _)| name).filter(|name| !journal.read(name, 1).unwrap().is_empty()).map(|n| n.to_string()).collect()
}

const STAY: [&str; 12] = [
    "elsewhere",
    "incident/i-held",
    "incident/i-open",
    "incident/i-runs",
    "incident/i-young",
    "run/below",
    "run/goes-on",
    "run/held",
    "run/named",
    "run/told",
    "run/young",
    "system",
];

#[test]
fn what_is_old_and_over_goes_and_what_anything_needs_stays() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    fill(&journal);
    let plan = journal.prunable(&retention(90)).unwrap();
    let would = plan.counts().clone();
    assert_eq!((would.runs, would.incidents, would.records), (3, 1, 4 * 3 + 3));
    assert_eq!((would.kept_for_leases, would.kept_for_open), (2, 5));
    assert!(would.bytes > 5000);
    assert_eq!(names(&journal).len(), 16, "a look changes nothing");
    let lasts: Vec<_> = journal.streams().unwrap();
    let went = prune(&journal, dir.path(), &retention(90)).unwrap();
    assert_eq!(went, would);
    for life in 0..2 {
        let journal = if life == 0 { journal.clone() } else { Journal::open(dir.path()).unwrap() };
        assert_eq!(names(&journal), STAY);
        assert_eq!(journal.records_pruned().unwrap(), would.records);
        assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
        // Their names are never given again, and their lines are in no list.
        assert!(journal.streams().unwrap().iter().zip(&lasts).all(|(now, then)| now.0 == then.0));
        assert!(journal.has(&"run/old".into()) && journal.last(&"run/old".into()) == 4);
        let runs: Vec<String> = journal.runs(None, 99).unwrap().iter().map(|one| one.stream.to_string()).collect();
        assert_eq!(runs, ["run/young", "run/goes-on", "run/named", "run/told", "run/below", "run/held"]);
        assert_eq!(journal.incidents(None, 99).unwrap().len(), 4);
        let again = append(
            &journal,
            vec![Batch {
                stream: "run/old".into(),
                expected: 0,
                records: vec![NewRecord::new(days(100), note("anew"))],
                durability: Durability::Synced,
            }],
        );
        assert!(matches!(again, Err(StoreError::Conflict { .. })), "{again:?}");
        // Who, when, what.
        let mark = journal.pruned(&"run/old".into()).unwrap().unwrap();
        assert_eq!((mark.by.as_str(), mark.at, mark.older_than), ("ana", days(100), DAY * 90));
        assert_eq!(journal.pruned(&"run/held".into()).unwrap(), None);
        let said = journal.latest(&[Kind::StreamPruned], 9).unwrap();
        let Body::StreamPruned(said) = &said[0].body else { panic!() };
        assert_eq!(said.streams[0].stream, "run/old".into());
        assert_eq!(said.streams[0].ended, days(2).wall);
        // What answered an attack before is still known.
        let line = journal.last_run(&"contain".into(), &line_per()).unwrap().unwrap();
        assert!(line.tail.is_some());
        let nothing = prune(&journal, dir.path(), &retention(90)).unwrap();
        assert_eq!((nothing.runs, nothing.incidents, nothing.records), (0, 0, 0));
        journal.close();
    }
}

fn line_per() -> String {
    let Body::RunStarted(started) = of(Kind::RunStarted) else { panic!() };
    started.per.clone()
}

#[test]
fn within_a_boot_ages_go_by_the_clock_that_nobody_sets() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    put(&journal, "run/earlier-boot", days(1), run("earlier-boot", None, true));
    put(&journal, "system", days(2), vec![of(Kind::EngineStarted)]);
    put(&journal, "run/this-boot", days(3), run("this-boot", None, true));
    let mut asked = retention(90);
    asked.boot = BootId("1f2e".into());
    // The clock was set ahead by years.
    asked.now.boot_ns = days(10).boot_ns;
    let plan = journal.prunable(&asked).unwrap();
    assert_eq!(plan.counts().runs, 1, "only what was before this boot");
    asked.now.boot_ns = days(94).boot_ns;
    assert_eq!(journal.prunable(&asked).unwrap().counts().runs, 2);
}

#[test]
fn a_stream_that_went_on_meanwhile_stays() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    put(&journal, "run/a", days(1), run("a", None, true));
    put(&journal, "run/b", days(1), run("b", None, true));
    let asked = retention(90);
    let plan = journal.prunable(&asked).unwrap();
    let went = journal.prune(&DirVault::new(dir.path()), plan, &asked, &mut |part| {
        put(&journal, "run/a", days(100), vec![of(Kind::UndoBegan)]);
        put(&journal, "system", asked.now, vec![part.clone().into()]);
        Ok(part)
    });
    assert_eq!(went.map(|went| (went.runs, went.kept_for_open)).unwrap(), (1, 1));
    assert_eq!(names(&journal), ["run/a", "system"]);
    assert_eq!(journal.read(&"run/a".into(), 1).unwrap().len(), 5);
    assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
}

#[test]
fn who_takes_records_away_by_hand_is_found_out() {
    let cases = [
        // Gone, and claimed to be pruned by a record that names others.
        (
            "DELETE FROM records WHERE stream = (SELECT id FROM streams WHERE name = 'run/held');
          UPDATE streams SET last = 0, pruned = (SELECT max(pruned) FROM streams) WHERE name = 'run/held'",
            "run/held",
        ),
        ("UPDATE streams SET hash = zeroblob(32) WHERE name = 'run/old'", "run/old"),
        ("UPDATE streams SET seq = 3 WHERE name = 'run/old'", "run/old"),
        ("UPDATE streams SET pruned = 0 WHERE name = 'run/old'", "has no records; 4 are missing"),
        ("UPDATE streams SET pruned = 1 WHERE name = 'run/held'", "was pruned, and has records"),
        ("UPDATE records SET body = replace(body, 'run/old', 'run/odd') WHERE kind = 'StreamPruned'", "run/old"),
    ];
    for (change, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        fill(&journal);
        prune(&journal, dir.path(), &retention(90)).unwrap();
        journal.close();
        let hand = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
        hand.execute_batch(change).unwrap();
        drop(hand);
        let findings = Journal::open(dir.path()).unwrap().verify().unwrap();
        assert!(findings.iter().any(|finding| finding.contains(expected)), "{change}: {findings:?}");
    }
}

#[tokio::test]
async fn blobs_that_nothing_left_refers_to_go_once_they_are_old() {
    let dir = tempfile::tempdir().unwrap();
    let vault = DirVault::new(dir.path());
    let journal = Journal::open(dir.path()).unwrap();
    let mut named = Vec::new();
    for (name, bytes) in [("old", "gone"), ("young", "stays"), ("both", "shared")] {
        let hash = vault.put(bytes.as_bytes().to_vec()).await.unwrap();
        let mut body = of(Kind::StepFinished);
        if let Body::StepFinished(finished) = &mut body {
            finished.output = serde_json::json!({ "memory": { "sha256": hash.0, "bytes": 9 } });
        }
        let ends = |id: &str| [run(id, None, false), vec![body.clone(), of(Kind::RunFinished)]].concat();
        let when = if name == "young" { days(95) } else { days(1) };
        put(&journal, &format!("run/{name}"), when, ends(name));
        if name == "both" {
            put(&journal, "run/other", days(95), ends("other"));
        }
        named.push(hash);
    }
    let nobody = vault.put(b"nobody's".to_vec()).await.unwrap();
    let fresh = vault.put(b"nobody's yet".to_vec()).await.unwrap();
    let put_in = |hash, when: Stamp| {
        let file = std::fs::File::open(vault.path(hash)).unwrap();
        file.set_modified(when.wall.into()).unwrap();
    };
    named.iter().chain([&nobody]).for_each(|hash| put_in(hash, days(1)));
    put_in(&fresh, days(99));
    let asked = retention(90);
    let would = journal.orphans(&vault, &journal.prunable(&asked).unwrap(), &asked).unwrap();
    let went = prune(&journal, dir.path(), &asked).unwrap();
    assert_eq!((went.runs, went.blobs, went.blob_bytes, would.len()), (2, 2, 12, 2));
    assert!(vault.get(&fresh).await.is_ok(), "a capture may be about to name it");
    for (hash, stays) in [(named[0], false), (named[1], true), (named[2], true), (nobody, false)] {
        assert_eq!(vault.get(&hash).await.is_ok(), stays);
    }
    let said = journal.latest(&[Kind::StreamPruned], 1).unwrap();
    assert!(matches!(&said[0].body, Body::StreamPruned(said) if said.blobs.len() == 2 && said.streams.is_empty()));
}

/// Evidence for a quarter, what happened for a year.
#[tokio::test]
async fn evidence_goes_before_its_run_and_is_not_missed() {
    let dir = tempfile::tempdir().unwrap();
    let vault = DirVault::new(dir.path());
    let journal = Journal::open(dir.path()).unwrap();
    let mut blobs = Vec::new();
    for (name, incident, when, over) in [
        ("old", None, 1, true),
        ("goes-on", None, 1, false),
        ("held", Some("i-held"), 1, true),
        ("young", None, 95, true),
    ] {
        let hash = vault.put(name.as_bytes().to_vec()).await.unwrap();
        let piece = quell_model::Evidence { name: "exe".into(), sha256: hash, bytes: 3, truncated: false };
        let Body::StepFinished(mut finished) = of(Kind::StepFinished) else { panic!() };
        finished.output = serde_json::json!({ "evidence": [piece] });
        let mut bodies = [run(name, incident, false), vec![(*finished).into()]].concat();
        bodies.extend(over.then(|| of(Kind::RunFinished)));
        put(&journal, &format!("run/{name}"), days(when), bodies);
        std::fs::File::open(vault.path(&hash)).unwrap().set_modified(days(1).wall.into()).unwrap();
        blobs.push(hash);
    }
    put(&journal, "system", days(2), vec![lease("held", "i-held")]);
    let kept = |incidents: Option<u32>, evidence: Option<u32>| Retention {
        incidents: incidents.map(|age| DAY * age),
        evidence: evidence.map(|age| DAY * age),
        ..retention(0)
    };
    for nothing in [kept(None, None), kept(Some(400), None), kept(Some(400), Some(200))] {
        let went = prune(&journal, dir.path(), &nothing).unwrap();
        assert_eq!((went.runs, went.incidents, went.blobs), (0, 0, 0), "{nothing:?}");
    }
    for asked in [kept(Some(400), Some(90)), kept(None, Some(90))] {
        let would = journal.orphans(&vault, &journal.prunable(&asked).unwrap(), &asked).unwrap();
        assert_eq!(would.iter().map(|blob| blob.hash).collect::<Vec<_>>(), [blobs[0]], "{asked:?}");
    }
    let went = prune(&journal, dir.path(), &kept(Some(400), Some(90))).unwrap();
    assert_eq!((went.runs, went.records, went.blobs, went.blob_bytes), (0, 0, 1, 3));
    let there: Vec<bool> = blobs.iter().map(|hash| vault.path(hash).exists()).collect();
    assert_eq!(there, [false, true, true, true], "what is open, stands or is young has its own");
    assert_eq!(journal.read(&"run/old".into(), 1).unwrap().len(), 5, "the run itself stays");
    assert_eq!(journal.evidence(&vault).unwrap().findings, Vec::<String>::new());
    assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
    let said = journal.latest(&[Kind::StreamPruned], 1).unwrap();
    assert!(
        matches!(&said[0].body, Body::StreamPruned(said) if said.older_than == DAY * 90 && said.blobs == blobs[..1])
    );
}

#[tokio::test]
async fn a_blob_that_is_put_in_again_is_young_again() {
    let dir = tempfile::tempdir().unwrap();
    let vault = DirVault::new(dir.path());
    let hash = vault.put(b"seen twice".to_vec()).await.unwrap();
    let path = vault.path(&hash);
    let long_ago = std::time::SystemTime::UNIX_EPOCH + DAY * 9000;
    std::fs::File::open(&path).unwrap().set_modified(long_ago).unwrap();
    let looked_at: Vec<Blob> = vault.all().unwrap();
    assert_eq!((looked_at.len(), looked_at[0].bytes), (1, 10));
    vault.put(b"seen twice".to_vec()).await.unwrap();
    assert!(!vault.discard(&looked_at[0]).unwrap(), "it was wanted since it was looked at");
    assert_eq!(vault.get(&hash).await.unwrap(), b"seen twice");
    assert!(vault.discard(&vault.all().unwrap()[0]).unwrap());
    assert!(!path.parent().unwrap().exists(), "its folder went with it");
}

#[test]
fn the_file_shrinks_by_what_went() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    for n in 0..40 {
        let id = format!("big-{n}");
        let mut bodies = run(&id, None, false);
        bodies.extend((0..20).map(|_| note(&"x".repeat(5000)).into()));
        bodies.push(of(Kind::RunFinished));
        put(&journal, &format!("run/{id}"), days(1), bodies);
    }
    journal.close();
    let size = || std::fs::metadata(dir.path().join("journal.db")).unwrap().len();
    let before = size();
    assert!(before > 4_000_000, "{before}");
    let journal = Journal::open(dir.path()).unwrap();
    let went = prune(&journal, dir.path(), &retention(90)).unwrap();
    assert_eq!(went.runs, 40);
    journal.close();
    let after = size();
    assert!(after < 250_000, "of {before} bytes {after} are left, and {} went", went.bytes);
    assert!(went.bytes > 4_000_000 && went.bytes < before);
    assert_eq!(Journal::open(dir.path()).unwrap().verify().unwrap(), Vec::<String>::new());
}

#[test]
fn ages_are_told_in_days() {
    let hours = |n: u64| crate::store::print_age(Duration::from_secs(3600 * n));
    assert_eq!([hours(24 * 90), hours(36), hours(5)], ["90d", "1d12h", "5h"]);
}

/// A run that a step of another has started.
fn below(id: &str, parent: &str, detached: bool) -> Vec<Body> {
    let mut bodies = run(id, None, true);
    let Body::RunStarted(started) = &mut bodies[0] else { panic!() };
    let part = Part { step: "s".into(), item: None };
    let (wanted_by, suspects) = (Vec::new(), Vec::new());
    started.parent = Some(ParentRun { run: parent.into(), part, depth: 1, detached, wanted_by, suspects });
    bodies
}

#[test]
fn what_a_run_has_started_goes_with_it_or_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    put(&journal, "system", days(1), vec![of(Kind::EngineStarted)]);
    for (id, parent, detached) in [
        ("of-young", "young", false),
        ("of-that", "of-young", false),
        ("apart", "young", true),
        ("of-held", "held", false),
        ("of-none", "none", false),
        ("deepest", "deeper", false),
        ("deeper", "old", false),
    ] {
        put(&journal, &format!("run/{id}"), days(2), below(id, parent, detached));
    }
    put(&journal, "run/young", days(95), run("young", None, true));
    put(&journal, "run/held", days(3), run("held", None, true));
    put(&journal, "system", days(3), vec![lease("held", "i-none")]);
    put(&journal, "run/old", days(3), run("old", None, true));
    let gone = |journal: &Journal| -> Vec<&str> {
        let all = ["old", "deeper", "deepest", "apart", "of-none", "of-young", "of-that", "of-held", "young", "held"];
        let is_gone = |id: &&str| journal.pruned(&StreamId::run(&(*id).into())).unwrap().is_some();
        all.into_iter().filter(is_gone).collect()
    };
    let plan = journal.prunable(&retention(90)).unwrap();
    assert_eq!((plan.counts().runs, plan.counts().kept_for_open), (5, 3));
    let vault = DirVault::new(dir.path());
    // It was taken up since somebody looked: what it has started stays too, however deep.
    let went = journal.prune(&vault, plan, &retention(90), &mut |mut part| {
        part.streams.retain(|one| one.stream != "run/old".into());
        put(&journal, "system", days(100), vec![part.clone().into()]);
        Ok(part)
    });
    assert_eq!((went.unwrap().runs, gone(&journal)), (2, vec!["apart", "of-none"]));
    prune(&journal, dir.path(), &retention(90)).unwrap();
    assert_eq!(gone(&journal), ["old", "deeper", "deepest", "apart", "of-none"]);
    assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
}

#[test]
fn many_go_in_parts_that_are_a_transaction_each() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let batches = (0..600).map(|n| {
        let bodies = run(&format!("r-{n}"), None, true);
        let records = bodies.into_iter().map(|body| NewRecord::new(days(1), body)).collect();
        Batch { stream: format!("run/r-{n}").into(), expected: 0, records, durability: Durability::Synced }
    });
    append(&journal, batches.collect()).unwrap();
    assert_eq!(prune(&journal, dir.path(), &retention(90)).unwrap().runs, 600);
    let parts = journal.latest(&[Kind::StreamPruned], 99).unwrap();
    let sizes = parts.iter().map(|part| match &part.body {
        Body::StreamPruned(pruned) => pruned.streams.len(),
        other => panic!("{other:?}"),
    });
    assert_eq!(sizes.collect::<Vec<_>>(), [256, 256, 88]);
    assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
}

/// Not a test by itself: what the child runs.
#[test]
fn the_child() {
    #[expect(clippy::disallowed_methods, reason = "how the parent tells the child that it is one")]
    if let Some(dir) = std::env::var_os(DIR) {
        let dir = Path::new(&dir);
        let journal = Journal::open(dir).unwrap();
        let mut asked = retention(90);
        // Beyond every file's time, so that blobs go too.
        asked.now.wall = "2100-01-01T00:00:00Z".parse().unwrap();
        prune(&journal, dir, &asked).unwrap();
        journal.close();
    }
}

#[test]
fn killed_after_any_statement_the_journal_checks_and_the_next_one_ends_it() {
    let original = tempfile::tempdir().unwrap();
    let journal = Journal::open(original.path()).unwrap();
    put(&journal, "run/a", days(1), run("a", None, true));
    put(&journal, "incident/b", days(1), incident("b", &["a"], true));
    put(&journal, "run/open", days(1), run("open", None, false));
    journal.close();
    let blob = DirVault::new(original.path()).keep(b"nobody's").unwrap();
    let mut deaths = 0;
    for place in 1.. {
        let dir = tempfile::tempdir().unwrap();
        for file in ["journal.db", "slate"] {
            std::fs::copy(original.path().join(file), dir.path().join(file)).unwrap();
        }
        assert_eq!(DirVault::new(dir.path()).keep(b"nobody's").unwrap(), blob);
        if !dies_within((CHILD, DIR), dir.path(), place) {
            break;
        }
        deaths += 1;
        let beside = Journal::open_read_only(dir.path()).unwrap();
        assert_eq!((beside.health().recovery, beside.verify().unwrap()), (vec![], vec![]), "place {place}, beside");
        drop(beside);
        // What was said on the slate is done at the next start.
        let journal = Journal::open(dir.path()).unwrap();
        assert_eq!((journal.health().recovery, journal.verify().unwrap()), (vec![], vec![]), "place {place}");
        let whole = |name: &str| journal.read(&name.into(), 1).unwrap().len();
        let (a, b) = (whole("run/a"), whole("incident/b"));
        assert!(matches!((a, b), (4, 3) | (0, 0)), "place {place}: {a}, {b}");
        assert_eq!(a == 0, journal.pruned(&"run/a".into()).unwrap().is_some());
        let mut asked = retention(90);
        asked.now.wall = "2100-01-01T00:00:00Z".parse().unwrap();
        prune(&journal, dir.path(), &asked).unwrap();
        assert_eq!((whole("run/a"), whole("incident/b"), whole("run/open")), (0, 0, 3));
        assert!(!DirVault::new(dir.path()).path(&blob).exists());
        assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
    }
    assert!(deaths >= 13, "only {deaths} places");
    assert_ne!(blob.0, Hash::default());
}

#[test]
fn views_of_what_refers_to_something_pruned_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    put(&journal, "run/gone", days(2), run("gone", Some("i-late"), true));
    put(&journal, "incident/i-late", days(95), incident("i-late", &["gone"], true));
    put(&journal, "run/late", days(95), run("late", Some("i-kept"), true));
    put(&journal, "incident/i-kept", days(2), incident("i-kept", &["late"], true));
    assert_eq!(prune(&journal, dir.path(), &retention(90)).unwrap().runs, 1);
    let late = report::explain(&journal, &"i-late".into(), report::Wanted::default()).unwrap().unwrap();
    assert_eq!(late.runs_pruned, ["gone".into()]);
    let late = report::incident(&journal, &"i-late".into(), report::Wanted::default()).unwrap().unwrap();
    assert_eq!((late.runs.len(), late.runs_pruned), (0, vec!["gone".into()]));
    assert_eq!(report::incidents(&journal).unwrap().len(), 2, "what a run that stays belongs to stays");
    let runs = report::runs(&journal).unwrap();
    assert_eq!((runs.len(), runs[0].incident.as_ref().map(|id| id.as_str())), (1, Some("i-kept")));
    assert_eq!(report::run(&journal, &"gone".into()).unwrap(), None);
    assert!(journal.pruned(&"run/gone".into()).unwrap().is_some());
    assert!(journal.pruned(&"incident/i-kept".into()).unwrap().is_none());
}
