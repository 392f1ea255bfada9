//! How the arguments of a call are written in a script: where each begins, and where the parts of maps and lists do.
//!
//! The script engine tells where a call stands and no more. So its text is read once again from there, and what it gave is
//! laid beside what is written. Never decides what a value is: where the text is a variable or a call, its place is all
//! that is known.

use crate::load::yaml::{Place, Source};

/// Something that is written, and what it is made of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Laid {
    /// Where, up to its end or that of its line.
    pub(super) at: Place,
    /// Its parts.
    pub(super) parts: Parts,
}

/// What something is made of.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Parts {
    /// A literal, a variable, or what is computed.
    None,
    /// `[…]`.
    List(Vec<Laid>),
    /// `#{…}`: keys with their places.
    Map(Vec<(String, Place, Laid)>),
}

impl Laid {
    /// An item of a list.
    pub(super) fn item(&self, at: usize) -> Option<&Laid> {
        match &self.parts {
            Parts::List(list) => list.get(at),
            _ => None,
        }
    }

    /// A key of a map with its value.
    pub(super) fn entry(&self, key: &str) -> Option<(Place, &Laid)> {
        match &self.parts {
            Parts::Map(map) => map.iter().find(|(name, ..)| name == key).map(|(_, at, value)| (*at, value)),
            _ => None,
        }
    }
}

/// The arguments of the call of `name` that stands at an offset; none if no such call stands there.
pub(super) fn arguments(source: &Source, offset: usize, name: &str) -> Option<Vec<Laid>> {
    let open = skip(&source.text, offset.checked_add(name.len())?);
    let called = source.text.get(offset..)?.starts_with(name);
    if !called || !source.text[open..].starts_with('(') {
        return None;
    }
    Some(items(source, open + 1).0)
}

/// What stands between commas, and the offset of the bracket behind it.
fn items(source: &Source, mut at: usize) -> (Vec<Laid>, usize) {
    let text = &source.text;
    let mut out = Vec::new();
    loop {
        at = skip(text, at);
        match text.as_bytes().get(at) {
            None | Some(b')' | b']' | b'}' | b';') => return (out, at),
            Some(b',') => at += 1,
            Some(_) => {
                let (laid, end) = value(source, at);
                out.push(laid);
                at = end;
            }
        }
    }
}

/// One value, and the offset behind it: of a comma, a bracket, or the end.
fn value(source: &Source, start: usize) -> (Laid, usize) {
    let text = &source.text;
    let (parts, inside) = if text[start..].starts_with("#{") {
        let (map, close) = entries(source, start + 2);
        (Parts::Map(map), close)
    } else if text[start..].starts_with('[') {
        let (list, close) = items(source, start + 1);
        (Parts::List(list), close)
    } else {
        (Parts::None, start)
    };
    let behind = if parts == Parts::None { start } else { (inside + 1).min(text.len()) };
    let end = over(text, behind);
    // What goes on behind its bracket is computed: `[1, 2].map(…)`.
    let parts = if skip(text, behind) < end && parts != Parts::None { Parts::None } else { parts };
    let written = text[start..end].trim_end().lines().next().unwrap_or_default();
    let length = u32::try_from(written.chars().count()).unwrap_or(1);
    (Laid { at: source.at(start, length.max(1)), parts }, end)
}

/// The entries of a map, and the offset of the bracket behind them.
fn entries(source: &Source, mut at: usize) -> (Vec<(String, Place, Laid)>, usize) {
    let text = &source.text;
    let mut out = Vec::new();
    loop {
        at = skip(text, at);
        let key = at;
        match text.as_bytes().get(at) {
            None | Some(b')' | b']' | b'}') => return (out, at),
            Some(b',') => at += 1,
            Some(b'"') => at = string(text, at),
            Some(_) => at += text[at..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len() - at),
        }
        let written = &text[key..at];
        let name = written.trim_matches('"');
        at = skip(text, at);
        if text[at..].starts_with(':') && !name.is_empty() {
            let (laid, end) = value(source, skip(text, at + 1));
            let length = u32::try_from(written.chars().count()).unwrap_or(1);
            out.push((name.to_owned(), source.at(key, length), laid));
            at = end;
        } else if at == key {
            return (out, at);
        }
    }
}

