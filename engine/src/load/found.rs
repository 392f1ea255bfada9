//! Expressions found in a file, each with the places of its characters.
//!
//! A value is not what stands in the file: YAML takes away quotes, escapes and indentation. Here the two are laid beside
//! each other, so that a mistake inside an expression has its own line and column.

use super::reader::Reader;
use super::yaml::{Node, Place, Source, Value};
use crate::playbook::names::ROOTS;
use crate::playbook::template::{self, OPEN, Piece};
use quell_model::playbook::Expression;

/// Where an expression stands, which says what it may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stands {
    /// In the trigger.
    Trigger,
    /// In the step of this number; with `item` or without.
    Step {
        /// Its number.
        step: usize,
        /// Whether it is evaluated for each item.
        item: bool,
    },
    /// In the input of the action of the step of this number.
    Input {
        /// Its number.
        step: usize,
        /// Whether it is evaluated for each item.
        item: bool,
    },
    /// In the `if` of what the step of this number waits for.
    Until {
        /// Its number.
        step: usize,
        /// Whether it is evaluated for each item.
        item: bool,
    },
    /// In the playbook's outputs.
    Output,
    /// In a route of escalation.yaml.
    Route,
}

impl Stands {
    /// The input of the action of a step.
    pub(crate) fn input(self) -> Self {
        match self {
            Self::Step { step, item } => Self::Input { step, item },
            other => other,
        }
    }

    /// The number of its step.
    pub(crate) fn step(self) -> Option<usize> {
        match self {
            Self::Step { step, .. } | Self::Input { step, .. } | Self::Until { step, .. } => Some(step),
            Self::Trigger | Self::Output | Self::Route => None,
        }
    }

    /// Whether it is evaluated for each item.
    pub(crate) fn item(self) -> bool {
        match self {
            Self::Step { item, .. } | Self::Input { item, .. } | Self::Until { item, .. } => item,
            Self::Trigger | Self::Output | Self::Route => false,
        }
    }
}

/// An expression or a script in a file.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Rhai.
    pub(crate) text: String,
    /// The offset in the file of every byte of the text, and of its end.
    offsets: Vec<usize>,
    /// Where.
    pub(crate) stands: Stands,
    /// Whether it is a script, which may have statements.
    pub(crate) script: bool,
    /// Whether it is the whole of its text.
    pub(crate) whole: bool,
}

impl Found {
    /// The place of the `length` characters at an offset of the text.
    pub(crate) fn place(&self, source: &Source, at: usize, length: usize) -> Place {
        let offset = self.offsets.get(at).or(self.offsets.last()).copied().unwrap_or_default();
        source.at(offset, u32::try_from(length.max(1)).unwrap_or(1))
    }

    /// The place of a line and column of the text, both from 1.
    pub(crate) fn place_of(&self, source: &Source, line: usize, column: usize) -> Place {
        let start = self.text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum::<usize>();
        let rest = &self.text[start.min(self.text.len())..];
        let inside = rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(at, _)| at);
        self.place(source, start + inside, 1)
    }

    /// For the model.
    pub(crate) fn expression(&self, source: &Source) -> Expression {
        let length = self.text.lines().next().map_or(1, |line| line.chars().count());
        Expression { text: self.text.clone(), span: self.place(source, 0, length).into() }
    }
}

/// Finds the expressions of every string below `node`.
pub(crate) fn in_template(reader: &mut Reader<'_>, node: &Node, stands: Stands, out: &mut Vec<Found>) {
    match &node.value {
        Value::Text(text) => in_text(reader, node, text, stands, out),
        Value::List(list) => list.iter().for_each(|item| in_template(reader, item, stands, out)),
        Value::Map(map) => map.iter().for_each(|entry| in_template(reader, &entry.value, stands, out)),
        _ => {}
    }
}

fn in_text(reader: &mut Reader<'_>, node: &Node, text: &str, stands: Stands, out: &mut Vec<Found>) {
    if !text.contains(OPEN) {
        return of_others(reader, node, text);
    }
    let offsets = lay_beside(reader.source, node, text);
    match template::pieces(text) {
        Ok(pieces) => {
            for piece in pieces {
                let Piece::Expression(range) = piece else { continue };
                let found = Found {
                    text: text[range.clone()].to_owned(),
                    offsets: offsets[range.start..=range.end].to_vec(),
                    stands,
                    script: false,
                    whole: template::whole(text).is_some(),
                };
                if found.text.is_empty() {
                    reader.error(found.place(reader.source, 0, 1), "`${{ }}` is empty", "an expression in it");
                } else {
                    out.push(found);
                }
            }
        }
        Err(template::Unclosed(at)) => unclosed(reader, &offsets, at, text),
    }
}

