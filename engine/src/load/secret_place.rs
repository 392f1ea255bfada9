//! Where a file says that a secret's value is: `{ env: NAME }` or `{ file: PATH }`. A value that stands in its place is a
//! mistake that does not repeat it.
//!
//! Owns those two keys, of quell.yaml and of escalation.yaml. Keeps true: no mistake about them holds a text that may be a
//! value, and whoever gathers the lines of secrets by [`lines_of`] takes them from every other mistake too.

use super::reader::Reader;
use super::secret::{SecretFrom, is_set};
use super::yaml::{Entry, Node, Place, Value};
use quell_model::Mistake;
use quell_model::mistake::nearest;
use std::collections::BTreeSet;
use std::path::Path;

/// What a secret is written as.
pub(crate) const EXPECTED: &str = "`{ env: NAME }` or `{ file: PATH }`, where the value is";

/// Letters of a variable's name, and of a word of it: longer is what nobody gave a name.
const LONGEST_VARIABLE: usize = 100;
const LONGEST_WORD: usize = 24;
/// From letters to digits and back, within a word.
const MOST_TURNS: usize = 2;

/// The place that is given of `what` (`the secret ...`), in a map that stands at `at`. Paths are relative to `folder`.
pub(crate) fn place(
    reader: &mut Reader<'_>,
    folder: &Path,
    what: &str,
    at: Place,
    given: &[Entry],
) -> Option<SecretFrom> {
    let (places, strange): (Vec<&Entry>, Vec<&Entry>) =
        given.iter().partition(|entry| matches!(entry.key.as_str(), "env" | "file"));
    // Not named: whoever writes `{ value }` has a key that is one.
    for entry in &strange {
        reader.error(entry.at, format!("{what} has a key that is neither `env` nor `file`"), EXPECTED);
    }
    match places.as_slice() {
        [one] if one.key == "env" => variable(reader, what, &one.value),
        [one] => match &one.value.value {
            Value::Text(path) if !path.is_empty() => Some(SecretFrom::File(folder.join(path))),
            _ => {
                reader.error(one.value.at, format!("the `file` of {what} is no path"), "a path");
                None
            }
        },
        [_, ..] => {
            reader.error(at, format!("{what} is in two places"), EXPECTED);
            None
        }
        // What else it has was said.
        [] if !strange.is_empty() => None,
        [] => {
            reader.error(at, format!("{what} does not say where its value is"), EXPECTED);
            None
        }
    }
}

fn variable(reader: &mut Reader<'_>, what: &str, node: &Node) -> Option<SecretFrom> {
    match &node.value {
        Value::Text(text) if is_a_variable(text) => Some(SecretFrom::Env(text.clone())),
        _ => {
            let what = format!("the `env` of {what} is no name of an environment variable");
            reader.error(
                node.at,
                what,
                "a name like `CI_TOKEN`, of the variable that holds the value; never the value",
            );
            None
        }
    }
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

/// The lines on which an entry stands, with all that is in it; of an alias, where the anchor is.
pub(crate) fn lines_of_entry(entry: &Entry, lines: &mut BTreeSet<u32>) {
    lines.insert(entry.at.line);
    lines_of(&entry.value, lines);
}

/// The lines on which a value stands, with all that is in it.
pub(crate) fn lines_of(node: &Node, lines: &mut BTreeSet<u32>) {
    lines.insert(node.at.line);
    match &node.value {
        Value::Map(entries) => entries.iter().for_each(|entry| lines_of_entry(entry, lines)),
        Value::List(list) => list.iter().for_each(|item| lines_of(item, lines)),
        _ => {}
    }
}

/// Mistakes without the text of these lines, whatever they are about.
pub(crate) fn without_lines(mut mistakes: Vec<Mistake>, lines: &BTreeSet<u32>) -> Vec<Mistake> {
    mistakes.iter_mut().filter(|m| lines.contains(&m.span.line)).for_each(|mistake| mistake.line_text = None);
    mistakes
}

/// A mistake in YAML itself, without its line where that belongs to the section that holds secrets.
pub(crate) fn without_line(mistake: Mistake, text: &str, section: &str) -> Mistake {
    let until = text.lines().take(mistake.span.line as usize);
    let is_top = |line: &&str| !line.starts_with([' ', '\t', '#', '-', '}', ']']) && !line.is_empty();
    let key = until.filter(is_top).last().unwrap_or_default();
    // Also one that is misspelt.
    let word = key.split(':').next().unwrap_or_default().trim();
    if !key.contains(section) && nearest(word, [section]).is_none() {
        return mistake;
    }
    let what = format!("this is no YAML, in or after `{section}`");
    Mistake { line_text: None, what, expected: None, nearest: None, ..mistake }
}
