//! Which names an expression uses, found by reading its words and not by running it.
//!
//! Owns a reader of Rhai's words: identifiers, strings (with what is interpolated in them), comments. It never judges
//! whether the text is right: the compiler does. Invariant: every variable that the text could read is among the uses.

mod scopes;

use scopes::Known;
use std::collections::BTreeSet;

/// A part of a path: `.name`, or `["name"]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part<'t> {
    /// The word.
    pub(crate) name: &'t str,
    /// Whether `?.` or `?[` stands before it.
    pub(crate) optional: bool,
    /// Whether it is an index, written as text.
    pub(crate) indexed: bool,
    /// Its offset in the text, in bytes.
    pub(crate) at: usize,
}

/// What follows a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nothing that reads further.
    Nothing,
    /// A method, called with `.` or, if true, with `?.`.
    Call(bool),
    /// An index that is not written as text.
    Index,
}

/// A variable with the dotted path behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Use<'t> {
    /// At least one; the first is the variable.
    pub(crate) parts: Vec<Part<'t>>,
    /// What follows.
    pub(crate) then: Then,
}

impl Use<'_> {
    /// The variable.
    pub(crate) fn root(&self) -> &str {
        self.parts[0].name
    }
}

/// A function or method that is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call<'t> {
    /// Its name.
    pub(crate) name: &'t str,
    /// The offset of the name.
    pub(crate) at: usize,
    /// How many arguments it is given; of a method, with what stands before the dot.
    pub(crate) arguments: usize,
    /// Whether it is called with a dot.
    pub(crate) method: bool,
}

/// What an expression names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names<'t> {
    /// Variables that are not the text's own, with their paths.
    pub(crate) uses: Vec<Use<'t>>,
    /// Functions and methods that are called and that the text does not make itself.
    pub(crate) calls: Vec<Call<'t>>,
    /// Variables and parameters that the text makes.
    pub(crate) locals: BTreeSet<&'t str>,
    /// Whether the whole text is one path and nothing else.
    pub(crate) only_a_path: bool,
}

/// Words of the language: none is a variable.
const KEYWORDS: &[&str] = &[
    "true", "false", "let", "const", "if", "else", "while", "loop", "for", "in", "is", "continue", "break", "return",
    "throw", "try", "catch", "switch", "fn", "this", "private", "import", "export", "as", "global", "do", "until",
];

