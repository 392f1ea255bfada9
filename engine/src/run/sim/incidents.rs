//! Runs that moments of incidents start, over a death at every write: none is lost, none is doubled. And the end of what was no attack.
//!
//! Owns those stories. Beside the laws it holds each moment's record against the runs that it started.

use super::check;
use super::make;
use super::rng::Rng;
use super::stage::{Death, Stage};
use crate::run::fixtures::playbook_of;
use crate::run::fixtures::socket;
use crate::run::shell::run_started;
use crate::run::{Refusal, Request};
use crate::store::by_hand::{self, At};
use crate::trigger::incident::run_of;
use quell_model::playbook::{IncidentMoment, Playbook};
use quell_model::record::IncidentState;
use quell_model::{Body, Class, IncidentId, RunId, StreamId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// One that answers the detection, and two that follow what the incident does.
fn playbooks() -> Vec<Arc<Playbook>> {
    let answers = playbook_of(vec![make::acts("freeze", &[], "process.freeze")]);
    let follows = |name: &str, moments: &[IncidentMoment]| {
        let mut playbook = playbook_of(vec![make::acts("cut", &[], "cloud.cut")]);
        (playbook.on.detections, playbook.on.incident) = (None, moments.to_vec());
        make::named(playbook, name)
    };
    let (opened, resolved) = (IncidentMoment::Opened, IncidentMoment::Resolved);
    vec![
        make::named(answers, "answers"),
        follows("follows", &[opened, IncidentMoment::Acknowledged, resolved]),
        follows("also", &[opened, resolved]),
    ]
}

/// Until it is done, whoever dies at it.
fn insist(stage: &mut Stage, what: impl Fn(&IncidentId) -> Request) {
    loop {
        stage.start();
        let streams = stage.life.as_ref().unwrap().journal.streams().unwrap();
        let incident = streams.into_iter().find_map(|(stream, _)| stream.as_incident()).expect("it was opened");
        match stage.alive(|life| life.core.asked(what(&incident))) {
            // It was done by the one who died.
            Some(Ok(_) | Err(Refusal::NotNow(_))) => return stage.settle().unwrap(),
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
}

fn attacked(stage: &mut Stage) {
    loop {
        stage.start();
        let detection = make::about("rule", 0, Class::FileEvent, 1, stage.now(), Duration::ZERO);
        if stage.alive(|life| life.core.detections([detection])).is_some() {
            break;
        }
    }
    stage.settle().unwrap();
}

fn story(stage: &mut Stage) {
    attacked(stage);
    insist(stage, |incident| Request::Acknowledge {
        incident: incident.clone(),
        acknowledged: true,
        why: String::new(),
        by: "ann".into(),
        via: "socket".into(),
        generation: None,
    });
    insist(stage, |incident| Request::Resolve {
        incident: incident.clone(),
        why: String::new(),
        by: "ann".into(),
        via: "socket".into(),
    });
}

/// The runs that the records of incidents are to have started.
fn promised(stage: &mut Stage) -> BTreeSet<RunId> {
    let mut all = BTreeSet::new();
    for (stream, records) in stage.records() {
        let Some(incident) = stream.as_incident() else { continue };
        for record in &records {
            let names: &[&str] = match &record.body {
                Body::IncidentOpened(_) => &["follows", "also"],
                Body::AcknowledgementChanged(_) => &["follows"],
                Body::IncidentChanged(changed) if changed.state == IncidentState::Resolved => &["follows", "also"],
                _ => &[],
            };
            all.extend(names.iter().map(|name| run_of(&(*name).into(), &incident, record.seq)));
        }
    }
    all
}

/// Moments of incidents whose record stands without what every playbook decided.
fn untold(stage: &mut Stage) -> usize {
    let records = stage.records().into_iter().filter(|(stream, _)| stream.as_incident().is_some());
    let mut all: BTreeMap<u64, i32> = BTreeMap::new();
    for record in records.flat_map(|(_, records)| records) {
        match &record.body {
            Body::IncidentOpened(_) | Body::AcknowledgementChanged(_) => *all.entry(record.seq).or_default() += 1,
            Body::IncidentChanged(changed) if changed.state == IncidentState::Resolved => {
                *all.entry(record.seq).or_default() += 1;
            }
            Body::MomentDecided(come) => *all.entry(come.record).or_default() -= 1,
            _ => {}
        }
    }
    all.into_values().filter(|count| *count != 0).count()
}

#[test]
fn a_moment_s_runs_are_there_with_its_record_whenever_the_engine_dies() {
    let playbooks = playbooks();
    let mut deaths = 0;
    // A write that is torn is the one that was just made.
    for (how, at) in [(Death::Killed, At::Before), (Death::Killed, At::After), (Death::Torn, At::After)] {
        for number in 1..=40 {
            let mut stage = Stage::new(playbooks.clone(), Rng::new(7));
            stage.start();
            stage.next_death = how;
            by_hand::die_at(Some((at, number)));
            let before = stage.reports.len();
            story(&mut stage);
            deaths += stage.reports.len() - before;
            by_hand::die_at(None);
            let place = format!("{how:?} {at:?} {number}");
            let streams = check::at_the_end(&mut stage, &playbooks).unwrap_or_else(|why| panic!("{place}: {why}"));
            let runs = streams.iter().filter(|(stream, _)| stream.as_run().is_some());
            let begun: BTreeSet<RunId> = runs
                .filter_map(|(_, records)| run_started(&records.first()?.body))
                .filter(|started| started.came.is_some())
                .map(|started| started.run.clone())
                .collect();
            let wanted = promised(&mut stage);
            assert_eq!(begun, wanted, "{place}");
            assert!(wanted.len() >= 5, "{place}: {wanted:?}");
            assert_eq!(untold(&mut stage), 0, "{place}: a moment without what was decided");
            let incidents = streams.keys().filter_map(StreamId::as_incident).count();
            assert_eq!(incidents, 1, "{place}");
        }
    }
    assert!(deaths >= 40, "{deaths}");
}

/// Taken back, and over as that, once: whoever dies in between leaves it to be said again.
#[test]
fn a_false_positive_is_whole_whenever_the_engine_dies() {
    let steps = vec![make::acts("freeze", &[], "process.freeze"), make::acts("cut", &["freeze"], "cloud.cut")];
    let playbooks = vec![make::named(playbook_of(steps), "answers")];
    let mut deaths = 0;
    for (how, at) in [(Death::Killed, At::Before), (Death::Killed, At::After), (Death::Torn, At::After)] {
        for number in 1..=30 {
            let mut stage = Stage::new(playbooks.clone(), Rng::new(7));
            attacked(&mut stage);
            assert_eq!(stage.world.state().stands.len(), 2);
            stage.next_death = how;
            by_hand::die_at(Some((at, number)));
            let before = stage.reports.len();
            insist(&mut stage, |incident| Request::FalsePositive {
                incident: incident.clone(),
                reason: "ours".into(),
                way: socket(),
                by: "ann".into(),
                exception: None,
            });
            deaths += stage.reports.len() - before;
            by_hand::die_at(None);
            let place = format!("{how:?} {at:?} {number}");
            let streams = check::at_the_end(&mut stage, &playbooks).unwrap_or_else(|why| panic!("{place}: {why}"));
            assert_eq!(stage.world.state().stands.len(), 0, "{place}");
            let ends = streams
                .values()
                .flatten()
                .filter(|record| matches!(&record.body, Body::IncidentChanged(changed) if changed.verdict.is_some()));
            assert_eq!(ends.count(), 1, "{place}");
        }
    }
    assert!(deaths >= 10, "{deaths}");
}
