//! A playbook file, YAML or a script → the model.
//!
//! Owns the top-level keys and how the parts come together. The checks over the whole stand in `playbook::check`; a
//! file with an error gives no playbook.

use super::found::{self, Found, Stands};
use super::reader::Reader;
use super::step::{self, StepPlaces};
use super::trigger::{self, TriggerPlaces};
use super::yaml::{Node, Place, Source, Value};
use super::{Known, script, yaml};
use crate::playbook::check;
use crate::playbook::template::OPEN;
use quell_model::playbook::{InputSpec, InputType, Playbook, RunLimits, Step, Trigger};
use quell_model::{Hash, Json, Mistake, Mode, Name};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

pub(crate) const KEYS: &[&str] = &["playbook", "description", "on", "mode", "limits", "inputs", "steps", "outputs"];
const LATER: &[&str] = &["approve", "lease", "escalate"];

/// A playbook file as it was read, with the places that checks need.
pub(crate) struct Draft<'n> {
    pub(crate) name: Option<(Name, Place)>,
    pub(crate) description: String,
    pub(crate) on: Trigger,
    pub(crate) on_places: TriggerPlaces,
    pub(crate) mode: Mode,
    pub(crate) limits: RunLimits,
    pub(crate) inputs: BTreeMap<String, InputSpec>,
    pub(crate) steps: Vec<(Step, StepPlaces<'n>)>,
    /// Every id that is written, also of steps that cannot be read.
    pub(crate) ids: Vec<String>,
    pub(crate) outputs: BTreeMap<String, Json>,
    pub(crate) found: Vec<Found>,
    /// Where each of `ids` is among `steps`, if it can be read: of two with one id the first.
    by_id: HashMap<String, Option<usize>>,
}

impl Draft<'_> {
    /// Whether a step of this id is written.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// The step of this id.
    pub(crate) fn step(&self, id: &str) -> Option<&Step> {
        let number = *self.by_id.get(id)?.as_ref()?;
        self.steps.get(number).map(|(step, _)| step)
    }
}

/// Reads and checks one file. None when a mistake is an error.
#[must_use]
pub fn playbook(file: &Path, text: &str, known: &Known<'_>) -> (Option<Playbook>, Vec<Mistake>) {
    match Parsed::of(file, text) {
        Ok(parsed) => {
            let (playbook, mistakes) = parsed.checked(known);
            (playbook.filter(|_| !check::has_errors(&mistakes)), mistakes)
        }
        Err(mistakes) => (None, mistakes),
    }
}

/// A file that is a tree, and not checked yet: others that are read with it may have to be known for that.
pub(crate) struct Parsed {
    source: Source,
    node: Node,
    /// Mistakes on the way to the tree.
    noted: Vec<Mistake>,
}

impl Parsed {
    /// The tree of a file, YAML or a script; or why there is none.
    pub(crate) fn of(file: &Path, text: &str) -> Result<Self, Vec<Mistake>> {
        if script::is_script(file) {
            let source = Source::script(file, text);
            let (node, noted) = script::tree(&source)?;
            return Ok(Self { source, node, noted });
        }
        let source = Source::new(file, text);
        let node = yaml::parse(&source).map_err(|mistake| vec![*mistake])?;
        Ok(Self { source, node, noted: Vec::new() })
    }

    /// Whether it is meant as a playbook: it has the key.
    pub(crate) fn is_playbook(&self) -> bool {
        self.node.entry("playbook").is_some()
    }

    /// Its name and the names of its outputs, as they are written.
    pub(crate) fn gives(&self) -> Option<(Name, Vec<String>)> {
        let Value::Text(name) = &self.node.entry("playbook")?.value.value else { return None };
        let outputs = match self.node.entry("outputs").map(|entry| &entry.value.value) {
            Some(Value::Map(outputs)) => outputs.iter().map(|entry| entry.key.clone()).collect(),
            _ => Vec::new(),
        };
        Some((name.as_str().into(), outputs))
    }

    /// Reads and checks it. Where a mistake was noted already, what the reader makes of its remains is left out.
    /// One with errors is given too, as far as it could be read: it is not to be loaded, and others may mean it.
    pub(crate) fn checked(self, known: &Known<'_>) -> (Option<Playbook>, Vec<Mistake>) {
        let Self { source, node, noted } = self;
        let places: Vec<_> = noted.iter().map(|mistake| mistake.span).collect();
        let mut reader = Reader::of(&source, &node);
        let draft = read(&mut reader, &node);
        if let Some(draft) = &draft {
            check::draft(&mut reader, draft, known);
        }
        let followers = reader.finish().into_iter().filter(|mistake| !places.contains(&mistake.span));
        let mut mistakes: Vec<Mistake> = noted.into_iter().chain(followers).collect();
        mistakes.sort_by_key(|mistake| (mistake.span.line, mistake.span.column));
        (draft.and_then(|draft| made(draft, &source)), mistakes)
    }
}

fn made(draft: Draft<'_>, source: &Source) -> Option<Playbook> {
    Some(Playbook {
        name: draft.name?.0,
        description: draft.description,
        on: draft.on,
        mode: draft.mode,
        limits: draft.limits,
        inputs: draft.inputs,
        steps: draft.steps.into_iter().map(|(step, _)| step).collect(),
        outputs: draft.outputs,
        hash: Hash::of(source.text.as_bytes()),
        file: source.file.clone(),
        text: source.text.as_str().into(),
        web: Default::default(),
    })
}

