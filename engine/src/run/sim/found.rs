//! What seeds have found in the engine, and in what judges it, each as small as it can be.
//!
//! Owns the regressions. A seed's number says nothing once the generator has changed: so each has its story here.

use super::check;
use super::make;
use super::rng::Rng;
use super::stage::{Death, Stage};
use super::world::Doing;
use crate::run::Request;
use crate::run::fixtures::playbook_of;
use crate::run::fixtures::socket;
use crate::store::by_hand::{self, At};
use quell_model::RunId;
use quell_model::playbook::{AtEnd, Expression, ForEach, ItemErrors, Lease, Playbook, Step, StepKind};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

fn stage(steps: Vec<Step>) -> (Stage, Arc<Playbook>) {
    let playbook = make::named(playbook_of(steps), "found");
    let mut stage = Stage::new(vec![Arc::clone(&playbook)], Rng::new(1));
    stage.start();
    (stage, playbook)
}

fn attack(stage: &mut Stage) {
    let detection = make::about("rule", 0, quell_model::Class::FileEvent, 1, stage.now(), Duration::ZERO);
    stage.alive(|life| life.core.detections([detection])).unwrap();
}

fn runs(stage: &Stage) -> Vec<RunId> {
    let streams = stage.life.as_ref().unwrap().journal.streams().unwrap();
    streams.into_iter().filter_map(|(stream, _)| stream.as_run()).collect()
}

/// An attempt did half of it and failed; before the next one, the run was taken back: nobody knew that something stood.
#[test]
fn what_was_half_done_and_waits_to_be_tried_again_is_taken_back_with_its_run() {
    for item in [false, true] {
        for cancelled in [false, true] {
            let mut freeze = make::acts("freeze", &[], "process.freeze");
            freeze.retry.attempts = 3;
            if item {
                let list = Expression { text: "[1]".into(), span: Default::default() };
                freeze.for_each = Some(ForEach { list, max_parallel: 1, errors: ItemErrors::Collect });
                let StepKind::Action { with, .. } = &mut freeze.kind else { unreachable!() };
                with["item"] = json!("${{ item }}");
            }
            let (mut stage, playbook) = stage(vec![freeze]);
            stage.world.state().wanted.insert("freeze".into(), vec![Doing::Half]);
            attack(&mut stage);
            assert_eq!(stage.world.state().stands.len(), 1, "half of it is done");
            let (run, by, why) = (runs(&stage)[0].clone(), "ann".into(), String::new());
            if cancelled {
                let request = Request::Cancel { run: run.clone(), by: "ann".into() };
                stage.alive(|life| life.core.asked(request)).unwrap().unwrap();
                stage.settle().unwrap();
                assert_eq!(stage.life.as_ref().unwrap().core.leases.of(&run, None).len(), 1, "it is known to stand");
            }
            let request = Request::Undo { way: socket(), run, step: None, by, why };
            stage.alive(|life| life.core.asked(request)).unwrap().unwrap();
            stage.settle().unwrap();
            assert_eq!(stage.world.state().stands.len(), 0, "nothing is left standing");
            check::at_the_end(&mut stage, &[playbook]).unwrap();
        }
    }
}

/// What went into the journal by itself, for its size, was parted from the lease that belongs to it: nobody knew that it stood.
#[test]
fn what_a_verb_tells_at_length_has_its_lease_whenever_the_engine_is_killed() {
    for undone in [false, true] {
        for number in 1..20 {
            let (mut stage, playbook) = stage(vec![make::acts("cut", &[], "cloud.cut")]);
            stage.world.state().wanted.insert("cut".into(), vec![Doing::Verbose]);
            stage.world.state().wanted.insert("-cut".into(), vec![Doing::Verbose]);
            if !undone {
                by_hand::die_at(Some((At::After, number)));
            }
            let detection = make::about("rule", 0, quell_model::Class::FileEvent, 1, stage.now(), Duration::ZERO);
            stage.alive(|life| life.core.detections([detection]));
            stage.settle().unwrap();
            let run = runs(&stage).pop();
            if let (true, Some(run)) = (undone, run) {
                by_hand::die_at(Some((At::After, number)));
                let request = Request::Undo { way: socket(), run, step: None, by: "ann".into(), why: String::new() };
                stage.alive(|life| drop(life.core.asked(request)));
                stage.settle().unwrap();
            }
            check::at_the_end(&mut stage, &[playbook])
                .unwrap_or_else(|why| panic!("killed after write {number}: {why}"));
            let (life, state) = (stage.life.as_ref().unwrap(), stage.world.state());
            assert_eq!(life.core.leases.count().0, state.stands.len(), "killed after write {number}");
        }
    }
}

