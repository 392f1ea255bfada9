//! Which runs that have ended take what comes later.

use super::*;
use crate::clock::SimulatedClock;
use crate::report;
use quell_model::playbook::{ForEach, ItemErrors, When};

/// One attack, and another of the same subject; how often was acted, and how many runs there were.
fn twice(world: World, definitions: Definitions, between: fn(&mut Stage)) -> (usize, usize) {
    let mut stage = stage_in(tempfile::tempdir().unwrap(), world, definitions);
    stage.core.recover(Arc::new(|_, _| None)).unwrap();
    between(&mut stage);
    stage.core.detections([detection("7", 1)]);
    stage.settle();
    assert_eq!(stage.done(), Vec::<String>::new());
    stage.core.paused = false;
    stage.core.detections([detection("7", 2)]);
    stage.settle();
    (stage.done().len(), stage.runs().len())
}

#[test]
fn what_a_pause_refused_is_no_answer_to_a_later_attack() {
    let kills = || definitions(playbook_of(vec![acts("kill", &[], "process.kill")]));
    let pauses = |stage: &mut Stage| drop(stage.core.serve(Request::Pause { paused: true, by: "ann".into() }).unwrap());
    assert_eq!(twice(World::default(), kills(), pauses), (1, 2));
}

#[test]
fn a_run_that_failed_or_only_told_takes_nothing_and_one_that_may_only_plan_does() {
    let tells = definitions(playbook_of(vec![step("tell", &[])]));
    assert_eq!(twice(World::default(), tells, |_| ()), (0, 2));
    // Its plan is of what is protected.
    let refused = || definitions(playbook_of(vec![acts("kill", &[], "process.kill")]));
    let init = || World { pid: 1, ..World::default() };
    let observing = Definitions { ceiling: Mode::Observe, ..refused() };
    assert_eq!(twice(init(), observing, |_| ()), (0, 1));
    let mut kill = acts("kill", &[], "process.kill");
    kill.mode = Some(Mode::Observe);
    let planned = definitions(playbook_of(vec![kill, step("tell", &["kill"])]));
    assert_eq!(twice(World::default(), planned, |_| ()), (0, 1));
}

/// A stage on which every kill is refused, for pid 1 is named; after the first attack.
fn protected(mut definitions: Definitions) -> (Stage, Arc<SimulatedClock>) {
    definitions.ceiling = Mode::Enforce;
    let mut stage = stage_in(tempfile::tempdir().unwrap(), World { pid: 1, ..World::default() }, definitions);
    let clock = Arc::new(SimulatedClock::new(SystemClock.now()));
    stage.core.parts.clock = Arc::clone(&clock) as _;
    stage.core.recover(Arc::new(|_, _| None)).unwrap();
    stage.core.detections([detection("7", 1)]);
    stage.settle();
    assert_eq!(stage.runs().len(), 1);
    (stage, clock)
}

fn kills() -> Definitions {
    definitions(playbook_of(vec![acts("kill", &[], "process.kill")]))
}

#[test]
fn a_flood_of_the_very_same_on_what_is_protected_joins_the_run_that_was_refused_and_is_counted() {
    let (mut stage, _) = protected(kills());
    for number in 2..=32 {
        stage.core.detections([detection("7", number)]);
    }
    stage.settle();
    assert_eq!((stage.runs().len(), stage.done().len()), (1, 0));
    let told = report::incidents(&stage.journal).unwrap();
    assert_eq!((told.len(), told[0].detections), (1, 32), "each is counted");
    let why = report::explain(&stage.journal, &told[0].id, report::Wanted::default()).unwrap().unwrap();
    let decided = &why.detections[1].decided[0];
    assert!(decided.why.contains("refused just now") && decided.run.as_ref() == stage.runs().first(), "{decided:?}");
}

/// A refused run must not swallow an attack: whatever is otherwise has a run of its own.
#[test]
fn whatever_differs_from_what_was_refused_has_a_run_of_its_own() {
    let event = |change: fn(&mut OwnedEvent)| {
        let mut again = detection("7", 2);
        change(Arc::make_mut(&mut again.event));
        again
    };
    let mut matched = detection("7", 2);
    matched.matched = vec![quell_model::detection::MatchedField { field: "x".into(), value: "y".into() }];
    let mut rule = detection("7", 2);
    rule.rule.name = "another".into();
    let another = [
        event(|event| drop(event.own.insert("file".into(), json!({ "path": "/etc/shadow" })))),
        event(|event| event.own["process"]["id"] = "8.5.1@b".into()),
        event(|event| event.head.node = "m".into()),
        event(|event| event.entity.id = "other".into()),
        matched,
        rule,
    ];
    for again in another {
        let (mut stage, _) = protected(kills());
        stage.core.detections([again.clone()]);
        stage.settle();
        assert_eq!(stage.runs().len(), 2, "{again:?}");
    }
}

