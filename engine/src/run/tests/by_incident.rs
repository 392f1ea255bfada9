//! What moments of incidents start: one run each, over a death at any write, without a circle.

use super::*;
use crate::trigger::incident::{RATE, run_of};
use quell_model::playbook::{Expression, IncidentMoment as At, Rate};
use quell_model::record::{IncidentState, RunStarted, RunState};

/// Started by these moments alone; its one step acts.
fn follows(moments: &[At]) -> Playbook {
    let kind = StepKind::Action { action: "process.kill".into(), with: json!({ "process": "x" }) };
    let mut playbook = playbook_of(vec![Step { kind, ..step("kill", &[]) }]);
    (playbook.name, playbook.hash) = ("follows".into(), Hash::of(b"follows"));
    (playbook.on.detections, playbook.on.incident) = (None, moments.to_vec());
    playbook
}

fn condition(text: &str) -> Option<Expression> {
    Some(Expression { text: text.into(), span: Default::default() })
}

fn with(playbooks: Vec<Playbook>) -> Definitions {
    let playbooks = playbooks.into_iter().map(Arc::new).collect();
    Definitions { playbooks, ..definitions(playbook_of(Vec::new())) }
}

fn stage(definitions: Definitions) -> Stage {
    let mut stage = stage_in(tempfile::tempdir().unwrap(), World::default(), definitions);
    stage.core.recover(Arc::new(|_, _| None)).unwrap();
    stage
}

impl Stage {
    fn runs_of_incidents(&self) -> Vec<RunStarted> {
        let all = self.journal.runs(None, 100).unwrap();
        let first = |stream: &StreamId| match &self.journal.read(stream, 1).unwrap()[0].body {
            Body::RunStarted(started) => RunStarted::clone(started),
            other => panic!("{other:?}"),
        };
        let all = all.iter().rev().map(|listed| first(&listed.stream));
        all.filter(|started| started.came.is_some()).collect()
    }

    fn moments(&self) -> Vec<At> {
        self.runs_of_incidents().iter().map(|run| run.came.as_ref().unwrap().moment).collect()
    }

    fn of_incident(&self) -> IncidentId {
        self.journal.incidents(None, 1).unwrap()[0].stream.as_incident().unwrap()
    }

    fn attacked(&mut self, subject: &str, number: u32) {
        let mut attack = detection(subject, number);
        let event = Arc::make_mut(&mut attack.event);
        event.head.at = self.core.parts.clock.now();
        self.core.detections([attack]);
        self.settle();
    }

    /// On an entity of its own.
    fn attacked_elsewhere(&mut self, number: u32) {
        let mut attack = detection(&number.to_string(), number);
        let event = Arc::make_mut(&mut attack.event);
        event.head.at = self.core.parts.clock.now();
        event.entity.id = format!("unit-{number}").as_str().into();
        self.core.detections([attack]);
        self.settle();
    }

    fn acks(&mut self) {
        let incident = self.of_incident();
        let (by, via) = ("ann".into(), "socket".into());
        self.core
            .serve(Request::Acknowledge { incident, acknowledged: true, why: "mine".into(), by, via, generation: None })
            .unwrap();
        self.settle();
    }

    fn resolves(&mut self) {
        let incident = self.of_incident();
        self.core
            .serve(Request::Resolve { incident, why: "rebuilt".into(), by: "bo".into(), via: "socket".into() })
            .unwrap();
        self.settle();
    }
}

