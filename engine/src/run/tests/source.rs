//! Sources: what an engine goes on from after another, and what it makes of what they held before it looked.

use super::*;
use crate::clock::SimulatedClock;
use crate::report;
use quell_model::playbook::{AskPerson, IncidentMoment};
use quell_model::record::SourceAdvanced;
use quell_model::record::source::{FileHead, FilePosition, Position};

const SOURCE: &str = "file:/var/log/app";

fn name() -> Name {
    SOURCE.into()
}

fn at(inode: u64, offset: u64) -> Position {
    let born = Some("2026-03-01T10:00:00Z".parse().unwrap());
    let head = FileHead { bytes: 3, sum: Hash::of(b"one") };
    let path = format!("/var/log/app/{inode}");
    let modified = "2026-03-01T11:00:00Z".parse().unwrap();
    let (before, past, cut, gone) = (0, None, 0, false);
    Position::File(FilePosition { path, device: 1, inode, born, head, offset, before, past, cut, modified, gone })
}

fn gone(inode: u64) -> Position {
    let Position::File(file) = at(inode, 0);
    Position::File(FilePosition { gone: true, ..file })
}

/// What is known of each file: its inode, and how far it was read.
fn known(stage: &Stage) -> Vec<(u64, u64)> {
    let all = stage.core.positions(&name()).expect("it was followed");
    all.into_iter().map(|Position::File(file)| (file.inode, file.offset)).collect()
}

fn advances(journal: &Journal) -> Vec<SourceAdvanced> {
    let all = journal.read(&StreamId::source(&name()), 1).unwrap().into_iter();
    let one = |record: Record| match record.body {
        Body::SourceAdvanced(advanced) => *advanced,
        other => panic!("{other:?}"),
    };
    all.map(one).collect()
}

fn from_file(subject: &str, number: u32) -> Detection {
    let mut detection = detection(subject, number);
    let now = SystemClock.now();
    let head = &mut Arc::make_mut(&mut detection.event).head;
    (head.source, head.at) = (SOURCE.into(), now);
    detection
}

fn old(subject: &str, number: u32) -> Detection {
    Detection { backfill: true, ..from_file(subject, number) }
}

fn life(dir: tempfile::TempDir, definitions: Definitions) -> Stage {
    let mut stage = stage_in(dir, World::default(), definitions);
    stage.core.recover(Arc::new(|_, _| None)).unwrap();
    stage
}

fn followed(playbook: Playbook) -> Stage {
    let mut stage = life(tempfile::tempdir().unwrap(), definitions(playbook));
    assert_eq!(stage.core.positions(&name()), None, "it was never followed");
    stage.core.advanced(&name(), vec![at(1, 0), at(2, 0)], true);
    stage
}

fn kills() -> Playbook {
    playbook_of(vec![acts("kill", &[], "process.kill")])
}

fn end(stage: Stage) -> tempfile::TempDir {
    let Stage { core, journal, dir, .. } = stage;
    drop(core);
    journal.close();
    dir
}

/// As SIGKILL does it: what was not committed is gone.
fn kill(mut stage: Stage) -> tempfile::TempDir {
    stage.core.sources = Default::default();
    stage.core.ink.forget();
    end(stage)
}

#[test]
fn a_position_is_there_with_the_detection_that_takes_it_along() {
    let mut stage = followed(kills());
    stage.core.detections_at([from_file("7", 1), from_file("8", 1)], &name(), Some(at(1, 40)));
    let life2 = life(kill(stage), definitions(kills()));
    assert_eq!(known(&life2), [(1, 40), (2, 0)]);
    assert_eq!(life2.runs().len(), 2);
    // What no detection took along is read again.
    let mut life2 = life2;
    life2.core.advanced(&name(), vec![at(2, 70)], false);
    let life3 = life(kill(life2), definitions(kills()));
    assert_eq!(known(&life3), [(1, 40), (2, 0)]);
}

