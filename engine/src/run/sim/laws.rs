//! The laws by name, over every playbook and every verb that ships: at each record, at each step.
//!
//! Owns the laws; what they are held over, and what is compared, is in [`super::scene`]. What chance would hardly hit is gone through here one by
//! one; what nobody thought of is found by seeds.

use super::make;
use super::scene::{Scene, action_of, end, end_if_any, is_undoable, only_run, scenes, undoable};
use super::stage::{Death, Stage};
use super::world::{self, Doing};
use crate::run::Refusal;
use crate::store::by_hand::{self, At};
use quell_model::playbook::{OnFailure, Playbook};
use quell_model::record::{Part, RunState};
use quell_model::{Body, Lane, Record};
use std::collections::BTreeMap;

/// Kills the engine at every record of what `then` does, before it and after, and compares the ends.
fn at_every_record(
    scene: &Scene,
    how: Death,
    deaf: u32,
    then: &dyn Fn(&Scene, &mut Stage) -> Result<(), String>,
) -> usize {
    let mut stage = scene.stage();
    then(scene, &mut stage).unwrap();
    let most = by_hand::writes();
    let undisturbed = end(&mut stage, &scene.playbook).unwrap();
    assert!(most >= 1, "{}", scene.told("there is nothing to be killed at"));
    let mut repeated = 0;
    for at in [At::Before, At::After] {
        for number in 1..=most {
            let place = scene.told(&format!("{how:?} {at:?} write {number} of {most}"));
            let mut stage = scene.stage();
            stage.next_death = how;
            stage.world.state().deaf_after_death = deaf;
            by_hand::die_at(Some((at, number)));
            then(scene, &mut stage).unwrap_or_else(|why| panic!("{place}: {why}"));
            let ended = end_if_any(&mut stage, &scene.playbook).unwrap_or_else(|why| panic!("{place}: {why}"));
            let state = stage.world.state();
            let is_same = match ended {
                Some(ended) if how == Death::PowerCut => ended.is_that_of_before_the_cut(&undisturbed, &scene.playbook),
                Some(ended) => ended.is_that_of(&undisturbed, &scene.playbook, deaf > 0),
                // The attack was on no disk yet: then neither was an intent of what waits for the disk.
                None if how == Death::PowerCut => match state.calls.iter().find(|call| call.lane != Lane::Contain) {
                    None => Ok(()),
                    Some(call) => Err(format!("the attack is forgotten, and this was done: {call:?}")),
                },
                None => Err("the attack is forgotten".to_owned()),
            };
            is_same.unwrap_or_else(|why| panic!("{place}: {why}"));
            let again = |key: &str, undo| state.calls.iter().filter(|c| c.key == key && c.undo == undo).count() > 1;
            repeated += state.calls.iter().filter(|call| again(&call.key, call.undo)).count();
        }
    }
    repeated
}

fn attacked(scene: &Scene, stage: &mut Stage) -> Result<(), String> {
    scene.attack(stage)
}

/// The attack, undisturbed; then all of it is taken back, by somebody who asks until it is heard.
fn undone(scene: &Scene, stage: &mut Stage) -> Result<(), String> {
    let place = by_hand::pending();
    by_hand::die_at(None);
    scene.attack(stage)?;
    by_hand::die_at(place);
    loop {
        stage.start();
        match scene.undo(stage) {
            Some(Ok(_)) => break,
            // It was heard before the engine died, and is done.
            Some(Err(Refusal::NotNow(_))) => break,
            Some(Err(error)) => return Err(error.to_string()),
            None => stage.settle()?,
        }
    }
    stage.settle()
}

#[test]
fn crash_law_an_engine_killed_at_any_record_comes_to_the_same_end() {
    for scene in scenes() {
        at_every_record(scene, Death::Killed, 0, &attacked);
    }
    for scene in undoable() {
        at_every_record(scene, Death::Killed, 0, &undone);
    }
}

#[test]
fn crash_law_a_power_cut_at_any_record_leaves_nothing_open_and_nothing_untold() {
    for scene in scenes() {
        at_every_record(scene, Death::PowerCut, 0, &attacked);
    }
}

#[test]
fn repeat_law_what_is_done_or_undone_twice_comes_to_the_same_end() {
    let (mut done, mut undone_again) = (0, 0);
    for scene in scenes() {
        // Nobody can say whether it happened: it is done again.
        done += at_every_record(scene, Death::Killed, 1, &attacked);
    }
    for scene in undoable() {
        undone_again += at_every_record(scene, Death::Killed, 1, &undone);
    }
    assert!(done > 10 && undone_again > 10, "hardly anything was done twice: {done}, {undone_again}");
}

