//! Reads values out of a marked tree and collects every mistake on the way: no reader stops at the first.
//!
//! A reader gives `None` (or a default) where a value is wrong, and has then noted why. Invariant: whoever finds no
//! error in the end has read everything that was written.

use super::yaml::{Entry, Node, Place, Source, Value};
use super::{tags, units};
use quell_model::mistake::nearest_within;
use quell_model::playbook::Rate;
use quell_model::{Mistake, MistakeLevel};
use std::collections::HashMap;
use std::time::Duration;

/// Keys whose value may be `null`: a default, and what is off.
const NULLABLE: &[&str] = &["default", "otlp"];

/// Letters times letters that the right spellings of one file's mistakes are sought with: some hundred mistakes of a
/// playbook with a thousand steps. Who makes more is told what is wrong, and not what may be meant.
const NEAR: u64 = 4_000_000;

/// Collects mistakes while a file is read.
#[derive(Debug)]
pub(crate) struct Reader<'s> {
    /// The file.
    pub(crate) source: &'s Source,
    mistakes: Vec<Mistake>,
    /// Whether a key without a value is a mistake.
    strict: bool,
    /// What is left for the search of right spellings.
    near: u64,
}

/// The entries of a map whose keys are known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'n> {
    entries: &'n [Entry],
    /// Where the map stands.
    pub(crate) at: Place,
}

impl<'n> Fields<'n> {
    /// The entry of a key; one that was written out goes before a merged one.
    pub(crate) fn entry(&self, key: &str) -> Option<&'n Entry> {
        let mine = || self.entries.iter().filter(|entry| entry.key == key);
        mine().find(|entry| !entry.merged).or_else(|| mine().next())
    }

    /// The value of a key; one that is `null` counts as absent.
    pub(crate) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|entry| &entry.value).filter(|value| value.value != Value::Null)
    }

    /// Those of `keys` that are there.
    pub(crate) fn present(&self, keys: &[&str]) -> Vec<&'n Entry> {
        keys.iter().filter_map(|key| self.entry(key)).collect()
    }
}

impl<'s> Reader<'s> {
    /// Nothing found yet. A key whose value was commented out, `approve` or `protect` say, must not count as one that
    /// nobody wrote; a script says with `()` that there is nothing.
    pub(crate) fn new(source: &'s Source) -> Self {
        Self { source, mistakes: Vec::new(), strict: !source.is_script(), near: NEAR }
    }

    /// The same, of a document: the numbers in it that are none and the tags that mean nothing are noted, wherever they stand.
    pub(crate) fn of(source: &'s Source, node: &Node) -> Self {
        let mut reader = Self::new(source);
        reader.finite(node);
        if !source.is_script() {
            reader.mistakes.extend(tags::unknown(source));
        }
        reader
    }

    /// Neither JSON nor any count, time or limit has a word for what is endless or no number.
    fn finite(&mut self, node: &Node) {
        match &node.value {
            Value::Float(number) if !number.is_finite() => {
                // Of digits it may be a secret.
                let word = self.source.written(node.at);
                let shown = match word.contains(|c: char| c.is_ascii_digit()) {
                    true => "this".to_owned(),
                    false => format!("`{word}`"),
                };
                let what = format!("{shown} is no number that can be counted with");
                self.error(node.at, what, "a number with an end, or text (in quotes)");
            }
            Value::List(list) => list.iter().for_each(|item| self.finite(item)),
            Value::Map(map) => map.iter().for_each(|entry| self.finite(&entry.value)),
            _ => {}
        }
    }

    /// Notes a mistake.
    pub(crate) fn note(&mut self, mistake: Mistake) {
        self.mistakes.push(mistake);
    }

