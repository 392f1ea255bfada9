//! A page: some thousand events in a compact form, written on the sensor's thread without a copy or a wait.
//!
//! Owns the writing half of format 1. A text stands in a page once and is a number from then on; so is a block of fields
//! that events share. The page allocates nothing for an event but where one is
//! larger than a whole page.

pub(super) mod copy;

use super::known::Known;
use super::wire::{DEPTH, TEXT_KNOWN, TEXT_NEW, TEXT_ONCE, part, put, put_wide, subject, value, zigzag};
use quell_model::{Event, EventHead, LogSource, ProcessId, Stamp, Subject, Teller, Token, Told};

/// A page is full at this size: some hundred to a thousand events.
pub const FULL: usize = 64 * 1024;
/// Room for the event that fills it; a larger one (a foreign record) makes the page grow for once.
const ROOM: usize = 16 * 1024;
/// Texts longer than this hardly come twice.
const LONGEST_KEPT: usize = 4096;

/// What was not recorded before a page: how many events, and between which moments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Missed {
    /// How many events.
    pub events: u64,
    /// The first.
    pub from: Stamp,
    /// The last.
    pub to: Stamp,
}

impl Missed {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { events: self.events + other.events, from: self.from.min(other.from), to: self.to.max(other.to) }
    }
}

/// A page that is being written.
#[derive(Debug)]
pub struct Page {
    bytes: Vec<u8>,
    texts: Known,
    blocks: Known,
    events: u64,
    /// The earliest and the latest moment of its events.
    span: Option<(Stamp, Stamp)>,
    /// What could not be recorded before it.
    missed: Option<Missed>,
    last: Stamp,
    subject: Option<ProcessId>,
    in_block: bool,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            bytes: Vec::with_capacity(FULL + ROOM),
            texts: Known::default(),
            blocks: Known::default(),
            events: 0,
            span: None,
            missed: None,
            last: zero(),
            subject: None,
            in_block: false,
        }
    }
}

/// What the first event of a page counts its times from.
pub(super) fn zero() -> Stamp {
    Stamp { wall: jiff::Timestamp::UNIX_EPOCH, boot_ns: 0 }
}

/// The distance of the two clocks.
pub(super) fn offset(stamp: Stamp) -> i128 {
    stamp.wall.as_nanosecond() - i128::from(stamp.boot_ns)
}

impl Page {
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many events it has.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The earliest and the latest moment of its events.
    #[must_use]
    pub fn span(&self) -> Option<(Stamp, Stamp)> {
        self.span
    }

    /// What could not be recorded before it.
    #[must_use]
    pub fn missed(&self) -> Option<Missed> {
        self.missed
    }

    /// What this page holds or tells of, as lost.
    #[must_use]
    pub fn as_missed(&self) -> Option<Missed> {
        let own = self.span.map(|(from, to)| Missed { events: self.events, from, to });
        match (own, self.missed) {
            (Some(own), Some(missed)) => Some(own.and(missed)),
            (own, missed) => own.or(missed),
        }
    }

    /// Tells of events that were not recorded.
    pub fn miss(&mut self, missed: Missed) {
        self.missed = Some(self.missed.map_or(missed, |before| before.and(missed)));
    }

