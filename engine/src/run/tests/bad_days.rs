//! What goes wrong around a run: code that panics, records that no half of the slate holds, a start after a long life.

use super::taken_up::after_a_crash_with;
use super::*;
use crate::clock::SimulatedClock;
use crate::incident::Incidents;
use quell_model::playbook::IncidentMoment;
use quell_model::record::{
    BreakerChanged, Decided, DetectionAccepted, DetectionHeld, EngineStarted, IncidentOpened, MomentDecided,
    TriggerDecision,
};

#[test]
fn a_verb_that_panics_ends_its_step_and_takes_nobody_along() {
    for (action, outcome) in [("process.kill", "StepFinished kill failed"), ("file.copy", "StepFinished kill failed")] {
        let world = World { panics: true, ..World::default() };
        let mut stage = stage(world, playbook_of(vec![acts("kill", &[], action)]));
        stage.core.detections([detection("7", 1)]);
        stage.settle();
        assert!(stage.only_story().contains(&outcome.to_owned()), "{:?}", stage.only_story());
        // The engine goes on.
        stage.core.detections([detection("8", 1)]);
        stage.settle();
        assert_eq!(stage.runs().len(), 2);
    }
}

#[test]
fn a_record_that_no_half_of_the_slate_holds_is_journaled_and_holds_nothing_up() {
    let mut stage = stage(World::default(), playbook_of(vec![acts("kill", &[], "process.kill")]));
    stage.core.detections([detection(&"7".repeat(5 << 20), 1), detection("8", 1)]);
    stage.settle();
    assert_eq!(stage.done().len(), 2);
    let status = stage.core.serve(Request::Status).unwrap();
    assert_eq!((&status["records_waiting"], &status["records_lost"]), (&json!(0), &json!(0)));
    for run in stage.runs() {
        assert_eq!(stage.story(&run).last().unwrap(), "RunFinished succeeded");
    }
    let Stage { core, journal, dir, .. } = stage;
    drop(core);
    journal.close();
    let left = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    assert!(left.into_iter().all(|name| !name.starts_with("slate-")), "nothing is left beside the slate");
    assert_eq!(Journal::open(dir.path()).unwrap().verify().unwrap(), Vec::<String>::new());
}

/// An engine of another life over the same journal.
fn next_life(stage: Stage, definitions: Definitions) -> Stage {
    let Stage { core, journal, dir, .. } = stage;
    drop(core);
    journal.close();
    stage_in(dir, World::default(), definitions)
}

#[test]
fn a_start_reads_the_end_of_a_long_incident_and_goes_on_in_it() {
    let playbook = playbook_of(vec![acts("kill", &[], "process.kill")]);
    let mut first = stage(World::default(), playbook.clone());
    first.core.detections((0..700).map(|subject| detection(&subject.to_string(), 1)));
    first.settle();
    let listed = first.journal.incidents(None, 10).unwrap().remove(0);
    let records = first.journal.last(&listed.stream);
    assert!(records > 1400, "{records}");
    let (line, mut read) = (listed.line.unwrap(), 0);
    let late = Incidents::read_late(&first.journal, &listed.stream, &line, &mut |_| read += 1).unwrap();
    let whole = Incidents::read(&first.journal, &listed.stream, &mut |_| ()).unwrap().unwrap();
    assert_eq!(read, 1000);
    assert_eq!((late.seq, late.level, late.standing, late.last), (records, whole.level, whole.standing, whole.last));
    let mut second = next_life(first, definitions(playbook));
    assert_eq!(second.core.recover(Arc::new(|_, _| None)).unwrap().incidents, 1);
    second.core.detections([detection("new", 1), detection("3", 2)]);
    second.settle();
    assert_eq!(second.journal.last(&listed.stream), records + 4, "both join it, each with a run");
    assert_eq!(second.core.serve(Request::Status).unwrap()["records_lost"], 0);
    assert_eq!(second.journal.verify().unwrap(), Vec::<String>::new());
}

