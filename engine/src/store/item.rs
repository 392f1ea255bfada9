//! What is on its way into the journal: records with their numbers, not yet chained.
//!
//! Owns their form in memory and in the slate. Never touches a file. Keeps true: what the slate gives back is what was
//! put in, or nothing.

use super::contents::Packed;
use quell_model::record::{IncidentState, RECORD_VERSION};
use quell_model::{Appended, Batch, Body, Durability, Hash, Kind, NewRecord, Seq, Stamp, StoreError, StreamId};

/// One submit may bring so many bytes: a bound against a runaway output, above a plan that names every process that a
/// machine can have (65,536 at half a kilobyte each).
pub(super) const MOST_BYTES: usize = 32 << 20;

/// Called once, on the writer's thread, when the fate of a submit is known.
pub(super) type Done = Box<dyn FnOnce(Result<Appended, StoreError>) + Send>;

/// A record without its place in the chain.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) v: u16,
    pub(super) at: Stamp,
    pub(super) kind: Kind,
    /// The body's JSON.
    pub(super) body: String,
    /// Whether the stream is over after it; `None`: it changes nothing.
    pub(super) ends: Option<bool>,
    /// What the body refers to.
    pub(super) contents: Vec<Packed>,
}

/// The lines of one stream, from a number on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) stream: StreamId,
    /// The number of the first line.
    pub(super) first: Seq,
    pub(super) lines: Vec<Line>,
}

impl Part {
    /// The number of the last line; of an empty part, the one before.
    pub(super) fn last(&self) -> Seq {
        self.first + self.lines.len() as Seq - 1
    }
}

/// All or nothing: what one call brought.
pub(super) struct Item {
    /// Its place in the slate; `None`: it is in memory only.
    pub(super) ticket: Option<u64>,
    pub(super) parts: Vec<Part>,
    /// Bytes in the slate, and about so many in memory; it stays when the bodies have gone into rows.
    pub(super) bytes: usize,
    pub(super) durability: Durability,
    pub(super) done: Option<Done>,
}

impl Item {
    /// Nothing yet.
    pub(super) fn empty(durability: Durability) -> Self {
        Self { ticket: None, parts: Vec::new(), bytes: encoded(&[]), durability, done: None }
    }

    /// Writes the bodies down; the numbers are those that the batches expect.
    pub(super) fn new(batches: Vec<Batch>) -> Result<Self, StoreError> {
        let mut item = Self::empty(batches.iter().map(|batch| batch.durability).max().unwrap_or(Durability::Written));
        for batch in batches {
            item.add(batch.stream, batch.expected, &batch.records)?;
        }
        Ok(item)
    }

    /// One more part; an error leaves the item as it was.
    pub(super) fn add(&mut self, stream: StreamId, expected: Seq, records: &[NewRecord]) -> Result<(), StoreError> {
        let lines = records.iter().map(line).collect::<Result<_, _>>()?;
        let part = Part { stream, first: expected + 1, lines };
        let bytes = self.bytes + part_bytes(&part);
        if bytes > MOST_BYTES || self.parts.len() == usize::from(u16::MAX) {
            return Err(StoreError::Unwritable(format!("{bytes} bytes at once; the bound is {MOST_BYTES}")));
        }
        self.bytes = bytes;
        self.parts.push(part);
        Ok(())
    }

    /// One item a part.
    pub(super) fn split(self) -> Vec<Self> {
        let durability = self.durability;
        let one = |part: Part| Self { bytes: 2 + part_bytes(&part), parts: vec![part], ..Self::empty(durability) };
        self.parts.into_iter().map(one).collect()
    }

