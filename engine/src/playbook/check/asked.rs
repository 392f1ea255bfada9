//! Whether an expression looks that something is there before it walks on: what holds where it stands.
//!
//! ```text
//! event.pod != () && HERE      event.pod == () || HERE      if event.pod == () { … } else { HERE }
//! let there = event.pod != (); if there { HERE }      ["a", "b"].contains(event.pod?.name) && HERE
//! ```
//!
//! Reads words and brackets, and runs nothing. What it does not understand has asked for nothing. Keeps true: a look
//! counts only on the branch that it leads to, and one that a variable keeps only as long as nothing else can be in it.

use super::absent::OFTEN_ABSENT;
use crate::playbook::names::{Token, declared, end_of_parameters, opens_a_closure, tokens};
use quell_model::{Class, fields};
use std::collections::BTreeMap;
use std::ops::Range;

/// Words that begin a block of their own.
const BLOCKS: &[&str] = &["if", "while", "for", "loop"];
/// Words after which nothing behind them is run.
const ENDS: &[&str] = &["return", "throw", "break", "continue"];

/// An expression, read for one path.
pub(super) struct Asked<'t> {
    text: &'t str,
    tokens: Vec<(Token<'t>, usize)>,
    path: Vec<&'t str>,
    /// Classes of events that have what the path leads to.
    classes: Vec<&'static str>,
    /// Variables that keep a look.
    kept: BTreeMap<&'t str, Kept>,
}

/// What a variable says of the path.
struct Kept {
    /// Where it can be asked: from the end of its statement to that of its block.
    holds: Range<usize>,
    /// Whether the path leads to something where it is true.
    when_true: bool,
    /// And where it is false.
    when_false: bool,
}

impl<'t> Asked<'t> {
    /// Of an expression or a script: `event.pod`, say.
    pub(super) fn of(text: &'t str, path: &'t str) -> Self {
        let (tokens, kept) = (tokens(text), BTreeMap::new());
        let mut asked = Self { text, tokens, path: path.split('.').collect(), classes: classes(path), kept };
        asked.keep();
        asked
    }

    /// Finds the variables that one `let` makes and nothing changes: whoever asks them asks what it asked.
    fn keep(&mut self) {
        let declared = declared(&self.tokens);
        let changed = (0..self.tokens.len()).filter(|at| self.may_change(*at));
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for name in changed.chain(declared).filter_map(|at| self.word(at)) {
            *times.entry(name).or_default() += 1;
        }
        let mut open = vec![Vec::new()];
        for at in 0..self.tokens.len() {
            match self.token(at) {
                Some(Token::Mark('(' | '[' | '{')) => open.push(Vec::new()),
                Some(Token::Mark(')' | ']' | '}')) if open.len() > 1 => {
                    for name in open.pop().unwrap_or_default() {
                        self.kept.entry(name).and_modify(|kept: &mut Kept| kept.holds.end = at);
                    }
                }
                Some(Token::Word("let" | "const")) => {
                    let Some(name) = self.word(at + 1).filter(|name| times.get(name) == Some(&1)) else { continue };
                    let Some(kept) = self.look(at) else { continue };
                    open.last_mut().into_iter().for_each(|names| names.push(name));
                    self.kept.insert(name, kept);
                }
                _ => {}
            }
        }
    }

    /// What `let NAME = VALUE;` keeps, if it is a look.
    fn look(&self, at: usize) -> Option<Kept> {
        let end = self.next(at..self.tokens.len(), |i| self.is(i, ';')).filter(|_| self.is(at + 2, '='))?;
        let says = |truth| self.implies(at + 3..end, truth);
        let kept = Kept { holds: end..usize::MAX, when_true: says(true), when_false: says(false) };
        (kept.when_true || kept.when_false).then_some(kept)
    }

    /// Whether a variable that has been made may get another value here: `name = …`, `name |= …`, `name.method()`.
    fn may_change(&self, at: usize) -> bool {
        let is_new = at > 0 && matches!(self.word(at - 1), Some("let" | "const"));
        let is_property = at > 0 && matches!(self.token(at - 1), Some(Token::Dot { .. }));
        let sets = match self.token(at + 1) {
            Some(Token::Mark('=')) => !self.is(at + 2, '='),
            Some(Token::Mark('+' | '-' | '*' | '/' | '%' | '&' | '|' | '^')) => self.is(at + 2, '='),
            Some(Token::Dot { .. }) => true,
            _ => false,
        };
        self.word(at).is_some() && sets && !is_new && !is_property
    }

