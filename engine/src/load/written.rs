//! A playbook written in YAML's language: what a script made, for people to read and to keep.
//!
//! Owns which keys are written: those that say something else than their default. Read again, the text gives the same
//! playbook but for its places and its hash.

use super::script;
use super::step::{TIMEOUT, once};
use super::trigger::by_hand;
use super::units::{print_duration, print_rate};
use super::yaml::{Source, parse};
use quell_model::playbook::{
    AskPerson, DetectionFilter, Escalate, Expression, Playbook, Step, StepKind, Trigger, Unanswered, Wait, WaitUntil,
    Within,
};
use quell_model::{Json, Name};
use serde::Serialize;
use serde_yaml::Mapping;
use std::borrow::Cow;

/// A playbook as YAML: one that was read from YAML as it stands in its file, one that a script made as it would be
/// written.
///
/// # Errors
/// When a value of it has no form in YAML.
pub fn yaml(playbook: &Playbook) -> Result<Cow<'_, str>, NotYaml> {
    if !script::is_script(&playbook.file) {
        return Ok(Cow::Borrowed(&playbook.text));
    }
    let keys = written(playbook)?;
    let text = serde_yaml::to_string(&keys)?;
    let read = parse(&Source::new(&playbook.file, &text)).map(|node| node.to_json()).ok();
    match read == serde_json::to_value(&keys).ok() {
        true => Ok(Cow::Owned(text)),
        false => Err(NotYaml::Changed),
    }
}

/// Why a playbook cannot be written as YAML.
#[derive(Debug, thiserror::Error)]
pub enum NotYaml {
    /// It cannot be written at all.
    #[error("it cannot be written")]
    Writing(#[from] serde_yaml::Error),
    /// Line separators of Unicode, for example, have no form that every reader of YAML understands.
    #[error("a text in it would not be read as it is; hint: leave out characters that end lines or are invisible")]
    Changed,
}

/// A map in the order in which its keys are put.
#[derive(Default)]
struct Keys(Mapping);

impl Keys {
    fn put(&mut self, key: &str, value: impl Serialize) -> Result<(), serde_yaml::Error> {
        self.0.insert(key.into(), serde_yaml::to_value(value)?);
        Ok(())
    }