#[test]
fn fail_law_whichever_step_fails_its_run_ends_as_the_step_says() {
    let ways = [
        (Doing::Fails, false),
        (Doing::GivesUp, false),
        (Doing::Half, false),
        (Doing::Lies, false),
        (Doing::Hangs(false), false),
        (Doing::Hangs(true), true),
        (Doing::Unknown(false), false),
        (Doing::Unknown(true), true),
        (Doing::Panics, false),
    ];
    for scene in scenes() {
        for step in scene.tried() {
            let once = action_of(&step).is_some_and(world::is_once);
            for (doing, is_seen) in ways {
                let place = scene.told(&format!("{} {doing:?}", step.id));
                // Nothing can be asked about a message: a lie is believed, and what is not known to be sent has failed.
                let ends_well = if once { doing == Doing::Lies } else { is_seen };
                let mut stage = scene.stage();
                stage.world.state().wanted.insert(step.id.to_string(), vec![doing; 16]);
                scene.attack(&mut stage).unwrap_or_else(|why| panic!("{place}: {why}"));
                let ended = end(&mut stage, &scene.playbook).unwrap_or_else(|why| panic!("{place}: {why}"));
                let whole = Part { step: step.id.clone(), item: None };
                let outcome = ended.parts[&whole];
                assert_eq!(outcome.is_met(), ends_well, "{place}: {outcome}");
                let fails = !ends_well && step.on_failure != OnFailure::Continue;
                let expected = if fails { RunState::Failed } else { RunState::Succeeded };
                assert_eq!(ended.state, Some(expected), "{place}: {}", ended.summary);
                assert!(!fails || ended.summary.contains(&format!("`{}`", step.id)), "{place}: {}", ended.summary);
            }
        }
    }
}

/// Whatever a playbook says of its steps: said of any of them, this is what each says.
#[test]
fn fail_law_halt_lets_nothing_new_begin_and_undo_takes_all_of_it_back() {
    let mut taken_back = 0;
    for scene in scenes() {
        for step in scene.tried().iter().filter(|step| step.for_each.is_none()) {
            for on_failure in [OnFailure::Halt, OnFailure::Undo] {
                let mut playbook = Playbook::clone(&scene.playbook);
                playbook.steps.iter_mut().filter(|one| one.id == step.id).for_each(|one| one.on_failure = on_failure);
                let playbook = make::named(playbook, &format!("{}-{}", scene.playbook.name, step.id));
                let scene = scene.with(playbook);
                let place = scene.told(&format!("{} fails, {on_failure:?}", step.id));
                let mut stage = scene.stage();
                stage.world.state().wanted.insert(step.id.to_string(), vec![Doing::GivesUp; 16]);
                scene.attack(&mut stage).unwrap_or_else(|why| panic!("{place}: {why}"));
                let ended = end(&mut stage, &scene.playbook).unwrap_or_else(|why| panic!("{place}: {why}"));
                scene.nothing_began_after(&step.id, &mut stage, &place);
                let left = ended.stands.values().filter(|by| world::is_undoable(by)).count();
                if on_failure == OnFailure::Undo {
                    assert_eq!(left, 0, "{place}: {}", ended.summary);
                    let ends = [RunState::Undone, RunState::Failed].map(Some);
                    assert!(ends.contains(&ended.state), "{place}: {}", ended.summary);
                    taken_back += usize::from(ended.state == ends[0]);
                } else {
                    assert_eq!(ended.state, Some(RunState::Failed), "{place}: {}", ended.summary);
                }
            }
        }
    }
    assert!(taken_back > 5, "{taken_back}");
}

#[test]
fn fail_law_what_cannot_be_taken_back_is_stuck_by_name_and_told() {
    let mut tried = 0;
    for scene in scenes() {
        for step in scene.tried().iter().filter(|step| is_undoable(step)) {
            let place = scene.told(&format!("undo of {}", step.id));
            let mut stage = scene.stage();
            scene.attack(&mut stage).unwrap();
            stage.world.state().wanted.insert(format!("-{}", step.id), vec![Doing::GivesUp; 16]);
            scene.undo(&mut stage).unwrap().unwrap();
            stage.settle().unwrap();
            let ended = end(&mut stage, &scene.playbook).unwrap_or_else(|why| panic!("{place}: {why}"));
            assert_eq!(ended.state, Some(RunState::Stuck), "{place}");
            assert!(ended.summary.contains(&format!("`{}", step.id)), "{place}: {}", ended.summary);
            let run = only_run(&stage);
            let standing = stage.life.as_ref().unwrap().core.leases.of(&run, None);
            assert!(standing.iter().all(|part| part.step == step.id) && !standing.is_empty(), "{place}: {standing:?}");
            assert!(notes(&mut stage).iter().any(|note| note.contains("could not be taken back")), "{place}");
            tried += 1;
        }
    }
    assert!(tried > 5, "{tried}");
}

fn notes(stage: &mut Stage) -> Vec<String> {
    let note = |record: &Record| if let Body::NoteAdded(note) = &record.body { Some(note.text.clone()) } else { None };
    stage.records().values().flatten().filter_map(note).collect()
}