#[test]
fn each_moment_starts_one_run_that_knows_it_and_belongs_to_its_incident() {
    let mut playbook = follows(&[At::Opened, At::Acknowledged, At::Resolved]);
    let told = "${{ incident.moment }} by ${{ incident.by ?? `nobody` }} (${{ incident.why }}), ${{ incident.level }}: ${{ detection.title }}";
    playbook.steps.push(Step { kind: StepKind::Tell(told.into()), ..step("say", &["kill"]) });
    let mut stage = stage(with(vec![playbook]));
    stage.attacked("7", 1);
    // It joins, and opens nothing.
    stage.attacked("8", 2);
    assert_eq!(stage.moments(), [At::Opened]);
    stage.acks();
    stage.acks();
    stage.resolves();
    assert_eq!(stage.moments(), [At::Opened, At::Acknowledged, At::Resolved]);
    // What opens it again is no opening; its next end is one more.
    stage.attacked("9", 3);
    assert_eq!(stage.moments().len(), 3);
    stage.resolves();
    let incident = stage.of_incident();
    let runs = stage.runs_of_incidents();
    assert_eq!(runs.len(), 4);
    for run in &runs {
        let came = run.came.as_ref().unwrap();
        assert_eq!(run.run, run_of(&"follows".into(), &incident, came.record));
        assert_eq!((&run.incident, run.by.as_ref().unwrap().as_str()), (&Some(incident.clone()), "incident"));
        assert_eq!(run.event["subject"], json!(detection("7", 1).subject().to_string()), "what it began with");
    }
    let view = crate::report::incident(&stage.journal, &incident, Default::default()).unwrap().unwrap();
    assert_eq!(view.runs.len(), 4);
    assert!(view.runs.iter().all(|run| run.state == RunState::Succeeded), "{:?}", view.runs);
    let begins = |run: &&crate::report::TimelineLine| run.text.starts_with("follows started");
    let begun: Vec<&str> = view.timeline.iter().filter(begins).map(|line| line.text.as_str()).collect();
    let begun_by = |moment: &str| format!("follows started by incident ({moment})");
    assert_eq!(begun, ["opened", "acknowledged", "resolved", "resolved"].map(begun_by));
    let of = |run: &RunStarted| crate::report::run(&stage.journal, &run.run).unwrap().unwrap();
    let told = |run: &RunStarted| of(run).steps[1].output["told"].as_str().unwrap().to_owned();
    let notes: Vec<String> = runs.iter().map(told).collect();
    let title = &stage.runs_of_incidents()[0].detection["title"];
    let title = title.as_str().unwrap();
    let says = |what: &str| format!("{what}, high: {title}");
    assert_eq!(
        notes,
        [
            says("opened by nobody ()"),
            says("acknowledged by ann (mine)"),
            says("resolved by bo (rebuilt)"),
            says("resolved by bo (rebuilt)")
        ]
    );
    assert_eq!(view.acknowledged, None);
    assert_eq!((view.state, stage.done().len()), (IncidentState::Resolved, 4));
    assert_eq!(stage.journal.verify().unwrap(), Vec::<String>::new());
}

#[test]
fn an_incident_that_nobody_hears_of_any_more_starts_what_waits_for_its_end() {
    let mut quick = with(vec![follows(&[At::Resolved])]);
    quick.incidents.quiet = Duration::ZERO;
    let mut stage = stage(quick);
    stage.attacked("7", 1);
    // It takes nothing any more: only the journal has it.
    let id = stage.of_incident();
    let now = stage.core.parts.clock.now().after(Duration::from_secs(60));
    assert_eq!(stage.core.incidents.sweep(now, Duration::ZERO), std::slice::from_ref(&id));
    stage.resolves();
    assert_eq!(stage.moments(), [At::Resolved]);
    let view = crate::report::incident(&stage.journal, &id, Default::default()).unwrap().unwrap();
    assert_eq!(view.runs.len(), 1);
    assert_eq!(stage.journal.verify().unwrap(), Vec::<String>::new());
}

#[test]
fn its_if_decides_and_one_that_errs_asks() {
    let (mut high, mut critical, mut errs) = (follows(&[At::Opened]), follows(&[At::Opened]), follows(&[At::Opened]));
    high.on.condition = condition("incident.level == \"high\" && event.node != ()");
    (critical.name, critical.on.condition) = ("critical".into(), condition("incident.level == \"critical\""));
    (errs.name, errs.on.condition) = ("errs".into(), condition("event.nothing.at.all > 3"));
    let mut stage = stage(with(vec![critical, errs, high]));
    stage.attacked("7", 1);
    let runs = stage.runs_of_incidents();
    let modes: Vec<(&str, Mode)> = runs.iter().map(|run| (run.playbook.as_str(), run.mode)).collect();
    assert_eq!(modes, [("errs", Mode::Approve), ("follows", Mode::Enforce)]);
    assert!(runs[0].mode_because.contains("`if` could not be evaluated"), "{}", runs[0].mode_because);
}

