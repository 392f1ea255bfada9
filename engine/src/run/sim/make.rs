//! What a seed makes: playbooks of any shape, and detections.
//!
//! Owns the shapes. Keeps true: a generated playbook is one that the check would let through (its needs come before it).

use super::rng::Rng;
use super::world;
use crate::run::fixtures::{playbook_of, step};
use crate::trial::Plain;
use quell_model::people::{Approvers, People, Person};
use quell_model::playbook::{
    Approve, AskPerson, AtEnd, Confirm, DetectionFilter, Expression, ForEach, ItemErrors, Lease, OnFailure, Playbook,
    Retry, Step, StepKind, SubPlaybook, Unanswered, Wait, WaitUntil, When, Within,
};
use quell_model::{
    ActionSpec, Class, Detection, Entity, EventHead, Hash, Level, LogSource, Mode, Name, OwnedEvent, RuleRef, Stamp,
    Subject,
};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

fn expression(text: &str) -> Expression {
    Expression { text: text.to_owned(), span: Default::default() }
}

/// A step that touches nothing.
pub(super) fn says(id: &str, kind: StepKind) -> Step {
    Step { kind, ..step(id, &[]) }
}

/// A step that acts on a thing of its own.
pub(super) fn acts(id: &str, needs: &[&str], action: &str) -> Step {
    let with = json!({ "thing": format!("${{{{ run.id }}}}/{id}") });
    Step { kind: StepKind::Action { action: action.into(), with }, ..step(id, needs) }
}

/// A step that starts a playbook.
pub(super) fn starts(id: &str, needs: &[&str], playbook: &str) -> Step {
    let (with, detach) = (json!({}), false);
    let sub =
        SubPlaybook { playbook: playbook.into(), with, detach, span: Default::default(), inputs: Default::default() };
    Step { kind: StepKind::Playbook(Box::new(sub)), ..step(id, needs) }
}

/// A step that waits for so many seconds.
pub(super) fn waits(id: &str, needs: &[&str], seconds: u64) -> Step {
    Step { kind: StepKind::Wait(Wait::For(Duration::from_secs(seconds))), ..step(id, needs) }
}

/// A step that waits for a detection of a rule, for so many seconds at most.
pub(super) fn awaits(id: &str, needs: &[&str], rule: &str, seconds: u64) -> Step {
    let detections = DetectionFilter { rules: vec![rule.into()], tags: Vec::new(), level: Level::Informational };
    let timeout = Duration::from_secs(seconds);
    let wanted = WaitUntil { detections, condition: None, timeout, anywhere: false };
    Step { kind: StepKind::Wait(Wait::Until(Box::new(wanted))), ..step(id, needs) }
}

/// Playbooks that between them use every verb that ships, a few each, one after the other.
pub(super) fn every_act() -> Vec<Arc<Playbook>> {
    let of = |specs: &[&'static ActionSpec]| {
        let id = |spec: &ActionSpec| spec.name.replace('.', "_");
        let mut steps: Vec<Step> = Vec::new();
        for spec in specs {
            let need = steps.last().map(|step| step.id.to_string());
            let needs: Vec<&str> = need.iter().map(String::as_str).collect();
            let made = acts(&id(spec), &needs, spec.name);
            // Of what may be done once nobody can say whether it was: what comes after it does not wait for that.
            let on_failure = if world::is_once(spec.name) { OnFailure::Continue } else { OnFailure::Block };
            steps.push(Step { on_failure, ..made });
        }
        named(playbook_of(steps), &format!("{}-and-others", specs[0].name.replace(['.', '_'], "-")))
    };
    world::shipped_specs().chunks(4).map(of).collect()
}

