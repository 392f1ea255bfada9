//! What of JSON's bytes is outside of its strings: where brackets, commas and colons are JSON's own.
//!
//! Knows where a string ends, and nothing else. Keeps true: of a string its last quote alone is told, so that who looks for an end sees it.

use std::iter::{Copied, Enumerate};
use std::slice::Iter;

/// Each byte outside of a string with its place.
pub(super) struct Outside<'j> {
    bytes: Enumerate<Copied<Iter<'j, u8>>>,
    in_string: bool,
}

impl<'j> Outside<'j> {
    /// Of bytes that begin outside of a string.
    pub(super) fn of(json: &'j [u8]) -> Self {
        Self { bytes: json.iter().copied().enumerate(), in_string: false }
    }

    /// Whether a string has begun and not ended.
    pub(super) fn is_in_string(&self) -> bool {
        self.in_string
    }
}

impl Iterator for Outside<'_> {
    type Item = (usize, u8);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (at, byte) = self.bytes.next()?;
            match byte {
                b'\\' if self.in_string => {
                    self.bytes.next();
                }
                b'"' if self.in_string => {
                    self.in_string = false;
                    return Some((at, byte));
                }
                b'"' => self.in_string = true,
                _ if self.in_string => {}
                _ => return Some((at, byte)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_is_its_last_quote() {
        for (json, outside, in_string) in [
            (r#"{"a":[1]}"#, r#"{":[1]}"#, false),
            (r#"["a,\"]\\",2]"#, r#"[",2]"#, false),
            (r#"["\\","\\\""]"#, r#"[","]"#, false),
            (r#"[\"a"#, r"[\", true),
            (r#"["a\"#, "[", true),
            ("", "", false),
        ] {
            let mut all = Outside::of(json.as_bytes());
            let told: Vec<_> = all.by_ref().collect();
            assert!(told.iter().all(|(at, byte)| json.as_bytes()[*at] == *byte), "{json}");
            let text: String = told.iter().map(|(_, byte)| char::from(*byte)).collect();
            assert_eq!((text.as_str(), all.is_in_string()), (outside, in_string), "{json}");
        }
    }
}
