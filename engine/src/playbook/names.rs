//! Which names an expression uses, found by reading its words and not by running it.
//!
//! Owns a reader of Rhai's words: identifiers, strings (with what is interpolated in them), comments. It never judges
//! whether the text is right: the compiler does. Invariant: every variable that the text could read is among the uses.

use std::collections::BTreeSet;

/// A part of a dotted path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part<'t> {
    /// The word.
    pub(crate) name: &'t str,
    /// Whether `?.` stands before it.
    pub(crate) optional: bool,
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
    /// An index.
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

/// What an expression names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names<'t> {
    /// Variables that are not the text's own, with their paths.
    pub(crate) uses: Vec<Use<'t>>,
    /// Functions called by name, that the text does not define.
    pub(crate) calls: Vec<(&'t str, usize)>,
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
    /// A number or a text.
    Literal,
}

/// Whether this is a word of the language.
pub(crate) fn is_keyword(word: &str) -> bool {
    KEYWORDS.contains(&word)
}

/// What a text is made of, each with its offset.
pub(crate) fn tokens(text: &str) -> Vec<(Token<'_>, usize)> {
    let mut tokens = Vec::new();
    read(text, 0, false, &mut tokens);
    tokens
}

/// The names in `text`.
pub(crate) fn names(text: &str) -> Names<'_> {
    let tokens = tokens(text);
    let (locals, functions) = declared(&tokens);
    let mut found = Names { locals, ..Names::default() };
    let mut at = 0;
    let mut end_of_first = 0;
    while at < tokens.len() {
        let (Token::Word(word), offset) = tokens[at] else {
            at += 1;
            continue;
        };
        let before = at.checked_sub(1).map(|i| tokens[i].0);
        let after = tokens.get(at + 1).map(|t| t.0);
        let a_property = matches!(before, Some(Token::Dot { .. }));
        let a_key = after == Some(Token::Mark(':')) && matches!(before, Some(Token::Mark('{' | ',')));
        if a_property || a_key || KEYWORDS.contains(&word) {
            at += 1;
            continue;
        }
        if after == Some(Token::Mark('(')) {
            if !functions.contains(word) {
                found.calls.push((word, offset));
            }
            at += 1;
            continue;
        }
        let first = at == 0;
        let used = path(&tokens, &mut at, word, offset);
        if first {
            end_of_first = at;
        }
        if !found.locals.contains(word) || ROOTS.contains(&word) {
            found.uses.push(used);
        }
    }
    found.only_a_path = end_of_first == tokens.len()
        && found.calls.is_empty()
        && matches!(found.uses.as_slice(), [one] if one.then == Then::Nothing);
    found
}

/// The variables that quell gives.
pub(crate) const ROOTS: &[&str] =
    &["event", "detection", "detections", "incident", "inputs", "vars", "steps", "item", "seen", "run", "secrets"];

fn path<'t>(tokens: &[(Token<'t>, usize)], at: &mut usize, word: &'t str, offset: usize) -> Use<'t> {
    let mut parts = vec![Part { name: word, optional: false, at: offset }];
    *at += 1;
    loop {
        match tokens.get(*at).map(|t| t.0) {
            Some(Token::Dot { optional }) => match tokens.get(*at + 1) {
                Some((Token::Word(_), _)) if tokens.get(*at + 2).map(|t| t.0) == Some(Token::Mark('(')) => {
                    *at += 2;
                    return Use { parts, then: Then::Call(optional) };
                }
                Some((Token::Word(next), offset)) => {
                    parts.push(Part { name: next, optional, at: *offset });
                    *at += 2;
                }
                _ => return Use { parts, then: Then::Index },
            },
            Some(Token::Mark('[')) => return Use { parts, then: Then::Index },
            Some(Token::Mark('?')) if tokens.get(*at + 1).map(|t| t.0) == Some(Token::Mark('[')) => {
                return Use { parts, then: Then::Index };
            }
            _ => return Use { parts, then: Then::Nothing },
        }
    }
}

/// Variables, parameters and functions that the text itself makes.
fn declared<'t>(tokens: &[(Token<'t>, usize)]) -> (BTreeSet<&'t str>, BTreeSet<&'t str>) {
    let mut locals = BTreeSet::new();
    let mut functions = BTreeSet::new();
    for (i, (token, _)) in tokens.iter().enumerate() {
        match token {
            Token::Word("let" | "const") => locals.extend(words(tokens, i + 1).take(1)),
            Token::Word("for") if tokens.get(i + 1).map(|t| t.0) == Some(Token::Mark('(')) => {
                locals.extend(list(tokens, i + 2, ')'));
            }
            Token::Word("for") => locals.extend(words(tokens, i + 1).take(1)),
            Token::Word("fn") => {
                functions.extend(words(tokens, i + 1).take(1));
                locals.extend(list(tokens, i + 3, ')'));
            }
            Token::Word("catch") => locals.extend(list(tokens, i + 2, ')')),
            Token::Mark('|') if opens_a_closure(tokens, i) => locals.extend(list(tokens, i + 1, '|')),
            _ => {}
        }
    }
    (locals, functions)
}

