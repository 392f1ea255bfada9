//! Views of journals that are written by hand.

use super::*;
use crate::store::Journal;
use quell_model::detection::MatchedField;
use quell_model::record::*;
use quell_model::*;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// A journal that is told a story, a record at a time.
struct Story {
    journal: Journal,
    seqs: HashMap<StreamId, Seq>,
    _dir: tempfile::TempDir,
}

fn at(ms: u64) -> Stamp {
    let wall: jiff::Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
    Stamp { wall, boot_ns: 1_000_000_000 }.after(Duration::from_millis(ms))
}

impl Story {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { journal: Journal::open(dir.path()).unwrap(), seqs: HashMap::new(), _dir: dir }
    }

    fn put(&mut self, stream: &str, ms: u64, body: impl Into<Body>) {
        let seq = self.seqs.entry(stream.into()).or_default();
        let records = vec![NewRecord::new(at(ms), body)];
        let batch = Batch { stream: stream.into(), expected: *seq, records, durability: Durability::Written };
        self.journal.written(batch).unwrap();
        *seq += 1;
    }

    fn run(&self, id: &str) -> RunView {
        run(&self.journal, &id.into()).unwrap().unwrap()
    }

    fn incident(&self, id: &str) -> IncidentView {
        incident(&self.journal, &id.into(), Wanted::default()).unwrap().unwrap()
    }

    fn explain(&self, id: &str) -> Explanation {
        explain(&self.journal, &id.into(), Wanted::default()).unwrap().unwrap()
    }
}

fn process() -> ProcessId {
    ProcessId { boot: BootId("b00t".into()), pid: 4242, start_ns: 77, exec_id: 1 }
}

