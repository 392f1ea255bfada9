//! What a step says: of several lines, harmless, and within a medium's bound.
//!
//! Keeps true: what comes out has no control character but the ends of its lines, and nothing that hides or turns the reading
//! direction; what was cut says so and by how much.

use crate::text::plain;
#[cfg(feature = "webhook")]
use quell_model::Json;

/// A subject or a title, in characters.
pub(crate) const TITLE: usize = 150;
/// A text for Slack: what one block of a message holds, less what says how much was cut, so that it can be put right in place as well.
pub(crate) const SLACK: usize = 2_800;

/// The text in its lines, of at most `most` by `weight`, which says how long the medium takes a character for.
pub(crate) fn lines(text: &str, most: usize, weight: fn(char) -> usize) -> String {
    let all: Vec<String> = text.trim().lines().map(|line| plain(&line.replace('\t', "    "))).collect();
    let all = all.join("\n");
    let mut room = most;
    let fits = |c: &char| match room.checked_sub(weight(*c)) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    };
    let kept: String = all.chars().take_while(fits).collect();
    match all[kept.len()..].chars().count() {
        0 => kept,
        more => format!("{kept}…\n(cut here: {more} more characters)"),
    }
}

/// Data that people read too: its keys and its texts as [`plain`] has them.
#[cfg(feature = "webhook")]
pub(crate) fn harmless(data: &serde_json::Map<String, Json>) -> serde_json::Map<String, Json> {
    fn one(value: &Json) -> Json {
        match value {
            Json::String(text) => plain(text).into(),
            Json::Array(all) => all.iter().map(one).collect(),
            Json::Object(map) => harmless(map).into(),
            Json::Null | Json::Bool(_) | Json::Number(_) => value.clone(),
        }
    }
    data.iter().map(|(key, value)| (plain(key), one(value))).collect()
}

/// Each as it is.
pub(crate) fn one(_: char) -> usize {
    1
}

/// How long Slack takes a character for at the most: it keeps `&` as `&amp;`, and counts in units of UTF-16; its bound of a whole
/// message is one of JSON.
pub(crate) fn in_slack(c: char) -> usize {
    match c {
        '&' => 5,
        '<' | '>' => 4,
        '"' | '\\' | '\n' => 2,
        c => c.len_utf16(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_keeps_its_lines_and_nothing_else_that_is_no_letter() {
        for (text, most, weight, shown) in [
            ("  a\r\nb\tc\n", 100, one as fn(char) -> usize, "a\nb    c"),
            ("\u{202e}evil\x1b[31m", 100, one, "\\u{202e}evil\\u{1b}[31m"),
            ("abcdef", 4, one, "abcd…\n(cut here: 2 more characters)"),
            ("a&b", 6, in_slack, "a&…\n(cut here: 1 more characters)"),
            ("", 4, one, ""),
        ] {
            assert_eq!(lines(text, most, weight), shown, "{text}");
        }
    }
}