/// `{{ event.node }}` and `${event.node}` are what other engines fill in; here they are told as they stand.
fn of_others(reader: &mut Reader<'_>, node: &Node, text: &str) {
    let names = |rest: &str| {
        let rest = rest.trim_start();
        let root = rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().unwrap_or_default();
        ROOTS.contains(&root) && rest[root.len()..].starts_with(['.', '?'])
    };
    for open in ["{{", "${"] {
        if text.match_indices(open).any(|(at, _)| names(&text[at + open.len()..])) {
            let what = format!("`{open}` begins no expression: the text stays as it is");
            return reader.warning(node.at, what, "`${{ … }}`");
        }
    }
}

fn unclosed(reader: &mut Reader<'_>, offsets: &[usize], at: usize, text: &str) {
    let source = reader.source;
    let end = offsets[text.trim_end().len()];
    let rest = source.text[end.min(source.text.len())..].lines().next().unwrap_or_default();
    let blanks = rest.len() - rest.trim_start().len();
    if !source.is_script() && blanks > 0 && rest.trim_start().starts_with('#') {
        let place = source.at(end + blanks, 1);
        let what = "YAML takes ` #` for a comment and cuts the expression here";
        reader.error(place, what, "the whole value in quotes: \"${{ … }}\"");
    } else {
        reader.error(source.at(offsets[at], 3), "`${{` without an end", "`}}` behind the expression");
    }
}

/// A condition: one whole expression, or `true` or `false` without `${{ }}`.
pub(crate) fn condition(
    reader: &mut Reader<'_>,
    node: &Node,
    stands: Stands,
    out: &mut Vec<Found>,
) -> Option<Expression> {
    match node.value {
        Value::Bool(b) => Some(Expression { text: b.to_string(), span: node.at.into() }),
        _ => whole(reader, node, "`if`", stands, out),
    }
}

/// A key whose value is one whole expression.
pub(crate) fn whole(
    reader: &mut Reader<'_>,
    node: &Node,
    what: &str,
    stands: Stands,
    out: &mut Vec<Found>,
) -> Option<Expression> {
    if !matches!(node.value, Value::Text(_)) {
        reader.error(node.at, format!("{what} is {}, no expression", node.shown()), "one expression: ${{ … }}");
        return None;
    }
    let text = reader.text(node, what)?;
    if template::whole(text).is_some() {
        let before = out.len();
        in_template(reader, node, stands, out);
        return out.get(before).map(|found| found.expression(reader.source));
    }
    if text.contains(OPEN) {
        let before = out.len();
        let mistakes = reader.has_errors();
        in_template(reader, node, stands, out);
        if out.len() > before || !mistakes && !reader.has_errors() {
            reader.error(node.at, format!("{what} has text beside its expression"), "one expression: ${{ … }}");
        }
    } else {
        // `{{ x }}` and `${ x }` are what others write.
        let inside = text.trim().trim_start_matches('$').trim_matches(['{', '}']).trim();
        let near = if text.len() <= 60 { format!("${{{{ {inside} }}}}") } else { "${{ … }}".to_owned() };
        reader.error(node.at, format!("{what} is no expression"), near);
    }
    None
}

/// A script.
pub(crate) fn script(reader: &mut Reader<'_>, node: &Node, stands: Stands, out: &mut Vec<Found>) -> Option<Expression> {
    let text = reader.text(node, "a script")?;
    if text.trim_start().starts_with(OPEN) {
        reader.error(node.at, "a script stands inside `${{ }}`", "the script as it is");
        return None;
    }
    let offsets = lay_beside(reader.source, node, text);
    let found = Found { text: text.to_owned(), offsets, stands, script: true, whole: true };
    let expression = found.expression(reader.source);
    out.push(found);
    Some(expression)
}

/// The offset in the file of every byte of a value, and of its end.
fn lay_beside(source: &Source, node: &Node, value: &str) -> Vec<usize> {
    let file = &source.text;
    let at = node.at.offset;
    if source.is_script() {
        return in_script(file, at, value);
    }
    let escapes = file[at..].starts_with('"');
    walk(file, at + usize::from(file[at..].starts_with(['"', '\''])), value, escapes)
}

/// In a script a value stands at its place only as a literal; of `x("…")` the literal is what is inside the braces.
fn in_script(file: &str, at: usize, value: &str) -> Vec<usize> {
    if !file[at..].starts_with(['"', '`']) {
        return vec![at; value.len() + 1];
    }
    let escapes = file[at..].starts_with('"');
    let inside = value.strip_prefix(X_OPEN).and_then(|rest| rest.strip_suffix(X_CLOSE));
    match inside.filter(|_| !file[at + 1..].trim_start().starts_with(OPEN)) {
        Some(inside) => {
            let mut out = vec![at + 1; X_OPEN.len()];
            out.append(&mut walk(file, at + 1, inside, escapes));
            let end = out.last().copied().unwrap_or(at);
            out.extend([end; X_CLOSE.len()]);
            out
        }
        None => walk(file, at + 1, value, escapes),
    }
}