    /// Notes a mistake, with the nearest of `known` to what is written.
    pub(crate) fn note_near<'k>(
        &mut self,
        mut mistake: Mistake,
        written: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) {
        mistake.nearest = self.nearest(written, known);
        self.note(mistake);
    }

    /// The nearest of `known` to what is written, as long as not too much was asked for.
    pub(crate) fn nearest<'k>(&mut self, written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
        nearest_within(written, known, &mut self.near).map(str::to_owned)
    }

    /// Notes an error.
    pub(crate) fn error(&mut self, at: Place, what: impl Into<String>, expected: impl Into<String>) {
        self.note(self.source.error(at, what).expected(expected));
    }

    /// Notes a warning.
    pub(crate) fn warning(&mut self, at: Place, what: impl Into<String>, expected: impl Into<String>) {
        self.note(self.source.warning(at, what).expected(expected));
    }

    /// Notes what is no mistake, and worth a thought.
    pub(crate) fn remark(&mut self, at: Place, what: impl Into<String>, expected: impl Into<String>) {
        let mut note = self.source.warning(at, what);
        note.level = MistakeLevel::Note;
        self.note(note.expected(expected));
    }

    /// Whether an error was noted.
    pub(crate) fn has_errors(&self) -> bool {
        self.mistakes.iter().any(|mistake| mistake.level == MistakeLevel::Error)
    }

    /// All mistakes, in the order of the file.
    pub(crate) fn finish(mut self) -> Vec<Mistake> {
        self.mistakes.sort_by_key(|mistake| (mistake.span.line, mistake.span.column));
        self.mistakes.dedup();
        self.mistakes
    }

    /// A map that may have the keys `known`. Those of a later version are told from those that are wrong.
    pub(crate) fn fields<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        known: &[&str],
        later: &[&str],
    ) -> Option<Fields<'n>> {
        let entries = self.map(node, what)?;
        for entry in entries {
            let key = entry.key.as_str();
            if later.contains(&key) {
                self.error(entry.at, format!("`{key}` is not available in this version"), "a file without it, for now");
            } else if known.contains(&"action") && key.contains('.') {
                // An action's name where its key is meant.
                let mistake = self.source.error(entry.at, format!("unknown key `{key}` in {what}"));
                self.note(mistake.expected(format!("`action: {key}`, and `with` beside it")));
            } else if !known.contains(&key) {
                let mistake = self.source.error(entry.at, format!("unknown key `{key}` in {what}"));
                self.note_near(mistake.expected(one_of(known)), key, known.iter().copied());
            } else if self.strict && entry.value.value == Value::Null && !NULLABLE.contains(&key) {
                let expected = match self.is_cut(entry) {
                    true => "the value in quotes: YAML takes what follows ` #` for a comment".to_owned(),
                    false => format!("a value, or no `{key}`"),
                };
                self.error(entry.at, format!("`{key}` has no value"), expected);
            }
        }
        Some(Fields { entries, at: node.at })
    }

    /// Whether what is meant as a value begins with `#`, as the names of channels do.
    fn is_cut(&self, entry: &Entry) -> bool {
        let rest = self.source.text.get(entry.at.offset..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let value = rest.split_once(':').map_or("", |(_, value)| value.trim_start());
        value.strip_prefix('#').is_some_and(|word| word.starts_with(char::is_alphanumeric))
    }

    /// A map with keys of the writer's own choosing.
    pub(crate) fn map<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [Entry]> {
        let Value::Map(entries) = &node.value else {
            self.error(node.at, format!("{what} is {}", node.kind()), "a map");
            return None;
        };
        let mut first: HashMap<&str, Place> = HashMap::with_capacity(entries.len());
        for entry in entries.iter().filter(|entry| !entry.merged) {
            if let Some(first) = first.get(entry.key.as_str()) {
                let what = format!("`{}` stands twice in {what}, first on line {}", entry.key, first.line);
                self.error(entry.at, what, "each key once");
            } else {
                first.insert(&entry.key, entry.at);
            }
        }
        Some(entries)
    }

    /// A list.
    pub(crate) fn list<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [Node]> {
        if let Value::List(list) = &node.value {
            return Some(list);
        }
        let expected = match &node.value {
            Value::Text(text) if !text.contains('\n') => format!("a list: [{text}]"),
            _ => "a list".to_owned(),
        };
        self.error(node.at, format!("{what} is {}", node.shown()), expected);
        None
    }

    /// Text.
    pub(crate) fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        if let Value::Text(text) = &node.value {
            return Some(text);
        }
        let expected = match node.value {
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => "text (in quotes)",
            _ => "text",
        };
        self.error(node.at, format!("{what} is {}", node.shown()), expected);
        None
    }

    /// A list of texts, with their places.
    pub(crate) fn texts<'n>(&mut self, node: &'n Node, what: &str) -> Vec<(&'n str, Place)> {
        let list = self.list(node, what).unwrap_or_default();
        list.iter().filter_map(|item| Some((self.text(item, &format!("an item of {what}"))?, item.at))).collect()
    }

    /// True or false.
    pub(crate) fn bool(&mut self, node: &Node, what: &str) -> Option<bool> {
        if let Value::Bool(b) = node.value {
            return Some(b);
        }
        self.error(node.at, format!("{what} is {}", node.shown()), "true or false");
        None
    }

    /// A whole number of at least `least`.
    pub(crate) fn count(&mut self, node: &Node, what: &str, least: u32) -> Option<u32> {
        if let Value::Int(n) = node.value
            && let Some(n) = u32::try_from(n).ok().filter(|n| *n >= least)
        {
            return Some(n);
        }
        self.error(node.at, format!("{what} is {}", node.shown()), format!("a whole number, {least} or more"));
        None
    }

    /// One of several words.
    pub(crate) fn word<T: Copy>(&mut self, node: &Node, what: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(node, what)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let mistake = self.source.error(node.at, format!("`{text}` is no {what}"));
        self.note_near(mistake.expected(one_of(&known)), text, known.iter().copied());
        None
    }

    /// A duration like `15m`, longer than nothing.
    pub(crate) fn duration(&mut self, node: &Node, what: &str) -> Option<Duration> {
        let read = match &node.value {
            Value::Text(text) => units::duration(text),
            Value::Int(0) => Some(Duration::ZERO),
            _ => None,
        };
        match read {
            Some(read) if !read.is_zero() => return Some(read),
            Some(_) => {
                let what = format!("{what} is {}: no time at all", node.shown());
                self.error(node.at, what, "a duration above zero, like `200ms` or `30s`");
                return None;
            }
            None => {}
        }
        let expected = match node.value {
            Value::Int(n) if n > 0 => format!("a duration with its unit, like `{n}s` or `{n}m`"),
            _ => "a duration like `200ms`, `30s`, `15m`, `1h30m` or `1d`".to_owned(),
        };
        self.error(node.at, format!("{what} is {}", node.shown()), expected);
        None
    }

    /// A size like `1GiB`.
    pub(crate) fn size(&mut self, node: &Node, what: &str) -> Option<u64> {
        let read = match &node.value {
            Value::Text(text) => units::size(text),
            _ => None,
        };
        if read.is_none() {
            self.error(node.at, format!("{what} is {}", node.shown()), "a size like `512MiB` or `1GiB`");
        }
        read
    }

    /// A rate like `20/h`.
    pub(crate) fn rate(&mut self, node: &Node, what: &str) -> Option<Rate> {
        let read = match &node.value {
            Value::Text(text) => units::rate(text),
            _ => None,
        };
        if read.is_none() {
            self.error(node.at, format!("{what} is {}", node.shown()), "a rate like `20/h` or `5/10m`");
        }
        read
    }
}

/// `a, b and 3 more`: so many by name.
pub(crate) fn few(names: &[String], most: usize) -> String {
    let named = names.iter().take(most).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(most) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// `a, b or c`.
pub(crate) fn one_of<S: AsRef<str>>(words: &[S]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [one] => one.as_ref().to_owned(),
        [most @ .., last] => {
            let most: Vec<&str> = most.iter().map(AsRef::as_ref).collect();
            format!("{} or {}", most.join(", "), last.as_ref())
        }
    }
}