#[test]
fn undo_law_what_is_undone_leaves_the_world_as_it_was() {
    for scene in undoable() {
        let mut stage = scene.stage();
        scene.attack(&mut stage).unwrap();
        let after: BTreeMap<_, _> = stage.world.state().stands.clone();
        assert!(after.values().any(|by| world::is_undoable(by)), "{}", scene.told("nothing stands"));
        scene.undo(&mut stage).unwrap().unwrap();
        stage.settle().unwrap();
        // What cannot be undone (who was killed) is all that is different from before.
        let expected: BTreeMap<_, _> = after.into_iter().filter(|(_, by)| !world::is_undoable(by)).collect();
        let ended = end(&mut stage, &scene.playbook).unwrap();
        assert_eq!((ended.state, ended.stands), (Some(RunState::Undone), expected.clone()));
        // Field by field, what was touched is as nobody had touched it.
        assert_eq!(stage.world.state().astray(), Vec::new(), "{}", scene.told("it is not as it was"));
        // Asked for again, there is nothing left to be done, and nothing is.
        let calls = stage.world.state().calls.len();
        assert!(matches!(scene.undo(&mut stage), Some(Err(Refusal::NotNow(_)))));
        stage.settle().unwrap();
        let state = stage.world.state();
        assert_eq!((&state.stands, state.calls.len()), (&expected, calls));
    }
}

/// Each attempt does part of what is left and says that it failed; the next one plans by what it finds.
#[test]
fn undo_law_what_each_attempt_did_is_taken_back() {
    let mut tried = 0;
    for scene in scenes() {
        for step in scene.tried().iter().filter(|step| is_undoable(step)) {
            let mut playbook = Playbook::clone(&scene.playbook);
            let this = playbook.steps.iter_mut().find(|one| one.id == step.id).unwrap();
            (this.retry.attempts, this.deadline) = (4, None);
            let playbook = make::named(playbook, &format!("{}-{}", scene.playbook.name, step.id));
            let scene = scene.with(playbook);
            for ways in [&[Doing::Half, Doing::Half][..], &[Doing::Half, Doing::Unknown(true), Doing::Half]] {
                for ways_back in [&[][..], &[Doing::Half, Doing::Unknown(false), Doing::Half]] {
                    let place = scene.told(&format!("{} {ways:?}, back {ways_back:?}", step.id));
                    let then = |scene: &Scene, stage: &mut Stage| {
                        let mut state = stage.world.state();
                        state.wanted.insert(step.id.to_string(), ways.to_vec());
                        state.wanted.insert(format!("-{}", step.id), ways_back.to_vec());
                        drop(state);
                        undone(scene, stage)
                    };
                    let mut stage = scene.stage();
                    then(&scene, &mut stage).unwrap_or_else(|why| panic!("{place}: {why}"));
                    let ended = end(&mut stage, &scene.playbook).unwrap_or_else(|why| panic!("{place}: {why}"));
                    assert_eq!(ended.state, Some(RunState::Undone), "{place}: {}", ended.summary);
                    let left = ended.stands.values().filter(|by| world::is_undoable(by)).count();
                    assert_eq!(left, 0, "{place}: {:?}", ended.stands);
                    assert_eq!(stage.world.state().astray(), Vec::new(), "{place}: it is not as it was");
                    tried += 1;
                }
            }
            let then = |scene: &Scene, stage: &mut Stage| {
                stage.world.state().wanted.insert(step.id.to_string(), vec![Doing::Half, Doing::Half]);
                undone(scene, stage)
            };
            at_every_record(&scene, Death::Killed, 0, &then);
        }
    }
    assert!(tried > 20, "{tried}");
}

#[test]
fn reboot_law_a_standing_lease_is_in_force_after_a_boot_or_lapsed_and_told() {
    let (mut in_force, mut lapsed) = (0, 0);
    for scene in undoable() {
        let mut stage = scene.stage();
        scene.attack(&mut stage).unwrap();
        let run = only_run(&stage);
        let before = stage.life.as_ref().unwrap().core.leases.of(&run, None);
        assert!(!before.is_empty(), "{}", scene.told("nothing is leased"));
        stage.die(Death::PowerCut);
        stage.settle().unwrap();
        let notes = notes(&mut stage);
        for part in before {
            let key = quell_model::action::IdempotencyKey::of(&run, &part).0;
            let call = stage.world.state().calls.iter().find(|call| call.key == key).cloned().unwrap();
            let is_leased = stage.life.as_ref().unwrap().core.leases.of(&run, Some(&part)).contains(&part);
            assert_eq!(is_leased, stage.world.state().stands.contains_key(&call.thing), "{}", scene.told(&key));
            assert_eq!(is_leased, !world::ends_with_power(call.action), "{}", scene.told(&key));
            if is_leased {
                in_force += 1;
            } else {
                lapsed += 1;
                let told = format!("{} of run {run} stands no more", call.action);
                assert!(notes.iter().any(|note| note.contains(&told)), "{}: {notes:?}", scene.told(&key));
            }
        }
    }
    assert!(in_force > 0 && lapsed > 0, "{in_force} {lapsed}");
}