#[test]
fn a_start_finds_what_holds_in_the_system_s_stream_behind_all_that_came_after() {
    let playbook = playbook_of(vec![acts("kill", &[], "process.kill")]);
    let mut first = stage(World::default(), playbook.clone());
    first.core.detections([detection("7", 1)]);
    first.core.serve(Request::Pause { paused: true, by: "ana".into() }).unwrap();
    let now = SystemClock.now();
    // Of an earlier boot, whose clock was far ahead of this one's.
    let ahead = Stamp { boot_ns: now.boot_ns + 1_000_000_000_000_000, wall: now.wall };
    first.core.write_system(vec![
        NewRecord::new(ahead, BreakerChanged { playbook: "test".into(), open: true, why: String::new(), by: None }),
        NewRecord::new(
            now,
            EngineStarted {
                version: String::new(),
                boot: process::BootId("b".into()),
                pid: 1,
                mode: Mode::Enforce,
                tzdb: None,
            },
        ),
    ]);
    let held = || DetectionHeld { detection: Hash::default(), rule: "r".into(), playbook: None, reason: String::new() };
    first.core.held((0..500).map(|_| (now, held())));
    let last = first.journal.last(&StreamId::system());
    let mut second = next_life(first, definitions(playbook));
    let report = second.core.recover(Arc::new(|_, _| None)).unwrap();
    assert!(report.paused);
    assert_eq!(second.journal.last(&StreamId::system()), last + 1);
    let opened = second.core.memory.opened(&"test".into()).unwrap();
    assert!(opened.at.boot_ns <= SystemClock.now().boot_ns, "a breaker of an earlier boot closes in time");
    // A definition that is pinned is not pinned again.
    second.core.detections([detection("8", 1)]);
    second.settle();
    assert_eq!(second.journal.latest(&[Kind::DefinitionPinned], 10).unwrap().len(), 1);
}

#[test]
fn a_start_begins_what_was_promised_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let promised = detection("7", 1);
    let run = RunId::of(&[b"test", promised.subject().to_string().as_bytes(), &promised.id.0]);
    let (lost, unbegun): (RunId, RunId) = ("never-to-be".into(), "too-large".into());
    {
        let journal = Journal::open(dir.path()).unwrap();
        let at = SystemClock.now();
        let answer = |playbook: &str, run: &RunId| Decided {
            playbook: playbook.into(),
            decision: TriggerDecision::Started,
            why: String::new(),
            run: Some(run.clone()),
        };
        let entity = promised.event.entity.clone();
        let opened = IncidentOpened {
            incident: "i".into(),
            entity,
            title: "A rule".into(),
            level: Level::High,
            backfill: false,
        };
        let decided = vec![answer("test", &run), answer("gone", &lost)];
        let accepted = DetectionAccepted { detection: promised.clone(), decided, counted_later: false };
        // As it is where one append did not hold the run as well.
        let decided = vec![answer("follows", &unbegun)];
        let come = MomentDecided { moment: IncidentMoment::Opened, record: 1, decided };
        let records = vec![NewRecord::new(at, opened), NewRecord::new(at, accepted), NewRecord::new(at, come)];
        let stream = StreamId::incident(&"i".into());
        journal.written(Batch { stream, expected: 0, records, durability: Durability::Written }).unwrap();
        journal.close();
    }
    let old = playbook_of(vec![acts("kill", &[], "process.kill")]);
    let new = Playbook { name: "newcomer".into(), hash: Hash::of(b"new"), ..old.clone() };
    let both = Definitions { playbooks: vec![Arc::new(new), Arc::new(old)], ..definitions(playbook_of(vec![])) };
    let mut stage = stage_in(dir, World::default(), both);
    let report = stage.core.recover(Arc::new(|_, _| None)).unwrap();
    assert_eq!(report.begun, std::slice::from_ref(&run), "not what a playbook would do that was not there then");
    assert_eq!(report.broken.iter().map(|(run, _)| run.clone()).collect::<Vec<_>>(), [lost, unbegun]);
    assert!(report.broken[1].1.contains("`opened` of `incident/i` was answered with it"), "{:?}", report.broken);
    stage.settle();
    assert_eq!(stage.runs(), [run]);
    assert_eq!(stage.journal.verify().unwrap(), Vec::<String>::new());
    // Whoever sees the start sees what it judged: they may be two appends.
    let mut wanted = |_: &StreamId, kind| matches!(kind, Kind::RunStarted | Kind::EngineStarted);
    let rows = stage.journal.after(0, 1000, &mut wanted).unwrap().records;
    let kinds: Vec<Kind> = rows.iter().map(|row| row.record.body.kind()).collect();
    assert_eq!(kinds, [Kind::RunStarted, Kind::EngineStarted]);
}

