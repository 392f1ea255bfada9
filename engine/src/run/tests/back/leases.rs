//! How long what was done stands: leases, their ends, and who makes them longer.

use super::*;
use crate::run::fixtures::socket;

#[test]
fn a_lease_ends_as_it_says() {
    let playbook = playbook_of(vec![
        with_lease(sets("undone", &[], "process.freeze", "a"), HOUR, AtEnd::Undo),
        with_lease(sets("kept", &[], "process.freeze", "b"), HOUR, AtEnd::Keep),
        with_lease(sets("asked", &[], "process.freeze", "c"), HOUR, AtEnd::Ask),
        sets("usual", &[], "process.freeze", "d"),
    ]);
    let mut yard = Yard::new(playbook);
    let run = yard.attack(1);
    yard.pass(HOUR - Duration::from_secs(1));
    assert_eq!(yard.things.stand(), ["a", "b", "c", "d"], "never sooner");
    yard.pass(Duration::from_secs(2));
    assert_eq!(yard.things.stand(), ["b", "c", "d"]);
    let mut ends = yard.leases(&run).split_off(4);
    ends.sort();
    assert_eq!(ends, ["due", "ended", "kept"]);
    assert!(yard.notes().iter().any(|note| note.contains(&format!("quell run keep {run}/asked"))));
    assert_eq!(yard.stage.core.leases.count(), (3, 1));
    // Nobody says anything: it stands, and is not told again.
    yard.pass(48 * HOUR);
    assert_eq!(yard.things.stand(), ["b", "c", "d"]);
    assert_eq!(yard.leases(&run)[7..], ["due"], "a day is usual, and then a person is asked");
}

#[test]
fn a_lease_whose_target_is_gone_ends_without_a_question() {
    let step = with_lease(sets("asked", &[], "process.freeze", "a"), HOUR, AtEnd::Ask);
    let mut yard = Yard::new(playbook_of(vec![step]));
    let run = yard.attack(1);
    yard.things.stand.lock().unwrap().clear();
    yard.pass(2 * HOUR);
    assert_eq!(yard.leases(&run), ["granted", "lapsed"]);
    assert_eq!(yard.stage.core.leases.count(), (0, 0));
    // With a note why.
    let records = yard.stage.journal.read(&StreamId::run(&run), 1).unwrap();
    let why = records.into_iter().find_map(|record| match record.body {
        Body::LeaseChanged(changed) => Some(changed.why),
        _ => None,
    });
    assert_eq!(why.as_deref(), Some("what it contained is gone"));
}

#[test]
fn what_a_run_ended_itself_has_no_lease() {
    let mut yard = Yard::new(playbook_of(vec![
        sets("hold", &[], "process.freeze", "a"),
        sets("end", &["hold"], "process.kill", "a"),
    ]));
    let run = yard.attack(1);
    assert_eq!(yard.leases(&run), ["granted", "lapsed"]);
    assert_eq!(yard.end_of(&run), "RunFinished succeeded");
    assert_eq!(yard.stage.core.leases.count(), (0, 0));
}

#[test]
fn a_person_keeps_what_would_have_ended() {
    let step = with_lease(sets("one", &[], "process.freeze", "a"), HOUR, AtEnd::Undo);
    let mut yard = Yard::new(playbook_of(vec![step]));
    let run = yard.attack(1);
    let keep = |lasts| Request::Keep { way: socket(), run: run.clone(), step: None, lasts, by: "ann".into() };
    yard.ask(keep(Some(3 * HOUR))).unwrap();
    yard.pass(2 * HOUR);
    assert_eq!(yard.things.stand(), ["a"]);
    yard.pass(2 * HOUR);
    assert!(yard.things.stand().is_empty());
    assert!(matches!(yard.ask(keep(None)), Err(Refusal::NotNow(_))), "nothing is left to be kept");
}

#[test]
fn what_is_needed_again_is_renewed() {
    let step = with_lease(sets("one", &[], "process.freeze", "a"), HOUR, AtEnd::Undo);
    let mut yard = Yard::new(playbook_of(vec![step]));
    let run = yard.attack(1);
    yard.pass(HOUR / 2);
    let mut again = detection("7", 2);
    Arc::make_mut(&mut again.event).head.at = yard.clock.now();
    yard.stage.core.detections([again]);
    yard.stage.settle();
    yard.pass(HOUR / 2 + Duration::from_secs(1));
    assert_eq!(yard.things.stand(), ["a"]);
    assert_eq!(yard.leases(&run), ["granted", "needed", "renewed"]);
    yard.pass(HOUR + Duration::from_secs(1));
    assert!(yard.leases(&run).contains(&"ended".to_owned()), "{:?}", yard.leases(&run));
}

#[test]
fn a_pause_holds_the_end_of_a_lease_and_no_person() {
    let steps = ["a", "b"].map(|what| with_lease(sets(what, &[], "process.freeze", what), HOUR, AtEnd::Undo));
    let mut yard = Yard::new(playbook_of(steps.into()));
    let run = yard.attack(1);
    yard.ask(Request::Pause { paused: true, by: "ann".into() }).unwrap();
    yard.pass(2 * HOUR);
    assert_eq!(yard.things.stand(), ["a", "b"]);
    yard.undo(&run, Some("a")).unwrap();
    assert_eq!(yard.things.stand(), ["b"]);
    yard.ask(Request::Pause { paused: false, by: "ann".into() }).unwrap();
    assert!(yard.things.stand().is_empty());
}

#[test]
fn leases_and_undos_outlive_the_engine() {
    let mut yard = Yard::new(playbook_of(vec![
        with_lease(sets("one", &[], "process.freeze", "a"), HOUR, AtEnd::Undo),
        sets("two", &["one"], "cloud.cut", "b"),
    ]));
    yard.things.busy.store(1, Ordering::SeqCst);
    let run = yard.attack(1);
    yard.stage
        .core
        .serve(Request::Undo {
            way: socket(),
            run: run.clone(),
            step: Some("two".into()),
            by: "ann".into(),
            why: String::new(),
        })
        .unwrap();
    let until = SystemClock.now().after(Duration::from_secs(20));
    while !yard.stage.story(&run).contains(&"UndoFailed".to_owned()) {
        assert!(SystemClock.now() < until);
        yard.stage.core.turn();
        std::thread::yield_now();
    }
    let mut yard = yard.again("b");
    assert_eq!(yard.things.stand(), ["a", "b"]);
    yard.pass(HOUR / 2);
    assert_eq!(yard.things.stand(), ["a"], "the engine after it goes on");
    let mut yard = yard.again("b");
    yard.pass(HOUR / 2);
    assert!(yard.things.stand().is_empty(), "and its lease ends when it would have");
    assert_eq!(yard.end_of(&run), "RunFinished undone");
}

#[test]
fn what_does_not_outlive_a_boot_lapses_and_is_told() {
    let mut yard = Yard::new(playbook_of(["a", "b"].map(|what| sets(what, &[], "process.freeze", what)).into()));
    let run = yard.attack(1);
    yard.things.stand.lock().unwrap().remove("a");
    let mut yard = yard.again("c");
    yard.stage.settle();
    assert_eq!(yard.leases(&run), ["granted", "granted", "lapsed"]);
    assert!(yard.notes().iter().any(|note| note.contains("did not outlive the boot")), "{:?}", yard.notes());
    yard.undo(&run, None).unwrap();
    assert!(yard.things.stand().is_empty());
}
