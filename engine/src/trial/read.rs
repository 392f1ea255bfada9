//! A test file → its cases. Every mistake with its place; names of steps and outcomes are held against the playbook.
//!
//! Invariant: a file with an error gives nothing.

use super::answers;
use super::case::{Case, Expectation, Suite, Wanted};
use super::{mocks, names, secrets, start};
use crate::load::reader::{Fields, Reader, one_of};
use crate::load::yaml::{self, Entry, Node, Place, Source, Value};
use crate::load::{Known, escalation};
use quell_model::playbook::{Playbook, StepKind};
use quell_model::record::RunState;
use quell_model::{Json, Mistake, Outcome, People};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const KEYS: &[&str] = &["playbook", "people", "approvers", "cases"];
const CASE: &[&str] = &[
    "case",
    "event",
    "recording",
    "inputs",
    "rule",
    "then",
    "mode",
    "at",
    "age",
    "clock",
    "vars",
    "mocks",
    "secrets",
    "answers",
    "expect",
];
const EXPECT: &[&str] = &["run", "runs", "steps", "order", "not_run", "asked", "told", "outputs"];
/// The same of one run of several.
const EACH: &[&str] = &["run", "steps", "order", "not_run", "asked", "told", "outputs"];
const STEP: &[&str] = &["outcome", "attempts", "with", "output", "error"];
const ENDS: &[(&str, Option<RunState>)] = &[
    ("none", None),
    ("succeeded", Some(RunState::Succeeded)),
    ("failed", Some(RunState::Failed)),
    ("cancelled", Some(RunState::Cancelled)),
    ("undone", Some(RunState::Undone)),
    ("stuck", Some(RunState::Stuck)),
    ("waiting", Some(RunState::Waiting)),
];
const OUTCOMES: &[(&str, Outcome)] = &[
    ("verified", Outcome::Verified),
    ("done", Outcome::Done),
    ("already", Outcome::Already),
    ("planned", Outcome::Planned),
    ("skipped", Outcome::Skipped),
    ("blocked", Outcome::Blocked),
    ("denied", Outcome::Denied),
    ("refused", Outcome::Refused),
    ("failed", Outcome::Failed),
    ("cancelled", Outcome::Cancelled),
    ("undone", Outcome::Undone),
    ("stuck", Outcome::Stuck),
];

/// How a playbook's file may end.
const PLAYBOOK_ENDS: &[&str] = &["yaml", "yml", "rhai"];

/// What a file's cases are held against.
pub(super) struct Against<'a> {
    pub(super) playbook: &'a Playbook,
    /// The playbooks that it starts.
    pub(super) others: &'a [Arc<Playbook>],
    pub(super) people: &'a People,
    pub(super) known: &'a Known<'a>,
}

/// Reads one file: its playbook is the one that it names, else the file beside it. None when a mistake is an error.
#[must_use]
pub fn read(file: &Path, text: &str, playbooks: &[Arc<Playbook>], known: &Known<'_>) -> (Option<Suite>, Vec<Mistake>) {
    let source = Source::new(file, text);
    let node = match yaml::parse(&source) {
        Ok(node) => node,
        Err(mistake) => return (None, vec![*mistake]),
    };
    let mut reader = Reader::of(&source, &node);
    let suite = suite(&mut reader, &node, playbooks, known);
    let fine = !reader.has_errors();
    (suite.filter(|_| fine), reader.finish())
}

fn suite(reader: &mut Reader<'_>, node: &Node, playbooks: &[Arc<Playbook>], known: &Known<'_>) -> Option<Suite> {
    if node.value == Value::Null {
        reader.error(Place::default(), "the file is empty", "`cases`, with at least one");
        return None;
    }
    let fields = reader.fields(node, "a test of a playbook", KEYS, &[])?;
    let playbook = playbook(reader, fields, playbooks);
    let Some(list) = fields.get("cases") else {
        reader.error(fields.at, "the file has no cases", "`cases`, a list with at least one");
        return None;
    };
    let items = reader.list(list, "`cases`")?;
    if items.is_empty() {
        reader.error(list.at, "`cases` is empty", "at least one case");
    }
    let roles = known.roles.cloned().unwrap_or_default();
    let people = escalation::people::who(reader, &fields, &roles, None);
    let playbook = playbook?;
    let others = started(&playbook, playbooks, known);
    answers::asks(reader, &fields, &playbook, &people);
    let against = Against { playbook: &playbook, others: &others, people: &people, known };
    let mut cases: Vec<Case> = Vec::new();
    for item in items {
        let Some(case) = case(reader, item, &against) else { continue };
        if let Some(first) = cases.iter().find(|first| first.name == case.name) {
            let what = format!("two cases are called `{}`, the first on line {}", case.name, first.line.0);
            reader.error(item.at, what, "a name of its own for each");
        }
        cases.push(case);
    }
    Some(Suite { file: reader.source.file.clone(), playbook, others, people: Arc::new(people), cases })
}

