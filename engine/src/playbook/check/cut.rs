//! Lists that have as many items as are written, whatever happens: a list that is written out, or a cut at the end.
//!
//! Goes by the structure of the expression, word by word; runs nothing. When in doubt a list has no bound.

use crate::playbook::names::{Token, is_keyword, tokens};

type Tokens<'t> = [(Token<'t>, usize)];

/// Whether an expression is `[a, b]`, or something of which `.extract(0, 20)` takes so many at its end.
pub(super) fn is_cut(text: &str) -> bool {
    let tokens = tokens(text);
    let Some((first, mut links)) = links(&tokens) else { return false };
    match links.pop() {
        None => first.first().is_some_and(|(token, _)| *token == Token::Mark('[')),
        Some([(Token::Dot { .. }, _), (Token::Word("extract"), _), (Token::Mark('('), _), inside @ .., _]) => {
            is_count(text, inside)
        }
        Some(_) => false,
    }
}

/// `0, 20` or `0..20`, in numbers that are written out.
fn is_count(text: &str, inside: &Tokens<'_>) -> bool {
    let is_number = |at: usize| text[at..].starts_with(|c: char| c.is_ascii_digit());
    match inside {
        [(Token::Literal, from), (Token::Mark(','), _), (Token::Literal, most)] => is_number(*from) && is_number(*most),
        [(Token::Literal, from), (Token::Mark('~'), between), (Token::Literal, most)] => {
            is_number(*from) && is_number(*most) && text[*between..].starts_with("..")
        }
        _ => false,
    }
}

/// What an expression begins with, and what is called or looked up on it, one after the other. None: it is more than that,
/// as with an operator, which binds less than a call: in `a ?? [].extract(0, 5)` the cut is not of `a`.
fn links<'s, 't>(tokens: &'s Tokens<'t>) -> Option<(&'s Tokens<'t>, Vec<&'s Tokens<'t>>)> {
    let first = match tokens.first()?.0 {
        Token::Word(word) if is_keyword(word) => return None,
        Token::Word(_) => 1 + called(&tokens[1..])?,
        Token::Literal | Token::Text(_) => 1,
        Token::Mark('(' | '[') => group(tokens)?,
        _ => return None,
    };
    let (mut at, mut all) = (first, Vec::new());
    while at < tokens.len() {
        let rest = &tokens[at..];
        let length = match rest {
            [(Token::Dot { .. }, _), (Token::Word(_), _), after @ ..] => 2 + called(after)?,
            [(Token::Mark('['), _), ..] => group(rest)?,
            [(Token::Mark('?'), _), (Token::Mark('['), _), ..] => 1 + group(&rest[1..])?,
            _ => return None,
        };
        all.push(&rest[..length]);
        at += length;
    }
    Some((&tokens[..first], all))
}

/// How long the arguments are that follow, if any do.
fn called(tokens: &Tokens<'_>) -> Option<usize> {
    match tokens.first() {
        Some((Token::Mark('('), _)) => group(tokens),
        _ => Some(0),
    }
}

/// How long a group is, from its bracket to the one that closes it.
fn group(tokens: &Tokens<'_>) -> Option<usize> {
    let mut depth = 0usize;
    let end = tokens.iter().position(|(token, _)| {
        match token {
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
    })?;
    Some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::is_cut;

    #[test]
    fn a_cut_is_a_number_of_items_at_the_end() {
        for cut in [
            "[1, 2, 3]",
            " [[a], b] ",
            "x.extract(0, 20)",
            " steps.a.b.filter(|c| c.d).extract(0..20) ",
            "(x ?? []).extract(5,5)",
            "x?.y?[\"z\"].extract(0, 3)",
            "found(x, [1]).extract(0, 3)",
        ] {
            assert!(is_cut(cut), "{cut}");
        }
        for open in [
            "x",
            "[1] + y",
            "[1].map(|c| y[c])",
            "x.extract(0)",
            "x.extract(0, n)",
            "x.extract(0, 20) + y",
            "x.extract(0, 20).map(|c| c.d)",
            "x ?? [].extract(0, 20)",
            "y + x.extract(0, 20)",
            "if x { y } else { z.extract(0, 20) }",
            "x.extract(\"0\", 20)",
            "[1, 2].map(|c| y[c])",
            "extract(0, 20)",
            "",
        ] {
            assert!(!is_cut(open), "{open}");
        }
    }
}
