//! The shell over a real journal and a world that the test plays.

mod at_once;
mod at_the_act;
mod back;
mod bad_days;
mod by_incident;
mod clock;
mod large;
mod loss;
mod pruning;
mod schedule;
mod script;
mod secrets;
mod source;
mod taken_up;
mod takers;

use super::fixtures::{playbook_of, step};
use super::*;
use crate::clock::SystemClock;
use crate::store::{DirVault, Journal};
use quell_model::action::{ActionContext, ActionSpec, Guarantee, Lane, Want};
use quell_model::guard::Admitted;
use quell_model::playbook::{Expression, Playbook, Step, StepKind};
use quell_model::world::Verb;
use quell_model::*;
use serde_json::json;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// What the played world does and has seen.
#[derive(Default)]
struct World {
    done: Mutex<Vec<String>>,
    /// `verify` says no this often before it says yes.
    denials: AtomicU32,
    /// `verify` cannot answer.
    mute: bool,
    /// `verify` could see a part only.
    unseen: bool,
    /// `run` fails for good.
    broken: bool,
    /// `run` panics.
    panics: bool,
    /// Attempts whose time was over before they began.
    late: AtomicU32,
    /// Pid of the planned target.
    pid: u32,
    /// Which is not the one that was named.
    beside: bool,
    /// It is an image that the machine cannot do without.
    image: bool,
}

