//! Goal: what was redacted is nowhere in a journal's files, the chain holds all the same, and whoever takes a body away by hand is found.
//! Method: a text that is in every kind of place of a run; the bytes of every file are looked through.

use super::bodies::{at, note, one_of_each};
use super::prune::{days, prune, put, retention, run};
use crate::report;
use crate::store::redact::RedactError;
use crate::store::{Journal, back_up, wipe};
use quell_model::record::{NewRecord, ParentRun, Part};
use quell_model::{Batch, Body, Durability, Kind, Record, Seq, StreamId};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SECRET: &str = "hunter2-correct-horse";

fn of(kind: Kind) -> Body {
    one_of_each().into_iter().find(|body| body.kind() == kind).unwrap()
}

/// A run that has the secret in what a step was given, in what it gave (which lies apart), and in what ended it.
fn filled(dir: &Path) -> Journal {
    let journal = Journal::open(dir).unwrap();
    let mut bodies = run("r", Some("i"), false);
    for body in &mut bodies {
        match body {
            Body::RunStarted(started) => {
                started.event = serde_json::json!({ "node": "n", "action": SECRET, "process": { "image": SECRET, "step": SECRET }, "deep": [{ SECRET: SECRET }] })
            }
            Body::StepIntended(intended) => {
                intended.input = serde_json::json!({ "token": SECRET });
                intended.plan.targets[0].label = format!("x {SECRET}");
            }
            Body::StepFinished(finished) => {
                finished.output = serde_json::json!({ "env": vec![SECRET; 40] });
                finished.proof = format!("it printed {SECRET}");
            }
            _ => {}
        }
    }
    let Body::RunFinished(mut finished) = of(Kind::RunFinished) else { panic!() };
    finished.summary = format!("ended with {SECRET}");
    bodies.push((*finished).into());
    put(&journal, "run/r", days(1), bodies);
    put(&journal, "run/open", days(1), run("open", None, false));
    journal
}

fn redact(journal: &Journal, stream: &str, seq: Seq) -> Result<bool, RedactError> {
    redact_all(journal, stream, seq..=seq).map(|count| count > 0)
}

