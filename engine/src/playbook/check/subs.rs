//! Playbooks that start others: are they there, do they take what they are given, and does it end.

use crate::load::reader::one_of;
use crate::load::{Known, line_of};
use crate::playbook::template;
use crate::run::DEEPEST;
use quell_model::playbook::{InputType, Playbook, Step, StepKind, SubPlaybook};
use quell_model::{Json, Mistake, Span};
use std::collections::BTreeMap;

/// What is wrong with the steps of these that start a playbook, and with those of playbooks that are `broken`: they have
/// errors of their own, which are told already.
pub(crate) fn check(playbooks: &[&Playbook], broken: &[Playbook], known: &Known<'_>) -> Vec<Mistake> {
    let others = known.playbooks.iter().map(|playbook| &**playbook);
    // Of namesakes those hold that are looked at, and of those the sound one.
    let looked_at = || broken.iter().chain(playbooks.iter().copied());
    let all: BTreeMap<&str, &Playbook> =
        others.chain(looked_at()).map(|playbook| (playbook.name.as_str(), playbook)).collect();
    let is_broken = |playbook: &Playbook| broken.iter().any(|other| std::ptr::eq(other, playbook));
    let mut mistakes = Vec::new();
    for playbook in looked_at() {
        for (_, sub) in subs(playbook) {
            match all.get(sub.playbook.as_str()) {
                Some(other) if is_broken(other) && !is_broken(playbook) => {
                    let what = format!("`{}` has errors, so that nothing can start it", sub.playbook);
                    let expected = format!("{} without errors", other.file.display());
                    mistakes.push(error(playbook, sub.span, what, expected));
                }
                Some(other) => given(playbook, sub, other, &mut mistakes),
                None => mistakes.push(missing(playbook, sub, all.keys().copied())),
            }
        }
        mistakes.extend(endless(playbook, &all));
    }
    mistakes
}

fn subs(playbook: &Playbook) -> impl Iterator<Item = (&Step, &SubPlaybook)> {
    playbook.steps.iter().filter_map(|step| match &step.kind {
        StepKind::Playbook(sub) => Some((step, &**sub)),
        _ => None,
    })
}

fn error(playbook: &Playbook, span: Span, what: String, expected: impl Into<String>) -> Mistake {
    let mut mistake = Mistake::error(&playbook.file, span, what).expected(expected);
    mistake.line_text = line_of(playbook, span);
    mistake
}

fn missing<'a>(playbook: &Playbook, sub: &SubPlaybook, all: impl Iterator<Item = &'a str> + Clone) -> Mistake {
    let what = format!("there is no playbook `{}`", sub.playbook);
    error(playbook, sub.span, what, "the name of a playbook that is loaded as well").nearest(sub.playbook.as_str(), all)
}

/// The inputs that it is given.
fn given(playbook: &Playbook, sub: &SubPlaybook, other: &Playbook, mistakes: &mut Vec<Mistake>) {
    let Json::Object(with) = &sub.with else { return };
    let names: Vec<&str> = other.inputs.keys().map(String::as_str).collect();
    for (name, value) in with {
        let span = sub.inputs.get(name).copied().unwrap_or(sub.span);
        let Some(spec) = other.inputs.get(name) else {
            let what = format!("`{}` has no input `{name}`", other.name);
            mistakes.push(error(playbook, span, what, one_of(&names)).nearest(name, names.iter().copied()));
            continue;
        };
        let is_text_with_expression = value.as_str().is_some_and(|text| text.contains(template::OPEN));
        if !is_text_with_expression && !spec.kind.takes(value) {
            let what = format!("`{name}` of `{}` is {value}", other.name);
            mistakes.push(error(playbook, span, what, described(spec.kind)));
        }
    }
    let lacks = other.inputs.iter().filter(|(name, spec)| spec.default.is_none() && !with.contains_key(*name));
    let lacks: Vec<String> = lacks.map(|(name, spec)| format!("{name}: {}", described(spec.kind))).collect();
    if !lacks.is_empty() {
        let what = format!("`{}` lacks an input that it must be given", other.name);
        mistakes.push(error(playbook, sub.span, what, format!("with: {{ {} }}", lacks.join(", "))));
    }
}

fn described(kind: InputType) -> &'static str {
    match kind {
        InputType::String => "text",
        InputType::Integer => "a whole number",
        InputType::Boolean => "true or false",
        InputType::List => "a list",
        InputType::Map => "a map",
    }
}

/// A way from a playbook that comes back to it, or leads too deep; its first step is where it is told.
fn endless(playbook: &Playbook, all: &BTreeMap<&str, &Playbook>) -> Option<Mistake> {
    subs(playbook).find_map(|(step, sub)| {
        let mut way = vec![playbook.name.as_str()];
        let found = walk(sub.playbook.as_str(), all, &mut way)?;
        let path = way.join(" → ");
        let (what, expected) = match found {
            Way::Back => {
                (format!("step `{}` leads back to its own playbook: {path}", step.id), "no circle of playbooks")
            }
            Way::Deep => (
                format!("step `{}` leads deeper than {DEEPEST} playbooks: {path}", step.id),
                "fewer playbooks in a row",
            ),
        };
        Some(error(playbook, sub.span, what, expected))
    })
}

enum Way {
    Back,
    Deep,
}

/// Walks on from a playbook; `way` is where it came along, and then the way that was found. A circle that does not lead
/// through the first is told at those in it.
fn walk<'a>(name: &'a str, all: &BTreeMap<&'a str, &'a Playbook>, way: &mut Vec<&'a str>) -> Option<Way> {
    let back = way.first() == Some(&name);
    let seen = way.contains(&name);
    way.push(name);
    if back {
        return Some(Way::Back);
    }
    if !seen {
        if way.len() > DEEPEST as usize + 1 {
            return Some(Way::Deep);
        }
        for (_, sub) in all.get(name).into_iter().flat_map(|playbook| subs(playbook)) {
            if let Some(found) = walk(sub.playbook.as_str(), all, way) {
                return Some(found);
            }
        }
    }
    way.pop();
    None
}
