//! Schedules on a clock that is moved by hand: a moment starts one run, also over restarts, and what was missed is told.

use super::*;
use crate::clock::SimulatedClock;
use quell_model::playbook::Schedule;
use quell_model::record::{RunStarted, ScheduleMissed};

fn weekly(max_age: Duration) -> Definitions {
    // A moment has no event that could name a process.
    let kind = StepKind::Action { action: "process.kill".into(), with: json!({ "process": "x" }) };
    let mut playbook = playbook_of(vec![Step { kind, ..step("kill", &[]) }]);
    playbook.on.detections = None;
    playbook.on.schedule = Some(Schedule { cron: "0 6 * * mon".into(), time_zone: "Europe/Berlin".into() });
    playbook.on.max_age = max_age;
    definitions(playbook)
}

fn moment(text: &str) -> Stamp {
    let wall: jiff::Timestamp = text.parse().unwrap();
    let since = wall.duration_since("2026-01-01T00:00:00Z".parse().unwrap());
    Stamp { wall, boot_ns: u64::try_from(since.as_nanos()).unwrap() + 1_000_000_000 }
}

/// An engine at a moment, over what an earlier one left.
fn at(dir: tempfile::TempDir, definitions: Definitions, text: &str) -> (Stage, Arc<SimulatedClock>) {
    let clock = Arc::new(SimulatedClock::new(moment(text)));
    let mut stage = stage_in(dir, World::default(), definitions);
    stage.core.parts.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    stage.core.recover(Arc::new(|_, _| None)).unwrap();
    (stage, clock)
}

fn end(stage: Stage) -> tempfile::TempDir {
    let Stage { core, journal, dir, .. } = stage;
    drop(core);
    journal.close();
    dir
}

fn begun(stage: &Stage) -> Vec<RunStarted> {
    let all = stage.journal.runs(None, 100).unwrap();
    let first = |stream: &StreamId| match &stage.journal.read(stream, 1).unwrap()[0].body {
        Body::RunStarted(started) => RunStarted::clone(started),
        other => panic!("{other:?}"),
    };
    all.iter().rev().map(|listed| first(&listed.stream)).collect()
}

fn pers(stage: &Stage) -> Vec<String> {
    begun(stage).into_iter().map(|started| started.per).collect()
}

fn missed(stage: &Stage) -> Vec<ScheduleMissed> {
    let records = stage.journal.latest(&[Kind::ScheduleMissed], 100).unwrap();
    let one = |record: Record| match record.body {
        Body::ScheduleMissed(missed) => Some(*missed),
        _ => None,
    };
    records.into_iter().filter_map(one).collect()
}

#[test]
fn a_moment_starts_one_run_also_over_restarts() {
    let (mut stage, clock) = at(tempfile::tempdir().unwrap(), weekly(Duration::from_secs(900)), "2026-03-29T12:00:00Z");
    stage.core.turn();
    assert_eq!(pers(&stage), Vec::<String>::new(), "nothing before its moment");
    clock.set(moment("2026-03-30T03:59:59Z"));
    stage.core.turn();
    assert_eq!(pers(&stage), Vec::<String>::new());
    clock.set(moment("2026-03-30T04:00:00Z"));
    stage.settle();
    assert_eq!(pers(&stage), ["2026-03-30T06:00:00+02:00[Europe/Berlin]"]);
    let started = begun(&stage).remove(0);
    assert_eq!((started.by.as_ref().unwrap().as_str(), started.mode), ("schedule", Mode::Enforce));
    assert_eq!(stage.done(), ["process.kill 1"]);
    // The engine ends and starts again, in the same minute and later.
    let mut dir = end(stage);
    for again in ["2026-03-30T04:00:01Z", "2026-03-30T04:10:00Z", "2026-04-05T04:00:00Z"] {
        let (mut stage, _) = at(dir, weekly(Duration::from_secs(900)), again);
        stage.settle();
        assert_eq!((begun(&stage).len(), stage.done().len()), (1, 0), "{again}");
        assert_eq!(missed(&stage), []);
        let sets = stage.journal.latest(&[Kind::ScheduleSet], 10).unwrap();
        assert_eq!(sets.len(), 1, "the same schedule holds on");
        dir = end(stage);
    }
}