    /// Whether what stands at an offset is only run where the path leads to something.
    pub(super) fn before(&self, offset: usize) -> bool {
        let at = self.tokens.iter().position(|(_, start)| *start == offset);
        at.is_some_and(|at| self.in_block(0..self.tokens.len(), at))
    }

    /// Whether the path leads to something where the whole is true.
    pub(super) fn when_true(&self) -> bool {
        self.implies(0..self.tokens.len(), true)
    }

    /// Statements, one of which holds what is at `at`.
    fn in_block(&self, block: Range<usize>, at: usize) -> bool {
        let mut from = block.start;
        while from < block.end {
            let end = match self.begins_a_block(from) {
                true => self.end_of_blocks(from..block.end),
                false => self.next(from..block.end, |i| self.is(i, ';')).unwrap_or(block.end),
            };
            if (from..end).contains(&at) {
                return self.in_statement(from..end, at);
            }
            if self.leaves_where_absent(from..end) {
                return true;
            }
            from = end.max(from + 1);
        }
        false
    }

    /// `if event.pod == () { return … }`: what follows has it.
    fn leaves_where_absent(&self, statement: Range<usize>) -> bool {
        let Some((condition, then)) = self.condition(statement.clone()) else { return false };
        let ends = |i: usize| matches!(self.token(i), Some(Token::Word(word)) if ENDS.contains(&word));
        self.word(statement.start) == Some("if")
            && then.end + 1 == statement.end
            && self.next(then, ends).is_some()
            && self.implies(condition, false)
    }

    fn in_statement(&self, range: Range<usize>, at: usize) -> bool {
        if !self.begins_a_block(range.start) {
            return self.in_expression(range, at);
        }
        let Some((condition, then)) = self.condition(range.clone()) else { return false };
        let chooses = matches!(self.word(range.start), Some("if" | "while"));
        if condition.contains(&at) {
            return self.in_expression(condition, at);
        }
        if then.contains(&at) {
            return (chooses && self.implies(condition, true)) || self.in_block(then, at);
        }
        let other = then.end + 1;
        if self.word(other) != Some("else") {
            return self.in_expression(other..range.end, at);
        }
        let rest = if self.is(other + 1, '{') { other + 2..range.end.saturating_sub(1) } else { other + 1..range.end };
        self.implies(condition, false) || self.in_block(rest, at)
    }

    fn in_expression(&self, range: Range<usize>, at: usize) -> bool {
        for (mark, goes_on_when) in [("||", false), ("&&", true)] {
            let parts = self.split(range.clone(), mark);
            if let Some(mine) = parts.iter().position(|part| part.contains(&at)).filter(|_| parts.len() > 1) {
                let asked = parts[..mine].iter().any(|part| self.implies(part.clone(), goes_on_when));
                return asked || self.in_expression(parts[mine].clone(), at);
            }
        }
        let mut from = range.start;
        while from < range.end.min(at) {
            if self.begins_a_block(from) {
                return self.in_statement(from..range.end, at);
            }
            if self.is(from, '|') && opens_a_closure(&self.tokens, from) {
                from = end_of_parameters(&self.tokens, from + 1) + 1;
                if from <= at && !self.is(from, '{') {
                    return self.in_expression(from..range.end, at);
                }
                continue;
            }
            let Some(close) = self.close(from, range.end) else {
                from += 1;
                continue;
            };
            if (from + 1..close).contains(&at) {
                let is_block = self.is(from, '{') && !self.is_map(from);
                let inside = from + 1..close;
                return match is_block {
                    true => self.in_block(inside, at),
                    false => {
                        self.split(inside, ",").into_iter().any(|part| part.contains(&at) && self.in_block(part, at))
                    }
                };
            }
            from = close + 1;
        }
        false
    }

