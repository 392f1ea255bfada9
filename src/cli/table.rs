//! Columns for people: a heading, rows, each cell escaped and inked.
//!
//! Owns how columns share the width of a terminal. Keeps true: no cell is cut for the room, and none of its words is broken: a text goes
//! on under its column, and columns without room beside the others stand on further lines, indented.

use super::escape::clip;
use super::layout::{fold, widest_word, width};
use super::show::SHOWN;
use super::term::{Ink, Term, inked};
use std::ops::Range;

/// Where no terminal asks for less, what is wider pushes aside what follows in its row alone.
const WIDEST: usize = 44;
/// Times, states and counts are no wider, and stand on one line.
const WHOLE: usize = 19;
/// A text has room for so much at least, or for all of it.
const READABLE: usize = 24;
/// And the last, where most is said, for so much.
const NARROW: usize = 30;
/// Before what is on a further line.
const INDENT: usize = 4;
/// Between columns.
const GAP: usize = 2;

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
        for line in self.lines(term.has_colour(), term.columns()) {
            term.whole(line);
        }
    }

    fn lines(&self, colour: bool, columns: Option<usize>) -> Vec<String> {
        let heading = self.heading.iter().map(|head| (Ink::Dim, head.to_uppercase())).collect();
        let safe = self.rows.iter().map(|row| row.iter().map(|(ink, text)| (*ink, clip(text, SHOWN))).collect());
        let rows: Vec<Vec<Cell>> = std::iter::once(heading).chain(safe).collect();
        let bands = bands(&rows, self.heading.len(), columns);
        let lines = rows.iter().flat_map(|row| bands.iter().flat_map(|band| band.lines(row, colour)));
        lines.collect()
    }
}

/// Columns that stand beside each other.
struct Band {
    columns: Range<usize>,
    indent: usize,
    /// Of each column; none: a cell takes what it takes.
    widths: Vec<usize>,
    folds: bool,
}

impl Band {
    /// One row's cells of it, with as many lines as the highest has.
    fn lines(&self, row: &[Cell], colour: bool) -> Vec<String> {
        let cells = row.get(self.columns.clone()).unwrap_or_default();
        let cells: Vec<(Ink, Vec<String>)> = cells
            .iter()
            .zip(&self.widths)
            .map(|((ink, text), room)| (*ink, if self.folds { fold(text, *room, 0) } else { vec![text.clone()] }))
            .collect();
        let height = cells.iter().map(|(_, lines)| lines.len()).max().unwrap_or(0);
        let line = |at: usize| {
            let mut line = " ".repeat(self.indent);
            for ((ink, texts), room) in cells.iter().zip(&self.widths) {
                let text = texts.get(at).map_or("", String::as_str);
                if !text.is_empty() {
                    line.push_str(&inked(colour, *ink, text));
                }
                line.push_str(&" ".repeat(room.saturating_sub(width(text)) + GAP));
            }
            line.truncate(line.trim_end().len());
            line
        };
        // A row without anything in these columns has no line for them.
        (0..height).map(line).filter(|line| self.indent == 0 || !line.is_empty()).collect()
    }
}

/// How columns stand: as many beside each other as have room for what cannot be narrower.
fn bands(rows: &[Vec<Cell>], count: usize, columns: Option<usize>) -> Vec<Band> {
    let cells = |at: usize| rows.iter().filter_map(move |row| row.get(at)).map(|(_, text)| text.as_str());
    let natural: Vec<usize> = (0..count).map(|at| cells(at).map(width).max().unwrap_or(0)).collect();
    let Some(columns) = columns else {
        let widths = natural.iter().map(|natural| (*natural).min(WIDEST)).collect();
        return vec![Band { columns: 0..count, indent: 0, widths, folds: false }];
    };
    let least: Vec<usize> = (0..count)
        .map(|at| {
            let room = if natural[at] <= WHOLE { WHOLE } else { [READABLE, NARROW][usize::from(at + 1 == count)] };
            let word = cells(at).map(|text| if width(text) <= WHOLE { width(text) } else { widest_word(text) }).max();
            natural[at].min(room).max(word.unwrap_or(0))
        })
        .collect();
    let mut bands: Vec<Band> = Vec::new();
    let mut from = 0;
    while from < count {
        let indent = if from == 0 { 0 } else { INDENT };
        let room = columns.saturating_sub(indent);
        let fits = |to: &usize| taken(&least[from..*to]) <= room;
        let to = (from + 1..=count).rev().find(fits).unwrap_or(from + 1);
        let widths = shared(&least[from..to], &natural[from..to], room);
        bands.push(Band { columns: from..to, indent, widths, folds: true });
        from = to;
    }
    bands
}

/// What columns take beside each other.
fn taken(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + widths.len().saturating_sub(1) * GAP
}