struct Verb1(&'static ActionSpec, Arc<World>);

fn spec(name: &'static str, lane: Lane, guarantee: Guarantee) -> &'static ActionSpec {
    Box::leak(Box::new(ActionSpec {
        name,
        summary: "plays",
        input: || schemars::json_schema!({ "type": "object", "properties": { "process": { "type": "string" } } }),
        output: || schemars::json_schema!({ "type": "object", "properties": { "killed": { "type": "array" } } }),
        lane,
        guarantee,
        undoable: false,
        targets: &["process"],
        permissions: &[],
        predict: |_| json!({ "killed": [] }),
    }))
}

#[async_trait::async_trait]
impl Action for Verb1 {
    fn spec(&self) -> &'static ActionSpec {
        self.0
    }

    async fn plan(&self, input: &Json) -> Result<Plan, ActionError> {
        let id = ProcessId { boot: process::BootId("b".into()), pid: self.1.pid, start_ns: 5, exec_id: 1 };
        let process = TargetFacts::Process {
            id,
            image: Some(format!("/tmp/{}", self.1.pid)),
            file: None,
            cgroup: Some("/box".into()),
            unit: None,
            uid: 1000,
            kernel_thread: false,
            below_named: false,
            by_scope: false,
            pod: None,
        };
        let (path, needed) = ("/sbin/init".to_owned(), Some("it starts the machine".to_owned()));
        let image = || TargetFacts::Image { path, file: (1, 2), cgroup: None, needed, pod: None };
        let facts = if self.1.image { image() } else { process };
        let label = input["process"].as_str().unwrap_or("x").to_owned();
        let named = !self.1.beside;
        let target = Target { node: "n".into(), kind: "process".into(), id: label.clone(), label, named, facts };
        Ok(Plan { targets: vec![target], predicted: json!({ "killed": ["predicted"] }), ..Plan::default() })
    }

    async fn run(&self, _: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        assert!(!self.1.panics, "the verb has a mistake");
        self.1.done.lock().unwrap().push(format!("{} {}", self.0.name, cx.attempt));
        self.1.late.fetch_add(u32::from(cx.deadline < cx.clock.now()), Ordering::SeqCst);
        let words = if cx.taken_up { "taken up" } else { "new" };
        if self.1.broken { Err(ActionError::give_up("the world is broken")) } else { Ok(json!({ "killed": [words] })) }
    }

    fn unseen(&self, plan: &Plan) -> Json {
        json!({ "killed": plan.predicted["killed"], "gone": true })
    }

    async fn verify(&self, _: &Plan, _: Want) -> Result<Truth, ActionError> {
        if self.1.mute {
            return Ok(Truth::CannotAsk);
        }
        let left = self.1.denials.load(Ordering::SeqCst);
        if self.1.unseen {
            return Ok(Truth::Unproved("nobody saw whether it is enforced".into()));
        }
        if left == 0 {
            return Ok(Truth::Holds);
        }
        self.1.denials.store(left - 1, Ordering::SeqCst);
        Ok(Truth::HoldsNot("it lives".into()))
    }

    async fn undo(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        Err(ActionError::give_up("has no undo"))
    }
}

struct Stage {
    core: Core<Sandbox>,
    woken: mpsc::Receiver<()>,
    world: Arc<World>,
    journal: Journal,
    dir: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

/// The writer's thread stands still, as it does in a sync that does not come back, until this is dropped.
struct Hang {
    _held: mpsc::SyncSender<()>,
}

fn definitions(playbook: Playbook) -> Definitions {
    Definitions { playbooks: vec![Arc::new(playbook)], ceiling: Mode::Enforce, ..Definitions::default() }
}

fn stage_in(dir: tempfile::TempDir, world: World, definitions: Definitions) -> Stage {
    stage_with(dir, world, definitions, Vec::new())
}

/// The same, with further verbs.
fn stage_with(dir: tempfile::TempDir, world: World, definitions: Definitions, more: Vec<Verb>) -> Stage {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let world = Arc::new(World { pid: if world.pid == 0 { 4242 } else { world.pid }, ..world });
    let (wake, woken) = mpsc::sync_channel(64);
    let wake = Mutex::new(wake);
    let verbs = [
        ("process.kill", Lane::Contain, Guarantee::ExactlyOnceInEffect),
        ("file.copy", Lane::Capture, Guarantee::ExactlyOnceInEffect),
        ("page.once", Lane::Notify, Guarantee::AtMostOnce),
    ];
    let played = verbs.into_iter().map(|(n, l, g)| Verb::Acts(Arc::new(Verb1(spec(n, l, g), Arc::clone(&world)))));
    let parts = Parts {
        clock: Arc::new(SystemClock),
        journal: journal.clone(),
        vault: Arc::new(DirVault::new(dir.path())),
        crew: Crew::new(played.chain(more).collect()),
        runtime: runtime.handle().clone(),
        wake: Arc::new(move || wake.lock().unwrap().try_send(()).unwrap_or_default()),
        node: "n".into(),
        boot: process::BootId("b".into()),
    };
    Stage { core: Core::new(parts, definitions), woken, world, journal, dir, _runtime: runtime }
}

fn stage(world: World, playbook: Playbook) -> Stage {
    let mut stage = stage_in(tempfile::tempdir().unwrap(), world, definitions(playbook));
    stage.core.recover(Arc::new(|_, _| None)).unwrap();
    stage
}

impl Stage {
    fn hang(&self) -> Hang {
        let (held, let_go) = mpsc::sync_channel::<()>(1);
        let (stands, still) = mpsc::sync_channel(1);
        let stream = StreamId::system();
        let expected = self.journal.last(&stream);
        let barrier = Batch { stream, expected, records: Vec::new(), durability: Durability::Synced };
        let done = Box::new(move |_: Result<Appended, StoreError>| {
            stands.send(()).unwrap();
            assert!(let_go.recv().is_err());
        });
        self.journal.submit(vec![barrier], done);
        still.recv().unwrap();
        Hang { _held: held }
    }

    fn settle(&mut self) {
        let end = SystemClock.now().after(Duration::from_secs(20));
        loop {
            self.core.turn();
            if self.core.is_idle() || self.only_asks() {
                return;
            }
            assert!(SystemClock.now() < end, "the runs did not end");
            let _woken_or_late = self.woken.recv_timeout(Duration::from_millis(50));
        }
    }

    fn until(&mut self, done: impl Fn(&Self) -> bool) {
        let end = SystemClock.now().after(Duration::from_secs(20));
        while !done(self) {
            assert!(SystemClock.now() < end, "it did not come");
            self.core.turn();
            let _woken_or_late = self.woken.recv_timeout(Duration::from_millis(5));
        }
    }

    /// Whether nothing is under way and every open run waits for a person.
    fn only_asks(&self) -> bool {
        self.core.unread.is_empty()
            && self.core.runs.values().all(|live| live.under_way.is_empty() && live.run.asks() > 0)
    }

    /// All records of a run, as `kind` or `kind outcome`.
    fn story(&self, run: &RunId) -> Vec<String> {
        let one = |record: &Record| match &record.body {
            Body::StepFinished(f) => format!("StepFinished {} {}", f.part.step, f.outcome),
            Body::RunFinished(f) => format!("RunFinished {}", f.state.as_str()),
            other => other.kind().to_string(),
        };
        self.journal.read(&StreamId::run(run), 1).unwrap().iter().map(one).collect()
    }

    fn runs(&self) -> Vec<RunId> {
        self.journal.streams().unwrap().into_iter().filter_map(|(stream, _)| stream.as_run()).collect()
    }

    fn only_story(&self) -> Vec<String> {
        let runs = self.runs();
        assert_eq!(runs.len(), 1, "{runs:?}");
        self.story(&runs[0])
    }

    fn done(&self) -> Vec<String> {
        self.world.done.lock().unwrap().clone()
    }
}

fn acts(id: &str, needs: &[&str], action: &str) -> Step {
    let kind = StepKind::Action { action: action.into(), with: json!({ "process": "${{ event.process.id }}" }) };
    Step { kind, ..step(id, needs) }
}

fn detection(subject: &str, number: u32) -> Detection {
    let clock = SystemClock;
    let now = clock.now();
    let head = EventHead {
        id: format!("e{subject}{number}").into(),
        class: Class::ProcessCreation,
        source: "sensor".into(),
        node: "n".into(),
        at: now,
        seen: now,
    };
    let event = OwnedEvent {
        v: 1,
        head,
        logsource: LogSource::default(),
        sigma: serde_json::Map::new(),
        own: json!({ "process": { "id": format!("{subject}.5.1@b") } }).as_object().unwrap().clone(),
        subject: Subject::User(subject.into()),
        entity: Entity { kind: "unit".into(), id: "u".into(), node: "n".into() },
    };
    Detection {
        id: Hash::of_parts(&[subject.as_bytes(), &number.to_le_bytes()]),
        rule: RuleRef { name: "rule".into(), id: None, title: "A rule".into(), level: Level::High, tags: vec![] },
        event: Arc::new(event),
        events: vec![],
        matched: vec![],
        at: now,
        backfill: false,
    }
}

#[test]
fn a_contain_verb_acts_and_is_proved_before_the_detection_call_returns() {
    let mut stage = stage(World::default(), playbook_of(vec![acts("kill", &[], "process.kill")]));
    stage.core.detections([detection("7", 1)]);
    assert_eq!(stage.done(), ["process.kill 1"], "no turn was needed");
    assert!(stage.core.is_idle());
    assert_eq!(
        stage.only_story(),
        ["RunStarted", "StepIntended", "StepFinished kill verified", "RunFinished succeeded"]
    );
}

#[test]
fn in_observe_nothing_is_done_and_the_plan_is_kept() {
    let mut definitions = definitions(playbook_of(vec![acts("kill", &[], "process.kill")]));
    definitions.ceiling = Mode::Observe;
    let mut stage = stage_in(tempfile::tempdir().unwrap(), World::default(), definitions);
    stage.core.recover(Arc::new(|_, _| None)).unwrap();
    stage.core.detections([detection("7", 1), detection("7", 2)]);
    stage.settle();
    assert!(stage.done().is_empty());
    let story = ["RunStarted", "StepPlanned", "StepFinished kill planned", "RunFinished succeeded"];
    assert_eq!(stage.only_story(), story, "the second detection joined the run that only planned");
}

#[test]
fn a_guard_refuses_by_name_and_the_run_has_failed() {
    let world = World { pid: 1, ..World::default() };
    let mut stage = stage(world, playbook_of(vec![acts("kill", &[], "process.kill"), step("after", &["kill"])]));
    stage.core.detections([detection("7", 1)]);
    stage.settle();
    assert!(stage.done().is_empty());
    let story = ["RunStarted", "GuardRefused", "StepFinished kill refused", "StepBlocked", "RunFinished failed"];
    assert_eq!(stage.only_story(), story);
}

#[test]
fn what_the_world_denies_is_a_failed_attempt_and_is_tried_again() {
    let world = World { denials: AtomicU32::new(2), ..World::default() };
    let mut kill = acts("kill", &[], "process.kill");
    kill.retry.attempts = 3;
    let mut stage = stage(world, playbook_of(vec![kill]));
    stage.core.detections([detection("7", 1)]);
    stage.settle();
    assert_eq!(stage.done(), ["process.kill 1", "process.kill 2", "process.kill 3"]);
    assert_eq!(stage.only_story().last().unwrap(), "RunFinished succeeded");
}

#[test]
fn an_attempt_too_few_is_told_as_failed() {
    let world = World { denials: AtomicU32::new(9), ..World::default() };
    let mut kill = acts("kill", &[], "process.kill");
    kill.retry.attempts = 2;
    let mut stage = stage(world, playbook_of(vec![kill]));
    stage.core.detections([detection("7", 1)]);
    stage.settle();
    assert_eq!(&stage.only_story()[stage.only_story().len() - 2..], ["StepFinished kill failed", "RunFinished failed"]);
}

#[test]
fn a_verb_that_may_block_is_done_beside_after_its_intent_was_synced() {
    let steps = vec![acts("copy", &[], "file.copy"), acts("kill", &["copy"], "process.kill")];
    let mut stage = stage(World { mute: true, ..World::default() }, playbook_of(steps));
    stage.core.detections([detection("7", 1)]);
    stage.settle();
    let story = [
        "RunStarted",
        "StepIntended",
        "StepFinished copy done",
        "StepIntended",
        "StepFinished kill done",
        "RunFinished succeeded",
    ];
    assert_eq!(stage.only_story(), story);
}

#[test]
fn what_could_be_seen_in_part_is_done_and_never_verified_and_says_why() {
    let mut stage =
        stage(World { unseen: true, ..World::default() }, playbook_of(vec![acts("kill", &[], "process.kill")]));
    stage.core.detections([detection("7", 1)]);
    stage.settle();
    let records = stage.journal.read(&StreamId::run(&stage.runs()[0]), 1).unwrap();
    let proofs: Vec<_> = records
        .iter()
        .filter_map(|r| if let Body::StepFinished(f) = &r.body { Some((f.outcome, f.proof.as_str())) } else { None })
        .collect();
    let proof = "the world was asked, and not all of it was seen: nobody saw whether it is enforced";
    assert_eq!(proofs, [(Outcome::Done, proof)]);
}

#[test]
fn a_script_gives_what_later_steps_read() {
    let script = Step {
        kind: StepKind::Script(Expression { text: "#{ n: 40 + 2 }".into(), span: Default::default() }),
        ..step("count", &[])
    };
    let tell = Step { kind: StepKind::Tell("n is ${{ steps.count.n }}".into()), ..step("tell", &["count"]) };
    let mut stage = stage(World::default(), playbook_of(vec![script, tell]));
    stage.core.detections([detection("7", 1)]);
    stage.settle();
    let records = stage.journal.read(&StreamId::run(&stage.runs()[0]), 1).unwrap();
    let told = records
        .iter()
        .find_map(|r| if let Body::StepFinished(f) = &r.body { f.output.get("told").cloned() } else { None });
    assert_eq!(told, Some(json!("n is 42")));
}

#[test]
fn a_pause_refuses_and_a_resume_lets_go_on() {
    let mut stage = stage(World::default(), playbook_of(vec![acts("kill", &[], "process.kill")]));
    let handle = stage.core.handle();
    let ask = |stage: &mut Stage, paused| {
        let handle = handle.clone();
        let asked = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(handle.request(Request::Pause { paused, by: "ann".into() }))
        });
        while !asked.is_finished() {
            stage.core.turn();
            let _woken_or_late = stage.woken.recv_timeout(Duration::from_millis(5));
        }
        asked.join().unwrap().unwrap()
    };
    assert_eq!(ask(&mut stage, true), json!({ "paused": true, "changed": true, "refused_meanwhile": 0 }));
    stage.core.detections([detection("7", 1)]);
    assert!(stage.done().is_empty());
    assert_eq!(ask(&mut stage, false), json!({ "paused": false, "changed": true, "refused_meanwhile": 1 }));
    stage.core.detections([detection("8", 1)]);
    assert_eq!(stage.done(), ["process.kill 1"]);
}

