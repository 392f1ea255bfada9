//! Text of others in HTML: it is shown, and is no markup.
//!
//! Owns the escaping, for mails and for the pages that their links lead to.

use crate::text::one_line;

/// As it stands between tags, or between the quotes of an attribute.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// The same of one line and so many characters, without what turns the reading direction or hides what stands there.
#[must_use]
pub fn line(text: &str, most: usize) -> String {
    escaped(&one_line(text, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_others_is_markup() {
        assert_eq!(escaped("<a href=\"x\" id='y'>&amp;"), "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;amp;");
        assert_eq!(line("<b>\r\n\u{202e}evil", 9), "&lt;b&gt;\\r\\n\\…");
    }
}
