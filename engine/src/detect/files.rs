//! The files that rules and exceptions come from: folders walked whole, single files, texts in the binary.
//!
//! Owns the walk and its bounds. What cannot be read is a mistake with the file's name, never silence.

use quell_model::{Mistake, Span};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Where rules come from.
#[derive(Clone, Debug)]
pub enum RuleSource {
    /// A folder: every `.yml` and `.yaml` in it and below it.
    Dir(PathBuf),
    /// One file, whatever its name.
    File(PathBuf),
    /// What ships in the binary, under the name that stands in messages.
    Text {
        /// In messages.
        name: String,
        /// The YAML.
        text: String,
    },
}

/// A file's text and the number of the source that it came from.
pub(super) struct RuleFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) source: usize,
}

/// Larger files hold no rule that a person wrote.
const LARGEST: u64 = 4 * 1024 * 1024;

/// How deep folders may nest.
const DEPTH: u32 = 32;

/// Every file of the sources, in the order of the sources and then of their names.
pub(super) fn collect(sources: &[RuleSource], mistakes: &mut Vec<Mistake>) -> Vec<RuleFile> {
    let mut files = Vec::new();
    for (source, from) in sources.iter().enumerate() {
        match from {
            RuleSource::Text { name, text } => {
                files.push(RuleFile { path: name.into(), text: text.clone(), source });
            }
            RuleSource::File(path) => read(path, source, &mut files, mistakes),
            RuleSource::Dir(path) if path.is_file() => read(path, source, &mut files, mistakes),
            RuleSource::Dir(path) => {
                let mut walk = Walk { source, been: HashSet::new(), files: &mut files, mistakes };
                walk.folder(path, DEPTH);
            }
        }
    }
    files
}

/// One folder's walk: through symbolic links too, and into each folder once.
struct Walk<'a> {
    source: usize,
    been: HashSet<PathBuf>,
    files: &'a mut Vec<RuleFile>,
    mistakes: &'a mut Vec<Mistake>,
}

impl Walk<'_> {
    fn folder(&mut self, dir: &Path, depth: u32) {
        if depth == 0 {
            return self.unreadable(dir, &"folders nest too deep here");
        }
        match dir.canonicalize() {
            Ok(real) => {
                if !self.been.insert(real) {
                    return;
                }
            }
            Err(error) => return self.unreadable(dir, &error),
        }
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) => return self.unreadable(dir, &error),
        };
        let mut paths = Vec::new();
        for entry in entries {
            match entry {
                Ok(entry) => paths.push(entry.path()),
                Err(error) => self.unreadable(dir, &error),
            }
        }
        paths.sort();
        for path in paths {
            if path.is_dir() {
                self.folder(&path, depth - 1);
            } else if path.extension().is_some_and(|end| end == "yml" || end == "yaml") {
                read(&path, self.source, self.files, self.mistakes);
            }
        }
    }

    fn unreadable(&mut self, dir: &Path, why: &dyn std::fmt::Display) {
        self.mistakes.push(Mistake::error(dir, Span::default(), format!("cannot be read: {why}")));
    }
}

fn read(path: &Path, source: usize, files: &mut Vec<RuleFile>, mistakes: &mut Vec<Mistake>) {
    let meta = std::fs::metadata(path).ok();
    if meta.as_ref().is_some_and(|meta| !meta.is_file()) {
        // Whoever opens a fifo waits for its other end, and the daemon with it.
        mistakes.push(Mistake::error(path, Span::default(), "is no file"));
        return;
    }
    if meta.is_some_and(|meta| meta.len() > LARGEST) {
        let what = format!("is larger than {} MiB: no rule file", LARGEST / 1024 / 1024);
        mistakes.push(Mistake::error(path, Span::default(), what));
        return;
    }
    match std::fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => files.push(RuleFile { path: path.to_owned(), text, source }),
        Ok(Err(error)) => {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
            let span = Span { line: u32::try_from(line).unwrap_or(u32::MAX), column: 0, length: 1 };
            mistakes.push(Mistake::error(path, span, "is no UTF-8 text"));
        }
        Err(error) => mistakes.push(Mistake::error(path, Span::default(), format!("cannot be read: {error}"))),
    }
}