#[test]
fn ten_thousand_detections_of_one_subject_are_one_run_and_one_incident() {
    let mut stage = stage(World::default(), {
        let copy = acts("copy", &[], "file.copy");
        playbook_of(vec![copy])
    });
    stage.core.detections((0..10_000).map(|n| detection("7", n)));
    stage.settle();
    let streams = stage.journal.streams().unwrap();
    assert_eq!(stage.runs().len(), 1);
    let incidents: Vec<_> = streams.iter().filter(|(stream, _)| stream.as_incident().is_some()).collect();
    assert_eq!(incidents.len(), 1);
    assert!(incidents[0].1 < 60, "the incident holds {} records", incidents[0].1);
}

#[test]
fn two_hundred_runs_at_once_contain_first_and_lose_no_step() {
    let steps = vec![
        acts("kill", &[], "process.kill"),
        acts("copy", &["kill"], "file.copy"),
        step("who", &["kill"]),
        step("what", &["kill"]),
        step("end", &["copy", "who", "what"]),
    ];
    let mut stage = stage(World::default(), playbook_of(steps));
    stage.core.detections((0..200).map(|n| detection(&(1000 + n).to_string(), 1)));
    let kills = stage.done().iter().filter(|done| done.starts_with("process.kill")).count();
    assert_eq!(kills, 200, "all contained before the call returned, whatever the evidence takes");
    stage.settle();
    let runs = stage.runs();
    assert_eq!(runs.len(), 200);
    for run in runs {
        let story = stage.story(&run);
        let ended = story.iter().filter(|line| line.starts_with("StepFinished")).count();
        assert_eq!((ended, story.last().map(String::as_str)), (5, Some("RunFinished succeeded")), "{story:?}");
    }
    assert_eq!(stage.done().len(), 400, "nothing twice");
}

