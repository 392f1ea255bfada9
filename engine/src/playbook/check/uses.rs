//! Expressions: do they compile, and is there what they name.
//!
//! A name that nothing can ever have is an error here, so that it is never a surprise in a run.

use super::calls;
use crate::load::Known;
use crate::load::found::{Found, Stands};
use crate::load::playbook::Draft;
use crate::load::reader::{Reader, one_of};
use crate::load::yaml::Place;
use crate::playbook::expression::Expressions;
use crate::playbook::gives::{self, EVERY_STEP};
use crate::playbook::graph::Graph;
use crate::playbook::names::{self, Names, Part, Use};
use crate::playbook::sandbox::NO_SWITCH;
use crate::playbook::secret;
use quell_model::playbook::Step;
use quell_model::{Json, Name, StepId, fields};
use std::cell::Cell;
use std::sync::LazyLock;

/// Compiles; keeps nothing of a run.
pub(super) static COMPILER: LazyLock<Expressions> = LazyLock::new(Expressions::new);

/// What a detection has.
const DETECTION: &[&str] = &["id", "rule", "title", "level", "tags", "matched", "events"];
/// What the run and the incident have.
const RUN: &[&str] = &["id", "playbook", "mode", "started"];
const INCIDENT: &[&str] = &["id"];
/// What the incident has where a moment of it starts the playbook.
const MOMENT: &[&str] = &["id", "moment", "level", "by", "why"];

const TRIGGER: &[&str] = &["event", "detection", "vars"];
const STEP: &[&str] = &["event", "detection", "detections", "incident", "inputs", "vars", "steps", "run"];
/// Where a secret may stand, in words.
const SECRET: &str = "`${{ secrets.NAME }}` alone, as the input of an action that takes a secret";

/// Whether `steps.ID` is what it seems: no word of the language.
pub(crate) fn can_be_named(id: &str) -> bool {
    COMPILER.compile(&format!("steps.{id}.outcome")).is_ok()
}

pub(super) struct Check<'c, 'n> {
    pub(super) draft: &'c Draft<'n>,
    pub(super) known: &'c Known<'c>,
    graph: Option<&'c Graph>,
    /// What is left for looks into what expressions ask, in bytes: each reads the whole of its expression.
    pub(super) looks: Cell<usize>,
}

/// A look at each use of some hundreds, in expressions of some thousand letters.
const LOOKS: usize = 2_000_000;

pub(super) fn check(reader: &mut Reader<'_>, draft: &Draft<'_>, known: &Known<'_>, graph: Option<&Graph>) {
    let check = Check { draft, known, graph, looks: Cell::new(LOOKS) };
    for found in &draft.found {
        if !compiles(reader, found) {
            continue;
        }
        let names = names::names(&found.text);
        calls::check(reader, found, &names);
        for used in &names.uses {
            check.used(reader, found, &names, used);
        }
    }
}

/// Whether an expression or script can be compiled; notes why not.
pub(super) fn compiles(reader: &mut Reader<'_>, found: &Found) -> bool {
    let compiled = if found.script { COMPILER.compile_script(&found.text) } else { COMPILER.compile(&found.text) };
    let Err(error) = compiled else { return true };
    let (line, column) = error.place.unwrap_or((1, 1));
    let at = found.place_of(reader.source, line, column);
    let what = if found.script { "the script" } else { "the expression" };
    let expected = match error.what.as_str() {
        what if what.starts_with("Invalid character") => {
            "text in double quotes: within single ones stands one character"
        }
        what if what.contains("Expecting ';'") => "`;` at the end of the statement before",
        what if what.contains("'switch'") => NO_SWITCH,
        _ => "Rhai, as the reference of expressions has it",
    };
    reader.error(at, format!("{what} cannot be read: {}", error.what), expected);
    false
}