    /// Whether the path leads to something where a part is true, or where it is false.
    fn implies(&self, range: Range<usize>, truth: bool) -> bool {
        let range = self.bare(range);
        for (mark, all_when) in [("||", true), ("&&", false)] {
            let parts = self.split(range.clone(), mark);
            if parts.len() > 1 {
                let mut each = parts.into_iter().map(|part| self.implies(part, truth));
                return if truth == all_when { each.all(|one| one) } else { each.any(|one| one) };
            }
        }
        if self.is(range.start, '!') {
            return self.implies(range.start + 1..range.end, !truth);
        }
        if let Some(kept) = self.word(range.start).filter(|_| range.len() == 1).and_then(|name| self.kept.get(name)) {
            return kept.holds.contains(&range.start) && if truth { kept.when_true } else { kept.when_false };
        }
        let compares = |i: usize| {
            let first = self.is(i, '=') || self.is(i, '!');
            first && self.is(i + 1, '=') && !(i > 0 && (self.is(i - 1, '<') || self.is(i - 1, '>')))
        };
        let Some(at) = self.next(range.clone(), compares) else { return self.finds(range, truth) };
        let is_same = self.is(at, '=') == truth;
        let (left, right) = (range.start..at, at + 2..range.end);
        [(left.clone(), right.clone()), (right, left)].into_iter().any(|(side, other)| {
            let is_unit = other.len() == 2 && self.is(other.start, '(') && self.is(other.start + 1, ')');
            let is_value = other.len() == 1 && matches!(self.token(other.start), Some(Token::Text(_) | Token::Literal));
            let of_class = |word| self.classes.contains(&word) && self.is_class(side.clone());
            match is_unit {
                _ if matches!(self.token(other.start), Some(Token::Text(word)) if is_value && of_class(word)) => {
                    is_same
                }
                true => !is_same && (self.is_path(side.clone()) || self.walks(side)),
                false => is_same && is_value && self.walks(side),
            }
        })
    }

    /// Whether a part that compares nothing leads to the path: it walks there, or looks for what is there among values.
    fn finds(&self, range: Range<usize>, truth: bool) -> bool {
        if let Some(at) = self.next(range.clone(), |i| self.word(i) == Some("in")) {
            let is_not = at > range.start && self.is(at - 1, '!');
            let looks = range.start..at - usize::from(is_not);
            return truth != is_not && self.walks(looks) && self.are_values(at + 1..range.end);
        }
        truth && (self.walks(range.clone()) || self.contains(range))
    }

    /// Whether a part is `["a", "b"].contains(PATH?.name)`: what is absent is none of these.
    fn contains(&self, range: Range<usize>) -> bool {
        let Some(close) = self.close(range.start, range.end).filter(|_| self.is(range.start, '[')) else {
            return false;
        };
        let is_call = self.word(close + 2) == Some("contains")
            && self.is(close + 3, '(')
            && self.close(close + 3, range.end) == Some(range.end - 1);
        let sought = close + 4..range.end - 1;
        // `() + "a"` is a value.
        let makes = |i: usize| matches!(self.token(i), Some(Token::Mark(mark)) if !matches!(mark, '(' | '['));
        is_call
            && self.are_values(range.start..close + 1)
            && self.walks(sought.clone())
            && self.next(sought, makes).is_none()
    }

    /// Whether a part is a list of values that are written out: none of them is `()`.
    fn are_values(&self, range: Range<usize>) -> bool {
        let is_value = |part: Range<usize>| {
            part.len() == 1 && matches!(self.token(part.start), Some(Token::Text(_) | Token::Literal))
        };
        self.is(range.start, '[')
            && self.close(range.start, range.end) == Some(range.end - 1)
            && self.split(range.start + 1..range.end - 1, ",").into_iter().all(is_value)
    }

    /// Whether a part is the path itself.
    fn is_path(&self, range: Range<usize>) -> bool {
        self.behind_path(range.start) == Some(range.end)
    }

    /// Whether a part is the class of the event.
    fn is_class(&self, range: Range<usize>) -> bool {
        range.len() == 3 && self.word(range.start) == Some("event") && self.word(range.start + 2) == Some("class")
    }

    /// Whether a part walks through the path with `?.`, and gives nothing else where that leads to nothing.
    fn walks(&self, range: Range<usize>) -> bool {
        let optional = |i: usize| matches!(self.token(i), Some(Token::Dot { optional: true }));
        let defaults = |i: usize| self.is(i, '?') && self.is(i + 1, '?');
        self.behind_path(range.start).is_some_and(|end| end < range.end && optional(end))
            && self.next(range, defaults).is_none()
    }

    /// Where the path ends that begins at `at`.
    fn behind_path(&self, at: usize) -> Option<usize> {
        let mut at = at;
        for (number, name) in self.path.iter().enumerate() {
            if number > 0 {
                matches!(self.token(at), Some(Token::Dot { .. })).then_some(())?;
                at += 1;
            }
            (self.word(at)? == *name).then_some(())?;
            at += 1;
        }
        Some(at)
    }

