//! Steps that wait, one story each: what ends a wait, and what does not, over deaths and boots.
//!
//! Owns the stories; chance plays waits as well, and the laws go through them at each record.

use super::check;
use super::make;
use super::rng::Rng;
use super::stage::{Death, Stage};
use crate::report::{Follower, Happening, Interest};
use crate::run::fixtures::playbook_of;
use crate::run::{Request, Run};
use crate::store::by_hand::{self, At};
use quell_model::playbook::{DetectionFilter, Expression, Playbook, Step, StepKind, Wait, WaitUntil};
use quell_model::record::{Decided, RunState, StepFinished};
use quell_model::{Body, Class, Kind, Level, Mode, Outcome, RunId, StreamId};
use std::sync::Arc;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

fn stage(steps: Vec<Step>) -> (Stage, Arc<Playbook>) {
    let mut playbook = playbook_of(steps);
    let rules = vec!["rule".into()];
    playbook.on.detections = Some(DetectionFilter { rules, tags: Vec::new(), level: Level::Informational });
    let playbook = make::named(playbook, "waits");
    let mut stage = Stage::new(vec![Arc::clone(&playbook)], Rng::new(1));
    stage.start();
    (stage, playbook)
}

/// A detection about a subject; subjects 0 and 2 are of one entity, 1 is of another.
fn seen(stage: &mut Stage, rule: &str, subject: usize, number: usize) {
    let detection = make::about(rule, subject, Class::FileEvent, number, stage.now(), Duration::ZERO);
    stage.alive(|life| life.core.detections([detection]));
}

fn only_run(stage: &Stage) -> RunId {
    let streams = stage.life.as_ref().unwrap().journal.streams().unwrap();
    let runs: Vec<RunId> = streams.into_iter().filter_map(|(stream, _)| stream.as_run()).collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs[0].clone()
}

fn live(stage: &Stage) -> &Run {
    let core = &stage.life.as_ref().unwrap().core;
    &core.runs.values().next().expect("it is open").run
}

fn is_open(stage: &Stage) -> bool {
    !stage.life.as_ref().unwrap().core.is_idle()
}

/// Everything that is due now.
fn pass(stage: &mut Stage) {
    for _ in 0..8 {
        stage.deliver();
        stage.work();
        stage.alive(|life| life.core.pass());
    }
}

/// How a step ended, once its run has, and the run's end.
fn ended(stage: &mut Stage, playbook: &Arc<Playbook>, step: &str) -> (StepFinished, RunState) {
    stage.settle().unwrap();
    assert!(stage.life.as_ref().unwrap().core.awaiting.is_empty(), "what has ended waits for nothing");
    let run = only_run(stage);
    let streams = check::at_the_end(stage, std::slice::from_ref(playbook)).unwrap();
    let (mut finished, mut state) = (None, None);
    for record in &streams[&StreamId::run(&run)] {
        match &record.body {
            Body::StepFinished(b) if b.part.step.as_str() == step => finished = Some(StepFinished::clone(b)),
            Body::RunFinished(b) => state = Some(b.state),
            _ => {}
        }
    }
    (finished.expect("it ended by itself"), state.expect("its run is over"))
}