    /// The parts that bring something.
    pub(super) fn filled(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| !part.lines.is_empty())
    }

    /// Where its streams stand after it.
    pub(super) fn appended(&self) -> Appended {
        Appended { last: self.parts.iter().map(|part| (part.stream.clone(), part.last())).collect() }
    }

    /// Puts it down in `self.bytes` bytes.
    pub(super) fn encode(&self, into: &mut [u8]) {
        let mut to = Put(into);
        to.put(&(self.parts.len() as u16).to_le_bytes());
        for part in &self.parts {
            to.put(&part.first.to_le_bytes());
            to.put(&(part.lines.len() as u32).to_le_bytes());
            to.text(part.stream.as_str());
            for line in &part.lines {
                to.put(&line.v.to_le_bytes());
                to.put(&line.at.wall.as_second().to_le_bytes());
                to.put(&line.at.wall.subsec_nanosecond().to_le_bytes());
                to.put(&line.at.boot_ns.to_le_bytes());
                let apart = if line.contents.is_empty() { 0 } else { APART };
                to.put(&[line.ends.map_or(2, u8::from) | apart]);
                to.text(line.kind.as_str());
                to.text(&line.body);
                if apart != 0 {
                    to.put(&(line.contents.len() as u16).to_le_bytes());
                }
                for one in &line.contents {
                    to.put(&one.hash.0);
                    to.put(&one.bytes.to_le_bytes());
                    to.put(&(one.packed.len() as u32).to_le_bytes());
                    to.put(&one.packed);
                }
            }
        }
    }

    /// Reads it back; `None` when the bytes are not what [`Item::encode`] writes.
    pub(super) fn decode(ticket: u64, bytes: &[u8]) -> Option<Self> {
        Self::read(ticket, bytes, &mut |_, word| kind_of(word))
    }

    /// What in these bytes only a newer quell understands, for people.
    pub(super) fn too_new(bytes: &[u8]) -> Option<String> {
        let mut found = None;
        let mut look = |v: u16, word: &str| {
            found = beyond(word, v.into());
            if found.is_some() { None } else { kind_of(word) }
        };
        // Whether it can be read is asked elsewhere.
        drop(Self::read(0, bytes, &mut look));
        found
    }

    fn read(ticket: u64, bytes: &[u8], kind: &mut dyn FnMut(u16, &str) -> Option<Kind>) -> Option<Self> {
        let mut from = Get(bytes);
        let mut parts = Vec::new();
        for _ in 0..u16::from_le_bytes(from.take()?) {
            let first = Seq::from_le_bytes(from.take()?);
            let count = u32::from_le_bytes(from.take()?);
            let stream = StreamId::from(from.text()?);
            let mut lines = Vec::new();
            for _ in 0..count {
                let v = u16::from_le_bytes(from.take()?);
                let second = i64::from_le_bytes(from.take()?);
                let wall = jiff::Timestamp::new(second, i32::from_le_bytes(from.take()?)).ok()?;
                let boot_ns = u64::from_le_bytes(from.take()?);
                let [ends] = from.take()?;
                let kind = kind(v, from.text()?)?;
                let body = from.text()?.to_owned();
                let contents = if ends & APART == 0 { Vec::new() } else { from.contents()? };
                let ends = [Some(false), Some(true), None].get(usize::from(ends & !APART)).copied()?;
                lines.push(Line { v, at: Stamp { wall, boot_ns }, kind, body, ends, contents });
            }
            parts.push(Part { stream, first, lines });
        }
        let (ticket, durability) = (Some(ticket), Durability::Written);
        from.0.is_empty().then(|| Self { ticket, parts, bytes: bytes.len(), durability, done: None })
    }
}

/// The kind that this word names.
pub(super) fn kind_of(word: &str) -> Option<Kind> {
    Kind::ALL.iter().copied().find(|kind| kind.as_str() == word)
}

/// What this quell does not know of a record of this kind and version, for people.
pub(super) fn beyond(kind: &str, v: i64) -> Option<String> {
    if v > i64::from(RECORD_VERSION) {
        return Some(format!("records of version {v}, and this one, {OURS}, reads up to version {RECORD_VERSION}"));
    }
    kind_of(kind).is_none().then(|| format!("records of the kind `{kind}`, which this one, {OURS}, does not know"))
}

/// Beside the end of a line's stream: values follow that its body refers to.
const APART: u8 = 4;

/// This quell.
pub(super) const OURS: &str = concat!("quell ", env!("CARGO_PKG_VERSION"));

/// Bytes in the slate.
fn encoded(parts: &[Part]) -> usize {
    2 + parts.iter().map(part_bytes).sum::<usize>()
}

fn part_bytes(part: &Part) -> usize {
    16 + part.stream.as_str().len() + part.lines.iter().map(line_bytes).sum::<usize>()
}

fn line_bytes(line: &Line) -> usize {
    let apart = |one: &Packed| 32 + 8 + 4 + one.packed.len();
    let contents = if line.contents.is_empty() { 0 } else { 2 + line.contents.iter().map(apart).sum::<usize>() };
    2 + 8 + 4 + 8 + 1 + 4 + line.kind.as_str().len() + 4 + line.body.len() + contents
}

fn line(record: &NewRecord) -> Result<Line, StoreError> {
    Ok(Line {
        v: RECORD_VERSION,
        at: record.at,
        kind: record.body.kind(),
        body: body_text(&record.body)?,
        ends: ends(&record.body),
        contents: record.contents.iter().map(Packed::of).collect::<Result<_, _>>()?,
    })
}

/// Whether a stream is over after this.
pub(super) fn ends(body: &Body) -> Option<bool> {
    match body {
        Body::RunFinished(_) => Some(true),
        Body::UndoBegan(_) | Body::RunReopened(_) => Some(false),
        Body::IncidentChanged(change) => Some(change.state == IncidentState::Resolved),
        Body::LadderStarted(_) => Some(false),
        Body::LadderClosed(_) => Some(true),
        _ => None,
    }
}

/// What the adjacently tagged form puts around a body.
fn wrapping(kind: Kind) -> String {
    format!("{{\"kind\":\"{kind}\",\"body\":")
}

/// Room for a body's text from the start: most fit, and the others grow but once or twice.
const BODY: usize = 2048;

