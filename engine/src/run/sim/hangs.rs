//! A sync that does not come back, at each place where the engine's thread needs what is written: whoever needs it waits, and
//! goes on once it is there. A read that waited for the writer would stop this thread, and so fails here.
//!
//! Owns the stories; chance hangs the disk as well.

use super::check;
use super::make;
use super::rng::Rng;
use super::stage::Stage;
use super::world::Doing;
use crate::run::fixtures::playbook_of;
use crate::run::fixtures::socket;
use crate::run::shell::run_started;
use crate::run::unread::Unread;
use crate::run::{Refusal, Request};
use crate::store::by_hand;
use quell_model::playbook::{AtEnd, Lease, OnFailure, Playbook, Step};
use quell_model::record::{NewRecord, NoteAdded, RunState};
use quell_model::{Body, Class, Json, RunId, StreamId};
use std::sync::Arc;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

fn child(name: &str, steps: Vec<Step>) -> Arc<Playbook> {
    let mut playbook = playbook_of(steps);
    playbook.on.detections = None;
    make::named(playbook, name)
}

fn stage(playbooks: &[Arc<Playbook>]) -> Stage {
    let mut stage = Stage::new(playbooks.to_vec(), Rng::new(3));
    stage.start();
    stage
}

fn attack(stage: &mut Stage) {
    let detection = make::about("rule", 0, Class::FileEvent, 1, stage.now(), Duration::ZERO);
    stage.alive(|life| life.core.detections([detection])).unwrap();
}

fn ask(stage: &mut Stage, request: Request) -> Result<Json, Refusal> {
    stage.alive(|life| life.core.asked(request)).unwrap()
}

fn undo(run: &RunId) -> Request {
    Request::Undo { way: socket(), run: run.clone(), step: None, by: "ann".into(), why: "a drill".into() }
}

fn run_of(stage: &Stage, playbook: &str) -> RunId {
    let journal = &stage.life.as_ref().unwrap().journal;
    let runs = journal.streams().unwrap().into_iter().filter_map(|(stream, _)| stream.as_run());
    let is_it = |run: &RunId| {
        let records = journal.read(&StreamId::run(run), 1).unwrap();
        run_started(&records[0].body).is_some_and(|started| started.playbook.as_str() == playbook)
    };
    runs.into_iter().find(is_it).expect("it was started")
}

/// From here on the disk hangs, and something was just written to this stream.
fn hang_behind(stage: &mut Stage, stream: &StreamId) {
    by_hand::hang(true);
    let note = NewRecord::new(stage.now(), NoteAdded { by: "ann".into(), text: "just now".into() });
    stage.alive(|life| {
        life.core.ink.append(stream.clone(), &[note]);
        life.core.ink.commit();
    });
}

/// How many wait for the journal, and how many leases are due.
fn waits(stage: &Stage) -> (usize, usize) {
    let core = &stage.life.as_ref().unwrap().core;
    (core.unread.count(), core.leases.count().1)
}

/// The disk works again, and all comes to its end.
fn comes_back(stage: &mut Stage, playbooks: &[Arc<Playbook>]) {
    by_hand::hang(false);
    stage.settle().unwrap();
    // What the world is asked about the leases of what has ended.
    while stage.gather() {
        stage.deliver();
    }
    assert_eq!(waits(stage).0, 0);
    check::at_the_end(stage, playbooks).unwrap();
}

fn state(stage: &mut Stage, run: &RunId) -> RunState {
    let records = stage.records().remove(&StreamId::run(run)).unwrap();
    let end = |body: &Body| if let Body::RunFinished(end) = body { Some(end.state) } else { None };
    records.iter().rev().find_map(|record| end(&record.body)).expect("it has ended")
}

/// A run has started another and fails then, so that both are taken back; the disk hangs all the while.
fn taken_back_while_the_disk_hangs() -> (Vec<Arc<Playbook>>, Stage) {
    let after = Step { on_failure: OnFailure::Undo, ..make::acts("after", &["sub"], "process.freeze") };
    let top = make::named(playbook_of(vec![make::starts("sub", &[], "lower"), after]), "top");
    let playbooks = vec![top, child("lower", vec![make::acts("hold", &[], "process.freeze")])];
    let mut stage = stage(&playbooks);
    stage.world.state().wanted.insert("after".into(), vec![Doing::GivesUp]);
    by_hand::hang(true);
    attack(&mut stage);
    (playbooks, stage)
}

