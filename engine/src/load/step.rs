//! A step of a playbook file.
//!
//! Owns its keys, their defaults, and the law that a step does exactly one thing.

use super::escalate::{self, EscalatePlaces};
use super::found::{self, Found, Stands};
use super::question;
use super::reader::{Fields, Reader, one_of};
use super::sub;
use super::trigger::TriggerPlaces;
use super::wait;
use super::yaml::{Entry, Node, Place, Value};
use crate::playbook::check::can_be_named;
use crate::playbook::template::OPEN;
use quell_model::playbook::{AtEnd, Expression, ForEach, ItemErrors, Lease, OnFailure, Retry, Step, StepKind, When};
use quell_model::{Json, Mode, StepId};
use std::time::Duration;

/// What one attempt may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
/// Items of a `for_each` at once.
const PARALLEL: u32 = 4;
/// The most attempts: what failed so often fails again, and each is a record.
pub(crate) const ATTEMPTS: u32 = 100;
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

pub(crate) const KEYS: &[&str] = &[
    "action",
    "script",
    "tell",
    "escalate",
    "ask",
    "wait",
    "playbook",
    "with",
    "detach",
    "needs",
    "if",
    "when",
    "for_each",
    "max_parallel",
    "errors",
    "timeout",
    "deadline",
    "retry",
    "on_failure",
    "mode",
    "lease",
    "approve",
    "confirm",
];
/// What a step may do.
pub(crate) const KINDS: &[&str] = &["action", "script", "tell", "escalate", "ask", "wait", "playbook"];
const LATER: &[&str] = &["undo"];

/// The words of modes.
pub(crate) const MODES: &[(&str, Mode)] =
    &[("observe", Mode::Observe), ("approve", Mode::Approve), ("enforce", Mode::Enforce)];

/// Where the parts of a step stand, for the checks.
#[derive(Clone, Debug)]
pub(crate) struct StepPlaces<'n> {
    /// Its id.
    pub(crate) id: Place,
    /// The steps it needs.
    pub(crate) needs: Vec<(StepId, Place)>,
    /// The action's name.
    pub(crate) action: Option<Place>,
    /// The action's input.
    pub(crate) with: Option<&'n Node>,
    /// Its lease.
    pub(crate) lease: Option<Place>,
    /// `approve` and `confirm`.
    pub(crate) approve: Option<Place>,
    pub(crate) confirm: Option<Place>,
    /// The approvers that `approve`, `confirm` and `ask` name, each with its key.
    pub(crate) by: Vec<(&'static str, &'n str, Place)>,
    /// Who is asked.
    pub(crate) person: Option<Place>,
    /// Where the incident is handed on to.
    pub(crate) escalate: EscalatePlaces,
    /// The rules and tags that it waits for.
    pub(crate) wait: TriggerPlaces,
    /// What happens when it fails.
    pub(crate) on_failure: Option<Place>,
    /// After what it runs.
    pub(crate) when: Option<Place>,
    /// Its own mode.
    pub(crate) mode: Option<Place>,
    /// What it waits for.
    pub(crate) until: Option<Place>,
    /// A `for_each` whose list is not written out.
    pub(crate) unbounded: Option<Place>,
}