#[test]
fn an_if_that_errs_does_not_switch_a_playbook_off_but_holds_it_back() {
    let mut playbook = playbook_of(vec![acts("kill", &[], "process.kill")]);
    playbook.on.condition = Some(Expression { text: "event.process.id > 5".into(), span: Default::default() });
    let mut stage = stage(World::default(), playbook);
    stage.core.detections([detection("7", 1)]);
    stage.settle();
    assert!(stage.done().is_empty());
    assert_eq!(stage.only_story(), ["RunStarted", "QuestionAsked"], "a person is asked");
}

/// The daemon's status is made of these, by name.
#[test]
fn the_status_has_what_the_daemon_reads_from_it() {
    let mut stage = stage(World::default(), playbook_of(vec![step("tell", &[])]));
    let status = stage.core.serve(Request::Status).unwrap();
    for key in ["detections", "runs_open", "incidents_degraded", "records_waiting", "records_lost"] {
        assert!(status[key].is_u64(), "{key}: {status}");
    }
    assert!(status["paused"].is_boolean() && status["held"].is_array(), "{status}");
}

#[test]
fn past_its_limit_a_playbook_asks_first_and_the_status_says_so() {
    let mut playbook = playbook_of(vec![acts("kill", &[], "process.kill")]);
    playbook.limits.runs = Some(quell_model::playbook::Rate { count: 1, per: Duration::from_secs(3600) });
    let mut stage = stage(World::default(), playbook);
    assert_eq!(stage.core.serve(Request::Status).unwrap()["held"], json!([]));
    let elsewhere = |mut detection: Detection| {
        Arc::make_mut(&mut detection.event).entity.id = "elsewhere".into();
        detection
    };
    // A thousand of the same in one place are one, and are all answered.
    stage.core.detections((0..1000).map(|number| detection(&format!("7{number}"), 1)));
    stage.settle();
    assert_eq!(stage.done().len(), 1000);
    stage.core.detections([elsewhere(detection("8", 1))]);
    stage.settle();
    assert_eq!(stage.done().len(), 1000);
    let held = &stage.core.serve(Request::Status).unwrap()["held"];
    assert_eq!(held[0]["id"], "test", "{held}");
}