    /// Without parentheses around it, and without what only names, keeps or gives its value.
    fn bare(&self, range: Range<usize>) -> Range<usize> {
        let Range { mut start, mut end } = range;
        loop {
            let closes = self.is(start, '(').then(|| self.close(start, end)).flatten();
            if closes.is_some_and(|close| close + 1 == end && close > start + 1) {
                (start, end) = (start + 1, end - 1);
            } else if self.word(start) == Some("return") {
                start += 1;
            } else if self.is(start + 1, ':') && matches!(self.token(start), Some(Token::Word(_) | Token::Text(_))) {
                start += 2;
            } else if matches!(self.word(start), Some("let" | "const")) && self.is(start + 2, '=') {
                start += 3;
            } else {
                return start..end.max(start);
            }
        }
    }

    /// The parts between the marks of one kind that stand in no bracket, block or closure.
    fn split(&self, range: Range<usize>, mark: &str) -> Vec<Range<usize>> {
        let mut parts = Vec::new();
        let mut start = range.start;
        let mut from = range.start;
        while let Some(at) = self.next(from..range.end, |i| self.begins(i, mark)) {
            parts.push(start..at);
            start = at + if mark == "&&" { 2 } else { 1 };
            from = start;
        }
        parts.push(start..range.end);
        parts
    }

    /// The first place in no bracket for which something is so; what stands in a closure, or behind a word that begins a
    /// block, is theirs.
    fn next(&self, range: Range<usize>, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        let mut at = range.start;
        while at < range.end {
            if is_it(at) {
                return Some(at);
            }
            if (self.is(at, '|') && opens_a_closure(&self.tokens, at)) || (self.begins_a_block(at) && at > range.start)
            {
                return None;
            }
            at = self.close(at, range.end).map_or(at + 1, |close| close + 1);
        }
        None
    }

    /// Of `if CONDITION { … }` and its like the condition and what is inside the first block.
    fn condition(&self, range: Range<usize>) -> Option<(Range<usize>, Range<usize>)> {
        if !self.begins_a_block(range.start) {
            return None;
        }
        let opens = |i: usize| self.is(i, '{') && !self.is_map(i);
        let mut at = range.start + 1;
        while at < range.end && !opens(at) {
            at = self.close(at, range.end).map_or(at + 1, |close| close + 1);
        }
        let close = self.close(at, range.end)?;
        Some((range.start + 1..at, at + 1..close))
    }

    /// Where the blocks end that a word begins, with their `else`.
    fn end_of_blocks(&self, range: Range<usize>) -> usize {
        let Some((_, then)) = self.condition(range.clone()) else { return range.end };
        let behind = then.end + 1;
        match (self.word(behind), self.is(behind + 1, '{')) {
            (Some("else"), true) => self.close(behind + 1, range.end).map_or(range.end, |close| close + 1),
            (Some("else"), false) => self.end_of_blocks(behind + 1..range.end),
            _ => behind,
        }
    }

    fn begins_a_block(&self, at: usize) -> bool {
        let is_property = at > 0 && matches!(self.token(at - 1), Some(Token::Dot { .. }));
        self.word(at).is_some_and(|word| BLOCKS.contains(&word)) && !is_property
    }

    fn is_map(&self, at: usize) -> bool {
        at > 0 && self.is(at - 1, '#')
    }

    /// Where the bracket closes that opens at `at`, if one does.
    fn close(&self, at: usize, end: usize) -> Option<usize> {
        let mut depth = 0usize;
        for here in at..end {
            match self.token(here) {
                Some(Token::Mark('(' | '[' | '{')) => depth += 1,
                Some(Token::Mark(')' | ']' | '}')) => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return (here > at).then_some(here);
            }
        }
        None
    }

    fn begins(&self, at: usize, mark: &str) -> bool {
        match mark {
            // One word of the reader's for several marks.
            "||" => self.is(at, '~') && self.text[self.tokens[at].1..].starts_with("||"),
            "&&" => self.is(at, '&') && self.is(at + 1, '&'),
            mark => mark.chars().next().is_some_and(|mark| self.is(at, mark)),
        }
    }

    fn token(&self, at: usize) -> Option<Token<'t>> {
        self.tokens.get(at).map(|(token, _)| *token)
    }

    fn is(&self, at: usize, mark: char) -> bool {
        self.token(at) == Some(Token::Mark(mark))
    }

    fn word(&self, at: usize) -> Option<&'t str> {
        match self.token(at) {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }
}

/// The classes whose events always have a group: `event.network`. A container or a pod is no matter of the class.
fn classes(path: &str) -> Vec<&'static str> {
    let Some(group) = path.strip_prefix("event.").filter(|_| !OFTEN_ABSENT.contains(&path)) else { return Vec::new() };
    Class::ALL.into_iter().filter(|class| fields::is_known(*class, group)).map(Class::as_str).collect()
}

#[cfg(test)]
mod tests;