/// A body's JSON without its tag.
pub(super) fn body_text(body: &Body) -> Result<String, StoreError> {
    let mut text = Vec::with_capacity(BODY);
    body.write_json(&mut text).map_err(|e| StoreError::Unwritable(e.to_string()))?;
    String::from_utf8(text).map_err(|e| StoreError::Unwritable(e.to_string()))
}

/// A body from its JSON.
pub(super) fn body_of(kind: Kind, text: &str) -> Result<Body, serde_json::Error> {
    serde_json::from_str(&format!("{}{text}}}", wrapping(kind)))
}

/// Writes one thing after the other.
struct Put<'a>(&'a mut [u8]);

impl Put<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let (here, rest) = std::mem::take(&mut self.0).split_at_mut(bytes.len());
        here.copy_from_slice(bytes);
        self.0 = rest;
    }

    fn text(&mut self, text: &str) {
        self.put(&(text.len() as u32).to_le_bytes());
        self.put(text.as_bytes());
    }
}

/// Reads one thing after the other.
struct Get<'a>(&'a [u8]);

impl<'a> Get<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (here, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*here)
    }

    fn contents(&mut self) -> Option<Vec<Packed>> {
        let count = u16::from_le_bytes(self.take()?);
        let mut one = || {
            let (hash, bytes) = (Hash(self.take()?), u64::from_le_bytes(self.take()?));
            let length = u32::from_le_bytes(self.take()?) as usize;
            let (packed, rest) = self.0.split_at_checked(length)?;
            self.0 = rest;
            Some(Packed { hash, bytes, packed: packed.into() })
        };
        // None at all is written without the mark.
        if count == 0 { None } else { (0..count).map(|_| one()).collect() }
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = u32::from_le_bytes(self.take()?) as usize;
        let (here, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(here).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::bodies::{at, one_of_each};
    use quell_model::record::{RunFinished, RunState};

    #[test]
    fn the_slate_s_form_goes_there_and_back() {
        let mut records: Vec<_> = one_of_each().into_iter().map(|body| NewRecord::new(at(3), body)).collect();
        let outputs = serde_json::json!({ "a": "x".repeat(2000), "b": "y".repeat(3000) });
        let finished = RunFinished { state: RunState::Succeeded, outputs, summary: String::new() };
        records.push(NewRecord::new(at(4), finished).with_large_apart(1000));
        assert_eq!(records.last().map(|record| record.contents.len()), Some(2));
        let batch = |stream: &str, expected| Batch {
            stream: stream.into(),
            expected,
            records: records.clone(),
            durability: Durability::Synced,
        };
        let item = Item::new(vec![batch("run/ü", 0), batch("system", 41)]).unwrap();
        let mut bytes = vec![0; item.bytes];
        item.encode(&mut bytes);
        let back = Item::decode(9, &bytes).unwrap();
        assert_eq!(back.parts, item.parts);
        assert_eq!((back.ticket, back.bytes), (Some(9), item.bytes));
        for end in [0, 1, 40, bytes.len() - 1] {
            assert!(Item::decode(9, &bytes[..end]).is_none(), "{end} bytes are no item");
        }
    }

    proptest::proptest! {
        #[test]
        fn bytes_that_are_no_item_are_none(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            // Whatever it is, it is read without a panic, and nothing is made up.
            if let Some(item) = Item::decode(1, &bytes) {
                let mut again = vec![0; encoded(&item.parts)];
                item.encode(&mut again);
                proptest::prop_assert_eq!(again, bytes);
            }
        }

        #[test]
        fn a_changed_byte_is_none_or_another_item(at in 0..160usize, flip in 1..=255u8) {
            let records = vec![NewRecord::new(crate::store::tests::bodies::at(1), crate::store::tests::bodies::note("a line of some length"))];
            let batch = Batch { stream: "run/a".into(), expected: 4, records, durability: Durability::Written };
            let item = Item::new(vec![batch]).unwrap();
            let mut bytes = vec![0; item.bytes];
            item.encode(&mut bytes);
            let place = at % bytes.len();
            bytes[place] ^= flip;
            proptest::prop_assert!(Item::decode(1, &bytes).is_none_or(|other| other.parts != item.parts));
        }
    }

    #[test]
    fn a_body_s_text_goes_there_and_back() {
        for body in one_of_each() {
            let text = body_text(&body).unwrap();
            assert_eq!(body_of(body.kind(), &text).unwrap(), body, "{text}");
        }
    }

    #[test]
    fn streams_end_where_they_should() {
        let ends: Vec<_> = one_of_each().iter().filter_map(|body| Some((body.kind(), ends(body)?))).collect();
        assert_eq!(
            ends,
            [
                (Kind::RunFinished, true),
                (Kind::IncidentChanged, true),
                (Kind::UndoBegan, false),
                (Kind::RunReopened, false),
                (Kind::LadderStarted, false),
                (Kind::LadderClosed, true),
            ]
        );
    }
}
