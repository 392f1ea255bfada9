//! Mistakes in files, for people: file:line:column, the line itself, what was expected, the nearest right spelling.
//!
//! miette draws; the text comes from [`Mistake`] and is escaped first, since a file may be hostile too.

use super::escape::{clip, escape};
use super::term::Term;
use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, Severity,
    SourceCode, SourceSpan, SpanContents,
};
use quell_model::{Mistake, MistakeLevel};
use serde_json::{Value, json};
use std::fmt;
use textwrap::{WordSeparator, WordSplitter};

/// How many of each level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Nothing of the file is loaded.
    pub(crate) errors: usize,
    /// Works, but probably not as meant.
    pub(crate) warnings: usize,
    /// Good to know.
    pub(crate) notes: usize,
}

impl Tally {
    /// Of these.
    pub(crate) fn of(mistakes: &[Mistake]) -> Self {
        let count = |level| mistakes.iter().filter(|m| m.level == level).count();
        Self {
            errors: count(MistakeLevel::Error),
            warnings: count(MistakeLevel::Warning),
            notes: count(MistakeLevel::Note),
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |n: usize, word: &str| (n > 0).then(|| format!("{n} {word}{}", if n == 1 { "" } else { "s" }));
        let parts: Vec<String> = [part(self.errors, "error"), part(self.warnings, "warning"), part(self.notes, "note")]
            .into_iter()
            .flatten()
            .collect();
        f.write_str(&if parts.is_empty() { "no mistakes".to_owned() } else { parts.join(", ") })
    }
}

/// Draws all of them on stderr, in the order of files and lines.
pub(crate) fn draw(term: &Term, mistakes: &[Mistake]) {
    for mistake in sorted(mistakes) {
        term.note_whole(drawn(mistake, term.has_colour_err(), term.columns_err()));
    }
}

/// As a list for `--json`.
pub(crate) fn as_json(mistakes: &[Mistake]) -> Vec<Value> {
    sorted(mistakes)
        .into_iter()
        .enumerate()
        .map(|(at, m)| {
            json!({
                "id": format!("{}#{}", m.place(), at + 1), "file": m.file.display().to_string(),
                "line": m.span.line, "column": m.span.column, "level": m.level, "what": m.what,
                "expected": m.expected, "nearest": m.nearest,
            })
        })
        .collect()
}

fn sorted(mistakes: &[Mistake]) -> Vec<&Mistake> {
    let mut list: Vec<&Mistake> = mistakes.iter().collect();
    list.sort_by(|a, b| (&a.file, a.span.line, a.span.column).cmp(&(&b.file, b.span.line, b.span.column)));
    list
}

/// Drawn for so many columns; none: no sentence is broken. A line of the file never is.
fn drawn(mistake: &Mistake, colour: bool, columns: Option<usize>) -> String {
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_context_lines(1)
        .with_wrap_lines(columns.is_some())
        .with_break_words(false)
        .with_word_separator(WordSeparator::AsciiSpace)
        .with_word_splitter(WordSplitter::NoHyphenation)
        .with_width(columns.unwrap_or(100));
    let mut text = String::new();
    let report = Report::of(mistake);
    if handler.render_report(&mut text, &report).is_err() {
        // The plain form says the same.
        text = format!("{}: {}", report.place, report.what);
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    // Where no line can be shown, the place goes before the sentence.
    lines.join("\n") + "\n"
}

/// A mistake as miette reads it: one line of source, at its own number.
#[derive(Debug)]
struct Report {
    level: MistakeLevel,
    what: String,
    help: Option<String>,
    place: String,
    line: Option<Line>,
    label: Option<String>,
}

#[derive(Debug)]
struct Line {
    name: String,
    text: String,
    number: usize,
    column: usize,
    start: usize,
    length: usize,
}

impl Report {
    fn of(mistake: &Mistake) -> Self {
        let place = escape(&mistake.place()).into_owned();
        let line = mistake.line_text.as_deref().filter(|_| mistake.span.line > 0).map(|text| Line::of(mistake, text));
        let what = escape(&mistake.what);
        let what = if line.is_some() { what.into_owned() } else { format!("{place}: {what}") };
        let expected = mistake.expected.as_deref().map(|e| format!("expected {}", escape(e)));
        let nearest = mistake.nearest.as_deref().map(|near| format!("did you mean `{}`?", escape(near)));
        // Under the line stands the shorter of the two, below it the rest.
        let (label, help) = match (line.is_some(), nearest, expected) {
            (true, Some(near), expected) => (Some(near), expected),
            (true, None, Some(expected)) if expected.chars().count() <= 60 => (Some(expected), None),
            (_, near, expected) => (None, [near, expected].into_iter().flatten().reduce(|a, b| format!("{a} {b}"))),
        };
        Self { level: mistake.level, what, help, place, line, label }
    }
}

impl Line {
    fn of(mistake: &Mistake, text: &str) -> Self {
        /// A line longer than this is cut around its mistake.
        const LONGEST: usize = 160;
        let column = (mistake.span.column.max(1) - 1) as usize;
        let skip = if text.chars().count() > LONGEST { column.saturating_sub(LONGEST / 2) } else { 0 };
        let shown: String = text.chars().skip(skip).take(LONGEST).collect();
        let at = column.saturating_sub(skip);
        let before: String = shown.chars().take(at).collect();
        let marked: String = shown.chars().skip(at).take(mistake.span.length.max(1) as usize).collect();
        let dots = if skip > 0 { "…" } else { "" };
        let (before, marked) = (format!("{dots}{}", escape_line(&before)), escape_line(&marked));
        // Behind the end of a line there is nothing to mark, and a mark without a character carries no words.
        let marked = if marked.is_empty() { " ".to_owned() } else { marked };
        let rest: String = shown.chars().skip(at + mistake.span.length.max(1) as usize).collect();
        Self {
            name: clip(&mistake.file.display().to_string(), 4096),
            number: mistake.span.line as usize,
            column,
            start: before.len(),
            length: marked.len(),
            text: format!("{before}{marked}{}", escape_line(&rest)),
        }
    }
}

/// A tab in a line of source becomes one space, so that the mark stands where it should.
fn escape_line(text: &str) -> String {
    escape(&text.replace('\t', " ")).into_owned()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Report {}

impl Diagnostic for Report {
    fn severity(&self) -> Option<Severity> {
        Some(match self.level {
            MistakeLevel::Error => Severity::Error,
            MistakeLevel::Warning => Severity::Warning,
            MistakeLevel::Note => Severity::Advice,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.line.as_ref().map(|line| line as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let line = self.line.as_ref()?;
        Some(Box::new(std::iter::once(LabeledSpan::new_primary_with_span(
            self.label.clone(),
            SourceSpan::new(line.start.into(), line.length),
        ))))
    }
}

impl SourceCode for Line {
    /// miette asks without context for the place, and with context for what to show: both are this line.
    fn read_span<'a>(
        &'a self,
        _: &SourceSpan,
        before: usize,
        _: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let name = if self.name.is_empty() { "<stdin>".to_owned() } else { self.name.clone() };
        let column = if before == 0 { self.column } else { 0 };
        Ok(Box::new(MietteSpanContents::new_named(
            name,
            self.text.as_bytes(),
            SourceSpan::new(0.into(), self.text.len()),
            self.number.saturating_sub(1),
            column,
            1,
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_model::Span;

    fn mistake() -> Mistake {
        let mut m = Mistake::error("a.yaml", Span { line: 12, column: 5, length: 5 }, "unknown key `nedes`")
            .expected("one of `needs`, `with`, `timeout`")
            .nearest("nedes", ["needs", "with"]);
        m.line_text = Some("    nedes: [freeze]".to_owned());
        m
    }

    #[test]
    fn a_mistake_shows_its_place_its_line_and_the_nearest_spelling() {
        insta::assert_snapshot!(drawn(&mistake(), false, None));
    }

    #[test]
    fn a_mistake_without_a_line_has_its_place_before_the_sentence() {
        let m = Mistake::warning("b.yaml", Span::default(), "the file is empty").expected("a playbook");
        insta::assert_snapshot!(drawn(&m, false, None));
    }

    #[test]
    fn a_hostile_line_breaks_nothing() {
        let mut m = Mistake::error("e\x1b[31m.yaml", Span { line: 1, column: 3, length: 4 }, "bad `\x1b]0;x\x07`");
        m.line_text = Some(format!("\tb\x1b[2J\r: {}", "y".repeat(100_000)));
        let text = drawn(&m, false, None);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        assert!(text.len() < 2_000, "{}", text.len());
        assert!(text.contains("1:3"), "{text}");
    }

    #[test]
    fn a_tally_reads_well() {
        assert_eq!(Tally::of(&[mistake(), mistake()]).to_string(), "2 errors");
        assert_eq!(Tally::default().to_string(), "no mistakes");
    }
}
