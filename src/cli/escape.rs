//! The one place where text that an attacker can shape is made safe for a terminal.
//!
//! Invariant: what leaves [`escape`] holds no character that moves a cursor, colours, breaks a line, or shows other
//! text than is there. The same set is escaped in JSON, in JSON's own way.

use quell_model::unseen::misleads;
use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal would do something with it besides showing it.
fn acts(c: char) -> bool {
    c.is_control() || misleads(c)
}

/// The text with everything that a terminal would obey written out: `\n`, `\x1b`, `\u{202e}`.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            c if acts(c) && (c as u32) < 0x100 => push(&mut safe, format_args!("\\x{:02x}", c as u32)),
            c if acts(c) => push(&mut safe, format_args!("\\u{{{:x}}}", c as u32)),
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// [`escape`], cut to `most` characters with the number of those left out.
pub(crate) fn clip(text: &str, most: usize) -> String {
    let total = text.chars().count();
    if total <= most {
        return escape(text).into_owned();
    }
    let head: String = text.chars().take(most).collect();
    format!("{}… (+{})", escape(&head), total - most)
}

/// The same for finished JSON text, where only strings can hold such characters: `\u009b`.
pub(crate) fn escape_json(json: &str) -> Cow<'_, str> {
    // Line breaks and tabs between tokens are JSON's own; inside of strings serde has already written them out.
    let acts = |c: char| acts(c) && !matches!(c, '\n' | '\t');
    if !json.chars().any(acts) {
        return Cow::Borrowed(json);
    }
    let mut safe = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if acts(c) {
            let mut units = [0_u16; 2];
            for unit in c.encode_utf16(&mut units) {
                push(&mut safe, format_args!("\\u{unit:04x}"));
            }
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("a String takes all that is written");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(escape("a\nb\r\t"), "a\\nb\\r\\t");
        assert_eq!(escape("\x1b[31mred\x07"), "\\x1b[31mred\\x07");
        assert_eq!(escape("\u{9b}2J"), "\\x9b2J");
        assert_eq!(escape("safe\u{202e}gpj.exe"), "safe\\u{202e}gpj.exe");
        assert!(matches!(escape("/usr/bin/größe ✓"), Cow::Borrowed(_)));
    }

    #[test]
    fn long_text_is_cut_and_says_by_how_much() {
        let text = "x".repeat(100_000);
        assert_eq!(clip(&text, 4), "xxxx… (+99996)");
        assert_eq!(clip("\n\n", 2), "\\n\\n");
    }

    proptest! {
        #[test]
        fn nothing_that_acts_is_left(text in any::<String>()) {
            prop_assert!(!escape(&text).chars().any(acts));
        }

        #[test]
        fn json_reads_back_as_it_was(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            let safe = escape_json(&json).into_owned();
            prop_assert!(!safe.chars().any(acts));
            prop_assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), text);
        }
    }
}