fn detection(rule: &str, ms: u64) -> Detection {
    let event = OwnedEvent {
        v: 1,
        head: EventHead {
            id: format!("e-{ms}").into(),
            class: Class::ProcessCreation,
            source: "sensor".into(),
            node: "host-1".into(),
            at: at(ms),
            seen: at(ms + 1),
        },
        logsource: LogSource::default(),
        sigma: serde_json::Map::new(),
        own: serde_json::from_str(r#"{"process":{"pid":4242,"image":"/usr/bin/bash","command_line":"bash -i"}}"#)
            .unwrap(),
        subject: Subject::Process(process()),
        entity: entity(),
    };
    Detection {
        id: Hash::of(format!("{rule} {ms}").as_bytes()),
        rule: RuleRef {
            name: rule.into(),
            id: None,
            title: "Reverse shell".into(),
            level: Level::High,
            tags: vec!["attack.t1059.004".into()],
        },
        event: Arc::new(event),
        events: Vec::new(),
        matched: vec![MatchedField { field: "Image".into(), value: json!("/usr/bin/bash") }],
        at: at(ms + 2),
        backfill: false,
    }
}

fn entity() -> Entity {
    Entity { kind: "unit".into(), id: "web.service".into(), node: "host-1".into() }
}

fn decided(playbook: &str, decision: TriggerDecision, run: Option<&str>) -> Decided {
    Decided { playbook: playbook.into(), decision, why: format!("because {decision:?}"), run: run.map(RunId::from) }
}

fn opened() -> IncidentOpened {
    let (title, level, backfill) = ("Reverse shell".into(), Level::High, false);
    IncidentOpened { incident: "i-1".into(), entity: entity(), title, level, backfill }
}

fn started(run: &str, mode: Mode) -> RunStarted {
    RunStarted {
        run: run.into(),
        playbook: "contain".into(),
        definition: Hash::of(b"text"),
        mode,
        mode_because: "the configuration's ceiling".into(),
        incident: Some("i-1".into()),
        per: "process:4242".into(),
        event: json!({"node": "host-1"}),
        detection: json!({"rule": "reverse-shell"}),
        inputs: json!({}),
        vars: json!({}),
        untrusted: false,
        backfill: false,
        by: None,
        parent: None,
        came: None,
        moments: Moments { kernel: Some(at(0)), seen: Some(at(1)), decided: Some(at(2)), ..Moments::default() },
    }
}

fn part(step: &str) -> Part {
    Part { step: step.into(), item: None }
}

fn plan(labels: &[&str]) -> Plan {
    let target = |label: &&str| Target {
        node: "host-1".into(),
        kind: "process".into(),
        id: (*label).into(),
        label: (*label).into(),
        named: true,
        facts: TargetFacts::Other,
    };
    Plan { targets: labels.iter().map(target).collect(), predicted: json!({"killed": []}), ..Plan::default() }
}

fn failed(step: &str, attempt: u32, error: &str, again_at: Option<Stamp>) -> StepFailed {
    StepFailed { part: part(step), attempt, error: error.into(), hint: None, again_at, unknown: false }
}

fn intended(step: &str, attempt: u32) -> StepIntended {
    let (input, plan) = (json!({"scope": "tree"}), plan(&["bash (4242)"]));
    StepIntended { part: part(step), attempt, action: format!("process.{step}").into(), input, plan }
}

fn finished(step: &str, outcome: Outcome, output: Json, times: Option<(u64, u64)>) -> StepFinished {
    let moments = Moments { started: times.map(|t| at(t.0)), verified: times.map(|t| at(t.1)), ..moments() };
    let proof = format!("the proof of {step}");
    StepFinished { part: part(step), action: None, outcome, output, proof, attempts: 1, moments }
}

fn moments() -> Moments {
    started("r-1", Mode::Enforce).moments
}

/// An attack as it is met when all is well.
fn contained() -> Story {
    let mut story = Story::new();
    let run = |step| (step, "run/r-1");
    story.put("incident/i-1", 2, opened());
    let decisions = vec![
        decided("contain", TriggerDecision::Started, Some("r-1")),
        decided("miner", TriggerDecision::NotMine, None),
    ];
    story.put("incident/i-1", 2, accepted(detection("reverse-shell", 0), decisions));
    story.put("run/r-1", 2, started("r-1", Mode::Enforce));
    let joined = IncidentJoined { detection: None, run: Some("r-1".into()), level: Level::Informational, count: 0 };
    story.put("incident/i-1", 2, joined);
    let (step, stream) = run("freeze");
    story.put(stream, 3, intended(step, 1));
    let frozen = json!({"frozen": [{"pid": 4242, "image": "/usr/bin/bash"}]});
    story.put(stream, 4, finished(step, Outcome::Verified, frozen, Some((3, 4))));
    let (step, stream) = run("evidence");
    story.put(stream, 5, finished(step, Outcome::Done, json!({"sockets": [{}, {}], "missing": []}), None));
    let (step, stream) = run("kill");
    story.put(stream, 6, intended(step, 1));
    story.put(stream, 6, failed(step, 1, "it still runs", Some(at(206))));
    story.put(stream, 206, intended(step, 2));
    let killed = json!({"killed": [
        {"pid": 4242, "image": "/usr/bin/bash"}, {"pid": 4243, "image": "/tmp/x (deleted)"}, {"pid": 4244, "image": null}
    ]});
    let end = StepFinished { attempts: 2, ..finished(step, Outcome::Verified, killed, Some((206, 209))) };
    story.put(stream, 209, end);
    story.put(stream, 209, StepSkipped { step: "isolate".into(), why: "its `if` was false".into() });
    story.put(stream, 210, finished("report", Outcome::Done, json!({"told": "3 processes killed"}), None));
    let (state, outputs) = (RunState::Succeeded, json!({"killed": 3}));
    story.put(stream, 210, RunFinished { state, outputs, summary: String::new() });
    let again = IncidentJoined { detection: Some(Hash::of(b"x")), run: None, level: Level::High, count: 8 };
    story.put("incident/i-1", 300, again);
    story.put("incident/i-1", 9_000, NoteAdded { by: "ana".into(), text: "the host is rebuilt".into() });
    let (state, why) = (IncidentState::Resolved, "cleaned up".to_owned());
    story.put("incident/i-1", 9_500, IncidentChanged::to(state, "ana".into(), why));
    story
}

fn accepted(detection: Detection, decided: Vec<Decided>) -> DetectionAccepted {
    DetectionAccepted { detection, decided, counted_later: false }
}

#[test]
fn a_run_shows_each_step_with_its_proof_and_times() {
    let run = contained().run("r-1");
    assert_eq!((run.state, run.summary.as_str()), (RunState::Succeeded, "2 verified, 2 done, 1 skipped"));
    assert_eq!(runs(&contained().journal).unwrap()[0].summary, run.summary, "lists say the same");
    assert_eq!((run.started, run.ended), (at(2), Some(at(210))));
    assert_eq!(run.rule.as_deref(), Some("reverse-shell"));
    assert_eq!(run.times, Times { seen_ns: Some(1_000_000), decided_ns: Some(2_000_000), ..Times::default() });
    let outcomes: Vec<_> = run.steps.iter().map(|step| (step.id.as_str(), step.outcome.unwrap())).collect();
    assert_eq!(
        outcomes,
        [
            ("freeze", Outcome::Verified),
            ("evidence", Outcome::Done),
            ("kill", Outcome::Verified),
            ("isolate", Outcome::Skipped),
            ("report", Outcome::Done)
        ]
    );
    let kill = &run.steps[2];
    assert_eq!(kill.action, Some("process.kill".into()));
    assert_eq!((kill.attempts, kill.errors.len(), kill.waits.clone()), (2, 1, None));
    assert_eq!(kill.times.started_ns, Some(206_000_000));
    assert_eq!(kill.times.verified_ns, Some(209_000_000));
    assert_eq!(run.steps[1].action, None);
    let text = serde_json::to_string(&run).unwrap();
    assert_eq!(serde_json::from_str::<RunView>(&text).unwrap(), run);
}

#[test]
fn an_incident_is_one_story() {
    let incident = contained().incident("i-1");
    assert_eq!((incident.state, incident.level, incident.degraded), (IncidentState::Resolved, Level::High, false));
    assert_eq!(incident.runs.len(), 1);
    assert_eq!(incident.notes[0].text, "the host is rebuilt");
    let [detection] = &incident.detections[..] else { panic!("{:?}", incident.detections) };
    assert_eq!((detection.count, detection.who.as_str()), (8, "bash (4242): bash -i"));
    let lines: Vec<String> =
        incident.timeline.iter().map(|line| format!("{} {}", line.at.since(at(0)).as_millis(), line.text)).collect();
    assert_eq!(
        lines,
        [
            "2 incident opened (high): Reverse shell, about unit web.service on host-1",
            "2 detected: Reverse shell (rule reverse-shell, high), by bash (4242): bash -i",
            "2 contain started",
            "4 process.freeze verified: frozen 1 process (bash (4242)), 4.0 ms after the kernel saw it",
            "5 step evidence done: sockets: 2; the proof of evidence",
            "6 process.kill failed at attempt 1: it still runs; again in 200 ms",
            "209 process.kill verified: killed 3 processes (bash (4242), x (4243), pid 4244) (2 attempts), 209 ms \
             after the kernel saw it",
            "209 step isolate skipped: its `if` was false",
            "210 3 processes killed",
            "210 contain succeeded",
            "300 seen again: Reverse shell, 8 times so far",
            "9000 ana: the host is rebuilt",
            "9500 resolved by ana: cleaned up",
        ]
    );
    let text = serde_json::to_string(&incident).unwrap();
    assert_eq!(serde_json::from_str::<IncidentView>(&text).unwrap(), incident);
}

#[test]
fn an_explanation_says_what_matched_and_what_was_decided() {
    let explained = contained().explain("i-1");
    let [detection] = &explained.detections[..] else { panic!("{explained:?}") };
    assert_eq!(detection.matched[0].field, "Image");
    let decided: Vec<_> = detection.decided.iter().map(|d| (d.playbook.as_str(), d.decision)).collect();
    assert_eq!(decided, [("contain", TriggerDecision::Started), ("miner", TriggerDecision::NotMine)]);
    let held: Vec<_> = explained.held.iter().map(|cause| (cause.what.as_str(), cause.held.as_str())).collect();
    assert_eq!(held, [("if", "step isolate")]);
    assert_eq!(explained.lost, []);
    let text = serde_json::to_string(&explained).unwrap();
    assert_eq!(serde_json::from_str::<Explanation>(&text).unwrap(), explained);
}

/// What holds quell back, one after the other, in one incident.
fn held_back() -> Story {
    let mut story = Story::new();
    story.put("system", 0, PauseChanged { paused: true, by: "root".into() });
    story.put("system", 1, PauseChanged { paused: false, by: "root".into() });
    story.put("incident/i-1", 2, opened());
    let decisions = vec![decided("contain", TriggerDecision::Started, Some("r-1"))];
    story.put("incident/i-1", 2, accepted(detection("reverse-shell", 0), decisions));
    story.put("run/r-1", 2, started("r-1", Mode::Observe));
    story.put(
        "run/r-1",
        3,
        StepPlanned {
            part: part("freeze"),
            action: "process.freeze".into(),
            input: json!({}),
            plan: plan(&["bash (4242)", "a", "b", "c", "d"]),
            because: "the step's own mode is observe".into(),
            outcome: Outcome::Planned,
        },
    );
    story.put("run/r-1", 3, finished("freeze", Outcome::Planned, json!({"frozen": []}), None));
    let refused = GuardRefused {
        part: part("kill"),
        action: "process.kill".into(),
        guard: "protect".into(),
        target: "sshd (900)".into(),
        why: "its executable is sshd's".into(),
    };
    story.put("run/r-1", 4, refused);
    story.put("run/r-1", 4, finished("kill", Outcome::Refused, Json::Null, None));
    story.put("run/r-1", 4, StepBlocked { step: "report".into(), by: Some("kill".into()), outcome: Outcome::Blocked });
    let summary = "`kill` was refused".to_owned();
    story.put("run/r-1", 5, RunFinished { state: RunState::Failed, outputs: json!({}), summary });
    story.put(
        "system",
        6,
        BreakerChanged { playbook: "contain".into(), open: true, why: "11 images".into(), by: None },
    );
    story.put("system", 6, BreakerChanged { playbook: "other".into(), open: true, why: "not mine".into(), by: None });
    let lost = LossSeen {
        class: Some(Class::FileEvent),
        count: 12,
        cgroup: Some(3),
        path: None,
        since: None,
        why: "its ring was full".into(),
    };
    story.put("system", 6, lost.clone());
    story.put("system", 7, PauseChanged { paused: true, by: "ben".into() });
    let held = DetectionHeld {
        detection: detection("reverse-shell", 0).id,
        rule: "reverse-shell".into(),
        playbook: Some("contain".into()),
        reason: "20 runs in an hour".into(),
    };
    story.put("incident/i-1", 8, held);
    story.put("system", 60_000, lost);
    story
}

#[test]
fn what_held_it_back_is_told() {
    let story = held_back();
    let explained = story.explain("i-1");
    let held: Vec<String> = explained.held.iter().map(|c| format!("{}: {}: {}", c.what, c.held, c.why)).collect();
    assert_eq!(
        held,
        [
            "mode: contain only plans (observe): the configuration's ceiling",
            "pause: every action: quell was paused when it began",
            "mode: process.freeze at step freeze: the step's own mode is observe",
            "protect: process.kill on sshd (900): its executable is sshd's",
            "needs: step report: kill, which it needs, did not end well",
            "breaker: contain asks before it acts: 11 images",
            "pause: every action: ben paused every action",
            "trigger: contain for reverse-shell: 20 runs in an hour",
        ]
    );
    assert_eq!(explained.lost.len(), 1, "what was lost a minute later is another matter");
    let lines: Vec<String> = story.run("r-1").timeline.into_iter().map(|line| line.text).collect();
    assert_eq!(
        lines,
        [
            "contain started in observe mode: the configuration's ceiling",
            "process.freeze planned on bash (4242), a, b, c and 1 more, nothing done: the step's own mode is observe",
            "process.kill refused by the guard protect on sshd (900): its executable is sshd's",
            "step report blocked: kill did not end well",
            "contain failed: `kill` was refused",
        ]
    );
    let refusal = story.run("r-1").steps[1].refusal.clone().unwrap();
    assert_eq!((refusal.guard.as_str(), refusal.target.as_str()), ("protect", "sshd (900)"));
}

#[test]
fn what_asks_a_person_does_not_only_plan() {
    let mut story = Story::new();
    story.put("incident/i-1", 2, opened());
    let decisions = vec![decided("contain", TriggerDecision::Started, Some("r-1"))];
    story.put("incident/i-1", 2, accepted(detection("reverse-shell", 0), decisions));
    story.put("run/r-1", 2, started("r-1", Mode::Approve));
    assert_eq!(story.explain("i-1").held[0].held, "contain asks before it acts (approve)");
}

#[test]
fn an_incident_that_overlaps_a_loss_is_degraded() {
    let lost =
        |count| LossSeen { class: None, count, cgroup: None, path: None, since: None, why: "the ring was full".into() };
    for (own, system, degraded) in [
        (None, None, false),
        (Some(20_000), None, true),
        (None, Some(1), true),
        (None, Some(9_600), true),
        (None, Some(60_000), false),
    ] {
        let mut story = contained();
        if let Some(ms) = own {
            story.put("incident/i-1", ms, lost(3));
        }
        if let Some(ms) = system {
            story.put("system", ms, lost(3));
        }
        let view = story.incident("i-1");
        assert_eq!(view.degraded, degraded, "own {own:?}, system {system:?}");
        assert_eq!(view.losses.len(), usize::from(degraded));
        assert_eq!(incidents(&story.journal).unwrap()[0].degraded, degraded);
    }
    let mut story = contained();
    story.put("system", 5, lost(3));
    story.put("incident/i-1", 5, lost(3));
    assert_eq!(story.incident("i-1").losses.len(), 1, "one loss, told in both streams");
}

#[test]
fn an_open_run_says_what_it_is_at() {
    let mut story = Story::new();
    story.put("run/r-1", 0, started("r-1", Mode::Enforce));
    let state = |story: &Story| {
        let [run] = &runs(&story.journal).unwrap()[..] else { panic!("one run") };
        (run.state, run.summary.clone())
    };
    assert_eq!(state(&story), (RunState::Running, "between two steps".into()));
    story.put("run/r-1", 1, intended("kill", 1));
    assert_eq!(state(&story), (RunState::Running, "at kill".into()));
    assert_eq!(story.run("r-1").timeline[1].text, "process.kill is under way on bash (4242)");
    story.put("run/r-1", 2, failed("kill", 1, "busy", Some(at(500))));
    assert_eq!(state(&story), (RunState::Waiting, "kill waits for its retry".into()));
    story.put("run/r-1", 500, intended("kill", 2));
    let hint = Some("look at the host".into());
    story.put("run/r-1", 501, StepFailed { hint, ..failed("kill", 2, "gone", None) });
    story.put("run/r-1", 501, finished("kill", Outcome::Failed, Json::Null, None));
    assert_eq!(
        story.run("r-1").timeline.last().unwrap().text,
        "process.kill failed: the proof of kill; hint: look at the host"
    );
}

#[test]
fn items_of_a_step_are_kept_apart() {
    let mut story = Story::new();
    story.put("run/r-1", 0, started("r-1", Mode::Enforce));
    for item in [0, 1] {
        let part = Part { step: "revoke".into(), item: Some(item) };
        let end = finished("revoke", if item == 0 { Outcome::Verified } else { Outcome::Failed }, json!({}), None);
        story.put("run/r-1", 1, StepFinished { part, ..end });
    }
    story.put("run/r-1", 2, finished("revoke", Outcome::Failed, json!({}), None));
    let run = story.run("r-1");
    let [step] = &run.steps[..] else { panic!("{run:?}") };
    assert_eq!(step.outcome, Some(Outcome::Failed));
    let items: Vec<_> = step.items.iter().map(|item| (item.id.as_str(), item.outcome.unwrap())).collect();
    assert_eq!(items, [("revoke[0]", Outcome::Verified), ("revoke[1]", Outcome::Failed)]);
    assert!(run.timeline[1].text.starts_with("step revoke[0] verified"));
}

#[test]
fn lists_are_newest_first_and_strangers_are_none() {
    let mut story = contained();
    story.put("run/r-2", 400, started("r-2", Mode::Observe));
    story.put("incident/i-2", 500, IncidentOpened { incident: "i-2".into(), ..opened() });
    let ids: Vec<_> = runs(&story.journal).unwrap().into_iter().map(|run| run.id.to_string()).collect();
    assert_eq!(ids, ["r-2", "r-1"]);
    let listed = incidents(&story.journal).unwrap();
    let ids: Vec<_> = listed.iter().map(|incident| (incident.id.as_str(), incident.detections)).collect();
    // A count of eight tells of three beyond the five that are kept whole.
    assert_eq!(ids, [("i-2", 0), ("i-1", 1 + 3)]);
    assert_eq!(run(&story.journal, &"r-9".into()).unwrap(), None);
    assert_eq!(incident(&story.journal, &"i-9".into(), Wanted::default()).unwrap(), None);
    assert_eq!(explain(&story.journal, &"i-9".into(), Wanted::default()).unwrap(), None);
}

#[test]
fn foreign_text_is_bounded_and_stays_as_it_is() {
    let mut story = Story::new();
    story.put("incident/i-1", 0, opened());
    let mut loud = detection("reverse-shell", 0);
    let mut event = (*loud.event).clone();
    let command = format!("\u{1b}[31m\nfake line {}", "é".repeat(100_000));
    event.own =
        json!({"process": {"pid": 7, "image": "/tmp/\u{1b}[2J", "command_line": command}}).as_object().unwrap().clone();
    loud.event = Arc::new(event);
    story.put("incident/i-1", 1, accepted(loud, Vec::new()));
    let view = story.incident("i-1");
    assert!(view.detections[0].who.starts_with("\u{1b}[2J (7): \u{1b}[31m\nfake line é"));
    let line = &view.timeline[1].text;
    assert!(line.chars().count() < 400 && line.contains('…'), "{line}");
}

/// A flood through one incident: its view is as large as its bound, and says what it leaves out.
#[test]
fn a_view_of_a_flooded_incident_is_bounded_and_says_so() {
    let mut story = Story::new();
    story.put("incident/i-1", 0, opened());
    for n in 0..700 {
        let id = format!("r-{n}");
        let decisions = vec![decided("contain", TriggerDecision::Started, Some(&id))];
        let accepted = accepted(detection(&format!("rule-{n}"), 10 + n), decisions);
        story.put("incident/i-1", 10 + n, accepted);
        story.put(&format!("run/{id}"), 10 + n, started(&id, Mode::Enforce));
        let (state, outputs, summary) = (RunState::Succeeded, Json::Null, "1 verified".to_owned());
        story.put(&format!("run/{id}"), 10 + n, RunFinished { state, outputs, summary });
    }
    let view = story.incident("i-1");
    let lengths = (view.detections.len(), view.runs.len(), view.timeline.len());
    assert_eq!(lengths, (SHOWN, SHOWN, SHOWN));
    assert_eq!((view.more.detections, view.more.runs), (700 - SHOWN as u64, 700 - SHOWN as u64));
    assert!(view.timeline[0].text.starts_with("incident opened"));
    assert_eq!(view.runs.last().unwrap().id, "r-699".into());
    let wanted = Wanted { most: MOST_SHOWN, since: Some(at(700).wall) };
    let late = incident(&story.journal, &"i-1".into(), wanted).unwrap().unwrap();
    assert_eq!((late.runs.len(), late.more), (10, More::default()));
    let [listed] = &incidents(&story.journal).unwrap()[..] else { panic!("one incident") };
    assert_eq!((listed.detections, listed.runs.len(), listed.runs_more), (700, 700, 0));
    let told = story.explain("i-1");
    assert_eq!((told.detections.len(), told.more.runs), (SHOWN, 700 - SHOWN as u64));
    assert_eq!(runs(&story.journal).unwrap().len(), 700);
}

#[test]
fn a_clock_that_was_set_back_hides_no_loss() {
    let mut story = contained();
    let lost = LossSeen { class: None, count: 1, cgroup: None, path: None, since: None, why: "ring full".into() };
    story.put("system", 5, lost);
    let set_back = Stamp { wall: at(1000).wall - jiff::SignedDuration::from_hours(2), ..at(1000) };
    let note = NoteAdded { by: "ana".into(), text: "the clock was wrong".into() };
    let (stream, expected) = (StreamId::from("incident/i-1"), story.seqs[&StreamId::from("incident/i-1")]);
    let records = vec![NewRecord::new(set_back, note)];
    story.journal.written(Batch { stream, expected, records, durability: Durability::Written }).unwrap();
    let [listed] = &incidents(&story.journal).unwrap()[..] else { panic!("one incident") };
    assert!(listed.last.wall < listed.opened.wall);
    assert_eq!((listed.degraded, story.incident("i-1").degraded), (true, true));
}

/// Law: what lists keep is what the fold of the records says, whatever the records are.
#[test]
fn lists_and_views_say_the_same() {
    let mut story = contained();
    let lost = LossSeen { class: None, count: 1, cgroup: None, path: None, since: None, why: "ring full".into() };
    story.put("system", 5, lost);
    let view = story.incident("i-1");
    let [listed] = &incidents(&story.journal).unwrap()[..] else { panic!("one incident") };
    let of_view = (view.level, view.state, view.opened, view.last, view.degraded, view.entity.clone());
    assert_eq!(
        (listed.level, listed.state, listed.opened, listed.last, listed.degraded, listed.entity.clone()),
        of_view
    );
    assert_eq!(listed.runs, view.runs.iter().map(|run| run.id.clone()).collect::<Vec<_>>());
    assert_eq!(runs(&story.journal).unwrap(), [RunSummary::from(story.run("r-1"))]);
}

#[test]
fn a_count_is_told_of_whom_it_counts() {
    let mut story = Story::new();
    story.put("incident/i-1", 0, opened());
    let accept = |rule: &str, ms: u64| accepted(detection(rule, ms), Vec::new());
    let again = |ms: u64, count: u64| IncidentJoined {
        detection: Some(Hash::of(&ms.to_le_bytes())),
        run: None,
        level: Level::High,
        count,
    };
    for n in 1..6 {
        story.put("incident/i-1", n, accept("a", n));
    }
    story.put("incident/i-1", 10, again(10, 8));
    for n in 11..16 {
        story.put("incident/i-1", n, accept("b", n));
    }
    story.put("incident/i-1", 20, again(20, 16));
    let view = story.incident("i-1");
    let counts: Vec<(&str, u64)> = view.detections.iter().map(|one| (one.rule.as_str(), one.count)).collect();
    assert_eq!((counts[4], counts[9]), (("a", 16), ("b", 5)), "{counts:?}");
}

#[test]
fn several_streams_are_one_story_and_keep_their_own_order() {
    let line =
        |ms: u64, text: &str| TimelineLine { at: at(ms), kind: Kind::NoteAdded, text: text.to_owned(), run: None };
    let first = vec![line(0, "a"), line(5, "d"), line(4, "e")];
    let second = vec![line(0, "b"), line(3, "c"), line(9, "f")];
    let story = timeline::merge(vec![first, Vec::new(), second]);
    assert_eq!(story.iter().map(|line| line.text.as_str()).collect::<String>(), "abcdef");
}

#[test]
fn a_run_has_the_text_that_it_is_pinned_to() {
    let mut story = Story::new();
    let pinned = |text: &str| {
        let (playbook, file) = ("contain".into(), "contain.yaml".into());
        DefinitionPinned { playbook, hash: Hash::of(text.as_bytes()), file, text: text.into() }
    };
    story.put("system", 0, pinned("text"));
    story.put("system", 1, pinned("another text"));
    story.put("run/r-1", 2, started("r-1", Mode::Observe));
    let found = definition(&story.journal, &"r-1".into()).unwrap().unwrap();
    assert_eq!((found.text.as_str(), found.hash), ("text", Hash::of(b"text")));
    assert_eq!(definition(&story.journal, &"r-2".into()).unwrap(), None);
}
