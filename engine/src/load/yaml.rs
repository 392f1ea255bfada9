//! YAML as a tree in which every key and value knows its place.
//!
//! Keys are taken as they are written (`on` is no boolean), duplicates are kept for the readers to report, anchors and
//! merges work. What YAML itself cannot read is the only mistake of its file.

use super::raw::Raw;
use crate::playbook::template::OPEN;
use quell_model::{Json, Mistake, Span};
use serde_saphyr::{DuplicateKeyPolicy, NonFiniteFloatPolicy, Spanned};
use std::path::{Path, PathBuf};

/// A file's text with its lines.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Where it was read.
    pub(crate) file: PathBuf,
    /// All of it.
    pub(crate) text: String,
    starts: Vec<usize>,
    /// Characters before each block of bytes.
    before: Vec<usize>,
    script: bool,
}

/// Bytes whose characters are counted together, so that a column is found in a line of any length.
const BLOCK: usize = 256;
/// A longer line is not told with a mistake: nobody reads it, and a file may have as many mistakes as bytes.
const LONGEST_LINE: usize = 2000;

/// Where something stands: line and column from 1, and the offset in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// From 1; 0 for the file as a whole.
    pub(crate) line: u32,
    /// In characters, from 1.
    pub(crate) column: u32,
    /// In characters.
    pub(crate) length: u32,
    /// In bytes.
    pub(crate) offset: usize,
}

impl From<Place> for Span {
    fn from(place: Place) -> Self {
        Self { line: place.line, column: place.column, length: place.length.max(1) }
    }
}

impl Source {
    /// Text that was read from `file`.
    pub(crate) fn new(file: &Path, text: &str) -> Self {
        // YAML ends a line at a lone carriage return too.
        let bytes = text.as_bytes();
        let ends = |at: &usize| bytes[*at] == b'\n' || (bytes[*at] == b'\r' && bytes.get(at + 1) != Some(&b'\n'));
        let starts = std::iter::once(0).chain((0..bytes.len()).filter(ends).map(|at| at + 1)).collect();
        Self { file: file.to_owned(), text: text.to_owned(), starts, before: counted(bytes), script: false }
    }

    /// A script that was read from `file`: a line ends at a line feed alone, and a value may stand elsewhere than where
    /// its place is, or nowhere.
    pub(crate) fn script(file: &Path, text: &str) -> Self {
        let bytes = text.as_bytes();
        let ends = (0..bytes.len()).filter(|at| bytes[*at] == b'\n').map(|at| at + 1);
        let starts = std::iter::once(0).chain(ends).collect();
        Self { file: file.to_owned(), text: text.to_owned(), starts, before: counted(bytes), script: true }
    }

    /// Whether it is a script.
    pub(crate) fn is_script(&self) -> bool {
        self.script
    }

    /// The text of a line, without its end.
    pub(crate) fn line(&self, line: u32) -> Option<&str> {
        let at = (line as usize).checked_sub(1)?;
        let start = *self.starts.get(at)?;
        let end = self.starts.get(at + 1).map_or(self.text.len(), |next| next - 1);
        Some(self.text[start..end].trim_end_matches('\r'))
    }

    /// The place of a line and column in characters. Who counts lines in another way (a bare carriage return ends one in
    /// comments of Rhai) may count too many: no place lies behind the last line.
    pub(crate) fn place(&self, line: u32, column: u32, length: u32) -> Place {
        let line = line.min(narrow(self.starts.len() as u64));
        let start = (line as usize).checked_sub(1).and_then(|at| self.starts.get(at)).copied().unwrap_or(0);
        let offset = self.offset(self.characters(start) + column.saturating_sub(1) as usize);
        Place { line, column, length, offset }
    }

    /// The place of an offset in bytes.
    pub(crate) fn at(&self, offset: usize, length: u32) -> Place {
        let offset = offset.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        let column = self.characters(offset) - self.characters(start) + 1;
        Place { line: line as u32, column: column as u32, length, offset }
    }

    /// How many characters a line has: found by blocks, since it is asked once a value, and all may stand in one line.
    fn width(&self, line: u32) -> usize {
        let start = (line as usize).checked_sub(1).and_then(|at| self.starts.get(at)).copied().unwrap_or(0);
        let length = self.line(line).map_or(0, str::len);
        self.characters(start + length) - self.characters(start)
    }