/// The playbooks that this one's steps start, and theirs; nothing else starts them here.
fn started(playbook: &Playbook, beside: &[Arc<Playbook>], known: &Known<'_>) -> Vec<Arc<Playbook>> {
    let mut found: Vec<Arc<Playbook>> = Vec::new();
    let mut todo = vec![playbook.clone()];
    while let Some(one) = todo.pop() {
        for step in &one.steps {
            let StepKind::Playbook(sub) = &step.kind else { continue };
            let is_it = |other: &&Arc<Playbook>| other.name == sub.playbook;
            let Some(other) =
                beside.iter().chain(known.playbooks).find(is_it).filter(|_| !found.iter().any(|other| is_it(&other)))
            else {
                continue;
            };
            let other = Playbook { on: crate::load::trigger::by_hand(), ..Playbook::clone(other) };
            todo.push(other.clone());
            found.push(Arc::new(other));
        }
    }
    found.retain(|other| other.name != playbook.name);
    found
}

fn playbook(reader: &mut Reader<'_>, fields: Fields<'_>, all: &[Arc<Playbook>]) -> Option<Arc<Playbook>> {
    if let Some(node) = fields.get("playbook") {
        let name = reader.text(node, "`playbook`")?;
        let found = all.iter().find(|one| one.name.as_str() == name).cloned();
        if found.is_none() {
            let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
            let mistake =
                reader.source.error(node.at, format!("there is no playbook `{name}` in order beside this file"));
            reader.note_near(mistake.expected(one_of(&names)), name, names.iter().copied());
        }
        return found;
    }
    let beside = reader.source.file.with_extension("");
    // `./mine.yaml` is `mine.yaml`.
    let same = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let ends = PLAYBOOK_ENDS.iter().map(|end| same(&beside.with_extension(end)));
    let found = ends.filter_map(|file| all.iter().find(|one| same(&one.file) == file)).next().cloned();
    if found.is_none() {
        let what = format!("no playbook in order stands in `{}`", beside.with_extension("yaml").display());
        let expected =
            "the playbook's own name before `.test.yaml` (its own is .yaml, .yml or .rhai), or `playbook: NAME`";
        reader.error(Place::default(), what, expected);
    }
    found
}

fn case(reader: &mut Reader<'_>, node: &Node, against: &Against<'_>) -> Option<Case> {
    let fields = reader.fields(node, "a case", CASE, &[])?;
    let name = match fields.get("case") {
        Some(node) => reader.text(node, "`case`")?.to_owned(),
        None => {
            reader.error(fields.at, "the case has no name", "`case: what it shows`");
            return None;
        }
    };
    let line = fields.entry("case").map_or((0, 0), |entry| (entry.at.line, entry.at.column));
    let at = fields.get("at").and_then(|node| start::moment(reader, node)).unwrap_or_else(start::first_moment);
    let start = start::read(reader, fields, at, against);
    let age = fields.get("age").and_then(|node| reader.duration(node, "`age`")).unwrap_or_default();
    let mode = fields.get("mode").and_then(|node| crate::load::step::mode(reader, node));
    let advance = fields.get("clock").and_then(|node| clock(reader, node));
    let vars = fields.get("vars").and_then(|node| vars(reader, node));
    let mut mocks = BTreeMap::new();
    if let Some(node) = fields.get("mocks") {
        for entry in reader.map(node, "`mocks`").unwrap_or_default() {
            mocks::known(reader, entry, against);
            mocks.insert(entry.key.clone(), mocks::of(reader, entry, against));
        }
    }
    let secrets = secrets::read(reader, &fields, against);
    let answers = fields.get("answers").map(|node| answers::read(reader, node, against, mode));
    let (mut expect, mut each) = (Vec::new(), Vec::new());
    match fields.get("expect").map(|node| (node, &node.value)) {
        // Of each run its own: there are as many.
        Some((node, Value::List(list))) => {
            if list.is_empty() {
                reader.error(node.at, "`expect` expects nothing", "what is to be of each run");
            }
            each = list.iter().map(|one| expectations(reader, one, EACH, against)).collect();
            let runs = u32::try_from(list.len()).unwrap_or(u32::MAX);
            expect.push(Expectation { at: reader.source.error(node.at, ""), what: Wanted::Runs(runs) });
        }
        Some((node, _)) => expect = expectations(reader, node, EXPECT, against),
        None => {
            reader.error(fields.at, format!("the case `{name}` expects nothing"), "`expect`, with at least one line");
        }
    }
    let at = start.as_ref().and_then(start::seen).unwrap_or(at);
    let then = fields.get("then").map(|node| start::later(reader, node, at, against)).unwrap_or_default();
    let answers = answers.unwrap_or_default();
    let start = start?;
    Some(Case { name, line, at, age, mode, start, then, vars, mocks, secrets, answers, advance, expect, each })
}

