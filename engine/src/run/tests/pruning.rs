//! Goal: what is pruned beside a working engine is nothing that it works with, and nobody goes on from what is on its way out, or was
//! redacted.
//! Method: runs and an incident that are over by a look from later; the writer held still between the record and its effect.

use super::*;
use crate::run::serve::TAKES_NOTHING;
use crate::store::Retention;
use quell_model::record::{NewRecord, StreamPruned};

/// Asked long after all of it.
fn late() -> Retention {
    let age = Some(Duration::from_secs(90 * 86_400));
    let now = SystemClock.now().after(Duration::from_secs(100 * 86_400));
    Retention { incidents: age, evidence: age, now, boot: process::BootId("b".into()), by: "retention".into() }
}

fn prune(stage: &mut Stage) -> (u64, u64) {
    let (journal, vault, asked) = (stage.journal.clone(), DirVault::new(stage.dir.path()), late());
    let plan = journal.prunable(&asked).unwrap();
    let went = journal.prune(&vault, plan, &asked, &mut |part| {
        let written = stage.core.serve(Request::Prune(Box::new(part))).unwrap();
        Ok(serde_json::from_value::<StreamPruned>(written).unwrap())
    });
    let went = went.unwrap();
    (went.runs, went.incidents)
}

fn retry(run: &RunId) -> Request {
    Request::Retry { run: run.clone(), from: None, by: "ana".into(), why: "again".to_owned() }
}

/// One run that has failed, of an incident that somebody has resolved.
fn over() -> (Stage, RunId, IncidentId) {
    let world = World { broken: true, ..World::default() };
    let mut stage = stage(world, playbook_of(vec![acts("kill", &[], "process.kill")]));
    stage.core.detections([detection("7", 1)]);
    stage.settle();
    let run = stage.runs().pop().unwrap();
    let open = stage.journal.open_streams().unwrap();
    let incident = open.iter().find_map(StreamId::as_incident).unwrap();
    let end =
        Request::Resolve { incident: incident.clone(), why: "done".to_owned(), by: "ana".into(), via: "socket".into() };
    stage.core.serve(end).unwrap();
    stage.settle();
    (stage, run, incident)
}

#[test]
fn what_the_engine_works_with_stays_and_the_rest_goes() {
    let (mut stage, run, incident) = over();
    assert_eq!(prune(&mut stage), (1, 0), "a further detection would reopen the incident: it is live");
    assert!(stage.journal.pruned(&StreamId::run(&run)).unwrap().is_some());
    assert!(stage.journal.pruned(&StreamId::incident(&incident)).unwrap().is_none());
    // The system's stream goes on where the engine thinks that it does.
    stage.core.serve(Request::Pause { paused: true, by: "ana".into() }).unwrap();
    assert!(stage.core.serve(retry(&run)).is_err());
    assert_eq!(stage.journal.verify().unwrap(), Vec::<String>::new());
}

#[test]
fn a_run_that_was_taken_up_since_the_look_stays() {
    let (mut stage, run, _) = over();
    let plan = stage.journal.prunable(&late()).unwrap();
    assert_eq!(plan.counts().runs, 1);
    // It fails again at once and is over again, one attempt later.
    stage.core.serve(retry(&run)).unwrap();
    stage.settle();
    let vault = DirVault::new(stage.dir.path());
    let journal = stage.journal.clone();
    let went = journal.prune(&vault, plan, &late(), &mut |part| {
        let written = stage.core.serve(Request::Prune(Box::new(part))).unwrap();
        Ok(serde_json::from_value::<StreamPruned>(written).unwrap())
    });
    assert_eq!(went.map(|went| (went.runs, went.records)).unwrap(), (0, 0));
    assert!(stage.journal.pruned(&StreamId::run(&run)).unwrap().is_none());
    assert_eq!(stage.journal.verify().unwrap(), Vec::<String>::new());
}

#[test]
fn nobody_goes_on_from_a_run_that_is_on_its_way_out() {
    let (mut stage, run, _) = over();
    let part = {
        let mut parts = Vec::new();
        let plan = stage.journal.prunable(&late()).unwrap();
        let vault = DirVault::new(stage.dir.path());
        let stopped = stage.journal.prune(&vault, plan, &late(), &mut |part| {
            parts.push(part);
            Err(StoreError::Closed)
        });
        assert!(matches!(stopped, Err(StoreError::Closed)));
        parts.pop().unwrap()
    };
    let hang = stage.hang();
    stage.core.serve(Request::Prune(Box::new(part))).unwrap();
    // Its records can still be read, and the writer takes them away next.
    assert!(stage.journal.read_kinds(&StreamId::run(&run), 1, &[Kind::RunStarted]).is_ok());
    let refused = stage.core.serve(retry(&run)).unwrap_err();
    assert_eq!(refused, Refusal::NotNow(TAKES_NOTHING.to_owned()));
    drop(hang);
    stage.until(|stage| stage.journal.pruned(&StreamId::run(&run)).unwrap().is_some());
    assert!(stage.core.serve(retry(&run)).is_err());
    assert_eq!(stage.journal.verify().unwrap(), Vec::<String>::new());
}

#[test]
fn nobody_goes_on_from_a_run_that_says_nothing_more() {
    let (stage, run, _) = over();
    let Stage { core, journal, dir, .. } = stage;
    drop(core);
    journal.close();
    let journal = Journal::open(dir.path()).unwrap();
    let (stream, system) = (StreamId::run(&run), StreamId::system());
    let said = journal.redactions(&stream, &[2].into(), ("ana".into(), "a token".to_owned())).unwrap();
    let records = said.into_iter().map(|said| NewRecord::new(SystemClock.now(), said)).collect();
    let expected = journal.last(&system);
    journal.written(Batch { stream: system, expected, records, durability: Durability::Synced }).unwrap();
    journal.close();
    let definitions = definitions(playbook_of(vec![acts("kill", &[], "process.kill")]));
    let mut stage = stage_in(dir, World::default(), definitions);
    stage.core.recover(Arc::new(|_, _| None)).unwrap();
    let refused = stage.core.serve(retry(&run)).unwrap_err().to_string();
    assert!(refused.contains("were redacted: nothing follows from them"), "{refused}");
    stage.settle();
    assert!(stage.done().is_empty());
    assert_eq!(stage.journal.verify().unwrap(), Vec::<String>::new());
}