/// A playbook of every shape of step, in a DAG with two arms.
pub(super) fn every_verb() -> Arc<Playbook> {
    let mut each = acts("each", &["cut"], "cloud.cut");
    each.for_each = Some(ForEach { list: expression("[1, 2, 3]"), max_parallel: 2, errors: ItemErrors::Collect });
    if let StepKind::Action { with, .. } = &mut each.kind {
        with["item"] = json!("${{ item }}");
    }
    let script = Step { kind: StepKind::Script(expression("#{ n: 1 + 1 }")), ..step("count", &["freeze"]) };
    // Nothing of this kind is seen here, so that it ends with its time.
    let second = Step { on_failure: OnFailure::Continue, ..awaits("second", &["freeze"], "a-second", 20) };
    let steps = vec![
        acts("freeze", &[], "process.freeze"),
        script,
        waits("nap", &["freeze"], 5),
        second,
        acts("look", &["count"], "world.look"),
        acts("capture", &["freeze"], "process.capture"),
        acts("kill", &["capture"], "process.kill"),
        acts("cut", &["freeze"], "cloud.cut"),
        each,
        acts("rotate", &["cut"], "cloud.rotate"),
        acts("page", &["kill", "rotate"], "page.once"),
        Step { when: When::Always, ..step("report", &["kill", "each", "page", "look", "nap"]) },
    ];
    named(playbook_of(steps), "every-verb")
}

/// One that always ends badly, with what it did before that standing: tried again from its wait on, it does that anew.
pub(super) fn tried_again(rng: &mut Rng) -> Arc<Playbook> {
    let first = if rng.chance(50) { waits("s0", &[], 20) } else { asks_in_time("s0") };
    let verbs = ["process.freeze", "cloud.cut"];
    let hold = acts("s1", &["s0"], rng.of(&verbs));
    let beside = acts("s2", &[], rng.of(&verbs));
    let mut last = acts("s3", &["s1", "s2"], "process.freeze");
    let none = expression("7");
    last.for_each = Some(ForEach { list: none, max_parallel: 1, errors: ItemErrors::Collect });
    named(playbook_of(vec![first, hold, beside, last]), "tried-again")
}

pub(super) fn named(mut playbook: Playbook, name: &str) -> Arc<Playbook> {
    playbook.name = name.into();
    playbook.text = format!("pinned {name}").into();
    playbook.file = format!("{name}.yaml").into();
    playbook.hash = Hash::of(playbook.text.as_bytes());
    Arc::new(playbook)
}

/// A playbook out of a seed.
pub(super) fn playbook(rng: &mut Rng, number: usize) -> Arc<Playbook> {
    let count = 1 + rng.below(7);
    let mut steps: Vec<Step> = Vec::new();
    for at in 0..count {
        let needs: Vec<String> = (0..at).filter(|_| rng.chance(35)).map(|need| format!("s{need}")).collect();
        let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
        steps.push(one(rng, at, &needs, number));
    }
    let mut playbook = playbook_of(steps);
    if rng.chance(30) {
        playbook.on.max_age = Duration::from_secs(5 + rng.next() % 60);
    }
    if rng.chance(10) {
        playbook.mode = Mode::Approve;
    }
    named(playbook, &format!("made-{number}"))
}

const COMMON: [&str; 7] =
    ["process.freeze", "process.kill", "process.capture", "cloud.cut", "cloud.rotate", "page.once", "world.look"];