#[test]
fn a_detection_that_is_read_again_after_a_restart_starts_nothing_twice() {
    let mut first = stage(World::default(), playbook_of(vec![acts("kill", &[], "process.kill")]));
    first.core.detections([detection("7", 1)]);
    let Stage { core, journal, dir, .. } = first;
    drop(core);
    journal.close();
    let mut second = stage_in(dir, World::default(), definitions(playbook_of(vec![acts("kill", &[], "process.kill")])));
    second.core.recover(Arc::new(|_, _| None)).unwrap();
    second.core.detections([detection("7", 1)]);
    second.settle();
    assert!(second.done().is_empty());
    assert_eq!(second.only_story().last().unwrap(), "RunFinished succeeded");
    assert_eq!(second.journal.verify().unwrap(), Vec::<String>::new());
}

#[test]
fn what_ran_long_before_the_sensor_did_is_asked_about() {
    for (started, acts_now) in [(Duration::ZERO, true), (Duration::from_secs(100), false)] {
        let mut playbook = playbook_of(vec![acts("kill", &[], "process.kill")]);
        playbook.on.max_age = Duration::from_secs(60);
        let mut stage = stage(World::default(), playbook);
        let mut found = detection("7", 1);
        let event = Arc::make_mut(&mut found.event);
        event.head.source = "scan".into();
        let start = event.head.at.boot_ns.saturating_sub(started.as_nanos() as u64);
        event.own["process"]["id"] = format!("7.{start}.1@b").into();
        stage.core.detections([found]);
        stage.settle();
        assert_eq!(stage.done().len(), usize::from(acts_now), "started {started:?} ago");
    }
}

