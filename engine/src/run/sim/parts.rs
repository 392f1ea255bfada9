//! A run that is undone in part, tried again and undone: one story, and the crash law at every record of it.
//!
//! Owns the story; chance plays such runs as well, and hardly ever has a second try be about another thing at the right moment.

use super::check;
use super::make;
use super::rng::Rng;
use super::stage::Stage;
use crate::run::fixtures::playbook_of;
use crate::run::fixtures::socket;
use crate::run::question::AnswerGiven;
use crate::run::{Refusal, Request};
use crate::store::by_hand::{self, At};
use quell_model::playbook::{Playbook, StepKind};
use quell_model::{Class, Json, RunId};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// which ─▶ hold ─▶ last, which fails; `hold` is about what was answered.
fn playbook() -> Arc<Playbook> {
    let mut hold = make::acts("hold", &["which"], "cloud.cut");
    let StepKind::Action { with, .. } = &mut hold.kind else { unreachable!("it acts") };
    with["thing"] = json!("${{ run.id }}/hold/${{ steps.which.answer }}");
    let last = make::acts("last", &["hold"], "process.freeze");
    let beside = make::acts("beside", &[], "process.freeze");
    make::named(playbook_of(vec![make::asks_in_time("which"), hold, last, beside]), "in-part")
}

/// What is ready, without waiting for a moment.
fn pass(stage: &mut Stage) {
    for _ in 0..12 {
        stage.start();
        stage.deliver();
        stage.work();
        stage.alive(|life| life.core.pass());
    }
    stage.start();
}

/// A person asks until they are heard; what they asked for before an engine died may be done.
fn ask(stage: &mut Stage, request: impl Fn() -> Request) {
    loop {
        stage.start();
        match stage.alive(|life| life.core.asked(request())) {
            Some(Ok(_) | Err(Refusal::NotNow(_))) => return pass(stage),
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
}

/// All that came to stand and stood no more, in order, by the step and what it was about.
fn played(stage: &mut Stage, playbook: &Arc<Playbook>) -> Vec<(String, bool)> {
    loop {
        stage.start();
        let detection = make::about("rule", 0, Class::FileEvent, 1, stage.now(), Duration::ZERO);
        if stage.alive(|life| life.core.detections([detection])).is_some() {
            break;
        }
    }
    pass(stage);
    let streams = stage.life.as_ref().unwrap().journal.streams().unwrap();
    let run: RunId = streams.into_iter().find_map(|(stream, _)| stream.as_run()).unwrap();
    let answer = |choice: &'static str| {
        let run = run.clone();
        move || {
            let (run, step, choice, by) = (run.clone(), Some("which".into()), choice.into(), "bo".into());
            let (item, plan, via, why) = (None, None, "socket".into(), String::new());
            Request::Answer(Box::new(AnswerGiven { run, step, item, choice, plan, by, via, from: None, why }))
        }
    };
    let undo = |step: Option<&'static str>| {
        let run = run.clone();
        move || Request::Undo {
            way: socket(),
            run: run.clone(),
            step: step.map(Into::into),
            by: "ann".into(),
            why: String::new(),
        }
    };
    ask(stage, answer("me"));
    let retry =
        || Request::Retry { run: run.clone(), from: Some("which".into()), by: "cy".into(), why: "mended".into() };
    ask(stage, retry);
    ask(stage, undo(Some("hold")));
    ask(stage, answer("not_me"));
    ask(stage, undo(None));
    stage.settle().unwrap();
    check::at_the_end(stage, std::slice::from_ref(playbook)).unwrap();
    let state = stage.world.state();
    assert_eq!(state.stands.len(), 0, "{:?}", state.stands);
    let name = |thing: &str| thing.replace(run.as_str(), "run");
    state.changes.iter().map(|change| (name(&change.thing), change.stands)).collect()
}

#[test]
fn crash_law_a_run_that_is_undone_in_part_and_tried_again_comes_to_the_same_end() {
    let playbook = playbook();
    let stage = || {
        let mut stage = Stage::new(vec![Arc::clone(&playbook)], Rng::new(5));
        stage.start();
        by_hand::die_at(None);
        // So that the run ends badly, and can be tried again.
        let never = vec![super::world::Doing::GivesUp; 16];
        stage.world.state().wanted.insert("last".into(), never);
        stage
    };
    let mut undisturbed = stage();
    let expected = played(&mut undisturbed, &playbook);
    let most = by_hand::writes();
    let hold: Vec<Json> = expected.iter().filter(|(thing, _)| thing.contains("hold")).map(|one| json!(one)).collect();
    let (first, second) = ("cloud.cut run/hold/me", "cloud.cut run/hold/not_me");
    assert_eq!(json!(hold), json!([[first, true], [first, false], [second, true], [second, false]]));
    assert!(most > 10, "{most}");
    for at in [At::Before, At::After] {
        for number in 1..=most {
            let mut stage = stage();
            by_hand::die_at(Some((at, number)));
            assert_eq!(played(&mut stage, &playbook), expected, "killed {at:?} write {number} of {most}");
        }
    }
}
