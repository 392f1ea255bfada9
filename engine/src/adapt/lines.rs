//! Bytes → pieces: a line of text, or a JSON value that may span lines.
//!
//! Owns the bounds and the way back after a broken value: a line that cannot go on as JSON is given up alone, and what
//! followed it is read again from its beginning. Knows JSON's brackets and strings, not its meaning.

use super::outside::Outside;
use std::collections::VecDeque;
use std::io::{self, BufRead, Read};

/// The largest record that is read.
pub const LARGEST_EVENT: usize = 1024 * 1024;
/// The largest value that holds many records (a CloudTrail file is one line).
pub const LARGEST_DOCUMENT: usize = 64 * 1024 * 1024;
/// serde_json's own bound.
const DEPTH: usize = 128;
/// How much is kept of a line that is too long.
const KEPT: usize = 64 * 1024;

/// A piece of the input, with the line where it begins (from 1).
#[derive(Debug)]
pub(super) enum Piece {
    /// A complete JSON object or list.
    Json(u32, Vec<u8>),
    /// Any other line.
    Text(u32, Vec<u8>),
    /// What cannot be read, and why.
    Broken(u32, Vec<u8>, &'static str),
    /// The end of an input that still grows: it may become any of the others.
    Unfinished(u32, Vec<u8>),
}

/// The pieces of an input.
pub(super) struct Pieces<R> {
    input: R,
    line: u32,
    again: VecDeque<(u32, Line)>,
    growing: bool,
    /// Bytes that were taken from the input, those of `again` included.
    taken: u64,
    /// What came last of an input that still grows was a line that is far too long, and has no end yet.
    within: bool,
}

enum Line {
    Whole(Vec<u8>),
    /// Its beginning, and how long it was; the rest was skipped.
    TooLong(Vec<u8>, u64),
}

impl Line {
    fn bytes(&self) -> u64 {
        match self {
            Self::Whole(line) => line.len() as u64,
            Self::TooLong(_, bytes) => *bytes,
        }
    }
}

impl<R: BufRead> Pieces<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, line: 0, again: VecDeque::new(), growing: false, taken: 0, within: false }
    }

    /// The pieces of an input that still grows, after `line` lines that were read before.
    pub(super) fn growing(input: R, line: u32) -> Self {
        Self { line, growing: true, ..Self::new(input) }
    }

    /// How many lines were read.
    pub(super) fn line(&self) -> u32 {
        self.line
    }

    /// Whether the input ended within a line that was given up.
    pub(super) fn is_within(&self) -> bool {
        self.within
    }

    /// Where the last piece ended, in bytes from the beginning of the input.
    pub(super) fn offset(&self) -> u64 {
        self.taken - self.again.iter().map(|(_, line)| line.bytes()).sum::<u64>()
    }

    /// The next piece; none at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Piece>> {
        loop {
            let Some((number, line)) = self.next_line()? else { return Ok(None) };
            let line = match line {
                Line::TooLong(start, _) => return Ok(Some(Piece::Broken(number, start, "is longer than 64 MiB"))),
                Line::Whole(line) => line,
            };
            let bytes = trimmed(&line);
            match bytes.first() {
                None => {}
                Some(b'{' | b'[') => return self.value(number, line).map(Some),
                Some(_) if self.growing && !line.ends_with(b"\n") => {
                    return Ok(Some(Piece::Unfinished(number, line)));
                }
                Some(_) => return Ok(Some(Piece::Text(number, bytes.to_vec()))),
            }
        }
    }

    /// A JSON value that begins with this line.
    fn value(&mut self, number: u32, first: Vec<u8>) -> io::Result<Piece> {
        let mut scanner = Scanner::default();
        let mut state = scanner.line(trimmed(&first));
        let mut rest: Vec<(u32, Vec<u8>)> = Vec::new();
        let mut size = first.len();
        let mut whole_line = first.ends_with(b"\n");
        while state == State::More {
            let (next_number, next) = match self.next_line()? {
                Some((number, Line::Whole(next))) => (number, next),
                Some((number, long)) => {
                    self.again.push_front((number, long));
                    state = State::Broken("the value does not end");
                    break;
                }
                None => {
                    state = State::Broken("the value does not end");
                    whole_line = false;
                    break;
                }
            };
            size += next.len();
            whole_line = next.ends_with(b"\n");
            state = if size > LARGEST_DOCUMENT {
                State::Broken("is larger than 64 MiB")
            } else {
                scanner.line(trimmed(&next))
            };
            rest.push((next_number, next));
        }
        match state {
            State::Broken(_) if self.growing && !whole_line && size <= LARGEST_DOCUMENT => {
                Ok(Piece::Unfinished(number, joined(first, rest)))
            }
            State::Broken(why) => {
                for (number, line) in rest.into_iter().rev() {
                    self.again.push_front((number, Line::Whole(line)));
                }
                Ok(Piece::Broken(number, trimmed(&first).to_vec(), why))
            }
            _ => Ok(Piece::Json(number, joined(first, rest))),
        }
    }

    fn next_line(&mut self) -> io::Result<Option<(u32, Line)>> {
        if let Some(again) = self.again.pop_front() {
            return Ok(Some(again));
        }
        let mut line = Vec::new();
        let most = LARGEST_DOCUMENT as u64 + 1;
        let read = self.input.by_ref().take(most).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        self.taken += read as u64;
        self.line = self.line.saturating_add(1);
        if self.line == 1 && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        if read as u64 == most && !line.ends_with(b"\n") {
            line.truncate(KEPT);
            line.shrink_to_fit();
            let (skipped, ended) = self.skip_line()?;
            self.taken += skipped;
            self.within = !ended;
            return Ok(Some((self.line, Line::TooLong(line, most + skipped))));
        }
        Ok(Some((self.line, Line::Whole(line))))
    }

    /// How much was left of the line, and whether its end was there.
    fn skip_line(&mut self) -> io::Result<(u64, bool)> {
        let mut skipped = 0;
        loop {
            let available = self.input.fill_buf()?;
            let end = available.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(available.len(), |end| end + 1);
            let is_over = end.is_some() || available.is_empty();
            self.input.consume(used);
            skipped += used as u64;
            if is_over {
                return Ok((skipped, end.is_some()));
            }
        }
    }
}