/// In one transaction; gives how many had a body.
fn redact_all(journal: &Journal, stream: &str, records: RangeInclusive<Seq>) -> Result<usize, RedactError> {
    let said = journal.redactions(&stream.into(), &records.collect(), ("ana".into(), "a token".to_owned()))?;
    let (count, stream) = (said.len(), StreamId::system());
    if count > 0 {
        let records = said.into_iter().map(|said| NewRecord::new(days(100), said)).collect();
        let expected = journal.last(&stream);
        super::basics::append(journal, vec![Batch { stream, expected, records, durability: Durability::Synced }])
            .unwrap();
    }
    Ok(count)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    all.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn holds_secret(dir: &Path) -> Vec<PathBuf> {
    let has = |path: &PathBuf| std::fs::read(path).unwrap().windows(SECRET.len()).any(|some| some == SECRET.as_bytes());
    files(dir).into_iter().filter(has).collect()
}

#[test]
fn what_was_redacted_is_nowhere_and_everything_holds() {
    let (home, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = home.path();
    let journal = filled(dir);
    assert!(!holds_secret(dir).is_empty(), "it is found where it is");
    let before = journal.read(&"run/r".into(), 1).unwrap();
    for seq in 1..=4 {
        assert!(redact(&journal, "run/r", seq).unwrap());
        assert!(!redact(&journal, "run/r", seq).unwrap(), "once is enough");
    }
    journal.close();
    wipe(dir).unwrap();
    assert_eq!(holds_secret(dir), Vec::<PathBuf>::new());
    let journal = Journal::open(dir).unwrap();
    assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
    let after = journal.read(&"run/r".into(), 1).unwrap();
    let chain = |records: &[Record]| records.iter().map(|r| (r.seq, r.prev, r.at, r.body.kind())).collect::<Vec<_>>();
    assert_eq!(chain(&after), chain(&before));
    assert!(after.iter().all(|record| record.salt.is_empty()));
    assert!(journal.whole(after[2].clone()).is_ok(), "it refers to nothing that is gone");
    let Body::StepFinished(finished) = &after[2].body else { panic!() };
    assert_eq!((finished.output.as_str(), finished.proof.as_str()), (Some("redacted"), "redacted"));
    assert_eq!(finished.part.step.as_str(), "kill", "which step it was is not taken away");
    let shown = report::run(&journal, &"r".into()).unwrap().unwrap();
    assert!(!serde_json::to_string(&shown).unwrap().contains(SECRET));
    let listed = journal.runs(None, 9).unwrap();
    let line = listed.iter().find_map(|one| one.line.clone().filter(|_| one.stream == "run/r".into())).unwrap();
    assert_eq!(line.tail.unwrap().summary, "redacted");
    let said = journal.redacted(&"run/r".into()).unwrap();
    assert_eq!(
        said.iter().map(|one| (one.by.as_str(), one.seq)).collect::<Vec<_>>(),
        [("ana", 1), ("ana", 2), ("ana", 3), ("ana", 4)]
    );
    let slice = journal.slice(&"run/r".into(), 1, 3).unwrap().unwrap();
    assert_eq!(slice.verify(after[3].prev), Ok(()), "a slice of it verifies alone");
    back_up(dir, &to.path().join("copy")).unwrap();
    assert_eq!(holds_secret(to.path()), Vec::<PathBuf>::new());
    // What comes after goes on, and age takes it as any other.
    put(&journal, "run/later", days(100), run("later", None, true));
    prune(&journal, dir, &retention(90)).unwrap();
    assert!(journal.pruned(&"run/r".into()).unwrap().is_some());
    assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
}

#[test]
fn what_is_open_or_not_there_is_not_redacted() {
    let dir = tempfile::tempdir().unwrap();
    let journal = filled(dir.path());
    put(&journal, "run/held", days(1), run("held", None, true));
    let Body::LeaseGranted(mut granted) = of(Kind::LeaseGranted) else { panic!() };
    granted.run = "held".into();
    put(&journal, "system", at(1), vec![(*granted).into()]);
    // What stands of a run is taken back with what it has started, which is read for that.
    for (id, parent) in [("below", "held"), ("deeper", "below")] {
        let mut bodies = run(id, None, true);
        let Body::RunStarted(started) = &mut bodies[0] else { panic!() };
        let part = Part { step: "s".into(), item: None };
        let (wanted_by, suspects) = (Vec::new(), Vec::new());
        let (run, depth, detached) = (parent.into(), 1, false);
        started.parent = Some(ParentRun { run, part, depth, detached, wanted_by, suspects });
        put(&journal, &format!("run/{id}"), days(1), bodies);
        let held = StreamId::run(&"held".into());
        let refused = redact(&journal, &format!("run/{id}"), 1);
        assert!(matches!(&refused, Err(RedactError::Open(stream)) if *stream == held), "{refused:?}");
    }
    assert!(matches!(redact(&journal, "run/open", 1), Err(RedactError::Open(_))));
    assert!(matches!(redact(&journal, "run/held", 1), Err(RedactError::Open(_))));
    assert!(matches!(redact(&journal, "system", 1), Err(RedactError::Other(_))));
    for (stream, seq) in [("run/r", 0), ("run/r", 5), ("run/none", 1)] {
        assert!(matches!(redact(&journal, stream, seq), Err(RedactError::None { .. })), "{stream} {seq}");
    }
    assert!(matches!(wipe(dir.path()), Err(quell_model::StoreError::Taken { .. })));
}

#[test]
fn every_kind_of_record_says_nothing_more_and_is_still_one() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let mut bodies = one_of_each();
    bodies.push(of(Kind::RunFinished));
    let count = bodies.len() as u64;
    put(&journal, "run/r-1", days(1), bodies);
    put(&journal, "incident/i-1", days(1), vec![note("hi").into(), of(Kind::IncidentChanged)]);
    for seq in 1..=count {
        redact(&journal, "run/r-1", seq).unwrap();
    }
    assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
    let text = serde_json::to_string(&journal.read(&"run/r-1".into(), 1).unwrap()).unwrap();
    for word in
        ["bash -i", "its pidfd", "it still runs", "seen by", "/bin/bash", "process.kill x", "/tmp/x", "cleaned up"]
    {
        assert!(!text.contains(word), "{word}");
    }
}

/// An event's own maps have the keys that its source gave them.
#[test]
fn what_is_a_key_goes_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let Body::DetectionAccepted(mut accepted) = of(Kind::DetectionAccepted) else { panic!() };
    let event = Arc::make_mut(&mut accepted.detection.event);
    event.sigma.insert(SECRET.into(), "x".into());
    event.own.insert("process".into(), serde_json::json!({ SECRET: 1 }));
    accepted.detection.events = vec![Arc::clone(&accepted.detection.event)];
    let mut bodies = run("r", None, false);
    let Body::RunStarted(started) = &mut bodies[0] else { panic!() };
    started.event = serde_json::json!({ "node": "n", SECRET: 1, "cloud": { SECRET: [{ SECRET: 2 }] } });
    started.detection = serde_json::json!({ "rule": "r", SECRET: 1 });
    bodies.extend([(*accepted).into(), of(Kind::RunFinished)]);
    put(&journal, "run/r", days(1), bodies);
    let before = journal.read(&"run/r".into(), 1).unwrap();
    assert_eq!(redact_all(&journal, "run/r", 1..=5).unwrap(), 5);
    assert_eq!(redact_all(&journal, "run/r", 1..=5).unwrap(), 0, "once is enough");
    let after = journal.read(&"run/r".into(), 1).unwrap();
    assert!(!serde_json::to_string(&after).unwrap().contains(SECRET), "{after:?}");
    let kinds = |records: &[Record]| records.iter().map(|one| one.body.kind()).collect::<Vec<_>>();
    assert_eq!(kinds(&after), kinds(&before));
    let (Body::DetectionAccepted(one), Body::DetectionAccepted(other)) = (&before[3].body, &after[3].body) else {
        panic!()
    };
    assert_eq!(one.detection.event.head.at, other.detection.event.head.at, "what is quell's own shape stays");
    let (Body::StepIntended(one), Body::StepIntended(other)) = (&before[1].body, &after[1].body) else { panic!() };
    assert_eq!((&one.part, one.plan.targets.len()), (&other.part, other.plan.targets.len()));
    assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
    journal.close();
    wipe(dir.path()).unwrap();
    assert_eq!(holds_secret(dir.path()), Vec::<PathBuf>::new());
    assert_eq!(Journal::open(dir.path()).unwrap().verify().unwrap(), Vec::<String>::new());
}

#[test]
fn who_takes_a_body_away_by_hand_is_found_out() {
    for (change, expected) in [
        (
            "UPDATE records SET salt = zeroblob(32) WHERE seq = 2 AND stream = (SELECT id FROM streams WHERE name = 'run/r')",
            "no record says",
        ),
        (
            "UPDATE records SET body = replace(body, 'redacted', 'reworded') WHERE kind = 'StepFinished'",
            "no record says",
        ),
        ("UPDATE records SET salt = zeroblob(16) WHERE length(salt) = 32", "has a body again"),
        ("UPDATE records SET salt = zeroblob(32) WHERE length(salt) = 32", "does not follow"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let journal = filled(dir.path());
        redact(&journal, "run/r", 3).unwrap();
        journal.close();
        let hand = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
        assert!(hand.execute(change, []).unwrap() > 0);
        drop(hand);
        let findings = Journal::open(dir.path()).unwrap().verify().unwrap();
        assert!(findings.iter().any(|finding| finding.contains(expected)), "{change}: {findings:?}");
    }
}