/// `vars` of this case.
fn vars(reader: &mut Reader<'_>, node: &Node) -> Option<Json> {
    reader.map(node, "`vars`")?;
    Some(node.to_json())
}

/// A moment of the clock, told by how far it is.
fn clock(reader: &mut Reader<'_>, node: &Node) -> Option<Duration> {
    let fields = reader.fields(node, "`clock`", &["advance"], &[])?;
    let Some(node) = fields.get("advance") else {
        reader.error(fields.at, "`clock` without `advance` moves nothing", "`clock: { advance: 5m }`");
        return None;
    };
    reader.duration(node, "`advance`")
}

/// `step`, without the item of `step[3]`.
pub(super) fn step_of(key: &str) -> &str {
    key.split_once('[')
        .filter(|(_, rest)| rest.strip_suffix(']').is_some_and(|n| n.parse::<u32>().is_ok()))
        .map_or(key, |(s, _)| s)
}

pub(super) fn action_of<'a>(key: &'a str, against: &'a Against<'_>) -> &'a str {
    match against.playbook.steps.iter().find(|step| step.id.as_str() == step_of(key)).map(|step| &step.kind) {
        Some(StepKind::Action { action, .. }) => action.as_str(),
        _ => key,
    }
}

/// What is expected, by these keys.
fn expectations(reader: &mut Reader<'_>, node: &Node, keys: &[&str], against: &Against<'_>) -> Vec<Expectation> {
    let mut all = Vec::new();
    let Some(fields) = reader.fields(node, "`expect`", keys, &[]) else { return all };
    if fields.present(keys).is_empty() {
        reader.error(node.at, "`expect` expects nothing", one_of(keys));
    }
    for key in keys {
        says_something(reader, &fields, key);
    }
    let mut add = |reader: &Reader<'_>, at: Place, what| {
        all.push(Expectation { at: reader.source.error(at, ""), what });
    };
    if let Some(node) = fields.get("run")
        && let Some(end) = reader.word(node, "end of a run", ENDS)
    {
        add(reader, node.at, Wanted::Run(end));
    }
    if let Some(node) = fields.get("runs")
        && let Some(count) = reader.count(node, "`runs`", 0)
    {
        add(reader, node.at, Wanted::Runs(count));
    }
    if let Some(node) = fields.get("steps") {
        for entry in reader.map(node, "`steps`").unwrap_or_default() {
            if known_step(reader, &entry.key, entry.at, against) {
                for (at, what) in step(reader, entry, against) {
                    add(reader, at, what);
                }
            }
        }
    }
    if let Some(node) = fields.get("order") {
        let ids = reader.texts(node, "`order`");
        let good = ids.iter().filter(|(id, at)| known_step(reader, id, *at, against)).count();
        if good < 2 && good == ids.len() {
            reader.error(node.at, "`order` needs two steps", "the steps whose ends come one after the other");
        }
        add(reader, node.at, Wanted::Order(ids.iter().map(|(id, _)| (*id).to_owned()).collect()));
    }
    if let Some(node) = fields.get("not_run") {
        for (id, at) in reader.texts(node, "`not_run`") {
            if known_step(reader, id, at, against) {
                add(reader, at, Wanted::NotRun(id.to_owned()));
            }
        }
    }
    if let Some(node) = fields.get("asked") {
        for (id, at) in reader.texts(node, "`asked`") {
            if known_step(reader, id, at, against) {
                add(reader, at, Wanted::Asked(id.to_owned()));
            }
        }
    }
    if let Some(node) = fields.get("told") {
        for (text, at) in reader.texts(node, "`told`") {
            add(reader, at, Wanted::Told(text.to_owned()));
        }
    }
    if let Some(node) = fields.get("outputs") {
        for entry in reader.map(node, "`outputs`").unwrap_or_default() {
            if against.playbook.outputs.contains_key(&entry.key) {
                let one: Json = std::iter::once((entry.key.clone(), entry.value.to_json())).collect();
                add(reader, entry.at, Wanted::Outputs(one));
            } else {
                let names: Vec<&str> = against.playbook.outputs.keys().map(String::as_str).collect();
                let mistake = reader.source.error(entry.at, format!("the playbook has no output `{}`", entry.key));
                reader.note_near(mistake.expected(one_of(&names)), &entry.key, names.iter().copied());
            }
        }
    }
    all
}

