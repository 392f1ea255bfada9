//! Characters that mislead a reader.
//!
//! Owns which they are, for all that prints foreign text; how each writes them out is its own. What a terminal obeys is told by
//! [`char::is_control`].

/// Whether nobody sees it, or it turns what others see: direction marks and overrides, line and paragraph separators, invisible
/// joins and hyphens, the byte-order mark, tags.
#[must_use]
pub fn misleads(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{ffff}'
            | '\u{e0000}'..='\u{e0fff}'
    ) && c != '\u{fffd}'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_misleads_and_what_stands_for_it_does_not() {
        for c in ['\u{ad}', '\u{180e}', '\u{202e}', '\u{feff}', '\u{e0041}'] {
            assert!(misleads(c), "{c:?}");
        }
        for c in ['a', 'é', '\u{fffd}', '…', '😀'] {
            assert!(!misleads(c), "{c:?}");
        }
    }
}
