//! What an engine takes up that another left between an intent and its outcome. Of what may have happened nothing says that it did not.

use super::*;
use crate::run::fixtures::socket;
use quell_model::record::PersonActed;

/// An engine that ended between an intent and its outcome; the next one's world answers as `world` says.
fn after_a_crash(world: World, action: &str, aged: Duration) -> Stage {
    after_a_crash_in(world, action, aged, "an earlier one")
}

/// The same, when that engine ran in this boot: `b`, or another.
fn after_a_crash_in(world: World, action: &str, aged: Duration, boot: &str) -> Stage {
    after_a_crash_with(world, action, aged, boot, (Vec::new(), &|_| ()))
}

/// What a test changes of the definitions.
type Change<'a> = &'a dyn Fn(&mut Definitions);

/// The same, where more was written after the intent, and with definitions that are changed so.
pub(super) fn after_a_crash_with(
    world: World,
    action: &str,
    aged: Duration,
    boot: &str,
    (more, change): (Vec<Body>, Change<'_>),
) -> Stage {
    after_a_crash_of(world, vec![acts("kill", &[], action)], aged, boot, (more, change))
}

/// The same, of these steps: the first is `kill`.
fn after_a_crash_of(
    world: World,
    steps: Vec<Step>,
    aged: Duration,
    boot: &str,
    (more, change): (Vec<Body>, Change<'_>),
) -> Stage {
    let dir = tempfile::tempdir().unwrap();
    let StepKind::Action { action, .. } = steps[0].kind.clone() else { unreachable!() };
    let playbook = playbook_of(steps);
    {
        let journal = Journal::open(dir.path()).unwrap();
        let mut at = SystemClock.now();
        at.wall = at.wall.checked_sub(jiff::SignedDuration::try_from(aged).unwrap()).unwrap();
        let write = |stream: StreamId, records: Vec<NewRecord>| {
            journal.written(Batch { stream, expected: 0, records, durability: Durability::Written }).unwrap()
        };
        let pinned = record::DefinitionPinned {
            playbook: "test".into(),
            hash: playbook.hash,
            file: "t.yaml".into(),
            text: "pinned".into(),
        };
        let engine = record::EngineStarted {
            version: String::new(),
            boot: process::BootId(boot.into()),
            pid: 1,
            mode: Mode::Enforce,
            tzdb: None,
        };
        write(StreamId::system(), vec![NewRecord::new(at, engine), NewRecord::new(at, pinned)]);
        let started = super::fixtures::started(&playbook);
        let intent = record::StepIntended {
            part: record::Part { step: "kill".into(), item: None },
            attempt: 1,
            action,
            input: json!({}),
            plan: Plan { predicted: json!({ "killed": ["predicted"] }), ..Plan::default() },
        };
        let mut records = vec![NewRecord::new(at, started), NewRecord::new(at, intent)];
        records.extend(more.into_iter().map(|body| NewRecord::new(at, body)));
        write(StreamId::run(&"r-1".into()), records);
        journal.close();
    }
    let mut definitions = definitions(playbook.clone());
    change(&mut definitions);
    let mut stage = stage_in(dir, world, definitions);
    let report = stage.core.recover(Arc::new(move |_, text| (text == "pinned").then(|| playbook.clone()))).unwrap();
    assert_eq!(report.runs, ["r-1".into()]);
    stage.settle();
    stage
}

#[test]
fn after_a_crash_what_happened_is_not_done_again() {
    let stage = after_a_crash(World::default(), "process.kill", Duration::ZERO);
    assert!(stage.done().is_empty());
    assert_eq!(stage.only_story()[2..], ["StepFinished kill verified", "RunFinished succeeded"]);
}

/// Who was on call at a moment is answered by the zones of then: the journal says by which.
#[test]
fn a_start_writes_down_by_which_time_zones_it_goes() {
    let stage = after_a_crash(World::default(), "process.kill", Duration::ZERO);
    let starts = stage.journal.latest(&[Kind::EngineStarted], 9).unwrap();
    let zones = starts.iter().map(|record| match &record.body {
        Body::EngineStarted(started) => started.tzdb.as_deref(),
        other => panic!("{other:?}"),
    });
    let ours = crate::escalation::schedule::zone::version();
    assert_eq!(
        zones.collect::<Vec<_>>(),
        [None, Some(ours)],
        "an earlier quell's has none, and is taken up all the same"
    );
    assert!(ours.starts_with("20"), "{ours}");
}

#[test]
fn after_a_crash_what_did_not_happen_is_done_once() {
    let stage = after_a_crash(World { denials: AtomicU32::new(1), ..World::default() }, "process.kill", Duration::ZERO);
    assert_eq!(stage.done(), ["process.kill 1"]);
    assert_eq!(stage.only_story()[2..], ["StepFinished kill verified", "RunFinished succeeded"]);
}

/// What a step gave.
fn gave(stage: &Stage) -> Json {
    let records = stage.journal.read(&StreamId::run(&"r-1".into()), 1).unwrap();
    let finished = records.into_iter().find_map(|record| match record.body {
        Body::StepFinished(finished) => Some(finished.output),
        _ => None,
    });
    finished.unwrap()
}

/// (the world's noes, what a person is asked, what it gives): the verb is told that some of it may be done, and tells by itself what
/// nobody saw.
#[test]
fn what_an_act_gives_that_another_engine_began_is_the_verbs_to_tell() {
    for (denials, aged, given) in [
        (0, Duration::ZERO, json!({ "killed": ["predicted"], "gone": true })),
        (1, Duration::ZERO, json!({ "killed": ["taken up"] })),
        (1, 20 * MINUTE, json!({ "killed": ["taken up"] })),
    ] {
        let world = World { denials: AtomicU32::new(denials), ..World::default() };
        let mut stage = after_a_crash(world, "process.kill", aged);
        if !aged.is_zero() {
            says(&mut stage, "approve");
        }
        assert_eq!(gave(&stage), given, "{denials} {aged:?}");
    }
    // Of what it began itself it knows.
    let mut stage = stage(World::default(), playbook_of(vec![acts("kill", &[], "process.kill")]));
    stage.core.detections([detection("1", 1)]);
    stage.settle();
    let run = stage.journal.streams().unwrap().into_iter().find_map(|(stream, _)| stream.as_run()).unwrap();
    let records = stage.journal.read(&StreamId::run(&run), 1).unwrap();
    assert!(records.iter().any(|record| matches!(&record.body,
        Body::StepFinished(finished) if finished.output == json!({ "killed": ["new"] }))));
}

#[test]
fn after_a_crash_what_could_be_seen_in_part_is_done_and_not_done_again() {
    let stage = after_a_crash(World { unseen: true, ..World::default() }, "process.kill", Duration::ZERO);
    assert_eq!(stage.done(), Vec::<String>::new());
    let end = failure(&stage).unwrap();
    assert!(
        end.starts_with("done: the engine ended before it saw the end") && end.ends_with("it is enforced"),
        "{end}"
    );
}

#[test]
fn after_a_crash_what_is_too_old_is_asked_about() {
    let stage = after_a_crash(
        World { denials: AtomicU32::new(1), ..World::default() },
        "process.kill",
        Duration::from_secs(3600),
    );
    assert!(stage.done().is_empty());
    assert_eq!(stage.only_story().last().unwrap(), "QuestionAsked");
}

#[test]
fn a_step_of_the_wall_clock_between_two_engines_of_one_boot_makes_nothing_old() {
    let world = World { denials: AtomicU32::new(1), ..World::default() };
    let stage = after_a_crash_in(world, "process.kill", Duration::from_secs(7200), "b");
    assert_eq!(stage.done(), ["process.kill 1"]);
}

fn failure(stage: &Stage) -> Option<String> {
    let records = stage.journal.read(&StreamId::run(&"r-1".into()), 1).unwrap();
    records.iter().find_map(|record| match &record.body {
        Body::StepFinished(finished) => Some(format!("{}: {}", finished.outcome, finished.proof)),
        _ => None,
    })
}

#[test]
fn what_was_cancelled_after_its_intent_is_told_as_unknown_unless_the_world_denies_it() {
    for (mute, denials, said) in [(true, 0, "failed: outcome unknown"), (false, 1, "cancelled: the run was cancelled")]
    {
        let world = World { mute, denials: AtomicU32::new(denials), ..World::default() };
        let cancel = PersonActed { by: "ann".into(), what: "cancel".into(), detail: Json::Null };
        let stage = after_a_crash_with(world, "file.copy", Duration::ZERO, "b", (vec![cancel.into()], &|_| ()));
        assert_eq!(stage.done(), Vec::<String>::new());
        let end = failure(&stage).unwrap();
        assert!(end.starts_with(said), "{end}");
        assert_eq!(stage.only_story().last().unwrap(), "RunFinished cancelled");
    }
}

#[test]
fn after_a_crash_what_must_not_happen_twice_and_cannot_be_known_is_told() {
    let stage = after_a_crash(World { mute: true, ..World::default() }, "page.once", Duration::ZERO);
    assert!(stage.done().is_empty());
    assert_eq!(stage.only_story().last().unwrap(), "RunFinished failed");
    assert!(stage.dir.path().exists());
}

const MINUTE: Duration = Duration::from_secs(60);

/// The machine's clock, so much later.
struct Later(Duration);

#[async_trait::async_trait]
impl Clock for Later {
    fn now(&self) -> Stamp {
        SystemClock.now().after(self.0)
    }

    async fn sleep_until(&self, at: Stamp) {
        SystemClock.sleep_until(at).await;
    }
}

/// One whose `deadline` is a minute, and that is tried twice.
fn within_a_minute(action: &str) -> Step {
    let kind = StepKind::Action { action: action.into(), with: json!({ "process": "x" }) };
    let mut kill = Step { kind, ..step("kill", &[]) };
    (kill.deadline, kill.retry.attempts) = (Some(MINUTE), 2);
    kill
}

pub(super) fn answer(choice: &str) -> AnswerGiven {
    AnswerGiven {
        run: "r-1".into(),
        step: None,
        item: None,
        choice: choice.into(),
        plan: None,
        by: "ana".into(),
        via: "socket".into(),
        from: None,
        why: String::new(),
    }
}

fn says(stage: &mut Stage, choice: &str) {
    stage.core.serve(Request::Answer(Box::new(answer(choice)))).unwrap();
    stage.settle();
}

#[test]
fn what_is_approved_after_a_long_downtime_has_the_time_that_its_step_says() {
    let world = World { denials: AtomicU32::new(1), ..World::default() };
    let kill = within_a_minute("process.kill");
    let mut stage = after_a_crash_of(world, vec![kill], 20 * MINUTE, "an earlier one", (Vec::new(), &|_| ()));
    assert_eq!(stage.only_story().last().unwrap(), "QuestionAsked");
    // Longer than the step has.
    stage.core.parts.clock = Arc::new(Later(2 * MINUTE));
    says(&mut stage, "approve");
    assert_eq!((stage.done(), stage.world.late.load(Ordering::SeqCst)), (vec!["process.kill 1".to_owned()], 0));
    assert_eq!(stage.only_story().last().unwrap(), "RunFinished succeeded");
}

#[test]
fn what_was_approved_before_a_long_downtime_has_the_time_that_its_step_says() {
    let part = record::Part { step: "kill".into(), item: None };
    let plan = Plan { predicted: json!({ "killed": ["predicted"] }), ..Plan::default() };
    let asked = record::QuestionAsked {
        run: "r-1".into(),
        part: part.clone(),
        question: record::QuestionKind::Approve,
        text: "process.kill?".into(),
        because: String::new(),
        guard: None,
        choices: vec!["approve".into(), "deny".into()],
        person: None,
        by: None,
        not_via: Vec::new(),
        within: MINUTE,
        remember: None,
        otherwise: "deny".into(),
        action: Some("process.kill".into()),
        input: json!({}),
        sum: Some(plan.sum()),
        plan: Some(Box::new(plan)),
        attempt: 1,
        intended: Default::default(),
    };
    let answered = record::QuestionAnswered::settling(
        part,
        record::QuestionKind::Approve,
        "approve".into(),
        Some("ana".into()),
        String::new(),
    );
    let more = vec![asked.into(), answered.into()];
    let kill = within_a_minute("process.kill");
    let stage = after_a_crash_of(World::default(), vec![kill], 20 * MINUTE, "an earlier one", (more, &|_| ()));
    assert_eq!((stage.done(), stage.world.late.load(Ordering::SeqCst)), (vec!["process.kill 1".to_owned()], 0));
}

#[test]
fn what_is_taken_up_after_a_downtime_is_tried_as_often_as_its_step_says() {
    let world = World { denials: AtomicU32::new(2), ..World::default() };
    let kill = within_a_minute("process.kill");
    let stage = after_a_crash_of(world, vec![kill], 5 * MINUTE, "an earlier one", (Vec::new(), &|_| ()));
    assert_eq!(stage.done(), ["process.kill 1", "process.kill 2"], "{:?}", failure(&stage));
    assert_eq!(stage.only_story().last().unwrap(), "RunFinished succeeded");
}

/// An engine of another life over the same journal.
fn next_life(stage: Stage, steps: Vec<Step>, change: Change<'_>) -> Stage {
    let Stage { core, journal, dir, .. } = stage;
    drop(core);
    journal.close();
    let playbook = playbook_of(steps);
    let mut definitions = definitions(playbook.clone());
    change(&mut definitions);
    let mut stage = stage_in(dir, World { mute: true, ..World::default() }, definitions);
    stage.core.recover(Arc::new(move |_, text| (text == "pinned").then(|| playbook.clone()))).unwrap();
    stage.settle();
    stage
}

/// (the limit, whether the next run may act, at once and after a further start): what a person approves of was counted with the
/// intent from before the crash.
#[test]
fn what_is_taken_up_and_approved_is_one_act_and_no_limit_stands_against_it() {
    for (count, is_allowed) in [(1, false), (2, true)] {
        for starts_again in [false, true] {
            let limit = quell_model::playbook::Rate { count, per: 60 * MINUTE };
            let limited = |definitions: &mut Definitions| {
                definitions.guard.limits.0.insert("process.kill".into(), limit);
            };
            let world = World { denials: AtomicU32::new(1), ..World::default() };
            let kill = || vec![within_a_minute("process.kill")];
            let mut stage = after_a_crash_of(world, kill(), 20 * MINUTE, "an earlier one", (Vec::new(), &limited));
            says(&mut stage, "approve");
            assert_eq!(stage.done(), ["process.kill 1"], "{count}: {:?}", failure(&stage));
            let intents = stage.only_story().iter().filter(|line| *line == "StepIntended").count();
            assert_eq!(intents, 2, "it is intended before it acts");
            let mut before = stage.done().len();
            if starts_again {
                stage = next_life(stage, kill(), &limited);
                before = 0;
            }
            stage.core.detections([detection("8", 1)]);
            stage.settle();
            assert_eq!(stage.done().len() - before == 1, is_allowed, "{count} {starts_again}: {:?}", stage.done());
        }
    }
}

/// (the world denies that it was done, a further start, a pause, what a person says, how it is told)
#[test]
fn what_was_taken_up_and_is_not_done_after_a_question_is_told_as_unknown_unless_the_world_denies_it() {
    for (denied, starts_again, paused, choice, said) in [
        (false, false, false, "deny", "failed: outcome unknown"),
        (false, true, false, "deny", "failed: outcome unknown"),
        (false, false, true, "approve", "failed: outcome unknown"),
        (true, false, false, "deny", "denied: denied by ana"),
        (true, false, true, "approve", "refused: "),
    ] {
        let world = World { mute: !denied, denials: AtomicU32::new(u32::from(denied)), ..World::default() };
        let kill = || vec![within_a_minute("file.copy")];
        let mut stage = after_a_crash_of(world, kill(), 20 * MINUTE, "an earlier one", (Vec::new(), &|_| ()));
        assert_eq!(stage.only_story().last().unwrap(), "QuestionAsked");
        if starts_again {
            stage = next_life(stage, kill(), &|_| ());
        }
        if paused {
            stage.core.serve(Request::Pause { paused: true, by: "ana".into() }).unwrap();
        }
        says(&mut stage, choice);
        assert_eq!(stage.done(), Vec::<String>::new());
        let end = failure(&stage).unwrap();
        assert!(end.starts_with(said), "{denied} {starts_again} {paused}: {end}");
    }
}

/// How a step ended, and why.
fn told_of(stage: &Stage, step: &str) -> Option<String> {
    let records = stage.journal.read(&StreamId::run(&"r-1".into()), 1).unwrap();
    records.iter().find_map(|record| match &record.body {
        Body::StepFinished(end) if end.part.step == step.into() => Some(format!("{}: {}", end.outcome, end.proof)),
        Body::StepSkipped(skipped) if skipped.step == step.into() => Some(format!("skipped: {}", skipped.why)),
        Body::StepBlocked(blocked) if blocked.step == step.into() => Some(blocked.outcome.to_string()),
        _ => None,
    })
}

/// (the world denies that it was done, a further start, what ends it, how it is told, how the step after it ends): while a
/// person is asked about it, the run is cancelled or the step is left out.
#[test]
fn what_is_asked_about_and_left_is_told_as_unknown_unless_the_world_denies_it() {
    let unknown = "failed: outcome unknown: the engine ended before it saw the end";
    for (denied, starts_again, ends, said, after) in [
        (false, false, "cancel", unknown, "cancelled"),
        (false, true, "cancel", unknown, "cancelled"),
        (true, false, "cancel", "cancelled", "cancelled"),
        (false, false, "skip", unknown, "done"),
        (false, true, "skip", unknown, "done"),
        (true, false, "skip", "skipped", "done"),
        (false, false, "undo", unknown, "cancelled"),
    ] {
        let case = format!("{denied} {starts_again} {ends}");
        let world = World { mute: !denied, denials: AtomicU32::new(u32::from(denied)), ..World::default() };
        let steps = || vec![within_a_minute("file.copy"), step("after", &["kill"])];
        let mut stage = after_a_crash_of(world, steps(), 20 * MINUTE, "an earlier one", (Vec::new(), &|_| ()));
        assert_eq!(stage.only_story().last().unwrap(), "QuestionAsked", "{case}");
        if starts_again {
            stage = next_life(stage, steps(), &|_| ());
        }
        let (run, by, why): (RunId, Name, String) = ("r-1".into(), "ana".into(), "it is late".into());
        let request = match ends {
            "cancel" => Request::Cancel { run, by },
            "undo" => Request::Undo { run, step: None, by, why, way: socket() },
            _ => Request::Skip { run, step: "kill".into(), by, why },
        };
        stage.core.serve(request).unwrap();
        stage.settle();
        let told = |step: &str| told_of(&stage, step).unwrap();
        assert!(told("kill").starts_with(said), "{case}: {}", told("kill"));
        assert!(told("after").starts_with(after), "{case}: {}", told("after"));
        let failed = stage.only_story().last().unwrap() == "RunFinished failed";
        assert_eq!(failed, ends == "skip" && !denied, "{case}: nothing that may have been done is a success");
    }
}

/// A pause that comes while the intent is on its way to the disk.
#[test]
fn what_was_taken_up_and_approved_and_paused_before_it_acts_is_told_as_unknown() {
    let world = World { mute: true, ..World::default() };
    let kill = within_a_minute("file.copy");
    let mut stage = after_a_crash_of(world, vec![kill], 20 * MINUTE, "an earlier one", (Vec::new(), &|_| ()));
    stage.core.serve(Request::Answer(Box::new(answer("approve")))).unwrap();
    stage.core.paused = true;
    stage.settle();
    assert_eq!(stage.done(), Vec::<String>::new());
    let end = failure(&stage).unwrap();
    assert!(end.starts_with("failed: outcome unknown"), "{end}");
}

/// What was intended longer ago than its limit looks back counts as one that is done now, also where a person was asked in between,
/// and also for the engine that starts after that.
#[test]
fn an_old_intent_that_is_taken_up_counts_as_a_new_act() {
    // (how old, asked)
    for (aged, is_asked) in [(5 * MINUTE, false), (20 * MINUTE, true)] {
        for starts_again in [false, true] {
            let world = World { denials: AtomicU32::new(1), ..World::default() };
            let limit = quell_model::playbook::Rate { count: 1, per: MINUTE };
            let limited = |definitions: &mut Definitions| {
                definitions.guard.limits.0.insert("process.kill".into(), limit);
            };
            let mut stage = after_a_crash_with(world, "process.kill", aged, "an earlier one", (Vec::new(), &limited));
            if is_asked {
                assert_eq!(stage.only_story().last().unwrap(), "QuestionAsked");
                says(&mut stage, "approve");
            }
            assert_eq!(stage.done(), ["process.kill 1"], "{aged:?}");
            let mut before = 1;
            if starts_again {
                stage = next_life(stage, vec![acts("kill", &[], "process.kill")], &limited);
                before = 0;
            }
            stage.core.detections([detection("8", 1)]);
            stage.settle();
            assert_eq!(stage.done().len(), before, "{aged:?} {starts_again}: the limit is one a minute");
        }
    }
}