#[test]
fn what_anybody_can_write_begins_nothing_that_acts_alone() {
    let mut definitions = with(vec![follows(&[At::Opened, At::Acknowledged])]);
    definitions.untrusted = [detection("7", 1).event.head.source.clone()].into();
    let mut stage = stage(definitions);
    stage.attacked("7", 1);
    stage.acks();
    assert_eq!((stage.moments().len(), stage.done().len()), (2, 0));
    assert!(stage.runs_of_incidents().iter().all(|run| run.untrusted));
    let requesters: Vec<Vec<Name>> =
        stage.runs_of_incidents().iter().map(|run| run.requesters().cloned().collect()).collect();
    assert!(!requesters[0].contains(&"ann".into()) && requesters[1].contains(&"ann".into()), "{requesters:?}");
    let told = crate::report::explain(&stage.journal, &stage.of_incident(), Default::default()).unwrap().unwrap();
    let all = told.moments.iter().flat_map(|come| &come.decided);
    assert_eq!(all.filter(|decided| decided.why.contains("anybody can write")).count(), 2, "{:?}", told.moments);
}

#[test]
fn what_anybody_can_write_uses_up_nothing_of_what_the_others_may_do() {
    let mut bounded = follows(&[At::Opened]);
    bounded.limits.runs = Some(Rate { count: 2, per: Duration::from_secs(3600) });
    let mut definitions = with(vec![bounded]);
    definitions.untrusted = [detection("7", 1).event.head.source.clone()].into();
    let mut first = stage(definitions.clone());
    (0..4).for_each(|number| first.attacked_elsewhere(number));
    definitions.untrusted.clear();
    first.core.definitions = definitions.clone();
    first.attacked_elsewhere(4);
    assert_eq!(first.runs_of_incidents().last().unwrap().mode, Mode::Enforce);
    let Stage { core, journal, dir, .. } = first;
    drop(core);
    journal.close();
    let mut again = stage_in(dir, World::default(), definitions);
    again.core.recover(Arc::new(|_, _| None)).unwrap();
    (5..7).for_each(|number| again.attacked_elsewhere(number));
    let modes: Vec<Mode> = again.runs_of_incidents().iter().map(|run| run.mode).collect();
    assert_eq!(modes[4..], [Mode::Enforce, Mode::Enforce, Mode::Approve]);
}

#[test]
fn a_circle_is_bounded_and_a_start_does_not_begin_its_count_anew() {
    let rate = Rate { count: 3, per: Duration::from_secs(3600) };
    let mut bounded = follows(&[At::Opened]);
    bounded.limits.runs = Some(rate);
    // Each of its acts opens an incident elsewhere.
    let mut stage = stage(with(vec![bounded.clone()]));
    for number in 0..2 {
        stage.attacked_elsewhere(number);
    }
    let Stage { core, journal, dir, .. } = stage;
    drop(core);
    journal.close();
    let mut stage = stage_in(dir, World::default(), with(vec![bounded]));
    stage.core.recover(Arc::new(|_, _| None)).unwrap();
    for number in 2..6 {
        stage.attacked_elsewhere(number);
    }
    let modes: Vec<Mode> = stage.runs_of_incidents().iter().map(|run| run.mode).collect();
    assert_eq!(modes, [Mode::Enforce, Mode::Enforce, Mode::Enforce, Mode::Approve, Mode::Approve, Mode::Approve]);
    let held = stage.core.serve(Request::Status).unwrap()["held"][0]["why"].as_str().unwrap().to_owned();
    assert!(held.contains("incidents started it 3 times"), "{held}");
    // One that says nothing of it is bounded too.
    let mut stage = self::stage(with(vec![follows(&[At::Opened])]));
    for number in 0..RATE.count + 2 {
        stage.attacked_elsewhere(number);
    }
    let asks = stage.runs_of_incidents().iter().filter(|run| run.mode == Mode::Approve).count();
    assert_eq!(asks, 2);
}