/// Reads the step of one entry of `steps`.
pub(crate) fn read<'n>(
    reader: &mut Reader<'_>,
    entry: &'n Entry,
    number: usize,
    out: &mut Vec<Found>,
) -> (Option<Step>, StepPlaces<'n>) {
    let mut places = StepPlaces {
        id: entry.at,
        needs: Vec::new(),
        action: None,
        with: None,
        lease: None,
        approve: None,
        confirm: None,
        by: Vec::new(),
        person: None,
        escalate: EscalatePlaces::default(),
        wait: TriggerPlaces::default(),
        on_failure: None,
        when: None,
        mode: None,
        until: None,
        unbounded: None,
    };
    if KEYS.contains(&entry.key.as_str()) && !matches!(entry.value.value, Value::Map(_)) {
        let what = format!("`{}` stands where the id of a step should", entry.key);
        reader.error(entry.at, what, "deeper indentation, if it belongs to the step above");
        return (None, places);
    }
    check_id(reader, entry);
    let what = format!("step `{}`", entry.key);
    if entry.value.value == Value::Null {
        reader.error(entry.at, format!("{what} is empty"), "what it does, indented below it: `action: …`");
        return (None, places);
    }
    let Some(fields) = reader.fields(&entry.value, &what, KEYS, LATER) else { return (None, places) };
    let for_each = for_each(reader, &fields, number, &mut places, out);
    let stands = Stands::Step { step: number, item: fields.get("for_each").is_some() };
    let kind = kind(reader, &fields, &what, stands, &mut places, out);
    if let Some(node) = fields.get("needs") {
        let needs = reader.texts(node, "`needs`");
        places.needs = needs.into_iter().map(|(id, at)| (StepId::from(id), at)).collect();
    }
    places.lease = fields.entry("lease").map(|entry| entry.at);
    places.approve = fields.entry("approve").map(|entry| entry.at);
    places.confirm = fields.entry("confirm").map(|entry| entry.at);
    places.by = ["approve", "confirm", "ask"].into_iter().filter_map(|key| named(fields.get(key)?, key)).collect();
    places.person = fields.get("ask").and_then(|node| node.entry("person")).map(|entry| entry.value.at);
    places.on_failure = fields.entry("on_failure").map(|entry| entry.at);
    places.when = fields.entry("when").map(|entry| entry.at);
    places.mode = fields.entry("mode").map(|entry| entry.at);
    places.until = fields.get("wait").and_then(|node| node.entry("until")).map(|entry| entry.at);
    let condition = fields
        .get("if")
        .and_then(|node| found::condition(reader, node, Stands::Step { step: number, item: false }, out));
    let when = fields.get("when").and_then(|node| {
        reader.word(node, "`when`", &[("success", When::Success), ("failure", When::Failure), ("always", When::Always)])
    });
    let timeout = fields.get("timeout").and_then(|node| reader.duration(node, "`timeout`"));
    let deadline = fields.get("deadline").and_then(|node| reader.duration(node, "`deadline`"));
    if let (Some(timeout), Some(deadline), Some(entry)) = (timeout, deadline, fields.entry("deadline"))
        && deadline < timeout
    {
        reader.warning(
            entry.at,
            "the `deadline` of the step ends before the `timeout` of one attempt",
            "a longer `deadline`",
        );
    }
    let step = Step {
        id: StepId::from(entry.key.as_str()),
        kind: kind.unwrap_or_else(|| StepKind::Tell(String::new())),
        needs: places.needs.iter().map(|(id, _)| id.clone()).collect(),
        condition,
        when: when.unwrap_or_default(),
        for_each,
        timeout: timeout.unwrap_or(TIMEOUT),
        deadline,
        retry: fields.get("retry").map_or_else(once, |node| retry(reader, node)),
        on_failure: fields.get("on_failure").and_then(|node| on_failure(reader, node)).unwrap_or_default(),
        mode: fields.get("mode").and_then(|node| mode(reader, node)),
        lease: fields.get("lease").and_then(|node| lease(reader, node)),
        approve: fields.get("approve").and_then(|node| question::approve(reader, node)),
        confirm: fields.get("confirm").and_then(|node| question::confirm(reader, node)),
        span: entry.at.into(),
    };
    (Some(step), places)
}

/// The approvers that a question names.
fn named<'n>(question: &'n Node, key: &'static str) -> Option<(&'static str, &'n str, Place)> {
    let by = &question.entry("by")?.value;
    match &by.value {
        Value::Text(name) => Some((key, name, by.at)),
        _ => None,
    }
}

fn check_id(reader: &mut Reader<'_>, entry: &Entry) {
    let id = entry.key.as_str();
    let good = id.starts_with(|c: char| c.is_ascii_lowercase())
        && id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !good {
        let better: String =
            id.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let better = better.trim_matches('_').to_owned();
        let mut mistake = reader.source.error(entry.at, format!("`{id}` cannot be a step's id"));
        mistake = mistake.expected("a lower-case letter, then lower-case letters, digits and `_`");
        if better.starts_with(|c: char| c.is_ascii_lowercase()) {
            mistake.nearest = Some(better);
        }
        reader.note(mistake);
    } else if !can_be_named(id) {
        let what = format!("`{id}` is a word of the expressions' language and cannot be a step's id");
        let mut mistake = reader.source.error(entry.at, what).expected("another word");
        mistake.nearest = Some(format!("{id}_step"));
        reader.note(mistake);
    }
}