/// The words that stand in a row from `from`.
fn words<'t>(tokens: &[(Token<'t>, usize)], from: usize) -> impl Iterator<Item = &'t str> {
    tokens.get(from..).unwrap_or_default().iter().map_while(|(token, _)| match token {
        Token::Word(word) => Some(*word),
        _ => None,
    })
}

/// The words from `from` up to the mark `end`.
fn list<'t>(tokens: &[(Token<'t>, usize)], from: usize, end: char) -> impl Iterator<Item = &'t str> {
    let until = move |token: &&(Token<'t>, usize)| token.0 != Token::Mark(end);
    tokens.get(from..).unwrap_or_default().iter().take_while(until).filter_map(|(token, _)| match token {
        Token::Word(word) => Some(*word),
        _ => None,
    })
}

fn opens_a_closure(tokens: &[(Token<'_>, usize)], i: usize) -> bool {
    match i.checked_sub(1).map(|before| tokens[before].0) {
        None => true,
        Some(Token::Mark(mark)) => !matches!(mark, ')' | ']' | '}' | '|'),
        Some(Token::Word(word)) => KEYWORDS.contains(&word) && !matches!(word, "true" | "false" | "this"),
        Some(_) => false,
    }
}

/// Reads words from `at` on; a `nested` reading (what a string interpolates) ends at the brace that closes it.
/// Gives where it ended.
fn read<'t>(text: &'t str, mut at: usize, nested: bool, out: &mut Vec<(Token<'t>, usize)>) -> usize {
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
                out.push((Token::Literal, at));
                at = quoted(text, at, here);
            }
            b'#' if rest.trim_start_matches('#').starts_with('"') => {
                out.push((Token::Literal, at));
                let hashes = rest.len() - rest.trim_start_matches('#').len();
                let end = format!("\"{}", "#".repeat(hashes));
                at += hashes + 1;
                at += text[at..].find(&end).map_or(text.len() - at, |found| found + end.len());
            }
            b'`' => {
                out.push((Token::Literal, at));
                at = interpolated(text, at + 1, out);
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
            b'}' if nested && depth == 0 => return at + 1,
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
    let mut at = start + 2;
    let mut depth = 1;
    while depth > 0 {
        let rest = &text[at..];
        match (rest.find("/*"), rest.find("*/")) {
            (Some(open), Some(close)) if open < close => {
                depth += 1;
                at += open + 2;
            }
            (_, Some(close)) => {
                depth -= 1;
                at += close + 2;
            }
            (_, None) => return text.len(),
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
fn interpolated<'t>(text: &'t str, mut at: usize, out: &mut Vec<(Token<'t>, usize)>) -> usize {
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with('`') {
            return at + 1;
        }
        if rest.starts_with("${") {
            out.push((Token::Mark('{'), at));
            at = read(text, at + 2, true, out);
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
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let join = |used: &Use<'_>| used.parts.iter().map(|part| part.name).collect::<Vec<_>>().join(".");
        names(text).uses.iter().map(join).collect()
    }

    #[test]
    fn paths_are_found_and_methods_strings_and_locals_are_not() {
        let rows: &[(&str, &[&str])] = &[
            ("event.process.id", &["event.process.id"]),
            ("event.pod?.namespace == \"event.x\"", &["event.pod.namespace"]),
            (
                "steps.evidence?.credentials?.filter(|c| c.kind == \"k\" && c.owned) ?? []",
                &["steps.evidence.credentials"],
            ),
            ("`a ${event.node} ${ #{a: run.id}.a }`", &["event.node", "run.id"]),
            ("let n = inputs.n; n.x + item", &["inputs.n", "item"]),
            ("#{ event: vars.a, b: 1..event.n }", &["vars.a", "event.n"]),
            ("event[\"process\"].id // steps.x", &["event"]),
            ("for (x, i) in detections { x.id }", &["detections"]),
            ("1.5 + evnt.a /* run /* item */ */", &["evnt.a"]),
            ("fn f(a) { a.b } f(event.id)", &["event.id"]),
        ];
        for (text, want) in rows {
            assert_eq!(paths(text), *want, "{text}");
        }
    }

    #[test]
    fn a_path_alone_is_told_from_more() {
        for (text, want) in [
            ("event.process.id", true),
            (" event.pod?.name ", true),
            ("event.args.len()", false),
            ("!event.x", false),
            ("event.x + 1", false),
            ("now()", false),
            ("\"x\"", false),
        ] {
            assert_eq!(names(text).only_a_path, want, "{text}");
        }
    }

    #[test]
    fn called_functions_are_named_with_their_place() {
        assert_eq!(names("glob(\"*\", now()) && x.len()").calls, [("glob", 0), ("now", 10)]);
    }
}