#[test]
fn a_run_below_is_taken_back_once_its_records_are_there_and_is_not_stuck_before() {
    let (playbooks, mut stage) = taken_back_while_the_disk_hangs();
    stage.alive(|life| life.core.pass());
    assert_eq!(waits(&stage), (1, 0), "all is done but what needs the records below");
    assert_eq!(stage.world.state().stands.len(), 1);
    comes_back(&mut stage, &playbooks);
    let (top, lower) = (run_of(&stage, "top"), run_of(&stage, "lower"));
    assert_eq!((state(&mut stage, &top), state(&mut stage, &lower)), (RunState::Undone, RunState::Undone));
    assert_eq!(stage.world.state().stands.len(), 0);
}

#[test]
fn whoever_waits_for_the_journal_is_said_to_after_a_while_and_has_not_ended() {
    let (playbooks, mut stage) = taken_back_while_the_disk_hangs();
    assert_eq!(ask(&mut stage, Request::Stuck).unwrap(), serde_json::json!([]), "a moment is nothing to speak of");
    stage.clock.advance(Duration::from_secs(6));
    let told = ask(&mut stage, Request::Stuck).unwrap().to_string();
    assert!(told.contains("`sub` waits until `run/") && told.contains("the journal takes nothing now"), "{told}");
    comes_back(&mut stage, &playbooks);
    assert_eq!(ask(&mut stage, Request::Stuck).unwrap(), serde_json::json!([]));
}

#[test]
fn the_end_of_a_lease_waits_for_what_its_run_has_written() {
    for at_end in [AtEnd::Undo, AtEnd::Ask, AtEnd::Keep] {
        let lease = Some(Lease { lasts: HOUR, at_end });
        let cut = Step { lease, ..make::acts("cut", &[], "cloud.cut") };
        let playbooks = vec![make::named(playbook_of(vec![cut]), "top")];
        let mut stage = stage(&playbooks);
        attack(&mut stage);
        stage.settle().unwrap();
        let run = run_of(&stage, "top");
        hang_behind(&mut stage, &StreamId::run(&run));
        stage.clock.advance(HOUR);
        for _ in 0..3 {
            stage.alive(|life| life.core.pass());
        }
        assert_eq!(
            (waits(&stage), stage.world.state().stands.len()),
            ((1, 0), 1),
            "{at_end:?}: nobody is told of a failure"
        );
        comes_back(&mut stage, &playbooks);
        let (stands, due) = (stage.world.state().stands.len(), waits(&stage).1);
        assert_eq!((stands, due), if at_end == AtEnd::Undo { (0, 0) } else { (1, usize::from(at_end == AtEnd::Ask)) });
    }
}

/// What is asked for is refused, and leaves nothing half done; asked for again, it is done.
#[test]
fn what_people_ask_for_is_refused_whichever_stream_is_not_there() {
    let lower = vec![make::acts("hold", &[], "process.freeze"), make::acts("cut", &["hold"], "cloud.cut")];
    let top = vec![make::starts("sub", &[], "lower")];
    let playbooks = vec![make::named(playbook_of(top), "top"), child("lower", lower)];
    for (retries, pending) in [(false, "top"), (false, "lower"), (true, "lower"), (true, "top")] {
        let mut stage = stage(&playbooks);
        if retries {
            stage.world.state().wanted.insert("cut".into(), vec![Doing::GivesUp]);
        }
        attack(&mut stage);
        stage.settle().unwrap();
        let run = run_of(&stage, pending);
        let asked = run_of(&stage, if retries { "lower" } else { "top" });
        let request = || match retries {
            true => Request::Retry { run: asked.clone(), from: None, by: "ann".into(), why: "it is mended".into() },
            false => undo(&asked),
        };
        hang_behind(&mut stage, &StreamId::run(&run));
        let before = stage.life.as_ref().unwrap().journal.streams().unwrap();
        let refused = ask(&mut stage, request()).unwrap_err();
        assert_eq!(refused, Refusal::NotNow("the journal takes nothing now".into()), "{pending}");
        let core = &stage.life.as_ref().unwrap().core;
        assert!(core.runs.is_empty() && core.unread.is_empty(), "{pending}");
        assert_eq!(stage.life.as_ref().unwrap().journal.streams().unwrap(), before, "{pending}: nothing was written");
        comes_back(&mut stage, &playbooks);
        ask(&mut stage, request()).unwrap();
        comes_back(&mut stage, &playbooks);
        assert_eq!(stage.world.state().stands.len(), if retries { 2 } else { 0 });
    }
}

