//! The gate before a logsource's rules: which of them an event can match at all.
//!
//! Most events match no rule, and most of a rule's cost is to find that out. The gate knows of each rule some texts and
//! flags that it cannot match without ([`want`]), finds all texts of all rules in one pass over a field, and names the few
//! rules that are left. Only those are asked.
//!
//! ```text
//! field ──remembered?──▶ one automaton ──▶ texts found ──▶ rules that wait for one ──all they want?──▶ rules to ask
//! ```
//!
//! **Invariant:** it may name too many rules, never too few. Texts are searched in ASCII fields; any other counts as
//! holding everything. It reads a field only as rsigma does, through the same view.

mod literal;
mod memory;
mod want;

#[cfg(test)]
mod tests;

pub(super) use memory::Memory;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use memory::Reading;
use rsigma_eval::{CompiledRule, EventValue};
use std::collections::BTreeMap;
use want::Want;

/// Above so many texts the automaton is a smaller, slower one: the fast kind takes some 100 bytes a letter.
const FAST_TEXTS: usize = 2_000;
/// Texts that are part of these stand nearly everywhere, and are waited for only when there is nothing better.
const COMMON: &[&str] =
    &["/usr/local/bin/", "/usr/sbin/", "/usr/bin/", "/usr/lib/", "/home/", "/root/", "/etc/", "execve", "true"];

/// A [`Want`] by numbers.
enum Need {
    Text { field: u32, text: u32 },
    Flag(u32),
    Long { field: u32, bytes: usize },
    All(Box<[Need]>),
    Any(Box<[Need]>),
}

/// One field, or (without a name) every text of an event.
struct Texts {
    field: Option<String>,
    automaton: AhoCorasick,
    /// The number of its first text; the others follow.
    first: u32,
}

struct Flag {
    field: String,
    value: bool,
}

/// See the module.
#[derive(Default)]
pub(super) struct Gate {
    texts: Vec<Texts>,
    flags: Vec<Flag>,
    /// What each rule needs; none: anything.
    needs: Vec<Option<Need>>,
    /// Rules that are always asked.
    always: Vec<u32>,
    /// The rules that wait for a text, and for a flag.
    by_text: Vec<Vec<u32>>,
    by_flag: Vec<Vec<u32>>,
    /// The fields and flags that some rule waits for; the others are looked at when a rule wants to know.
    eager_texts: Vec<u32>,
    eager_flags: Vec<u32>,
}

impl Gate {
    /// Before these rules; they are named by their places.
    pub(super) fn new(rules: &[CompiledRule]) -> Self {
        let wants: Vec<Want> = rules.iter().map(Want::of).collect();
        let mut names: BTreeMap<Option<String>, BTreeMap<String, u32>> = BTreeMap::new();
        let mut flags: Vec<Flag> = Vec::new();
        for want in &wants {
            collect(want, &mut names, &mut flags);
        }
        let mut gate = Self::default();
        let mut count = 0;
        let mut places: BTreeMap<&Option<String>, u32> = BTreeMap::new();
        for (field, needles) in &mut names {
            let first = count;
            for number in needles.values_mut() {
                *number = count;
                count += 1;
            }
            // Where none can be built, what its texts are wanted for counts as nothing known.
            if let Some(automaton) = automaton(needles.keys()) {
                gate.texts.push(Texts { field: field.clone(), automaton, first });
            }
        }
        for (at, texts) in gate.texts.iter().enumerate() {
            places.insert(names.get_key_value(&texts.field).map_or(&None, |(name, _)| name), number(at));
        }
        gate.by_text = vec![Vec::new(); count as usize];
        gate.by_flag = vec![Vec::new(); flags.len()];
        let mut needs = Vec::new();
        let texts = texts_in_order(&names);
        for (rule, want) in wants.iter().enumerate() {
            let rule = number(rule);
            let need = need(want, &names, &places, &flags);
            match &need {
                None => gate.always.push(rule),
                Some(need) => gate.wait(rule, need, &texts),
            }
            needs.push(need);
        }
        drop(places);
        gate.needs = needs;
        gate.flags = flags;
        let waited = |rules: &&Vec<u32>| !rules.is_empty();
        let ends: Vec<u32> = gate.texts.iter().skip(1).map(|t| t.first).chain([count]).collect();
        for (at, (texts, end)) in gate.texts.iter().zip(ends).enumerate() {
            if gate.by_text[texts.first as usize..end as usize].iter().any(|rules| waited(&rules)) {
                gate.eager_texts.push(number(at));
            }
        }
        gate.eager_flags = (0..gate.flags.len()).filter(|at| waited(&&gate.by_flag[*at])).map(number).collect();
        gate
    }