/// An engine is killed between its promise and the run, and nobody is there for longer than an incident stays open.
#[test]
fn a_start_begins_what_was_promised_in_an_incident_that_has_become_quiet_since() {
    let dir = tempfile::tempdir().unwrap();
    let promised = detection("7", 1);
    let run = RunId::of(&[b"test", promised.subject().to_string().as_bytes(), &promised.id.0]);
    let stream = StreamId::incident(&"i".into());
    {
        let journal = Journal::open(dir.path()).unwrap();
        let now = SystemClock.now();
        let at = Stamp { wall: now.wall - Duration::from_secs(2 * 3600), ..now };
        let started = |run: &RunId| {
            let (decision, why) = (TriggerDecision::Started, String::new());
            vec![Decided { playbook: "test".into(), decision, why, run: Some(run.clone()) }]
        };
        let entity = promised.event.entity.clone();
        let opened = IncidentOpened {
            incident: "i".into(),
            entity,
            title: "A rule".into(),
            level: Level::High,
            backfill: false,
        };
        let accepted = |detection, decided| DetectionAccepted { detection, decided, counted_later: false };
        let earlier = accepted(detection("6", 1), started(&"judged-before".into()));
        let last = accepted(promised.clone(), started(&run));
        let (boot, mode) = (process::BootId("a".into()), Mode::Enforce);
        let engine = EngineStarted { version: String::new(), boot, pid: 1, mode, tzdb: None };
        let put = |stream: &StreamId, expected, records| {
            let (stream, durability) = (stream.clone(), Durability::Written);
            journal.written(Batch { stream, expected, records, durability }).unwrap();
        };
        let other = IncidentOpened { incident: "j".into(), ..opened.clone() };
        let before = StreamId::incident(&"j".into());
        put(&before, 0, vec![NewRecord::new(at, other), NewRecord::new(at, earlier)]);
        put(&stream, 0, vec![NewRecord::new(at, opened)]);
        put(&StreamId::system(), 0, vec![NewRecord::new(at, engine)]);
        put(&stream, 1, vec![NewRecord::new(at, last)]);
        journal.close();
    }
    let definitions = definitions(playbook_of(vec![acts("kill", &[], "process.kill")]));
    let mut stage = stage_in(dir, World::default(), definitions.clone());
    let report = stage.core.recover(Arc::new(|_, _| None)).unwrap();
    assert_eq!(report.incidents, 0, "it takes nothing more");
    assert_eq!((report.begun.as_slice(), report.broken.len()), (std::slice::from_ref(&run), 0));
    stage.settle();
    assert_eq!(stage.done(), ["process.kill 1"]);
    let joined = |stage: &Stage| {
        let records = stage.journal.read(&stream, 1).unwrap();
        let is_it =
            |record: &&Record| matches!(&record.body, Body::IncidentJoined(one) if one.run == Some(run.clone()));
        records.iter().filter(is_it).count()
    };
    assert_eq!(joined(&stage), 1, "and its incident knows of it");
    let mut stage = next_life(stage, definitions);
    let report = stage.core.recover(Arc::new(|_, _| None)).unwrap();
    assert_eq!((report.begun.len(), report.broken.len(), joined(&stage)), (0, 0, 1), "once");
    assert_eq!(stage.journal.verify().unwrap(), Vec::<String>::new());
}

/// What has no value of `run_per` is not one with all the others that have none: each subject has its own run.
#[test]
fn an_absent_value_of_run_per_lumps_nobody_together() {
    let mut playbook = playbook_of(vec![acts("kill", &[], "process.kill")]);
    playbook.on.run_per.text = "event.process.cwd".into();
    let mut definitions = definitions(playbook);
    definitions.ceiling = Mode::Observe;
    let mut stage = stage_in(tempfile::tempdir().unwrap(), World::default(), definitions);
    stage.core.recover(Arc::new(|_, _| None)).unwrap();
    stage.core.detections([detection("7", 1), detection("8", 1), detection("7", 2)]);
    stage.settle();
    assert_eq!(stage.runs().len(), 2);
}