    /// Nothing to keep.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events == 0 && self.missed.is_none()
    }

    /// The next event belongs on another page.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= FULL
    }

    /// Makes it new.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(FULL + ROOM);
        self.texts.clear();
        self.blocks.clear();
        (self.events, self.span, self.missed, self.last) = (0, None, None, zero());
    }

    /// Notes an event.
    pub fn note(&mut self, event: &dyn Event) {
        let head = event.head();
        self.head(head, event.logsource());
        self.subject(event.subject());
        event.tell(self);
        self.bytes.push(part::END);
        self.end(head.at);
    }

    fn end(&mut self, at: Stamp) {
        self.events += 1;
        self.span = Some(self.span.map_or((at, at), |(from, to)| (from.min(at), to.max(at))));
    }

    fn begin(&mut self, class: u8, at: Stamp) {
        self.bytes.push(class);
        put_wide(&mut self.bytes, offset(at) - offset(self.last));
        put(&mut self.bytes, zigzag(at.boot_ns.wrapping_sub(self.last.boot_ns).cast_signed()));
        self.last = at;
    }

    fn head(&mut self, head: &EventHead, logsource: &LogSource) {
        self.begin(head.class as u8, head.at);
        put_wide(&mut self.bytes, offset(head.seen) - offset(head.at));
        put(&mut self.bytes, zigzag(head.seen.boot_ns.wrapping_sub(head.at.boot_ns).cast_signed()));
        match sensor_id(head) {
            Some((prefix, tid, kind)) => {
                self.bytes.push(kind);
                self.text(prefix);
                put(&mut self.bytes, tid);
            }
            None => {
                self.bytes.push(0);
                self.text_once(head.id.as_str());
            }
        }
        self.text(head.source.as_str());
        self.text(head.node.as_str());
        let parts = [&logsource.category, &logsource.product, &logsource.service];
        let mask = parts.iter().enumerate().fold(0, |mask, (at, part)| mask | u8::from(part.is_some()) << at);
        self.bytes.push(mask);
        for name in parts.into_iter().flatten() {
            self.text(name.as_str());
        }
    }

    fn subject(&mut self, of: Subject) {
        self.subject = None;
        match of {
            Subject::Unknown => self.bytes.push(subject::UNKNOWN),
            Subject::Process(id) => {
                self.bytes.push(subject::PROCESS);
                self.process(&id);
                self.subject = Some(id);
            }
            Subject::Principal(name) => {
                self.bytes.push(subject::PRINCIPAL);
                self.text(name.as_str());
            }
            Subject::User(name) => {
                self.bytes.push(subject::USER);
                self.text(name.as_str());
            }
        }
    }

    fn process(&mut self, id: &ProcessId) {
        put(&mut self.bytes, id.pid.into());
        put(&mut self.bytes, id.start_ns);
        put(&mut self.bytes, id.exec_id.into());
        self.text(&id.boot.0);
    }

    fn text_once(&mut self, text: &str) {
        put(&mut self.bytes, TEXT_ONCE);
        put(&mut self.bytes, text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Gives the text's number, if it has one.
    fn text(&mut self, text: &str) -> Option<u16> {
        if text.len() > LONGEST_KEPT {
            self.text_once(text);
            return None;
        }
        let bytes = &self.bytes;
        let is_it = |at: u32| bytes[at as usize..].starts_with(text.as_bytes());
        let sum = Token::new(0).with_text(text).0;
        if let Some(number) = self.texts.find(sum, is_it) {
            put(&mut self.bytes, u64::from(number) + TEXT_KNOWN);
            return Some(number);
        }
        if self.texts.is_full() {
            self.text_once(text);
            return None;
        }
        put(&mut self.bytes, TEXT_NEW);
        put(&mut self.bytes, text.len() as u64);
        let at = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(text.as_bytes());
        Some(self.texts.add(sum, at))
    }

    fn value(&mut self, value: &Told<'_>, depth: u8) {
        match value {
            // What stands deeper than anything that can be read again is left out.
            Told::List(_) | Told::Map(_) if depth == 0 => self.bytes.push(value::NULL),
            Told::Null => self.bytes.push(value::NULL),
            Told::Bool(b) => self.bytes.push(if *b { value::TRUE } else { value::FALSE }),
            Told::Int(n) => {
                self.bytes.push(value::INT);
                put(&mut self.bytes, zigzag(*n));
            }
            Told::Big(n) => {
                self.bytes.push(value::BIG);
                put(&mut self.bytes, *n);
            }
            Told::Float(n) => {
                self.bytes.push(value::FLOAT);
                self.bytes.extend_from_slice(&n.to_le_bytes());
            }
            Told::Text(text) => {
                self.bytes.push(value::TEXT);
                self.text(text);
            }
            Told::Process(id) if !self.in_block && self.subject.as_ref() == Some(id) => {
                self.bytes.push(value::SUBJECT);
            }
            Told::Process(id) => {
                self.bytes.push(value::PROCESS);
                self.process(id);
            }
            Told::Moment(boot_ns) => {
                self.bytes.push(value::MOMENT);
                put(&mut self.bytes, *boot_ns);
            }
            Told::List(list) => {
                self.bytes.push(value::LIST);
                put(&mut self.bytes, list.len() as u64);
                list.iter().for_each(|one| self.value(one, depth - 1));
            }
            Told::Map(map) => {
                self.bytes.push(value::MAP);
                put(&mut self.bytes, map.len() as u64);
                for (name, one) in map {
                    self.text(name);
                    self.value(one, depth - 1);
                }
            }
        }
    }

    fn field(&mut self, mark: u8, name: &str, value: &Told<'_>) {
        self.bytes.push(mark);
        self.text(name);
        self.value(value, DEPTH);
    }
}

impl Teller for Page {
    fn sigma(&mut self, name: &str, value: Told<'_>) {
        self.field(part::SIGMA, name, &value);
    }

    fn own(&mut self, path: &str, value: Told<'_>) {
        self.field(part::OWN, path, &value);
    }

    fn whole(&mut self, name: &str, value: Told<'_>) {
        self.field(part::WHOLE, name, &value);
    }

    fn entity(&mut self, kind: &str, id: &str, node: &str) {
        self.bytes.push(part::ENTITY);
        self.text(kind);
        self.text(id);
        self.text(node);
    }

    fn shared(&mut self, token: Token, tell: &mut dyn FnMut(&mut dyn Teller)) {
        if self.in_block {
            return tell(self);
        }
        if let Some(number) = self.blocks.find(token.0, |_| true) {
            self.bytes.push(part::KNOWN);
            put(&mut self.bytes, number.into());
            return;
        }
        if self.blocks.is_full() {
            return tell(self);
        }
        self.bytes.push(part::NEW);
        self.in_block = true;
        tell(self);
        self.in_block = false;
        self.bytes.push(part::END);
        self.blocks.add(token.0, 0);
    }
}

/// The parts of an id as the sensor makes them: `e-BOOT-AT-TIDk`, where AT is the event's own moment.
fn sensor_id(head: &EventHead) -> Option<(&str, u64, u8)> {
    if let Some(parts) = head.id.parts().filter(|parts| parts.at == head.at.boot_ns && parts.kind.is_ascii_lowercase())
    {
        return Some((&parts.prefix, parts.tid.into(), parts.kind));
    }
    let text = head.id.as_str();
    let (prefix, rest) = text.char_indices().nth(2).and_then(|(from, _)| {
        let dash = from + text.get(from..)?.find('-')?;
        Some((&text[..dash], &text[dash + 1..]))
    })?;
    let (at, rest) = rest.split_once('-')?;
    let kind = *rest.as_bytes().last().filter(|kind| kind.is_ascii_lowercase())?;
    let tid = &rest[..rest.len() - 1];
    (hex(at)? == head.at.boot_ns).then_some(())?;
    Some((prefix, hex(tid)?, kind))
}

/// A number in hex as Rust writes it; nothing else has the same text again.
fn hex(text: &str) -> Option<u64> {
    let plain = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(plain));
    if canonical { u64::from_str_radix(text, 16).ok() } else { None }
}
