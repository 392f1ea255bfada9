//! Steps that hand the incident on, and what playbooks tell in the messages that people have.

use super::ladder::{MINUTE, Night, Says, escalation, rung, to};
use super::*;
use crate::escalation::Escalation;
use crate::escalation::policy::{Ack, Policy, Target};
use crate::run::tests::acts;
use quell_model::playbook::{Escalate, ForEach, ItemErrors, Wait};
use quell_model::record::{LadderChange, Part, Place};

/// A step that escalates, in the runs of this subject.
fn hands_on(subject: &str, policy: Option<&str>, to: Option<u32>) -> Step {
    let kind = StepKind::Escalate(Escalate { policy: policy.map(Name::from), step: to });
    let text = format!("event.process.id == \"{subject}.5.1@b\"");
    Step { kind, condition: Some(Expression { text, span: Default::default() }), ..step("hand_on", &[]) }
}

/// `security` (ana, bo, then the lead) is the route; `night` has one step, the lead's.
fn policies() -> Escalation {
    let mut all = escalation(rung(&["ana"], 5, Ack::Any));
    let night = Policy {
        steps: vec![rung(&["lead"], 10, Ack::Any)],
        last_resort: vec![Target::Person("bo".into())],
        ..Policy::default()
    };
    all.policies.insert("night".into(), night);
    all
}

fn night(step: Step) -> Night {
    Night::of(playbook_of(vec![step]), policies(), &[Says::Takes])
}

/// How the step ended: outcome, proof, what it gave.
fn ended(night: &Night, run: &RunId) -> (Outcome, String, Json) {
    let records = night.yard.stage.journal.read(&StreamId::run(run), 1).unwrap();
    let end = records.into_iter().find_map(|record| match record.body {
        Body::StepFinished(end) if end.part.step.as_str() == "hand_on" => Some((end.outcome, end.proof, end.output)),
        _ => None,
    });
    end.expect("the step has ended")
}

/// By which policies it was sent, and up to where.
fn routed(night: &Night) -> Vec<(String, Option<u32>)> {
    let routed = |body| {
        if let Body::LadderRouted(routed) = body { Some((routed.policy.to_string(), routed.up_to)) } else { None }
    };
    night.records().into_iter().filter_map(routed).collect()
}

fn is_acknowledged(night: &Night) -> bool {
    night.yard.stage.journal.incidents(None, 1).unwrap()[0].line.clone().unwrap().standing().acknowledged.is_some()
}

#[test]
fn a_playbook_hands_an_incident_on_to_another_policy_whoever_looked_after_it() {
    let mut night = night(hands_on("8", Some("night"), None));
    night.yard.attack_by("7", 1);
    night.receive(1);
    night.acks("ana", Some(1)).unwrap();
    assert!(is_acknowledged(&night));
    let run = night.yard.attack_by("8", 2);
    night.receive(2);
    let because = format!("run {run} of test escalates, in its step `hand_on`");
    assert_eq!(night.mail.told()[1], format!("lead: {because}"));
    assert_eq!(
        ended(&night, &run),
        (Outcome::Done, "it goes up to step 1 of `night`".into(), json!({ "policy": "night", "step": 1 }))
    );
    assert_eq!(routed(&night), [("security".into(), None), ("night".into(), Some(0))]);
    assert_eq!(night.moves(), [(1, to(0)), (2, to(0))]);
    assert!(!is_acknowledged(&night), "the incident says what its ladder does");
    let late = night.acks("ana", Some(1)).unwrap_err().to_string();
    assert!(late.contains("raised anew"), "{late}");
    let streams = night.yard.stage.journal.streams().unwrap();
    assert_eq!(streams.iter().filter(|(stream, _)| stream.as_ladder().is_some()).count(), 1, "never a second");
    // The same again tells nobody more, and no answer of between is lost.
    let again = night.yard.attack_by("8", 3);
    assert_eq!(ended(&night, &again).0, Outcome::Already);
    night.acks("lead", Some(2)).unwrap();
    night.pass(MINUTE * 20);
    assert_eq!(night.moves().len(), 2);
    // By the other policy's steps it goes on, to its own last resort.
    let third = night.yard.attack_by("8", 4);
    assert_eq!(ended(&night, &third).0, Outcome::Done, "whoever looked after it, it begins again");
    night.receive(3);
    night.pass(MINUTE * 10);
    night.receive(4);
    assert_eq!(night.mail.told()[3], "bo: nobody answered in time");
}