/// What an expression is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Token<'t> {
    /// An identifier, or a word of the language.
    Word(&'t str),
    /// `.` or `?.`.
    Dot { optional: bool },
    /// Any other character; `~` for `..`, `::` and `||`.
    Mark(char),
    /// A text in double quotes that holds no escape: what is between them.
    Text(&'t str),
    /// A number or any other text.
    Literal,
}

/// Interpolations in each other: more than the compiler takes. What is deeper is not read.
const DEEPEST: usize = 64;

/// Whether this is a word of the language.
pub(crate) fn is_keyword(word: &str) -> bool {
    KEYWORDS.contains(&word)
}

/// What a text is made of, each with its offset.
pub(crate) fn tokens(text: &str) -> Vec<(Token<'_>, usize)> {
    let mut tokens = Vec::new();
    read(text, 0, 0, &mut tokens);
    tokens
}

/// Where the names of new variables and of parameters stand.
pub(crate) fn declared(tokens: &[(Token<'_>, usize)]) -> Vec<usize> {
    let mut known = Known::default();
    let declares = |at: &usize| {
        known.pass(tokens, *at);
        known.declares(*at) && matches!(tokens[*at].0, Token::Word(_))
    };
    (0..tokens.len()).filter(declares).collect()
}

/// The names in `text`.
pub(crate) fn names(text: &str) -> Names<'_> {
    let tokens = tokens(text);
    let made = made(&tokens);
    let mut found = Names::default();
    let mut known = Known::default();
    let mut at = 0;
    let mut end_of_first = 0;
    while at < tokens.len() {
        known.pass(&tokens, at);
        let (Token::Word(word), offset) = tokens[at] else {
            at += 1;
            continue;
        };
        let before = at.checked_sub(1).map(|i| tokens[i].0);
        let after = tokens.get(at + 1).map(|t| t.0);
        let is_property = matches!(before, Some(Token::Dot { .. }));
        let is_key = after == Some(Token::Mark(':')) && matches!(before, Some(Token::Mark('{' | ',')));
        if after == Some(Token::Mark('(')) && !KEYWORDS.contains(&word) {
            if !made.contains(word) && (is_property || !known.has(word)) && before != Some(Token::Word("fn")) {
                let arguments = arguments(&tokens, at + 2) + usize::from(is_property);
                found.calls.push(Call { name: word, at: offset, arguments, method: is_property });
            }
            at += 1;
            continue;
        }
        let declares = known.declares(at);
        if declares || is_property || is_key || KEYWORDS.contains(&word) {
            if declares {
                found.locals.insert(word);
                // Whoever takes a name of quell's own is told at once.
                if ROOTS.contains(&word) {
                    let part = Part { name: word, optional: false, indexed: false, at: offset };
                    found.uses.push(Use { parts: vec![part], then: Then::Nothing });
                }
            }
            at += 1;
            continue;
        }
        let first = at == 0;
        let used = path(&tokens, &mut at, word, offset);
        if first {
            end_of_first = at;
        }
        if !known.has(word) || ROOTS.contains(&word) {
            found.uses.push(used);
        }
    }
    let is_plain = |one: &Use<'_>| one.then == Then::Nothing && one.parts.iter().all(|part| !part.indexed);
    found.only_a_path = end_of_first == tokens.len()
        && found.calls.is_empty()
        && matches!(found.uses.as_slice(), [one] if is_plain(one));
    found
}

/// The variables that quell gives.
pub(crate) const ROOTS: &[&str] =
    &["event", "detection", "detections", "incident", "inputs", "vars", "steps", "item", "seen", "run", "secrets"];

fn path<'t>(tokens: &[(Token<'t>, usize)], at: &mut usize, word: &'t str, offset: usize) -> Use<'t> {
    let mut parts = vec![Part { name: word, optional: false, indexed: false, at: offset }];
    *at += 1;
    loop {
        let rest = tokens.get(*at..).unwrap_or_default();
        match rest {
            [(Token::Dot { optional }, _), (Token::Word(_), _), (Token::Mark('('), _), ..] => {
                // The name is left to be read: it is a call.
                *at += 1;
                return Use { parts, then: Then::Call(*optional) };
            }
            [(Token::Dot { optional }, _), (Token::Word(name), at_name), ..] => {
                parts.push(Part { name, optional: *optional, indexed: false, at: *at_name });
                *at += 2;
            }
            [(Token::Mark('['), _), (Token::Text(name), at_text), (Token::Mark(']'), _), ..] => {
                parts.push(Part { name, optional: false, indexed: true, at: at_text + 1 });
                *at += 3;
            }
            [(Token::Mark('?'), _), (Token::Mark('['), _), (Token::Text(name), at_text), (Token::Mark(']'), _), ..] => {
                parts.push(Part { name, optional: true, indexed: true, at: at_text + 1 });
                *at += 4;
            }
            [(Token::Dot { .. } | Token::Mark('['), _), ..] | [(Token::Mark('?'), _), (Token::Mark('['), _), ..] => {
                return Use { parts, then: Then::Index };
            }
            _ => return Use { parts, then: Then::Nothing },
        }
    }
}

/// How many arguments are given in the parentheses that open before `from`.
fn arguments(tokens: &[(Token<'_>, usize)], from: usize) -> usize {
    let (mut depth, mut count, mut at, mut is_empty) = (0usize, 0, from, true);
    while let Some((token, _)) = tokens.get(at) {
        match token {
            Token::Mark(')') if depth == 0 => break,
            Token::Mark(',') if depth == 0 => {
                count += usize::from(!is_empty);
                is_empty = true;
                at += 1;
                continue;
            }
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']' | '}') => depth = depth.saturating_sub(1),
            Token::Mark('|') if opens_a_closure(tokens, at) => at = end_of_parameters(tokens, at + 1),
            _ => {}
        }
        is_empty = false;
        at += 1;
    }
    count + usize::from(!is_empty)
}

/// What can be called because the text makes it: functions, and what maps hold.
fn made<'t>(tokens: &[(Token<'t>, usize)]) -> BTreeSet<&'t str> {
    let named = |window: &[(Token<'t>, usize)]| match window {
        [(Token::Word("fn"), _), (Token::Word(name), _), ..] => Some(*name),
        [(Token::Mark('{' | ','), _), (Token::Word(name) | Token::Text(name), _), (Token::Mark(':'), _)] => Some(*name),
        [(Token::Dot { .. }, _), (Token::Word(name), _), (Token::Mark('='), _)] => Some(*name),
        _ => None,
    };
    tokens.windows(3).filter_map(named).collect()
}

/// The words among these.
fn words<'t>(tokens: &[(Token<'t>, usize)]) -> impl Iterator<Item = &'t str> {
    tokens.iter().filter_map(|(token, _)| match token {
        Token::Word(word) => Some(*word),
        _ => None,
    })
}