/// A log that anybody can write names a process before it does harm, or an old event does.
#[test]
fn a_run_that_may_not_act_takes_nothing_from_one_that_may() {
    let untrusted = |mut detection: Detection| {
        Arc::make_mut(&mut detection.event).head.source = "file:/tmp/log".into();
        detection
    };
    let old = |mut detection: Detection| {
        let head = &mut Arc::make_mut(&mut detection.event).head;
        head.at.boot_ns = head.at.boot_ns.saturating_sub(600_000_000_000).max(1);
        detection
    };
    let spoilt: [&dyn Fn(Detection) -> Detection; 2] = [&untrusted, &old];
    for spoil in spoilt {
        let mut playbook = playbook_of(vec![acts("kill", &[], "process.kill")]);
        playbook.on.max_age = Duration::from_secs(60);
        let mut definitions = definitions(playbook);
        definitions.untrusted.insert("file:/tmp/log".into());
        let mut stage = stage_in(tempfile::tempdir().unwrap(), World::default(), definitions);
        stage.core.recover(Arc::new(|_, _| None)).unwrap();
        for number in 1..3 {
            stage.core.detections([spoil(detection("7", number))]);
            stage.settle();
        }
        assert_eq!((stage.done().len(), stage.runs().len()), (0, 1), "the second joined the first, which asks");
        for number in 3..5 {
            stage.core.detections([detection("7", number)]);
            stage.settle();
        }
        assert!(!stage.done().is_empty(), "what the sensor saw is answered");
    }
}

/// Whoever can write a log uses up no playbook's limit with it, neither now nor for the next engine.
#[test]
fn what_an_untrusted_source_starts_counts_for_no_limit() {
    for restarts in [false, true] {
        let mut playbook = playbook_of(vec![acts("kill", &[], "process.kill")]);
        playbook.limits.runs = Some(quell_model::playbook::Rate { count: 1, per: Duration::from_secs(3600) });
        let mut definitions = definitions(playbook);
        definitions.untrusted.insert("file:/tmp/log".into());
        let mut stage = stage_in(tempfile::tempdir().unwrap(), World::default(), definitions.clone());
        stage.core.recover(Arc::new(|_, _| None)).unwrap();
        let mut forged = detection("7", 1);
        let event = Arc::make_mut(&mut forged.event);
        event.head.source = "file:/tmp/log".into();
        event.entity.id = "elsewhere".into();
        stage.core.detections([forged]);
        stage.settle();
        if restarts {
            stage = next_life(stage, definitions);
            stage.core.recover(Arc::new(|_, _| None)).unwrap();
        }
        stage.core.detections([detection("8", 1)]);
        stage.settle();
        assert_eq!(stage.done(), ["process.kill 1"], "{restarts}");
    }
}

/// Of a correlation any event may be the forged one, and what was forged hides nothing of what was seen.
#[test]
fn what_anybody_can_write_has_no_part_in_an_act_and_buries_no_evidence() {
    let mut definitions = definitions(playbook_of(vec![acts("kill", &[], "process.kill")]));
    definitions.untrusted.insert("file:/tmp/log".into());
    let mut stage = stage_in(tempfile::tempdir().unwrap(), World::default(), definitions);
    stage.core.recover(Arc::new(|_, _| None)).unwrap();
    let forged = |number: u32| {
        let mut detection = detection("7", number);
        Arc::make_mut(&mut detection.event).head.source = "file:/tmp/log".into();
        detection
    };
    let mut correlated = detection("7", 1);
    correlated.events = vec![forged(2).event, correlated.event.clone()];
    stage.core.detections([correlated]);
    stage.core.detections((3..30).map(forged));
    stage.settle();
    assert_eq!(stage.done(), Vec::<String>::new());
    let real = detection("7", 100);
    let id = real.id;
    stage.core.detections([real]);
    stage.settle();
    assert_eq!(stage.done(), ["process.kill 1"]);
    let incident = stage.journal.incidents(None, 10).unwrap().remove(0).stream;
    let records = stage.journal.read(&incident, 1).unwrap();
    let is_whole = |record: &Record| matches!(&record.body, Body::DetectionAccepted(one) if one.detection.id == id);
    assert!(records.iter().any(is_whole));
}