fn kind<'n>(
    reader: &mut Reader<'_>,
    fields: &Fields<'n>,
    what: &str,
    stands: Stands,
    places: &mut StepPlaces<'n>,
    out: &mut Vec<Found>,
) -> Option<StepKind> {
    let kinds = fields.present(KINDS);
    if kinds.is_empty() && fields.present(LATER).is_empty() {
        reader.error(places.id, format!("{what} does nothing"), one_of(KINDS));
    }
    if let [first, second, ..] = kinds.as_slice() {
        let what = format!("{what} has both `{}` and `{}`", first.key, second.key);
        reader.error(second.at, what, format!("exactly one of {}", one_of(KINDS)));
    }
    let with = fields.get("with");
    let mut read = None;
    if let Some(node) = fields.get("action") {
        places.action = Some(node.at);
        places.with = with;
        if let Some(with) = with {
            found::in_template(reader, with, stands.input(), out);
            reader.map(with, "`with`");
        }
        let action = reader.text(node, "`action`")?;
        let with = with.map_or_else(|| Json::Object(serde_json::Map::new()), Node::to_json);
        read = Some(StepKind::Action { action: action.into(), with });
    } else if let Some(entry) = fields.entry("with").filter(|_| fields.entry("playbook").is_none()) {
        reader.error(entry.at, "`with` without `action`", "`with` beside the action, or playbook, whose input it is");
    }
    if let Some(node) = fields.get("script") {
        read = found::script(reader, node, stands, out).map(StepKind::Script);
    }
    if let Some(node) = fields.get("tell") {
        found::in_template(reader, node, stands, out);
        read = reader.text(node, "`tell`").map(|text| StepKind::Tell(text.to_owned()));
    }
    if let Some(node) = fields.get("escalate") {
        untried(reader, fields, &format!("{what} escalates"), "none: it is one record, and takes no time");
        if let Some(entry) = fields.entry("for_each") {
            let expected = "none: an incident has one ladder, which is moved once";
            reader.error(entry.at, format!("{what} escalates, and has `for_each`"), expected);
        }
        read = escalate::read(reader, node, &mut places.escalate).map(StepKind::Escalate);
    }
    if let Some(node) = fields.get("ask") {
        let expected = "none: a question is one attempt, and has its time in `within`";
        untried(reader, fields, &format!("{what} asks a person"), expected);
        let ask = question::ask(reader, node, stands, out);
        read = ask.map(|ask| StepKind::Ask(Box::new(ask)));
    }
    if let Some(node) = fields.get("playbook") {
        untried(
            reader,
            fields,
            &format!("{what} starts a playbook"),
            "none: the steps of that playbook have their own",
        );
        read = sub::read(reader, node, fields, stands, out).map(|sub| StepKind::Playbook(Box::new(sub)));
    } else if let Some(entry) = fields.entry("detach") {
        reader.error(entry.at, "`detach` without `playbook`", "`detach` beside the `playbook` that nothing waits for");
    }
    if let Some(node) = fields.get("wait") {
        let expected =
            "none: a wait is one attempt, and has its time in `wait`, like `5m`, or `timeout` beside `until`";
        untried(reader, fields, &format!("{what} waits"), expected);
        read = wait::read(reader, node, stands, &mut places.wait, out).map(StepKind::Wait);
    }
    read
}

/// What means nothing on a step that is not tried by itself.
fn untried(reader: &mut Reader<'_>, fields: &Fields<'_>, what: &str, expected: &str) {
    for entry in fields.present(&["timeout", "deadline", "retry"]) {
        reader.error(entry.at, format!("{what}, and has `{}`", entry.key), expected);
    }
}

fn for_each<'n>(
    reader: &mut Reader<'_>,
    fields: &Fields<'n>,
    number: usize,
    places: &mut StepPlaces<'n>,
    out: &mut Vec<Found>,
) -> Option<ForEach> {
    let Some(node) = fields.get("for_each") else {
        for entry in fields.present(&["max_parallel", "errors"]) {
            reader.error(entry.at, format!("`{}` without `for_each`", entry.key), "`for_each` beside it");
        }
        return None;
    };
    let list = match &node.value {
        Value::List(_) => Some(literal_list(reader, node)),
        _ => found::whole(reader, node, "`for_each`", Stands::Step { step: number, item: false }, out),
    };
    let max_parallel = fields.get("max_parallel").and_then(|node| reader.count(node, "`max_parallel`", 1));
    if !matches!(node.value, Value::List(_)) {
        places.unbounded = fields.entry("for_each").map(|entry| entry.at);
    }
    let errors = fields.get("errors").and_then(|node| {
        reader.word(node, "`errors`", &[("collect", ItemErrors::Collect), ("stop", ItemErrors::Stop)])
    });
    Some(ForEach { list: list?, max_parallel: max_parallel.unwrap_or(PARALLEL), errors: errors.unwrap_or_default() })
}

