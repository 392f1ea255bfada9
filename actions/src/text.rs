//! Text that an attacker can shape, made fit for one line on a terminal.
//!
//! Keeps true: what comes out has no control character, no line break and nothing that turns the reading direction.

/// The longest command line that is kept, in bytes: what people read; the whole one is in a capture.
pub(crate) const COMMAND_LINE_MOST: usize = 4096;

/// Escapes what could break a line, colour a terminal or hide what stands there.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let hidden = matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if c.is_control() || hidden {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// The same, of at most `most` characters, marked where it was cut.
#[must_use]
pub fn one_line(text: &str, most: usize) -> String {
    let text = plain(text.trim());
    match text.char_indices().nth(most) {
        None => text,
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Arguments as /proc keeps them, each ended by a NUL, as one line; bounded, and marked where it was cut.
pub(crate) fn command_line(bytes: &[u8]) -> String {
    let kept = &bytes[..bytes.len().min(COMMAND_LINE_MOST + 1)];
    let kept = kept.strip_suffix(&[0]).unwrap_or(kept);
    cut(&String::from_utf8_lossy(kept).replace('\0', " "))
}

/// A command line within its bound, marked where it was cut.
pub(crate) fn cut(text: &str) -> String {
    if text.len() <= COMMAND_LINE_MOST {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(COMMAND_LINE_MOST)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_a_line() {
        assert_eq!(plain("a\nb\x1b[31m\u{202e}c\u{9b}é"), "a\\nb\\u{1b}[31m\\u{202e}c\\u{9b}é");
    }

    #[test]
    fn a_line_has_its_bound_in_characters() {
        for (text, most, shown) in
            [("grüße", 5, "grüße"), (" abcdefg ", 6, "abcde…"), ("", 3, ""), ("a\u{61c}b", 9, "a\\u{61c}b")]
        {
            assert_eq!(one_line(text, most), shown);
        }
    }

    #[test]
    fn a_long_command_line_is_cut_and_says_so() {
        assert_eq!(command_line(b"sh\0-c\0echo hi\0"), "sh -c echo hi");
        let long = command_line(&[b'x'; 100_000]);
        assert!(long.len() < COMMAND_LINE_MOST + 4 && long.ends_with('…'));
    }
}