/// Whoever sets a harmless rule off thousands of times a second fills no disk with it.
#[test]
fn a_flood_below_the_level_of_incidents_is_a_few_records() {
    let mut stage = stage_in(tempfile::tempdir().unwrap(), World::default(), Definitions::default());
    stage.core.recover(Arc::new(|_, _| None)).unwrap();
    let before = stage.journal.last(&StreamId::system());
    stage.core.detections((0..3_000).map(|subject| {
        let mut detection = detection(&subject.to_string(), 1);
        detection.rule.level = Level::Low;
        detection
    }));
    stage.core.held((0..3_000).map(|n: u32| {
        let (rule, reason) = ("rule".into(), "the exception `mirror` of ana".to_owned());
        let held = DetectionHeld { detection: Hash::of(&n.to_le_bytes()), rule, playbook: None, reason };
        (SystemClock.now(), held)
    }));
    stage.settle();
    let records = stage.journal.read(&StreamId::system(), before + 1).unwrap();
    assert!((20..60).contains(&records.len()), "{}", records.len());
    let last = records.iter().rev().find_map(|record| match &record.body {
        Body::DetectionHeld(held) => Some(held.reason.clone()),
        _ => None,
    });
    assert_eq!(last.unwrap(), "the exception `mirror` of ana; 3000 times so far");
}

/// The process of a detection, as a start's scan finds it.
fn scanned(pid: u32, scan: bool) -> Detection {
    let mut detection = detection("7", if scan { 2 } else { 1 });
    let event = Arc::make_mut(&mut detection.event);
    let id = ProcessId { boot: process::BootId("b".into()), pid, start_ns: event.head.at.boot_ns, exec_id: 1 };
    event.own = json!({ "process": { "id": id.to_string() } }).as_object().unwrap().clone();
    event.subject = Subject::Process(id);
    event.head.source = if scan { "scan" } else { "sensor" }.into();
    detection
}

#[test]
fn what_was_answered_before_a_start_is_answered_once_however_often_quell_starts() {
    for (broken, ceiling, again) in
        [(false, Mode::Enforce, false), (true, Mode::Enforce, true), (false, Mode::Observe, true)]
    {
        let definitions = definitions(playbook_of(vec![acts("kill", &[], "process.kill")]));
        let earlier = Definitions { ceiling, ..definitions.clone() };
        let mut first = stage_in(tempfile::tempdir().unwrap(), World { broken, ..World::default() }, earlier);
        first.core.recover(Arc::new(|_, _| None)).unwrap();
        let attack = scanned(7, false);
        first.core.detections([attack.clone()]);
        first.settle();
        let Stage { core, journal, dir, .. } = first;
        drop(core);
        journal.close();
        let mut second = stage_in(dir, World::default(), definitions);
        second.core.recover(Arc::new(|_, _| None)).unwrap();
        let written: u64 = second.journal.streams().unwrap().iter().map(|(_, last)| last).sum();
        let mut found = scanned(7, true);
        Arc::make_mut(&mut found.event).subject = attack.event.subject.clone();
        Arc::make_mut(&mut found.event).own = attack.event.own.clone();
        second.core.detections([found]);
        second.settle();
        let after: u64 = second.journal.streams().unwrap().iter().map(|(_, last)| last).sum();
        assert_eq!(second.done().len(), usize::from(again), "broken: {broken}, {ceiling}");
        assert_eq!(after > written, again, "nothing is written of what was answered");
        // Another process is another attack.
        second.core.detections([scanned(8, true)]);
        second.settle();
        assert_eq!(second.done().len(), usize::from(again) + 1);
    }
}

/// Whoever makes quell end and start again does not get a new hour.
#[test]
fn limits_and_the_breaker_count_what_ran_before_a_restart() {
    let mut playbook = playbook_of(vec![acts("kill", &[], "process.kill")]);
    playbook.limits.runs = Some(quell_model::playbook::Rate { count: 1, per: Duration::from_secs(3600) });
    let elsewhere = |mut detection: Detection| {
        Arc::make_mut(&mut detection.event).entity.id = "elsewhere".into();
        detection
    };
    let mut first = stage(World::default(), playbook.clone());
    first.core.detections((0..20).map(|number| detection(&format!("7{number}"), 1)));
    first.settle();
    assert_eq!(first.done().len(), 20);
    let Stage { core, journal, dir, .. } = first;
    drop(core);
    journal.close();
    let mut second = stage_in(dir, World::default(), definitions(playbook));
    second.core.recover(Arc::new(|_, _| None)).unwrap();
    assert_eq!(second.core.serve(Request::Status).unwrap()["held"][0]["id"], "test");
    second.core.detections([elsewhere(detection("8", 1)), detection("9", 1)]);
    second.settle();
    assert_eq!(second.done(), ["process.kill 1"], "the place that counts already, and no other");
}