pub(super) fn known_step(reader: &mut Reader<'_>, id: &str, at: Place, against: &Against<'_>) -> bool {
    let names: Vec<&str> = against.playbook.steps.iter().map(|step| step.id.as_str()).collect();
    let known = names.contains(&id);
    if !known {
        let mistake = reader.source.error(at, format!("`{}` has no step `{id}`", against.playbook.name));
        reader.note_near(mistake.expected(one_of(&names)), id, names.iter().copied());
    }
    known
}

fn step(reader: &mut Reader<'_>, entry: &Entry, against: &Against<'_>) -> Vec<(Place, Wanted)> {
    let id = entry.key.clone();
    if matches!(entry.value.value, Value::Text(_)) {
        let outcome = reader.word(&entry.value, "outcome", OUTCOMES);
        return outcome.map(|outcome| (entry.value.at, Wanted::Outcome(id, outcome))).into_iter().collect();
    }
    let mut all = Vec::new();
    let Some(fields) = reader.fields(&entry.value, &format!("step `{id}`"), STEP, &[]) else { return all };
    if let Some(node) = fields.get("outcome")
        && let Some(outcome) = reader.word(node, "outcome", OUTCOMES)
    {
        all.push((node.at, Wanted::Outcome(id.clone(), outcome)));
    }
    if let Some(node) = fields.get("attempts")
        && let Some(count) = reader.count(node, "`attempts`", 0)
    {
        all.push((node.at, Wanted::Attempts(id.clone(), count)));
    }
    if let Some(node) = fields.get("error")
        && let Some(text) = reader.text(node, "`error`")
    {
        all.push((node.at, Wanted::Error(id.clone(), text.to_owned())));
    }
    // All of it is of one attempt, or one item: two that have a half each are not what is expected.
    if let Some(node) = fields.get("with")
        && let Some(parts @ [_, ..]) = reader.map(node, "`with`")
    {
        names::inputs(reader, &id, parts, against);
        all.push((node.at, Wanted::With(id.clone(), node.to_json())));
    }
    if let Some(node) = fields.get("output") {
        let parts = reader.map(node, "`output`").unwrap_or_default();
        names::outputs(reader, &id, parts, against);
        for part in parts {
            let one: Json = std::iter::once((part.key.clone(), part.value.to_json())).collect();
            all.push((part.at, Wanted::Output(id.clone(), one)));
        }
    }
    for key in STEP {
        says_something(reader, &fields, key);
    }
    if fields.present(STEP).is_empty() {
        reader.error(entry.at, format!("nothing is expected of `{id}`"), one_of(STEP));
    }
    all
}

/// An expectation that nothing could fail is a mistake: whoever wrote it believes that something is tested.
fn says_something(reader: &mut Reader<'_>, fields: &Fields<'_>, key: &str) {
    let Some(entry) = fields.entry(key) else { return };
    // Of a key without a value the reader has said so.
    let is_empty = |node: &Node| match &node.value {
        Value::Text(text) => text.is_empty(),
        Value::List(list) => {
            list.is_empty() || list.iter().any(|one| matches!(&one.value, Value::Text(t) if t.is_empty()))
        }
        Value::Map(map) => map.is_empty(),
        _ => false,
    };
    if is_empty(&entry.value) {
        reader.error(entry.at, format!("`{key}` expects nothing"), "what is to be, or no such key");
    }
}