/// A list that is written out: the same list as an expression.
fn literal_list(reader: &mut Reader<'_>, node: &Node) -> Expression {
    let json = node.to_json();
    if json.to_string().contains(OPEN) {
        reader.error(node.at, "a list that is written out holds an expression", "one expression: ${{ [a, b] }}");
    }
    Expression { text: rhai_literal(&json), span: node.at.into() }
}

fn rhai_literal(json: &Json) -> String {
    match json {
        Json::Null => "()".to_owned(),
        Json::Array(list) => format!("[{}]", list.iter().map(rhai_literal).collect::<Vec<_>>().join(", ")),
        Json::Object(map) => {
            let pairs = map.iter().map(|(key, value)| format!("{}: {}", rhai_text(key), rhai_literal(value)));
            format!("#{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        Json::String(text) => rhai_text(text),
        plain => plain.to_string(),
    }
}

/// Text in double quotes. Of JSON's escapes Rhai does not know all.
fn rhai_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// What no `retry` means: one attempt.
pub(crate) fn once() -> Retry {
    Retry { attempts: 1, backoff: BACKOFF.0, backoff_most: BACKOFF.1 }
}

fn retry(reader: &mut Reader<'_>, node: &Node) -> Retry {
    let mut retry = once();
    if let Value::Int(_) = node.value {
        reader.error(node.at, format!("`retry` is {}", node.shown()), "a map: `attempts: 3`");
        return retry;
    }
    let Some(fields) = reader.fields(node, "`retry`", &["attempts", "backoff"], &[]) else { return retry };
    match fields.get("attempts") {
        Some(node) => match reader.count(node, "`attempts`", 1) {
            Some(count) if count > ATTEMPTS => {
                reader.error(node.at, format!("`attempts` is {count}"), format!("{ATTEMPTS} at most"));
            }
            count => retry.attempts = count.unwrap_or(1),
        },
        None => reader.error(fields.at, "`retry` without `attempts`", "`attempts: 3`"),
    }
    if let Some(node) = fields.get("backoff") {
        let span = reader.text(node, "`backoff`").map(|text| {
            let (first, most) = text.split_once("..")?;
            let (first, most) = (super::units::duration(first)?, super::units::duration(most)?);
            (first <= most && !most.is_zero()).then_some((first, most))
        });
        match span {
            Some(Some((first, most))) => (retry.backoff, retry.backoff_most) = (first, most),
            Some(None) => {
                reader.error(node.at, format!("`backoff` is {}", node.shown()), "short..long, like `200ms..2s`")
            }
            None => {}
        }
    }
    retry
}

fn on_failure(reader: &mut Reader<'_>, node: &Node) -> Option<OnFailure> {
    let words = [
        ("block", OnFailure::Block),
        ("continue", OnFailure::Continue),
        ("halt", OnFailure::Halt),
        ("undo", OnFailure::Undo),
    ];
    reader.word(node, "`on_failure`", &words)
}

fn lease(reader: &mut Reader<'_>, node: &Node) -> Option<Lease> {
    const ENDS: &[(&str, AtEnd)] = &[("ask", AtEnd::Ask), ("undo", AtEnd::Undo), ("keep", AtEnd::Keep)];
    let mut lease = Lease::default();
    let fields = reader.fields(node, "`lease`", &["for", "at_end"], &[])?;
    if let Some(node) = fields.get("for") {
        lease.lasts = reader.duration(node, "`for`")?;
    }
    if let Some(node) = fields.get("at_end") {
        lease.at_end = reader.word(node, "`at_end`", ENDS)?;
    }
    Some(lease)
}

/// A mode.
pub(crate) fn mode(reader: &mut Reader<'_>, node: &Node) -> Option<Mode> {
    reader.word(node, "mode", MODES)
}
