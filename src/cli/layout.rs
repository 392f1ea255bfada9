//! Lines of a terminal's width: the one place that says where a line is broken.
//!
//! Owns widths and breaks. Never changes a word. Keeps true: a word stays whole, and so does what stands in backticks, a command that
//! somebody copies; what goes on stands under its column; what is wider than the room stands on a line of its own; colours take no
//! room, and a broken line begins and ends with them.

use textwrap::core::display_width;

/// Before what has no room under its column.
const INDENT: usize = 4;
/// Columns with less than this part of the line are no place for a text to go on.
const HALF: usize = 2;

/// How many columns a text takes on a terminal: wide characters two, colours none.
pub(crate) fn width(text: &str) -> usize {
    display_width(text)
}

/// The widest word of a text: it cannot be narrower.
pub(crate) fn widest_word(text: &str) -> usize {
    text.split(' ').map(width).max().unwrap_or(0)
}

/// Where a line goes on: under its last column that has at least half of the width, columns being what two spaces part.
pub(crate) fn hang(line: &str, columns: usize) -> usize {
    let (mut at, mut hang) = (0, 0);
    for (gap, word) in words(line, columns) {
        if gap > 1 && at + gap <= columns / HALF {
            hang = at + gap;
        }
        at += gap + width(word);
    }
    hang
}

/// A line as lines of so many columns, those behind the first `hang` columns in.
pub(crate) fn fold(line: &str, columns: usize, hang: usize) -> Vec<String> {
    if width(line) <= columns {
        return vec![line.to_owned()];
    }
    let mut lines = vec![String::new()];
    let mut ink = None;
    // Where the last line ends, and whether what stands on it stands there alone.
    let (mut at, mut alone) = (0, false);
    for (gap, word) in words(line, columns) {
        let wide = width(word);
        let is_first = lines.len() == 1 && at == 0;
        if !is_first && (alone || at + gap + wide > columns) {
            let indent = if hang + wide <= columns { hang } else { columns.saturating_sub(wide).min(hang).min(INDENT) };
            alone = indent < hang;
            close(&mut lines, ink);
            let mut next = " ".repeat(indent);
            next.push_str(ink.unwrap_or_default());
            lines.push(next);
            at = indent;
        } else if let Some(last) = lines.last_mut() {
            last.push_str(&" ".repeat(gap));
            at += gap;
        }
        if let Some(last) = lines.last_mut() {
            last.push_str(word);
        }
        at += wide;
        ink = inks(word).last().map_or(ink, |code| (code != RESET).then_some(code));
    }
    // A line of which only its indentation had room is none.
    lines.retain(|line| !line.trim().is_empty());
    lines
}

/// What ends every colour.
const RESET: &str = "\x1b[0m";

fn close(lines: &mut [String], ink: Option<&str>) {
    if let (Some(last), Some(_)) = (lines.last_mut(), ink) {
        last.push_str(RESET);
    }
}

/// The colours that a word changes to.
fn inks(word: &str) -> impl Iterator<Item = &str> {
    let code = |(at, _)| word[at..].find('m').map(|end| &word[at..=at + end]);
    word.match_indices("\x1b[").filter_map(code)
}

/// The words of a line, each with the spaces before it. What stands in backticks is one, if a line can hold it.
fn words(line: &str, columns: usize) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let bare = rest.trim_start_matches(' ');
        let gap = rest.len() - bare.len();
        let end = end_of_word(bare, columns);
        let word = &bare[..end];
        rest = &bare[end..];
        (!word.is_empty()).then_some((gap, word))
    })
}

fn end_of_word(text: &str, columns: usize) -> usize {
    let mut at = 0;
    loop {
        let space = text[at..].find(' ').map_or(text.len(), |found| at + found);
        let Some(open) = text[at..space].find('`').map(|found| at + found) else { return space };
        let close = text[open + 1..].find('`').map(|found| open + 1 + found);
        match close {
            Some(close) if width(&text[open..=close]) <= columns => at = close + 1,
            _ => return space,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn folded(line: &str, columns: usize) -> Vec<String> {
        fold(line, columns, hang(line, columns))
    }

    #[test]
    fn words_stay_whole_and_what_goes_on_stands_under_its_column() {
        assert_eq!(
            folded("  sensor      14 of 14 probes, the thread is SCHED_FIFO", 41),
            ["  sensor      14 of 14 probes, the thread", "              is SCHED_FIFO"]
        );
        assert_eq!(folded("a sentence without columns", 12), ["a sentence", "without", "columns"]);
        assert_eq!(folded("short", 12), ["short"]);
        // A column in the right half is too narrow to go on under it.
        assert_eq!(folded("one  two three four five  six seven", 28), ["one  two three four five", "     six seven"]);
    }

    #[test]
    fn a_path_that_is_wider_than_its_room_stands_alone_and_is_not_cut() {
        let path = "/usr/lib/systemd/system/a-unit-with-a-long-name.service";
        assert_eq!(
            folded(&format!("  image       {path} was struck"), 60),
            ["  image       ".trim_end(), &format!("    {path}"), "              was struck"]
        );
        let wider = path.repeat(3);
        assert_eq!(folded(&format!("at {wider} it is"), 60), ["at", &wider, "it is"]);
    }

    #[test]
    fn what_stands_in_backticks_is_one_word() {
        assert_eq!(
            folded("see `quell incident show i-1 --events`, or not", 38),
            ["see", "`quell incident show i-1 --events`, or", "not"]
        );
        assert_eq!(folded("a lone ` is no command", 12), ["a lone ` is", "no command"]);
        assert_eq!(folded("`what no line can hold at all`", 12), ["`what no", "line can", "hold at all`"]);
    }

    #[test]
    fn colours_take_no_room_and_do_not_run_over_the_indentation() {
        let line = "  \x1b[2mmode\x1b[0m  \x1b[1;31mit is very bad\x1b[0m today";
        assert_eq!(
            folded(line, 18),
            ["  \x1b[2mmode\x1b[0m  \x1b[1;31mit is very\x1b[0m", "        \x1b[1;31mbad\x1b[0m today"]
        );
    }

    #[test]
    fn a_wide_character_takes_two_columns() {
        assert_eq!(folded("日本 語語 x", 9), ["日本 語語", "x"]);
    }

    proptest! {
        #[test]
        fn no_word_is_lost_and_no_line_is_wider_but_by_one_word(
            line in "[ a-z`]{0,120}", columns in 8usize..60, hang in 0usize..20
        ) {
            let lines = fold(&line, columns, hang);
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            prop_assert_eq!(words(&lines.join("\n")), words(&line));
            for line in &lines {
                prop_assert!(width(line) <= columns || super::words(line, columns).count() == 1, "{:?}", lines);
            }
        }
    }
}
