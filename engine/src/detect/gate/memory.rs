//! What a detector keeps for a gate: the event in hand, and what lately read texts held.
//!
//! Owns no rule. Events repeat one another (the same parent, the same image), so that most fields are known by their text
//! alone. Nothing is cleared between two events: each has a number, and what bears an older one is not there.

use super::{Gate, Texts};

/// So many texts of a field are remembered; a power of two. One that falls on another's place takes it.
const PLACES: usize = 64;
/// Longer texts are not remembered: at most 64 kB for a field.
const LONGEST: usize = 1_024;

/// A text, and which texts of the field's rules it holds.
struct Known {
    text: Box<str>,
    found: Box<[u32]>,
}

#[derive(Default)]
struct Field {
    /// The event that it was last read of.
    read: u64,
    /// The event on which it counts as holding everything.
    all: u64,
    found: Vec<u32>,
    /// The longest text that was read.
    longest: usize,
    places: Vec<Option<Known>>,
}

/// See the module. One for each gate and detector.
#[derive(Default)]
pub(in crate::detect) struct Memory {
    event: u64,
    fields: Vec<Field>,
    /// By text, and by rule: the event on which it was found, or named.
    texts: Vec<u64>,
    rules: Vec<u64>,
    /// By flag: the event on which it was asked for, and whether it was set.
    flags: Vec<(u64, bool)>,
    named: Vec<u32>,
}

impl Memory {
    pub(super) fn begin(&mut self, gate: &Gate) {
        if self.event == 0 {
            self.fields.resize_with(gate.texts.len(), Field::default);
            self.texts.resize(gate.by_text.len(), 0);
            self.rules.resize(gate.needs.len(), 0);
            self.flags.resize(gate.flags.len(), (0, false));
        }
        self.event += 1;
        self.named.clear();
    }

    pub(super) fn name(&mut self, rule: u32) {
        let seen = &mut self.rules[rule as usize];
        if *seen != self.event {
            *seen = self.event;
            self.named.push(rule);
        }
    }

    /// Names the rules that wait for what this field was found to hold.
    pub(super) fn name_found(&mut self, gate: &Gate, field: u32) {
        let at = field as usize;
        if self.fields[at].all == self.event {
            let end = gate.texts.get(at + 1).map_or(gate.by_text.len(), |next| next.first as usize);
            for rule in gate.by_text[gate.texts[at].first as usize..end].iter().flatten() {
                self.name(*rule);
            }
            return;
        }
        let found = std::mem::take(&mut self.fields[at].found);
        for rule in found.iter().flat_map(|text| &gate.by_text[*text as usize]) {
            self.name(*rule);
        }
        self.fields[at].found = found;
    }

    pub(super) fn take_named(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.named)
    }

    pub(super) fn give_named(&mut self, named: Vec<u32>) -> &[u32] {
        self.named = named;
        &self.named
    }

    pub(super) fn found(&self, field: u32, text: u32) -> bool {
        self.texts[text as usize] == self.event || self.fields[field as usize].all == self.event
    }

    pub(super) fn is_long(&self, field: u32, bytes: usize) -> bool {
        let field = &self.fields[field as usize];
        field.longest >= bytes || field.all == self.event
    }

    pub(super) fn flag(&mut self, flag: u32, ask: impl FnOnce() -> bool) -> bool {
        let known = &mut self.flags[flag as usize];
        if known.0 != self.event {
            *known = (self.event, ask());
        }
        known.1
    }

    pub(super) fn is_read(&self, field: u32) -> bool {
        self.fields[field as usize].read == self.event
    }

    pub(super) fn reading<'m>(&'m mut self, field: u32, texts: &'m Texts) -> Reading<'m> {
        let at = &mut self.fields[field as usize];
        at.read = self.event;
        at.found.clear();
        at.longest = 0;
        Reading { event: self.event, field: at, found: &mut self.texts, texts }
    }
}

/// The reading of one field of one event.
pub(super) struct Reading<'m> {
    event: u64,
    field: &'m mut Field,
    found: &'m mut [u64],
    texts: &'m Texts,
}

impl Reading<'_> {
    /// Takes it as holding everything.
    pub(super) fn all(&mut self) {
        self.field.all = self.event;
    }

    /// Notes what a text holds.
    pub(super) fn text(&mut self, text: &str) {
        if !text.is_ascii() {
            return self.all();
        }
        self.field.longest = self.field.longest.max(text.len());
        if text.len() > LONGEST {
            return self.search(text);
        }
        if self.field.places.is_empty() {
            self.field.places.resize_with(PLACES, || None);
        }
        let place = place(text);
        if let Some(known) = self.field.places[place].as_ref().filter(|known| *known.text == *text) {
            for text in &known.found {
                note(&mut self.found[*text as usize], self.event, &mut self.field.found, *text);
            }
            return;
        }
        let mut own = Vec::new();
        for text in self.texts.automaton.find_overlapping_iter(text) {
            let text = self.texts.first + text.pattern().as_u32();
            if !own.contains(&text) {
                own.push(text);
                note(&mut self.found[text as usize], self.event, &mut self.field.found, text);
            }
        }
        self.field.places[place] = Some(Known { text: text.into(), found: own.into() });
    }

    fn search(&mut self, text: &str) {
        for text in self.texts.automaton.find_overlapping_iter(text) {
            let text = self.texts.first + text.pattern().as_u32();
            note(&mut self.found[text as usize], self.event, &mut self.field.found, text);
        }
    }
}

fn note(mark: &mut u64, event: u64, found: &mut Vec<u32>, text: u32) {
    if *mark != event {
        *mark = event;
        found.push(text);
    }
}

/// Where a text is remembered. Spreads honest texts; who makes two meet gains nothing but a search.
fn place(text: &str) -> usize {
    let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    let hash = words.iter().fold(text.len() as u64, |hash, word| mix(hash, u64::from_ne_bytes(*word)));
    let hash = rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)));
    #[allow(clippy::cast_possible_truncation, reason = "only a few bits are wanted")]
    let high = (hash >> 56) as usize;
    high & (PLACES - 1)
}
