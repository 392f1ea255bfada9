//! `secrets` in quell.yaml: where values are. A value that stands in the file itself is a mistake that does not repeat it.
//!
//! Owns the section and its names. Keeps true: no mistake of this section shows its line, or a text that may be a value.

use super::Reading;
use crate::load::SecretFrom;
use crate::load::reader::{Fields, Reader};
use crate::load::secret_place::{self, EXPECTED};
use crate::load::yaml::{Entry, Node, Value};
use crate::playbook::check::can_be_named;
use quell_model::mistake::nearest;
use quell_model::{Mistake, Name};
use std::collections::BTreeSet;
use std::path::Path;

/// The section.
const SECTION: &str = "secrets";

impl Reading<'_> {
    pub(super) fn secrets(&mut self, top: &Fields<'_>) {
        let Some(node) = top.get(SECTION) else { return };
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
    secret_place::place(reader, folder, &format!("the secret `{name}`"), at, given)
}

fn is_a_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && can_be_named(name)
}

/// Mistakes without the lines on which something of `secrets` stands, whatever they are about.
pub(super) fn without_lines(mistakes: Vec<Mistake>, node: &Node) -> Vec<Mistake> {
    let Value::Map(entries) = &node.value else { return mistakes };
    // Also one that stands twice, or is misspelt.
    let is_meant = |key: &str| key == SECTION || nearest(key, [SECTION]).is_some();
    let mut lines = BTreeSet::new();
    let meant = entries.iter().filter(|entry| is_meant(&entry.key));
    meant.for_each(|entry| secret_place::lines_of_entry(entry, &mut lines));
    secret_place::without_lines(mistakes, &lines)
}

/// A mistake in YAML itself, without its line where that belongs to `secrets`.
pub(super) fn without_line(mistake: Mistake, text: &str) -> Mistake {
    secret_place::without_line(mistake, text, SECTION)
}