/// Of one line the detections may be several, and an act lies between them.
#[test]
fn a_line_counts_as_read_only_with_the_last_of_its_detections() {
    let mut stage = followed(kills());
    stage.until(|stage| stage.journal.can_read(&StreamId::source(&name()), Duration::from_secs(20)));
    let before = *stage.journal.head().borrow();
    stage.core.detections_at([from_file("7", 1), from_file("8", 1)], &name(), Some(at(1, 40)));
    let mut wanted = |_: &StreamId, kind| matches!(kind, Kind::DetectionAccepted | Kind::SourceAdvanced);
    stage.until(|stage| stage.journal.can_read(&StreamId::source(&name()), Duration::from_secs(20)));
    let told = stage.journal.after(before, 100, &mut wanted).unwrap().records;
    // The first, with which it was followed, may come late to whoever reads along.
    let is_first = |body: &Body| matches!(body, Body::SourceAdvanced(advanced) if advanced.whole);
    let bodies = told.iter().map(|followed| &followed.record.body).filter(|body| !is_first(body));
    let kinds: Vec<Kind> = bodies.map(Body::kind).collect();
    assert_eq!(kinds, [Kind::DetectionAccepted, Kind::DetectionAccepted, Kind::SourceAdvanced]);
}

#[test]
fn what_is_read_again_after_a_crash_is_not_accepted_twice() {
    let mut stage = followed(kills());
    // Of a document of many records the end was not reached: all of it is read again.
    stage.core.detections_at([from_file("7", 1)], &name(), None);
    stage.settle();
    stage.core.detections_at([from_file("7", 2)], &name(), None);
    stage.settle();
    assert_eq!((stage.runs().len(), stage.done().len()), (2, 2), "a later one starts another");
    let mut stage = life(kill(stage), definitions(kills()));
    // As a start does: it tells what it has found again.
    stage.core.advanced(&name(), vec![at(1, 0), at(2, 0)], true);
    let before = stage.journal.last(&stage.journal.incidents(None, 1).unwrap()[0].stream);
    for number in [1, 2] {
        stage.core.detections_at([from_file("7", number)], &name(), Some(at(1, 40)));
        stage.settle();
    }
    assert_eq!((stage.runs().len(), stage.done().len()), (2, 0));
    assert_eq!(stage.journal.last(&stage.journal.incidents(None, 1).unwrap()[0].stream), before);
    // What is new is none of that.
    stage.core.detections_at([from_file("7", 3)], &name(), Some(at(1, 80)));
    stage.settle();
    assert_eq!((stage.runs().len(), stage.done().len()), (3, 1));
}

#[test]
fn without_a_detection_positions_are_written_once_a_minute_and_at_the_end() {
    let mut stage = followed(kills());
    let clock = Arc::new(SimulatedClock::new(SystemClock.now()));
    stage.core.parts.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    for n in 1..100 {
        stage.core.advanced(&name(), vec![at(1, n)], false);
        stage.core.turn();
    }
    assert_eq!(advances(&stage.journal).len(), 1, "the ground, and nothing since");
    clock.advance(Duration::from_secs(61));
    stage.core.turn();
    stage.core.advanced(&name(), vec![at(1, 100)], false);
    stage.core.turn();
    let told = advances(&stage.journal);
    assert_eq!((told.len(), &told[1].positions), (2, &vec![at(1, 99)]), "only what has moved");
    let life2 = life(end(stage), definitions(kills()));
    assert_eq!(known(&life2), [(1, 100), (2, 0)]);
}