    /// Only what is not the default.
    fn unless<T: Serialize + PartialEq>(&mut self, default: &T, key: &str, value: &T) -> Result<(), serde_yaml::Error> {
        if value == default { Ok(()) } else { self.put(key, value) }
    }
}

fn written(playbook: &Playbook) -> Result<Mapping, serde_yaml::Error> {
    let mut top = Keys::default();
    top.put("playbook", playbook.name.as_str())?;
    top.unless(&String::new(), "description", &playbook.description)?;
    let on = trigger(&playbook.on)?;
    if !on.is_empty() {
        top.put("on", on)?;
    }
    top.put("mode", playbook.mode)?;
    let mut limits = Keys::default();
    if let Some(runs) = playbook.limits.runs {
        limits.put("runs", print_rate(runs))?;
    }
    if let Some(targets) = playbook.limits.targets {
        limits.put("targets", format!("{targets}/run"))?;
    }
    if !limits.0.is_empty() {
        top.put("limits", limits.0)?;
    }
    let mut inputs = Keys::default();
    for (name, spec) in &playbook.inputs {
        let mut input = Keys::default();
        input.put("type", spec.kind)?;
        if let Some(default) = &spec.default {
            input.put("default", default)?;
        }
        inputs.put(name, input.0)?;
    }
    if !inputs.0.is_empty() {
        top.put("inputs", inputs.0)?;
    }
    let mut steps = Keys::default();
    for step in &playbook.steps {
        steps.put(step.id.as_str(), self::step(step)?)?;
    }
    top.put("steps", steps.0)?;
    if !playbook.outputs.is_empty() {
        top.put("outputs", &playbook.outputs)?;
    }
    Ok(top.0)
}

fn trigger(on: &Trigger) -> Result<Mapping, serde_yaml::Error> {
    let default = by_hand();
    let mut keys = Keys::default();
    if let Some(filter) = &on.detections {
        keys.put("detections", self::filter(filter)?.0)?;
    }
    if let Some(condition) = &on.condition {
        keys.put("if", whole(condition))?;
    }
    keys.unless(&whole(&default.run_per), "run_per", &whole(&on.run_per))?;
    keys.unless(&print_duration(default.max_age), "max_age", &print_duration(on.max_age))?;
    if let Some(schedule) = &on.schedule {
        keys.put("schedule", schedule)?;
    }
    match on.incident.as_slice() {
        [] => {}
        [moment] => keys.put("incident", moment)?,
        moments => keys.put("incident", moments)?,
    }
    Ok(keys.0)
}

fn filter(filter: &DetectionFilter) -> Result<Keys, serde_yaml::Error> {
    let mut keys = Keys::default();
    keys.unless(&Vec::new(), "rules", &filter.rules)?;
    keys.unless(&Vec::new(), "tags", &filter.tags)?;
    keys.unless(&quell_model::Level::Informational, "level", &filter.level)?;
    Ok(keys)
}

fn wait(wanted: &WaitUntil) -> Result<Mapping, serde_yaml::Error> {
    let mut until = filter(&wanted.detections)?;
    if let Some(condition) = &wanted.condition {
        until.put("if", whole(condition))?;
    }
    let mut keys = Keys::default();
    keys.put("until", until.0)?;
    keys.put("timeout", print_duration(wanted.timeout))?;
    keys.unless(&false, "anywhere", &wanted.anywhere)?;
    Ok(keys.0)
}

fn step(step: &Step) -> Result<Mapping, serde_yaml::Error> {
    let mut keys = Keys::default();
    keys.unless(&Vec::new(), "needs", &step.needs)?;
    if let Some(condition) = &step.condition {
        keys.put("if", whole(condition))?;
    }
    keys.unless(&quell_model::playbook::When::default(), "when", &step.when)?;
    if let Some(each) = &step.for_each {
        keys.put("for_each", whole(&each.list))?;
        keys.put("max_parallel", each.max_parallel)?;
        keys.unless(&quell_model::playbook::ItemErrors::default(), "errors", &each.errors)?;
    }
    match &step.kind {
        StepKind::Action { action, with } => {
            keys.put("action", action.as_str())?;
            keys.unless(&Json::Object(serde_json::Map::new()), "with", with)?;
        }
        StepKind::Script(text) => keys.put("script", &text.text)?,
        StepKind::Tell(text) => keys.put("tell", text)?,
        StepKind::Escalate(Escalate { policy: Some(policy), step: None }) => keys.put("escalate", policy)?,
        StepKind::Escalate(to) => keys.put("escalate", to)?,
        StepKind::Ask(ask) => keys.put("ask", self::ask(ask)?)?,
        StepKind::Playbook(_) => {}
        StepKind::Wait(Wait::For(lasts)) => keys.put("wait", print_duration(*lasts))?,
        StepKind::Wait(Wait::Until(wanted)) => keys.put("wait", wait(wanted)?)?,
    }
    if let StepKind::Playbook(sub) = &step.kind {
        keys.put("playbook", sub.playbook.as_str())?;
        keys.unless(&Json::Object(serde_json::Map::new()), "with", &sub.with)?;
        keys.unless(&false, "detach", &sub.detach)?;
    }
    keys.unless(&print_duration(TIMEOUT), "timeout", &print_duration(step.timeout))?;
    if let Some(deadline) = step.deadline {
        keys.put("deadline", print_duration(deadline))?;
    }
    if step.retry != once() {
        let mut retry = Keys::default();
        retry.put("attempts", step.retry.attempts)?;
        let (first, most) = (print_duration(step.retry.backoff), print_duration(step.retry.backoff_most));
        retry.put("backoff", format!("{first}..{most}"))?;
        keys.put("retry", retry.0)?;
    }
    keys.unless(&quell_model::playbook::OnFailure::default(), "on_failure", &step.on_failure)?;
    if let Some(mode) = step.mode {
        keys.put("mode", mode)?;
    }
    if let Some(lease) = &step.lease {
        let mut kept = Keys::default();
        kept.put("for", print_duration(lease.lasts))?;
        kept.put("at_end", lease.at_end)?;
        keys.put("lease", kept.0)?;
    }
    if let Some(approve) = &step.approve {
        let otherwise = if approve.otherwise == Unanswered::Run { "run" } else { "deny" };
        keys.put("approve", question(approve.by.as_ref(), approve.within, otherwise)?)?;
    }
    if let Some(confirm) = &step.confirm {
        let otherwise = if confirm.undo { "undo" } else { "keep" };
        keys.put("confirm", question(confirm.by.as_ref(), confirm.within, otherwise)?)?;
    }
    Ok(keys.0)
}

fn question(by: Option<&Name>, within: Within, otherwise: &str) -> Result<Mapping, serde_yaml::Error> {
    let mut keys = Keys::default();
    if let Some(by) = by {
        keys.put("by", by)?;
    }
    keys.put("within", print_duration(within.0))?;
    keys.put("otherwise", otherwise)?;
    Ok(keys.0)
}

fn ask(ask: &AskPerson) -> Result<Mapping, serde_yaml::Error> {
    let mut keys = Keys::default();
    keys.put("question", &ask.question)?;
    if let Some(person) = &ask.person {
        keys.put("person", whole(person))?;
    }
    keys.put("choices", &ask.choices)?;
    let own = question(ask.by.as_ref(), ask.within, ask.otherwise.as_str())?;
    keys.0.extend(own);
    if let Some(remember) = ask.remember {
        keys.put("remember", print_duration(remember))?;
    }
    keys.unless(&Vec::new(), "not_via", &ask.not_via)?;
    Ok(keys.0)
}

fn whole(expression: &Expression) -> String {
    format!("${{{{ {} }}}}", expression.text)
}