/// What `x` of a script writes around its text.
pub(crate) const X_OPEN: &str = "${{ ";
/// And behind it.
pub(crate) const X_CLOSE: &str = " }}";

/// The same, of a value that begins at an offset; in double quotes a backslash escapes.
fn walk(file: &str, mut at: usize, value: &str, escapes: bool) -> Vec<usize> {
    let mut out = Vec::with_capacity(value.len() + 1);
    for c in value.chars() {
        let mut look = at;
        // What YAML took away before `c`: indentation, escapes, doubled quotes.
        let hit = loop {
            let Some(here) = file[look..].chars().next() else { break None };
            match here {
                '\\' if escapes => match escaped(&file[look..]) {
                    (length, true) => break Some((look, length)),
                    (length, false) => {
                        look += length;
                        continue;
                    }
                },
                _ if here == c => break Some((look, here.len_utf8())),
                '\'' => {}
                blank if blank.is_whitespace() && c.is_whitespace() => break Some((look, blank.len_utf8())),
                blank if blank.is_whitespace() => {}
                _ => break None,
            }
            look += here.len_utf8();
        };
        let (start, length) = hit.unwrap_or((at, 0));
        out.extend(std::iter::repeat_n(start, c.len_utf8()));
        at = start + length;
    }
    out.push(at);
    out
}

/// How long the escape is with which `text` begins, and whether it stands for a character: one at the end of a line does
/// not, and takes the indentation of the next one away.
fn escaped(text: &str) -> (usize, bool) {
    let behind = &text[1..];
    let digits = |most: usize| behind.bytes().skip(1).take(most).take_while(u8::is_ascii_hexdigit).count();
    match behind.chars().next() {
        Some('x') => (2 + digits(2), true),
        Some('u') => (2 + digits(4), true),
        Some('U') => (2 + digits(8), true),
        Some('\n' | '\r') => {
            let line = behind.strip_prefix("\r\n").or_else(|| behind.get(1..)).unwrap_or_default();
            (text.len() - line.trim_start_matches([' ', '\t']).len(), false)
        }
        Some(other) => (1 + other.len_utf8(), true),
        None => (1, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::yaml;
    use std::path::Path;

    fn found(text: &str) -> (Source, Vec<Found>, Vec<quell_model::Mistake>) {
        let source = Source::new(Path::new("x.yaml"), text);
        let node = yaml::parse(&source).unwrap();
        let mut reader = Reader::new(&source);
        let mut out = Vec::new();
        in_template(&mut reader, &node, Stands::Output, &mut out);
        let mistakes = reader.finish();
        (source, out, mistakes)
    }

    #[test]
    fn expressions_know_their_places_in_every_style() {
        for text in [
            "a: ${{ one.two }}\n",
            "a: \"${{ one.two }}\"\n",
            "a: 'it''s ${{ one.two }}'\n",
            "a: \"x \\\"y\\\" \\n ${{ one.two }}\"\n",
            "a: \"\\u00e9 ${{ one.two }}\"\n",
            "a: \"\\x41\\U0001F600\\\\u0041 ${{ one.two }}\"\n",
            "a: \"first\\\n    second ${{ one.two }}\"\n",
            "a: 'C:\\new\\u0041 ${{ one.two }}'\n",
            "a: C:\\new\\u0041 ${{ one.two }}\n",
            "a: |\n  first\n\n    second ${{ one.two }}\n",
            "a: >\n  first\n  second ${{ one.two }}\n",
            "a: \"first\n  second ${{ one.two }}\"\n",
            "ä: { ö: [ü, \"ß ${{ one.two }}\"] }\n",
        ] {
            let (source, out, _) = found(text);
            assert_eq!(out[0].text, "one.two", "{text}");
            let place = out[0].place(&source, 4, 3);
            assert!(source.text[place.offset..].starts_with("two"), "{text}: {place:?}");
        }
    }

    #[test]
    fn what_yaml_cuts_is_named() {
        let (_, _, mistakes) = found("a: ${{ x.map(|y| #{ z: y }) }}\n");
        assert_eq!((mistakes[0].span.line, mistakes[0].span.column), (1, 18), "{mistakes:?}");
        assert!(mistakes[0].what.contains("comment"), "{mistakes:?}");
        let (_, _, mistakes) = found("a: b ${{ x.y\n");
        assert_eq!((mistakes[0].span.line, mistakes[0].span.column), (1, 6), "{mistakes:?}");
        assert!(mistakes[0].what.contains("without an end"), "{mistakes:?}");
    }
}