#[test]
fn once_the_guard_was_read_again_or_a_while_is_over_the_same_is_tried_again() {
    let (mut stage, _) = protected(kills());
    stage.core.reload(kills());
    stage.core.detections([detection("7", 2)]);
    stage.settle();
    assert_eq!(stage.runs().len(), 2);
    let (mut stage, clock) = protected(kills());
    clock.advance(Duration::from_secs(601));
    stage.core.detections([Detection { backfill: false, ..detection("7", 2) }]);
    stage.settle();
    assert_eq!(stage.runs().len(), 2);
}

#[test]
fn a_run_of_which_more_than_that_is_true_takes_nothing() {
    let also = |more: Step| definitions(playbook_of(vec![acts("kill", &[], "process.kill"), more]));
    // It failed at something else as well, which may do better the next time.
    let other = acts("other", &[], "no.such");
    for (more, runs) in [(step("after", &["kill"]), 1), (step("tell", &[]), 1), (other, 2)] {
        let (mut stage, _) = protected(also(more));
        stage.core.detections([detection("7", 2)]);
        stage.settle();
        assert_eq!(stage.runs().len(), runs);
    }
    // What it names is not protected; what it would touch besides is.
    let mut stage = stage_in(tempfile::tempdir().unwrap(), World { pid: 1, beside: true, ..World::default() }, kills());
    stage.core.recover(Arc::new(|_, _| None)).unwrap();
    for number in 1..=2 {
        stage.core.detections([detection("7", number)]);
        stage.settle();
    }
    assert_eq!((stage.runs().len(), stage.done().len()), (2, 0));
}

/// What was skipped or reckoned out of more than the detection says may be another the next time.
#[test]
fn a_run_takes_nothing_that_might_have_gone_another_way() {
    let expression = |text: &str| Expression { text: text.into(), span: Default::default() };
    let only_if = |text: &str| Step {
        condition: Some(expression(text)),
        when: When::Always,
        ..acts("more", &["kill"], "process.freeze")
    };
    let script = |text: &str| Step { kind: StepKind::Script(expression(text)), ..step("script", &[]) };
    let each = |list: &str| {
        let for_each = Some(ForEach { list: expression(list), max_parallel: 1, errors: ItemErrors::Collect });
        Step { for_each, ..acts("more", &[], "process.freeze") }
    };
    for (more, runs) in [
        (only_if("event.class == \"none\""), 1),
        (only_if("steps.kill.outcome == \"verified\""), 1),
        (only_if("detections.len() > 5"), 2),
        (only_if("now() < time(\"2000-01-01T00:00:00Z\")"), 2),
        (Step { condition: Some(expression("detections.len() == 1")), ..acts("more", &[], "process.kill") }, 2),
        (script("#{ class: event.class }"), 1),
        (script("#{ many: detections.len() }"), 2),
        (each("[]"), 1),
        (each("detections.filter(|one| false)"), 2),
    ] {
        let (mut stage, _) = protected(definitions(playbook_of(vec![acts("kill", &[], "process.kill"), more.clone()])));
        stage.core.detections([detection("7", 2)]);
        stage.settle();
        assert_eq!((stage.runs().len(), stage.done().len()), (runs, 0), "{more:?}");
    }
}

#[test]
fn a_foreign_record_that_names_a_file_by_its_path_joins_no_run_that_was_refused() {
    for (class, image, runs) in [(Class::Record, true, 2), (Class::Record, false, 1), (Class::ProcessCreation, true, 1)]
    {
        let definitions = Definitions { ceiling: Mode::Enforce, ..kills() };
        let world = World { pid: 1, image, ..World::default() };
        let mut stage = stage_in(tempfile::tempdir().unwrap(), world, definitions);
        stage.core.recover(Arc::new(|_, _| None)).unwrap();
        for number in 1..=2 {
            let mut again = detection("7", number);
            Arc::make_mut(&mut again.event).head.class = class;
            stage.core.detections([again]);
            stage.settle();
        }
        assert_eq!((stage.runs().len(), stage.done().len()), (runs, 0), "{class:?} {image}");
    }
}