    /// Lets a rule wait for the rarest facts of which one must hold.
    fn wait(&mut self, rule: u32, need: &Need, texts: &[&str]) {
        let mut facts = Vec::new();
        rarest(need, texts, &mut facts);
        // A length is nothing to wait for: such a rule is looked at each time.
        if facts.iter().any(|fact| matches!(fact, Need::Long { .. })) {
            self.always.push(rule);
            return;
        }
        for fact in facts {
            let rules = match fact {
                Need::Text { text, .. } => &mut self.by_text[*text as usize],
                Need::Flag(flag) => &mut self.by_flag[*flag as usize],
                Need::Long { .. } | Need::All(_) | Need::Any(_) => continue,
            };
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
    }

    /// The rules that this event may match, by place, ascending.
    pub(super) fn open<'m>(&self, memory: &'m mut Memory, event: &impl rsigma_eval::Event) -> &'m [u32] {
        memory.begin(self);
        for rule in &self.always {
            memory.name(*rule);
        }
        for field in &self.eager_texts {
            self.read(*field, memory, event);
            memory.name_found(self, *field);
        }
        for flag in &self.eager_flags {
            if self.flag(*flag, memory, event) {
                for rule in &self.by_flag[*flag as usize] {
                    memory.name(*rule);
                }
            }
        }
        let mut named = memory.take_named();
        named.retain(|rule| match &self.needs[*rule as usize] {
            Some(need) => self.holds(need, memory, event),
            None => true,
        });
        named.sort_unstable();
        memory.give_named(named)
    }

    fn holds(&self, need: &Need, memory: &mut Memory, event: &impl rsigma_eval::Event) -> bool {
        match need {
            Need::Text { field, text } => {
                self.read(*field, memory, event);
                memory.found(*field, *text)
            }
            Need::Flag(flag) => self.flag(*flag, memory, event),
            Need::Long { field, bytes } => {
                self.read(*field, memory, event);
                memory.is_long(*field, *bytes)
            }
            Need::All(parts) => parts.iter().all(|part| self.holds(part, memory, event)),
            Need::Any(parts) => parts.iter().any(|part| self.holds(part, memory, event)),
        }
    }

    /// Finds the texts of one field, once for an event.
    fn read(&self, field: u32, memory: &mut Memory, event: &impl rsigma_eval::Event) {
        if memory.is_read(field) {
            return;
        }
        let texts = &self.texts[field as usize];
        let mut reading = memory.reading(field, texts);
        match &texts.field {
            None => event.visit_string_values(&mut |text| reading.text(text)),
            Some(name) => {
                if let Some(value) = event.get_field(name) {
                    whole(&value, &mut reading);
                }
            }
        }
    }

    /// A flag that is no flag on this event counts as set: rsigma has its own way with texts and numbers.
    fn flag(&self, flag: u32, memory: &mut Memory, event: &impl rsigma_eval::Event) -> bool {
        memory.flag(flag, || {
            let Flag { field, value } = &self.flags[flag as usize];
            match event.get_field(field) {
                Some(EventValue::Bool(set)) => set == *value,
                Some(_) => true,
                None => false,
            }
        })
    }
}