/// Why a playbook that waits for incidents did not start stands where the detections' reasons do.
#[test]
fn each_moment_says_what_every_playbook_made_of_it() {
    let (mut critical, mut held) = (follows(&[At::Opened, At::Resolved]), follows(&[At::Opened]));
    (critical.name, critical.on.condition) = ("critical".into(), condition("incident.level == \"critical\""));
    held.name = "held".into();
    held.limits.runs = Some(Rate { count: 1, per: Duration::from_secs(3600) });
    let mut stage = stage(with(vec![critical, follows(&[At::Resolved]), held, playbook_of(Vec::new())]));
    stage.attacked_elsewhere(1);
    stage.attacked_elsewhere(2);
    stage.acks();
    stage.core.paused = true;
    stage.resolves();
    let incident = stage.of_incident();
    let told = crate::report::explain(&stage.journal, &incident, Default::default()).unwrap().unwrap();
    let moments: Vec<At> = told.moments.iter().map(|come| come.moment).collect();
    assert_eq!(moments, [At::Opened, At::Acknowledged, At::Resolved]);
    let of = |at: usize| -> Vec<String> {
        let line = |one: &quell_model::record::Decided| format!("{} {:?}: {}", one.playbook, one.decision, one.why);
        told.moments[at].decided.iter().map(line).collect()
    };
    let opened = of(0);
    assert_eq!(opened.len(), 3, "a playbook that waits for no incident has no part: {opened:?}");
    assert_eq!(opened[0], "critical IfFalse: its trigger's `if` is false for this moment");
    assert_eq!(opened[1], "follows NotMine: it waits for `resolved`, not for `opened`");
    assert!(opened[2].starts_with("held Started: approve: incidents started it 1 times"), "{}", opened[2]);
    assert!(of(1).iter().all(|line| line.contains("NotMine")), "{:?}", of(1));
    let resolved = &of(2)[1];
    assert!(resolved.starts_with("follows Started: enforce: ") && resolved.ends_with("is paused"), "{resolved}");
    let started = told.moments[2].decided[1].run.clone().unwrap();
    assert!(stage.runs_of_incidents().iter().any(|run| run.run == started));
    // Nobody waits for incidents: nothing is written.
    let mut quiet = self::stage(with(vec![playbook_of(Vec::new())]));
    quiet.attacked("7", 1);
    let told = crate::report::explain(&quiet.journal, &quiet.of_incident(), Default::default()).unwrap().unwrap();
    assert!(told.moments.is_empty());
    assert_eq!(stage.journal.verify().unwrap(), Vec::<String>::new());
}

/// Each run begins with a copy of the event, and no append holds them all.
#[test]
fn an_event_that_is_too_large_for_all_runs_of_a_moment_begins_each() {
    let many = |count: usize| {
        let one = |n: usize| Playbook { name: format!("follows-{n}").as_str().into(), ..follows(&[At::Opened]) };
        with((0..count).map(one).collect())
    };
    let mut stage = stage(many(4));
    let mut attack = detection("a", 1);
    let event = Arc::make_mut(&mut attack.event);
    event.head.at = stage.core.parts.clock.now();
    event.own.insert("text".into(), json!("x".repeat(10 << 20)));
    stage.core.detections([attack]);
    stage.settle();
    let runs = stage.runs_of_incidents();
    assert_eq!((runs.len(), stage.core.ink.lost()), (4, 0));
    assert!(runs.iter().all(|run| run.event["text"].as_str().map(str::len) == Some(10 << 20)));
    for run in &runs {
        let last = stage.journal.read(&StreamId::run(&run.run), 1).unwrap().pop().unwrap();
        assert_eq!(last.body.kind(), Kind::RunFinished, "{}", run.run);
    }
    assert_eq!(stage.journal.verify().unwrap(), Vec::<String>::new());
}
