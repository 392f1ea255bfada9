//! Goal: a disk that hangs ends nothing, and holds nobody up for long. Method: the journal's own writer stands still; what a
//! stream is written meanwhile cannot be read.

use super::*;
use crate::run::fixtures::socket;

impl Yard {
    pub(super) fn hang(&self) -> Hang {
        self.stage.hang()
    }

    fn keeps(&mut self, run: &RunId, lasts: Duration) {
        let (step, by) = (None, "ann".into());
        let kept =
            self.stage.core.serve(Request::Keep { way: socket(), run: run.clone(), step, lasts: Some(lasts), by });
        kept.unwrap();
    }
}

#[test]
fn the_undo_of_an_incident_waits_once_for_a_disk_that_hangs() {
    let mut yard = Yard::new(playbook_of(vec![sets("one", &[], "process.freeze", "${{ event.process.id }}")]));
    let runs: Vec<RunId> = (1..=4).map(|subject| yard.attack_by(&subject.to_string(), 1)).collect();
    let incident = {
        let streams = yard.stage.journal.streams().unwrap();
        streams.into_iter().find_map(|(stream, _)| stream.as_incident()).unwrap()
    };
    let hang = yard.hang();
    // From here on none of these can be read.
    runs.iter().for_each(|run| yard.keeps(run, HOUR));
    let undo =
        || Request::UndoIncident { incident: incident.clone(), way: socket(), by: "ann".into(), why: "false".into() };
    let begun = SystemClock.now();
    let answer = yard.stage.core.serve(undo()).unwrap();
    let took = SystemClock.now().since(begun);
    let soon = crate::store::SOON;
    assert!((soon..2 * soon).contains(&took), "{took:?}");
    let told: Vec<&str> = answer["runs"].as_array().unwrap().iter().filter_map(|run| run["error"].as_str()).collect();
    assert_eq!(told, ["the journal takes nothing now"; 4]);
    assert_eq!(yard.things.stand().len(), 4, "nothing was begun");
    drop(hang);
    yard.ask(undo()).unwrap();
    assert!(yard.things.stand().is_empty());
}

#[test]
fn the_end_of_a_lease_waits_for_the_disk_and_does_not_hold_the_engine() {
    for at_end in [AtEnd::Undo, AtEnd::Ask] {
        let step = with_lease(sets("cut", &[], "cloud.cut", "a"), HOUR, at_end);
        let mut yard = Yard::new(playbook_of(vec![step]));
        let run = yard.attack(1);
        let hang = yard.hang();
        yard.keeps(&run, HOUR);
        yard.clock.advance(HOUR + Duration::from_secs(1));
        let begun = SystemClock.now();
        (0..3).for_each(|_| yard.stage.core.turn());
        assert!(SystemClock.now().since(begun) < crate::store::SOON, "nobody waits on the engine's thread");
        assert_eq!(
            yard.stage.core.leases.count(),
            (1, 0),
            "it stands, and nobody was told that it cannot be taken back"
        );
        assert!(!yard.stage.core.unread.is_empty() && yard.stage.core.runs.is_empty());
        drop(hang);
        yard.stage.settle();
        match at_end {
            AtEnd::Undo => assert_eq!((yard.things.stand().len(), yard.end_of(&run)), (0, "RunFinished undone".into())),
            _ => {
                // The world is asked beside.
                let patience = SystemClock.now().after(Duration::from_secs(20));
                while yard.stage.core.leases.count() != (1, 1) {
                    assert!(SystemClock.now() < patience, "{:?}", yard.leases(&run));
                    yard.stage.core.turn();
                    std::thread::yield_now();
                }
            }
        }
    }
}

#[test]
fn what_a_pause_holds_back_wakes_nobody() {
    let step = with_lease(sets("one", &[], "process.freeze", "a"), HOUR, AtEnd::Undo);
    let mut yard = Yard::new(playbook_of(vec![step]));
    yard.things.busy.store(1, Ordering::SeqCst);
    let run = yard.attack(1);
    yard.clock.advance(2 * HOUR);
    let now = yard.clock.now();
    // What the run did is read once the journal has it.
    while yard.stage.core.runs.get(&run).and_then(|live| live.run.next_wait(now)).is_none() {
        yard.stage.core.turn();
        std::thread::yield_now();
    }
    yard.ask(Request::Pause { paused: true, by: "ann".into() }).unwrap();
    yard.clock.advance(HOUR);
    yard.stage.core.turn();
    let now = yard.clock.now();
    assert_eq!(yard.stage.core.runs[&run].run.next_wait(now), None, "its moment has passed, and it is held");
    assert_eq!(yard.things.stand(), ["a"]);
    yard.ask(Request::Pause { paused: false, by: "ann".into() }).unwrap();
    assert!(yard.things.stand().is_empty());
}
