//! Mistakes in what people write: every reader collects all of them, with the place and the nearest right spelling.
//!
//! Owns the shape and the choice of the nearest spelling. Printing is the command line's.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A place in a file; lines and columns count from 1, columns in characters. Line 0: the file as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// From 1; 0 when the place is not known.
    pub line: u32,
    /// From 1; 0 when the place is not known.
    pub column: u32,
    /// How many characters, at least 1.
    pub length: u32,
}

/// How bad a mistake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MistakeLevel {
    /// Good to know.
    Note,
    /// Works, but probably not as meant.
    Warning,
    /// Nothing of the file is loaded.
    Error,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mistake {
    /// Which file; empty for standard input.
    pub file: PathBuf,
    /// Where in it.
    pub span: Span,
    /// How bad.
    pub level: MistakeLevel,
    /// What is wrong, with the value in backticks.
    pub what: String,
    /// What would be right.
    pub expected: Option<String>,
    /// The right spelling that is nearest.
    pub nearest: Option<String>,
    /// The line itself, where there is one.
    pub line_text: Option<String>,
}

impl Mistake {
    /// An error at a place.
    pub fn error(file: impl Into<PathBuf>, span: Span, what: impl Into<String>) -> Self {
        Self::new(MistakeLevel::Error, file, span, what)
    }

    /// A warning at a place.
    pub fn warning(file: impl Into<PathBuf>, span: Span, what: impl Into<String>) -> Self {
        Self::new(MistakeLevel::Warning, file, span, what)
    }

    /// A mistake of any level.
    pub fn new(level: MistakeLevel, file: impl Into<PathBuf>, span: Span, what: impl Into<String>) -> Self {
        Self { file: file.into(), span, level, what: what.into(), expected: None, nearest: None, line_text: None }
    }

    /// Says what would be right.
    #[must_use]
    pub fn expected(mut self, text: impl Into<String>) -> Self {
        self.expected = Some(text.into());
        self
    }

    /// Names the nearest of `known` to `written`, if one is near enough.
    #[must_use]
    pub fn nearest<'a>(mut self, written: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        self.nearest = nearest(written, known).map(str::to_owned);
        self
    }

    /// `file:line:column`, as compilers print it.
    #[must_use]
    pub fn place(&self) -> String {
        let file = if self.file.as_os_str().is_empty() { "<stdin>".into() } else { self.file.display().to_string() };
        match (self.span.line, self.span.column) {
            (0, _) => file,
            (line, 0) => format!("{file}:{line}"),
            (line, column) => format!("{file}:{line}:{column}"),
        }
    }
}

/// Nobody mistypes what is longer than this, and the search takes length × length.
const LONGEST_WORD: usize = 200;

/// The spelling among `known` that is nearest to `written`; none when all are far.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let bound = (written.chars().count() / 3).max(2);
    known
        .into_iter()
        .filter(|k| k.len() <= LONGEST_WORD && written.len() <= LONGEST_WORD)
        .map(|k| (strsim::damerau_levenshtein(written, k), k))
        // Of a word of one or two letters nearly everything is near: at least half of the longer one stays.
        .filter(|(far, k)| *far <= bound && far * 2 <= written.chars().count().max(k.chars().count()))
        .min_by_key(|(far, _)| *far)
        .map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_is_found_and_far_is_not() {
        assert_eq!(nearest("proces.kill", ["process.freeze", "process.kill"]), Some("process.kill"));
        assert_eq!(nearest("nedes", ["needs", "with"]), Some("needs"));
        assert_eq!(nearest("zebra", ["needs", "with"]), None);
        assert_eq!(nearest("hi", ["low", "high"]), Some("high"));
        assert_eq!(nearest("zz", ["a", "b"]), None, "nothing of it is the same");
        assert_eq!(nearest("q", ["m"]), None);
    }
}
