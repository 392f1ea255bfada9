//! All playbooks of an installation: those that ship, and those of folders and files.
//!
//! Owns which of two namesakes holds, and the checks between playbooks. YAML that is no playbook (a rule, a test) is
//! passed over in folders; a script that is none is a mistake.

use super::yaml::Source;
use super::{Known, files, playbook, script, yaml};
use crate::playbook::check::{across, subs};
use quell_model::playbook::Playbook;
use quell_model::{Mistake, Span};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where playbooks come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PlaybookSource {
    /// Every playbook below a folder.
    Dir(PathBuf),
    /// One file.
    File(PathBuf),
    /// One that is in the binary: a namesake from a folder or file replaces it.
    Text {
        /// What it is called in mistakes: `shipped/reverse-shell/playbook.yaml`.
        name: String,
        /// Its text.
        text: String,
    },
}

/// Reads and checks them all. A file with an error gives no playbook; of two namesakes in files, neither is loaded.
#[must_use]
pub fn playbooks(sources: &[PlaybookSource], known: &Known<'_>) -> (Vec<Arc<Playbook>>, Vec<Mistake>) {
    let mut mistakes = Vec::new();
    let mut shipped = Vec::new();
    let mut own = Vec::new();
    let mut seen: HashSet<PathBuf> = HashSet::new();
    for source in sources {
        match source {
            PlaybookSource::Text { name, text } => shipped.extend(one(Path::new(name), text, known, &mut mistakes)),
            PlaybookSource::File(path) => own.extend(file(path, known, false, &mut seen, &mut mistakes)),
            PlaybookSource::Dir(path) => match files::below(path) {
                Ok(found) => {
                    for path in found {
                        own.extend(file(&path, known, true, &mut seen, &mut mistakes));
                    }
                }
                Err(mistake) => mistakes.push(*mistake),
            },
        }
    }
    let own = without_namesakes(own, &mut mistakes);
    shipped.retain(|playbook| !own.contains_key(&playbook.name));
    let shipped = without_namesakes(shipped, &mut mistakes);
    let all: Vec<Arc<Playbook>> = own.into_values().chain(shipped.into_values()).map(Arc::new).collect();
    let mut all = all;
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let found = subs::check(&all.iter().map(Arc::as_ref).collect::<Vec<_>>(), known);
    // A file with an error gives nothing.
    all.retain(|playbook| found.iter().all(|mistake| mistake.file != playbook.file));
    mistakes.extend(found);
    mistakes.extend(across::same_acts(&all.iter().map(Arc::as_ref).collect::<Vec<_>>(), known));
    (all, mistakes)
}

fn one(file: &Path, text: &str, known: &Known<'_>, mistakes: &mut Vec<Mistake>) -> Option<Playbook> {
    let (playbook, found) = playbook(file, text, known);
    mistakes.extend(found);
    playbook
}

fn file(
    path: &Path,
    known: &Known<'_>,
    in_folder: bool,
    seen: &mut HashSet<PathBuf>,
    mistakes: &mut Vec<Mistake>,
) -> Option<Playbook> {
    let same = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if !seen.insert(same) {
        return None;
    }
    let text = match files::read(path) {
        Ok(text) => text,
        Err(mistake) => {
            mistakes.push(*mistake);
            return None;
        }
    };
    // In a folder stand rules and tests too, some of them of several documents, which are theirs to read. A script can
    // be nothing but a playbook.
    if in_folder && !script::is_script(path) {
        let source = Source::new(path, &text);
        match yaml::parse(&source) {
            Ok(node) if playbook::is_playbook(&node) => {
                let (made, found) = playbook::of_tree(&source, &node, known);
                mistakes.extend(found);
                return made;
            }
            Err(mistake) if text.lines().any(|line| line.starts_with("playbook:")) => mistakes.push(*mistake),
            Ok(_) | Err(_) => {}
        }
        return None;
    }
    one(path, &text, known, mistakes)
}

fn without_namesakes(playbooks: Vec<Playbook>, mistakes: &mut Vec<Mistake>) -> BTreeMap<quell_model::Name, Playbook> {
    let mut by_name: BTreeMap<_, Vec<Playbook>> = BTreeMap::new();
    for playbook in playbooks {
        by_name.entry(playbook.name.clone()).or_default().push(playbook);
    }
    by_name.retain(|name, same| {
        let Some((first, others)) = same.split_first() else { return false };
        for other in others {
            let (span, line) = name_line(other);
            let what = format!("two playbooks are called `{name}`: the other is {}", first.file.display());
            let mut mistake = Mistake::error(&other.file, span, what).expected("a name of its own; neither is loaded");
            mistake.line_text = line;
            mistakes.push(mistake);
        }
        others.is_empty()
    });
    by_name.into_iter().filter_map(|(name, mut same)| Some((name, same.pop()?))).collect()
}

/// Where a playbook's name stands, and the line itself.
pub(crate) fn name_line(playbook: &Playbook) -> (Span, Option<String>) {
    let names = |line: &str| line.starts_with("playbook:") || line.starts_with("playbook(");
    let found = playbook.text.lines().enumerate().find(|(_, line)| names(line));
    let line = found.map_or(0, |(at, _)| u32::try_from(at + 1).unwrap_or(0));
    (Span { line, column: u32::from(line > 0), length: 8 }, found.map(|(_, line)| line.to_owned()))
}