#[test]
fn a_step_of_the_wall_clock_makes_a_detection_neither_old_nor_young() {
    let hours = |n: i64| jiff::SignedDuration::from_hours(n);
    for (source, step, age, acts_now) in [
        ("sensor", hours(-2), 0, true),
        ("sensor", hours(2), 0, true),
        ("sensor", hours(2), 100, false),
        // Only the wall clock tells how old a line of a log is.
        ("auditd", hours(-2), 0, false),
    ] {
        let mut playbook = playbook_of(vec![acts("kill", &[], "process.kill")]);
        playbook.on.max_age = Duration::from_secs(60);
        let mut stage = stage(World::default(), playbook);
        let mut found = detection("7", 1);
        let head = &mut Arc::make_mut(&mut found.event).head;
        head.source = source.into();
        head.at.wall = head.at.wall.checked_add(step).unwrap();
        head.at.boot_ns -= age * 1_000_000_000;
        stage.core.detections([found]);
        stage.settle();
        assert_eq!(stage.done().len(), usize::from(acts_now), "{source} {step} {age}");
    }
}

#[test]
fn a_playbook_gone_wild_asks_first() {
    let mut definitions = definitions(playbook_of(vec![acts("kill", &[], "process.kill")]));
    definitions.guard.breaker.images = 0;
    let mut stage = stage_in(tempfile::tempdir().unwrap(), World::default(), definitions);
    stage.core.recover(Arc::new(|_, _| None)).unwrap();
    stage.core.detections([detection("7", 1)]);
    stage.settle();
    assert!(stage.done().is_empty());
    let system = stage.journal.read(&StreamId::system(), 1).unwrap();
    assert!(system.iter().any(|record| matches!(&record.body, Body::BreakerChanged(changed) if changed.open)));
}
