//! Text for Slack: harmless, and within Slack's bounds.
//!
//! Owns how long a text is there and where it is cut. Keeps true: what others wrote has no line break, nothing hidden and nothing
//! that turns the reading direction (`crate::text`); where Slack reads markup, `&`, `<` and `>` are written so that no mention and
//! no link comes of them (<https://docs.slack.dev/messaging/formatting-message-text>).

use crate::send::text::in_slack;
use crate::text::one_line;

/// So many characters of a title, an address, a name.
pub(super) const NAME: usize = 150;
/// So many characters of a line of what others wrote.
pub(super) const LINE: usize = 300;

/// A line of what others wrote, of at most `most` as Slack counts.
pub(super) fn line(text: &str, most: usize) -> String {
    cut(&one_line(text, most), most)
}

/// The same where Slack reads markup.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

/// A text of at most `most` as Slack counts, marked where it was cut.
pub(super) fn cut(text: &str, most: usize) -> String {
    if length(text) <= most {
        return text.to_owned();
    }
    let mut room = most.saturating_sub(1);
    let fits = |c: &char| match room.checked_sub(in_slack(*c)) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    };
    let mut out: String = text.chars().take_while(fits).collect();
    out.push('…');
    out
}

/// As many of these lines as have room, each ended; and how many there are more.
pub(super) fn fitting<'a>(lines: impl Iterator<Item = &'a String>, each: usize, most: usize) -> (Vec<String>, usize) {
    let (mut kept, mut room, mut left) = (Vec::new(), most, 0);
    for text in lines {
        let text = line(text, each.min(most.saturating_sub(in_slack('\n'))));
        match room.checked_sub(length(&text) + in_slack('\n')).filter(|_| left == 0) {
            // An empty one would be none to Slack.
            Some(_) if text.is_empty() => {}
            Some(rest) => {
                room = rest;
                kept.push(text);
            }
            None => left += 1,
        }
    }
    (kept, left)
}

/// How long Slack takes it for at the most.
fn length(text: &str) -> usize {
    text.chars().map(in_slack).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_as_long_as_slack_takes_it_for() {
        for (text, most, shown) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("a&b", 7, "a&b"),
            ("a&b", 6, "a…"),
            ("<<", 8, "<<"),
            ("<<", 7, "<…"),
            ("\u{1f480}\u{1f480}", 4, "\u{1f480}\u{1f480}"),
            ("\u{1f480}\u{1f480}", 3, "\u{1f480}…"),
            ("", 0, ""),
        ] {
            assert_eq!(cut(text, most), shown, "{text} {most}");
        }
    }

    #[test]
    fn lines_that_have_no_room_are_counted() {
        let lines = ["one", "two", "", "a line that is longer", "x"].map(String::from);
        assert_eq!(fitting(lines.iter(), 100, 100).0, ["one", "two", "a line that is longer", "x"]);
        // None is left out in the midst.
        assert_eq!(fitting(lines.iter(), 100, 14), (vec!["one".to_owned(), "two".to_owned()], 2));
        assert_eq!(fitting(lines.iter(), 2, 100).0, ["o…", "t…", "a…", "x"]);
    }
}