/// What is past comes on another way than what is live, and later.
#[test]
fn what_is_live_and_what_is_past_move_on_by_themselves_and_neither_goes_back() {
    let of = |offset, past, cut, gone| {
        let Position::File(file) = at(1, offset);
        Position::File(FilePosition { before: 100, past, cut, gone, ..file })
    };
    let ends = |stage: &Stage| -> Vec<(u64, Option<u64>)> {
        let all = stage.core.positions(&name()).unwrap();
        all.into_iter().map(|Position::File(file)| (file.offset, file.past)).collect()
    };
    let mut stage = life(tempfile::tempdir().unwrap(), definitions(kills()));
    stage.core.advanced(&name(), vec![of(100, Some(0), 0, false)], true);
    // What is live has a detection, and what is past does not come along with it.
    stage.core.detections_at([from_file("7", 1)], &name(), Some(of(140, Some(0), 0, false)));
    let mut stage = life(kill(stage), definitions(kills()));
    assert_eq!(ends(&stage), [(140, Some(0))]);
    stage.core.detections_at([old("7", 2)], &name(), Some(of(100, Some(60), 0, false)));
    let mut stage = life(kill(stage), definitions(kills()));
    assert_eq!(ends(&stage), [(140, Some(60))]);
    // It went away, and the last of its past is still on its way.
    stage.core.advanced(&name(), vec![of(150, Some(0), 0, true)], false);
    assert_eq!(ends(&stage), [(150, Some(60))]);
    let mut stage = life(end(stage), definitions(kills()));
    assert_eq!(ends(&stage), [(150, Some(60))]);
    for past in [None, Some(60)] {
        stage.core.advanced(&name(), vec![of(100, past, 0, false)], false);
        let now = stage.core.parts.clock.now();
        stage.core.write_positions(now);
        assert_eq!(ends(&stage), [], "and what comes late brings it not back");
    }
    assert_eq!(ends(&life(end(stage), definitions(kills()))), []);
}

/// What was there before would else be taken for the last of a file that is gone.
#[test]
fn what_is_found_under_another_number_is_known_at_the_next_start_and_what_it_was_is_not() {
    let of = |inode, offset, past, gone| {
        let Position::File(file) = at(inode, offset);
        Position::File(FilePosition { before: 100, past, gone, ..file })
    };
    for detected in [false, true] {
        let mut stage = life(tempfile::tempdir().unwrap(), definitions(kills()));
        stage.core.advanced(&name(), vec![of(1, 140, Some(60), false)], true);
        stage.core.found(&name(), vec![of(9, 140, Some(60), false), of(1, 140, None, true)]);
        let read_on = of(9, 180, Some(0), false);
        let stage = if detected {
            // All of it comes with the first that is found there.
            stage.core.detections_at([from_file("7", 1)], &name(), Some(read_on));
            life(kill(stage), definitions(kills()))
        } else {
            stage.core.advanced(&name(), vec![read_on], false);
            life(end(stage), definitions(kills()))
        };
        assert_eq!(stage.core.positions(&name()), Some(vec![of(9, 180, Some(60), false)]), "{detected}");
    }
}

#[test]
fn a_file_that_is_back_before_it_was_written_that_it_is_gone_is_there() {
    let mut stage = followed(kills());
    stage.core.advanced(&name(), vec![gone(2)], false);
    stage.core.advanced(&name(), vec![at(2, 0), at(2, 40)], false);
    assert_eq!(known(&life(end(stage), definitions(kills()))), [(1, 0), (2, 40)]);
}

#[test]
fn what_comes_late_of_a_file_that_was_cut_off_changes_nothing() {
    let mut stage = life(tempfile::tempdir().unwrap(), definitions(kills()));
    let of = |offset, before, cut| {
        let Position::File(file) = at(1, offset);
        Position::File(FilePosition { before, past: (before > 0).then_some(0), cut, ..file })
    };
    stage.core.advanced(&name(), vec![of(100, 100, 0)], true);
    stage.core.advanced(&name(), vec![of(0, 0, 1)], false);
    stage.core.advanced(&name(), vec![of(100, 100, 0)], false);
    assert_eq!(stage.core.positions(&name()), Some(vec![of(0, 0, 1)]));
}