fn read<'n>(reader: &mut Reader<'_>, node: &'n Node) -> Option<Draft<'n>> {
    if node.value == Value::Null {
        reader.error(Place::default(), "the file is empty", "a playbook: `playbook: NAME`, `on` and `steps`");
        return None;
    }
    let fields = reader.fields(node, "a playbook", KEYS, LATER)?;
    let mut found = Vec::new();
    let name = match fields.get("playbook") {
        Some(node) => name(reader, node),
        None => {
            reader.error(fields.at, "the playbook has no name", "`playbook: a-name`");
            None
        }
    };
    let description = fields.get("description").and_then(|node| reader.text(node, "`description`"));
    let (on, on_places) = match fields.get("on") {
        Some(node) => trigger::read(reader, node, &mut found),
        None => (trigger::by_hand(), TriggerPlaces::default()),
    };
    let mode = fields.get("mode").and_then(|node| step::mode(reader, node)).unwrap_or_default();
    let limits = fields.get("limits").map(|node| limits(reader, node)).unwrap_or_default();
    let inputs = fields.get("inputs").map(|node| inputs(reader, node)).unwrap_or_default();
    let mut steps = Vec::new();
    let mut ids = Vec::new();
    match fields.get("steps") {
        Some(node) => {
            if let Value::List(_) = node.value {
                reader.error(node.at, "`steps` is a list", "a map, each step under its id: `kill: { action: … }`");
            }
            let entries = match node.value {
                Value::List(_) => &[],
                _ => reader.map(node, "`steps`").unwrap_or_default(),
            };
            for entry in entries {
                ids.push(entry.key.clone());
                let (step, places) = step::read(reader, entry, steps.len(), &mut found);
                steps.extend(step.map(|step| (step, places)));
            }
            if matches!(&node.value, Value::Map(map) if map.is_empty()) {
                reader.error(node.at, "`steps` is empty", "at least one step");
            }
        }
        None => reader.error(fields.at, "the playbook has no steps", "`steps`, with at least one"),
    }
    let mut outputs = BTreeMap::new();
    if let Some(node) = fields.get("outputs") {
        for entry in reader.map(node, "`outputs`").unwrap_or_default() {
            found::in_template(reader, &entry.value, Stands::Output, &mut found);
            outputs.insert(entry.key.clone(), entry.value.to_json());
        }
    }
    let description = description.unwrap_or_default().trim().to_owned();
    let mut by_id: HashMap<String, Option<usize>> = ids.iter().map(|id| (id.clone(), None)).collect();
    for (number, (step, _)) in steps.iter().enumerate() {
        by_id.entry(step.id.as_str().to_owned()).or_default().get_or_insert(number);
    }
    Some(Draft { name, description, on, on_places, mode, limits, inputs, steps, ids, outputs, found, by_id })
}

fn name(reader: &mut Reader<'_>, node: &Node) -> Option<(Name, Place)> {
    let text = reader.text(node, "`playbook`")?;
    let good = !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !good {
        let better: String =
            text.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let mut mistake = reader.source.error(node.at, format!("`{text}` cannot be a playbook's name"));
        mistake = mistake.expected("lower-case letters, digits and `-`");
        mistake.nearest = Some(better.trim_matches('-').to_owned()).filter(|better| !better.is_empty());
        reader.note(mistake);
        return None;
    }
    Some((text.into(), node.at))
}

fn limits(reader: &mut Reader<'_>, node: &Node) -> RunLimits {
    let mut limits = RunLimits::default();
    let Some(fields) = reader.fields(node, "`limits`", &["runs", "targets"], &[]) else { return limits };
    limits.runs = fields.get("runs").and_then(|node| reader.rate(node, "`runs`"));
    if let Some(node) = fields.get("targets") {
        limits.targets = match &node.value {
            Value::Text(text) => {
                let read = text.strip_suffix("/run").and_then(|count| count.trim().parse().ok()).filter(|n| *n > 0);
                if read.is_none() {
                    reader.error(node.at, format!("`targets` is {}", node.shown()), "a number a run, like `5/run`");
                }
                read
            }
            _ => reader.count(node, "`targets`", 1),
        };
    }
    limits
}

fn inputs(reader: &mut Reader<'_>, node: &Node) -> BTreeMap<String, InputSpec> {
    const TYPES: &[(&str, InputType)] = &[
        ("string", InputType::String),
        ("integer", InputType::Integer),
        ("boolean", InputType::Boolean),
        ("list", InputType::List),
        ("map", InputType::Map),
    ];
    let mut all = BTreeMap::new();
    for entry in reader.map(node, "`inputs`").unwrap_or_default() {
        let what = format!("input `{}`", entry.key);
        let Some(fields) = reader.fields(&entry.value, &what, &["type", "default"], &[]) else { continue };
        let Some(node) = fields.get("type") else {
            reader.error(entry.at, format!("{what} has no type"), "`type: string`");
            continue;
        };
        let Some(kind) = reader.word(node, "type of input", TYPES) else { continue };
        let default = fields.get("default");
        if let Some(node) = default.filter(|node| !fits(kind, &node.value)) {
            let what = format!("the default of {what} is {}", node.shown());
            reader.error(node.at, what, TYPES.iter().find(|(_, k)| *k == kind).map_or("", |(word, _)| word));
        }
        if let Some(node) = default.filter(|node| node.to_json().to_string().contains(OPEN)) {
            let what = format!("the default of {what} holds an expression, which nothing would fill in");
            reader.error(node.at, what, "a value as it is; an expression stands where the input is used");
        }
        all.insert(entry.key.clone(), InputSpec { kind, default: default.map(Node::to_json) });
    }
    all
}

fn fits(kind: InputType, value: &Value) -> bool {
    matches!(
        (kind, value),
        (InputType::String, Value::Text(_))
            | (InputType::Integer, Value::Int(_))
            | (InputType::Boolean, Value::Bool(_))
            | (InputType::List, Value::List(_))
            | (InputType::Map, Value::Map(_))
    )
}
