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
    let mut endless = u64::MAX;
    nearest_within(written, known, &mut endless)
}

/// The same, for as long as there is something left of a budget, in letters times letters: of a thousand mistakes among
/// ten thousand names not each can be held against all. None once it is used up.
pub fn nearest_within<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
    budget: &mut u64,
) -> Option<&'a str> {
    if *budget == 0 || written.len() > LONGEST_WORD {
        return None;
    }
    let length = written.chars().count();
    let bound = (length / 3).max(2);
    let mut best: Option<(usize, &str)> = None;
    for name in known.into_iter().filter(|name| name.len() <= LONGEST_WORD) {
        let other = name.chars().count();
        // What is so much longer or shorter is as far at least.
        if length.abs_diff(other) > bound {
            continue;
        }
        *budget = budget.saturating_sub((length * other) as u64 + 1);
        if *budget == 0 {
            return None;
        }
        let far = strsim::damerau_levenshtein(written, name);
        // Of a word of one or two letters nearly everything is near: at least half of the longer one stays.
        if far <= bound && far * 2 <= length.max(other) && best.is_none_or(|(least, _)| far < least) {
            best = Some((far, name));
        }
    }
    best.map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::{nearest, nearest_within};

    #[test]
    fn near_is_found_and_far_is_not() {
        assert_eq!(nearest("proces.kill", ["process.freeze", "process.kill"]), Some("process.kill"));
        assert_eq!(nearest("nedes", ["needs", "with"]), Some("needs"));
        assert_eq!(nearest("zebra", ["needs", "with"]), None);
        assert_eq!(nearest("hi", ["low", "high"]), Some("high"));
        assert_eq!(nearest("zz", ["a", "b"]), None, "nothing of it is the same");
        assert_eq!(nearest("q", ["m"]), None);
        assert_eq!(nearest("needs", ["ned", "need", "needs_all"]), Some("need"));
    }

    #[test]
    fn who_asks_too_often_is_told_nothing_more() {
        let mut budget = 60;
        assert_eq!(nearest_within("nedes", ["needs"], &mut budget), Some("needs"));
        assert_eq!(nearest_within("nedes", ["a_very_long_name"], &mut budget), None);
        assert_eq!(budget, 34, "what is far by its length costs nothing");
        assert_eq!(nearest_within("nedes", ["needs"], &mut budget), Some("needs"));
        assert_eq!(nearest_within("nedes", ["needs"], &mut budget), None, "it is used up");
    }
}