#[test]
fn a_start_reads_back_to_a_record_of_all_files_and_what_is_gone_is_forgotten() {
    let mut stage = followed(kills());
    stage.core.advanced(&name(), vec![gone(2)], false);
    for n in 1..=700 {
        stage.core.advanced(&name(), vec![at(1, n)], false);
        let now = stage.core.parts.clock.now();
        stage.core.write_positions(now);
        stage.core.ink.commit();
    }
    let told = advances(&stage.journal);
    let whole: Vec<usize> = (0..told.len()).filter(|at| told[*at].whole).collect();
    assert_eq!(whole.len(), 3, "{whole:?}");
    assert_eq!(told[whole[2]].positions.len(), 1, "the one that is gone is not named");
    let life2 = life(kill(stage), definitions(kills()));
    assert_eq!(known(&life2), [(1, 700)]);
}

#[test]
fn about_what_a_source_held_before_nothing_is_done_and_nobody_asked() {
    let asks = AskPerson {
        question: "Was it you?".into(),
        person: None,
        by: None,
        choices: vec!["me".into(), "not_me".into()],
        within: quell_model::playbook::Within(Duration::from_secs(900)),
        otherwise: "not_me".into(),
        remember: None,
        not_via: Vec::new(),
    };
    let sure = Step { kind: StepKind::Ask(Box::new(asks)), ..step("sure", &["kill"]) };
    let mut stage = followed(playbook_of(vec![acts("kill", &[], "process.kill"), sure]));
    stage.core.detections_at([old("7", 1)], &name(), Some(at(1, 40)));
    stage.settle();
    assert_eq!(
        stage.only_story(),
        [
            "RunStarted",
            "StepPlanned",
            "StepFinished kill planned",
            "QuestionAsked",
            "QuestionAnswered",
            "StepFinished sure done",
            "RunFinished succeeded"
        ]
    );
    assert!(stage.done().is_empty() && stage.core.runs.is_empty());
    let run = report::run(&stage.journal, &stage.runs()[0]).unwrap().unwrap();
    assert_eq!(run.mode, Mode::Observe);
    assert!(run.mode_because.contains("backfill"), "{}", run.mode_because);
    let told = report::incidents(&stage.journal).unwrap();
    assert!(told.len() == 1 && told[0].backfill && !told[0].degraded);
    let why = report::explain(&stage.journal, &told[0].id, report::Wanted::default()).unwrap().unwrap();
    assert!(why.backfill && why.detections[0].decided[0].why.contains("backfill"), "{why:?}");
}

#[test]
fn what_happens_now_is_answered_whatever_a_backfill_found_about_it_and_also_the_other_way() {
    for restarts in [false, true] {
        let mut stage = followed(kills());
        stage.core.detections_at([old("7", 1)], &name(), Some(at(1, 40)));
        stage.settle();
        if restarts {
            stage = life(end(stage), definitions(kills()));
        }
        stage.core.detections_at([from_file("7", 2)], &name(), Some(at(1, 80)));
        stage.settle();
        assert_eq!(stage.done(), ["process.kill 1"], "{restarts}");
        let told = report::incidents(&stage.journal).unwrap();
        let past: Vec<bool> = told.iter().map(|one| one.backfill).collect();
        assert_eq!(past, [false, true], "each has an incident of its own: {restarts}");
        let count = told[0].detections;
        stage.core.detections_at([old("7", 3)], &name(), Some(at(1, 120)));
        stage.settle();
        assert_eq!(stage.done().len(), 1);
        let told = report::incidents(&stage.journal).unwrap();
        assert_eq!((told.len(), told[0].detections, told[1].detections), (2, count, 2), "{restarts}");
    }
}

#[test]
fn a_playbook_that_follows_incidents_only_plans_in_one_of_a_backfill() {
    let kind = StepKind::Action { action: "process.kill".into(), with: json!({ "process": "x" }) };
    let mut playbook = playbook_of(vec![Step { kind, ..step("kill", &[]) }]);
    (playbook.on.detections, playbook.on.incident) = (None, vec![IncidentMoment::Opened]);
    let mut stage = followed(playbook);
    stage.core.detections_at([old("7", 1)], &name(), Some(at(1, 40)));
    stage.settle();
    assert_eq!((stage.runs().len(), stage.done().len()), (1, 0));
    stage.core.detections_at([from_file("7", 2)], &name(), Some(at(1, 80)));
    stage.settle();
    assert_eq!((stage.runs().len(), stage.done().len()), (2, 1), "an incident of now is another");
}

