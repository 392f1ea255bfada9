//! An input → events, whatever its format; what cannot be read is given back and counted.

use super::items::{self, Items};
use super::lines::{LARGEST_EVENT, Piece, Pieces};
use super::recorded::Recorded;
use super::weight::{HEAVIEST_EVENT, weight};
use super::{Format, auditd, cloudtrail, cut, kubernetes, plain, recording};
use crate::recorder;
use flate2::bufread::MultiGzDecoder;
use quell_model::{Hash, Json, Mistake, OwnedEvent, Span};
use serde::de::IgnoredAny;
use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// What could not be read, kept aside.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// Where, and why.
    pub mistake: Mistake,
    /// The line or record itself; of one that is far too long, its beginning.
    pub raw: Vec<u8>,
}

/// How much of a line a mistake quotes.
const QUOTED: usize = 200;
/// However it is made, a record of so many bytes is not too heavy.
const LIGHT: usize = 64 * 1024;

/// Reads events. Without a format each record is taken for what it looks like, so that formats may be mixed. Blank
/// lines are skipped, gzip is unpacked. After an error of the input itself the iteration ends.
pub fn read<'r>(format: Option<Format>, file: &Path, mut input: impl BufRead + 'r) -> Events<'r> {
    if input.fill_buf().is_ok_and(|start| start.starts_with(&recorder::MARK)) {
        let mut events = Events::over(format, file, Pieces::new(Box::new(std::io::empty()) as Input<'r>));
        events.recorded = Some(Recorded::new(Box::new(input)));
        return events;
    }
    let packed = input.fill_buf().is_ok_and(|start| start.starts_with(GZIP));
    let input: Input<'r> = if packed { Box::new(BufReader::new(MultiGzDecoder::new(input))) } else { Box::new(input) };
    Events::over(format, file, Pieces::new(input))
}

/// RFC 1952, 2.3.1: how every gzip file begins.
pub(crate) const GZIP: &[u8] = &[0x1f, 0x8b];

type Input<'r> = Box<dyn BufRead + 'r>;

/// What a part of a growing file held.
pub(crate) struct Part {
    /// Its events, and what could not be read; each with how many bytes of the part are done once it is taken in.
    pub(crate) read: Vec<(Result<OwnedEvent, Unreadable>, u64)>,
    /// The end that may still become an event; it comes first the next time.
    pub(crate) rest: Vec<u8>,
    /// How many lines of the file came before the rest.
    pub(crate) lines: u32,
    /// It ended within a line that is far too long: what comes next, up to the line's end, belongs to that.
    pub(crate) within: bool,
}

/// Reads a part of a file that still grows, `lines` lines of which were read before; `within` the last of which it begins, if
/// that is far too long.
pub(crate) fn read_part(format: Option<Format>, file: &Path, part: &[u8], (lines, within): (u32, bool)) -> Part {
    let skipped = match part.iter().position(|byte| *byte == b'\n') {
        _ if !within => 0,
        Some(end) => end + 1,
        None => return Part { read: Vec::new(), rest: Vec::new(), lines, within },
    };
    let mut events = Events::over(format, file, Pieces::growing(Box::new(&part[skipped..]) as Input<'_>, lines));
    let (mut read, mut began) = (Vec::new(), 0);
    loop {
        let before = if events.is_between() { events.pieces.offset() } else { began };
        let Some(event) = events.next() else { break };
        began = before;
        // What is one piece is done with its last record.
        let done = if events.is_between() { events.pieces.offset() } else { began };
        read.push((event, skipped as u64 + done));
    }
    let within = events.pieces.is_within();
    let (lines, rest) = match events.rest {
        Some((line, rest)) => (line.saturating_sub(1), rest),
        None => (events.pieces.line(), Vec::new()),
    };
    Part { read, rest, lines, within }
}

/// Reads what somebody brought, an event at a time: bytes that are whole, and not packed. `name` is what mistakes are said to be in.
pub fn brought<'b>(format: Format, name: &str, body: &'b [u8]) -> Events<'b> {
    Events::over(Some(format), Path::new(name), Pieces::new(Box::new(body) as Input<'b>))
}

/// Unpacks gzip of at most so many bytes.
///
/// # Errors
/// `FileTooLarge` when it would be more, else what is wrong with it.
pub fn unpacked(body: &[u8], most: usize) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    MultiGzDecoder::new(body).take(most as u64 + 1).read_to_end(&mut all)?;
    if all.len() > most { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(all) }
}

/// The events of an input.
pub struct Events<'r> {
    format: Option<Format>,
    file: PathBuf,
    pieces: Pieces<Input<'r>>,
    pending: VecDeque<Result<OwnedEvent, Unreadable>>,
    /// The rest of a document of many records.
    items: Option<Items>,
    unreadable: u64,
    ended: bool,
    /// Of an input that still grows: what is not finished, and its line.
    rest: Option<(u32, Vec<u8>)>,
    /// The input is the flight recorder's.
    recorded: Option<Recorded<'r>>,
}

/// What an adapter says of a record that it cannot read.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) what: String,
    pub(super) expected: Option<&'static str>,
}

impl Wrong {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), expected: None }
    }

    pub(super) fn expected(mut self, what: &'static str) -> Self {
        self.expected = Some(what);
        self
    }
}

impl<'r> Events<'r> {
    fn over(format: Option<Format>, file: &Path, pieces: Pieces<Input<'r>>) -> Self {
        let (pending, items, unreadable, ended, rest, recorded) = (VecDeque::new(), None, 0, false, None, None);
        Self { format, file: file.to_owned(), pieces, pending, items, unreadable, ended, rest, recorded }
    }

