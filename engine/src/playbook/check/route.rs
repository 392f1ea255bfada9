//! Conditions of routes in escalation.yaml: do they compile, do they name what an incident has, do they give an answer.
//!
//! Tries each on an incident that could be: one that gives no answer there would give none at night.

use super::calls;
use super::uses::{COMPILER, compiles, is_own};
use crate::escalation::facts::Facts;
use crate::load::found::Found;
use crate::load::reader::{Reader, one_of};
use crate::load::yaml::Place;
use crate::playbook::Scope;
use crate::playbook::names::{self, Names, Part, Use};
use jiff::Timestamp;
use quell_model::mistake::nearest;

/// What routes see.
const ROOT: &str = "incident";
/// Any moment will do to try an expression.
const SOME_MOMENT: Timestamp = Timestamp::UNIX_EPOCH;

/// Notes what is wrong with one; whether it is right.
pub(crate) fn route(reader: &mut Reader<'_>, found: &Found) -> bool {
    if !compiles(reader, found) {
        return false;
    }
    let names = names::names(&found.text);
    let mut is_right = calls::check(reader, found, &names);
    for used in &names.uses {
        is_right &= is_known(reader, found, &names, used);
    }
    is_right && answers(reader, found)
}

fn is_known(reader: &mut Reader<'_>, found: &Found, names: &Names<'_>, used: &Use<'_>) -> bool {
    let root = used.root();
    let at = place(reader, found, &used.parts[0]);
    if names.locals.contains(root) && names::ROOTS.contains(&root) {
        reader.error(
            at,
            format!("`{root}` is quell's own name and cannot be a variable of the expression"),
            "another name",
        );
        return false;
    }
    if root != ROOT {
        let what = match names::ROOTS.contains(&root) {
            true => format!("`{root}` is not known where an incident is routed"),
            false => format!("there is no `{root}`"),
        };
        reader.note_near(reader.source.error(at, what).expected("`incident`"), root, [ROOT]);
        return false;
    }
    let Some(part) = used.parts.get(1) else { return true };
    if !Facts::NAMES.contains(&part.name) && !is_own(part) {
        let at = place(reader, found, part);
        let mistake = reader.source.error(at, format!("there is no `{}` in an incident", part.name));
        match Facts::OF_ENTITY.contains(&part.name) {
            true => reader.note(mistake.expected(format!("`incident.entity.{}`", part.name))),
            false => reader.note_near(mistake.expected(one_of(Facts::NAMES)), part.name, Facts::NAMES.iter().copied()),
        }
        return false;
    }
    let below = used.parts.get(2).filter(|below| !is_own(below));
    match (part.name, below) {
        ("entity", Some(below)) if !Facts::OF_ENTITY.contains(&below.name) => {
            let at = place(reader, found, below);
            let mistake = reader.source.error(at, format!("there is no `{}` in `incident.entity`", below.name));
            let known = Facts::OF_ENTITY;
            reader.note_near(mistake.expected(one_of(known)), below.name, known.iter().copied());
            false
        }
        _ => true,
    }
}

fn place(reader: &Reader<'_>, found: &Found, part: &Part<'_>) -> Place {
    found.place(reader.source, part.at, part.name.chars().count())
}

fn answers(reader: &mut Reader<'_>, found: &Found) -> bool {
    let incident = Facts::sample().to_json();
    let scope = Scope { incident: &incident, ..Scope::empty(SOME_MOMENT) };
    let Err(error) = COMPILER.truth(&found.text, &scope) else { return true };
    let (line, column) = error.place.unwrap_or((1, 1));
    let at = found.place_of(reader.source, line, column);
    let what = format!("tried on an incident, this condition has no answer: {}", error.what);
    reader.error(at, what, "an expression that gives true or false, like `incident.level == \"critical\"`");
    false
}

/// What is wrong with a condition over `incident` that stands in no file; none: it is right.
pub(crate) fn objection(text: &str) -> Option<String> {
    if let Err(error) = COMPILER.compile(text) {
        return Some(format!("it is no expression: {}", error.what));
    }
    let near = |written: &str, known: &[&str]| match nearest(written, known.iter().copied()) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => format!("; expected {}", one_of(known)),
    };
    let names = names::names(text);
    for used in &names.uses {
        if used.root() != ROOT {
            return Some(format!("there is no `{}`{}", used.root(), near(used.root(), &[ROOT])));
        }
        let part = |at: usize| used.parts.get(at).filter(|part| !is_own(part)).map(|part| part.name);
        match (part(1), part(2)) {
            (Some(name), _) if !Facts::NAMES.contains(&name) => {
                return Some(format!("there is no `{name}` in an incident{}", near(name, Facts::NAMES)));
            }
            (Some("entity"), Some(name)) if !Facts::OF_ENTITY.contains(&name) => {
                return Some(format!("there is no `{name}` in `incident.entity`{}", near(name, Facts::OF_ENTITY)));
            }
            _ => {}
        }
    }
    let incident = Facts::sample().to_json();
    let scope = Scope { incident: &incident, ..Scope::empty(SOME_MOMENT) };
    let error = COMPILER.truth(text, &scope).err()?;
    Some(format!("tried on an incident, it has no answer: {}", error.what))
}