/// A value that is no text, nor a list of texts, counts as holding everything.
fn whole(value: &EventValue<'_>, reading: &mut Reading<'_>) {
    match value {
        EventValue::Str(text) => reading.text(text),
        EventValue::Array(members) => members.iter().for_each(|member| whole(member, reading)),
        _ => reading.all(),
    }
}

fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn collect(want: &Want, names: &mut BTreeMap<Option<String>, BTreeMap<String, u32>>, flags: &mut Vec<Flag>) {
    match want {
        Want::Anything => {}
        Want::Text { field, needle } => {
            names.entry(field.clone()).or_default().insert(needle.clone(), 0);
        }
        Want::Flag { field, value } => {
            if !flags.iter().any(|flag| flag.field == *field && flag.value == *value) {
                flags.push(Flag { field: field.clone(), value: *value });
            }
        }
        Want::Long { field, .. } => {
            names.entry(Some(field.clone())).or_default();
        }
        Want::All(parts) | Want::Any(parts) => parts.iter().for_each(|part| collect(part, names, flags)),
    }
}

fn texts_in_order(names: &BTreeMap<Option<String>, BTreeMap<String, u32>>) -> Vec<&str> {
    names.values().flat_map(BTreeMap::keys).map(String::as_str).collect()
}

fn automaton<'n>(needles: impl ExactSizeIterator<Item = &'n String>) -> Option<AhoCorasick> {
    let fast = (needles.len() <= FAST_TEXTS).then_some(AhoCorasickKind::DFA);
    // `Standard` finds texts within texts, which is what is wanted.
    AhoCorasick::builder().match_kind(MatchKind::Standard).ascii_case_insensitive(true).kind(fast).build(needles).ok()
}

/// None: anything.
fn need(
    want: &Want,
    names: &BTreeMap<Option<String>, BTreeMap<String, u32>>,
    places: &BTreeMap<&Option<String>, u32>,
    flags: &[Flag],
) -> Option<Need> {
    match want {
        Want::Anything => None,
        Want::Text { field, needle } => {
            Some(Need::Text { field: *places.get(field)?, text: *names.get(field)?.get(needle)? })
        }
        Want::Flag { field, value } => {
            flags.iter().position(|flag| flag.field == *field && flag.value == *value).map(|at| Need::Flag(number(at)))
        }
        Want::Long { field, bytes } => Some(Need::Long { field: *places.get(&Some(field.clone()))?, bytes: *bytes }),
        Want::All(parts) => {
            let parts: Vec<Need> = parts.iter().filter_map(|part| need(part, names, places, flags)).collect();
            (!parts.is_empty()).then(|| Need::All(parts.into()))
        }
        Want::Any(parts) => {
            let parts: Option<Vec<Need>> = parts.iter().map(|part| need(part, names, places, flags)).collect();
            parts.map(|parts| Need::Any(parts.into()))
        }
    }
}

/// Of those that must all hold the one that is cheapest to wait for; of alternatives all. Gives its price.
fn rarest<'n>(need: &'n Need, texts: &[&str], facts: &mut Vec<&'n Need>) -> u32 {
    match need {
        Need::Text { text, .. } => {
            facts.push(need);
            let text = texts[*text as usize];
            match text.len() {
                _ if COMMON.iter().any(|common| common.contains(text)) => 60,
                0..=2 => 40,
                3 => 15,
                4 => 6,
                5 => 3,
                _ => 1,
            }
        }
        Need::Flag(_) => {
            facts.push(need);
            4
        }
        Need::Long { .. } => {
            facts.push(need);
            1_000
        }
        Need::Any(parts) => parts.iter().map(|part| rarest(part, texts, facts)).sum(),
        Need::All(parts) => {
            let mut best: Option<(u32, Vec<&Need>)> = None;
            for part in parts {
                let mut these = Vec::new();
                let price = rarest(part, texts, &mut these);
                if best.as_ref().is_none_or(|(least, _)| price < *least) {
                    best = Some((price, these));
                }
            }
            let (price, these) = best.unwrap_or_default();
            facts.extend(these);
            price
        }
    }
}