#[test]
fn up_to_a_step_nobody_is_passed_over_and_past_the_last_is_the_last_resort() {
    // Before anybody was told: those of the first step are told with those of the second.
    let mut early = night(hands_on("7", None, Some(2)));
    let run = early.yard.attack_by("7", 1);
    early.receive(2);
    let mut told: Vec<String> = early.mail.told();
    told.sort();
    let because = format!("run {run} of test escalates, in its step `hand_on`");
    assert_eq!(told, [format!("ana: {because}"), format!("bo: {because}")]);
    assert_eq!(early.moves(), [(2, to(1))]);
    // Of whom the first was told, only the second; who is there is not told anew.
    let mut late = night(hands_on("8", None, Some(2)));
    late.yard.attack_by("7", 1);
    late.receive(1);
    late.yard.attack_by("8", 2);
    late.receive(2);
    assert!(late.mail.told()[1].starts_with("bo: run"), "{:?}", late.mail.told());
    let again = late.yard.attack_by("8", 3);
    assert_eq!(
        ended(&late, &again),
        (
            Outcome::Already,
            "it goes by `security`, and is there already".into(),
            json!({ "policy": "security", "step": 2 })
        )
    );
    // Whose page has to wait is told with them, though the next step is there before its time.
    let mut busy = Night::of(playbook_of(vec![hands_on("8", None, Some(2))]), policies(), &[Says::Later, Says::Takes]);
    busy.yard.attack_by("7", 1);
    busy.receive(1);
    busy.yard.attack_by("8", 2);
    // That page's own end is taken down as well: it goes out by another.
    busy.receive(4);
    let mut told: Vec<String> = busy.mail.got().iter().map(|letter| letter.page.to.shown()).collect();
    told.sort();
    assert_eq!(told, ["person ana", "person ana", "person bo"]);
    let mut past = night(hands_on("8", Some("security"), Some(9)));
    past.yard.attack_by("7", 1);
    past.receive(1);
    let run = past.yard.attack_by("8", 2);
    past.receive(3);
    let mut told = past.mail.told().split_off(1);
    told.sort();
    assert!(told[0].starts_with("bo: run") && told[1].starts_with("lead: run"), "{told:?}");
    assert_eq!(ended(&past, &run).1, "`security` has 2 steps: its last resort is told");
    assert_eq!(past.moves()[1], (2, Place::LastResort));
}

#[test]
fn a_policy_that_is_gone_tells_the_next_ones_rather_than_nobody() {
    let mut night = night(hands_on("8", Some("gone"), None));
    night.yard.attack_by("7", 1);
    night.receive(1);
    let run = night.yard.attack_by("8", 2);
    night.receive(2);
    assert!(night.mail.told()[1].starts_with("bo: run"), "{:?}", night.mail.told());
    let (outcome, proof, _) = ended(&night, &run);
    assert_eq!(
        (outcome, proof.as_str()),
        (Outcome::Done, "there is no policy `gone` any more: it goes up to step 2 of `security`")
    );
}

#[test]
fn in_observe_of_the_past_and_of_what_is_resolved_nothing_is_moved() {
    let mut playbook = playbook_of(vec![hands_on("8", Some("night"), None)]);
    playbook.mode = Mode::Observe;
    let mut night = Night::of(playbook, policies(), &[Says::Takes]);
    night.yard.attack_by("7", 1);
    night.receive(1);
    let run = night.yard.attack_by("8", 2);
    assert_eq!(ended(&night, &run).0, Outcome::Planned);
    assert_eq!((routed(&night).len(), night.moves().len()), (1, 1));

    let mut night = self::night(hands_on("8", Some("night"), None));
    let mut old = detection("8", 1);
    old.backfill = true;
    night.yard.stage.core.detections([old]);
    night.yard.stage.settle();
    let run = night.yard.stage.runs()[0].clone();
    assert_eq!(ended(&night, &run).0, Outcome::Planned);
    assert!(night.yard.stage.journal.streams().unwrap().iter().all(|(stream, _)| stream.as_ladder().is_none()));

    let waits = Step { kind: StepKind::Wait(Wait::For(MINUTE)), ..step("wait", &[]) };
    let then = Step { needs: vec!["wait".into()], ..hands_on("7", Some("night"), None) };
    let mut night = Night::of(playbook_of(vec![waits, then]), policies(), &[Says::Takes]);
    let run = begins(&mut night, 1);
    let resolve =
        Request::Resolve { incident: night.incident(), why: "rebuilt".into(), by: "bo".into(), via: "socket".into() };
    night.yard.stage.core.serve(resolve).unwrap();
    night.yard.clock.advance(MINUTE);
    night.yard.stage.settle();
    let (outcome, proof, _) = ended(&night, &run);
    assert!(outcome == Outcome::Skipped && proof.contains("is resolved"), "{outcome} {proof}");
    assert_eq!(routed(&night).len(), 1);
}