fn one(rng: &mut Rng, at: usize, needs: &[&str], number: usize) -> Step {
    let id = format!("s{at}");
    // Half of them are of those that the guards of seeds have rows for, and their like.
    let verb = if rng.chance(50) { rng.of(&COMMON) } else { rng.of(world::specs()).name };
    let mut made = match rng.below(14) {
        12 => Step { kind: StepKind::Ask(Box::new(asks(rng))), ..step(&id, needs) },
        10 => waits(&id, needs, 1 + rng.next() % 60),
        11 => awaited(rng, &id, needs),
        // One that was made before, so that there is no circle.
        13 if number > 0 => started(rng, &id, needs, number),
        0 => step(&id, needs),
        1 => Step { kind: StepKind::Script(expression("#{ n: 1 + 1 }")), ..step(&id, needs) },
        _ => acts(&id, needs, verb),
    };
    // At a second try its need may have ended otherwise: then it is about another thing.
    if let (StepKind::Action { with, .. }, Some(need), true) = (&mut made.kind, needs.first(), rng.chance(30)) {
        with["thing"] = json!(format!("${{{{ run.id }}}}/{id}/${{{{ steps.{need}.why }}}}"));
    }
    if rng.chance(15) {
        let list = rng.of(&["[1, 2, 3]", "[]", "[\"a\"]", "7"]);
        let errors = rng.of(&[ItemErrors::Collect, ItemErrors::Stop]);
        made.for_each =
            Some(ForEach { list: expression(list), max_parallel: 1 + u32::try_from(rng.below(2)).unwrap(), errors });
        if let StepKind::Action { with, .. } = &mut made.kind {
            with["item"] = json!("${{ item }}");
        }
    }
    if rng.chance(15) {
        let of_need = needs.first().map(|need| format!("steps.{need}.outcome == \"verified\""));
        let texts = ["true".to_owned(), "false".to_owned(), of_need.unwrap_or_else(|| "event.node == \"n\"".into())];
        made.condition = Some(expression(&rng.of(&texts)));
    }
    made.when = rng.of(&[When::Success, When::Success, When::Success, When::Failure, When::Always]);
    made.on_failure =
        rng.of(&[OnFailure::Block, OnFailure::Block, OnFailure::Continue, OnFailure::Halt, OnFailure::Undo]);
    made.timeout = Duration::from_millis(100 + rng.next() % 10_000);
    made.deadline = rng.chance(20).then(|| Duration::from_millis(100 + rng.next() % 20_000));
    let attempts = 1 + u32::try_from(rng.below(3)).unwrap();
    made.retry =
        Retry { attempts, backoff: Duration::from_millis(1 + rng.next() % 500), backoff_most: Duration::from_secs(2) };
    if rng.chance(40) {
        let lasts = Duration::from_secs(rng.of(&[1, 30, 600, 7200]));
        made.lease = Some(Lease { lasts, at_end: rng.of(&[AtEnd::Ask, AtEnd::Undo, AtEnd::Keep]) });
    }
    let StepKind::Action { action, with } = &mut made.kind else { return made };
    // Half of these name a credential, which no capture of this world finds owned.
    if action.as_str() == "cloud.rotate" && at % 2 == 1 {
        with["planted"] = json!(true);
    }
    if rng.chance(15) {
        let otherwise = rng.of(&[Unanswered::Deny, Unanswered::Deny, Unanswered::Run]);
        made.approve = Some(Approve { by: by(rng), within: within(rng), otherwise });
    }
    if world::is_undoable(action.as_str()) && rng.chance(25) {
        made.confirm = Some(Confirm { by: by(rng), within: within(rng), undo: rng.chance(50) });
    }
    made
}

/// Who may answer: two of the three for what names `pair`, and nobody who asked for the run.
pub(super) fn people() -> People {
    let all = ["ann", "bo", "cy"].map(Name::from);
    let pair = Approvers { people: all.clone().into(), quorum: 2, not_requester: true, policy: None };
    let person = |name: Name| (name.clone(), Person { name: name.to_string(), ..Person::default() });
    People {
        people: all.clone().map(person).into(),
        deciders: all.into(),
        approvers: [("pair".into(), pair)].into(),
        ..People::default()
    }
}

/// Half of what asks names the pair.
fn by(rng: &mut Rng) -> Option<Name> {
    rng.chance(50).then(|| "pair".into())
}

fn within(rng: &mut Rng) -> Within {
    Within(Duration::from_secs(rng.of(&[1, 20, 300, 3600])))
}

/// A step that asks, and goes on by itself after an hour.
pub(super) fn asks_in_time(id: &str) -> Step {
    let (question, within) = ("Was it you?".to_owned(), Within(Duration::from_secs(3600)));
    let ask = AskPerson { question, within, by: None, remember: None, ..asks(&mut Rng::new(1)) };
    Step { kind: StepKind::Ask(Box::new(ask)), ..step(id, &[]) }
}