/// What was let through before a crash is no further act after it: (the limit, whether the next run may act).
#[test]
fn an_intent_that_is_taken_up_is_counted_once() {
    for (count, is_allowed) in [(1, false), (2, true)] {
        let world = World { denials: AtomicU32::new(1), ..World::default() };
        let limit = quell_model::playbook::Rate { count, per: Duration::from_secs(3600) };
        let limited = |definitions: &mut Definitions| {
            definitions.guard.limits.0.insert("process.kill".into(), limit);
        };
        let mut stage = after_a_crash_with(world, "process.kill", Duration::ZERO, "b", (Vec::new(), &limited));
        assert_eq!(stage.done(), ["process.kill 1"], "{count}: it was counted when its intent was written");
        stage.core.detections([detection("8", 1)]);
        stage.settle();
        assert_eq!(stage.done().len() == 2, is_allowed, "{count}: {:?}", stage.done());
    }
}

/// A beacon whose count is written ever more seldom is still one incident for the next engine.
#[test]
fn what_goes_on_slowly_is_one_incident_over_a_start() {
    let mut definitions = definitions(playbook_of(vec![acts("kill", &[], "process.kill")]));
    definitions.ceiling = Mode::Observe;
    let clock = Arc::new(SimulatedClock::new(SystemClock.now()));
    let mut stage = stage_in(tempfile::tempdir().unwrap(), World::default(), definitions.clone());
    stage.core.parts.clock = clock.clone();
    stage.core.recover(Arc::new(|_, _| None)).unwrap();
    for number in 1..=31 {
        stage.core.detections([detection("7", number)]);
        stage.settle();
        clock.advance(Duration::from_secs(120));
    }
    let listed = stage.journal.incidents(None, 10).unwrap();
    let Stage { core, journal, dir, .. } = stage;
    drop(core);
    journal.close();
    let mut stage = stage_in(dir, World::default(), definitions);
    stage.core.parts.clock = clock;
    stage.core.recover(Arc::new(|_, _| None)).unwrap();
    stage.core.detections([detection("7", 32)]);
    stage.settle();
    let after = stage.journal.incidents(None, 10).unwrap();
    assert_eq!(after.len(), 1, "{after:?}");
    let records = stage.journal.last(&listed[0].stream);
    assert!(records < 20, "{records}: few are written");
    let line = after[0].line.as_ref().unwrap();
    assert!(line.detections <= 32, "none is counted twice: {}", line.detections);
}

/// Beside a run that asks, another may act: each takes what it may, and neither is started again.
#[test]
fn a_value_of_run_per_has_one_run_that_asks_and_one_that_acts() {
    let forged = |mut detection: Detection| {
        Arc::make_mut(&mut detection.event).head.source = "file:/tmp/log".into();
        detection
    };
    let mut definitions = definitions(playbook_of(vec![acts("kill", &[], "process.kill")]));
    definitions.untrusted.insert("file:/tmp/log".into());
    let mut stage = stage_in(tempfile::tempdir().unwrap(), World::default(), definitions);
    stage.core.recover(Arc::new(|_, _| None)).unwrap();
    stage.core.detections([forged(detection("7", 1))]);
    stage.settle();
    stage.core.detections([detection("7", 2)]);
    stage.settle();
    assert_eq!((stage.done().len(), stage.runs().len()), (1, 2));
    stage.core.detections([forged(detection("7", 3))]);
    stage.settle();
    assert_eq!(stage.runs().len(), 2, "the one that asks is open yet");
}

/// However often its like came before, what a detection starts is promised by it.
#[test]
fn a_detection_that_starts_a_run_is_kept_whole() {
    let playbook = playbook_of(vec![acts("kill", &[], "process.kill")]);
    let mut stage = stage(World::default(), playbook);
    for number in 1..=7 {
        stage.core.detections([detection("7", number)]);
        stage.settle();
    }
    assert_eq!(stage.runs().len(), 7, "each began when the one before had ended");
    let listed = stage.journal.incidents(None, 10).unwrap().remove(0);
    let records = stage.journal.read(&listed.stream, 1).unwrap();
    let whole = records.iter().filter(|record| matches!(record.body, Body::DetectionAccepted(_))).count();
    assert_eq!(whole, 7);
    let count = |stage: &Stage| stage.journal.incidents(None, 10).unwrap()[0].line.as_ref().unwrap().detections;
    assert_eq!(count(&stage), 5, "the others are in the next count");
    stage.core.detections([detection("7", 8)]);
    stage.settle();
    assert_eq!((count(&stage), stage.runs().len()), (8, 8));
}