/// A run that waits.
fn begins(night: &mut Night, number: u32) -> RunId {
    let mut attack = detection("7", number);
    Arc::make_mut(&mut attack.event).head.at = night.yard.clock.now();
    night.yard.stage.core.detections([attack]);
    night.yard.stage.until(|stage| !stage.runs().is_empty());
    night.receive(1);
    night.yard.stage.runs()[0].clone()
}

#[test]
fn who_belongs_to_no_incident_is_told_that_it_cannot_be_handed_on() {
    let mut playbook = playbook_of(vec![Step { condition: None, ..hands_on("7", None, Some(2)) }]);
    playbook.on = crate::load::trigger::by_hand();
    let mut night = Night::of(playbook, policies(), &[Says::Takes]);
    let start =
        Request::Start { playbook: "test".into(), event: None, inputs: json!({}), by: "ana".into(), mode: None };
    night.yard.ask(start).unwrap();
    night.yard.stage.settle();
    let run = night.yard.stage.runs()[0].clone();
    let (outcome, proof, _) = ended(&night, &run);
    assert!(outcome == Outcome::Failed && proof.contains("belongs to no incident"), "{outcome} {proof}");
}

#[test]
fn an_incident_that_nobody_was_told_of_is_told_from_there() {
    let mut night = night(hands_on("8", Some("night"), Some(1)));
    night.yard.stage.core.definitions.escalation = None;
    night.yard.attack_by("7", 1);
    assert!(night.yard.stage.journal.streams().unwrap().iter().all(|(stream, _)| stream.as_ladder().is_none()));
    night.yard.stage.core.definitions.escalation = Some(Arc::clone(&night.escalation));
    let run = night.yard.attack_by("8", 2);
    night.receive(1);
    assert_eq!(night.mail.told(), [format!("lead: run {run} of test escalates, in its step `hand_on`")]);
    assert_eq!(night.mail.got()[0].notice.title, "A rule");
    assert_eq!(ended(&night, &run).0, Outcome::Done);
}

#[test]
fn killed_before_and_after_it_the_ladder_is_moved_once() {
    for is_written in [false, true] {
        let waits = Step { kind: StepKind::Wait(Wait::For(MINUTE)), ..step("wait", &[]) };
        let then = Step { needs: vec!["wait".into()], ..hands_on("7", Some("night"), None) };
        let last = acts("last", &["hand_on"], "process.freeze");
        let mut night = Night::of(playbook_of(vec![waits, then, last]), policies(), &[Says::Takes]);
        let run = begins(&mut night, 1);
        let (incident, by, via, why) = (night.incident(), "ana".into(), "socket".into(), String::new());
        let acknowledge = Request::Acknowledge { incident, acknowledged: true, why, by, via, generation: None };
        night.yard.stage.core.serve(acknowledge).unwrap();
        night.yard.clock.advance(MINUTE);
        let core = &mut night.yard.stage.core;
        let now = core.parts.clock.now();
        let wakes = core.runs[&run].run.next(now);
        assert!(matches!(wakes[..], [crate::run::Command::Wake { .. }]), "{wakes:?}");
        core.wake(&run, &Part { step: "wait".into(), item: None });
        core.ink.commit();
        core.start_part(&run, Part { step: "hand_on".into(), item: None }, 1);
        if is_written {
            core.ink.commit();
        }
        core.ink.forget();
        let ends = |night: &Night| {
            let records = night.yard.stage.journal.read(&StreamId::run(&run), 1).unwrap();
            let ends = |body: &Body| matches!(body, Body::StepFinished(end) if end.part.step.as_str() == "hand_on");
            records.iter().filter(|record| ends(&record.body)).count()
        };
        let stood = (routed(&night).len(), ends(&night), is_acknowledged(&night));
        assert_eq!(stood, if is_written { (2, 1, false) } else { (1, 0, true) }, "all of it is there, or nothing");
        let mut night = night.again("b", &[Says::Takes]);
        night.yard.stage.settle();
        night.receive(2);
        assert!(night.mail.told()[1].starts_with("lead: run"), "{:?}", night.mail.told());
        assert_eq!((routed(&night).len(), ends(&night), night.moves().len()), (2, 1, 2));
        assert!(!is_acknowledged(&night));
    }
}

