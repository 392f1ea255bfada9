//! All playbooks of an installation: those that ship, and those of folders and files.
//!
//! Owns which of two namesakes holds, and the checks between playbooks. YAML that is no playbook (a rule, a test) is
//! passed over in folders; a script that is none is a mistake.

use super::playbook::Parsed;
use super::{Known, files, script};
use crate::playbook::check::{across, has_errors, subs};
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
    /// Every playbook in a folder, and none below it: what stands beside a file.
    Beside(PathBuf),
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
    let (shipped, own) = parsed(sources, &mut mistakes);
    // One's own replace what ships, also in what steps may read of them.
    let outputs = shipped.iter().chain(&own).filter_map(Parsed::gives).collect();
    let known = &Known { outputs, ..known.clone() };
    let mut broken = Vec::new();
    let mut checked = |all: Vec<Parsed>| -> Vec<Playbook> {
        let mut made = Vec::new();
        for parsed in all {
            let (playbook, found) = parsed.checked(known);
            if has_errors(&found) { &mut broken } else { &mut made }.extend(playbook);
            mistakes.extend(found);
        }
        made
    };
    let (mut shipped, own) = (checked(shipped), checked(own));
    let own = without_namesakes(own, &mut mistakes);
    shipped.retain(|playbook| !own.contains_key(&playbook.name));
    let shipped = without_namesakes(shipped, &mut mistakes);
    let mut all: Vec<Arc<Playbook>> = own.into_values().chain(shipped.into_values()).map(Arc::new).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let found = subs::check(&all.iter().map(Arc::as_ref).collect::<Vec<_>>(), &broken, known);
    // A file with an error gives nothing.
    all.retain(|playbook| found.iter().all(|mistake| mistake.file != playbook.file));
    mistakes.extend(found);
    mistakes.extend(across::same_acts(&all.iter().map(Arc::as_ref).collect::<Vec<_>>(), known));
    (all, mistakes)
}

/// What ships and what stands in files, each as a tree.
fn parsed(sources: &[PlaybookSource], mistakes: &mut Vec<Mistake>) -> (Vec<Parsed>, Vec<Parsed>) {
    let (mut shipped, mut own) = (Vec::new(), Vec::new());
    let mut seen: HashSet<PathBuf> = HashSet::new();
    for source in sources {
        let (paths, in_folder) = match source {
            PlaybookSource::Text { name, text } => {
                shipped.extend(noted(Parsed::of(Path::new(name), text), mistakes));
                continue;
            }
            PlaybookSource::File(path) => (Ok(vec![path.clone()]), false),
            PlaybookSource::Dir(path) => (files::below(path), true),
            PlaybookSource::Beside(path) => (files::beside(path), true),
        };
        match paths {
            Ok(paths) => own.extend(paths.iter().filter_map(|path| file(path, in_folder, &mut seen, mistakes))),
            Err(mistake) => mistakes.push(*mistake),
        }
    }
    (shipped, own)
}

fn noted(parsed: Result<Parsed, Vec<Mistake>>, mistakes: &mut Vec<Mistake>) -> Option<Parsed> {
    parsed.map_err(|found| mistakes.extend(found)).ok()
}

fn file(path: &Path, in_folder: bool, seen: &mut HashSet<PathBuf>, mistakes: &mut Vec<Mistake>) -> Option<Parsed> {
    let same = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if !seen.insert(same) {
        return None;
    }
    let text = files::read(path).map_err(|mistake| mistakes.push(*mistake)).ok()?;
    let parsed = Parsed::of(path, &text);
    // In a folder stand rules and tests too, some of them of several documents, which are theirs to read. A script can
    // be nothing but a playbook.
    let is_other = in_folder
        && !script::is_script(path)
        && match &parsed {
            Ok(parsed) => !parsed.is_playbook(),
            Err(_) => !text.lines().any(|line| line.starts_with("playbook:")),
        };
    if is_other { None } else { noted(parsed, mistakes) }
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

/// The line that something of a playbook stands on.
pub(crate) fn line_of(playbook: &Playbook, at: Span) -> Option<String> {
    playbook.text.lines().nth((at.line as usize).checked_sub(1)?).map(str::to_owned)
}

/// Where a playbook's name stands, and the line itself.
pub(crate) fn name_line(playbook: &Playbook) -> (Span, Option<String>) {
    let names = |line: &str| line.starts_with("playbook:") || line.starts_with("playbook(");
    let found = playbook.text.lines().enumerate().find(|(_, line)| names(line));
    let line = found.map_or(0, |(at, _)| u32::try_from(at + 1).unwrap_or(0));
    (Span { line, column: u32::from(line > 0), length: 8 }, found.map(|(_, line)| line.to_owned()))
}