fn asks(rng: &mut Rng) -> AskPerson {
    AskPerson {
        question: rng.of(&["Was it you, ${{ event.node }}?", "Is it ${{ event.nothing.of.this }}?"]).to_owned(),
        person: None,
        by: by(rng),
        choices: vec!["me".into(), "not_me".into()],
        within: within(rng),
        otherwise: "not_me".into(),
        remember: rng.chance(30).then(|| Duration::from_secs(600)),
        not_via: Vec::new(),
    }
}

fn started(rng: &mut Rng, id: &str, needs: &[&str], number: usize) -> Step {
    let mut made = starts(id, needs, &format!("made-{}", rng.below(number)));
    if let StepKind::Playbook(sub) = &mut made.kind {
        sub.detach = rng.chance(15);
    }
    made
}

/// A step that waits for what the next detections are, or are not.
fn awaited(rng: &mut Rng, id: &str, needs: &[&str]) -> Step {
    let (rule, seconds) = (rng.of(&["rule", "rule", "another"]), 1 + rng.next() % 600);
    let mut made = awaits(id, needs, rule, seconds);
    if let StepKind::Wait(Wait::Until(wanted)) = &mut made.kind {
        wanted.anywhere = rng.chance(30);
        let conditions = ["true", "seen.event.subject != event.subject", "seen.event.process.id == 7"];
        wanted.condition = rng.chance(40).then(|| expression(rng.of(&conditions)));
    }
    made
}

/// A detection at a moment, which is also its event's, less its age.
pub(super) fn detection(rng: &mut Rng, rule: &str, number: usize, now: Stamp, age: Duration) -> Detection {
    let subject = rng.below(4);
    let class = rng.of(&[Class::ProcessCreation, Class::NetworkConnection, Class::FileEvent]);
    about(rule, subject, class, number, now, age)
}

/// A detection about one of the subjects.
pub(super) fn about(rule: &str, subject: usize, class: Class, number: usize, now: Stamp, age: Duration) -> Detection {
    let age_ns = u64::try_from(age.as_nanos()).unwrap();
    let then = Stamp { wall: now.wall - age, boot_ns: now.boot_ns.saturating_sub(age_ns).max(1) };
    let head = EventHead {
        id: format!("e{number}").into(),
        class,
        source: "sensor".into(),
        node: "n".into(),
        at: then,
        seen: now,
    };
    let own = json!({
        "process": {
            "id": format!("{subject}1.5.1@b"), "image": "/usr/bin/cat", "parent": { "id": format!("{subject}2.5.1@b"), "image": "/bin/sh" },
        },
        "network": { "shell": format!("{subject}3.5.1@b") },
    });
    let event = OwnedEvent {
        v: 1,
        head,
        logsource: LogSource::default(),
        sigma: serde_json::Map::new(),
        own: own.as_object().unwrap().clone(),
        subject: Subject::User(format!("user{subject}").as_str().into()),
        entity: Entity { kind: "unit".into(), id: format!("u{}", subject % 2).as_str().into(), node: "n".into() },
    };
    detected(event, rule, number, now)
}

/// A detection of what a test file has happen, here and now.
pub(super) fn of_case(case: &Plain, rule: &str, number: usize, now: Stamp) -> Detection {
    let mut event = case.event.clone();
    event.head = EventHead { id: format!("e{number}").into(), node: "n".into(), at: now, seen: now, ..event.head };
    event.entity.node = "n".into();
    detected(event, rule, number, now)
}

/// A rule of this name.
pub(super) fn rule(name: &str) -> RuleRef {
    RuleRef { name: name.into(), id: None, title: "A rule".into(), level: Level::High, tags: vec![] }
}

fn detected(event: OwnedEvent, rule: &str, number: usize, now: Stamp) -> Detection {
    Detection {
        id: Hash::of_parts(&[&number.to_le_bytes()]),
        rule: self::rule(rule),
        event: Arc::new(event),
        events: vec![],
        matched: vec![],
        at: now,
        backfill: false,
    }
}
