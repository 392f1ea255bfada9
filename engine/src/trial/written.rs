//! A test that is written from a real run: what happened, how the world answered, what people said, and what came of it.
//!
//! Pure: a run's view in, text out. Ids and hosts stay as they were; what looks like a secret is `***`. What a played world
//! cannot show again (the run's own id, moments) is not expected.

use super::answers::asked_for;
use super::hidden::hide;
use crate::playbook::secret;
use crate::report::{RunView, StepView};
use quell_model::people::System;
use quell_model::playbook::{IncidentMoment, Playbook, Step, StepKind};
use quell_model::record::{QuestionKind, RunState};
use quell_model::{ActionSpec, Approvers, Json, Lane, Name, Outcome, People, Person, Subject};
use serde_json::json;
use serde_yaml::{Mapping, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The text of a test file that plays the run again.
///
/// # Errors
/// Why a test cannot begin as this run began, for people.
pub fn written(
    run: &RunView,
    playbook: &Playbook,
    specs: &[&'static ActionSpec],
    people: Option<&People>,
) -> Result<String, String> {
    if !run.state.is_over() {
        return Err(format!("run `{}` has not ended", run.id));
    }
    let mut case = Mapping::new();
    put(&mut case, "case", format!("as in run {}", run.id));
    start(&mut case, run, playbook)?;
    if run.mode != playbook.mode {
        put(&mut case, "mode", run.mode.as_str());
    }
    let steps: Vec<(&Step, &StepView)> =
        run.steps.iter().filter_map(|view| Some((playbook.step(&view.id.as_str().into())?, view))).collect();
    put_some(&mut case, "mocks", mocks(&steps, specs));
    put_some(&mut case, "answers", answers(&steps));
    put(&mut case, "expect", expectations(run, &steps, specs));
    let mut file = Mapping::new();
    put(&mut file, "playbook", playbook.name.as_str());
    if let Some(people) = people {
        who(&mut file, run, playbook, people);
    }
    put(&mut file, "cases", Value::Sequence(vec![Value::Mapping(case)]));
    let body = serde_yaml::to_string(&file).map_err(|error| format!("it has no form in YAML: {error}"))?;
    Ok(format!(
        "# Written from run {} of {}: what happened, how the world answered, what came of it.\n{body}",
        run.id, run.started.wall
    ))
}

fn put(map: &mut Mapping, key: &str, value: impl Into<Value>) {
    map.insert(key.into(), value.into());
}

fn put_some(map: &mut Mapping, key: &str, value: Mapping) {
    if !value.is_empty() {
        put(map, key, value);
    }
}

/// The people that the run went by: those of approvers that its playbook names, who was asked or has answered, and whose
/// identity stands in what it began with. Nobody, where somebody has answered, or is asked for, who
/// is not among them.
fn who(file: &mut Mapping, run: &RunView, playbook: &Playbook, people: &People) {
    let approvers: Vec<(&Name, &Approvers)> =
        asked_for(playbook).filter_map(|name| people.approvers.get_key_value(name)).collect();
    let began = [&run.event, &run.inputs];
    let is_meant = |person: &Person| {
        let identities = person.identities.values().chain(&person.email);
        identities.into_iter().any(|identity| began.iter().any(|json| holds_text(json, identity)))
    };
    let parts = run.steps.iter().flat_map(parts);
    let questions: Vec<_> = parts.flat_map(|part| &part.questions).collect();
    let answers = questions.iter().flat_map(|question| &question.answers).filter_map(|answer| answer.by.as_ref());
    let said: BTreeSet<&Name> =
        answers.chain(questions.iter().filter_map(|question| question.person.as_ref())).collect();
    let is_known = said.iter().all(|name| people.people.contains_key(*name));
    if !is_known || asked_for(playbook).any(|name| !people.approvers.contains_key(name)) {
        return;
    }
    let of_approvers = approvers.iter().flat_map(|(_, group)| &group.people);
    let meant = people.people.iter().filter(|(_, person)| is_meant(person)).map(|(name, _)| name);
    let all: BTreeSet<&Name> = of_approvers.chain(meant).chain(said).collect();
    let persons = all.into_iter().filter_map(|name| Some((name.as_str().into(), person(people.people.get(name)?))));
    put_some(file, "people", persons.collect());
    let groups = approvers.iter().map(|(name, group)| {
        let mut one = Mapping::new();
        put(&mut one, "people", group.people.iter().map(|name| Value::from(name.as_str())).collect::<Vec<_>>());
        put(&mut one, "quorum", group.quorum);
        put(&mut one, "not_requester", group.not_requester);
        (name.as_str().into(), Value::Mapping(one))
    });
    put_some(file, "approvers", groups.collect());
}

fn person(person: &Person) -> Value {
    let mut one = Mapping::new();
    if let Some(email) = &person.email {
        put(&mut one, "email", email.as_str());
    }
    if !person.roles.is_empty() {
        put(&mut one, "roles", person.roles.iter().map(|role| Value::from(role.as_str())).collect::<Vec<_>>());
    }
    let word = |system: System| System::ALL.iter().find(|(_, other)| *other == system).map(|(word, _)| *word);
    let identities = person.identities.iter();
    let identities = identities.filter_map(|(system, who)| Some((word(*system)?.into(), who.as_str().into())));
    put_some(&mut one, "identities", identities.collect());
    Value::Mapping(one)
}

/// Whether a text stands somewhere in it.
fn holds_text(json: &Json, text: &str) -> bool {
    match json {
        Json::String(own) => own == text,
        Json::Array(list) => list.iter().any(|one| holds_text(one, text)),
        Json::Object(map) => map.values().any(|one| holds_text(one, text)),
        _ => false,
    }
}

/// JSON as YAML, without what looks like a secret.
fn shown(json: &Json) -> Value {
    serde_yaml::to_value(hide(json)).unwrap_or(Value::Null)
}

fn start(case: &mut Mapping, run: &RunView, playbook: &Playbook) -> Result<(), String> {
    if run.event.is_null() {
        put(case, "inputs", if run.inputs.is_null() { shown(&json!({})) } else { shown(&run.inputs) });
        return Ok(());
    }
    let rule = run.rule.clone().or_else(|| playbook.on.detections.as_ref()?.rules.first().map(ToString::to_string));
    let rule = rule.ok_or("a person started it with an event, and no rule of the playbook's could begin a test")?;
    put(case, "rule", rule);
    let (event, seen) = event(run);
    put(case, "event", shown(&event));
    let age = run.started.since(seen);
    if age >= Duration::from_secs(1) {
        put(case, "age", crate::load::units::print_duration(Duration::from_secs(age.as_secs())));
    }
    // An opening comes by itself.
    if let Some(moment) = run.moment.filter(|moment| *moment != IncidentMoment::Opened) {
        let mut later = Mapping::new();
        put(&mut later, "after", "1s");
        put(&mut later, "incident", moment.as_str());
        put(case, "then", Value::Sequence(vec![Value::Mapping(later)]));
    }
    Ok(())
}

/// The event as sources tell it, out of what expressions saw of it; and when it was seen.
fn event(run: &RunView) -> (Json, quell_model::Stamp) {
    let text = |key: &str| run.event.get(key).and_then(Json::as_str).unwrap_or_default();
    let seen = run.moments.seen.unwrap_or(run.started);
    let at = run.moments.kernel.unwrap_or(seen);
    let mut own = run.event.as_object().cloned().unwrap_or_default();
    for key in ["id", "class", "source", "node", "time", "subject", "entity"] {
        own.remove(key);
    }
    let raw = own.remove("raw").filter(|_| text("class") == "record");
    let mut own = Json::Object(own);
    without_absent(&mut own);
    let mut event = json!({
        "class": text("class"), "id": text("id"), "source": text("source"), "node": text("node"),
        "at": at, "seen": seen, "own": own, "subject": subject(text("subject")),
    });
    if let Some(entity) = entity(text("entity")) {
        event["entity"] = entity;
    }
    if let Some(raw) = raw {
        event["sigma"] = raw;
    }
    (event, seen)
}

/// Known fields that the event lacked stand as null in expressions.
fn without_absent(json: &mut Json) {
    if let Json::Object(map) = json {
        map.values_mut().for_each(without_absent);
        map.retain(|_, value| !value.is_null() && value.as_object().is_none_or(|inner| !inner.is_empty()));
    }
}

fn subject(text: &str) -> Subject {
    match text.split_once(':') {
        Some(("process", id)) => id.parse().map_or(Subject::Unknown, Subject::Process),
        Some(("principal", name)) => Subject::Principal(name.into()),
        Some(("user", name)) => Subject::User(name.into()),
        _ => Subject::Unknown,
    }
}

/// `unit sshd.service on web-1`.
fn entity(text: &str) -> Option<Json> {
    let (kind, rest) = text.split_once(' ')?;
    let (id, node) = rest.rsplit_once(" on ")?;
    Some(json!({ "kind": kind, "id": id, "node": node }))
}

/// A step, or each item of it.
fn parts(view: &StepView) -> Vec<&StepView> {
    if view.items.is_empty() { vec![view] } else { view.items.iter().collect() }
}

fn mocks(steps: &[(&Step, &StepView)], specs: &[&'static ActionSpec]) -> Mapping {
    let mut all = Mapping::new();
    // What only reads is asked by its name, and so is what was so already; each in the order of the run.
    let mut by_action: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    let mut plans: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (step, view) in steps {
        let StepKind::Action { action, .. } = &step.kind else { continue };
        let reads = specs.iter().any(|spec| spec.name == action.as_str() && spec.lane == Lane::Read);
        for part in parts(view) {
            let given = attempts(part);
            if reads {
                by_action.entry(action.as_str()).or_default().extend(given);
                continue;
            }
            let plan = plans.entry(action.as_str()).or_default();
            plan.0 += usize::from(part.plan.is_some());
            plan.1 += usize::from(part.outcome == Some(Outcome::Already));
            if !given.is_empty() && part.outcome != Some(Outcome::Already) {
                put(&mut all, &part.id, one_or_many(given));
            }
        }
    }
    for (action, given) in by_action.into_iter().filter(|(_, given)| !given.is_empty()) {
        put(&mut all, action, one_or_many(given));
    }
    for (action, (planned, already)) in plans {
        if already > 0 && already == planned {
            put(&mut all, action, "already");
        }
    }
    all
}

fn one_or_many(mut given: Vec<Value>) -> Value {
    if given.len() == 1 { given.remove(0) } else { Value::Sequence(given) }
}

/// How each attempt was answered.
fn attempts(part: &StepView) -> Vec<Value> {
    let mut all = Vec::new();
    let last = part.errors.len();
    for (at, error) in part.errors.iter().enumerate() {
        let mut answer = Mapping::new();
        if error.error.contains("longer than its `timeout`") {
            put(&mut answer, "hang", Value::Null);
        } else {
            put(&mut answer, "fail", shown(&Json::from(error.error.as_str())));
            let is_last = at + 1 == last && part.outcome == Some(Outcome::Failed);
            if is_last && error.again_at.is_none() {
                put(&mut answer, "for_good", true);
            }
        }
        put(&mut answer, "times", 1);
        all.push(Value::Mapping(answer));
    }
    if matches!(part.outcome, Some(Outcome::Verified | Outcome::Done | Outcome::Undone | Outcome::Stuck)) {
        let mut answer = Mapping::new();
        put(&mut answer, "ok", if part.output.is_object() { shown(&part.output) } else { Value::Null });
        // What only reads is done and not verified; there nobody is asked.
        if part.outcome == Some(Outcome::Done) && part.plan.is_some() {
            put(&mut answer, "proved", false);
        }
        if part.outcome == Some(Outcome::Stuck) {
            let mut undo = Mapping::new();
            put(&mut undo, "fail", shown(&Json::from(part.proof.as_str())));
            put(&mut undo, "for_good", true);
            put(&mut answer, "undo", undo);
        }
        all.push(Value::Mapping(answer));
    }
    all
}

fn answers(steps: &[(&Step, &StepView)]) -> Mapping {
    let mut all = Mapping::new();
    for part in steps.iter().flat_map(|(_, view)| parts(view)) {
        let mut given = Vec::new();
        for question in &part.questions {
            for answer in question.answers.iter().filter(|answer| !answer.late) {
                let Some(by) = &answer.by else { continue };
                let mut one = Mapping::new();
                put(&mut one, "choice", answer.choice.as_str());
                put(&mut one, "by", by.as_str());
                if let Some(via) = &answer.via {
                    put(&mut one, "via", via.as_str());
                }
                let after = answer.at.since(question.asked);
                put(&mut one, "after", crate::load::units::print_duration(after));
                given.push(Value::Mapping(one));
            }
        }
        if !given.is_empty() {
            put(&mut all, &part.id, one_or_many(given));
        }
    }
    all
}

/// An input without what names secrets, whose names look like secrets themselves.
fn without_secrets(input: &Json, step: &Step, specs: &[&'static ActionSpec]) -> Json {
    let StepKind::Action { action, .. } = &step.kind else { return input.clone() };
    let schema = specs.iter().find(|spec| spec.name == action.as_str()).and_then(|spec| secret::schema_of(spec));
    let (Some(schema), Json::Object(map)) = (schema, input) else { return input.clone() };
    let names_none = |key: &str, value: &Json| secret::references(&json!({ key: value }), &schema).is_empty();
    Json::Object(
        map.iter().filter(|(key, value)| names_none(key, value)).map(|(k, v)| (k.clone(), v.clone())).collect(),
    )
}

fn expectations(run: &RunView, steps: &[(&Step, &StepView)], specs: &[&'static ActionSpec]) -> Mapping {
    let mut expect = Mapping::new();
    let end = match run.state {
        RunState::Succeeded | RunState::Failed | RunState::Cancelled | RunState::Undone | RunState::Stuck => run.state,
        RunState::Running | RunState::Waiting | RunState::Undoing => RunState::Waiting,
    };
    put(&mut expect, "run", end.as_str());
    put(&mut expect, "runs", 1);
    let (mut outcomes, mut told, mut asked, mut idle) = (Mapping::new(), Vec::new(), Vec::new(), Vec::new());
    let mut order: Vec<(quell_model::Stamp, &str)> = Vec::new();
    for (step, view) in steps {
        let outcome = match (view.outcome, &step.kind) {
            // Nobody is told of the incident of a case, so that it can be nowhere already.
            (Some(Outcome::Already), StepKind::Escalate(_)) => Outcome::Done,
            (Some(outcome), _) => outcome,
            (None, _) => continue,
        };
        let mut one = Mapping::new();
        put(&mut one, "outcome", outcome.as_str());
        let acts = matches!(outcome, Outcome::Verified | Outcome::Done | Outcome::Failed);
        let is_action = matches!(step.kind, StepKind::Action { .. });
        if acts && is_action && view.items.is_empty() {
            if view.plan.is_some() {
                put(&mut one, "attempts", view.attempts);
            }
            if view.input.is_object() && view.plan.is_some() && is_lasting(run, &view.input) {
                put(&mut one, "with", shown(&without_secrets(&view.input, step, specs)));
            }
        }
        put(&mut outcomes, &view.id, if one.len() == 1 { Value::from(outcome.as_str()) } else { Value::Mapping(one) });
        if let Some(at) = view.moments.verified.filter(|_| acts && is_action) {
            order.push((at, &view.id));
        }
        if matches!(step.kind, StepKind::Tell(_))
            && let Some(line) = view.output.get("told").filter(|line| is_lasting(run, line))
        {
            told.push(shown(line));
        }
        if view.questions.iter().any(|question| question.kind != QuestionKind::Confirm) {
            asked.push(Value::from(view.id.as_str()));
        }
        if matches!(outcome, Outcome::Skipped | Outcome::Blocked | Outcome::Denied) {
            idle.push(Value::from(view.id.as_str()));
        }
    }
    put_some(&mut expect, "steps", outcomes);
    order.sort_by_key(|(at, _)| at.boot_ns);
    let chain = chain(&order, steps);
    if chain.len() > 1 {
        put(&mut expect, "order", Value::Sequence(chain.into_iter().map(Value::from).collect()));
    }
    for (key, list) in [("not_run", idle), ("asked", asked), ("told", told)] {
        if !list.is_empty() {
            put(&mut expect, key, Value::Sequence(list));
        }
    }
    expect
}

/// Of what ended one after the other, what must: steps that need each other. What ran side by side has no order.
fn chain<'v>(order: &[(quell_model::Stamp, &'v str)], steps: &[(&Step, &StepView)]) -> Vec<&'v str> {
    let needs = |id: &str, other: &str| {
        let step = steps.iter().find(|(step, _)| step.id.as_str() == id);
        step.is_some_and(|(step, _)| step.needs.iter().any(|need| need.as_str() == other))
    };
    let mut all: Vec<&str> = Vec::new();
    for (_, id) in order {
        if all.last().is_none_or(|last| needs(id, last)) {
            all.push(id);
        }
    }
    all
}

/// Whether a value says nothing of this very run, or of its moments.
fn is_lasting(run: &RunView, json: &Json) -> bool {
    let text = json.to_string();
    let own = [Some(run.id.as_str()), run.incident.as_ref().map(|id| id.as_str())];
    !own.into_iter().flatten().any(|id| text.contains(id)) && !text.contains(&run.started.wall.to_string()[..13])
}