    /// How many lines or records could not be read so far.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    fn piece(&mut self, piece: Piece) {
        match piece {
            Piece::Unfinished(line, rest) => self.rest = Some((line, rest)),
            Piece::Broken(line, raw, why) => self.wrong(line, raw, Wrong::new(why)),
            Piece::Text(line, raw) => {
                let text = String::from_utf8_lossy(&raw);
                if raw.len() > LARGEST_EVENT {
                    return self.wrong(line, raw, too_large());
                }
                let read = match self.format {
                    None | Some(Format::Auditd) => auditd::read(&text),
                    Some(format) => Err(Wrong::new(format!("is no JSON, and so no {format}"))),
                };
                match read {
                    Ok(event) => self.pending.push_back(Ok(event)),
                    Err(wrong) => self.wrong(line, raw, wrong),
                }
            }
            Piece::Json(line, raw) => match items::list_of(&raw) {
                None => match self.record(&raw) {
                    Ok(event) => self.pending.push_back(Ok(event)),
                    Err(wrong) => self.wrong(line, raw, wrong),
                },
                Some(list) => match serde_json::from_slice::<IgnoredAny>(&raw) {
                    Ok(_) => self.items = Items::of(line, raw, list),
                    Err(error) => self.wrong(line, raw, no_json(&error)),
                },
            },
        }
    }

    /// The next record of a document.
    fn item(&mut self, mut items: Items) {
        if let Some(item) = items.next() {
            let raw = items.bytes(&item);
            match self.record(raw) {
                Ok(event) => self.pending.push_back(Ok(event)),
                Err(wrong) => {
                    let what = format!("record {} {}", item.number, wrong.what);
                    self.wrong(items.line, raw.to_vec(), Wrong { what, ..wrong });
                }
            }
            self.items = (!items.is_over()).then_some(items);
        }
    }

    /// Whether what was begun is done with.
    fn is_between(&self) -> bool {
        self.pending.is_empty() && self.items.is_none()
    }

    fn record(&self, raw: &[u8]) -> Result<OwnedEvent, Wrong> {
        if raw.len() > LARGEST_EVENT || (raw.len() > LIGHT && weight(raw) > HEAVIEST_EVENT) {
            return self.cut(raw);
        }
        let object = match serde_json::from_slice::<Json>(raw) {
            Ok(Json::Object(object)) => object,
            Ok(_) => return Err(Wrong::new("is no record")),
            Err(error) => return Err(no_json(&error)),
        };
        match self.format.unwrap_or_else(|| Format::of(&object)) {
            Format::Recording => recording::read(object),
            Format::CloudTrail => cloudtrail::read(object),
            Format::KubernetesAudit => kubernetes::read(object, None),
            Format::Auditd => Err(Wrong::new("is JSON, and no line of auditd's log")),
            Format::Plain => plain::read(object),
        }
    }

    /// Of what is too large, that which says who did what.
    fn cut(&self, raw: &[u8]) -> Result<OwnedEvent, Wrong> {
        let is_audit = |record: &serde_json::Map<String, Json>| {
            self.format.unwrap_or_else(|| Format::of(record)) == Format::KubernetesAudit
        };
        match cut::cut(raw).filter(is_audit) {
            Some(record) => kubernetes::read(record, Some(Hash::of(raw))),
            None => Err(too_large()),
        }
    }

    fn wrong(&mut self, line: u32, raw: Vec<u8>, wrong: Wrong) {
        self.unreadable += 1;
        let mut mistake = Mistake::error(&self.file, Span { line, column: 0, length: 1 }, wrong.what);
        mistake.expected = wrong.expected.map(str::to_owned);
        let raw = raw.trim_ascii().to_vec();
        let start = String::from_utf8_lossy(&raw[..raw.len().min(QUOTED * 4)]);
        mistake.line_text = start.lines().next().map(|line| line.chars().take(QUOTED).collect());
        self.pending.push_back(Err(Unreadable { mistake, raw }));
    }
}

impl Iterator for Events<'_> {
    type Item = Result<OwnedEvent, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(read) = self.pending.pop_front() {
                return Some(read);
            }
            if let Some(items) = self.items.take() {
                self.item(items);
                continue;
            }
            if self.ended {
                return None;
            }
            if let Some(recorded) = &mut self.recorded {
                match recorded.page() {
                    Ok(Some(events)) => self.pending.extend(events.into_iter().map(Ok)),
                    Ok(None) => self.ended = true,
                    Err(wrong) => {
                        self.ended = true;
                        self.wrong(0, Vec::new(), wrong);
                    }
                }
                continue;
            }
            match self.pieces.next() {
                Ok(Some(piece)) => self.piece(piece),
                Ok(None) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    self.wrong(0, Vec::new(), Wrong::new(format!("cannot be read on: {error}")));
                }
            }
        }
    }
}

fn too_large() -> Wrong {
    Wrong::new(format!("is larger than {} MiB", LARGEST_EVENT / 1024 / 1024)).expected("one event")
}

fn no_json(error: &serde_json::Error) -> Wrong {
    Wrong::new(format!("is no JSON: {}", without_place(error)))
}

/// serde_json counts lines from the beginning of the value; the place is ours to say.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) if error.column() > 0 => format!("{} at byte {}", &text[..at], error.column()),
        _ => text,
    }
}
