//! A YAML document with the place of every key and value: where a mistake in a rule stands.
//!
//! Owns the search for places only; what the document means is rsigma's to read. Lines and columns count from 1
//! within the document's text; [`Marked::read`] is told how many lines of the file come before it.

use crate::load::raw::Raw;
use quell_model::Span;
use serde_saphyr::{DuplicateKeyPolicy, Spanned};
use std::borrow::Cow;
use std::collections::HashSet;

/// A document's tree and where the document begins in its file.
#[derive(Debug)]
pub(super) struct Marked {
    root: Spanned<Raw>,
    before: u32,
}

/// How many nodes aliases may stand for in one document: more is no rule, but an attempt to fill the memory.
const ALIASED: usize = 10_000;
/// Brackets and `not`s of one condition: what reads it goes down a step for each.
pub(super) const NESTED: usize = 200;

/// One step on the way to a node.
pub(super) enum Found<'a> {
    Key(&'a Spanned<String>),
    Value(&'a Spanned<Raw>),
}

impl Marked {
    /// Reads one document that follows `before` lines of its file; the error with its place.
    pub(super) fn read(text: &str, before: u32) -> Result<Self, (Span, String)> {
        let options = serde_saphyr::options! {
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
            alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: ALIASED },
        };
        match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
            Ok(root) => Ok(Self { root, before }),
            Err(error) => {
                let place = error.location().map_or(Span::default(), |at| span(at, before, 1));
                Err((place, first_line(&error.without_snippet().to_string())))
            }
        }
    }

    /// The document's keys, when it is a map.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries().map(|(key, _)| key.value.as_str())
    }

    /// The names of the selections under `detection`.
    pub(super) fn detections(&self) -> impl Iterator<Item = &str> {
        let inner = self.entries().find(|(key, _)| key.value == "detection").map(|(_, value)| &value.value);
        match inner {
            Some(Raw::Map(map)) => map.as_slice(),
            _ => &[],
        }
        .iter()
        .map(|(key, _)| key.value.as_str())
        .filter(|key| *key != "condition" && *key != "timeframe")
    }

    fn entries(&self) -> impl Iterator<Item = &(Spanned<String>, Spanned<Raw>)> {
        match &self.root.value {
            Raw::Map(map) => map.as_slice(),
            _ => &[],
        }
        .iter()
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self.root.value, Raw::Map(_))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.root.value.text().is_some_and(|text| text.is_empty())
    }

    /// Where the document begins.
    pub(super) fn start(&self) -> Span {
        match self.entries().next() {
            Some((key, _)) => self.span(key.referenced, key.value.len()),
            None => self.span(self.root.referenced, 1),
        }
    }

    /// The first condition that could nest deeper than its parser's stack reaches, by how many brackets and `not`s it has.
    pub(super) fn deep_condition(&self) -> Option<(usize, Span)> {
        let nests = |text: &str| {
            text.matches('(').count() + text.split_whitespace().filter(|word| word.eq_ignore_ascii_case("not")).count()
        };
        ["detection", "correlation"].into_iter().find_map(|part| {
            let span = self.key(&[part, "condition"])?;
            let inner = self.entries().find(|(key, _)| key.value == part).map(|(_, value)| &value.value);
            let Some(Raw::Map(map)) = inner else { return None };
            let (_, condition) = map.iter().find(|(key, _)| key.value == "condition")?;
            let most = match &condition.value {
                Raw::List(list) => list.iter().filter_map(|one| one.value.text()).map(|text| nests(&text)).max(),
                one => one.text().map(|text| nests(&text)),
            };
            most.filter(|most| *most > NESTED).map(|most| (most, span))
        })
    }

    /// Where the key stands that `path` leads to.
    pub(super) fn key(&self, path: &[&str]) -> Option<Span> {
        let mut at = &self.root;
        let mut place = None;
        for part in path {
            let Raw::Map(map) = &at.value else { return None };
            let (key, value) = map.iter().find(|(key, _)| key.value == *part)?;
            place = Some(self.span(key.referenced, key.value.chars().count()));
            at = value;
        }
        place
    }

    /// The text at `path`, and its place.
    pub(super) fn text(&self, path: &[&str]) -> Option<(Cow<'_, str>, Span)> {
        let mut at = &self.root;
        for part in path {
            let Raw::Map(map) = &at.value else { return None };
            at = &map.iter().find(|(key, _)| key.value == *part)?.1;
        }
        let text = at.value.text()?;
        let span = self.span(at.referenced, text.chars().count());
        Some((text, span))
    }

    /// The first key that its map has twice, where it stands again.
    pub(super) fn repeated(&self) -> Option<(&str, Span)> {
        fn look(node: &Raw) -> Option<&Spanned<String>> {
            match node {
                Raw::List(list) => list.iter().find_map(|member| look(&member.value)),
                Raw::Map(map) => {
                    let mut seen = HashSet::new();
                    let again = map.iter().find(|(key, _)| !seen.insert(key.value.as_str())).map(|(key, _)| key);
                    again.or_else(|| map.iter().find_map(|(_, value)| look(&value.value)))
                }
                _ => None,
            }
        }
        look(&self.root.value).map(|key| (key.value.as_str(), self.span(key.referenced, key.value.chars().count())))
    }

    /// The place of the first key or value of the whole document that `wanted` picks.
    pub(super) fn find(&self, wanted: &dyn Fn(Found<'_>) -> bool) -> Option<Span> {
        self.find_in(&self.root, wanted)
    }

    fn find_in(&self, at: &Spanned<Raw>, wanted: &dyn Fn(Found<'_>) -> bool) -> Option<Span> {
        if wanted(Found::Value(at)) {
            let length = at.value.text().map_or(1, |text| text.chars().count());
            return Some(self.span(at.referenced, length));
        }
        match &at.value {
            Raw::List(list) => list.iter().find_map(|member| self.find_in(member, wanted)),
            Raw::Map(map) => map.iter().find_map(|(key, value)| {
                if wanted(Found::Key(key)) {
                    return Some(self.span(key.referenced, key.value.chars().count()));
                }
                self.find_in(value, wanted)
            }),
            _ => None,
        }
    }

    fn span(&self, at: serde_saphyr::Location, length: usize) -> Span {
        span(at, self.before, length)
    }
}

fn span(at: serde_saphyr::Location, before: u32, length: usize) -> Span {
    let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    Span {
        line: number(at.line()).saturating_add(if at.line() == 0 { 0 } else { before }),
        column: number(at.column()),
        length: u32::try_from(length).unwrap_or(u32::MAX).max(1),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or("no YAML").trim_end_matches('.').to_owned()
}

/// Splits a file into its documents: the text of each with the number of lines before it.
pub(super) fn documents(text: &str) -> Vec<(u32, &str)> {
    let mut documents = Vec::new();
    let (mut start, mut start_line, mut line) = (0, 0u32, 0u32);
    let mut at = 0;
    for piece in text.split_inclusive('\n') {
        line += 1;
        let bare = piece.trim_end();
        if bare == "---" || bare.starts_with("--- ") || bare == "..." {
            documents.push((start_line, &text[start..at]));
            start = at + piece.len();
            start_line = line;
        }
        at += piece.len();
    }
    documents.push((start_line, &text[start..]));
    documents
        .retain(|(_, text)| text.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')));
    documents
}
