//! Goal: what stands can always be made less. Method: something is done, then everything that bounds an act is set against it, one by
//! one and all at once, and it is taken back: by a person, and at the end of its lease.

use super::*;
use quell_model::guard::{ALL, EACH, Limits, WarmUp};
use quell_model::playbook::Rate;

type Bound = (&'static str, fn(&mut Yard));

fn limits(yard: &mut Yard) {
    let none = Limits([EACH, ALL, "process.freeze"].map(|row| (row.to_owned(), Rate { count: 1, per: HOUR })).into());
    let guard = &mut yard.stage.core.definitions.guard;
    (guard.limits, guard.per_playbook) = (none.clone(), none);
}

fn breaker(yard: &mut Yard) {
    let open = Request::Breaker { playbook: "test".into(), open: true, by: "ann".into(), why: String::new() };
    yard.stage.core.serve(open).unwrap();
}

fn bounds() -> Vec<Bound> {
    vec![
        ("mode", |yard| yard.stage.core.definitions.ceiling = Mode::Observe),
        ("limits", limits),
        ("breaker", breaker),
        ("warm_up", |yard| {
            let warm_up = WarmUp { runs: None, lasts: Some(48 * HOUR) };
            yard.stage.core.definitions.guard.warm_up = Some(warm_up);
        }),
        ("all", |yard| bounds().iter().take(4).for_each(|(_, set)| set(yard))),
    ]
}

fn frozen() -> (Yard, RunId) {
    let lease = Some(Lease { lasts: HOUR, at_end: AtEnd::Undo });
    let mut yard = Yard::new(playbook_of(vec![Step { lease, ..sets("hold", &[], "process.freeze", "a") }]));
    let run = yard.attack(1);
    assert_eq!(yard.things.said(), ["+a"]);
    (yard, run)
}

#[test]
fn an_undo_passes_mode_limits_breaker_and_warm_up_and_a_persons_a_pause_too() {
    for (name, set) in bounds() {
        for paused in [false, true] {
            let (mut yard, run) = frozen();
            set(&mut yard);
            if paused {
                yard.ask(Request::Pause { paused: true, by: "ann".into() }).unwrap();
            }
            yard.undo(&run, None).unwrap();
            yard.stage.settle();
            assert_eq!(yard.things.said(), ["-a"], "{name}, paused: {paused}");
            assert_eq!(yard.end_of(&run), "RunFinished undone", "{name}, paused: {paused}");
        }
    }
}

#[test]
fn the_end_of_a_lease_passes_mode_limits_breaker_and_warm_up_and_waits_for_the_end_of_a_pause() {
    for (name, set) in bounds() {
        for paused in [false, true] {
            let (mut yard, run) = frozen();
            set(&mut yard);
            if paused {
                yard.ask(Request::Pause { paused: true, by: "ann".into() }).unwrap();
            }
            yard.pass(HOUR + Duration::from_secs(1));
            if paused {
                assert!(yard.things.said().is_empty(), "{name}: a pause suspends the ends of leases");
                yard.ask(Request::Pause { paused: false, by: "ann".into() }).unwrap();
                yard.pass(2 * HOUR);
            }
            assert_eq!(yard.things.said(), ["-a"], "{name}, paused: {paused}");
            assert_eq!(yard.end_of(&run), "RunFinished undone", "{name}, paused: {paused}");
        }
    }
}

/// It would be no test if these let a further act through.
#[test]
fn what_is_set_against_an_act_holds_it() {
    for (name, set) in bounds() {
        let (mut yard, _) = frozen();
        set(&mut yard);
        // In a place of its own: one in which it has acted counts already.
        let mut other = yard.playbook.clone();
        let StepKind::Action { with, .. } = &mut other.steps[0].kind else { panic!("it acts") };
        with["process"] = json!("b");
        yard.stage.core.definitions.playbooks = vec![Arc::new(other)];
        yard.attack_by("8", 2);
        assert!(yard.things.said().is_empty(), "{name}");
    }
}