/// Where the parameters of a closure end that begin at `from`: the place of the second `|`.
pub(crate) fn end_of_parameters(tokens: &[(Token<'_>, usize)], from: usize) -> usize {
    let is_parameter = |(token, _): &&(Token<'_>, usize)| matches!(token, Token::Word(_) | Token::Mark(','));
    from + tokens.get(from..).unwrap_or_default().iter().take_while(is_parameter).count()
}

/// Whether a bar at this place opens the parameters of a closure.
pub(crate) fn opens_a_closure(tokens: &[(Token<'_>, usize)], i: usize) -> bool {
    match i.checked_sub(1).map(|before| tokens[before].0) {
        None => true,
        // A bar before it ended the parameters of the closure that gives this one.
        Some(Token::Mark(mark)) => !matches!(mark, ')' | ']' | '}'),
        Some(Token::Word(word)) => KEYWORDS.contains(&word) && !matches!(word, "true" | "false" | "this"),
        Some(_) => false,
    }
}

/// Reads words from `at` on; a `nested` reading (what a string interpolates, in so many others) ends at the brace that
/// closes it. Gives where it ended.
fn read<'t>(text: &'t str, mut at: usize, nested: usize, out: &mut Vec<(Token<'t>, usize)>) -> usize {
    let bytes = text.as_bytes();
    let mut depth = 0usize;
    while at < bytes.len() {
        let rest = &text[at..];
        let here = bytes[at];
        match here {
            b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            b'/' if rest.starts_with("//") => at += rest.find('\n').unwrap_or(rest.len()),
            b'/' if rest.starts_with("/*") => at = comment(text, at),
            b'"' | b'\'' => {
                let end = quoted(text, at, here);
                let inside = text.get(at + 1..end.saturating_sub(1)).filter(|inside| !inside.contains(['\\', '\n']));
                let token = inside.filter(|_| here == b'"').map_or(Token::Literal, Token::Text);
                out.push((token, at));
                at = end;
            }
            b'#' => {
                let hashes = bytes[at..].iter().take_while(|byte| **byte == b'#').count();
                if bytes.get(at + hashes) == Some(&b'"') {
                    out.push((Token::Literal, at));
                    let end = format!("\"{}", "#".repeat(hashes));
                    at += hashes + 1;
                    at += text[at..].find(&end).map_or(text.len() - at, |found| found + end.len());
                } else {
                    out.extend((at..at + hashes).map(|at| (Token::Mark('#'), at)));
                    at += hashes;
                }
            }
            b'`' => {
                out.push((Token::Literal, at));
                at = interpolated(text, at + 1, nested, out);
            }
            b'0'..=b'9' => {
                out.push((Token::Literal, at));
                at = number(text, at);
            }
            b'.' if rest.starts_with("..") => {
                out.push((Token::Mark('~'), at));
                at += 2;
                at += usize::from(bytes.get(at) == Some(&b'='));
            }
            b'.' => {
                out.push((Token::Dot { optional: false }, at));
                at += 1;
            }
            b'?' if rest.starts_with("?.") => {
                out.push((Token::Dot { optional: true }, at));
                at += 2;
            }
            b':' if rest.starts_with("::") => {
                out.push((Token::Mark('~'), at));
                at += 2;
            }
            b'|' if rest.starts_with("||") => {
                out.push((Token::Mark('~'), at));
                at += 2;
            }
            b'{' => {
                depth += 1;
                out.push((Token::Mark('{'), at));
                at += 1;
            }
            b'}' if nested > 0 && depth == 0 => return at + 1,
            b'}' => {
                depth = depth.saturating_sub(1);
                out.push((Token::Mark('}'), at));
                at += 1;
            }
            _ => {
                let first = rest.chars().next().expect("at is before the end, on a character");
                if first.is_alphabetic() || first == '_' {
                    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
                    out.push((Token::Word(&rest[..end]), at));
                    at += end;
                } else {
                    out.push((Token::Mark(first), at));
                    at += first.len_utf8();
                }
            }
        }
    }
    at
}

fn comment(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (start + 2, 1usize);
    while depth > 0 {
        match bytes.get(at..at + 2) {
            Some(b"/*") => (at, depth) = (at + 2, depth + 1),
            Some(b"*/") => (at, depth) = (at + 2, depth - 1),
            Some(_) => at += 1,
            None => return text.len(),
        }
    }
    at
}

fn quoted(text: &str, start: usize, quote: u8) -> usize {
    let bytes = text.as_bytes();
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            end if end == quote => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// The inside of a backtick string; what it interpolates is read as words.
fn interpolated<'t>(text: &'t str, mut at: usize, nested: usize, out: &mut Vec<(Token<'t>, usize)>) -> usize {
    if nested >= DEEPEST {
        return text.len();
    }
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with('`') {
            return at + 1;
        }
        if rest.starts_with("${") {
            out.push((Token::Mark('{'), at));
            at = read(text, at + 2, nested + 1, out);
            out.push((Token::Mark('}'), at));
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn number(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' => at += 1,
            b'.' if bytes.get(at + 1).is_some_and(u8::is_ascii_digit) => at += 1,
            _ => return at,
        }
    }
    at
}

#[cfg(test)]
mod tests;