fn joined(mut first: Vec<u8>, rest: Vec<(u32, Vec<u8>)>) -> Vec<u8> {
    rest.into_iter().for_each(|(_, line)| first.extend(line));
    first
}

fn trimmed(line: &[u8]) -> &[u8] {
    line.trim_ascii()
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Complete,
    More,
    Broken(&'static str),
}

/// Follows brackets and strings; enough to see where a value ends and that a line cannot go on.
#[derive(Default)]
struct Scanner {
    open: Vec<u8>,
    /// The last byte that was no blank.
    last: u8,
}

impl Scanner {
    fn line(&mut self, line: &[u8]) -> State {
        let Some(first) = line.first() else { return State::More };
        if !self.open.is_empty() && !self.may_follow(*first) {
            return State::Broken("the value does not go on with the next line");
        }
        let mut outside = Outside::of(line);
        for (at, byte) in outside.by_ref() {
            match byte {
                b'{' | b'[' if self.open.len() == DEPTH => return State::Broken("nests deeper than 128"),
                b'{' | b'[' => self.open.push(byte),
                b'}' | b']' => {
                    let wanted = if byte == b'}' { b'{' } else { b'[' };
                    if self.open.pop() != Some(wanted) {
                        return State::Broken("closes what was not opened");
                    }
                    if self.open.is_empty() {
                        let rest = line[at + 1..].trim_ascii();
                        return if rest.is_empty() { State::Complete } else { State::Broken("more follows the value") };
                    }
                }
                _ => {}
            }
        }
        if outside.is_in_string() {
            return State::Broken("a string does not end");
        }
        self.last = *line.last().expect("it has a first byte");
        State::More
    }

    /// Whether a line may begin so, where the last one ended as it did.
    fn may_follow(&self, first: u8) -> bool {
        let in_object = self.open.last() == Some(&b'{');
        match (self.last, first) {
            (b'{', b'}') | (b'[', b']') => true,
            (b'{', first) => first == b'"',
            (b',', first) if in_object => first == b'"',
            (b'[' | b',' | b':', first) => !matches!(first, b',' | b':' | b'}' | b']'),
            (b'"', b':') => in_object,
            (_, first) => matches!(first, b',' | b'}' | b']'),
        }
    }
}