#[test]
fn a_backfill_ends_no_warm_up_and_uses_up_no_limit() {
    for restarts in [false, true] {
        let mut playbook = kills();
        playbook.limits.runs = Some(quell_model::playbook::Rate { count: 1, per: Duration::from_secs(3600) });
        let mut given = definitions(playbook);
        given.guard.warm_up = Some(quell_model::guard::WarmUp { runs: Some(1), lasts: None });
        let mut stage = life(tempfile::tempdir().unwrap(), given.clone());
        stage.core.advanced(&name(), vec![at(1, 0)], true);
        stage.core.detections_at([old("7", 1)], &name(), Some(at(1, 40)));
        stage.settle();
        if restarts {
            stage = life(end(stage), given);
        }
        stage.core.detections_at([from_file("8", 1)], &name(), Some(at(1, 80)));
        stage.settle();
        assert!(stage.done().is_empty(), "it is as new as before: {restarts}");
    }
}

fn brought(subject: &str, number: u32) -> Detection {
    let mut detection = from_file(subject, number);
    Arc::make_mut(&mut detection.event).head.source = "webhook:cluster".into();
    detection
}

/// Whoever brought it is answered, once it is in the journal.
fn committed(stage: &mut Stage) -> bool {
    let (told, answer) = std::sync::mpsc::sync_channel(1);
    stage.core.when_committed(move |committed| told.send(committed.is_ok()).unwrap());
    answer.recv_timeout(Duration::from_secs(20)).expect("the journal's thread says so")
}

#[test]
fn what_is_brought_is_committed_before_it_is_answered_and_brought_again_after_a_crash_it_is_not_accepted_twice() {
    let mut stage = life(tempfile::tempdir().unwrap(), definitions(kills()));
    assert!(stage.core.can_take_in());
    assert!(committed(&mut stage), "nothing at all is committed too");
    stage.core.detections([brought("7", 1)]);
    assert!(committed(&mut stage));
    stage.settle();
    assert_eq!((stage.runs().len(), stage.done().len()), (1, 1));
    let mut stage = life(kill(stage), definitions(kills()));
    let last = |stage: &Stage| stage.journal.last(&stage.journal.incidents(None, 1).unwrap()[0].stream);
    let before = last(&stage);
    // As often as the sender likes, and whatever else has moved meanwhile.
    for _ in 0..3 {
        stage.core.detections([brought("7", 1)]);
        assert!(committed(&mut stage));
        stage.settle();
    }
    assert_eq!((stage.runs().len(), stage.done().len(), last(&stage)), (1, 0, before));
    stage.core.detections([brought("7", 2)]);
    stage.settle();
    assert_eq!((stage.runs().len(), stage.done().len()), (2, 1), "what is new is none of that");
}

#[test]
fn what_cannot_be_written_is_not_answered_as_committed() {
    let mut stage = life(tempfile::tempdir().unwrap(), definitions(kills()));
    let other = rusqlite::Connection::open(stage.dir.path().join("journal.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (told, answer) = std::sync::mpsc::sync_channel(1);
    stage.core.detections([brought("7", 1)]);
    stage.core.when_committed(move |committed| told.send(committed.is_ok()).unwrap());
    let none = answer.recv_timeout(Duration::from_millis(500));
    assert_ne!(none, Ok(true), "the disk has not said so");
    stage.until(|stage| stage.journal.health().trouble.is_some());
    assert!(!stage.core.can_take_in());
    other.execute_batch("ROLLBACK").unwrap();
    stage.until(|stage| stage.journal.health().trouble.is_none());
    assert!(stage.core.can_take_in() && committed(&mut stage));
}
