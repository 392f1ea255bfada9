//! What a step asks a person: `approve`, `confirm` and `ask`.
//!
//! Owns their keys and defaults. Whether the people and approvers exist is the check's to say, which knows the
//! installation.

use super::found::{self, Found, Stands};
use super::reader::{Fields, Reader, one_of};
use super::yaml::{Node, Value};
use crate::playbook::template::OPEN;
use quell_model::Name;
use quell_model::playbook::{Approve, AskPerson, Confirm, Unanswered, Within};

pub(crate) const APPROVE_KEYS: &[&str] = &["by", "within", "otherwise"];
pub(crate) const ASK_KEYS: &[&str] =
    &["question", "person", "by", "choices", "within", "otherwise", "remember", "not_via"];
/// The ways by which an answer can come.
pub(crate) const WAYS: &[&str] = &["socket", "token", "slack", "email"];
/// More is not read at night.
const MOST_CHOICES: usize = 10;

/// Whether a step may act.
pub(crate) fn approve(reader: &mut Reader<'_>, node: &Node) -> Option<Approve> {
    const WORDS: &[(&str, Unanswered)] = &[("deny", Unanswered::Deny), ("run", Unanswered::Run)];
    let fields = reader.fields(node, "`approve`", APPROVE_KEYS, &[])?;
    let by = by(reader, &fields);
    let within = within(reader, &fields);
    let otherwise = match fields.get("otherwise") {
        Some(node) => reader.word(node, "`otherwise`", WORDS),
        None => Some(Unanswered::default()),
    };
    Some(Approve { by, within: within?, otherwise: otherwise? })
}

/// Whether what a step did is to stand.
pub(crate) fn confirm(reader: &mut Reader<'_>, node: &Node) -> Option<Confirm> {
    const WORDS: &[(&str, bool)] = &[("keep", false), ("undo", true)];
    let fields = reader.fields(node, "`confirm`", APPROVE_KEYS, &[])?;
    let by = by(reader, &fields);
    let within = within(reader, &fields);
    let undo = match fields.get("otherwise") {
        Some(node) => reader.word(node, "`otherwise`", WORDS),
        None => Some(false),
    };
    Some(Confirm { by, within: within?, undo: undo? })
}

/// A question whose answer later steps go by.
pub(crate) fn ask(reader: &mut Reader<'_>, node: &Node, stands: Stands, out: &mut Vec<Found>) -> Option<AskPerson> {
    let fields = reader.fields(node, "`ask`", ASK_KEYS, &[])?;
    let question = match fields.get("question") {
        Some(node) => {
            found::in_template(reader, node, stands, out);
            reader.text(node, "`question`").map(str::to_owned)
        }
        None => {
            reader.error(fields.at, "`ask` without `question`", "`question: \"Did you run this?\"`");
            None
        }
    };
    let person = fields.get("person").and_then(|node| match &node.value {
        Value::Text(text) if !text.contains(OPEN) => {
            let expected =
                "`person: \"${{ person_of(event.actor) }}\"`; somebody of escalation.yaml by name: ${{ \"ana\" }}";
            reader.error(node.at, format!("`person` is {}, no expression", node.shown()), expected);
            None
        }
        _ => found::whole(reader, node, "`person`", stands, out),
    });
    let by = by(reader, &fields);
    let choices = choices(reader, &fields);
    let within = within(reader, &fields);
    let otherwise = otherwise(reader, &fields, &choices);
    let remember = fields.get("remember").and_then(|node| reader.duration(node, "`remember`"));
    let not_via = match fields.get("not_via") {
        Some(node) => ways(reader, node),
        None => Vec::new(),
    };
    Some(AskPerson {
        question: question?,
        person,
        by,
        choices,
        within: within?,
        otherwise: otherwise?,
        remember,
        not_via,
    })
}

fn by(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Name> {
    let node = fields.get("by")?;
    reader.text(node, "`by`").map(Name::from)
}

fn within(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Within> {
    match fields.get("within") {
        Some(node) => reader.duration(node, "`within`").map(Within),
        None => Some(Within::default()),
    }
}

fn choices(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Vec<Name> {
    let Some(node) = fields.get("choices") else {
        reader.error(fields.at, "`ask` without `choices`", "at least two, like `choices: [me, not_me]`");
        return Vec::new();
    };
    let mut choices: Vec<Name> = Vec::new();
    for (text, at) in reader.texts(node, "`choices`") {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if text.is_empty() || text.len() > 40 || !text.chars().all(is_word) {
            reader.error(at, format!("`{text}` cannot be a choice"), "a short word: letters, digits, `_` and `-`");
        } else if choices.iter().any(|choice| choice.as_str() == text) {
            reader.error(at, format!("the choice `{text}` stands twice"), "each choice once");
        } else {
            choices.push(text.into());
        }
    }
    if !(2..=MOST_CHOICES).contains(&choices.len()) && !reader.has_errors() {
        let what = format!("`choices` has {}", choices.len());
        reader.error(node.at, what, format!("2 to {MOST_CHOICES}, like `choices: [me, not_me]`"));
    }
    choices
}

fn otherwise(reader: &mut Reader<'_>, fields: &Fields<'_>, choices: &[Name]) -> Option<Name> {
    let Some(node) = fields.get("otherwise") else {
        reader.error(fields.at, "`ask` without `otherwise`", "what holds when nobody answers: one of the choices");
        return None;
    };
    let text = reader.text(node, "`otherwise`")?;
    if !choices.is_empty() && choices.iter().all(|choice| choice.as_str() != text) {
        let names: Vec<&str> = choices.iter().map(Name::as_str).collect();
        let mistake = reader.source.error(node.at, format!("`otherwise` is `{text}`, which is no choice"));
        reader.note_near(mistake.expected(one_of(&names)), text, names.iter().copied());
    }
    Some(text.into())
}

fn ways(reader: &mut Reader<'_>, node: &Node) -> Vec<Name> {
    let mut ways = Vec::new();
    for (text, at) in reader.texts(node, "`not_via`") {
        if WAYS.contains(&text) {
            ways.push(text.into());
        } else {
            let mistake = reader.source.error(at, format!("`{text}` is no way by which an answer comes"));
            reader.note_near(mistake.expected(one_of(WAYS)), text, WAYS.iter().copied());
        }
    }
    ways
}