/// The offset of the comma or bracket that ends what stands at `at`.
fn over(text: &str, mut at: usize) -> usize {
    let mut depth = 0usize;
    while let Some(byte) = text.as_bytes().get(at) {
        match byte {
            b'"' | b'`' | b'\'' => {
                at = string(text, at);
                continue;
            }
            b'/' => {
                let next = skip(text, at);
                if next > at {
                    at = next;
                    continue;
                }
            }
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' if depth == 0 => return at,
            b')' | b']' | b'}' => depth -= 1,
            b',' | b';' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// The offset behind a string, with what is computed inside one of backticks.
fn string(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let quote = bytes[start];
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            byte if byte == quote => return at + 1,
            b'\\' if quote != b'`' || bytes.get(at + 1) == Some(&b'$') => at += 2,
            b'$' if quote == b'`' && bytes.get(at + 1) == Some(&b'{') => at = over(text, at + 2) + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// The offset behind blanks and comments.
fn skip(text: &str, mut at: usize) -> usize {
    while let Some(rest) = text.get(at..) {
        let blanks = rest.len() - rest.trim_start().len();
        let rest = &rest[blanks..];
        at += blanks;
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            at += block(rest);
        } else {
            return at;
        }
    }
    text.len()
}

/// How long a comment is that may hold others.
fn block(text: &str) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while at < text.len() {
        match text.as_bytes().get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") if depth <= 1 => return at + 2,
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn laid(text: &str) -> (Source, Vec<Laid>) {
        let source = Source::script(Path::new("p.rhai"), text);
        let laid = arguments(&source, 0, "f").unwrap();
        (source, laid)
    }

    /// What stands at a place.
    fn at(source: &Source, place: Place) -> &str {
        let rest = &source.text[place.offset..];
        let end = rest.char_indices().nth(place.length as usize).map_or(rest.len(), |(at, _)| at);
        &rest[..end]
    }

    #[test]
    fn every_part_has_its_place() {
        let text = "f ( \"a, )\" , /* , */ #{ k: [1, x(\"}\")], \"for\": `b ${g(\"`, }\")} c`, // ,\n ü: y }, z.w(1, [2]), 'c')";
        let (source, laid) = laid(text);
        let all: Vec<&str> = laid.iter().map(|one| at(&source, one.at)).collect();
        assert_eq!(all[0], "\"a, )\"");
        assert_eq!(all[2..], ["z.w(1, [2])", "'c'"]);
        let (key, list) = laid[1].entry("k").unwrap();
        assert_eq!((at(&source, key), at(&source, list.item(1).unwrap().at)), ("k", "x(\"}\")"));
        let (key, text) = laid[1].entry("for").unwrap();
        assert_eq!((at(&source, key), at(&source, text.at)), ("\"for\"", "`b ${g(\"`, }\")} c`"));
        assert_eq!(at(&source, laid[1].entry("ü").unwrap().1.at), "y");
        assert!(laid[1].entry("x").is_none() && laid[0].item(0).is_none());
    }

    #[test]
    fn what_is_computed_has_no_parts() {
        let (source, laid) = laid("f([1, 2].map(|x| x), #{ a: 1 } + b, [3])");
        assert_eq!((&laid[0].parts, &laid[1].parts), (&Parts::None, &Parts::None));
        assert_eq!(at(&source, laid[1].at), "#{ a: 1 } + b");
        assert_eq!(laid[2].item(0).map(|one| one.at.column), Some(38));
    }

    #[test]
    fn no_text_breaks_it() {
        for text in
            ["f(", "f(\"", "f(`${", "f(#{", "f(#{a", "f(#{a:", "f(#{\"", "f(/*", "f([é", "f(#{é é: é", "f(')", "f(\"\\"]
        {
            laid(text);
        }
        let source = Source::script(Path::new("p.rhai"), "ff(1) é");
        assert!(arguments(&source, 0, "f").is_none());
        assert!(arguments(&source, 7, "é").is_none() && arguments(&source, 900, "f").is_none());
    }
}
