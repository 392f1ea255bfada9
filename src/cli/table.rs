//! Columns for people: a heading, rows, each cell escaped and inked.

use super::escape::clip;
use super::term::{Ink, Term, inked};

/// No cell but the last is wider.
const WIDEST: usize = 44;

/// Room that the last column has at least beside the others.
const NARROW: usize = 30;
/// Times, states and counts are no wider, and are never cut for the room.
const WHOLE: usize = 19;
/// So much is left of what is wider as long as the last column stands beside it, and so much where it does not.
const READABLE: usize = 36;
const LEAST: usize = 12;
/// Before what is on a line of its own.
const INDENT: &str = "    ";

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
        let (widths, first) = fitted(widths, width);
        let room = match first > last {
            true => width.saturating_sub(taken(&widths[..last])),
            false => width.saturating_sub(INDENT.len() + taken(&widths[first..last])),
        };
        let join = |cells: &mut dyn Iterator<Item = (Ink, String)>| {
            let mut line = String::new();
            for (at, (ink, text)) in cells.enumerate() {
                if at == first {
                    line.truncate(line.trim_end().len());
                    line.push('\n');
                    line.push_str(INDENT);
                }
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

/// What columns take, with the room behind each.
fn taken(widths: &[usize]) -> usize {
    widths.iter().map(|w| w + 2).sum()
}

/// The widths of columns on a terminal of this width, and how many of them have room beside each other; the others go to a
/// second line. What is wide is cut first; the first column, which names the row, is never cut for it.
fn fitted(natural: Vec<usize>, width: usize) -> (Vec<usize>, usize) {
    let Some((last, _)) = natural.split_last() else { return (natural, 0) };
    let mut widths = natural.clone();
    if shrunk(&mut widths, width.saturating_sub((*last).min(NARROW)), READABLE) {
        let all = widths.len();
        return (widths, all);
    }
    widths.clone_from(&natural);
    shrunk(&mut widths, width + 2, LEAST);
    let between = widths.len() - 1;
    let first = (1..=between).rev().find(|count| taken(&widths[..*count]) <= width + 2).unwrap_or(1);
    (widths, first)
}

/// Cuts the widest columns until what stands before the last is no wider than this, none below the floor; false: it is.
fn shrunk(widths: &mut [usize], room: usize, floor: usize) -> bool {
    let between = widths.len().saturating_sub(1);
    let mut wide: Vec<usize> = (1..between).filter(|at| widths[*at] > WHOLE).collect();
    while taken(&widths[..between]) > room {
        wide.retain(|at| widths[*at] > floor);
        let Some(widest) = wide.iter().copied().max_by_key(|at| widths[*at]) else { return false };
        widths[widest] -= 1;
    }
    true
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

    /// A row that is wider than the terminal would be broken in the middle of a word.
    #[test]
    fn no_row_is_wider_than_the_terminal_and_no_name_or_time_is_cut_for_it() {
        let mut table = Table::new(&["id", "opened", "started by", "from", "what"]);
        let (id, opened) = ("contain-fileless-execution", "2026-11-29 18:01:49");
        let wide = "fileless-memfd, fileless-deleted, fileless-shm";
        let what = "a program that was executed from memory is frozen, captured and killed, and its image is kept from starting";
        table.row([cell(id), cell(opened), cell(wide), cell(wide), cell(what)]);
        for width in [80, 100, 120, 160, 400] {
            let lines = table.lines(false, width);
            let all: Vec<&str> = lines.iter().flat_map(|line| line.split('\n')).collect();
            assert!(all.iter().all(|line| line.chars().count() <= width), "{width}: {all:#?}");
            assert!(lines[1].starts_with(&format!("{id}  {opened}  fileless-memfd")), "{width}: {all:#?}");
        }
        let narrow = table.lines(false, 100);
        assert!(narrow[1].contains("\n    a program that was executed from memory"), "{narrow:?}");
        assert!(table.lines(false, 400)[1].ends_with(&format!("{wide}  {what}").replace(wide, &fit(wide, WIDEST))));
    }

    #[test]
    fn the_last_goes_to_a_second_line_before_much_is_cut() {
        let mut table = Table::new(&["playbook", "mode here", "started by", "from", "what it does"]);
        let (starts, from) = ("incident opened, acknowledged", "/etc/quell/playbooks/of-ours/follows.yaml");
        table.row(["follows", "observe", starts, from, "Says what an incident does."].map(cell));
        let lines = table.lines(false, 100);
        assert!(lines[1].contains(starts) && lines[1].contains(from), "{lines:?}");
        assert!(lines[1].ends_with("\n    Says what an incident does."), "{lines:?}");
    }

    #[test]
    fn what_has_no_room_beside_the_rest_goes_to_a_second_line_whole() {
        let mut table = Table::new(&["run", "state", "mode", "playbook", "started", "incident", "what came of it"]);
        let (run, playbook, started) = ("r-8a7b9bfd7ff5", "contain-host", "2026-11-29 18:01:53");
        let row = [run, "succeeded", "enforce", playbook, started, "i-b7a3208a7236", "1 verified"];
        table.row(row.map(cell));
        assert_eq!(
            table.lines(false, 80),
            [
                "RUN             STATE      MODE     PLAYBOOK      STARTED\n    INCIDENT        WHAT CAME OF IT",
                "r-8a7b9bfd7ff5  succeeded  enforce  contain-host  2026-11-29 18:01:53\n    i-b7a3208a7236  1 verified",
            ]
        );
    }
}