/// What is left of the room goes first to those who need the least of it to be whole.
fn shared(least: &[usize], natural: &[usize], room: usize) -> Vec<usize> {
    let mut widths = least.to_vec();
    let mut left = room.saturating_sub(taken(least));
    let mut wanting: Vec<usize> = (0..widths.len()).filter(|at| natural[*at] > widths[*at]).collect();
    wanting.sort_by_key(|at| natural[*at] - widths[*at]);
    let mut others = wanting.len();
    for at in wanting {
        let more = (natural[at] - widths[at]).min(left / others);
        widths[at] += more;
        left -= more;
        others -= 1;
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(lines: &[String]) -> usize {
        lines.iter().map(|line| width(line)).max().unwrap_or(0)
    }

    fn runs() -> Table {
        let mut table = Table::new(&["run", "state", "mode", "playbook", "started", "incident", "what came of it"]);
        let (run, playbook, started) = ("r-8a7b9bfd7ff5", "contain-fileless-execution", "2026-11-29 18:01:53");
        let came = "2 verified, 1 refused: the guard `protect` says that its unit `nginx.service` is protected";
        table.row([run, "succeeded", "enforce", playbook, started, "i-b7a3208a7236", came].map(cell));
        table.row([run, "waiting", "approve", "contain-host", started, "", ""].map(cell));
        table
    }

    #[test]
    fn columns_line_up_and_hostile_cells_stay_on_their_line() {
        let mut table = Table::new(&["id", "what"]);
        table.row([cell("r-1"), cell("a\nb\x1b[2J")]);
        table.row([cell("r-1234"), cell("c")]);
        for columns in [None, Some(80)] {
            assert_eq!(table.lines(false, columns), ["ID      WHAT", "r-1     a\\nb\\x1b[2J", "r-1234  c"]);
        }
    }

    #[test]
    fn rows_at_80_columns_break_between_words_and_go_on_under_their_column() {
        insta::assert_snapshot!(runs().lines(false, Some(80)).join("\n"));
    }

    /// The words of a row in the order of its lines and columns may be others; none is missing, and none is cut.
    #[test]
    fn at_no_width_is_a_row_wider_or_a_word_lost() {
        let words = |lines: &[String]| {
            let mut words: Vec<String> =
                lines.iter().flat_map(|line| line.split_whitespace()).map(str::to_owned).collect();
            words.sort();
            words
        };
        let piped = runs().lines(false, None);
        assert_eq!(piped.len(), 3, "{piped:?}");
        for columns in 40..240 {
            let lines = runs().lines(false, Some(columns));
            assert!(wide(&lines) <= columns, "{columns}: {lines:#?}");
            assert_eq!(words(&lines), words(&piped), "{columns}: {lines:#?}");
            assert!(lines.iter().any(|line| line.contains("2026-11-29 18:01:53")), "{columns}: {lines:#?}");
        }
    }

    #[test]
    fn a_path_without_room_stands_on_a_line_of_its_own() {
        let path =
            "/sys/fs/cgroup/system.slice/a-service-with-a-long-name.service/and/what/is/below/it/in/its/tree.scope";
        let mut table = Table::new(&["incident", "opened", "about"]);
        table.row([cell("i-b7a3208a7236"), cell("2026-11-29 18:01:53"), cell(path)]);
        for columns in [60, 80, 100] {
            let lines = table.lines(false, Some(columns));
            assert_eq!(lines.last().unwrap(), &format!("    {path}"), "{columns}");
        }
        assert!(table.lines(false, Some(160))[1].ends_with(path));
    }

    #[test]
    fn columns_without_room_go_to_a_further_line_with_their_heading() {
        let mut table = Table::new(&["run", "state", "mode", "playbook", "started", "incident", "what came of it"]);
        let (run, playbook, started) = ("r-8a7b9bfd7ff5", "contain-host", "2026-11-29 18:01:53");
        table.row([run, "succeeded", "enforce", playbook, started, "i-b7a3208a7236", "1 verified"].map(cell));
        assert_eq!(
            table.lines(false, Some(80)),
            [
                "RUN             STATE      MODE     PLAYBOOK      STARTED",
                "    INCIDENT        WHAT CAME OF IT",
                "r-8a7b9bfd7ff5  succeeded  enforce  contain-host  2026-11-29 18:01:53",
                "    i-b7a3208a7236  1 verified",
            ]
        );
    }

    #[test]
    fn colours_are_of_each_line_and_take_no_room() {
        let mut table = Table::new(&["name", "what"]);
        table.row([(Ink::Name, "a".to_owned()), (Ink::Bad, "one two three four five six seven eight nine".to_owned())]);
        let lines = table.lines(true, Some(40));
        assert_eq!(lines[1], "\x1b[36ma\x1b[0m     \x1b[1;31mone two three four five six seven\x1b[0m");
        assert_eq!(lines[2], "      \x1b[1;31meight nine\x1b[0m");
    }
}
