//! Columns for people: a heading, rows, each cell escaped and inked.

use super::escape::clip;
use super::term::{Ink, Term, inked};

/// No cell but the last is wider.
const WIDEST: usize = 44;

/// One cell: its text, unescaped, and its look.
pub(crate) type Cell = (Ink, String);

/// A plain cell.
pub(crate) fn cell(text: impl Into<String>) -> Cell {
    (Ink::Plain, text.into())
}

/// Rows under a heading.
#[derive(Debug)]
pub(crate) struct Table {
    heading: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty one.
    pub(crate) fn new(heading: &[&'static str]) -> Self {
        Self { heading: heading.to_vec(), rows: Vec::new() }
    }

    /// One more row, as many cells as the heading.
    pub(crate) fn row(&mut self, row: impl IntoIterator<Item = Cell>) {
        self.rows.push(row.into_iter().collect());
    }

    /// Prints it; `none` instead on stderr when there is no row.
    pub(crate) fn print(&self, term: &Term, none: &str) {
        if self.rows.is_empty() {
            term.note(none);
            return;
        }
        for line in self.lines(term.has_colour(), term.width()) {
            term.line(line);
        }
    }

    fn lines(&self, colour: bool, width: usize) -> Vec<String> {
        let last = self.heading.len().saturating_sub(1);
        let safe: Vec<Vec<Cell>> =
            self.rows.iter().map(|row| row.iter().map(|(ink, text)| (*ink, clip(text, 400))).collect()).collect();
        let widths: Vec<usize> = (0..=last)
            .map(|at| {
                let cells = safe.iter().filter_map(|row| row.get(at)).map(|(_, text)| text.chars().count());
                cells.chain([self.heading[at].len()]).max().unwrap_or(0).min(WIDEST)
            })
            .collect();
        let before_last: usize = widths.iter().take(last).map(|w| w + 2).sum();
        let room = width.saturating_sub(before_last).max(30);
        let join = |cells: &mut dyn Iterator<Item = (Ink, String)>| {
            let mut line = String::new();
            for (at, (ink, text)) in cells.enumerate() {
                let text = fit(&text, if at == last { room } else { widths[at] });
                let pad = widths[at].saturating_sub(text.chars().count());
                line.push_str(&inked(colour, ink, &text));
                if at != last {
                    line.push_str(&" ".repeat(pad + 2));
                }
            }
            line.trim_end().to_owned()
        };
        let heading = join(&mut self.heading.iter().map(|head| (Ink::Dim, head.to_uppercase())));
        std::iter::once(heading).chain(safe.into_iter().map(|row| join(&mut row.into_iter()))).collect()
    }
}

/// Cut to a width that is already escaped.
fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_hostile_cells_stay_on_their_line() {
        let mut table = Table::new(&["id", "what"]);
        table.row([cell("r-1"), cell("a\nb\x1b[2J")]);
        table.row([cell("r-1234"), cell("c")]);
        assert_eq!(table.lines(false, 80), ["ID      WHAT", "r-1     a\\nb\\x1b[2J", "r-1234  c"]);
    }
}
