//! Where a variable of a text holds: from its declaration to the end of the block, closure or function.
//!
//! Goes by brackets and words, as the reader of names does. Never judges whether the text is right.

use super::{Token, end_of_parameters, opens_a_closure, words};

/// The variables and parameters that hold where the reading is.
#[derive(Default)]
pub(super) struct Known<'t> {
    /// Brackets that are open, and closures whose body stands without braces.
    open: Vec<Open<'t>>,
    /// Variables of no bracket.
    top: Vec<&'t str>,
    /// `let` of variables that hold from the end of the statement on: in how many brackets it stands.
    soon: Vec<(usize, &'t str)>,
    /// Names that hold in the block that opens next within so many brackets.
    inside: Vec<(usize, &'t str)>,
    /// Where the names stand that were declared last.
    declared: std::ops::Range<usize>,
}

struct Open<'t> {
    closure: bool,
    names: Vec<&'t str>,
}

impl<'t> Known<'t> {
    /// Whether a variable is one of the text's own here.
    pub(super) fn has(&self, word: &str) -> bool {
        self.top.contains(&word) || self.open.iter().any(|open| open.names.contains(&word))
    }

    /// Whether the word at this place is the name of a new variable, and not a use.
    pub(super) fn declares(&self, at: usize) -> bool {
        self.declared.contains(&at)
    }

    /// Goes past a word.
    pub(super) fn pass(&mut self, tokens: &[(Token<'t>, usize)], at: usize) {
        if self.declares(at) {
            return;
        }
        let next = |by: usize| tokens.get(at + by).map(|(token, _)| *token);
        let opens = next(1) == Some(Token::Mark('('));
        match tokens[at].0 {
            Token::Mark('{') => {
                let depth = self.open.len();
                let is_map = at.checked_sub(1).is_some_and(|before| tokens[before].0 == Token::Mark('#'));
                let mut names = Vec::new();
                if !is_map {
                    while let Some((_, name)) = self.inside.pop_if(|(within, _)| *within == depth) {
                        names.push(name);
                    }
                }
                self.open.push(Open { closure: false, names });
            }
            Token::Mark('(' | '[') => self.open.push(Open { closure: false, names: Vec::new() }),
            Token::Mark(')' | ']' | '}') => {
                self.end_closures();
                self.open.pop();
                let depth = self.open.len();
                self.soon.retain(|(within, _)| *within <= depth);
                self.inside.retain(|(within, _)| *within <= depth);
            }
            Token::Mark(mark @ (',' | ';')) => {
                self.end_closures();
                let depth = self.open.len();
                while let Some((_, name)) = self.soon.pop_if(|(within, _)| mark == ';' && *within == depth) {
                    self.open.last_mut().map_or(&mut self.top, |open| &mut open.names).push(name);
                }
            }
            Token::Word("let" | "const") => {
                if let Some(Token::Word(name)) = next(1) {
                    self.declared = at + 1..at + 2;
                    self.soon.push((self.open.len(), name));
                }
            }
            Token::Word("for" | "catch") if opens => self.within_the_next_block(tokens, at + 2, ')'),
            Token::Word("for") => {
                if let Some(Token::Word(name)) = next(1) {
                    self.declared = at + 1..at + 2;
                    self.inside.push((self.open.len(), name));
                }
            }
            Token::Word("fn") if next(2) == Some(Token::Mark('(')) => self.within_the_next_block(tokens, at + 3, ')'),
            Token::Mark('|') if opens_a_closure(tokens, at) => {
                let end = end_of_parameters(tokens, at + 1);
                if tokens.get(end + 1).map(|(token, _)| *token) == Some(Token::Mark('{')) {
                    return self.within_the_next_block(tokens, at + 1, '|');
                }
                self.declared = at + 1..end + 1;
                self.open.push(Open { closure: true, names: words(&tokens[at + 1..end.min(tokens.len())]).collect() });
            }
            _ => {}
        }
    }

    /// The parameters from `from` up to `end` hold in the block behind them.
    fn within_the_next_block(&mut self, tokens: &[(Token<'t>, usize)], from: usize, end: char) {
        let is_parameter = |(token, _): &&(Token<'t>, usize)| matches!(token, Token::Word(_) | Token::Mark(','));
        let rest = tokens.get(from..).unwrap_or_default();
        let count = rest.iter().take_while(is_parameter).count();
        let depth = self.open.len();
        if rest.get(count).map(|(token, _)| *token) == Some(Token::Mark(end)) {
            self.inside.extend(words(&rest[..count]).map(|name| (depth, name)));
            // With both marks, save a bar that was passed.
            self.declared = from - usize::from(end == ')')..from + count + 1;
        }
    }

    /// The body of a closure without braces ends where the list or the statement goes on in which it stands.
    fn end_closures(&mut self) {
        while self.open.last().is_some_and(|open| open.closure) {
            self.open.pop();
        }
    }
}