#[test]
fn a_thousand_lines_are_told_in_the_messages_that_people_have_and_are_few_records() {
    let list = Expression { text: "[1,2,3,4,5,6,7,8,9,10]".into(), span: Default::default() };
    let each = |id: &str, needs: &[&str], list: &Expression| Step {
        kind: StepKind::Tell("${{ item }}. of ${{ event.node }}".into()),
        for_each: Some(ForEach { list: list.clone(), max_parallel: 4, errors: ItemErrors::Collect }),
        ..step(id, needs)
    };
    let text = format!("[{}]", (0..1000).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
    let waits = Step { kind: StepKind::Wait(Wait::For(MINUTE)), ..step("wait", &[]) };
    let more = Expression { text, ..list.clone() };
    let later = Step { kind: StepKind::Wait(Wait::For(MINUTE)), ..step("later", &["many"]) };
    let steps = vec![waits, each("few", &["wait"], &list), each("many", &["wait"], &more), later];
    let mut night = Night::of(playbook_of(steps), policies(), &[Says::Delivers]);
    let run = begins(&mut night, 1);
    night.yard.clock.advance(MINUTE);
    let told = |night: &Night| {
        let told = |body| match body {
            Body::LadderChanged(changed) if changed.change == LadderChange::Progressed => Some(changed.why),
            _ => None,
        };
        night.records().into_iter().filter_map(told).collect::<Vec<_>>()
    };
    night.yard.stage.until(|stage| stage.core.runs[&run].run.outcome(&"many".into()).is_some());
    night.receive(2);
    let said = told(&night);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("1005 lines before; ") && said[0].ends_with("; 999. of n"), "{}", said[0]);
    let got = night.mail.got();
    assert!(got[1].page.quiet && got[1].earlier == Some(format!("m-{}", got[0].key.as_str())), "{:?}", got[1]);
    assert_eq!(got[1].notice.because, said[0]);
    // The end of the run is said at once.
    night.yard.clock.advance(MINUTE);
    night.yard.stage.settle();
    night.receive(3);
    assert!(told(&night)[1].contains("has ended, succeeded"), "{:?}", told(&night));
}

#[test]
fn what_is_told_soon_after_is_said_with_what_comes_or_at_its_time() {
    let line = |id: &str, needs: &[&str]| step(id, needs);
    let waits = |id: &str, needs: &[&str], seconds| Step {
        kind: StepKind::Wait(Wait::For(Duration::from_secs(seconds))),
        ..step(id, needs)
    };
    let steps = vec![
        waits("a", &[], 60),
        line("one", &["a"]),
        waits("b", &["one"], 2),
        line("two", &["b"]),
        waits("c", &["two"], 60),
    ];
    let mut night = Night::of(playbook_of(steps), policies(), &[Says::Delivers]);
    begins(&mut night, 1);
    night.yard.clock.advance(MINUTE);
    night.receive(2);
    night.yard.clock.advance(Duration::from_secs(2));
    night.yard.stage.until(|stage| stage.core.runs.values().any(|live| live.run.outcome(&"two".into()).is_some()));
    night.yard.stage.core.turn();
    assert_eq!(night.mail.got().len(), 2, "not before its time");
    night.yard.clock.advance(Duration::from_secs(8));
    night.receive(3);
    let because: Vec<String> = night.mail.got()[1..].iter().map(|letter| letter.notice.because.clone()).collect();
    assert_eq!(because, ["at one", "at two"]);
}