/// A step that is done again asks whether what the earlier run did still stands.
#[test]
fn a_step_that_starts_a_run_again_waits_for_what_the_earlier_one_has_written() {
    let top = vec![make::waits("nap", &[], 20), make::starts("sub", &["nap"], "lower")];
    let playbooks =
        vec![make::named(playbook_of(top), "top"), child("lower", vec![make::acts("cut", &[], "cloud.cut")])];
    let mut stage = stage(&playbooks);
    stage.world.state().wanted.insert("cut".into(), vec![Doing::GivesUp]);
    attack(&mut stage);
    stage.settle().unwrap();
    let (top, lower) = (run_of(&stage, "top"), run_of(&stage, "lower"));
    assert_eq!(state(&mut stage, &top), RunState::Failed);
    let retry = Request::Retry { run: top.clone(), from: Some("nap".into()), by: "ann".into(), why: String::new() };
    ask(&mut stage, retry).unwrap();
    hang_behind(&mut stage, &StreamId::run(&lower));
    stage.clock.advance(Duration::from_secs(21));
    stage.alive(|life| life.core.pass());
    assert_eq!(waits(&stage), (1, 0));
    assert!(stage.life.as_ref().unwrap().core.runs[&top].under_way.is_empty(), "it has not begun");
    comes_back(&mut stage, &playbooks);
    assert_eq!((state(&mut stage, &top), stage.world.state().stands.len()), (RunState::Succeeded, 1));
}

#[test]
fn a_pinned_text_is_read_once_it_is_there() {
    let playbooks = vec![make::named(playbook_of(vec![make::acts("cut", &[], "cloud.cut")]), "top")];
    let mut stage = stage(&playbooks);
    attack(&mut stage);
    stage.settle().unwrap();
    hang_behind(&mut stage, &StreamId::system());
    let hash = playbooks[0].hash;
    let read = |stage: &mut Stage| stage.alive(|life| life.core.definition(hash)).unwrap();
    assert_eq!(read(&mut stage).unwrap().hash, hash, "what is loaded is not looked for");
    stage.alive(|life| life.core.definitions.playbooks.clear());
    assert!(matches!(read(&mut stage), Err(Unread::NotYet(_))));
    by_hand::hang(false);
    assert_eq!(read(&mut stage).unwrap().hash, hash);
}

#[test]
fn what_is_told_of_an_incident_that_is_closed_is_not_lost() {
    let lease = Some(Lease { lasts: HOUR, at_end: AtEnd::Keep });
    let cut = Step { lease, ..make::acts("cut", &[], "cloud.cut") };
    let playbooks = vec![make::named(playbook_of(vec![cut]), "top")];
    let mut stage = stage(&playbooks);
    attack(&mut stage);
    stage.settle().unwrap();
    let streams = stage.life.as_ref().unwrap().journal.streams().unwrap();
    let incident = streams.into_iter().find_map(|(stream, _)| stream.as_incident()).unwrap();
    stage.clock.advance(HOUR / 2 + Duration::from_secs(120));
    stage.alive(|life| life.core.pass());
    assert!(stage.life.as_mut().unwrap().core.incidents.get_mut(&incident).is_none(), "it takes nothing more");
    hang_behind(&mut stage, &StreamId::incident(&incident));
    stage.clock.advance(HOUR / 2);
    stage.alive(|life| life.core.pass());
    while stage.gather() {
        stage.deliver();
    }
    comes_back(&mut stage, &playbooks);
    let records = stage.records().remove(&StreamId::incident(&incident)).unwrap();
    let told = |body: &Body| matches!(body, Body::NoteAdded(note) if note.text.contains("stays as it is"));
    assert_eq!(records.iter().filter(|record| told(&record.body)).count(), 1);
}

/// The slate is full: what is written of one run waits beside the journal, one record after the other.
#[test]
fn what_becomes_of_leases_while_others_wait_for_the_journal_is_all_kept() {
    let lease = Some(Lease { lasts: HOUR, at_end: AtEnd::Ask });
    let cut = |id: &str| Step { lease, ..make::acts(id, &[], "cloud.cut") };
    let playbooks = vec![make::named(playbook_of(vec![cut("one"), cut("two"), cut("three")]), "top")];
    let mut stage = stage(&playbooks);
    attack(&mut stage);
    stage.settle().unwrap();
    let run = run_of(&stage, "top");
    stage.clock.advance(HOUR);
    stage.alive(|life| life.core.pass());
    stage.alive(|life| life.journal.refuse(true));
    by_hand::fill_slate(true);
    while stage.gather() {
        stage.deliver();
    }
    assert!(stage.life.as_ref().unwrap().core.ink.waiting() >= 3);
    by_hand::fill_slate(false);
    stage.alive(|life| life.journal.refuse(false));
    stage.settle().unwrap();
    let records = stage.records().remove(&StreamId::run(&run)).unwrap();
    let due = |body: &Body| matches!(body, Body::LeaseChanged(changed) if changed.state.as_str() == "due");
    assert_eq!(records.iter().filter(|record| due(&record.body)).count(), 3);
    check::at_the_end(&mut stage, &playbooks).unwrap();
}