#[test]
fn of_missed_moments_the_latest_is_made_up_for_if_it_is_young_and_the_others_are_told() {
    let first = |definitions| end(at(tempfile::tempdir().unwrap(), definitions, "2026-03-29T12:00:00Z").0);
    let young = weekly(Duration::from_secs(3600));
    let (mut stage, _) = at(first(young.clone()), young, "2026-04-13T04:30:00Z");
    stage.settle();
    assert_eq!(pers(&stage), ["2026-04-13T06:00:00+02:00[Europe/Berlin]"]);
    let told = missed(&stage);
    assert_eq!(
        (told.len(), told[0].first, told[0].last),
        (1, moment("2026-03-30T04:00:00Z").wall, moment("2026-04-06T04:00:00Z").wall)
    );
    let old = weekly(Duration::from_secs(900));
    let (mut stage, _) = at(first(old.clone()), old.clone(), "2026-04-13T04:30:00Z");
    stage.settle();
    assert_eq!(pers(&stage), Vec::<String>::new());
    let told = missed(&stage);
    assert_eq!(
        (told[0].first, told[0].last),
        (moment("2026-03-30T04:00:00Z").wall, moment("2026-04-13T04:00:00Z").wall)
    );
    // And once.
    let (stage, _) = at(end(stage), old, "2026-04-13T04:40:00Z");
    assert_eq!(missed(&stage).len(), 1);
}

#[test]
fn a_schedule_that_is_new_or_another_misses_nothing_from_before() {
    let long = Duration::from_secs(30 * 86_400);
    let (mut stage, _) = at(tempfile::tempdir().unwrap(), weekly(long), "2026-03-31T12:00:00Z");
    stage.settle();
    assert_eq!(pers(&stage), Vec::<String>::new(), "Monday was before it was there");
    // Without it, and with it again.
    stage.core.reload(Definitions { playbooks: Vec::new(), ..weekly(long) });
    stage.core.reload(weekly(long));
    stage.settle();
    let sets = stage.journal.latest(&[Kind::ScheduleSet], 10).unwrap();
    let set = |record: &Record| matches!(&record.body, Body::ScheduleSet(set) if set.schedule.is_some());
    assert_eq!(sets.iter().map(set).collect::<Vec<_>>(), [true, false, true]);
    stage.settle();
    assert_eq!(pers(&stage), Vec::<String>::new());
}

#[test]
fn a_schedule_uses_nothing_of_what_limits_attacks() {
    let mut definitions = weekly(Duration::from_secs(900));
    let playbook = Arc::make_mut(&mut definitions.playbooks[0]);
    playbook.on.detections = playbook_of(Vec::new()).on.detections;
    playbook.limits.runs = Some(quell_model::playbook::Rate { count: 1, per: Duration::from_secs(3600) });
    let (mut stage, clock) = at(tempfile::tempdir().unwrap(), definitions, "2026-03-30T03:59:00Z");
    clock.set(moment("2026-03-30T04:00:00Z"));
    stage.settle();
    let mut attack = detection("7", 1);
    let head = &mut Arc::make_mut(&mut attack.event).head;
    (head.at, head.seen) = (clock.now(), clock.now());
    stage.core.detections([attack]);
    stage.settle();
    assert_eq!(stage.done(), ["process.kill 1", "process.kill 1"]);
}

/// A clock that was a year ahead for a moment hides nothing of what is missed once it is right again.
#[test]
fn what_was_told_while_the_clock_was_ahead_hides_nothing_later() {
    let age = Duration::from_secs(900);
    let (mut stage, _) = at(tempfile::tempdir().unwrap(), weekly(age), "2026-03-29T12:00:00Z");
    stage.settle();
    let (mut stage, _) = at(end(stage), weekly(age), "2027-03-31T12:00:00Z");
    stage.settle();
    let ahead = missed(&stage).len();
    assert!(ahead > 0);
    let (mut stage, _) = at(end(stage), weekly(age), "2026-03-29T13:00:00Z");
    stage.settle();
    let (mut stage, _) = at(end(stage), weekly(age), "2026-04-01T12:00:00Z");
    stage.settle();
    let later = missed(&stage);
    assert_eq!(later.len(), ahead + 1, "{later:?}");
}