    /// An error at a place, with the line itself.
    pub(crate) fn error(&self, place: Place, what: impl Into<String>) -> Mistake {
        self.with_line(Mistake::error(&self.file, place.into(), what))
    }

    /// A warning at a place, with the line itself.
    pub(crate) fn warning(&self, place: Place, what: impl Into<String>) -> Mistake {
        self.with_line(Mistake::warning(&self.file, place.into(), what))
    }

    fn with_line(&self, mut mistake: Mistake) -> Mistake {
        let line = self.line(mistake.span.line).filter(|line| line.len() <= LONGEST_LINE);
        mistake.line_text = line.map(str::to_owned);
        mistake
    }

    /// What is written at a place.
    pub(crate) fn written(&self, place: Place) -> &str {
        let rest = self.text.get(place.offset..).unwrap_or_default();
        let end = rest.char_indices().nth(place.length as usize).map_or(rest.len(), |(at, _)| at);
        rest[..end].trim_end()
    }

    /// How many characters begin before an offset.
    fn characters(&self, offset: usize) -> usize {
        let block = offset / BLOCK;
        self.before[block] + begun(&self.text.as_bytes()[block * BLOCK..offset])
    }

    /// The offset of the character before which so many begin; the end if there is none. Looks into one block only, so
    /// that of a long line no place is dearer than of a short one.
    fn offset(&self, characters: usize) -> usize {
        let block = self.before.partition_point(|sum| *sum <= characters) - 1;
        let start = block * BLOCK;
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        let begins = rest.iter().enumerate().filter(|(_, byte)| **byte & 0xC0 != 0x80);
        begins.map(|(at, _)| start + at).nth(characters - self.before[block]).unwrap_or(self.text.len())
    }
}

/// How many characters begin before each block, and before what would follow the last.
fn counted(bytes: &[u8]) -> Vec<usize> {
    let mut before = vec![0];
    let mut sum = 0;
    before.extend(bytes.chunks(BLOCK).map(|block| {
        sum += begun(block);
        sum
    }));
    before
}

/// How many characters begin in these bytes of UTF-8.
fn begun(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xC0 != 0x80).count()
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// What it is.
    pub(crate) value: Value,
    /// Where it is written: of an alias, where the anchor is.
    pub(crate) at: Place,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map in the order of the file; keys may repeat.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// As written.
    pub(crate) key: String,
    /// Where.
    pub(crate) at: Place,
    /// Its value.
    pub(crate) value: Node,
    /// Came by `<<`: a key written out goes before it.
    pub(crate) merged: bool,
}

impl Node {
    /// The word for what it is.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Int(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The value in backticks if it is short, else the word for what it is.
    pub(crate) fn shown(&self) -> String {
        const SHORT: usize = 60;
        let text = match &self.value {
            Value::Bool(b) => b.to_string(),
            Value::Int(n) => n.to_string(),
            Value::Float(n) => n.to_string(),
            Value::Text(text) if text.chars().count() <= SHORT && !text.contains('\n') => text.clone(),
            _ => return self.kind().to_owned(),
        };
        format!("`{text}`")
    }

    /// The entry of a key, if it is a map that has it.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(map) => map.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// As JSON; of repeated keys the last.
    pub(crate) fn to_json(&self) -> Json {
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(b) => Json::Bool(*b),
            Value::Int(n) => Json::from(*n),
            Value::Float(n) => Json::from(*n),
            Value::Text(text) => Json::String(text.clone()),
            Value::List(list) => list.iter().map(Self::to_json).collect(),
            Value::Map(map) => map.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect(),
        }
    }
}

/// How deep a file may nest: reading goes down by recursion, and an unoptimised build takes tens of kilobytes a level.
pub(crate) const DEEPEST: usize = 24;

/// What aliases may bring in, in events of the parser: each is a value with a place, and a bomb of them is refused in a blink.
const MOST_REPLAYED: usize = 20_000;

/// Reads one document. An empty text is `null`.
pub(crate) fn parse(source: &Source) -> Result<Node, Box<Mistake>> {
    let mut options = serde_saphyr::Options::default();
    options.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    options.strict_booleans = true;
    options.leading_zero_numbers_as_strings = true;
    options.underscored_numbers_as_strings = true;
    // The reader refuses them, each with its place.
    options.non_finite_float_policy = NonFiniteFloatPolicy::PassThrough;
    options.with_snippet = false;
    options.alias_limits.max_total_replayed_events = MOST_REPLAYED;
    if let Some(budget) = &mut options.budget {
        budget.max_depth = DEEPEST;
    }
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(&source.text, options) {
        Ok(raw) => Ok(raw_node(raw, source)),
        Err(error) => Err(Box::new(syntax(&error, source))),
    }
}