/// The boot clock of an earlier boot has shown the same moments: what was done then is as old as the wall clock says.
#[test]
fn what_an_earlier_boot_did_at_a_moment_that_this_one_has_passed_is_as_old_as_it_is() {
    let lease = Lease { lasts: Duration::from_secs(3600), at_end: AtEnd::Undo };
    let cut = Step { lease: Some(lease), ..make::acts("cut", &[], "cloud.cut") };
    let (mut stage, playbook) = stage(vec![cut]);
    attack(&mut stage);
    stage.settle().unwrap();
    let done = stage.now();
    stage.die(Death::Ended);
    stage.reboot();
    stage.start();
    stage.die(Death::Ended);
    // Nobody is there for an hour; then this boot's clock is a minute past what the other's showed.
    let up_ns = done.boot_ns + 60_000_000_000;
    stage.clock.advance(Duration::from_nanos(up_ns - stage.now().boot_ns));
    stage.settle().unwrap();
    assert_eq!(stage.world.state().stands.len(), 0, "its lease is over, and it was taken back");
    check::at_the_end(&mut stage, &[playbook]).unwrap();
}

/// Both had one id, and the second one's records found no room in the first one's stream.
#[test]
fn two_starts_by_hand_in_one_moment_are_two_runs() {
    let (mut stage, playbook) = stage(vec![make::acts("page", &[], "page.once")]);
    for _ in 0..2 {
        let (inputs, by) = (json!({}), "ann".into());
        let request = Request::Start { playbook: playbook.name.clone(), event: None, inputs, mode: None, by };
        stage.alive(|life| life.core.asked(request)).unwrap().unwrap();
    }
    stage.settle().unwrap();
    assert_eq!(runs(&stage).len(), 2);
    check::at_the_end(&mut stage, &[playbook]).unwrap();
}

/// The end of an undo was not seen, and the world said that nothing of it stands; before this was taken in, another run had the same
/// thing stand again. It was taken back all the same, but only if the world was asked since.
#[test]
fn what_another_holds_again_before_the_answer_is_taken_in_was_taken_back() {
    let mut hold = make::acts("hold", &[], "process.freeze");
    let StepKind::Action { with, .. } = &mut hold.kind else { unreachable!("it acts") };
    with["thing"] = json!("shared");
    let (mut stage, playbook) = stage(vec![hold]);
    attack(&mut stage);
    stage.settle().unwrap();
    // The undo does not come back: once its time is over, the world is asked.
    stage.world.state().wanted.insert("-hold".into(), vec![Doing::Hangs(true)]);
    let (run, by, why) = (runs(&stage)[0].clone(), "ann".into(), String::new());
    let request = Request::Undo { way: socket(), run, step: None, by, why };
    stage.alive(|life| life.core.asked(request)).unwrap().unwrap();
    stage.clock.advance(Duration::from_secs(10));
    assert!(stage.gather(), "the world has answered, and nobody has taken it in");
    stage.clock.advance(Duration::from_secs(1));
    let again = make::about("rule", 1, quell_model::Class::FileEvent, 2, stage.now(), Duration::ZERO);
    stage.alive(|life| life.core.detections([again])).unwrap();
    stage.clock.advance(Duration::from_secs(1));
    stage.settle().unwrap();
    let told = |stage: &mut Stage| check::at_the_end(stage, &[Arc::clone(&playbook)]).map(drop);
    let stands: Vec<bool> = stage.world.state().changes.iter().map(|change| change.stands).collect();
    assert_eq!((stands, told(&mut stage)), (vec![true, false, true], Ok(())));
    // Of an answer from before the attempt nobody knows what was so after it.
    stage.world.state().said_gone.iter_mut().for_each(|said| said.at -= jiff::SignedDuration::from_secs(60));
    let why = told(&mut stage).unwrap_err();
    assert!(why.contains("`hold` is told as undone, and the world did not say so"), "{why}");
}
