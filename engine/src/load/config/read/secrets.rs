//! `secrets` in quell.yaml: where values are. A value that stands in the file itself is a mistake that does not repeat it.
//!
//! Owns its keys. Keeps true: no mistake of this section shows its line, or a text that may be a value.

use super::Reading;
use crate::load::SecretFrom;
use crate::load::reader::{Fields, Reader};
use crate::load::secret::is_set;
use crate::load::yaml::{Entry, Node, Value};
use crate::playbook::check::can_be_named;
use quell_model::mistake::nearest;
use quell_model::{Mistake, Name};
use std::collections::BTreeSet;
use std::path::Path;

/// What a secret is written as.
const EXPECTED: &str = "`{ env: NAME }` or `{ file: PATH }`, where the value is";

/// Letters of a variable's name, and of a word of it: longer is what nobody gave a name.
const LONGEST_VARIABLE: usize = 100;
const LONGEST_WORD: usize = 24;
/// From letters to digits and back, within a word.
const MOST_TURNS: usize = 2;

impl Reading<'_> {
    pub(super) fn secrets(&mut self, top: &Fields<'_>) {
        let Some(node) = top.get("secrets") else { return };
        let Value::Map(entries) = &node.value else {
            return self.reader.error(
                node.at,
                "`secrets` is no map",
                "`NAME: { env: NAME }` or `NAME: { file: PATH }`",
            );
        };
        for (at, entry) in entries.iter().enumerate() {
            let twice = entries[..at].iter().find(|other| other.key == entry.key && other.merged == entry.merged);
            if let Some(first) = twice.filter(|_| !entry.merged) {
                let what = format!("a name stands twice in `secrets`, first on line {}", first.at.line);
                self.reader.error(entry.at, what, "each name once");
            }
            if let Some(from) = secret(&mut self.reader, &self.folder, entry) {
                self.written(&format!("secrets.{}", entry.key), entry);
                self.config.secrets.insert(Name::from(entry.key.as_str()), from);
            }
        }
    }
}

fn secret(reader: &mut Reader<'_>, folder: &Path, entry: &Entry) -> Option<SecretFrom> {
    let (name, at) = (entry.key.as_str(), entry.value.at);
    // Whoever writes `{ value }` has a name that is one: only what is followed by where it lies is repeated.
    let Value::Map(given) = &entry.value.value else {
        reader.error(at, "a secret does not say where its value is", EXPECTED);
        return None;
    };
    if !is_a_name(name) {
        let expected = "a lower-case letter, then lower-case letters, digits and `_`, and no word of the language";
        reader.error(entry.at, "this cannot be the name of a secret", expected);
        return None;
    }
    let (places, strange): (Vec<&Entry>, Vec<&Entry>) =
        given.iter().partition(|entry| matches!(entry.key.as_str(), "env" | "file"));
    // Not named: whoever writes `{ value }` has a key that is one.
    for entry in &strange {
        reader.error(entry.at, format!("the secret `{name}` has a key that is neither `env` nor `file`"), EXPECTED);
    }
    match places.as_slice() {
        [one] if one.key == "env" => variable(reader, name, &one.value),
        [one] => match &one.value.value {
            Value::Text(path) if !path.is_empty() => Some(SecretFrom::File(folder.join(path))),
            _ => {
                reader.error(one.value.at, format!("the `file` of the secret `{name}` is no path"), "a path");
                None
            }
        },
        [_, ..] => {
            reader.error(at, format!("the secret `{name}` is in two places"), EXPECTED);
            None
        }
        // What else it has was said.
        [] if !strange.is_empty() => None,
        [] => {
            reader.error(at, format!("the secret `{name}` does not say where its value is"), EXPECTED);
            None
        }
    }
}

fn variable(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<SecretFrom> {
    match &node.value {
        Value::Text(text) if is_a_variable(text) => Some(SecretFrom::Env(text.clone())),
        _ => {
            let what = format!("the `env` of the secret `{name}` is no name of an environment variable");
            reader.error(
                node.at,
                what,
                "a name like `CI_TOKEN`, of the variable that holds the value; never the value",
            );
            None
        }
    }
}

fn is_a_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && can_be_named(name)
}

/// Whether a text is a variable's name, and looks like one: whoever writes the value in its place is told so, and it is
/// shown to nobody. Tokens mix cases, and change between letters and digits within a word.
fn is_a_variable(name: &str) -> bool {
    // One that is there is one, however it is spelt.
    is_set(name) || looks_like_a_variable(name)
}

fn looks_like_a_variable(name: &str) -> bool {
    let is_upper = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let is_lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.len() <= LONGEST_VARIABLE
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().any(|c| c.is_ascii_alphabetic())
        && (name.chars().all(is_upper) || name.chars().all(is_lower))
        && name.split('_').all(|word| word.len() <= LONGEST_WORD && turns(word) <= MOST_TURNS)
}

/// How often a word goes from letters to digits, or back: once in `OAUTH2`, twice in `K8S`.
fn turns(word: &str) -> usize {
    word.as_bytes().windows(2).filter(|two| two[0].is_ascii_digit() != two[1].is_ascii_digit()).count()
}

/// Mistakes without the lines on which something of `secrets` stands, whatever they are about.
pub(super) fn without_lines(mut mistakes: Vec<Mistake>, node: &Node) -> Vec<Mistake> {
    let Value::Map(entries) = &node.value else { return mistakes };
    // Also one that stands twice, or is misspelt.
    let is_meant = |key: &str| key == "secrets" || nearest(key, ["secrets"]).is_some();
    let mut lines = BTreeSet::new();
    for entry in entries.iter().filter(|entry| is_meant(&entry.key)) {
        // Of an alias, where the anchor is.
        lines.insert(entry.at.line);
        lines_of(&entry.value, &mut lines);
    }
    mistakes.iter_mut().filter(|m| lines.contains(&m.span.line)).for_each(|mistake| mistake.line_text = None);
    mistakes
}

fn lines_of(node: &Node, lines: &mut BTreeSet<u32>) {
    lines.insert(node.at.line);
    match &node.value {
        Value::Map(entries) => entries.iter().for_each(|entry| {
            lines.insert(entry.at.line);
            lines_of(&entry.value, lines);
        }),
        Value::List(list) => list.iter().for_each(|item| lines_of(item, lines)),
        _ => {}
    }
}

/// A mistake in YAML itself, without its line where that belongs to `secrets`.
pub(super) fn without_line(mistake: Mistake, text: &str) -> Mistake {
    let until = text.lines().take(mistake.span.line as usize);
    let is_top = |line: &&str| !line.starts_with([' ', '\t', '#', '-', '}', ']']) && !line.is_empty();
    let key = until.filter(is_top).last().unwrap_or_default();
    if !key.contains("secrets") {
        return mistake;
    }
    let what = "this is no YAML, in or after `secrets`".to_owned();
    Mistake { line_text: None, what, expected: None, nearest: None, ..mistake }
}