fn syntax(error: &serde_saphyr::Error, source: &Source) -> Mistake {
    let place = error.location().map_or(Place::default(), |at| source.place(narrow(at.line()), narrow(at.column()), 1));
    let full = error.without_snippet().to_string();
    let what = full.lines().next().unwrap_or_default();
    let what = what.split(" at line ").next().unwrap_or(what);
    let what = what.strip_prefix("error: ").unwrap_or(what);
    if what.contains("null into string") {
        return source.error(place, "a key is `null`").expected("text as a key: in quotes, if this word is meant");
    }
    if what.starts_with("multiple YAML documents") {
        return source.error(place, "a second document begins here").expected("one document a file");
    }
    let mistake = source.error(place, format!("this is no YAML: {what}"));
    let mut near = (place.line.saturating_sub(1)..=place.line).rev().filter_map(|line| source.line(line));
    match near.find_map(around_expression) {
        Some(expected) => mistake.expected(expected),
        None if what.contains("tabs") || what.contains("a tab") => {
            mistake.expected("blanks: YAML takes no tabs for indentation")
        }
        None if what.contains("expected key") || what.contains("'-' indicator") => {
            mistake.expected("the same indentation as what stands beside it")
        }
        None if what.contains("mapping values") => mistake.expected("text that holds `: ` in quotes"),
        None => match MEANT.iter().find(|(said, _)| what.contains(said)) {
            Some((_, expected)) => mistake.expected(*expected),
            None => mistake,
        },
    }
}

/// What the parser says of a text, and what may be meant.
const MEANT: &[(&str, &str)] = &[
    ("unclosed quote", "a quote at the end of the text, like the one at its beginning"),
    ("anchor", "`&name` before the first `*name`; text that begins with `*` or `&` in quotes"),
    ("bracket", "for each `[` its `]` and for each `{` its `}`"),
    ("trailing content", "nothing behind the quote that ends a text: one within it is `\\\"` in \"…\" and `''` in '…'"),
    ("escape", "an escape that there is, like `\\n` or `\\\\`; within '…' a backslash is itself"),
    ("string scalar", "text as a key, no list or map"),
    ("merge value", "behind `<<:` an alias of a map (`*name`), or a list of them"),
    ("unexpected character", "the text in quotes: without them none begins with this character"),
    ("unexpected EOF", "the rest of it: the file ends within a list or map"),
];

/// What YAML may have taken amiss about an expression in this line.
fn around_expression(line: &str) -> Option<&'static str> {
    let (before, rest) = line.split_once(OPEN)?;
    let (inside, _) = rest.split_once("}}").unwrap_or((rest, ""));
    let is_within = |quote: char| before.matches(quote).count() % 2 == 1;
    if is_within('"') {
        let stops = inside.replace("\\\"", "").contains('"');
        return stops.then_some("`\\\"` for a quote within \"…\", or the whole value within '…'");
    }
    let quoted = is_within('\'');
    if quoted && inside.replace("''", "").contains('\'') {
        return Some("texts of the expression in double quotes: '${{ … == \"x\" }}'");
    }
    let expected = "an expression in quotes (\"${{ … }}\"), where braces, `: ` or ` #` would mean something to YAML";
    (!quoted).then_some(expected)
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn raw_node(raw: Spanned<Raw>, source: &Source) -> Node {
    let at = place(&raw.defined, source);
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Bool(b) => Value::Bool(b),
        Raw::Int(n) => Value::Int(n),
        Raw::Float(n) => Value::Float(n),
        Raw::Text(text) => Value::Text(text),
        Raw::List(list) => Value::List(list.into_iter().map(|item| raw_node(item, source)).collect()),
        Raw::Map(map) => Value::Map(
            map.into_iter()
                .map(|(key, value)| Entry {
                    at: Place { length: narrow(key.value.chars().count() as u64), ..place(&key.defined, source) },
                    merged: key.referenced != key.defined,
                    key: key.value,
                    value: raw_node(value, source),
                })
                .collect(),
        ),
    };
    Node { value, at }
}