impl Check<'_, '_> {
    fn used(&self, reader: &mut Reader<'_>, found: &Found, names: &Names<'_>, used: &Use<'_>) {
        let root = used.root();
        let at = self.place(reader, found, &used.parts[0]);
        let is_trigger = found.stands == Stands::Trigger;
        let mut here: Vec<&str> = if is_trigger { TRIGGER.to_vec() } else { STEP.to_vec() };
        // A detection decides before it has an incident.
        let on = &self.draft.on;
        if is_trigger && !on.incident.is_empty() && on.detections.is_none() {
            here.push("incident");
        }
        if found.stands.item() {
            here.push("item");
        }
        if matches!(found.stands, Stands::Until { .. }) {
            here.push("seen");
        }
        if names.locals.contains(root) && names::ROOTS.contains(&root) {
            let what = format!("`{root}` is quell's own name and cannot be a variable of the expression");
            return reader.error(at, what, "another name");
        }
        if root == secret::ROOT {
            return self.secret(reader, found, names, used);
        }
        if !here.contains(&root) {
            let (what, expected) = match root {
                "item" => ("`item` is only known within a step with `for_each`".to_owned(), one_of(&here)),
                "incident" if is_trigger && !on.incident.is_empty() => {
                    let what = "`incident` is not known in a trigger that detections decide on too";
                    (what.to_owned(), "two playbooks, or an `if` on the steps".to_owned())
                }
                "seen" => ("`seen` is only known in the `if` of a `wait`".to_owned(), one_of(&here)),
                _ if names::ROOTS.contains(&root) => (format!("`{root}` is not known yet in a trigger"), one_of(&here)),
                _ => (format!("there is no `{root}`"), one_of(&here)),
            };
            return reader.note_near(reader.source.error(at, what).expected(expected), root, here.iter().copied());
        }
        match root {
            "event" => {
                self.without_event(reader, found, used);
                self.event(reader, found, used);
            }
            "seen" if used.parts.get(1).is_some_and(|part| part.name == "event") => {
                self.event(reader, found, &Use { parts: used.parts[1..].to_vec(), then: used.then });
            }
            "seen" => {
                let names = DETECTION.iter().copied().chain(["event"]);
                self.part(reader, found, used, names, "a detection that is waited for");
            }
            "detection" => self.part(reader, found, used, DETECTION.iter().copied(), "a detection"),
            "run" => self.part(reader, found, used, RUN.iter().copied(), "the run"),
            "incident" => {
                let names = if on.incident.is_empty() { INCIDENT } else { MOMENT };
                self.part(reader, found, used, names.iter().copied(), "an incident");
            }
            "inputs" => self.part(reader, found, used, self.draft.inputs.keys().map(String::as_str), "`inputs`"),
            "vars" => {
                if let Some(Json::Object(vars)) = self.known.vars {
                    self.part(reader, found, used, vars.keys().map(String::as_str), "`vars` of quell.yaml");
                }
            }
            "steps" => self.step(reader, found, used),
            _ => {}
        }
    }

    /// A secret is what a whole input is, or it is nowhere. Whether the input takes one is looked at with the inputs.
    fn secret(&self, reader: &mut Reader<'_>, found: &Found, names: &Names<'_>, used: &Use<'_>) {
        let is_named = names.only_a_path && used.parts.len() == 2 && !used.parts[1].optional;
        if !(found.whole && is_named && matches!(found.stands, Stands::Input { .. })) {
            let at = self.place(reader, found, &used.parts[0]);
            return reader.error(at, "no expression, text or script sees a secret", SECRET);
        }
        if let Some(secrets) = self.known.secrets {
            self.part(reader, found, used, secrets.keys().map(Name::as_str), "`secrets` of quell.yaml");
        }
    }

    pub(super) fn place(&self, reader: &Reader<'_>, found: &Found, part: &Part<'_>) -> Place {
        found.place(reader.source, part.at, part.name.chars().count())
    }