fn until(step: &mut Step) -> &mut WaitUntil {
    match &mut step.kind {
        StepKind::Wait(Wait::Until(wanted)) => wanted,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_wait_lasts_as_long_as_it_says_over_a_kill_and_over_a_boot() {
    for how in [Death::Ended, Death::Killed, Death::PowerCut] {
        let (mut stage, playbook) = stage(vec![make::waits("nap", &[], 300), make::acts("cut", &["nap"], "cloud.cut")]);
        let began = stage.now().wall;
        seen(&mut stage, "rule", 0, 1);
        pass(&mut stage);
        stage.clock.advance(2 * MINUTE);
        stage.die(how);
        stage.start();
        pass(&mut stage);
        assert!(is_open(&stage), "{how:?}: it goes on waiting");
        let left = (began + 5 * MINUTE).duration_since(stage.now().wall).unsigned_abs();
        stage.clock.advance(left - Duration::from_secs(1));
        pass(&mut stage);
        assert!(stage.world.state().calls.is_empty(), "{how:?}: what comes after it waits as well");
        stage.clock.advance(Duration::from_secs(1));
        pass(&mut stage);
        assert_eq!(stage.world.state().calls.len(), 1, "{how:?}: it has waited five minutes by the wall clock");
        let (nap, state) = ended(&mut stage, &playbook, "nap");
        assert_eq!((nap.outcome, nap.proof.as_str(), state), (Outcome::Done, "it waited 5m", RunState::Succeeded));
    }
}

#[test]
fn a_detection_about_the_same_entity_ends_a_wait_and_is_its_output() {
    let (mut stage, playbook) = stage(vec![make::awaits("second", &[], "second", 1800)]);
    seen(&mut stage, "rule", 0, 1);
    seen(&mut stage, "rule", 0, 1);
    seen(&mut stage, "another", 0, 2);
    seen(&mut stage, "second", 1, 3);
    pass(&mut stage);
    assert!(is_open(&stage), "neither another rule, nor another entity, nor its own detection");
    stage.clock.advance(MINUTE);
    seen(&mut stage, "second", 2, 4);
    let (second, state) = ended(&mut stage, &playbook, "second");
    assert_eq!((second.outcome, state), (Outcome::Done, RunState::Succeeded));
    assert_eq!(second.output["seen"]["rule"], "second");
    assert_eq!(second.output["seen"]["event"]["subject"], "user:user2");
    let told = |decided: &Decided| decided.why.contains("`second` waited for this");
    let accepted = stage.records().into_values().flatten().filter_map(|record| match record.body {
        Body::DetectionAccepted(accepted) => Some(*accepted),
        _ => None,
    });
    let taken: Vec<_> = accepted.filter(|accepted| accepted.decided.iter().any(told)).collect();
    assert_eq!(taken.len(), 1, "the incident tells which run it moved on");
    assert_eq!(taken[0].detection.rule.name.as_str(), "second");
}

/// What a detection ends is written before what it starts, and what it starts acts first: it answers the attack itself. A run that
/// it starts has not waited for it.
#[test]
fn a_detection_ends_the_waits_that_were_there_before_the_runs_that_it_starts() {
    let on = |rule: &str, name: &str, steps: Vec<Step>| {
        let mut playbook = playbook_of(steps);
        let rules = vec![rule.into()];
        playbook.on.detections = Some(DetectionFilter { rules, tags: Vec::new(), level: Level::Informational });
        make::named(playbook, name)
    };
    let waits = vec![make::awaits("second", &[], "second", 1800), make::acts("cut", &["second"], "process.freeze")];
    let begins = vec![make::acts("hold", &[], "process.freeze"), make::awaits("again", &[], "second", 1800)];
    let (waits, begins) = (on("rule", "waits", waits), on("second", "begins", begins));
    let mut stage = Stage::new(vec![waits, begins], Rng::new(1));
    stage.start();
    seen(&mut stage, "rule", 0, 1);
    seen(&mut stage, "second", 0, 2);
    pass(&mut stage);
    let things: Vec<String> = stage.world.state().calls.iter().map(|call| call.thing.clone()).collect();
    let ends_with = |end: &str| things.iter().position(|thing| thing.ends_with(end));
    assert!(ends_with("/hold").unwrap() < ends_with("/cut").unwrap(), "{things:?}");
    // The one that it began waits for the next.
    assert!(is_open(&stage));
    let open = live(&stage);
    assert_eq!((open.playbook.name.as_str(), open.awaiting().count()), ("begins", 1));
    stage.clock.advance(MINUTE);
    seen(&mut stage, "second", 0, 3);
    stage.settle().unwrap();
    assert!(!stage.records().into_values().flatten().any(|record| matches!(record.body, Body::StepFailed(_))));
    assert!(stage.life.as_ref().unwrap().core.awaiting.is_empty());
    let journal = stage.life.as_ref().unwrap().journal.clone();
    let (all, is_all) = Follower::new(journal, Interest::default(), 0).look().unwrap();
    let place = |kind: Kind, with: &str| {
        let is_it = |one: &Happening| one.kind == kind && one.body.to_string().contains(with);
        all.iter().position(is_it).unwrap_or_else(|| panic!("{kind} {with} (all: {is_all})"))
    };
    let (ended, begun) = (place(Kind::StepFinished, "`second` was seen"), place(Kind::RunStarted, "\"begins\""));
    assert!(ended < begun, "{ended} {begun}");
}

#[test]
fn what_does_not_come_in_time_is_a_failure_that_on_failure_decides_about() {
    let quiet = make::awaits("second", &[], "second", 60);
    let goes_on = Step { on_failure: quell_model::playbook::OnFailure::Continue, ..quiet.clone() };
    for (wait, expected, called) in [(quiet, RunState::Failed, 0), (goes_on, RunState::Succeeded, 1)] {
        let (mut stage, playbook) = stage(vec![wait, make::acts("cut", &["second"], "cloud.cut")]);
        seen(&mut stage, "rule", 0, 1);
        pass(&mut stage);
        stage.clock.advance(MINUTE);
        // Its time is over, whoever looks first.
        seen(&mut stage, "second", 0, 2);
        stage.settle().unwrap();
        let (second, state) = ended(&mut stage, &playbook, "second");
        assert_eq!((second.outcome, second.proof.as_str()), (Outcome::Failed, "nothing matched within 1m"));
        assert_eq!((state, stage.world.state().calls.len()), (expected, called));
    }
}

#[test]
fn only_what_comes_while_it_waits_counts() {
    let steps = vec![make::waits("nap", &[], 60), make::awaits("second", &["nap"], "second", 600)];
    let (mut stage, playbook) = stage(steps);
    seen(&mut stage, "rule", 0, 1);
    seen(&mut stage, "second", 0, 2);
    pass(&mut stage);
    stage.clock.advance(MINUTE);
    pass(&mut stage);
    assert!(is_open(&stage), "it came between the begin of the run and that of the step");
    // It happens while nobody is there, and is read afterwards.
    stage.die(Death::Killed);
    let detection = make::about("second", 0, Class::FileEvent, 3, stage.now(), Duration::ZERO);
    stage.clock.advance(MINUTE);
    stage.start();
    stage.alive(|life| life.core.detections([detection]));
    let (second, _) = ended(&mut stage, &playbook, "second");
    assert_eq!((second.outcome, &second.output["seen"]["rule"]), (Outcome::Done, &"second".into()));
}

#[test]
fn the_if_of_a_wait_knows_the_run_and_what_was_seen() {
    let mut second = make::awaits("second", &[], "second", 600);
    until(&mut second).anywhere = true;
    let text = "seen.event.subject == \"user:user1\" && event.subject == \"user:user0\" && seen.rule == \"second\"";
    until(&mut second).condition = Some(Expression { text: text.into(), span: Default::default() });
    let (mut stage, playbook) = stage(vec![second]);
    seen(&mut stage, "rule", 0, 1);
    seen(&mut stage, "second", 2, 2);
    pass(&mut stage);
    assert!(is_open(&stage), "its `if` is false");
    seen(&mut stage, "second", 1, 3);
    let (second, _) = ended(&mut stage, &playbook, "second");
    assert_eq!(second.output["seen"]["event"]["subject"], "user:user1", "of another entity, which `anywhere` allows");

    let mut second = make::awaits("second", &[], "second", 600);
    until(&mut second).condition = Some(Expression { text: "seen.event.pid > 1".into(), span: Default::default() });
    let (mut stage, playbook) = self::stage(vec![second]);
    seen(&mut stage, "rule", 0, 1);
    seen(&mut stage, "second", 0, 2);
    let (second, _) = ended(&mut stage, &playbook, "second");
    assert_eq!(second.outcome, Outcome::Failed);
    let why = "nothing matched within 10m; whether a detection of `second` did could not be evaluated";
    assert!(second.proof.starts_with(why), "{}", second.proof);
}

#[test]
fn what_anybody_can_write_moves_on_nothing_that_acts_by_itself() {
    for (mode, ends) in [(Mode::Enforce, false), (Mode::Approve, true)] {
        let (mut stage, playbook) = stage(vec![make::awaits("second", &[], "second", 600)]);
        stage.die(Death::Ended);
        stage.definitions.untrusted = ["syslog".into()].into();
        stage.definitions.modes = [(playbook.name.clone(), mode)].into();
        stage.start();
        seen(&mut stage, "rule", 0, 1);
        let mut forged = make::about("second", 0, Class::FileEvent, 2, stage.now(), Duration::ZERO);
        Arc::make_mut(&mut forged.event).head.source = "syslog".into();
        stage.alive(|life| life.core.detections([forged]));
        let (second, _) = ended(&mut stage, &playbook, "second");
        assert_eq!(second.outcome == Outcome::Done, ends, "{mode}: {}", second.proof);
    }
}

#[test]
fn an_observing_run_plans_its_waits_and_a_cancelled_one_ends_them() {
    let steps = || {
        let second = make::awaits("second", &["nap"], "second", 600);
        let told = Step {
            kind: StepKind::Tell("${{ steps.second.seen?.rule ?? \"none\" }}".into()),
            ..make::waits("told", &["second"], 1)
        };
        vec![make::waits("nap", &[], 60), second, told]
    };
    let (mut stage, playbook) = stage(steps());
    stage.die(Death::Ended);
    stage.definitions.ceiling = Mode::Observe;
    stage.start();
    let began = stage.now();
    seen(&mut stage, "rule", 0, 1);
    let (second, state) = ended(&mut stage, &playbook, "second");
    assert_eq!((second.outcome, second.output.to_string().as_str()), (Outcome::Planned, "{}"));
    assert_eq!((state, stage.now()), (RunState::Succeeded, began), "at once");
    assert_eq!(ended(&mut stage, &playbook, "told").0.output["told"], "none");

    let (mut stage, playbook) = self::stage(steps());
    seen(&mut stage, "rule", 0, 1);
    let run = only_run(&stage);
    stage.alive(|life| life.core.asked(Request::Cancel { run, by: "ann".into() })).unwrap().unwrap();
    assert!(!is_open(&stage), "nothing of it is waited for");
    check::at_the_end(&mut stage, &[playbook]).unwrap();
}

#[test]
fn each_item_waits_for_its_own() {
    let mut each = make::awaits("each", &[], "second", 600);
    until(&mut each).anywhere = true;
    until(&mut each).condition =
        Some(Expression { text: "seen.event.subject == item".into(), span: Default::default() });
    let list = Expression { text: "[\"user:user1\", \"user:user2\"]".into(), span: Default::default() };
    let errors = quell_model::playbook::ItemErrors::Collect;
    each.for_each = Some(quell_model::playbook::ForEach { list, max_parallel: 2, errors });
    let (mut stage, playbook) = stage(vec![each]);
    seen(&mut stage, "rule", 0, 1);
    seen(&mut stage, "second", 2, 2);
    pass(&mut stage);
    assert_eq!(live(&stage).awaiting().count(), 1, "one of two has come");
    seen(&mut stage, "second", 1, 3);
    let (each, state) = ended(&mut stage, &playbook, "each");
    assert_eq!((each.outcome, state), (Outcome::Done, RunState::Succeeded));
}

/// One whose waits are of many items, all at once; none of what comes fits.
fn many(items: usize, anywhere: bool) -> (Stage, Arc<Playbook>) {
    let mut each = make::awaits("each", &[], "second", 600);
    until(&mut each).anywhere = anywhere;
    let list: Vec<String> = (0..items).map(|item| item.to_string()).collect();
    let list = Expression { text: format!("[{}]", list.join(", ")), span: Default::default() };
    let errors = quell_model::playbook::ItemErrors::Collect;
    each.for_each = Some(quell_model::playbook::ForEach { list, max_parallel: 10_000, errors });
    let (mut stage, playbook) = stage(vec![each]);
    seen(&mut stage, "rule", 0, 1);
    (stage, playbook)
}

#[test]
fn a_detection_is_compared_with_so_many_waits_and_no_more() {
    for anywhere in [false, true] {
        let (mut stage, playbook) = many(120, anywhere);
        assert_eq!(live(&stage).awaiting().count(), 100, "of one run");
        let place = if anywhere { "anywhere" } else { "on this entity" };
        let why = format!("it cannot wait as well: 100 steps of this run wait for a detection {place} already");
        let full = live(&stage).items(&"each".into()).filter(|(.., told)| *told == why).count();
        assert_eq!(full, 20);
        let (each, state) = ended(&mut stage, &playbook, "each");
        assert_eq!((each.outcome, state), (Outcome::Failed, RunState::Failed), "{}", each.proof);
    }
    // Of all runs on an entity; those on another, and what ends, make room.
    let (mut stage, playbook) = stage(vec![make::awaits("second", &[], "second", 600)]);
    let attack = |stage: &mut Stage, number: usize, entity: &str| {
        let mut detection = make::about("rule", 0, Class::FileEvent, number, stage.now(), Duration::ZERO);
        let event = Arc::make_mut(&mut detection.event);
        event.subject = quell_model::Subject::User(format!("user{number}").as_str().into());
        event.entity.id = entity.into();
        stage.alive(|life| life.core.detections([detection]));
    };
    (0..210).for_each(|number| attack(&mut stage, number, "u0"));
    let waiting = |stage: &Stage| stage.life.as_ref().unwrap().core.runs.len();
    assert_eq!(waiting(&stage), 200);
    attack(&mut stage, 300, "u1");
    assert_eq!(waiting(&stage), 201, "another entity's are not looked at for this one's");
    seen(&mut stage, "second", 0, 400);
    assert_eq!(waiting(&stage), 1, "the others have what they waited for");
    attack(&mut stage, 500, "u0");
    assert_eq!(waiting(&stage), 2);
    stage.settle().unwrap();
    check::at_the_end(&mut stage, &[playbook]).unwrap();
}

/// Killed at any write of what a detection does, and told of it again: each of two waits takes one of two detections.
#[test]
fn a_detection_that_is_told_again_after_a_death_ends_no_second_wait() {
    let steps = || {
        let (first, second) =
            (make::awaits("first", &[], "second", 600), make::awaits("second", &["first"], "second", 600));
        vec![first, make::acts("cut", &["first"], "cloud.cut"), second]
    };
    let tell = |stage: &mut Stage, number: usize| loop {
        stage.start();
        let detection = make::about("second", 0, Class::FileEvent, number, stage.now(), Duration::ZERO);
        if stage.alive(|life| life.core.detections([detection])).is_some() {
            return;
        }
    };
    let mut died = 0;
    for at in [At::Before, At::After] {
        for number in 1..=6 {
            let (mut stage, playbook) = stage(steps());
            seen(&mut stage, "rule", 0, 1);
            pass(&mut stage);
            by_hand::die_at(Some((at, number)));
            let before = stage.reports.len();
            tell(&mut stage, 2);
            pass(&mut stage);
            stage.start();
            died += stage.reports.len() - before;
            by_hand::die_at(None);
            // Told once more in any case.
            tell(&mut stage, 2);
            pass(&mut stage);
            let open: Vec<String> = live(&stage).awaiting().map(|(part, _)| part.to_string()).collect();
            assert_eq!(open, ["second"], "{at:?} {number}");
            tell(&mut stage, 3);
            let (first, _) = ended(&mut stage, &playbook, "first");
            let (second, state) = ended(&mut stage, &playbook, "second");
            assert_ne!(first.output["seen"]["id"], second.output["seen"]["id"], "{at:?} {number}");
            assert_eq!((state, stage.world.state().calls.len()), (RunState::Succeeded, 1), "{at:?} {number}");
        }
    }
    assert!(died >= 6, "{died}");
}