fn place(at: &serde_saphyr::Location, source: &Source) -> Place {
    let place = source.place(narrow(at.line()), narrow(at.column()), 1);
    let rest = narrow(source.width(place.line) as u64);
    let length = narrow(at.span().len()).min(rest.saturating_sub(place.column.saturating_sub(1))).max(1);
    Place { length, ..place }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Node {
        parse(&Source::new(Path::new("x.yaml"), text)).unwrap()
    }

    fn entries(node: &Node) -> &[Entry] {
        match &node.value {
            Value::Map(map) => map,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_key_and_value_knows_its_place() {
        let node = read("on: yes\nsteps:\n  ä: { b: 010, c: \"${{ x }}\" }\n  d: |\n    one\n    two\n");
        let top = entries(&node);
        assert_eq!((top[0].key.as_str(), &top[0].value.value), ("on", &Value::Text("yes".into())));
        assert_eq!((top[0].value.at.line, top[0].value.at.column, top[0].value.at.length), (1, 5, 3));
        let steps = entries(&top[1].value);
        let inner = entries(&steps[0].value);
        assert_eq!((inner[0].at.line, inner[0].at.column), (3, 8));
        assert_eq!(inner[0].value.value, Value::Text("010".into()));
        assert_eq!((inner[1].value.at.line, inner[1].value.at.column), (3, 19));
        assert_eq!(steps[1].value.value, Value::Text("one\ntwo\n".into()));
        assert_eq!(steps[1].value.at.line, 5);
    }

    /// Lines are longer than a block, and characters longer than a byte.
    #[test]
    fn a_column_and_its_offset_are_one_place_also_in_a_very_long_line() {
        let text = format!("a: [{}]\nb: x\n", vec!["\"äö€ 😀\""; 600].join(", "));
        let source = Source::new(Path::new("x.yaml"), &text);
        let line = text.lines().next().unwrap();
        for (column, (offset, _)) in line.char_indices().enumerate().step_by(7) {
            let place = source.place(1, u32::try_from(column).unwrap() + 1, 1);
            assert_eq!(place.offset, offset);
            assert_eq!(source.at(offset, 1), place);
        }
        assert_eq!(source.place(2, 4, 1).offset, text.len() - 2);
        assert_eq!(source.place(2, 4_000, 1).offset, text.len(), "behind the end is the end");
    }

    #[test]
    fn duplicates_are_kept_and_merges_are_told_from_them() {
        let node = read("base: &b { x: 1, y: 2 }\na: { <<: *b, x: 3 }\nc: { x: 1, x: 2 }\nd: *b\n");
        let top = entries(&node);
        let a: Vec<_> = entries(&top[1].value).iter().map(|e| (e.key.as_str(), e.merged)).collect();
        assert!(a.contains(&("x", false)) && a.contains(&("y", true)), "{a:?}");
        let c: Vec<_> = entries(&top[2].value).iter().map(|e| (e.key.as_str(), e.merged)).collect();
        assert_eq!(c, [("x", false), ("x", false)]);
        assert_eq!(entries(&top[3].value).len(), 2);
        assert_eq!(top[3].value.at.line, 1);
    }

    #[test]
    fn what_is_no_yaml_has_a_place_and_a_hint() {
        let source = Source::new(Path::new("x.yaml"), "a: 1\nb: { if: ${{ event.x }} }\n");
        let mistake = parse(&source).unwrap_err();
        assert_eq!(mistake.span.line, 2, "{mistake:?}");
        assert!(mistake.expected.is_some(), "{mistake:?}");
        assert!(mistake.what.starts_with("this is no YAML: "), "{mistake:?}");
    }

    #[test]
    fn an_anchor_within_itself_is_refused_before_the_stack_ends() {
        for text in ["a: &a\n  b: *a\n", "a: &a [*a]\n", "a: &a { <<: *a, b: 1 }\n"] {
            let mistake = parse(&Source::new(Path::new("x.yaml"), text)).err();
            assert!(mistake.is_none_or(|mistake| mistake.what.starts_with("this is no YAML: ")), "{text}");
        }
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (this, last) in ('b'..='j').zip('a'..) {
            text.push_str(&format!(
                "{this}: &{this} [*{last}, *{last}, *{last}, *{last}, *{last}, *{last}, *{last}, *{last}]\n"
            ));
        }
        assert!(parse(&Source::new(Path::new("x.yaml"), &text)).is_err());
    }
}