    /// The first part behind the variable must be one of `names`.
    fn part<'k>(
        &self,
        reader: &mut Reader<'_>,
        found: &Found,
        used: &Use<'_>,
        names: impl Iterator<Item = &'k str> + Clone,
        whose: &str,
    ) {
        let Some(part) = used.parts.get(1) else { return };
        if names.clone().any(|name| name == part.name) || is_own(part) {
            return;
        }
        let at = self.place(reader, found, part);
        let expected = one_of(&names.clone().collect::<Vec<_>>());
        let expected = match expected.as_str() {
            "nothing" => format!("`{}` declared in {whose}", part.name),
            _ => expected,
        };
        let mistake = reader.source.error(at, format!("there is no `{}` in {whose}", part.name));
        reader.note_near(mistake.expected(expected), part.name, names);
    }

    fn event(&self, reader: &mut Reader<'_>, found: &Found, used: &Use<'_>) {
        let parts = &used.parts[1..];
        let path = |count: usize| parts[..count].iter().map(|part| part.name).collect::<Vec<_>>().join(".");
        for count in 1..=parts.len() {
            let part = &parts[count - 1];
            if fields::is_known_anywhere(&path(count)) {
                self.absent(reader, found, used, count);
                continue;
            }
            if is_own(part) {
                return;
            }
            let at = self.place(reader, found, part);
            let upper = if count == 1 { "event".to_owned() } else { format!("event.{}", path(count - 1)) };
            let below = below(&path(count - 1));
            let mut mistake = reader.source.error(at, format!("there is no `{}` in `{upper}`", part.name));
            if below.is_empty() {
                mistake = mistake.expected(format!("`{upper}`, which has no parts"));
            } else if below.len() <= 40 {
                mistake = mistake.expected(one_of(&below));
            } else {
                mistake = mistake.expected("a field of events");
            }
            return reader.note_near(mistake, part.name, below.iter().copied());
        }
    }

    fn step(&self, reader: &mut Reader<'_>, found: &Found, used: &Use<'_>) {
        let Some(part) = used.parts.get(1) else { return };
        if is_own(part) && !self.draft.has(part.name) {
            return;
        }
        let at = self.place(reader, found, part);
        if !self.draft.has(part.name) {
            let mistake = reader.source.error(at, format!("there is no step `{}`", part.name));
            let ids = self.draft.ids.iter().map(String::as_str);
            if let Some(meant) = self.with_a_dash(found, part) {
                return reader.note(mistake.expected(format!("`steps.{meant}`: in an expression `-` subtracts")));
            }
            return reader.note_near(mistake.expected("the id of a step of this playbook"), part.name, ids);
        }
        let Some(step) = self.draft.step(part.name) else { return };
        if let (Some(number), Some(graph)) = (found.stands.step(), self.graph)
            && let Some((mine, _)) = self.draft.steps.get(number)
            && !graph.is_ancestor(&StepId::from(part.name), &mine.id)
        {
            let what = match mine.id == step.id {
                true => format!("step `{}` reads its own output", mine.id),
                false => format!("step `{}` may not have ended when `{}` starts", step.id, mine.id),
            };
            let known = |id: &&str| self.draft.has(id);
            let mut needs: Vec<&str> = mine.needs.iter().map(StepId::as_str).filter(known).collect();
            needs.push(part.name);
            let expected = match mine.id == step.id {
                true => "a step that ends before".to_owned(),
                false => format!("`needs: [{}]`", needs.join(", ")),
            };
            reader.error(at, what, expected);
        }
        self.output(reader, found, used, step);
        self.may_lack(reader, found, used, step);
    }

    /// The step that `steps.kill-tree` means, which reads as `steps.kill` less `tree`.
    fn with_a_dash(&self, found: &Found, part: &Part<'_>) -> Option<String> {
        let rest = found.text.get(part.at + part.name.len()..)?;
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).unwrap_or(rest.len());
        let meant = format!("{}{}", part.name, &rest[..end]).replace('-', "_");
        let dashes = |byte: u8| if byte == b'-' { b'_' } else { byte };
        let is_meant = |id: &String| id.len() == meant.len() && id.bytes().map(dashes).eq(meant.bytes());
        (rest.starts_with('-') && self.draft.ids.iter().any(is_meant)).then_some(meant)
    }

    fn output(&self, reader: &mut Reader<'_>, found: &Found, used: &Use<'_>, step: &Step) {
        let Some(part) = used.parts.get(2) else { return };
        let Some(given) = gives::given(step, self.known) else { return };
        let names: Vec<&str> = given.iter().map(String::as_str).chain(EVERY_STEP.iter().copied()).collect();
        if names.contains(&part.name) || is_own(part) {
            return;
        }
        let at = self.place(reader, found, part);
        let mistake = reader.source.error(at, format!("step `{}` has no output `{}`", step.id, part.name));
        reader.note_near(mistake.expected(one_of(&names)), part.name, names.iter().copied());
    }
}

/// What maps and lists have by themselves.
pub(super) fn is_own(part: &Part<'_>) -> bool {
    matches!(part.name, "len" | "is_empty")
}

/// The names right below a path of the event.
fn below(path: &str) -> Vec<&'static str> {
    let mut all: Vec<&'static str> = fields::known_anywhere()
        .chain(fields::PARENT.iter().copied())
        .filter_map(|name| match path {
            "" => Some(name),
            _ => name.strip_prefix(path)?.strip_prefix('.'),
        })
        .map(|rest| rest.split('.').next().unwrap_or(rest))
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}
