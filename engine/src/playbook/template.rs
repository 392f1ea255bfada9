//! Text with expressions in it: `Reverse shell on ${{ event.node }}`.
//!
//! Owns where an expression begins and ends. Strings inside an expression may hold `}}`.

use std::ops::Range;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// As it is.
    Text(Range<usize>),
    /// Inside `${{ … }}`, without the blanks around it.
    Expression(Range<usize>),
}

/// `${{` without its `}}`; holds the offset of the `$`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unclosed(pub(crate) usize);

/// Where expressions begin.
pub(crate) const OPEN: &str = "${{";

/// Cuts `text` into pieces.
pub(crate) fn pieces(text: &str) -> Result<Vec<Piece>, Unclosed> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find(OPEN) {
        let start = at + found;
        if start > at {
            out.push(Piece::Text(at..start));
        }
        let inside = start + OPEN.len();
        let end = closing(&text[inside..]).ok_or(Unclosed(start))? + inside;
        let raw = &text[inside..end];
        let left = inside + (raw.len() - raw.trim_start().len());
        out.push(Piece::Expression(left..left + raw.trim().len()));
        at = end + 2;
    }
    if at < text.len() {
        out.push(Piece::Text(at..text.len()));
    }
    Ok(out)
}

/// The inside of a text that is one whole expression.
pub(crate) fn whole(text: &str) -> Option<&str> {
    let trimmed = text.trim();
    let inside = trimmed.strip_prefix(OPEN)?;
    (closing(inside)? + 2 == inside.len()).then(|| inside[..inside.len() - 2].trim())
}

/// The offset of the `}}` that ends an expression: not one in a string, nor the end of a map.
fn closing(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut depth = 0usize;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            quote @ (b'"' | b'`' | b'\'') => {
                at += 1;
                while at < bytes.len() && bytes[at] != quote {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
            }
            b'{' => depth += 1,
            b'}' if depth > 0 => depth -= 1,
            b'}' if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_where_they_should() {
        let text = "a ${{ #{a: \"}}\"}.a }} b ${{x}}";
        let found: Vec<&str> = pieces(text)
            .unwrap()
            .into_iter()
            .map(|piece| match piece {
                Piece::Text(range) | Piece::Expression(range) => &text[range],
            })
            .collect();
        assert_eq!(found, ["a ", "#{a: \"}}\"}.a", " b ", "x"]);
        assert_eq!(pieces("x ${{ event.id"), Err(Unclosed(2)));
    }

    #[test]
    fn a_whole_expression_is_told_from_text() {
        assert_eq!(whole(" ${{ event.id }} "), Some("event.id"));
        assert_eq!(whole("${{ a }}${{ b }}"), None);
        assert_eq!(whole("x ${{ a }}"), None);
    }
}
